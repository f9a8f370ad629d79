//! Transactions: a passkey confirms what its user is shown.

use super::{Audit, Context, Error, JwtToken, Tokens};
use crate::{
    domain::{RequestMeta, Tenant, Transaction, TransactionData, TransactionId, UserId},
    webauthn::{AuthenticationCredential, RequestOptions},
};

/// What is to be confirmed, and by whom.
#[derive(Debug)]
pub struct BeginTransaction {
    /// Who is asked.
    pub user_id: UserId,
    /// The application's name for it.
    pub id: TransactionId,
    /// What is asked.
    pub data: TransactionData,
}

/// The use cases of transactions.
#[derive(Clone, Debug)]
#[expect(dead_code, reason = "not built yet")]
pub struct Transactions {
    context: Context,
    tokens: Tokens,
    audit: Audit,
}

impl Transactions {
    pub(super) fn new(context: Context, tokens: Tokens, audit: Audit) -> Self {
        Self { context, tokens, audit }
    }

    /// Begins a transaction, or begins it again where it was refused or ran out of its time.
    pub async fn initialize(&self, tenant: &Tenant, request: BeginTransaction, meta: &RequestMeta) -> Result<RequestOptions, Error> {
        let _ = (tenant, request, meta);
        Err(Error::Internal("not built yet".to_owned(), None))
    }

    /// Ends a transaction: verifies the assertion, stores it with the data that it confirms, and returns the token that says so.
    pub async fn finalize(&self, tenant: &Tenant, credential: &AuthenticationCredential, meta: &RequestMeta) -> Result<JwtToken, Error> {
        let _ = (tenant, credential, meta);
        Err(Error::Internal("not built yet".to_owned(), None))
    }

    /// A user's transactions, the newest first.
    pub async fn of_user(&self, tenant: &Tenant, user: &UserId) -> Result<Vec<Transaction>, Error> {
        let _ = (tenant, user);
        Err(Error::Internal("not built yet".to_owned(), None))
    }
}
