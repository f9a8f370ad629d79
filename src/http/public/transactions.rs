//! `POST /{tenant_id}/transaction/{initialize,finalize}`, `GET /{tenant_id}/transaction/{user_id}`: all of it behind the API key.

use axum::{Extension, extract::State};
use serde::Serialize;

use super::{
    AppState, Error,
    call::{BackendCall, InitializeResponse, TokenResponse, unreadable, vouched},
    extract::{Backend, Faults, LastSegment, Members},
};
use crate::{
    domain::{Confirmation, Operation, RequestMeta, Tenant, Transaction, TransactionData, TransactionId, TransactionIdError, UserId},
    http::{
        body::WholeBody,
        json::{GoJson, rfc_3339},
    },
    services::BeginTransaction,
    webauthn::{AuthenticationCredential, RequestOptions},
};

/// A transaction as the contract shows it, in the contract's order; the last three members are ours.
#[derive(Debug, Serialize)]
pub(in crate::http) struct TransactionResponse {
    id: String,
    identifier: String,
    /// JSON, in a string.
    data: String,
    created_at: String,
    updated_at: String,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    confirmed_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    credential_id: Option<String>,
}

/// A backend asks one of its users to confirm something.
pub(super) async fn initialize(
    State(state): State<AppState>,
    Extension(tenant): Extension<Tenant>,
    Extension(meta): Extension<RequestMeta>,
    call: BackendCall,
) -> Result<GoJson<InitializeResponse<RequestOptions>>, Error> {
    let request = call.coerced().read(&state, Operation::Transaction, parse).await?;
    let begun = state.services.transactions.initialize(&tenant, request, &meta).await;
    Ok(GoJson(InitializeResponse::new(begun.map_err(Error::transaction_initialize)?)))
}

/// A backend brings what the user's passkey signed. The content type does not matter.
pub(super) async fn finalize(
    State(state): State<AppState>,
    Extension(tenant): Extension<Tenant>,
    _: Backend,
    Extension(meta): Extension<RequestMeta>,
    WholeBody(body): WholeBody,
) -> Result<GoJson<TokenResponse>, Error> {
    let operation = Operation::Transaction;
    let credential = match AuthenticationCredential::parse(&body) {
        Ok(credential) => credential,
        Err(e) => return Err(unreadable(&state, &tenant, operation, &meta, Error::assertion_unreadable(operation, &e)).await),
    };
    let token = state.services.transactions.finalize(&tenant, &credential, &meta).await.map_err(Error::authentication)?;
    Ok(vouched(token))
}

/// What a user, by the application's name, was asked to confirm, the newest first.
pub(super) async fn list(
    State(state): State<AppState>,
    Extension(tenant): Extension<Tenant>,
    _: Backend,
    segment: LastSegment,
) -> Result<GoJson<Vec<TransactionResponse>>, Error> {
    let user = segment.text().and_then(|text| text.parse::<UserId>().ok()).ok_or_else(Error::user_id_invalid)?;
    let transactions = state.services.transactions.of_user(&tenant, &user).await?;
    Ok(GoJson(transactions.into_iter().map(TransactionResponse::from).collect()))
}

fn parse(members: &Members<'_>) -> Result<BeginTransaction, Error> {
    let (user_id, id) = (members.text("user_id")?, members.text("transaction_id")?);
    let mut faults = Faults::default();
    let user_id = faults.required("user_id", user_id);
    let id = match id {
        Some(id) if id.parse::<TransactionId>() == Err(TransactionIdError::TooLong) => {
            faults.add(format!("transaction_id cannot have more than {} entries", TransactionId::MAX_CHARS));
            None
        }
        id => faults.required::<TransactionId>("transaction_id", id),
    };
    let data = match members.json("transaction_data") {
        None => Err("transaction_data is a required field".to_owned()),
        Some(json) => TransactionData::from_json(json.as_bytes()).map_err(|e| format!("transaction_data: {e}")),
    };
    let data = data.map_err(|fault| faults.add(fault)).ok();
    faults.into_result()?;
    let (Some(user_id), Some(id), Some(data)) = (user_id, id, data) else { return Err(Error::invalid(&[])) };
    Ok(BeginTransaction { user_id, id, data })
}

impl From<Transaction> for TransactionResponse {
    fn from(Transaction { begun, state, updated_at, confirmation }: Transaction) -> Self {
        let (confirmed_at, credential_id) = match confirmation {
            Some(Confirmation { credential_id, at, .. }) => (Some(rfc_3339(at)), Some(credential_id.to_string())),
            None => (None, None),
        };
        Self {
            id: begun.row.to_string(),
            identifier: begun.id.to_string(),
            data: begun.data.as_str().to_owned(),
            created_at: rfc_3339(begun.created_at),
            updated_at: rfc_3339(updated_at),
            state: state.as_str(),
            confirmed_at,
            credential_id,
        }
    }
}
