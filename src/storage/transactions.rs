//! Transactions: what people are asked to confirm, and what they confirmed it with.

use super::{Error, Store};
use crate::domain::{
    AuditEvent, AuthenticationEvidence, Challenge, NewTransaction, TenantId, Timestamp, Transaction, TransactionRowId, UserId,
};

impl Store {
    /// Begins a transaction, or begins it again where it was refused, or its time was over at `transaction.created_at`; the row keeps its id and
    /// `created_at` then. With its audit event. `false`, and nothing written, when there is one of that name already: confirmed, or under way.
    pub async fn begin_transaction(&self, transaction: &NewTransaction, event: &AuditEvent) -> Result<bool, Error> {
        let _ = (transaction, event);
        Err(Error::Corrupt("not built yet".to_owned()))
    }

    /// The transaction that has this challenge, whatever became of it and whether in time or not.
    pub async fn transaction(&self, tenant: TenantId, challenge: &Challenge) -> Result<Option<Transaction>, Error> {
        let _ = (tenant, challenge);
        Err(Error::Corrupt("not built yet".to_owned()))
    }

    /// A user's transactions, the newest first, at most `limit`.
    pub async fn user_transactions(&self, tenant: TenantId, user: &UserId, limit: u32) -> Result<Vec<Transaction>, Error> {
        let _ = (tenant, user, limit);
        Err(Error::Corrupt("not built yet".to_owned()))
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
        let _ = (tenant, row, challenge, at, event);
        Err(Error::Corrupt("not built yet".to_owned()))
    }

    /// A tenant's confirmed transactions with their evidence, in the order of their rows' ids: at most `limit` of those after `after`.
    pub async fn transaction_evidence(
        &self,
        tenant: TenantId,
        after: Option<TransactionRowId>,
        limit: u32,
    ) -> Result<Vec<(Transaction, AuthenticationEvidence)>, Error> {
        let _ = (tenant, after, limit);
        Err(Error::Corrupt("not built yet".to_owned()))
    }
}
