//! `kill -9` of either server at each step that a key takes. Needs the `failpoints` feature.

use std::time::{Duration, Instant};

use passkey_hsm::domain::{KeyState, SigningKey};
use rustix::process::Signal;
use tokio::task::JoinSet;

use super::{PATIENCE, Scene, database, in_state, load, policy, scene};
use crate::support::postgres;

const FAILPOINT: &str = "PASSKEY_HSM_FAILPOINT";

/// Where the server that does what is due dies, from the intent to the end of a private half.
const BIRTH: [&str; 5] = [
    "key.intent_written",
    "key.generated",
    "storage.before_commit.complete_key",
    "storage.before_commit.key_publish",
    "storage.after_commit.key_publish",
];
const LIFE: [&str; 4] = [
    "storage.before_commit.key_activate",
    "storage.after_commit.key_activate",
    "storage.before_commit.key_withdraw",
    "storage.after_commit.key_withdraw",
];
const END: [&str; 4] = [
    "key.destruction_begun",
    "key.destroyed_on_token",
    "storage.before_commit.key_finish_destruction",
    "storage.after_commit.key_finish_destruction",
];

/// At each of them, in a deployment of its own, all at the same time: what takes long is waiting.
#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn the_scheduler_dies_at_every_step_and_another_server_goes_on() {
    let mut scenes = JoinSet::new();
    for point in BIRTH.into_iter().chain(LIFE).chain(END) {
        scenes.spawn(the_scheduler_dies(point));
    }
    scenes.join_all().await;
}

/// The first server does what is due and dies at the point; the second one serves; a third one finishes.
async fn the_scheduler_dies(point: &'static str) {
    let env = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
    let scene = scene(database().await, None, env(FAILPOINT, point), env("PASSKEY_HSM_KEYS__SCHEDULER", "off")).await;
    scene.set_policy(&policy());
    let started = Instant::now();
    while !load::is_dead(scene.first.pid()) {
        assert!(started.elapsed() < PATIENCE, "{point} was never reached\n{}", scene.first.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let third = scene.first.beside_with(Vec::new()).await;
    a_life_ends(scene, point).await;
    drop(third);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whichever_server_is_killed_between_publication_and_use_the_other_one_goes_on() {
    tokio::join!(one_is_killed(true), one_is_killed(false));
}

/// The one that does what is due, or the other one: which keeps keys from being activated until it is given up.
async fn one_is_killed(busy: bool) {
    let url = database().await;
    let scene = scene(url.clone(), None, Vec::new(), Vec::new()).await;
    scene.set_policy(&policy());
    scene.until("a standby", |keys| in_state(keys, KeyState::Published) == 1).await;
    let mut conn = postgres::Server::connect(&url).await;
    let holder: i64 = sqlx::query_scalar("SELECT r.pid FROM leases l JOIN replicas r ON r.id = l.holder WHERE l.name = 'scheduler'")
        .fetch_one(&mut conn)
        .await
        .unwrap();
    if busy == (holder == i64::from(scene.first.pid())) {
        scene.first.signal(Signal::KILL);
    } else {
        scene.second.signal(Signal::KILL);
    }
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
