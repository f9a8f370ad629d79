//! What waits, and what does not.

use serde_json::json;

use super::{Council, appointed, approval, requested};
use crate::signing_keys::{act, published, rotate, state, text};

#[tokio::test]
async fn each_act_that_ends_something_waits() {
    let council = Council::sqlite().await;
    let Council { server, alice, tenant, .. } = &council;
    let standby = published(alice, tenant).await;
    let kid = &tenant.kid;
    for (name, answer) in [
        ("destroy_key", act(alice, kid, "destroy", json!({})).await),
        ("compromise_key", act(alice, kid, "compromise", json!({"accept_exposure": true, "reason": "leaked"})).await),
        ("rotate_emergency", rotate(alice, tenant, json!({"emergency": true})).await),
        ("activate_exposed", act(alice, &standby, "activate", json!({"accept_exposure": true})).await),
        ("deactivate_hsm", alice.post("/hsm/deactivate", "{}").await),
        ("activate_hsm", alice.post("/hsm/activate", "{}").await),
    ] {
        let id = requested(&answer);
        let waiting = approval(alice, &id).await;
        assert_eq!((text(&waiting, "act"), text(&waiting, "state")), (name.to_owned(), "pending".to_owned()));
        assert_eq!(text(&waiting["request"], "act"), name);
        assert!(text(&waiting, "requested_by").starts_with("admin alice ("), "{waiting}");
        assert!(waiting["decided_by"].is_null() && waiting["outcome"].is_null(), "{waiting}");
    }
    assert_eq!((state(alice, kid).await, state(alice, &standby).await), ("active".to_owned(), "published".to_owned()));
    assert_eq!(alice.get("/hsm").await.json()["activation"], "automatic");

    // In whatever manner: one request for an act on a thing waits at a time.
    let again = act(&council.carol, kid, "compromise", json!({})).await;
    assert_eq!(again.status, 409, "{}", again.body);
    assert!(text(&again.json(), "title").ends_with(" waits for the same act already"), "{}", again.body);
    requested(&act(alice, &standby, "compromise", json!({})).await);
    assert_eq!(alice.get("/approvals?state=pending").await.header("X-Total-Count"), "7");
    assert_eq!(alice.get("/approvals?per_page=2&page=4").await.json().as_array().unwrap().len(), 1);
    alice.get("/approvals?state=lost").await.problem(400, "unable to validate request");

    // Who is nobody with a name asks for nothing.
    act(&server.local_api(), kid, "destroy", json!({})).await.problem(403, "Forbidden");
    // What is not there is not waited for.
    let nobodys = "7a1a0c3e-9f0e-4f0e-8c1e-0123456789ab";
    act(alice, nobodys, "destroy", json!({})).await.problem(404, &format!("there is no signing key {nobodys}"));
    alice.get(&format!("/approvals/{nobodys}")).await.problem(404, &format!("there is no approval {nobodys}"));
    alice.get("/approvals/x").await.problem(404, "there is no approval x");
}

#[tokio::test]
async fn what_can_be_undone_does_not_wait() {
    let council = Council::sqlite().await;
    let Council { server, alice, tenant, .. } = &council;
    let planned = rotate(alice, tenant, json!({})).await;
    assert_eq!((planned.status, text(&planned.json(), "rotation")), (200, "planned".to_owned()), "{}", planned.body);
    let suspended = act(alice, &tenant.kid, "suspend", json!({})).await;
    assert_eq!((suspended.status, text(&suspended.json(), "state")), (200, "suspended".to_owned()), "{}", suspended.body);
    assert_eq!(act(alice, &tenant.kid, "resume", json!({})).await.status, 200);
    assert_eq!(server.count("approvals").await, 0);

    // A tenant's own administrator asks, and can take it back.
    let dora = appointed(server, alice, "dora", "tenant-admin", &[&tenant.id]).await;
    let id = requested(&rotate(&dora, tenant, json!({"emergency": true})).await);
    dora.get("/approvals").await.problem(403, "Forbidden");
    let taken_back = super::decide(&dora, &id, "reject").await;
    assert_eq!((taken_back.status, text(&taken_back.json(), "state")), (200, "rejected".to_owned()), "{}", taken_back.body);
    let id = council.compromise().await;
    super::decide(&dora, &id, "reject").await.problem(403, "Forbidden");
}
