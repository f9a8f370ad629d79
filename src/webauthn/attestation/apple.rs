//! The `apple` statement format (WebAuthn L3 section 8.8).

use openssl::sha::sha256;

use super::{Attestation, StatementError, Subject, certificates};
use crate::domain::AttestationType;
use crate::webauthn::{
    cbor::Map,
    certificate::CertificateError,
    der::{self, NotDer, Reader},
};

/// 1.2.840.113635.100.8.2 in DER.
const NONCE: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x63, 0x64, 0x08, 0x02];

/// Why a statement of this format was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppleError {
    /// The certificate says nothing of a nonce.
    #[error("the credential's certificate has no nonce (1.2.840.113635.100.8.2)")]
    NoNonce,
    /// The certificate was made for another ceremony.
    #[error("the nonce of the credential's certificate is not that of this registration")]
    Nonce,
    /// The certificate was made for another key.
    #[error("the credential's key is not that of its certificate")]
    Key,
}

/// The verification procedure.
pub(super) fn verify<'a>(statement: &Map<'a>, subject: &Subject<'_>) -> Result<Attestation<'a>, StatementError> {
    // 1. Verify that attStmt is valid CBOR conforming to the syntax defined, and extract its fields. (Devices send an alg beside x5c, which
    //    the syntax does not know: it is ignored, like every other member. There is no signature that it could be of.)
    let path = certificates(statement)?.ok_or(StatementError::Missing("x5c"))?;
    let certificate = path.first().ok_or(StatementError::Missing("x5c"))?;

    // 2. Concatenate authenticatorData and clientDataHash to form nonceToHash.
    // 3. Perform SHA-256 hash of nonceToHash to produce nonce.
    let nonce = sha256(&subject.signed_bytes());

    // 4. Verify that nonce equals the value of the extension with OID 1.2.840.113635.100.8.2 in credCert.
    let value = certificate.extension_value(NONCE).ok_or(AppleError::NoNonce)?;
    if nonce_in(value).map_err(|NotDer| CertificateError::Extension("nonce"))? != nonce {
        return Err(AppleError::Nonce.into());
    }

    // 5. Verify that the credential public key equals the Subject Public Key of credCert.
    if !subject.key.is_same(&certificate.public_key()?) {
        return Err(AppleError::Key.into());
    }

    // 6. The attestation type is anonymization CA; the trust path is x5c.
    Ok(Attestation::certified(AttestationType::AnonCa, &path))
}

