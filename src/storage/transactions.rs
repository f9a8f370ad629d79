//! Transactions: what people are asked to confirm, and what they confirmed it with.

use sqlx::types::Uuid;

use super::{
    Error, Store, audit,
    conn::{Conn, Done},
    rows::{OrCorrupt, corrupt, text},
};
use crate::domain::{
    AuditEvent, AuditEventId, AuthenticationEvidence, Challenge, Confirmation, CredentialId, NewTransaction, TenantId, Timestamp,
    Transaction, TransactionData, TransactionRowId, TransactionState, UserId,
};

const TABLE: &str = "transactions";

struct TransactionRow {
    id: Uuid,
    identifier: String,
    user_id: String,
    data: String,
    state: String,
    challenge: Vec<u8>,
    user_verification: String,
    expires_at: i64,
    created_at: i64,
    updated_at: i64,
    /// These three are its evidence's.
    credential_id: Option<Vec<u8>>,
    token_id: Option<Uuid>,
    confirmed_at: Option<i64>,
}

/// A confirmed transaction's columns, and its evidence's.
struct WholeRow {
    id: Uuid,
    identifier: String,
    user_id: String,
    data: String,
    state: String,
    challenge: Vec<u8>,
    user_verification: String,
    expires_at: i64,
    created_at: i64,
    updated_at: i64,
    credential_id: Vec<u8>,
    public_key: Vec<u8>,
    sign_count: i64,
    backup_eligible: bool,
    rp_id: String,
    client_data_json: Vec<u8>,
    authenticator_data: Vec<u8>,
    signature: Vec<u8>,
    token_id: Uuid,
    confirmed_at: i64,
}

macro_rules! select_transactions {
    ($conn:expr, $fetch:ident, $rest:literal $(, $arg:expr)*) => {
        query!(
            $conn, $fetch, TransactionRow,
            r#"SELECT t.id AS "id: Uuid", t.identifier, t.user_id, t.data, t.state, t.challenge, t.user_verification, t.expires_at,
                t.created_at, t.updated_at, e.credential_id AS "credential_id?", e.token_id AS "token_id?: Uuid",
                e.confirmed_at AS "confirmed_at?"
            FROM transactions t LEFT JOIN transaction_evidence e ON e.transaction_id = t.id "# + $rest $(, $arg)*
        )
    };
}

impl Store {
    /// Begins a transaction, or begins it again where it was refused, or its time was over at `transaction.created_at`; the row keeps its id and
    /// `created_at` then. With its audit event. `false`, and nothing written, when there is one of that name already: confirmed, or under way.
    pub async fn begin_transaction(&self, transaction: &NewTransaction, event: &AuditEvent) -> Result<bool, Error> {
        self.write("begin_transaction", (transaction.clone(), event.clone()), |tx, (transaction, event)| {
            Box::pin(async move {
                if !begin(tx, transaction).await? {
                    return Ok(Done::Undo(false));
                }
                audit::insert(tx, event).await?;
                Ok(Done::Keep(true))
            })
        })
        .await
    }

    /// The transaction that has this challenge, whatever became of it and whether in time or not.
    pub async fn transaction(&self, tenant: TenantId, challenge: &Challenge) -> Result<Option<Transaction>, Error> {
        let row = select_transactions!(
            self.reader().await?,
            fetch_optional,
            "WHERE t.tenant_id = $1 AND t.challenge = $2",
            tenant.as_uuid(),
            challenge.as_bytes()
        )?;
        row.map(|row| row.into_transaction(tenant)).transpose()
    }

