//! `POST /{tenant_id}/login/{initialize,finalize}`, and what second factors have in common with them.

use axum::{Extension, extract::State};
use hyper::HeaderMap;

use super::{
    AppState, Error,
    call::{self, BackendCall, InitializeResponse, TokenResponse, vouched},
    extract::{Backend, Faults, JsonObject, Members},
};
use crate::{
    domain::{Operation, RequestMeta, Tenant, UserId},
    http::{body::WholeBody, json::GoJson},
    webauthn::{AuthenticationCredential, RequestOptions},
};

/// Anyone begins a login of whoever has a passkey; a backend that shows its API key, one of a user whom it names.
///
/// Only what a backend is refused is recorded: strangers write nothing.
pub(super) async fn initialize(
    State(state): State<AppState>,
    Extension(tenant): Extension<Tenant>,
    Extension(meta): Extension<RequestMeta>,
    headers: HeaderMap,
    body: Result<WholeBody, Error>,
) -> Result<GoJson<InitializeResponse<RequestOptions>>, Error> {
    let object = body.and_then(|WholeBody(body)| JsonObject::new(&headers, body));
    let (user, named) = match object {
        Ok(object) => (object.members().and_then(|members| parse(&members)), call::user_id(&object)),
        Err(refusal) => (Err(refusal), None),
    };
    match user {
        Ok(user) => {
            if user.is_some() {
                if Backend::shows_nothing(&headers) {
                    return Err(Error::api_key_missing());
                }
                Backend::identified(&state, &tenant, &headers).await?;
            }
            begin(&state, &tenant, Operation::Login, &meta, user.as_ref()).await
        }
        Err(refusal) => {
            if Backend::identified(&state, &tenant, &headers).await.is_ok() {
                let failed = Operation::Login.events().init_failed;
                state.services.audit.refused(tenant.id, failed, &refusal.reason(), named.as_ref(), &meta).await;
            }
            Err(refusal)
        }
    }
}

/// A browser ends a login. The content type does not matter.
pub(super) async fn finalize(
    State(state): State<AppState>,
    Extension(tenant): Extension<Tenant>,
    Extension(meta): Extension<RequestMeta>,
    WholeBody(body): WholeBody,
) -> Result<GoJson<TokenResponse>, Error> {
    end(&state, &tenant, Operation::Login, &meta, &read(&body)?).await
}

/// Begins a login with a passkey or with a second factor.
pub(super) async fn begin(
    state: &AppState,
    tenant: &Tenant,
    operation: Operation,
    meta: &RequestMeta,
    user: Option<&UserId>,
) -> Result<GoJson<InitializeResponse<RequestOptions>>, Error> {
    let options = state.services.authentication.initialize(tenant, operation, user, meta).await.map_err(Error::login_initialize)?;
    Ok(GoJson(InitializeResponse::new(options)))
}

/// Begins one for the user whom a backend must name.
pub(super) async fn begin_for_user(
    state: &AppState,
    tenant: &Tenant,
    operation: Operation,
    meta: &RequestMeta,
    call: BackendCall,
) -> Result<GoJson<InitializeResponse<RequestOptions>>, Error> {
    let user = call.read(state, operation, parse_user).await?;
    begin(state, tenant, operation, meta, Some(&user)).await
}

/// The assertion that a body is.
pub(super) fn read(body: &[u8]) -> Result<AuthenticationCredential, Error> {
    AuthenticationCredential::parse(body).map_err(|e| Error::assertion_unreadable(Operation::Login, &e))
}

/// Ends either.
pub(super) async fn end(
    state: &AppState,
    tenant: &Tenant,
    operation: Operation,
    meta: &RequestMeta,
    credential: &AuthenticationCredential,
) -> Result<GoJson<TokenResponse>, Error> {
    let token = state.services.authentication.finalize(tenant, operation, credential, meta).await.map_err(Error::authentication)?;
    Ok(vouched(token))
}

/// The user, if one is named. An empty name is none that can be, and no call for whoever comes.
fn parse(members: &Members<'_>) -> Result<Option<UserId>, Error> {
    match members.text("user_id")? {
        None => Ok(None),
        Some(text) if text.is_empty() => Err(Error::invalid(&["user_id must at least have 1 entry".to_owned()])),
        Some(text) => text.parse().map(Some).map_err(|e| Error::invalid(&[format!("user_id: {e}")])),
    }
}

fn parse_user(members: &Members<'_>) -> Result<UserId, Error> {
    let mut faults = Faults::default();
    let user = faults.required("user_id", members.text("user_id")?);
    faults.into_result()?;
    user.ok_or_else(|| Error::invalid(&[]))
}
