//! Acts that need a second administrator.

use serde::{Deserialize, Serialize};

use super::{Actor, ApprovalId, KeyId, Permission, TenantId, TenantSettings, Timestamp};

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
        /// Only if the active key signs since before this instant.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        if_active_before: Option<Timestamp>,
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

    /// What whoever asks for it, and whoever approves it, has to be allowed.
    pub const fn permission(&self) -> Permission {
        match self {
            Self::RotateEmergency { accept_exposure: false, .. } => Permission::OperateKeys,
            Self::DestroyKey { .. } | Self::CompromiseKey { .. } | Self::RotateEmergency { .. } | Self::ActivateExposed { .. } => {
                Permission::DistrustKeys
            }
            Self::ChangePolicy { .. } => Permission::ChangeKeyPolicy,
            Self::DeleteTenant { .. } => Permission::DeleteTenants,
            Self::ActivateHsm | Self::DeactivateHsm => Permission::OperateHsm,
        }
    }

    /// The key that it is about, if it is about one.
    pub const fn key(&self) -> Option<KeyId> {
        match self {
            Self::DestroyKey { kid } | Self::CompromiseKey { kid, .. } | Self::ActivateExposed { kid } => Some(*kid),
            _ => None,
        }
    }

    /// The tenant that it names, if it names one.
    pub const fn tenant(&self) -> Option<TenantId> {
        match self {
            Self::RotateEmergency { tenant, .. } | Self::ChangePolicy { tenant, .. } | Self::DeleteTenant { tenant } => Some(*tenant),
            _ => None,
        }
    }

    /// Whether both are the same act on the same thing, in whatever manner: one of them waits at a time.
    pub fn rivals(&self, other: &Self) -> bool {
        (self.name(), self.key(), self.tenant()) == (other.name(), other.key(), other.tenant())
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
    /// Its time was over before it was decided, or done. Told by the clock, never stored: see [`Approval::state_at`].
    Expired,
}

text_enum!(ApprovalState, "pending, approved, rejected, done, failed, expired", {
    Pending => "pending",
    Approved => "approved",
    Rejected => "rejected",
    Done => "done",
    Failed => "failed",
    Expired => "expired",
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
    /// Who decided: another [`Actor::Admin`]; nobody where it was taken back.
    pub decided_by: Option<Actor>,
    /// When.
    pub decided_at: Option<Timestamp>,
    /// What came of it.
    pub outcome: Option<String>,
}

impl Approval {
    /// How far it is at `now`.
    pub fn state_at(&self, now: Timestamp) -> ApprovalState {
        let open = matches!(self.state, ApprovalState::Pending | ApprovalState::Approved);
        if open && self.expires_at <= now { ApprovalState::Expired } else { self.state }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::SystemRng;

    #[test]
    fn acts_are_kept_whole() {
        let (kid, tenant) = (KeyId::random(&SystemRng), TenantId::random(&SystemRng));
        let before = Some(Timestamp::from_millis(7));
        for act in [
            Act::DestroyKey { kid },
            Act::CompromiseKey { kid, accept_exposure: true },
            Act::RotateEmergency { tenant, accept_exposure: false, if_active_before: before },
            Act::ActivateExposed { kid },
            Act::ChangePolicy { tenant, settings: Box::default() },
            Act::DeleteTenant { tenant },
            Act::ActivateHsm,
            Act::DeactivateHsm,
        ] {
            let json = serde_json::to_value(&act).unwrap();
            assert_eq!(json["act"], act.name());
            assert_eq!(serde_json::from_value::<Act>(json).unwrap(), act);
        }
    }

    #[test]
    fn rivals_are_the_same_act_on_the_same_thing() {
        let (kid, other) = (KeyId::random(&SystemRng), KeyId::random(&SystemRng));
        let compromise = |kid, accept_exposure| Act::CompromiseKey { kid, accept_exposure };
        assert!(compromise(kid, true).rivals(&compromise(kid, false)));
        assert!(!compromise(kid, true).rivals(&compromise(other, true)));
        assert!(!compromise(kid, true).rivals(&Act::DestroyKey { kid }));
        assert!(Act::ActivateHsm.rivals(&Act::ActivateHsm) && !Act::ActivateHsm.rivals(&Act::DeactivateHsm));
    }
}
