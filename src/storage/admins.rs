//! Administrators, by the hashes of their tokens and certificates.

use super::{Error, Store, unbuilt};
use crate::domain::{AdminHash, AdminId, AdminRecord, AuditEvent, Timestamp};

impl Store {
    /// Adds one. [`Error::Conflict`] when the name or the certificate is taken, by a revoked one too.
    pub async fn add_admin(&self, record: &AdminRecord, hash: &AdminHash, event: &AuditEvent) -> Result<(), Error> {
        let _ = (record, hash, event);
        unbuilt()
    }

    /// All of them, revoked ones included, the oldest first.
    pub async fn admins(&self) -> Result<Vec<AdminRecord>, Error> {
        unbuilt()
    }

    /// One of them.
    pub async fn admin(&self, id: AdminId) -> Result<Option<AdminRecord>, Error> {
        let _ = id;
        unbuilt()
    }

    /// The one with this hash, unless it is revoked or has expired at `now`.
    pub async fn find_admin(&self, hash: &AdminHash, now: Timestamp) -> Result<Option<AdminRecord>, Error> {
        let _ = (hash, now);
        unbuilt()
    }

    /// Writes down that it was shown, unless that was written down less than a minute before.
    pub async fn touch_admin(&self, id: AdminId, now: Timestamp) -> Result<(), Error> {
        let _ = (id, now);
        unbuilt()
    }

    /// Revokes one for good. `false`, and no event, when there is none or it was revoked before.
    pub async fn revoke_admin(&self, id: AdminId, now: Timestamp, event: &AuditEvent) -> Result<bool, Error> {
        let _ = (id, now, event);
        unbuilt()
    }
}
