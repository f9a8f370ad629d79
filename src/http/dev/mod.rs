//! Dev mode: a page on which a person makes a passkey and sees the token. The page is an ordinary client of the public API; what an
//! application's backend would do for it is here, so that no API key is ever in the page.

use axum::{
    Extension, Router,
    extract::State,
    middleware::from_fn_with_state,
    response::Response,
    routing::{get, post},
};
use hyper::HeaderMap;
use serde::Serialize;

use super::{AppState, Error, asset::asset, body::WholeBody, extract::JsonObject, host, json::GoJson, public::InitializeResponse};
use crate::{
    domain::{AttestationPreference, Operation, RequestMeta, Tenant, TenantId, UserId},
    services::Initialize,
};

/// The tenant that the page works with.
#[derive(Debug)]
pub struct DevTenant {
    /// Its id.
    pub id: TenantId,
}

/// These routes ask for no key: they go by names that nobody else's page can have.
pub(super) fn router(state: &AppState) -> Router<AppState> {
    Router::new()
        .route("/", get(page))
        .route("/dev/page.js", get(script))
        .route("/dev/page.css", get(style))
        .route("/dev/info", get(info))
        .route("/dev/register/initialize", post(initialize))
        .method_not_allowed_fallback(async || Error::method_not_allowed())
        .layer(from_fn_with_state(state.clone(), host::own))
}

async fn page() -> Response {
    asset("text/html; charset=utf-8", include_str!("page.html"))
}

async fn script() -> Response {
    asset("text/javascript; charset=utf-8", include_str!("page.js"))
}

async fn style() -> Response {
    asset("text/css; charset=utf-8", include_str!("page.css"))
}

#[derive(Serialize)]
struct Info {
    tenant_id: TenantId,
    rp_id: String,
    origins: Vec<String>,
    algorithm: &'static str,
}

async fn info(State(state): State<AppState>) -> Result<GoJson<Info>, Error> {
    let tenant = tenant(&state).await?;
    let relying_party = tenant.config.webauthn.relying_party;
    Ok(GoJson(Info {
        tenant_id: tenant.id,
        rp_id: relying_party.id,
        origins: relying_party.origins.iter().map(ToString::to_string).collect(),
        algorithm: tenant.settings.algorithm.as_str(),
    }))
}

/// The backend's part: `{username, attestation?}` in, the contract's `{publicKey}` out.
///
/// The body must be declared as JSON, so that another page's browser asks first, and is refused.
async fn initialize(
    State(state): State<AppState>,
    Extension(meta): Extension<RequestMeta>,
    headers: HeaderMap,
    WholeBody(body): WholeBody,
) -> Result<GoJson<InitializeResponse>, Error> {
    let object = JsonObject::new(&headers, body)?;
    let members = object.members()?;
    // On this page the user's name is the user's id, so that the token's `sub` is readable.
    let username = members.text("username")?.unwrap_or_default();
    let user_id = username.parse::<UserId>().map_err(|e| Error::invalid(&[format!("username: {e}")]))?;
    let mut tenant = tenant(&state).await?;
    if let Some(attestation) = members.text("attestation")? {
        let parsed = attestation.parse::<AttestationPreference>().map_err(|e| Error::invalid(&[format!("attestation: {e}")]))?;
        tenant.config.webauthn.attestation_preference = parsed;
    }
    let request = Initialize { user_id, username, display_name: None, icon: None };
    let options = state.services.registration.initialize(&tenant, Operation::Registration, request, &meta).await?;
    Ok(GoJson(InitializeResponse::new(options)))
}

async fn tenant(state: &AppState) -> Result<Tenant, Error> {
    let dev = state.dev.as_ref().ok_or_else(Error::not_found)?;
    Ok(state.services.tenants.get(dev.id).await?)
}
