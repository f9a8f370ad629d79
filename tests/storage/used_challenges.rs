//! Challenges without a row: used once, by an answer or by a refusal, and forgotten in time.

use passkey_hsm::{
    domain::{Challenge, NewCredential, SystemRng, TenantId},
    storage::{Answered, AuthenticationCommit, AuthenticationUnit},
};

use crate::bench::{Bench, assert_same, at, credential, event, login};

on_both_engines! {
    a_credential_is_read_with_its_challenge,
    a_refusal_uses_a_challenge_once,
    a_challenge_that_was_refused_answers_nothing,
    the_sweep_takes_what_has_ended_within_its_limit,
    the_index_serves_the_sweep,
}

fn challenge() -> Challenge {
    Challenge::random(&SystemRng)
}

async fn a_credential_is_read_with_its_challenge(b: Bench) {
    let ((tenant, key, n), (other, ..)) = (b.in_use().await, b.in_use().await);
    b.register(&key, &NewCredential { is_mfa: true, ..credential(tenant.id) }).await;
    let (used, fresh) = (challenge(), challenge());
    assert!(b.store.refuse_challenge(tenant.id, &used, at(1), None).await.unwrap());
    assert!(b.store.refuse_challenge(other.id, &fresh, at(1), None).await.unwrap(), "another tenant's says nothing");
    for (challenge, expected) in [(&used, true), (&fresh, false)] {
        let (stored, used) = b.store.credential_for_use(tenant.id, &n.id, challenge).await.unwrap().unwrap();
        assert_same(&stored, &b.store.credential(tenant.id, &n.id).await.unwrap().unwrap());
        assert_eq!(used, expected);
        assert!(b.store.credential_for_use(other.id, &n.id, challenge).await.unwrap().is_none());
        assert!(b.store.credential_for_use(tenant.id, &credential(tenant.id).id, challenge).await.unwrap().is_none());
    }
}

async fn a_refusal_uses_a_challenge_once(b: Bench) {
    let (tenant, other) = (TenantId::random(&SystemRng), TenantId::random(&SystemRng));
    let (c, first, second) = (challenge(), event(tenant), event(tenant));
    assert!(b.store.refuse_challenge(tenant, &c, at(1), Some(&first)).await.unwrap());
    assert!(!b.store.refuse_challenge(tenant, &c, at(2), Some(&second)).await.unwrap());
    let commits = b.store.stats().commits;
    assert!(!b.store.refuse_challenge(tenant, &c, at(3), None).await.unwrap());
    assert_eq!(b.store.stats().commits, commits, "nothing was there to be written");
    for e in [first, second] {
        assert_same(&b.store.audit_event(tenant, e.id).await.unwrap().unwrap(), &e);
    }
    assert!(b.store.refuse_challenge(tenant, &challenge(), at(1), None).await.unwrap());
    assert!(b.store.refuse_challenge(other, &c, at(1), None).await.unwrap(), "the other tenant's is another");
    assert_eq!((b.count("used_challenges").await, b.count("audit_events").await), (3, 2));
}

async fn a_challenge_that_was_refused_answers_nothing(b: Bench) {
    let (tenant, key, n) = b.in_use().await;
    let c = challenge();
    assert!(b.store.refuse_challenge(tenant.id, &c, at(1), None).await.unwrap());
    let answered = Answered::Challenge { challenge: c, expires_at: at(1) };
    let unit = AuthenticationUnit { answered, ..login(&key, &n, 8) };
    assert_eq!(b.store.commit_authentication(&unit).await.unwrap(), AuthenticationCommit::ChallengeGone);
    assert!(b.store.audit_event(tenant.id, unit.event.id).await.unwrap().is_none());
}

async fn the_sweep_takes_what_has_ended_within_its_limit(b: Bench) {
    let (tenant, key, n) = b.in_use().await;
    let mut used = Vec::new();
    for expires in [10, 20, 30, 40, 50, 100, 200] {
        let c = challenge();
        let answered = Answered::Challenge { challenge: c.clone(), expires_at: at(expires) };
        let unit = AuthenticationUnit { answered, ..login(&key, &n, 100) };
        assert_eq!(b.store.commit_authentication(&unit).await.unwrap(), AuthenticationCommit::Committed);
        used.push(c);
    }
    assert_eq!(b.store.sweep_used_challenges(at(100), 2).await.unwrap(), 2);
    for (at, c) in used.iter().enumerate() {
        let (_, used) = b.store.credential_for_use(tenant.id, &n.id, c).await.unwrap().unwrap();
        assert_eq!(used, at >= 2, "the oldest go first: {at}");
    }
    assert_eq!(b.store.sweep_used_challenges(at(100), 0).await.unwrap(), 0);
    assert_eq!(b.store.sweep_used_challenges(at(100), 1000).await.unwrap(), 3);
    let commits = b.store.stats().commits;
    assert_eq!(b.store.sweep_used_challenges(at(100), 1000).await.unwrap(), 0);
    assert_eq!(b.store.stats().commits, commits, "an idle sweep costs no commit");
    assert_eq!(b.count("used_challenges").await, 2);
}

async fn the_index_serves_the_sweep(b: Bench) {
    let plan = b.plan("SELECT challenge FROM used_challenges WHERE expires_at < 5 ORDER BY expires_at LIMIT 9").await;
    assert!(plan.contains("used_challenges_by_expiry") && !plan.contains("TEMP B-TREE") && !plan.contains("Sort"), "{plan}");
}
