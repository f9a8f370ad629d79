//! The life of signing keys: each change of a key's state is one conditional statement, by the database's clock, with its audit event.

pub(super) mod clock;
mod due;
mod notices;
pub(super) mod revision;
mod transitions;

use sqlx::types::Uuid;

pub use self::{due::DueKeys, notices::KeyNotices};
use super::{
    Error, Store, audit,
    conn::{Conn, Done},
    signing_keys::{SigningKeyRow, select_signing_keys},
};
use crate::domain::{AuditEvent, KeyChange, KeyId, SigningKey, TenantId, Timestamp};

impl Store {
    /// A signing key, in whatever state.
    pub async fn signing_key(&self, kid: KeyId) -> Result<Option<SigningKey>, Error> {
        by_id(&mut self.reader().await?.borrow(), kid).await
    }

    /// Every key of a tenant, in whatever state, the oldest first.
    pub async fn signing_keys_of(&self, tenant: TenantId) -> Result<Vec<SigningKey>, Error> {
        let rows = select_signing_keys!(self.reader().await?, fetch_all, "WHERE tenant_id = $1 ORDER BY created_at, id", tenant.as_uuid())?;
        rows.into_iter().map(SigningKey::try_from).collect()
    }

    /// Writes down that a key is meant to exist (`pending`), before anything is asked of the token. `false`, and nothing is written, when the
    /// tenant has another pending key, or is not there.
    ///
    /// [`Error::Conflict`] when the id is taken.
    pub async fn begin_signing_key(&self, key: &SigningKey, event: &AuditEvent) -> Result<bool, Error> {
        self.write("begin_key", (key.clone(), event.clone()), |tx, (key, event)| {
            Box::pin(async move {
                if !begin(tx, key).await? {
                    return Ok(Done::Undo(false));
                }
                audit::insert(tx, event).await?;
                Ok(Done::Keep(true))
            })
        })
        .await
    }

    /// Writes down what the token made of a pending key, which stays `pending`. `false` when it is not pending any more, or was completed, or
    /// its end was begun; or when it is adopted, and another row has that pair.
    pub async fn complete_signing_key(&self, key: &SigningKey, event: &AuditEvent) -> Result<bool, Error> {
        self.write("complete_key", (key.clone(), event.clone()), |tx, (key, event)| {
            Box::pin(async move {
                if !complete(tx, key).await? {
                    return Ok(Done::Undo(false));
                }
                audit::insert(tx, event).await?;
                Ok(Done::Keep(true))
            })
        })
        .await
    }

    /// Makes one change, with its events, if its preconditions hold by the database's clock; the key as it is now, or `None`, and nothing was
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
        self.write(change.unit(), (tenant, kid, change, events.to_vec()), |tx, (tenant, kid, change, events)| {
            Box::pin(async move {
                // In this order: the clock is read when nobody else can change keys any more.
                let revision = revision::raise(tx).await?;
                let target = transitions::Target { tenant: *tenant, kid: *kid, now: clock::now(tx).await?, revision };
                if !transitions::make(tx, &target, *change).await? {
                    return Ok(Done::Undo(None));
                }
                for event in events {
                    audit::insert(tx, event).await?;
                }
                Ok(Done::Keep(by_id(tx, *kid).await?))
            })
        })
        .await
    }

    /// Sets when the successor of an active key is due, after a policy changed or where an older version left it open. `false` when the key
    /// is not active.
    pub async fn set_rotate_from(&self, kid: KeyId, rotate_from: Option<Timestamp>) -> Result<bool, Error> {
        self.write("rotate_from", (kid, rotate_from), |tx, (kid, rotate_from)| {
            Box::pin(async move {
                let updated = execute!(
                    tx,
                    "UPDATE signing_keys SET rotate_from = $2 WHERE id = $1 AND state = 'active'",
                    kid.as_uuid(),
                    rotate_from.map(Timestamp::as_millis)
                )?;
                Ok(if updated == 1 { Done::Keep(true) } else { Done::Undo(false) })
            })
        })
        .await
    }

    /// The keys that changed after `revision`, in the order of their changes, at most `limit`. Keys that change together have one revision:
    /// a list that is cut may end between them, so read on from the last one's revision less one.
    pub async fn signing_keys_changed_since(&self, revision: i64, limit: u32) -> Result<Vec<SigningKey>, Error> {
        let rows = select_signing_keys!(
            self.reader().await?,
            fetch_all,
            "WHERE revision > $1 ORDER BY revision, id LIMIT $2",
            revision,
            i64::from(limit)
        )?;
        rows.into_iter().map(SigningKey::try_from).collect()
    }
}

async fn by_id(conn: &mut Conn<'_>, kid: KeyId) -> Result<Option<SigningKey>, Error> {
    let row = select_signing_keys!(conn, fetch_optional, "WHERE id = $1", kid.as_uuid())?;
    row.map(SigningKey::try_from).transpose()
}

/// An intent, of a tenant that is there and has no other.
async fn begin(tx: &mut Conn<'_>, key: &SigningKey) -> Result<bool, Error> {
    let inserted = execute!(
        tx,
        "INSERT INTO signing_keys (id, tenant_id, algorithm, rsa_bits, state, created_at, origin, plan)
        SELECT $1, t.id, $3, $4, 'pending', $5, $6, $7 FROM tenants t WHERE t.id = $2 AND t.state = 'active' AND t.deleted_at IS NULL
        ON CONFLICT (tenant_id) WHERE state = 'pending' DO NOTHING",
        key.id.as_uuid(),
        key.tenant_id.as_uuid(),
        key.algorithm.as_str(),
        key.rsa_bits.map(i64::from),
        key.created_at.as_millis(),
        key.origin.as_str(),
        key.plan.as_str()
    )?;
    Ok(inserted == 1)
}

/// A pair that was on the token before has one row: two that are adopted side by side would both find it unowned.
async fn complete(tx: &mut Conn<'_>, key: &SigningKey) -> Result<bool, Error> {
    execute!(tx, "UPDATE key_revision SET revision = revision WHERE id = 1")?;
    let updated = execute!(
        tx,
        "UPDATE signing_keys SET public_key = $3, cka_id = $4, token_serial = $5, evidence_record = $6, evidence_signature = $7
        WHERE tenant_id = $1 AND id = $2 AND state = 'pending' AND public_key IS NULL AND destroying_at IS NULL
            AND NOT EXISTS (SELECT 1 FROM signing_keys other WHERE other.id <> $2
                AND (signing_keys.origin = 'adopted' OR other.origin = 'adopted')
                AND (other.public_key = $3 OR (other.cka_id = $4 AND other.token_serial = $5 AND other.private_destroyed_at IS NULL)))",
        key.tenant_id.as_uuid(),
        key.id.as_uuid(),
        key.public_key.as_deref(),
        key.cka_id.as_deref(),
        key.token_serial.as_deref(),
        key.evidence.as_ref().map(|e| e.record.as_str()),
        key.evidence.as_ref().map(|e| e.signature.as_slice())
    )?;
    Ok(updated == 1)
}
