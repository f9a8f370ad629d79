//! The `compound` statement format.

use super::{Attestation, StatementError, Subject};
use crate::webauthn::cbor::Value;

/// Why a statement of this format was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CompoundError {
    /// To come.
    #[error("not yet")]
    NotYet,
}

/// The verification procedure.
pub(super) fn verify<'a>(_statement: &Value<'a>, _subject: &Subject<'_>) -> Result<Attestation<'a>, StatementError> {
    Err(Box::new(CompoundError::NotYet).into())
}
