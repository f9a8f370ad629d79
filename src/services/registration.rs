//! Registration: a passkey is made, verified, stored, and vouched for with a token.

use super::{
    Audit, Context, Error, JwtToken, Tokens,
    flight::Flights,
    token::{Proof, TokenFacts},
    vouching::{Commit, Unit, vouch},
};
use crate::{
    domain::{
        AttestationTrust, AuditEvent, Ceremony, Challenge, CredentialId, KeyId, NewCredential, Operation, RegistrationEvidence,
        RequestMeta, Tenant, Timestamp, User, UserId,
    },
    failpoint,
    hsm::Permit,
    storage::{self, RegistrationCommit, Store},
    webauthn::{
        self, CreationOptions, CreationRequest, CredentialDescriptor, OFFERED_ALGORITHMS, RegistrationCredential, RegistrationPolicy,
        TrustStore,
    },
};

/// Who a passkey is to be made for.
#[derive(Debug)]
pub struct Initialize {
    /// The application's name for the user.
    pub user_id: UserId,
    /// What tells accounts apart for people.
    pub username: String,
    /// What people call the user; the username when blank.
    pub display_name: Option<String>,
    /// A URL.
    pub icon: Option<String>,
}

/// The use cases of registration.
#[derive(Clone, Debug)]
pub struct Registration {
    context: Context,
    tokens: Tokens,
    audit: Audit,
    flights: Flights,
}

impl Registration {
    pub(super) fn new(context: Context, tokens: Tokens, audit: Audit) -> Self {
        Self { context, tokens, audit, flights: Flights::default() }
    }

    /// Begins a ceremony: writes user, challenge and audit event in one transaction and returns the options for the browser.
    pub async fn initialize(
        &self,
        tenant: &Tenant,
        operation: Operation,
        request: Initialize,
        meta: &RequestMeta,
    ) -> Result<CreationOptions, Error> {
        let now = self.context.clock.now();
        let (relying_party, config) = (&tenant.config.webauthn.relying_party, tenant.ceremony_config(operation));
        let user = user(tenant, request, now);
        let ceremony = Ceremony {
            tenant_id: tenant.id,
            operation,
            challenge: Challenge::random(&*self.context.rng),
            user_id: user.user_id.clone(),
            user_verification: config.user_verification,
            created_at: now,
            expires_at: now + config.timeout,
        };
        let exclude = if tenant.settings.exclude_credentials {
            self.descriptors(tenant, &user.user_id, operation.is_mfa()).await?
        } else {
            Vec::new()
        };
        let event = self.audit.event(tenant.id, operation.events().init_succeeded, meta, Some(&user.user_id));
        self.context.store.begin_registration(&user, &ceremony, &event).await?;
        Ok(webauthn::creation_options(&CreationRequest {
            rp_id: &relying_party.id,
            rp_name: &relying_party.display_name,
            user_id: &user.user_id,
            user_name: &user.name,
            display_name: &user.display_name,
            icon: user.icon.as_deref(),
            challenge: &ceremony.challenge,
            timeout: config.timeout,
            exclude,
            attachment: config.attachment,
            resident_key: config.resident_key,
            user_verification: config.user_verification,
            hints: &tenant.settings.hints,
            attestation: config.attestation,
            cred_props: tenant.settings.cred_props,
        }))
    }

    /// Ends a ceremony: verifies the credential, stores it, and returns the token that vouches for it.
    ///
    /// 1. Equal requests take turns. 2. The ceremony is read by its challenge and its time judged. 3. Room to sign is asked for before the
    ///    verification work. 4. The credential is verified; a refusal uses the challenge up. 5. The token is signed with the tenant's
    ///    active key. 6. One transaction uses the challenge up, stores the credential and its audit event. 7. The token is released.
    ///
    /// Whatever fails on our side before the commit consumes nothing.
    pub async fn finalize(
        &self,
        tenant: &Tenant,
        operation: Operation,
        credential: &RegistrationCredential,
        meta: &RequestMeta,
    ) -> Result<JwtToken, Error> {
        let challenge = credential.challenge();
        let _turn = self.flights.enter(tenant.id, challenge.clone()).await;
        let ceremony = self.ceremony(tenant, operation, credential, meta).await?;
        failpoint::hit("finalize.ceremony_read");

        let permit = self.context.signer.reserve()?;
        let trust_store = self.context.trust.current();
        let registration =
            match webauthn::verify_registration(credential, &policy(tenant, &ceremony, &trust_store, self.context.clock.now())) {
                Ok(registration) => registration,
                Err(refusal) => {
                    // Nobody signs for it: its place is another's while that is written down.
                    drop(permit);
                    return Err(self.refuse(&ceremony, credential.id(), refusal.into(), meta).await?);
                }
            };
        failpoint::hit("finalize.verified");

        let known = trust_store.authenticator_name(registration.aaguid, credential.attestation_object());
        let name = known.map_or_else(|| format!("cred-{}", registration.credential_id), str::to_owned);
        let evidence = RegistrationEvidence {
            rp_id: tenant.config.webauthn.relying_party.id.clone(),
            client_data_json: credential.client_data_json().to_vec(),
            attestation_object: credential.attestation_object().to_vec(),
        };
        let new = NewCredential {
            tenant_id: tenant.id,
            id: registration.credential_id,
            user_id: ceremony.user_id.clone(),
            name: Some(name),
            public_key: registration.public_key,
            attestation_type: registration.attestation_type,
            attestation: registration.attestation,
            aaguid: registration.aaguid,
            sign_count: registration.sign_count,
            transports: credential.transports().to_vec(),
            backup: registration.backup,
            user_verified: registration.user_verified,
            is_mfa: operation.is_mfa(),
            created_at: self.context.clock.now(),
            evidence: Some(evidence),
        };
        self.store_and_vouch(tenant, &ceremony, new, permit, meta).await
    }

