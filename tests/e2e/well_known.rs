//! What browsers and password managers ask an RP ID's own host.

use std::fs;

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    engines,
    support::{
        api::{Answer, Tenant},
        server::{Server, TenantSpec, text},
    },
};

engines! { each_tenant_has_its_documents, the_root_answers_by_host, hosts_that_are_nobodys }

/// Changes a tenant's file.
pub(crate) fn set(server: &Server, tenant: &Tenant, change: impl Fn(&mut Value)) {
    let got = server.cli(&["--json", "tenant", "config", "get", &tenant.id]);
    let mut config: Value = serde_json::from_slice(&got.stdout).unwrap_or_else(|e| panic!("{e}: {}", text(&got)));
    change(&mut config);
    let file = server.folder.path().join(format!("{}.json", tenant.id));
    fs::write(&file, config.to_string()).unwrap();
    let done = server.cli(&["tenant", "config", "set", &tenant.id, file.to_str().unwrap()]);
    assert!(done.status.success(), "{}", text(&done));
}

fn tenant(server: &Server, rp_id: &str, origins: &[&str]) -> Tenant {
    let origins = origins.iter().map(ToString::to_string).collect();
    server.create_tenant(&TenantSpec { rp_id: rp_id.to_owned(), origins, ..TenantSpec::default() })
}

async fn at_host(server: &Server, host: &str, document: &str) -> Answer {
    Answer::to(server.api().request(Method::GET, &format!("/.well-known/{document}")).header("Host", host)).await
}

fn json_of(answer: &Answer) -> Value {
    assert_eq!((answer.status, answer.header("Content-Type")), (200, "application/json; charset=UTF-8"), "{}", answer.body);
    assert_eq!(answer.header("Cache-Control"), "max-age=600");
    answer.json()
}

async fn each_tenant_has_its_documents(server: Server) {
    let ours = tenant(
        &server,
        "example.org",
        &["https://Example.org:443/", "android:apk-key-hash:AbC", "http://localhost:8000", "https://example.de", "https://example.org"],
    );
    let native = tenant(&server, "example.net", &["android:apk-key-hash:AbC"]);
    let origins = json_of(&ours.get(&ours.path("/.well-known/webauthn")).await);
    assert_eq!(origins, json!({"origins": ["https://example.org", "http://localhost:8000", "https://example.de"]}));
    assert_eq!(json_of(&native.get(&native.path("/.well-known/webauthn")).await), json!({"origins": []}));

    let endpoints = ours.path("/.well-known/passkey-endpoints");
    assert_eq!(ours.get(&endpoints).await.problem(404, "Not Found"), "");
    for set_to in [
        json!({"enroll": "https://example.org/passkeys/new"}),
        json!({"manage": "https://example.org/passkeys"}),
        json!({"enroll": "https://example.org/a?b=1&c", "manage": "https://example.org/d"}),
    ] {
        set(&server, &ours, |file| file["settings"]["passkey_endpoints"] = set_to.clone());
        assert_eq!(json_of(&ours.get(&endpoints).await), set_to);
    }
    native.get(&native.path("/.well-known/passkey-endpoints")).await.problem(404, "Not Found");
    for document in ["webauthn", "passkey-endpoints"] {
        let nobody = format!("/00000000-0000-4000-8000-000000000000/.well-known/{document}");
        ours.get(&nobody).await.problem(404, "tenant not found");
        ours.post(&ours.path(&format!("/.well-known/{document}")), "{}").await.problem(404, "Not Found");
    }
}

async fn the_root_answers_by_host(server: Server) {
    let first = tenant(&server, "example.org", &["https://example.org", "https://a.example.org"]);
    let second = tenant(&server, "example.org", &["https://example.org", "https://example.de"]);
    let other = tenant(&server, "xn--bcher-kva.example", &["https://bücher.example"]);
    let ours = json!({"origins": ["https://example.org", "https://a.example.org", "https://example.de"]});
    for host in ["example.org", "example.org:8443", "EXAMPLE.org", "Example.Org:80"] {
        assert_eq!(json_of(&at_host(&server, host, "webauthn").await), ours, "{host}");
    }
    let theirs = json!({"origins": ["https://xn--bcher-kva.example"]});
    assert_eq!(json_of(&at_host(&server, "xn--BCHER-kva.example", "webauthn").await), theirs);

    at_host(&server, "example.org", "passkey-endpoints").await.problem(404, "Not Found");
    set(&server, &second, |file| file["settings"]["passkey_endpoints"] = json!({"enroll": "https://example.org/2"}));
    assert_eq!(json_of(&at_host(&server, "example.org", "passkey-endpoints").await), json!({"enroll": "https://example.org/2"}));
    set(&server, &first, |file| file["settings"]["passkey_endpoints"] = json!({"manage": "https://example.org/1"}));
    let both = json!({"enroll": "https://example.org/2", "manage": "https://example.org/1"});
    assert_eq!(json_of(&at_host(&server, "example.org", "passkey-endpoints").await), both);
    at_host(&server, "xn--bcher-kva.example", "passkey-endpoints").await.problem(404, "Not Found");

    // Another RP ID: the host follows it.
    set(&server, &other, |file| file["webauthn"]["relying_party"]["id"] = json!("example.com"));
    assert_eq!(json_of(&at_host(&server, "example.com", "webauthn").await), theirs);
    at_host(&server, "xn--bcher-kva.example", "webauthn").await.problem(404, "Not Found");

    let post = server.api().request(Method::POST, "/.well-known/webauthn").header("Host", "example.org");
    assert_eq!(Answer::to(post).await.problem(405, "Method Not Allowed"), "");
}

async fn hosts_that_are_nobodys(server: Server) {
    tenant(&server, "example.org", &["https://example.org"]);
    let long = format!("{}.example", "a".repeat(4000));
    for host in [
        "nobody.example",
        "a.example.org",
        "org",
        "example.org.evil.example",
        "evil.example:example.org",
        "x@example.org",
        "example.org@evil.example",
        "127.0.0.1",
        "[::1]:8000",
        "example.org.",
        "%",
        "_",
        "'%20OR%20'1'='1",
        "' OR '1'='1",
        "exampl_.org",
        "example%2eorg",
        "*",
        "",
        &long,
    ] {
        for document in ["webauthn", "passkey-endpoints"] {
            assert_eq!(at_host(&server, host, document).await.problem(404, "Not Found"), "", "{host}");
        }
    }
    // Nobody's word for the host but the request's own.
    let forwarded = server.api().request(Method::GET, "/.well-known/webauthn").header("Host", "nobody.example");
    Answer::to(forwarded.header("X-Forwarded-Host", "example.org")).await.problem(404, "Not Found");
    // What is beside them is no document: the first segment is a tenant's.
    for path in ["/.well-known/jwks.json", "/.well-known/", "/.well-known", "/.well-known/webauthn/"] {
        server.api().get(path).await.problem(400, "tenant_id must be a valid uuid4");
    }
}
