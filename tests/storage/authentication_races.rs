//! What must hold when many answer at once: as in `races`, and on PostgreSQL from two servers.

use passkey_hsm::{
    domain::{Challenge, NewCredential, NewTransaction, SystemRng, TransactionRowId},
    storage::{Answered, AuthenticationCommit, AuthenticationUnit, Engine, Store},
};

use crate::{
    bench::{Bench, at, confirmation, credential, event, login, transaction},
    races::together,
};

on_both_engines! {
    of_parallel_answers_to_one_challenge_one_is_committed,
    of_parallel_confirmations_of_one_transaction_one_is_committed,
    of_parallel_challenges_with_one_credential_all_are_committed,
    of_parallel_counters_the_maximum_stays,
    of_parallel_clones_only_the_first_use_passes,
    a_refused_challenge_and_its_commit_exclude_each_other,
    a_refused_transaction_and_its_confirmation_exclude_each_other,
    of_parallel_beginnings_of_a_transaction_one_counts,
    a_credential_that_is_removed_meanwhile_leaves_all_or_nothing,
}

const ROUNDS: usize = 12;
const CALLERS: usize = 6;

/// How many answers there are to one challenge.
const ANSWERS: u32 = 32;

/// Another server on the same database, where there can be one.
async fn another(b: &Bench) -> Store {
    match b.store.engine() {
        Engine::Sqlite => b.store.clone(),
        Engine::Postgres => Store::open(&b.url, 8).await.unwrap(),
    }
}

/// Commits all of them at the same instant, half of them from another server.
async fn committed_together(b: &Bench, units: Vec<AuthenticationUnit>) -> Vec<AuthenticationCommit> {
    let stores = [b.store.clone(), another(b).await];
    let callers = units.into_iter().zip(stores.into_iter().cycle());
    together(callers.map(|(unit, store)| async move { store.commit_authentication(&unit).await.unwrap() })).await
}

/// Half of them post the same answer again and again, with a counter that the first one's commit makes look like a clone's; the others
/// bring a credential each.
async fn answers(b: &Bench, unit: AuthenticationUnit, same: bool) -> Vec<AuthenticationUnit> {
    let mut units = Vec::new();
    for _ in 0..ANSWERS {
        let mut unit = AuthenticationUnit { event: event(unit.tenant_id), clone_event: event(unit.tenant_id), ..unit.clone() };
        unit.used.refuse_clone = true;
        if !same {
            let n = NewCredential { sign_count: 0, ..credential(unit.tenant_id) };
            let c = b.ceremony(unit.tenant_id).await;
            b.store.commit_registration(&c, &n, unit.key, &event(unit.tenant_id)).await.unwrap();
            unit.used.credential = n.id;
        }
        units.push(unit);
    }
    units
}

async fn assert_one(b: &Bench, units: Vec<AuthenticationUnit>) {
    let events: Vec<_> = units.iter().map(|unit| (unit.event.id, unit.clone_event.id)).collect();
    let tenant = units.first().unwrap().tenant_id;
    let results = committed_together(b, units).await;
    let of = |wanted| results.iter().filter(|r| **r == wanted).count();
    assert_eq!(of(AuthenticationCommit::Committed), 1, "{results:?}");
    assert_eq!(of(AuthenticationCommit::ChallengeGone), results.len() - 1, "{results:?}");
    for (result, (id, of_clone)) in results.iter().zip(events) {
        let told = b.store.audit_event(tenant, id).await.unwrap().is_some();
        assert_eq!(told, *result == AuthenticationCommit::Committed);
        assert!(b.store.audit_event(tenant, of_clone).await.unwrap().is_none());
    }
}

async fn of_parallel_answers_to_one_challenge_one_is_committed(b: Bench) {
    let (_, key, n) = b.in_use().await;
    for same in [true, false, true] {
        let counter = b.store.credential(key.tenant_id, &n.id).await.unwrap().unwrap().data.sign_count + 1;
        let units = answers(&b, login(&key, &n, counter), same).await;
        assert_one(&b, units).await;
    }
    assert_eq!(b.count("used_challenges").await, 3);
}

