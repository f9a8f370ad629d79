//! The statements, one for each change, with its preconditions in it.

use sqlx::types::Uuid;

use super::{
    super::{Error, conn::Conn},
    clock,
};
use crate::domain::{KeyChange, KeyId, KeyPlan, KeyState, Leaving, TenantId, Times, Timestamp};

/// Which key, and when: by the database's clock, after everybody else's changes.
pub(super) struct Target {
    pub(super) tenant: TenantId,
    pub(super) kid: KeyId,
    pub(super) now: Timestamp,
    pub(super) revision: i64,
}

impl Target {
    fn ids(&self) -> (Uuid, Uuid) {
        (self.tenant.as_uuid(), self.kid.as_uuid())
    }

    /// The same instant and change, of another key of the tenant.
    fn of(&self, kid: KeyId) -> Self {
        Self { kid, ..*self }
    }
}

/// Makes a change within a unit of work. `false` when a precondition does not hold; the caller undoes what was written then.
pub(super) async fn make(tx: &mut Conn<'_>, t: &Target, change: KeyChange) -> Result<bool, Error> {
    let changed = match change {
        KeyChange::Publish { publication } => publish(tx, t, t.now + publication).await?,
        KeyChange::Republish { publication } => republish(tx, t, t.now + publication).await?,
        KeyChange::Activate { leaving, accept_exposure, replica_lease, rotate_after } => {
            let (seen_after, rotate_from) = (clock::before(t.now, replica_lease), rotate_after.map(|after| t.now + after));
            leave(tx, t, leaving).await? && activate(tx, t, leaving, accept_exposure, seen_after, rotate_from).await?
        }
        KeyChange::Reinstate { leaving, rotate_after } => {
            leave(tx, t, leaving).await? && reinstate(tx, t, leaving, rotate_after.map(|after| t.now + after)).await?
        }
        KeyChange::Suspend(times) => cease(tx, t, KeyState::Suspended, times).await?,
        KeyChange::Retire => retire(tx, t).await?,
        KeyChange::Withdraw => withdraw(tx, t).await?,
        KeyChange::Compromise => compromise(tx, t, false).await?,
        KeyChange::BeginDestruction { by_command } => begin_destruction(tx, t, by_command).await?,
        KeyChange::FinishDestruction => finish_destruction(tx, t).await?,
        KeyChange::Plan(plan) => set_plan(tx, t, plan).await?,
    };
    Ok(changed)
}

/// Verifiers may hold a JWKS of an older, longer max-age until `jwks_cached_until`.
async fn publish(tx: &mut Conn<'_>, t: &Target, usable_from: Timestamp) -> Result<bool, Error> {
    let (tenant, kid) = t.ids();
    let updated = execute!(
        tx,
        "UPDATE signing_keys SET state = 'published', published_at = $3, revision = $5, published_revision = $5,
            usable_from = (SELECT CASE WHEN t.jwks_cached_until > $4 THEN t.jwks_cached_until ELSE $4 END
                FROM tenants t WHERE t.id = signing_keys.tenant_id)
        WHERE tenant_id = $1 AND id = $2 AND state = 'pending' AND public_key IS NOT NULL AND evidence_record IS NOT NULL
            AND destroying_at IS NULL AND private_destroyed_at IS NULL",
        tenant,
        kid,
        t.now.as_millis(),
        usable_from.as_millis(),
        t.revision
    )?;
    Ok(updated == 1)
}

/// As if it were new: when it ceased to sign stays on record until it signs again.
async fn republish(tx: &mut Conn<'_>, t: &Target, usable_from: Timestamp) -> Result<bool, Error> {
    let (tenant, kid) = t.ids();
    let updated = execute!(
        tx,
        "UPDATE signing_keys SET state = 'published', published_at = $3, revision = $5, published_revision = $5, plan = 'none',
            withdrawn_at = NULL, withdraw_from = NULL, keep_private_until = NULL,
            usable_from = (SELECT CASE WHEN t.jwks_cached_until > $4 THEN t.jwks_cached_until ELSE $4 END
                FROM tenants t WHERE t.id = signing_keys.tenant_id)
        WHERE tenant_id = $1 AND id = $2 AND state = 'suspended' AND withdrawn_at IS NOT NULL
            AND destroying_at IS NULL AND private_destroyed_at IS NULL",
        tenant,
        kid,
        t.now.as_millis(),
        usable_from.as_millis(),
        t.revision
    )?;
    Ok(updated == 1)
}