    /// A user's transactions, the newest first: at most `limit`, and of these as many as have not more than `size` characters of data in all.
    pub async fn user_transactions(&self, tenant: TenantId, user: &UserId, limit: u32, size: u32) -> Result<Vec<Transaction>, Error> {
        let rows = select_transactions!(
            self.reader().await?,
            fetch_all,
            "WHERE t.id IN (
                SELECT id FROM (
                    SELECT id, SUM(length(data)) OVER (ORDER BY created_at DESC, id DESC ROWS UNBOUNDED PRECEDING) AS size FROM transactions
                    WHERE tenant_id = $1 AND user_id = $2 ORDER BY created_at DESC, id DESC LIMIT $3
                ) AS newest WHERE size <= $4
            ) ORDER BY t.created_at DESC, t.id DESC",
            tenant.as_uuid(),
            user.as_str(),
            i64::from(limit),
            i64::from(size)
        )?;
        rows.into_iter().map(|row| row.into_transaction(tenant)).collect()
    }

    /// Marks a pending transaction as refused if it still has this challenge, with the audit event. `false` when it was not; the event is
    /// stored all the same.
    pub async fn refuse_transaction(
        &self,
        tenant: TenantId,
        row: TransactionRowId,
        challenge: &Challenge,
        at: Timestamp,
        event: &AuditEvent,
    ) -> Result<bool, Error> {
        let data = (tenant, row, challenge.clone(), at, event.clone());
        self.write("refusal", data, |tx, (tenant, row, challenge, at, event)| {
            Box::pin(async move {
                let refused = settle(tx, *tenant, *row, challenge, TransactionState::Refused, *at).await?;
                audit::insert(tx, event).await?;
                Ok(Done::Keep(refused))
            })
        })
        .await
    }

    /// A tenant's confirmed transactions with their evidence, in the order of their rows' ids: at most `limit` of those after `after`.
    pub async fn transaction_evidence(
        &self,
        tenant: TenantId,
        after: Option<TransactionRowId>,
        limit: u32,
    ) -> Result<Vec<(Transaction, AuthenticationEvidence)>, Error> {
        let rows = query!(
            self.reader().await?,
            fetch_all,
            WholeRow,
            r#"SELECT t.id AS "id: Uuid", t.identifier, t.user_id, t.data, t.state, t.challenge, t.user_verification, t.expires_at,
                t.created_at, t.updated_at, e.credential_id, e.public_key, e.sign_count, e.backup_eligible AS "backup_eligible: bool",
                e.rp_id, e.client_data_json, e.authenticator_data, e.signature, e.token_id AS "token_id: Uuid", e.confirmed_at
            FROM transactions t JOIN transaction_evidence e ON e.transaction_id = t.id
            WHERE t.tenant_id = $1 AND t.id > $2 ORDER BY t.id LIMIT $3"#,
            tenant.as_uuid(),
            // No row's id is all zero: every one comes after that.
            after.map_or_else(Uuid::nil, TransactionRowId::as_uuid),
            i64::from(limit)
        )?;
        rows.into_iter().map(|row| row.into_pair(tenant)).collect()
    }
}

async fn begin(tx: &mut Conn<'_>, t: &NewTransaction) -> Result<bool, Error> {
    let written = execute!(
        tx,
        "INSERT INTO transactions (id, tenant_id, identifier, user_id, data, state, challenge, user_verification, expires_at, created_at,
            updated_at)
        VALUES ($1, $2, $3, $4, $5, 'pending', $6, $7, $8, $9, $9)
        ON CONFLICT (tenant_id, identifier) DO UPDATE
        SET user_id = excluded.user_id, data = excluded.data, state = excluded.state, challenge = excluded.challenge,
            user_verification = excluded.user_verification, expires_at = excluded.expires_at, updated_at = excluded.updated_at
        WHERE transactions.state = 'refused' OR (transactions.state = 'pending' AND transactions.expires_at <= excluded.created_at)",
        t.row.as_uuid(),
        t.tenant_id.as_uuid(),
        t.id.as_str(),
        t.user_id.as_str(),
        t.data.as_str(),
        t.challenge.as_bytes(),
        t.user_verification.as_str(),
        t.expires_at.as_millis(),
        t.created_at.as_millis()
    )?;
    Ok(written == 1)
}

/// Confirms a pending transaction within a unit of work, if it still has this challenge: `true` for exactly one of those who try.
pub(super) async fn confirm(
    tx: &mut Conn<'_>,
    tenant: TenantId,
    row: TransactionRowId,
    challenge: &Challenge,
    at: Timestamp,
) -> Result<bool, Error> {
    settle(tx, tenant, row, challenge, TransactionState::Confirmed, at).await
}

