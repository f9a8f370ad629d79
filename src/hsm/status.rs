//! What is known of the signer processes without asking them.

use std::time::{Duration, Instant};

use super::TokenInfo;

/// A cached view; making it costs the HSM nothing.
#[derive(Debug, Clone)]
pub struct Status {
    /// Whether a process is up whose last health signature is recent and was good.
    pub ready: bool,
    /// One entry a process.
    pub processes: Vec<ProcessStatus>,
    /// The token, once one was opened.
    pub token: Option<TokenInfo>,
    /// Why processes are no longer started: the PIN was refused, or its keeper is gone. Until an operator activates the HSM again.
    pub stopped: Option<String>,
    /// Whether an operator has a hand in it.
    pub activation: Activation,
    /// The process id of the keeper of the PIN that an operator entered.
    pub keeper: Option<u32>,
    /// Signatures under way or waiting.
    pub in_flight: usize,
    /// The most there may be.
    pub max_in_flight: usize,
}

/// Whether the PIN comes by itself or from an operator, and whether it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// The configuration says where the PIN is.
    Automatic,
    /// An operator has to enter it: `passkey-hsm hsm activate`.
    Waiting,
    /// An operator has entered it.
    Activated,
    /// An operator has taken the HSM out of service.
    Deactivated,
}

impl Activation {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Automatic => "automatic",
            Self::Waiting => "waiting",
            Self::Activated => "activated",
            Self::Deactivated => "deactivated",
        }
    }

    /// What an operator has to do, if anything.
    pub const fn advice(self) -> Option<&'static str> {
        match self {
            Self::Automatic | Self::Activated => None,
            Self::Waiting => Some("waiting for the operator: passkey-hsm hsm activate"),
            Self::Deactivated => Some("taken out of service by an operator: passkey-hsm hsm activate"),
        }
    }
}

impl Status {
    /// How many processes serve.
    pub fn up(&self) -> usize {
        self.processes.iter().filter(|p| p.state == ProcessState::Up).count()
    }
}

/// One process and what became of those before it.
#[derive(Debug, Clone)]
pub struct ProcessStatus {
    /// What it does.
    pub state: ProcessState,
    /// Its process id, while it runs.
    pub pid: Option<u32>,
    /// How often it was started again.
    pub respawns: u64,
    /// How long ago it last signed with the health key.
    pub last_health: Option<Duration>,
    /// Why the one before it ended, or why it does not start.
    pub last_error: Option<String>,
}

/// What a signer process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProcessState {
    /// Loads its module, logs in, lists the keys.
    Starting,
    /// Serves.
    Up,
    /// Is waited for before it is started again.
    Down,
    /// Is not started again by itself.
    Stopped,
}

/// What the supervisor keeps of one process.
#[derive(Debug, Clone)]
pub(super) struct ProcessRecord {
    pub(super) state: ProcessState,
    pub(super) pid: Option<u32>,
    pub(super) respawns: u64,
    pub(super) last_health: Option<Instant>,
    pub(super) last_error: Option<String>,
    /// The last start found no token, or a configuration that cannot work.
    pub(super) absent: bool,
}

impl Default for ProcessRecord {
    fn default() -> Self {
        Self { state: ProcessState::Starting, pid: None, respawns: 0, last_health: None, last_error: None, absent: false }
    }
}

impl From<&ProcessRecord> for ProcessStatus {
    fn from(r: &ProcessRecord) -> Self {
        let last_health = r.last_health.map(|at| at.elapsed());
        Self { state: r.state, pid: r.pid, respawns: r.respawns, last_health, last_error: r.last_error.clone() }
    }
}
