//! Transactions: a passkey confirms what its user is shown.

use super::{
    Audit, Context, Error, JwtToken, Tokens,
    assertion::{Asked, Assertions, By, NotJudged, descriptors},
    flight::Flights,
    vouching::settle,
};
use crate::{
    domain::{
        AuditEvent, Challenge, NewTransaction, Operation, RequestMeta, Tenant, Transaction, TransactionData, TransactionId,
        TransactionRowId, TransactionState, UserId,
    },
    failpoint,
    webauthn::{self, AssertionRequest, AuthenticationCredential, CredentialDescriptor, RequestOptions},
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

/// How many of a user's transactions are listed at most, and how many characters of data with them: the contract's list has no pages, and one
/// tenant's must not take the memory of all.
const MAX_LISTED: u32 = 1000;
const MAX_LISTED_CHARS: u32 = 4 << 20;

/// The use cases of transactions.
#[derive(Clone, Debug)]
pub struct Transactions {
    context: Context,
    audit: Audit,
    assertions: Assertions,
    flights: Flights,
}

impl Transactions {
    pub(super) fn new(context: Context, tokens: Tokens, audit: Audit) -> Self {
        let assertions = Assertions::new(context.clone(), tokens, audit.clone());
        Self { context, audit, assertions, flights: Flights::default() }
    }

    /// Begins a transaction, or begins it again where it was refused or ran out of its time.
    ///
    /// # Errors
    /// [`Error::UserNotFound`]; [`Error::NoCredentials`] where the user has no passkey, whatever second factors there are;
    /// [`Error::TransactionExists`]. All are recorded.
    pub async fn initialize(&self, tenant: &Tenant, request: BeginTransaction, meta: &RequestMeta) -> Result<RequestOptions, Error> {
        let config = tenant.ceremony_config(Operation::Transaction);
        let allow = self.allowed(tenant, &request, meta).await?;
        let now = self.context.clock.now();
        let transaction = NewTransaction {
            row: TransactionRowId::random(&*self.context.rng),
            tenant_id: tenant.id,
            challenge: Challenge::for_transaction(&*self.context.rng, &request.id, &request.data),
            id: request.id,
            user_id: request.user_id,
            data: request.data,
            user_verification: config.user_verification,
            created_at: now,
            expires_at: now + config.timeout,
        };
        let event = AuditEvent {
            transaction_id: Some(transaction.id.to_string()),
            ..self.audit.event(tenant.id, Operation::Transaction.events().init_succeeded, meta, Some(&transaction.user_id))
        };
        let begun = self.context.store.begin_transaction(&transaction, &event).await;
        if !settle(&self.context, &event, begun, || true).await? {
            return Err(self.not_begun(tenant, &transaction.id, &transaction.user_id, Error::TransactionExists, meta).await);
        }
        Ok(webauthn::request_options(&AssertionRequest {
            challenge: &transaction.challenge,
            timeout: config.timeout,
            rp_id: &tenant.config.webauthn.relying_party.id,
            allow,
            user_verification: config.user_verification,
            hints: &tenant.settings.hints,
        }))
    }

    /// Ends a transaction: verifies the assertion, stores it with the data that it confirms, and returns the token that says so.
    ///
    /// 1. Equal requests take turns. 2. The transaction is read by its challenge; it must be pending, and in time. 3. The credential must be
    ///    a passkey of its user. Up to here nothing is used up. 4. Room to sign is asked for before the verification work. 5. The assertion
    ///    is verified; a refusal marks the transaction as refused. 6. The token is signed with the tenant's active key. 7. One transaction
    ///    of the database confirms this one, stores the evidence, and writes the credential's use and the audit event down. 8. The token is
    ///    released.
    ///
    /// Whatever fails on our side before the commit changes nothing.
    pub async fn finalize(&self, tenant: &Tenant, credential: &AuthenticationCredential, meta: &RequestMeta) -> Result<JwtToken, Error> {
        let challenge = credential.challenge();
        let _turn = self.flights.enter(tenant.id, challenge.clone()).await;
        let transaction = self.context.store.transaction(tenant.id, &challenge).await?;
        let name = transaction.as_ref().map(|transaction| transaction.begun.id.to_string());
        let asked = match self.asked(tenant, transaction, credential).await {
            Ok(asked) => asked,
            Err(why) => {
                return Err(self.assertions.not_judged(tenant, Operation::Transaction, credential, name, meta, why).await);
            }
        };
        failpoint::hit("finalize.ceremony_read");
        self.assertions.answer(&asked, credential, meta).await
    }

    /// A user's transactions, the newest first; the latest [`MAX_LISTED`] of them, or as many as have [`MAX_LISTED_CHARS`] of data.
    pub async fn of_user(&self, tenant: &Tenant, user: &UserId) -> Result<Vec<Transaction>, Error> {
        Ok(self.context.store.user_transactions(tenant.id, user, MAX_LISTED, MAX_LISTED_CHARS).await?)
    }

    /// The passkeys of the user who is asked.
    async fn allowed(&self, tenant: &Tenant, request: &BeginTransaction, meta: &RequestMeta) -> Result<Vec<CredentialDescriptor>, Error> {
        let (store, user) = (&self.context.store, &request.user_id);
        let credentials = store.user_credentials(tenant.id, user, false).await?;
        if !credentials.is_empty() {
            return Ok(descriptors(credentials));
        }
        let refusal = if store.user(tenant.id, user).await?.is_some() { Error::NoCredentials } else { Error::UserNotFound };
        Err(self.not_begun(tenant, &request.id, user, refusal, meta).await)
    }

    /// Records why a transaction was not begun, and gives it back.
    async fn not_begun(&self, tenant: &Tenant, id: &TransactionId, user: &UserId, refusal: Error, meta: &RequestMeta) -> Error {
        let event = self.audit.event(tenant.id, Operation::Transaction.events().init_failed, meta, Some(user));
        let event = AuditEvent { transaction_id: Some(id.to_string()), ..event };
        self.audit.kept(event.because(&refusal.to_string())).await;
        refusal
    }

    /// The end of step 2, and step 3, of [`Self::finalize`].
    async fn asked<'a>(
        &self,
        tenant: &'a Tenant,
        transaction: Option<Transaction>,
        credential: &AuthenticationCredential,
    ) -> Result<Asked<'a>, NotJudged> {
        let Some(transaction) = transaction else { return Err(NotJudged::Refused(Error::UnknownTransaction, None)) };
        let user = &transaction.begun.user_id;
        let refused = |refusal: Error| Err(NotJudged::Refused(refusal, Some(user.clone())));
        if transaction.state != TransactionState::Pending {
            return refused(Error::UnknownTransaction);
        }
        if self.context.clock.now() >= transaction.begun.expires_at {
            return refused(Error::CeremonyExpired);
        }
        match self.context.store.credential(tenant.id, credential.id()).await? {
            Some(record) if record.data.user_id == *user && !record.data.is_mfa => Ok(Asked {
                tenant,
                operation: Operation::Transaction,
                user_verification: transaction.begun.user_verification,
                record,
                by: By::Row(Box::new(transaction)),
            }),
            _ => refused(Error::UnknownCredential),
        }
    }
}
