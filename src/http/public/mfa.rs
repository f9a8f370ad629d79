//! `POST /{tenant_id}/mfa/{registration,login}/{initialize,finalize}`: second factors, all of it behind the API key.

use axum::{Extension, extract::State};

use super::{
    AppState, Error,
    call::{BackendCall, InitializeResponse, TokenResponse, unreadable},
    extract::Backend,
    login, registration,
};
use crate::{
    domain::{Operation, RequestMeta, Tenant},
    http::{body::WholeBody, json::GoJson},
    webauthn::{CreationOptions, RequestOptions},
};

/// A backend begins the registration of a second factor.
pub(super) async fn initialize_registration(
    State(state): State<AppState>,
    Extension(tenant): Extension<Tenant>,
    Extension(meta): Extension<RequestMeta>,
    call: BackendCall,
) -> Result<GoJson<InitializeResponse<CreationOptions>>, Error> {
    registration::begin(&state, &tenant, Operation::MfaRegistration, &meta, call).await
}

/// A backend ends one. The content type does not matter.
pub(super) async fn finalize_registration(
    State(state): State<AppState>,
    Extension(tenant): Extension<Tenant>,
    _: Backend,
    Extension(meta): Extension<RequestMeta>,
    WholeBody(body): WholeBody,
) -> Result<GoJson<TokenResponse>, Error> {
    let operation = Operation::MfaRegistration;
    match registration::read(&body) {
        Ok(credential) => registration::end(&state, &tenant, operation, &meta, &credential).await,
        Err(refusal) => Err(unreadable(&state, &tenant, operation, &meta, refusal).await),
    }
}

/// A backend asks for the second factor of a user.
pub(super) async fn initialize_login(
    State(state): State<AppState>,
    Extension(tenant): Extension<Tenant>,
    Extension(meta): Extension<RequestMeta>,
    call: BackendCall,
) -> Result<GoJson<InitializeResponse<RequestOptions>>, Error> {
    login::begin_for_user(&state, &tenant, Operation::MfaLogin, &meta, call).await
}

/// A backend brings what the second factor signed. The content type does not matter.
pub(super) async fn finalize_login(
    State(state): State<AppState>,
    Extension(tenant): Extension<Tenant>,
    _: Backend,
    Extension(meta): Extension<RequestMeta>,
    WholeBody(body): WholeBody,
) -> Result<GoJson<TokenResponse>, Error> {
    let operation = Operation::MfaLogin;
    match login::read(&body) {
        Ok(credential) => login::end(&state, &tenant, operation, &meta, &credential).await,
        Err(refusal) => Err(unreadable(&state, &tenant, operation, &meta, refusal).await),
    }
}
