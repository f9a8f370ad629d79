//! The contract's admin API (1.7), row by row: what is asked, and status, title and details of the answer; and what we add to it. Where
//! README's table of differences says something else than the contract, the row does too.

mod audit_logs;
mod bounds;
mod end;
mod secrets;
mod settings;
mod tenants;
mod users;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    api::{Answer, Api, Tenant},
    server::Server,
};

/// A configuration with all that the contract asks for and nothing else.
fn config() -> Value {
    json!({
        "cors": {"allowed_origins": ["http://localhost:8000"], "allow_unsafe_wildcard": false},
        "webauthn": {
            "relying_party": {"id": "localhost", "display_name": "Example", "origins": ["http://localhost:8000"]},
            "timeout": 60_000,
        },
    })
}

/// A tenant made over the API, with its first API key.
async fn tenant(server: &Server, admin: &Api) -> Tenant {
    let mut config = config();
    config["webauthn"]["user_verification"] = json!("preferred");
    let new = json!({"display_name": "Example", "config": config, "create_api_key": true});
    let made = admin.send(Method::POST, "/tenants", &new).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let mut made = made.json();
    let jwks = server.api().get(&format!("/{}/.well-known/jwks.json", made["id"].as_str().unwrap())).await.json();
    made["kid"] = jwks["keys"][0]["kid"].clone();
    Tenant::new(server.api(), &made, "localhost", "http://localhost:8000")
}

/// An id that nothing has.
const NOBODY: &str = "7a1a0c3e-9f0e-4f0e-8c1e-0123456789ab";

/// Asks; `body` is JSON, or nothing where it is null.
async fn ask(api: &Api, method: &str, path: &str, body: &Value) -> Answer {
    let method: Method = method.parse().unwrap();
    if body.is_null() { Answer::to(api.request(method, path)).await } else { api.send(method, path, body).await }
}

/// What a row promises of a refusal: status, title, details.
type Refusal<'a> = (&'a str, String, Value, u16, &'a str, &'a str);

/// Asks each row in turn; all are refused.
async fn refused(api: &Api, rows: &[Refusal<'_>]) {
    for (method, path, body, status, title, details) in rows {
        let answer = ask(api, method, path, body).await;
        assert_eq!(answer.status, *status, "{method} {path} {body}: {}", answer.body);
        assert_eq!(answer.problem(*status, title), *details, "{method} {path} {body}");
    }
}

/// Asks for a change that is answered without a body.
async fn changed(api: &Api, method: &str, path: &str, body: &Value) {
    let answer = ask(api, method, path, body).await;
    assert_eq!((answer.status, answer.body.as_str()), (204, ""), "{method} {path} {body}");
}

/// The names of an object's members, sorted.
fn members(value: &Value) -> Vec<&str> {
    let mut names: Vec<_> = value.as_object().unwrap_or_else(|| panic!("{value}")).keys().map(String::as_str).collect();
    names.sort_unstable();
    names
}

/// The events of a tenant's log as operators see it, the newest first.
async fn events(api: &Api, tenant: &str) -> Vec<Value> {
    let answer = api.get(&format!("/tenants/{tenant}/audit_logs?per_page=500")).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json().as_array().unwrap().clone()
}