/// Accepting the exposure spares the wait for verifiers, not that for our own servers: they would sign with a key that they do not publish.
async fn activate(
    tx: &mut Conn<'_>,
    t: &Target,
    leaving: Option<Leaving>,
    accept_exposure: bool,
    seen_after: i64,
    rotate_from: Option<Timestamp>,
) -> Result<bool, Error> {
    let (tenant, kid) = t.ids();
    let updated = execute!(
        tx,
        "UPDATE signing_keys SET state = 'active', activated_at = $3, rotate_from = $4, predecessor = COALESCE($5, predecessor),
            revision = $6, plan = 'none', deactivated_at = NULL, withdraw_from = NULL, keep_private_until = NULL
        WHERE tenant_id = $1 AND id = $2 AND state = 'published' AND (usable_from <= $3 OR $7) AND evidence_record IS NOT NULL
            AND destroying_at IS NULL AND private_destroyed_at IS NULL
            AND NOT EXISTS (SELECT 1 FROM replicas r WHERE r.seen_at > $8 AND r.key_revision < signing_keys.published_revision)
            AND NOT EXISTS (SELECT 1 FROM signing_keys other WHERE other.tenant_id = $1 AND other.state = 'active')",
        tenant,
        kid,
        t.now.as_millis(),
        rotate_from.map(Timestamp::as_millis),
        leaving.map(|leaving| leaving.kid.as_uuid()),
        t.revision,
        accept_exposure,
        seen_after
    )?;
    Ok(updated == 1)
}

/// It never left the JWKS: verifiers and servers have it.
async fn reinstate(tx: &mut Conn<'_>, t: &Target, leaving: Option<Leaving>, rotate_from: Option<Timestamp>) -> Result<bool, Error> {
    let (tenant, kid) = t.ids();
    let updated = execute!(
        tx,
        "UPDATE signing_keys SET state = 'active', activated_at = $3, rotate_from = $4, predecessor = COALESCE($5, predecessor),
            revision = $6, plan = 'none', deactivated_at = NULL, withdraw_from = NULL, keep_private_until = NULL
        WHERE tenant_id = $1 AND id = $2 AND (state = 'suspended' OR (state = 'retiring' AND keep_private_until > $3))
            AND withdrawn_at IS NULL AND destroying_at IS NULL AND private_destroyed_at IS NULL
            AND NOT EXISTS (SELECT 1 FROM signing_keys other WHERE other.tenant_id = $1 AND other.state = 'active')",
        tenant,
        kid,
        t.now.as_millis(),
        rotate_from.map(Timestamp::as_millis),
        leaving.map(|leaving| leaving.kid.as_uuid()),
        t.revision
    )?;
    Ok(updated == 1)
}

/// The key that signs until now goes first, because one is active at a time. `true` where none has to go.
async fn leave(tx: &mut Conn<'_>, t: &Target, leaving: Option<Leaving>) -> Result<bool, Error> {
    match leaving {
        None => Ok(true),
        // It would leave and come back in one step.
        Some(leaving) if leaving.kid == t.kid => Ok(false),
        Some(Leaving { kid, to: KeyState::Compromised, .. }) => compromise(tx, &t.of(kid), true).await,
        Some(Leaving { kid, to: to @ (KeyState::Retiring | KeyState::Suspended), times }) => cease(tx, &t.of(kid), to, times).await,
        Some(_) => Ok(false),
    }
}

/// active -> retiring or suspended. Tokens of older settings, which lived longer, are verified until `tokens_valid_until`.
async fn cease(tx: &mut Conn<'_>, t: &Target, to: KeyState, times: Times) -> Result<bool, Error> {
    let (tenant, kid) = t.ids();
    let updated = execute!(
        tx,
        "UPDATE signing_keys SET state = $3, deactivated_at = $4, keep_private_until = $6, revision = $7,
            withdraw_from = (SELECT CASE WHEN t.tokens_valid_until > $5 THEN t.tokens_valid_until ELSE $5 END
                FROM tenants t WHERE t.id = signing_keys.tenant_id)
        WHERE tenant_id = $1 AND id = $2 AND state = 'active'",
        tenant,
        kid,
        to.as_str(),
        t.now.as_millis(),
        (t.now + times.retirement).as_millis(),
        (t.now + times.rollback).as_millis(),
        t.revision
    )?;
    Ok(updated == 1)
}

/// What never signed leaves the JWKS at once, and nobody needs its private half. An intent is not retired, but destroyed: there is no key.
async fn retire(tx: &mut Conn<'_>, t: &Target) -> Result<bool, Error> {
    let (tenant, kid) = t.ids();
    let updated = execute!(
        tx,
        "UPDATE signing_keys SET plan = 'none', revision = $4,
            state = CASE WHEN state = 'suspended' AND withdrawn_at IS NULL THEN 'retiring' ELSE 'retired' END,
            withdrawn_at = CASE WHEN state = 'published' THEN $3 ELSE withdrawn_at END,
            keep_private_until = CASE WHEN state = 'suspended' THEN COALESCE(keep_private_until, $3) ELSE $3 END
        WHERE tenant_id = $1 AND id = $2
            AND (state IN ('published', 'suspended') OR (state = 'pending' AND public_key IS NOT NULL))",
        tenant,
        kid,
        t.now.as_millis(),
        t.revision
    )?;
    Ok(updated == 1)
}

