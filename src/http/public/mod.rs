//! The public listener: everything under `/{tenant_id}`, and a status page at the root.

mod audit_logs;
mod call;
mod credentials;
mod jwks;
mod login;
mod mfa;
mod registration;
mod status;
mod transactions;

use axum::{
    Router,
    extract::{FromRequestParts, Request, State},
    middleware::{Next, from_fn, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use hyper::http::request::Parts;
use percent_encoding::percent_decode_str;

pub(super) use self::call::InitializeResponse;
use super::{AppState, Error, cors, dev, extract};
use crate::domain::TenantId;

/// The routes. The contract's order is: tenant, CORS, API key, handler; and a path that leads nowhere is a 404, whatever its method.
pub(super) fn router(state: &AppState) -> Router<AppState> {
    let router = Router::new()
        .route("/{tenant_id}/.well-known/jwks.json", get(jwks::get))
        .route("/{tenant_id}/audit_logs", get(audit_logs::list))
        .route("/{tenant_id}/credentials", get(credentials::list))
        .route("/{tenant_id}/credentials/{id}", get(credentials::get).patch(credentials::rename).delete(credentials::delete))
        .route("/{tenant_id}/registration/initialize", post(registration::initialize))
        .route("/{tenant_id}/registration/finalize", post(registration::finalize))
        .route("/{tenant_id}/login/initialize", post(login::initialize))
        .route("/{tenant_id}/login/finalize", post(login::finalize))
        .route("/{tenant_id}/mfa/registration/initialize", post(mfa::initialize_registration))
        .route("/{tenant_id}/mfa/registration/finalize", post(mfa::finalize_registration))
        .route("/{tenant_id}/mfa/login/initialize", post(mfa::initialize_login))
        .route("/{tenant_id}/mfa/login/finalize", post(mfa::finalize_login))
        // A user may be called `initialize`, or `finalize`.
        .route("/{tenant_id}/transaction/initialize", post(transactions::initialize).get(transactions::list))
        .route("/{tenant_id}/transaction/finalize", post(transactions::finalize).get(transactions::list))
        .route("/{tenant_id}/transaction/{user_id}", get(transactions::list))
        .fallback(not_found)
        .method_not_allowed_fallback(not_found)
        .layer(from_fn(cors::layer))
        .layer(from_fn_with_state(state.clone(), tenant));
    // What is added from here on is no tenant's.
    if state.dev.is_some() { router.merge(dev::router(state)) } else { router.route("/", get(status::page).fallback(method_not_allowed)) }
}

/// Finds the tenant that the path names. Any other first segment is a malformed tenant id, as in the contract.
pub(super) async fn tenant(State(state): State<AppState>, mut request: Request, next: Next) -> Response {
    let segment = request.uri().path().trim_start_matches('/').split('/').next().unwrap_or_default();
    let segment = percent_decode_str(segment).decode_utf8_lossy();
    let Ok(id) = segment.parse::<TenantId>() else { return Error::tenant_id_malformed().into_response() };
    match state.services.tenants.get(id).await {
        Ok(tenant) => {
            request.extensions_mut().insert(tenant);
            next.run(request).await
        }
        Err(error) => Error::from(error).into_response(),
    }
}

/// The groups of paths of which a stranger learns nothing, not even that there is no such path.
const BEHIND_KEY: [&str; 4] = ["audit_logs", "credentials", "mfa", "transaction"];

/// A path or a method that is not there: 404. In a group for backends the key is asked for first, as in the contract.
async fn not_found(State(state): State<AppState>, mut parts: Parts) -> Error {
    let group = parts.uri.path().split('/').nth(2).unwrap_or_default();
    if BEHIND_KEY.contains(&group)
        && let Err(refusal) = extract::Backend::from_request_parts(&mut parts, &state).await
    {
        return refusal;
    }
    Error::not_found()
}

async fn method_not_allowed() -> Error {
    Error::method_not_allowed()
}
