//! `GET | PUT /tenants/{tenant_id}/settings`, `PUT /tenants/{tenant_id}/settings/keys`: what a tenant may choose that the contract does not know.

use axum::{Extension, extract::State, response::Response};
use hyper::HeaderMap;
use serde_json::{Map, Value};

use super::{AppState, Error, approvals::submitted_silently, caller::Command, tenants::without_place};
use crate::{
    domain::{Act, Permission, TenantId, TenantSettings},
    http::{error, json::GoJson},
    services::{By, UpdateTenant},
};

const TITLE: &str = "unable to update tenant settings";

/// The members that are a tenant's key policy: their own permission is needed to change them, and perhaps a second administrator.
const KEY_POLICY: [&str; 3] = ["algorithm", "rsa_bits", "keys"];

/// Shows all settings.
pub(super) async fn get(State(state): State<AppState>, Extension(id): Extension<TenantId>) -> Result<GoJson<TenantSettings>, Error> {
    Ok(GoJson(state.services.tenants.get(id).await?.settings))
}

/// Replaces all settings: what is left out is the default again.
pub(super) async fn replace(
    State(state): State<AppState>,
    Extension(id): Extension<TenantId>,
    command: Command,
) -> Result<Response, Error> {
    let (members, by) = command.read_loosely()?;
    let settings = parse(&members.without(&["reason"]))?;
    change(&state, id, settings, &command, &by).await
}

/// Replaces the key policy's members that are given, and nothing else.
pub(super) async fn change_keys(
    State(state): State<AppState>,
    Extension(id): Extension<TenantId>,
    command: Command,
) -> Result<Response, Error> {
    let (members, by) = command.read(&KEY_POLICY)?;
    let before = state.services.tenants.get(id).await?.settings;
    let mut settings = serde_json::to_value(before).map_err(|e| Error::internal("settings have no JSON form", e))?;
    let given: Map<String, Value> =
        serde_json::from_str(&members.without(&["reason"])).map_err(|e| Error::unable(TITLE, without_place(&e)))?;
    if let Some(settings) = settings.as_object_mut() {
        settings.extend(given.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)));
    }
    change(&state, id, parse(&settings.to_string())?, &command, &by).await
}

fn parse(json: &str) -> Result<TenantSettings, Error> {
    serde_json::from_str(json).map_err(|e| Error::unable(TITLE, without_place(&e)))
}

async fn change(state: &AppState, id: TenantId, settings: TenantSettings, command: &Command, by: &By) -> Result<Response, Error> {
    let before = state.services.tenants.get(id).await?.settings;
    let policy = |s: &TenantSettings| (s.algorithm, s.rsa_bits, s.keys);
    if policy(&before) == policy(&settings) {
        let change = UpdateTenant { settings: Some(settings), weighed: Some(before), ..UpdateTenant::default() };
        state.services.tenants.update(id, change, by).await?;
        return Ok(error::no_content(HeaderMap::new()));
    }
    if !command.caller.may(Permission::ChangeKeyPolicy, Some(id)) {
        let (role, permission) = (command.caller.role, Permission::ChangeKeyPolicy);
        let why = format!("the role {role} does not have {permission}, which {} need", KEY_POLICY.join(", "));
        state.services.admins.denied(&command.caller, &why, &by.meta).await;
        return Err(Error::forbidden(why));
    }
    let act = Act::ChangePolicy { tenant: id, settings: Box::new(settings) };
    Ok(submitted_silently(state.services.acts.submit(&command.caller, act, by).await?))
}
