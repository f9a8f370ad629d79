use super::*;
use crate::{
    domain::{AttestationPolicy, AttestationTrust},
    webauthn::{
        CoseAlgorithm, Refusal, SignatureError,
        cbor::Value,
        der::{self, element},
        testing::{CertificateSpec, KeyPair, Maker, Statement, sign},
    },
};

const SOFTWARE: u8 = 0;
const TRUSTED_ENVIRONMENT: u8 = 1;
const STRONG_BOX: u8 = 2;

/// What an authorization list may say.
const SIGN: &[u8] = &[0xa1, 5, 0x31, 3, 2, 1, 2];
const VERIFY: &[u8] = &[0xa1, 5, 0x31, 3, 2, 1, 3];
const SIGN_AND_VERIFY: &[u8] = &[0xa1, 8, 0x31, 6, 2, 1, 2, 2, 1, 3];
const GENERATED: &[u8] = &[0xbf, 0x85, 0x3e, 3, 2, 1, 0];
const IMPORTED: &[u8] = &[0xbf, 0x85, 0x3e, 3, 2, 1, 2];
const OS_VERSION: &[u8] = &[0xbf, 0x85, 0x41, 5, 2, 3, 2, 0x49, 0xf0];
const ALL_APPLICATIONS: &[u8] = &[0xbf, 0x84, 0x58, 2, 5, 0];

/// A key description to be made.
#[derive(Clone)]
struct Description {
    version: u16,
    level: u8,
    keystore_level: u8,
    /// In place of the hash of the client data.
    challenge: Option<Vec<u8>>,
    software: Vec<&'static [u8]>,
    tee: Vec<&'static [u8]>,
}

impl Default for Description {
    fn default() -> Self {
        let tee = vec![SIGN, GENERATED];
        Self { version: 300, level: TRUSTED_ENVIRONMENT, keystore_level: TRUSTED_ENVIRONMENT, challenge: None, software: vec![], tee }
    }
}

impl Description {
    fn to_der(&self, hash: &[u8]) -> Vec<u8> {
        let both = self.version.to_be_bytes();
        let version = element(&[der::INTEGER], if self.version < 0x80 { &both[1..] } else { &both });
        let challenge = element(&[der::OCTET_STRING], self.challenge.as_deref().unwrap_or(hash));
        let list = |fields: &[&[u8]]| element(&[der::SEQUENCE], &fields.concat());
        let fields = [
            version.clone(),
            element(&[der::ENUMERATED], &[self.level]),
            version,
            element(&[der::ENUMERATED], &[self.keystore_level]),
            challenge,
            element(&[der::OCTET_STRING], &[]),
            list(&self.software),
            list(&self.tee),
        ];
        element(&[der::SEQUENCE], &fields.concat())
    }
}

/// By the credential's key or another one, in a certificate with the extension that is made of the hash of the client data.
fn maker(other_key: Option<KeyPair>, extension: impl Fn(&[u8]) -> Option<Vec<u8>> + 'static) -> Maker {
    let make = move |key: &KeyPair, signed: &[u8]| {
        let extensions = extension(&signed[signed.len() - 32..]);
        let extensions = extensions.into_iter().map(|value| ("1.3.6.1.4.1.11129.2.1.17", false, value)).collect();
        let key = other_key.as_ref().unwrap_or(key);
        let spec = CertificateSpec { extensions, ..CertificateSpec::default() };
        let certificate = spec.make(&key.private, None).to_der().unwrap();
        let algorithm = Value::parse(&key.cose).unwrap().as_map().unwrap().int(3).and_then(Value::as_int).unwrap();
        let signature = sign(CoseAlgorithm::from_id(algorithm).unwrap(), &key.private, signed);
        vec![
            ("alg", Value::from(algorithm).to_vec()),
            ("sig", Value::Bytes(&signature).to_vec()),
            ("x5c", Value::Array(vec![Value::Bytes(&certificate)]).to_vec()),
        ]
    };
    Maker::attested(Statement::Made("android-key", Box::new(make)))
}

fn described(description: Description) -> Maker {
    maker(None, move |hash| Some(description.to_der(hash)))
}

/// Where only hardware counts.
fn demanding(description: Description) -> Maker {
    Maker { attestation: AttestationPolicy { android_key_hardware: true, ..AttestationPolicy::default() }, ..described(description) }
}

fn good() -> Maker {
    described(Description::default())
}

fn refused(maker: &Maker) -> StatementError {
    let error = maker.verify().unwrap_err();
    assert_eq!(error.step(), 22);
    let Refusal::Statement { error, .. } = error.refusal() else { panic!("{error}") };
    error.clone()
}

#[test]
fn keys_of_each_kind() {
    use CoseAlgorithm as A;
    for algorithm in [A::Es256, A::Es384, A::Es512, A::EdDsa, A::Rs256, A::Ps256] {
        let attestation = Maker { algorithm, ..good() }.verify().unwrap().attestation;
        assert_eq!(attestation.attestation_type, AttestationType::Basic, "{algorithm}");
        assert_eq!(attestation.trust, AttestationTrust::Untrusted);
    }
    for label in [-2, -3] {
        assert!(Maker { key: Some(KeyPair::with_leading_zero(label)), ..good() }.verify().is_ok());
    }
}

