//! `POST /{tenant_id}/registration/{initialize,finalize}`

use axum::{Extension, extract::State};
use hyper::HeaderMap;
use serde::Serialize;
use url::Url;

use super::{
    AppState, Error,
    extract::{Backend, Faults, JsonObject},
};
use crate::{
    domain::{AuditEventType, Operation, RequestMeta, Tenant, UserId},
    http::{body::WholeBody, json::GoJson},
    services::Initialize,
    webauthn::{CreationOptions, RegistrationCredential},
};

/// `{"publicKey": ...}`, what `navigator.credentials.create` takes.
#[derive(Debug, Serialize)]
pub(in crate::http) struct InitializeResponse {
    #[serde(rename = "publicKey")]
    public_key: CreationOptions,
}

/// `{"token": "..."}`
#[derive(Debug, Serialize)]
pub(super) struct TokenResponse {
    token: String,
}

/// An application's backend begins a registration for one of its users. What it is refused is in the tenant's audit log, for it has shown
/// its API key.
pub(super) async fn initialize(
    State(state): State<AppState>,
    Extension(tenant): Extension<Tenant>,
    _: Backend,
    Extension(meta): Extension<RequestMeta>,
    headers: HeaderMap,
    body: Result<WholeBody, Error>,
) -> Result<GoJson<InitializeResponse>, Error> {
    let object = body.and_then(|WholeBody(body)| JsonObject::new(&headers, body));
    let request = match object {
        Ok(object) => parse(&object).map_err(|refusal| (user_id(&object), refusal)),
        Err(refusal) => Err((None, refusal)),
    };
    let request = match request {
        Ok(request) => request,
        Err((user, refusal)) => {
            let (failed, reason) = (AuditEventType::RegistrationInitFailed, refusal.reason());
            state.services.audit.refused(tenant.id, failed, &reason, user.as_ref(), &meta).await;
            return Err(refusal);
        }
    };
    let public_key = state.services.registration.initialize(&tenant, Operation::Registration, request, &meta).await?;
    Ok(GoJson(InitializeResponse { public_key }))
}

/// A browser ends a registration. No API key: the challenge is the proof that a backend began it. The content type does not matter.
pub(super) async fn finalize(
    State(state): State<AppState>,
    Extension(tenant): Extension<Tenant>,
    Extension(meta): Extension<RequestMeta>,
    WholeBody(body): WholeBody,
) -> Result<GoJson<TokenResponse>, Error> {
    let credential = RegistrationCredential::parse(&body).map_err(|e| Error::credential_unreadable(&e))?;
    let token =
        state.services.registration.finalize(&tenant, Operation::Registration, &credential, &meta).await.map_err(Error::registration)?;
    Ok(GoJson(TokenResponse { token: token.expose().to_owned() }))
}

impl InitializeResponse {
    pub(in crate::http) fn new(public_key: CreationOptions) -> Self {
        Self { public_key }
    }
}

/// Whom a request that is refused was about, if that much can be read.
fn user_id(object: &JsonObject) -> Option<UserId> {
    object.members().ok()?.text("user_id").ok()??.parse().ok()
}

/// Characters that a name may have.
pub(super) const NAME_CHARS: usize = 128;

/// Bytes that an icon's URL may have.
pub(super) const ICON_BYTES: usize = 2048;

fn parse(object: &JsonObject) -> Result<Initialize, Error> {
    let members = object.members()?;
    let text = |name| Ok::<_, Error>(members.text(name)?.filter(|t| !t.is_empty()));
    let (user_id, username, display_name, icon) = (text("user_id")?, text("username")?, text("display_name")?, text("icon")?);

    let mut faults = Faults::default();
    let user_id = user_id.ok_or_else(|| "user_id is a required field".to_owned());
    let user_id = user_id.and_then(|id| id.parse::<UserId>().map_err(|e| format!("user_id: {e}")));
    let user_id = user_id.map_err(|fault| faults.add(fault)).ok();
    if username.is_none() {
        faults.add("username is a required field".to_owned());
    }
    for (name, value) in [("username", &username), ("display_name", &display_name)] {
        if value.as_ref().is_some_and(|v| v.chars().count() > NAME_CHARS) {
            faults.add(format!("{name} cannot have more than {NAME_CHARS} entries"));
        }
    }
    if icon.as_ref().is_some_and(|v| v.len() > ICON_BYTES || Url::parse(v).is_err()) {
        faults.add("icon must be a valid URL".to_owned());
    }
    faults.into_result()?;
    let (Some(user_id), Some(username)) = (user_id, username) else { return Err(Error::invalid(&[])) };
    Ok(Initialize { user_id, username, display_name, icon })
}
