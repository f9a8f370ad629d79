//! The JSON of `registration/finalize`: every member missing, mistyped, oversized or there twice.

use serde_json::{Value, json};

use super::{
    Refusal::{Credential, Response},
    bytes, refused,
};
use crate::support::{
    authenticator::Format,
    server::{Server, ServerSpec, TenantSpec},
};

/// The members that must be there, and how their absence is refused.
const REQUIRED: [(&str, super::Refusal); 6] = [
    ("/id", Credential),
    ("/rawId", Credential),
    ("/type", Credential),
    ("/response", Credential),
    ("/response/clientDataJSON", Response),
    ("/response/attestationObject", Response),
];

/// Turns a genuine body into what some client sends.
type Change = fn(Value) -> Vec<u8>;

fn parent<'a>(body: &'a mut Value, pointer: &str) -> (&'a mut serde_json::Map<String, Value>, String) {
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    (body.pointer_mut(parent).unwrap().as_object_mut().unwrap(), name.to_owned())
}

fn replaced(mut body: Value, pointer: &str, value: Value) -> Value {
    let (object, name) = parent(&mut body, pointer);
    object.insert(name, value);
    body
}

#[tokio::test]
async fn missing() {
    let server = Server::sqlite().await;
    let tenant = server.create_tenant(&TenantSpec::default());
    for (pointer, refusal) in REQUIRED {
        refused(&server, &tenant, Format::PackedSelf, pointer, refusal, |draft| {
            let mut body = draft.body();
            let (object, name) = parent(&mut body, pointer);
            object.shift_remove(&name).unwrap();
            bytes(&body)
        })
        .await;
    }
}

#[tokio::test]
async fn mistyped() {
    let server = Server::sqlite().await;
    let tenant = server.create_tenant(&TenantSpec::default());
    let wrong = [json!(null), json!(7), json!(1.5), json!(true), json!([]), json!({}), json!(["AAAA"]), json!(""), json!("not base64url!")];
    for (pointer, refusal) in REQUIRED {
        for value in &wrong {
            let name = format!("{pointer} = {value}");
            // An empty response is an object without the members that it must have.
            let refusal = if pointer == "/response" && value.is_object() { Response } else { refusal };
            refused(&server, &tenant, Format::None, &name, refusal, |draft| bytes(&replaced(draft.body(), pointer, value.clone()))).await;
        }
    }
    for (pointer, value) in [
        ("/type", json!("password")),
        ("/type", json!("Public-Key")),
        ("/rawId", json!("AAAA")),
        ("/id", json!("+/+/")),
        ("/response/transports", json!("usb")),
        ("/response/transports", json!([7])),
        ("/response/transports", json!({"0": "usb"})),
        ("/clientExtensionResults", json!([])),
        ("/authenticatorAttachment", json!(7)),
    ] {
        let name = format!("{pointer} = {value}");
        refused(&server, &tenant, Format::None, &name, Credential, |draft| bytes(&replaced(draft.body(), pointer, value))).await;
    }
}

/// Nothing signs `id` and `rawId`: what is stored and vouched for is the id in the authenticator's data.
#[tokio::test]
async fn the_attested_id_is_the_one_that_counts() {
    let server = Server::sqlite().await;
    let tenant = server.create_tenant(&TenantSpec::default());
    let draft = tenant.draft("u1", Format::PackedSelf, crate::support::keys::Algorithm::Es256).await;
    let body = replaced(replaced(draft.body(), "/id", json!("AAAA")), "/rawId", json!("AAAA"));
    let token = tenant.finalize(bytes(&body)).await.token();
    let verified = crate::support::jose::jsonwebtoken(&token, &tenant.jwks().await.json(), "localhost").unwrap();
    assert_eq!(verified.claims["cred"], draft.id());
}

#[tokio::test]
async fn oversized() {
    let server = Server::sqlite().await;
    let tenant = server.create_tenant(&TenantSpec::default());
    for (pointer, value, refusal) in [
        ("/id", json!("A".repeat(1368)), Credential),
        ("/rawId", json!("A".repeat(40_000)), Credential),
        ("/type", json!("public-key".repeat(1000)), Credential),
        ("/response/clientDataJSON", json!("A".repeat(40_000)), Response),
        ("/response/attestationObject", json!("A".repeat(60_000)), Response),
        ("/response/transports", json!(vec!["usb"; 1000]), Credential),
        ("/response/transports", json!(["u".repeat(30_000)]), Credential),
    ] {
        refused(&server, &tenant, Format::None, pointer, refusal, |draft| bytes(&replaced(draft.body(), pointer, value))).await;
    }
    let deep = |n: usize| json!(null).to_string().replace("null", &format!("{}{}", "[".repeat(n), "]".repeat(n)));
    refused(&server, &tenant, Format::None, "a deep unknown member", Credential, |draft| {
        draft.body().to_string().replacen('{', &format!("{{\"x\":{},", deep(20_000)), 1).into_bytes()
    })
    .await;
}

