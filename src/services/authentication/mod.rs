//! Authentication: a passkey, or a second factor, signs in.

mod challenge;

use self::challenge::{Binding, LoginChallenge};
use super::{
    Audit, Context, Error, JwtToken, Tokens,
    assertion::{Asked, Assertions, By, NotJudged, descriptors, meanings},
    flight::Flights,
};
use crate::{
    domain::{Operation, RequestMeta, Tenant, UserId},
    failpoint,
    webauthn::{self, AssertionRequest, AuthenticationCredential, CredentialDescriptor, RequestOptions},
};

/// The use cases of signing in.
#[derive(Clone, Debug)]
pub struct Authentication {
    context: Context,
    audit: Audit,
    assertions: Assertions,
    flights: Flights,
}

impl Authentication {
    pub(super) fn new(context: Context, tokens: Tokens, audit: Audit) -> Self {
        let assertions = Assertions::new(context.clone(), tokens, audit.clone());
        Self { context, audit, assertions, flights: Flights::default() }
    }

    /// Begins a ceremony of `operation` ([`Operation::Login`] or [`Operation::MfaLogin`]), for a user whom a backend names, or for whoever
    /// has a discoverable credential, which second factors need not be. Without a user nothing is written, and nothing read.
    ///
    /// # Errors
    /// [`Error::UserNotFound`], [`Error::NoCredentials`]; both are recorded.
    pub async fn initialize(
        &self,
        tenant: &Tenant,
        operation: Operation,
        user: Option<&UserId>,
        meta: &RequestMeta,
    ) -> Result<RequestOptions, Error> {
        let allow = match user {
            None if operation.is_mfa() => return Err(Error::UserNotFound),
            None => Vec::new(),
            Some(user) => self.allowed(tenant, operation, user, meta).await?,
        };
        let config = tenant.ceremony_config(operation);
        let binding = Binding { tenant: tenant.id, operation, user };
        let (root, rng) = (&self.context.root_secret, &*self.context.rng);
        let challenge = LoginChallenge::issue(root, rng, &binding, self.context.clock.now() + config.timeout, config.user_verification)?;
        if user.is_some() {
            let event = self.audit.event(tenant.id, operation.events().init_succeeded, meta, user);
            self.context.store.append_audit(&event).await?;
        }
        Ok(webauthn::request_options(&AssertionRequest {
            challenge: &challenge,
            timeout: config.timeout,
            rp_id: &tenant.config.webauthn.relying_party.id,
            allow,
            user_verification: config.user_verification,
            hints: &tenant.settings.hints,
        }))
    }

    /// Ends a ceremony: verifies the assertion, writes the credential's use down, and returns the token that vouches for its user.
    ///
    /// 1. Equal requests take turns. 2. The credential is read, and with it whether the challenge was used; the challenge must be one of
    ///    ours, for nobody in particular, for the credential's owner, or, where there is no such credential, for the user whom the assertion
    ///    names; and in time; and not used. 3. The credential must be one that may answer. Up to here nothing is used up. 4. Room to sign is
    ///    asked for before the verification work. 5. The assertion is verified; a refusal uses the challenge up. 6. The token is signed with
    ///    the tenant's active key. 7. One transaction uses the challenge up, writes counter, backup state and time of the credential down,
    ///    and the audit event. 8. The token is released.
    ///
    /// Whatever fails on our side before the commit uses nothing up.
    pub async fn finalize(
        &self,
        tenant: &Tenant,
        operation: Operation,
        credential: &AuthenticationCredential,
        meta: &RequestMeta,
    ) -> Result<JwtToken, Error> {
        let _turn = self.flights.enter(tenant.id, credential.challenge()).await;
        let asked = match self.asked(tenant, operation, credential).await {
            Ok(asked) => asked,
            Err(why) => return Err(self.assertions.not_judged(tenant, operation, credential, None, meta, why).await),
        };
        failpoint::hit("finalize.ceremony_read");
        self.assertions.answer(&asked, credential, meta).await
    }

    /// A user's credentials that may answer: passkeys at a login, those and second factors where a second factor is asked for.
    async fn allowed(
        &self,
        tenant: &Tenant,
        operation: Operation,
        user: &UserId,
        meta: &RequestMeta,
    ) -> Result<Vec<CredentialDescriptor>, Error> {
        let store = &self.context.store;
        let mut credentials = store.user_credentials(tenant.id, user, false).await?;
        if operation.is_mfa() {
            credentials.extend(store.user_credentials(tenant.id, user, true).await?);
        }
        if !credentials.is_empty() {
            return Ok(descriptors(credentials));
        }
        let refusal = if store.user(tenant.id, user).await?.is_some() { Error::NoCredentials } else { Error::UserNotFound };
        let event = self.audit.event(tenant.id, operation.events().init_failed, meta, Some(user));
        self.audit.kept(event.because(&refusal.to_string())).await;
        Err(refusal)
    }

    /// Steps 2 and 3 of [`Self::finalize`].
    async fn asked<'a>(
        &self,
        tenant: &'a Tenant,
        operation: Operation,
        credential: &AuthenticationCredential,
    ) -> Result<Asked<'a>, NotJudged> {
        let refused = |refusal: Error, user: Option<&UserId>| Err(NotJudged::Refused(refusal, user.cloned()));
        let challenge = credential.challenge();
        let Some(begun) = LoginChallenge::read(&challenge) else { return refused(Error::UnknownChallenge, None) };
        let is_for = |user: Option<&UserId>| {
            let binding = Binding { tenant: tenant.id, operation, user };
            begun.is_genuine(&self.context.root_secret, &binding)
        };

        let found = self.context.store.credential_for_use(tenant.id, credential.id(), &challenge).await?;
        let owner = found.as_ref().map(|(record, _)| &record.data.user_id);
        let is_discoverable = is_for(None)?;
        let user = match owner {
            Some(owner) if !is_discoverable => Some(owner.clone()),
            _ => self.named(tenant, credential, owner).await?,
        };
        let user = user.as_ref();
        let is_ours = is_discoverable || user.is_some() && is_for(user)?;
        if !is_ours {
            return refused(Error::UnknownChallenge, owner);
        }
        if begun.is_expired(self.context.clock.now()) {
            return refused(Error::CeremonyExpired, user);
        }
        if found.as_ref().is_some_and(|(_, is_used)| *is_used) {
            return refused(Error::UnknownChallenge, user);
        }
        if user.is_none() {
            return refused(Error::UnknownUserHandle, None);
        }
        match found {
            // A second factor never signs in by itself: it proves that somebody is there, and need not prove who.
            Some((record, _)) if operation.is_mfa() || !record.data.is_mfa => Ok(Asked {
                tenant,
                operation,
                user_verification: begun.user_verification,
                record,
                by: By::Challenge { expires_at: begun.expires_at, is_discoverable },
            }),
            _ => refused(Error::UnknownCredential, user),
        }
    }

    /// The user whom an assertion names, if there is one: the credential's owner, where its user handle can mean that user.
    async fn named(&self, tenant: &Tenant, credential: &AuthenticationCredential, owner: Option<&UserId>) -> Result<Option<UserId>, Error> {
        let meant: Vec<UserId> = credential.user_handle().map(|handle| meanings(handle).collect()).unwrap_or_default();
        if let Some(owner) = owner.filter(|owner| meant.contains(owner)) {
            return Ok(Some(owner.clone()));
        }
        for user in meant {
            if self.context.store.user(tenant.id, &user).await?.is_some() {
                return Ok(Some(user));
            }
        }
        Ok(None)
    }
}
