//! A session that one thread owns, and what all threads share.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use cryptoki::{
    context::Pkcs11,
    error::{Error as P11Error, Result},
    session::Session,
    slot::Slot,
};

use super::{health::HealthKey, index::KeyIndex, mechanism::Mechanisms};
use crate::{domain::Clock, hsm::TokenInfo};

/// The opened token, as all threads of the process see it.
pub(super) struct Device {
    pub(super) pkcs11: Pkcs11,
    pub(super) slot: Slot,
    pub(super) info: TokenInfo,
    pub(super) index: KeyIndex,
    pub(super) mechanisms: Mechanisms,
    /// Set once the health key is known.
    pub(super) health: Mutex<Option<HealthKey>>,
    pub(super) calls: Arc<Calls>,
    /// What a token's `iat` is held against.
    pub(super) clock: Arc<dyn Clock>,
    /// Holds the login; used for nothing else.
    pub(super) _anchor: Mutex<Session>,
}

/// A thread's own session. PKCS#11 leaves two calls at once on one session undefined.
pub(super) struct Lane<'a> {
    pub(super) device: &'a Device,
    session: Option<Session>,
    /// Where this thread's calls are timed; `None` for calls that may take long.
    slot: Option<usize>,
}

impl<'a> Lane<'a> {
    /// Opens a session. `slot` numbers the threads whose calls must be short.
    pub(super) fn open(device: &'a Device, slot: Option<usize>) -> Result<Self> {
        let mut lane = Self { device, session: None, slot };
        lane.renew()?;
        Ok(lane)
    }

    /// Replaces the session: a failed operation can leave it unusable for all that follow.
    pub(super) fn renew(&mut self) -> Result<()> {
        // First close, then open: some tokens have few sessions. The anchor keeps the login.
        self.session = None;
        self.session = Some(self.device.pkcs11.open_rw_session(self.device.slot)?);
        Ok(())
    }

    /// Calls into the module, timed.
    pub(super) fn call<T>(&self, work: impl FnOnce(&Session) -> Result<T>) -> Result<T> {
        let session = self.session.as_ref().ok_or(P11Error::NotSupported)?;
        let _timed = self.slot.map(|slot| self.device.calls.begin(slot));
        work(session)
    }
}

/// Since when each worker has been inside the module.
pub(super) struct Calls {
    epoch: Instant,
    /// Microseconds since the epoch, plus one; zero when not inside.
    since: Vec<AtomicU64>,
}

impl Calls {
    pub(super) fn new(workers: usize) -> Self {
        Self { epoch: Instant::now(), since: (0..workers).map(|_| AtomicU64::new(0)).collect() }
    }

    /// The longest call that is going on.
    pub(super) fn longest(&self) -> Duration {
        let now = self.micros();
        let oldest = self.since.iter().map(|s| s.load(Ordering::Relaxed)).filter(|s| *s != 0).min();
        Duration::from_micros(oldest.map_or(0, |since| now.saturating_sub(since)))
    }

    fn begin(&self, slot: usize) -> Option<Timed<'_>> {
        let since = self.since.get(slot)?;
        since.store(self.micros(), Ordering::Relaxed);
        Some(Timed(since))
    }

    fn micros(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_micros()).unwrap_or(u64::MAX).saturating_add(1)
    }
}

/// Ends the timing of a call.
struct Timed<'a>(&'a AtomicU64);

impl Drop for Timed<'_> {
    fn drop(&mut self) {
        self.0.store(0, Ordering::Relaxed);
    }
}
