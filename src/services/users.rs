//! Users, as operators see them.

use super::{Context, Error, keys::By};
use crate::{
    domain::{Credential, Page, TenantId, Transaction, User, UserRowId},
    storage::unbuilt,
};

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

    /// A page of a tenant's users, and how many there are.
    pub async fn list(&self, tenant: TenantId, page: Page) -> Result<(Vec<(UserRowId, User)>, u64), Error> {
        Ok(self.context.store.users(tenant, page).await?)
    }

    /// A user of this tenant.
    pub async fn get(&self, tenant: TenantId, id: UserRowId) -> Result<UserDetails, Error> {
        let _ = (tenant, id);
        Ok(unbuilt()?)
    }

    /// Deletes a user of this tenant, with credentials and transactions.
    pub async fn delete(&self, tenant: TenantId, id: UserRowId, by: &By) -> Result<(), Error> {
        let _ = (tenant, id, by);
        Ok(unbuilt()?)
    }
}