async fn of_parallel_confirmations_of_one_transaction_one_is_committed(b: Bench) {
    let (tenant, key, n) = b.in_use().await;
    for same in [true, false, true] {
        let counter = b.store.credential(tenant.id, &n.id).await.unwrap().unwrap().data.sign_count + 1;
        let t = b.begun(tenant.id).await;
        let units = answers(&b, confirmation(&key, &n, counter, &t), same).await;
        assert_one(&b, units).await;
    }
    assert_eq!((b.count("transaction_evidence").await, b.count("transactions WHERE state = 'confirmed'").await), (3, 3));
}

/// A passkey that is synced has no counter: whoever signs in on two devices at once gets in on both.
async fn of_parallel_challenges_with_one_credential_all_are_committed(b: Bench) {
    let (tenant, key) = b.tenant().await;
    let n = NewCredential { sign_count: 0, ..credential(tenant.id) };
    b.register(&key, &n).await;
    let mut units = Vec::new();
    for count in 0..ANSWERS {
        let mut unit = match count % 2 {
            0 => login(&key, &n, 0),
            _ => confirmation(&key, &n, 0, &b.begun(tenant.id).await),
        };
        unit.used.refuse_clone = true;
        unit.used.at = at(1000 + i64::from(count));
        units.push(unit);
    }
    let results = committed_together(&b, units).await;
    assert!(results.iter().all(|r| *r == AuthenticationCommit::Committed), "{results:?}");
    let stored = b.store.credential(tenant.id, &n.id).await.unwrap().unwrap();
    assert_eq!((stored.data.sign_count, stored.last_used_at), (0, Some(at(1000 + i64::from(ANSWERS) - 1))));
}

/// Honest ones that overtake each other: all succeed where a clone is only told, and none is told that counted upwards.
async fn of_parallel_counters_the_maximum_stays(b: Bench) {
    let (tenant, key, n) = b.in_use().await;
    let units: Vec<_> = (8..8 + ANSWERS).map(|counter| login(&key, &n, counter)).collect();
    let clones: Vec<_> = units.iter().map(|unit| unit.clone_event.id).collect();
    let results = committed_together(&b, units).await;
    assert!(results.iter().all(|r| *r == AuthenticationCommit::Committed), "{results:?}");
    assert_eq!(b.store.credential(tenant.id, &n.id).await.unwrap().unwrap().data.sign_count, 7 + ANSWERS);
    // Whatever the order, the greatest is greater than all that were before it.
    assert!(b.store.audit_event(tenant.id, *clones.last().unwrap()).await.unwrap().is_none());
}

/// The counter is judged by what the use before has left, not by what was there when the statement began.
async fn of_parallel_clones_only_the_first_use_passes(b: Bench) {
    let (tenant, key, n) = b.in_use().await;
    for (counter, refuse) in [(8, true), (9, false)] {
        let units: Vec<_> = (0..ANSWERS)
            .map(|_| {
                let mut unit = login(&key, &n, counter);
                unit.used.refuse_clone = refuse;
                unit
            })
            .collect();
        let clones: Vec<_> = units.iter().map(|unit| unit.clone_event.id).collect();
        let results = committed_together(&b, units).await;
        let committed = results.iter().filter(|r| **r == AuthenticationCommit::Committed).count();
        let refused = results.iter().filter(|r| **r == AuthenticationCommit::CloneRefused).count();
        let mut told = 0;
        for id in clones {
            told += u32::from(b.store.audit_event(tenant.id, id).await.unwrap().is_some());
        }
        let all = usize::try_from(ANSWERS).unwrap();
        assert_eq!((committed, refused, told), if refuse { (1, all - 1, 0) } else { (all, 0, ANSWERS - 1) }, "{results:?}");
    }
    assert_eq!(b.count("used_challenges").await, 1 + i64::from(ANSWERS), "what was refused used up nothing");
}

async fn a_refused_challenge_and_its_commit_exclude_each_other(b: Bench) {
    let (tenant, key, n) = b.in_use().await;
    for round in 0..ROUNDS {
        let challenge = Challenge::random(&SystemRng);
        let answered = Answered::Challenge { challenge: challenge.clone(), expires_at: at(60_000) };
        let unit = AuthenticationUnit { answered, ..login(&key, &n, u32::try_from(round).unwrap() + 8) };
        let callers = (0..CALLERS).map(|at_once| {
            let (store, challenge) = (b.store.clone(), challenge.clone());
            let unit = AuthenticationUnit { event: event(tenant.id), ..unit.clone() };
            async move {
                if at_once % 2 == 0 {
                    store.refuse_challenge(unit.tenant_id, &challenge, at(60_000), Some(&unit.event)).await.unwrap()
                } else {
                    store.commit_authentication(&unit).await.unwrap() == AuthenticationCommit::Committed
                }
            }
        });
        let used = together(callers).await;
        assert_eq!(used.iter().filter(|used| **used).count(), 1, "{used:?}");
    }
    assert_eq!(b.count("used_challenges").await, i64::try_from(ROUNDS).unwrap());
}

