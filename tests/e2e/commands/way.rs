//! Which way a command takes: to the server on this host, to one elsewhere, or on its own, and never beside another.

use std::time::Duration;

use passkey_hsm::domain::{ReplicaId, SystemRng};

use super::{ask, keys::tenant, refusal};
use crate::support::server::{Server, text};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_may_be_alive_is_waited_for() {
    let mut server = Server::sqlite().await;
    let tenant = tenant(&server);
    server.kill();
    // Elsewhere: it may be alive for as long as it likes.
    assert_eq!(server.execute("UPDATE replicas SET host = 'elsewhere', seen_at = seen_at + 3600000").await, 1);
    let said = refusal(&server, 1, &["key", "generate", &tenant.id]);
    assert!(said.contains("runs on elsewhere") && said.contains("--server URL"), "{said}");
    // Looking harms nobody.
    assert_eq!(ask(&server, &["key", "list"]).as_array().unwrap().len(), 1);

    // Here: until it counts as gone.
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let here = format!("UPDATE replicas SET host = '{}'", host.trim());
    server.execute(Box::leak(here.into_boxed_str())).await;
    let waiting = server.begin(&["key", "generate", &tenant.id]);
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert_eq!(server.count("signing_keys").await, 1);
    server.execute("UPDATE replicas SET seen_at = 0").await;
    let output = waiting.wait_with_output().unwrap();
    assert!(output.status.success() && text(&output).contains("waiting until it does, or counts as gone"), "{}", text(&output));
    assert_eq!(server.count("signing_keys").await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_commands_do_not_work_side_by_side() {
    let mut server = Server::sqlite().await;
    let tenant = tenant(&server);
    assert!(server.terminate().success());
    let store = server.store().await;
    assert!(store.hold_lease("command", ReplicaId::random(&SystemRng), Duration::from_secs(2)).await.unwrap());
    store.close().await;
    let output = server.cli(&["key", "generate", &tenant.id]);
    assert!(output.status.success() && text(&output).contains("another command is at work"), "{}", text(&output));
    // And the next one has nobody to wait for.
    let keys = ask(&server, &["key", "list", &tenant.id]);
    let output = server.cli(&["key", "retire", keys[1]["kid"].as_str().unwrap(), "--yes"]);
    assert!(output.status.success() && !text(&output).contains("another command"), "{}", text(&output));
}
