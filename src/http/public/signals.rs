//! `GET /{tenant_id}/signals`: an addition to the contract, for the Signal API (WebAuthn L3 section 5.1.10).

use axum::{
    Extension,
    extract::{FromRequestParts, State},
    response::{IntoResponse, Response},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hyper::http::request::Parts;
use serde::Serialize;

use super::{
    AppState, Error,
    extract::{Backend, Faults},
};
use crate::{
    domain::{CredentialId, Tenant, UserId},
    http::{json::GoJson, query::Query},
    services::AcceptedCredentials,
};

/// What a user's page signals, by the name of the method.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct UserSignals {
    all_accepted_credentials: AllAcceptedCredentials,
    current_user_details: CurrentUserDetails,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct AllAcceptedCredentials {
    rp_id: String,
    user_id: String,
    all_accepted_credential_ids: Vec<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct CurrentUserDetails {
    rp_id: String,
    user_id: String,
    name: String,
    display_name: String,
}

/// What a page signals of a credential that it was offered; null when the tenant has it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct CredentialSignals {
    unknown_credential: Option<UnknownCredential>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct UnknownCredential {
    rp_id: String,
    credential_id: String,
}

/// A user's signals or a credential's, for a backend alone: to anybody else they would tell who has an account.
pub(super) async fn get(
    State(state): State<AppState>,
    Extension(tenant): Extension<Tenant>,
    _: Backend,
    Subject { user, credential }: Subject,
) -> Result<Response, Error> {
    let rp_id = tenant.config.webauthn.relying_party.id.clone();
    if let Some(id) = credential {
        let unknown = !state.services.credentials.is_known(&tenant, &id).await?;
        let unknown_credential = unknown.then(|| UnknownCredential { rp_id, credential_id: id.to_string() });
        return Ok(GoJson(CredentialSignals { unknown_credential }).into_response());
    }
    let user = user.ok_or_else(Error::user_not_found)?;
    let accepted = state.services.credentials.accepted(&tenant, &user).await.map_err(Error::of_user)?;
    Ok(GoJson(UserSignals::new(rp_id, accepted)).into_response())
}

/// Whom the query asks about.
#[derive(Debug)]
pub(super) struct Subject {
    /// None when no user can have that name.
    user: Option<UserId>,
    credential: Option<CredentialId>,
}

impl FromRequestParts<AppState> for Subject {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &AppState) -> Result<Self, Error> {
        let query = Query::parse(&parts.uri)?;
        let (user, credential) = (query.text("user_id")?, query.text("credential_id")?);
        let mut faults = Faults::default();
        match (user, credential) {
            (None, None) => faults.add("user_id or credential_id is a required field".to_owned()),
            (Some(_), Some(_)) => faults.add("user_id and credential_id must not both be there".to_owned()),
            _ => {}
        }
        for (name, value) in [("user_id", user), ("credential_id", credential)] {
            if value == Some("") {
                faults.add(format!("{name} must at least have 1 entry"));
            }
        }
        let id = credential.filter(|text| !text.is_empty()).map(str::parse::<CredentialId>);
        if matches!(id, Some(Err(_))) {
            faults.add(format!("credential_id must be base64url of 1 to {} bytes", CredentialId::MAX_LEN));
        }
        faults.into_result()?;
        Ok(Self { user: user.and_then(|text| text.parse().ok()), credential: id.and_then(Result::ok) })
    }
}

impl UserSignals {
    fn new(rp_id: String, accepted: AcceptedCredentials) -> Self {
        let AcceptedCredentials { user, ids } = accepted;
        let user_id = URL_SAFE_NO_PAD.encode(user.user_id.as_bytes());
        Self {
            all_accepted_credentials: AllAcceptedCredentials {
                rp_id: rp_id.clone(),
                user_id: user_id.clone(),
                all_accepted_credential_ids: ids.iter().map(ToString::to_string).collect(),
            },
            current_user_details: CurrentUserDetails { rp_id, user_id, name: user.name, display_name: user.display_name },
        }
    }
}
