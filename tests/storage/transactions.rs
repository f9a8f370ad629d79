//! Transactions: begun, begun again, refused, confirmed, listed; and the evidence of those that were confirmed.

use std::time::Duration;

use passkey_hsm::{
    domain::{
        Challenge, NewTransaction, SystemRng, TenantId, TransactionData, TransactionRowId, TransactionState as State, UserVerification,
    },
    storage::{AuthenticationCommit, Error},
};

use crate::bench::{Bench, assert_same, at, authentication_evidence, ceremony, confirmation, event, transaction, user};

on_both_engines! {
    a_transaction_is_kept_as_it_was_begun,
    a_name_is_begun_once_at_a_time,
    a_transaction_whose_time_is_over_is_begun_again,
    a_refused_transaction_is_begun_again,
    a_confirmed_transaction_is_never_begun_again,
    a_transaction_is_of_a_user_that_is_there,
    what_fails_half_way_begins_nothing,
    a_refusal_is_of_the_challenge_that_it_names,
    a_users_transactions_are_listed_newest_first,
    the_index_serves_the_listing,
    evidence_comes_back_byte_by_byte,
    evidence_outlives_the_credential,
    evidence_comes_in_pages,
}

/// A tenant with ann in it.
async fn with_ann(b: &Bench) -> TenantId {
    let (tenant, _) = b.tenant().await;
    b.ceremony(tenant.id).await;
    tenant.id
}

/// The same name again, at another time, about something else.
fn again(t: &NewTransaction, begun: i64) -> NewTransaction {
    let data = TransactionData::from_json(b"[2]").unwrap();
    NewTransaction {
        row: TransactionRowId::random(&SystemRng),
        challenge: Challenge::for_transaction(&SystemRng, &t.id, &data),
        data,
        user_verification: UserVerification::Discouraged,
        created_at: at(begun),
        expires_at: at(begun + 60_000),
        ..t.clone()
    }
}

/// That `new` has taken `old`'s row, and nothing is left of the old ceremony.
async fn assert_in_place(b: &Bench, old: &NewTransaction, new: &NewTransaction) {
    assert!(b.store.transaction(old.tenant_id, &old.challenge).await.unwrap().is_none());
    let stored = b.store.transaction(old.tenant_id, &new.challenge).await.unwrap().unwrap();
    assert_same(&stored.begun, &NewTransaction { row: old.row, created_at: old.created_at, ..new.clone() });
    assert_eq!((stored.state, stored.updated_at), (State::Pending, new.created_at));
    assert!(stored.confirmation.is_none());
}

async fn a_transaction_is_kept_as_it_was_begun(b: Bench) {
    let (tenant, other) = (with_ann(&b).await, with_ann(&b).await);
    for (name, data) in [("a", "{\"b\": 1e3, \"a\": \"<\\u0000\\u007f\u{1f642}>\"}"), ("'; DROP TABLE transactions; --", "0")] {
        let t = NewTransaction { data: TransactionData::from_json(data.as_bytes()).unwrap(), ..transaction(tenant, name) };
        let e = event(tenant);
        assert!(b.store.begin_transaction(&t, &e).await.unwrap());
        let stored = b.store.transaction(tenant, &t.challenge).await.unwrap().unwrap();
        assert_same(&stored.begun, &t);
        assert_eq!(stored.begun.data.as_str(), t.data.as_str());
        assert_eq!((stored.state, stored.updated_at, stored.confirmation), (State::Pending, at(0), None));
        assert_same(&b.store.audit_event(tenant, e.id).await.unwrap().unwrap(), &e);
        assert!(b.store.transaction(other, &t.challenge).await.unwrap().is_none());
        // The other tenant's names are its own.
        assert!(b.store.begin_transaction(&transaction(other, name), &event(other)).await.unwrap());
    }
    let longest = transaction(tenant, &"\u{1f642}".repeat(128));
    assert!(b.store.begin_transaction(&longest, &event(tenant)).await.unwrap());
    assert_same(&b.store.transaction(tenant, &longest.challenge).await.unwrap().unwrap().begun, &longest);
}

async fn a_name_is_begun_once_at_a_time(b: Bench) {
    let tenant = with_ann(&b).await;
    let t = b.begun(tenant).await;
    for begun in [0, 59_999] {
        let e = event(tenant);
        assert!(!b.store.begin_transaction(&again(&t, begun), &e).await.unwrap());
        assert!(b.store.audit_event(tenant, e.id).await.unwrap().is_none());
    }
    let stored = b.store.transaction(tenant, &t.challenge).await.unwrap().unwrap();
    assert_same(&stored.begun, &t);
    assert_eq!((stored.updated_at, b.count("transactions").await), (at(0), 1));
}

