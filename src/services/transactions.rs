//! Transactions: a passkey confirms what its user is shown.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::{
    Audit, Context, Error, JwtToken, Tokens,
    assertion::{Asked, Assertions, By, NotJudged, descriptors},
    flight::Flights,
    vouching::settle,
};
use crate::{
    domain::{
        AuditEvent, AuthenticationEvidence, Challenge, NewTransaction, Operation, RequestMeta, Tenant, Transaction, TransactionData,
        TransactionId, TransactionRowId, TransactionState, UserId, UserVerification,
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

/// How many are read at once with their evidence. Each may have as much data as a request has room for.
const EVIDENCE_PAGE: u32 = 100;

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

    /// A user's transactions, the newest first; the latest 1000 of them, or as many as have 4 Mi characters of data.
    pub async fn of_user(&self, tenant: &Tenant, user: &UserId) -> Result<Vec<Transaction>, Error> {
        Ok(self.context.store.user_transactions(tenant.id, user, MAX_LISTED, MAX_LISTED_CHARS).await?)
    }

    /// The next confirmed transactions after `after`, each with its evidence in the form that [`super::inspect`] is given. None when there
    /// are no more.
    pub async fn evidence_page(&self, tenant: &Tenant, after: Option<TransactionRowId>) -> Result<Vec<(TransactionRowId, Value)>, Error> {
        let page = self.context.store.transaction_evidence(tenant.id, after, EVIDENCE_PAGE).await?;
        Ok(page.into_iter().map(|(transaction, evidence)| (transaction.begun.row, line(tenant, &transaction, &evidence))).collect())
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

/// A confirmed transaction as an auditor is given it.
///
/// Key and counter are the credential's as they were when its signature was judged, whatever became of it. Origins are the tenant's of today.
/// A counter that did not increase was let pass, or nothing would have been confirmed: it is told, and is no reason to refuse.
fn line(tenant: &Tenant, transaction: &Transaction, evidence: &AuthenticationEvidence) -> Value {
    let begun = &transaction.begun;
    let confirmation = transaction.confirmation.as_ref();
    let base64url = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    json!({
        "name": begun.id.as_str(),
        "kind": "authentication",
        "rp_id": evidence.rp_id,
        "origin": tenant.config.webauthn.relying_party.origins,
        "challenge_b64url": base64url(begun.challenge.as_bytes()),
        "user_verification_required": begun.user_verification == UserVerification::Required,
        "cross_origin_allowed": tenant.settings.allow_cross_origin,
        "top_origin": tenant.settings.top_origins,
        "clones_refused": false,
        "credential": {
            "id": evidence.credential_id.to_string(),
            "rawId": evidence.credential_id.to_string(),
            "type": "public-key",
            "response": {
                "clientDataJSON": base64url(&evidence.client_data_json),
                "authenticatorData": base64url(&evidence.authenticator_data),
                "signature": base64url(&evidence.signature),
            },
            "clientExtensionResults": {},
        },
        "stored": {
            "credential_id": evidence.credential_id.to_string(),
            "cose_public_key": base64url(&evidence.public_key),
            "sign_count": evidence.sign_count,
            "backup_eligible": evidence.backup_eligible,
            "user_handle": base64url(begun.user_id.as_str().as_bytes()),
        },
        "transaction_id": begun.id.as_str(),
        "data": begun.data.as_str(),
        "user_id": begun.user_id.as_str(),
        "token_id": confirmation.map(|confirmation| confirmation.token_id.to_string()),
        "confirmed_at": confirmation.map(|confirmation| confirmation.at.to_string()),
    })
}
