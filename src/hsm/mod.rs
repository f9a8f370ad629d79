//! The HSM engine: keys that are made in a PKCS#11 token, sign there, and never leave it.
//!
//! It has two halves. What services hold is a [`Signer`]: bounded, with a deadline on everything, and without a line of PKCS#11. Behind it
//! run *signer processes* (the same binary, [`signer::run`]), which load the vendor's module, hold the login and do what few, typed
//! messages ask of them (`protocol`). A module that crashes, hangs or loses its token costs one of them, which is killed and started
//! again; nothing is ever finalized and initialized again in place, because that is where modules fail worst.
//!
//! - `client` spreads requests, gives a dead process's signature to another, and verifies everything before it is released;
//! - `management` makes, adopts, shows and destroys keys; `activation` takes the HSM into service and out of it, with a PIN that an
//!   operator enters and the `keeper` knows;
//! - `supervisor` starts, watches, kills and starts again; `connection` is its wire to one process;
//! - [`signer`] is the process.

mod activation;
mod attempts;
mod bench;
mod client;
mod connection;
mod descriptor;
mod error;
mod evidence;
mod health;
mod keeper;
mod management;
pub mod metrics;
mod options;
mod pool;
mod process;
mod protocol;
mod public_key;
mod root_key;
pub mod signer;
mod status;
mod supervisor;
mod token_info;

pub use bench::Bench;
pub use client::{Permit, SignRequest, Signer};
pub use error::Error;
pub use evidence::{EVIDENCE_PREFIX, PROOF_PREFIX, verify_evidence, verify_proof};
pub use health::HEALTH_KEY;
pub use keeper::keep_pin;
pub use management::{AdoptRequest, GenerateRequest, GeneratedKey};
pub use options::{SignerCommand, SignerOptions};
pub use public_key::thumbprint;
pub use root_key::{ROOT_KEY, Unlocked};
pub use signer::{Hashing, PinSource, TokenAddress, TokenAddressError, TokenConfig};
pub use status::{Activation, ProcessState, ProcessStatus, Status};
pub use token_info::{Inventory, InventoryKey, TokenInfo};
