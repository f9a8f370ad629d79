//! The HSM's activation: approved first, then done once by who asked, who has the PIN.

use serde_json::json;

use super::{Council, approval, decide, requested, undecided};
use crate::signing_keys::text;

#[tokio::test]
async fn an_activation_is_approved_and_done_once_by_who_asked() {
    let council = Council::sqlite().await;
    let Council { server, alice, bob, carol, .. } = &council;
    let down = requested(&alice.post("/hsm/deactivate", "{}").await);
    assert_eq!(text(&decide(bob, &down, "approve").await.json(), "state"), "done");
    assert_eq!(text(&alice.get("/hsm").await.json(), "activation"), "deactivated");

    let asked = alice.post("/hsm/activate", json!({"pin": server.pin.as_str()}).to_string()).await;
    let id = requested(&asked);
    assert!(!asked.body.contains(&server.pin), "a request has no PIN");
    let activate = async |api: &crate::support::api::Api, id: &str| api.post("/hsm/activate", json!({"approval": id}).to_string()).await;
    assert_eq!(undecided(&activate(alice, &id).await), "it waits for a second administrator");
    let granted = decide(bob, &id, "approve").await.json();
    assert_eq!((text(&granted, "state"), &granted["result"]), ("approved".to_owned(), &json!(null)));
    assert!(undecided(&decide(bob, &id, "approve").await).starts_with("it was approved by admin bob ("));
    assert_eq!(undecided(&activate(carol, &id).await), "it was asked for by another administrator");
    assert!(undecided(&activate(alice, &down).await).ends_with("is for another act: deactivate_hsm"));
    activate(alice, "7a1a0c3e-9f0e-4f0e-8c1e-0123456789ab").await.problem(404, "there is no approval 7a1a0c3e-9f0e-4f0e-8c1e-0123456789ab");
    let up = activate(alice, &id).await;
    assert_eq!((up.status, text(&up.json(), "activation")), (200, "automatic".to_owned()), "{}", up.body);
    assert_eq!(text(&approval(alice, &id).await, "outcome"), "the HSM was activated");
    assert!(undecided(&activate(alice, &id).await).starts_with("it is done: "));
    assert_eq!(server.count(&format!("approvals WHERE act LIKE '%{}%'", server.pin)).await, 0);
    assert!(!server.log().contains(&server.pin));
}
