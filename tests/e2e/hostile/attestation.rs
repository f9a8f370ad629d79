//! The attestation object inside `registration/finalize`: CBOR, authenticator data, keys and statements.

use serde_json::json;

use super::{
    Refusal::{self, Attestation, Response},
    Spoil, bytes, refused,
};
use crate::support::{
    authenticator::{AAGUID, Draft, Format, flag},
    cbor::{Cbor, Entries, head, remove, set},
    keys::{Algorithm, KeyPair},
    server::{Server, TenantSpec},
};

type Case = (&'static str, Refusal, Spoil);

async fn all_refused(format: Format, cases: &[Case]) {
    let server = Server::sqlite().await;
    let tenant = server.create_tenant(&TenantSpec::default());
    for (name, refusal, spoil) in cases {
        refused(&server, &tenant, format, name, *refusal, *spoil).await;
    }
}

/// The body around an attestation object of the test's choice.
fn sent(draft: &Draft, object: &Cbor) -> Vec<u8> {
    bytes(&draft.body_with(&draft.client_data_json(), &object.encode()))
}

/// The body after a change to the object's entries, signatures as they were.
fn edited(draft: &Draft, edit: impl FnOnce(&mut Entries)) -> Vec<u8> {
    let mut object = draft.object();
    edit(&mut object);
    sent(draft, &Cbor::Map(object))
}

/// The body after a change to the statement.
fn with_statement(draft: &Draft, edit: impl FnOnce(&mut Entries)) -> Vec<u8> {
    edited(draft, |object| {
        let Cbor::Map(mut statement) = remove(object, "attStmt") else { unreachable!("a statement is a map") };
        edit(&mut statement);
        object.insert(1, (Cbor::text("attStmt"), Cbor::Map(statement)));
    })
}

/// The body after a change to the bytes of authenticator data, signed over as they then are.
fn with_auth_data(draft: &Draft, edit: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut auth_data = draft.auth_data();
    edit(&mut auth_data);
    let statement = draft.statement(&auth_data, &draft.client_data_json());
    edited(draft, |object| {
        set(object, "attStmt", Cbor::Map(statement));
        set(object, "authData", Cbor::Bytes(auth_data));
    })
}

fn nested(depth: usize) -> Cbor {
    Cbor::Raw([vec![0x81; depth], vec![0]].concat())
}

#[tokio::test]
async fn cbor() {
    all_refused(
        Format::None,
        &[
            ("not a map", Response, |d| sent(d, &Cbor::Array(vec![]))),
            ("a text", Response, |d| sent(d, &Cbor::text("fmt"))),
            ("an empty map", Response, |d| sent(d, &Cbor::Map(vec![]))),
            ("cut short", Response, |d| {
                let object = Cbor::Map(d.object()).encode();
                sent(d, &Cbor::Raw(object[..object.len() - 1].to_vec()))
            }),
            ("bytes too many", Response, |d| sent(d, &Cbor::Raw([Cbor::Map(d.object()).encode(), vec![0]].concat()))),
            ("fmt twice", Response, |d| edited(d, |o| o.push((Cbor::text("fmt"), Cbor::text("none"))))),
            ("an unknown key twice", Response, |d| {
                edited(d, |o| {
                    o.push((Cbor::text("x"), Cbor::Int(1)));
                    o.push((Cbor::text("x"), Cbor::Int(2)));
                })
            }),
            ("a map of indefinite length", Response, |d| {
                let object = Cbor::Map(d.object()).encode();
                sent(d, &Cbor::Raw([&[0xbf], &object[1..], &[0xff]].concat()))
            }),
            ("a length that is not the shortest", Response, |d| {
                let object = Cbor::Map(d.object()).encode();
                sent(d, &Cbor::Raw([&[0xb8, 3], &object[1..]].concat()))
            }),
            ("a reserved additional value", Response, |d| sent(d, &Cbor::Raw(vec![0xbc]))),
            ("deep", Response, |d| edited(d, |o| set(o, "attStmt", nested(5000)))),
            ("deep beside what is needed", Response, |d| edited(d, |o| o.push((Cbor::text("x"), nested(40_000))))),
            ("a map that claims 2^32 entries", Response, |d| sent(d, &Cbor::Raw(head(5, 1 << 32)))),
            ("bytes that claim 2^63", Response, |d| edited(d, |o| set(o, "authData", Cbor::Raw(head(2, 1 << 63))))),
            ("an array that claims 2^64 - 1 items", Response, |d| edited(d, |o| set(o, "attStmt", Cbor::Raw(head(4, u64::MAX))))),
            ("a text that is not UTF-8", Response, |d| edited(d, |o| set(o, "fmt", Cbor::Raw(vec![0x64, 0xff, 0xfe, 0xfd, 0xfc])))),
            ("huge", Response, |d| edited(d, |o| o.push((Cbor::text("x"), Cbor::Bytes(vec![0; 66_000]))))),
        ],
    )
    .await;
}

#[tokio::test]
async fn members_of_the_object() {
    all_refused(
        Format::PackedSelf,
        &[
            ("no fmt", Response, |d| edited(d, |o| drop(remove(o, "fmt")))),
            ("no attStmt", Response, |d| edited(d, |o| drop(remove(o, "attStmt")))),
            ("no authData", Response, |d| edited(d, |o| drop(remove(o, "authData")))),
            ("fmt is a number", Response, |d| edited(d, |o| set(o, "fmt", Cbor::Int(1)))),
            ("fmt is bytes", Response, |d| edited(d, |o| set(o, "fmt", Cbor::Bytes(b"packed".to_vec())))),
            ("attStmt is a text", Response, |d| edited(d, |o| set(o, "attStmt", Cbor::text("")))),
            ("attStmt is bytes", Response, |d| edited(d, |o| set(o, "attStmt", Cbor::Bytes(vec![0xa0])))),
            ("authData is a text", Response, |d| edited(d, |o| set(o, "authData", Cbor::text("")))),
            ("authData is empty", Response, |d| edited(d, |o| set(o, "authData", Cbor::Bytes(vec![])))),
            ("an unknown fmt", Attestation, |d| edited(d, |o| set(o, "fmt", Cbor::text("unknown")))),
            ("an empty fmt", Attestation, |d| edited(d, |o| set(o, "fmt", Cbor::text("")))),
            ("a statement under none", Attestation, |d| edited(d, |o| set(o, "fmt", Cbor::text("none")))),
        ],
    )
    .await;
}

#[tokio::test]
async fn authenticator_data() {
    all_refused(
        Format::PackedSelf,
        &[
            ("36 bytes", Response, |d| with_auth_data(d, |a| a.truncate(36))),
            ("37 bytes, AT set", Response, |d| with_auth_data(d, |a| a.truncate(37))),
            ("AT clear, credential there", Response, |d| with_auth_data(d, |a| a[32] &= !flag::AT)),
            ("AT clear, no credential", Attestation, |d| {
                with_auth_data(d, |a| {
                    a[32] &= !flag::AT;
                    a.truncate(37);
                })
            }),
            ("ED clear, extensions there", Response, |d| {
                d.trailing = Cbor::Map(vec![(Cbor::text("x"), Cbor::Int(1))]).encode();
                bytes(&d.body())
            }),
            ("ED set, no extensions", Response, |d| {
                d.flags |= flag::ED;
                bytes(&d.body())
            }),
            ("extensions that are no map", Response, |d| {
                d.flags |= flag::ED;
                d.trailing = vec![0x80];
                bytes(&d.body())
            }),
            ("bytes after the extensions", Response, |d| {
                d.flags |= flag::ED;
                d.trailing = vec![0xa0, 0];
                bytes(&d.body())
            }),
            ("an empty credential id", Response, |d| with_auth_data(d, |a| drop(a.splice(53..55, [0, 0])))),
            ("a credential id longer than what follows", Response, |d| with_auth_data(d, |a| drop(a.splice(53..55, [3, 255])))),
            ("a credential id of 1024 bytes", Attestation, |d| {
                d.credential_id = vec![7; 1024];
                let mut body = d.body();
                (body["id"], body["rawId"]) = (json!("BwcH"), json!("BwcH"));
                bytes(&body)
            }),
            ("no UP", Attestation, |d| {
                d.flags &= !flag::UP;
                bytes(&d.body())
            }),
            ("BS without BE", Attestation, |d| {
                d.flags |= flag::BS;
                bytes(&d.body())
            }),
            ("another relying party", Attestation, |d| {
                d.rp_id_hash = openssl::sha::sha256(b"example.org").to_vec();
                bytes(&d.body())
            }),
        ],
    )
    .await;
}

/// Replaces or adds one entry of the public key.
fn set_key(draft: &mut Draft, label: i64, value: Cbor) -> Vec<u8> {
    let Cbor::Map(entries) = &mut draft.public_key else { unreachable!("a key is a map") };
    match entries.iter_mut().find(|(key, _)| *key == Cbor::Int(label)) {
        Some((_, old)) => *old = value,
        None => entries.push((Cbor::Int(label), value)),
    }
    bytes(&draft.body())
}

/// The key is read where it is judged or where it is parsed: either way it is refused, but only a judgement uses the challenge up.
#[tokio::test]
async fn public_keys() {
    let server = Server::sqlite().await;
    let tenant = server.create_tenant(&TenantSpec::default());
    let cases: [(&str, Spoil); 11] = [
        ("not a map", |d| {
            d.public_key = Cbor::Array(vec![]);
            bytes(&d.body())
        }),
        ("an empty map", |d| {
            d.public_key = Cbor::Map(vec![]);
            bytes(&d.body())
        }),
        ("kty of RSA", |d| set_key(d, 1, Cbor::Int(3))),
        ("an unknown kty", |d| set_key(d, 1, Cbor::Int(99))),
        ("an algorithm not offered", |d| set_key(d, 3, Cbor::Int(-47))),
        ("alg is a text", |d| set_key(d, 3, Cbor::text("ES256"))),
        ("another curve", |d| set_key(d, -1, Cbor::Int(2))),
        ("a short coordinate", |d| set_key(d, -2, Cbor::Bytes(vec![1; 31]))),
        ("a point not on the curve", |d| set_key(d, -3, Cbor::Bytes(vec![1; 32]))),
        ("a compressed point", |d| set_key(d, -3, Cbor::Raw(vec![0xf5]))),
        ("a label twice", |d| {
            let Cbor::Map(entries) = &mut d.public_key else { unreachable!("a key is a map") };
            entries.push((Cbor::Int(1), Cbor::Int(2)));
            bytes(&d.body())
        }),
    ];
    for (name, spoil) in cases {
        let mut draft = tenant.draft("u1", Format::None, Algorithm::Es256).await;
        let answer = tenant.finalize(spoil(&mut draft)).await;
        assert_eq!(answer.status, 400, "{name}: {}", answer.body);
        let refusal = if answer.json()["title"] == "failed to validate attestation" { Attestation } else { Response };
        refusal.check(name, &answer);
    }
    assert_eq!(server.count("credentials").await, 0);
}

#[tokio::test]
async fn packed_self() {
    all_refused(
        Format::PackedSelf,
        &[
            ("an empty statement", Attestation, |d| with_statement(d, Vec::clear)),
            ("no alg", Attestation, |d| with_statement(d, |s| drop(remove(s, "alg")))),
            ("no sig", Attestation, |d| with_statement(d, |s| drop(remove(s, "sig")))),
            ("alg is a text", Attestation, |d| with_statement(d, |s| set(s, "alg", Cbor::text("ES256")))),
            ("another alg than the key's", Attestation, |d| with_statement(d, |s| set(s, "alg", Cbor::Int(-257)))),
            ("sig is a text", Attestation, |d| with_statement(d, |s| set(s, "sig", Cbor::text("")))),
            ("an empty sig", Attestation, |d| with_statement(d, |s| set(s, "sig", Cbor::Bytes(vec![])))),
            ("a sig of zeros", Attestation, |d| with_statement(d, |s| set(s, "sig", Cbor::Bytes(vec![0; 70])))),
            ("an ECDSA sig of r = s = 0", Attestation, |d| {
                with_statement(d, |s| set(s, "sig", Cbor::Bytes(vec![0x30, 6, 2, 1, 0, 2, 1, 0])))
            }),
            ("signed by another key", Attestation, |d| {
                d.key = KeyPair::generate(Algorithm::Es256);
                bytes(&d.body())
            }),
            ("authenticator data changed after signing", Attestation, |d| {
                let (mut object, statement) = (d.object(), d.object());
                d.sign_count = 7;
                set(&mut object, "authData", Cbor::Bytes(d.auth_data()));
                assert_ne!(object, statement);
                sent(d, &Cbor::Map(object))
            }),
        ],
    )
    .await;
}

#[tokio::test]
async fn packed_with_certificates() {
    all_refused(
        Format::PackedX5c,
        &[
            ("x5c is a map", Attestation, |d| with_statement(d, |s| set(s, "x5c", Cbor::Map(vec![])))),
            ("an empty x5c", Attestation, |d| with_statement(d, |s| set(s, "x5c", Cbor::Array(vec![])))),
            ("x5c holds a text", Attestation, |d| with_statement(d, |s| set(s, "x5c", Cbor::Array(vec![Cbor::text("")])))),
            ("x5c holds no certificate", Attestation, |d| {
                with_statement(d, |s| set(s, "x5c", Cbor::Array(vec![Cbor::Bytes(vec![0x30, 0])])))
            }),
            ("a thousand certificates", Attestation, |d| {
                with_statement(d, |s| set(s, "x5c", Cbor::Array(vec![Cbor::Bytes(vec![0x30, 0]); 1000])))
            }),
            ("signed by the credential's key", Attestation, |d| {
                let signature = d.key.sign(&[d.auth_data().as_slice(), &openssl::sha::sha256(&d.client_data_json())].concat());
                with_statement(d, |s| set(s, "sig", Cbor::Bytes(signature)))
            }),
            ("another model than in the certificate", Attestation, |d| {
                d.aaguid = [9; 16];
                bytes(&d.body())
            }),
            ("a critical AAGUID extension", Attestation, |d| {
                d.leaf.aaguid_critical = true;
                bytes(&d.body())
            }),
            ("a certificate of version 1", Attestation, |d| {
                d.leaf.version = 0;
                bytes(&d.body())
            }),
            ("another organisational unit", Attestation, |d| {
                d.leaf.unit = "Sales";
                bytes(&d.body())
            }),
            ("the certificate of a CA", Attestation, |d| {
                d.leaf.is_ca = true;
                bytes(&d.body())
            }),
        ],
    )
    .await;
}

#[tokio::test]
async fn fido_u2f() {
    all_refused(
        Format::FidoU2f,
        &[
            ("no x5c", Attestation, |d| with_statement(d, |s| drop(remove(s, "x5c")))),
            ("no sig", Attestation, |d| with_statement(d, |s| drop(remove(s, "sig")))),
            ("two certificates", Attestation, |d| {
                with_statement(d, |s| {
                    let Cbor::Array(mut chain) = remove(s, "x5c") else { unreachable!("x5c is an array") };
                    chain.push(Cbor::Bytes(d.maker.root.to_der().unwrap()));
                    set(s, "x5c", Cbor::Array(chain));
                })
            }),
            ("a certificate with a key on P-384", Attestation, |d| {
                d.attestation_key = KeyPair::generate_attestation(Algorithm::Es384);
                bytes(&d.body())
            }),
            ("a signature over another message", Attestation, |d| {
                with_statement(d, |s| set(s, "sig", Cbor::Bytes(KeyPair::generate(Algorithm::Es256).sign(b"x"))))
            }),
            ("an RSA credential", Attestation, |d| {
                d.public_key = Cbor::Map(KeyPair::generate(Algorithm::Rs256).cose());
                bytes(&d.body())
            }),
        ],
    )
    .await;
}

/// What authenticators do and the standard accepts.
#[tokio::test]
async fn harmless_differences_are_accepted() {
    let server = Server::sqlite().await;
    let tenant = server.create_tenant(&TenantSpec::default());
    let changes: [(&str, Format, Spoil); 7] = [
        ("keys out of order", Format::PackedSelf, |d| edited(d, |o| o.reverse())),
        ("an unknown member", Format::PackedSelf, |d| edited(d, |o| o.push((Cbor::text("ep"), Cbor::Int(1))))),
        ("extensions", Format::PackedX5c, |d| {
            d.flags |= flag::ED;
            d.trailing = Cbor::Map(vec![(Cbor::text("credProtect"), Cbor::Int(2))]).encode();
            bytes(&d.body())
        }),
        ("backed up", Format::PackedSelf, |d| {
            d.flags |= flag::BE | flag::BS;
            bytes(&d.body())
        }),
        ("the longest credential id", Format::PackedSelf, |d| {
            d.credential_id = vec![7; 1023];
            bytes(&d.body())
        }),
        ("a counter at its end", Format::PackedSelf, |d| {
            d.sign_count = u32::MAX;
            bytes(&d.body())
        }),
        ("no AAGUID in the certificate", Format::PackedX5c, |d| {
            d.leaf.aaguid = None;
            assert_eq!(d.aaguid, AAGUID);
            bytes(&d.body())
        }),
    ];
    for (name, format, change) in changes {
        let mut draft = tenant.draft("u1", format, Algorithm::Es256).await;
        let answer = tenant.finalize(change(&mut draft)).await;
        assert_eq!(answer.status, 200, "{name}: {}", answer.body);
    }
}
