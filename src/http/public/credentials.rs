//! `GET /{tenant_id}/credentials`, `GET | PATCH | DELETE /{tenant_id}/credentials/{id}`

use axum::{Extension, extract::State, response::Response};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hyper::HeaderMap;
use serde::Serialize;

use super::{
    AppState, Error,
    extract::{Backend, Faults, JsonObject, LastSegment},
};
use crate::{
    domain::{Credential, CredentialId, Order, RequestMeta, Tenant, UserId},
    http::{
        body::WholeBody,
        error,
        json::{GoJson, rfc_3339},
        page::Listing,
        query::Query,
    },
};

/// A credential as the contract shows it, in the contract's order.
#[derive(Debug, Serialize)]
pub(in crate::http) struct CredentialResponse {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// COSE_Key in canonical CBOR, in base64url.
    public_key: String,
    /// The attestation statement's format.
    attestation_type: String,
    aaguid: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_used_at: Option<String>,
    created_at: String,
    transports: Vec<String>,
    backup_eligible: bool,
    backup_state: bool,
    is_mfa: bool,
    user_id: UserId,
}

/// Lists the tenant's credentials, or those of one of its users.
pub(super) async fn list(
    State(state): State<AppState>,
    Extension(tenant): Extension<Tenant>,
    _: Backend,
    listing: Listing,
) -> Result<Response, Error> {
    let (user, order) = parse_filter(&listing.query)?;
    let Ok(user) = user.map(str::parse::<UserId>).transpose() else {
        // A name that no user can have is nobody's.
        return listing.answer(Vec::<CredentialResponse>::new(), 0);
    };
    let (credentials, total) = state.services.credentials.list(&tenant, user.as_ref(), order, listing.page).await?;
    listing.answer(credentials.into_iter().map(CredentialResponse::from).collect(), total)
}

/// Shows one credential.
pub(super) async fn get(
    State(state): State<AppState>,
    Extension(tenant): Extension<Tenant>,
    _: Backend,
    id: LastSegment,
) -> Result<GoJson<CredentialResponse>, Error> {
    Ok(GoJson(state.services.credentials.get(&tenant, &parse_id(&id)?).await?.into()))
}

/// Gives a credential another name.
pub(super) async fn rename(
    State(state): State<AppState>,
    Extension(tenant): Extension<Tenant>,
    _: Backend,
    id: LastSegment,
    Extension(meta): Extension<RequestMeta>,
    headers: HeaderMap,
    WholeBody(body): WholeBody,
) -> Result<Response, Error> {
    let name = parse_name(&JsonObject::new(&headers, body)?)?;
    state.services.credentials.rename(&tenant, &parse_id(&id)?, &name, &meta).await?;
    Ok(error::no_content(HeaderMap::new()))
}

/// Removes a credential. A body means nothing (RFC 9110 section 9.3.5) and is not read.
pub(super) async fn delete(
    State(state): State<AppState>,
    Extension(tenant): Extension<Tenant>,
    _: Backend,
    id: LastSegment,
    Extension(meta): Extension<RequestMeta>,
) -> Result<Response, Error> {
    state.services.credentials.delete(&tenant, &parse_id(&id)?, &meta).await?;
    Ok(error::no_content(HeaderMap::new()))
}

/// What is no id at all is not found either.
fn parse_id(id: &LastSegment) -> Result<CredentialId, Error> {
    id.text().and_then(|text| text.parse().ok()).ok_or_else(|| Error::credential_not_found(&id.shown()))
}

/// Whose credentials, if one user's, and in which order: the newest first unless it says otherwise.
fn parse_filter(query: &Query) -> Result<(Option<&str>, Order), Error> {
    let (user, order) = (query.text("user_id")?, query.text("order")?);
    let mut faults = Faults::default();
    // Not everybody's: an application that lost its user's id must not be shown them.
    if user == Some("") {
        faults.add("user_id must at least have 1 entry".to_owned());
    }
    let order = match order.unwrap_or_default() {
        "" | "desc" => Order::Descending,
        "asc" => Order::Ascending,
        _ => {
            // The contract's name for it.
            faults.add("Order must be one of 'desc asc'".to_owned());
            Order::Descending
        }
    };
    faults.into_result()?;
    Ok((user, order))
}

/// Characters that a credential's name may have.
pub(super) const NAME_CHARS: usize = 255;

fn parse_name(object: &JsonObject) -> Result<String, Error> {
    let name = object.members()?.text("name")?.unwrap_or_default();
    let mut faults = Faults::default();
    if name.is_empty() {
        faults.add("name is a required field".to_owned());
    }
    if name.chars().count() > NAME_CHARS {
        faults.add(format!("name cannot have more than {NAME_CHARS} entries"));
    }
    faults.into_result()?;
    Ok(name)
}

impl From<Credential> for CredentialResponse {
    fn from(Credential { data, last_used_at }: Credential) -> Self {
        Self {
            id: data.id.to_string(),
            name: data.name,
            public_key: URL_SAFE_NO_PAD.encode(&data.public_key),
            attestation_type: data.attestation_type,
            aaguid: data.aaguid.to_string(),
            last_used_at: last_used_at.map(rfc_3339),
            created_at: rfc_3339(data.created_at),
            transports: data.transports,
            backup_eligible: data.backup.eligible,
            backup_state: data.backup.state,
            is_mfa: data.is_mfa,
            user_id: data.user_id,
        }
    }
}
