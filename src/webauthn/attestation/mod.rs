//! Attestation statements: the attestation object, and one file for each statement format (WebAuthn L3 sections 6.5 and 8).

mod android_key;
mod android_safetynet;
mod apple;
mod compound;
mod fido_u2f;
mod none;
mod packed;
mod tpm;

use std::borrow::Cow;

use super::{
    CoseAlgorithm,
    authenticator_data::{AuthenticatorData, AuthenticatorDataError},
    cbor::{self, Map, Value},
    certificate::{Certificate, CertificateError},
    cose::CoseKey,
    signature::SignatureError,
};
use crate::domain::{Aaguid, AttestationFormat, AttestationPolicy, AttestationType, Timestamp};

pub use self::{
    android_key::AndroidKeyError, android_safetynet::SafetyNetError, apple::AppleError, compound::CompoundError, tpm::TpmError,
};

#[cfg(fuzzing)]
pub use self::tpm::tpm_structures;

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
    /// What the relying party demands: some formats have choices.
    pub(super) policy: &'a AttestationPolicy,
    /// The time.
    pub(super) now: Timestamp,
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
    /// Signed by the key of the first certificate.
    Certified {
        /// Basic, attestation CA or anonymization CA. Where the format leaves it to the CA's policy (packed, fido-u2f): basic.
        attestation_type: AttestationType,
        /// Certificates in DER, the attestation certificate first.
        path: Vec<Cow<'a, [u8]>>,
    },
    /// Several statements, each good: format and outcome, in their order.
    Compound(Vec<(AttestationFormat, Attestation<'a>)>),
}

impl<'a> Attestation<'a> {
    /// Signed by the key of the first of these.
    fn certified(attestation_type: AttestationType, path: &[Certificate<'a>]) -> Self {
        Self::Certified { attestation_type, path: path.iter().map(|certificate| Cow::Borrowed(certificate.der())).collect() }
    }
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
    /// A tpm statement's own faults.
    #[error(transparent)]
    Tpm(#[from] TpmError),
    /// An android-key statement's own faults.
    #[error(transparent)]
    AndroidKey(#[from] AndroidKeyError),
    /// An android-safetynet statement's own faults.
    #[error(transparent)]
    SafetyNet(#[from] SafetyNetError),
    /// An apple statement's own faults.
    #[error(transparent)]
    Apple(#[from] AppleError),
    /// A compound statement's own faults.
    #[error(transparent)]
    Compound(#[from] Box<CompoundError>),
}

/// The verification procedure of a format (step 22).
pub(super) fn verify<'a>(
    format: AttestationFormat,
    statement: &Value<'a>,
    subject: &Subject<'_>,
) -> Result<Attestation<'a>, StatementError> {
    use AttestationFormat as F;
    let map = || statement.as_map().ok_or(StatementError::Mistyped("attStmt", "a map"));
    match format {
        F::None => none::verify(map()?),
        F::Packed => packed::verify(map()?, subject),
        F::Tpm => tpm::verify(map()?, subject),
        F::AndroidKey => android_key::verify(map()?, subject),
        F::AndroidSafetynet => android_safetynet::verify(map()?, subject),
        F::FidoU2f => fido_u2f::verify(map()?, subject),
        F::Apple => apple::verify(map()?, subject),
        F::Compound => compound::verify(statement, subject),
    }
}

/// `alg`: the number of an algorithm that has a name here.
fn algorithm(statement: &Map<'_>) -> Result<CoseAlgorithm, StatementError> {
    let id = statement.text("alg").ok_or(StatementError::Missing("alg"))?;
    let id = id.as_int().ok_or(StatementError::Mistyped("alg", "an integer"))?;
    CoseAlgorithm::from_id(id).ok_or(StatementError::UnknownAlgorithm(id))
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
