//! The server dies between the database and the token: what is left is named, and finished, and nothing is doubled.

use std::os::unix::process::ExitStatusExt as _;

use passkey_hsm::domain::KeyState;
use serde_json::Value;

use super::{one_in, operator, pairs, until};
use crate::support::server::{Server, ServerSpec, TenantSpec, text};

/// A server that dies where it is told to, and its tenant.
async fn dying(point: &str) -> Server {
    let env = vec![("PASSKEY_HSM_FAILPOINT".to_owned(), point.to_owned())];
    let server =
        Server::start(ServerSpec { env, scheduler: true, keys: vec!["follow_ms = 100".to_owned()], ..ServerSpec::default() }).await;
    server.create_tenant(&TenantSpec::default());
    server
}

/// What `doctor` advises on keys.
fn advice(server: &Server) -> Vec<String> {
    let done = server.cli(&["--json", "doctor"]);
    let findings: Vec<Value> = serde_json::from_slice(&done.stdout).unwrap_or_else(|e| panic!("{e}: {}", text(&done)));
    let bad = findings.into_iter().filter(|f| f["name"] == "keys" && f["ok"] == false);
    bad.map(|f| f["advice"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_making_of_a_key_dies_at_every_step_and_is_finished() {
    for (point, is_cut_short) in [
        ("key.intent_written", true),
        ("key.generated", true),
        ("storage.before_commit.complete_key", true),
        ("storage.after_commit.complete_key", false),
        ("key.completed", false),
    ] {
        let mut server = dying(point).await;
        assert_eq!(server.wait().signal(), Some(9), "{point}");
        let store = server.store().await;
        let intent = one_in(&store, KeyState::Pending).await;
        let advised = advice(&server);
        let resume = format!("key generate --resume {}", intent.id);
        assert_eq!(advised.iter().any(|advice| advice.contains(&resume)), is_cut_short, "{point}: {advised:?}");
        // Whoever wrote it may be waiting for a slow token: only later is it left behind.
        server.execute("UPDATE signing_keys SET created_at = created_at - 100000 WHERE state = 'pending'").await;
        server.restart().await;
        let standby = one_in(&store, KeyState::Published).await;
        assert_eq!(standby.id, intent.id, "{point}");
        let active = one_in(&store, KeyState::Active).await;
        assert_eq!(pairs(&server, &[standby.id, active.id]), 2, "{point}");
        assert_eq!(advice(&server), [""; 0], "{point}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_finishes_what_was_cut_short_at_once() {
    let mut server = dying("key.generated").await;
    assert_eq!(server.wait().signal(), Some(9));
    let (operator, store) = (operator(&server).await, server.store().await);
    let intent = one_in(&store, KeyState::Pending).await;
    let resumed = operator.keys.resume_generation(intent.id, &super::by("doctor says so")).await.unwrap();
    assert!(resumed.public_key.is_some() && resumed.evidence.is_some());
    assert_eq!(operator.keys.resume_generation(intent.id, &super::by("twice")).await.unwrap().public_key, resumed.public_key);
    assert_eq!(pairs(&server, &[intent.id]), 1);
    // Or gives it up.
    let destroyed = operator.keys.destroy(intent.id, &super::by("not wanted")).await.unwrap();
    assert_eq!((destroyed.state, pairs(&server, &[intent.id])), (KeyState::Destroyed, 0));
    assert!(operator.keys.resume_generation(intent.id, &super::by("too late")).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_a_key_dies_at_every_step_and_is_finished() {
    for (point, is_gone) in [("key.destruction_begun", false), ("key.destroyed_on_token", true)] {
        let mut server = dying(point).await;
        let store = server.store().await;
        let standby = one_in(&store, KeyState::Published).await;
        server
            .execute("UPDATE signing_keys SET state = 'retired', withdrawn_at = 1, keep_private_until = 1 WHERE state = 'published'")
            .await;
        assert_eq!(server.wait().signal(), Some(9), "{point}");
        assert_eq!(pairs(&server, &[standby.id]), usize::from(!is_gone), "{point}");
        let advised = advice(&server);
        let destroy = format!("key destroy {}", standby.id);
        assert!(advised.iter().any(|advice| advice.contains(&destroy)), "{point}: {advised:?}");
        server.restart().await;
        let ended =
            until("the end", async || store.signing_key(standby.id).await.unwrap().filter(|k| k.private_destroyed_at.is_some())).await;
        assert_eq!((ended.state, pairs(&server, &[standby.id])), (KeyState::Retired, 0), "{point}");
        assert_eq!(advice(&server), [""; 0], "{point}");
    }
}
