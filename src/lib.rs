//! A multi-tenant passkey server whose token-signing keys are generated in, and never leave, a PKCS#11 HSM.
//!
//! The map, in dependency order; nothing points back (`tests/layers.rs` holds it so):
//!
//! - [`domain`]: what the service is about; no I/O.
//! - [`storage`]: the only SQL: SQLite and PostgreSQL, each statement written once.
//! - [`hsm`]: signatures by keys that never leave the token; the only PKCS#11 is in [`hsm::signer`].
//! - [`webauthn`]: the relying-party operations of WebAuthn Level 3.
//! - [`services`]: the use cases.
//! - [`http`]: the public and the admin listener.
//! - [`cli`]: the commands, and the only place that builds things; [`config`] and [`telemetry`] serve it alone.
//! - [`failpoint`]: where a test can end the process; nothing in any other build.

pub mod cli;
pub mod config;
pub mod domain;
pub mod failpoint;
pub mod hsm;
pub mod http;
pub mod services;
pub mod storage;
pub mod telemetry;
pub mod webauthn;
