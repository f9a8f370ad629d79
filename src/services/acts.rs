//! Acts under dual control: done at once where it is off; where it is on, asked for by one administrator and approved by another.

mod execution;
mod refusals;

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
};

use self::refusals::{is_by, undecidable, unpending, unusable};
use super::{Context, Error, Keys, Tenants, keys::By, keys::Rotation, vouching::settle};
use crate::{
    domain::{
        Act, Actor, AdminId, Approval, ApprovalId, ApprovalState, AuditEvent, AuditEventType, Caller, Page, Permission, Pin, SigningKey,
        Timestamp,
    },
    failpoint,
    storage::ApprovalAdded,
};

/// What came of an act that was submitted.
#[derive(Debug)]
pub enum Submitted {
    /// It was done.
    Done(Box<Outcome>),
    /// It waits for a second administrator.
    Requested(Box<Approval>),
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

/// The use cases of approvals. Times are the database's: those who ask and those who decide may be at different servers.
#[derive(Clone, Debug)]
pub struct Acts {
    context: Context,
    keys: Keys,
    tenants: Tenants,
    /// The approvals whose acts are being done by this server.
    running: Arc<Mutex<HashSet<ApprovalId>>>,
}

impl Acts {
    pub(super) fn new(context: Context, keys: Keys, tenants: Tenants) -> Self {
        Self { context, keys, tenants, running: Arc::default() }
    }

    /// Does `act`, or asks for its approval where dual control is on. The caller's permission was checked before. For [`Act::ActivateHsm`] see
    /// [`Acts::activate_hsm`].
    ///
    /// # Errors
    /// [`Error::Forbidden`] where dual control is on and the caller is no administrator with a name; [`Error::Conflict`] where a request
    /// for the same act on the same thing waits.
    pub async fn submit(&self, caller: &Caller, act: Act, by: &By) -> Result<Submitted, Error> {
        if self.context.governance.dual_control {
            return Ok(Submitted::Requested(Box::new(self.request(caller, act, by).await?)));
        }
        Ok(Submitted::Done(Box::new(self.perform(&act, None, by).await?)))
    }

    /// Gives this server's signer processes the PIN, or has them start again with the configured one. Under dual control that is asked for
    /// without the PIN, and done with `approval`, once, by who asked.
    ///
    /// # Errors
    /// As [`Acts::submit`]; [`Error::Invalid`] when the token refuses the PIN, which was tried once.
    pub async fn activate_hsm(&self, caller: &Caller, pin: Option<Pin>, approval: Option<ApprovalId>, by: &By) -> Result<Submitted, Error> {
        let Some(id) = approval.filter(|_| self.context.governance.dual_control) else {
            if self.context.governance.dual_control {
                return Ok(Submitted::Requested(Box::new(self.request(caller, Act::ActivateHsm, by).await?)));
            }
            self.enter_pin(pin, by).await?;
            return Ok(Submitted::Done(Box::new(Outcome::Done)));
        };
        let (requester, _) = named(caller)?;
        let approval = self.read(id).await?;
        if approval.act != Act::ActivateHsm {
            return Err(Error::ApprovalRefused(format!("approval {id} is for another act: {}", approval.act.name())));
        }
        let now = self.context.store.database_now().await?;
        if !self.context.store.claim_approval(id, requester, now).await? {
            return Err(Error::ApprovalRefused(unusable(&approval, requester, now)));
        }
        let by = as_approved(&approval, by);
        let entered = self.enter_pin(pin, &by).await;
        let text = entered.as_ref().map_or_else(ToString::to_string, |()| "the HSM was activated".to_owned());
        self.conclude(&approval, entered.is_ok(), &text, &by).await?;
        entered.map(|()| Submitted::Done(Box::new(Outcome::Done)))
    }

