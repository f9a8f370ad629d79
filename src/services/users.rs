//! Users, as operators see them.

use super::{Context, Error, api_keys::event, keys::By, vouching::settle};
use crate::domain::{AuditEventType, Credential, Order, Page, TenantId, Transaction, User, UserRowId};

/// How many transactions of a user are shown at most, and how many characters of data with them: there are no pages of them, and one tenant's
/// must not take the memory of all.
const MAX_SHOWN: u32 = 1000;
const MAX_SHOWN_CHARS: u32 = 4 << 20;

/// A user with everything of it.
#[derive(Debug)]
pub struct UserDetails {
    /// The row's id.
    pub id: UserRowId,
    /// The user.
    pub user: User,
    /// Its credentials, MFA ones included.
    pub credentials: Vec<Credential>,
    /// Its transactions.
    pub transactions: Vec<Transaction>,
}

/// The use cases of users.
#[derive(Clone, Debug)]
pub struct Users {
    context: Context,
}

impl Users {
    pub(super) fn new(context: Context) -> Self {
        Self { context }
    }

    /// A page of a tenant's users by the time they were made, and how many there are.
    pub async fn list(&self, tenant: TenantId, order: Order, page: Page) -> Result<(Vec<(UserRowId, User)>, u64), Error> {
        Ok(self.context.store.users(tenant, order, page).await?)
    }

    /// A user of this tenant, with its credentials, the oldest first, and its transactions, the newest first.
    ///
    /// # Errors
    /// [`Error::UserNotFound`], also when it is another tenant's.
    pub async fn get(&self, tenant: TenantId, id: UserRowId) -> Result<UserDetails, Error> {
        let store = &self.context.store;
        let user = store.user_by_row(tenant, id).await?.ok_or(Error::UserNotFound)?;
        let (mut credentials, mfa) =
            (store.user_credentials(tenant, &user.user_id, false).await?, store.user_credentials(tenant, &user.user_id, true).await?);
        credentials.extend(mfa);
        credentials.sort_by(|a, b| (a.data.created_at, &a.data.id).cmp(&(b.data.created_at, &b.data.id)));
        let transactions = store.user_transactions(tenant, &user.user_id, MAX_SHOWN, MAX_SHOWN_CHARS).await?;
        Ok(UserDetails { id, user, credentials, transactions })
    }

    /// Deletes a user of this tenant, with credentials and transactions.
    ///
    /// # Errors
    /// [`Error::UserNotFound`], also when it is another tenant's.
    pub async fn delete(&self, tenant: TenantId, id: UserRowId, by: &By) -> Result<(), Error> {
        let event = event(&self.context, tenant, AuditEventType::UserDeleted, by);
        let deleted = self.context.store.delete_user(tenant, id, &event).await;
        if settle(&self.context, &event, deleted, || true).await? { Ok(()) } else { Err(Error::UserNotFound) }
    }
}
