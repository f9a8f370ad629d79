//! Single flight: equal requests in one process take turns.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::OwnedMutexGuard;

use crate::domain::{Challenge, TenantId};

type Key = (TenantId, Challenge);

/// Lets one request per challenge through at a time. The second finds the challenge used up instead of verifying and signing in vain; the
/// database would refuse it all the same.
#[derive(Debug, Default, Clone)]
pub(super) struct Flights(Arc<Mutex<HashMap<Key, Arc<tokio::sync::Mutex<()>>>>>);

/// The right to work on one challenge; given back when dropped.
pub(super) struct Flight {
    flights: Flights,
    key: Key,
    turn: Option<OwnedMutexGuard<()>>,
}

impl Flights {
    /// Waits for the turn on `challenge`.
    pub(super) async fn enter(&self, tenant: TenantId, challenge: Challenge) -> Flight {
        let key = (tenant, challenge);
        let lane = Arc::clone(self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(key.clone()).or_default());
        // Built before the wait: a request that is dropped while it waits still cleans up.
        let mut flight = Flight { flights: self.clone(), key, turn: None };
        flight.turn = Some(lane.lock_owned().await);
        flight
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.turn = None;
        let mut lanes = self.flights.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Only the map holds the lane: nobody flies or waits.
        if lanes.get(&self.key).is_some_and(|lane| Arc::strong_count(lane) == 1) {
            lanes.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::domain::SystemRng;

    /// Counts itself out.
    struct Leave(Arc<AtomicUsize>);

    impl Drop for Leave {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::SeqCst);
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn one_at_a_time_and_nothing_is_left_behind() {
        let flights = Flights::default();
        let tenant = TenantId::random(&SystemRng);
        let inside = Arc::new(AtomicUsize::new(0));
        let tasks: Vec<_> = (0..50)
            .map(|n| {
                let (flights, inside) = (flights.clone(), Arc::clone(&inside));
                tokio::spawn(async move {
                    let _flight = flights.enter(tenant, Challenge::from_bytes(b"one")).await;
                    assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                    // Also when the task is aborted in here; before the flight ends.
                    let _leave = Leave(inside);
                    tokio::task::yield_now().await;
                    n
                })
            })
            .collect();
        for (n, task) in tasks.into_iter().enumerate() {
            if n % 7 == 0 { task.abort() } else { assert_eq!(task.await.unwrap(), n) }
        }
        while !flights.0.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn other_challenges_do_not_wait() {
        let flights = Flights::default();
        let tenant = TenantId::random(&SystemRng);
        let _one = flights.enter(tenant, Challenge::from_bytes(b"one")).await;
        let _two = flights.enter(tenant, Challenge::from_bytes(b"two")).await;
        let _three = flights.enter(TenantId::random(&SystemRng), Challenge::from_bytes(b"one")).await;
    }
}
