//! `GET | POST /tenants`, `GET | PUT | DELETE /tenants/{tenant_id}`, `PUT /tenants/{tenant_id}/config`, `POST /tenants/{tenant_id}/restore`

use axum::{Extension, extract::State, response::Response};
use hyper::{HeaderMap, Uri};
use serde::Serialize;

use super::{AppState, Error, approvals::submitted_silently, caller::Command, secrets::SecretResponse};
use crate::{
    domain::{Act, Caller, Permission, TenantConfig, TenantId, TenantSettings},
    http::{
        error,
        extract::Members,
        json::{GoJson, rfc_3339},
        query::Query,
    },
    services::{NewTenant, UpdateTenant},
};

/// A tenant in a list; the last three members are ours, and of deleted tenants.
#[derive(Debug, Serialize)]
pub(super) struct ListedTenant {
    id: TenantId,
    display_name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    deleted_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    purge_from: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    purged_at: Option<String>,
}

/// A tenant as the contract shows it; `awaiting_key` is ours.
#[derive(Debug, Serialize)]
pub(super) struct TenantResponse {
    id: TenantId,
    display_name: String,
    config: TenantConfig,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    awaiting_key: bool,
}

/// A tenant just made, with its first API key if one was asked for.
#[derive(Debug, Serialize)]
struct CreatedResponse {
    id: TenantId,
    #[serde(skip_serializing_if = "Option::is_none")]
    api_key: Option<SecretResponse>,
}

/// What the contract calls a tenant's first API key.
const FIRST_API_KEY: &str = "Initial API Key";

/// The tenants that the caller may see; with `deleted=true`, those that were deleted.
pub(super) async fn list(
    State(state): State<AppState>,
    Extension(caller): Extension<Caller>,
    uri: Uri,
) -> Result<GoJson<Vec<ListedTenant>>, Error> {
    let query = Query::parse(&uri)?;
    let deleted = match query.text("deleted")?.unwrap_or_default() {
        "" | "false" => false,
        "true" => true,
        _ => return Err(Error::unprocessable("deleted must be true or false")),
    };
    let tenants: Vec<_> = if deleted {
        let tenants = state.services.tenants.deleted().await?.into_iter();
        let listed = tenants.map(|tenant| ListedTenant {
            id: tenant.id,
            display_name: tenant.display_name,
            deleted_at: Some(rfc_3339(tenant.deleted_at)),
            purge_from: Some(rfc_3339(tenant.purge_from)),
            purged_at: tenant.purged_at.map(rfc_3339),
        });
        listed.collect()
    } else {
        let tenants = state.services.tenants.list().await?.into_iter();
        let listed = tenants.map(|tenant| ListedTenant {
            id: tenant.id,
            display_name: tenant.display_name,
            deleted_at: None,
            purge_from: None,
            purged_at: None,
        });
        listed.collect()
    };
    Ok(GoJson(tenants.into_iter().filter(|tenant| caller.may(Permission::ReadTenants, Some(tenant.id))).collect()))
}

/// Makes a tenant with its first signing key in the HSM.
pub(super) async fn create(State(state): State<AppState>, command: Command) -> Result<Response, Error> {
    let (members, by) = command.read_loosely()?;
    let new = parse_new(&members)?;
    let api_key_name = members.flag("create_api_key")?.then_some(FIRST_API_KEY);
    let created = state.services.tenants.create(new, api_key_name, &by).await?;
    let api_key = created.api_key.map(|(record, key)| SecretResponse::created(&record, &key));
    Ok(error::created(GoJson(CreatedResponse { id: created.tenant.id, api_key })))
}

/// Shows a tenant with its configuration.
pub(super) async fn get(State(state): State<AppState>, Extension(id): Extension<TenantId>) -> Result<GoJson<TenantResponse>, Error> {
    let tenant = state.services.tenants.get(id).await?;
    let awaiting_key = state.services.tenants.awaits_key(id).await?;
    Ok(GoJson(TenantResponse { id, display_name: tenant.display_name, config: tenant.config, awaiting_key }))
}

