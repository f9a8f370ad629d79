//! What the integration tests share.
//!
//! - [`authenticator`]: our software authenticator, with a knob for everything a hostile client could turn
//! - [`cbor`]: the writer under it, which writes wrong CBOR as readily as right
//! - [`chromium`]: a headless browser with a virtual authenticator
//! - [`jose`]: tokens verified from the JWKS alone by two other libraries
//! - [`server`]: the real program in a process of its own
#![allow(dead_code, missing_docs, unreachable_pub, reason = "each test binary uses its part; the tests are the only readers")]

pub mod chromium;
