//! Every ceremony, in the order in which a person meets them.

use std::path::Path;

use serde_json::{Value, json};

use super::{open, outcome, press, register, serve, sign_in, sign_out, text};
use crate::support::{
    chromium::{Chromium, Page, Protocol, Transport},
    jose,
    server::Server,
};

async fn jwks(server: &Server) -> Value {
    let info = server.api().get("/dev/info").await.json();
    server.api().get(&format!("/{}/.well-known/jwks.json", info["tenant_id"].as_str().unwrap())).await.json()
}

/// The claims of a token that verifies, outside the browser too.
fn claims(outcome: Result<String, String>, jwks: &Value) -> Value {
    jose::verify(&outcome.unwrap(), jwks, "localhost").claims
}

/// Presses a button of a passkey's row.
async fn press_in_list(page: &mut Page, label: &str) {
    page.evaluate(&format!("document.querySelector('#passkey-list [aria-label^={label}]').click()")).await;
}

#[tokio::test]
async fn a_person_goes_through_every_ceremony() {
    let server = serve().await;
    let jwks = jwks(&server).await;
    let browser = Chromium::launch().await;
    let (mut page, device) = open(&server, &browser, Protocol::Ctap2, Transport::Internal).await;
    assert_eq!(register(&mut page, "ann", "none").await, "done");

    // Conditional mediation: the simulated user picks the passkey as soon as the field offers it.
    sign_out(&mut page).await;
    page.wait_for("document.body.dataset.flow === 'autofill'").await;
    let login = claims(outcome(&mut page).await, &jwks);
    assert_eq!((&login["ceremony"], &login["sub"], &login["uv"]), (&json!("login"), &json!("ann"), &json!(true)));
    let login = claims(press(&mut page, "login-any").await, &jwks);
    assert_eq!((&login["ceremony"], &login["sub"]), (&json!("login"), &json!("ann")));
    let login = claims(sign_in(&mut page, "ann").await, &jwks);
    assert_eq!((&login["ceremony"], &login["sub"]), (&json!("login"), &json!("ann")));

    // A security key comes, as second factor; it is touched when it is its turn.
    page.set_presence(&device, false).await;
    let key = page.add_authenticator(Protocol::Ctap2, Transport::Usb).await;
    let added = claims(press(&mut page, "mfa-register").await, &jwks);
    assert_eq!((&added["ceremony"], &added["sub"]), (&json!("mfa_registration"), &json!("ann")));
    let used = claims(press(&mut page, "mfa-login").await, &jwks);
    assert_eq!((&used["ceremony"], &used["cred"]), (&json!("mfa_login"), &added["cred"]));
    page.set_presence(&key, false).await;
    page.set_presence(&device, true).await;

    page.type_into("#amount", "50").await;
    page.type_into("#payee", "Fish & <Chips>").await;
    let paid = claims(press(&mut page, "pay").await, &jwks);
    assert_eq!((&paid["ceremony"], &paid["sub"], &paid["cred"]), (&json!("transaction"), &json!("ann"), &login["cred"]));
    assert_eq!(text(&mut page, "result-title").await, "Confirmed: Pay 50 EUR to Fish & <Chips>");
    assert_eq!(server.count("transactions WHERE state = 'confirmed'").await, 1);
    if let Some(folder) = std::env::var_os("SCREENSHOTS") {
        page.view(1200, false).await;
        page.screenshot(&Path::new(&folder).join("story.png")).await;
    }

    let events = page.evaluate("[...document.querySelectorAll('#events [data-event]')].map(e => e.dataset.event)").await;
    for event in ["webauthn_registration", "webauthn_authentication", "mfa_registration", "mfa_authentication", "webauthn_transaction"] {
        assert!(events.as_array().unwrap().contains(&json!(format!("{event}_final_succeeded"))), "{event}: {events}");
    }
    assert!(page.complaints().is_empty(), "{:?}", page.complaints());
}

#[tokio::test]
async fn a_person_renames_and_deletes_a_passkey() {
    let server = serve().await;
    let browser = Chromium::launch().await;
    let (mut page, device) = open(&server, &browser, Protocol::Ctap2, Transport::Internal).await;
    assert_eq!(register(&mut page, "ann", "none").await, "done");
    press_in_list(&mut page, "Rename").await;
    page.type_into("#passkey-list input", "Blue & <green>").await;
    page.press("Enter").await;
    page.wait_for("document.querySelector('#passkey-list strong').textContent === 'Blue & <green>'").await;

    press_in_list(&mut page, "Delete").await;
    assert_eq!(server.count("credentials").await, 1);
    press_in_list(&mut page, "Delete").await;
    page.wait_for("document.querySelectorAll('#passkey-list li').length === 0").await;
    assert_eq!(server.count("credentials").await, 0);
    // The browser was told by the Signal API, and its authenticator offers the passkey no more.
    assert!(page.credentials(&device).await.is_empty());
    let refused = sign_in(&mut page, "ann").await.unwrap_err();
    assert!(refused.contains("Found no credentials for user"), "{refused}");
    let events = page.evaluate("[...document.querySelectorAll('#events [data-event]')].map(e => e.dataset.event)").await;
    for event in ["webauthn_credential_updated", "webauthn_credential_deleted", "webauthn_authentication_init_failed"] {
        assert!(events.as_array().unwrap().contains(&json!(event)), "{event}: {events}");
    }
}

#[tokio::test]
async fn a_key_of_the_first_generation_signs_in_by_name() {
    let server = serve().await;
    let jwks = jwks(&server).await;
    let browser = Chromium::launch().await;
    let (mut page, _) = open(&server, &browser, Protocol::U2f, Transport::Usb).await;
    assert_eq!(register(&mut page, "ann", "direct").await, "done");
    sign_out(&mut page).await;
    let login = claims(sign_in(&mut page, "ann").await, &jwks);
    assert_eq!((&login["ceremony"], &login["sub"], &login["uv"]), (&json!("login"), &json!("ann"), &json!(false)));
    let paid = claims(press(&mut page, "pay").await, &jwks);
    assert_eq!((&paid["ceremony"], &paid["sub"]), (&json!("transaction"), &json!("ann")), "a key that returns no user handle");
    assert!(page.complaints().is_empty(), "{:?}", page.complaints());
}

#[tokio::test]
async fn a_resident_key_on_usb_signs_in_without_a_name() {
    let server = serve().await;
    let jwks = jwks(&server).await;
    let browser = Chromium::launch().await;
    let (mut page, key) = open(&server, &browser, Protocol::Ctap2, Transport::Usb).await;
    assert_eq!(register(&mut page, "ann", "none").await, "done");
    assert_eq!(page.credentials(&key).await[0]["isResidentCredential"], json!(true));
    let login = claims(press(&mut page, "login-any").await, &jwks);
    assert_eq!((&login["ceremony"], &login["sub"]), (&json!("login"), &json!("ann")));
}
