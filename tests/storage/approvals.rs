//! Requests for a second administrator's approval.

use futures::future::join_all;
use passkey_hsm::{
    domain::{Act, Actor, AdminId, Approval, ApprovalId, ApprovalState, AuditEvent, KeyId, Page, SystemRng, TenantId, Timestamp},
    storage::ApprovalAdded,
};

use crate::bench::{Bench, assert_same, at, event};

on_both_engines! {
    a_request_is_kept_whole,
    one_act_on_one_thing_waits_at_a_time,
    of_parallel_requests_for_one_act_one_is_added,
    requests_are_listed_by_how_far_they_are,
    another_administrator_approves_in_time,
    whoever_is_revoked_neither_asks_nor_approves,
    of_parallel_approvals_one_counts,
    a_request_is_rejected_or_taken_back,
    a_grant_is_used_once_by_who_asked,
    an_outcome_is_written_once,
}

const DAY: i64 = 86_400_000;

async fn a_request_is_kept_whole(b: Bench) {
    let alice = admin(&b, "alice").await;
    let wanted = Approval { reason: "leaked\0".to_owned(), ..request(&alice, destroy()) };
    let asked = deployment();
    assert_eq!(b.store.add_approval(&wanted, &asked).await.unwrap(), ApprovalAdded::Added);
    let kept = Approval { reason: "leaked\u{fffd}".to_owned(), ..wanted };
    assert_same(&b.store.approval(kept.id).await.unwrap().unwrap(), &kept);
    assert_same(&b.store.audit_event(asked.tenant_id, asked.id).await.unwrap().unwrap(), &asked);
    assert!(b.store.approval(ApprovalId::random(&SystemRng)).await.unwrap().is_none());
    let nobodys = Approval { requested_by: Actor::Local { uid: 0 }, ..request(&alice, destroy()) };
    assert!(b.store.add_approval(&nobodys, &deployment()).await.is_err());
}

async fn one_act_on_one_thing_waits_at_a_time(b: Bench) {
    let (alice, bob) = (admin(&b, "alice").await, admin(&b, "bob").await);
    let kid = KeyId::random(&SystemRng);
    let first = request(&alice, Act::CompromiseKey { kid, accept_exposure: false });
    add(&b, &first).await;
    let rival = request(&bob, Act::CompromiseKey { kid, accept_exposure: true });
    let refused = deployment();
    assert_eq!(b.store.add_approval(&rival, &refused).await.unwrap(), ApprovalAdded::Rival(first.id));
    assert!(b.store.approval(rival.id).await.unwrap().is_none());
    assert!(b.store.audit_event(refused.tenant_id, refused.id).await.unwrap().is_none());
    add(&b, &request(&bob, Act::DestroyKey { kid })).await;
    // The first is out of time by then.
    add(&b, &Approval { requested_at: at(DAY), expires_at: at(2 * DAY), ..rival }).await;
}

async fn of_parallel_requests_for_one_act_one_is_added(b: Bench) {
    let alice = admin(&b, "alice").await;
    let requests: Vec<_> = (0..8).map(|_| (request(&alice, Act::ActivateHsm), deployment())).collect();
    let results = join_all(requests.iter().map(|(r, e)| b.store.add_approval(r, e))).await;
    let added = results.iter().filter(|r| matches!(r, Ok(ApprovalAdded::Added))).count();
    assert_eq!((added, b.count("approvals").await), (1, 1), "{results:?}");
}

async fn requests_are_listed_by_how_far_they_are(b: Bench) {
    let (alice, bob) = (admin(&b, "alice").await, admin(&b, "bob").await);
    let old = Approval { requested_at: at(-2 * DAY), expires_at: at(-DAY), ..request(&alice, destroy()) };
    let waiting = request(&alice, destroy());
    let approved = Approval { requested_at: at(1), ..request(&alice, destroy()) };
    for one in [&old, &waiting, &approved] {
        add(&b, one).await;
    }
    assert!(approve(&b, &approved, &bob, at(5)).await);
    let listed = async |state: Option<ApprovalState>, page| {
        let (found, total) = b.store.approvals(state, at(10), page).await.unwrap();
        (found.into_iter().map(|a| a.id).collect::<Vec<_>>(), total)
    };
    let first = Page::new(1, 10);
    assert_eq!(listed(None, first).await, (vec![approved.id, waiting.id, old.id], 3));
    assert_eq!(listed(None, Page::new(2, 1)).await, (vec![waiting.id], 3));
    assert_eq!(listed(None, Page::new(9, 1)).await, (Vec::new(), 3));
    for (state, ids) in [
        (ApprovalState::Pending, vec![waiting.id]),
        (ApprovalState::Approved, vec![approved.id]),
        (ApprovalState::Expired, vec![old.id]),
        (ApprovalState::Done, Vec::new()),
    ] {
        let total = u64::try_from(ids.len()).unwrap();
        assert_eq!(listed(Some(state), first).await, (ids, total), "{state:?}");
    }
    let (found, _) = b.store.approvals(Some(ApprovalState::Expired), at(DAY), first).await.unwrap();
    assert_eq!(found.len(), 3, "what was approved and not done in time is over too");
}

