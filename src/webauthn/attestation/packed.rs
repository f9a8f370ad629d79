//! The `packed` statement format (WebAuthn L3 section 8.2).

use super::{Attestation, StatementError, Subject, algorithm, certificates, signature};
use crate::domain::AttestationType;
use crate::webauthn::{
    cbor::Map,
    certificate::{Certificate, CertificateError, NamePart},
    signature::verify as verify_signature,
};

/// The verification procedure.
pub(super) fn verify<'a>(statement: &Map<'a>, subject: &Subject<'_>) -> Result<Attestation<'a>, StatementError> {
    // 1. Verify that attStmt is valid CBOR conforming to the syntax defined, and extract its fields.
    let algorithm = algorithm(statement)?;
    let signature = signature(statement)?;
    let signed = subject.signed_bytes();

    // 2. If x5c is present:
    if let Some(path) = certificates(statement)?
        && let Some(certificate) = path.first()
    {
        // - Verify that sig is a valid signature over authenticatorData and clientDataHash by the attestation public key in attestnCert,
        //   with the algorithm specified in alg.
        let key = certificate.public_key()?;
        verify_signature(algorithm, &key, &signed, signature)?;
        // - Verify that attestnCert meets the requirements of section 8.2.1.
        check_certificate(certificate)?;
        // - If attestnCert contains an extension with OID 1.3.6.1.4.1.45724.1.1.4 (id-fido-gen-ce-aaguid), verify that its value matches
        //   the aaguid in authenticatorData.
        certificate.check_aaguid(subject.aaguid)?;
        return Ok(Attestation::certified(AttestationType::Basic, &path));
    }

    // ECDAA left the standard with Level 2. Its statement would have no x5c either, and is not self attestation.
    if statement.text("ecdaaKeyId").is_some() {
        return Err(StatementError::Mistyped("ecdaaKeyId", "left out"));
    }

    // 3. If x5c is not present, self attestation is in use: validate that alg matches the algorithm of the credential's key, and verify
    //    that sig is a valid signature over authenticatorData and clientDataHash by that key.
    if algorithm != subject.key.algorithm() {
        return Err(StatementError::AlgorithmMismatch);
    }
    subject.key.verify(&signed, signature)?;
    Ok(Attestation::SelfSigned)
}

