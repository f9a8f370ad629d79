//! Administrators: who may do what.

use std::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use openssl::sha::sha256;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

use super::{AdminId, ReplicaId, Rng, TenantId, Timestamp};

/// What an administrator is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Everything.
    Admin,
    /// Keys and HSM of all tenants; nothing of users or API keys.
    KeyCustodian,
    /// Everything of some tenants, but for what ends their keys.
    TenantAdmin,
    /// Reads, and changes nothing.
    Auditor,
}

text_enum!(Role, "admin, key-custodian, tenant-admin, auditor", {
    Admin => "admin",
    KeyCustodian => "key-custodian",
    TenantAdmin => "tenant-admin",
    Auditor => "auditor",
});

/// What a request to the admin API needs. Each endpoint has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Permission {
    /// List and show tenants, their configuration and settings.
    ReadTenants,
    /// Make tenants.
    CreateTenants,
    /// Change a tenant's name, configuration and settings, but for its key policy.
    ChangeTenant,
    /// Delete and restore tenants.
    DeleteTenants,
    /// List a tenant's API keys, without their secrets.
    ReadApiKeys,
    /// Make and revoke them.
    ChangeApiKeys,
    /// List and show users.
    ReadUsers,
    /// Delete them.
    DeleteUsers,
    /// Read audit logs.
    ReadAudit,
    /// List and show signing keys, their evidence and the inventory.
    ReadKeys,
    /// Generate, publish, activate, rotate, roll back, suspend, resume and retire keys.
    OperateKeys,
    /// Compromise and destroy keys, and accept exposures.
    DistrustKeys,
    /// Change a tenant's key policy.
    ChangeKeyPolicy,
    /// See the HSM's state and what is on the token.
    ReadHsm,
    /// Activate and deactivate it; adopt what a ceremony made on its token.
    OperateHsm,
    /// List approvals.
    ReadApprovals,
    /// Approve and reject them.
    DecideApprovals,
    /// List administrators.
    ReadAdmins,
    /// Make and revoke them.
    ChangeAdmins,
}

text_enum!(Permission, "the name of a permission", {
    ReadTenants => "read-tenants",
    CreateTenants => "create-tenants",
    ChangeTenant => "change-tenant",
    DeleteTenants => "delete-tenants",
    ReadApiKeys => "read-api-keys",
    ChangeApiKeys => "change-api-keys",
    ReadUsers => "read-users",
    DeleteUsers => "delete-users",
    ReadAudit => "read-audit",
    ReadKeys => "read-keys",
    OperateKeys => "operate-keys",
    DistrustKeys => "distrust-keys",
    ChangeKeyPolicy => "change-key-policy",
    ReadHsm => "read-hsm",
    OperateHsm => "operate-hsm",
    ReadApprovals => "read-approvals",
    DecideApprovals => "decide-approvals",
    ReadAdmins => "read-admins",
    ChangeAdmins => "change-admins",
});

impl Role {
    /// Whether its administrators have this permission: of their own tenants alone where they are bound to tenants.
    pub const fn has(self, permission: Permission) -> bool {
        use Permission as P;
        match self {
            Self::Admin => true,
            Self::KeyCustodian => matches!(
                permission,
                P::ReadTenants
                    | P::ReadAudit
                    | P::ReadKeys
                    | P::OperateKeys
                    | P::DistrustKeys
                    | P::ChangeKeyPolicy
                    | P::ReadHsm
                    | P::OperateHsm
                    | P::ReadApprovals
                    | P::DecideApprovals
            ),
            Self::TenantAdmin => matches!(
                permission,
                P::ReadTenants
                    | P::ChangeTenant
                    | P::ReadApiKeys
                    | P::ChangeApiKeys
                    | P::ReadUsers
                    | P::DeleteUsers
                    | P::ReadAudit
                    | P::ReadKeys
                    | P::OperateKeys
            ),
            Self::Auditor => matches!(
                permission,
                P::ReadTenants | P::ReadApiKeys | P::ReadUsers | P::ReadAudit | P::ReadKeys | P::ReadHsm | P::ReadApprovals | P::ReadAdmins
            ),
        }
    }
}

/// Who did something that no user's ceremony did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Actor {
    /// An administrator who showed a token or a certificate.
    Admin {
        /// The row.
        id: AdminId,
        /// The name that it has.
        name: String,
    },
    /// Whoever may run commands on the server's own host as the server's user, or as root.
    Local {
        /// The Unix user id.
        uid: u32,
    },
    /// A server, by itself.
    Scheduler {
        /// Which one.
        replica: ReplicaId,
    },
}

/// As the audit log has it: `admin alice (UUID)`, `local user 1000`, `scheduler of UUID`.
impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Admin { id, name } => write!(f, "admin {name} ({id})"),
            Self::Local { uid } => write!(f, "local user {uid}"),
            Self::Scheduler { replica } => write!(f, "scheduler of {replica}"),
        }
    }
}

/// Who calls the admin API, and what of it is open to them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Who.
    pub actor: Actor,
    /// As what.
    pub role: Role,
    /// The tenants that a tenant-admin is bound to; empty for the others.
    pub tenants: Vec<TenantId>,
}

impl Caller {
    /// Whether the caller may do what needs `permission`, to `tenant` or, where that is `None`, to the deployment as a whole.
    pub fn may(&self, permission: Permission, tenant: Option<TenantId>) -> bool {
        let bound = self.role == Role::TenantAdmin;
        self.role.has(permission) && (!bound || tenant.is_some_and(|tenant| self.tenants.contains(&tenant)))
    }
}

