//! `GET | POST /admin_tokens`, `DELETE /admin_tokens/{id}`

use axum::{extract::State, response::Response};
use hyper::HeaderMap;
use openssl::x509::X509;
use serde::Serialize;

use super::{AppState, Error, caller::Command};
use crate::{
    domain::{AdminId, AdminRecord, Permission, Role, TenantId, Timestamp},
    http::{
        error,
        extract::{Faults, LastSegment, Members},
        go_time::Instant,
        json::{GoJson, rfc_3339},
    },
    services::NewAdmin,
};

/// An administrator, without the secret.
#[derive(Debug, Serialize)]
pub(super) struct AdminResponse {
    id: String,
    name: String,
    kind: &'static str,
    role: Role,
    /// Empty but for a tenant-admin.
    tenants: Vec<TenantId>,
    created_at: String,
    created_by: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_used_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revoked_at: Option<String>,
    /// Shown once, when it is made.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
}

/// All of them, revoked ones included.
pub(super) async fn list(State(state): State<AppState>) -> Result<GoJson<Vec<AdminResponse>>, Error> {
    let admins = state.services.admins.list().await?;
    Ok(GoJson(admins.into_iter().map(AdminResponse::from).collect()))
}

/// Makes one.
pub(super) async fn create(State(state): State<AppState>, command: Command) -> Result<Response, Error> {
    let (members, by) = command.read(&["name", "role", "tenants", "expires_at", "expires_in_days", "certificate"])?;
    let new = parse(&members, state.services.context.clock.now())?;
    // Whoever could make a second approver from afar would need no second person.
    if state.services.context.governance.dual_control && new.role.has(Permission::DecideApprovals) && !command.on_host {
        let why =
            "dual control is on: who may approve is made on the server's own host, with an admin token: passkey-hsm admin-token create";
        state.services.admins.denied(&command.caller, why, &command.meta).await;
        return Err(Error::forbidden(why.to_owned()));
    }
    let (record, token) = state.services.admins.create(new, &by).await?;
    let token = token.map(|token| token.expose().as_str().to_owned());
    Ok(error::created(GoJson(AdminResponse { token, ..record.into() })))
}

/// Revokes one. That of the caller too.
pub(super) async fn revoke(State(state): State<AppState>, id: LastSegment, command: Command) -> Result<Response, Error> {
    let (_, by) = command.read(&[])?;
    let unknown = || Error::nothing(format!("there is no administrator {}, or it was revoked before", id.shown()));
    let admin: AdminId = id.text().and_then(|text| text.parse().ok()).ok_or_else(unknown)?;
    if state.services.admins.revoke(admin, &by).await? { Ok(error::no_content(HeaderMap::new())) } else { Err(unknown()) }
}

/// The longest time, in days, for which one can be made: a hundred years.
pub(super) const MAX_DAYS: i64 = 36_500;

fn parse(members: &Members<'_>, now: Timestamp) -> Result<NewAdmin, Error> {
    let mut faults = Faults::default();
    let name = members.text("name")?.unwrap_or_default();
    if name.is_empty() {
        faults.add("name is a required field".to_owned());
    }
    let role = faults.required::<Role>("role", members.text("role")?);
    let tenants: Vec<_> = members.texts("tenants")?.unwrap_or_default().iter().map(|text| text.parse::<TenantId>()).collect();
    if tenants.iter().any(Result::is_err) {
        faults.add("tenants must be UUIDs".to_owned());
    }
    let expires_at = members.text("expires_at")?.map(|text| Instant::parse(&text).map(Instant::floor)).transpose();
    let days = members.integer("expires_in_days")?;
    let expires_at = match (expires_at, days) {
        (Ok(at), None) => at,
        (Ok(None), Some(days)) if (1..=MAX_DAYS).contains(&days) => Some(now + days_long(days)),
        (Ok(None), Some(_)) => {
            faults.add(format!("expires_in_days must be 1 to {MAX_DAYS}"));
            None
        }
        (Ok(Some(_)), Some(_)) => {
            faults.add("expires_at and expires_in_days exclude each other".to_owned());
            None
        }
        (Err(why), _) => {
            faults.add(format!("expires_at: {why}"));
            None
        }
    };
    let certificate = members.text("certificate")?.map(|pem| certificate(&pem));
    if certificate.as_ref().is_some_and(Option::is_none) {
        faults.add("certificate must be one X.509 certificate in PEM".to_owned());
    }
    faults.into_result()?;
    let role = role.ok_or_else(|| Error::unprocessable("role is a required field"))?;
    Ok(NewAdmin { name, role, tenants: tenants.into_iter().flatten().collect(), expires_at, certificate: certificate.flatten() })
}

fn days_long(days: i64) -> std::time::Duration {
    std::time::Duration::from_hours(24 * u64::try_from(days).unwrap_or(0))
}

/// The one certificate, in DER.
fn certificate(pem: &str) -> Option<Vec<u8>> {
    let chain = X509::stack_from_pem(pem.as_bytes()).ok()?;
    let [certificate] = chain.as_slice() else { return None };
    certificate.to_der().ok()
}

impl From<AdminRecord> for AdminResponse {
    fn from(admin: AdminRecord) -> Self {
        Self {
            id: admin.id.to_string(),
            name: admin.name,
            kind: admin.kind.as_str(),
            role: admin.role,
            tenants: admin.tenants,
            created_at: rfc_3339(admin.created_at),
            created_by: admin.created_by,
            expires_at: admin.expires_at.map(rfc_3339),
            last_used_at: admin.last_used_at.map(rfc_3339),
            revoked_at: admin.revoked_at.map(rfc_3339),
            token: None,
        }
    }
}
