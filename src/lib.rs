//! A multi-tenant passkey server whose token-signing keys are generated in, and never leave, a PKCS#11 HSM.
//!
//! The map, in dependency order; nothing points back (`tests/layers.rs` holds it so):
//!
//! - [`domain`]: what the service is about; no I/O.
//! - [`webauthn`]: the relying party's operations of WebAuthn Level 3; no I/O.

pub mod domain;
pub mod webauthn;
