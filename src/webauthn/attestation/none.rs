//! The `none` statement format (WebAuthn L3 section 8.7).

use super::{Attestation, StatementError};
use crate::webauthn::cbor::Map;

/// There is nothing to verify, and nothing may be there.
pub(super) fn verify<'a>(statement: &Map<'_>) -> Result<Attestation<'a>, StatementError> {
    if statement.is_empty() { Ok(Attestation::None) } else { Err(StatementError::NotEmpty) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::webauthn::cbor::Value;

    #[test]
    fn empty_or_refused() {
        assert!(matches!(verify(&Map::from_entries(vec![])), Ok(Attestation::None)));
        let signed = Map::from_entries(vec![(Value::Text("sig"), Value::Bytes(&[1]))]);
        assert_eq!(verify(&signed).unwrap_err(), StatementError::NotEmpty);
    }
}
