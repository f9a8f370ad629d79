//! The `android-safetynet` statement format.

use super::{Attestation, StatementError, Subject};
use crate::webauthn::cbor::Map;

/// Why a statement of this format was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SafetyNetError {
    /// To come.
    #[error("not yet")]
    NotYet,
}

/// The verification procedure.
pub(super) fn verify<'a>(_statement: &Map<'a>, _subject: &Subject<'_>) -> Result<Attestation<'a>, StatementError> {
    Err(SafetyNetError::NotYet.into())
}
