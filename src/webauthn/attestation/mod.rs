//! Attestation statements: the attestation object, and one file for each statement format (WebAuthn L3 sections 6.5 and 8).

mod fido_u2f;
mod none;
mod packed;

use super::{
    authenticator_data::{AuthenticatorData, AuthenticatorDataError},
    cbor::{self, Map, Value},
    certificate::{Certificate, CertificateError},
    cose::CoseKey,
    signature::SignatureError,
};
use crate::domain::Aaguid;

/// The most certificates in a statement's `x5c`.
const MAX_CERTIFICATES: usize = 8;

/// An attestation object, borrowed from its bytes: well-formed, not verified.
#[derive(Debug)]
pub(super) struct AttestationObject<'a> {
    /// The statement's format, as sent.
    pub(super) format: &'a str,
    /// What the statement signs, among other things.
    pub(super) authenticator_data_bytes: &'a [u8],
    /// The same, read.
    pub(super) authenticator_data: AuthenticatorData<'a>,
    /// The statement; what it holds is its format's to say.
    pub(super) statement: Value<'a>,
}

/// Bytes that are no attestation object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum AttestationObjectError {
    #[error(transparent)]
    Cbor(#[from] cbor::Error),
    #[error("not a CBOR map")]
    NotAMap,
    #[error("{0} is missing")]
    Missing(&'static str),
    #[error("{0} must be {1}")]
    Mistyped(&'static str, &'static str),
    #[error("authData: {0}")]
    AuthenticatorData(#[from] AuthenticatorDataError),
}

impl<'a> AttestationObject<'a> {
    /// All of `bytes`. Members beside `fmt`, `authData` and `attStmt` are ignored.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, AttestationObjectError> {
        use AttestationObjectError as E;
        let Value::Map(mut object) = Value::parse(bytes)? else { return Err(E::NotAMap) };
        let mut member = |name| object.take_text(name).ok_or(E::Missing(name));
        let format = member("fmt")?.as_text().ok_or(E::Mistyped("fmt", "a text"))?;
        let statement = member("attStmt")?;
        if !matches!(statement, Value::Map(_) | Value::Array(_)) {
            return Err(E::Mistyped("attStmt", "a map or an array"));
        }
        let authenticator_data_bytes = member("authData")?.as_bytes().ok_or(E::Mistyped("authData", "a byte string"))?;
        let authenticator_data = AuthenticatorData::parse(authenticator_data_bytes)?;
        Ok(Self { format, authenticator_data_bytes, authenticator_data, statement })
    }
}

/// What a statement is about: the inputs of each format's verification procedure, beside the statement itself.
#[derive(Debug)]
pub(super) struct Subject<'a> {
    /// Authenticator data, as signed.
    pub(super) authenticator_data: &'a [u8],
    /// SHA-256 of the client data.
    pub(super) client_data_hash: &'a [u8; 32],
    /// SHA-256 of the RP ID, as in the authenticator data.
    pub(super) rp_id_hash: &'a [u8; 32],
    /// The authenticator's model, as in the authenticator data.
    pub(super) aaguid: Aaguid,
    /// The new credential's id.
    pub(super) credential_id: &'a [u8],
    /// The new credential's key.
    pub(super) key: &'a CoseKey<'a>,
    /// Whether a fido-u2f statement may come with an AAGUID other than zero.
    pub(super) allow_u2f_aaguid: bool,
}

impl Subject<'_> {
    /// What most formats sign: authenticator data, then the hash of the client data.
    fn signed_bytes(&self) -> Vec<u8> {
        [self.authenticator_data, self.client_data_hash].concat()
    }
}

/// What a good statement amounts to: the outputs of a verification procedure (attestation type and trust path).
#[derive(Debug)]
pub(super) enum Attestation<'a> {
    /// None.
    None,
    /// Self: signed by the credential's own key.
    SelfSigned,
    /// Basic, attestation CA or anonymization CA, which only the CA's policy tells apart: signed by the key of the first of these.
    Certified(Vec<Certificate<'a>>),
}

/// Why a statement was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StatementError {
    /// A member is missing.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// A member is not what it must be.
    #[error("{0} must be {1}")]
    Mistyped(&'static str, &'static str),
    /// Something under a format that has no statement.
    #[error("a statement of this format must be empty")]
    NotEmpty,
    /// The statement's algorithm is not the credential's, where it must be.
    #[error("the statement's algorithm is not the credential key's")]
    AlgorithmMismatch,
    /// An algorithm without a name here.
    #[error("the statement's algorithm {0} is not supported")]
    UnknownAlgorithm(i64),
    /// The key is not on P-256, where it must be.
    #[error("the {0} is not on P-256")]
    NotP256(&'static str),
    /// An AAGUID in a fido-u2f registration, which has none.
    #[error("the AAGUID must be zero")]
    Aaguid,
    /// Something is wrong with the certificate.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The signature does not count.
    #[error(transparent)]
    Signature(#[from] SignatureError),
}

/// A statement format whose procedure is here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    None,
    Packed,
    FidoU2f,
}

impl Format {
    /// The format of that identifier: compared byte by byte (step 21).
    pub(super) fn from_identifier(identifier: &str) -> Option<Self> {
        match identifier {
            "none" => Some(Self::None),
            "packed" => Some(Self::Packed),
            "fido-u2f" => Some(Self::FidoU2f),
            _ => None,
        }
    }

    /// The format's verification procedure (step 22).
    pub(super) fn verify<'a>(self, statement: &Value<'a>, subject: &Subject<'_>) -> Result<Attestation<'a>, StatementError> {
        let statement = statement.as_map().ok_or(StatementError::Mistyped("attStmt", "a map"))?;
        match self {
            Self::None => none::verify(statement),
            Self::Packed => packed::verify(statement, subject),
            Self::FidoU2f => fido_u2f::verify(statement, subject),
        }
    }
}

/// `sig`: bytes.
fn signature<'a>(statement: &Map<'a>) -> Result<&'a [u8], StatementError> {
    let signature = statement.text("sig").ok_or(StatementError::Missing("sig"))?;
    signature.as_bytes().ok_or(StatementError::Mistyped("sig", "a byte string"))
}

/// `x5c`, if it is there: an array of one certificate at least, each a byte string.
fn certificates<'a>(statement: &Map<'a>) -> Result<Option<Vec<Certificate<'a>>>, StatementError> {
    let mistyped = StatementError::Mistyped("x5c", "an array of 1 to 8 byte strings");
    let Some(x5c) = statement.text("x5c") else { return Ok(None) };
    let Some(items) = x5c.as_array().filter(|items| (1..=MAX_CERTIFICATES).contains(&items.len())) else { return Err(mistyped) };
    let certificate = |item: &Value<'a>| match item.as_bytes() {
        Some(der) => Ok(Certificate::parse(der)?),
        None => Err(mistyped.clone()),
    };
    items.iter().map(certificate).collect::<Result<_, _>>().map(Some)
}
