//! A multi-tenant passkey server whose token-signing keys are generated in, and never leave, a PKCS#11 HSM.
//!
//! The map, in dependency order; nothing points back (`tests/layers.rs` holds it so):
//!
//! - [`domain`]: what the service is about; no I/O.
//! - [`storage`]: the only SQL; SQLite and PostgreSQL from the same statements.
//!
//! Beside them, [`failpoint`]: where a test can kill the process.

pub mod domain;
pub mod failpoint;
pub mod storage;
