//! The admin listener: health, metrics, and a page about the public API. Bound to loopback unless an operator says otherwise.

use std::fmt;

use axum::{
    Extension, Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::get,
};
use hyper::header;
use serde::Serialize;

use super::{
    AppState, Error,
    asset::asset,
    error,
    json::GoJson,
    openapi::{self, Document},
    public,
};
use crate::hsm::Status;

/// Where the metrics are read, in Prometheus' text form.
#[derive(Clone)]
pub struct Metrics(pub std::sync::Arc<dyn Fn() -> String + Send + Sync>);

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics(..)")
    }
}

pub(super) fn router(state: &AppState) -> Router<AppState> {
    let document = Document::new(&public::document(&state.services.context.public_url));
    Router::new()
        .route("/", get(public::status_page))
        .route("/openapi", get(page))
        .route("/openapi/page.js", get(script))
        .route("/openapi/page.css", get(style))
        .route("/openapi.json", get(openapi::serve).layer(Extension(document)))
        .route("/health/alive", get(alive))
        .route("/health/ready", get(ready))
        .route("/metrics", get(metrics))
        .fallback(not_found)
        .method_not_allowed_fallback(not_found)
}

#[derive(Serialize)]
struct Alive {
    alive: bool,
}

/// Whether the service can do its work, and if not, what is missing.
#[derive(Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "one answer for each thing that can be missing")]
struct Readiness {
    ready: bool,
    database: bool,
    hsm: bool,
    /// Whether challenges that need no row can be made and judged.
    root_secret: bool,
    /// What the HSM's supervisor has to say.
    hsm_state: String,
}

/// The process answers.
async fn alive() -> GoJson<Alive> {
    GoJson(Alive { alive: true })
}

/// The database answers, the root secret is open, and the health key signed a short while ago; the signature is cached, so nobody can hammer the HSM from here.
async fn ready(State(state): State<AppState>) -> Response {
    let context = &state.services.context;
    let status = context.signer.status();
    let database = context.store.ping().await.is_ok();
    let hsm = status.ready;
    let root_secret = context.root_secret.is_open();
    let ready = database && hsm && root_secret;
    let body = GoJson(Readiness { ready, database, hsm, root_secret, hsm_state: describe(&status) });
    if ready { body.into_response() } else { error::unhealthy(body) }
}

fn describe(status: &Status) -> String {
    let trouble = status.stopped.iter().chain(status.processes.iter().filter_map(|p| p.last_error.as_ref()));
    let trouble = trouble.map(String::as_str);
    let trouble: Vec<_> = status.activation.advice().into_iter().chain(trouble).collect();
    let up = format!("{} of {} signer processes up", status.up(), status.processes.len());
    if status.ready && status.activation.advice().is_none() || trouble.is_empty() { up } else { format!("{up}: {}", trouble.join("; ")) }
}

async fn metrics(State(state): State<AppState>) -> Response {
    let written = state.services.context.store.stats();
    metrics::counter!("storage_units_total").absolute(written.units);
    metrics::counter!("storage_commits_total").absolute(written.commits);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], (state.metrics.0)()).into_response()
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
