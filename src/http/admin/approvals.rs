//! `GET /approvals`, `GET /approvals/{id}`, `POST /approvals/{id}/{approve|reject}`

use axum::{
    extract::{FromRequestParts, RawPathParams, State},
    response::{IntoResponse as _, Response},
};
use hyper::{HeaderMap, http::request::Parts};
use serde::Serialize;

use super::{AppState, Error, caller::Command, key_json::OutcomeResponse};
use crate::{
    domain::{Act, Actor, Approval, ApprovalId, ApprovalState},
    http::{
        error,
        json::{GoJson, rfc_3339},
        page::Listing,
    },
    services::{Outcome, Submitted},
};

/// A request for an approval, and what became of it.
#[derive(Debug, Serialize)]
pub(super) struct ApprovalResponse {
    id: String,
    /// The act's name.
    act: &'static str,
    /// The whole act, as it will be done.
    request: Act,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kid: Option<String>,
    reason: String,
    state: ApprovalState,
    requested_by: String,
    requested_at: String,
    expires_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    decided_by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    decided_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<String>,
    /// What the act led to, where it was done now.
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<OutcomeResponse>,
}

impl From<Approval> for ApprovalResponse {
    fn from(approval: Approval) -> Self {
        Self {
            id: approval.id.to_string(),
            act: approval.act.name(),
            tenant_id: approval.tenant_id.map(|id| id.to_string()),
            kid: approval.act.key().map(|kid| kid.to_string()),
            request: approval.act,
            reason: approval.reason,
            state: approval.state,
            requested_by: approval.requested_by.to_string(),
            requested_at: rfc_3339(approval.requested_at),
            expires_at: rfc_3339(approval.expires_at),
            decided_by: approval.decided_by.as_ref().map(Actor::to_string),
            decided_at: approval.decided_at.map(rfc_3339),
            outcome: approval.outcome,
            result: None,
        }
    }
}

/// The answer to an act: what came of it, or the request that waits for a second administrator.
pub(super) fn submitted(submitted: Submitted) -> Response {
    match submitted {
        Submitted::Done(outcome) => GoJson(OutcomeResponse::from(*outcome)).into_response(),
        Submitted::Requested(approval) => requested(*approval),
    }
}

/// The answer to an act of which nothing is to be said once it is done: 204, or the request.
pub(super) fn submitted_silently(submitted: Submitted) -> Response {
    match submitted {
        Submitted::Done(_) => error::no_content(HeaderMap::new()),
        Submitted::Requested(approval) => requested(*approval),
    }
}

/// 202 with the request.
pub(super) fn requested(approval: Approval) -> Response {
    error::accepted(GoJson(ApprovalResponse::from(approval)))
}

/// The request that the path names.
#[derive(Debug)]
pub(super) struct Named(ApprovalId);

impl FromRequestParts<AppState> for Named {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Error> {
        let params = RawPathParams::from_request_parts(parts, state).await;
        let text = params.ok().and_then(|params| params.iter().find(|(name, _)| *name == "id").map(|(_, text)| text.to_owned()));
        let text = text.unwrap_or_default();
        text.parse().map(Self).map_err(|_| Error::nothing(format!("there is no approval {text}")))
    }
}

/// Lists requests, the newest first.
pub(super) async fn list(State(state): State<AppState>, listing: Listing) -> Result<Response, Error> {
    let in_state = listing.query.text("state")?.map(str::parse::<ApprovalState>).transpose();
    let in_state = in_state.map_err(|e| Error::invalid(&[format!("state: {e}")]))?;
    let (found, total) = state.services.acts.list(in_state, listing.page).await?;
    listing.answer(found.into_iter().map(ApprovalResponse::from).collect(), total)
}

/// Shows a request.
pub(super) async fn get(State(state): State<AppState>, Named(id): Named) -> Result<GoJson<ApprovalResponse>, Error> {
    Ok(GoJson(state.services.acts.get(id).await?.into()))
}

/// Approves a request of another's, and does what it asks for.
pub(super) async fn approve(State(state): State<AppState>, Named(id): Named, command: Command) -> Result<GoJson<ApprovalResponse>, Error> {
    let (_, by) = command.read(&[])?;
    let (approval, outcome) = state.services.acts.approve(id, &command.caller, &by).await?;
    let result = outcome.filter(|outcome| !matches!(outcome, Outcome::Done)).map(OutcomeResponse::from);
    Ok(GoJson(ApprovalResponse { result, ..approval.into() }))
}

/// Rejects a request, or takes one's own back.
pub(super) async fn reject(State(state): State<AppState>, Named(id): Named, command: Command) -> Result<GoJson<ApprovalResponse>, Error> {
    let (_, by) = command.read(&[])?;
    Ok(GoJson(state.services.acts.reject(id, &command.caller, &by).await?.into()))
}
