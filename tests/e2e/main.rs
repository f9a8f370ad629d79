//! The program as its users meet it: over HTTP and in a browser.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "../support/mod.rs"]
mod support;

mod abuse;
mod admin;
mod admin_contract;
mod approvals;
mod attestation;
mod audit;
mod browser;
mod ceremonies;
mod commands;
mod contract;
#[cfg(feature = "failpoints")]
mod crash;
mod credentials;
mod doctor;
mod hostile;
mod http;
mod inspect;
mod instruments;
mod isolation;
mod keys;
mod login;
mod lost_replies;
mod metadata;
mod mfa;
mod openapi;
mod operator;
mod page;
mod parallel;
mod registration;
mod root_secret;
mod rotation;
mod signals;
mod signing_keys;
mod tokens;
mod transactions;
mod trust;
mod well_known;

/// One part of a JWS, read as JSON.
fn decoded(part: &str) -> serde_json::Value {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

/// Makes each `async fn name(Server)` a test on each database: `sqlite::name` and `postgres::name`.
#[macro_export]
macro_rules! engines {
    ($($name:ident),+ $(,)?) => {
        mod sqlite {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    super::$name($crate::support::server::Server::sqlite().await).await;
                }
            )+
        }

        mod postgres {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    let url = $crate::support::postgres::Server::shared().empty_database().await;
                    super::$name($crate::support::server::Server::on(&url).await).await;
                }
            )+
        }
    };
}
