//! `GET /health/alive`, `GET /health/ready`, `GET /metrics`

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use hyper::header;
use serde::Serialize;

use super::AppState;
use crate::{
    hsm::Status,
    http::{error, json::GoJson},
};

#[derive(Serialize)]
pub(super) struct Alive {
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
pub(super) async fn alive() -> GoJson<Alive> {
    GoJson(Alive { alive: true })
}

/// The database answers, the root secret is open, and the health key signed a short while ago; the signature is cached, so nobody can hammer the HSM from here.
pub(super) async fn ready(State(state): State<AppState>) -> Response {
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
    // What an operator has to do is worth saying even while everything still signs.
    let advice = status.activation.advice();
    let trouble = status.stopped.iter().chain(status.processes.iter().filter_map(|p| p.last_error.as_ref()));
    let mut trouble: Vec<_> = trouble.map(String::as_str).collect();
    trouble.dedup();
    let up = format!("{} of {} signer processes up", status.up(), status.processes.len());
    let told = advice.into_iter().chain(trouble).collect::<Vec<_>>().join("; ");
    if told.is_empty() || (status.ready && advice.is_none()) { up } else { format!("{up}: {told}") }
}

pub(super) async fn metrics(State(state): State<AppState>) -> Response {
    let written = state.services.context.store.stats();
    metrics::counter!("storage_units_total").absolute(written.units);
    metrics::counter!("storage_commits_total").absolute(written.commits);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], (state.metrics.0)()).into_response()
}
