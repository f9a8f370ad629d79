//! The development page by itself: what it says of good and bad tokens, for each algorithm, and of errors.
//!
//! The server here only hands out the page's files and answers that the test chose, so that it can be wrong on purpose;
//! `browser.rs` runs the page against the real one. `SCREENSHOTS=DIR` keeps a picture of each state.

use std::{path::Path, sync::Arc};

use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::Mutex};

use crate::support::{
    chromium::{Chromium, Page, Protocol, Transport},
    mint::Mint,
};

/// The policy that page.html is written for.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'";
const TENANT: &str = "4d3c2b1a-0000-4000-8000-00000000beef";
const KID: &str = "0f1e2d3c-1111-4111-8111-11111111cafe";

type EditClaims = fn(&mut Value);
type EditToken = fn(&str) -> String;

/// What the server answers next.
struct Answers {
    mint: Mint,
    origin: String,
    initialize: Option<(u16, Value)>,
    finalize: Option<(u16, Value)>,
    jwks: Option<Value>,
    edit_claims: EditClaims,
    edit_token: EditToken,
}

type Shared = Arc<Mutex<Answers>>;

fn with_policy(kind: &'static str, body: &'static str) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, kind), (header::CONTENT_SECURITY_POLICY, POLICY)], body)
}

/// Serves the page on a free port of localhost; returns its origin and the knobs.
async fn serve() -> (String, Shared) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://localhost:{}", listener.local_addr().unwrap().port());
    let shared = Arc::new(Mutex::new(Answers {
        mint: Mint::new("ES256", KID),
        origin: origin.clone(),
        initialize: None,
        finalize: None,
        jwks: None,
        edit_claims: |_| {},
        edit_token: str::to_owned,
    }));
    let app = Router::new()
        .route("/", get(async || with_policy("text/html; charset=utf-8", include_str!("../../src/http/dev/page.html"))))
        .route("/dev/page.js", get(async || with_policy("text/javascript; charset=utf-8", include_str!("../../src/http/dev/page.js"))))
        .route("/dev/page.css", get(async || with_policy("text/css; charset=utf-8", include_str!("../../src/http/dev/page.css"))))
        .route("/dev/info", get(info))
        .route("/dev/register/initialize", post(initialize))
        .route("/{tenant}/registration/finalize", post(finalize))
        .route("/{tenant}/.well-known/jwks.json", get(jwks))
        .with_state(shared.clone());
    tokio::spawn(async move { axum::serve(listener, app).await });
    (origin, shared)
}

async fn info(State(answers): State<Shared>) -> Json<Value> {
    let a = answers.lock().await;
    Json(json!({"tenant_id": TENANT, "rp_id": "localhost", "origins": [a.origin], "algorithm": a.mint.algorithm}))
}

fn answer((status, body): (u16, Value)) -> Response {
    (StatusCode::from_u16(status).unwrap(), [("X-Request-Id", "req-1234")], Json(body)).into_response()
}

async fn initialize(State(answers): State<Shared>, Json(body): Json<Value>) -> Response {
    let options = json!({"publicKey": {
        "rp": {"name": "Demo", "id": "localhost"},
        "user": {"name": body["username"], "displayName": body["username"], "id": "dTE"},
        "challenge": URL_SAFE_NO_PAD.encode([7; 32]),
        "pubKeyCredParams": [{"type": "public-key", "alg": -7}, {"type": "public-key", "alg": -257}],
        "timeout": 60000,
        "authenticatorSelection": {"requireResidentKey": false, "residentKey": "preferred", "userVerification": "preferred"},
        "attestation": body["attestation"],
    }});
    answer(answers.lock().await.initialize.clone().unwrap_or((200, options)))
}

async fn finalize(State(answers): State<Shared>, Json(credential): Json<Value>) -> Response {
    let a = answers.lock().await;
    if let Some(problem) = &a.finalize {
        return answer(problem.clone());
    }
    let now = jsonwebtoken::get_current_timestamp();
    let mut claims = json!({
        "sub": "5b8f2c1e-7a44-4f0e-9d57-0c3c7a1f6a21", "aud": ["localhost"], "cred": credential["id"], "iat": now, "exp": now + 300,
        "iss": format!("{}/{TENANT}", a.origin), "jti": "c0a8e6f2-3b0d-4f65-a1a4-6a3b8e0c7d11", "ceremony": "registration",
    });
    (a.edit_claims)(&mut claims);
    answer((200, json!({"token": (a.edit_token)(&a.mint.token(&claims))})))
}

async fn jwks(State(answers): State<Shared>) -> Json<Value> {
    let a = answers.lock().await;
    Json(a.jwks.clone().unwrap_or_else(|| json!({"keys": [a.mint.jwk()]})))
}

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
    for (width, dark) in [(1200, false), (1200, true), (390, false), (390, true)] {
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
        assert_eq!(checks, json!(["signature pass", "key pass", "audience pass", "expiry pass", "issued pass", "credential pass"]));
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
    let cases: [(&str, Option<Value>, EditClaims, EditToken, String); 7] = [
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
        ("another passkey", None, |c| c["cred"] = json!("AAAA"), str::to_owned, fault("Passkey: not the one just made.")),
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
