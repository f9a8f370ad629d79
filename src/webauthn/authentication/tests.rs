use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use openssl::rsa::Rsa;
use serde_json::json;

use super::*;
use crate::webauthn::{
    CoseAlgorithm,
    cbor::Map,
    testing::{AssertionMaker, KeyPair, Maker},
};

fn default() -> AssertionMaker {
    AssertionMaker::default()
}

fn client_data(members: serde_json::Value) -> AssertionMaker {
    AssertionMaker { client_data: members, ..default() }
}

/// The step that refuses, and why.
fn refused(maker: &AssertionMaker) -> (u8, AuthenticationRefusal) {
    let error = maker.verify().unwrap_err();
    assert!(!error.is_record_unusable(), "{error}");
    (error.step(), error.refusal().clone())
}

/// The same where any assertion is refused for reasons that registrations are refused for.
fn ceremony(maker: &AssertionMaker) -> (u8, CeremonyRefusal) {
    match refused(maker) {
        (step, AuthenticationRefusal::Ceremony(refusal)) => (step, refusal),
        other => panic!("{other:?}"),
    }
}

fn id(bytes: &[u8]) -> CredentialId {
    bytes.try_into().unwrap()
}

#[test]
fn what_is_returned() {
    let backup = BackupFlags { eligible: true, state: true };
    let stored_backup = BackupFlags { eligible: true, state: false };
    let verified = AssertionMaker { flags: 0x1d, stored_backup, ..default() }.verify().unwrap();
    assert_eq!(verified, Authentication { sign_count: 10, backup, user_verified: true, clone_suspected: false });
}

#[test]
fn each_algorithm() {
    for algorithm in CoseAlgorithm::ALL.into_iter().filter(|a| *a != CoseAlgorithm::Rs1) {
        let maker = AssertionMaker::of(algorithm);
        assert!(maker.verify().is_ok(), "{algorithm}");
        let other = match KeyPair::generate(algorithm).cose {
            // Tests have one RSA key between them.
            same if same == maker.key.cose => rsa_key(algorithm, &Rsa::generate(2048).unwrap().n().to_vec()),
            other => other,
        };
        let (step, refusal) = refused(&AssertionMaker { stored_key: Some(other), ..maker });
        assert_eq!((step, refusal), (21, AuthenticationRefusal::Signature(SignatureError::Invalid)), "{algorithm}");
    }
}

fn rsa_key(algorithm: CoseAlgorithm, modulus: &[u8]) -> Vec<u8> {
    let members = [(1, 3.into()), (3, algorithm.id().into()), (-1, Value::Bytes(modulus)), (-2, Value::Bytes(&[1, 0, 1]))];
    Value::Map(Map::from_entries(members.into_iter().map(|(label, value)| (Value::from(label), value)).collect())).to_vec()
}

#[test]
fn the_largest_rsa_key_and_signature() {
    // Making such a key takes minutes: what can be shown is that only the signature is wrong.
    let mut modulus = [0xff; 1024];
    modulus[1023] = 0xfd;
    let mut credential = default().credential();
    credential["response"]["signature"] = json!(URL_SAFE_NO_PAD.encode([1; 1024]));
    let credential = AuthenticationCredential::parse(credential.to_string().as_bytes()).unwrap();
    let maker = AssertionMaker { stored_key: Some(rsa_key(CoseAlgorithm::Ps256, &modulus)), ..default() };
    let error = maker.judge(&credential).unwrap_err();
    assert_eq!(error.refusal(), &AuthenticationRefusal::Signature(SignatureError::Invalid));
}

#[test]
fn only_credentials_that_were_asked_for() {
    let asked = |allowed| AssertionMaker { allowed, ..default() };
    assert!(asked(vec![id(&[2; 16]), id(&[1; 16])]).verify().is_ok());
    for other in [vec![id(&[2; 16])], vec![id(&[1; 15]), id(&[1; 17])]] {
        assert_eq!(refused(&asked(other)), (5, AuthenticationRefusal::NotAllowed));
    }
}

#[test]
fn the_account_known_before() {
    use AuthenticationRefusal as R;
    let named = |user_handle| AssertionMaker { user_handle, ..default() };
    assert!(named(None).verify().is_ok());
    assert!(named(Some("u1")).verify().is_ok());
    for other in ["u2", "u", "u11"] {
        assert_eq!(refused(&named(Some(other))), (6, R::UserHandle));
    }
    assert_eq!(refused(&AssertionMaker { stored_user_handle: "u2", ..default() }), (6, R::NotOfAccount));
    assert_eq!(refused(&AssertionMaker { stored_user_handle: "u2", user_handle: Some("u2"), ..default() }), (6, R::UserHandle));
    assert_eq!(refused(&AssertionMaker { stored_id: id(&[2; 16]), ..default() }), (6, R::NotOfAccount));
}

