//! The life of signing keys: each change of a key's state is one conditional statement, by the database's clock, with its audit event.

use std::time::Duration;

use super::{Error, Store, unbuilt};
use crate::domain::{AuditEvent, KeyChange, KeyId, SigningKey, TenantId, Timestamp};

/// What is due by the database's clock. Each list has the oldest first, and no more than what was asked for.
#[derive(Debug, Default)]
pub struct DueKeys {
    /// `pending`, planned, and not on the token yet as far as the database knows: to be made, or to be finished.
    pub to_generate: Vec<SigningKey>,
    /// `pending`, planned, with their evidence: to be published.
    pub to_publish: Vec<SigningKey>,
    /// `published`, planned to sign, and usable by now.
    pub to_activate: Vec<SigningKey>,
    /// `active` for as long as the policy wants.
    pub to_rotate: Vec<SigningKey>,
    /// `retiring`, or suspended and in the JWKS still, with R over.
    pub to_withdraw: Vec<SigningKey>,
    /// With a private half that has to go: the rollback window is over, or it is compromised, or its end was begun.
    pub to_destroy: Vec<SigningKey>,
    /// Tenants that want a standby, sign, and have no key that is pending or published.
    pub lacking_standby: Vec<TenantId>,
    /// How many keys were meant to be made in the last minute, whoever asked.
    pub intents_of_last_minute: u32,
}

/// Hears of changes of signing keys that other servers and commands make.
#[derive(Debug)]
pub struct KeyNotices {}

impl KeyNotices {
    /// Returns when there was a change, or may have been one; on SQLite never. Cancel safe.
    pub async fn changed(&mut self) {
        std::future::pending().await
    }
}

impl Store {
    /// The database's clock: what transitions of keys go by.
    pub async fn database_now(&self) -> Result<Timestamp, Error> {
        unbuilt()
    }

    /// A signing key, in whatever state.
    pub async fn signing_key(&self, kid: KeyId) -> Result<Option<SigningKey>, Error> {
        let _ = kid;
        unbuilt()
    }

    /// Every key of a tenant, in whatever state, the oldest first.
    pub async fn signing_keys_of(&self, tenant: TenantId) -> Result<Vec<SigningKey>, Error> {
        let _ = tenant;
        unbuilt()
    }

    /// Writes down that a key is meant to exist (`pending`), before anything is asked of the token. `false`, and nothing is written, when the
    /// tenant has another pending key, or is not there.
    pub async fn begin_signing_key(&self, key: &SigningKey, event: &AuditEvent) -> Result<bool, Error> {
        let _ = (key, event);
        unbuilt()
    }

    /// Writes down what the token made of a pending key, which stays `pending`. `false` when it is not pending any more, or was completed.
    pub async fn complete_signing_key(&self, key: &SigningKey, event: &AuditEvent) -> Result<bool, Error> {
        let _ = (key, event);
        unbuilt()
    }

    /// Makes one change, with its event, if its preconditions hold by the database's clock; the key as it is now, or `None`, and nothing was
    /// written, where they do not.
    ///
    /// The same unit of work raises the key revision, and tells other servers.
    pub async fn change_signing_key(
        &self,
        tenant: TenantId,
        kid: KeyId,
        change: KeyChange,
        events: &[AuditEvent],
    ) -> Result<Option<SigningKey>, Error> {
        let _ = (tenant, kid, change, events);
        unbuilt()
    }

    /// What is due; at most `limit` of each kind. `begun_before`: how old an intent has to be to count as left behind.
    pub async fn due_keys(&self, begun_before: Duration, limit: u32) -> Result<DueKeys, Error> {
        let _ = (begun_before, limit);
        unbuilt()
    }

    /// Sets when the successors of active keys are due, after a policy changed or where an older version left it open.
    pub async fn set_rotate_from(&self, kid: KeyId, rotate_from: Option<Timestamp>) -> Result<bool, Error> {
        let _ = (kid, rotate_from);
        unbuilt()
    }

    /// The count of changes of signing keys.
    pub async fn key_revision(&self) -> Result<i64, Error> {
        unbuilt()
    }

    /// The keys that changed after `revision`, in the order of their changes, at most `limit`.
    pub async fn signing_keys_changed_since(&self, revision: i64, limit: u32) -> Result<Vec<SigningKey>, Error> {
        let _ = (revision, limit);
        unbuilt()
    }

    /// Begins to listen for changes, on a connection of its own.
    pub async fn key_notices(&self) -> Result<KeyNotices, Error> {
        unbuilt()
    }
}
