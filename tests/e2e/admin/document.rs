//! The admin API's document and its routes are one.

use std::collections::BTreeSet;

use passkey_hsm::domain::Permission;
use reqwest::Method;

use crate::support::{
    api::Answer,
    openapi::{self, ADMIN_DOCUMENT, admin_operations, operations},
    server::Server,
};

#[test]
fn the_document_is_whole() {
    let mut ids: Vec<_> = admin_operations().into_iter().map(|o| o.id).collect();
    let count = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), count, "an operationId is used once");
    let public: BTreeSet<_> =
        operations().into_iter().map(|o| o.path).filter(|path| !["/", "/openapi.json"].contains(&path.as_str())).collect();
    for operation in admin_operations() {
        assert!(!public.contains(&operation.path), "{operation:?} is the public API's");
        let described = operation.described();
        assert!(described["summary"].as_str().is_some_and(|summary| !summary.is_empty()), "{operation:?}");
        let named = described["parameters"].as_array().unwrap().iter().map(|p| match p["$ref"].as_str() {
            Some(reference) => ADMIN_DOCUMENT.pointer(&reference[1..]).unwrap(),
            None => p,
        });
        let named: BTreeSet<_> = named.filter(|p| p["in"] == "path").map(|p| p["name"].as_str().unwrap()).collect();
        let in_path: BTreeSet<_> = operation.path.split('/').filter_map(|s| s.strip_prefix('{')?.strip_suffix('}')).collect();
        assert_eq!(named, in_path, "{operation:?}");
        let responses = described["responses"].as_object().unwrap();
        assert!(responses.keys().any(|status| status < &"400".to_owned()) && responses.contains_key("500"), "{operation:?}");
        assert_eq!(described["requestBody"].is_object(), responses.contains_key("413"), "{operation:?}");
        let guarded = described["x-permission"].as_str();
        assert!(guarded.is_none_or(|permission| permission.parse::<Permission>().is_ok()), "{operation:?}");
        for (is_said, what) in [
            (responses.contains_key("401"), "401"),
            (responses.contains_key("403"), "403"),
            (described["security"].to_string().contains("token"), "security"),
            (described["x-scope"].is_string(), "x-scope"),
        ] {
            assert_eq!(is_said, guarded.is_some(), "{operation:?}: {what}");
        }
    }
    let text = ADMIN_DOCUMENT.to_string();
    for schema in ADMIN_DOCUMENT["components"]["schemas"].as_object().unwrap().keys() {
        assert!(text.contains(&format!("\"#/components/schemas/{schema}\"")), "{schema} is not used");
    }
    for reference in text.split("\"$ref\":\"#").skip(1) {
        let pointer = reference.split('"').next().unwrap();
        assert!(ADMIN_DOCUMENT.pointer(pointer).is_some(), "{pointer}");
    }
}

/// Nothing but these answers without asking who calls: whatever is added to the table needs a permission, or a line here.
#[test]
fn what_needs_no_credentials_is_known() {
    let open = admin_operations().into_iter().filter(|o| o.described()["x-permission"].is_null()).map(|o| o.path);
    assert_eq!(open.collect::<Vec<_>>(), ["/health/alive", "/health/ready", "/metrics", "/openapi-admin.json"]);
}

/// The router has what the document has, and nothing besides: not a method more.
#[tokio::test]
async fn what_is_not_described_is_not_there() {
    let server = Server::sqlite().await;
    let api = server.admin_api();
    let id = "7a1a0c3e-9f0e-4f0e-8c1e-0123456789ab";
    let described: BTreeSet<_> = admin_operations().into_iter().map(|o| o.path).collect();
    for template in &described {
        let path: Vec<_> = template.split('/').map(|segment| if segment.starts_with('{') { id } else { segment }).collect();
        let path = path.join("/");
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "TRACE"] {
            let answer = Answer::to(api.request(method.parse().unwrap(), &path)).await;
            let is_there = answer.status != 404;
            let expected = openapi::operation(method, &path).is_some_and(|operation| operation.path == *template);
            assert_eq!(is_there, expected, "{method} {template}: {}", answer.body);
        }
    }
    for path in ["/admin_token", "/admin_tokens/", "/tenants/x/y/z", "/health", "/admin_tokens/a/b"] {
        assert_eq!(api.get(path).await.problem(404, "Not Found"), "", "{path}");
    }
    let answered = api.get("/openapi-admin.json").await;
    assert_eq!((answered.json(), answered.header("Content-Type")), (ADMIN_DOCUMENT.clone(), "application/json; charset=UTF-8"));
    // Like GET, without the body.
    let head = api.request(Method::HEAD, "/admin_tokens").send().await.unwrap();
    assert!(head.status() == 401 && head.headers().contains_key("WWW-Authenticate"), "{head:?}");
    // The public listener has none of it.
    for path in ["/admin_tokens", "/openapi-admin.json", "/health/alive"] {
        let answer = server.api().request(Method::GET, path).send().await.unwrap();
        assert!(answer.status() == 400 && answer.text().await.unwrap().contains("tenant_id must be a valid uuid4"), "{path}");
    }
}

#[tokio::test]
async fn pages_of_no_origin_but_the_configured_ones_may_call() {
    let admin = vec![r#"cors_origins = ["https://console.example/"]"#.to_owned()];
    let spec = crate::support::server::ServerSpec { admin, ..Default::default() };
    let (with, without) = (Server::start(spec).await, Server::sqlite().await);
    let preflight = async |server: &Server, origin: &str| {
        let request = server.admin_api().request(Method::OPTIONS, "/admin_tokens").header("Origin", origin);
        Answer::to(request.header("Access-Control-Request-Method", "POST").header("Access-Control-Request-Headers", "authorization")).await
    };
    let allowed = preflight(&with, "https://console.example").await;
    assert_eq!((allowed.status, allowed.header("Access-Control-Allow-Origin")), (204, "https://console.example"));
    assert!(allowed.header("Access-Control-Allow-Headers").contains("Authorization"));
    // With a token there is nothing that a browser would send by itself.
    assert_eq!(allowed.header("Access-Control-Allow-Credentials"), "");
    let admin = with.admin_as("admin", &[]).await;
    let read = Answer::to(admin.request(Method::GET, "/admin_tokens").header("Origin", "https://console.example")).await;
    assert_eq!((read.status, read.header("Access-Control-Allow-Origin")), (200, "https://console.example"));
    for (server, origin) in [(&with, "https://evil.example"), (&with, "null"), (&without, "https://console.example")] {
        let refused = preflight(server, origin).await;
        assert_eq!((refused.status, refused.header("Access-Control-Allow-Origin")), (404, ""), "{origin}");
        assert_eq!(refused.header("Access-Control-Allow-Methods"), "");
    }
}
