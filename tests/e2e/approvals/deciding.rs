//! Who decides, until when, and what follows.

use futures::future::join_all;
use serde_json::json;

use super::{Council, appointed, approval, decide, requested, undecided};
use crate::signing_keys::{PUBLICATION, act, published, refused, rotate, state, text};

#[tokio::test]
async fn another_administrator_approves_and_it_is_done() {
    let council = Council::sqlite().await;
    let Council { server, alice, bob, carol, tenant } = &council;
    let id = council.compromise().await;
    assert_eq!(undecided(&decide(alice, &id, "approve").await), "nobody approves their own requests");
    let auditor = appointed(server, alice, "erin", "auditor", &[]).await;
    decide(&auditor, &id, "approve").await.problem(403, "Forbidden");
    let dora = appointed(server, alice, "dora", "tenant-admin", &[&tenant.id]).await;
    decide(&dora, &id, "approve").await.problem(403, "Forbidden");
    decide(&server.local_api(), &id, "approve").await.problem(403, "Forbidden");
    assert_eq!(state(alice, &tenant.kid).await, "active");

    let done = decide(bob, &id, "approve").await;
    assert_eq!(done.status, 200, "{}", done.body);
    let done = done.json();
    assert_eq!((text(&done, "state"), text(&done["result"]["key"], "state")), ("done".to_owned(), "compromised".to_owned()));
    assert!(text(&done, "decided_by").starts_with("admin bob (") && text(&done, "outcome").contains("is compromised now"), "{done}");
    assert_eq!(state(alice, &tenant.kid).await, "compromised");
    for (api, decision) in [(bob, "approve"), (carol, "approve"), (bob, "reject"), (alice, "reject")] {
        assert!(undecided(&decide(api, &id, decision).await).starts_with("it is done: key "), "{decision}");
    }

    // Both are in the tenant's log: who did it, and who let it be done.
    let store = server.store().await;
    let events = store.audit_events(tenant.id.parse().unwrap(), 100).await.unwrap();
    let of = |event_type: &str| events.iter().find(|e| e.event_type.as_str() == event_type).unwrap_or_else(|| panic!("no {event_type}"));
    let told = |event_type: &str, who: &str, why: &[&str]| {
        let event = of(event_type);
        assert!(event.actor.as_ref().unwrap().starts_with(&format!("admin {who} (")), "{event:?}");
        assert_eq!(event.key_id.unwrap().to_string(), tenant.kid);
        let reason = event.reason.as_ref().unwrap();
        assert!(why.iter().all(|part| reason.contains(part)), "{event:?}");
    };
    told("approval_requested", "alice", &[&id, "compromise_key", "leaked"]);
    told("approval_granted", "bob", &[&id, "compromise_key"]);
    told("signing_key_compromised", "alice", &[&id, "leaked", "approved by admin bob ("]);
    told("approved_act_done", "alice", &[&id, "approved by admin bob ("]);
}