    /// Requests in `state`, or all, the newest first, each as far as it is now; and how many there are.
    pub async fn list(&self, state: Option<ApprovalState>, page: Page) -> Result<(Vec<Approval>, u64), Error> {
        let now = self.context.store.database_now().await?;
        let (found, total) = self.context.store.approvals(state, now, page).await?;
        Ok((found.into_iter().map(|approval| as_of(approval, now)).collect(), total))
    }

    /// A request, as far as it is now.
    pub async fn get(&self, id: ApprovalId) -> Result<Approval, Error> {
        let now = self.context.store.database_now().await?;
        Ok(as_of(self.read(id).await?, now))
    }

    /// Approves a request of another's, and does what it asks for; the approval of an activation waits for who asked, with the PIN. Where an
    /// act was cut short, whoever approved it calls again: what was done is not done twice.
    ///
    /// # Errors
    /// [`Error::Forbidden`] where the act is not the caller's to do; [`Error::ApprovalRefused`] where the request cannot be approved by the
    /// caller, or not any more; what the act itself was refused for, which settles the approval as failed.
    pub async fn approve(&self, id: ApprovalId, caller: &Caller, by: &By) -> Result<(Approval, Option<Outcome>), Error> {
        let (approver, name) = named(caller)?;
        let approval = self.read(id).await?;
        check_permission(caller, &approval)?;
        let turn = self.turn(id)?;
        let now = self.context.store.database_now().await?;
        match approval.state_at(now) {
            ApprovalState::Approved if is_by(approval.decided_by.as_ref(), approver) && approval.act != Act::ActivateHsm => {}
            ApprovalState::Pending => {
                let event = event(&self.context, &approval, AuditEventType::ApprovalGranted, by);
                let granted = self.context.store.approve(id, (approver, name), now, &event).await;
                if !settle(&self.context, &event, granted, || true).await? {
                    return Err(Error::ApprovalRefused(undecidable(&self.read(id).await?, approver, now)));
                }
                failpoint::hit("approval.approved");
            }
            _ => return Err(Error::ApprovalRefused(undecidable(&approval, approver, now))),
        }
        let approval = self.read(id).await?;
        if approval.act == Act::ActivateHsm {
            return Ok((approval, None));
        }
        // What was begun is finished even if whoever asked goes away.
        let (acts, by) = (self.clone(), as_approved(&approval, by));
        let done = tokio::spawn(async move {
            let _turn = turn;
            acts.execute(approval, &by).await
        });
        done.await.map_err(|e| Error::Internal("an approved act was cut short".to_owned(), Some(e.into())))?
    }

    /// Rejects a request; one's own too, which takes it back.
    pub async fn reject(&self, id: ApprovalId, caller: &Caller, by: &By) -> Result<Approval, Error> {
        let (decider, name) = named(caller)?;
        let approval = self.read(id).await?;
        let own = is_by(Some(&approval.requested_by), decider);
        if !own {
            check_permission(caller, &approval)?;
        }
        let now = self.context.store.database_now().await?;
        let what = if own { "taken back" } else { "rejected" };
        let outcome = by.reason.as_ref().map_or_else(|| what.to_owned(), |reason| format!("{what}: {reason}"));
        let event = event(&self.context, &approval, AuditEventType::ApprovalRejected, by);
        let rejected = self.context.store.reject(id, (decider, name), &outcome, now, &event).await;
        if settle(&self.context, &event, rejected, || true).await? {
            self.get(id).await
        } else {
            Err(Error::ApprovalRefused(unpending(&self.read(id).await?, now)))
        }
    }

