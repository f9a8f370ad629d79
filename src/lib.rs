//! A multi-tenant passkey server whose token-signing keys are generated in, and never leave, a PKCS#11 HSM.
//!
//! The map, in dependency order; nothing points back (`tests/layers.rs` holds it so):
//!
//! - [`domain`]: what the service is about; no I/O.
//! - [`config`]: one TOML file and the environment, parsed; serves the command line alone.
//! - [`telemetry`]: logs and metrics; serves the command line alone.

pub mod config;
pub mod domain;
pub mod telemetry;
