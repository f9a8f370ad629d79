//! A server whose PIN is an operator's: it waits, and says so.

use std::fs;

use serde_json::{Value, json};

use crate::support::{
    authenticator::Format,
    keys::Algorithm,
    server::{Server, TenantSpec, text},
};

/// What waits for the PIN is neither done nor lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_pin_a_server_waits_answers_503_and_says_so() {
    let mut server = Server::sqlite().await;
    let tenant = server.create_tenant(&TenantSpec::default());
    let registration = tenant.draft("ann", Format::None, Algorithm::Es256).await.body().to_string();
    server.terminate();
    let config = server.folder.path().join("passkey-hsm.toml");
    let with_file = fs::read_to_string(&config).unwrap();
    let operated = |line: &str| if line.starts_with("pin_file") { "pin_operator = \"on\"".to_owned() } else { line.to_owned() };
    fs::write(&config, with_file.lines().map(operated).collect::<Vec<_>>().join("\n")).unwrap();

    server.restart_unready().await;
    let health = server.admin_api().get("/health/ready").await;
    assert_eq!(health.status, 503);
    let state = "0 of 2 signer processes up: waiting for the operator: passkey-hsm hsm activate";
    assert_eq!(health.json(), json!({"ready": false, "database": true, "hsm": false, "root_secret": false, "hsm_state": state}));
    let waiting = tenant.at(server.api());
    assert_eq!(waiting.finalize(registration.clone()).await.status, 503);
    assert_eq!(waiting.jwks().await.status, 200, "what is public is served");

    let done = server.cli(&["--json", "doctor"]);
    let findings: Vec<Value> = serde_json::from_slice(&done.stdout).unwrap_or_else(|e| panic!("{e}: {}", text(&done)));
    assert!(findings.iter().all(|f| f["ok"] == true) && done.status.success(), "{findings:?}");
    let pin = findings.iter().find(|f| f["name"] == "pin").unwrap();
    assert!(pin["detail"].as_str().unwrap().contains("passkey-hsm hsm activate"), "{pin}");
    assert!(!findings.iter().any(|f| f["name"] == "login"), "nothing logs in without a PIN");

    server.terminate();
    fs::write(&config, with_file).unwrap();
    server.restart().await;
    assert_eq!(tenant.at(server.api()).finalize(registration).await.status, 200);
}
