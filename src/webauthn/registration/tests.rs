use serde_json::json;

use super::*;
use crate::{
    domain::AttestationTrust,
    webauthn::testing::{Maker, Statement},
};

/// The step that refuses, and the text.
fn refused(maker: &Maker) -> (u8, String) {
    let error = maker.verify().unwrap_err();
    (error.step(), error.to_string())
}

fn client_data(members: serde_json::Value) -> Maker {
    Maker { client_data: members, ..Maker::default() }
}

#[test]
fn what_is_returned() {
    let maker = Maker { flags: 0x5d, aaguid: [0xab; 16], credential_id: vec![9; 1023], ..Maker::default() };
    let registration = maker.verify().unwrap();
    assert_eq!(registration.credential_id.as_bytes(), [9; 1023]);
    assert_eq!(registration.public_key.len(), 77);
    assert_eq!(registration.attestation_type, "none");
    assert_eq!(registration.attestation.trust, AttestationTrust::None);
    assert_eq!(registration.aaguid.to_string(), "abababab-abab-abab-abab-abababababab");
    assert_eq!(registration.sign_count, 9);
    assert_eq!(registration.backup, BackupFlags { eligible: true, state: true });
    assert!(registration.user_verified);
}

#[test]
fn client_data_is_of_this_ceremony() {
    for ceremony in ["webauthn.get", "Webauthn.Create", "payment.get"] {
        assert_eq!(refused(&client_data(json!({"type": ceremony}))).0, 7);
    }
    let other = refused(&client_data(json!({"challenge": "AAAA"})));
    assert_eq!(other, (8, "step 8: Error validating challenge: it is not the one that was sent".to_owned()));
    let (step, text) = refused(&client_data(json!({"origin": "https://evil.example"})));
    assert_eq!(step, 9);
    assert_eq!(text, r#"step 9: Error validating origin: "https://evil.example" is not one of https://example.org"#);
    for origin in ["https://example.org/", "http://example.org", "https://sub.example.org", "https://example.org:8443", "null"] {
        assert_eq!(refused(&client_data(json!({"origin": origin}))).0, 9, "{origin}");
    }
}

#[test]
fn a_clients_text_is_escaped_and_cut() {
    let (_, text) = refused(&client_data(json!({"origin": format!("\n\u{1b}{}", "x".repeat(5000))})));
    assert!(text.len() < 300 && !text.contains('\n') && !text.contains('\u{1b}'), "{text}");
}

#[test]
fn frames_of_other_origins() {
    let cross = || client_data(json!({"crossOrigin": true}));
    let top = || client_data(json!({"crossOrigin": true, "topOrigin": "https://top.example"}));
    let origins = |text: &str| vec![text.parse().unwrap()];
    assert_eq!(refused(&cross()).0, 10);
    assert_eq!(refused(&top()).0, 10);
    assert_eq!(refused(&client_data(json!({"crossOrigin": false, "topOrigin": "https://top.example"}))).0, 11);
    assert!(Maker { allow_cross_origin: true, ..cross() }.verify().is_ok());
    assert!(Maker { allow_cross_origin: true, ..top() }.verify().is_ok());
    assert!(Maker { allow_cross_origin: true, top_origins: origins("https://top.example"), ..top() }.verify().is_ok());
    assert_eq!(refused(&Maker { allow_cross_origin: true, top_origins: origins("https://other.example"), ..top() }).0, 11);
}

#[test]
fn the_flags() {
    assert_eq!(refused(&Maker { flags: 0x44, ..Maker::default() }).0, 15);
    let unverified = |user_verification| Maker { flags: 0x41, user_verification, ..Maker::default() };
    let error = unverified(UserVerification::Required).verify().unwrap_err();
    assert_eq!(error.step(), 16);
    assert!(error.is_user_verification_missing());
    assert!(!unverified(UserVerification::Preferred).verify().unwrap().user_verified);
    assert!(unverified(UserVerification::Discouraged).verify().is_ok());
    let (step, text) = refused(&Maker { flags: 0x55, ..Maker::default() });
    assert_eq!((step, text.contains("backup")), (17, true));
    assert!(Maker { flags: 0x67, ..Maker::default() }.verify().is_ok());
}

#[test]
fn only_algorithms_that_were_offered() {
    let maker = |algorithm| Maker { algorithm, algorithms: vec![CoseAlgorithm::Es384], ..Maker::default() };
    let (step, text) = refused(&maker(CoseAlgorithm::Es256));
    assert_eq!((step, text.ends_with("ES256 (-7) was not offered")), (20, true), "{text}");
    assert!(maker(CoseAlgorithm::Es384).verify().is_ok());
}

#[test]
fn formats_and_statements() {
    for (format, named) in [("None", "\"None\""), ("nonE", "\"nonE\""), ("", "\"\""), ("android-safetynet", "android-safetynet")] {
        let (step, text) = refused(&Maker::attested(Statement::Raw(format.into(), vec![0xa0])));
        assert_eq!((step, text.contains(named)), (21, true), "{text}");
    }
    let (step, text) = refused(&Maker::attested(Statement::Raw("none".into(), vec![0xa1, 0x61, 0x78, 0xf6])));
    assert_eq!((step, text.contains("none")), (22, true), "{text}");
}

#[test]
fn the_credential_id() {
    for length in [0, 1024] {
        assert_eq!(refused(&Maker { credential_id: vec![1; length], ..Maker::default() }).0, 25);
    }
}

#[test]
fn another_relying_party() {
    let credential = RegistrationCredential::parse(Maker::default().credential().to_string().as_bytes()).unwrap();
    let challenge = credential.challenge();
    let policy = RegistrationPolicy {
        rp_id: "example.com",
        origins: &["https://example.org".parse().unwrap()],
        challenge: &challenge,
        user_verification: UserVerification::Required,
        algorithms: &CoseAlgorithm::ALL,
        allow_cross_origin: false,
        top_origins: &[],
        allow_u2f_aaguid: false,
        attestation: &AttestationPolicy::default(),
        trust_store: &TrustStore::default(),
        now: Timestamp::from_millis(0),
    };
    assert_eq!(verify_registration(&credential, &policy).unwrap_err().step(), 14);
    assert!(verify_registration(&credential, &RegistrationPolicy { rp_id: "example.org", ..policy }).is_ok());
}
