//! The HSM engine end to end: real signer processes, a real SoftHSM2, and what befalls both.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![expect(clippy::print_stdout, reason = "times are worth seeing with --nocapture")]

#[path = "../support/softhsm.rs"]
mod softhsm;

mod activation;
mod adoption;
mod bench;
mod deployment;
mod faults;
mod interposer;
mod keys;
mod proofs;
mod root_key;
mod signing;
mod starting;
