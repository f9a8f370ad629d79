//! A process killed just before and just after a commit, on each engine: `cargo test --features failpoints --test storage kill`.
//!
//! The victim is this test binary once more, running [`victim`] alone.

use std::{os::unix::process::ExitStatusExt, process::Command};

use passkey_hsm::{
    domain::{KeyId, NewCredential, SystemRng},
    storage::{AuthenticationCommit, MetadataUpdate, RegistrationCommit, Store},
};

use crate::bench::{
    Bench, activated, assert_same, at, blob, ceremony, confirmation, credential, event, evidence, login, pending_key, tenant, transaction,
    user,
};

on_both_engines! {
    a_tenant_begun,
    a_tenant_completed,
    a_registration,
    a_login,
    a_confirmation,
    an_import_of_metadata,
    a_set_of_anchors,
}

pub const URL: &str = "PASSKEY_HSM_TEST_VICTIM";

/// Makes a tenant, registers a credential and uses it, and should not live to the end of it.
#[tokio::test]
#[ignore = "started by the other tests, in a process of its own"]
async fn victim() {
    used(false).await;
}

/// The same, but that the credential confirms a transaction.
#[tokio::test]
#[ignore = "started by the other tests, in a process of its own"]
async fn confirmer() {
    used(true).await;
}

async fn used(to_confirm: bool) {
    let store = Store::open(&std::env::var(URL).unwrap(), 1).await.unwrap();
    let tenant = tenant();
    let key = pending_key(tenant.id, KeyId::random(&SystemRng));
    store.begin_tenant(&tenant, &key).await.unwrap();
    assert!(store.complete_tenant(tenant.id, &activated(&key), None, &[event(tenant.id)]).await.unwrap());
    let c = ceremony(tenant.id, "ann");
    store.begin_registration(&user(tenant.id, "ann"), &c, &event(tenant.id)).await.unwrap();
    let n = NewCredential { evidence: Some(evidence()), sign_count: 7, ..credential(tenant.id) };
    let committed = store.commit_registration(&c, &n, key.id, &event(tenant.id)).await.unwrap();
    assert_eq!(committed, RegistrationCommit::Committed);
    let unit = if to_confirm {
        let t = transaction(tenant.id, "t");
        assert!(store.begin_transaction(&t, &event(tenant.id)).await.unwrap());
        // A counter that went back: two events.
        confirmation(&key, &n, 6, &t)
    } else {
        login(&key, &n, 8)
    };
    assert_eq!(store.commit_authentication(&unit).await.unwrap(), AuthenticationCommit::Committed);
}

/// Imports metadata and a set of anchors in the place of those that are there, and should not live to the end of it.
#[tokio::test]
#[ignore = "started by the other tests, in a process of its own"]
async fn importer() {
    let store = Store::open(&std::env::var(URL).unwrap(), 1).await.unwrap();
    assert_eq!(store.replace_metadata(&blob(2, 20)).await.unwrap(), MetadataUpdate::Stored);
    assert!(store.replace_anchor_set(&"ours".parse().unwrap(), &[vec![3], vec![4]], at(2)).await.unwrap());
}

async fn kill(b: &Bench, failpoint: &'static str) {
    kill_victim(b, "kill::victim", failpoint).await;
}

/// Runs a victim until it dies at the failpoint.
pub async fn kill_victim(b: &Bench, victim: &'static str, failpoint: &'static str) {
    let url = b.url.clone();
    let output = tokio::task::spawn_blocking(move || {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", victim, "--ignored"])
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
    assert_eq!(b.count("credential_evidence").await, 0);
    kill(&b, "storage.after_commit.registration").await;
    let (ceremonies, credentials, events) = (b.count("ceremonies").await, b.count("credentials").await, b.count("audit_events").await);
    assert_eq!((ceremonies, credentials, events), (1, 1, 5), "the second one is consumed, its credential and its event are there");
    assert_eq!(b.count("credential_evidence").await, 1);
}

async fn a_login(b: Bench) {
    kill(&b, "storage.before_commit.authentication").await;
    let (used, counted) =
        (b.count("used_challenges").await, b.count("credentials WHERE sign_count = 8 AND last_used_at > created_at").await);
    assert_eq!((used, counted, b.count("audit_events").await), (0, 0, 3), "as if it had not come");
    kill(&b, "storage.after_commit.authentication").await;
    let (used, counted) =
        (b.count("used_challenges").await, b.count("credentials WHERE sign_count = 8 AND last_used_at > created_at").await);
    assert_eq!((used, counted, b.count("audit_events").await), (1, 1, 7), "all of the second one is there");
}

async fn a_confirmation(b: Bench) {
    let confirmed = "transactions WHERE state = 'confirmed'";
    kill_victim(&b, "kill::confirmer", "storage.before_commit.authentication").await;
    assert_eq!((b.count(confirmed).await, b.count("transaction_evidence").await, b.count("audit_events").await), (0, 0, 4));
    kill_victim(&b, "kill::confirmer", "storage.after_commit.authentication").await;
    assert_eq!((b.count(confirmed).await, b.count("transaction_evidence").await, b.count("audit_events").await), (1, 1, 10));
    assert_eq!(b.count("credentials WHERE sign_count = 7").await, 2);
}

/// Dies with the new entries written and not committed, then just after the commit.
async fn an_import_of_metadata(b: Bench) {
    let (old, new) = (blob(1, 30), blob(2, 20));
    b.store.replace_metadata(&old).await.unwrap();
    kill_victim(&b, "kill::importer", "storage.before_commit.metadata").await;
    assert_same(&b.store.metadata().await.unwrap().unwrap(), &(old.head, old.entries));
    assert_eq!(b.store.trust_revision().await.unwrap(), 1);
    kill_victim(&b, "kill::importer", "storage.after_commit.metadata").await;
    assert_same(&b.store.metadata().await.unwrap().unwrap(), &(new.head, new.entries));
    assert_eq!(b.store.trust_revision().await.unwrap(), 2);
}

async fn a_set_of_anchors(b: Bench) {
    let name = "ours".parse().unwrap();
    b.store.replace_anchor_set(&name, &[vec![1], vec![2]], at(1)).await.unwrap();
    kill_victim(&b, "kill::importer", "storage.before_commit.anchors").await;
    let mut left = b.store.anchor_sets().await.unwrap().remove(0).1;
    left.sort();
    assert_eq!(left, [[1], [2]]);
    assert_eq!(b.store.trust_revision().await.unwrap(), 2, "the set's own beginning, and the victim's metadata");
    b.sql("DELETE FROM metadata_blob", "DELETE FROM metadata_blob").await;
    kill_victim(&b, "kill::importer", "storage.after_commit.anchors").await;
    let mut left = b.store.anchor_sets().await.unwrap().remove(0).1;
    left.sort();
    assert_eq!(left, [[3], [4]]);
    assert_eq!(b.store.trust_revision().await.unwrap(), 4);
}
