//! `GET /tenants/{tenant_id}/users`, `GET | DELETE /tenants/{tenant_id}/users/{user_row_id}`

use axum::{Extension, extract::State, response::Response};
use hyper::HeaderMap;
use serde::Serialize;

use super::{AppState, Error, caller::Command};
use crate::{
    domain::{Order, TenantId, User, UserId, UserRowId},
    http::{
        error,
        extract::LastSegment,
        json::GoJson,
        page::Listing,
        public::{CredentialResponse, TransactionResponse},
    },
    services::UserDetails,
};

/// A user as the contract shows it.
#[derive(Debug, Serialize)]
pub(super) struct UserResponse {
    id: UserRowId,
    user_id: UserId,
    name: String,
    /// Empty where there is none.
    icon: String,
    display_name: String,
}

/// The same with what is the user's.
#[derive(Debug, Serialize)]
pub(super) struct UserDetailsResponse {
    #[serde(flatten)]
    user: UserResponse,
    credentials: Vec<CredentialResponse>,
    transactions: Vec<TransactionResponse>,
}

/// A page of the tenant's users, those made last first unless the query says otherwise.
pub(super) async fn list(
    State(state): State<AppState>,
    Extension(tenant): Extension<TenantId>,
    listing: Result<Listing, Error>,
) -> Result<Response, Error> {
    let listing = listing.map_err(|refusal| Error::unable("unable to parse request", refusal.into_details()))?;
    let direction =
        listing.query.text("sort_direction").map_err(|refusal| Error::unable("unable to parse request", refusal.into_details()))?;
    let order = match direction.unwrap_or_default() {
        "" | "desc" => Order::Descending,
        "asc" => Order::Ascending,
        _ => return Err(Error::unable("sort_direction must be desc or asc", "")),
    };
    state.services.tenants.get(tenant).await?;
    let (users, total) = state.services.users.list(tenant, order, listing.page).await?;
    listing.answer(users.into_iter().map(|(id, user)| UserResponse::new(id, user)).collect(), total)
}

/// Shows a user of the tenant that the path names, and of no other.
pub(super) async fn get(
    State(state): State<AppState>,
    Extension(tenant): Extension<TenantId>,
    id: LastSegment,
) -> Result<GoJson<UserDetailsResponse>, Error> {
    let id = parse_id(&id)?;
    state.services.tenants.get(tenant).await?;
    let UserDetails { id, user, credentials, transactions } = state.services.users.get(tenant, id).await.map_err(Error::of_user)?;
    Ok(GoJson(UserDetailsResponse {
        user: UserResponse::new(id, user),
        credentials: credentials.into_iter().map(CredentialResponse::from).collect(),
        transactions: transactions.into_iter().map(TransactionResponse::from).collect(),
    }))
}

/// Deletes a user of the tenant that the path names, with credentials and transactions.
pub(super) async fn delete(
    State(state): State<AppState>,
    Extension(tenant): Extension<TenantId>,
    id: LastSegment,
    command: Command,
) -> Result<Response, Error> {
    let (_, by) = command.read_loosely()?;
    let id = parse_id(&id)?;
    state.services.tenants.get(tenant).await?;
    state.services.users.delete(tenant, id, &by).await.map_err(Error::of_user)?;
    Ok(error::no_content(HeaderMap::new()))
}

fn parse_id(id: &LastSegment) -> Result<UserRowId, Error> {
    id.text().and_then(|text| text.parse().ok()).ok_or_else(|| Error::unable("invalid user_id", ""))
}

impl UserResponse {
    fn new(id: UserRowId, user: User) -> Self {
        Self { id, user_id: user.user_id, name: user.name, icon: user.icon.unwrap_or_default(), display_name: user.display_name }
    }
}
