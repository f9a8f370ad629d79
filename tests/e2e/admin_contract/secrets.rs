//! `/tenants/{id}/secrets/{api,jwk}`

use serde_json::{Value, json};

use super::{NOBODY, ask, changed, events, members, refused, tenant};
use crate::{
    engines,
    support::{
        api::{Answer, Api},
        server::Server,
    },
};

engines! { rows_of_api_keys, rows_of_jwk_secrets }

async fn list(admin: &Api, path: &str) -> Vec<Value> {
    let answer = admin.get(path).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json().as_array().unwrap().clone()
}

/// What both kinds refuse alike.
async fn refusals(admin: &Api, path: &str) {
    let unable = "unable to create key";
    refused(
        admin,
        &[
            ("POST", path.to_owned(), json!({}), 400, unable, "name is a required field"),
            ("POST", path.to_owned(), json!({"name": ""}), 400, unable, "name is a required field"),
            ("POST", path.to_owned(), json!({"name": "n".repeat(201)}), 400, unable, "name cannot have more than 200 entries"),
            ("DELETE", format!("{path}/x"), Value::Null, 400, "unable to remove key", "SecretId must be a valid uuid4"),
            (
                "DELETE",
                format!("{path}/{}", NOBODY.to_uppercase()),
                Value::Null,
                400,
                "unable to remove key",
                "SecretId must be a valid uuid4",
            ),
            (
                "DELETE",
                format!("{path}/7a1a0c3e-9f0e-1f0e-8c1e-0123456789ab"),
                Value::Null,
                400,
                "unable to remove key",
                "SecretId must be a valid uuid4",
            ),
            ("DELETE", format!("{path}/{NOBODY}"), Value::Null, 404, &format!("secret with ID '{NOBODY}' not found"), ""),
            ("GET", path.replace("/tenants/", "/tenants/x"), Value::Null, 400, "tenant_id must be a valid uuid4", ""),
        ],
    )
    .await;
    let kind = path.rsplit('/').next().unwrap();
    let nowhere = format!("/tenants/{NOBODY}/secrets/{kind}");
    refused(
        admin,
        &[
            ("GET", nowhere.clone(), Value::Null, 404, "tenant not found", ""),
            ("POST", nowhere.clone(), json!({"name": "x"}), 404, "tenant not found", ""),
            ("DELETE", format!("{nowhere}/{NOBODY}"), Value::Null, 404, "tenant not found", ""),
        ],
    )
    .await;
}

async fn rows_of_api_keys(server: Server) {
    let admin = server.admin_as("admin", &[]).await;
    let tenant = tenant(&server, &admin).await;
    let path = format!("/tenants/{}/secrets/api", tenant.id);
    refusals(&admin, &path).await;
    let made = ask(&admin, "POST", &path, &json!({"name": "backend"})).await;
    assert_eq!((made.status, members(&made.json())), (201, vec!["created_at", "id", "name", "secret"]), "{}", made.body);
    let made = made.json();
    let secret = made["secret"].as_str().unwrap();
    let listing = |key: String| tenant.request(reqwest::Method::GET, &tenant.path("/credentials")).header("apiKey", key);
    assert_eq!(Answer::to(listing(secret.to_owned())).await.status, 200);

    // Afterwards nothing of it is shown, to anybody.
    for api in [&admin, &server.admin_as("auditor", &[]).await, &server.admin_as("tenant-admin", &[&tenant.id]).await] {
        let listed = list(api, &path).await;
        assert_eq!(listed.iter().map(|key| &key["name"]).collect::<Vec<_>>(), ["Initial API Key", "backend"]);
        for key in &listed {
            assert_eq!(members(key), ["created_at", "id", "name", "secret"]);
            assert_eq!(key["secret"], "********");
        }
    }
    for text in [admin.get(&path).await.body, server.log()] {
        assert!(!text.contains(&secret[..16]) && !text.contains(&tenant.api_key[..16]));
    }
    let taken = ask(&admin, "POST", &path, &json!({"name": "backend"})).await;
    assert_eq!(taken.problem(409, "unable to create key"), "the tenant already has an API key named backend, or a signing key");

    // Once deleted it opens nothing, and its name is free.
    let id = made["id"].as_str().unwrap();
    changed(&admin, "DELETE", &format!("{path}/{id}"), &json!({"reason": "leaked"})).await;
    assert_eq!(Answer::to(listing(secret.to_owned())).await.status, 401);
    assert_eq!(list(&admin, &path).await.len(), 1);
    let gone = ask(&admin, "DELETE", &format!("{path}/{id}"), &Value::Null).await;
    assert_eq!(gone.problem(404, &format!("secret with ID '{id}' not found")), "");
    assert_eq!(ask(&admin, "POST", &path, &json!({"name": "backend"})).await.status, 201);
    let events = events(&admin, &tenant.id).await;
    let revoked = events.iter().find(|event| event["type"] == "api_key_revoked").unwrap();
    assert_eq!(revoked["reason"], "leaked");
}

