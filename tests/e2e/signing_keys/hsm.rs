//! The HSM on the admin API.

use serde_json::json;

use super::{text, with_tenant};
use crate::support::server::Server;

#[tokio::test]
async fn the_hsm_is_shown_and_taken_out_of_service() {
    let server = Server::sqlite().await;
    let (api, tenant) = with_tenant(&server).await;
    let shown = api.get("/hsm").await.json();
    assert_eq!((text(&shown, "activation"), &shown["ready"]), ("automatic".to_owned(), &json!(true)), "{shown}");
    assert_eq!((&shown["keys_expected"], text(&shown["token"], "label")), (&json!(1), "passkey-test".to_owned()), "{shown}");
    assert_eq!(text(&shown["token"], "module_sha256").len(), 64);
    assert!(shown["pairs_on_token"].as_u64().unwrap() >= 2 && shown["processes"].as_array().unwrap().len() >= 2, "{shown}");
    assert_eq!(api.get("/hsm/orphans").await.json(), json!({"orphans": [], "missing": []}));

    let down = api.post("/hsm/deactivate", r#"{"reason": "maintenance"}"#).await;
    assert_eq!((down.status, text(&down.json(), "activation")), (200, "deactivated".to_owned()), "{}", down.body);
    let away = api.get("/hsm").await.json();
    assert_eq!((&away["ready"], &away["pairs_on_token"]), (&json!(false), &json!(null)), "{away}");
    let entries = api.get("/inventory").await.json();
    assert_eq!((text(&entries[0], "read_from"), &entries[0]["on_token"]), ("evidence".to_owned(), &json!(null)), "{entries}");
    api.get("/hsm/orphans").await.problem(503, "Service Unavailable");
    let up = api.post("/hsm/activate", "{}").await;
    assert_eq!((up.status, text(&up.json(), "activation")), (200, "automatic".to_owned()), "{}", up.body);
    tenant.passkey("ann", crate::support::keys::Algorithm::Es256).await;
    api.post("/hsm/activate", r#"{"pin": ""}"#).await.problem(400, "unable to validate request");
    api.post("/hsm/activate", r#"{"pin": 1234}"#).await.problem(400, "unable to process request");
    api.post("/hsm/activate", r#"{"approval": "x"}"#).await.problem(400, "unable to validate request");
    let events: Vec<_> = server.store().await.audit_events(passkey_hsm::domain::AuditEvent::DEPLOYMENT, 10).await.unwrap();
    let types: Vec<_> = events.iter().map(|event| event.event_type.as_str()).collect();
    assert!(types.contains(&"hsm_activated") && types.contains(&"hsm_deactivated"), "{types:?}");
}
