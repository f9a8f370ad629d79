//! The page's story: signing in, with autofill too, a second factor, a payment, the list of passkeys, the audit log.

use serde_json::json;

use super::{
    open, picture, register,
    server::{EditClaims, USER, serve},
    verdict,
};
use crate::support::chromium::{Chromium, Page, Protocol, Transport};

/// Presses a button as a user does, and waits for the outcome: the state of the body.
pub(super) async fn press(page: &mut Page, button: &str) -> String {
    page.evaluate(&format!("document.body.dataset.state = 'again', document.getElementById('{button}').click()")).await;
    page.wait_for("['done', 'error'].includes(document.body.dataset.state)").await;
    page.text("document.body.dataset.state").await
}

async fn text(page: &mut Page, id: &str) -> String {
    page.text(&format!("document.getElementById('{id}').textContent")).await
}

async fn claim(page: &mut Page, name: &str) -> String {
    page.text(&format!("JSON.parse(document.querySelector('#claims [data-member={name}]').dataset.json)")).await
}

#[tokio::test]
async fn goes_from_registration_to_a_payment() {
    let browser = Chromium::launch().await;
    let (origin, answers) = serve().await;
    answers.lock().await.resident_key = "required";
    let mut page = open(&browser, &origin).await;
    let disabled = "['mfa-register', 'mfa-login', 'pay'].map(id => document.getElementById(id).disabled)";
    assert_eq!(page.evaluate(disabled).await, json!([true, true, true]));
    assert_eq!(register(&mut page).await, "done");
    assert_eq!(text(&mut page, "session-text").await, format!("Signed in as {USER}."));
    assert_eq!(page.evaluate(disabled).await, json!([false, false, false]));

    page.type_into("#amount", "12.34").await;
    page.type_into("#payee", "Fish & <Chips>").await;
    assert_eq!(text(&mut page, "pay-text").await, "Pay 12.34 EUR to Fish & <Chips>");
    for (button, ceremony) in
        [("mfa-register", "mfa_registration"), ("mfa-login", "mfa_login"), ("pay", "transaction"), ("login-any", "login")]
    {
        assert_eq!(press(&mut page, button).await, "done", "{button}: {}", text(&mut page, "error-title").await);
        assert_eq!(verdict(&mut page).await, ("verified".to_owned(), "Verified against the JWKS in this browser".to_owned()), "{button}");
        assert_eq!(claim(&mut page, "ceremony").await, ceremony);
        picture(&mut page, &format!("done-{button}")).await;
    }
    assert!(page.complaints().is_empty(), "{:?}", page.complaints());
}

#[tokio::test]
async fn a_passkey_that_is_picked_in_the_field_signs_in() {
    let browser = Chromium::launch().await;
    let (origin, answers) = serve().await;
    answers.lock().await.resident_key = "required";
    let mut page = browser.page().await;
    page.view(1200, false).await;
    let authenticator = page.add_authenticator(Protocol::Ctap2, Transport::Internal).await;
    page.navigate(&format!("{origin}/")).await;
    page.wait_for("document.body.dataset.state === 'ready'").await;
    assert_eq!(register(&mut page).await, "done");
    assert_eq!(page.text("document.getElementById('autofill').dataset.state").await, "off");

    // Nobody picks one: the page waits, and what the user does instead ends that.
    page.set_presence(&authenticator, false).await;
    page.evaluate("document.getElementById('sign-out').click()").await;
    page.wait_for("document.getElementById('autofill').dataset.state === 'waiting'").await;
    picture(&mut page, "autofill").await;
    assert_eq!(page.text("document.body.dataset.state").await, "ready");
    page.set_presence(&authenticator, true).await;
    assert_eq!(press(&mut page, "login-any").await, "done");
    assert_eq!(page.text("document.body.dataset.flow").await, "login");

    // The browser's user, who is simulated, picks at once.
    page.evaluate("document.getElementById('sign-out').click()").await;
    page.wait_for("document.body.dataset.flow === 'autofill' && document.body.dataset.state === 'done'").await;
    assert_eq!(verdict(&mut page).await.0, "verified");
    assert_eq!(claim(&mut page, "ceremony").await, "login");
    assert_eq!(text(&mut page, "session-text").await, format!("Signed in as {USER}."));
    assert!(page.complaints().is_empty(), "{:?}", page.complaints());
}

