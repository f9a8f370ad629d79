//! The commit of an authentication: the one place where a credential's use is written down.

use super::{Error, Store};
use crate::domain::{
    AuditEvent, AuthenticationEvidence, Challenge, Credential, CredentialId, CredentialUse, KeyId, TenantId, Timestamp, TransactionRowId,
};

/// What an authentication answers, which its commit uses up.
#[derive(Debug, Clone)]
pub enum Answered {
    /// A challenge that no row was kept for: it is recorded as used until it has expired.
    Challenge {
        /// The challenge, genuine and in time.
        challenge: Challenge,
        /// When it ends.
        expires_at: Timestamp,
    },
    /// A transaction: it is confirmed, and the evidence stored.
    Transaction {
        /// Its row.
        row: TransactionRowId,
        /// The challenge that it must still have.
        challenge: Challenge,
        /// With what.
        evidence: AuthenticationEvidence,
    },
}

/// An authentication, verified and signed for.
#[derive(Debug, Clone)]
pub struct AuthenticationUnit {
    /// Whose credential was used.
    pub tenant_id: TenantId,
    /// For what.
    pub answered: Answered,
    /// What becomes of the credential.
    pub used: CredentialUse,
    /// The key that signed the token.
    pub key: KeyId,
    /// The audit event; its id is the token's `jti`, and the proof that this very attempt was committed.
    pub event: AuditEvent,
    /// Written too, when the counter did not increase and that is not refused.
    pub clone_event: AuditEvent,
}

/// What came of an authentication's commit. Only [`Committed`](Self::Committed) wrote anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthenticationCommit {
    /// The challenge is used up; the credential, the evidence and the event are stored.
    Committed,
    /// The challenge was used by another answer; the transaction is confirmed, refused, or was begun again.
    ChallengeGone,
    /// The key that signed the token is not the tenant's active key any more: sign again with the one that is.
    KeyNotActive,
    /// The credential was deleted in between.
    CredentialGone,
    /// The counter did not increase, and that is to be refused.
    CloneRefused,
}

impl Store {
    /// A credential of a tenant, and whether `challenge` is recorded as used: one round trip.
    pub async fn credential_for_use(
        &self,
        tenant: TenantId,
        id: &CredentialId,
        challenge: &Challenge,
    ) -> Result<Option<(Credential, bool)>, Error> {
        let _ = (tenant, id, challenge);
        Err(Error::Corrupt("not built yet".to_owned()))
    }

    /// Uses up what was answered, updates the credential and stores evidence and audit event, provided that `key` may still sign.
    ///
    /// Round trips on PostgreSQL: one. On [`Error::OutcomeUnknown`] the caller looks for `event` with [`Store::audit_event`].
    pub async fn commit_authentication(&self, unit: &AuthenticationUnit) -> Result<AuthenticationCommit, Error> {
        let _ = unit;
        Err(Error::Corrupt("not built yet".to_owned()))
    }

    /// Records a challenge as used because its answer was refused, with the audit event if it is to be kept. `false` when it was used
    /// before; the event is stored all the same.
    pub async fn refuse_challenge(
        &self,
        tenant: TenantId,
        challenge: &Challenge,
        expires_at: Timestamp,
        event: Option<&AuditEvent>,
    ) -> Result<bool, Error> {
        let _ = (tenant, challenge, expires_at, event);
        Err(Error::Corrupt("not built yet".to_owned()))
    }

    /// Forgets used challenges that ended before an instant, the oldest first, at most `limit` of them. Returns how many.
    pub async fn sweep_used_challenges(&self, ended_before: Timestamp, limit: u32) -> Result<u64, Error> {
        let _ = (ended_before, limit);
        Err(Error::Corrupt("not built yet".to_owned()))
    }
}
