//! The signer process: the only place where PKCS#11 is spoken. Plain threads, no runtime.
//!
//! One thread reads the socket and answers pings itself, so that a process that is stopped is told from one that works. `sessions`
//! workers own a session each and sign; the main thread keeps another for making and destroying keys, after it opened the token. An
//! anchor session holds the login for all. Handles are listed once, when the process starts (`index`); the rest is what to make of
//! errors (`fault`, `worker`): once more with a new session, refuse, or end the process, because a new one is the only recovery that
//! works with every module.

mod address;
mod adoption;
mod attributes;
mod description;
mod fault;
mod health;
mod index;
mod jws;
mod keys;
mod lane;
mod manager;
mod mechanism;
mod pin;
mod probe;
mod process;
mod queue;
mod reader;
mod removal;
mod root;
mod template;
mod token;
mod turn;
mod worker;

use std::{
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::PathBuf,
    sync::{Arc, Mutex},
};

pub use address::{TokenAddress, TokenAddressError};
pub use mechanism::Hashing;
pub use pin::{PinError, PinSource};
pub use probe::{Report, Step, probe};
pub use process::{die, harden};

use self::{index::KeyIndex, lane::Device, mechanism::Mechanisms, process::Replies, queue::lock, reader::Work, token::Module, turn::Turn};
use super::{descriptor, protocol::Reply};
use crate::domain::Clock;

/// Which token, through which module, and how.
#[derive(Debug, Clone)]
pub struct TokenConfig {
    /// The vendor's PKCS#11 module.
    pub module: PathBuf,
    /// The token.
    pub token: TokenAddress,
    /// Its user PIN.
    pub pin: PinSource,
    /// How many sessions sign in each process: as many as the device has cores to sign with. There are two more: one holds the login, one
    /// makes keys.
    pub sessions: usize,
    /// Where messages are hashed first, if the token has both ways.
    pub hashing: Hashing,
    /// Whether keys are made and destroyed. Off, this process only signs.
    pub manage_keys: bool,
}

/// Why a signer process cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The PIN was refused, or must not be tried.
    #[error("{0}")]
    Pin(String),
    /// The configuration cannot work: no module, no PIN, a file that others can read.
    #[error("{0}")]
    Configuration(String),
    /// No token matches, or more than one.
    #[error("{0}")]
    Token(String),
    /// The module failed; a new process may do better.
    #[error("{0}")]
    Module(String),
    /// The socket, or a thread that could not be started.
    #[error("the signer process cannot run: {0}")]
    Io(#[from] std::io::Error),
}

impl Error {
    /// The exit code of the process: 3, never start it again by itself; 4, not in a loop; 1, at will.
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Pin(_) => EXIT_PIN,
            Self::Configuration(_) | Self::Token(_) => EXIT_CONFIGURATION,
            Self::Module(_) | Self::Io(_) => 1,
        }
    }
}

/// The PIN was refused, or must not be tried.
pub(super) const EXIT_PIN: u8 = 3;
/// The configuration cannot work, or the token is not there.
pub(super) const EXIT_CONFIGURATION: u8 = 4;

/// Serves requests from `socket` until it is closed, which ends the process. Returns only if the token cannot be opened, after telling the
/// other end why; the caller exits with [`Error::exit_code`].
///
/// `clock` is what the tokens that it signs are held against.
pub fn run(config: &TokenConfig, socket: UnixStream, clock: Arc<dyn Clock>) -> Result<(), Error> {
    process::harden();
    let replies = Replies::new(socket.try_clone()?);
    let handed = handed(config, &socket).inspect_err(|error| tell(&replies, error))?;
    let sessions = config.sessions.clamp(1, 64);
    let work = Arc::new(Work::new(sessions));
    let (work_too, own) = (work.clone(), replies.clone());
    process::spawn("reader", &replies, move || reader::run(socket, &work_too, &own))?;
    let device = match open(config, handed, &work, clock) {
        Ok(device) => Arc::new(device),
        Err(error) => {
            tell(&replies, &error);
            return Err(error);
        }
    };
    for slot in 0..sessions {
        let (device, work, own) = (device.clone(), work.clone(), replies.clone());
        process::spawn(&format!("signer-{slot}"), &replies, move || worker::run(&device, slot, &work.jobs, &own))?;
    }
    manager::run(&device, config.manage_keys, &work, &replies)
}

fn tell(replies: &Replies, error: &Error) {
    replies.send(0, Reply::Stopping { code: error.exit_code(), text: error.to_string() });
}

/// The pipe with the PIN, where that is the operator's: the first thing on the socket.
fn handed(config: &TokenConfig, socket: &UnixStream) -> Result<Option<OwnedFd>, Error> {
    if config.pin != PinSource::Operator {
        return Ok(None);
    }
    match descriptor::receive(socket) {
        Ok(Some(pipe)) => Ok(Some(pipe)),
        // Nobody is there any more, or one who has read another configuration.
        Ok(None) | Err(_) => {
            Err(Error::Configuration("the PIN is the operator's now, and the server does not know: start it again".to_owned()))
        }
    }
}

/// Loads the module, finds the token, logs in and lists the keys.
fn open(config: &TokenConfig, handed: Option<OwnedFd>, work: &Work, clock: Arc<dyn Clock>) -> Result<Device, Error> {
    let turn = Turn::wait(&config.module);
    let module = Module::load(&config.module)?;
    let token = module.find(&config.token)?;
    let uncut = lock(&work.uncut);
    let anchor = token.login(|token| match handed {
        Some(pipe) => pin::read_handed(pipe).map(Some),
        None => token.pin(&config.pin),
    })?;
    drop((uncut, turn));
    let index = KeyIndex::list(&anchor).map_err(|e| Error::Module(format!("cannot list the keys: {}", fault::name(&e))))?;
    Ok(Device {
        pkcs11: module.pkcs11.clone(),
        slot: token.slot,
        info: token.info(),
        index,
        mechanisms: Mechanisms::new(config.hashing),
        health: Mutex::new(None),
        calls: work.calls.clone(),
        clock,
        _anchor: Mutex::new(anchor),
    })
}
