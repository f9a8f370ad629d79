//! Hostile bytes: whatever is sent, nothing panics, and nothing that was signed can be changed.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use passkey_hsm::webauthn::{AuthenticationCredential, RegistrationCredential};
use proptest::{collection::vec, prelude::*, sample::Index};
use serde_json::{Value, json};

use crate::{
    authenticators::Made,
    corpus::{self, AUTHENTICATION, Vector},
};

fn decoded(credential: &Value, name: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(credential["response"][name].as_str()?).ok()
}

/// The credential with other bytes under a member of its response.
fn with(credential: &Value, name: &str, bytes: &[u8]) -> Vec<u8> {
    let mut credential = credential.clone();
    credential["response"][name] = json!(URL_SAFE_NO_PAD.encode(bytes));
    credential.to_string().into_bytes()
}

/// A change to some bytes, as fuzzers make them.
#[derive(Debug, Clone)]
enum Mutation {
    Set(Index, u8),
    Insert(Index, Vec<u8>),
    Remove(Index),
    Truncate(Index),
    Repeat(Index, Index),
}

impl Mutation {
    fn any() -> impl Strategy<Value = Self> {
        prop_oneof![
            4 => (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Self::Set(at, byte)),
            2 => (any::<Index>(), vec(any::<u8>(), 1..9)).prop_map(|(at, bytes)| Self::Insert(at, bytes)),
            2 => any::<Index>().prop_map(Self::Remove),
            1 => any::<Index>().prop_map(Self::Truncate),
            1 => (any::<Index>(), any::<Index>()).prop_map(|(from, to)| Self::Repeat(from, to)),
        ]
    }

    fn apply(&self, bytes: &mut Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        match self {
            Self::Set(at, byte) => *at.get_mut(bytes) = *byte,
            Self::Insert(at, more) => {
                let at = at.index(bytes.len());
                bytes.splice(at..at, more.iter().copied());
            }
            Self::Remove(at) => drop(bytes.remove(at.index(bytes.len()))),
            Self::Truncate(at) => bytes.truncate(at.index(bytes.len())),
            Self::Repeat(from, to) => {
                let (a, b) = (from.index(bytes.len()), to.index(bytes.len()));
                let part = bytes[a.min(b)..a.max(b)].to_vec();
                bytes.splice(a..a, part);
            }
        }
    }
}

fn apply(mutations: &[Mutation], bytes: &mut Vec<u8>) {
    for mutation in mutations {
        mutation.apply(bytes);
    }
}

fn all() -> Vec<Vector> {
    corpus::ours().into_iter().chain(corpus::third_party().unwrap_or_default()).collect()
}

#[test]
fn mutated_vectors_never_panic() {
    let vectors = all();
    let strategy = (any::<Index>(), prop::sample::select(vec!["attestationObject", "clientDataJSON"]), vec(Mutation::any(), 1..5));
    proptest!(ProptestConfig::with_cases(4000), |((index, member, mutations) in strategy)| {
        let vector = index.get(&vectors);
        if let Some(mut bytes) = decoded(&vector.credential, member) {
            apply(&mutations, &mut bytes);
            let _ = vector.verify_body(&with(&vector.credential, member, &bytes), vector.check_chain);
        }
    });
}

#[test]
fn mutated_bodies_never_panic() {
    let vectors = all();
    proptest!(ProptestConfig::with_cases(2000), |(index: Index, mutations in vec(Mutation::any(), 1..5))| {
        let vector = index.get(&vectors);
        let mut body = vector.body();
        apply(&mutations, &mut body);
        let _ = vector.verify_body(&body, vector.check_chain);
    });
}

fn all_authentications() -> Vec<Vector> {
    corpus::ours_of(AUTHENTICATION).into_iter().chain(corpus::third_party_of(AUTHENTICATION).unwrap_or_default()).collect()
}

const ASSERTION: [&str; 4] = ["authenticatorData", "clientDataJSON", "signature", "userHandle"];

#[test]
fn mutated_assertions_never_panic() {
    let vectors = all_authentications();
    let strategy = (any::<Index>(), prop::sample::select(ASSERTION.to_vec()), vec(Mutation::any(), 1..5));
    proptest!(ProptestConfig::with_cases(4000), |((index, member, mutations) in strategy)| {
        let vector = index.get(&vectors);
        if let Some(mut bytes) = decoded(&vector.credential, member) {
            apply(&mutations, &mut bytes);
            let _ = vector.authenticate(&with(&vector.credential, member, &bytes));
        }
    });
}

