//! `/tenants/{tenant_id}/signing_keys`, `/signing_keys` and what is below them

use axum::{
    Extension,
    extract::State,
    response::{IntoResponse as _, Response},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use openssl::sha::sha256;
use serde::Serialize;

use super::{
    AppState, Error,
    approvals::submitted,
    caller::Command,
    key_json::{KeyResponse, OutcomeResponse, unhex},
};
use crate::{
    domain::{Act, Caller, KeyId, KeyPlan, KeyState, Permission, Role, SigningAlgorithm, TenantId, hex, rsa_bits},
    http::{
        error,
        extract::{Faults, Members},
        go_time::Instant,
        json::GoJson,
        page::Listing,
        query::Query,
    },
    services::{AdoptKey, By, NewKey, Rotate, evidence_file},
};

/// The tenants that a caller is bound to; `None` for one who may see all.
pub(super) fn bound(caller: &Caller) -> Option<&[TenantId]> {
    (caller.role == Role::TenantAdmin).then_some(caller.tenants.as_slice())
}

/// Lists a tenant's keys, in whatever state.
pub(super) async fn list_of_tenant(
    State(state): State<AppState>,
    Extension(tenant): Extension<TenantId>,
    listing: Listing,
) -> Result<Response, Error> {
    state.services.tenants.get(tenant).await?;
    answer(&state, Some(&[tenant]), &listing).await
}

/// Lists the keys of every tenant that the caller may see.
pub(super) async fn list(State(state): State<AppState>, Extension(caller): Extension<Caller>, listing: Listing) -> Result<Response, Error> {
    answer(&state, bound(&caller), &listing).await
}

async fn answer(state: &AppState, tenants: Option<&[TenantId]>, listing: &Listing) -> Result<Response, Error> {
    let (in_state, due) = parse_filter(&listing.query)?;
    let (keys, total) = state.services.token_view.keys(tenants, in_state, due, listing.page).await?;
    listing.answer(keys.into_iter().map(KeyResponse::from).collect(), total)
}

fn parse_filter(query: &Query) -> Result<(Option<KeyState>, bool), Error> {
    let mut faults = Faults::default();
    let in_state = query.text("state")?.map(str::parse::<KeyState>).transpose();
    let due = match query.text("due")? {
        None | Some("false") => false,
        Some("true") => true,
        Some(_) => {
            faults.add("due must be true or false".to_owned());
            false
        }
    };
    let in_state = in_state.unwrap_or_else(|e| {
        faults.add(format!("state: {e}"));
        None
    });
    faults.into_result()?;
    Ok((in_state, due))
}

/// Shows a key.
pub(super) async fn get(State(state): State<AppState>, Extension(kid): Extension<KeyId>) -> Result<GoJson<KeyResponse>, Error> {
    Ok(GoJson(state.services.keys.get(kid).await?.into()))
}

/// Makes a key.
pub(super) async fn create(
    State(state): State<AppState>,
    Extension(tenant): Extension<TenantId>,
    command: Command,
) -> Result<Response, Error> {
    let (members, by) = command.read(&["algorithm", "rsa_bits", "plan"])?;
    let new = parse_new(&members)?;
    let key = state.services.keys.generate(tenant, new, &by).await?;
    Ok(error::created(GoJson(KeyResponse::from(key))))
}

fn parse_new(members: &Members<'_>) -> Result<NewKey, Error> {
    let mut faults = Faults::default();
    let algorithm = parsed::<SigningAlgorithm>(&mut faults, "algorithm", members.text("algorithm")?);
    let plan = parsed(&mut faults, "plan", members.text("plan")?).unwrap_or_default();
    let bits = members.integer("rsa_bits")?.map(|bits| rsa_bits(u32::try_from(bits).unwrap_or(u32::MAX)));
    let rsa_bits = bits.transpose().unwrap_or_else(|e| {
        faults.add(format!("rsa_bits: {e}"));
        None
    });
    if rsa_bits.is_some() && algorithm.is_some_and(|algorithm| !algorithm.is_rsa()) {
        faults.add("rsa_bits is for RSA keys alone".to_owned());
    }
    faults.into_result()?;
    Ok(NewKey { algorithm, rsa_bits, plan })
}

/// What `text` says, if it is there; else that is a fault.
fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(faults: &mut Faults, name: &str, text: Option<String>) -> Option<T> {
    let parsed = text.map(|text| text.parse()).transpose();
    parsed.unwrap_or_else(|e| {
        faults.add(format!("{name}: {e}"));
        None
    })
}

/// Takes over a key that is on the token.
pub(super) async fn adopt(
    State(state): State<AppState>,
    Extension(tenant): Extension<TenantId>,
    command: Command,
) -> Result<Response, Error> {
    let (members, by) = command.read(&["cka_id", "label", "algorithm", "plan"])?;
    let adopt = parse_adopt(&members)?;
    let key = state.services.keys.adopt(tenant, &adopt, &by).await?;
    Ok(error::created(GoJson(KeyResponse::from(key))))
}

/// The most bytes of a `CKA_ID` or `CKA_LABEL` that is looked for.
pub(super) const MAX_NAME: usize = 255;

fn parse_adopt(members: &Members<'_>) -> Result<AdoptKey, Error> {
    let mut faults = Faults::default();
    let algorithm = faults.required::<SigningAlgorithm>("algorithm", members.text("algorithm")?);
    let plan = parsed::<KeyPlan>(&mut faults, "plan", members.text("plan")?).unwrap_or_default();
    let cka_id = members.text("cka_id")?.map(|text| unhex(&text).filter(|id| (1..=MAX_NAME).contains(&id.len())));
    if cka_id.as_ref().is_some_and(Option::is_none) {
        faults.add(format!("cka_id must be 1 to {MAX_NAME} bytes in hexadecimal"));
    }
    let (cka_id, label) = (cka_id.flatten(), members.text("label")?);
    if label.as_ref().is_some_and(|label| label.is_empty() || label.len() > MAX_NAME) {
        faults.add(format!("label must have 1 to {MAX_NAME} bytes"));
    }
    if members.json("cka_id").is_none() && label.is_none() {
        faults.add("cka_id or label is a required field".to_owned());
    }
    faults.into_result()?;
    let algorithm = algorithm.ok_or_else(|| Error::unprocessable("algorithm is a required field"))?;
    Ok(AdoptKey { cka_id, label, algorithm, plan })
}

/// Puts a tenant's standby in the place of its active key.
pub(super) async fn rotate(
    State(state): State<AppState>,
    Extension(tenant): Extension<TenantId>,
    command: Command,
) -> Result<Response, Error> {
    let (members, by) = command.read(&["emergency", "accept_exposure", "if_active_before"])?;
    let (emergency, accept_exposure) = (members.flag("emergency")?, members.flag("accept_exposure")?);
    let before = members.text("if_active_before")?.map(|text| Instant::parse(&text)).transpose();
    let before = before.map_err(|e| Error::invalid(&[format!("if_active_before: {e}")]))?.map(Instant::ceiling);
    if accept_exposure && !emergency {
        return Err(Error::invalid(&["accept_exposure goes with emergency".to_owned()]));
    }
    if emergency {
        demand_if(accept_exposure, &state, &command.caller, &by).await?;
        let act = Act::RotateEmergency { tenant, accept_exposure, if_active_before: before };
        return Ok(submitted(state.services.acts.submit(&command.caller, act, &by).await?));
    }
    let rotate = Rotate { emergency, accept_exposure, if_active_before: before };
    Ok(GoJson(OutcomeResponse::from(state.services.keys.rotate(tenant, rotate, &by).await?)).into_response())
}

/// Accepting an exposure needs more than what it is accepted for.
async fn demand_if(accepted: bool, state: &AppState, caller: &Caller, by: &By) -> Result<(), Error> {
    let permission = Permission::DistrustKeys;
    if !accepted || caller.role.has(permission) {
        return Ok(());
    }
    let why = format!("accepting an exposure needs {permission}, which the role {} does not have", caller.role);
    state.services.admins.denied(caller, &why, &by.meta).await;
    Err(Error::forbidden(why))
}

/// Undoes a tenant's last rotation.
pub(super) async fn roll_back(
    State(state): State<AppState>,
    Extension(tenant): Extension<TenantId>,
    command: Command,
) -> Result<GoJson<OutcomeResponse>, Error> {
    let (_, by) = command.read(&[])?;
    Ok(GoJson(state.services.keys.roll_back(tenant, &by).await?.into()))
}

/// Puts a key into the JWKS.
pub(super) async fn publish(
    State(state): State<AppState>,
    Extension(kid): Extension<KeyId>,
    command: Command,
) -> Result<GoJson<KeyResponse>, Error> {
    let (_, by) = command.read(&[])?;
    Ok(GoJson(state.services.keys.publish(kid, &by).await?.into()))
}

/// Has a published key sign.
pub(super) async fn activate(State(state): State<AppState>, Extension(kid): Extension<KeyId>, command: Command) -> Result<Response, Error> {
    let (members, by) = command.read(&["accept_exposure"])?;
    if members.flag("accept_exposure")? {
        demand_if(true, &state, &command.caller, &by).await?;
        return Ok(submitted(state.services.acts.submit(&command.caller, Act::ActivateExposed { kid }, &by).await?));
    }
    Ok(GoJson(OutcomeResponse::from(state.services.keys.activate(kid, false, &by).await?)).into_response())
}

/// Has a key sign no more for now.
pub(super) async fn suspend(
    State(state): State<AppState>,
    Extension(kid): Extension<KeyId>,
    command: Command,
) -> Result<GoJson<KeyResponse>, Error> {
    let (members, by) = command.read(&["replace"])?;
    Ok(GoJson(state.services.keys.suspend(kid, members.flag("replace")?, &by).await?.into()))
}

/// Has a suspended key sign again.
pub(super) async fn resume(
    State(state): State<AppState>,
    Extension(kid): Extension<KeyId>,
    command: Command,
) -> Result<GoJson<KeyResponse>, Error> {
    let (_, by) = command.read(&[])?;
    Ok(GoJson(state.services.keys.resume(kid, &by).await?.into()))
}

/// Takes a key that does not sign out of use.
pub(super) async fn retire(
    State(state): State<AppState>,
    Extension(kid): Extension<KeyId>,
    command: Command,
) -> Result<GoJson<KeyResponse>, Error> {
    let (_, by) = command.read(&[])?;
    Ok(GoJson(state.services.keys.retire(kid, &by).await?.into()))
}

/// Distrusts a key.
pub(super) async fn compromise(
    State(state): State<AppState>,
    Extension(kid): Extension<KeyId>,
    command: Command,
) -> Result<Response, Error> {
    let (members, by) = command.read(&["accept_exposure"])?;
    let act = Act::CompromiseKey { kid, accept_exposure: members.flag("accept_exposure")? };
    Ok(submitted(state.services.acts.submit(&command.caller, act, &by).await?))
}

/// Destroys a key's private half.
pub(super) async fn destroy(State(state): State<AppState>, Extension(kid): Extension<KeyId>, command: Command) -> Result<Response, Error> {
    let (_, by) = command.read(&[])?;
    Ok(submitted(state.services.acts.submit(&command.caller, Act::DestroyKey { kid }, &by).await?))
}

/// Finishes a key whose making was cut short.
pub(super) async fn finish(
    State(state): State<AppState>,
    Extension(kid): Extension<KeyId>,
    command: Command,
) -> Result<GoJson<KeyResponse>, Error> {
    let (_, by) = command.read(&[])?;
    Ok(GoJson(state.services.keys.resume_generation(kid, &by).await?.into()))
}

/// What the token said of a key, signed by it; what was attached; its history.
pub(super) async fn evidence(State(state): State<AppState>, Extension(kid): Extension<KeyId>) -> Result<GoJson<serde_json::Value>, Error> {
    Ok(GoJson(evidence_file(&state.services.keys.dossier(kid).await?)?))
}

/// The most bytes of an attachment.
pub(super) const MAX_ATTACHMENT: usize = 1 << 20;

/// The most characters of its name.
pub(super) const MAX_ATTACHMENT_NAME: usize = 200;

/// What was attached.
#[derive(Debug, Serialize)]
pub(super) struct AttachmentResponse {
    name: String,
    sha256: String,
}

/// Adds what a vendor's tool says of a key.
pub(super) async fn attach(State(state): State<AppState>, Extension(kid): Extension<KeyId>, command: Command) -> Result<Response, Error> {
    let (members, by) = command.read(&["name", "content"])?;
    let mut faults = Faults::default();
    let (name, content) = (members.text("name")?.unwrap_or_default(), members.text("content")?.unwrap_or_default());
    if !(1..=MAX_ATTACHMENT_NAME).contains(&name.chars().count()) {
        faults.add(format!("name must have 1 to {MAX_ATTACHMENT_NAME} characters"));
    }
    let content = STANDARD.decode(content).ok().filter(|content| (1..=MAX_ATTACHMENT).contains(&content.len()));
    if content.is_none() {
        faults.add(format!("content must be 1 to {MAX_ATTACHMENT} bytes in base64"));
    }
    faults.into_result()?;
    let content = content.unwrap_or_default();
    let sha256 = hex(&sha256(&content));
    state.services.keys.attach(kid, &name, content, &by).await?;
    Ok(error::created(GoJson(AttachmentResponse { name, sha256 })))
}
