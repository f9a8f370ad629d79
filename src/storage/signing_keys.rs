//! Signing keys: their public halves and their history.

use sqlx::types::Uuid;

use super::{
    Error, Store,
    conn::Conn,
    key_changes::revision,
    rows::{OrCorrupt, corrupt},
};
use crate::domain::{KeyEvidence, KeyId, KeyState, Page, SigningKey, TenantId, Timestamp};

pub(super) struct SigningKeyRow {
    pub(super) id: Uuid,
    pub(super) tenant_id: Uuid,
    pub(super) algorithm: String,
    pub(super) rsa_bits: Option<i64>,
    pub(super) state: String,
    pub(super) public_key: Option<Vec<u8>>,
    pub(super) cka_id: Option<Vec<u8>>,
    pub(super) token_serial: Option<String>,
    pub(super) evidence_record: Option<String>,
    pub(super) evidence_signature: Option<Vec<u8>>,
    pub(super) created_at: i64,
    pub(super) published_at: Option<i64>,
    pub(super) activated_at: Option<i64>,
    pub(super) deactivated_at: Option<i64>,
    pub(super) private_destroyed_at: Option<i64>,
    pub(super) origin: String,
    pub(super) plan: String,
    pub(super) usable_from: Option<i64>,
    pub(super) rotate_from: Option<i64>,
    pub(super) withdraw_from: Option<i64>,
    pub(super) keep_private_until: Option<i64>,
    pub(super) withdrawn_at: Option<i64>,
    pub(super) destroying_at: Option<i64>,
    pub(super) predecessor: Option<Uuid>,
    pub(super) revision: i64,
    pub(super) published_revision: i64,
}

macro_rules! select_signing_keys {
    ($conn:expr, $fetch:ident, $rest:literal $(, $arg:expr)*) => {
        query!(
            $conn, $fetch, SigningKeyRow,
            r#"SELECT id AS "id: Uuid", tenant_id AS "tenant_id: Uuid", algorithm, rsa_bits, state, public_key, cka_id, token_serial,
                evidence_record, evidence_signature, created_at, published_at, activated_at, deactivated_at, private_destroyed_at,
                origin, plan, usable_from, rotate_from, withdraw_from, keep_private_until, withdrawn_at, destroying_at,
                predecessor AS "predecessor: Uuid", revision, published_revision
            FROM signing_keys "# + $rest $(, $arg)*
        )
    };
}
pub(super) use select_signing_keys;

impl Store {
    /// The key that signs a tenant's tokens now. A deleted tenant has none.
    pub async fn active_signing_key(&self, tenant: TenantId) -> Result<Option<SigningKey>, Error> {
        let row = select_signing_keys!(
            self.reader().await?,
            fetch_optional,
            "WHERE tenant_id = $1 AND state = 'active' AND NOT EXISTS (SELECT 1 FROM tenants WHERE id = $1 AND deleted_at IS NOT NULL)",
            tenant.as_uuid()
        )?;
        row.map(SigningKey::try_from).transpose()
    }

    /// The keys of a tenant's JWKS ([`SigningKey::in_jwks`]), the oldest first: always in the same order.
    pub async fn published_signing_keys(&self, tenant: TenantId) -> Result<Vec<SigningKey>, Error> {
        let rows = select_signing_keys!(
            self.reader().await?,
            fetch_all,
            "WHERE tenant_id = $1 AND state IN ('published', 'active', 'suspended', 'retiring') AND withdrawn_at IS NULL
            ORDER BY created_at, id",
            tenant.as_uuid()
        )?;
        rows.into_iter().map(SigningKey::try_from).collect()
    }

    /// Every key of every tenant, in whatever state, tenant by tenant, the oldest first.
    pub async fn signing_keys(&self) -> Result<Vec<SigningKey>, Error> {
        let rows = select_signing_keys!(self.reader().await?, fetch_all, "ORDER BY tenant_id, created_at, id")?;
        rows.into_iter().map(SigningKey::try_from).collect()
    }

