//! What every client meets, whatever it asks for (contract 1.2 and 1.3), and what a slow or careless one does.

use std::time::{Duration, Instant};

use reqwest::Method;
use rustix::process::Signal;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::{
    api::{Answer, Tenant, counter},
    authenticator::Format,
    keys::Algorithm,
    server::{Server, ServerSpec, TenantSpec},
};

const ORIGIN: &str = "http://localhost:8000";

#[tokio::test]
async fn paths_that_lead_nowhere() {
    let server = Server::sqlite().await;
    let tenant = server.create_tenant(&TenantSpec::default());
    let api = server.api();
    for segment in
        ["x", "health", "favicon.ico", "00000000-0000-4000-8000-00000000000", "00000000-0000-4000-8000-0000000000000", "%00", "%ff"]
    {
        for path in [format!("/{segment}"), format!("/{segment}/"), format!("/{segment}/.well-known/jwks.json")] {
            let details = api.get(&path).await.problem(400, "tenant_id must be a valid uuid4");
            assert_eq!(details, "", "{path}");
        }
    }
    let unknown = "00000000-0000-4000-8000-000000000000";
    for path in [format!("/{unknown}/.well-known/jwks.json"), format!("/{unknown}/registration/initialize"), format!("/{unknown}")] {
        assert_eq!(api.get(&path).await.problem(404, "tenant not found"), "", "{path}");
    }
    // Any form of the same UUID is the same tenant.
    let bare = tenant.id.replace('-', "");
    for form in [bare.clone(), tenant.id.to_uppercase(), format!("%7B{}%7D", tenant.id), format!("urn:uuid:{}", tenant.id)] {
        assert_eq!(api.get(&format!("/{form}/.well-known/jwks.json")).await.status, 200, "{form}");
    }
    for (method, path) in [
        (Method::GET, "/registration/finalize"),
        (Method::PUT, "/registration/finalize"),
        (Method::DELETE, "/registration/finalize"),
        (Method::POST, "/.well-known/jwks.json"),
        (Method::PATCH, "/.well-known/jwks.json"),
        (Method::GET, "/registration"),
        (Method::GET, "/registration/finalize/more"),
        (Method::POST, "/registration/finalise"),
        (Method::GET, "/"),
        (Method::GET, ""),
    ] {
        let answer = Answer::to(api.request(method.clone(), &tenant.path(path))).await;
        assert_eq!(answer.problem(404, "Not Found"), "", "{method} {path}");
        assert_eq!(answer.body.trim_end(), r#"{"title":"Not Found","details":"","status":404}"#);
    }
    assert_eq!(Answer::to(api.request(Method::POST, "/")).await.status, 405);
    let head = Answer::to(api.request(Method::HEAD, &tenant.path("/.well-known/jwks.json"))).await;
    assert_eq!((head.status, head.body.as_str()), (404, ""));
}

#[tokio::test]
async fn answers_have_the_contracts_form() {
    let server = Server::sqlite().await;
    let tenant = server.create_tenant(&TenantSpec::default());
    for answer in [tenant.jwks().await, tenant.initialize("{}").await, tenant.finalize("{}").await, tenant.get("/x").await] {
        assert_eq!(answer.header("Content-Type"), "application/json; charset=UTF-8");
        assert!(answer.body.ends_with('\n') && !answer.body.trim_end().contains('\n'), "{:?}", answer.body);
        let id = answer.header("X-Request-Id");
        assert!(id.len() == 32 && id.chars().all(|c| c.is_ascii_alphanumeric()), "{id}");
    }
    for id in ["abc", "a b;c", &"x".repeat(300)] {
        let request = tenant.request(Method::GET, &tenant.path("/.well-known/jwks.json")).header("X-Request-Id", id);
        assert_eq!(Answer::to(request).await.header("X-Request-Id"), id);
    }
    // Names and titles are cut to what the audit trail holds; the request itself is not refused for them.
    let long = "y".repeat(300);
    let request = tenant.request(Method::POST, &tenant.path("/registration/initialize")).header("X-Request-Id", &long);
    let request = request.header("User-Agent", &long).header("X-Forwarded-For", &long).header("apiKey", &tenant.api_key);
    let answer = Answer::to(request.header("Content-Type", "application/json").body(r#"{"user_id":"u1","username":"ann"}"#)).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
}

#[tokio::test]
async fn pages_of_allowed_origins_may_read_answers() {
    let server = Server::sqlite().await;
    let tenant = server.create_tenant(&TenantSpec { allowed_origins: vec![ORIGIN, "https://*.example.org"], ..TenantSpec::default() });
    let asked = |method: Method, path: &str, origin: &str| tenant.request(method, &tenant.path(path)).header("Origin", origin);
    for (origin, allowed) in [
        (ORIGIN, true),
        ("https://a.example.org", true),
        ("https://a.example.org.evil.example", false),
        ("http://localhost:8001", false),
        ("null", false),
    ] {
        let expected = if allowed { origin } else { "" };
        // Before the API key is asked for, so that the page can read the refusal too.
        for request in [asked(Method::GET, "/.well-known/jwks.json", origin), asked(Method::POST, "/registration/initialize", origin)] {
            let answer = Answer::to(request).await;
            assert_eq!(answer.header("Access-Control-Allow-Origin"), expected, "{origin}");
            assert_eq!(answer.header("Access-Control-Allow-Credentials"), if allowed { "true" } else { "" }, "{origin}");
            assert!(answer.headers.get_all("Vary").iter().any(|v| v == "Origin"), "{origin}");
        }
        for path in ["/registration/initialize", "/.well-known/jwks.json", "/no/such/path"] {
            let request = asked(Method::OPTIONS, path, origin).header("Access-Control-Request-Method", "POST");
            let answer = Answer::to(request.header("Access-Control-Request-Headers", "apikey,content-type")).await;
            assert_eq!((answer.status, answer.body.as_str()), (204, ""), "{origin} {path}");
            assert_eq!(answer.header("Access-Control-Allow-Origin"), expected);
            if allowed {
                assert_eq!(answer.header("Access-Control-Allow-Methods"), "GET,HEAD,PUT,PATCH,POST,DELETE");
                assert_eq!(answer.header("Access-Control-Allow-Headers"), "apikey,content-type");
                assert_eq!(answer.header("Access-Control-Max-Age"), "7200");
                assert_eq!(answer.header("Access-Control-Allow-Credentials"), "true");
            }
        }
    }
    let stranger = tenant.request(Method::GET, "/x/.well-known/jwks.json").header("Origin", ORIGIN);
    assert_eq!(Answer::to(stranger).await.header("Access-Control-Allow-Origin"), "");
}

#[tokio::test]
async fn backends_prove_themselves() {
    let server = Server::sqlite().await;
    let (tenant, other) = (server.create_tenant(&TenantSpec::default()), server.create_tenant(&TenantSpec::default()));
    let body = r#"{"user_id":"u1","username":"ann"}"#;
    let details = "api keys needs to be an apiKey Header and 32 byte long";
    let flipped = tenant.api_key.replacen(|c: char| c != 'A', "A", 1);
    for key in ["", "x", &"A".repeat(88), &other.api_key, &tenant.api_key[..86], &flipped, &format!("{0}{0}", tenant.api_key)] {
        let request = tenant.request(Method::POST, &tenant.path("/registration/initialize")).header("Content-Type", "application/json");
        let answer = Answer::to(request.header("apiKey", key).body(body)).await;
        assert_eq!(answer.problem(401, "The api key is invalid"), details);
    }
    // A stranger's body is not looked at.
    let answer = tenant.post(&tenant.path("/registration/initialize"), "{").await;
    assert_eq!(answer.problem(401, "The api key is invalid"), details);
    assert_eq!(server.count("ceremonies").await, 0);

    for (name, value) in [("APIKEY", tenant.api_key.clone()), ("apikey", format!("  {} ", tenant.api_key))] {
        let request = tenant.request(Method::POST, &tenant.path("/registration/initialize")).header("Content-Type", "application/json");
        assert_eq!(Answer::to(request.header(name, value).body(body)).await.status, 200, "{name}");
    }
}

#[tokio::test]
async fn a_jwks_that_has_not_changed_is_not_sent_again() {
    let server = Server::sqlite().await;
    let tenant = server.create_tenant(&TenantSpec::default());
    let first = tenant.jwks().await;
    let etag = first.header("ETag").to_owned();
    assert!(etag.starts_with('"') && etag.ends_with('"') && etag.len() > 10, "{etag}");
    let conditional = async |value: &str| {
        Answer::to(tenant.request(Method::GET, &tenant.path("/.well-known/jwks.json")).header("If-None-Match", value)).await
    };
    for value in [etag.clone(), format!("W/{etag}"), format!("\"other\", {etag}"), "*".to_owned()] {
        let answer = conditional(&value).await;
        assert_eq!((answer.status, answer.body.as_str()), (304, ""), "{value}");
        assert_eq!((answer.header("ETag"), answer.header("Cache-Control")), (etag.as_str(), "max-age=600"));
    }
    for value in ["\"other\"", "other"] {
        let answer = conditional(value).await;
        assert_eq!((answer.status, &answer.body), (200, &first.body), "{value}");
    }
    assert_ne!(server.create_tenant(&TenantSpec::default()).jwks().await.header("ETag"), etag);
}

/// Well over the half second that is configured, well under the ten that are the default: it is the setting that lets go.
const LET_GO: Duration = Duration::from_secs(6);

/// Sends `start` and then nothing; returns what came back until the connection was closed.
async fn dawdle(server: &Server, start: &str) -> String {
    let begun = Instant::now();
    let mut stream = TcpStream::connect(server.public).await.unwrap();
    stream.write_all(start.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let closed = tokio::time::timeout(LET_GO, stream.read_to_end(&mut answer)).await;
    assert!(closed.is_ok(), "still open after {:?}", begun.elapsed());
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn slow_clients_are_let_go() {
    let http = ["header_timeout_ms = 500", "body_timeout_ms = 500"].map(str::to_owned).to_vec();
    let server = Server::start(ServerSpec { http, ..ServerSpec::default() }).await;
    let tenant = server.create_tenant(&TenantSpec::default());
    let finalize = tenant.path("/registration/finalize");
    let answer = dawdle(&server, "POST / HTTP/1.1\r\nHost: local").await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "{answer}");
    let answer = dawdle(&server, "").await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "{answer}");
    let half = format!("POST {finalize} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{{\"id\":");
    let answer = dawdle(&server, &half).await;
    assert!(answer.starts_with("HTTP/1.1 408") && answer.contains(r#""status":408"#), "{answer}");
    assert_eq!(tenant.jwks().await.status, 200);
}

#[tokio::test]
async fn the_admin_listener_tells_how_it_is() {
    let started = Instant::now();
    let server = Server::sqlite().await;
    let admin = server.admin_api();
    let page = admin.get("/").await;
    assert!(page.status == 200 && page.body.contains("The service is up."), "{}", page.body);
    assert_eq!(admin.get("/health/alive").await.json()["alive"], true);
    let ready = admin.get("/health/ready").await;
    assert_eq!((ready.status, &ready.json()["ready"]), (200, &serde_json::json!(true)), "{}", ready.body);
    let tenant = server.create_tenant(&TenantSpec::default());
    let body = tenant.draft("ann", Format::None, Algorithm::Es256).await.body().to_string();
    tenant.finalize(body).await.token();
    let metrics = admin.get("/metrics").await;
    assert_eq!(metrics.status, 200);
    for line in [
        r#"http_requests_total{method="POST",route="/{tenant_id}/registration/finalize",status="200"} 1"#,
        r#"hsm_sign_seconds_count{algorithm="ES256"} 1"#,
        "hsm_signer_processes_up 2",
    ] {
        assert!(metrics.body.lines().any(|l| l == line), "{line}: {}", metrics.body);
    }
    // The root secret, the ceremony, the registration; and the server's own word, once a second, that it is there.
    for name in ["storage_units_total", "storage_commits_total"] {
        let (counted, beats) = (counter(&metrics.body, name), started.elapsed().as_secs() + 2);
        assert!((4..=3 + beats).contains(&counted), "{name} {counted}, {beats} beats");
    }
    assert!(metrics.body.contains("# HELP hsm_in_flight "), "what the HSM's names mean is said: {}", metrics.body);
    admin.get("/nothing").await.problem(404, "Not Found");
}

#[tokio::test]
async fn asked_to_stop_it_finishes_what_it_accepted() {
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        finishes_when_asked_by(signal).await;
    }
}

async fn finishes_when_asked_by(signal: Signal) {
    let mut server = Server::sqlite().await;
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", server.pid())).unwrap();
    let core: Vec<&str> = limits.lines().find(|l| l.starts_with("Max core file size")).unwrap().split_whitespace().collect();
    assert_eq!(core[4..6], ["0", "0"], "API keys and tokens pass through it: it leaves no core");
    let tenant = server.create_tenant(&TenantSpec::default());
    let draft = tenant.draft("u1", Format::PackedSelf, Algorithm::Es256).await;
    let body = draft.body().to_string();
    // The request is accepted, half of its body is there: then the server is told to stop.
    let mut stream = TcpStream::connect(server.public).await.unwrap();
    let head =
        format!("POST {} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", tenant.path("/registration/finalize"), body.len());
    let (first, rest) = body.split_at(body.len() / 2);
    stream.write_all(format!("{head}{first}").as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    server.signal(signal);
    tokio::time::sleep(Duration::from_millis(200)).await;
    stream.write_all(rest.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("token"), "{answer}");
    assert!(server.wait().success());
    assert!(TcpStream::connect(server.public).await.is_err());
    assert_eq!(server.count("credentials").await, 1);
}

/// Registers, is refused, fails: whatever it logs, even at its most talkative, none of these is in it.
#[tokio::test]
async fn no_secret_is_logged() {
    let mut server = Server::start(ServerSpec { log_level: "trace", ..ServerSpec::default() }).await;
    let tenant = server.create_tenant(&TenantSpec::default());
    let good = tenant.draft("u1", Format::PackedX5c, Algorithm::Es256).await;
    let token = tenant.finalize(good.body().to_string()).await.token();
    let mut bad = tenant.draft("u1", Format::PackedSelf, Algorithm::Es256).await;
    bad.rp_id_hash = vec![0; 32];
    tenant.finalize(bad.body().to_string()).await.problem(400, "failed to validate attestation");
    tenant.finalize("{\"id\":7}").await.problem(400, "unable to parse credential creation response");
    let metrics = server.admin_api().get("/metrics").await.body;
    assert!(server.terminate().success());

    let said = server.log() + &metrics;
    assert!(said.lines().count() > 10, "nothing was logged: {said}");
    let parts: Vec<_> = token.split('.').collect();
    let challenge = |draft: &crate::support::authenticator::Draft| draft.client_data["challenge"].as_str().unwrap().to_owned();
    for (name, secret) in [
        ("PIN", server.pin.clone()),
        ("API key", tenant.api_key.trim_end_matches('=').to_owned()),
        ("challenge", challenge(&good)),
        ("refused challenge", challenge(&bad)),
        ("token's payload", parts[1].to_owned()),
        ("token's signature", parts[2].to_owned()),
    ] {
        assert!(!said.contains(&secret), "the {name} is in the log");
    }
}

/// A tenant's own keys are of use in its own house only.
#[tokio::test]
async fn tenants_do_not_mix() {
    let server = Server::sqlite().await;
    let tenants: Vec<Tenant> = (0..2).map(|_| server.create_tenant(&TenantSpec::default())).collect();
    let draft = tenants[0].draft("u1", Format::None, Algorithm::Es256).await;
    let token = tenants[0].finalize(draft.body().to_string()).await.token();
    let (own, other) = (tenants[0].jwks().await.json(), tenants[1].jwks().await.json());
    assert!(crate::support::jose::jsonwebtoken(&token, &own, "localhost").is_ok());
    assert!(crate::support::jose::jsonwebtoken(&token, &other, "localhost").is_err());
    assert_ne!(own["keys"][0]["kid"], other["keys"][0]["kid"]);
}
