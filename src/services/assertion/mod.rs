//! What logins, second factors and transactions have in common: an assertion is judged, its use written down, and vouched for.

mod user_handle;

pub(super) use user_handle::meanings;

use super::{
    Audit, Context, Error, JwtToken, Tokens,
    token::{Proof, TokenFacts},
    vouching::{Commit, Unit, vouch},
};
use crate::{
    domain::{
        AttestationTrust, AuditEvent, AuditEventType, AuthenticationEvidence, Challenge, ClonePolicy, Credential, CredentialUse, KeyId,
        NewCredential, Operation, RequestMeta, Tenant, TenantId, Timestamp, Transaction, UserId, UserVerification,
    },
    failpoint,
    storage::{self, Answered, AuthenticationCommit, AuthenticationUnit, Store},
    webauthn::{
        self, AccountKnown, AuthenticationCredential, AuthenticationError, AuthenticationPolicy, AuthenticationRefusal,
        CredentialDescriptor, StoredCredential,
    },
};

/// Judges answers, for the services whose ceremonies they answer.
#[derive(Clone, Debug)]
pub(super) struct Assertions {
    context: Context,
    tokens: Tokens,
    audit: Audit,
}

/// A ceremony that an assertion answers: found, in time, not used, and the credential one that may answer.
#[derive(Debug)]
pub(super) struct Asked<'a> {
    pub(super) tenant: &'a Tenant,
    pub(super) operation: Operation,
    /// What the options asked of the authenticator, whatever the tenant's configuration has become since.
    pub(super) user_verification: UserVerification,
    /// The credential, which is the user's; where nobody was named, whether the assertion names its owner is still to be judged.
    pub(super) record: Credential,
    pub(super) by: By,
}

/// How a ceremony is known again.
#[derive(Debug)]
pub(super) enum By {
    /// By a challenge that no row is kept for.
    Challenge {
        expires_at: Timestamp,
        /// Nobody was named: the assertion names the account.
        is_discoverable: bool,
    },
    /// By its row.
    Row(Box<Transaction>),
}

/// Why an assertion is not judged. It uses nothing up.
#[derive(Debug)]
pub(super) enum NotJudged {
    /// It is refused; whom it was about, where that is known.
    Refused(Error, Option<UserId>),
    /// It cannot be said.
    Fault(Error),
}

impl From<Error> for NotJudged {
    fn from(fault: Error) -> Self {
        Self::Fault(fault)
    }
}

impl From<storage::Error> for NotJudged {
    fn from(fault: storage::Error) -> Self {
        Self::Fault(fault.into())
    }
}

impl Asked<'_> {
    fn user(&self) -> &UserId {
        &self.record.data.user_id
    }

    fn transaction(&self) -> Option<&Transaction> {
        match &self.by {
            By::Challenge { .. } => None,
            By::Row(transaction) => Some(transaction),
        }
    }

    /// The answer when its challenge turns out to be used after all.
    const fn gone(&self) -> Error {
        match self.by {
            By::Challenge { .. } => Error::UnknownChallenge,
            By::Row(_) => Error::UnknownTransaction,
        }
    }
}

impl Assertions {
    pub(super) fn new(context: Context, tokens: Tokens, audit: Audit) -> Self {
        Self { context, tokens, audit }
    }