    /// Steps 5 to 7 of [`Self::finalize`].
    async fn store_and_vouch(
        &self,
        tenant: &Tenant,
        ceremony: &Ceremony,
        new: NewCredential,
        permit: Permit,
        meta: &RequestMeta,
    ) -> Result<JwtToken, Error> {
        let mut event = self.audit.event(tenant.id, ceremony.operation.events().final_succeeded, meta, Some(&ceremony.user_id));
        event.credential_id = Some(new.id.clone());
        let facts = TokenFacts {
            tenant,
            user: &ceremony.user_id,
            credential: &new.id,
            operation: ceremony.operation,
            event: event.id,
            proof: Proof {
                at: new.created_at,
                is_hardware: new.attestation.trust == AttestationTrust::Trusted,
                user_verified: new.user_verified,
                backup: new.backup,
            },
            transaction: None,
        };
        let unit = Registered { ceremony, new: &new, event: &event };
        match vouch(&self.context, &self.tokens, permit, &facts, &unit).await? {
            Ok(token) => Ok(token),
            Err(Refused::CeremonyGone) => Err(Error::UnknownChallenge),
            Err(Refused::CredentialExists) => Err(self.refuse(ceremony, &new.id, Error::CredentialExists, meta).await?),
        }
    }

    /// The ceremony that the credential's challenge belongs to, in time and with its user. Refusals here consume nothing.
    async fn ceremony(
        &self,
        tenant: &Tenant,
        operation: Operation,
        credential: &RegistrationCredential,
        meta: &RequestMeta,
    ) -> Result<Ceremony, Error> {
        let found = self.context.store.ceremony(tenant.id, operation, &credential.challenge()).await?;
        let refusal = match &found {
            None => Error::UnknownChallenge,
            Some(ceremony) if self.context.clock.now() >= ceremony.expires_at => Error::CeremonyExpired,
            Some(ceremony) if self.context.store.user(tenant.id, &ceremony.user_id).await?.is_none() => Error::UserNotFound,
            Some(_) => return found.ok_or(Error::UnknownChallenge),
        };
        let user = found.as_ref().map(|c| &c.user_id);
        let mut event = self.audit.event(tenant.id, operation.events().final_failed, meta, user).because(&refusal.to_string());
        event.credential_id = Some(credential.id().clone());
        self.audit.refusal(operation, event).await;
        Err(refusal)
    }

    /// Uses the challenge up and records why, with the credential as the client calls it; gives the refusal back, or the error that kept it from being recorded.
    async fn refuse(&self, ceremony: &Ceremony, id: &CredentialId, refusal: Error, meta: &RequestMeta) -> Result<Error, Error> {
        let event = self.audit.event(ceremony.tenant_id, ceremony.operation.events().final_failed, meta, Some(&ceremony.user_id));
        let event = AuditEvent { credential_id: Some(id.clone()), ..event.because(&refusal.to_string()) };
        let was_there = self.context.store.refuse_ceremony(ceremony, &event).await?;
        Ok(if was_there { refusal } else { Error::UnknownChallenge })
    }

    async fn descriptors(&self, tenant: &Tenant, user: &UserId, is_mfa: bool) -> Result<Vec<CredentialDescriptor>, Error> {
        let credentials = self.context.store.user_credentials(tenant.id, user, is_mfa).await?;
        Ok(credentials.into_iter().map(|c| CredentialDescriptor { id: c.data.id, transports: c.data.transports }).collect())
    }
}

/// A credential, to be stored with the end of its ceremony.
struct Registered<'a> {
    ceremony: &'a Ceremony,
    new: &'a NewCredential,
    event: &'a AuditEvent,
}

/// Why it was not.
enum Refused {
    CeremonyGone,
    CredentialExists,
}

impl Unit for Registered<'_> {
    type Refusal = Refused;

    fn event(&self) -> &AuditEvent {
        self.event
    }

    async fn commit(&self, store: &Store, key: KeyId) -> Result<Commit<Refused>, storage::Error> {
        Ok(match store.commit_registration(self.ceremony, self.new, key, self.event).await? {
            RegistrationCommit::Committed => Commit::Committed,
            RegistrationCommit::KeyNotActive => Commit::KeyNotActive,
            RegistrationCommit::CeremonyGone => Commit::Refused(Refused::CeremonyGone),
            RegistrationCommit::CredentialExists => Commit::Refused(Refused::CredentialExists),
        })
    }
}

/// The user as the application describes it now. Descriptions are replaced at each beginning, as in the contract.
fn user(tenant: &Tenant, request: Initialize, now: Timestamp) -> User {
    let display_name = request.display_name.filter(|name| !name.trim().is_empty()).unwrap_or_else(|| request.username.clone());
    User {
        tenant_id: tenant.id,
        user_id: request.user_id,
        name: request.username,
        display_name,
        icon: request.icon,
        created_at: now,
        updated_at: now,
    }
}

fn policy<'a>(tenant: &'a Tenant, ceremony: &'a Ceremony, trust_store: &'a TrustStore, now: Timestamp) -> RegistrationPolicy<'a> {
    let relying_party = &tenant.config.webauthn.relying_party;
    RegistrationPolicy {
        rp_id: &relying_party.id,
        origins: &relying_party.origins,
        challenge: &ceremony.challenge,
        user_verification: ceremony.user_verification,
        algorithms: &OFFERED_ALGORITHMS,
        allow_cross_origin: tenant.settings.allow_cross_origin,
        top_origins: &tenant.settings.top_origins,
        allow_u2f_aaguid: tenant.settings.allow_u2f_aaguid,
        attestation: &tenant.settings.attestation,
        trust_store,
        now,
    }
}
