//! How the signer processes are run.

use std::{ffi::OsString, path::PathBuf, time::Duration};

/// What to start as a signer process. Its standard input is the connected socket.
#[derive(Debug, Clone)]
pub struct SignerCommand {
    /// The program.
    pub program: PathBuf,
    /// Its arguments. Never a PIN: the whole machine can read them.
    pub args: Vec<OsString>,
    /// Its whole environment.
    pub env: Vec<(OsString, OsString)>,
}

/// How many processes, and how patient to be with them.
#[derive(Debug, Clone)]
pub struct SignerOptions {
    /// What to start.
    pub command: SignerCommand,
    /// What to start as the keeper of a PIN that an operator enters, which then the signer processes have to expect ([`super::PinSource`]).
    /// None where the configuration says where the PIN is.
    pub keeper: Option<SignerCommand>,
    /// How many to keep up: two, so that one can die under load.
    pub processes: usize,
    /// How many signatures may be under way or wait at once. One more is [`super::Error::Busy`] at once.
    pub max_in_flight: usize,
    /// How long a signature may take in all.
    pub sign_deadline: Duration,
    /// How long one call into the module may take before its process counts as hung.
    pub hang_limit: Duration,
    /// How long a signature may be unanswered before another process gets it too. It is never less than four times the usual time.
    pub hedge_after: Duration,
    /// How long making or destroying a key, or an inventory, may take. RSA keys take seconds on some devices.
    pub manage_deadline: Duration,
    /// How long a process may take from its start to its first signature.
    pub start_limit: Duration,
    /// How often a process is asked for a sign of life. One that owes it is killed if it was stopped, and after twenty times this long
    /// whatever it does.
    pub heartbeat: Duration,
    /// How often a process has to sign with the health key.
    pub health_interval: Duration,
    /// The pause before a process is started again, except the first time.
    pub respawn_backoff: Duration,
    /// The pause after a start that found no token, or a configuration that cannot work.
    pub absent_backoff: Duration,
}

impl SignerOptions {
    /// The defaults for a local module.
    pub fn new(command: SignerCommand) -> Self {
        Self {
            command,
            keeper: None,
            processes: 2,
            max_in_flight: 64,
            sign_deadline: Duration::from_secs(2),
            hang_limit: Duration::from_millis(500),
            hedge_after: Duration::from_millis(100),
            manage_deadline: Duration::from_mins(1),
            start_limit: Duration::from_secs(30),
            heartbeat: Duration::from_millis(100),
            health_interval: Duration::from_secs(15),
            respawn_backoff: Duration::from_millis(200),
            absent_backoff: Duration::from_secs(5),
        }
    }
}