/// Gives a tenant another name.
pub(super) async fn rename(State(state): State<AppState>, Extension(id): Extension<TenantId>, command: Command) -> Result<Response, Error> {
    let (members, by) = command.read_loosely()?;
    let mut faults = Vec::new();
    let display_name = display_name(&members, &mut faults)?;
    if !faults.is_empty() {
        return Err(Error::unable("unable to update tenant", faults.join(" and ")));
    }
    state.services.tenants.update(id, UpdateTenant { display_name: Some(display_name), ..UpdateTenant::default() }, &by).await?;
    Ok(error::no_content(HeaderMap::new()))
}

/// Replaces a tenant's configuration: what is left out is the contract's default again. Our own settings are another resource.
pub(super) async fn configure(
    State(state): State<AppState>,
    Extension(id): Extension<TenantId>,
    command: Command,
) -> Result<Response, Error> {
    let (members, by) = command.read_loosely()?;
    let config = parse_config(&members.without(&["reason"])).map_err(|fault| Error::unable("unable to update tenant config", fault))?;
    state.services.tenants.update(id, UpdateTenant { config: Some(config), ..UpdateTenant::default() }, &by).await?;
    Ok(error::no_content(HeaderMap::new()))
}

/// Deletes a tenant, or asks for that to be approved.
pub(super) async fn delete(
    State(state): State<AppState>,
    Extension(tenant): Extension<TenantId>,
    command: Command,
) -> Result<Response, Error> {
    let (_, by) = command.read_loosely()?;
    Ok(submitted_silently(state.services.acts.submit(&command.caller, Act::DeleteTenant { tenant }, &by).await?))
}

/// Brings a deleted tenant back.
pub(super) async fn restore(
    State(state): State<AppState>,
    Extension(id): Extension<TenantId>,
    command: Command,
) -> Result<Response, Error> {
    let (_, by) = command.read(&[])?;
    state.services.tenants.restore(id, &by).await?;
    Ok(error::no_content(HeaderMap::new()))
}

/// `settings` and `await_key` are ours.
fn parse_new(members: &Members<'_>) -> Result<NewTenant, Error> {
    let unable = |why: String| Error::unable("unable to create tenant", why);
    let mut faults = Vec::new();
    let display_name = display_name(members, &mut faults)?;
    let config = parse_config(members.json("config").unwrap_or("{}")).map_err(|fault| faults.push(fault)).ok();
    let settings = members.json("settings").map_or_else(|| Ok(TenantSettings::default()), serde_json::from_str);
    let settings = settings.map_err(|e| faults.push(format!("settings: {}", without_place(&e)))).ok();
    let (Some(config), Some(settings), true) = (config, settings, faults.is_empty()) else { return Err(unable(faults.join(" and "))) };
    Ok(NewTenant { display_name, config, settings, await_key: members.flag("await_key")? })
}

/// The most characters of a tenant's name.
pub(super) const NAME_CHARS: usize = 200;

/// What is wrong with the name is added to `faults`.
fn display_name(members: &Members<'_>, faults: &mut Vec<String>) -> Result<String, Error> {
    let name = members.text("display_name")?.unwrap_or_default();
    if name.is_empty() {
        faults.push("display_name is a required field".to_owned());
    }
    if name.chars().count() > NAME_CHARS {
        faults.push(format!("display_name cannot have more than {NAME_CHARS} entries"));
    }
    Ok(name)
}

/// The contract's configuration, or all that is wrong with it in the contract's words. From the text as it was sent, so that a member that is
/// there twice is refused.
fn parse_config(json: &str) -> Result<TenantConfig, String> {
    serde_json::from_str(json).map_err(|error| without_place(&error))
}

/// What is wrong, without the place in a text that is only a part of what was sent.
pub(super) fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    text.strip_suffix(&place).unwrap_or(&text).to_owned()
}
