//! The document of the public API and the program are one: what is described is there and answers as described, and nothing else is there.
//! (Besides, [`Answer::to`] holds every answer that any of these tests gets against the document.)

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    engines,
    support::{
        api::{Answer, Tenant},
        ceremonies::{Kind, answer},
        chromium::Chromium,
        keys::Algorithm,
        openapi::{self, DOCUMENT, Operation, faults, operations},
        server::{Server, TenantSpec},
    },
};

engines! { each_operation_succeeds_and_fails_as_described }

/// The operation's path, of this tenant and with this id.
fn path(operation: &Operation, tenant: &Tenant, id: &str) -> String {
    operation.path.replace("{tenant_id}", &tenant.id).replace("{id}", id).replace("{user_id}", id)
}

async fn each_operation_succeeds_and_fails_as_described(server: Server) {
    let tenant = server.create_tenant(&TenantSpec::default());
    let endpoints = json!({"enroll": "https://example.org/enroll"});
    crate::well_known::set(&server, &tenant, |file| file["settings"]["passkey_endpoints"] = endpoints.clone());
    let mut done = BTreeSet::new();
    let mut told = |answer: &Answer| {
        assert!(answer.status < 400, "{} {}", answer.status, answer.body);
        done.insert(answer.operation.clone().unwrap());
    };
    let ask = async |method: Method, path: &str, body: Value| {
        let request = tenant.request(method, path).header("apiKey", &tenant.api_key).header("Content-Type", "application/json");
        Answer::to(if body.is_null() { request } else { request.body(body.to_string()) }).await
    };

    let passkey = tenant.passkey("ann", Algorithm::Es256).await;
    for kind in Kind::ALL {
        let begun = ask(Method::POST, &tenant.path(&format!("{}/initialize", kind.path())), kind.request("ann", "order 7")).await;
        told(&begun);
        told(&tenant.end(kind, answer(&begun.json(), kind, &tenant.origin, &passkey)).await);
    }
    let id = passkey.id();
    for rest in
        ["/credentials", "/audit_logs", "/signals?user_id=ann", "/transaction/ann", "/.well-known/jwks.json", "/.well-known/webauthn"]
    {
        told(&ask(Method::GET, &tenant.path(rest), Value::Null).await);
    }
    told(&ask(Method::GET, &tenant.path("/.well-known/passkey-endpoints"), Value::Null).await);
    told(&ask(Method::GET, &tenant.path(&format!("/credentials/{id}")), Value::Null).await);
    told(&ask(Method::PATCH, &tenant.path(&format!("/credentials/{id}")), json!({"name": "x"})).await);
    told(&ask(Method::DELETE, &tenant.path(&format!("/credentials/{id}")), Value::Null).await);
    for root in ["/", "/openapi.json", "/.well-known/webauthn", "/.well-known/passkey-endpoints"] {
        told(&tenant.get(root).await);
    }
    assert_eq!(done, operations().into_iter().collect(), "each operation succeeds once here");
    let refused = refusals(&tenant).await;
    // These two have nothing to refuse.
    let expected = operations().into_iter().filter(|o| !["openapi", "status"].contains(&o.id.as_str())).collect();
    assert_eq!(refused, expected, "each operation fails once here");
}

