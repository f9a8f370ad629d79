//! `GET /.well-known/{webauthn,passkey-endpoints}`, at the root and below a tenant.
//!
//! Browsers ask for these at the RP ID's own host. Where that leads to us, the root answers by `Host`; where it leads to an application, its
//! proxy maps the two paths to those of a tenant. Everything in them is public: no key.

use std::time::Duration;

use axum::{
    Extension,
    extract::State,
    response::{IntoResponse, Response},
};
use hyper::{HeaderMap, header};
use serde::Serialize;
use url::Host;

use super::{AppState, Error};
use crate::{
    domain::{PasskeyEndpoints, Tenant},
    http::{host, json::GoJson},
    services,
};

/// `{"origins": [...]}` (WebAuthn L3 section 5.11).
#[derive(Debug, Serialize)]
struct RelatedOrigins {
    origins: Vec<String>,
}

pub(super) async fn related_origins(Extension(tenant): Extension<Tenant>) -> Response {
    origins_of(&[tenant])
}

pub(super) async fn related_origins_of_host(State(state): State<AppState>, headers: HeaderMap) -> Result<Response, Error> {
    Ok(origins_of(&tenants_of_host(&state, &headers).await?))
}

pub(super) async fn passkey_endpoints(Extension(tenant): Extension<Tenant>) -> Result<Response, Error> {
    endpoints_of(&[tenant])
}

pub(super) async fn passkey_endpoints_of_host(State(state): State<AppState>, headers: HeaderMap) -> Result<Response, Error> {
    endpoints_of(&tenants_of_host(&state, &headers).await?)
}

/// The tenants whose RP ID is the host that was asked; there is at least one.
async fn tenants_of_host(state: &AppState, headers: &HeaderMap) -> Result<Vec<Tenant>, Error> {
    // An address is nobody's RP ID.
    let Some(Host::Domain(rp_id)) = host::named(headers) else { return Err(Error::not_found()) };
    let tenants = state.services.tenants.of_rp_id(&rp_id).await?;
    if tenants.is_empty() { Err(Error::not_found()) } else { Ok(tenants) }
}

fn origins_of(tenants: &[Tenant]) -> Response {
    cached(RelatedOrigins { origins: services::related_origins(tenants) })
}

fn endpoints_of(tenants: &[Tenant]) -> Result<Response, Error> {
    let endpoints: Option<PasskeyEndpoints> = services::passkey_endpoints(tenants);
    endpoints.map(cached).ok_or_else(Error::not_found)
}

/// To be kept as long as a JWKS.
fn cached(document: impl Serialize) -> Response {
    ([(header::CACHE_CONTROL, format!("max-age={}", MAX_AGE.as_secs()))], GoJson(document)).into_response()
}

/// How long browsers may keep these documents.
const MAX_AGE: Duration = Duration::from_mins(10);