#[test]
fn the_statements_members() {
    use StatementError as E;
    let spoilt = |name, value: Option<Value<'_>>| refused(&Maker { spoil: vec![(name, value.map(|value| value.to_vec()))], ..good() });
    assert_eq!(spoilt("alg", None), E::Missing("alg"));
    assert_eq!(spoilt("alg", Some(Value::Text("-7"))), E::Mistyped("alg", "an integer"));
    assert_eq!(spoilt("alg", Some((-48).into())), E::UnknownAlgorithm(-48));
    assert_eq!(spoilt("alg", Some((-257).into())), E::Signature(SignatureError::KeyMismatch(CoseAlgorithm::Rs256)));
    assert_eq!(spoilt("alg", Some((-65535).into())), E::Signature(SignatureError::Unsupported(CoseAlgorithm::Rs1)));
    assert_eq!(spoilt("sig", None), E::Missing("sig"));
    assert_eq!(spoilt("sig", Some(Value::Bytes(&[1]))), E::Signature(SignatureError::Invalid));
    assert_eq!(spoilt("x5c", None), E::Missing("x5c"));
    assert_eq!(spoilt("x5c", Some(Value::Array(vec![]))), E::Mistyped("x5c", "an array of 1 to 8 byte strings"));
}

/// FIDO's server tests, Resp-A F-3: the certificate that is the credential's comes first.
#[test]
fn certificates_in_another_order() {
    let (key, issuer_key) = (KeyPair::generate(CoseAlgorithm::Es256), KeyPair::generate(CoseAlgorithm::Es256).private);
    let in_order = |is_reversed: bool| {
        let issuer_key = issuer_key.clone();
        let make = move |key: &KeyPair, signed: &[u8]| {
            let issuer = CertificateSpec { subject: &[("CN", "Issuer")], ca: Some(true), ..CertificateSpec::default() };
            let issuer = issuer.make(&issuer_key, None);
            let description = ("1.3.6.1.4.1.11129.2.1.17", false, Description::default().to_der(&signed[signed.len() - 32..]));
            let spec = CertificateSpec { extensions: vec![description], ..CertificateSpec::default() };
            let leaf = spec.make(&key.private, Some((&issuer, &issuer_key)));
            let mut x5c = [leaf, issuer].map(|certificate| certificate.to_der().unwrap());
            if is_reversed {
                x5c.reverse();
            }
            let signature = sign(CoseAlgorithm::Es256, &key.private, signed);
            vec![
                ("alg", Value::from(-7).to_vec()),
                ("sig", Value::Bytes(&signature).to_vec()),
                ("x5c", Value::Array(x5c.iter().map(|der| Value::Bytes(der)).collect()).to_vec()),
            ]
        };
        Maker { key: Some(key.clone()), ..Maker::attested(Statement::Made("android-key", Box::new(make))) }
    };
    assert!(in_order(false).verify().is_ok());
    assert_eq!(refused(&in_order(true)), StatementError::Signature(SignatureError::Invalid));
}

#[test]
fn another_key() {
    let other = |algorithm| maker(Some(KeyPair::generate(algorithm)), |hash| Some(Description::default().to_der(hash)));
    assert_eq!(refused(&other(CoseAlgorithm::Es256)), AndroidKeyError::Key.into());
    assert_eq!(refused(&other(CoseAlgorithm::Rs256)), AndroidKeyError::Key.into());
}

#[test]
fn the_challenge() {
    for challenge in [vec![], vec![0; 32], vec![0; 33]] {
        assert_eq!(
            refused(&described(Description { challenge: Some(challenge), ..Description::default() })),
            AndroidKeyError::Challenge.into()
        );
    }
    let cut = maker(None, |hash| Some(Description::default().to_der(&hash[..31])));
    assert_eq!(refused(&cut), AndroidKeyError::Challenge.into());
}

#[test]
fn the_extension() {
    assert_eq!(refused(&maker(None, |_| None)), AndroidKeyError::NoDescription.into());
    let malformed = |change: fn(Vec<u8>) -> Vec<u8>| refused(&maker(None, move |hash| Some(change(Description::default().to_der(hash)))));
    let expected = StatementError::from(CertificateError::Extension("key description"));
    assert_eq!(malformed(|_| vec![]), expected);
    assert_eq!(malformed(|der| [&der[..], &[0]].concat()), expected);
    // One field more.
    assert_eq!(malformed(|der| element(&[0x30], &[&der[2..], &[5, 0]].concat())), expected);
    // The level as another type. As an INTEGER, which it was in no version of the schema but in an example of the W3C's, it is read.
    assert_eq!(malformed(|der| [&der[..6], &[4], &der[7..]].concat()), expected);
    let integer = |der: Vec<u8>| [&der[..6], &[2], &der[7..]].concat();
    assert!(maker(None, move |hash| Some(integer(Description::default().to_der(hash)))).verify().is_ok());
    for description in [Description { level: 3, ..Description::default() }, Description { keystore_level: 3, ..Description::default() }] {
        assert_eq!(refused(&described(description)), expected);
    }
    let not_explicit = Description { software: vec![&[0x04, 0]], ..Description::default() };
    assert_eq!(refused(&described(not_explicit)), expected);
}

