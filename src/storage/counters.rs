//! What the store has done so far, for metrics.

use std::sync::atomic::{AtomicU64, Ordering};

/// What this process has written since it opened the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    /// Units of work that were committed.
    pub units: u64,
    /// Commits that they took; on SQLite each is one fsync of the log, and several units share one under load.
    pub commits: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    units: AtomicU64,
    commits: AtomicU64,
}

impl Counters {
    /// One commit of so many units.
    pub(super) fn committed(&self, units: usize) {
        self.units.fetch_add(units as u64, Ordering::Relaxed);
        self.commits.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn stats(&self) -> Stats {
        Stats { units: self.units.load(Ordering::Relaxed), commits: self.commits.load(Ordering::Relaxed) }
    }
}
