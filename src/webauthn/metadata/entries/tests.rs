//! Payloads, as they were signed: a verified one may still have words and shapes that nobody foresaw.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::{
    domain::AttestationType,
    webauthn::{
        CoseAlgorithm,
        metadata::testing::{LEAF, NOW, ROOT, Service, payload},
    },
};

const AAGUID: &str = "01020304-0506-0708-0102-030405060708";

fn read_text(text: &str) -> Result<(MetadataBlob, Found), BlobError> {
    read(text.as_bytes(), NOW)
}

fn read_all(entries: &[Value]) -> (Vec<MetadataEntry>, Found) {
    let (blob, found) = read_text(&payload(entries).to_string()).unwrap();
    assert_eq!(blob.entries.len() + found.skipped.len(), entries.len());
    (blob.entries, found)
}

/// A FIDO2 entry with these members in its statement.
fn entry_of(statement: &Value) -> MetadataEntry {
    let mut entries = read_all(&[json!({ "aaguid": AAGUID, "metadataStatement": statement, "statusReports": [] })]).0;
    entries.pop().unwrap()
}

fn skipped(entry: Value) -> (SkipReason, String) {
    let mut found = read_all(&[entry]).1;
    let SkippedEntry { place: 0, name, reason } = found.skipped.remove(0) else { panic!() };
    (reason, name)
}

#[test]
fn a_whole_entry() {
    let root = STANDARD.encode(Service::default().chain[ROOT].0.to_der().unwrap());
    let entry = json!({
        "aaguid": AAGUID,
        "metadataStatement": {
            "description": "Example Authenticator",
            "attestationTypes": ["basic_full", "basic_surrogate"],
            "authenticationAlgorithms": ["secp256r1_ecdsa_sha256_raw", "ed25519_eddsa_sha512_raw"],
            "attestationRootCertificates": [root],
            "icon": "data:image/png;base64,iVBORw0KGgo=",
        },
        "statusReports": [
            { "status": "FIDO_CERTIFIED_L1", "effectiveDate": "2025-01-31", "certificateNumber": "FIDO2001", "url": "https://example.org" },
            { "status": "UPDATE_AVAILABLE", "effectiveDate": "2025-03-31", "authenticatorVersion": 5, "sunsetDate": "2027-01-01" },
        ],
        "timeOfLastStatusChange": "2025-03-31",
    });
    let (entries, found) = read_all(&[entry]);
    assert_eq!((found.skipped.len(), found.unreadable_anchors), (0, 0));
    let report = |status: &str, date: &str| StatusReport {
        status: status.to_owned(),
        effective_date: Some(date.to_owned()),
        ..StatusReport::default()
    };
    let certified = StatusReport { url: Some("https://example.org".to_owned()), ..report("FIDO_CERTIFIED_L1", "2025-01-31") };
    let update = StatusReport {
        authenticator_version: Some(5),
        sunset_date: Some("2027-01-01".to_owned()),
        ..report("UPDATE_AVAILABLE", "2025-03-31")
    };
    let expected = MetadataEntry {
        aaguid: Some(AAGUID.parse().unwrap()),
        key_identifiers: vec![],
        description: "Example Authenticator".to_owned(),
        attestation_types: vec![AttestationType::Basic, AttestationType::SelfAttestation],
        algorithms: vec![-7, -9, -8, -19],
        anchors: vec![root],
        status_reports: vec![certified, update],
    };
    assert_eq!(entries, std::slice::from_ref(&expected));
    // As it is stored.
    let stored = serde_json::to_string(&expected).unwrap();
    assert_eq!(serde_json::from_str::<MetadataEntry>(&stored).unwrap(), expected);
}

