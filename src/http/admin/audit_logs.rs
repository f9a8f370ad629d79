//! `GET /tenants/{tenant_id}/audit_logs`, `GET /audit_logs`

use axum::{Extension, extract::State, response::Response};
use serde::Serialize;

use super::{AppState, Error};
use crate::{
    domain::{AuditEvent, TenantId},
    http::{
        page::Listing,
        public::{Entry, parse_audit_filter},
    },
};

/// An event as tenants see it, and what is for operators alone.
#[derive(Debug, Serialize)]
struct AdminEntry {
    #[serde(flatten)]
    entry: Entry,
    /// Who did it, where that is no user.
    #[serde(skip_serializing_if = "Option::is_none")]
    actor: Option<String>,
    /// Which signing key it was about.
    #[serde(skip_serializing_if = "Option::is_none")]
    key_id: Option<String>,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// A tenant's events, newest first. A deleted tenant's are there as long as all others.
pub(super) async fn of_tenant(
    State(state): State<AppState>,
    Extension(tenant): Extension<TenantId>,
    listing: Result<Listing, Error>,
) -> Result<Response, Error> {
    state.services.tenants.known(tenant).await?;
    list(&state, Of::One(tenant), listing).await
}

/// The deployment's own events, or with `tenant` a tenant's, or everybody's.
pub(super) async fn of_deployment(State(state): State<AppState>, listing: Result<Listing, Error>) -> Result<Response, Error> {
    let asked = listing.as_ref().ok().map(|listing| listing.query.text("tenant")).transpose().map_err(unlistable)?.flatten();
    let of = match asked.unwrap_or_default() {
        "" => Of::One(AuditEvent::DEPLOYMENT),
        "all" => Of::All,
        id => Of::One(id.parse().map_err(|_| Error::audit_logs_unlistable("tenant must be a valid uuid4, or all"))?),
    };
    list(&state, of, listing).await
}

/// Whose events.
enum Of {
    One(TenantId),
    All,
}

async fn list(state: &AppState, of: Of, listing: Result<Listing, Error>) -> Result<Response, Error> {
    let listing = listing.map_err(unlistable)?;
    let filter = parse_audit_filter(&listing.query).map_err(unlistable)?;
    let (events, total) = match of {
        Of::One(tenant) => state.services.audit.log(tenant, &filter, listing.page).await?,
        Of::All => state.services.audit.log_of_all(&filter, listing.page).await?,
    };
    listing.answer(events.into_iter().map(AdminEntry::from).collect(), total)
}

fn unlistable(refusal: Error) -> Error {
    Error::audit_logs_unlistable(refusal.into_details())
}

impl From<AuditEvent> for AdminEntry {
    fn from(mut event: AuditEvent) -> Self {
        let (actor, key_id, reason) = (event.actor.take(), event.key_id.map(|kid| kid.to_string()), event.reason.take());
        Self { entry: event.into(), actor, key_id, reason }
    }
}
