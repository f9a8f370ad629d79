//! `POST /{tenant_id}/registration/{initialize,finalize}`, and what second factors have in common with them.

use axum::{Extension, extract::State};
use url::Url;

use super::{
    AppState, Error,
    call::{BackendCall, InitializeResponse, TokenResponse, vouched},
    extract::{Faults, Members},
};
use crate::{
    domain::{Operation, RequestMeta, Tenant},
    http::{body::WholeBody, json::GoJson},
    services::Initialize,
    webauthn::{CreationOptions, RegistrationCredential},
};

/// An application's backend begins a registration for one of its users.
pub(super) async fn initialize(
    State(state): State<AppState>,
    Extension(tenant): Extension<Tenant>,
    Extension(meta): Extension<RequestMeta>,
    call: BackendCall,
) -> Result<GoJson<InitializeResponse<CreationOptions>>, Error> {
    begin(&state, &tenant, Operation::Registration, &meta, call).await
}

/// A browser ends a registration. No API key: the challenge is the proof that a backend began it. The content type does not matter.
pub(super) async fn finalize(
    State(state): State<AppState>,
    Extension(tenant): Extension<Tenant>,
    Extension(meta): Extension<RequestMeta>,
    WholeBody(body): WholeBody,
) -> Result<GoJson<TokenResponse>, Error> {
    end(&state, &tenant, Operation::Registration, &meta, &read(&body)?).await
}

/// Begins the registration of a passkey or of a second factor.
pub(super) async fn begin(
    state: &AppState,
    tenant: &Tenant,
    operation: Operation,
    meta: &RequestMeta,
    call: BackendCall,
) -> Result<GoJson<InitializeResponse<CreationOptions>>, Error> {
    let request = call.read(state, operation, parse).await?;
    let options = state.services.registration.initialize(tenant, operation, request, meta).await?;
    Ok(GoJson(InitializeResponse::new(options)))
}

/// The credential that a body is.
pub(super) fn read(body: &[u8]) -> Result<RegistrationCredential, Error> {
    RegistrationCredential::parse(body).map_err(|e| Error::credential_unreadable(&e))
}

/// Ends either.
pub(super) async fn end(
    state: &AppState,
    tenant: &Tenant,
    operation: Operation,
    meta: &RequestMeta,
    credential: &RegistrationCredential,
) -> Result<GoJson<TokenResponse>, Error> {
    let token = state.services.registration.finalize(tenant, operation, credential, meta).await.map_err(Error::registration)?;
    Ok(vouched(token))
}

/// Characters that a name may have.
pub(super) const NAME_CHARS: usize = 128;

/// Bytes that an icon's URL may have.
pub(super) const ICON_BYTES: usize = 2048;

fn parse(members: &Members<'_>) -> Result<Initialize, Error> {
    let text = |name| Ok::<_, Error>(members.text(name)?.filter(|t| !t.is_empty()));
    let (user_id, username, display_name, icon) = (text("user_id")?, text("username")?, text("display_name")?, text("icon")?);

    let mut faults = Faults::default();
    let user_id = faults.required("user_id", user_id);
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
