//! Keeps the signer processes up: one task for each, which starts it, watches it, kills it and starts it again.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use tokio::{
    sync::{Mutex as AsyncMutex, Semaphore, watch},
    time::{MissedTickBehavior, interval, interval_at, sleep, timeout},
};

use super::{
    Activation, Error, ProcessState, SignerOptions, Status, TokenInfo,
    connection::{Connection, lock},
    metrics as names,
    pool::{KeyCache, Pool},
    process::{Ending, Process},
    signer::{EXIT_CONFIGURATION, EXIT_PIN},
    status::ProcessRecord,
};

/// What supervisors and clients share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) options: SignerOptions,
    pub(super) pool: Pool,
    pub(super) keys: KeyCache,
    pub(super) permits: Arc<Semaphore>,
    pub(super) token: Mutex<Option<TokenInfo>>,
    records: Mutex<Vec<ProcessRecord>>,
    /// Why no process is started any more: the PIN was refused.
    stopped: Mutex<Option<String>>,
    /// Held from a start until the login is known to be good: a wrong PIN costs one try, not one for each process.
    start: AsyncMutex<()>,
    phase: watch::Sender<Phase>,
}

/// How far a shutdown is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
enum Phase {
    Serving,
    /// No new requests.
    Draining,
    /// No processes.
    Stopping,
}

impl Shared {
    pub(super) fn new(options: SignerOptions, processes: usize) -> Self {
        Self {
            pool: Pool::new(processes),
            keys: KeyCache::default(),
            permits: Arc::new(Semaphore::new(options.max_in_flight)),
            token: Mutex::default(),
            records: Mutex::new(vec![ProcessRecord::default(); processes]),
            stopped: Mutex::default(),
            start: AsyncMutex::default(),
            phase: watch::Sender::new(Phase::Serving),
            options,
        }
    }

    pub(super) fn drain(&self) {
        self.phase.send_replace(Phase::Draining);
    }

    pub(super) fn stop(&self) {
        self.phase.send_replace(Phase::Stopping);
    }

    pub(super) fn is_draining(&self) -> bool {
        *self.phase.borrow() >= Phase::Draining
    }

    /// The process that manages keys, unless requests are taken no more.
    pub(super) fn manager(&self) -> Option<Arc<Connection>> {
        if self.is_draining() { None } else { self.pool.manager() }
    }

    async fn stopping(&self) {
        let _ = self.phase.subscribe().wait_for(|phase| *phase == Phase::Stopping).await;
    }

    fn record(&self, place: usize, change: impl FnOnce(&mut ProcessRecord)) {
        if let Some(record) = lock(&self.records).get_mut(place) {
            change(record);
        }
        self.pool.notify();
    }

    /// See [`super::Signer::status`].
    pub(super) fn status(&self) -> Status {
        let records = lock(&self.records).clone();
        // A signature is due at every interval; one may be late, and one lost.
        let recent = self.options.health_interval * 2 + self.options.sign_deadline;
        let good = |r: &ProcessRecord| r.state == ProcessState::Up && r.last_health.is_some_and(|at| at.elapsed() < recent);
        Status {
            ready: !self.is_draining() && records.iter().any(good),
            processes: records.iter().map(Into::into).collect(),
            token: lock(&self.token).clone(),
            stopped: lock(&self.stopped).clone(),
            activation: Activation::Automatic,
            in_flight: self.options.max_in_flight.saturating_sub(self.permits.available_permits()),
            max_in_flight: self.options.max_in_flight,
        }
    }

    /// Whether there is something to say to one who waits for readiness.
    pub(super) fn settled(&self) -> Option<Result<(), Error>> {
        let status = self.status();
        if status.ready {
            return Some(Ok(()));
        }
        if let Some(why) = status.stopped {
            return Some(Err(Error::PinRefused(why)));
        }
        let absent = lock(&self.records).iter().find(|r| r.absent).and_then(|r| r.last_error.clone());
        absent.map(|why| Err(Error::Configuration(why)))
    }
}

