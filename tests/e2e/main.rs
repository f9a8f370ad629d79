//! The program as its users meet it: over HTTP and in a browser.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "../support/mod.rs"]
mod support;

mod instruments;
mod page;
