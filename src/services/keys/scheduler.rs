//! Does what is due, on one server at a time; and follows, on every server, what others change.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;
use uuid::Uuid;

use super::{By, Context, Error, Keys, Rotate, Rotation, activation::Leaves, follower::Follower, trouble::Troubles};
use crate::{
    domain::{Actor, KeyPlan, KeyState, RequestMeta, SigningKey, TenantId},
    services::{Services, Tenants},
    storage::DueKeys,
};

/// The lease of whoever does what is due, and how long it lasts: so long after the death of its holder another one goes on.
const LEASE: &str = "scheduler";
const LEASE_TTL: Duration = Duration::from_secs(5);
/// When a holder that has much to do makes sure that it still holds it.
const RENEWAL: Duration = Duration::from_secs(1);

/// One of so many ticks is a server's turn whose HSM is away.
const TURNS_WITHOUT_HSM: u32 = 5;

/// How much is done of each kind at one go.
const BATCH: u32 = 500;

/// How long the HSM is worked with at one go: what is left waits for the next.
const HSM_TIME: Duration = Duration::from_secs(3);

/// How old an intent has to be to count as left behind: whoever wrote it may still be waiting for the token, which gets a minute.
const LEFT_BEHIND: Duration = Duration::from_secs(90);

/// Gauge, 0 or 1: whether this server does what is due.
const LEASE_HELD: &str = "scheduler_lease_held";
/// Gauge, seconds since the Unix epoch: when this server last finished doing what was due.
const LAST_TICK: &str = "scheduler_last_tick_timestamp";
/// Gauge, label `step`: what was due when it was last looked at.
const DUE: &str = "keys_due";
/// Counter, label `step`: what was due and could not be done.
const FAILURES: &str = "scheduler_failures_total";

/// Tells the recorder what the names mean. Call once, after it was installed.
pub fn describe_key_metrics() {
    metrics::describe_gauge!(LEASE_HELD, "Whether this server does what is due with keys");
    metrics::describe_gauge!(LAST_TICK, "When this server last finished doing what was due with keys, in seconds since the Unix epoch");
    metrics::describe_gauge!(DUE, "What was due with keys when it was last looked at");
    metrics::describe_counter!(FAILURES, "What was due with keys and could not be done");
    metrics::describe_counter!(super::KEY_CHANGES, "Changes of signing keys made by this process");
}

/// What runs in every server. See ADR 0011.
#[derive(Debug, Clone)]
pub struct Scheduler(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    context: Context,
    keys: Keys,
    tenants: Tenants,
    follower: Follower,
    troubles: Troubles,
    /// Ticks in a row in which the HSM was away.
    without_hsm: AtomicU32,
    /// Whether active keys have been looked through for those that have no date for their successor.
    scheduled: AtomicBool,
}

impl Scheduler {
    /// For the server that `services` serve.
    pub fn new(services: &Services) -> Self {
        let context = services.context.clone();
        let follower = Follower::new(context.clone(), services.tokens.clone());
        let (keys, tenants) = (services.keys.clone(), services.tenants.clone());
        Self(Arc::new(Inner {
            context,
            keys,
            tenants,
            follower,
            troubles: Troubles::default(),
            without_hsm: AtomicU32::new(0),
            scheduled: AtomicBool::new(false),
        }))
    }

    /// Says that this server is there, and which changes of keys its JWKS have: it looks at what it serves, and beats. Once.
    pub async fn follow(&self) -> Result<(), Error> {
        self.0.follower.follow().await
    }

    /// Does what is due, if this server holds the lease. Says how many things it did.
    ///
    /// Each is a conditional statement, so that a lease that changes hands in the middle does no harm. What fails is logged once for each cause,
    /// keeps nothing else from being done, and is tried again.
    pub async fn tick(&self) -> Result<u32, Error> {
        let turn = self.0.takes_its_turn();
        let held = if turn { self.0.hold().await } else { Ok(false) };
        metrics::gauge!(LEASE_HELD).set(f64::from(u8::from(matches!(held, Ok(true)))));
        if !held? {
            self.0.scheduled.store(false, Ordering::Relaxed);
            return Ok(0);
        }
        let done = self.0.do_what_is_due().await;
        // Whoever has an HSM can go on at once.
        if !self.0.has_hsm() {
            self.0.context.store.release_lease(LEASE, self.0.context.replica).await?;
        }
        done
    }