/// Whoever has an attested key might sign a certificate with it, and describe in that whatever key he likes.
#[test]
fn only_one_certificate_describes_a_key() {
    let followed_by = |extensions| {
        let Statement::Made(_, make) = good().statement else { panic!() };
        let key = KeyPair::generate(CoseAlgorithm::Es256).private;
        let second = CertificateSpec { extensions, ..CertificateSpec::default() }.make(&key, None).to_der().unwrap();
        let with_second = move |(name, value): (&'static str, Vec<u8>)| match Value::parse(&value).unwrap() {
            Value::Array(x5c) => (name, Value::Array([&x5c[..], &[Value::Bytes(&second)]].concat()).to_vec()),
            _ => (name, value),
        };
        let make = move |key: &KeyPair, signed: &[u8]| make(key, signed).into_iter().map(&with_second).collect();
        Maker::attested(Statement::Made("android-key", Box::new(make)))
    };
    assert!(followed_by(vec![]).verify().is_ok());
    let description = ("1.3.6.1.4.1.11129.2.1.17", false, Description::default().to_der(&[0; 32]));
    assert_eq!(refused(&followed_by(vec![description])), AndroidKeyError::Extended.into());
}

#[test]
fn versions_and_levels() {
    for version in [1, 2, 3, 4, 100, 200, 300, 400, 500] {
        for level in [SOFTWARE, TRUSTED_ENVIRONMENT, STRONG_BOX] {
            let description = Description { version, level, keystore_level: level, ..Description::default() };
            assert!(described(description).verify().is_ok(), "{version} {level}");
        }
    }
}

#[test]
fn every_application() {
    let both = [SIGN, GENERATED];
    for description in [
        Description { tee: [&both[..], &[ALL_APPLICATIONS]].concat(), ..Description::default() },
        Description { software: vec![ALL_APPLICATIONS], ..Description::default() },
    ] {
        assert_eq!(refused(&described(description.clone())), AndroidKeyError::AllApplications.into());
        assert_eq!(refused(&demanding(description)), AndroidKeyError::AllApplications.into());
    }
}

#[test]
fn origin_and_purpose_in_the_union() {
    let verify = |software: &[&'static [u8]], tee: &[&'static [u8]]| {
        let made = described(Description { software: software.to_vec(), tee: tee.to_vec(), ..Description::default() });
        if made.verify().is_ok() { None } else { Some(refused(&made)) }
    };
    assert_eq!(verify(&[SIGN, GENERATED], &[]), None);
    assert_eq!(verify(&[SIGN], &[GENERATED]), None);
    assert_eq!(verify(&[GENERATED], &[SIGN_AND_VERIFY]), None);
    assert_eq!(verify(&[VERIFY, GENERATED], &[SIGN, GENERATED]), None);
    let (origin, purpose) = (Some(AndroidKeyError::Origin.into()), Some(AndroidKeyError::Purpose.into()));
    assert_eq!(verify(&[], &[]), None, "lists that say nothing, as in an example of the W3C's");
    assert_eq!(verify(&[OS_VERSION], &[]), origin);
    assert_eq!(verify(&[], &[OS_VERSION]), origin);
    assert_eq!(verify(&[SIGN], &[SIGN]), origin);
    assert_eq!(verify(&[], &[SIGN, IMPORTED]), origin);
    assert_eq!(verify(&[IMPORTED], &[SIGN, GENERATED]), origin);
    assert_eq!(verify(&[GENERATED], &[SIGN, IMPORTED]), origin);
    assert_eq!(verify(&[], &[GENERATED]), purpose);
    assert_eq!(verify(&[VERIFY], &[VERIFY, GENERATED]), purpose);
    assert_eq!(verify(&[&[0xa1, 2, 0x31, 0]], &[GENERATED]), purpose);
}

#[test]
fn where_hardware_is_demanded() {
    let spec = Description::default;
    assert!(demanding(spec()).verify().is_ok());
    assert!(demanding(Description { level: STRONG_BOX, keystore_level: STRONG_BOX, ..spec() }).verify().is_ok());
    assert!(demanding(Description { software: vec![IMPORTED, VERIFY], ..spec() }).verify().is_ok());
    for description in [Description { level: SOFTWARE, ..spec() }, Description { keystore_level: SOFTWARE, ..spec() }] {
        assert_eq!(refused(&demanding(description)), AndroidKeyError::Software.into());
    }
    let split = |software: &'static [u8], tee: &'static [u8]| Description { software: vec![software], tee: vec![tee], ..spec() };
    assert!(described(split(GENERATED, SIGN)).verify().is_ok());
    assert_eq!(refused(&demanding(split(GENERATED, SIGN))), AndroidKeyError::Origin.into());
    assert_eq!(refused(&demanding(split(SIGN, GENERATED))), AndroidKeyError::Purpose.into());
    assert_eq!(refused(&demanding(Description { tee: vec![], ..spec() })), AndroidKeyError::Origin.into());
}
