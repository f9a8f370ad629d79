//! The development page of the real server, in a real browser: a person's whole way to a token.

mod clones;
mod story;

use serde_json::json;

use crate::support::{
    api::Answer,
    chromium::{Chromium, Page, Protocol, Transport},
    jose,
    server::{Server, ServerSpec},
};

async fn text(page: &mut Page, id: &str) -> String {
    page.text(&format!("document.getElementById('{id}').textContent")).await
}

/// Registers by keyboard alone, and waits for the outcome.
async fn register(page: &mut Page, user: &str, attestation: &str) -> String {
    page.evaluate(&format!("document.getElementById('attestation-{attestation}').checked = true")).await;
    page.type_into("#username", user).await;
    page.press("Enter").await;
    page.wait_for("['done', 'error'].includes(document.body.dataset.state)").await;
    page.text("document.body.dataset.state").await
}

/// A development server.
async fn serve() -> Server {
    Server::start(ServerSpec { dev: true, ..ServerSpec::default() }).await
}

/// Opens the page with an authenticator, and waits until it is ready. Returns the authenticator's id, too.
async fn open(server: &Server, browser: &Chromium, protocol: Protocol, transport: Transport) -> (Page, String) {
    let mut page = browser.page().await;
    let authenticator = page.add_authenticator(protocol, transport).await;
    page.navigate(&format!("{}/", server.url())).await;
    page.wait_for("document.body.dataset.state === 'ready'").await;
    (page, authenticator)
}

/// Waits for the end of what was begun, of which the page said that it is `again`; the token, or the title and details of the refusal.
async fn outcome(page: &mut Page) -> Result<String, String> {
    page.wait_for("['done', 'error'].includes(document.body.dataset.state)").await;
    if page.text("document.body.dataset.state").await == "error" {
        return Err(format!("{}: {}", text(page, "error-title").await, text(page, "error-details").await));
    }
    assert_eq!(text(page, "verification-text").await, "Verified against the JWKS in this browser");
    Ok(text(page, "token-raw").await)
}

/// Presses a button, and waits for what comes of it.
async fn press(page: &mut Page, button: &str) -> Result<String, String> {
    page.evaluate(&format!("document.body.dataset.state = 'again', document.getElementById('{button}').click()")).await;
    outcome(page).await
}

/// Signs in by name, by keyboard alone.
async fn sign_in(page: &mut Page, user: &str) -> Result<String, String> {
    page.evaluate("document.body.dataset.state = 'again'").await;
    page.type_into("#login-user", user).await;
    page.press("Enter").await;
    outcome(page).await
}

async fn sign_out(page: &mut Page) {
    page.evaluate("document.getElementById('sign-out').click()").await;
    page.wait_for("document.body.dataset.user === ''").await;
}

#[tokio::test]
async fn a_person_registers_on_the_development_page() {
    let server = Server::start(ServerSpec { dev: true, ..ServerSpec::default() }).await;
    let info = server.api().get("/dev/info").await.json();
    let jwks = server.api().get(&format!("/{}/.well-known/jwks.json", info["tenant_id"].as_str().unwrap())).await.json();
    let browser = Chromium::launch().await;
    let mut registered = 0;
    for (protocol, transport, attested) in [
        (Protocol::Ctap2, Transport::Internal, "packed"),
        (Protocol::Ctap2, Transport::Usb, "packed"),
        (Protocol::U2f, Transport::Usb, "fido-u2f"),
    ] {
        for (attestation, format) in [("none", "none"), ("direct", attested)] {
            let user = format!("{protocol:?} {transport:?} {attestation}");
            let of_this_format = format!("credentials WHERE attestation_type = '{format}'");
            let before = server.count(&of_this_format).await;
            let mut page = browser.page().await;
            page.add_authenticator(protocol, transport).await;
            page.navigate(&format!("{}/", server.url())).await;
            page.wait_for("document.body.dataset.state === 'ready'").await;

            let outcome = register(&mut page, &user, attestation).await;
            assert_eq!(outcome, "done", "{user}: {}: {}", text(&mut page, "error-title").await, text(&mut page, "error-details").await);
            assert_eq!(page.text("document.getElementById('verification').dataset.state").await, "verified", "{user}");
            assert_eq!(text(&mut page, "verification-text").await, "Verified against the JWKS in this browser");

            let token = text(&mut page, "token-raw").await;
            let verified = jose::verify(&token, &jwks, "localhost");
            assert_eq!((&verified.claims["ceremony"], &verified.claims["sub"]), (&json!("registration"), &json!(user)));
            registered += 1;
            assert_eq!(server.count("credentials").await, registered);
            assert_eq!(server.count(&of_this_format).await, before + 1, "{user}");
            assert!(page.complaints().is_empty(), "{:?}", page.complaints());
        }
    }
}

