//! The commit of a registration: the one place where a credential comes to be.
//!
//! Either all of it happens (the ceremony is consumed; the credential, its evidence and its audit event are stored) or none of it. Two answers to one
//! ceremony, or one credential offered to two ceremonies, may arrive at the same instant on different servers: exactly one of them is
//! committed.

use super::{
    Backend, Error, Store, audit, ceremonies,
    conn::{Conn, Done},
    credentials, evidence, signing_keys,
};
use crate::domain::{AuditEvent, Ceremony, KeyId, NewCredential};

/// What came of a registration's commit. Only [`Committed`](Self::Committed) wrote anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RegistrationCommit {
    /// The ceremony is consumed, the credential and the event are stored.
    Committed,
    /// The ceremony was consumed by another answer, or swept.
    CeremonyGone,
    /// The tenant has a credential with this id.
    CredentialExists,
    /// The key that signed the token is not the tenant's active key any more: sign again with the one that is.
    KeyNotActive,
}

struct Registration {
    ceremony: Ceremony,
    credential: NewCredential,
    key: KeyId,
    event: AuditEvent,
}

impl Store {
    /// Consumes the ceremony and stores the credential with its evidence and its audit event, provided that `key` may still sign.
    ///
    /// Round trips on PostgreSQL: one. Serialization failures are tried again here. On [`Error::OutcomeUnknown`] the caller looks for
    /// `event` with [`Store::audit_event`].
    pub async fn commit_registration(
        &self,
        ceremony: &Ceremony,
        credential: &NewCredential,
        key: KeyId,
        event: &AuditEvent,
    ) -> Result<RegistrationCommit, Error> {
        let data = Registration { ceremony: ceremony.clone(), credential: credential.clone(), key, event: event.clone() };
        match &self.0 {
            #[cfg(feature = "sqlite")]
            Backend::Sqlite(db) => db.writer.write("registration", data, |tx, data| Box::pin(step_by_step(tx, data))).await,
            #[cfg(feature = "postgres")]
            Backend::Postgres(db) => db.write_at_once("registration", data, |conn, data| Box::pin(postgres::at_once(conn, data))).await,
        }
    }
}

/// The unit of work in the words of both engines.
#[cfg_attr(not(feature = "sqlite"), expect(dead_code, reason = "PostgreSQL has a statement of its own, below"))]
async fn step_by_step(tx: &mut Conn<'_>, r: &Registration) -> Result<Done<RegistrationCommit>, Error> {
    if !ceremonies::delete(tx, &r.ceremony).await? {
        return Ok(Done::Undo(RegistrationCommit::CeremonyGone));
    }
    if !signing_keys::is_active(tx, r.ceremony.tenant_id, r.key).await? {
        return Ok(Done::Undo(RegistrationCommit::KeyNotActive));
    }
    if !credentials::insert(tx, &r.credential).await? {
        return Ok(Done::Undo(RegistrationCommit::CredentialExists));
    }
    evidence::insert(tx, &r.credential).await?;
    audit::insert(tx, &r.event).await?;
    Ok(Done::Keep(RegistrationCommit::Committed))
}

#[cfg(feature = "postgres")]
mod postgres {
    //! The one statement that is PostgreSQL's own: the same steps in one round trip instead of seven (BEGIN, five statements, COMMIT).

    use sqlx::PgConnection;

    use super::{Done, Error, Registration, RegistrationCommit};
    use crate::{
        domain::{CredentialId, UserId},
        storage::{
            conn::bounded_commit,
            credentials::TABLE,
            rows::{text, to_json},
        },
    };

    struct Found {
        ceremony: bool,
        signer: bool,
        credential: bool,
    }

