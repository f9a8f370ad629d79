//! A multi-tenant passkey server whose token-signing keys are generated in, and never leave, a PKCS#11 HSM.
//!
//! The map, in dependency order; nothing points back (`tests/layers.rs` holds it so):
//!
//! - [`domain`]: what the service is about; no I/O.
//! - [`hsm`]: keys in a PKCS#11 token, behind signer processes.

pub mod domain;
pub mod hsm;
