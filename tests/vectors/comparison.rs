//! Ours beside webauthn-rs-core 0.5, on the vectors and on mutated registrations: each difference is listed, with its reason.

use std::collections::BTreeSet;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use passkey_hsm::webauthn::TrustAnchor;
use proptest::{prelude::*, sample::Index, test_runner::RngSeed};
use serde_json::{Value, json};

use crate::{
    authenticators::Made,
    corpus::{self, AUTHENTICATION, REGISTRATION, Vector},
    second_verifier::Asked,
};

/// The vectors with two verdicts, by the number of the reason in `docs/conformance.md`.
const DIFFERENCES: &[(u8, &[&str])] = &[
    (1, &["derived-tpm-p1-rs256", "derived-tpm-p2-rs1", "derived-tpm-p4-es256", "derived-tpm-unknown-manufacturer"]),
    (
        2,
        &[
            "derived-packed-self-es384",
            "derived-packed-self-es256k",
            "derived-packed-self-rs384",
            "derived-packed-self-ps512",
            "derived-packed-self-ed448",
            "derived-auth-alg-es384",
            "derived-auth-alg-es512",
            "derived-auth-alg-es256k",
            "derived-auth-alg-rs512",
            "derived-auth-alg-ps256",
            "derived-auth-alg-ps384",
            "derived-auth-alg-ed25519-fully-specified",
        ],
    ),
    (3, &["derived-packed-self-rs256-3072bit", "derived-auth-alg-rs256-3072bit"]),
    (4, &["derived-apple-leading-zero-x", "derived-android-key-leading-zero-x"]),
    (6, &["derived-packedcert-no-bc"]),
    (7, &["derived-resp5-intermediate-anchor"]),
    (9, &["derived-auth-resp2-crossorigin"]),
    (11, &["derived-auth-uv-preferred-after-uv-registration"]),
    (13, &["derived-origin-with-path"]),
    (
        14,
        &[
            "derived-resp1-f-3b",
            "derived-resp1-f-6",
            "derived-resp2-f-10b",
            "derived-resp2-f-17",
            "derived-resp3-f12",
            "derived-resp3-ed-unflagged",
            "derived-authdata-empty-credid",
            "derived-authdata-credid-1024",
            "derived-u2f-p384-cert",
            "derived-auth-resp1-f-3",
            "derived-auth-resp3-f1",
        ],
    ),
    (15, &["derived-compound"]),
    (16, &["derived-cose-alg-mismatch"]),
];

/// The same for other projects' vectors.
const THIRD_PARTY_DIFFERENCES: &[(u8, &[&str])] = &[
    (
        1,
        &[
            "py-webauthn-verify-attestation-dell-xps-13",
            "py-webauthn-verify-attestation-lenovo-carbon-x1",
            "py-webauthn-verify-attestation-surface-pro-4",
            "py-webauthn-verify-tpm-with-ecc-public-area-type",
            "simplewebauthn-should-verify-tpm-response",
            "simplewebauthn-should-verify-sha256-tpm-response",
            "simplewebauthn-should-verify-tpm-response-with-spec-compliant-tcgattpm-san-structure",
            "simplewebauthn-should-verify-tpm-response-with-non-spec-compliant-tcgattpm-san-structure",
            "simplewebauthn-should-verify-tpm-response-with-ecc-public-area-type",
            "simplewebauthn-should-succeed-if-id-fido-gen-ce-aaguid-extension-is-present-and-matches-aaguid-in-auth-da",
            "simplewebauthn-should-validate-tpm-rsa-response-sha256",
        ],
    ),
    (
        2,
        &[
            "simplewebauthn-should-verify-packed-attestation-with-rsa-pss-sha-256-public-key",
            "simplewebauthn-should-verify-packed-attestation-with-rsa-pss-sha-384-public-key",
            "webauthn-attestation-packed-test-attestation-packed-test",
        ],
    ),
    (20, &["webauthn-attestation-spec-test-testspecvectors-androidkeyes256"]),
];

