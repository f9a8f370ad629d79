//! Changes of keys at the same instant, by two servers; notices between them; and servers killed in the middle.

use std::time::Duration;

use passkey_hsm::{
    domain::{KeyChange, KeyOrigin, KeyPlan, KeyState, SigningKey},
    storage::{KeyNotices, Store},
};
use tokio::time::timeout;

use crate::{
    bench::{Bench, activated},
    key_bench::{TIMES, activate, in_the_place_of, intent, key_event, reinstate},
    races::together,
};

on_both_engines! {
    of_two_standbys_one_becomes_active,
    of_two_standbys_one_takes_an_empty_place,
    a_rollback_and_a_destruction_exclude_each_other,
    of_parallel_intents_one_is_written,
    one_pair_is_adopted_once,
    changes_of_many_tenants_are_counted_one_by_one,
}

const ROUNDS: usize = 6;

async fn of_two_standbys_one_becomes_active(b: Bench) {
    race(b, true).await;
}

async fn of_two_standbys_one_takes_an_empty_place(b: Bench) {
    race(b, false).await;
}

/// Two servers each activate a standby of their own, in the place of the same key or of none.
async fn race(b: Bench, replace: bool) {
    let other = Store::open(&b.url, 4).await.unwrap();
    for _ in 0..ROUNDS {
        let (tenant, active) = b.tenant().await;
        let standbys = [b.standby(tenant.id).await, b.standby(tenant.id).await];
        if !replace {
            b.changed(&active, KeyChange::Suspend(TIMES)).await;
        }
        let change = if replace { in_the_place_of(active.id) } else { activate(None) };
        let (revision, events) = (b.store.key_revision().await.unwrap(), b.count("audit_events").await);
        let callers = standbys.iter().zip([b.store.clone(), other.clone()]).map(|(key, store)| {
            let key = key.clone();
            async move { store.change_signing_key(key.tenant_id, key.id, change, &[key_event(&key)]).await.unwrap() }
        });
        let made: Vec<_> = together(callers.collect::<Vec<_>>()).await.into_iter().flatten().collect();
        assert_eq!(made.len(), 1, "{made:?}");
        assert_eq!(b.store.active_signing_key(tenant.id).await.unwrap().unwrap().id, made[0].id);
        assert_eq!(b.store.key_revision().await.unwrap(), revision + 1);
        assert_eq!(b.count("audit_events").await, events + 1);
    }
}

async fn a_rollback_and_a_destruction_exclude_each_other(b: Bench) {
    let other = Store::open(&b.url, 4).await.unwrap();
    for _ in 0..ROUNDS {
        let (first, second) = b.rotated().await;
        let changes = [reinstate(Some(second.id)), KeyChange::BeginDestruction { by_command: true }];
        let callers = changes.into_iter().zip([b.store.clone(), other.clone()]).map(|(change, store)| {
            let (tenant, kid) = (first.tenant_id, first.id);
            async move { store.change_signing_key(tenant, kid, change, &[]).await.unwrap().is_some() }
        });
        let made = together(callers.collect::<Vec<_>>()).await;
        assert_eq!(made.iter().filter(|made| **made).count(), 1, "{made:?}");
        let first = b.key(first.id).await;
        assert_eq!(first.state == KeyState::Active, first.destroying_at.is_none());
        assert!(b.store.active_signing_key(first.tenant_id).await.unwrap().is_some());
    }
}

async fn of_parallel_intents_one_is_written(b: Bench) {
    let other = Store::open(&b.url, 4).await.unwrap();
    for _ in 0..ROUNDS {
        let (tenant, _) = b.tenant().await;
        let callers = (0..4).map(|at| {
            let (store, key) = (if at % 2 == 0 { b.store.clone() } else { other.clone() }, intent(tenant.id, KeyPlan::Publish));
            async move { store.begin_signing_key(&key, &key_event(&key)).await.unwrap() }
        });
        assert_eq!(together(callers.collect::<Vec<_>>()).await.iter().filter(|begun| **begun).count(), 1);
        assert_eq!(b.store.signing_keys_of(tenant.id).await.unwrap().len(), 2);
    }
}

/// Two tenants adopt the same pair on two servers: with two rows for it one could sign as the other.
async fn one_pair_is_adopted_once(b: Bench) {
    let other = Store::open(&b.url, 4).await.unwrap();
    for round in 0..u8::try_from(ROUNDS).unwrap() {
        let mut callers = Vec::new();
        for store in [&b.store, &other] {
            let intent = SigningKey { origin: KeyOrigin::Adopted, ..intent(b.tenant().await.0.id, KeyPlan::None) };
            assert!(b.store.begin_signing_key(&intent, &key_event(&intent)).await.unwrap());
            let pair = (Some(vec![round, 1]), Some(vec![round, 2]));
            let made = SigningKey { state: KeyState::Pending, cka_id: pair.0, public_key: pair.1, ..activated(&intent) };
            let store = store.clone();
            callers.push(async move { store.complete_signing_key(&made, &key_event(&made)).await.unwrap() });
        }
        assert_eq!(together(callers).await.iter().filter(|done| **done).count(), 1);
    }
    // One that was made here is not adopted; nor is one that was adopted, with whatever id it is shown.
    let theirs = b.made(b.tenant().await.0.id, KeyPlan::None).await;
    let intent = SigningKey { origin: KeyOrigin::Adopted, ..intent(b.tenant().await.0.id, KeyPlan::None) };
    assert!(b.store.begin_signing_key(&intent, &key_event(&intent)).await.unwrap());
    let found = |public_key: &[u8], cka_id: &[u8]| SigningKey {
        state: KeyState::Pending,
        public_key: Some(public_key.to_vec()),
        cka_id: Some(cka_id.to_vec()),
        ..activated(&intent)
    };
    for again in [
        found(theirs.public_key.as_deref().unwrap(), b"another id"),
        found(b"another key", theirs.cka_id.as_deref().unwrap()),
        found(&[0, 2], b"another id"),
    ] {
        assert!(!b.store.complete_signing_key(&again, &key_event(&again)).await.unwrap());
    }
    let new = found(b"another key", b"another id");
    assert!(b.store.complete_signing_key(&new, &key_event(&new)).await.unwrap());
}

