//! The `fido-u2f` statement format (WebAuthn L3 section 8.6).

use uuid::Uuid;

use super::{Attestation, StatementError, Subject, certificates, signature};
use crate::domain::AttestationType;
use crate::webauthn::{
    CoseAlgorithm,
    cbor::Map,
    key::{Curve, PublicKey},
    signature::verify as verify_signature,
};

/// The verification procedure.
pub(super) fn verify<'a>(statement: &Map<'a>, subject: &Subject<'_>) -> Result<Attestation<'a>, StatementError> {
    // 1. Verify that attStmt is valid CBOR conforming to the syntax defined, and extract its fields.
    let signature = signature(statement)?;
    let path = certificates(statement)?.ok_or(StatementError::Missing("x5c"))?;

    // 2. Check that x5c has exactly one element; let certificate public key be its key; if that is not an EC key over P-256, refuse.
    let [certificate] = path.as_slice() else { return Err(StatementError::Mistyped("x5c", "an array of one certificate")) };
    let certificate_key = certificate.public_key()?;
    if !matches!(certificate_key, PublicKey::Ec(Curve::P256, _)) {
        return Err(StatementError::NotP256("attestation certificate's key"));
    }

    // 3. Extract the claimed rpIdHash, credentialId and credentialPublicKey. A U2F device has no AAGUID to claim: FIDO's tests want zero
    //    here, the standard's own example has another.
    if !subject.allow_u2f_aaguid && subject.aaguid.as_uuid() != Uuid::nil() {
        return Err(StatementError::Aaguid);
    }

    // 4. Convert the COSE_Key to raw ANSI X9.62 form. (Its coordinates were checked to be on the curve, of 32 bytes each.)
    let (x, y) = subject.key.p256().ok_or(StatementError::NotP256("credential's key"))?;

    // 5. Let verificationData be 0x00, rpIdHash, clientDataHash, credentialId, publicKeyU2F.
    let verification_data = [&[0x00], &subject.rp_id_hash[..], subject.client_data_hash, subject.credential_id, &[0x04], x, y].concat();

    // 6. Verify sig using verificationData and the certificate public key: ECDSA with SHA-256 on P-256.
    verify_signature(CoseAlgorithm::Esp256, &certificate_key, &verification_data, signature)?;

    // 7. and 8. The attestation type is basic or attestation CA; the trust path is x5c.
    Ok(Attestation::certified(AttestationType::Basic, &path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::AttestationTrust,
        webauthn::{
            Refusal, SignatureError,
            cbor::Value,
            testing::{CertificateSpec, KeyPair, Maker, Statement},
        },
    };

    fn maker(algorithm: CoseAlgorithm, certificates: usize) -> Maker {
        let key = KeyPair::generate(algorithm).private;
        let certificate = CertificateSpec { subject: &[("CN", "U2F")], ca: None, ..CertificateSpec::default() };
        let certificate = certificate.make(&key, None).to_der().unwrap();
        Maker { flags: 0x41, ..Maker::attested(Statement::U2f(key, vec![certificate; certificates])) }
    }

    fn refused(maker: &Maker) -> StatementError {
        let error = maker.verify().unwrap_err();
        assert_eq!(error.step(), 22);
        let Refusal::Statement { error, .. } = error.refusal() else { panic!("{error}") };
        error.clone()
    }

    fn spoilt(name: &'static str, value: Option<Value<'_>>) -> StatementError {
        refused(&Maker { spoil: vec![(name, value.map(|value| value.to_vec()))], ..maker(CoseAlgorithm::Es256, 1) })
    }

    #[test]
    fn a_good_one() {
        let registration = maker(CoseAlgorithm::Es256, 1).verify().unwrap();
        assert_eq!(registration.attestation_type, "fido-u2f");
        assert_eq!(registration.attestation.trust, AttestationTrust::Untrusted);
    }

    #[test]
    fn the_statements_members() {
        use StatementError as E;
        assert_eq!(spoilt("sig", None), E::Missing("sig"));
        assert_eq!(spoilt("sig", Some(Value::Text(""))), E::Mistyped("sig", "a byte string"));
        assert_eq!(spoilt("sig", Some(Value::Bytes(&[]))), E::Signature(SignatureError::Invalid));
        assert_eq!(spoilt("x5c", None), E::Missing("x5c"));
        assert_eq!(spoilt("x5c", Some(Value::Array(vec![]))), E::Mistyped("x5c", "an array of 1 to 8 byte strings"));
        assert_eq!(refused(&maker(CoseAlgorithm::Es256, 2)), E::Mistyped("x5c", "an array of one certificate"));
    }

    #[test]
    fn another_key_signed() {
        let (key, other) = (KeyPair::generate(CoseAlgorithm::Es256).private, KeyPair::generate(CoseAlgorithm::Es256).private);
        let certificate = CertificateSpec::default().make(&key, None).to_der().unwrap();
        let maker = |signer| Maker { flags: 0x41, ..Maker::attested(Statement::U2f(signer, vec![certificate.clone()])) };
        assert!(maker(key).verify().is_ok());
        assert_eq!(refused(&maker(other)), StatementError::Signature(SignatureError::Invalid));
    }

    #[test]
    fn both_keys_are_on_p256() {
        for algorithm in [CoseAlgorithm::Es384, CoseAlgorithm::Es256k, CoseAlgorithm::Rs256] {
            assert_eq!(refused(&maker(algorithm, 1)), StatementError::NotP256("attestation certificate's key"));
        }
        for algorithm in [CoseAlgorithm::Es384, CoseAlgorithm::EdDsa] {
            let maker = Maker { algorithm, ..maker(CoseAlgorithm::Es256, 1) };
            assert_eq!(refused(&maker), StatementError::NotP256("credential's key"));
        }
    }

    #[test]
    fn an_aaguid_is_the_policys_to_judge() {
        let made = || Maker { aaguid: [1; 16], ..maker(CoseAlgorithm::Es256, 1) };
        assert!(made().verify().is_ok());
        assert_eq!(refused(&Maker { allow_u2f_aaguid: false, ..made() }), StatementError::Aaguid);
        assert!(Maker { allow_u2f_aaguid: false, ..maker(CoseAlgorithm::Es256, 1) }.verify().is_ok());
    }
}
