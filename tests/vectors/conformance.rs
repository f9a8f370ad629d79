//! `docs/conformance.md` says what is true: each case of FIDO's server tests is refused with the text that it names, and each test and
//! vector that it names is there.

use std::{collections::BTreeSet, fs, path::Path};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::corpus::{self, AUTHENTICATION, Vector};

const DOCUMENT: &str = include_str!("../../docs/conformance.md");

/// A line of a table: its cells.
type Row = Vec<&'static str>;

/// The lines of the table under a heading.
fn table(heading: &str) -> Vec<Row> {
    let (_, section) = DOCUMENT.split_once(&format!("\n## {heading}\n")).unwrap_or_else(|| panic!("{heading}"));
    let section = section.split("\n## ").next().unwrap();
    let lines = section.lines().filter(|line| line.starts_with("| ")).skip(2);
    lines.map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect()).collect()
}

/// What stands in backticks.
fn quoted(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// The tests of a row such as `At1/As1 F-2`.
fn tests(row: &Row) -> Vec<String> {
    let (series, number) = row[0].split_once(' ').unwrap();
    series.split('/').map(|series| format!("{series} {number}")).collect()
}

fn vectors() -> Vec<Vector> {
    corpus::ours().into_iter().chain(corpus::ours_of(AUTHENTICATION)).collect()
}

#[test]
fn every_case_is_there_once() {
    let rows = table("Refused");
    assert_eq!(rows.len(), 98);
    let named: BTreeSet<_> = rows.iter().flat_map(tests).collect();
    assert_eq!(named.len(), 98 + 11 + 17);
    let series = |name: &str| named.iter().filter(|test| test.starts_with(&format!("{name} "))).count();
    let counts = ["At1", "As1", "At2", "As2", "At3", "At5", "At6", "At7", "At8", "At9", "AtA", "As3", "MDS3"].map(series);
    assert_eq!(counts, [15, 21, 17, 17, 19, 14, 3, 1, 2, 4, 3, 5, 5]);
}

/// Each test and vector that is named, and that each line names one.
#[test]
fn what_covers_a_case_is_there() {
    let vectors = vectors();
    let mut missing = Vec::new();
    for row in [table("Refused"), table("Accepted")].concat() {
        let covering = quoted(row.last().unwrap());
        assert!(!covering.is_empty(), "{row:?}");
        for name in covering {
            let is_there = match name.split_once("::") {
                Some((path, function)) => has_test(path, function),
                None => vectors.iter().any(|vector| vector.name == name),
            };
            if !is_there {
                missing.push(format!("{}: {name}", row[0]));
            }
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

fn has_test(path: &str, function: &str) -> bool {
    let source = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap_or_default();
    let mut lines = source.lines().map(str::trim);
    lines.any(|line| line == "#[test]") && source.contains(&format!("fn {function}()"))
}

/// Vectors get the verdict that their table says, and those that are refused are refused with the text.
#[test]
fn vectors_have_the_verdict_of_their_table() {
    let vectors = vectors();
    let judged = |row: &Row| -> Vec<(String, Result<(), String>)> {
        let named = quoted(row.last().unwrap());
        vectors.iter().filter(|vector| named.contains(&vector.name.as_str())).map(|v| (v.name.clone(), v.verdict())).collect()
    };
    for row in table("Refused") {
        for (name, verdict) in judged(&row) {
            assert_refused(&format!("{} {name}", row[0]), verdict, &row);
        }
    }
    let accepted: Vec<_> = table("Accepted").iter().flat_map(judged).collect();
    for (name, verdict) in &accepted {
        assert_eq!(verdict, &Ok(()), "{name}");
    }
    assert!(accepted.len() > 20);
}

fn assert_refused(what: &str, verdict: Result<(), String>, row: &Row) {
    let text = verdict.expect_err(what);
    assert!(quoted(row[2]).iter().any(|quoted| text.contains(quoted)), "{what}: {text}");
}

/// A change to a genuine answer, for the cases that are about one member alone.
enum Change {
    Without(&'static str),
    With(&'static str, Value),
    /// The same of a member of the client data.
    ClientDataWithout(&'static str),
    ClientDataWith(&'static str, Value),
    /// Of the attestation object, authenticator data alone.
    AuthenticatorData(Vec<u8>),
    /// One bit of the signature.
    Signature,
}

/// What a case changes. `None` where a vector or a test of its own is needed.
fn change(test: &str) -> Option<Change> {
    use Change::{AuthenticatorData, ClientDataWith, ClientDataWithout, Signature, With, Without};
    let (series, number) = test.split_once(" F-").unwrap();
    let other_ceremony = if series == "At2" { "webauthn.get" } else { "webauthn.create" };
    Some(match (series, number.parse().unwrap()) {
        ("At1" | "As1", 1) => Without("/id"),
        ("At1" | "As1", 2) => With("/id", json!(7)),
        ("At1" | "As1", 3) => With("/id", json!("+/+/")),
        ("At1" | "As1", 4) => Without("/type"),
        ("At1" | "As1", 5) => With("/type", json!(7)),
        ("At1" | "As1", 6) => With("/type", json!("password")),
        ("At1" | "As1", 7) => Without("/response"),
        ("At1" | "As1", 8) => With("/response", json!("x")),
        ("At1" | "As1", 9) => Without("/response/clientDataJSON"),
        ("At1" | "As1", 10) => With("/response/clientDataJSON", json!(7)),
        ("At1" | "As1", 11) => With("/response/clientDataJSON", json!("")),
        ("At1", 12) => Without("/response/attestationObject"),
        ("At1", 13) => With("/response/attestationObject", json!(7)),
        ("At1", 14) => With("/response/attestationObject", json!("")),
        ("As1", 12) => Without("/response/authenticatorData"),
        ("As1", 13) => With("/response/authenticatorData", json!(7)),
        ("As1", 14) => With("/response/authenticatorData", json!("+/+/")),
        ("As1", 15) => With("/response/authenticatorData", json!("")),
        ("As1", 16) => Without("/response/signature"),
        ("As1", 17) => With("/response/signature", json!(7)),
        ("As1", 18) => With("/response/signature", json!("+/+/")),
        ("As1", 19) => With("/response/signature", json!("")),
        ("As1", 20) => Signature,
        ("As1", 21) => With("/response/userHandle", json!(7)),
        ("At2" | "As2", 1) => ClientDataWithout("type"),
        ("At2" | "As2", 2) => ClientDataWith("type", json!(7)),
        ("At2" | "As2", 3) => ClientDataWith("type", json!("")),
        ("At2" | "As2", 4) => ClientDataWith("type", json!("webauthn.other")),
        ("At2" | "As2", 5) => ClientDataWith("type", json!(other_ceremony)),
        ("At2" | "As2", 6) => ClientDataWithout("challenge"),
        ("At2" | "As2", 7) => ClientDataWith("challenge", json!(7)),
        ("At2" | "As2", 8) => ClientDataWith("challenge", json!("")),
        ("At2" | "As2", 9) => ClientDataWith("challenge", json!("+/+/")),
        ("At2" | "As2", 10) => ClientDataWith("challenge", json!("AAAA")),
        ("At2" | "As2", 11) => ClientDataWithout("origin"),
        ("At2" | "As2", 12) => ClientDataWith("origin", json!(7)),
        ("At2" | "As2", 13) => ClientDataWith("origin", json!("")),
        ("At2" | "As2", 14) => ClientDataWith("origin", json!("https://evil.example")),
        ("At2" | "As2", 15) => ClientDataWith("tokenBinding", json!("x")),
        ("At2" | "As2", 16) => ClientDataWith("tokenBinding", json!({})),
        ("At2" | "As2", 17) => ClientDataWith("tokenBinding", json!({"status": "unknown"})),
        ("At3", 8) => AuthenticatorData(Vec::new()),
        ("At3", 10) => AuthenticatorData([&openssl::sha::sha256(b"example.org")[..], &[0x05, 0, 0, 0, 0]].concat()),
        _ => return None,
    })
}

impl Change {
    fn apply(&self, credential: &mut Value) {
        let member = |credential: &Value, name: &str| URL_SAFE_NO_PAD.decode(credential["response"][name].as_str().unwrap()).unwrap();
        let replace = |credential: &mut Value, name: &str, bytes: &[u8]| {
            credential["response"][name] = json!(URL_SAFE_NO_PAD.encode(bytes));
        };
        let client_data = |credential: &mut Value, change: &dyn Fn(&mut Value)| {
            let mut data = serde_json::from_slice(&member(credential, "clientDataJSON")).unwrap();
            change(&mut data);
            replace(credential, "clientDataJSON", data.to_string().as_bytes());
        };
        match self {
            Self::Without(pointer) => {
                let (parent, name) = pointer.rsplit_once('/').unwrap();
                credential.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(name).unwrap();
            }
            Self::With(pointer, value) => {
                let (parent, name) = pointer.rsplit_once('/').unwrap();
                credential.pointer_mut(parent).unwrap()[name] = value.clone();
            }
            Self::ClientDataWithout(name) => client_data(credential, &|data| drop(data.as_object_mut().unwrap().remove(*name).unwrap())),
            Self::ClientDataWith(name, value) => client_data(credential, &|data| data[*name] = value.clone()),
            Self::AuthenticatorData(bytes) => {
                let length = u8::try_from(bytes.len()).unwrap();
                let object = [&b"\xa3\x63fmt\x64none\x67attStmt\xa0\x68authData\x58"[..], &[length], bytes].concat();
                // A length below 24 has a shorter form.
                let object = if length == 0 { [&object[..object.len() - 2], &[0x40]].concat() } else { object };
                replace(credential, "attestationObject", &object);
            }
            Self::Signature => {
                let mut signature = member(credential, "signature");
                *signature.last_mut().unwrap() ^= 1;
                replace(credential, "signature", &signature);
            }
        }
    }
}

/// The cases that are about one member, made here of an answer that is accepted.
#[test]
fn each_member_spoilt() {
    let vectors = vectors();
    let genuine = |name: &str| vectors.iter().find(|vector| vector.name == name).unwrap();
    let (registration, assertion) = (genuine("derived-packed-self-es256"), genuine("derived-auth-p1"));
    let mut made = 0;
    for row in table("Refused") {
        for test in tests(&row).into_iter().filter(|test| !test.starts_with("MDS3")) {
            let Some(change) = change(&test) else { continue };
            let vector = if test.starts_with("At") { registration } else { assertion };
            let prepared = vector.prepared(false);
            prepared.judge(&vector.body()).unwrap();
            let mut credential = vector.credential.clone();
            change.apply(&mut credential);
            assert_refused(&test, prepared.judge(credential.to_string().as_bytes()), &row);
            assert!(quoted(row[3]).contains(&"tests/vectors/conformance.rs::each_member_spoilt"), "{test}");
            made += 1;
        }
    }
    assert_eq!(made, 14 + 21 + 17 + 17 + 2);
}
