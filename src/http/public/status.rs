//! `GET /` of both listeners: a page that says whether the service is up.

use axum::{
    extract::State,
    response::{Html, IntoResponse, Response},
};

use super::AppState;
use crate::http::error;

/// 200 when the database answers, 500 when it does not, as in the contract.
pub(in crate::http) async fn page(State(state): State<AppState>) -> Response {
    match state.services.context.store.ping().await {
        Ok(()) => Html(render("The service is up.")).into_response(),
        Err(reason) => {
            tracing::error!(%reason, "the status page found the database gone: {reason}");
            error::failed(Html(render("The service is not available.")))
        }
    }
}

fn render(state: &str) -> String {
    format!("<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>API Status</title><h1>API Status</h1><p>{state}</p></html>\n")
}