/// How two verdicts on a mutated registration may differ: by the number of the reason, and parts of the text with which one of them refuses.
/// The other accepts.
struct Kind {
    reason: u8,
    we_refuse: &'static [&'static str],
    it_refuses: &'static [&'static str],
}

const KINDS: &[Kind] = &[
    // One bit of a statement's algorithm makes ESP256 of ES256.
    Kind { reason: 2, we_refuse: &[], it_refuses: &["COSEKeyInvalidAlgorithm"] },
    Kind { reason: 6, we_refuse: &[], it_refuses: &["AttestationCertificateRequirementsNotMet"] },
    Kind { reason: 14, we_refuse: &["id must be the same as rawId", "is not base64url", "type must be public-key"], it_refuses: &[] },
    // Keys and values of the attestation object, of which one bit makes byte strings.
    Kind { reason: 17, we_refuse: &["fmt is missing", "authData is missing", "attStmt is missing", "fmt must be a text"], it_refuses: &[] },
    Kind { reason: 18, we_refuse: &["the algorithm EdDSA (-8) does not go with the key"], it_refuses: &[] },
    Kind {
        reason: 19,
        we_refuse: &[
            "a certificate in x5c is not X.509",
            "the attestation certificate's subject has no valid C",
            "the attestation certificate's basicConstraints extension is malformed",
            "the attestation certificate's key cannot be used",
        ],
        it_refuses: &["asn1 encoding routines", "AttestationStatementX5CInvalid"],
    },
];

impl Kind {
    fn covers(&self, own: Result<(), &str>, other: Result<(), &str>) -> bool {
        let is_one_of = |texts: &[&str], text: &str| texts.iter().any(|part| text.contains(part));
        match (own, other) {
            (Err(own), Ok(())) => is_one_of(self.we_refuse, own),
            (Ok(()), Err(other)) => is_one_of(self.it_refuses, other),
            _ => false,
        }
    }
}

