//! The development page by itself: what it says of good and bad tokens, for each algorithm, and of errors.
//!
//! The server here only hands out the page's files and answers that the test chose, so that it can be wrong on purpose;
//! `browser.rs` runs the page against the real one. `SCREENSHOTS=DIR` keeps a picture of each state.

mod server;
mod story;

use std::path::Path;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use self::server::{EditClaims, EditToken, KID, serve};
use crate::support::{
    chromium::{Chromium, Page, Protocol, Transport},
    mint::Mint,
};

/// Opens the page and waits until it is ready.
async fn open(browser: &Chromium, origin: &str) -> Page {
    let mut page = browser.page().await;
    page.view(1200, false).await;
    page.add_authenticator(Protocol::Ctap2, Transport::Internal).await;
    page.navigate(&format!("{origin}/")).await;
    page.wait_for("document.body.dataset.state !== 'loading'").await;
    page
}

/// Types a name, presses Enter, and waits for the outcome: the state of the body.
async fn register(page: &mut Page) -> String {
    page.evaluate("document.body.dataset.state = 'again'").await;
    page.type_into("#username", "ann").await;
    page.press("Enter").await;
    page.wait_for("['done', 'error'].includes(document.body.dataset.state)").await;
    page.text("document.body.dataset.state").await
}

async fn verdict(page: &mut Page) -> (String, String) {
    (
        page.text("document.querySelector('#verification').dataset.state").await,
        page.text("document.querySelector('#verification-text').textContent").await,
    )
}

/// A picture of the page as it is, wide and narrow, light and dark; only where someone asked for pictures.
async fn picture(page: &mut Page, name: &str) {
    let Some(folder) = std::env::var_os("SCREENSHOTS") else { return };
    for (width, dark) in [(1200, false), (1200, true), (360, false), (360, true)] {
        page.view(width, dark).await;
        let scheme = if dark { "dark" } else { "light" };
        page.screenshot(&Path::new(&folder).join(format!("{name}-{width}-{scheme}.png"))).await;
    }
    page.view(1200, false).await;
}

#[tokio::test]
async fn verifies_every_algorithm() {
    let browser = Chromium::launch().await;
    let (origin, answers) = serve().await;
    let mut page = open(&browser, &origin).await;
    picture(&mut page, "ready").await;
    for algorithm in ["EdDSA", "PS256", "RS256", "ES384", "ES256"] {
        answers.lock().await.mint = Mint::new(algorithm, KID);
        assert_eq!(register(&mut page).await, "done", "{algorithm}");
        assert_eq!(verdict(&mut page).await, ("verified".into(), "Verified against the JWKS in this browser".into()), "{algorithm}");
        let checks =
            page.evaluate("[...document.querySelectorAll('[data-check]')].map(e => e.dataset.check + ' ' + e.dataset.state)").await;
        assert_eq!(
            checks,
            json!(["signature pass", "key pass", "audience pass", "expiry pass", "issued pass", "credential pass", "ceremony pass"])
        );
    }
    assert_eq!(page.text("document.querySelector('#claims [data-member=ceremony]').dataset.json").await, "\"registration\"");
    assert_eq!(page.text("document.activeElement.id").await, "result-title");
    picture(&mut page, "done").await;
    assert!(page.complaints().is_empty(), "{:?}", page.complaints());
}

/// The token with another `sub`, under the same signature.
fn another_subject(token: &str) -> String {
    let [header, payload, signature] = token.split('.').collect::<Vec<_>>().try_into().unwrap();
    let mut claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap();
    claims["sub"] = json!("someone-else");
    format!("{header}.{}.{signature}", URL_SAFE_NO_PAD.encode(claims.to_string()))
}

#[tokio::test]
async fn works_in_browsers_without_the_newer_functions() {
    let browser = Chromium::launch().await;
    let (origin, answers) = serve().await;
    let mut page = open(&browser, &origin).await;
    page.evaluate("delete PublicKeyCredential.parseCreationOptionsFromJSON; delete PublicKeyCredential.prototype.toJSON; 0").await;
    assert_eq!(register(&mut page).await, "done");
    assert_eq!(verdict(&mut page).await.0, "verified");
    page.evaluate("delete PublicKeyCredential.parseRequestOptionsFromJSON; 0").await;
    assert_eq!(story::press(&mut page, "mfa-login").await, "done");
    assert_eq!(verdict(&mut page).await.0, "verified");
    page.evaluate("PublicKeyCredential.prototype.toJSON = () => { throw new TypeError('Illegal invocation') }; 0").await;
    assert_eq!(register(&mut page).await, "done");
    assert_eq!(verdict(&mut page).await.0, "verified");

    answers.lock().await.mint = Mint::new("EdDSA", KID);
    page.evaluate("crypto.subtle.importKey = () => Promise.reject(new DOMException('no', 'NotSupportedError')); 0").await;
    assert_eq!(register(&mut page).await, "done");
    let expected = "Not verified. Signature: this browser cannot verify EdDSA (NotSupportedError).";
    assert_eq!(verdict(&mut page).await, ("unverifiable".to_owned(), expected.to_owned()));
    picture(&mut page, "unverifiable").await;
}

