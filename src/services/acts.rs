//! Acts under dual control: done at once where it is off; where it is on, asked for by one administrator and approved by another.

use super::{Context, Error, Keys, Tenants, keys::By, keys::Rotation};
use crate::{
    domain::{Act, Approval, ApprovalId, ApprovalState, Caller, Page, SigningKey},
    storage::unbuilt,
};

/// What came of an act that was submitted.
#[derive(Debug)]
pub enum Submitted {
    /// It was done.
    Done(Outcome),
    /// It waits for a second administrator.
    Requested(Approval),
}

/// What an act led to.
#[derive(Debug)]
pub enum Outcome {
    /// A key was changed.
    Key(SigningKey),
    /// A key was distrusted; and the one that signs now, if any.
    Compromised(SigningKey, Option<SigningKey>),
    /// A rotation.
    Rotation(Rotation),
    /// Nothing more is to be said.
    Done,
}

/// The use cases of approvals.
#[derive(Clone, Debug)]
pub struct Acts {
    context: Context,
    keys: Keys,
    tenants: Tenants,
}

impl Acts {
    pub(super) fn new(context: Context, keys: Keys, tenants: Tenants) -> Self {
        Self { context, keys, tenants }
    }

    /// Does `act`, or asks for its approval where dual control is on. The caller's permission was checked before.
    ///
    /// # Errors
    /// [`Error::Forbidden`] where dual control is on and the caller is no administrator with a name.
    pub async fn submit(&self, caller: &Caller, act: Act, by: &By) -> Result<Submitted, Error> {
        let _ = (caller, act, by, &self.context, &self.keys, &self.tenants);
        Ok(unbuilt()?)
    }

    /// Requests in `state`, or all, the newest first, and how many there are.
    pub async fn list(&self, state: Option<ApprovalState>, page: Page) -> Result<(Vec<Approval>, u64), Error> {
        let now = self.context.store.database_now().await?;
        Ok(self.context.store.approvals(state, now, page).await?)
    }

    /// Approves a request of another's, and does what it asks for.
    pub async fn approve(&self, id: ApprovalId, caller: &Caller, by: &By) -> Result<(Approval, Option<Outcome>), Error> {
        let _ = (id, caller, by);
        Ok(unbuilt()?)
    }

    /// Rejects a request; one's own too, which takes it back.
    pub async fn reject(&self, id: ApprovalId, caller: &Caller, by: &By) -> Result<Approval, Error> {
        let _ = (id, caller, by);
        Ok(unbuilt()?)
    }
}