#[tokio::test]
async fn a_body_over_the_limit_is_not_read() {
    let spec = ServerSpec { http: vec!["body_limit_bytes = 20000".to_owned()], ..ServerSpec::default() };
    let server = Server::start(spec).await;
    let tenant = server.create_tenant(&TenantSpec::default());
    let draft = tenant.draft("u1", Format::None, crate::support::keys::Algorithm::Es256).await;
    let large = replaced(draft.body(), "/padding", json!("A".repeat(20_000)));
    for answer in [
        tenant.finalize(bytes(&large)).await,
        tenant.initialize(json!({"user_id": "u1", "username": "ann", "padding": "A".repeat(20_000)}).to_string()).await,
    ] {
        answer.problem(413, "Request Entity Too Large");
    }
    assert_eq!(server.count("credentials").await, 0);
    tenant.finalize(bytes(&draft.body())).await.token();
}

#[tokio::test]
async fn twice() {
    let server = Server::sqlite().await;
    let tenant = server.create_tenant(&TenantSpec::default());
    for (pointer, _) in REQUIRED.into_iter().chain([("/clientExtensionResults", Credential), ("/response/transports", Credential)]) {
        refused(&server, &tenant, Format::None, &format!("{pointer} twice"), Credential, |draft| {
            let mut body = draft.body();
            let (object, name) = parent(&mut body, pointer);
            let value = object[&name].clone();
            let doubled = serde_json::to_string(&object).unwrap().replacen('{', &format!("{{\"{name}\":{value},"), 1);
            let text = if pointer.matches('/').count() == 1 {
                doubled
            } else {
                replaced(body, "/response", json!("@")).to_string().replacen("\"@\"", &doubled, 1)
            };
            serde_json::from_str::<Value>(&text).expect("duplicates are the only fault");
            text.into_bytes()
        })
        .await;
    }
}

#[tokio::test]
async fn not_json_at_all() {
    let server = Server::sqlite().await;
    let tenant = server.create_tenant(&TenantSpec::default());
    for body in [
        &b""[..],
        b" ",
        b"{}",
        b"[]",
        b"null",
        b"7",
        b"\"public-key\"",
        b"{",
        b"{\"id\"",
        b"\xff\xfe{\0}\0",
        b"{\"id\":\"\\ud800\"}",
        b"{\"id\":\"a\x00b\"}",
        b"<xml/>",
        b"id=AAAA&type=public-key",
    ] {
        Credential.check(&String::from_utf8_lossy(body), &tenant.finalize(body).await);
    }
    refused(&server, &tenant, Format::None, "trailing data", Credential, |draft| format!("{}{{}}", draft.body()).into_bytes()).await;
    refused(&server, &tenant, Format::None, "cut short", Credential, |draft| {
        let mut body = bytes(&draft.body());
        body.pop();
        body
    })
    .await;
    refused(&server, &tenant, Format::None, "invalid UTF-8", Credential, |draft| {
        let mut body = bytes(&draft.body());
        body.splice(1..1, *b"\"x\":\"\xff\",");
        body
    })
    .await;
}

/// What clients differ in, and what must be accepted all the same.
#[tokio::test]
async fn harmless_differences_are_accepted() {
    let server = Server::sqlite().await;
    let tenant = server.create_tenant(&TenantSpec::default());
    let changes: [(&str, Change); 6] = [
        ("padding", |body| {
            let padded = |text: &str| text.to_owned() + &"=".repeat((4 - text.len() % 4) % 4);
            let mut body = body;
            for pointer in ["/id", "/rawId", "/response/clientDataJSON", "/response/attestationObject"] {
                let text = padded(body.pointer(pointer).unwrap().as_str().unwrap());
                body = replaced(body, pointer, json!(text));
            }
            bytes(&body)
        }),
        ("unknown members", |body| {
            bytes(&replaced(replaced(body, "/new", json!({"a": [1.5e300, null]})), "/response/publicKeyAlgorithm", json!(-7)))
        }),
        ("transports at the top", |mut body| {
            let (response, _) = parent(&mut body, "/response/transports");
            let transports = response.shift_remove("transports").unwrap();
            bytes(&replaced(body, "/transports", transports))
        }),
        ("no transports, no extensions, no attachment", |mut body| {
            for pointer in ["/response/transports", "/clientExtensionResults", "/authenticatorAttachment"] {
                let (object, name) = parent(&mut body, pointer);
                object.shift_remove(&name);
            }
            bytes(&body)
        }),
        ("null attachment", |body| bytes(&replaced(body, "/authenticatorAttachment", Value::Null))),
        ("white space", |body| format!("\r\n\t {body:#} \n").into_bytes()),
    ];
    for (name, change) in changes {
        let draft = tenant.draft("u1", Format::PackedX5c, crate::support::keys::Algorithm::Es256).await;
        let answer = tenant.finalize(change(draft.body())).await;
        assert_eq!(answer.status, 200, "{name}: {}", answer.body);
    }
}