/// Compares both verdicts on each vector with the list, and the second one with what it was when the vector was made.
fn compare(vectors: &[Vector], listed: &[(u8, &[&str])]) {
    let mut wrong = Vec::new();
    let reason = |name: &str| listed.iter().find(|(_, names)| names.contains(&name)).map(|(reason, _)| *reason);
    for vector in vectors {
        let own = vector.verdict();
        let other = vector.asked(vector.check_chain).and_then(|asked| asked.verify(&vector.body()));
        match (own.is_ok() == other.is_ok(), reason(&vector.name)) {
            (true, None) | (false, Some(_)) => {}
            (false, None) => wrong.push(format!("{}: not listed: ours {own:?}, the other's {other:?}", vector.name)),
            (true, Some(reason)) => wrong.push(format!("{}: listed under {reason}, but there is no difference", vector.name)),
        }
        let observed = vector.observed();
        if other.is_ok() != (observed == "accept") {
            wrong.push(format!("{}: it said {observed}, now {other:?}", vector.name));
        }
    }
    let is_there = |name: &&str| vectors.iter().any(|vector| vector.name == **name);
    let gone = listed.iter().flat_map(|(_, names)| *names).filter(|name| !is_there(name));
    wrong.extend(gone.map(|name| format!("{name}: listed, but no vector")));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_difference_is_listed() {
    let vectors: Vec<_> = [REGISTRATION, AUTHENTICATION].into_iter().flat_map(corpus::ours_of).collect();
    compare(&vectors, DIFFERENCES);
}

#[test]
fn every_difference_on_other_projects_vectors_is_listed() {
    let (Some(mut vectors), Some(authentications)) = (corpus::third_party(), corpus::third_party_of(AUTHENTICATION)) else { return };
    vectors.extend(authentications);
    compare(&vectors, THIRD_PARTY_DIFFERENCES);
}

#[test]
fn the_document_has_these_reasons() {
    let (_, table) = include_str!("../../docs/conformance.md").split_once("\n## Differences from webauthn-rs-core\n").unwrap();
    let numbers: BTreeSet<u8> = table.lines().filter_map(|line| line.strip_prefix("| ")?.split_once(' ')?.0.parse().ok()).collect();
    let listed = DIFFERENCES.iter().chain(THIRD_PARTY_DIFFERENCES).map(|(reason, _)| *reason);
    assert_eq!(numbers, listed.chain(KINDS.iter().map(|kind| kind.reason)).collect());
}

/// A registration and both its verifiers.
struct Compared {
    made: Made,
    anchors: Vec<TrustAnchor>,
    other: Asked,
}

impl Compared {
    /// A self attestation; a certificate; a certificate whose chain counts.
    fn each() -> [Self; 3] {
        let (passkey, (token, _), (trusted, root)) = (Made::by_passkey(), Made::by_token(), Made::by_token());
        [(passkey, Vec::new()), (token, Vec::new()), (trusted, vec![root])].map(|(made, anchors)| {
            let other = made.asked(!anchors.is_empty());
            Self { made, anchors, other }
        })
    }

    /// The reason's number, if the verdicts differ.
    fn difference(&self, body: &[u8]) -> Option<u8> {
        let own = self.made.verify_body(body, &self.anchors).map(drop);
        let other = self.other.verify(body);
        if own.is_ok() == other.is_ok() {
            return None;
        }
        let (own, other) = (own.as_ref().copied().map_err(String::as_str), other.as_ref().copied().map_err(String::as_str));
        let kind = KINDS.iter().find(|kind| kind.covers(own, other));
        Some(kind.unwrap_or_else(|| panic!("ours {own:?}, the other's {other:?}: {}", String::from_utf8_lossy(body))).reason)
    }
}

/// The body with one byte changed: of the attestation object, of the client data, or of itself.
fn changed(body: &[u8], part: Option<&str>, at: impl Fn(usize) -> usize, mask: u8) -> Vec<u8> {
    let flip = |mut bytes: Vec<u8>| {
        let at = at(bytes.len());
        bytes[at] ^= mask;
        bytes
    };
    let Some(member) = part else { return flip(body.to_vec()) };
    let mut credential: Value = serde_json::from_slice(body).unwrap();
    let bytes = URL_SAFE_NO_PAD.decode(credential["response"][member].as_str().unwrap()).unwrap();
    credential["response"][member] = json!(URL_SAFE_NO_PAD.encode(flip(bytes)));
    credential.to_string().into_bytes()
}

const PARTS: [Option<&str>; 3] = [Some("attestationObject"), Some("clientDataJSON"), None];

#[test]
fn mutated_registrations_differ_for_reasons() {
    let compared = Compared::each();
    let strategy = (0..compared.len(), prop::sample::select(PARTS.to_vec()), any::<Index>(), 1u8..);
    // The same mutations each time: what a search at random finds is for the fuzz targets.
    let config = ProptestConfig { cases: 3000, rng_seed: RngSeed::Fixed(1), ..ProptestConfig::default() };
    proptest!(config, |((which, part, at, mask) in strategy)| {
        let compared = &compared[which];
        compared.difference(&changed(&compared.made.body, part, |length| at.index(length), mask));
    });
}

/// Each bit of a self attestation: what is accepted by one and refused by the other, all of it.
#[test]
fn each_bit_of_a_self_attestation() {
    let [compared, ..] = Compared::each();
    let mut found = BTreeSet::new();
    let object: Value = serde_json::from_slice(&compared.made.body).unwrap();
    let length = URL_SAFE_NO_PAD.decode(object["response"]["attestationObject"].as_str().unwrap()).unwrap().len();
    for at in 0..length {
        for bit in 0..8 {
            found.extend(compared.difference(&changed(&compared.made.body, Some("attestationObject"), |_| at, 1 << bit)));
        }
    }
    assert_eq!(found.into_iter().collect::<Vec<_>>(), [17]);
}