/// How an administrator proves who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AdminKind {
    /// By a bearer token.
    Token,
    /// By a TLS client certificate.
    Certificate,
}

text_enum!(AdminKind, "token, certificate", {
    Token => "token",
    Certificate => "certificate",
});

/// An administrator, without the secret.
#[derive(Debug, Clone)]
pub struct AdminRecord {
    /// The row.
    pub id: AdminId,
    /// A name for people, unique for ever.
    pub name: String,
    /// How it proves who it is.
    pub kind: AdminKind,
    /// What it is there for.
    pub role: Role,
    /// The tenants that a tenant-admin is bound to.
    pub tenants: Vec<TenantId>,
    /// When it was made.
    pub created_at: Timestamp,
    /// By whom.
    pub created_by: String,
    /// When it ceases to be good, if ever.
    pub expires_at: Option<Timestamp>,
    /// When it was last shown, within a minute.
    pub last_used_at: Option<Timestamp>,
    /// When it was revoked, if it was.
    pub revoked_at: Option<Timestamp>,
}

/// Not the form of an admin token. Says nothing of the text, which may be a secret mistyped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an admin token is {ADMIN_TOKEN_PREFIX} and 32 bytes in base64url")]
pub struct AdminTokenError;

/// What an admin token begins with, so that those who look for leaked secrets know it when they see it.
pub const ADMIN_TOKEN_PREFIX: &str = "phsm_admin_";

/// 32 random bytes, written with a prefix. Shown once, stored as a hash.
pub struct AdminToken(Zeroizing<[u8; 32]>);

impl AdminToken {
    /// A fresh token.
    pub fn random(rng: &dyn Rng) -> Self {
        let mut bytes = Zeroizing::new([0; 32]);
        rng.fill(bytes.as_mut_slice());
        Self(bytes)
    }

    /// What is stored and looked up.
    pub fn hash(&self) -> AdminHash {
        AdminHash(sha256(self.0.as_slice()))
    }

    /// The token as it is sent.
    pub fn expose(&self) -> Zeroizing<String> {
        let encoded = Zeroizing::new(URL_SAFE_NO_PAD.encode(self.0.as_slice()));
        Zeroizing::new([ADMIN_TOKEN_PREFIX, encoded.as_str()].concat())
    }
}

impl FromStr for AdminToken {
    type Err = AdminTokenError;

    fn from_str(text: &str) -> Result<Self, AdminTokenError> {
        let encoded = text.trim().strip_prefix(ADMIN_TOKEN_PREFIX).ok_or(AdminTokenError)?;
        let mut bytes = Zeroizing::new([0; 34]);
        let written = URL_SAFE_NO_PAD.decode_slice(encoded, bytes.as_mut_slice()).map_err(|_| AdminTokenError)?;
        let bytes: &[u8; 32] = bytes.get(..written).and_then(|b| b.try_into().ok()).ok_or(AdminTokenError)?;
        Ok(Self(Zeroizing::new(*bytes)))
    }
}

impl fmt::Debug for AdminToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AdminToken(..)")
    }
}

/// SHA-256 of an admin token's 32 bytes, or of a client certificate in DER.
#[derive(Clone, Eq)]
pub struct AdminHash([u8; 32]);

impl AdminHash {
    /// That of a client certificate.
    pub fn of_certificate(der: &[u8]) -> Self {
        Self(sha256(der))
    }

    /// The hash, for storage.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// In constant time.
impl PartialEq for AdminHash {
    fn eq(&self, other: &Self) -> bool {
        openssl::memcmp::eq(&self.0, &other.0)
    }
}

impl fmt::Debug for AdminHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AdminHash(..)")
    }
}

impl Drop for AdminHash {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::SystemRng;

    #[test]
    fn tokens_round_trip_and_are_not_printed() {
        let token = AdminToken::random(&SystemRng);
        let text = token.expose();
        assert_eq!(text.len(), ADMIN_TOKEN_PREFIX.len() + 43);
        assert_eq!(format!("{}\n", text.as_str()).parse::<AdminToken>().unwrap().hash(), token.hash());
        assert_eq!(format!("{token:?} {:?}", token.hash()), "AdminToken(..) AdminHash(..)");
        for bad in ["", ADMIN_TOKEN_PREFIX, &text[1..], &text[..text.len() - 1], &format!("{}AA", text.as_str()), &text.replace('_', "-")] {
            assert!(bad.parse::<AdminToken>().is_err());
        }
    }

    #[test]
    fn a_tenant_admin_is_bound_to_its_tenants() {
        let [own, other] = [TenantId::random(&SystemRng), TenantId::random(&SystemRng)];
        let caller = |role, tenants| Caller { actor: Actor::Local { uid: 0 }, role, tenants };
        let bound = caller(Role::TenantAdmin, vec![own]);
        assert!(bound.may(Permission::ReadUsers, Some(own)));
        assert!(!bound.may(Permission::ReadUsers, Some(other)) && !bound.may(Permission::ReadUsers, None));
        assert!(!bound.may(Permission::DistrustKeys, Some(own)));
        let auditor = caller(Role::Auditor, Vec::new());
        assert!(auditor.may(Permission::ReadAudit, None) && auditor.may(Permission::ReadAudit, Some(own)));
        assert!(!auditor.may(Permission::OperateKeys, Some(own)));
    }
}
