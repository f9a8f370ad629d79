//! Dev mode: a page on which a person makes passkeys, uses them, and sees each token. The page is an ordinary client of the public API; what
//! an application's backend would do for it is here, so that no API key is ever in the page.

use axum::{
    Extension, Router,
    extract::{Request, State},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use hyper::{
    HeaderMap, Method, Uri,
    header::{HeaderName, HeaderValue},
};
use serde::Serialize;

use super::{
    AppState, Error,
    asset::asset,
    body::WholeBody,
    extract::{self, JsonObject},
    host,
    json::GoJson,
    public::InitializeResponse,
};
use crate::{
    domain::{ApiKey, AttestationPreference, Operation, RequestMeta, Tenant, TenantId, UserId},
    services::Initialize,
};

/// The tenant that the page works with.
#[derive(Debug)]
pub struct DevTenant {
    /// Its id.
    pub id: TenantId,
    /// What the page's backend shows to the API.
    pub api_key: ApiKey,
}

/// These routes ask for no key: they go by names that nobody else's page can have. `api` has the public API's routes, of all tenants.
pub(super) fn router(state: &AppState, api: Router<AppState>) -> Router<AppState> {
    // Around a router of its own, so that the path is the API's before the API looks for a route.
    let backend = Router::new().fallback_service(api.with_state(state.clone())).layer(from_fn_with_state(state.clone(), as_backend));
    let mut router = Router::new();
    for (path, media_type, text) in ASSETS {
        router = router.route(path, get(async move || asset(media_type, text)));
    }
    router
        .route("/dev/info", get(info))
        .route("/dev/register/initialize", post(initialize))
        .nest_service("/dev/backend", backend)
        .method_not_allowed_fallback(async || Error::method_not_allowed())
        .layer(from_fn_with_state(state.clone(), host::own))
}

/// The page's files: path, media type, text.
const ASSETS: [(&str, &str, &str); 8] = [
    ("/", "text/html; charset=utf-8", include_str!("page.html")),
    ("/dev/page.css", "text/css; charset=utf-8", include_str!("page.css")),
    ("/dev/page.js", SCRIPT, include_str!("page.js")),
    ("/dev/lists.js", SCRIPT, include_str!("lists.js")),
    ("/dev/server.js", SCRIPT, include_str!("server.js")),
    ("/dev/token.js", SCRIPT, include_str!("token.js")),
    ("/dev/view.js", SCRIPT, include_str!("view.js")),
    ("/dev/webauthn.js", SCRIPT, include_str!("webauthn.js")),
];

const SCRIPT: &str = "text/javascript; charset=utf-8";

/// The backend's part: the rest of the path is the demo tenant's, and its API key is added. The answer is the API's own.
async fn as_backend(State(state): State<AppState>, mut request: Request, next: Next) -> Response {
    match hand_on(&state, &mut request) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    }
}

fn hand_on(state: &AppState, request: &mut Request) -> Result<(), Error> {
    let dev = state.dev.as_ref().ok_or_else(Error::not_found)?;
    // Another site's page can have its browser send these without asking first. GET changes nothing, and its answer is kept from it.
    match *request.method() {
        Method::GET | Method::PATCH | Method::DELETE => {}
        Method::POST if extract::is_json(request.headers()) => {}
        Method::POST => return Err(Error::unprocessable("Unsupported Media Type")),
        _ => return Err(Error::method_not_allowed()),
    }
    let rest = request.uri().path_and_query().map_or("/", |path| path.as_str());
    *request.uri_mut() = format!("/{}{rest}", dev.id).parse::<Uri>().map_err(|_| Error::not_found())?;
    let mut key = HeaderValue::from_str(&dev.api_key.expose()).map_err(|e| Error::internal("an API key is no header's value", e))?;
    key.set_sensitive(true);
    request.headers_mut().insert(HeaderName::from_static("apikey"), key);
    Ok(())
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
