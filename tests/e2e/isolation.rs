//! A second tenant tries each endpoint with each identifier of the first: nothing is reached, nothing changes, nothing is told.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    engines,
    support::{
        api::{Answer, Tenant},
        authenticator::Draft,
        ceremonies::{Kind, answer},
        keys::Algorithm,
        openapi::{DOCUMENT, operations},
        server::{Server, TenantSpec},
    },
};

engines! { nothing_of_another_tenant_is_reached }

const USER: &str = "ann-of-the-first";
const ORDER: &str = "order-of-the-first";

/// What the first tenant has, and must have afterwards.
async fn everything_of(tenant: &Tenant) -> Vec<Value> {
    let mut found = Vec::new();
    for path in ["/credentials", &format!("/transaction/{USER}"), "/audit_logs?per_page=500"] {
        let request = tenant.request(Method::GET, &tenant.path(path)).header("apiKey", &tenant.api_key);
        found.push(Answer::to(request).await.json());
    }
    found
}

/// A request with the second tenant's key, to the path of whoever is given.
async fn ask(second: &Tenant, of: &Tenant, method: Method, path: &str, body: &str) -> Answer {
    let request = second.request(method, &of.path(path)).header("apiKey", &second.api_key);
    Answer::to(request.header("Content-Type", "application/json").body(body.to_owned())).await
}

async fn nothing_of_another_tenant_is_reached(server: Server) {
    let (first, second) = (server.create_tenant(&TenantSpec::default()), server.create_tenant(&TenantSpec::default()));
    let (passkey, factor) = (first.passkey(USER, Algorithm::Es256).await, first.second_factor(USER, Algorithm::Es256).await);
    // Somebody of the second tenant, so that what is refused is not refused for want of anybody.
    let own = second.passkey("eve", Algorithm::Es256).await;
    let own_factor = second.second_factor("eve", Algorithm::Es256).await;
    first.end(Kind::Transaction, first.assertion(Kind::Transaction, ORDER, &passkey).await.text()).await.token();
    let mut under_way = Vec::new();
    for kind in Kind::ALL {
        under_way.push((kind, first.begin(kind, USER, "order-under-way").await));
    }
    let before = everything_of(&first).await;

    own_paths(&second, &passkey, &factor).await;
    foreign_paths(&first, &second, &passkey).await;
    for (kind, options) in &under_way {
        let (theirs, ours) = if *kind == Kind::MfaLogin { (&factor, &own_factor) } else { (&passkey, &own) };
        let (status, title, details) = kind.unknown();
        // The first one's challenge, signed by its own user's credential, and by the second one's.
        for credential in [theirs, ours] {
            let body = answer(options, *kind, &first.origin, credential);
            assert_eq!(second.end(*kind, body).await.problem(status, title), details, "{kind:?}");
        }
        // The second one's challenge, signed by the first one's credential.
        if !kind.is_registration() {
            let begun = second.begin(*kind, "eve", "order-of-the-second").await;
            let refused = second.end(*kind, answer(&begun, *kind, &second.origin, theirs)).await;
            assert_eq!(refused.status, 401, "{kind:?}: {}", refused.body);
        }
    }

    assert_eq!(everything_of(&first).await, before);
    let listed = ask(&second, &second, Method::GET, "/audit_logs?per_page=500", "").await.json();
    assert!(listed.as_array().unwrap().iter().all(|event| event["tenant_id"] == json!(second.id)), "{listed}");
    // And all of it still works where it belongs.
    for (kind, options) in under_way {
        let credential = if kind == Kind::MfaLogin { &factor } else { &passkey };
        first.end(kind, answer(&options, kind, &first.origin, credential)).await.token();
    }
}

