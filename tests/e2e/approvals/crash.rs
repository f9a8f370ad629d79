//! The server dies between an approval and what follows from it.

use std::os::unix::process::ExitStatusExt as _;

use reqwest::Method;
use serde_json::json;

use super::{Council, approval, decide, requested, undecided};
use crate::{
    signing_keys::{PUBLICATION, published, rotate, state, text},
    support::postgres,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_cut_short_is_finished_once_on_sqlite() {
    what_was_cut_short_is_finished_once(None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_cut_short_is_finished_once_on_postgres() {
    what_was_cut_short_is_finished_once(Some(postgres::Server::shared())).await;
}

async fn what_was_cut_short_is_finished_once(postgres: Option<&postgres::Server>) {
    for (point, was_done) in [("approval.approved", false), ("approval.act_done", true)] {
        let database = match postgres {
            Some(postgres) => Some(postgres.empty_database().await),
            None => None,
        };
        let mut council = Council::meet(database, &[("PASSKEY_HSM_FAILPOINT", point)]).await;
        let standby = published(&council.alice, &council.tenant).await;
        tokio::time::sleep(PUBLICATION).await;
        let id = requested(&rotate(&council.alice, &council.tenant, json!({"emergency": true})).await);
        let posted = council.bob.request(Method::POST, &format!("/approvals/{id}/approve")).json(&json!({})).send().await;
        assert!(posted.is_err(), "{point}: {posted:?}");
        assert_eq!(council.server.wait().signal(), Some(9), "{point}");

        council.again().await;
        let Council { alice, bob, carol, .. } = &council;
        assert_eq!(text(&approval(alice, &id).await, "state"), "approved", "{point}");
        assert_eq!(state(alice, &standby).await, if was_done { "active" } else { "published" }, "{point}");
        let why = undecided(&decide(carol, &id, "approve").await);
        assert!(why.starts_with("it was approved by admin bob (") && why.ends_with("who can finish it"), "{why}");
        let finished = decide(bob, &id, "approve").await;
        assert_eq!((finished.status, text(&finished.json(), "state")), (200, "done".to_owned()), "{point}: {}", finished.body);
        assert_eq!(state(alice, &standby).await, "active", "{point}");
        for event_type in ["approval_granted", "signing_key_activated", "approved_act_done"] {
            assert_eq!(council.events(event_type).await, 1, "{point}: {event_type}");
        }
    }
}