#[test]
fn what_every_payload_must_have() {
    let text = |no: &str, next: &str, entries: &str| format!(r#"{{"no":{no},"nextUpdate":{next},"entries":{entries}}}"#);
    let good = r#""2026-02-01""#;
    assert!(read_text(&text("0", good, "[]")).is_ok());
    assert_eq!(read_text(&text("18446744073709551615", good, "[]")).unwrap().0.head.no, u64::MAX);
    for no in ["-1", "1.0", "1e2", "18446744073709551616", &"9".repeat(400), "null", r#""7""#, "[]"] {
        assert!(matches!(read_text(&text(no, good, "[]")), Err(BlobError::Payload(_))), "{no}");
    }
    for next in ["2026-2-1", "2026-02-30", "2026-02-01T00:00:00Z", "01-02-2026", "20260201", "２026-02-01", "+026-02-01", ""] {
        assert!(matches!(read_text(&text("1", &json!(next).to_string(), "[]")), Err(BlobError::Payload(_))), "{next}");
    }
    for next in ["null", "20260201"] {
        assert!(matches!(read_text(&text("1", next, "[]")), Err(BlobError::Payload(_))), "{next}");
    }
    for entries in ["null", "{}", r#""[]""#, "[", "[1,]", "7"] {
        assert!(matches!(read_text(&text("1", good, entries)), Err(BlobError::Payload(_))), "{entries}");
    }
    for text in ["", "null", "[]", "{}", r#"{"no":1}"#, r#"{"no":1,"entries":[]}"#, r#"{"no":1,"nextUpdate":"2026-02-01"}"#] {
        assert!(matches!(read_text(text), Err(BlobError::Payload(_))), "{text}");
    }
    let twice = r#"{"no":1,"no":2,"nextUpdate":"2026-02-01","entries":[]}"#;
    assert!(matches!(read_text(twice), Err(BlobError::Payload(_))));
    assert!(matches!(read(b"{\"no\":1,\"x\":\"\xff\"}", NOW), Err(BlobError::Payload(_))));
    let error = read_text(&text(&format!("\"{}\"", "x".repeat(100_000)), good, "[]")).unwrap_err();
    assert!(error.to_string().len() < 300);
}

#[test]
fn members_and_words_that_are_new() {
    let mut whole = payload(&[json!({
        "aaguid": AAGUID,
        "newMember": { "a": [1, 2.5, null] },
        "metadataStatement": { "description": "A", "newMember": 1, "attestationTypes": ["basic_full"], "iconDark": [[]] },
        "statusReports": [{ "status": "NEW_WORD", "newMember": {} }, { "status": "REVOKED", "effectiveDate": 7, "authenticatorVersion": -1 }],
    })]);
    whole["newMember"] = json!([{}]);
    let (blob, found) = read_text(&whole.to_string()).unwrap();
    assert_eq!(found.skipped, []);
    let reports: Vec<_> = blob.entries[0].status_reports.iter().map(|report| report.status.as_str()).collect();
    assert_eq!(reports, ["NEW_WORD", "REVOKED"]);
    assert_eq!(blob.entries[0].status_reports[1], StatusReport { status: "REVOKED".to_owned(), ..StatusReport::default() });
    // A list with a word that is not known would say less than it does.
    let list = |name: &str, words: Value| entry_of(&json!({ name: words }));
    assert_eq!(list("attestationTypes", json!(["basic_surrogate", "new"])).attestation_types, []);
    assert_eq!(list("attestationTypes", json!(["basic_surrogate", 15879])).attestation_types, []);
    assert_eq!(list("attestationTypes", json!("basic_full")).attestation_types, []);
    assert_eq!(
        list("attestationTypes", json!(["ecdaa", "anonca", "attca", "none"])).attestation_types,
        [AttestationType::AnonCa, AttestationType::AttCa, AttestationType::None]
    );
    assert_eq!(list("authenticationAlgorithms", json!(["secp256r1_ecdsa_sha256_raw", "sm2_sm3_raw"])).algorithms, [0; 0]);
    assert_eq!(list("authenticationAlgorithms", json!(["secp256r1_ecdsa_sha256_raw", "secp256r1_ecdsa_sha256_der"])).algorithms, [-7, -9]);
}

/// As in the entry of Swissbit's iShield: the words name P-384, and the device has P-256 and RSA.
#[test]
fn an_authenticators_own_list_of_algorithms_counts_too() {
    let algorithms =
        |words: Value, info: Value| entry_of(&json!({ "authenticationAlgorithms": words, "authenticatorGetInfo": info })).algorithms;
    let word = || json!(["secp384r1_ecdsa_sha384_raw"]);
    let item = |alg: i64| json!({ "type": "public-key", "alg": alg });
    assert_eq!(algorithms(word(), json!({ "algorithms": [item(-7), item(-257), item(-35), item(-7)] })), [-35, -51, -7, -257]);
    assert_eq!(algorithms(word(), json!({ "algorithms": vec![item(-7); 5000] })), [-35, -51, -7]);
    for nothing in [json!({}), json!(7), json!({ "algorithms": {} }), json!({ "algorithms": [7, {}, { "alg": "-7" }] })] {
        assert_eq!(algorithms(word(), nothing), [-35, -51]);
    }
    // Without words the list may be short of what the model does.
    assert_eq!(algorithms(json!([]), json!({ "algorithms": [item(-7)] })), [0; 0]);
    assert_eq!(algorithms(json!(["new"]), json!({ "algorithms": [item(-7)] })), [0; 0]);
}

#[test]
fn every_algorithm_has_a_word() {
    let words = [
        "secp256r1_ecdsa_sha256_raw",
        "secp256k1_ecdsa_sha256_der",
        "secp384r1_ecdsa_sha384_raw",
        "secp521r1_ecdsa_sha512_raw",
        "ed25519_eddsa_sha512_raw",
        "ed448_eddsa_sha512_raw",
        "rsassa_pss_sha256_raw",
        "rsassa_pss_sha384_raw",
        "rsassa_pss_sha512_raw",
        "rsassa_pkcsv15_sha1_raw",
        "rsassa_pkcsv15_sha256_raw",
        "rsassa_pkcsv15_sha384_raw",
        "rsassa_pkcsv15_sha512_raw",
    ];
    let found = entry_of(&json!({ "authenticationAlgorithms": words })).algorithms;
    for algorithm in CoseAlgorithm::ALL {
        assert!(found.contains(&algorithm.id()), "{algorithm}");
    }
    assert_eq!(found.len(), CoseAlgorithm::ALL.len());
}

#[test]
fn entries_that_are_not_used() {
    let statement = json!({ "description": "A\u{7}B" });
    let with = |name: &str, value: Value| json!({ name: value, "metadataStatement": statement, "statusReports": [] });
    assert_eq!(skipped(with("aaid", json!("4e4e#4005"))), (SkipReason::Uaf, "4e4e#4005".to_owned()));
    assert_eq!(skipped(with("x", json!(1))), (SkipReason::Unidentified, "A B".to_owned()));
    for aaguid in [json!("0102"), json!(7), json!("00000000-0000-0000-0000-000000000000"), json!("01020304-0506-0708-0102-03040506070g")] {
        assert_eq!(skipped(with("aaguid", aaguid)).0, SkipReason::Aaguid);
    }
    for identifiers in [json!([]), json!(["00"]), json!([7]), json!("ab"), json!(["g".repeat(40)])] {
        assert_eq!(skipped(with("attestationCertificateKeyIdentifiers", identifiers)).0, SkipReason::Unidentified);
    }
    assert_eq!(skipped(json!({ "aaguid": AAGUID })), (SkipReason::Empty, AAGUID.to_owned()));
    assert_eq!(skipped(json!({ "aaguid": AAGUID, "metadataStatement": [], "statusReports": {} })).0, SkipReason::Empty);
    for entry in [json!(null), json!(7), json!("entry"), json!([])] {
        assert_eq!(skipped(entry).0, SkipReason::Malformed);
    }
    assert_eq!(skipped(with("aaguid", json!("x".repeat(MAX_ENTRY_LEN)))).0, SkipReason::TooLarge);
    assert_eq!(skipped(with("aaid", json!("x".repeat(1000)))).1.len(), MAX_TEXT);
}

/// What is known of a model that has been withdrawn must not get lost with its statement.
#[test]
fn reports_without_a_statement_count() {
    let (entries, _) = read_all(&[json!({ "aaguid": AAGUID, "statusReports": [{ "status": "REVOKED" }] })]);
    assert!(crate::webauthn::forbidding(&entries[0], None, "2026-01-02").is_some());
}

#[test]
fn u2f_entries() {
    let identifier = "1434D2F277FE479C35DDF6AA4D08A07CBCE99DD7";
    let entry = json!({
        "attestationCertificateKeyIdentifiers": ["bad", identifier],
        "aaguid": "00000000-0000-0000-0000-000000000000",
        "metadataStatement": {},
        "statusReports": []
    });
    let (entries, _) = read_all(&[entry]);
    assert_eq!(entries[0].aaguid, None);
    assert_eq!(entries[0].key_identifiers, [identifier.to_ascii_lowercase()]);
}

#[test]
fn anchors_as_makers_write_them() {
    let certificate = &Service::default().chain[LEAF].0;
    let base64 = STANDARD.encode(certificate.to_der().unwrap());
    let pem = String::from_utf8(certificate.to_pem().unwrap()).unwrap();
    let lines: Vec<_> = base64.as_bytes().chunks(40).map(|line| str::from_utf8(line).unwrap()).collect();
    let wrapped = format!(" {}\t", lines.join("\r\n "));
    let anchors = json!([base64, pem, pem.replace('\n', "\r\n"), wrapped, "", "AAAA", "%", 7, null]);
    let entry = json!({ "aaguid": AAGUID, "metadataStatement": { "attestationRootCertificates": anchors } });
    let (entries, found) = read_all(&[entry]);
    assert_eq!(entries[0].anchors, vec![base64; 4]);
    assert_eq!(found.unreadable_anchors, 5);
}

#[test]
fn a_reports_certificate() {
    let certificate = |n: usize| STANDARD.encode(Service::default().chain[n].0.to_der().unwrap());
    let (root, leaf) = (certificate(ROOT), certificate(LEAF));
    let of = |report: Value| read_all(&[json!({ "aaguid": AAGUID, "statusReports": [report] })]).0[0].status_reports[0].certificate.clone();
    assert_eq!(of(json!({ "status": "A", "certificate": root })), Some(root.clone()));
    assert_eq!(of(json!({ "status": "A", "batchCertificate": leaf })), Some(leaf.clone()));
    assert_eq!(of(json!({ "status": "A", "certificate": root, "batchCertificate": leaf })), Some(root));
    assert_eq!(of(json!({ "status": "A", "certificate": "AAAA" })), None);
}

#[test]
fn dates_of_reports() {
    let of = |date: &str| {
        let entry = json!({ "aaguid": AAGUID, "statusReports": [{ "status": "A", "effectiveDate": date }] });
        read_all(&[entry]).0[0].status_reports[0].effective_date.clone()
    };
    assert_eq!(of("2026-01-02"), Some("2026-01-02".to_owned()));
    assert_eq!(of("2026-01-02T23:59:59Z"), Some("2026-01-02".to_owned()));
    for date in ["2026-1-2", "2026", "2026-02-29", "soon", ""] {
        assert_eq!(of(date), None, "{date}");
    }
}

#[test]
fn of_a_member_that_is_there_twice_the_last_counts() {
    let entry = format!(r#"{{"aaguid":"x","aaguid":"{AAGUID}","statusReports":[{{"status":"A","status":"REVOKED"}}]}}"#);
    let (blob, _) = read_text(&format!(r#"{{"no":1,"nextUpdate":"2026-02-01","entries":[{entry}]}}"#)).unwrap();
    assert_eq!(blob.entries[0].status_reports[0].status, "REVOKED");
}

#[test]
fn hostile_shapes() {
    let of = |entries: &str| read_text(&format!(r#"{{"no":1,"nextUpdate":"2026-02-01","entries":[{entries}]}}"#));
    // Deep in an entry, and where nobody looks.
    let deep = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
    assert_eq!(of(&deep).unwrap().1.skipped[0].reason, SkipReason::Malformed);
    let beside = format!(r#"{{"x":{deep},"no":1,"nextUpdate":"2026-02-01","entries":[]}}"#);
    assert!(read_text(&beside).is_ok());
    let number = format!(r#"{{"aaguid":"{AAGUID}","statusReports":[{{"status":"A","authenticatorVersion":{}}}]}}"#, "9".repeat(1000));
    assert!(of(&number).is_ok());
    let many = |n: usize| of(&vec!["0"; n].join(","));
    assert_eq!(many(MAX_ENTRIES).unwrap().1.skipped.len(), MAX_ENTRIES);
    assert!(matches!(many(1_000_000), Err(BlobError::Payload(reason)) if reason.contains("20000")));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text(text in "\\PC{0,200}") {
        prop_assert!(read_text(&text).is_err());
    }

    #[test]
    fn any_date(text in "\\PC{0,12}") {
        let _ = date(&text);
    }

    #[test]
    fn any_byte_changed(place in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let statement = json!({ "attestationTypes": ["basic_full"], "attestationRootCertificates": ["MIIB", 1], "description": "Ä" });
        let entry = json!({ "aaguid": AAGUID, "metadataStatement": statement, "statusReports": [{ "status": "A", "effectiveDate": "2026-01-01" }] });
        let mut text = payload(&[entry]).to_string().into_bytes();
        let place = place.index(text.len());
        text[place] = byte;
        let _ = read(&text, NOW);
    }

    /// Whatever stands where something is expected.
    #[test]
    fn any_value_anywhere(value in prop_oneof![Just(json!(null)), Just(json!(-1)), Just(json!(1.5)), Just(json!([[]])), Just(json!({})), Just(json!([1, "a", null]))],
                          name in prop::sample::select(vec!["aaguid", "attestationCertificateKeyIdentifiers", "metadataStatement", "statusReports", "aaid"]),
                          inner in prop::sample::select(vec!["description", "attestationTypes", "authenticationAlgorithms", "attestationRootCertificates"])) {
        let mut statement = json!({ "description": "A", "attestationTypes": ["basic_full"] });
        statement[inner] = value.clone();
        let good = json!({ "aaguid": AAGUID, "metadataStatement": statement, "statusReports": [value.clone()] });
        prop_assert_eq!(read_all(std::slice::from_ref(&good)).0.len(), 1);
        let mut bad = good;
        bad[name] = value;
        read_all(&[bad]);
    }
}
