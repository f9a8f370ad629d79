//! Signing keys in a running server: it follows what others change, and does what is due when that is its turn.

use std::time::Duration;

use tokio::{
    task::JoinHandle,
    time::{sleep, timeout},
};

use super::Failure;
use crate::{
    domain::Rng,
    services::{Context, Scheduler},
    storage::KeyNotices,
};

/// How often what is due is looked at.
const TICK: Duration = Duration::from_secs(1);

/// The least pause between two looks at what others changed: notices may come in swarms, or from a connection that fails again and again.
const BREATH: Duration = Duration::from_millis(20);

/// How long taking leave may take: the database may be what this server is stopped for.
const LEAVE_LIMIT: Duration = Duration::from_secs(3);

/// Starts what runs for ever.
pub(super) fn watch(context: &Context, scheduler: &Scheduler) -> Vec<JoinHandle<()>> {
    let mut tasks = vec![tokio::spawn(follow(context.clone(), scheduler.clone()))];
    if context.governance.scheduler {
        tasks.push(tokio::spawn(tick(context.clone(), scheduler.clone())));
    }
    tasks
}

/// Says that this server is no more.
pub(super) async fn leave(scheduler: &Scheduler) {
    match timeout(LEAVE_LIMIT, scheduler.leave()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "the other servers were not told that this one ends: {error}"),
        Err(_) => tracing::warn!("the other servers were not told that this one ends: the database does not answer"),
    }
}

/// Looks at what changed as soon as there is a notice of it, and in any case after the configured time.
async fn follow(context: Context, scheduler: Scheduler) {
    let interval = context.governance.follow_interval;
    let (mut notices, mut said) = (None, Said::default());
    loop {
        said.hear(scheduler.follow().await, "changes of keys are not followed: no key that was published now can sign");
        if notices.is_none() {
            notices = context.store.key_notices().await.ok();
        }
        sleep(BREATH).await;
        let _ = timeout(interval.saturating_sub(BREATH), changed(notices.as_mut())).await;
    }
}

async fn changed(notices: Option<&mut KeyNotices>) {
    match notices {
        Some(notices) => notices.changed().await,
        None => std::future::pending().await,
    }
}

/// Does what is due, when it is this server's turn. Servers that were started together do not ask together.
async fn tick(context: Context, scheduler: Scheduler) {
    let mut said = Said::default();
    sleep(jitter(&*context.rng)).await;
    loop {
        said.hear(Box::pin(scheduler.tick()).await, "what is due with keys is not done");
        sleep(TICK.saturating_sub(TICK / 8) + jitter(&*context.rng)).await;
    }
}

/// Up to a quarter of the time between two looks.
fn jitter(rng: &dyn Rng) -> Duration {
    TICK / 4 * u32::from(rng.bytes::<1>()[0]) / u32::from(u8::MAX)
}

/// Says what is wrong once for each cause, and that it is over.
#[derive(Debug, Default)]
struct Said(Option<String>);

impl Said {
    fn hear<T, E: std::error::Error + 'static>(&mut self, outcome: Result<T, E>, what: &str) {
        match outcome {
            Ok(_) => {
                if self.0.take().is_some() {
                    tracing::info!("over: {what}");
                }
            }
            Err(error) => {
                let why = Failure::from_error(&error).to_string();
                if self.0.as_ref() != Some(&why) {
                    tracing::warn!(error = %why, "{what}: {why}");
                    self.0 = Some(why);
                }
            }
        }
    }
}
