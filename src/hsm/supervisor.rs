//! Keeps the signer processes up: one task for each, which starts it, watches it, kills it and starts it again.

use std::{
    sync::{Arc, Mutex, atomic::AtomicBool},
    time::{Duration, Instant},
};

use tokio::{
    sync::{Mutex as AsyncMutex, Semaphore, watch},
    time::{MissedTickBehavior, interval, interval_at, sleep, timeout},
};

use super::{
    Activation, Error, ProcessState, SignerOptions, Status, TokenInfo,
    activation::{Gate, Handed},
    connection::{Connection, lock},
    keeper::Keeper,
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
    /// Whether processes are started, which an operator may have a hand in.
    pub(super) gate: watch::Sender<Gate>,
    /// Who knows the PIN that an operator entered.
    pub(super) keeper: Mutex<Option<Keeper>>,
    /// Held while an operator changes the one or the other.
    pub(super) changing: AsyncMutex<()>,
    /// Whether somebody measures.
    pub(super) measuring: AtomicBool,
    /// Held from a start until the login is known to be good: a wrong PIN costs one try, not one for each process.
    pub(super) start: AsyncMutex<()>,
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
            gate: watch::Sender::new(Gate::new(options.keeper.is_some())),
            keeper: Mutex::default(),
            changing: AsyncMutex::default(),
            measuring: AtomicBool::new(false),
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

    /// Whether requests are taken no more: this server ends, or an operator has taken the HSM out of service.
    pub(super) fn is_draining(&self) -> bool {
        *self.phase.borrow() >= Phase::Draining || self.gate.borrow().activation == Activation::Deactivated
    }

    pub(super) fn is_stopping(&self) -> bool {
        *self.phase.borrow() == Phase::Stopping
    }

    /// Whether no process runs, or is about to.
    pub(super) fn all_stopped(&self) -> bool {
        lock(&self.records).iter().all(|r| r.state == ProcessState::Stopped)
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
        let keeper = self.look_after_keeper();
        let gate = self.gate.borrow().clone();
        let records = lock(&self.records).clone();
        // A signature is due at every interval; one may be late, and one lost.
        let recent = self.options.health_interval * 2 + self.options.sign_deadline;
        let good = |r: &ProcessRecord| r.state == ProcessState::Up && r.last_health.is_some_and(|at| at.elapsed() < recent);
        Status {
            ready: !self.is_draining() && records.iter().any(good),
            processes: records.iter().map(Into::into).collect(),
            token: lock(&self.token).clone(),
            stopped: gate.closed,
            activation: gate.activation,
            keeper,
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
        if let Some(refusal) = self.gate.borrow().refusal() {
            return Some(Err(refusal));
        }
        let absent = lock(&self.records).iter().find(|r| r.absent).and_then(|r| r.last_error.clone());
        absent.map(|why| Err(Error::Configuration(why)))
    }
}

/// Keeps one process up until shutdown, while processes may be started.
pub(super) async fn supervise(shared: Arc<Shared>, place: usize) {
    let mut quick = true;
    loop {
        if !shared.is_open() {
            shared.record(place, |r| (r.state, r.pid, r.last_health, r.absent) = (ProcessState::Stopped, None, None, false));
            tokio::select! {
                () = shared.opened() => {}
                () = shared.stopping() => return,
            }
            shared.record(place, |r| (r.state, r.last_error) = (ProcessState::Starting, None));
            quick = true;
        }
        let begun = Instant::now();
        let ending = run_one(&shared, place).await;
        shared.pool.set(place, None);
        let Some(ending) = ending else {
            if shared.is_stopping() {
                return;
            }
            continue;
        };
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
            // The gate was closed when it happened; by now an operator may have opened it again.
            continue;
        }
        let pause = match ending.code {
            Some(EXIT_CONFIGURATION) => shared.options.absent_backoff,
            _ if quick || served_long => Duration::ZERO,
            _ => shared.options.respawn_backoff,
        };
        quick = served_long;
        tokio::select! {
            () = sleep(pause) => {}
            () = shared.deactivated() => continue,
            () = shared.stopping() => return,
        }
        metrics::counter!(names::RESPAWNS, "reason" => ending.reason).increment(1);
        shared.record(place, |r| (r.state, r.respawns) = (ProcessState::Starting, r.respawns + 1));
    }
}

/// One process from its start to its end; `None` if it ended, or did not start, because none is wanted.
async fn run_one(shared: &Shared, place: usize) -> Option<Ending> {
    let started = tokio::select! {
        started = start_one(shared, place) => started,
        () = shared.stopping() => return None, // the process that was being started loses its socket with its future
    };
    let mut process = match started {
        Ok(process) => process,
        Err(ending) => return ending,
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

/// A process that has signed with the health key. One is started at a time: see [`Shared::start`]. No error if none is wanted meanwhile.
async fn start_one(shared: &Shared, place: usize) -> Result<Process, Option<Ending>> {
    let _start = shared.start.lock().await;
    if !shared.is_open() {
        return Err(None);
    }
    let pin = match shared.hand_over() {
        Handed::Configured => None,
        Handed::Pipe(pin) => Some(pin),
        Handed::Nothing => return Err(None),
    };
    let process = Process::spawn(&shared.options, pin.as_ref()).map_err(|error| {
        let text = format!("{} cannot be started: {error}", shared.options.command.program.display());
        Some(Ending { code: Some(EXIT_CONFIGURATION), text, reason: "start" })
    })?;
    drop(pin);
    shared.record(place, |r| (r.state, r.pid) = (ProcessState::Starting, process.pid()));
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
        shared.refused(&ending.text);
    }
    Err(Some(ending))
}

/// Returns when the process has to be replaced, with the reason; `None` when it has to end.
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
            () = shared.deactivated() => return None,
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