    /// Gives lease and replica back, at an orderly end.
    pub async fn leave(&self) -> Result<(), Error> {
        let context = &self.0.context;
        context.store.release_lease(LEASE, context.replica).await?;
        Ok(context.store.remove_replica(context.replica).await?)
    }
}

impl Inner {
    fn has_hsm(&self) -> bool {
        self.context.signer.status().up() > 0
    }

    /// A server whose HSM is away leaves what is due to others, but for what needs none, now and then: nobody else may be there.
    fn takes_its_turn(&self) -> bool {
        if self.has_hsm() {
            self.without_hsm.store(0, Ordering::Relaxed);
            return true;
        }
        self.without_hsm.fetch_add(1, Ordering::Relaxed).is_multiple_of(TURNS_WITHOUT_HSM)
    }

    async fn do_what_is_due(&self) -> Result<u32, Error> {
        if !self.scheduled.load(Ordering::Relaxed) {
            self.schedule_all().await?;
            self.scheduled.store(true, Ordering::Relaxed);
        }
        let serial = self.context.signer.status().token.map(|token| token.serial);
        let due = self.context.store.due_keys(LEFT_BEHIND, BATCH, serial.as_deref()).await?;
        report(&due);
        let done = Round::new(self, due.intents_of_last_minute).run(due).await?;
        self.troubles.forget(Instant::now());
        metrics::gauge!(LAST_TICK).set(u32::try_from(self.context.clock.now().as_secs()).unwrap_or(u32::MAX));
        Ok(done)
    }

    async fn hold(&self) -> Result<bool, Error> {
        Ok(self.context.store.hold_lease(LEASE, self.context.replica, LEASE_TTL).await?)
    }

    /// Keys that began to sign under an older version have no date for their successor.
    async fn schedule_all(&self) -> Result<(), Error> {
        let undated = |k: &SigningKey| k.state == KeyState::Active && k.rotate_from.is_none();
        for key in self.keys.all().await?.into_iter().filter(undated) {
            if let Some(tenant) = self.context.store.tenant(key.tenant_id).await?
                && tenant.settings.keys.period().is_some()
            {
                self.keys.schedule(&key, &tenant.settings).await?;
            }
        }
        Ok(())
    }
}

fn report(due: &DueKeys) {
    for (step, n) in [
        ("generate", due.to_generate.len()),
        ("publish", due.to_publish.len()),
        ("activate", due.to_activate.len()),
        ("rotate", due.to_rotate.len()),
        ("withdraw", due.to_withdraw.len()),
        ("destroy", due.to_destroy.len()),
        ("standby", due.lacking_standby.len()),
    ] {
        metrics::gauge!(DUE, "step" => step).set(u32::try_from(n).unwrap_or(u32::MAX));
    }
}

/// Doing what is due, once.
struct Round<'a> {
    inner: &'a Inner,
    /// Keys that may still be made in this minute.
    generations: AtomicU32,
    renewed: Instant,
    /// Until when the HSM is asked for more; at once where it is away.
    hsm_until: Instant,
    /// Whether another server does what is due from here on.
    over: bool,
    done: u32,
}

/// Whether a step asks something of the token.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Needs {
    Database,
    Token,
}

impl<'a> Round<'a> {
    fn new(inner: &'a Inner, intents: u32) -> Self {
        let now = Instant::now();
        let left = inner.context.governance.generations_per_minute.saturating_sub(intents);
        Self {
            inner,
            generations: AtomicU32::new(left),
            renewed: now,
            hsm_until: if inner.has_hsm() { now + HSM_TIME } else { now },
            over: false,
            done: 0,
        }
    }

