//! The client data inside `registration/finalize`: what the browser says it was asked, by whom and where.

use serde_json::{Value, json};

use super::{
    Refusal::{Attestation, Challenge, Response},
    Spoil, bytes, refused,
};
use crate::support::{
    authenticator::{Draft, Format},
    cbor::Cbor,
    server::{Server, TenantSpec},
};

/// Client data as bytes of the test's choice, signed over as they are.
fn with_client_data(draft: &Draft, client_data: &[u8]) -> Vec<u8> {
    let auth_data = draft.auth_data();
    let object = Cbor::Map(vec![
        (Cbor::text("fmt"), Cbor::text(draft.format.name())),
        (Cbor::text("attStmt"), Cbor::Map(draft.statement(&auth_data, client_data))),
        (Cbor::text("authData"), Cbor::Bytes(auth_data)),
    ]);
    bytes(&draft.body_with(client_data, &object.encode()))
}

#[tokio::test]
async fn members_missing_or_mistyped() {
    let server = Server::sqlite().await;
    let tenant = server.create_tenant(&TenantSpec::default());
    for member in ["type", "challenge", "origin"] {
        refused(&server, &tenant, Format::PackedSelf, &format!("no {member}"), Response, |draft| {
            draft.client_data.shift_remove(member).unwrap();
            bytes(&draft.body())
        })
        .await;
        for value in [json!(null), json!(7), json!(true), json!([]), json!({}), json!("")] {
            refused(&server, &tenant, Format::PackedSelf, &format!("{member} = {value}"), Response, |draft| {
                draft.client_data[member] = value;
                bytes(&draft.body())
            })
            .await;
        }
    }
    for (member, value) in [
        ("challenge", json!("not base64url!")),
        ("challenge", json!("AAAA====")),
        ("crossOrigin", json!("true")),
        ("crossOrigin", json!(1)),
        ("topOrigin", json!(7)),
        ("tokenBinding", json!("unused")),
        ("tokenBinding", json!({})),
        ("tokenBinding", json!({"status": "unknown"})),
    ] {
        refused(&server, &tenant, Format::PackedSelf, &format!("{member} = {value}"), Response, |draft| {
            draft.client_data.insert(member.to_owned(), value);
            bytes(&draft.body())
        })
        .await;
    }
}

#[tokio::test]
async fn not_an_object() {
    let server = Server::sqlite().await;
    let tenant = server.create_tenant(&TenantSpec::default());
    for text in [&b"[]"[..], b"null", b"{", b"{}{}", b"\x00", b"\xef\xbb\xbf\xef\xbb\xbf{}"] {
        let name = format!("client data {text:?}");
        refused(&server, &tenant, Format::PackedSelf, &name, Response, |draft| with_client_data(draft, text)).await;
    }
    refused(&server, &tenant, Format::PackedSelf, "trailing data", Response, |draft| {
        with_client_data(draft, &[draft.client_data_json().as_slice(), b"{}"].concat())
    })
    .await;
    for member in ["type", "challenge", "origin"] {
        refused(&server, &tenant, Format::PackedSelf, &format!("{member} twice"), Response, |draft| {
            let value = &draft.client_data[member];
            let doubled = Value::Object(draft.client_data.clone()).to_string().replacen('{', &format!("{{\"{member}\":{value},"), 1);
            with_client_data(draft, doubled.as_bytes())
        })
        .await;
    }
    refused(&server, &tenant, Format::PackedSelf, "deep", Response, |draft| {
        let deep = format!("{{\"x\":{}{},", "[".repeat(3000), "]".repeat(3000));
        let text = Value::Object(draft.client_data.clone()).to_string().replacen('{', &deep, 1);
        with_client_data(draft, text.as_bytes())
    })
    .await;
}

#[tokio::test]
async fn another_ceremony_or_another_place() {
    let server = Server::sqlite().await;
    let tenant = server.create_tenant(&TenantSpec::default());
    for (member, value) in [
        ("type", "webauthn.get"),
        ("type", "webauthn.created"),
        ("type", "Webauthn.Create"),
        ("origin", "https://localhost:8000"),
        ("origin", "http://localhost"),
        ("origin", "http://localhost:8001"),
        ("origin", "http://localhost:8000/"),
        ("origin", "http://localhost:8000/path"),
        ("origin", "http://localhost:8000.evil.example"),
        ("origin", "http://evil.example"),
        ("origin", "null"),
        ("origin", "http://user@localhost:8000"),
    ] {
        refused(&server, &tenant, Format::PackedSelf, &format!("{member} = {value}"), Attestation, |draft| {
            draft.client_data[member] = json!(value);
            bytes(&draft.body())
        })
        .await;
    }
}

#[tokio::test]
async fn another_challenge() {
    let server = Server::sqlite().await;
    let tenant = server.create_tenant(&TenantSpec::default());
    for challenge in ["AAAA", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"] {
        refused(&server, &tenant, Format::PackedSelf, challenge, Challenge, |draft| {
            draft.client_data["challenge"] = json!(challenge);
            bytes(&draft.body())
        })
        .await;
    }
    refused(&server, &tenant, Format::PackedSelf, "a prefix of the challenge", Challenge, |draft| {
        let challenge = draft.client_data["challenge"].as_str().unwrap()[..40].to_owned();
        draft.client_data["challenge"] = json!(challenge);
        bytes(&draft.body())
    })
    .await;
}

/// What was signed is what counts, not what is sent beside it.
#[tokio::test]
async fn changed_after_signing() {
    let server = Server::sqlite().await;
    let tenant = server.create_tenant(&TenantSpec::default());
    for format in [Format::PackedSelf, Format::PackedX5c, Format::FidoU2f] {
        refused(&server, &tenant, format, &format!("{format:?}: client data"), Attestation, |draft| {
            let object = Cbor::Map(draft.object()).encode();
            draft.client_data.insert("new".to_owned(), json!(1));
            bytes(&draft.body_with(&draft.client_data_json(), &object))
        })
        .await;
    }
}

/// What browsers and applications may add, and the standard accepts.
#[tokio::test]
async fn harmless_client_data_is_accepted() {
    let server = Server::sqlite().await;
    let tenant = server.create_tenant(&TenantSpec::default());
    let changes: [(&str, Spoil); 5] = [
        ("unknown members", |d| {
            d.client_data.insert("other_keys_can_be_added_here".to_owned(), json!("do not compare clientDataJSON against a template"));
            bytes(&d.body())
        }),
        ("no crossOrigin", |d| {
            d.client_data.shift_remove("crossOrigin");
            bytes(&d.body())
        }),
        ("null for what is not there", |d| {
            for member in ["crossOrigin", "topOrigin", "tokenBinding"] {
                d.client_data.insert(member.to_owned(), json!(null));
            }
            bytes(&d.body())
        }),
        ("an upper-case host", |d| {
            d.client_data["origin"] = json!("HTTP://LOCALHOST:8000");
            bytes(&d.body())
        }),
        ("a byte order mark", |d| with_client_data(d, &[b"\xef\xbb\xbf", d.client_data_json().as_slice()].concat())),
    ];
    for (name, change) in changes {
        let mut draft = tenant.draft("u1", Format::PackedSelf, crate::support::keys::Algorithm::Es256).await;
        let answer = tenant.finalize(change(&mut draft)).await;
        assert_eq!(answer.status, 200, "{name}: {}", answer.body);
    }
}