#[tokio::test]
async fn a_token_of_another_user_payment_or_ceremony_is_not_good() {
    let browser = Chromium::launch().await;
    let (origin, answers) = serve().await;
    let mut page = open(&browser, &origin).await;
    assert_eq!(register(&mut page).await, "done");
    let cases: [(&str, EditClaims, &str); 5] = [
        ("pay", |c| c["trans"] = json!("pay-1"), "Transaction: not the one just begun."),
        ("pay", |c| c["trans_hash"] = json!("AAAA"), "Data: not what was shown here."),
        ("pay", |c| c["ceremony"] = json!("login"), "Ceremony: login is not transaction."),
        ("mfa-login", |c| c["ceremony"] = json!("login"), "Ceremony: login is not mfa_login."),
        ("mfa-login", |c| c["sub"] = json!("ben"), "User: ben is not 5b8f2c1e-7a44-4f0e-9d57-0c3c7a1f6a21."),
    ];
    for (button, edit_claims, fault) in cases {
        answers.lock().await.edit_claims = edit_claims;
        assert_eq!(press(&mut page, button).await, "done");
        assert_eq!(verdict(&mut page).await, ("refused".to_owned(), format!("Not verified. {fault}")));
        assert_eq!(text(&mut page, "session-text").await, format!("Signed in as {USER}."), "a bad token signs nobody in");
    }
}

#[tokio::test]
async fn lists_renames_and_deletes_passkeys() {
    let browser = Chromium::launch().await;
    let (origin, answers) = serve().await;
    let mut page = open(&browser, &origin).await;
    assert_eq!(page.evaluate("document.getElementById('passkeys').hidden").await, json!(true));
    assert_eq!(register(&mut page).await, "done");
    assert_eq!(press(&mut page, "mfa-register").await, "done");
    let names = "[...document.querySelectorAll('#passkey-list strong')].map(e => e.textContent)";
    assert_eq!(page.evaluate(names).await, json!(["Key 1", "Key 2"]));
    assert_eq!(
        page.evaluate("[...document.querySelectorAll('#passkey-list li')].map(e => e.dataset.kind)").await,
        json!(["passkey", "mfa"])
    );

    page.evaluate("document.querySelector('[aria-label=\"Rename Key 1\"]').click()").await;
    picture(&mut page, "renaming").await;
    page.type_into("#passkey-list input", "<b>Blue</b> key").await;
    page.press("Enter").await;
    page.wait_for("document.querySelector('#passkey-list strong').textContent === '<b>Blue</b> key'").await;
    assert_eq!(text(&mut page, "announce").await, "Renamed to <b>Blue</b> key.");
    assert_eq!(page.text("document.activeElement.id").await, "passkeys-title");

    // What the server refuses is shown as it says it.
    page.evaluate("document.querySelector('[aria-label^=\"Rename\"]').click()").await;
    page.type_into("#passkey-list input", " ").await;
    page.press("Enter").await;
    page.wait_for("!document.getElementById('error').hidden").await;
    assert_eq!(text(&mut page, "error-details").await, "name is a required field");

    // Once is not enough.
    let delete = "document.querySelector('[aria-label=\"Delete Key 2\"]').click()";
    page.evaluate(delete).await;
    assert_eq!(answers.lock().await.credentials.len(), 2);
    page.evaluate(delete).await;
    page.wait_for("document.querySelectorAll('#passkey-list li').length === 1").await;
    assert_eq!(answers.lock().await.credentials.len(), 1);
    assert_eq!(page.evaluate("document.querySelectorAll('#events [data-event]').length").await, json!(2));
}

#[tokio::test]
async fn asks_for_a_name_where_one_is_needed() {
    let browser = Chromium::launch().await;
    let (origin, _) = serve().await;
    let mut page = open(&browser, &origin).await;
    page.evaluate("document.getElementById('login').click()").await;
    assert_eq!(page.evaluate("document.getElementById('login-missing').hidden").await, json!(false));
    assert_eq!(page.text("document.activeElement.id").await, "login-user");
    assert_eq!(page.text("document.body.dataset.state").await, "ready");
}