    /// A page of the keys that `filter` lets through, tenant by tenant, the oldest first, and how many it lets through in all.
    pub async fn signing_keys_page(&self, filter: KeyFilter, page: Page) -> Result<(Vec<SigningKey>, u64), Error> {
        let (state, due) = (filter.state.map_or("", KeyState::as_str), filter.due.map_or(i64::MAX, Timestamp::as_millis));
        let mut conn = self.reader().await?;
        let count = query!(
            conn,
            fetch_one,
            CountRow,
            r#"SELECT count(*) AS "count!: i64" FROM signing_keys
            WHERE ($1 = '' OR state = $1) AND ($2 = 9223372036854775807 OR (state = 'active' AND rotate_from <= $2))"#,
            state,
            due
        )?;
        let total = u64::try_from(count.count).unwrap_or(0);
        let offset = match i64::try_from(page.offset()) {
            Ok(offset) if page.offset() < total => offset,
            _ => return Ok((Vec::new(), total)),
        };
        let rows = select_signing_keys!(
            conn,
            fetch_all,
            "WHERE ($1 = '' OR state = $1) AND ($2 = 9223372036854775807 OR (state = 'active' AND rotate_from <= $2))
            ORDER BY tenant_id, created_at, id LIMIT $3 OFFSET $4",
            state,
            due,
            i64::from(page.size()),
            offset
        )?;
        Ok((rows.into_iter().map(SigningKey::try_from).collect::<Result<_, _>>()?, total))
    }
}

/// Which keys are asked for; the default is all of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KeyFilter {
    /// In this state.
    pub state: Option<KeyState>,
    /// Active, and to be replaced by this instant.
    pub due: Option<Timestamp>,
}

impl KeyFilter {
    /// Whether it lets `key` through.
    pub fn admits(&self, key: &SigningKey) -> bool {
        let is_due = |now| key.state == KeyState::Active && key.rotate_from.is_some_and(|from| from <= now);
        self.state.is_none_or(|state| state == key.state) && self.due.is_none_or(is_due)
    }
}

struct CountRow {
    count: i64,
}

/// The keys that wait to be generated for tenants that are not complete.
pub(super) async fn of_incomplete_tenants(conn: &mut Conn<'_>) -> Result<Vec<SigningKey>, Error> {
    let rows = select_signing_keys!(
        conn,
        fetch_all,
        "WHERE state = 'pending' AND tenant_id IN (SELECT id FROM tenants WHERE state = 'creating') ORDER BY created_at, id"
    )?;
    rows.into_iter().map(SigningKey::try_from).collect()
}

/// Adds a key within a unit of work.
pub(super) async fn insert(tx: &mut Conn<'_>, key: &SigningKey) -> Result<(), Error> {
    execute!(
        tx,
        "INSERT INTO signing_keys (id, tenant_id, algorithm, rsa_bits, state, public_key, cka_id, token_serial, evidence_record,
            evidence_signature, created_at, published_at, activated_at, deactivated_at, private_destroyed_at, origin, plan)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)",
        key.id.as_uuid(),
        key.tenant_id.as_uuid(),
        key.algorithm.as_str(),
        key.rsa_bits.map(i64::from),
        key.state.as_str(),
        key.public_key.as_deref(),
        key.cka_id.as_deref(),
        key.token_serial.as_deref(),
        key.evidence.as_ref().map(|e| e.record.as_str()),
        key.evidence.as_ref().map(|e| e.signature.as_slice()),
        key.created_at.as_millis(),
        key.published_at.map(Timestamp::as_millis),
        key.activated_at.map(Timestamp::as_millis),
        key.deactivated_at.map(Timestamp::as_millis),
        key.private_destroyed_at.map(Timestamp::as_millis),
        key.origin.as_str(),
        key.plan.as_str()
    )?;
    Ok(())
}

