//! What must hold when many ask at once. Each caller is a task of its own on a runtime of several threads, and on PostgreSQL each has a
//! connection of its own.

use std::sync::Arc;

use futures::future::join_all;
use passkey_hsm::{
    domain::NewCredential,
    storage::{Error, RegistrationCommit},
};
use tokio::sync::Barrier;

use crate::bench::{Bench, activated, credential, event, pending_key, tenant};

on_both_engines! {
    of_parallel_answers_to_one_ceremony_one_is_committed,
    of_parallel_ceremonies_with_one_credential_one_is_committed,
    a_refusal_and_a_commit_exclude_each_other,
    of_parallel_completions_of_a_tenant_one_counts,
    a_caller_that_goes_away_harms_nobody,
    registrations_and_sweeps_get_along,
}

/// Starts so many tasks at the same instant and returns what they found.
pub async fn together<T: Send + 'static, F: Future<Output = T> + Send + 'static>(tasks: impl IntoIterator<Item = F>) -> Vec<T> {
    let tasks: Vec<_> = tasks.into_iter().collect();
    let barrier = Arc::new(Barrier::new(tasks.len()));
    let spawned = tasks.into_iter().map(|task| {
        let barrier = Arc::clone(&barrier);
        tokio::spawn(async move {
            barrier.wait().await;
            task.await
        })
    });
    join_all(spawned.collect::<Vec<_>>()).await.into_iter().map(Result::unwrap).collect()
}

fn count(results: &[RegistrationCommit], wanted: RegistrationCommit) -> usize {
    results.iter().filter(|r| **r == wanted).count()
}

const ROUNDS: usize = 12;
const CALLERS: usize = 6;

async fn of_parallel_answers_to_one_ceremony_one_is_committed(b: Bench) {
    let (tenant, key) = b.tenant().await;
    for round in 0..ROUNDS {
        let c = b.ceremony(tenant.id).await;
        let same = credential(tenant.id);
        let callers = (0..CALLERS).map(|_| {
            // Half of the rounds post one credential many times, the others a credential each.
            let n = if round % 2 == 0 { same.clone() } else { credential(tenant.id) };
            let (store, c, e) = (b.store.clone(), c.clone(), event(tenant.id));
            async move { store.commit_registration(&c, &n, key.id, &e).await.unwrap() }
        });
        let results = together(callers).await;
        assert_eq!(count(&results, RegistrationCommit::Committed), 1, "{results:?}");
        assert_eq!(count(&results, RegistrationCommit::CeremonyGone), CALLERS - 1, "{results:?}");
    }
    assert_eq!(b.count("credentials").await, i64::try_from(ROUNDS).unwrap());
    assert_eq!(b.count("ceremonies").await, 0);
}

async fn of_parallel_ceremonies_with_one_credential_one_is_committed(b: Bench) {
    let (tenant, key) = b.tenant().await;
    for _ in 0..ROUNDS {
        let n = credential(tenant.id);
        let mut callers = Vec::new();
        for _ in 0..CALLERS {
            let (store, c, n, e) = (b.store.clone(), b.ceremony(tenant.id).await, n.clone(), event(tenant.id));
            callers.push(async move { store.commit_registration(&c, &n, key.id, &e).await.unwrap() });
        }
        let results = together(callers).await;
        assert_eq!(count(&results, RegistrationCommit::Committed), 1, "{results:?}");
        assert_eq!(count(&results, RegistrationCommit::CredentialExists), CALLERS - 1, "{results:?}");
    }
    assert_eq!(b.count("ceremonies").await, i64::try_from(ROUNDS * (CALLERS - 1)).unwrap(), "the losers' ceremonies stand");
}