    /// All parts of the statement see the same snapshot, and only what `RETURNING` gives tells one what another did. So `ceremony` locks
    /// the row (whoever comes second waits, and then finds it gone), and each later part acts only if the one before it did: the
    /// credential decides, the rest follows it. `signer` takes no lock: a key that ceases to sign at this instant might as well have done
    /// so just after it, and whoever retires keys waits longer than that.
    pub(super) async fn at_once(conn: &mut PgConnection, r: &Registration) -> Result<Done<RegistrationCommit>, Error> {
        let (c, n, e) = (&r.ceremony, &r.credential, &r.event);
        let statement = sqlx::query_as!(
            Found,
            r#"WITH ceremony AS (
                SELECT 1 FROM ceremonies WHERE tenant_id = $1 AND operation = $2 AND challenge = $3 FOR UPDATE
            ), signer AS (
                SELECT 1 FROM signing_keys WHERE tenant_id = $1 AND id = $4 AND state = 'active'
                    AND NOT EXISTS (SELECT FROM tenants WHERE id = $1 AND deleted_at IS NOT NULL)
            ), credential AS (
                INSERT INTO credentials (tenant_id, id, user_id, name, public_key, attestation_type, attestation_trust, attestation_record,
                    aaguid, sign_count, transports, backup_eligible, backup_state, user_verified, is_mfa, created_at, last_used_at)
                SELECT $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $20
                WHERE EXISTS (SELECT FROM ceremony) AND EXISTS (SELECT FROM signer)
                ON CONFLICT (tenant_id, id) DO NOTHING
                RETURNING 1
            ), evidence AS (
                INSERT INTO credential_evidence (tenant_id, credential_id, rp_id, client_data_json, attestation_object)
                SELECT $5, $6, $21, $22, $23 WHERE CAST($21 AS text) IS NOT NULL AND EXISTS (SELECT FROM credential)
            ), consumed AS (
                DELETE FROM ceremonies WHERE tenant_id = $1 AND operation = $2 AND challenge = $3 AND EXISTS (SELECT FROM credential)
            ), event AS (
                INSERT INTO audit_events (id, tenant_id, event_type, error, request_id, source_ip, user_agent, actor_user_id, credential_id,
                    transaction_id, created_at)
                SELECT $24, $25, $26, $27, $28, $29, $30, $31, $32, $33, $34 WHERE EXISTS (SELECT FROM credential)
            )
            SELECT EXISTS (SELECT FROM ceremony) AS "ceremony!", EXISTS (SELECT FROM signer) AS "signer!",
                EXISTS (SELECT FROM credential) AS "credential!""#,
            c.tenant_id.as_uuid(),
            c.operation.as_str(),
            c.challenge.as_bytes(),
            r.key.as_uuid(),
            n.tenant_id.as_uuid(),
            n.id.as_bytes(),
            n.user_id.as_str(),
            n.name.as_deref().map(text),
            n.public_key.as_slice(),
            text(&n.attestation_type),
            n.attestation.trust.as_str(),
            to_json(&n.attestation, TABLE, &n.id)?,
            n.aaguid.as_uuid(),
            i64::from(n.sign_count),
            to_json(&n.transports, TABLE, &n.id)?,
            n.backup.eligible,
            n.backup.state,
            n.user_verified,
            n.is_mfa,
            n.created_at.as_millis(),
            n.evidence.as_ref().map(|e| text(&e.rp_id)),
            n.evidence.as_ref().map(|e| e.client_data_json.as_slice()),
            n.evidence.as_ref().map(|e| e.attestation_object.as_slice()),
            e.id.as_uuid(),
            e.tenant_id.as_uuid(),
            e.event_type.as_str(),
            e.error.as_deref().map(text),
            text(&e.meta.request_id),
            text(&e.meta.source_ip),
            text(&e.meta.user_agent),
            e.actor_user_id.as_ref().map(UserId::as_str),
            e.credential_id.as_ref().map(CredentialId::as_bytes),
            e.transaction_id.as_deref().map(text),
            e.created_at.as_millis(),
        );
        let found = bounded_commit(statement.fetch_one(conn)).await?;
        Ok(match found {
            Found { credential: true, .. } => Done::Keep(RegistrationCommit::Committed),
            Found { ceremony: false, .. } => Done::Undo(RegistrationCommit::CeremonyGone),
            Found { signer: false, .. } => Done::Undo(RegistrationCommit::KeyNotActive),
            Found { .. } => Done::Undo(RegistrationCommit::CredentialExists),
        })
    }
}
