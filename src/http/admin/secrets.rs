//! `GET | POST /tenants/{tenant_id}/secrets/{api,jwk}`, `DELETE /tenants/{tenant_id}/secrets/{api,jwk}/{secret_id}`

use axum::{Extension, extract::State, response::Response};
use hyper::HeaderMap;
use serde::Serialize;
use uuid::{Uuid, Version};

use super::{AppState, Error, caller::Command};
use crate::{
    domain::{ApiKey, ApiKeyId, ApiKeyRecord, KeyId, TenantId},
    http::{
        error,
        extract::{LastSegment, Members},
        json::{GoJson, rfc_3339},
    },
    services::{self, NamedKey},
};

/// A key in the contract's form.
#[derive(Debug, Serialize)]
pub(super) struct SecretResponse {
    id: String,
    name: String,
    /// Of an API key: itself, once, when it is made, and a mask from then on. Of a signing key: its `kid`, for its secret is in the HSM.
    secret: String,
    created_at: String,
}

/// In the place of an API key: nothing of it is stored that could be shown.
pub(super) const MASK: &str = "********";

/// The most characters of a key's name.
pub(super) const NAME_CHARS: usize = 200;

impl SecretResponse {
    /// An API key just made.
    pub(super) fn created(record: &ApiKeyRecord, key: &ApiKey) -> Self {
        Self { secret: key.expose().as_str().to_owned(), ..Self::from(record) }
    }
}

impl From<&ApiKeyRecord> for SecretResponse {
    fn from(record: &ApiKeyRecord) -> Self {
        Self { id: record.id.to_string(), name: record.name.clone(), secret: MASK.to_owned(), created_at: rfc_3339(record.created_at) }
    }
}

impl From<NamedKey> for SecretResponse {
    fn from(NamedKey { key, name }: NamedKey) -> Self {
        let kid = key.id.to_string();
        Self { id: kid.clone(), name, secret: kid, created_at: rfc_3339(key.created_at) }
    }
}

/// The API keys that open something.
pub(super) async fn list_api(
    State(state): State<AppState>,
    Extension(tenant): Extension<TenantId>,
) -> Result<GoJson<Vec<SecretResponse>>, Error> {
    let keys = state.services.api_keys.list(tenant).await?;
    Ok(GoJson(keys.iter().filter(|key| key.revoked_at.is_none()).map(SecretResponse::from).collect()))
}

/// Makes an API key, which is shown this once.
pub(super) async fn create_api(
    State(state): State<AppState>,
    Extension(tenant): Extension<TenantId>,
    command: Command,
) -> Result<Response, Error> {
    let (members, by) = command.read_loosely()?;
    let (record, key) = state.services.api_keys.create(tenant, &parse_name(&members)?, &by).await.map_err(uncreated)?;
    Ok(error::created(GoJson(SecretResponse::created(&record, &key))))
}

/// Revokes an API key.
pub(super) async fn delete_api(
    State(state): State<AppState>,
    Extension(tenant): Extension<TenantId>,
    id: LastSegment,
    command: Command,
) -> Result<Response, Error> {
    let (_, by) = command.read_loosely()?;
    let secret = parse_id(&id)?;
    state.services.tenants.get(tenant).await?;
    let revoked = state.services.api_keys.revoke(tenant, ApiKeyId::from_uuid(secret), &by).await?;
    removed(revoked, secret)
}

/// The signing keys that sign, or may yet.
pub(super) async fn list_jwk(
    State(state): State<AppState>,
    Extension(tenant): Extension<TenantId>,
) -> Result<GoJson<Vec<SecretResponse>>, Error> {
    Ok(GoJson(state.services.key_secrets.list(tenant).await?.into_iter().map(SecretResponse::from).collect()))
}

/// Makes a signing key in the HSM, which is published and signs as soon as verifiers can know it.
pub(super) async fn create_jwk(
    State(state): State<AppState>,
    Extension(tenant): Extension<TenantId>,
    command: Command,
) -> Result<Response, Error> {
    let (members, by) = command.read_loosely()?;
    let key = state.services.key_secrets.create(tenant, &parse_name(&members)?, &by).await.map_err(uncreated)?;
    Ok(error::created(GoJson(SecretResponse::from(key))))
}

/// Takes a signing key out of use; one that signs, as soon as its successor may.
pub(super) async fn delete_jwk(
    State(state): State<AppState>,
    Extension(tenant): Extension<TenantId>,
    id: LastSegment,
    command: Command,
) -> Result<Response, Error> {
    let (_, by) = command.read_loosely()?;
    let secret = parse_id(&id)?;
    removed(state.services.key_secrets.retire(tenant, KeyId::from_uuid(secret), &by).await?, secret)
}

fn parse_name(members: &Members<'_>) -> Result<String, Error> {
    let name = members.text("name")?.unwrap_or_default();
    let unable = |details: String| Err(Error::unable("unable to create key", details));
    match name.chars().count() {
        0 => unable("name is a required field".to_owned()),
        1..=NAME_CHARS => Ok(name),
        _ => unable(format!("name cannot have more than {NAME_CHARS} entries")),
    }
}

/// The contract takes a UUID of version 4 in its usual form alone.
fn parse_id(id: &LastSegment) -> Result<Uuid, Error> {
    let uuid = id.text().and_then(|text| Uuid::try_parse(text).ok().filter(|uuid| uuid.to_string() == text));
    let uuid = uuid.filter(|uuid| uuid.get_version() == Some(Version::Random));
    uuid.ok_or_else(|| Error::unable("unable to remove key", "SecretId must be a valid uuid4"))
}

fn uncreated(error: services::Error) -> Error {
    match error {
        services::Error::Conflict(why) => Error::taken("unable to create key", why),
        other => other.into(),
    }
}

fn removed(removed: bool, id: Uuid) -> Result<Response, Error> {
    if removed { Ok(error::no_content(HeaderMap::new())) } else { Err(Error::nothing(format!("secret with ID '{id}' not found"))) }
}
