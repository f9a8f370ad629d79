//! What the integration tests share.
//!
//! - [`authenticator`]: our software authenticator, with a knob for everything a hostile client could turn; under it [`statements`],
//!   [`cbor`], [`der`], [`keys`] and [`certificates`]
//! - [`assertion`]: what it signs with the credentials that it has; [`ceremonies`]: the five kinds from end to end
//! - [`server`]: the real program in a process of its own, with a token of its own ([`softhsm`]); [`api`]: what clients see of it
//! - [`chromium`]: a headless browser with a virtual authenticator
//! - [`jose`]: tokens verified from the JWKS alone by two other libraries
//! - [`postgres`]: a throw-away PostgreSQL server
//! - [`metadata`]: a metadata service that publishes and revokes; [`web`]: where it is fetched
//! - [`pty`]: a terminal with a person at it
//! - [`openapi`]: answers held against the program's own description of them
//! - [`mint`]: tokens to try on those who verify them
//! - [`tls`]: certificates of servers and administrators
#![allow(dead_code, missing_docs, unreachable_pub, reason = "each test binary uses its part; the tests are the only readers")]

pub mod api;
pub mod assertion;
pub mod authenticator;
pub mod cbor;
pub mod ceremonies;
pub mod certificates;
pub mod chromium;
pub mod der;
pub mod jose;
pub mod keys;
pub mod metadata;
pub mod mint;
pub mod openapi;
pub mod postgres;
pub mod pty;
pub mod server;
pub mod softhsm;
pub mod statements;
pub mod tls;
pub mod web;