    /// The last steps of a finalize: room to sign is asked for before the verification work; the assertion is verified; the token is signed
    /// with the tenant's active key; one transaction uses the challenge up, writes the credential's use and the audit event down; the token
    /// is released. A refused verification uses the challenge up.
    pub(super) async fn answer(
        &self,
        asked: &Asked<'_>,
        credential: &AuthenticationCredential,
        meta: &RequestMeta,
    ) -> Result<JwtToken, Error> {
        let permit = self.context.signer.reserve()?;
        let (record, at) = (&asked.record.data, self.context.clock.now());
        let challenge = credential.challenge();
        let proven = match webauthn::verify_authentication(credential, &policy(asked, credential, &challenge)) {
            Ok(proven) => proven,
            Err(fault) if fault.is_record_unusable() => {
                let what = format!("credential {} of tenant {} cannot be used", record.id, record.tenant_id);
                return Err(Error::Internal(what, Some(fault.into())));
            }
            Err(refusal) => {
                // Whoever sends what is refused must not keep others from signing while that is written down.
                drop(permit);
                return Err(self.refuse(asked, &challenge, refusal.into(), meta).await?);
            }
        };
        failpoint::hit("finalize.verified");

        let usage = Usage {
            tenant: asked.tenant.id,
            answered: answered(asked, credential),
            used: CredentialUse {
                credential: record.id.clone(),
                sign_count: proven.sign_count,
                backup_state: proven.backup.state,
                at,
                refuse_clone: refuses_clones(asked.tenant),
            },
            event: self.event(asked, asked.operation.events().final_succeeded, meta),
            clone_event: self.clone_event(asked, record.sign_count, proven.sign_count, meta),
        };
        let facts = TokenFacts {
            tenant: asked.tenant,
            user: asked.user(),
            credential: &record.id,
            operation: asked.operation,
            event: usage.event.id,
            proof: Proof {
                at,
                is_hardware: record.attestation.trust == AttestationTrust::Trusted,
                user_verified: proven.user_verified,
                backup: proven.backup,
            },
            transaction: asked.transaction().map(|t| (&t.begun.id, &t.begun.data)),
        };
        match vouch(&self.context, &self.tokens, permit, &facts, &usage).await? {
            Ok(token) => Ok(token),
            Err(refusal) => Err(self.not_committed(asked, &challenge, refusal, proven.sign_count, meta).await?),
        }
    }

    /// Records why an assertion was not judged, and gives it back.
    pub(super) async fn not_judged(
        &self,
        tenant: &Tenant,
        operation: Operation,
        credential: &AuthenticationCredential,
        transaction: Option<String>,
        meta: &RequestMeta,
        why: NotJudged,
    ) -> Error {
        match why {
            NotJudged::Fault(fault) => fault,
            NotJudged::Refused(refusal, user) => {
                let event = self.audit.event(tenant.id, operation.events().final_failed, meta, user.as_ref());
                let event = AuditEvent { credential_id: Some(credential.id().clone()), transaction_id: transaction, ..event };
                self.audit.refusal(operation, event.because(&refusal.to_string())).await;
                refusal
            }
        }
    }

    /// What a refused commit means to the client.
    async fn not_committed(
        &self,
        asked: &Asked<'_>,
        challenge: &Challenge,
        refusal: Refused,
        received: u32,
        meta: &RequestMeta,
    ) -> Result<Error, Error> {
        let refusal = match refusal {
            // Another use of the credential was committed after this one was judged: what the record says now is what refuses it.
            Refused::Clone => {
                let now = self.context.store.credential(asked.tenant.id, &asked.record.data.id).await?;
                let stored = now.map_or(asked.record.data.sign_count, |credential| credential.data.sign_count);
                let refusal = AuthenticationError::clone_suspected(stored, received).into();
                return self.refuse(asked, challenge, refusal, meta).await;
            }
            Refused::ChallengeGone => asked.gone(),
            Refused::CredentialGone => Error::UnknownCredential,
        };
        let event = self.event(asked, asked.operation.events().final_failed, meta).because(&refusal.to_string());
        self.audit.refusal(asked.operation, event).await;
        Ok(refusal)
    }

    /// Uses the challenge up and records why; gives the refusal back, or the error that kept the challenge from being used up.
    async fn refuse(&self, asked: &Asked<'_>, challenge: &Challenge, refusal: Error, meta: &RequestMeta) -> Result<Error, Error> {
        let (store, tenant) = (&self.context.store, asked.tenant.id);
        let event = self.event(asked, asked.operation.events().final_failed, meta).because(&refusal.to_string());
        let was_unused = match &asked.by {
            By::Challenge { expires_at, .. } => {
                let event = if asked.operation.is_keyed() { Some(event) } else { self.audit.admitted(event) };
                store.refuse_challenge(tenant, challenge, *expires_at, event.as_ref()).await?
            }
            By::Row(transaction) => {
                store.refuse_transaction(tenant, transaction.begun.row, challenge, self.context.clock.now(), &event).await?
            }
        };
        if !was_unused {
            return Ok(asked.gone());
        }
        if let Error::AssertionRefused(judged) = &refusal
            && let AuthenticationRefusal::Counter { stored, received } = *judged.refusal()
        {
            // Not sampled: the signature was verified before the counter was.
            self.audit.kept(self.clone_event(asked, stored, received, meta)).await;
        }
        Ok(refusal)
    }

    fn clone_event(&self, asked: &Asked<'_>, stored: u32, received: u32, meta: &RequestMeta) -> AuditEvent {
        self.event(asked, AuditEventType::CloneSuspected, meta).because(&format!(
            "the signature counter did not increase: it was {stored}, and {received} came; the authenticator may have been cloned"
        ))
    }

