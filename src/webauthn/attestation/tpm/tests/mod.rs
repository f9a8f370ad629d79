mod cert_info;
mod certificate;
mod public_area;

use super::{
    testing::{AIK_USAGE, ALTERNATIVE_NAME, Area, Info, KEY_USAGE, TPM_NAME, Tpm, aik_certificate, alternative_name, element},
    *,
};
use crate::{
    domain::{AttestationPolicy, AttestationTrust},
    webauthn::{
        CertificateError, Refusal,
        cbor::Value,
        testing::{CertificateSpec, KeyPair, Maker},
    },
};
use CoseAlgorithm as A;

fn tpm() -> Tpm {
    Tpm::new(A::Es256)
}

fn refused(maker: &Maker) -> StatementError {
    let error = maker.verify().unwrap_err();
    assert_eq!(error.step(), 22);
    let Refusal::Statement { error, .. } = error.refusal() else { panic!("{error}") };
    error.clone()
}

fn fault(tpm: Tpm, credential: CoseAlgorithm) -> TpmError {
    match refused(&tpm.attests(credential)) {
        StatementError::Tpm(error) => error,
        other => panic!("{other}"),
    }
}

fn is_good(tpm: Tpm, credential: CoseAlgorithm) -> bool {
    tpm.attests(credential).verify().is_ok()
}

const SIGN: [CoseAlgorithm; 13] =
    [A::Rs1, A::Rs256, A::Rs384, A::Rs512, A::Ps256, A::Ps384, A::Ps512, A::Es256, A::Es384, A::Es512, A::Esp256, A::Esp384, A::Esp512];

#[test]
fn each_algorithm_of_a_tpm() {
    for algorithm in SIGN {
        for credential in [A::Es256, A::Rs256] {
            let registration = Tpm::new(algorithm).attests(credential).verify().unwrap();
            assert_eq!(registration.attestation_type, "tpm");
            assert_eq!(registration.attestation.attestation_type, AttestationType::AttCa);
            assert_eq!(registration.attestation.trust, AttestationTrust::Untrusted);
        }
    }
}

#[test]
fn no_other_algorithms() {
    for algorithm in [A::Es256k, A::EdDsa, A::Ed25519, A::Ed448] {
        assert_eq!(fault(Tpm::new(algorithm), A::Es256), TpmError::Algorithm(algorithm));
    }
}

#[test]
fn each_kind_of_credential_under_each_name() {
    for name_alg in [0x0004, 0x000b, 0x000c, 0x000d] {
        for credential in SIGN.into_iter().filter(|algorithm| *algorithm != A::Rs1) {
            let area = Area { name_alg, ..Area::default() };
            assert!(is_good(Tpm { area, ..tpm() }, credential), "{name_alg:x} {credential}");
        }
    }
}

#[test]
fn sha1_is_the_policys_to_judge() {
    let strict =
        |tpm: Tpm| Maker { attestation: AttestationPolicy { allow_rs1: false, ..AttestationPolicy::default() }, ..tpm.attests(A::Es256) };
    assert!(strict(tpm()).verify().is_ok());
    assert_eq!(refused(&strict(Tpm::new(A::Rs1))), TpmError::Sha1("alg").into());
    let area = Area { name_alg: 0x0004, ..Area::default() };
    assert_eq!(refused(&strict(Tpm { area, ..tpm() })), TpmError::Sha1("nameAlg").into());
    assert!(TpmError::Sha1("alg").to_string().contains("allow_rs1"));
}

#[test]
fn its_members() {
    use StatementError as E;
    let spoilt = |name, value: Option<Value<'_>>| {
        refused(&Maker { spoil: vec![(name, value.map(|value| value.to_vec()))], ..tpm().attests(A::Es256) })
    };
    for name in ["ver", "alg", "x5c", "sig", "certInfo", "pubArea"] {
        assert_eq!(spoilt(name, None), E::Missing(name));
    }
    for name in ["sig", "certInfo", "pubArea"] {
        assert_eq!(spoilt(name, Some(Value::Text("x"))), E::Mistyped(name, "a byte string"));
    }
    for (ver, error) in [
        (Value::Text("1.2"), TpmError::Version.into()),
        (Value::Text("2.00"), TpmError::Version.into()),
        (Value::Text(""), TpmError::Version.into()),
        (2.into(), E::Mistyped("ver", "a text")),
    ] {
        assert_eq!(spoilt("ver", Some(ver)), error);
    }
    assert_eq!(spoilt("alg", Some(Value::Text("-7"))), E::Mistyped("alg", "an integer"));
    assert_eq!(spoilt("alg", Some((-48).into())), E::UnknownAlgorithm(-48));
    assert_eq!(spoilt("alg", Some((-257).into())), SignatureError::KeyMismatch(A::Rs256).into());
    assert_eq!(spoilt("alg", Some((-65535).into())), SignatureError::KeyMismatch(A::Rs1).into());
    // The hash of extraData goes with alg, and so does the signature's.
    assert_eq!(spoilt("alg", Some((-35).into())), SignatureError::Invalid.into());
    assert_eq!(spoilt("sig", Some(Value::Bytes(&[]))), SignatureError::Invalid.into());
    assert_eq!(spoilt("x5c", Some(Value::Array(vec![]))), E::Mistyped("x5c", "an array of 1 to 8 byte strings"));
    assert_eq!(spoilt("certInfo", Some(Value::Bytes(&[]))), SignatureError::Invalid.into());
    assert_eq!(spoilt("pubArea", Some(Value::Bytes(&[]))), TpmError::Truncated("pubArea").into());
}