/// Section 8.2.1.
fn check_certificate(certificate: &Certificate<'_>) -> Result<(), CertificateError> {
    certificate.check_version()?;
    let require = |part, name, condition: fn(&str) -> bool| {
        if certificate.has_subject(part, condition)? { Ok(()) } else { Err(CertificateError::Subject(name)) }
    };
    require(NamePart::Country, "C", |text| text.len() == 2)?;
    require(NamePart::Organization, "O", |text| !text.is_empty())?;
    require(NamePart::OrganizationalUnit, "OU", |text| text == "Authenticator Attestation")?;
    require(NamePart::CommonName, "CN", |text| !text.is_empty())?;
    // Section 8.2.2: where it names the device, it does so in the standard's form.
    certificate.device_serial()?;
    if certificate.is_ca()? { Err(CertificateError::IsCa) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use openssl::pkey::PKey;

    use super::*;
    use crate::{
        domain::AttestationTrust,
        webauthn::{
            CoseAlgorithm, Refusal, SignatureError,
            cbor::Value,
            testing::{CertificateSpec, KeyPair, Maker, SUBJECT, Statement},
        },
    };

    fn refused(maker: &Maker) -> StatementError {
        let error = maker.verify().unwrap_err();
        assert_eq!(error.step(), 22);
        let Refusal::Statement { error, .. } = error.refusal() else { panic!("{error}") };
        error.clone()
    }

    fn spoilt(maker: Maker, name: &'static str, value: Option<Value<'_>>) -> StatementError {
        refused(&Maker { spoil: vec![(name, value.map(|value| value.to_vec()))], ..maker })
    }

    fn with_certificate() -> Maker {
        Maker::packed(&CertificateSpec::default())
    }

    #[test]
    fn self_attestation_of_each_algorithm() {
        for algorithm in CoseAlgorithm::ALL.into_iter().filter(|a| *a != CoseAlgorithm::Rs1) {
            let maker = Maker { algorithm, algorithms: vec![algorithm], ..Maker::attested(Statement::PackedSelf) };
            let registration = maker.verify().unwrap();
            assert_eq!(registration.attestation.trust, AttestationTrust::SelfAttestation, "{algorithm}");
            assert_eq!(registration.attestation_type, "packed");
        }
    }

    #[test]
    fn certificates_of_each_algorithm() {
        for algorithm in CoseAlgorithm::ALL.into_iter().filter(|a| *a != CoseAlgorithm::Rs1) {
            let key = KeyPair::generate(algorithm).private;
            let certificate = CertificateSpec::default().make(&key, None).to_der().unwrap();
            let maker = Maker::attested(Statement::Packed(key, algorithm, vec![certificate]));
            assert_eq!(maker.verify().unwrap().attestation.trust, AttestationTrust::Untrusted, "{algorithm}");
        }
    }

    #[test]
    fn the_statements_members() {
        use StatementError as E;
        let own = || Maker::attested(Statement::PackedSelf);
        assert_eq!(spoilt(own(), "alg", None), E::Missing("alg"));
        assert_eq!(spoilt(own(), "alg", Some(Value::Text("-7"))), E::Mistyped("alg", "an integer"));
        assert_eq!(spoilt(own(), "alg", Some((-48).into())), E::UnknownAlgorithm(-48));
        assert_eq!(spoilt(own(), "alg", Some((-9).into())), E::AlgorithmMismatch);
        assert_eq!(spoilt(own(), "sig", None), E::Missing("sig"));
        assert_eq!(spoilt(own(), "sig", Some(Value::Text("x"))), E::Mistyped("sig", "a byte string"));
        assert_eq!(spoilt(own(), "sig", Some(Value::Bytes(&[]))), E::Signature(SignatureError::Invalid));
        assert_eq!(spoilt(own(), "ecdaaKeyId", Some(Value::Bytes(&[1]))), E::Mistyped("ecdaaKeyId", "left out"));

        let array = E::Mistyped("x5c", "an array of 1 to 8 byte strings");
        assert_eq!(spoilt(with_certificate(), "x5c", Some(Value::Bytes(&[1]))), array);
        assert_eq!(spoilt(with_certificate(), "x5c", Some(Value::Null)), array);
        assert_eq!(spoilt(with_certificate(), "x5c", Some(Value::Array(vec![]))), array);
        assert_eq!(spoilt(with_certificate(), "x5c", Some(Value::Array(vec![1.into()]))), array);
        assert_eq!(spoilt(with_certificate(), "x5c", Some(Value::Array(vec![Value::Bytes(&[1]); 9]))), array);
        assert_eq!(
            spoilt(with_certificate(), "x5c", Some(Value::Array(vec![Value::Bytes(&[1])]))),
            E::Certificate(CertificateError::Malformed)
        );
        // Without its certificate it is a self attestation by another key.
        assert_eq!(spoilt(with_certificate(), "x5c", None), E::Signature(SignatureError::Invalid));
        let mismatch = SignatureError::KeyMismatch(CoseAlgorithm::Rs256);
        assert_eq!(spoilt(with_certificate(), "alg", Some((-257).into())), E::Signature(mismatch));
        let unsupported = SignatureError::Unsupported(CoseAlgorithm::Rs1);
        assert_eq!(spoilt(with_certificate(), "alg", Some((-65535).into())), E::Signature(unsupported));
        let statement = Value::Array(vec![]).to_vec();
        assert_eq!(refused(&Maker::attested(Statement::Raw("packed".into(), statement))), E::Mistyped("attStmt", "a map"));
    }

    #[test]
    fn another_key_signed() {
        let certificate = CertificateSpec::default().make(&KeyPair::generate(CoseAlgorithm::Es256).private, None).to_der().unwrap();
        let other = KeyPair::generate(CoseAlgorithm::Es256).private;
        let maker = Maker::attested(Statement::Packed(other, CoseAlgorithm::Es256, vec![certificate]));
        assert_eq!(refused(&maker), StatementError::Signature(SignatureError::Invalid));
    }

    /// FIDO's server tests, Resp-5 F-14.
    #[test]
    fn the_credentials_key_signed_for_a_certificate() {
        let key = KeyPair::generate(CoseAlgorithm::Es256);
        let certificate = CertificateSpec::default().make(&KeyPair::generate(CoseAlgorithm::Es256).private, None).to_der().unwrap();
        let statement = Statement::Packed(key.private.clone(), CoseAlgorithm::Es256, vec![certificate]);
        let maker = Maker { key: Some(key), ..Maker::attested(statement) };
        assert_eq!(refused(&maker), StatementError::Signature(SignatureError::Invalid));
    }

    #[test]
    fn requirements_on_the_certificate() {
        let refused = |spec: &CertificateSpec<'_>| match refused(&Maker::packed(spec)) {
            StatementError::Certificate(error) => error,
            other => panic!("{other}"),
        };
        let spec = CertificateSpec::default;
        assert!(Maker::packed(&CertificateSpec { ca: None, ..spec() }).verify().is_ok());
        assert_eq!(refused(&CertificateSpec { ca: Some(true), ..spec() }), CertificateError::IsCa);
        assert_eq!(refused(&CertificateSpec { version: 0, ca: None, ..spec() }), CertificateError::Version);
        for (n, name) in ["C", "O", "OU", "CN"].into_iter().enumerate() {
            let without: Vec<_> = SUBJECT.iter().enumerate().filter(|(m, _)| *m != n).map(|(_, part)| *part).collect();
            assert_eq!(refused(&CertificateSpec { subject: &without, ..spec() }), CertificateError::Subject(name));
        }
        let other = [SUBJECT[0], SUBJECT[1], ("OU", "authenticator attestation"), SUBJECT[3]];
        assert_eq!(refused(&CertificateSpec { subject: &other, ..spec() }), CertificateError::Subject("OU"));
    }

    #[test]
    fn the_certificates_aaguid() {
        let verify = |value: &[u8], critical: bool| {
            let maker = Maker::packed(&CertificateSpec { aaguid: Some((value.to_vec(), critical)), ..CertificateSpec::default() });
            let maker = Maker { aaguid: [7; 16], ..maker };
            maker.verify().map(|_| ()).map_err(|error| match error.refusal() {
                Refusal::Statement { error: StatementError::Certificate(error), .. } => *error,
                other => panic!("{other}"),
            })
        };
        let wrapped = |aaguid: &[u8]| [&[0x04, u8::try_from(aaguid.len()).unwrap()], aaguid].concat();
        assert_eq!(verify(&wrapped(&[7; 16]), false), Ok(()));
        assert_eq!(verify(&wrapped(&[7; 16]), true), Err(CertificateError::AaguidCritical));
        assert_eq!(verify(&wrapped(&[8; 16]), false), Err(CertificateError::AaguidMismatch));
        for malformed in [&[7; 16][..], &wrapped(&[7; 15]), &[wrapped(&[7; 16]), vec![0]].concat(), &[]] {
            assert_eq!(verify(malformed, false), Err(CertificateError::Extension("AAGUID")), "{malformed:?}");
        }
    }

    #[test]
    fn an_expired_certificate_matters_to_its_chain_alone() {
        let spec = CertificateSpec { validity: (-30, -1), ..CertificateSpec::default() };
        assert_eq!(Maker::packed(&spec).verify().unwrap().attestation.trust, AttestationTrust::Untrusted);
    }

    #[test]
    fn a_key_that_cannot_sign_is_refused() {
        let key = PKey::generate_x25519().unwrap();
        let issuer = KeyPair::generate(CoseAlgorithm::Es256).private;
        let root = CertificateSpec::default().make(&issuer, None);
        let certificate = CertificateSpec::default().make(&key, Some((&root, &issuer))).to_der().unwrap();
        let maker = Maker::attested(Statement::Packed(issuer, CoseAlgorithm::Es256, vec![certificate]));
        assert_eq!(refused(&maker), StatementError::Certificate(CertificateError::Key));
    }
}
