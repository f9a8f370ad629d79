//! Stored credentials, and the evidence that they were made of.

use serde_json::{Value, json};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use super::{Audit, Context, Error, vouching::settle};
use crate::{
    domain::{AuditEvent, AuditEventType, Credential, CredentialId, Order, Page, RegistrationEvidence, RequestMeta, Tenant, User, UserId},
    storage,
    webauthn::client_challenge,
};

/// How many credentials are read at once.
const PAGE: u32 = 500;

/// What a user signs in with.
#[derive(Clone, Debug)]
pub struct AcceptedCredentials {
    /// Who.
    pub user: User,
    /// The ids of all the user's credentials, passkeys and second factors alike, the oldest first.
    pub ids: Vec<CredentialId>,
}

/// The use cases of credentials.
#[derive(Clone, Debug)]
pub struct Credentials {
    context: Context,
    audit: Audit,
}

impl Credentials {
    pub(super) fn new(context: Context, audit: Audit) -> Self {
        Self { context, audit }
    }

    /// A page of the tenant's credentials, or of one user's, by the time of their making; and how many there are on all pages together.
    /// A user that the tenant does not know has none.
    pub async fn list(&self, tenant: &Tenant, user: Option<&UserId>, order: Order, page: Page) -> Result<(Vec<Credential>, u64), Error> {
        Ok(self.context.store.listed_credentials(tenant.id, user, order, page).await?)
    }

    /// One credential.
    ///
    /// # Errors
    /// [`Error::CredentialNotFound`], also when it is another tenant's.
    pub async fn get(&self, tenant: &Tenant, id: &CredentialId) -> Result<Credential, Error> {
        self.context.store.credential(tenant.id, id).await?.ok_or_else(|| Error::CredentialNotFound(id.clone()))
    }

    /// Whether the tenant has a credential of this id.
    pub async fn is_known(&self, tenant: &Tenant, id: &CredentialId) -> Result<bool, Error> {
        Ok(self.context.store.credential(tenant.id, id).await?.is_some())
    }

    /// A user and all of the user's credentials. All, whatever their number: a page that signals these makes authenticators hide the rest.
    ///
    /// # Errors
    /// [`Error::UserNotFound`], also when it is another tenant's.
    pub async fn accepted(&self, tenant: &Tenant, user: &UserId) -> Result<AcceptedCredentials, Error> {
        let user = self.context.store.user(tenant.id, user).await?.ok_or(Error::UserNotFound)?;
        let ids = self.context.store.user_credential_ids(tenant.id, &user.user_id).await?;
        Ok(AcceptedCredentials { user, ids })
    }

    /// Gives a credential another name, and records it.
    ///
    /// # Errors
    /// [`Error::CredentialNotFound`], also when it is another tenant's.
    pub async fn rename(&self, tenant: &Tenant, id: &CredentialId, name: &str, meta: &RequestMeta) -> Result<(), Error> {
        let event = self.event(tenant, AuditEventType::CredentialUpdated, id, meta);
        let renamed = self.context.store.rename_credential(tenant.id, id, name, &event).await;
        self.changed(&event, id, renamed).await
    }

    /// Removes a credential and its evidence for good, and records it.
    ///
    /// # Errors
    /// [`Error::CredentialNotFound`], also when it is another tenant's.
    pub async fn delete(&self, tenant: &Tenant, id: &CredentialId, meta: &RequestMeta) -> Result<(), Error> {
        let event = self.event(tenant, AuditEventType::CredentialDeleted, id, meta);
        let deleted = self.context.store.delete_credential(tenant.id, id, &event).await;
        self.changed(&event, id, deleted).await
    }

    /// An event about a credential. Its user is found where the credential is changed.
    fn event(&self, tenant: &Tenant, event_type: AuditEventType, id: &CredentialId, meta: &RequestMeta) -> AuditEvent {
        AuditEvent { credential_id: Some(id.clone()), ..self.audit.event(tenant.id, event_type, meta, None) }
    }

    /// What came of a change.
    async fn changed(&self, event: &AuditEvent, id: &CredentialId, changed: Result<bool, storage::Error>) -> Result<(), Error> {
        if settle(&self.context, event, changed, || true).await? { Ok(()) } else { Err(Error::CredentialNotFound(id.clone())) }
    }

    /// The tenant's credentials in the order of their ids, the next ones after `after`. None when there are no more.
    pub async fn page(&self, tenant: &Tenant, after: Option<&CredentialId>) -> Result<Vec<Credential>, Error> {
        Ok(self.context.store.credentials(tenant.id, after, PAGE).await?)
    }

    /// The next credentials after `after` whose evidence was kept, each with the evidence in the form that [`super::inspect`] is given.
    pub async fn evidence_page(&self, tenant: &Tenant, after: Option<&CredentialId>) -> Result<Vec<(CredentialId, Value)>, Error> {
        let page = self.context.store.registration_evidence(tenant.id, after, PAGE).await?;
        Ok(page.into_iter().map(|(credential, evidence)| (credential.data.id.clone(), line(tenant, &credential, &evidence))).collect())
    }

    /// One credential's evidence in that form, if there is such a credential and its evidence was kept.
    pub async fn evidence(&self, tenant: &Tenant, id: &CredentialId) -> Result<Option<Value>, Error> {
        let store = &self.context.store;
        let (credential, evidence) = (store.credential(tenant.id, id).await?, store.credential_evidence(tenant.id, id).await?);
        Ok(credential.zip(evidence).map(|(credential, evidence)| line(tenant, &credential, &evidence)))
    }
}

/// A registration as an auditor is given it.
///
/// The challenge is the one that the evidence itself has: that it was ours, and used once, the audit log says. Origins are the tenant's of
/// today; the user must have been verified where the record says so; certificates are judged as on the day on which it was made.
fn line(tenant: &Tenant, credential: &Credential, evidence: &RegistrationEvidence) -> Value {
    let data = &credential.data;
    let base64url = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    json!({
        "name": data.id.to_string(),
        "kind": "registration",
        "rp_id": evidence.rp_id,
        "origin": tenant.config.webauthn.relying_party.origins,
        "challenge_b64url": client_challenge(&evidence.client_data_json).map(|challenge| base64url(challenge.as_bytes())).unwrap_or_default(),
        "user_verification_required": data.user_verified,
        "cross_origin_allowed": tenant.settings.allow_cross_origin,
        "top_origin": tenant.settings.top_origins,
        "credential": {
            "id": data.id.to_string(),
            "rawId": data.id.to_string(),
            "type": "public-key",
            "response": {
                "clientDataJSON": base64url(&evidence.client_data_json),
                "attestationObject": base64url(&evidence.attestation_object),
            },
            "clientExtensionResults": {},
        },
        "at_time": data.created_at.to_string(),
    })
}
