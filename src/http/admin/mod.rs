//! The admin listener: the operators' API, health, metrics, and a page about the public API. Bound to loopback unless an operator says otherwise.

mod admins;
mod approvals;
mod audit_logs;
mod caller;
mod health;
mod hsm;
mod inventory;
mod key_json;
mod local;
mod operations;
mod secrets;
mod settings;
mod signing_keys;
mod tenants;
mod users;

use std::fmt;

use axum::{
    Extension, Router,
    middleware::{from_fn, from_fn_with_state},
    response::Response,
    routing::get,
};
use serde_json::Value;

use self::caller::Need;
pub use self::{
    caller::{AdminAccess, Credentials},
    local::Local,
};
use super::{
    AppState, Error,
    asset::asset,
    openapi::{self, Document},
    public,
};

/// The bytes that a body may have, whatever less the public API's may: a vendor's attestation of a key has up to 1 MiB, and is sent in base64.
/// No stranger's body is read.
pub(super) const BODY_LIMIT: usize = 2 << 20;

/// Where the metrics are read, in Prometheus' text form.
#[derive(Clone)]
pub struct Metrics(pub std::sync::Arc<dyn Fn() -> String + Send + Sync>);

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics(..)")
    }
}

/// The API's routes, each behind the permission that its description names, and pages that need none.
pub(super) fn router(state: &AppState) -> Router<AppState> {
    let api = openapi::mount_guarded(Router::new(), operations::all(), |handler, operation| match operation.need() {
        Some((permission, scope)) => {
            handler.route_layer(from_fn_with_state((state.clone(), Need { permission, scope }), caller::authorize))
        }
        None => handler,
    });
    let described = Document::new(&public::document(&state.services.context.public_url));
    api.layer(Extension(Document::new(&document())))
        .route("/", get(public::status_page))
        .route("/openapi", get(page))
        .route("/openapi/page.js", get(script))
        .route("/openapi/page.css", get(style))
        .route("/openapi.json", get(openapi::serve).layer(Extension(described)))
        .fallback(not_found)
        .method_not_allowed_fallback(not_found)
        .layer(from_fn_with_state(state.admin.clone(), caller::cors))
        .layer(from_fn(caller::unstored))
}

/// The document that describes the API.
pub(super) fn document() -> Value {
    openapi::admin_document(&operations::all(), operations::schemas())
}

/// The public API, for people to read.
async fn page() -> Response {
    asset("text/html; charset=utf-8", include_str!("page.html"))
}

async fn script() -> Response {
    asset("text/javascript; charset=utf-8", include_str!("page.js"))
}

async fn style() -> Response {
    asset("text/css; charset=utf-8", include_str!("page.css"))
}

async fn not_found() -> Error {
    Error::not_found()
}
