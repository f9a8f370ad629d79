//! The commit of an authentication: the one place where a credential's use is written down.
//!
//! Either all of it happens (the challenge is used up, or the transaction confirmed with its evidence; the credential's record follows; the
//! audit event is stored) or none of it. Of several answers to one challenge, on whichever servers, exactly one is committed.

use super::{
    Backend, Error, Store, audit,
    conn::{Conn, Done},
    credentials::TABLE,
    rows::OrCorrupt,
    signing_keys, transactions, used_challenges,
};
use crate::domain::{AuditEvent, AuthenticationEvidence, Challenge, CredentialUse, KeyId, TenantId, Timestamp, TransactionRowId};

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
    /// Uses up what was answered, updates the credential and stores evidence and audit event, provided that `key` may still sign.
    ///
    /// Round trips on PostgreSQL: one. On [`Error::OutcomeUnknown`] the caller looks for `event` with [`Store::audit_event`].
    pub async fn commit_authentication(&self, unit: &AuthenticationUnit) -> Result<AuthenticationCommit, Error> {
        match &self.0 {
            #[cfg(feature = "sqlite")]
            Backend::Sqlite(db) => db.writer.write("authentication", unit.clone(), |tx, unit| Box::pin(step_by_step(tx, unit))).await,
            #[cfg(feature = "postgres")]
            Backend::Postgres(db) => {
                db.write_at_once("authentication", unit.clone(), |conn, unit| Box::pin(postgres::at_once(conn, unit))).await
            }
        }
    }
}

/// The unit of work where one writer works at a time: what it has read stays as it was.
#[cfg_attr(not(feature = "sqlite"), expect(dead_code, reason = "PostgreSQL has statements of its own, below"))]
async fn step_by_step(tx: &mut Conn<'_>, unit: &AuthenticationUnit) -> Result<Done<AuthenticationCommit>, Error> {
    if !use_up(tx, unit).await? {
        return Ok(Done::Undo(AuthenticationCommit::ChallengeGone));
    }
    if !signing_keys::is_active(tx, unit.tenant_id, unit.key).await? {
        return Ok(Done::Undo(AuthenticationCommit::KeyNotActive));
    }
    let used = &unit.used;
    let Some(stored) = sign_count(tx, unit.tenant_id, used).await? else {
        return Ok(Done::Undo(AuthenticationCommit::CredentialGone));
    };
    // WebAuthn L3 section 7.2 step 22: a counter counts once either side has one that is not zero.
    let cloned = (used.sign_count != 0 || stored != 0) && used.sign_count <= stored;
    if cloned && used.refuse_clone {
        return Ok(Done::Undo(AuthenticationCommit::CloneRefused));
    }
    update(tx, unit.tenant_id, used).await?;
    audit::insert(tx, &unit.event).await?;
    if cloned {
        audit::insert(tx, &unit.clone_event).await?;
    }
    Ok(Done::Keep(AuthenticationCommit::Committed))
}

async fn use_up(tx: &mut Conn<'_>, unit: &AuthenticationUnit) -> Result<bool, Error> {
    match &unit.answered {
        Answered::Challenge { challenge, expires_at } => used_challenges::insert(tx, unit.tenant_id, challenge, *expires_at).await,
        Answered::Transaction { row, challenge, evidence } => {
            let confirmed = transactions::confirm(tx, unit.tenant_id, *row, challenge, unit.used.at).await?;
            if confirmed {
                transactions::insert_evidence(tx, *row, evidence, &unit.event, unit.used.at).await?;
            }
            Ok(confirmed)
        }
    }
}

/// The counter as it is stored; `None` when the credential is gone.
async fn sign_count(tx: &mut Conn<'_>, tenant: TenantId, used: &CredentialUse) -> Result<Option<u32>, Error> {
    struct Row {
        sign_count: i64,
    }
    let row = query!(
        tx,
        fetch_optional,
        Row,
        "SELECT sign_count FROM credentials WHERE tenant_id = $1 AND id = $2",
        tenant.as_uuid(),
        used.credential.as_bytes()
    )?;
    row.map(|row| row.sign_count.try_into().or_corrupt(TABLE, &used.credential)).transpose()
}

