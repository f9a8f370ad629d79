//! What the integration tests share.
//!
//! - [`postgres`]: a throw-away PostgreSQL server
#![allow(dead_code, missing_docs, unreachable_pub, reason = "each test binary uses its part; the tests are the only readers")]

pub mod postgres;
