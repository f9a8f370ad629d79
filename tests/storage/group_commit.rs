//! SQLite's one writer.

use std::{
    os::unix::fs::PermissionsExt,
    time::{Duration, Instant},
};

use futures::future::{BoxFuture, join_all};
use passkey_hsm::storage::{Error, RegistrationCommit, Store};
use sqlx::Connection;

use crate::bench::{Bench, api_key, credential, event, tenant};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn units_share_commits_under_load_and_only_then() {
    let b = Bench::sqlite().await;
    let tenant = tenant().id;
    let before = b.store.stats();
    for _ in 0..5 {
        b.store.append_audit(&event(tenant)).await.unwrap();
    }
    let alone = b.store.stats();
    assert_eq!((alone.units - before.units, alone.commits - before.commits), (5, 5), "alone, each waits for its own commit");
    let events: Vec<_> = (0..400).map(|_| event(tenant)).collect();
    for result in join_all(events.iter().map(|e| b.store.append_audit(e))).await {
        result.unwrap();
    }
    let together = b.store.stats();
    assert_eq!(together.units - alone.units, 400);
    assert!(together.commits - alone.commits <= 40, "{together:?}");
    assert_eq!(b.count("audit_events").await, 405);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_unit_is_undone_alone() {
    let b = Bench::sqlite().await;
    let (tenant, key) = b.tenant().await;
    let (name, hash) = api_key(tenant.id, "taken");
    b.store.add_api_key(&name, &hash, &event(tenant.id)).await.unwrap();
    let mut calls: Vec<BoxFuture<'static, &'static str>> = Vec::new();
    for _ in 0..20 {
        let (store, c, n, e) = (b.store.clone(), b.ceremony(tenant.id).await, credential(tenant.id), event(tenant.id));
        calls.push(Box::pin(async move {
            assert_eq!(store.commit_registration(&c, &n, key.id, &e).await.unwrap(), RegistrationCommit::Committed);
            assert!(store.credential(n.tenant_id, &n.id).await.unwrap().is_some(), "what was answered can be read");
            "committed"
        }));
        let (store, (name, hash), e) = (b.store.clone(), api_key(tenant.id, "taken"), event(tenant.id));
        calls.push(Box::pin(async move {
            assert!(matches!(store.add_api_key(&name, &hash, &e).await, Err(Error::Conflict)));
            assert!(store.audit_event(e.tenant_id, e.id).await.unwrap().is_none());
            "conflict"
        }));
        let (store, c, n, e) = (b.store.clone(), b.ceremony(tenant.id).await, credential(tenant.id), event(tenant.id));
        calls.push(Box::pin(async move {
            let unknown = passkey_hsm::domain::KeyId::random(&passkey_hsm::domain::SystemRng);
            assert_eq!(store.commit_registration(&c, &n, unknown, &e).await.unwrap(), RegistrationCommit::KeyNotActive);
            assert!(store.ceremony(c.tenant_id, c.operation, &c.challenge).await.unwrap().is_some());
            "undone"
        }));
    }
    let before = b.store.stats();
    let results = join_all(calls).await;
    let after = b.store.stats();
    assert_eq!(results.len(), 60);
    assert_eq!(after.units - before.units, 20, "only what is kept counts");
    assert!(after.commits - before.commits < 20, "{before:?} {after:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_finishes_what_was_handed_over() {
    let b = Bench::sqlite().await;
    let tenant = tenant().id;
    let calls: Vec<_> = (0..50)
        .map(|_| {
            let (store, e) = (b.store.clone(), event(tenant));
            tokio::spawn(async move { store.append_audit(&e).await.is_ok() })
        })
        .collect();
    tokio::task::yield_now().await;
    b.store.close().await;
    let stored = join_all(calls).await.into_iter().filter(|r| *r.as_ref().unwrap()).count();
    assert_eq!(b.count("audit_events").await, i64::try_from(stored).unwrap(), "answered and stored are the same");
}

/// What is on the disk at any moment after an answer holds what was answered: a copy taken without closing is what a power cut leaves.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_answered_survives_an_unclean_end() {
    let b = Bench::sqlite().await;
    let (tenant, key) = b.tenant().await;
    let (c, open, n, e) = (b.ceremony(tenant.id).await, b.ceremony(tenant.id).await, credential(tenant.id), event(tenant.id));
    assert_eq!(b.store.commit_registration(&c, &n, key.id, &e).await.unwrap(), RegistrationCommit::Committed);
    let copy = tempfile::tempdir().unwrap();
    for file in ["test.db", "test.db-wal"] {
        std::fs::copy(b.dir.path().join(file), copy.path().join(file)).unwrap();
    }
    let store = Store::open(&format!("sqlite:{}", copy.path().join("test.db").display()), 1).await.unwrap();
    assert!(store.migrate().await.unwrap().is_empty());
    assert!(store.credential(tenant.id, &n.id).await.unwrap().is_some());
    assert!(store.audit_event(tenant.id, e.id).await.unwrap().is_some());
    assert!(store.ceremony(tenant.id, c.operation, &c.challenge).await.unwrap().is_none());
    let next = store.commit_registration(&open, &credential(tenant.id), key.id, &event(tenant.id)).await.unwrap();
    assert_eq!(next, RegistrationCommit::Committed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_process_that_writes_is_waited_for_but_not_for_ever() {
    let b = Bench::sqlite().await;
    let tenant = tenant().id;
    let mut other = sqlx::SqliteConnection::connect(&b.url).await.unwrap();
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    let waiting = tokio::spawn({
        let (store, e) = (b.store.clone(), event(tenant));
        async move { store.append_audit(&e).await }
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    b.store.ping().await.unwrap();
    sqlx::raw_sql("COMMIT").execute(&mut other).await.unwrap();
    waiting.await.unwrap().unwrap();

    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    let (events, start) = ([event(tenant), event(tenant), event(tenant)], Instant::now());
    for late in join_all(events.iter().map(|e| b.store.append_audit(e))).await {
        assert!(matches!(late, Err(Error::Unavailable(_))), "{late:?}");
    }
    assert!(start.elapsed() < Duration::from_secs(9), "they wait together, not one after the other");
    sqlx::raw_sql("COMMIT").execute(&mut other).await.unwrap();
    b.store.append_audit(&event(tenant)).await.unwrap();
    assert_eq!(b.count("audit_events").await, 2);
}

/// Nothing may be answered for that lies in a file which nobody will find; and a file that is put back, or a backup in its place, is used
/// without a restart.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_was_removed_or_replaced_is_noticed() {
    let b = Bench::sqlite().await;
    let at = |name: &str| b.dir.path().join(name);
    let files = ["test.db", "test.db-wal", "test.db-shm"];
    b.store.append_audit(&event(tenant().id)).await.unwrap();
    for file in files {
        std::fs::rename(at(file), at(&format!("away-{file}"))).unwrap();
    }
    assert!(matches!(b.store.ping().await, Err(Error::Unavailable(_))));
    assert!(matches!(b.store.append_audit(&event(tenant().id)).await, Err(Error::Unavailable(_))));
    assert!(!at("test.db").exists(), "an empty file helps nobody");
    for file in files {
        std::fs::rename(at(&format!("away-{file}")), at(file)).unwrap();
    }
    b.store.append_audit(&event(tenant().id)).await.unwrap();
    b.store.ping().await.unwrap();
    assert_eq!(b.count("audit_events").await, 2);

    // Another file in its place, with the log of the one before beside it: that log must not be played into the newcomer.
    let mut other = sqlx::SqliteConnection::connect(&b.url).await.unwrap();
    sqlx::query("VACUUM INTO $1").bind(at("backup.db").to_str()).execute(&mut other).await.unwrap();
    b.store.append_audit(&event(tenant().id)).await.unwrap();
    std::fs::rename(at("backup.db"), at("test.db")).unwrap();
    let backup = std::fs::read(at("test.db")).unwrap();
    assert!(matches!(b.store.ping().await, Err(Error::Unavailable(_))));
    assert!(matches!(b.store.append_audit(&event(tenant().id)).await, Err(Error::Unavailable(_))));
    b.store.close().await;
    drop(other);
    assert_eq!(std::fs::read(at("test.db")).unwrap(), backup, "the backup is as it was");
}

#[tokio::test]
async fn the_file_is_its_owners_alone() {
    let b = Bench::sqlite().await;
    b.store.append_audit(&event(tenant().id)).await.unwrap();
    for file in ["test.db", "test.db-wal"] {
        let mode = std::fs::metadata(b.dir.path().join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
}