/// Keeps one process up until shutdown, or until the PIN was refused.
pub(super) async fn supervise(shared: Arc<Shared>, place: usize) {
    let mut quick = true;
    loop {
        let begun = Instant::now();
        let ending = run_one(&shared, place).await;
        shared.pool.set(place, None);
        let Some(ending) = ending else { return };
        let state = if ending.code == Some(EXIT_PIN) { ProcessState::Stopped } else { ProcessState::Down };
        // A process that had served for a while is started again at once; one that does not come up is not hammered.
        let served_long = begun.elapsed() > Duration::from_secs(1);
        shared.record(place, |r| {
            // Once for each reason: with its token gone a process ends for the same one every moment.
            if served_long || r.last_error.as_deref() != Some(ending.text.as_str()) {
                tracing::error!(process = place, "signer process {place} ended: {}", ending.text);
            }
            (r.state, r.pid, r.last_health) = (state, None, None);
            r.absent = ending.code == Some(EXIT_CONFIGURATION);
            r.last_error = Some(ending.text.clone());
        });
        if state == ProcessState::Stopped {
            lock(&shared.stopped).get_or_insert(ending.text);
            shared.pool.notify();
            return;
        }
        let pause = match ending.code {
            Some(EXIT_CONFIGURATION) => shared.options.absent_backoff,
            _ if quick || served_long => Duration::ZERO,
            _ => shared.options.respawn_backoff,
        };
        quick = served_long;
        tokio::select! {
            () = sleep(pause) => {}
            () = shared.stopping() => return,
        }
        metrics::counter!(names::RESPAWNS, "reason" => ending.reason).increment(1);
        shared.record(place, |r| (r.state, r.respawns) = (ProcessState::Starting, r.respawns + 1));
    }
}

/// One process from its start to its end; `None` if it ended because everything does.
async fn run_one(shared: &Shared, place: usize) -> Option<Ending> {
    let started = tokio::select! {
        started = start_one(shared, place) => started,
        () = shared.stopping() => return None, // the process that was being started loses its socket with its future
    };
    let mut process = match started {
        Ok(process) => process,
        Err(ending) => return Some(ending),
    };
    // In this order: who sees that it is up can use it.
    shared.pool.set(place, Some(process.connection.clone()));
    shared.record(place, |r| (r.state, r.last_health, r.absent) = (ProcessState::Up, Some(Instant::now()), false));
    let end = watch_over(shared, place, &mut process).await;
    shared.pool.set(place, None);
    let Some((reason, why)) = end else {
        process.finish(shared.options.sign_deadline).await;
        return None;
    };
    Some(process.end(reason, why).await)
}

/// A process that has signed with the health key. One is started at a time: see [`Shared::start`].
async fn start_one(shared: &Shared, place: usize) -> Result<Process, Ending> {
    let _start = shared.start.lock().await;
    let refused = lock(&shared.stopped).clone();
    if let Some(text) = refused {
        return Err(Ending { code: Some(EXIT_PIN), text, reason: "start" });
    }
    let process = Process::spawn(&shared.options).map_err(|error| {
        let text = format!("{} cannot be started: {error}", shared.options.command.program.display());
        Ending { code: Some(EXIT_CONFIGURATION), text, reason: "start" }
    })?;
    shared.record(place, |r| r.pid = process.pid());
    let why = match timeout(shared.options.start_limit, process.introduce(&shared.options)).await {
        Ok(Ok(token)) => {
            *lock(&shared.token) = Some(token);
            return Ok(process);
        }
        Ok(Err(why)) => why,
        Err(_) => "it did not come up in time".to_owned(),
    };
    let ending = process.end("start", why).await;
    if ending.code == Some(EXIT_PIN) {
        // Before the next one gets its turn.
        *lock(&shared.stopped) = Some(ending.text.clone());
    }
    Err(ending)
}

/// Returns when the process has to be replaced, with the reason; `None` when everything stops.
async fn watch_over(shared: &Shared, place: usize, process: &mut Process) -> Option<(&'static str, String)> {
    let options = &shared.options;
    let mut beat = interval(options.heartbeat);
    // Not to make up for ticks that this server itself slept through.
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut health_due = interval_at(tokio::time::Instant::now() + options.health_interval, options.health_interval);
    health_due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let connection = process.connection.clone();
    let mut health = None;
    loop {
        tokio::select! {
            () = connection.closed() => return Some(("exit", "it died".to_owned())),
            () = shared.stopping() => return None,
            _ = beat.tick() => if let Err(end) = process.beat(options.hang_limit) {
                return Some(end);
            },
            _ = health_due.tick(), if health.is_none() => health = Some(Box::pin(process.health_check(options.sign_deadline))),
            outcome = async { match health.as_mut() { Some(h) => h.await, None => std::future::pending().await } } => {
                health = None;
                if let Err(why) = outcome {
                    return Some(("health", why));
                }
                shared.record(place, |r| r.last_health = Some(Instant::now()));
            }
        }
    }
}
