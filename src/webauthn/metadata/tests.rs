//! BLOBs as a whole: their signature and their chain. No test sleeps or reads a clock.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use openssl::{pkey::PKey, rsa::Rsa, x509::X509};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    BlobError, MDS_SIGNER,
    testing::{INTERMEDIATE, LEAF, NOW, ROOT, Service, payload, tlv},
    verify_blob,
};
use crate::{
    domain::Timestamp,
    webauthn::{
        CoseAlgorithm,
        testing::{CertificateSpec, KeyPair, NEW_YEAR},
    },
};

fn days(n: i64) -> Timestamp {
    Timestamp::from_millis((NEW_YEAR + n * 86_400) * 1000)
}

#[test]
fn each_algorithm_of_jose() {
    for algorithm in ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512"] {
        let service = Service::new(algorithm);
        let blob = service.blob(&payload(&[json!({ "aaid": "4e4e#4005" })]));
        let (blob, verified) = service.verify(&blob).unwrap();
        assert_eq!((blob.head.no, blob.head.next_update, blob.head.imported_at), (7, days(31), NOW), "{algorithm}");
        assert_eq!(verified.signer, "O=Example, CN=mds.fidoalliance.org");
        assert_eq!(verified.unchecked, ["O=Example, CN=mds.fidoalliance.org", "CN=Intermediate"]);
    }
}

#[test]
fn white_space_around_it_is_not_part_of_it() {
    let service = Service::default();
    let blob = service.blob(&payload(&[]));
    assert!(service.verify(&[b"\n ", &blob[..], b"\r\n"].concat()).is_ok());
}

#[test]
fn unsigned_and_shared_secrets() {
    let service = Service::default();
    for alg in ["none", "None", "", "HS256", "HS512", "ES256K", "EdDSA", "RS1", "es256", "\u{1b}[2J"] {
        let error = service.verify(&service.with_header(&json!({ "alg": alg }))).unwrap_err();
        assert!(matches!(error, BlobError::Algorithm(_) | BlobError::Header(_)), "{alg}: {error}");
        assert!(!error.to_string().contains('\u{1b}'));
    }
    for alg in [Value::Null, json!(7), json!(["ES256"])] {
        assert!(matches!(service.verify(&service.with_header(&json!({ "alg": alg }))), Err(BlobError::Header(_))));
    }
}

#[test]
fn an_algorithm_goes_with_its_key() {
    let service = Service::default();
    for alg in ["RS256", "PS512", "ES384"] {
        let error = service.verify(&service.with_header(&json!({ "alg": alg }))).unwrap_err();
        assert!(matches!(error, BlobError::Key | BlobError::Signature), "{alg}: {error}");
    }
    let rsa = Service::new("RS256");
    assert_eq!(rsa.verify(&rsa.with_header(&json!({ "alg": "PS256" }))).unwrap_err(), BlobError::Signature);
    assert_eq!(rsa.verify(&rsa.with_header(&json!({ "alg": "RS512" }))).unwrap_err(), BlobError::Signature);
}