/// The operations that refused something: nobody's tenant, what is no tenant's id, no key, nothing in the body, a host that is nobody's.
async fn refusals(tenant: &Tenant) -> BTreeSet<Operation> {
    let mut refused = BTreeSet::new();
    let mut told = |answer: &Answer| {
        assert!(answer.status >= 400, "{} {}", answer.status, answer.body);
        refused.insert(answer.operation.clone().unwrap());
    };
    let nobody = tenant.path("").replace(|c: char| c.is_ascii_hexdigit(), "0");
    let unknown_host = |path: &str| tenant.request(Method::GET, path).header("Host", "nobody.example");
    for operation in operations() {
        let method: Method = operation.method.parse().unwrap();
        let path = path(&operation, tenant, "AAAA");
        if operation.path.contains("/.well-known/") && !operation.path.contains("{tenant_id}") {
            told(&Answer::to(unknown_host(&path)).await);
        } else if let Some(rest) = path.strip_prefix(&tenant.path("")) {
            for path in [format!("{nobody}{rest}"), format!("/x{rest}")] {
                told(&Answer::to(tenant.request(method.clone(), &path)).await);
            }
            // What asks for neither key nor body.
            if !rest.starts_with("/.well-known/") && rest != "/login/initialize" {
                told(&Answer::to(tenant.request(method.clone(), &path)).await);
            }
        }
    }
    refused
}

/// The router has what the document has, and nothing besides: not a method more.
#[tokio::test]
async fn what_is_not_described_is_not_there() {
    let server = Server::sqlite().await;
    let tenant = server.create_tenant(&TenantSpec::default());
    let described: BTreeSet<_> = operations().into_iter().map(|o| o.path).collect();
    for template in &described {
        let path = template.replace("{tenant_id}", &tenant.id).replace("{id}", "AAAA").replace("{user_id}", "ann");
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "TRACE"] {
            let request = || tenant.request(method.parse().unwrap(), &path).header("apiKey", &tenant.api_key);
            let answer = Answer::to(request()).await;
            let not_there = answer.status == 405 || (answer.status == 404 && answer.body.contains(r#""title":"Not Found""#));
            // A document that a tenant has not is not found either.
            let is_there = !not_there || template.ends_with("/passkey-endpoints") && method == "GET";
            assert_eq!(is_there, openapi::operation(method, &path).is_some(), "{method} {template}: {}", answer.body);
        }
    }
    for path in [
        "/login",
        "/mfa/login",
        "/transaction",
        "/registration",
        "/credentials/AAAA/more",
        "/openapi.json",
        "/.well-known",
        "/.well-known/openid-configuration",
    ] {
        let request = tenant.request(Method::GET, &tenant.path(path)).header("apiKey", &tenant.api_key);
        assert_eq!(Answer::to(request).await.problem(404, "Not Found"), "", "{path}");
    }
}

#[tokio::test]
async fn the_document_is_served_by_both_listeners() {
    let server = Server::sqlite().await;
    let (public, admin) = (server.api().get("/openapi.json").await, server.admin_api().get("/openapi.json").await);
    assert_eq!((public.status, &public.body), (200, &admin.body));
    assert_eq!(public.header("Content-Type"), "application/json; charset=UTF-8");
    let document = public.json();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1."));
    assert!(document["servers"][0]["url"].as_str().unwrap().starts_with("http://localhost"), "{}", document["servers"]);
    let (mut answered, mut made) = (document, DOCUMENT.clone());
    answered["servers"].take();
    made["servers"].take();
    assert_eq!(answered, made);
}

#[test]
fn the_document_is_whole() {
    let mut ids: Vec<_> = operations().into_iter().map(|o| o.id).collect();
    let count = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), count, "an operationId is used once");
    for operation in operations() {
        let described = &DOCUMENT["paths"][&operation.path][operation.method.to_ascii_lowercase()];
        assert!(described["summary"].as_str().is_some_and(|summary| !summary.is_empty()), "{operation:?}");
        let named = described["parameters"].as_array().unwrap().iter().map(|p| match p["$ref"].as_str() {
            Some(reference) => DOCUMENT.pointer(&reference[1..]).unwrap(),
            None => p,
        });
        let named: BTreeSet<_> = named.filter(|p| p["in"] == "path").map(|p| p["name"].as_str().unwrap()).collect();
        let in_path: BTreeSet<_> = operation.path.split('/').filter_map(|s| s.strip_prefix('{')?.strip_suffix('}')).collect();
        assert_eq!(named, in_path, "{operation:?}");
        let responses = described["responses"].as_object().unwrap();
        assert!(responses.keys().any(|status| status < &"400".to_owned()) && responses.contains_key("500"), "{operation:?}");
        assert_eq!(described["requestBody"].is_object(), responses.contains_key("413"), "{operation:?}");
        let unkeyed = responses.get("401").is_some_and(|response| response.to_string().contains("The api key is invalid"));
        assert_eq!(described["security"].to_string().contains("apiKey"), unkeyed, "{operation:?}");
    }
    // Every reference leads somewhere, and every schema is used.
    let text = DOCUMENT.to_string();
    for schema in DOCUMENT["components"]["schemas"].as_object().unwrap().keys() {
        assert!(text.contains(&format!("\"#/components/schemas/{schema}\"")), "{schema} is not used");
    }
    for reference in text.split("\"$ref\":\"#").skip(1) {
        let pointer = reference.split('"').next().unwrap();
        assert!(DOCUMENT.pointer(pointer).is_some(), "{pointer}");
    }
}