async fn another_administrator_approves_in_time(b: Bench) {
    let (alice, bob) = (admin(&b, "alice").await, admin(&b, "bob").await);
    let wanted = request(&alice, destroy());
    add(&b, &wanted).await;
    let refused = deployment();
    assert!(!b.store.approve(wanted.id, (alice.0, "alice"), at(5), &refused).await.unwrap(), "one's own");
    assert!(!b.store.approve(wanted.id, (bob.0, "bob"), wanted.expires_at, &refused).await.unwrap(), "too late");
    let nobody = AdminId::random(&SystemRng);
    assert!(!b.store.approve(wanted.id, (nobody, "nobody"), at(5), &refused).await.unwrap());
    assert!(!b.store.approve(ApprovalId::random(&SystemRng), (bob.0, "bob"), at(5), &refused).await.unwrap());
    assert!(b.store.audit_event(refused.tenant_id, refused.id).await.unwrap().is_none());
    let granted = deployment();
    assert!(b.store.approve(wanted.id, (bob.0, "bob"), at(5), &granted).await.unwrap());
    let found = b.store.approval(wanted.id).await.unwrap().unwrap();
    let expected = Approval { state: ApprovalState::Approved, decided_by: Some(bob.1.clone()), decided_at: Some(at(5)), ..wanted };
    assert_same(&found, &expected);
    assert!(b.store.audit_event(granted.tenant_id, granted.id).await.unwrap().is_some());
    assert!(!approve(&b, &found, &bob, at(6)).await, "twice");
}

async fn whoever_is_revoked_neither_asks_nor_approves(b: Bench) {
    let (alice, bob, carol) = (admin(&b, "alice").await, admin(&b, "bob").await, admin(&b, "carol").await);
    let (hers, his) = (request(&alice, destroy()), request(&bob, destroy()));
    add(&b, &hers).await;
    add(&b, &his).await;
    b.sql("UPDATE admins SET revoked_at = 1 WHERE name = 'bob'", "UPDATE admins SET revoked_at = 1 WHERE name = 'bob'").await;
    assert!(!approve(&b, &hers, &bob, at(5)).await, "he is revoked");
    assert!(!approve(&b, &his, &carol, at(5)).await, "who asked is revoked");
    let late = format!("UPDATE admins SET expires_at = {} WHERE name = 'carol'", at(5).as_millis());
    b.sql(&late, &late).await;
    assert!(!approve(&b, &hers, &carol, at(5)).await, "her time is over");
    assert!(approve(&b, &hers, &carol, at(4)).await);
}

async fn of_parallel_approvals_one_counts(b: Bench) {
    let (alice, bob, carol) = (admin(&b, "alice").await, admin(&b, "bob").await, admin(&b, "carol").await);
    let wanted = request(&alice, destroy());
    add(&b, &wanted).await;
    let by: Vec<_> = (0..8).map(|n| if n % 2 == 0 { &bob } else { &carol }).collect();
    let results = join_all(by.iter().map(|by| approve(&b, &wanted, by, at(5)))).await;
    assert_eq!(results.iter().filter(|approved| **approved).count(), 1);
    assert_eq!(b.count("audit_events").await, 2);
}

async fn a_request_is_rejected_or_taken_back(b: Bench) {
    let (alice, bob) = (admin(&b, "alice").await, admin(&b, "bob").await);
    let (declined, withdrawn) = (request(&alice, destroy()), request(&alice, destroy()));
    for one in [&declined, &withdrawn] {
        add(&b, one).await;
    }
    assert!(!b.store.reject(declined.id, (bob.0, "bob"), "no", declined.expires_at, &deployment()).await.unwrap(), "too late");
    assert!(b.store.reject(declined.id, (bob.0, "bob"), "no", at(5), &deployment()).await.unwrap());
    assert!(b.store.reject(withdrawn.id, (alice.0, "alice"), "taken back", at(5), &deployment()).await.unwrap());
    let found = b.store.approval(declined.id).await.unwrap().unwrap();
    assert_eq!((found.state, found.decided_by, found.outcome.as_deref()), (ApprovalState::Rejected, Some(bob.1.clone()), Some("no")));
    let found = b.store.approval(withdrawn.id).await.unwrap().unwrap();
    assert_eq!((found.state, found.decided_by, found.decided_at), (ApprovalState::Rejected, None, Some(at(5))));
    assert!(!approve(&b, &declined, &bob, at(6)).await);
    assert!(!b.store.reject(declined.id, (bob.0, "bob"), "no", at(6), &deployment()).await.unwrap(), "twice");
}

