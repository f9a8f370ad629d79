//! Ceremonies: what was promised to a browser, kept until it answers.

use std::{fmt, time::Duration};

use super::{Attachment, AttestationPreference, ResidentKey, Rng, TenantId, Timestamp, UserId, UserVerification};

/// Which ceremony a challenge was made for. A challenge answers to no other, so that a second factor never becomes a passkey.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// A passkey is made.
    Registration,
    /// A second factor is made.
    MfaRegistration,
    /// A passkey signs in.
    Login,
    /// A second factor signs in.
    MfaLogin,
    /// A passkey confirms a transaction.
    Transaction,
}

text_enum!(Operation, "registration, mfa_registration, login, mfa_login, transaction", {
    Registration => "registration",
    MfaRegistration => "mfa_registration",
    Login => "login",
    MfaLogin => "mfa_login",
    Transaction => "transaction",
});

impl Operation {
    /// Whether it is about second factors.
    pub const fn is_mfa(self) -> bool {
        matches!(self, Self::MfaRegistration | Self::MfaLogin)
    }

    /// Whether a backend alone can end it, with its API key.
    pub const fn is_keyed(self) -> bool {
        matches!(self, Self::MfaRegistration | Self::MfaLogin | Self::Transaction)
    }
}

/// What a tenant has configured for one operation's ceremonies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CeremonyConfig {
    /// How long a ceremony may take.
    pub timeout: Duration,
    /// What is asked of the authenticator.
    pub user_verification: UserVerification,
    /// Which authenticators may take part.
    pub attachment: Option<Attachment>,
    /// Asked of registrations.
    pub attestation: AttestationPreference,
    /// Asked of registrations.
    pub resident_key: ResidentKey,
}

/// The random bytes that a ceremony is about: 32, or 64 for a transaction.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Challenge(Box<[u8]>);

impl Challenge {
    /// 32 fresh random bytes.
    pub fn random(rng: &dyn Rng) -> Self {
        Self(Box::new(rng.bytes::<32>()))
    }

    /// From bytes as stored, or as a client sent them.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Not printed: until it is used, a challenge is worth keeping out of logs.
impl fmt::Debug for Challenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Challenge(..)")
    }
}

/// A ceremony under way. Its challenge is its key, within a tenant and an operation.
#[derive(Debug, Clone)]
pub struct Ceremony {
    /// Whose ceremony it is.
    pub tenant_id: TenantId,
    /// What it is for.
    pub operation: Operation,
    /// What the browser has to return.
    pub challenge: Challenge,
    /// Who it was begun for.
    pub user_id: UserId,
    /// What the options asked of the authenticator, whatever the tenant's configuration has become since.
    pub user_verification: UserVerification,
    /// When it began.
    pub created_at: Timestamp,
    /// When it ends; an answer at or after this instant is too late.
    pub expires_at: Timestamp,
}
