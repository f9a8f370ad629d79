//! Challenges that no row was kept for, once they are used.

use sqlx::types::Uuid;

use super::{
    Error, Store, audit,
    conn::{Conn, Done},
    credentials::CredentialRow,
};
use crate::domain::{AuditEvent, Challenge, Credential, CredentialId, TenantId, Timestamp};

/// A credential's columns, and whether a challenge is used.
#[expect(clippy::struct_excessive_bools, reason = "the table's columns, and one more")]
struct ForUseRow {
    tenant_id: Uuid,
    id: Vec<u8>,
    user_id: String,
    name: Option<String>,
    public_key: Vec<u8>,
    attestation_type: String,
    attestation_trust: String,
    attestation_record: String,
    aaguid: Uuid,
    sign_count: i64,
    transports: String,
    backup_eligible: bool,
    backup_state: bool,
    user_verified: bool,
    is_mfa: bool,
    created_at: i64,
    last_used_at: Option<i64>,
    used: bool,
}

impl Store {
    /// A credential of a tenant, and whether `challenge` is recorded as used: one round trip.
    pub async fn credential_for_use(
        &self,
        tenant: TenantId,
        id: &CredentialId,
        challenge: &Challenge,
    ) -> Result<Option<(Credential, bool)>, Error> {
        let row = query!(
            self.reader().await?,
            fetch_optional,
            ForUseRow,
            r#"SELECT tenant_id AS "tenant_id: Uuid", id, user_id, name, public_key, attestation_type, attestation_trust,
                attestation_record, aaguid AS "aaguid: Uuid", sign_count, transports, backup_eligible AS "backup_eligible: bool",
                backup_state AS "backup_state: bool", user_verified AS "user_verified: bool", is_mfa AS "is_mfa: bool",
                created_at, last_used_at,
                EXISTS (SELECT 1 FROM used_challenges WHERE tenant_id = $1 AND challenge = $3) AS "used!: bool"
            FROM credentials WHERE tenant_id = $1 AND id = $2"#,
            tenant.as_uuid(),
            id.as_bytes(),
            challenge.as_bytes()
        )?;
        row.map(<(Credential, bool)>::try_from).transpose()
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
        let data = (tenant, challenge.clone(), expires_at, event.cloned());
        self.write("refusal", data, |tx, (tenant, challenge, expires_at, event)| {
            Box::pin(async move {
                let first = insert(tx, *tenant, challenge, *expires_at).await?;
                match event {
                    Some(event) => audit::insert(tx, event).await?,
                    None if !first => return Ok(Done::Undo(false)),
                    None => {}
                }
                Ok(Done::Keep(first))
            })
        })
        .await
    }

    /// Forgets used challenges that ended before an instant, the oldest first, at most `limit` of them. Returns how many.
    pub async fn sweep_used_challenges(&self, ended_before: Timestamp, limit: u32) -> Result<u64, Error> {
        self.write("sweep", (ended_before, limit), |tx, (ended_before, limit)| {
            Box::pin(async move {
                let deleted = execute!(
                    tx,
                    "DELETE FROM used_challenges WHERE (tenant_id, challenge) IN (
                        SELECT tenant_id, challenge FROM used_challenges WHERE expires_at < $1 ORDER BY expires_at LIMIT $2)",
                    ended_before.as_millis(),
                    i64::from(*limit)
                )?;
                Ok(if deleted == 0 { Done::Undo(0) } else { Done::Keep(deleted) })
            })
        })
        .await
    }
}

/// Uses a challenge up within a unit of work: `true` for exactly one of those who try.
pub(super) async fn insert(tx: &mut Conn<'_>, tenant: TenantId, challenge: &Challenge, expires_at: Timestamp) -> Result<bool, Error> {
    let inserted = execute!(
        tx,
        "INSERT INTO used_challenges (tenant_id, challenge, expires_at) VALUES ($1, $2, $3)
        ON CONFLICT (tenant_id, challenge) DO NOTHING",
        tenant.as_uuid(),
        challenge.as_bytes(),
        expires_at.as_millis()
    )?;
    Ok(inserted == 1)
}

/// Whether a challenge is recorded as used.
#[cfg_attr(not(feature = "postgres"), expect(dead_code, reason = "SQLite's writer works alone and need not look twice"))]
pub(super) async fn is_used(conn: &mut Conn<'_>, tenant: TenantId, challenge: &Challenge) -> Result<bool, Error> {
    struct Row {
        used: bool,
    }
    let row = query!(
        conn,
        fetch_one,
        Row,
        r#"SELECT EXISTS (SELECT 1 FROM used_challenges WHERE tenant_id = $1 AND challenge = $2) AS "used!: bool""#,
        tenant.as_uuid(),
        challenge.as_bytes()
    )?;
    Ok(row.used)
}

impl TryFrom<ForUseRow> for (Credential, bool) {
    type Error = Error;

    fn try_from(row: ForUseRow) -> Result<Self, Error> {
        let credential = CredentialRow {
            tenant_id: row.tenant_id,
            id: row.id,
            user_id: row.user_id,
            name: row.name,
            public_key: row.public_key,
            attestation_type: row.attestation_type,
            attestation_trust: row.attestation_trust,
            attestation_record: row.attestation_record,
            aaguid: row.aaguid,
            sign_count: row.sign_count,
            transports: row.transports,
            backup_eligible: row.backup_eligible,
            backup_state: row.backup_state,
            user_verified: row.user_verified,
            is_mfa: row.is_mfa,
            created_at: row.created_at,
            last_used_at: row.last_used_at,
        };
        Ok((credential.try_into()?, row.used))
    }
}