    /// Writes down that somebody asks for an act.
    async fn request(&self, caller: &Caller, act: Act, by: &By) -> Result<Approval, Error> {
        named(caller)?;
        let tenant_id = match (act.key(), act.tenant()) {
            (Some(kid), _) => Some(self.keys.get(kid).await?.tenant_id),
            (None, Some(tenant)) => Some(self.tenants.get(tenant).await?.id),
            (None, None) => None,
        };
        let now = self.context.store.database_now().await?;
        let approval = Approval {
            id: ApprovalId::random(&*self.context.rng),
            act,
            tenant_id,
            reason: by.reason.clone().unwrap_or_default(),
            state: ApprovalState::Pending,
            requested_by: caller.actor.clone(),
            requested_at: now,
            expires_at: now + self.context.governance.approval_limit,
            decided_by: None,
            decided_at: None,
            outcome: None,
        };
        let event = event(&self.context, &approval, AuditEventType::ApprovalRequested, by);
        let added = self.context.store.add_approval(&approval, &event).await;
        match settle(&self.context, &event, added, || ApprovalAdded::Added).await? {
            ApprovalAdded::Added => Ok(approval),
            ApprovalAdded::Rival(other) => Err(Error::Conflict(format!("approval {other} waits for the same act already"))),
            ApprovalAdded::Full => Err(Error::Conflict("too many requests for approvals wait: decide them, or take some back".to_owned())),
        }
    }

    async fn read(&self, id: ApprovalId) -> Result<Approval, Error> {
        self.context.store.approval(id).await?.ok_or(Error::ApprovalNotFound(id))
    }

    /// The one turn that there is in this server for an approval's act at a time.
    fn turn(&self, id: ApprovalId) -> Result<Turn, Error> {
        let taken = self.running.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
        if taken { Ok(Turn { id, running: self.running.clone() }) } else { Err(Error::ApprovalRefused("it is being done".to_owned())) }
    }
}

/// See [`Acts::turn`].
struct Turn {
    id: ApprovalId,
    running: Arc<Mutex<HashSet<ApprovalId>>>,
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}

/// Whoever approves or rejects an act has to be allowed to do it.
fn check_permission(caller: &Caller, approval: &Approval) -> Result<(), Error> {
    let permission = approval.act.permission();
    if caller.may(Permission::DecideApprovals, None) && caller.may(permission, approval.tenant_id) {
        return Ok(());
    }
    Err(Error::Forbidden(format!("deciding on {} needs the permissions decide-approvals and {permission}", approval.act.name())))
}

/// The caller's name in approvals: that of an administrator.
fn named(caller: &Caller) -> Result<(AdminId, &str), Error> {
    match &caller.actor {
        Actor::Admin { id, name } => Ok((*id, name)),
        Actor::Local { .. } | Actor::Scheduler { .. } => Err(Error::Forbidden("dual control is on: show an admin token".to_owned())),
    }
}

fn as_of(approval: Approval, now: Timestamp) -> Approval {
    Approval { state: approval.state_at(now), ..approval }
}

/// An approved act is its requester's; the reason says who approved it.
fn as_approved(approval: &Approval, by: &By) -> By {
    let approver = approval.decided_by.as_ref().map_or_else(|| "nobody".to_owned(), ToString::to_string);
    let mut reason = format!("approval {}, approved by {approver}", approval.id);
    if !approval.reason.is_empty() {
        reason = format!("{} ({reason})", approval.reason);
    }
    By { actor: approval.requested_by.clone(), reason: Some(reason), meta: by.meta.clone() }
}

/// An event about an approval: in the log of the tenant that it is about, if it is about one.
fn event(context: &Context, approval: &Approval, event_type: AuditEventType, by: &By) -> AuditEvent {
    let mut reason = format!("approval {}: {}", approval.id, approval.act.name());
    if let Some(why) = &by.reason {
        reason = format!("{reason}: {why}");
    }
    AuditEvent {
        actor: Some(by.actor.to_string()),
        key_id: approval.act.key(),
        reason: Some(reason.chars().take(AuditEvent::MAX_ERROR_CHARS).collect()),
        meta: by.meta.clone(),
        ..super::api_keys::event(context, approval.tenant_id.unwrap_or(AuditEvent::DEPLOYMENT), event_type, by)
    }
}