    /// What needs the database alone comes first: an HSM that is slow holds nothing of it up.
    async fn run(mut self, due: DueKeys) -> Result<u32, Error> {
        let (inner, keys) = (self.inner, &self.inner.keys);
        let (was_due, cut_short) = (inner.by("it was due"), inner.by("its making was cut short"));
        let (by, generations) = (&was_due, std::mem::take(&mut self.generations));
        let (db, token) = (Needs::Database, Needs::Token);
        self.each("publish", db, of_keys(due.to_publish), |k| async move { keys.publish(k.id, by).await.map(|_| true) }).await?;
        self.each("withdraw", db, of_keys(due.to_withdraw), |k| async move { Ok(keys.withdraw(&k, by).await?.is_some()) }).await?;
        let activate = |k: SigningKey| async move { keys.take_over(k.id, Leaves::RETIRING, false, by).await.map(|_| true) };
        self.each("activate", token, of_keys(due.to_activate), activate).await?;
        self.each("rotate", token, of_keys(due.to_rotate), |k| inner.rotate(k, &generations)).await?;
        self.each("destroy", token, of_keys(due.to_destroy), |k| async move { keys.end(k.id, false, by).await.map(|_| true) }).await?;
        let by = &cut_short;
        self.each("generate", token, of_keys(due.to_generate), |k| async move { keys.make(k, by).await.map(|_| true) }).await?;
        let lacking = due.lacking_standby.into_iter().map(|tenant| (tenant.as_uuid(), tenant)).collect();
        self.each("standby", token, lacking, |tenant| inner.make_standby(tenant, &generations)).await?;
        let purge = || async { inner.tenants.purge_due().await.map(|n| n > 0) };
        self.each("purge", db, vec![(Uuid::nil(), ())], |()| purge()).await?;
        Ok(self.done)
    }

    /// Does one step for each, as long as this server holds the lease.
    async fn each<T, F: Future<Output = Result<bool, Error>>>(
        &mut self,
        step: &'static str,
        needs: Needs,
        things: Vec<(Uuid, T)>,
        act: impl Fn(T) -> F,
    ) -> Result<(), Error> {
        for (id, thing) in things {
            if !self.goes_on(needs).await? {
                break;
            }
            let name = (step, id);
            if !self.inner.troubles.may_try(name, Instant::now()) {
                continue;
            }
            match act(thing).await {
                Ok(done) => {
                    self.done += u32::from(done);
                    self.inner.troubles.worked(name);
                }
                Err(error) => self.failed(name, &error),
            }
        }
        Ok(())
    }

    async fn goes_on(&mut self, needs: Needs) -> Result<bool, Error> {
        let now = Instant::now();
        if !self.over && now.duration_since(self.renewed) >= RENEWAL {
            self.over = !self.inner.hold().await?;
            self.renewed = now;
        }
        Ok(!self.over && (needs == Needs::Database || now < self.hsm_until))
    }

    fn failed(&mut self, thing: (&'static str, Uuid), error: &Error) {
        let (step, id) = thing;
        if matches!(error, Error::Unavailable("the HSM", _)) {
            self.hsm_until = Instant::now();
        }
        metrics::counter!(FAILURES, "step" => step).increment(1);
        if self.inner.troubles.failed(thing, error, Instant::now()) {
            tracing::warn!(step, %id, %error, "what is due is tried again later ({step} {id}): {error}");
        }
    }
}

impl Inner {
    fn by(&self, reason: &str) -> By {
        let actor = Actor::Scheduler { replica: self.context.replica };
        By { actor, reason: Some(reason.to_owned()), meta: RequestMeta::default() }
    }

    /// Replaces a key whose time is over: at once where a standby is ready, else as soon as there is one.
    async fn rotate(&self, active: SigningKey, generations: &AtomicU32) -> Result<bool, Error> {
        let Some(tenant) = self.context.store.tenant(active.tenant_id).await? else { return Ok(false) };
        let keys = self.keys.list(tenant.id).await?;
        let waits = |k: &&SigningKey| matches!(k.state, KeyState::Pending | KeyState::Published);
        // What is planned is done by other steps.
        if keys.iter().filter(waits).any(|k| k.plan == KeyPlan::Activate && k.destroying_at.is_none()) {
            return Ok(false);
        }
        if self.keys.standby(&tenant, &keys).is_none() && !take(generations) {
            return Ok(false);
        }
        let rotation = self.keys.rotate(tenant.id, Rotate::default(), &self.by("its period is over")).await?;
        Ok(!matches!(rotation, Rotation::NotNeeded(_)))
    }

    /// Makes a tenant's standby, and publishes it.
    async fn make_standby(&self, tenant: TenantId, generations: &AtomicU32) -> Result<bool, Error> {
        if !take(generations) {
            return Ok(false);
        }
        let by = self.by("the tenant keeps a standby");
        let key = self.keys.generate_standby(tenant, KeyPlan::Publish, &by).await?;
        self.keys.publish(key.id, &by).await?;
        Ok(true)
    }
}

/// One of those keys that may still be made in this minute.
fn take(generations: &AtomicU32) -> bool {
    generations.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1)).is_ok()
}

fn of_keys(keys: Vec<SigningKey>) -> Vec<(Uuid, SigningKey)> {
    keys.into_iter().map(|key| (key.id.as_uuid(), key)).collect()
}