/// The first tenant's identifiers under the second one's own path.
async fn own_paths(second: &Tenant, passkey: &Draft, factor: &Draft) {
    for id in [passkey.id(), factor.id()] {
        let title = format!("credential with id '{id}' not found");
        for (method, body) in [(Method::GET, ""), (Method::PATCH, r#"{"name":"mine"}"#), (Method::DELETE, "")] {
            let answer = ask(second, second, method, &format!("/credentials/{id}"), body).await;
            assert_eq!(answer.problem(404, &title), "");
        }
    }
    let named = json!({"user_id": USER}).to_string();
    for path in ["/login/initialize", "/mfa/login/initialize"] {
        assert_eq!(ask(second, second, Method::POST, path, &named).await.problem(404, "user not found"), "", "{path}");
    }
    let transaction = Kind::Transaction.request(USER, ORDER).to_string();
    ask(second, second, Method::POST, "/transaction/initialize", &transaction).await.problem(404, "unable to find user");
    ask(second, second, Method::GET, &format!("/signals?user_id={USER}"), "").await.problem(404, "user not found");
    let signals = ask(second, second, Method::GET, &format!("/signals?credential_id={}", passkey.id()), "").await.json();
    assert_eq!(signals["unknownCredential"]["credentialId"], json!(passkey.id()));
    // A name that the other has taken is free here.
    let transaction = Kind::Transaction.request("eve", ORDER).to_string();
    assert_eq!(ask(second, second, Method::POST, "/transaction/initialize", &transaction).await.status, 200);
    for path in [format!("/transaction/{USER}"), format!("/credentials?user_id={USER}")] {
        assert_eq!(ask(second, second, Method::GET, &path, "").await.body, "[]\n", "{path}");
    }
    for query in [format!("q={USER}"), format!("actor_user_id={USER}")] {
        let found = ask(second, second, Method::GET, &format!("/audit_logs?{query}"), "").await.json();
        // Its own refused attempts alone.
        assert!(found.as_array().unwrap().iter().all(|event| event["tenant_id"] == json!(second.id)), "{found}");
    }
}

/// The second tenant's key under the first one's path: nothing is said of what there is, and nothing done.
async fn foreign_paths(first: &Tenant, second: &Tenant, passkey: &Draft) {
    let id = passkey.id();
    let begun = Kind::Transaction.request(USER, "another-order").to_string();
    let registration = Kind::Registration.request(USER, "").to_string();
    let named = json!({"user_id": USER}).to_string();
    let mut tried = BTreeSet::new();
    for (method, path, body) in [
        (Method::GET, "/credentials".to_owned(), ""),
        (Method::GET, format!("/credentials?user_id={USER}"), ""),
        (Method::GET, format!("/credentials/{id}"), ""),
        (Method::PATCH, format!("/credentials/{id}"), r#"{"name":"mine"}"#),
        (Method::DELETE, format!("/credentials/{id}"), ""),
        (Method::GET, "/audit_logs".to_owned(), ""),
        (Method::GET, format!("/signals?user_id={USER}"), ""),
        (Method::GET, format!("/signals?credential_id={id}"), ""),
        (Method::GET, format!("/transaction/{USER}"), ""),
        (Method::POST, "/transaction/initialize".to_owned(), begun.as_str()),
        (Method::POST, "/transaction/finalize".to_owned(), "{}"),
        (Method::POST, "/registration/initialize".to_owned(), registration.as_str()),
        (Method::POST, "/mfa/registration/initialize".to_owned(), registration.as_str()),
        (Method::POST, "/mfa/registration/finalize".to_owned(), "{}"),
        (Method::POST, "/login/initialize".to_owned(), named.as_str()),
        (Method::POST, "/mfa/login/initialize".to_owned(), named.as_str()),
        (Method::POST, "/mfa/login/finalize".to_owned(), "{}"),
        (Method::GET, "/mfa/no/such/path".to_owned(), ""),
    ] {
        let answer = ask(second, first, method.clone(), &path, body).await;
        let details = answer.problem(401, "The api key is invalid");
        assert_eq!(details, "api keys needs to be an apiKey Header and 32 byte long", "{method} {path}");
        tried.extend(answer.operation);
    }
    // The document knows which there are.
    let keyed = operations().into_iter().filter(|o| {
        let security = &DOCUMENT["paths"][&o.path][o.method.to_ascii_lowercase()]["security"];
        security.as_array().unwrap().contains(&json!({"apiKey": []}))
    });
    assert_eq!(tried, keyed.collect());
}
