//! Stored credentials.

use sqlx::types::Uuid;

use super::{
    Error, Store, audit,
    conn::{Conn, Done},
    rows::{OrCorrupt, corrupt, from_json, text, to_json},
};
use crate::domain::{
    Aaguid, AttestationFormat, AttestationRecord, AttestationTrust, AttestationType, AuditEvent, BackupFlags, Credential, CredentialId,
    NewCredential, Order, Page, TenantId, Timestamp, UserId,
};

pub(super) const TABLE: &str = "credentials";

/// The record where a server of the version before migration 2 stored the credential, while this version was already in use: what that
/// migration makes of such rows is made of it when it is read.
const UNWRITTEN: &str = "{}";

#[expect(clippy::struct_excessive_bools, reason = "the table's columns")]
pub(super) struct CredentialRow {
    pub(super) tenant_id: Uuid,
    pub(super) id: Vec<u8>,
    pub(super) user_id: String,
    pub(super) name: Option<String>,
    pub(super) public_key: Vec<u8>,
    pub(super) attestation_type: String,
    pub(super) attestation_trust: String,
    pub(super) attestation_record: String,
    pub(super) aaguid: Uuid,
    pub(super) sign_count: i64,
    pub(super) transports: String,
    pub(super) backup_eligible: bool,
    pub(super) backup_state: bool,
    pub(super) user_verified: bool,
    pub(super) is_mfa: bool,
    pub(super) created_at: i64,
    pub(super) last_used_at: Option<i64>,
}

struct IdRow {
    id: Vec<u8>,
}

struct CountRow {
    count: i64,
}

/// Whose a credential is that was just changed.
struct OwnerRow {
    user_id: String,
}

macro_rules! select_credentials {
    ($conn:expr, $fetch:ident, $rest:literal $(, $arg:expr)*) => {
        query!(
            $conn, $fetch, CredentialRow,
            r#"SELECT tenant_id AS "tenant_id: Uuid", id, user_id, name, public_key, attestation_type, attestation_trust,
                attestation_record, aaguid AS "aaguid: Uuid", sign_count, transports, backup_eligible AS "backup_eligible: bool",
                backup_state AS "backup_state: bool", user_verified AS "user_verified: bool", is_mfa AS "is_mfa: bool",
                created_at, last_used_at
            FROM credentials "# + $rest $(, $arg)*
        )
    };
}

impl Store {
    /// A credential of a tenant.
    pub async fn credential(&self, tenant: TenantId, id: &CredentialId) -> Result<Option<Credential>, Error> {
        let row =
            select_credentials!(self.reader().await?, fetch_optional, "WHERE tenant_id = $1 AND id = $2", tenant.as_uuid(), id.as_bytes())?;
        row.map(Credential::try_from).transpose()
    }

    /// A tenant's credentials in the order of their ids: at most `limit` of those after the id `after`. None when there are no more.
    pub async fn credentials(&self, tenant: TenantId, after: Option<&CredentialId>, limit: u32) -> Result<Vec<Credential>, Error> {
        let rows = select_credentials!(
            self.reader().await?,
            fetch_all,
            "WHERE tenant_id = $1 AND id > $2 ORDER BY id LIMIT $3",
            tenant.as_uuid(),
            // No id is empty: every one comes after that.
            after.map_or([].as_slice(), CredentialId::as_bytes),
            i64::from(limit)
        )?;
        rows.into_iter().map(Credential::try_from).collect()
    }

    /// A user's credentials of one kind (passkeys, or second factors), the oldest first.
    pub async fn user_credentials(&self, tenant: TenantId, user: &UserId, is_mfa: bool) -> Result<Vec<Credential>, Error> {
        let rows = select_credentials!(
            self.reader().await?,
            fetch_all,
            "WHERE tenant_id = $1 AND user_id = $2 AND is_mfa = $3 ORDER BY created_at, id",
            tenant.as_uuid(),
            user.as_str(),
            is_mfa
        )?;
        rows.into_iter().map(Credential::try_from).collect()
    }

    /// The ids of a user's credentials of both kinds, the oldest first: all of them, of one instant.
    pub async fn user_credential_ids(&self, tenant: TenantId, user: &UserId) -> Result<Vec<CredentialId>, Error> {
        let rows = query!(
            self.reader().await?,
            fetch_all,
            IdRow,
            "SELECT id FROM credentials WHERE tenant_id = $1 AND user_id = $2 ORDER BY created_at, id",
            tenant.as_uuid(),
            user.as_str()
        )?;
        rows.into_iter()
            .map(|row| CredentialId::try_from(row.id.as_slice()).or_corrupt(TABLE, &format_args!("of tenant {tenant}")))
            .collect()
    }

