//! A private key in two authenticators: what the signature counter tells (WebAuthn L3 section 6.1.1).

use std::fs;

use serde_json::{Value, json};

use super::{open, register, serve, sign_in};
use crate::support::{
    chromium::{Chromium, Page, Protocol, Transport},
    server::Server,
};

/// A tab with the passkey that signed in twice, and another with a copy of it from before.
async fn original_and_copy(server: &Server, browser: &Chromium) -> (Page, Page) {
    let (mut original, authenticator) = open(server, browser, Protocol::Ctap2, Transport::Internal).await;
    assert_eq!(register(&mut original, "ann", "none").await, "done");
    let copied = original.credentials(&authenticator).await.remove(0);
    for _ in 0..2 {
        sign_in(&mut original, "ann").await.unwrap();
    }
    let (mut copy, authenticator) = open(server, browser, Protocol::Ctap2, Transport::Internal).await;
    // Where it is not discoverable, no field offers it: the copy is used when this test says so.
    let mut hidden = copied;
    hidden["isResidentCredential"] = json!(false);
    copy.add_credential(&authenticator, &hidden).await;
    (original, copy)
}

/// Makes the demo tenant refuse copies.
async fn refuse_clones(server: &Server) {
    let tenant = server.api().get("/dev/info").await.json()["tenant_id"].as_str().unwrap().to_owned();
    let got = server.cli(&["--json", "tenant", "config", "get", &tenant]);
    let mut config: Value = serde_json::from_slice(&got.stdout).unwrap();
    config["settings"]["cloned_credentials"] = json!("refuse");
    let file = server.folder.path().join("config.json");
    fs::write(&file, config.to_string()).unwrap();
    assert!(server.cli(&["tenant", "config", "set", &tenant, file.to_str().unwrap()]).status.success());
}

/// Reported, in the audit log that the page shows.
async fn is_reported(page: &mut Page) -> bool {
    page.evaluate("document.querySelector('[data-event=webauthn_credential_clone_suspected]') !== null").await == json!(true)
}

#[tokio::test]
async fn a_copy_that_signs_in_is_reported() {
    let server = serve().await;
    let browser = Chromium::launch().await;
    let (mut original, mut copy) = original_and_copy(&server, &browser).await;
    assert!(!is_reported(&mut original).await);
    sign_in(&mut copy, "ann").await.unwrap();
    assert!(is_reported(&mut copy).await);
    // The stored counter stays the greatest, so that the original is no suspect.
    sign_in(&mut original, "ann").await.unwrap();
    assert_eq!(server.count("audit_events WHERE event_type = 'webauthn_credential_clone_suspected'").await, 1);
}

#[tokio::test]
async fn a_copy_is_refused_where_the_tenant_says_so() {
    let server = serve().await;
    let browser = Chromium::launch().await;
    refuse_clones(&server).await;
    let (mut original, mut copy) = original_and_copy(&server, &browser).await;
    let refused = sign_in(&mut copy, "ann").await.unwrap_err();
    assert!(refused.starts_with("failed to validate assertion: step 22: Error validating the signature counter"), "{refused}");
    assert_eq!(copy.text("document.getElementById('error').dataset.status").await, "401");
    assert!(is_reported(&mut copy).await);
    sign_in(&mut original, "ann").await.unwrap();
}
