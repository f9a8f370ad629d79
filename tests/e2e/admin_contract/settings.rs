//! `/tenants/{id}/settings`

use serde_json::{Value, json};

use super::{NOBODY, ask, changed, events, refused, tenant};
use crate::{
    engines,
    support::{server::Server, server::ServerSpec},
};

engines! { settings_are_replaced_whole_and_their_keys_in_part }

const SHORT: &str = r#"{"jwks_max_age_seconds": 1, "token_lifetime_seconds": 2, "clock_skew_seconds": 0, "publication_seconds": 2,
    "retirement_seconds": 3, "period_seconds": null, "rollback_seconds": 0, "standby": false, "strict": false}"#;

async fn settings_are_replaced_whole_and_their_keys_in_part(server: Server) {
    let admin = server.admin_as("admin", &[]).await;
    let tenant = tenant(&server, &admin).await;
    let path = format!("/tenants/{}/settings", tenant.id);
    let defaults = admin.get(&path).await.json();
    assert_eq!((&defaults["algorithm"], &defaults["keys"]["publication_seconds"]), (&json!("ES256"), &json!(3600)));
    changed(&admin, "PUT", &path, &json!({"exclude_credentials": false, "reason": "shared devices"})).await;
    assert_eq!(admin.get(&path).await.json()["exclude_credentials"], false);
    let event = &events(&admin, &tenant.id).await[0];
    assert_eq!(event["reason"], "shared devices; changed: settings.exclude_credentials");
    changed(&admin, "PUT", &path, &defaults).await;
    assert_eq!(admin.get(&path).await.json(), defaults);

    let short: Value = serde_json::from_str(SHORT).unwrap();
    changed(&admin, "PUT", &path, &json!({"issuer": "https://issuer.example"})).await;
    changed(&admin, "PUT", &format!("{path}/keys"), &json!({"keys": short, "algorithm": "EdDSA"})).await;
    let now = admin.get(&path).await.json();
    assert_eq!((&now["keys"], &now["algorithm"], &now["issuer"]), (&short, &json!("EdDSA"), &json!("https://issuer.example")));

    let unable = "unable to update tenant settings";
    let mut bad = short.clone();
    bad["publication_seconds"] = json!(1);
    let range = "keys: publication_seconds must be between 2 and 31622400, not 1";
    refused(
        &admin,
        &[
            ("PUT", path.clone(), json!({"keys": bad}), 400, unable, range),
            ("PUT", format!("{path}/keys"), json!({"keys": bad}), 400, unable, range),
            ("PUT", format!("{path}/keys"), json!({"keys": []}), 400, unable, "keys must be a table"),
            (
                "PUT",
                format!("{path}/keys"),
                json!({"issuer": "x"}),
                400,
                "unable to process request",
                "unknown member issuer: there are algorithm, rsa_bits, keys, reason",
            ),
            ("GET", format!("/tenants/{NOBODY}/settings"), Value::Null, 404, "tenant not found", ""),
            ("PUT", format!("/tenants/{NOBODY}/settings"), json!({}), 404, "tenant not found", ""),
        ],
    )
    .await;

    // A tenant's own administrator changes all but what concerns keys; a custodian of keys that alone.
    let (own, custodian) = (server.admin_as("tenant-admin", &[&tenant.id]).await, server.admin_as("key-custodian", &[]).await);
    let mut other = now.clone();
    other["issuer"] = Value::Null;
    changed(&own, "PUT", &path, &other).await;
    for bad in [json!({}), json!({"algorithm": "EdDSA"})] {
        let denied = ask(&own, "PUT", &path, &bad).await;
        assert!(denied.problem(403, "Forbidden").contains("change-key-policy"), "{bad}");
    }
    assert_eq!(admin.get(&path).await.json(), other);
    assert_eq!(ask(&own, "PUT", &format!("{path}/keys"), &json!({"algorithm": "ES256"})).await.status, 403);
    assert_eq!(ask(&custodian, "PUT", &path, &other).await.status, 403);
    changed(&custodian, "PUT", &format!("{path}/keys"), &json!({"algorithm": "ES256"})).await;
    assert_eq!(admin.get(&path).await.json()["algorithm"], "ES256");
}

#[tokio::test]
async fn under_dual_control_a_key_policy_and_a_deletion_wait() {
    let server = Server::start(ServerSpec { admin: vec!["dual_control = \"on\"".to_owned()], ..ServerSpec::default() }).await;
    let admin = server.admin_as("admin", &[]).await;
    let tenant = tenant(&server, &admin).await;
    let path = format!("/tenants/{}", tenant.id);
    let waits = ask(&admin, "PUT", &format!("{path}/settings/keys"), &json!({"algorithm": "EdDSA"})).await;
    assert_eq!(waits.status, 202, "{}", waits.body);
    assert_eq!(admin.get(&format!("{path}/settings")).await.json()["algorithm"], "ES256");
    let waits = ask(&admin, "DELETE", &path, &Value::Null).await;
    assert_eq!((waits.status, &waits.json()["state"]), (202, &json!("pending")), "{}", waits.body);
    assert_eq!(tenant.jwks().await.status, 200);
    // What concerns no keys is done at once.
    changed(&admin, "PUT", &format!("{path}/settings"), &json!({"exclude_credentials": false})).await;
}