async fn rows_of_jwk_secrets(server: Server) {
    let admin = server.admin_as("admin", &[]).await;
    let tenant = tenant(&server, &admin).await;
    let path = format!("/tenants/{}/secrets/jwk", tenant.id);
    refusals(&admin, &path).await;
    let [first] = &list(&admin, &path).await[..] else { panic!("a tenant begins with one key") };
    assert_eq!(members(first), ["created_at", "id", "name", "secret"]);
    assert_eq!((&first["id"], &first["name"], &first["secret"]), (&json!(tenant.kid), &json!(tenant.kid), &json!(tenant.kid)));

    // Names are one space with those of API keys.
    let taken = ask(&admin, "POST", &path, &json!({"name": "Initial API Key"})).await;
    assert_eq!(taken.problem(409, "unable to create key"), "the tenant already has an API key named Initial API Key, or a signing key");
    let made = ask(&admin, "POST", &path, &json!({"name": "next"})).await;
    assert_eq!((made.status, members(&made.json())), (201, vec!["created_at", "id", "name", "secret"]), "{}", made.body);
    let kid = made.json()["id"].as_str().unwrap().to_owned();
    assert_eq!((&made.json()["secret"], &made.json()["name"]), (&json!(kid), &json!("next")));
    let api = format!("/tenants/{}/secrets/api", tenant.id);
    assert_eq!(ask(&admin, "POST", &api, &json!({"name": "next"})).await.status, 409);
    let again = ask(&admin, "POST", &path, &json!({"name": "third"})).await;
    assert!(again.problem(409, "the key was not changed").starts_with("one-pending: "));

    // It is in the HSM, and planned; the one that signs signs on.
    let store = server.store().await;
    let key = store.signing_key(kid.parse().unwrap()).await.unwrap().unwrap();
    assert_eq!((key.plan.as_str(), key.evidence.is_some()), ("activate", true));
    assert_eq!(list(&admin, &path).await.len(), 2);
    assert_eq!(store.active_signing_key(tenant.id.parse().unwrap()).await.unwrap().unwrap().id.to_string(), tenant.kid);

    // One that never signed is retired at once, and its name is free.
    changed(&admin, "DELETE", &format!("{path}/{kid}"), &Value::Null).await;
    assert_eq!(list(&admin, &path).await.len(), 1);
    assert_eq!(ask(&admin, "DELETE", &format!("{path}/{kid}"), &Value::Null).await.status, 404);
    assert_eq!(store.signing_key(kid.parse().unwrap()).await.unwrap().unwrap().state.as_str(), "retired");
    assert_eq!(ask(&admin, "POST", &api, &json!({"name": "next"})).await.status, 201);

    // One that signs goes on until its successor may, which is made.
    changed(&admin, "DELETE", &format!("{path}/{}", tenant.kid), &Value::Null).await;
    let left = list(&admin, &path).await;
    assert_eq!(left.len(), 2, "{left:?}");
    let next = store.signing_keys_of(tenant.id.parse().unwrap()).await.unwrap();
    let next = next.iter().find(|key| ["pending", "published"].contains(&key.state.as_str())).unwrap();
    assert_eq!(next.plan.as_str(), "activate");
    tenant.passkey("ann", crate::support::keys::Algorithm::Es256).await;
}
