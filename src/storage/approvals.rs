//! Requests for a second administrator's approval.

use super::{Error, Store, unbuilt};
use crate::domain::{AdminId, Approval, ApprovalId, ApprovalState, AuditEvent, Page, Timestamp};

impl Store {
    /// Adds a request (`pending`).
    pub async fn add_approval(&self, approval: &Approval, event: &AuditEvent) -> Result<(), Error> {
        let _ = (approval, event);
        unbuilt()
    }

    /// One of them.
    pub async fn approval(&self, id: ApprovalId) -> Result<Option<Approval>, Error> {
        let _ = id;
        unbuilt()
    }

    /// Those in `state`, or all, the newest first, and how many there are.
    pub async fn approvals(&self, state: Option<ApprovalState>, page: Page) -> Result<(Vec<Approval>, u64), Error> {
        let _ = (state, page);
        unbuilt()
    }

    /// pending -> approved or rejected, by `by`, unless it has expired at `now`; approved only by another than who asked. `false`, and no
    /// event, when that does not hold.
    pub async fn decide_approval(
        &self,
        id: ApprovalId,
        approved: bool,
        by: (AdminId, &str),
        now: Timestamp,
        event: &AuditEvent,
    ) -> Result<bool, Error> {
        let _ = (id, approved, by, now, event);
        unbuilt()
    }

    /// approved -> done or failed, once, and not after it expired. Claims it before the act is done where `outcome` is `None` (the state is
    /// `done` then, and `outcome` follows).
    pub async fn settle_approval(
        &self,
        id: ApprovalId,
        state: ApprovalState,
        outcome: Option<&str>,
        now: Timestamp,
        event: &AuditEvent,
    ) -> Result<bool, Error> {
        let _ = (id, state, outcome, now, event);
        unbuilt()
    }
}
