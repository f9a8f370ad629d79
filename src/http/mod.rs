//! Both listeners: the contract's public API, and the operator's side. A handler translates, a service decides.

mod admin;
mod asset;
mod body;
mod cors;
mod dev;
mod error;
mod extract;
mod go_time;
mod host;
mod json;
mod meta;
mod openapi;
mod page;
mod public;
mod query;
mod server;
mod socket;
mod stall;
mod tls;

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    middleware::{from_fn, from_fn_with_state},
    response::{IntoResponse, Response},
};
use serde_json::Value;
use tower_http::catch_panic::CatchPanicLayer;
use url::Url;

use self::error::Error;
pub use self::{
    admin::{AdminAccess, Credentials, Local, Metrics},
    dev::DevTenant,
    meta::TrustedProxies,
    server::{Limits, Server},
    socket::SocketError,
    tls::{Tls, TlsError, TlsFiles},
};
use crate::services::Services;

/// What every handler can reach.
#[derive(Clone, Debug)]
pub struct AppState {
    /// The use cases.
    pub services: Services,
    /// The most bytes a request body may have.
    pub body_limit: usize,
    /// How long a request body may take to arrive.
    pub body_timeout: Duration,
    /// Whose word on the source address counts.
    pub trusted_proxies: Arc<TrustedProxies>,
    /// Where the admin listener reads the metrics.
    pub metrics: Metrics,
    /// How administrators prove who they are.
    pub admin: Arc<AdminAccess>,
    /// The demo tenant, in dev mode alone.
    pub dev: Option<Arc<DevTenant>>,
}

/// The public listener's routes.
pub fn public_router(state: AppState) -> Router {
    finish(public::router(&state), state)
}

/// The admin listener's routes.
pub fn admin_router(mut state: AppState) -> Router {
    state.body_limit = state.body_limit.max(admin::BODY_LIMIT);
    finish(admin::router(&state), state)
}

/// The description of the public API (OpenAPI 3.1) where it is reached at `public_url`: what `GET /openapi.json` answers.
pub fn openapi(public_url: &Url) -> Value {
    public::document(public_url)
}

/// The description of the admin API (OpenAPI 3.1): what `GET /openapi-admin.json` of its listener answers.
pub fn admin_openapi() -> Value {
    admin::document()
}

/// Around every route of both: who asks is found out first, and a panic is answered like any other fault of ours.
fn finish(router: Router<AppState>, state: AppState) -> Router {
    router
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn(host::exactly_one))
        .layer(from_fn(meta::observe))
        .layer(from_fn_with_state(state.clone(), meta::identify))
        .with_state(state)
}

/// The panic's text goes to the log alone: it may quote what it choked on.
#[expect(clippy::needless_pass_by_value, reason = "the signature that the layer asks for")]
fn panicked(panic: Box<dyn std::any::Any + Send + 'static>) -> Response {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    Error::panicked(&format!("a handler panicked: {}", text.unwrap_or("no text"))).into_response()
}
