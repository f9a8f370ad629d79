//! The HSM on the admin API.

use serde_json::json;

use super::{text, with_tenant};
use crate::support::server::{Server, ServerSpec};

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

    let measured = api.post("/hsm/bench", r#"{"seconds": 1, "concurrency": 2}"#).await.json();
    assert!(
        measured["signatures"].as_u64().unwrap() > 0 && measured["errors"] == 0 && measured["p99_ms"].as_f64() > Some(0.0),
        "{measured}"
    );
    for body in [r#"{"seconds": 0}"#, r#"{"seconds": 31}"#, r#"{"concurrency": 65}"#, r#"{"concurrency": -1}"#, r#"{"second": 1}"#] {
        api.post("/hsm/bench", body).await.problem(400, "unable to process request");
    }

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

/// The server's configuration with the PIN in an operator's head.
fn forget_the_pin(server: &Server) {
    let path = server.folder.path().join("passkey-hsm.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let lines = text.lines().map(|line| if line.starts_with("pin_file") { "pin_operator = \"on\"" } else { line });
    std::fs::write(&path, lines.collect::<Vec<_>>().join("\n")).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_enters_the_pin() {
    let mut server = Server::start(ServerSpec { log_level: "trace", ..ServerSpec::default() }).await;
    let (api, tenant) = with_tenant(&server).await;
    let token = api.token().to_owned();
    server.terminate();
    forget_the_pin(&server);
    server.restart_unready().await;
    let (api, tenant) = (server.admin_api().with_token(&token), tenant.at(server.api()));
    let waiting = api.get("/hsm").await.json();
    assert_eq!((text(&waiting, "activation"), &waiting["ready"]), ("waiting".to_owned(), &json!(false)), "{waiting}");
    let wrong = api.post("/hsm/activate", r#"{"pin": "0000000000"}"#).await;
    let details = wrong.problem(400, "unable to process request");
    assert!(details.starts_with("the token does not accept the PIN"), "{details}");
    assert_eq!(text(&api.get("/hsm").await.json(), "activation"), "waiting");
    let up = api.post("/hsm/activate", json!({"pin": server.pin.as_str(), "reason": "after the upgrade"}).to_string()).await;
    assert_eq!((up.status, text(&up.json(), "activation")), (200, "activated".to_owned()), "{}", up.body);
    server.wait_until_ready().await;
    tenant.passkey("ann", crate::support::keys::Algorithm::Es256).await;
    assert!(!up.body.contains(&server.pin) && !server.log().contains(&server.pin));
    let events = server.store().await.audit_events(passkey_hsm::domain::AuditEvent::DEPLOYMENT, 10).await.unwrap();
    let tries: Vec<_> = events.iter().filter(|event| event.event_type.as_str() == "hsm_activated").collect();
    assert!(tries.len() == 2 && tries[0].error.is_none() && tries[1].error.is_some(), "{tries:?}");
    assert_eq!(tries[0].reason.as_deref(), Some("after the upgrade"));
}