#[test]
fn an_answer_that_is_not_described_is_noticed() {
    let get = openapi::operation("GET", "/t/signals").unwrap();
    let json = "application/json; charset=UTF-8";
    assert_eq!(faults(&get, 200, json, r#"{"unknownCredential":null}"#), Vec::<String>::new());
    assert_eq!(faults(&get, 404, json, r#"{"title":"user not found","details":"","status":404}"#), Vec::<String>::new());
    for (status, kind, body) in [
        (200, json, r#"{"unknownCredential":7}"#),
        (200, json, r#"{"unknownCredential":{"rpId":"a"}}"#),
        (200, json, r#"{"more":1}"#),
        (200, json, "{"),
        (200, "text/html", "{}"),
        (201, json, "{}"),
        (404, json, r#"{"title":"nobody","details":"","status":404}"#),
        (404, json, r#"{"title":"user not found","details":"","status":400}"#),
        (404, json, r#"{"title":"user not found","details":"","status":404,"more":1}"#),
        (404, json, r#"{"details":"","status":404}"#),
    ] {
        assert_ne!(faults(&get, status, kind, body), Vec::<String>::new(), "{status} {body}");
    }
    let delete = openapi::operation("DELETE", "/t/credentials/AAAA").unwrap();
    assert_eq!(faults(&delete, 204, "", ""), Vec::<String>::new());
    assert_ne!(faults(&delete, 204, json, "{}"), Vec::<String>::new());
}

#[tokio::test]
async fn the_admin_listener_has_a_page_of_it() {
    let server = Server::sqlite().await;
    let admin = server.admin_api();
    for (path, kind) in [("/openapi", "text/html"), ("/openapi/page.js", "text/javascript"), ("/openapi/page.css", "text/css")] {
        let answer = admin.get(path).await;
        assert!(answer.status == 200 && answer.header("Content-Type").starts_with(kind), "{path}");
        let policy = answer.header("Content-Security-Policy");
        assert!(policy.starts_with("default-src 'none'; script-src 'self';") && !policy.contains("unsafe"), "{policy}");
    }
    let browser = Chromium::launch().await;
    let mut page = browser.page().await;
    page.navigate(&format!("http://{}/openapi#getSignals", server.admin)).await;
    page.wait_for("document.getElementById('state').hidden").await;
    let shown = page.evaluate("document.querySelectorAll('#operations details').length").await;
    assert_eq!(shown, operations().len());
    assert_eq!(page.evaluate("document.getElementById('getSignals').open").await, true, "a link leads to an operation");
    page.type_into("#find", "patch").await;
    let left = page.text("[...document.querySelectorAll('#operations details')].filter((d) => !d.hidden).map((d) => d.id).join()").await;
    assert_eq!(left, "renameCredential");
    assert!(page.complaints().is_empty(), "{:?}", page.complaints());
    server.api().get("/openapi").await.problem(400, "tenant_id must be a valid uuid4");
}