#[tokio::test]
async fn says_why_a_token_is_not_good() {
    let browser = Chromium::launch().await;
    let (origin, answers) = serve().await;
    let mut page = open(&browser, &origin).await;
    let other_key = json!({"keys": [Mint::new("ES256", KID).jwk()]});
    let no_key = json!({"keys": []});
    let other_algorithm = {
        let a = answers.lock().await;
        let mut k = a.mint.jwk();
        k["alg"] = json!("ES384");
        json!({"keys": [k]})
    };
    let fault = |text: &str| format!("Not verified. {text}");
    let cases: [(&str, Option<Value>, EditClaims, EditToken, String); 8] = [
        ("another key", Some(other_key), |_| {}, str::to_owned, fault(&format!("Signature: does not verify with key {KID}."))),
        (
            "no key",
            Some(no_key),
            |_| {},
            str::to_owned,
            fault(&format!("Signature: not checked, there is no key to check it with. Key: the JWKS has no key {KID}.")),
        ),
        (
            "key for another algorithm",
            Some(other_algorithm),
            |_| {},
            str::to_owned,
            fault("Signature: not checked, there is no key to check it with. Key: the key is for ES384, the token says ES256."),
        ),
        ("audience", None, |c| c["aud"] = json!(["example.org"]), str::to_owned, fault("Audience: example.org is not localhost.")),
        ("expired", None, |c| c["exp"] = json!(1_700_000_000), str::to_owned, fault("Expiry: the token has expired.")),
        ("another passkey", None, |c| c["cred"] = json!("AAAA"), str::to_owned, fault("Passkey: not the one just used.")),
        ("ceremony", None, |c| c["ceremony"] = json!("login"), str::to_owned, fault("Ceremony: login is not registration.")),
        ("payload changed", None, |_| {}, another_subject, fault(&format!("Signature: does not verify with key {KID}."))),
    ];
    for (name, jwks, edit_claims, edit_token, expected) in cases {
        {
            let mut a = answers.lock().await;
            (a.jwks, a.edit_claims, a.edit_token) = (jwks, edit_claims, edit_token);
        }
        assert_eq!(register(&mut page).await, "done", "{name}");
        assert_eq!(verdict(&mut page).await, ("refused".to_owned(), expected), "{name}");
        picture(&mut page, &format!("refused-{}", name.replace(' ', "-"))).await;
    }
}

#[tokio::test]
async fn shows_errors_in_the_contracts_form() {
    let browser = Chromium::launch().await;
    let (origin, answers) = serve().await;
    let mut page = open(&browser, &origin).await;
    let problem = json!({"title": "failed to validate attestation", "details": "step 8: Error validating challenge", "status": 400});
    answers.lock().await.finalize = Some((400, problem));
    assert_eq!(register(&mut page).await, "error");
    for (id, expected) in [
        ("error-title", "failed to validate attestation"),
        ("error-details", "step 8: Error validating challenge"),
        ("error-status", "400"),
    ] {
        assert_eq!(page.text(&format!("document.getElementById('{id}').textContent")).await, expected);
    }
    assert_eq!(page.text("document.activeElement.id").await, "error");
    assert_eq!(page.evaluate("document.getElementById('result').hidden").await, json!(true));
    picture(&mut page, "error").await;

    answers.lock().await.finalize = None;
    page.call("WebAuthn.disable", json!({})).await;
    page.evaluate("navigator.credentials.create = () => Promise.reject(new DOMException('refused', 'NotAllowedError'))").await;
    assert_eq!(register(&mut page).await, "error");
    assert_eq!(page.text("document.getElementById('error').dataset.status").await, "0");
    assert_eq!(page.text("document.getElementById('error-title').textContent").await, "The browser made no passkey (NotAllowedError)");
}

#[tokio::test]
async fn says_when_it_is_open_at_the_wrong_place() {
    let browser = Chromium::launch().await;
    let (origin, answers) = serve().await;
    answers.lock().await.origin = "http://localhost:1".to_owned();
    let mut page = open(&browser, &origin).await;
    let text = page.text("document.getElementById('notice').textContent").await;
    assert_eq!(text, format!("This page is open at {origin}, which the tenant does not accept. Open it at http://localhost:1."));
    picture(&mut page, "elsewhere").await;
}