async fn settle(
    tx: &mut Conn<'_>,
    tenant: TenantId,
    row: TransactionRowId,
    challenge: &Challenge,
    state: TransactionState,
    at: Timestamp,
) -> Result<bool, Error> {
    let updated = execute!(
        tx,
        "UPDATE transactions SET state = $1, updated_at = $2 WHERE tenant_id = $3 AND id = $4 AND challenge = $5 AND state = 'pending'",
        state.as_str(),
        at.as_millis(),
        tenant.as_uuid(),
        row.as_uuid(),
        challenge.as_bytes()
    )?;
    Ok(updated == 1)
}

/// Adds a transaction's evidence within the unit of work that confirms it; `event` is that of the token.
pub(super) async fn insert_evidence(
    tx: &mut Conn<'_>,
    row: TransactionRowId,
    evidence: &AuthenticationEvidence,
    event: &AuditEvent,
    at: Timestamp,
) -> Result<(), Error> {
    execute!(
        tx,
        "INSERT INTO transaction_evidence (transaction_id, credential_id, public_key, sign_count, backup_eligible, rp_id, client_data_json,
            authenticator_data, signature, token_id, confirmed_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        row.as_uuid(),
        evidence.credential_id.as_bytes(),
        evidence.public_key.as_slice(),
        i64::from(evidence.sign_count),
        evidence.backup_eligible,
        text(&evidence.rp_id),
        evidence.client_data_json.as_slice(),
        evidence.authenticator_data.as_slice(),
        evidence.signature.as_slice(),
        event.id.as_uuid(),
        at.as_millis()
    )?;
    Ok(())
}

impl TransactionRow {
    fn into_transaction(self, tenant_id: TenantId) -> Result<Transaction, Error> {
        let id = self.id;
        let data = TransactionData::from_json(self.data.as_bytes()).or_corrupt(TABLE, &id)?;
        if data.as_str() != self.data {
            return Err(corrupt(TABLE, &id, "its data are not in the form that is hashed"));
        }
        let state = self.state.parse().or_corrupt(TABLE, &id)?;
        let confirmation = match (state, self.credential_id, self.token_id, self.confirmed_at) {
            (TransactionState::Confirmed, Some(credential), Some(token_id), Some(at)) => Some(Confirmation {
                credential_id: CredentialId::try_from(credential.as_slice()).or_corrupt(TABLE, &id)?,
                token_id: AuditEventId::from_uuid(token_id),
                at: Timestamp::from_millis(at),
            }),
            (TransactionState::Pending | TransactionState::Refused, None, None, None) => None,
            _ => return Err(corrupt(TABLE, &id, "it has evidence if and only if it is confirmed")),
        };
        Ok(Transaction {
            begun: NewTransaction {
                row: TransactionRowId::from_uuid(id),
                tenant_id,
                id: self.identifier.parse().or_corrupt(TABLE, &id)?,
                user_id: self.user_id.parse().or_corrupt(TABLE, &id)?,
                data,
                challenge: Challenge::from_bytes(&self.challenge),
                user_verification: self.user_verification.parse().or_corrupt(TABLE, &id)?,
                created_at: Timestamp::from_millis(self.created_at),
                expires_at: Timestamp::from_millis(self.expires_at),
            },
            state,
            updated_at: Timestamp::from_millis(self.updated_at),
            confirmation,
        })
    }
}

impl WholeRow {
    fn into_pair(self, tenant_id: TenantId) -> Result<(Transaction, AuthenticationEvidence), Error> {
        let evidence = AuthenticationEvidence {
            credential_id: CredentialId::try_from(self.credential_id.as_slice()).or_corrupt("transaction_evidence", &self.id)?,
            public_key: self.public_key,
            sign_count: self.sign_count.try_into().or_corrupt("transaction_evidence", &self.id)?,
            backup_eligible: self.backup_eligible,
            rp_id: self.rp_id,
            client_data_json: self.client_data_json,
            authenticator_data: self.authenticator_data,
            signature: self.signature,
        };
        let transaction = TransactionRow {
            id: self.id,
            identifier: self.identifier,
            user_id: self.user_id,
            data: self.data,
            state: self.state,
            challenge: self.challenge,
            user_verification: self.user_verification,
            expires_at: self.expires_at,
            created_at: self.created_at,
            updated_at: self.updated_at,
            credential_id: Some(self.credential_id),
            token_id: Some(self.token_id),
            confirmed_at: Some(self.confirmed_at),
        };
        Ok((transaction.into_transaction(tenant_id)?, evidence))
    }
}
