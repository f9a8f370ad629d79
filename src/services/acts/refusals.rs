//! Why a request for an approval is not decided, or not used, for people.

use crate::domain::{Actor, AdminId, Approval, ApprovalState, Timestamp};

pub(super) fn is_by(actor: Option<&Actor>, admin: AdminId) -> bool {
    matches!(actor, Some(Actor::Admin { id, .. }) if *id == admin)
}

/// Why `admin` cannot approve it.
pub(super) fn undecidable(approval: &Approval, admin: AdminId, now: Timestamp) -> String {
    match approval.state_at(now) {
        ApprovalState::Pending if is_by(Some(&approval.requested_by), admin) => "nobody approves their own requests".to_owned(),
        ApprovalState::Pending => format!("{}, who asked for it, or you are no administrator any more", approval.requested_by),
        _ => unpending(approval, now),
    }
}

/// Why it cannot be decided any more.
pub(super) fn unpending(approval: &Approval, now: Timestamp) -> String {
    let decider = approval.decided_by.as_ref().map_or_else(|| "who asked for it".to_owned(), ToString::to_string);
    match approval.state_at(now) {
        ApprovalState::Pending => "it was changed by somebody else at the same time: look again".to_owned(),
        ApprovalState::Approved => format!("it was approved by {decider}, who can finish it"),
        ApprovalState::Rejected => format!("it was rejected by {decider}"),
        ApprovalState::Expired => format!("its time was over at {}: ask again", approval.expires_at),
        ApprovalState::Done | ApprovalState::Failed => {
            format!("it is {}: {}", approval.state.as_str(), approval.outcome.as_deref().unwrap_or("its outcome was not written down"))
        }
    }
}

/// Why an approval cannot be used by `requester`.
pub(super) fn unusable(approval: &Approval, requester: AdminId, now: Timestamp) -> String {
    match approval.state_at(now) {
        _ if !is_by(Some(&approval.requested_by), requester) => "it was asked for by another administrator".to_owned(),
        ApprovalState::Pending => "it waits for a second administrator".to_owned(),
        ApprovalState::Approved => "it was used at the same time".to_owned(),
        _ => unpending(approval, now),
    }
}
