//! The audit trail: refusals that anyone can cause are written down, and tenants read their own.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use super::{Context, Error};
use crate::domain::{AuditEvent, AuditEventId, AuditEventType, AuditFilter, Operation, Page, RequestMeta, TenantId, Timestamp, UserId};

/// How many refusals of one tenant are recorded at once, and how fast the allowance grows back.
const BURST: u32 = 100;
const REFILL: Duration = Duration::from_millis(100);

/// Writes down refusals, each on a connection of its own, and reads a tenant's log.
///
/// Requests that prove nothing (an unknown challenge) are sampled above a rate, so that an attacker cannot fill the database; the next
/// recorded event says how many were left out.
#[derive(Clone, Debug)]
pub struct Audit {
    context: Context,
    allowances: Arc<Mutex<HashMap<TenantId, Allowance>>>,
}

#[derive(Debug)]
struct Allowance {
    left: u32,
    refilled_at: Timestamp,
    suppressed: u64,
}

impl Allowance {
    /// Takes one from the allowance: `Some(n)` when there was one, with the number left out since the last; `None` when there was none.
    fn take(&mut self, now: Timestamp) -> Option<u64> {
        // Nothing for a clock that was put back; from then on it grows by that clock.
        self.refilled_at = self.refilled_at.min(now);
        let refills = u32::try_from(now.since(self.refilled_at).as_millis() / REFILL.as_millis()).unwrap_or(u32::MAX);
        if refills > 0 {
            self.left = self.left.saturating_add(refills).min(BURST);
            self.refilled_at = now;
        }
        if self.left == 0 {
            self.suppressed += 1;
            return None;
        }
        self.left -= 1;
        Some(std::mem::take(&mut self.suppressed))
    }
}

impl Audit {
    pub(super) fn new(context: Context) -> Self {
        Self { context, allowances: Arc::default() }
    }

    /// An event of now.
    pub(super) fn event(&self, tenant: TenantId, event_type: AuditEventType, meta: &RequestMeta, user: Option<&UserId>) -> AuditEvent {
        AuditEvent {
            id: AuditEventId::random(&*self.context.rng),
            tenant_id: tenant,
            event_type,
            error: None,
            meta: meta.clone(),
            actor_user_id: user.cloned(),
            credential_id: None,
            transaction_id: None,
            actor: None,
            key_id: None,
            reason: None,
            created_at: self.context.clock.now(),
        }
    }

    /// A page of the tenant's log, newest first, and how many events `filter` lets through in all.
    pub async fn log(&self, tenant: TenantId, filter: &AuditFilter, page: Page) -> Result<(Vec<AuditEvent>, u64), Error> {
        Ok(self.context.store.audit_log(tenant, filter, page).await?)
    }

    /// The same of every tenant's log, and the deployment's.
    pub async fn log_of_all(&self, filter: &AuditFilter, page: Page) -> Result<(Vec<AuditEvent>, u64), Error> {
        Ok(self.context.store.audit_log_of_all(filter, page).await?)
    }

    /// Forgets what is older than the configuration says, the oldest first, at most `limit` events; says how many. The trail of deleted
    /// tenants is kept as long.
    pub async fn sweep(&self, limit: u32) -> Result<u64, Error> {
        let Some(retention) = self.context.governance.audit_retention else { return Ok(0) };
        let retention = i64::try_from(retention.as_millis()).unwrap_or(i64::MAX);
        let before = Timestamp::from_millis(self.context.clock.now().as_millis().saturating_sub(retention));
        Ok(self.context.store.sweep_audit(before, limit).await?)
    }

    /// Records that a backend's request was refused before a use case took it, and why.
    pub async fn refused(&self, tenant: TenantId, event_type: AuditEventType, reason: &str, user: Option<&UserId>, meta: &RequestMeta) {
        self.kept(self.event(tenant, event_type, meta, user).because(reason)).await;
    }

    /// Records that the end of a ceremony was refused: whatever a backend brings, and of what anyone can post so many. What strangers do must
    /// not crowd a backend's refusals out.
    pub(super) async fn refusal(&self, operation: Operation, event: AuditEvent) {
        let event = if operation.is_keyed() { Some(event) } else { self.admitted(event) };
        if let Some(event) = event {
            self.kept(event).await;
        }
    }

    /// A refusal that anyone can cause, as it is to be recorded: with how many before it were not. `None` when there were too many.
    pub(super) fn admitted(&self, mut event: AuditEvent) -> Option<AuditEvent> {
        let suppressed = self.take(event.tenant_id)?;
        if suppressed > 0 {
            let gap = format!(" ({suppressed} refusals before this one were not recorded)");
            let room = AuditEvent::MAX_ERROR_CHARS.saturating_sub(gap.len());
            event.error = Some(event.error.unwrap_or_default().chars().take(room).chain(gap.chars()).collect());
        }
        Some(event)
    }

    /// Records a refusal that only an API key's holder can cause. A database that cannot take it is logged, not reported: the caller has a
    /// refusal to answer.
    pub(super) async fn kept(&self, event: AuditEvent) {
        if let Err(error) = self.context.store.append_audit(&event).await {
            tracing::error!(tenant = %event.tenant_id, %error, "an audit event of tenant {} was not recorded", event.tenant_id);
        }
    }

    fn take(&self, tenant: TenantId) -> Option<u64> {
        let now = self.context.clock.now();
        let mut allowances = self.allowances.lock().unwrap_or_else(PoisonError::into_inner);
        allowances.entry(tenant).or_insert(Allowance { left: BURST, refilled_at: now, suppressed: 0 }).take(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_allowance_runs_out_says_so_and_grows_back() {
        let start = Timestamp::from_millis(1_000_000);
        let mut allowance = Allowance { left: BURST, refilled_at: start, suppressed: 0 };
        assert!((0..BURST).all(|_| allowance.take(start) == Some(0)));
        assert!((0..5).all(|_| allowance.take(start).is_none()));
        assert_eq!(allowance.take(start + REFILL), Some(5));
        assert_eq!(allowance.take(start + REFILL), None);
        assert_eq!(allowance.take(start + Duration::from_hours(1)), Some(1));
        assert_eq!(allowance.left, BURST - 1);
    }

    #[test]
    fn a_clock_that_goes_back_refills_nothing() {
        let start = Timestamp::from_millis(1_000_000);
        let mut allowance = Allowance { left: 0, refilled_at: start, suppressed: 0 };
        let back = Timestamp::from_millis(0);
        assert_eq!(allowance.take(back), None);
        // But it does not wait until the clock is where it was.
        assert_eq!(allowance.take(back + REFILL), Some(1));
    }
}
