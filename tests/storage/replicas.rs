//! The servers that there are, and what only one of them may do.

use std::time::Duration;

use passkey_hsm::{
    domain::{ReplicaId, SystemRng},
    storage::Store,
};

use crate::{
    bench::{Bench, assert_same},
    key_bench::{LEASE, assert_taken_since, replica},
    races::together,
};

on_both_engines! {
    servers_are_seen_as_long_as_they_beat,
    a_lease_is_held_by_one,
    of_parallel_takers_one_has_the_lease,
}

/// Moves every server's last beat back.
async fn silence(b: &Bench, millis: i64) {
    let sql = format!("UPDATE replicas SET seen_at = seen_at - {millis}");
    b.sql(&sql, &sql).await;
}

async fn servers_are_seen_as_long_as_they_beat(b: Bench) {
    let (before, first) = (b.now().await, replica(3));
    b.store.beat(&first, LEASE).await.unwrap();
    let seen = b.store.live_replicas(LEASE).await.unwrap().remove(0);
    assert_taken_since(before, Some(seen.started_at));
    assert_eq!(seen.started_at, seen.seen_at);
    let stored = passkey_hsm::domain::Replica { started_at: seen.started_at, seen_at: seen.seen_at, ..first.clone() };
    assert_same(&seen, &stored);
    silence(&b, 9000).await;
    assert_eq!(b.store.live_replicas(LEASE).await.unwrap().len(), 1);
    silence(&b, 1000).await;
    assert!(b.store.live_replicas(LEASE).await.unwrap().is_empty());
    // It was only slow.
    b.store.beat(&passkey_hsm::domain::Replica { key_revision: 4, ..first.clone() }, LEASE).await.unwrap();
    let again = b.store.live_replicas(LEASE).await.unwrap().remove(0);
    assert_eq!((again.started_at, again.key_revision), (seen.started_at, 4));
    assert!(again.seen_at >= seen.seen_at);
    // Swept by others' beats after ten leases, not before.
    silence(&b, 99_000).await;
    let second = replica(4);
    b.store.beat(&second, LEASE).await.unwrap();
    assert_eq!(b.count("replicas").await, 2);
    silence(&b, 2000).await;
    b.store.beat(&second, LEASE).await.unwrap();
    assert_eq!(b.count("replicas").await, 1);
    b.store.remove_replica(first.id).await.unwrap();
    b.store.remove_replica(second.id).await.unwrap();
    assert_eq!(b.count("replicas").await, 0);
}

async fn a_lease_is_held_by_one(b: Bench) {
    let (one, two, ttl) = (ReplicaId::random(&SystemRng), ReplicaId::random(&SystemRng), Duration::from_secs(5));
    assert!(b.store.hold_lease("scheduler", one, ttl).await.unwrap());
    assert!(!b.store.hold_lease("scheduler", two, ttl).await.unwrap());
    assert!(b.store.hold_lease("another", two, ttl).await.unwrap());
    assert!(b.store.hold_lease("scheduler", one, ttl).await.unwrap(), "held for longer");
    b.store.release_lease("scheduler", two).await.unwrap();
    assert!(!b.store.hold_lease("scheduler", two, ttl).await.unwrap(), "it was not his to give back");
    let over = "UPDATE leases SET expires_at = expires_at - 5000";
    b.sql(over, over).await;
    assert!(b.store.hold_lease("scheduler", two, ttl).await.unwrap());
    assert!(!b.store.hold_lease("scheduler", one, ttl).await.unwrap());
    b.store.release_lease("scheduler", two).await.unwrap();
    assert!(b.store.hold_lease("scheduler", one, ttl).await.unwrap());
}

async fn of_parallel_takers_one_has_the_lease(b: Bench) {
    let other = Store::open(&b.url, 4).await.unwrap();
    for round in 0..6 {
        let takers = (0..6).map(|at| {
            let store = if at % 2 == 0 { b.store.clone() } else { other.clone() };
            async move { store.hold_lease(&format!("l{round}"), ReplicaId::random(&SystemRng), LEASE).await.unwrap() }
        });
        assert_eq!(together(takers).await.iter().filter(|held| **held).count(), 1);
    }
}
