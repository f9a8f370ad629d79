//! The public listener: everything under `/{tenant_id}`, and a status page at the root.

mod audit_logs;
mod call;
mod credentials;
mod jwks;
mod login;
mod mfa;
mod operations;
mod registration;
mod signals;
mod status;
mod transactions;
mod well_known;

use axum::{
    Extension, Router,
    extract::{FromRequestParts, Request, State},
    middleware::{Next, from_fn, from_fn_with_state},
    response::{IntoResponse, Response},
};
use hyper::http::request::Parts;
use percent_encoding::percent_decode_str;
use serde_json::Value;
use url::Url;

pub(super) use self::{
    audit_logs::{Entry, parse as parse_audit_filter},
    call::InitializeResponse,
    credentials::CredentialResponse,
    status::page as status_page,
    transactions::TransactionResponse,
};
use super::{
    AppState, Error, cors, dev, extract,
    openapi::{self, Document},
};
use crate::domain::TenantId;

/// The routes. The contract's order is: tenant, CORS, API key, handler; and a path that leads nowhere is a 404, whatever its method.
pub(super) fn router(state: &AppState) -> Router<AppState> {
    let document = Document::new(&document(&state.services.context.public_url));
    let tenants = openapi::mount(Router::new(), operations::of_tenants())
        .fallback(not_found)
        .method_not_allowed_fallback(not_found)
        .layer(from_fn(cors::layer))
        .layer(from_fn_with_state(state.clone(), tenant));
    // What is added from here on is no tenant's.
    let mut root = operations::of_the_root();
    // The development page is at the status page's place.
    root.retain(|operation| state.dev.is_none() || operation.path() != "/");
    let root = openapi::mount(Router::new(), root).method_not_allowed_fallback(method_not_allowed).layer(Extension(document));
    if state.dev.is_some() { tenants.clone().merge(root).merge(dev::router(state, tenants)) } else { tenants.merge(root) }
}

/// The document that describes these routes.
pub(super) fn document(public_url: &Url) -> Value {
    let mut operations = operations::of_tenants();
    operations.extend(operations::of_the_root());
    openapi::document(&operations, public_url)
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
const BEHIND_KEY: [&str; 5] = ["audit_logs", "credentials", "mfa", "signals", "transaction"];

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