async fn a_refusal_and_a_commit_exclude_each_other(b: Bench) {
    let (tenant, key) = b.tenant().await;
    for _ in 0..ROUNDS {
        let (c, n) = (b.ceremony(tenant.id).await, credential(tenant.id));
        let callers = (0..CALLERS).map(|at| {
            let (store, c, n, e) = (b.store.clone(), c.clone(), n.clone(), event(tenant.id));
            async move {
                if at % 2 == 0 {
                    store.refuse_ceremony(&c, &e).await.unwrap()
                } else {
                    store.commit_registration(&c, &n, key.id, &e).await.unwrap() == RegistrationCommit::Committed
                }
            }
        });
        let consumed = together(callers).await;
        assert_eq!(consumed.iter().filter(|c| **c).count(), 1, "{consumed:?}");
        let stored = b.store.credential(tenant.id, &n.id).await.unwrap().is_some();
        assert_eq!(stored, consumed.iter().skip(1).step_by(2).any(|c| *c));
    }
}

async fn of_parallel_completions_of_a_tenant_one_counts(b: Bench) {
    let tenant = tenant();
    let pending = pending_key(tenant.id, passkey_hsm::domain::KeyId::random(&passkey_hsm::domain::SystemRng));
    b.store.begin_tenant(&tenant, &pending).await.unwrap();
    let callers = (0..CALLERS).map(|_| {
        let (store, key, e) = (b.store.clone(), activated(&pending), event(tenant.id));
        async move { store.complete_tenant(key.tenant_id, &key, None, &[e]).await.unwrap() }
    });
    let results = together(callers).await;
    assert_eq!(results.iter().filter(|r| **r).count(), 1);
    assert_eq!(b.store.audit_events(tenant.id, 100).await.unwrap().len(), 1);
}

async fn a_caller_that_goes_away_harms_nobody(b: Bench) {
    let (tenant, key) = b.tenant().await;
    let mut waiting = Vec::new();
    for at in 0..60_u64 {
        let (store, c, n, e) = (b.store.clone(), b.ceremony(tenant.id).await, credential(tenant.id), event(tenant.id));
        let call = tokio::spawn({
            let (c, n, e) = (c.clone(), n.clone(), e.clone());
            async move { store.commit_registration(&c, &n, key.id, &e).await }
        });
        if at % 2 == 0 {
            // From not even begun to long finished.
            tokio::time::sleep(std::time::Duration::from_micros(at * 40)).await;
            call.abort();
        }
        waiting.push((at, call, c, n, e));
    }
    for (at, call, c, n, e) in waiting {
        if at % 2 == 1 {
            assert_eq!(call.await.unwrap().unwrap(), RegistrationCommit::Committed);
        }
        // All or nothing, whoever waited. What was begun is finished soon.
        for _ in 0..100 {
            let stored = b.store.credential(tenant.id, &n.id).await.unwrap().is_some();
            let (open, told) = (b.is_open(&c).await, b.store.audit_events(tenant.id, 1000).await.unwrap().iter().any(|x| x.id == e.id));
            if stored != open && stored == told {
                break;
            }
        }
        let stored = b.store.credential(tenant.id, &n.id).await.unwrap().is_some();
        assert_eq!(stored, !b.is_open(&c).await);
        assert_eq!(stored, b.store.audit_event(tenant.id, e.id).await.unwrap().is_some());
    }
}

async fn registrations_and_sweeps_get_along(b: Bench) {
    let (tenant, key) = b.tenant().await;
    let mut callers: Vec<futures::future::BoxFuture<'static, Result<(), Error>>> = Vec::new();
    for _ in 0..20 {
        let (store, c, n, e) = (b.store.clone(), b.ceremony(tenant.id).await, credential(tenant.id), event(tenant.id));
        let ended = c.expires_at + std::time::Duration::from_secs(1);
        let sweeper = b.store.clone();
        callers.push(Box::pin(async move { sweeper.sweep_ceremonies(ended, 3).await.map(drop) }));
        callers.push(Box::pin(async move {
            match store.commit_registration(&c, &n, key.id, &e).await? {
                RegistrationCommit::Committed | RegistrationCommit::CeremonyGone => Ok(()),
                other => panic!("{other:?}"),
            }
        }));
    }
    for result in together(callers).await {
        result.unwrap();
    }
    let stored = b.store.user_credentials(tenant.id, &"ann".parse().unwrap(), false).await.unwrap();
    let committed: Vec<NewCredential> = stored.into_iter().map(|c| c.data).collect();
    assert_eq!(i64::try_from(committed.len()).unwrap(), b.count("credentials").await);
}