#[test]
fn header_members_that_change_the_meaning() {
    let service = Service::default();
    for crit in [json!(["b64"]), json!([]), json!(""), json!(1)] {
        assert_eq!(service.verify(&service.with_header(&json!({ "crit": crit }))).unwrap_err(), BlobError::Critical);
    }
    // `with_header` takes out what is null.
    let header = service.header().to_string().replacen('{', r#"{"crit":null,"#, 1);
    assert_eq!(service.verify(&service.sign(header.as_bytes(), b"{}")).unwrap_err(), BlobError::Critical);
    let x5u = json!({ "x5u": "https://mds.fidoalliance.org/chain.pem" });
    assert_eq!(service.verify(&service.with_header(&x5u)).unwrap_err(), BlobError::CertificateUrl);
    let twice = service.header().to_string().replacen('{', r#"{"alg":"none","#, 1);
    assert!(matches!(service.verify(&service.sign(twice.as_bytes(), b"{}")), Err(BlobError::Header(_))));
    assert!(service.verify(&service.with_header(&json!({ "kid": "1", "jku": "https://example.org", "new": { "a": [1] } }))).is_ok());
}

#[test]
fn what_is_no_jws() {
    let service = Service::default();
    let blob = String::from_utf8(service.blob(&payload(&[]))).unwrap();
    let parts: Vec<_> = blob.split('.').collect();
    let [header, payload, signature] = parts[..] else { panic!() };
    for text in [
        String::new(),
        "..".to_owned(),
        header.to_owned(),
        format!("{header}.{payload}"),
        format!("{blob}.{signature}"),
        format!("{header}=.{payload}.{signature}"),
        format!("{header}.{payload}.{signature}="),
        format!("{header}.{payload}.{signature}+"),
        format!("{header}.{payload}\n.{signature}"),
        format!("{{\"payload\":\"{payload}\"}}"),
    ] {
        let error = service.verify(text.as_bytes()).unwrap_err();
        assert!(matches!(error, BlobError::NotJws(_) | BlobError::Header(_) | BlobError::Signature), "{text}: {error}");
    }
    assert_eq!(service.verify(&vec![b'A'; (64 << 20) + 1]).unwrap_err(), BlobError::TooLarge(64 << 20));
    let long = format!("{}.{payload}.{signature}", "A".repeat((256 << 10) + 4));
    assert!(matches!(service.verify(long.as_bytes()), Err(BlobError::Header(_))));
    let deep = service.sign("[".repeat(100_000).as_bytes(), b"{}");
    assert!(matches!(service.verify(&deep), Err(BlobError::Header(_))));
    assert!(matches!(service.verify(&service.sign(b"{\"alg\":\"\xff\"}", b"{}")), Err(BlobError::Header(_))));
}

/// Of a payload that is not decoded before its signature verifies, the text alone counts.
#[test]
fn a_payload_in_another_alphabet() {
    let service = Service::default();
    let header = service.header().to_string();
    let signed = service.sign(header.as_bytes(), b"\xfb\xff\xff");
    let text = String::from_utf8(signed).unwrap();
    assert!(matches!(service.verify(text.as_bytes()), Err(BlobError::Payload(_))));
    assert_eq!(service.verify(text.replacen(".-___", ".+///", 1).as_bytes()).unwrap_err(), BlobError::Signature);
}

#[test]
fn tampered() {
    let (service, other) = (Service::default(), Service::default());
    let blob = String::from_utf8(service.blob(&payload(&[]))).unwrap();
    let changed = String::from_utf8(service.blob(&json!({ "no": 8, "nextUpdate": "2026-02-01", "entries": [] }))).unwrap();
    let parts = |text: &str| text.split('.').map(str::to_owned).collect::<Vec<_>>();
    let (blob, changed) = (parts(&blob), parts(&changed));
    let mixed = format!("{}.{}.{}", blob[0], changed[1], blob[2]);
    assert_eq!(service.verify(mixed.as_bytes()).unwrap_err(), BlobError::Signature);
    // Signed by a key of nobody, with the right certificates.
    let forged = other.sign(service.header().to_string().as_bytes(), payload(&[]).to_string().as_bytes());
    assert_eq!(service.verify(&forged).unwrap_err(), BlobError::Signature);
    let empty = format!("{}.{}.", blob[0], blob[1]);
    assert_eq!(service.verify(empty.as_bytes()).unwrap_err(), BlobError::Signature);
    let long = format!("{}.{}.{}AAAA", blob[0], blob[1], blob[2]);
    assert!(service.verify(long.as_bytes()).is_err());
    // The same numbers in another form.
    let mut padded = URL_SAFE_NO_PAD.decode(&blob[2]).unwrap();
    padded.insert(32, 0);
    let padded = format!("{}.{}.{}", blob[0], blob[1], URL_SAFE_NO_PAD.encode(padded));
    assert_eq!(service.verify(padded.as_bytes()).unwrap_err(), BlobError::Signature);
}

#[test]
fn x5c_with_and_without_its_root() {
    let service = Service::default();
    assert!(service.verify(&service.with_header(&json!({ "x5c": service.x5c(&[LEAF, INTERMEDIATE, ROOT]) }))).is_ok());
    // No trust in intermediates, nor in the signer itself.
    for anchor in [INTERMEDIATE, LEAF] {
        let anchor = crate::webauthn::TrustAnchor::from_der(&service.chain[anchor].0.to_der().unwrap()).unwrap();
        let verdict = verify_blob(&service.blob(&payload(&[])), &[anchor], &[], None, NOW);
        assert!(matches!(verdict, Err(BlobError::NoPath { .. })), "{verdict:?}");
    }
    assert!(matches!(verify_blob(&service.blob(&payload(&[])), &[], &[], None, NOW), Err(BlobError::NoPath { .. })));
}

#[test]
fn broken_chains() {
    let (service, other) = (Service::default(), Service::default());
    let refused = |x5c: Value| service.verify(&service.with_header(&json!({ "x5c": x5c }))).unwrap_err();
    assert!(matches!(refused(service.x5c(&[LEAF])), BlobError::NoPath { .. }));
    assert_eq!(refused(service.x5c(&[LEAF, ROOT, INTERMEDIATE])), BlobError::NotAChain(0));
    assert_eq!(refused(service.x5c(&[LEAF, INTERMEDIATE, INTERMEDIATE])), BlobError::NotAChain(1));
    assert_eq!(refused(service.x5c(&[LEAF, LEAF, INTERMEDIATE])), BlobError::NotACa("O=Example, CN=mds.fidoalliance.org".to_owned()));
    // The order is wrong: the CA's key did not sign.
    assert_eq!(
        refused(service.x5c(&[INTERMEDIATE, ROOT])),
        BlobError::Signer { expected: MDS_SIGNER.to_owned(), subject: "CN=Intermediate".to_owned() }
    );
    let mixed = json!([service.x5c(&[LEAF])[0], other.x5c(&[INTERMEDIATE])[0]]);
    assert_eq!(refused(mixed), BlobError::NotAChain(0));
    // A good chain of another root.
    assert!(matches!(service.verify(&other.blob(&payload(&[]))), Err(BlobError::NoPath { .. })));
    let own = other.with_header(&json!({ "x5c": other.x5c(&[LEAF, INTERMEDIATE, ROOT]) }));
    assert!(matches!(service.verify(&own), Err(BlobError::NoPath { .. })));
}

#[test]
fn x5c_of_any_shape() {
    let service = Service::default();
    let refused = |x5c: Value| service.verify(&service.with_header(&json!({ "x5c": x5c }))).unwrap_err();
    for x5c in [Value::Null, json!([]), json!("MIIB"), json!({}), service.x5c(&[LEAF; 9])] {
        assert_eq!(refused(x5c), BlobError::CertificateCount(8));
    }
    for (n, x5c) in [(0, json!([""])), (0, json!(["MIIB"])), (0, json!([7])), (0, json!(["-_8"]))] {
        assert_eq!(refused(x5c), BlobError::Certificate(n));
    }
    assert_eq!(refused(json!([service.x5c(&[LEAF])[0], "AAAA"])), BlobError::Certificate(1));
    let padded = format!("{}\n", service.x5c(&[LEAF])[0].as_str().unwrap());
    assert_eq!(refused(json!([padded])), BlobError::Certificate(0));
}

#[test]
fn dates_are_judged_at_the_given_instant() {
    assert!(Service::valid("ES256", (-9, 9), (0, 2)).verify(&Service::default().blob(&payload(&[]))).is_err());
    for (intermediate, leaf, culprit) in
        [((-9, 0), (0, 9), "Intermediate"), ((2, 9), (0, 9), "Intermediate"), ((0, 9), (-9, 0), MDS_SIGNER), ((0, 9), (2, 9), MDS_SIGNER)]
    {
        let service = Service::valid("ES256", intermediate, leaf);
        match service.verify(&service.blob(&payload(&[]))).unwrap_err() {
            BlobError::NoPath { subject, .. } => assert!(subject.contains(culprit), "{subject}"),
            other => panic!("{other}"),
        }
    }
    let service = Service::valid("ES256", (-9, 9), (0, 2));
    let at = |now| verify_blob(&service.blob(&payload(&[])), &[service.root()], &[], None, now);
    assert!(at(NOW).is_ok());
    assert!(at(days(3)).unwrap_err().to_string().contains("expired"));
    assert!(at(days(366)).is_err());
}

#[test]
fn the_signer_has_a_name() {
    let service = Service::default();
    let blob = service.blob(&payload(&[]));
    let verify = |name| verify_blob(&blob, &[service.root()], &[], name, NOW).map(|_| ());
    assert_eq!(verify(None), Ok(()));
    assert_eq!(verify(Some("MDS.fidoalliance.org")), Ok(()));
    for name in ["example.org", "fidoalliance.org", ".fidoalliance.org", "", "mds.fidoalliance.org.example.org"] {
        let subject = "O=Example, CN=mds.fidoalliance.org".to_owned();
        assert_eq!(verify(Some(name)), Err(BlobError::Signer { expected: name.to_owned(), subject }));
    }
}

/// Where there is a subjectAltName, the common name counts for nothing; no wildcard stands for the name.
#[test]
fn the_signers_name_is_its_alternative_name() {
    for (san, is_good) in [(MDS_SIGNER, true), ("example.org", false), ("*.fidoalliance.org", false)] {
        let names = tlv(0x30, &[&tlv(0x82, &[san.as_bytes()])]);
        let service = Service::extended(Some(("2.5.29.17", &names)), None);
        let verdict = service.verify(&service.blob(&payload(&[])));
        assert_eq!(verdict.is_ok(), is_good, "{san}: {verdict:?}");
        assert!(is_good || matches!(verdict, Err(BlobError::Signer { .. })));
    }
}

#[test]
fn weak_keys_issue_nothing() {
    for (bits, is_good) in [(1024, false), (2048, true)] {
        let service = Service::extended(None, Some(PKey::from_rsa(Rsa::generate(bits).unwrap()).unwrap()));
        let verdict = service.verify(&service.blob(&payload(&[])));
        assert_eq!(verdict.is_ok(), is_good, "{bits}: {verdict:?}");
        assert!(is_good || matches!(verdict, Err(BlobError::NoPath { subject, .. }) if subject.contains("CN=Intermediate")));
    }
}

/// One that keyUsage or a missing basicConstraints would make a CA to somebody.
#[test]
fn only_cas_issue() {
    let mut service = Service::default();
    for ca in [None, Some(false)] {
        let key = KeyPair::generate(CoseAlgorithm::Es256).private;
        let (root, root_key) = &service.chain[ROOT];
        let spec = CertificateSpec { subject: &[("CN", "No CA")], ca, ..CertificateSpec::default() };
        let issuer: X509 = spec.make(&key, Some((root, root_key)));
        let spec = CertificateSpec { subject: &[("CN", MDS_SIGNER)], ..CertificateSpec::default() };
        service.chain[LEAF].0 = spec.make(&service.chain[LEAF].1, Some((&issuer, &key)));
        service.chain[INTERMEDIATE] = (issuer, key);
        assert_eq!(service.verify(&service.blob(&payload(&[]))).unwrap_err(), BlobError::NotACa("CN=No CA".to_owned()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let service = Service::default();
        prop_assert!(service.verify(&bytes).is_err());
        // Signed: what a signer that went mad could send.
        let header = service.verify(&service.sign(&bytes, b"x"));
        prop_assert!(header.is_err());
        let signed = service.sign(service.header().to_string().as_bytes(), &bytes);
        prop_assert!(matches!(service.verify(&signed), Err(BlobError::Payload(_))));
    }

    #[test]
    fn any_byte_changed(place in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let service = Service::default();
        let mut blob = service.blob(&payload(&[]));
        let place = place.index(blob.len());
        let is_same = blob[place] == byte;
        blob[place] = byte;
        // White space at an end is no part of the BLOB, and nor is what it takes the place of.
        let verdict = service.verify(&blob);
        prop_assert_eq!(verdict.is_ok(), is_same, "{:?}", verdict);
    }
}