#[tokio::test]
async fn one_authenticator_makes_no_second_passkey_for_the_same_user() {
    let server = Server::start(ServerSpec { dev: true, ..ServerSpec::default() }).await;
    let browser = Chromium::launch().await;
    let mut page = browser.page().await;
    page.add_authenticator(Protocol::Ctap2, Transport::Internal).await;
    page.navigate(&format!("{}/", server.url())).await;
    page.wait_for("document.body.dataset.state === 'ready'").await;
    assert_eq!(register(&mut page, "ann", "none").await, "done");
    page.evaluate("document.body.dataset.state = 'again'").await;
    assert_eq!(register(&mut page, "ann", "none").await, "error");
    assert_eq!(text(&mut page, "error-title").await, "The browser made no passkey (InvalidStateError)");
    page.evaluate("document.body.dataset.state = 'again'").await;
    assert_eq!(register(&mut page, "ben", "none").await, "done");
    assert_eq!(server.count("credentials").await, 2);
}

#[tokio::test]
async fn the_development_page_is_safe_to_leave_open() {
    let server = Server::start(ServerSpec { dev: true, ..ServerSpec::default() }).await;
    let api = server.api();
    for path in
        ["/", "/dev/page.js", "/dev/page.css", "/dev/lists.js", "/dev/server.js", "/dev/token.js", "/dev/view.js", "/dev/webauthn.js"]
    {
        let answer = api.get(path).await;
        assert_eq!(answer.status, 200, "{path}");
        let policy = answer.header("Content-Security-Policy");
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{path}: {policy}");
        assert!(policy.contains("frame-ancestors 'none'"), "{path}: {policy}");
        assert_eq!(answer.header("X-Content-Type-Options"), "nosniff", "{path}");
    }
    // Another site's form or script can send text without being asked first, JSON it cannot.
    let forged = api.request(reqwest::Method::POST, "/dev/register/initialize").header("Content-Type", "text/plain");
    let answer = Answer::to(forged.header("Origin", "https://evil.example").body(r#"{"username":"ann"}"#)).await;
    assert_eq!(answer.problem(400, "unable to process request"), "Unsupported Media Type");
    assert_eq!(server.count("ceremonies").await, 0);

    // Nor can it have the backend do anything: it may ask, from its own origin, and is answered nothing that it may read.
    let to_backend = |method: &str, path: &str| api.request(method.parse().unwrap(), path).header("Origin", "https://evil.example");
    for path in ["/dev/backend/registration/initialize", "/dev/backend/mfa/login/finalize"] {
        for content_type in ["text/plain", "application/x-www-form-urlencoded", ""] {
            let answer = Answer::to(to_backend("POST", path).header("Content-Type", content_type).body("{}")).await;
            assert_eq!(answer.problem(400, "unable to process request"), "Unsupported Media Type", "{path}: {content_type}");
        }
    }
    let preflight = Answer::to(to_backend("OPTIONS", "/dev/backend/credentials").header("Access-Control-Request-Method", "DELETE")).await;
    assert_eq!((preflight.status, preflight.header("Access-Control-Allow-Origin")), (405, ""));
    let listed = Answer::to(to_backend("GET", "/dev/backend/credentials")).await;
    assert_eq!((listed.status, listed.header("Access-Control-Allow-Origin")), (200, ""));
    let rebound = api.request(reqwest::Method::GET, "/dev/backend/credentials").header("Host", "evil.example");
    assert_eq!(Answer::to(rebound).await.status, 421);
    // The backend speaks for the demo tenant alone, whatever the path says.
    let other = api.get("/dev/backend/../4d3c2b1a-0000-4000-8000-00000000beef/credentials").await;
    assert_ne!(other.status, 200, "{}", other.body);

    // A second run keeps the tenant, and the key is nobody else's to read.
    let first = api.get("/dev/info").await.json();
    let mut server = server;
    assert!(server.terminate().success());
    server.restart().await;
    assert_eq!(server.api().get("/dev/info").await.json(), first);
}

#[tokio::test]
async fn a_server_in_earnest_has_no_such_page() {
    let server = Server::sqlite().await;
    for path in ["/dev/info", "/dev/page.js", "/dev/register/initialize", "/dev/backend/credentials"] {
        server.api().get(path).await.problem(400, "tenant_id must be a valid uuid4");
    }
    let status = server.api().get("/").await;
    assert_eq!(status.status, 200);
    assert!(status.body.contains("API Status") && !status.body.contains("page.js"), "{}", status.body);
}
