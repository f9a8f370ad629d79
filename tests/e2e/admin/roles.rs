//! What each role may do: every operation of the table, with every role, at its own and at a foreign tenant, held against the table that people
//! read in docs/key-management.md.

use std::collections::BTreeMap;

use passkey_hsm::domain::{Permission, Role};
use reqwest::Method;

use crate::support::{
    api::{Answer, Api, Tenant},
    openapi::{Operation, admin_operations},
    server::{Server, TenantSpec},
};

/// What the table says of a permission and a role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Grant {
    Yes,
    Own,
    No,
}

type Grants = BTreeMap<(String, String), Grant>;

/// The documentation's table.
fn documented() -> Grants {
    let text = include_str!("../../../docs/key-management.md");
    let mut rows = text.lines().skip_while(|line| !line.starts_with("| permission |")).take_while(|line| line.starts_with('|'));
    let cells = |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().trim_matches('`').to_owned()).collect::<Vec<_>>();
    let roles = cells(rows.next().expect("the table of roles is in docs/key-management.md"));
    let mut grants = Grants::new();
    for row in rows.skip(1) {
        let row = cells(row);
        for (role, cell) in roles.iter().zip(&row).skip(1) {
            let grant = match cell.as_str() {
                "yes" => Grant::Yes,
                "own" => Grant::Own,
                "no" => Grant::No,
                other => panic!("{other} is not yes, own or no"),
            };
            assert!(grants.insert((row[0].clone(), role.clone()), grant).is_none(), "{} is there twice", row[0]);
        }
    }
    grants
}

#[test]
fn the_table_that_people_read_is_the_programs() {
    let documented = documented();
    assert_eq!(documented.len(), Permission::ALL.len() * Role::ALL.len());
    for permission in Permission::ALL {
        for role in Role::ALL {
            let expected = match (role.has(*permission), role) {
                (false, _) => Grant::No,
                (true, Role::TenantAdmin) => Grant::Own,
                (true, _) => Grant::Yes,
            };
            assert_eq!(documented[&(permission.to_string(), role.to_string())], expected, "{permission} of {role}");
        }
    }
}

/// The request of an operation, of this tenant and its key. Its body is none that any operation takes: whoever may ask is told so, and nothing
/// is changed.
fn request(api: &Api, operation: &Operation, tenant: &Tenant) -> reqwest::RequestBuilder {
    let segment = |segment: &str| match segment {
        "{tenant_id}" => tenant.id.clone(),
        "{kid}" => tenant.kid.clone(),
        other if other.starts_with('{') => "7a1a0c3e-9f0e-4f0e-8c1e-0123456789ab".to_owned(),
        other => other.to_owned(),
    };
    let path: Vec<_> = operation.path.split('/').map(segment).collect();
    let request = api.request(operation.method.parse().unwrap(), &path.join("/"));
    if operation.method == Method::GET.as_str() { request } else { request.header("Content-Type", "text/plain").body("no") }
}

#[tokio::test]
async fn each_role_can_do_what_its_row_says_and_nothing_else() {
    let server = Server::sqlite().await;
    let (own, foreign) = (server.create_tenant(&TenantSpec::default()), server.create_tenant(&TenantSpec::default()));
    let mut callers = Vec::new();
    for role in Role::ALL {
        let tenants: &[&str] = if *role == Role::TenantAdmin { &[own.id.as_str()] } else { &[] };
        callers.push((role.to_string(), server.admin_as(role.as_str(), tenants).await));
    }
    let grants = documented();
    let (mut allowed, mut denied) = (0, 0);
    for operation in admin_operations() {
        let described = operation.described();
        let Some(permission) = described["x-permission"].as_str() else { continue };
        let scope = described["x-scope"].as_str().unwrap();
        for tenant in [&own, &foreign] {
            let stranger = Answer::to(request(&server.admin_api(), &operation, tenant)).await;
            assert_eq!(stranger.status, 401, "{operation:?}: {}", stranger.body);
            for (role, api) in &callers {
                let may = match (grants[&(permission.to_owned(), role.clone())], scope) {
                    (Grant::Yes, _) | (Grant::Own, "own") => true,
                    (Grant::Own, "tenant" | "key") => tenant.id == own.id,
                    (Grant::Own, "deployment") | (Grant::No, _) => false,
                    (_, other) => panic!("{other} is no scope"),
                };
                let answer = Answer::to(request(api, &operation, tenant)).await;
                assert_eq!(!matches!(answer.status, 401 | 403), may, "{operation:?} by {role}: {} {}", answer.status, answer.body);
                if may {
                    allowed += 1;
                } else {
                    denied += 1;
                    assert_eq!(answer.json()["title"], "Forbidden", "{}", answer.body);
                }
            }
        }
    }
    assert!(allowed > 0 && denied > 0);
    let recorded = super::refusals(&server).await;
    assert_eq!(recorded.iter().filter(|line| line.starts_with("admin ")).count(), denied, "each denial is in the log");
}

/// What lists things of tenants has, for one who is bound to some, no others.
#[tokio::test]
async fn listings_are_of_ones_own_tenants() {
    let server = Server::sqlite().await;
    let (own, foreign) = (server.create_tenant(&TenantSpec::default()), server.create_tenant(&TenantSpec::default()));
    let (admin, bound) = (server.admin_as("admin", &[]).await, server.admin_as("tenant-admin", &[&own.id]).await);
    let (listings, others): (Vec<_>, Vec<_>) =
        admin_operations().into_iter().filter(|o| o.described()["x-scope"] == "own").partition(|o| o.method == "GET");
    // Who may take back what they asked for is decided by whose it is.
    assert!(others.iter().all(|o| o.id == "reject"), "what changes something has a subject, and is judged by it: {others:?}");
    for operation in listings {
        let (all, some) = (admin.get(&operation.path).await, bound.get(&operation.path).await);
        assert_eq!((all.status, some.status), (200, 200), "{operation:?}: {}", some.body);
        assert!(all.body.contains(&own.id) && all.body.contains(&foreign.id), "{operation:?}: {}", all.body);
        assert!(some.body.contains(&own.id), "{operation:?}: {}", some.body);
        for secret in [&foreign.id, &foreign.kid] {
            assert!(!some.body.contains(secret.as_str()), "{operation:?}: {}", some.body);
        }
    }
}

/// To one who is bound to tenants a tenant of somebody else's and one that there is not look alike.
#[tokio::test]
async fn a_foreign_tenant_looks_like_none() {
    let server = Server::sqlite().await;
    let (own, foreign) = (server.create_tenant(&TenantSpec::default()), server.create_tenant(&TenantSpec::default()));
    let bound = server.admin_as("tenant-admin", &[&own.id]).await;
    let nobodys = Tenant::new(
        server.api(),
        &serde_json::json!({
            "id": "7a1a0c3e-9f0e-4f0e-8c1e-0123456789ab", "kid": "7a1a0c3e-9f0e-4f0e-8c1e-0123456789ac", "api_key": {"secret": ""}
        }),
        "localhost",
        "http://localhost",
    );
    for operation in admin_operations() {
        if matches!(operation.described()["x-scope"].as_str(), Some("tenant" | "key")) {
            let foreign = Answer::to(request(&bound, &operation, &foreign)).await;
            let none = Answer::to(request(&bound, &operation, &nobodys)).await;
            assert_eq!((foreign.status, foreign.body), (403, none.body), "{operation:?}");
        }
    }
}