async fn withdraw(tx: &mut Conn<'_>, t: &Target) -> Result<bool, Error> {
    let (tenant, kid) = t.ids();
    let updated = execute!(
        tx,
        "UPDATE signing_keys SET state = CASE WHEN state = 'retiring' THEN 'retired' ELSE state END, withdrawn_at = $3, revision = $4
        WHERE tenant_id = $1 AND id = $2 AND state IN ('retiring', 'suspended') AND withdrawn_at IS NULL AND withdraw_from <= $3",
        tenant,
        kid,
        t.now.as_millis(),
        t.revision
    )?;
    Ok(updated == 1)
}

async fn compromise(tx: &mut Conn<'_>, t: &Target, only_active: bool) -> Result<bool, Error> {
    let (tenant, kid) = t.ids();
    let updated = execute!(
        tx,
        "UPDATE signing_keys SET state = 'compromised', plan = 'none', keep_private_until = $3, revision = $4,
            deactivated_at = CASE WHEN state = 'active' THEN $3 ELSE deactivated_at END,
            withdrawn_at = CASE WHEN published_at IS NULL THEN NULL ELSE COALESCE(withdrawn_at, $3) END
        WHERE tenant_id = $1 AND id = $2 AND state NOT IN ('compromised', 'destroyed')
            AND (state <> 'pending' OR public_key IS NOT NULL) AND (state = 'active' OR NOT $5)",
        tenant,
        kid,
        t.now.as_millis(),
        t.revision,
        only_active
    )?;
    Ok(updated == 1)
}

/// Once more where it was begun before: who takes up what a crash left may say so. A tenant whose time is over keeps no private half.
async fn begin_destruction(tx: &mut Conn<'_>, t: &Target, by_command: bool) -> Result<bool, Error> {
    let (tenant, kid) = t.ids();
    let updated = execute!(
        tx,
        "UPDATE signing_keys SET destroying_at = COALESCE(destroying_at, $3), destroying_by_command = (destroying_by_command OR $5),
            revision = $4
        WHERE tenant_id = $1 AND id = $2 AND private_destroyed_at IS NULL AND state <> 'destroyed'
            AND ((destroying_at IS NOT NULL AND state <> 'active') OR state = 'compromised' OR ($5 AND state <> 'active')
                OR (state IN ('retiring', 'retired') AND keep_private_until <= $3)
                OR EXISTS (SELECT 1 FROM tenants t WHERE t.id = $1 AND t.purge_from <= $3))",
        tenant,
        kid,
        t.now.as_millis(),
        t.revision,
        by_command
    )?;
    Ok(updated == 1)
}

/// A key in use, whose tenant's time is over, is destroyed too: it cannot be what it was without its private half.
async fn finish_destruction(tx: &mut Conn<'_>, t: &Target) -> Result<bool, Error> {
    let (tenant, kid) = t.ids();
    let updated = execute!(
        tx,
        "UPDATE signing_keys SET private_destroyed_at = $3, plan = 'none', revision = $4,
            deactivated_at = CASE WHEN state = 'active' THEN $3 ELSE deactivated_at END,
            withdrawn_at = CASE WHEN published_at IS NOT NULL AND withdrawn_at IS NULL
                    AND (destroying_by_command OR state NOT IN ('retiring', 'retired', 'compromised')) THEN $3
                ELSE withdrawn_at END,
            state = CASE WHEN destroying_by_command OR state NOT IN ('retiring', 'retired', 'compromised') THEN 'destroyed' ELSE state END
        WHERE tenant_id = $1 AND id = $2 AND destroying_at IS NOT NULL AND private_destroyed_at IS NULL",
        tenant,
        kid,
        t.now.as_millis(),
        t.revision
    )?;
    Ok(updated == 1)
}

async fn set_plan(tx: &mut Conn<'_>, t: &Target, plan: KeyPlan) -> Result<bool, Error> {
    let (tenant, kid) = t.ids();
    let updated = execute!(
        tx,
        "UPDATE signing_keys SET plan = $3, revision = $4
        WHERE tenant_id = $1 AND id = $2 AND state IN ('pending', 'published') AND destroying_at IS NULL AND private_destroyed_at IS NULL",
        tenant,
        kid,
        plan.as_str(),
        t.revision
    )?;
    Ok(updated == 1)
}
