//! Administrators: made, listed, revoked, and recognized at every call of the admin API.

use super::{Context, Error, keys::By};
use crate::{
    domain::{AdminHash, AdminId, AdminRecord, AdminToken, Caller, Role, TenantId, Timestamp},
    storage::unbuilt,
};

/// An administrator to be.
#[derive(Debug, Clone)]
pub struct NewAdmin {
    /// A name for people, unique for ever.
    pub name: String,
    /// What it is there for.
    pub role: Role,
    /// The tenants of a tenant-admin; empty for the others.
    pub tenants: Vec<TenantId>,
    /// When it ceases to be good, if ever.
    pub expires_at: Option<Timestamp>,
    /// Its TLS client certificate in DER; a token is made where there is none.
    pub certificate: Option<Vec<u8>>,
}

/// The use cases of administrators.
#[derive(Clone, Debug)]
pub struct Admins {
    context: Context,
}

impl Admins {
    pub(super) fn new(context: Context) -> Self {
        Self { context }
    }

    /// Who shows the token or certificate with this hash; `None` for nobody whom it opens anything to.
    pub async fn authenticate(&self, hash: &AdminHash) -> Result<Option<Caller>, Error> {
        let _ = (hash, &self.context);
        Ok(unbuilt()?)
    }

    /// Makes one. The token is never to be had again; there is none for a certificate.
    pub async fn create(&self, new: NewAdmin, by: &By) -> Result<(AdminRecord, Option<AdminToken>), Error> {
        let _ = (new, by);
        Ok(unbuilt()?)
    }

    /// All of them, revoked ones included.
    pub async fn list(&self) -> Result<Vec<AdminRecord>, Error> {
        Ok(unbuilt()?)
    }

    /// Revokes one, at once and for good. `false` when there is none, or it was revoked before.
    pub async fn revoke(&self, id: AdminId, by: &By) -> Result<bool, Error> {
        let _ = (id, by);
        Ok(unbuilt()?)
    }
}