async fn a_transaction_whose_time_is_over_is_begun_again(b: Bench) {
    let tenant = with_ann(&b).await;
    let t = b.begun(tenant).await;
    // An answer at this instant would be too late.
    let new = again(&t, 60_000);
    assert!(b.store.begin_transaction(&new, &event(tenant)).await.unwrap());
    assert_in_place(&b, &t, &new).await;
}

async fn a_refused_transaction_is_begun_again(b: Bench) {
    let tenant = with_ann(&b).await;
    b.store.begin_registration(&user(tenant, "bob"), &ceremony(tenant, "bob"), &event(tenant)).await.unwrap();
    let t = b.begun(tenant).await;
    assert!(b.store.refuse_transaction(tenant, t.row, &t.challenge, at(10), &event(tenant)).await.unwrap());
    let new = NewTransaction { user_id: "bob".parse().unwrap(), ..again(&t, 20) };
    assert!(b.store.begin_transaction(&new, &event(tenant)).await.unwrap());
    assert_in_place(&b, &t, &new).await;
}

async fn a_confirmed_transaction_is_never_begun_again(b: Bench) {
    let (tenant, key, n) = b.in_use().await;
    let t = b.begun(tenant.id).await;
    let committed = b.store.commit_authentication(&confirmation(&key, &n, 8, &t)).await.unwrap();
    assert_eq!(committed, AuthenticationCommit::Committed);
    for begun in [20, 60_000, i64::from(u32::MAX)] {
        assert!(!b.store.begin_transaction(&again(&t, begun), &event(tenant.id)).await.unwrap());
    }
    assert_same(&b.store.transaction(tenant.id, &t.challenge).await.unwrap().unwrap().begun, &t);
}

async fn a_transaction_is_of_a_user_that_is_there(b: Bench) {
    let tenant = with_ann(&b).await;
    let stranger = NewTransaction { user_id: "bob".parse().unwrap(), ..transaction(tenant, "t") };
    let e = event(tenant);
    let failed = b.store.begin_transaction(&stranger, &e).await;
    assert!(matches!(failed, Err(Error::Database(_))), "{failed:?}");
    assert!(b.store.audit_event(tenant, e.id).await.unwrap().is_none());
    assert_eq!(b.count("transactions").await, 0);
}

async fn what_fails_half_way_begins_nothing(b: Bench) {
    let tenant = with_ann(&b).await;
    let (t, taken) = (b.begun(tenant).await, event(tenant));
    b.store.append_audit(&taken).await.unwrap();
    for t in [transaction(tenant, "other"), again(&t, 60_000)] {
        let failed = b.store.begin_transaction(&t, &taken).await;
        assert!(matches!(failed, Err(Error::Conflict)), "{failed:?}");
        assert!(b.store.transaction(tenant, &t.challenge).await.unwrap().is_none());
    }
    assert_same(&b.store.transaction(tenant, &t.challenge).await.unwrap().unwrap().begun, &t);
    assert!(b.store.refuse_transaction(tenant, t.row, &t.challenge, at(1), &taken).await.is_err());
    assert_eq!(b.store.transaction(tenant, &t.challenge).await.unwrap().unwrap().state, State::Pending);
}

async fn a_refusal_is_of_the_challenge_that_it_names(b: Bench) {
    let (tenant, foreign) = (with_ann(&b).await, with_ann(&b).await);
    let (t, other) = (b.begun(tenant).await, b.begun(tenant).await);
    for (tenant, row, challenge) in [(tenant, t.row, &other.challenge), (tenant, other.row, &t.challenge), (foreign, t.row, &t.challenge)] {
        let e = event(tenant);
        assert!(!b.store.refuse_transaction(tenant, row, challenge, at(10), &e).await.unwrap());
        assert!(b.store.audit_event(tenant, e.id).await.unwrap().is_some(), "the attempt is told");
    }
    assert_eq!(b.count("transactions WHERE state = 'pending'").await, 2);
    let (first, second) = (event(tenant), event(tenant));
    assert!(b.store.refuse_transaction(tenant, t.row, &t.challenge, at(10), &first).await.unwrap());
    assert!(!b.store.refuse_transaction(tenant, t.row, &t.challenge, at(20), &second).await.unwrap());
    let stored = b.store.transaction(tenant, &t.challenge).await.unwrap().unwrap();
    assert_eq!((stored.state, stored.updated_at, stored.confirmation), (State::Refused, at(10), None));
    for e in [first, second] {
        assert!(b.store.audit_event(tenant, e.id).await.unwrap().is_some());
    }
}