/// Neither the counter nor the time of the last use ever goes back, and nothing is backed up that cannot be.
async fn update(tx: &mut Conn<'_>, tenant: TenantId, used: &CredentialUse) -> Result<(), Error> {
    execute!(
        tx,
        "UPDATE credentials SET sign_count = CASE WHEN sign_count > $3 THEN sign_count ELSE $3 END, backup_state = backup_eligible AND $4,
            last_used_at = CASE WHEN last_used_at > $5 THEN last_used_at ELSE $5 END
        WHERE tenant_id = $1 AND id = $2",
        tenant.as_uuid(),
        used.credential.as_bytes(),
        i64::from(used.sign_count),
        used.backup_state,
        used.at.as_millis()
    )?;
    Ok(())
}

#[cfg(feature = "postgres")]
mod postgres {
    //! PostgreSQL's own statements: the same steps in one round trip.

    use sqlx::PgConnection;

    use super::{Answered, AuthenticationCommit, AuthenticationUnit, Done, Error};
    use crate::{
        domain::{Challenge, CredentialId, TenantId, UserId},
        storage::{
            conn::{Conn, bounded_commit},
            rows::text,
            used_challenges,
        },
    };

    #[expect(clippy::struct_excessive_bools, reason = "which of the statement's parts found or wrote a row")]
    struct Found {
        unanswered: bool,
        signer: bool,
        credential: bool,
        allowed: bool,
        answered: bool,
    }