async fn a_grant_is_used_once_by_who_asked(b: Bench) {
    let (alice, bob) = (admin(&b, "alice").await, admin(&b, "bob").await);
    let wanted = request(&alice, Act::ActivateHsm);
    add(&b, &wanted).await;
    assert!(!b.store.claim_approval(wanted.id, alice.0, at(5)).await.unwrap(), "not approved yet");
    assert!(approve(&b, &wanted, &bob, at(5)).await);
    assert!(!b.store.claim_approval(wanted.id, bob.0, at(6)).await.unwrap(), "another's");
    assert!(!b.store.claim_approval(wanted.id, alice.0, wanted.expires_at).await.unwrap(), "too late");
    let claims = join_all((0..8).map(|_| b.store.claim_approval(wanted.id, alice.0, at(6)))).await;
    assert_eq!(claims.iter().filter(|c| *c.as_ref().unwrap()).count(), 1);
    assert!(b.store.settle_approval(wanted.id, false, "PIN refused", &deployment()).await.unwrap());
    let found = b.store.approval(wanted.id).await.unwrap().unwrap();
    assert_eq!((found.state, found.outcome.as_deref()), (ApprovalState::Failed, Some("PIN refused")));
}

async fn an_outcome_is_written_once(b: Bench) {
    let (alice, bob) = (admin(&b, "alice").await, admin(&b, "bob").await);
    let wanted = request(&alice, destroy());
    add(&b, &wanted).await;
    let early = deployment();
    assert!(!b.store.settle_approval(wanted.id, true, "done", &early).await.unwrap(), "not approved yet");
    assert!(b.store.audit_event(early.tenant_id, early.id).await.unwrap().is_none());
    assert!(approve(&b, &wanted, &bob, at(5)).await);
    assert!(b.store.settle_approval(wanted.id, true, "destroyed", &deployment()).await.unwrap());
    assert!(!b.store.settle_approval(wanted.id, false, "again", &deployment()).await.unwrap());
    let found = b.store.approval(wanted.id).await.unwrap().unwrap();
    assert_eq!((found.state, found.outcome.as_deref()), (ApprovalState::Done, Some("destroyed")));
}

/// An administrator's row, put there behind the store's back.
async fn admin(b: &Bench, name: &str) -> (AdminId, Actor) {
    let id = AdminId::random(&SystemRng);
    let hash = id.as_uuid().simple().to_string().repeat(2);
    let insert = "INSERT INTO admins (id, name, kind, hash, role, created_at, created_by) VALUES";
    b.sql(
        &format!("{insert} ('{id}', '{name}', 'token', decode('{hash}', 'hex'), 'admin', 0, 'test')"),
        &format!("{insert} (X'{}', '{name}', 'token', X'{hash}', 'admin', 0, 'test')", id.as_uuid().simple()),
    )
    .await;
    (id, Actor::Admin { id, name: name.to_owned() })
}

fn destroy() -> Act {
    Act::DestroyKey { kid: KeyId::random(&SystemRng) }
}

fn request(by: &(AdminId, Actor), act: Act) -> Approval {
    Approval {
        id: ApprovalId::random(&SystemRng),
        act,
        tenant_id: Some(TenantId::random(&SystemRng)),
        reason: "because".to_owned(),
        state: ApprovalState::Pending,
        requested_by: by.1.clone(),
        requested_at: at(0),
        expires_at: at(DAY),
        decided_by: None,
        decided_at: None,
        outcome: None,
    }
}

fn deployment() -> AuditEvent {
    event(AuditEvent::DEPLOYMENT)
}

async fn add(b: &Bench, approval: &Approval) {
    assert_eq!(b.store.add_approval(approval, &deployment()).await.unwrap(), ApprovalAdded::Added);
}

async fn approve(b: &Bench, approval: &Approval, by: &(AdminId, Actor), now: Timestamp) -> bool {
    let Actor::Admin { id, name } = &by.1 else { unreachable!() };
    b.store.approve(approval.id, (*id, name), now, &deployment()).await.unwrap()
}