#[test]
fn the_account_named_by_the_assertion() {
    use AuthenticationRefusal as R;
    let named = |user_handle| AssertionMaker { user_handle, account: AccountKnown::ByUserHandle, ..default() };
    assert!(named(Some("u1")).verify().is_ok());
    assert_eq!(refused(&named(None)), (6, R::UserHandleMissing));
    assert_eq!(refused(&named(Some("u2"))), (6, R::NotOfAccount));
    assert_eq!(refused(&AssertionMaker { stored_id: id(&[2; 16]), ..named(Some("u1")) }), (6, R::NotOfAccount));
}

#[test]
fn client_data_is_of_this_ceremony() {
    for ceremony_type in ["webauthn.create", "Webauthn.Get", "payment.get"] {
        let (step, refusal) = ceremony(&client_data(json!({"type": ceremony_type})));
        assert_eq!(step, 10);
        assert_eq!(refusal.to_string(), format!("Error validating ceremony type: {ceremony_type:?} is not \"webauthn.get\""));
    }
    assert_eq!(ceremony(&client_data(json!({"challenge": "AAAA"}))), (11, CeremonyRefusal::Challenge));
    for origin in ["https://evil.example", "https://example.org/", "http://example.org", "https://sub.example.org", "null"] {
        let refusal = CeremonyRefusal::Origin { found: origin.to_owned(), accepted: "https://example.org".to_owned() };
        assert_eq!(ceremony(&client_data(json!({"origin": origin}))), (12, refusal));
    }
    let error = client_data(json!({"origin": format!("\n\u{1b}{}", "x".repeat(5000))})).verify().unwrap_err().to_string();
    assert!(error.starts_with("step 12: ") && error.len() < 300 && !error.contains(['\n', '\u{1b}']), "{error}");
}

#[test]
fn frames_of_other_origins() {
    let cross = || client_data(json!({"crossOrigin": true}));
    let top = |origin: &str| client_data(json!({"crossOrigin": true, "topOrigin": origin}));
    assert_eq!(ceremony(&cross()), (13, CeremonyRefusal::CrossOrigin));
    let refusal = CeremonyRefusal::TopOrigin("https://top.example".to_owned());
    assert_eq!(ceremony(&client_data(json!({"topOrigin": "https://top.example"}))), (14, refusal.clone()));
    assert!(AssertionMaker { allow_cross_origin: true, ..cross() }.verify().is_ok());
    let expecting =
        |text: &str| AssertionMaker { allow_cross_origin: true, top_origins: vec![text.parse().unwrap()], ..top("https://top.example") };
    assert!(expecting("https://top.example").verify().is_ok());
    assert_eq!(ceremony(&expecting("https://other.example")), (14, refusal));
}

#[test]
fn another_relying_party() {
    let refusal = CeremonyRefusal::RpIdHash("example.org".to_owned());
    assert_eq!(ceremony(&AssertionMaker { rp_id: "example.com", ..default() }), (15, refusal));
}

#[test]
fn the_flags() {
    assert_eq!(ceremony(&AssertionMaker { flags: 0x04, ..default() }), (16, CeremonyRefusal::UserPresence));
    let unverified = |user_verification| AssertionMaker { flags: 0x01, user_verification, ..default() };
    assert_eq!(ceremony(&unverified(UserVerification::Required)), (17, CeremonyRefusal::UserVerification));
    for other in [UserVerification::Preferred, UserVerification::Discouraged] {
        assert!(!unverified(other).verify().unwrap().user_verified);
    }
    assert!(AssertionMaker { user_verification: UserVerification::Required, ..default() }.verify().unwrap().user_verified);
    assert!(AssertionMaker { flags: 0x27, ..default() }.verify().is_ok());
}

#[test]
fn backup_flags() {
    let with = |flags, eligible| AssertionMaker { flags, stored_backup: BackupFlags { eligible, state: false }, ..default() };
    for eligible in [false, true] {
        assert_eq!(ceremony(&with(0x15, eligible)), (18, CeremonyRefusal::BackupState));
    }
    assert_eq!(refused(&with(0x05, true)), (19, AuthenticationRefusal::BackupEligibility));
    assert_eq!(refused(&with(0x0d, false)), (19, AuthenticationRefusal::BackupEligibility));
    assert!(with(0x0d, true).verify().is_ok());
    // What was backed up need not be any more.
    let stored_backup = BackupFlags { eligible: true, state: true };
    assert!(!AssertionMaker { stored_backup, ..with(0x0d, true) }.verify().unwrap().backup.state);
}