#[tokio::test]
async fn a_request_is_rejected_or_taken_back() {
    let council = Council::sqlite().await;
    let Council { alice, bob, tenant, .. } = &council;
    let id = council.compromise().await;
    let rejected = bob.post(&format!("/approvals/{id}/reject"), r#"{"reason": "it did not"}"#).await.json();
    assert_eq!((text(&rejected, "state"), text(&rejected, "outcome")), ("rejected".to_owned(), "rejected: it did not".to_owned()));
    assert!(undecided(&decide(bob, &id, "approve").await).starts_with("it was rejected by admin bob ("));
    let id = council.compromise().await;
    let taken_back = decide(alice, &id, "reject").await.json();
    assert_eq!((text(&taken_back, "outcome"), &taken_back["decided_by"]), ("taken back".to_owned(), &json!(null)), "{taken_back}");
    assert_eq!(undecided(&decide(bob, &id, "approve").await), "it was rejected by who asked for it");
    assert_eq!(state(alice, &tenant.kid).await, "active");
    assert_eq!(council.events("approval_rejected").await, 2);
}

#[tokio::test]
async fn what_was_not_decided_in_time_is_not_decided() {
    let council = Council::sqlite().await;
    let Council { server, alice, bob, tenant, .. } = &council;
    let id = council.compromise().await;
    assert_eq!(server.execute("UPDATE approvals SET expires_at = requested_at + 1").await, 1);
    for (api, decision) in [(bob, "approve"), (bob, "reject"), (alice, "reject")] {
        let why = undecided(&decide(api, &id, decision).await);
        assert!(why.starts_with("its time was over at ") && why.ends_with(": ask again"), "{why}");
    }
    assert_eq!(text(&approval(alice, &id).await, "state"), "expired");
    let expired = alice.get("/approvals?state=expired").await.json();
    assert_eq!((text(&expired[0], "id"), text(&expired[0], "state")), (id, "expired".to_owned()));
    assert_eq!(alice.get("/approvals?state=pending").await.json(), json!([]));
    assert_eq!(state(alice, &tenant.kid).await, "active");
    // It is in nobody's way.
    council.compromise().await;
}

#[tokio::test]
async fn who_is_revoked_has_asked_for_nothing() {
    let council = Council::sqlite().await;
    let Council { server, alice, bob, carol, tenant } = &council;
    let id = requested(&act(carol, &tenant.kid, "compromise", json!({})).await);
    server.execute("UPDATE admins SET revoked_at = 1 WHERE name = 'carol'").await;
    let why = undecided(&decide(bob, &id, "approve").await);
    assert!(why.starts_with("admin carol ("), "{why}");
    assert_eq!(text(&approval(alice, &id).await, "state"), "pending");
    assert_eq!(decide(bob, &id, "reject").await.status, 200);
    assert_eq!(state(alice, &tenant.kid).await, "active");
}

#[tokio::test]
async fn an_act_that_is_refused_has_failed() {
    let council = Council::sqlite().await;
    let Council { alice, bob, tenant, .. } = &council;
    let id = requested(&act(alice, &tenant.kid, "destroy", json!({})).await);
    refused(&decide(bob, &id, "approve").await, "successor");
    let failed = approval(alice, &id).await;
    assert!(text(&failed, "outcome").starts_with("successor: "), "{failed}");
    assert_eq!(text(&failed, "state"), "failed");
    assert!(undecided(&decide(bob, &id, "approve").await).starts_with("it is failed: successor: "));
    assert_eq!((council.events("approval_granted").await, council.events("approved_act_failed").await), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_approvals_one_counts_on_sqlite() {
    of_many_approvals_one_counts(Council::sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_approvals_one_counts_on_postgres() {
    of_many_approvals_one_counts(Council::postgres().await).await;
}

async fn of_many_approvals_one_counts(council: Council) {
    let Council { server, alice, bob, carol, tenant } = &council;
    let standby = published(alice, tenant).await;
    tokio::time::sleep(PUBLICATION).await;
    let id = requested(&rotate(alice, tenant, json!({"emergency": true})).await);
    let beside = server.beside().await;
    let elsewhere = [bob, carol].map(|api| beside.admin_api().with_token(api.token()));
    let callers = [bob, carol, &elsewhere[0], &elsewhere[1]];
    let answers = join_all((0..16).map(|n| decide(callers[n % 4], &id, "approve"))).await;
    let done = answers.iter().filter(|answer| answer.status == 200).count();
    assert!(done >= 1 && answers.iter().all(|answer| [200, 409].contains(&answer.status)), "{answers:?}");
    assert_eq!((text(&approval(alice, &id).await, "state"), state(alice, &standby).await), ("done".to_owned(), "active".to_owned()));
    for event_type in ["approval_granted", "signing_key_activated", "approved_act_done"] {
        assert_eq!(council.events(event_type).await, 1, "{event_type}: {answers:?}");
    }
}