async fn a_refused_transaction_and_its_confirmation_exclude_each_other(b: Bench) {
    let (tenant, key, n) = b.in_use().await;
    for _ in 0..ROUNDS {
        let t = b.begun(tenant.id).await;
        let callers = (0..CALLERS).map(|at_once| {
            let (store, t, unit) = (b.store.clone(), t.clone(), confirmation(&key, &n, 8, &t));
            async move {
                if at_once % 2 == 0 {
                    store.refuse_transaction(t.tenant_id, t.row, &t.challenge, at(5), &unit.event).await.unwrap()
                } else {
                    store.commit_authentication(&unit).await.unwrap() == AuthenticationCommit::Committed
                }
            }
        });
        let settled = together(callers).await;
        assert_eq!(settled.iter().filter(|settled| **settled).count(), 1, "{settled:?}");
        let confirmed = b.store.transaction(tenant.id, &t.challenge).await.unwrap().unwrap().confirmation.is_some();
        assert_eq!(confirmed, settled.iter().skip(1).step_by(2).any(|c| *c));
    }
}

async fn of_parallel_beginnings_of_a_transaction_one_counts(b: Bench) {
    let (tenant, ..) = b.in_use().await;
    let mut open = transaction(tenant.id, "t");
    for round in 0..3 {
        let callers = (0..CALLERS).map(|_| {
            let t = NewTransaction { row: TransactionRowId::random(&SystemRng), ..transaction(tenant.id, "t") };
            let (store, e) = (b.store.clone(), event(tenant.id));
            async move { store.begin_transaction(&t, &e).await.unwrap().then_some(t) }
        });
        let begun: Vec<_> = together(callers).await.into_iter().flatten().collect();
        assert_eq!(begun.len(), 1, "{round}: {begun:?}");
        open = begun.into_iter().next().unwrap();
        let stored = b.store.transaction(tenant.id, &open.challenge).await.unwrap().unwrap();
        assert!(b.store.refuse_transaction(tenant.id, stored.begun.row, &open.challenge, at(5), &event(tenant.id)).await.unwrap());
    }
    assert!(b.store.transaction(tenant.id, &open.challenge).await.unwrap().is_some());
    assert_eq!(b.count("transactions").await, 1);
}

async fn a_credential_that_is_removed_meanwhile_leaves_all_or_nothing(b: Bench) {
    let (tenant, key) = b.tenant().await;
    for _ in 0..ROUNDS {
        let n = NewCredential { sign_count: 0, ..credential(tenant.id) };
        b.register(&key, &n).await;
        let mut callers: Vec<futures::future::BoxFuture<'static, Option<bool>>> = Vec::new();
        for _ in 0..CALLERS {
            let (store, t) = (b.store.clone(), b.begun(tenant.id).await);
            let unit = confirmation(&key, &n, 0, &t);
            callers.push(Box::pin(async move {
                let result = store.commit_authentication(&unit).await.unwrap();
                let (told, t) = (
                    store.audit_event(unit.tenant_id, unit.event.id).await.unwrap().is_some(),
                    store.transaction(unit.tenant_id, &t.challenge).await.unwrap().unwrap(),
                );
                assert_eq!((told, t.confirmation.is_some()), (result == AuthenticationCommit::Committed, told));
                assert!(matches!(result, AuthenticationCommit::Committed | AuthenticationCommit::CredentialGone), "{result:?}");
                None
            }));
        }
        let (store, id, e) = (b.store.clone(), n.id.clone(), event(tenant.id));
        callers.push(Box::pin(async move { Some(store.delete_credential(e.tenant_id, &id, &e).await.unwrap()) }));
        assert!(together(callers).await.contains(&Some(true)));
        assert!(b.store.credential(tenant.id, &n.id).await.unwrap().is_none());
    }
}
