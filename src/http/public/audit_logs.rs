//! `GET /{tenant_id}/audit_logs`

use axum::{Extension, extract::State, response::Response};
use serde::Serialize;

use super::{AppState, Error, extract::Backend};
use crate::{
    domain::{AuditEvent, AuditFilter, Tenant},
    http::{go_time::Instant, json::rfc_3339, page::Listing, query::Query},
};

/// An event, its members in the contract's order; `credential_id` is ours.
#[derive(Debug, Serialize)]
pub(in crate::http) struct Entry {
    id: String,
    #[serde(rename = "type")]
    event_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    meta_http_request_id: String,
    meta_source_ip: String,
    meta_user_agent: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    actor_user_id: Option<String>,
    created_at: String,
    /// Events do not change.
    updated_at: String,
    tenant_id: String,
    /// Null when there is none.
    transaction_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    credential_id: Option<String>,
}

/// The tenant's events, newest first.
pub(super) async fn list(
    State(state): State<AppState>,
    Extension(tenant): Extension<Tenant>,
    _: Backend,
    listing: Result<Listing, Error>,
) -> Result<Response, Error> {
    let unlistable = |refusal: Error| Error::audit_logs_unlistable(refusal.into_details());
    let listing = listing.map_err(unlistable)?;
    let filter = parse(&listing.query).map_err(unlistable)?;
    let (events, total) = state.services.audit.log(tenant.id, &filter, listing.page).await?;
    listing.answer(events.into_iter().map(Entry::from).collect(), total)
}

/// What the query asks for; a filter without a value lets everything through, but an instant must be one.
pub(in crate::http) fn parse(query: &Query) -> Result<AuditFilter, Error> {
    let instant = |name| query.text(name)?.map(Instant::parse).transpose().map_err(Error::unprocessable);
    let text = |name| Ok::<_, Error>(query.text(name)?.filter(|value| !value.is_empty()).map(str::to_owned));
    // One at a time, as the contract has it, or in a list, as its specification says. A type that there is not has no events.
    let types: Vec<_> = query.texts("type").flat_map(|value| value.split(',')).filter(|value| !value.is_empty()).collect();
    Ok(AuditFilter {
        after: instant("start_time")?.map(Instant::floor),
        before: instant("end_time")?.map(Instant::ceiling),
        types: (!types.is_empty()).then(|| types.iter().filter_map(|name| name.parse().ok()).collect()),
        actor_user_id: text("actor_user_id")?,
        source_ip: text("meta_source_ip")?,
        search: text("q")?,
    })
}

impl From<AuditEvent> for Entry {
    fn from(event: AuditEvent) -> Self {
        let at = rfc_3339(event.created_at);
        Self {
            id: event.id.to_string(),
            event_type: event.event_type.as_str(),
            error: event.error,
            meta_http_request_id: event.meta.request_id,
            meta_source_ip: event.meta.source_ip,
            meta_user_agent: event.meta.user_agent,
            actor_user_id: event.actor_user_id.map(|id| id.to_string()),
            created_at: at.clone(),
            updated_at: at,
            tenant_id: event.tenant_id.to_string(),
            transaction_id: event.transaction_id,
            credential_id: event.credential_id.map(|id| id.to_string()),
        }
    }
}