#[test]
fn another_key_signed() {
    for algorithm in [A::Es256, A::Es384] {
        let certificate = aik_certificate().make(&KeyPair::generate(algorithm).private, None).to_der().unwrap();
        let x5c = Value::Array(vec![Value::Bytes(&certificate)]).to_vec();
        let maker = Maker { spoil: vec![("x5c", Some(x5c))], ..Tpm::new(algorithm).attests(A::Es256) };
        assert_eq!(refused(&maker), SignatureError::Invalid.into());
    }
}

/// FIDO's server tests, Resp-9 F-1.
#[test]
fn certificates_in_another_order() {
    let (tpm, ca_key) = (tpm(), KeyPair::generate(A::Es256).private);
    let ca = CertificateSpec { subject: &[("CN", "TPM CA")], ca: Some(true), ..CertificateSpec::default() }.make(&ca_key, None);
    let aik = aik_certificate().make(&tpm.aik, Some((&ca, &ca_key))).to_der().unwrap();
    let ca = ca.to_der().unwrap();
    let x5c = |first: &[u8], second: &[u8]| Value::Array(vec![Value::Bytes(first), Value::Bytes(second)]).to_vec();
    let (right, wrong) = (x5c(&aik, &ca), x5c(&ca, &aik));
    let mut maker = Maker { spoil: vec![("x5c", Some(right))], ..tpm.attests(A::Es256) };
    assert!(maker.verify().is_ok());
    maker.spoil = vec![("x5c", Some(wrong))];
    assert_eq!(refused(&maker), TpmError::Subject.into());
}

/// What the standard's text wants, which nobody sends.
#[test]
fn signatures_in_the_tpms_own_structure() {
    let structured = |algorithm, scheme| Tpm { structured: Some(scheme), ..Tpm::new(algorithm) };
    for algorithm in SIGN {
        let (_, Scheme { algorithm: id, hash }) = hash_and_scheme(algorithm).unwrap();
        assert!(is_good(structured(algorithm, (id, hash)), A::Es256), "{algorithm}");
        let other_hash = if hash == 0x000b { 0x000c } else { 0x000b };
        assert_eq!(fault(structured(algorithm, (id, other_hash)), A::Es256), TpmError::SignatureScheme, "{algorithm}");
        // What is no such structure is a bare signature, and as such it does not verify.
        let mut tpm = structured(algorithm, (id, hash));
        tpm.spoil_signature = Box::new(|signature| signature.push(0));
        assert_eq!(refused(&tpm.attests(A::Es256)), SignatureError::Invalid.into(), "{algorithm}");
    }
    assert_eq!(fault(structured(A::Rs256, (structures::RSAPSS, 0x000b)), A::Es256), TpmError::SignatureScheme);
    let sm2 = structured(A::Es256, (0x001b, 0x000b));
    assert_eq!(refused(&sm2.attests(A::Es256)), SignatureError::Invalid.into());
}

#[test]
fn every_byte_of_both_structures_counts() {
    let (mut info_len, mut area_len) = (0, 0);
    while let Err(error) = flipped(None, Some(info_len)) {
        assert_eq!(error, SignatureError::Invalid.into(), "{info_len}");
        info_len += 1;
    }
    while flipped(Some(area_len), None).is_err() {
        area_len += 1;
    }
    // Both ends were reached, beyond which there is nothing to flip.
    assert_eq!((info_len, area_len), (4 + 2 + 36 + 34 + 25 + 36 + 36, 2 + 2 + 4 + 34 + 2 + 2 + 2 + 2 + 34 + 34));
}

/// The verdict on a statement with one bit of a structure flipped after it was signed.
fn flipped(area: Option<usize>, info: Option<usize>) -> Result<(), StatementError> {
    let flip = |at: Option<usize>| -> testing::Change {
        Box::new(move |bytes| {
            if let Some(byte) = at.and_then(|at| bytes.get_mut(at)) {
                *byte ^= 1;
            }
        })
    };
    let maker = Tpm { spoil_area: flip(area), spoil_info: flip(info), ..tpm() }.attests(A::Es256);
    if maker.verify().is_ok() { Ok(()) } else { Err(refused(&maker)) }
}