    /// A page of a tenant's credentials, or of one of its users', in the order in which they were made (of those of one instant, in the
    /// order of their ids); and how many there are on all pages together, a moment before.
    pub async fn listed_credentials(
        &self,
        tenant: TenantId,
        user: Option<&UserId>,
        order: Order,
        page: Page,
    ) -> Result<(Vec<Credential>, u64), Error> {
        let conn = &mut self.reader().await?;
        let total = count(&mut conn.borrow(), tenant, user).await?;
        // Nothing is read for a page behind the last, however far: to skip rows the database reads them.
        let offset = match i64::try_from(page.offset()) {
            Ok(offset) if page.offset() < total => offset,
            _ => return Ok((Vec::new(), total)),
        };
        let (tenant, limit) = (tenant.as_uuid(), i64::from(page.size()));
        let rows = match (user.map(UserId::as_str), order) {
            (None, Order::Ascending) => select_credentials!(
                conn,
                fetch_all,
                "WHERE tenant_id = $1 ORDER BY created_at, id LIMIT $2 OFFSET $3",
                tenant,
                limit,
                offset
            ),
            (None, Order::Descending) => select_credentials!(
                conn,
                fetch_all,
                "WHERE tenant_id = $1 ORDER BY created_at DESC, id DESC LIMIT $2 OFFSET $3",
                tenant,
                limit,
                offset
            ),
            (Some(user), Order::Ascending) => select_credentials!(
                conn,
                fetch_all,
                "WHERE tenant_id = $1 AND user_id = $2 ORDER BY created_at, id LIMIT $3 OFFSET $4",
                tenant,
                user,
                limit,
                offset
            ),
            (Some(user), Order::Descending) => select_credentials!(
                conn,
                fetch_all,
                "WHERE tenant_id = $1 AND user_id = $2 ORDER BY created_at DESC, id DESC LIMIT $3 OFFSET $4",
                tenant,
                user,
                limit,
                offset
            ),
        }?;
        Ok((rows.into_iter().map(Credential::try_from).collect::<Result<_, _>>()?, total))
    }

    /// Gives a credential another name. `false`, and no event, when the tenant has no such credential. The event's user is the
    /// credential's.
    pub async fn rename_credential(&self, tenant: TenantId, id: &CredentialId, name: &str, event: &AuditEvent) -> Result<bool, Error> {
        self.write("credential_name", (tenant, id.clone(), text(name), event.clone()), |tx, (tenant, id, name, event)| {
            Box::pin(async move {
                let owner = query!(
                    tx,
                    fetch_optional,
                    OwnerRow,
                    "UPDATE credentials SET name = $1 WHERE tenant_id = $2 AND id = $3 RETURNING user_id",
                    name.as_str(),
                    tenant.as_uuid(),
                    id.as_bytes()
                )?;
                record(tx, owner, event, id).await
            })
        })
        .await
    }

    /// Removes a credential, and its evidence with it. `false`, and no event, when the tenant has no such credential. The event's user is
    /// the credential's.
    pub async fn delete_credential(&self, tenant: TenantId, id: &CredentialId, event: &AuditEvent) -> Result<bool, Error> {
        self.write("credential_removal", (tenant, id.clone(), event.clone()), |tx, (tenant, id, event)| {
            Box::pin(async move {
                let owner = query!(
                    tx,
                    fetch_optional,
                    OwnerRow,
                    "DELETE FROM credentials WHERE tenant_id = $1 AND id = $2 RETURNING user_id",
                    tenant.as_uuid(),
                    id.as_bytes()
                )?;
                record(tx, owner, event, id).await
            })
        })
        .await
    }
}