async fn changes_of_many_tenants_are_counted_one_by_one(b: Bench) {
    let other = Store::open(&b.url, 4).await.unwrap();
    let mut callers = Vec::new();
    for at in 0..8 {
        let ((_, key), store) = (b.tenant().await, if at % 2 == 0 { b.store.clone() } else { other.clone() });
        callers.push(async move {
            let change = KeyChange::Suspend(TIMES);
            store.change_signing_key(key.tenant_id, key.id, change, &[]).await.unwrap().unwrap().revision
        });
    }
    let before = b.store.key_revision().await.unwrap();
    let mut revisions = together(callers).await;
    revisions.sort_unstable();
    assert!(revisions.into_iter().eq(before + 1..=before + 8));
}

const SOON: Duration = Duration::from_secs(1);
const NEVER: Duration = Duration::from_millis(50);

async fn heard(notices: &mut KeyNotices, within: Duration) -> bool {
    timeout(within, notices.changed()).await.is_ok()
}

#[tokio::test]
async fn on_sqlite_nobody_is_told() {
    let b = Bench::sqlite().await;
    let mut notices = b.store.key_notices().await.unwrap();
    b.rotated().await;
    assert!(!heard(&mut notices, NEVER).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn on_postgres_every_server_is_told() {
    let b = Bench::postgres().await;
    let other = Store::open(&b.url, 2).await.unwrap();
    let mut notices = other.key_notices().await.unwrap();
    let (_, key) = b.tenant().await;
    assert!(heard(&mut notices, SOON).await, "of a tenant's first key");
    assert!(!heard(&mut notices, NEVER).await);
    b.refused(&key, reinstate(None)).await;
    assert!(!heard(&mut notices, NEVER).await, "nothing changed");
    b.changed(&key, KeyChange::Suspend(TIMES)).await;
    assert!(heard(&mut notices, SOON).await);
    // A connection that was lost: whatever happened meanwhile is found, and the next change is heard.
    for waiting in [true, false] {
        let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'";
        if waiting {
            let (told, ()) = tokio::join!(heard(&mut notices, 5 * SOON), b.sql(cut, ""));
            assert!(told);
        } else {
            b.sql(cut, "").await;
            assert!(heard(&mut notices, 5 * SOON).await);
        }
        let key = b.key(key.id).await;
        let change = if waiting { reinstate(None) } else { KeyChange::Suspend(TIMES) };
        b.changed(&key, change).await;
        assert!(heard(&mut notices, SOON).await);
    }
}

#[cfg(feature = "failpoints")]
mod killed {
    use super::*;
    use crate::kill::{URL, kill_victim};

    on_both_engines! { a_rotation }

    /// Rotates the one tenant's key, and should not live to the end of it.
    #[tokio::test]
    #[ignore = "started by the other test, in a process of its own"]
    async fn victim() {
        let store = Store::open(&std::env::var(URL).unwrap(), 1).await.unwrap();
        let keys = store.signing_keys().await.unwrap();
        let in_state = |state| keys.iter().find(|k| k.state == state).unwrap();
        let (active, standby) = (in_state(KeyState::Active), in_state(KeyState::Published));
        let change = in_the_place_of(active.id);
        store.change_signing_key(standby.tenant_id, standby.id, change, &[key_event(standby)]).await.unwrap();
    }

    async fn a_rotation(b: Bench) {
        let (tenant, active) = b.tenant().await;
        let standby = b.standby(tenant.id).await;
        let (keys, events) = (format!("{:?}", b.store.signing_keys().await.unwrap()), b.count("audit_events").await);
        let revision = b.store.key_revision().await.unwrap();
        kill_victim(&b, "key_races::killed::victim", "storage.before_commit.key_activate").await;
        assert_eq!(format!("{:?}", b.store.signing_keys().await.unwrap()), keys, "as if it had not come");
        assert_eq!((b.count("audit_events").await, b.store.key_revision().await.unwrap()), (events, revision));
        kill_victim(&b, "key_races::killed::victim", "storage.after_commit.key_activate").await;
        assert_eq!((b.key(active.id).await.state, b.key(standby.id).await.state), (KeyState::Retiring, KeyState::Active));
        assert_eq!((b.count("audit_events").await, b.store.key_revision().await.unwrap()), (events + 1, revision + 1));
    }
}
