//! A process killed just before and just after a commit, on each engine: `cargo test --features failpoints --test storage kill`.
//!
//! The victim is this test binary once more, running [`victim`] alone.

use std::{os::unix::process::ExitStatusExt, process::Command};

use passkey_hsm::{
    domain::{KeyId, SystemRng},
    storage::{RegistrationCommit, Store},
};

use crate::bench::{Bench, activated, ceremony, credential, event, pending_key, tenant, user};

on_both_engines! {
    a_tenant_begun,
    a_tenant_completed,
    a_registration,
}

const URL: &str = "PASSKEY_HSM_TEST_VICTIM";

/// Makes a tenant and registers a credential, and should not live to the end of it.
#[tokio::test]
#[ignore = "started by the other tests, in a process of its own"]
async fn victim() {
    let store = Store::open(&std::env::var(URL).unwrap(), 1).await.unwrap();
    let tenant = tenant();
    let key = pending_key(tenant.id, KeyId::random(&SystemRng));
    store.begin_tenant(&tenant, &key).await.unwrap();
    assert!(store.complete_tenant(tenant.id, &activated(&key), None, &[event(tenant.id)]).await.unwrap());
    let c = ceremony(tenant.id, "ann");
    store.begin_registration(&user(tenant.id, "ann"), &c, &event(tenant.id)).await.unwrap();
    let committed = store.commit_registration(&c, &credential(tenant.id), key.id, &event(tenant.id)).await.unwrap();
    assert_eq!(committed, RegistrationCommit::Committed);
}

/// Runs the victim until it dies at the failpoint.
async fn kill(b: &Bench, failpoint: &'static str) {
    let url = b.url.clone();
    let output = tokio::task::spawn_blocking(move || {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "kill::victim", "--ignored"])
            .envs([(URL, url.as_str()), ("PASSKEY_HSM_FAILPOINT", failpoint)])
            .output()
            .unwrap()
    });
    let output = output.await.unwrap();
    assert_eq!(output.status.signal(), Some(9), "{failpoint}: {}", String::from_utf8_lossy(&output.stdout));
}

async fn a_tenant_begun(b: Bench) {
    kill(&b, "storage.before_commit.begin_tenant").await;
    assert_eq!((b.count("tenants").await, b.count("signing_keys").await), (0, 0));
    kill(&b, "storage.after_commit.begin_tenant").await;
    assert_eq!(b.store.incomplete_tenants().await.unwrap().len(), 1, "the intent is there to be finished");
}

async fn a_tenant_completed(b: Bench) {
    kill(&b, "storage.before_commit.complete_tenant").await;
    assert_eq!((b.store.incomplete_tenants().await.unwrap().len(), b.store.tenants().await.unwrap().len()), (1, 0));
    assert_eq!(b.count("audit_events").await, 0);
    kill(&b, "storage.after_commit.complete_tenant").await;
    assert_eq!((b.store.incomplete_tenants().await.unwrap().len(), b.store.tenants().await.unwrap().len()), (1, 1));
    assert_eq!(b.count("audit_events").await, 1);
}

async fn a_registration(b: Bench) {
    kill(&b, "storage.before_commit.registration").await;
    let (ceremonies, credentials, events) = (b.count("ceremonies").await, b.count("credentials").await, b.count("audit_events").await);
    assert_eq!((ceremonies, credentials, events), (1, 0, 2), "the ceremony stands");
    kill(&b, "storage.after_commit.registration").await;
    let (ceremonies, credentials, events) = (b.count("ceremonies").await, b.count("credentials").await, b.count("audit_events").await);
    assert_eq!((ceremonies, credentials, events), (1, 1, 5), "the second one is consumed, its credential and its event are there");
}
