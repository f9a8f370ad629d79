//! The contract of the store: every method and every outcome, on SQLite and on PostgreSQL alike.
#![expect(clippy::unwrap_used, clippy::panic, unreachable_pub, reason = "a test fails by panicking, and nothing uses it")]

#[path = "../support/postgres.rs"]
mod postgres;

/// Runs each function once per engine, as a test of that engine's module.
macro_rules! on_both_engines {
    ($($name:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name($crate::bench::Bench::sqlite().await).await;
            })+
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name($crate::bench::Bench::postgres().await).await;
            })+
        }
    };
}

mod admins;
mod anchors;
mod api_keys;
mod approvals;
mod attestation;
mod audit;
mod authentication;
mod authentication_races;
mod bench;
mod ceremonies;
mod constraints;
mod corrupt;
mod credentials;
mod group_commit;
mod key_attachments;
mod key_bench;
mod key_changes;
mod key_ends;
mod key_policy;
mod key_races;
#[cfg(feature = "failpoints")]
mod kill;
mod lost_connections;
mod metadata;
mod migrations;
mod models;
mod races;
mod registration;
mod replicas;
mod root_secret;
mod signing_keys;
mod tenant_ends;
mod tenants;
mod transactions;
mod used_challenges;
