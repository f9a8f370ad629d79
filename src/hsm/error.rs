//! What can go wrong for the one who asks.

use super::protocol::Failure;
use crate::domain::KeyId;

/// Why a request to the HSM was not done, named by what the caller can do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Too many requests wait. Ask again later.
    #[error("the signing queue is full")]
    Busy,
    /// No signer process is up, or the last one died with this request. Ask again later.
    #[error("no signer process is up")]
    Unavailable,
    /// No answer in time. A key may have been made nevertheless: asking again takes it over.
    #[error("the signer did not answer in time")]
    Deadline,
    /// The token works and does not hold this key. Only an operator can help.
    #[error("no key {0} on the token")]
    KeyNotFound(KeyId),
    /// More than one key, or half a pair, where one pair should be. Only an operator can help.
    #[error("key {0} on the token is unclear: {1}")]
    KeyUnclear(KeyId, String),
    /// The request is not one that a signer does. A fault of the caller.
    #[error("the signer refused: {0}")]
    Refused(String),
    /// The token refused the PIN, or must not be asked: an operator has to look before anything is tried again.
    #[error("the token does not accept the PIN: {0}")]
    PinRefused(String),
    /// The HSM is out of service until an operator takes it into service: `passkey-hsm hsm activate`.
    #[error("{0}")]
    NotActivated(String),
    /// The signer processes cannot start as they are configured, or the token is not there.
    #[error("the signer cannot start: {0}")]
    Configuration(String),
    /// The token cannot do this algorithm.
    #[error("the token cannot do this: {0}")]
    Mechanism(String),
    /// The token signed with another key than the stored one, twice. Nothing was released.
    #[error("the token's signature does not verify with the stored public key of {0}")]
    WrongSignature(KeyId),
    /// The module refused this request while it does others.
    #[error("the module failed: {0}")]
    Device(String),
}

impl Error {
    /// What a signer's refusal means for the one who asked about `kid`.
    pub(super) fn from_failure(kid: KeyId, failure: Failure) -> Self {
        match failure {
            Failure::KeyNotFound => Self::KeyNotFound(kid),
            Failure::KeyUnclear(text) => Self::KeyUnclear(kid, text),
            Failure::Refused(text) => Self::Refused(text),
            Failure::Mechanism(text) => Self::Mechanism(text),
            Failure::Device(text) => Self::Device(text),
            Failure::Expired => Self::Deadline,
            Failure::Busy => Self::Busy,
        }
    }

    /// A word for metrics; never more than a dozen of them.
    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Self::Busy => "busy",
            Self::Unavailable => "unavailable",
            Self::Deadline => "deadline",
            Self::KeyNotFound(_) => "key_not_found",
            Self::KeyUnclear(..) => "key_unclear",
            Self::Refused(_) => "refused",
            Self::PinRefused(_) => "pin_refused",
            Self::NotActivated(_) => "not_activated",
            Self::Configuration(_) => "configuration",
            Self::Mechanism(_) => "mechanism",
            Self::WrongSignature(_) => "wrong_signature",
            Self::Device(_) => "device",
        }
    }
}