/// How many credentials a tenant has, or one of its users.
async fn count(conn: &mut Conn<'_>, tenant: TenantId, user: Option<&UserId>) -> Result<u64, Error> {
    let row = match user {
        None => {
            query!(conn, fetch_one, CountRow, r#"SELECT count(*) AS "count!: i64" FROM credentials WHERE tenant_id = $1"#, tenant.as_uuid())
        }
        Some(user) => query!(
            conn,
            fetch_one,
            CountRow,
            r#"SELECT count(*) AS "count!: i64" FROM credentials WHERE tenant_id = $1 AND user_id = $2"#,
            tenant.as_uuid(),
            user.as_str()
        ),
    }?;
    row.count.try_into().or_corrupt(TABLE, &format_args!("of tenant {tenant}"))
}

/// Ends a unit of work that changed a credential, whose owner it found, or changed none.
async fn record(tx: &mut Conn<'_>, owner: Option<OwnerRow>, event: &AuditEvent, id: &CredentialId) -> Result<Done<bool>, Error> {
    let Some(owner) = owner else { return Ok(Done::Undo(false)) };
    let event = AuditEvent { actor_user_id: Some(owner.user_id.parse().or_corrupt(TABLE, id)?), ..event.clone() };
    audit::insert(tx, &event).await?;
    Ok(Done::Keep(true))
}

/// Adds a credential within a unit of work: its registration is its first use. `false` when the tenant has one with this id.
pub(super) async fn insert(tx: &mut Conn<'_>, c: &NewCredential) -> Result<bool, Error> {
    let inserted = execute!(
        tx,
        "INSERT INTO credentials (tenant_id, id, user_id, name, public_key, attestation_type, attestation_trust,
            attestation_record, aaguid, sign_count, transports, backup_eligible, backup_state, user_verified, is_mfa, created_at, last_used_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $16)
        ON CONFLICT (tenant_id, id) DO NOTHING",
        c.tenant_id.as_uuid(),
        c.id.as_bytes(),
        c.user_id.as_str(),
        c.name.as_deref().map(text),
        c.public_key.as_slice(),
        text(&c.attestation_type),
        c.attestation.trust.as_str(),
        to_json(&c.attestation, TABLE, &c.id)?,
        c.aaguid.as_uuid(),
        i64::from(c.sign_count),
        to_json(&c.transports, TABLE, &c.id)?,
        c.backup.eligible,
        c.backup.state,
        c.user_verified,
        c.is_mfa,
        c.created_at.as_millis()
    )?;
    Ok(inserted == 1)
}

/// The record of a credential, out of the three columns about its attestation.
pub(super) fn attestation(format: &str, trust: &str, record: &str, id: &CredentialId) -> Result<AttestationRecord, Error> {
    let trust: AttestationTrust = trust.parse().or_corrupt(TABLE, id)?;
    if record == UNWRITTEN {
        return Ok(AttestationRecord {
            format: format.parse().unwrap_or(AttestationFormat::None),
            attestation_type: match trust {
                AttestationTrust::None => AttestationType::None,
                AttestationTrust::SelfAttestation => AttestationType::SelfAttestation,
                AttestationTrust::Untrusted | AttestationTrust::Trusted => AttestationType::Basic,
            },
            trust,
            ..AttestationRecord::none()
        });
    }
    let record: AttestationRecord = from_json(record, TABLE, id)?;
    if record.trust == trust {
        Ok(record)
    } else {
        Err(corrupt(TABLE, id, format_args!("attestation_trust is {trust}, in attestation_record {}", record.trust)))
    }
}

impl TryFrom<CredentialRow> for Credential {
    type Error = Error;

    fn try_from(row: CredentialRow) -> Result<Self, Error> {
        let id = CredentialId::try_from(row.id.as_slice()).or_corrupt(TABLE, &format_args!("of tenant {}", row.tenant_id))?;
        Ok(Self {
            data: NewCredential {
                tenant_id: TenantId::from_uuid(row.tenant_id),
                user_id: row.user_id.parse().or_corrupt(TABLE, &id)?,
                name: row.name,
                public_key: row.public_key,
                attestation: attestation(&row.attestation_type, &row.attestation_trust, &row.attestation_record, &id)?,
                attestation_type: row.attestation_type,
                aaguid: Aaguid::from_uuid(row.aaguid),
                sign_count: row.sign_count.try_into().or_corrupt(TABLE, &id)?,
                transports: from_json(&row.transports, TABLE, &id)?,
                backup: BackupFlags { eligible: row.backup_eligible, state: row.backup_state },
                user_verified: row.user_verified,
                is_mfa: row.is_mfa,
                created_at: Timestamp::from_millis(row.created_at),
                evidence: None,
                id,
            },
            last_used_at: row.last_used_at.map(Timestamp::from_millis),
        })
    }
}