    fn event(&self, asked: &Asked<'_>, event_type: AuditEventType, meta: &RequestMeta) -> AuditEvent {
        AuditEvent {
            credential_id: Some(asked.record.data.id.clone()),
            transaction_id: asked.transaction().map(|t| t.begun.id.to_string()),
            ..self.audit.event(asked.tenant.id, event_type, meta, Some(asked.user()))
        }
    }
}

fn refuses_clones(tenant: &Tenant) -> bool {
    tenant.settings.cloned_credentials == ClonePolicy::Refuse
}

/// `allowCredentials`: ids alone, as in the contract.
pub(super) fn descriptors(credentials: impl IntoIterator<Item = Credential>) -> Vec<CredentialDescriptor> {
    credentials.into_iter().map(|c| CredentialDescriptor { id: c.data.id, transports: Vec::new() }).collect()
}

fn policy<'a>(asked: &'a Asked<'_>, credential: &'a AuthenticationCredential, challenge: &'a Challenge) -> AuthenticationPolicy<'a> {
    let (tenant, record) = (asked.tenant, &asked.record.data);
    let relying_party = &tenant.config.webauthn.relying_party;
    let user_handle = user_handle::of(&record.user_id, credential.user_handle());
    AuthenticationPolicy {
        rp_id: &relying_party.id,
        origins: &relying_party.origins,
        challenge,
        user_verification: asked.user_verification,
        allow_cross_origin: tenant.settings.allow_cross_origin,
        top_origins: &tenant.settings.top_origins,
        // Any credential of the user's of the right kind: the record is one.
        allowed: &[],
        account: match asked.by {
            By::Challenge { is_discoverable: true, .. } => AccountKnown::ByUserHandle,
            By::Challenge { .. } | By::Row(_) => AccountKnown::Before(user_handle),
        },
        stored: StoredCredential {
            id: &record.id,
            user_handle,
            public_key: &record.public_key,
            sign_count: record.sign_count,
            backup: record.backup,
        },
        refuse_clones: refuses_clones(tenant),
    }
}

fn answered(asked: &Asked<'_>, credential: &AuthenticationCredential) -> Answered {
    let challenge = credential.challenge();
    match &asked.by {
        By::Challenge { expires_at, .. } => Answered::Challenge { challenge, expires_at: *expires_at },
        By::Row(transaction) => Answered::Transaction {
            row: transaction.begun.row,
            challenge,
            evidence: evidence(asked.tenant, &asked.record.data, credential),
        },
    }
}

fn evidence(tenant: &Tenant, record: &NewCredential, credential: &AuthenticationCredential) -> AuthenticationEvidence {
    AuthenticationEvidence {
        credential_id: record.id.clone(),
        public_key: record.public_key.clone(),
        sign_count: record.sign_count,
        backup_eligible: record.backup.eligible,
        rp_id: tenant.config.webauthn.relying_party.id.clone(),
        client_data_json: credential.client_data_json().to_vec(),
        authenticator_data: credential.authenticator_data().to_vec(),
        signature: credential.signature().to_vec(),
    }
}

/// A credential's use, to be committed.
struct Usage {
    tenant: TenantId,
    answered: Answered,
    used: CredentialUse,
    event: AuditEvent,
    clone_event: AuditEvent,
}

/// Why it was not.
enum Refused {
    ChallengeGone,
    CredentialGone,
    Clone,
}

impl Unit for Usage {
    type Refusal = Refused;

    fn event(&self) -> &AuditEvent {
        &self.event
    }

    async fn commit(&self, store: &Store, key: KeyId) -> Result<Commit<Refused>, storage::Error> {
        let unit = AuthenticationUnit {
            tenant_id: self.tenant,
            answered: self.answered.clone(),
            used: self.used.clone(),
            key,
            event: self.event.clone(),
            clone_event: self.clone_event.clone(),
        };
        Ok(match store.commit_authentication(&unit).await? {
            AuthenticationCommit::Committed => Commit::Committed,
            AuthenticationCommit::KeyNotActive => Commit::KeyNotActive,
            AuthenticationCommit::ChallengeGone => Commit::Refused(Refused::ChallengeGone),
            AuthenticationCommit::CredentialGone => Commit::Refused(Refused::CredentialGone),
            AuthenticationCommit::CloneRefused => Commit::Refused(Refused::Clone),
        })
    }
}