async fn a_users_transactions_are_listed_newest_first(b: Bench) {
    let (tenant, key, n) = b.in_use().await;
    let (ann, bob) = ("ann".parse().unwrap(), "bob".parse().unwrap());
    b.store.begin_registration(&user(tenant.id, "bob"), &ceremony(tenant.id, "bob"), &event(tenant.id)).await.unwrap();
    let mut begun = Vec::new();
    for age in [3, 1, 4, 2] {
        let t = NewTransaction { created_at: at(age), ..transaction(tenant.id, &age.to_string()) };
        assert!(b.store.begin_transaction(&t, &event(tenant.id)).await.unwrap());
        begun.push(t);
    }
    let theirs = NewTransaction { user_id: "bob".parse().unwrap(), ..transaction(tenant.id, "bob's") };
    assert!(b.store.begin_transaction(&theirs, &event(tenant.id)).await.unwrap());
    let committed = b.store.commit_authentication(&confirmation(&key, &n, 8, &begun[2])).await.unwrap();
    assert_eq!(committed, AuthenticationCommit::Committed);

    let listed = b.store.user_transactions(tenant.id, &ann, 9, u32::MAX).await.unwrap();
    assert_eq!(listed.iter().map(|t| t.begun.id.as_str()).collect::<Vec<_>>(), ["4", "3", "2", "1"]);
    assert_eq!(listed.iter().filter(|t| t.confirmation.is_some()).count(), 1);
    assert!(listed[0].confirmation.is_some());
    assert_eq!(b.store.user_transactions(tenant.id, &ann, 2, u32::MAX).await.unwrap().len(), 2);
    // And no more of them than have so much data, however short the list.
    let sizes: Vec<_> = listed.iter().map(|t| u32::try_from(t.begun.data.as_str().chars().count()).unwrap()).collect();
    for (size, count) in [(0, 0), (sizes[0], 1), (sizes[0] + sizes[1] - 1, 1), (sizes[0] + sizes[1], 2), (sizes.iter().sum(), 4)] {
        assert_eq!(b.store.user_transactions(tenant.id, &ann, 9, size).await.unwrap().len(), count, "{size}");
    }
    assert_eq!(b.store.user_transactions(tenant.id, &bob, 9, u32::MAX).await.unwrap().len(), 1);
    assert!(b.store.user_transactions(TenantId::random(&SystemRng), &ann, 9, u32::MAX).await.unwrap().is_empty());
}

async fn the_index_serves_the_listing(b: Bench) {
    let sql = "SELECT data FROM transactions WHERE tenant_id = 'x' AND user_id = 'ann' ORDER BY created_at DESC, id DESC LIMIT 20";
    let plan = b.plan(sql).await;
    assert!(plan.contains("transactions_by_user") && !plan.contains("TEMP B-TREE") && !plan.contains("Sort"), "{plan}");
}

async fn evidence_comes_back_byte_by_byte(b: Bench) {
    let ((tenant, key, n), (other, ..)) = (b.in_use().await, b.in_use().await);
    let t = b.begun(tenant.id).await;
    let unit = confirmation(&key, &n, 8, &t);
    assert_eq!(b.store.commit_authentication(&unit).await.unwrap(), AuthenticationCommit::Committed);
    let (stored, evidence) = b.store.transaction_evidence(tenant.id, None, 9).await.unwrap().remove(0);
    assert_same(&stored, &b.store.transaction(tenant.id, &t.challenge).await.unwrap().unwrap());
    assert!(evidence == authentication_evidence(n.id), "{evidence:?}");
    assert!(b.store.transaction_evidence(other.id, None, 9).await.unwrap().is_empty());
}

async fn evidence_outlives_the_credential(b: Bench) {
    let (tenant, key, n) = b.in_use().await;
    let t = b.begun(tenant.id).await;
    assert_eq!(b.store.commit_authentication(&confirmation(&key, &n, 8, &t)).await.unwrap(), AuthenticationCommit::Committed);
    assert!(b.store.delete_credential(tenant.id, &n.id, &event(tenant.id)).await.unwrap());
    let (stored, evidence) = b.store.transaction_evidence(tenant.id, None, 9).await.unwrap().remove(0);
    assert_eq!((stored.confirmation.unwrap().credential_id, stored.state), (n.id.clone(), State::Confirmed));
    assert!(evidence == authentication_evidence(n.id));
}

async fn evidence_comes_in_pages(b: Bench) {
    let (tenant, key, n) = b.in_use().await;
    let mut rows = Vec::new();
    for count in 0..5 {
        let t = b.begun(tenant.id).await;
        assert_eq!(b.store.commit_authentication(&confirmation(&key, &n, 8 + count, &t)).await.unwrap(), AuthenticationCommit::Committed);
        rows.push(t.row);
        // Under way, and so without evidence.
        b.begun(tenant.id).await;
    }
    rows.sort();
    let (mut after, mut seen) = (None, Vec::new());
    loop {
        let page = b.store.transaction_evidence(tenant.id, after, 2).await.unwrap();
        assert!(page.len() <= 2);
        let Some((last, _)) = page.last() else { break };
        after = Some(last.begun.row);
        seen.extend(page.iter().map(|(t, _)| t.begun.row));
    }
    assert_eq!(seen, rows);
    assert_eq!(transaction(tenant.id, "t").expires_at, at(0) + Duration::from_mins(1));
}