#[test]
fn every_byte_that_is_signed_counts() {
    let maker = AssertionMaker { flags: 0x81, tail: vec![0xa1, 0x61, 0x78, 0xf5], ..default() };
    let genuine = maker.credential();
    let is_accepted = |credential: &serde_json::Value| {
        AuthenticationCredential::parse(credential.to_string().as_bytes()).is_ok_and(|c| maker.judge(&c).is_ok())
    };
    assert!(is_accepted(&genuine));
    for member in ["authenticatorData", "clientDataJSON", "signature"] {
        let bytes = URL_SAFE_NO_PAD.decode(genuine["response"][member].as_str().unwrap()).unwrap();
        for at in 0..bytes.len() {
            for mask in [0x01, 0x80, 0xff] {
                let mut changed = bytes.clone();
                changed[at] ^= mask;
                let mut credential = genuine.clone();
                credential["response"][member] = json!(URL_SAFE_NO_PAD.encode(changed));
                assert!(!is_accepted(&credential), "byte {at} of {member} ^ {mask:#x}");
            }
        }
    }
}

#[test]
fn authenticator_data_with_a_credential_or_extensions() {
    let credential = [&[0; 16][..], &[0, 1, 7], &default().key.cose].concat();
    assert!(AssertionMaker { flags: 0x41, tail: credential.clone(), ..default() }.verify().is_ok());
    assert!(AssertionMaker { flags: 0xc1, tail: [&credential[..], &[0xa0]].concat(), ..default() }.verify().is_ok());
    assert!(AssertionMaker { flags: 0x81, tail: vec![0xa1, 0x61, 0x78, 0xf5], ..default() }.verify().is_ok());
}

#[test]
fn a_record_that_is_no_key_is_not_the_clients_fault() {
    let unusable = |key: Vec<u8>| {
        let error = AssertionMaker { stored_key: Some(key), ..default() }.verify().unwrap_err();
        assert!(error.is_record_unusable() && error.step() == 21, "{error}");
        match error.refusal() {
            AuthenticationRefusal::StoredKey(error) => error.clone(),
            other => panic!("{other}"),
        }
    };
    let labelled = |entries: &[(i64, i64)]| {
        Value::Map(Map::from_entries(entries.iter().map(|(label, value)| (Value::from(*label), Value::from(*value))).collect())).to_vec()
    };
    assert_eq!(unusable(vec![]), StoredKeyError::Cbor(CborError::Truncated));
    assert_eq!(unusable(vec![0x80]), StoredKeyError::NotMap);
    assert_eq!(unusable(labelled(&[(1, 2)])), StoredKeyError::Key(KeyError::NoAlgorithm));
    assert_eq!(unusable(labelled(&[(1, 3), (3, -65535)])), StoredKeyError::Key(KeyError::UnknownAlgorithm(-65535)));
    assert_eq!(unusable(labelled(&[(1, 7), (3, -48)])), StoredKeyError::Key(KeyError::UnknownAlgorithm(-48)));
    // A refusal that is the client's comes first: nobody learns of a bad record without answering for its user.
    let maker = AssertionMaker { stored_key: Some(vec![]), flags: 0x04, ..default() };
    assert_eq!(ceremony(&maker), (16, CeremonyRefusal::UserPresence));
}

#[test]
fn counters() {
    let counted = |stored_count, sign_count, refuse_clones| AssertionMaker { sign_count, stored_count, refuse_clones, ..default() };
    for (stored, received, is_suspect) in
        [(0, 0, false), (0, 1, false), (9, 10, false), (9, u32::MAX, false), (9, 9, true), (9, 8, true), (9, 0, true), (u32::MAX, 0, true)]
    {
        let verified = counted(stored, received, false).verify().unwrap();
        assert_eq!((verified.sign_count, verified.clone_suspected), (received, is_suspect), "{stored} {received}");
        let maker = counted(stored, received, true);
        if is_suspect {
            assert_eq!(refused(&maker), (22, AuthenticationRefusal::Counter { stored, received }));
        } else {
            assert!(maker.verify().is_ok());
        }
    }
    // Without the key nothing is said of the counter.
    let spoilt = AssertionMaker { key: KeyPair::generate(CoseAlgorithm::Es256), ..counted(9, 9, true) };
    let credential = AuthenticationCredential::parse(counted(9, 9, true).credential().to_string().as_bytes()).unwrap();
    assert_eq!(spoilt.judge(&credential).unwrap_err().step(), 21);
}

#[test]
fn a_registration_is_no_assertion() {
    assert!(AuthenticationCredential::parse(Maker::default().credential().to_string().as_bytes()).is_err());
}
