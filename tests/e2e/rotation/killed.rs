//! `kill -9` of either server at each step that a key takes. Needs the `failpoints` feature.

use std::time::{Duration, Instant};

use futures::future::join_all;
use passkey_hsm::domain::{KeyState, SigningKey};
use rustix::process::Signal;

use super::{PATIENCE, Scene, database, in_state, load, policy, scene};

const FAILPOINT: &str = "PASSKEY_HSM_FAILPOINT";

/// Where the server that does what is due dies, from the intent to the end of a private half.
const BIRTH: [&str; 5] = [
    "key.intent_written",
    "key.generated",
    "storage.before_commit.complete_signing_key",
    "storage.before_commit.publish_key",
    "storage.after_commit.publish_key",
];
const LIFE: [&str; 4] = [
    "storage.before_commit.activate_key",
    "storage.after_commit.activate_key",
    "storage.before_commit.withdraw_key",
    "storage.after_commit.withdraw_key",
];
const END: [&str; 4] = [
    "key.destruction_begun",
    "key.destroyed_on_token",
    "storage.before_commit.finish_destruction",
    "storage.after_commit.finish_destruction",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_birth_of_a_key_is_finished_by_the_other_server() {
    join_all(BIRTH.map(the_scheduler_dies)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_is_finished_by_the_other_server() {
    join_all(LIFE.map(the_scheduler_dies)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_a_private_half_is_finished_by_the_other_server() {
    join_all(END.map(the_scheduler_dies)).await;
}

async fn the_scheduler_dies(point: &str) {
    let scene = scene(database().await, None, vec![(FAILPOINT.to_owned(), point.to_owned())]).await;
    scene.set_policy(&policy());
    let started = Instant::now();
    while !load::is_dead(scene.first.pid()) {
        assert!(started.elapsed() < PATIENCE, "{point} was never reached\n{}", scene.first.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    a_life_ends(scene, point).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_dies_between_publication_and_use_is_waited_for_and_no_longer() {
    let scene = scene(database().await, None, Vec::new()).await;
    scene.set_policy(&policy());
    scene.until("a standby", |keys| in_state(keys, KeyState::Published) == 1).await;
    scene.second.signal(Signal::KILL);
    a_life_ends(scene, "between publication and use").await;
}

/// The tenant's first key comes to its end, another one signs, and nothing is on the token that should not be.
async fn a_life_ends(scene: Scene, point: &str) {
    let ended = |key: &SigningKey| key.withdrawn_at.is_some() && key.private_destroyed_at.is_some() && key.deactivated_at.is_some();
    scene.until(&format!("{point}: a key at its end"), |keys| keys.iter().any(ended)).await;
    scene.until(&format!("{point}: a key that signs"), |keys| in_state(keys, KeyState::Active) == 1).await;
    as_many_on_the_token(&scene, point).await;
    scene.end(1).await;
}

/// A private key for each row that has one, and the two of the deployment: the health key and the root key.
async fn as_many_on_the_token(scene: &Scene, point: &str) {
    let started = Instant::now();
    loop {
        let known = async || scene.keys().await.iter().filter(|key| key.public_key.is_some() && key.private_destroyed_at.is_none()).count();
        let before = known().await;
        let listed = scene.first.folder.tool(&["--login", "--pin", "env:PIN", "--list-objects", "--type", "privkey"], "");
        let found = listed.matches("Private Key Object").count();
        if found == before + 2 && known().await == before {
            return;
        }
        // A key that is being made, or destroyed, is on one side only.
        assert!(started.elapsed() < PATIENCE, "{point}: {found} private keys on the token, {before} in the database:\n{listed}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
