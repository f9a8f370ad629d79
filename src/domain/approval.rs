//! Acts that need a second administrator.

use serde::{Deserialize, Serialize};

use super::{Actor, ApprovalId, KeyId, TenantId, TenantSettings, Timestamp};

/// An act that dual control is about, whole: it is done as it was asked for, or not at all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "act", rename_all = "snake_case", deny_unknown_fields)]
pub enum Act {
    /// Destroy a key's private half.
    DestroyKey {
        /// The key.
        kid: KeyId,
    },
    /// Distrust a key.
    CompromiseKey {
        /// The key.
        kid: KeyId,
        /// Have a standby take over that verifiers may not have yet.
        accept_exposure: bool,
    },
    /// Rotate at once, or not at all.
    RotateEmergency {
        /// Whose key.
        tenant: TenantId,
        /// Have a standby take over that verifiers may not have yet.
        accept_exposure: bool,
    },
    /// Activate a key that verifiers may not have yet.
    ActivateExposed {
        /// The key.
        kid: KeyId,
    },
    /// Replace a tenant's settings with some that have another key policy.
    ChangePolicy {
        /// Whose.
        tenant: TenantId,
        /// The whole new settings.
        settings: Box<TenantSettings>,
    },
    /// Delete a tenant, and with it, after the grace period, its keys.
    DeleteTenant {
        /// Which.
        tenant: TenantId,
    },
    /// Give one server the PIN, which is never part of a request: whoever asked for it enters it once that is approved.
    ActivateHsm,
    /// Take the HSM out of service on one server.
    DeactivateHsm,
}

impl Act {
    /// What it is called, as in its JSON.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::DestroyKey { .. } => "destroy_key",
            Self::CompromiseKey { .. } => "compromise_key",
            Self::RotateEmergency { .. } => "rotate_emergency",
            Self::ActivateExposed { .. } => "activate_exposed",
            Self::ChangePolicy { .. } => "change_policy",
            Self::DeleteTenant { .. } => "delete_tenant",
            Self::ActivateHsm => "activate_hsm",
            Self::DeactivateHsm => "deactivate_hsm",
        }
    }
}

/// How far a request for an approval is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ApprovalState {
    /// Nobody has decided yet. Past its time it cannot be decided any more.
    Pending,
    /// A second administrator agreed; it is being done, or waits for who asked.
    Approved,
    /// A second administrator declined, or who asked took it back.
    Rejected,
    /// It was done.
    Done,
    /// It was agreed to, and could not be done.
    Failed,
}

text_enum!(ApprovalState, "pending, approved, rejected, done, failed", {
    Pending => "pending",
    Approved => "approved",
    Rejected => "rejected",
    Done => "done",
    Failed => "failed",
});

/// A request for an approval, and what became of it.
#[derive(Debug, Clone)]
pub struct Approval {
    /// Its row.
    pub id: ApprovalId,
    /// What is asked for.
    pub act: Act,
    /// The tenant that it is about, if it is about one.
    pub tenant_id: Option<TenantId>,
    /// Why.
    pub reason: String,
    /// How far it is.
    pub state: ApprovalState,
    /// Who asked: an [`Actor::Admin`].
    pub requested_by: Actor,
    /// When.
    pub requested_at: Timestamp,
    /// Until when it can be decided, and done.
    pub expires_at: Timestamp,
    /// Who decided: another [`Actor::Admin`].
    pub decided_by: Option<Actor>,
    /// When.
    pub decided_at: Option<Timestamp>,
    /// What came of it.
    pub outcome: Option<String>,
}