/// Writes what became of a tenant's first key, within a unit of work. `false` when it is not pending any more.
///
/// One that comes into the JWKS may sign from that instant on, because nobody has the tenant's JWKS yet, and counts as a change of keys.
pub(super) async fn settle_pending(tx: &mut Conn<'_>, key: &SigningKey) -> Result<bool, Error> {
    let revision = if key.in_jwks() { revision::raise(tx).await? } else { 0 };
    let updated = execute!(
        tx,
        "UPDATE signing_keys SET state = $1, public_key = $2, cka_id = $3, token_serial = $4, evidence_record = $5,
            evidence_signature = $6, published_at = $7, activated_at = $8, usable_from = $7, rotate_from = $11, revision = $12,
            published_revision = $12
        WHERE tenant_id = $9 AND id = $10 AND state = 'pending'",
        key.state.as_str(),
        key.public_key.as_deref(),
        key.cka_id.as_deref(),
        key.token_serial.as_deref(),
        key.evidence.as_ref().map(|e| e.record.as_str()),
        key.evidence.as_ref().map(|e| e.signature.as_slice()),
        key.published_at.map(Timestamp::as_millis),
        key.activated_at.map(Timestamp::as_millis),
        key.tenant_id.as_uuid(),
        key.id.as_uuid(),
        key.rotate_from.map(Timestamp::as_millis),
        revision
    )?;
    Ok(updated == 1)
}

/// Whether a key may sign its tenant's tokens, read within a unit of work: nothing more is stored for a tenant that was deleted meanwhile.
pub(super) async fn is_active(tx: &mut Conn<'_>, tenant: TenantId, key: KeyId) -> Result<bool, Error> {
    struct Row {
        found: bool,
    }
    let row = query!(
        tx,
        fetch_one,
        Row,
        r#"SELECT EXISTS (
            SELECT 1 FROM signing_keys WHERE tenant_id = $1 AND id = $2 AND state = 'active'
                AND NOT EXISTS (SELECT 1 FROM tenants WHERE id = $1 AND deleted_at IS NOT NULL)
        ) AS "found!: bool""#,
        tenant.as_uuid(),
        key.as_uuid()
    )?;
    Ok(row.found)
}

impl TryFrom<SigningKeyRow> for SigningKey {
    type Error = Error;

    fn try_from(row: SigningKeyRow) -> Result<Self, Error> {
        const TABLE: &str = "signing_keys";
        let evidence = match (row.evidence_record, row.evidence_signature) {
            (Some(record), Some(signature)) => Some(KeyEvidence { record, signature }),
            (None, None) => None,
            _ => return Err(corrupt(TABLE, &row.id, "half of its evidence is missing")),
        };
        Ok(Self {
            id: KeyId::from_uuid(row.id),
            tenant_id: TenantId::from_uuid(row.tenant_id),
            algorithm: row.algorithm.parse().or_corrupt(TABLE, &row.id)?,
            rsa_bits: row.rsa_bits.map(u32::try_from).transpose().or_corrupt(TABLE, &row.id)?,
            state: row.state.parse().or_corrupt(TABLE, &row.id)?,
            public_key: row.public_key,
            cka_id: row.cka_id,
            token_serial: row.token_serial,
            evidence,
            created_at: Timestamp::from_millis(row.created_at),
            published_at: row.published_at.map(Timestamp::from_millis),
            activated_at: row.activated_at.map(Timestamp::from_millis),
            deactivated_at: row.deactivated_at.map(Timestamp::from_millis),
            private_destroyed_at: row.private_destroyed_at.map(Timestamp::from_millis),
            origin: row.origin.parse().or_corrupt(TABLE, &row.id)?,
            plan: row.plan.parse().or_corrupt(TABLE, &row.id)?,
            usable_from: row.usable_from.map(Timestamp::from_millis),
            rotate_from: row.rotate_from.map(Timestamp::from_millis),
            withdraw_from: row.withdraw_from.map(Timestamp::from_millis),
            keep_private_until: row.keep_private_until.map(Timestamp::from_millis),
            withdrawn_at: row.withdrawn_at.map(Timestamp::from_millis),
            destroying_at: row.destroying_at.map(Timestamp::from_millis),
            predecessor: row.predecessor.map(KeyId::from_uuid),
            revision: row.revision,
            published_revision: row.published_revision,
        })
    }
}