#[test]
fn mutated_assertion_bodies_never_panic() {
    let vectors = all_authentications();
    proptest!(ProptestConfig::with_cases(2000), |(index: Index, mutations in vec(Mutation::any(), 1..5))| {
        let vector = index.get(&vectors);
        let mut body = vector.body();
        apply(&mutations, &mut body);
        let _ = vector.authenticate(&body);
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn arbitrary_bytes_never_panic(body in vec(any::<u8>(), 0..400)) {
        let _ = RegistrationCredential::parse(&body);
        let _ = AuthenticationCredential::parse(&body);
    }

    #[test]
    fn arbitrary_assertion_members_never_panic(bytes in vec(any::<u8>(), 0..400), flags: u8, tail in vec(any::<u8>(), 0..100)) {
        let vectors = corpus::ours_of(AUTHENTICATION);
        for member in ASSERTION {
            let _ = AuthenticationCredential::parse(&with(&vectors[0].credential, member, &bytes));
        }
        let data = [&[0; 32][..], &[flags, 0, 0, 0, 0], &tail].concat();
        let _ = vectors[0].authenticate(&with(&vectors[0].credential, "authenticatorData", &data));
    }

    #[test]
    fn arbitrary_members_never_panic(object in vec(any::<u8>(), 0..400), client_data in ".{0,200}") {
        let bodies = corpus::ours();
        let _ = RegistrationCredential::parse(&with(&bodies[0].credential, "attestationObject", &object));
        let _ = RegistrationCredential::parse(&with(&bodies[0].credential, "clientDataJSON", client_data.as_bytes()));
    }
}

/// Each byte of a genuine assertion of each algorithm counts: what is signed, and the signature.
#[test]
fn every_byte_of_an_assertion_counts() {
    let vectors = corpus::ours_of(AUTHENTICATION);
    let genuine = vectors.iter().filter(|vector| vector.name.starts_with("derived-auth-alg-") && vector.expected == "accept");
    let mut checked = 0;
    for vector in genuine {
        assert!(vector.verdict().is_ok(), "{}", vector.name);
        for member in ["authenticatorData", "clientDataJSON", "signature"] {
            let bytes = decoded(&vector.credential, member).unwrap();
            for at in 0..bytes.len() {
                let mut changed = bytes.clone();
                changed[at] ^= 0x01;
                let verdict = vector.authenticate(&with(&vector.credential, member, &changed));
                assert!(verdict.is_err(), "byte {at} of {member} of {}", vector.name);
            }
        }
        checked += 1;
    }
    assert!(checked >= 9, "{checked}");
}

/// Each byte of the attestation object, changed in three ways, makes it refused.
fn assert_every_byte_counts(credential: &Value, is_accepted: impl Fn(&[u8]) -> bool) {
    let genuine = decoded(credential, "attestationObject").unwrap();
    assert!(is_accepted(&with(credential, "attestationObject", &genuine)));
    for at in 0..genuine.len() {
        // 0x01 is left out: in the count of a certificate signature's unused bits it can mean nothing.
        for mask in [0x10, 0x80, 0xff] {
            let mut changed = genuine.clone();
            changed[at] ^= mask;
            assert!(!is_accepted(&with(credential, "attestationObject", &changed)), "byte {at} ^ {mask:#x} of {}", genuine.len());
        }
    }
}

#[test]
fn every_byte_of_a_self_attestation_counts() {
    let vectors = corpus::ours();
    for name in ["derived-packed-self-es256", "derived-packed-self-ed448", "derived-packed-self-ps512", "derived-packed-self-rs256"] {
        let vector = vectors.iter().find(|vector| vector.name == name).unwrap();
        assert_every_byte_counts(&vector.credential, |body| vector.verify_body(body, false).is_ok());
    }
}

#[test]
fn every_byte_of_a_trusted_statement_counts() {
    let (made, root) = Made::by_token();
    let credential = serde_json::from_slice(&made.body).unwrap();
    let anchors = [root];
    assert_every_byte_counts(&credential, |body| made.verify_body(body, &anchors).is_ok());
}
