//! A server that is alive and cannot do its part: it is stopped, or cannot reach the database.

use std::time::{Duration, Instant};

use passkey_hsm::{domain::KeyState, services::REPLICA_LEASE};
use rustix::process::Signal;

use super::{Scene, database, in_state, policy, scene};
use crate::{
    lost_replies::{Cut, Proxy},
    support::{postgres, server::text},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_key_is_activated_before_a_server_that_stands_still_is_given_up() {
    let scene = scene(database().await, None, Vec::new(), Vec::new()).await;
    // What it had begun may come to nothing: its patience with the database goes on while it stands still.
    scene.load.excuse(Some(scene.second.pid()));
    scene.second.signal(Signal::STOP);
    let stopped = Instant::now();
    scene.set_policy(&policy());
    scene.until("a standby", |keys| in_state(keys, KeyState::Published) == 1).await;
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    let standby = scene.keys().await.remove(1);
    let refused = scene.first.cli(&["key", "activate", &standby.id.to_string(), "--yes"]);
    assert!(!refused.status.success() && text(&refused).contains("replicas: "), "{}", text(&refused));
    scene.until("the standby signs", |keys| keys.iter().any(|key| key.predecessor.is_some())).await;
    let waited = stopped.elapsed();
    // It said that it was there a second or so before it was stopped.
    assert!(waited + Duration::from_secs(3) > REPLICA_LEASE, "a key was activated after {waited:?}");
    let keys = scene.keys().await;
    let (old, new) = (&keys[0], keys.iter().find(|key| key.predecessor.is_some()).unwrap());
    let (due, usable, signs) = (old.rotate_from.unwrap(), new.usable_from.unwrap(), new.activated_at.unwrap());
    assert!(signs.as_millis() > due.as_millis().max(usable.as_millis()), "due {due}, usable {usable}, signs {signs}");
    scene.second.signal(Signal::CONT);
    tokio::time::sleep(Duration::from_secs(2)).await;
    scene.load.excuse(None);
    scene.end(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_the_database_activates_nothing_and_the_other_one_does() {
    let direct = database().await;
    let proxy = Proxy::before(&direct);
    let scene = scene(direct.clone(), Some(proxy.url(&direct)), Vec::new(), Vec::new()).await;
    scene.set_policy(&policy());
    scene.until("a standby", |keys| in_state(keys, KeyState::Published) == 1).await;
    scene.load.excuse(Some(scene.first.pid()));
    proxy.set(Cut::Closed);
    scene.until("the standby signs", |keys| keys.iter().any(|key| key.predecessor.is_some())).await;
    assert_eq!(activations_by(&scene, scene.first.pid(), &direct).await, 0);
    assert!(activations_by(&scene, scene.second.pid(), &direct).await > 0);
    proxy.set(Cut::Never);
    // It comes back to a world in which another key signs.
    scene.until("the next rotation", |keys| keys.iter().filter(|key| key.predecessor.is_some()).count() > 1).await;
    scene.load.excuse(None);
    scene.end(2).await;
}

/// How many keys the scheduler of this process has activated.
async fn activations_by(scene: &Scene, pid: u32, database: &str) -> i64 {
    let mut conn = postgres::Server::connect(database).await;
    let counted = sqlx::query_scalar(
        "SELECT count(*) FROM audit_events WHERE event_type = 'signing_key_activated' AND tenant_id = $2
         AND actor = 'scheduler of ' || (SELECT CAST(id AS text) FROM replicas WHERE pid = $1)",
    );
    let tenant: uuid::Uuid = scene.tenant.id.parse().unwrap();
    counted.bind(i64::from(pid)).bind(tenant).fetch_one(&mut conn).await.unwrap()
}