/// `SEQUENCE { [1] EXPLICIT OCTET STRING }`: what Apple writes; the standard is silent about it.
fn nonce_in(value: &[u8]) -> Result<&[u8], NotDer> {
    let mut members = Reader::new(der::only(der::SEQUENCE, value)?);
    match members.explicit()? {
        (1, nonce) if members.is_empty() => der::only(der::OCTET_STRING, nonce),
        _ => Err(NotDer),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::AttestationTrust,
        webauthn::{
            CoseAlgorithm, Refusal,
            cbor::Value,
            testing::{CertificateSpec, KeyPair, Maker, Statement},
        },
    };

    fn extension(nonce: &[u8]) -> Vec<u8> {
        der::element(&[der::SEQUENCE], &der::element(&[0xa1], &der::element(&[der::OCTET_STRING], nonce)))
    }

    /// By a certificate for the credential's key, or for another one, with the extension that is made of the nonce.
    fn maker(other_key: Option<KeyPair>, value: impl Fn(&[u8]) -> Option<Vec<u8>> + 'static) -> Maker {
        let make = move |key: &KeyPair, signed: &[u8]| {
            let extensions = value(&sha256(signed)).into_iter().map(|value| ("1.2.840.113635.100.8.2", false, value)).collect();
            let spec = CertificateSpec { extensions, ..CertificateSpec::default() };
            let key = other_key.as_ref().unwrap_or(key);
            let certificate = spec.make(&key.private, None).to_der().unwrap();
            vec![("x5c", Value::Array(vec![Value::Bytes(&certificate)]).to_vec())]
        };
        Maker::attested(Statement::Made("apple", Box::new(make)))
    }

    fn good() -> Maker {
        maker(None, |nonce| Some(extension(nonce)))
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
        for algorithm in [A::Es256, A::Es384, A::Es512, A::EdDsa, A::Ed448, A::Rs256, A::Ps256] {
            let maker = Maker { algorithm, algorithms: vec![algorithm], ..good() };
            let attestation = maker.verify().unwrap().attestation;
            assert_eq!(attestation.attestation_type, AttestationType::AnonCa, "{algorithm}");
            assert_eq!(attestation.trust, AttestationTrust::Untrusted);
        }
    }

    /// A number that is compared as an integer's bytes loses its leading zeros.
    #[test]
    fn coordinates_that_begin_with_zero() {
        for label in [-2, -3] {
            let maker = Maker { key: Some(KeyPair::with_leading_zero(label)), ..good() };
            assert!(maker.verify().is_ok());
        }
    }

    #[test]
    fn the_statements_members() {
        let spoilt = |name, value: Option<Value<'_>>| Maker { spoil: vec![(name, value.map(|value| value.to_vec()))], ..good() };
        assert!(spoilt("alg", Some((-7).into())).verify().is_ok());
        assert_eq!(refused(&spoilt("x5c", None)), StatementError::Missing("x5c"));
        let array = StatementError::Mistyped("x5c", "an array of 1 to 8 byte strings");
        assert_eq!(refused(&spoilt("x5c", Some(Value::Array(vec![])))), array);
        let empty = Maker::attested(Statement::Raw("apple".to_owned(), Value::Array(vec![]).to_vec()));
        assert_eq!(refused(&empty), StatementError::Mistyped("attStmt", "a map"));
    }

    #[test]
    fn the_nonce() {
        assert_eq!(refused(&maker(None, |_| None)), AppleError::NoNonce.into());
        assert_eq!(refused(&maker(None, |_| Some(extension(&[7; 32])))), AppleError::Nonce.into());
        assert_eq!(refused(&maker(None, |nonce| Some(extension(&nonce[..31])))), AppleError::Nonce.into());
        assert_eq!(refused(&maker(None, |_| Some(extension(&[])))), AppleError::Nonce.into());
    }

    #[test]
    fn the_nonces_form() {
        let inner = |nonce: &[u8]| der::element(&[der::OCTET_STRING], nonce);
        let sequence = |members: &[u8]| Some(der::element(&[der::SEQUENCE], members));
        let malformed = StatementError::from(CertificateError::Extension("nonce"));
        assert_eq!(refused(&maker(None, |nonce| Some(nonce.to_vec()))), malformed);
        assert_eq!(refused(&maker(None, |nonce| Some([extension(nonce), vec![0]].concat()))), malformed);
        for tag in [0xa0, 0xa2, 0x81] {
            let made = maker(None, move |nonce| sequence(&der::element(&[tag], &inner(nonce))));
            assert_eq!(refused(&made), malformed);
        }
        let twice = maker(None, move |nonce| sequence(&der::element(&[0xa1], &inner(nonce)).repeat(2)));
        assert_eq!(refused(&twice), malformed);
        let trailing = maker(None, move |nonce| sequence(&der::element(&[0xa1], &inner(nonce).repeat(2))));
        assert_eq!(refused(&trailing), malformed);
    }

    #[test]
    fn the_certificate_is_for_the_credentials_key() {
        let other = |algorithm| maker(Some(KeyPair::generate(algorithm)), |nonce| Some(extension(nonce)));
        assert_eq!(refused(&other(CoseAlgorithm::Es256)), AppleError::Key.into());
        assert_eq!(refused(&other(CoseAlgorithm::Es384)), AppleError::Key.into());
        assert_eq!(refused(&other(CoseAlgorithm::Rs256)), AppleError::Key.into());
    }
}
