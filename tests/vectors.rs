//! The relying-party engine against genuine and spoilt ceremonies: published vectors, software authenticators, hostile bytes.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says why"
)]

#[path = "vectors/authenticators.rs"]
mod authenticators;
#[path = "vectors/comparison.rs"]
mod comparison;
#[path = "vectors/conformance.rs"]
mod conformance;
#[path = "vectors/corpus.rs"]
mod corpus;
#[path = "vectors/hostile.rs"]
mod hostile;
#[path = "vectors/second_verifier.rs"]
mod second_verifier;
#[path = "vectors/verdicts.rs"]
mod verdicts;
