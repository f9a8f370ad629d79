//! `GET /inventory`

use axum::{Extension, extract::State, response::Response};
use serde::Serialize;
use serde_json::Value;

use super::{AppState, Error, key_json::KeyResponse, signing_keys::bound};
use crate::{
    domain::Caller,
    http::page::Listing,
    services::{InventoryEntry, Source},
};

/// A key with what is known of it on its token.
#[derive(Debug, Serialize)]
pub(super) struct EntryResponse {
    #[serde(flatten)]
    key: KeyResponse,
    /// Null for a tenant that is deleted.
    tenant_name: Option<String>,
    /// Whether the private half is there; null where the token could not be asked.
    on_token: Option<bool>,
    manufacturer: Value,
    model: Value,
    firmware: Value,
    attributes: Value,
    /// `token`: read back now; `evidence`: as it was when the key was made; null where nothing is known.
    read_from: Option<&'static str>,
}

/// Lists the keys of every tenant that the caller may see, each with its attributes as read back from the token.
pub(super) async fn list(State(state): State<AppState>, Extension(caller): Extension<Caller>, listing: Listing) -> Result<Response, Error> {
    let (entries, total) = state.services.token_view.inventory(bound(&caller), listing.page).await?;
    listing.answer(entries.into_iter().map(EntryResponse::from).collect(), total)
}

impl From<InventoryEntry> for EntryResponse {
    fn from(entry: InventoryEntry) -> Self {
        let token = |member: &str| entry.token.get(member).cloned().unwrap_or_default();
        Self {
            manufacturer: token("manufacturer"),
            model: token("model"),
            firmware: token("firmware"),
            key: entry.key.into(),
            tenant_name: entry.tenant_name,
            on_token: entry.on_token,
            attributes: entry.attributes,
            read_from: entry.source.map(|source| match source {
                Source::Token => "token",
                Source::Evidence => "evidence",
            }),
        }
    }
}
