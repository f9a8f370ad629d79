//! The end of a tenant: out of sight at once, restored while there is time, and then gone from database and token.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{ask, changed, events, tenant};
use crate::{
    engines,
    support::{
        api::{Answer, Api, Tenant},
        ceremonies::Kind,
        keys::Algorithm,
        server::{Server, ServerSpec},
    },
};

engines! { a_deleted_tenant_is_out_of_sight_and_can_come_back }

async fn a_deleted_tenant_is_out_of_sight_and_can_come_back(server: Server) {
    let admin = server.admin_as("admin", &[]).await;
    let (gone, stays) = (tenant(&server, &admin).await, tenant(&server, &admin).await);
    let path = format!("/tenants/{}", gone.id);
    let passkey = gone.passkey("ann", Algorithm::Es256).await;
    let begun = gone.begun(Kind::Login, "ann", "", &passkey).await;
    changed(&admin, "DELETE", &path, &json!({"reason": "contract ended"})).await;

    for path in ["/.well-known/jwks.json", "/.well-known/webauthn", "/credentials", "/login/initialize", "/nothing"] {
        assert_eq!(gone.get(&gone.path(path)).await.problem(404, "tenant not found"), "", "{path}");
    }
    assert_eq!(gone.end(Kind::Login, begun.body.clone()).await.problem(404, "tenant not found"), "");
    assert_eq!(gone.call("/registration/initialize", "{}").await.status, 404);
    for (method, rest) in
        [("GET", ""), ("PUT", "/config"), ("GET", "/users"), ("GET", "/secrets/api"), ("GET", "/secrets/jwk"), ("DELETE", "")]
    {
        let answer = ask(&admin, method, &format!("{path}{rest}"), &if method == "PUT" { super::config() } else { Value::Null }).await;
        assert_eq!(answer.problem(404, "tenant not found"), "", "{method} {rest}");
    }
    assert_eq!(admin.get("/tenants").await.json(), json!([{"id": stays.id, "display_name": "Example"}]));
    let listed = admin.get("/tenants?deleted=true").await.json();
    assert_eq!(listed[0]["id"], json!(gone.id));
    assert!(listed[0]["purge_from"].as_str() > listed[0]["deleted_at"].as_str() && listed[0].get("purged_at").is_none(), "{listed}");
    assert_eq!(ask(&admin, "GET", "/tenants?deleted=maybe", &Value::Null).await.status, 400);
    // Its trail is there for those who may read it.
    let auditor = server.admin_as("auditor", &[]).await;
    let event = &events(&auditor, &gone.id).await[0];
    assert_eq!((&event["type"], &event["reason"]), (&json!("tenant_deleted"), &json!("contract ended")));

    assert_eq!(ask(&auditor, "POST", &format!("{path}/restore"), &Value::Null).await.status, 403);
    changed(&admin, "POST", &format!("{path}/restore"), &Value::Null).await;
    assert_eq!(gone.jwks().await.json()["keys"][0]["kid"], json!(gone.kid));
    gone.end(Kind::Login, begun.body).await.token();
    assert_eq!(ask(&admin, "POST", &format!("{path}/restore"), &Value::Null).await.problem(404, "tenant not found"), "");
    stays.passkey("ann", Algorithm::Es256).await;
}

/// How many private keys the token has of this `CKA_ID`, in the eyes of another program.
fn private_halves(server: &Server, kid: &str) -> usize {
    let args = ["--token-label", "passkey-test", "--login", "--pin", "env:PIN", "--list-objects", "--type", "privkey"];
    let id = kid.replace('-', "");
    server.folder.tool(&args, "").lines().filter(|line| line.trim_start().starts_with("ID:") && line.contains(&id)).count()
}

async fn purged(admin: &Api, tenant: &Tenant) -> Value {
    let started = Instant::now();
    loop {
        let listed = admin.get("/tenants?deleted=true").await.json();
        let found = listed.as_array().unwrap().iter().find(|listed| listed["id"] == json!(tenant.id)).cloned().unwrap();
        if found.get("purged_at").is_some() {
            return found;
        }
        assert!(started.elapsed() < Duration::from_secs(20), "{found}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn after_its_grace_period_nothing_is_left_but_the_trail(database: Option<String>) {
    let admin_lines = vec!["deletion_grace_hours = 0".to_owned()];
    let server = Server::start(ServerSpec { database, scheduler: true, admin: admin_lines, ..ServerSpec::default() }).await;
    let admin = server.admin_as("admin", &[]).await;
    let (gone, stays) = (tenant(&server, &admin).await, tenant(&server, &admin).await);
    let bound = server.admin_as("tenant-admin", &[&gone.id]).await;
    for tenant in [&gone, &stays] {
        let passkey = tenant.passkey("ann", Algorithm::Es256).await;
        tenant.end(Kind::Transaction, tenant.assertion(Kind::Transaction, "order", &passkey).await.text()).await.token();
        tenant.options("bob").await;
    }
    let kids: Vec<_> =
        server.store().await.signing_keys_of(gone.id.parse().unwrap()).await.unwrap().into_iter().map(|key| key.id).collect();
    assert_eq!((private_halves(&server, &gone.kid), private_halves(&server, &stays.kid)), (1, 1));
    changed(&admin, "DELETE", &format!("/tenants/{}", gone.id), &Value::Null).await;
    assert_eq!(gone.jwks().await.status, 404);
    purged(&admin, &gone).await;

    for kid in &kids {
        assert_eq!(private_halves(&server, &kid.to_string()), 0, "{kid}");
    }
    assert_eq!(private_halves(&server, &stays.kid), 1);
    let store = server.store().await;
    for key in store.signing_keys_of(gone.id.parse().unwrap()).await.unwrap() {
        assert!(key.private_destroyed_at.is_some() || key.state.as_str() == "destroyed", "{key:?}");
    }
    for (table, left) in
        [("users", 2), ("credentials", 1), ("transactions", 1), ("transaction_evidence", 1), ("api_keys", 1), ("admin_tenants", 0)]
    {
        assert_eq!(server.count(table).await, left, "{table}");
    }
    // The trail tells of the end, keys included; the one who was bound to it is bound to nothing.
    let types: Vec<_> = events(&admin, &gone.id).await.into_iter().map(|event| event["type"].as_str().unwrap().to_owned()).collect();
    for expected in ["tenant_purged", "signing_key_private_destroyed", "tenant_deleted", "webauthn_registration_final_succeeded"] {
        assert!(types.iter().any(|found| found == expected), "{expected}: {types:?}");
    }
    assert_eq!(bound.get(&format!("/tenants/{}/audit_logs", gone.id)).await.status, 403);
    let late = ask(&admin, "POST", &format!("/tenants/{}/restore", gone.id), &Value::Null).await;
    late.problem(409, "the tenant cannot be restored: its grace period is over, or a key of it was destroyed");
    let own = stays.request(reqwest::Method::GET, &stays.path("/credentials")).header("apiKey", &stays.api_key);
    assert_eq!(Answer::to(own).await.json().as_array().unwrap().len(), 1);
    stays.passkey("eve", Algorithm::Es256).await;
}

mod purge {
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn on_sqlite() {
        super::after_its_grace_period_nothing_is_left_but_the_trail(None).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn on_postgres() {
        let url = crate::support::postgres::Server::shared().empty_database().await;
        super::after_its_grace_period_nothing_is_left_but_the_trail(Some(url)).await;
    }
}