    /// All parts of a statement see the same snapshot, and only what `RETURNING` gives tells one what another did; but a row that is locked
    /// is the newest, whatever the snapshot. So `credential` locks the row, after whoever uses it at this instant, and judges the counter that
    /// they left; each later part acts only if the one before it did. `signer` takes no lock, for the reason given where registrations are
    /// committed.
    ///
    /// `$unanswered` selects a row if the answer is the first as far as can be told; `$answered` makes it so and returns a row, for exactly one
    /// of those who try at once. Their own arguments come after `$30`.
    macro_rules! at_once {
        ($conn:expr, $unit:expr, $challenge:expr, $unanswered:literal, $answered:literal $(, $arg:expr)+ $(,)?) => {{
            let (unit, used, e, c) = ($unit, &$unit.used, &$unit.event, &$unit.clone_event);
            let statement = sqlx::query_as!(
                Found,
                "WITH unanswered AS (" + $unanswered + "), signer AS (
                    SELECT 1 FROM signing_keys WHERE tenant_id = $1 AND id = $3 AND state = 'active'
                        AND NOT EXISTS (SELECT FROM tenants WHERE id = $1 AND deleted_at IS NOT NULL)
                ), credential AS (
                    SELECT (CAST($5 AS bigint) <> 0 OR sign_count <> 0) AND $5 <= sign_count AS cloned FROM credentials
                    WHERE tenant_id = $1 AND id = $4 AND EXISTS (SELECT FROM unanswered) AND EXISTS (SELECT FROM signer)
                    FOR UPDATE
                ), allowed AS (
                    SELECT cloned FROM credential WHERE NOT (cloned AND $6)
                ), answered AS (" + $answered + "), used AS (
                    UPDATE credentials SET sign_count = CASE WHEN sign_count > $5 THEN sign_count ELSE $5 END,
                        backup_state = backup_eligible AND $7, last_used_at = CASE WHEN last_used_at > $8 THEN last_used_at ELSE $8 END
                    WHERE tenant_id = $1 AND id = $4 AND EXISTS (SELECT FROM answered)
                ), event AS (
                    INSERT INTO audit_events (id, tenant_id, event_type, error, request_id, source_ip, user_agent, actor_user_id,
                        credential_id, transaction_id, created_at)
                    SELECT $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19 WHERE EXISTS (SELECT FROM answered)
                ), clone_event AS (
                    INSERT INTO audit_events (id, tenant_id, event_type, error, request_id, source_ip, user_agent, actor_user_id,
                        credential_id, transaction_id, created_at)
                    SELECT $20, $21, $22, $23, $24, $25, $26, $27, $28, $29, $30
                    WHERE EXISTS (SELECT FROM answered) AND EXISTS (SELECT FROM allowed WHERE cloned)
                )
                SELECT EXISTS (SELECT FROM unanswered) AS \"unanswered!\", EXISTS (SELECT FROM signer) AS \"signer!\",
                    EXISTS (SELECT FROM credential) AS \"credential!\", EXISTS (SELECT FROM allowed) AS \"allowed!\",
                    EXISTS (SELECT FROM answered) AS \"answered!\"",
                unit.tenant_id.as_uuid(),
                $challenge.as_bytes(),
                unit.key.as_uuid(),
                used.credential.as_bytes(),
                i64::from(used.sign_count),
                used.refuse_clone,
                used.backup_state,
                used.at.as_millis(),
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
                c.id.as_uuid(),
                c.tenant_id.as_uuid(),
                c.event_type.as_str(),
                c.error.as_deref().map(text),
                text(&c.meta.request_id),
                text(&c.meta.source_ip),
                text(&c.meta.user_agent),
                c.actor_user_id.as_ref().map(UserId::as_str),
                c.credential_id.as_ref().map(CredentialId::as_bytes),
                c.transaction_id.as_deref().map(text),
                c.created_at.as_millis(),
                $($arg),+
            );
            bounded_commit(statement.fetch_one($conn)).await?
        }};
    }

    pub(super) async fn at_once(conn: &mut PgConnection, unit: &AuthenticationUnit) -> Result<Done<AuthenticationCommit>, Error> {
        match &unit.answered {
            Answered::Challenge { challenge, expires_at } => {
                // Whoever inserts what another is inserting waits for that one, and then does nothing.
                let found = at_once!(
                    &mut *conn,
                    unit,
                    challenge,
                    "SELECT 1 WHERE NOT EXISTS (SELECT FROM used_challenges WHERE tenant_id = $1 AND challenge = $2)",
                    "INSERT INTO used_challenges (tenant_id, challenge, expires_at) SELECT $1, $2, $31 WHERE EXISTS (SELECT FROM allowed)
                    ON CONFLICT (tenant_id, challenge) DO NOTHING RETURNING 1",
                    expires_at.as_millis(),
                );
                first_reason(conn, unit.tenant_id, challenge, outcome(&found)).await
            }
            Answered::Transaction { row, challenge, evidence } => {
                let found = at_once!(
                    conn,
                    unit,
                    challenge,
                    "SELECT 1 FROM transactions WHERE tenant_id = $1 AND id = $31 AND challenge = $2 AND state = 'pending' FOR UPDATE",
                    "UPDATE transactions SET state = 'confirmed', updated_at = $8
                    WHERE tenant_id = $1 AND id = $31 AND EXISTS (SELECT FROM allowed) RETURNING 1
                ), evidence AS (
                    INSERT INTO transaction_evidence (transaction_id, credential_id, public_key, sign_count, backup_eligible, rp_id,
                        client_data_json, authenticator_data, signature, token_id, confirmed_at)
                    SELECT $31, $32, $33, $34, $35, $36, $37, $38, $39, $9, $8 WHERE EXISTS (SELECT FROM answered)",
                    row.as_uuid(),
                    evidence.credential_id.as_bytes(),
                    evidence.public_key.as_slice(),
                    i64::from(evidence.sign_count),
                    evidence.backup_eligible,
                    text(&evidence.rp_id),
                    evidence.client_data_json.as_slice(),
                    evidence.authenticator_data.as_slice(),
                    evidence.signature.as_slice(),
                );
                Ok(outcome(&found))
            }
        }
    }

    fn outcome(found: &Found) -> Done<AuthenticationCommit> {
        match found {
            Found { answered: true, .. } => Done::Keep(AuthenticationCommit::Committed),
            Found { unanswered: false, .. } => Done::Undo(AuthenticationCommit::ChallengeGone),
            Found { signer: false, .. } => Done::Undo(AuthenticationCommit::KeyNotActive),
            Found { credential: false, .. } => Done::Undo(AuthenticationCommit::CredentialGone),
            Found { allowed: false, .. } => Done::Undo(AuthenticationCommit::CloneRefused),
            Found { .. } => Done::Undo(AuthenticationCommit::ChallengeGone),
        }
    }

    /// A second answer that came while the first was being committed waited for the credential and found the first one's counter, which looks
    /// like a clone, while its snapshot shows the challenge as it was. A new one shows which of the two it is.
    async fn first_reason(
        conn: &mut PgConnection,
        tenant: TenantId,
        challenge: &Challenge,
        outcome: Done<AuthenticationCommit>,
    ) -> Result<Done<AuthenticationCommit>, Error> {
        match outcome {
            Done::Undo(reason)
                if reason != AuthenticationCommit::ChallengeGone
                    && used_challenges::is_used(&mut Conn::Postgres(conn), tenant, challenge).await? =>
            {
                Ok(Done::Undo(AuthenticationCommit::ChallengeGone))
            }
            outcome => Ok(outcome),
        }
    }
}
