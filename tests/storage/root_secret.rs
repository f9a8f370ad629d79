//! The wrapped root secret: there is one, and its envelopes are its own.

use passkey_hsm::{
    domain::Timestamp,
    storage::{RootEnvelope, RootFingerprint, StoredRootSecret},
};

use crate::{
    bench::{Bench, NOW},
    races::together,
};

on_both_engines! {
    the_first_is_read_back,
    of_two_servers_that_start_at_once_one_wins,
    a_token_is_added_to_the_secret_that_there_is,
    a_new_secret_leaves_no_envelope_of_the_old,
    of_parallel_replacements_one_counts,
    what_has_another_size_is_refused,
}

fn envelope(serial: &str, byte: u8) -> RootEnvelope {
    let created_at = Timestamp::from_millis(NOW + i64::from(byte));
    RootEnvelope { token_serial: serial.to_owned(), public_key: vec![byte; 3], envelope: vec![byte; 60], created_at }
}

fn fingerprint(byte: u8) -> RootFingerprint {
    [byte; 16]
}

async fn the_first_is_read_back(b: Bench) {
    assert_eq!(b.store.root_secret_fingerprint().await.unwrap(), None);
    assert_eq!(b.store.root_secret("a").await.unwrap(), None);
    let first = envelope("a", 1);
    assert!(b.store.create_root_secret(fingerprint(1), &first).await.unwrap());
    assert_eq!(b.store.root_secret_fingerprint().await.unwrap(), Some(fingerprint(1)));
    let stored = StoredRootSecret { fingerprint: fingerprint(1), envelope: Some(first) };
    assert_eq!(b.store.root_secret("a").await.unwrap(), Some(stored));
    assert_eq!(b.store.root_secret("A").await.unwrap(), Some(StoredRootSecret { fingerprint: fingerprint(1), envelope: None }));
}

async fn of_two_servers_that_start_at_once_one_wins(b: Bench) {
    let servers = (1..=6_u8).map(|n| {
        let store = b.store.clone();
        // Half of them have the same token.
        let serial = format!("token-{}", n % 3);
        async move { store.create_root_secret(fingerprint(n), &envelope(&serial, n)).await.unwrap().then_some((n, serial)) }
    });
    let winners: Vec<_> = together(servers).await.into_iter().flatten().collect();
    let [(n, serial)] = winners.as_slice() else { panic!("{winners:?}") };
    let stored = b.store.root_secret(serial).await.unwrap().unwrap();
    assert_eq!((stored.fingerprint, stored.envelope), (fingerprint(*n), Some(envelope(serial, *n))));
    assert_eq!((b.count("root_secret").await, b.count("root_secret_envelopes").await), (1, 1), "losers leave nothing");
}

async fn a_token_is_added_to_the_secret_that_there_is(b: Bench) {
    assert!(!b.store.add_root_envelope(fingerprint(1), &envelope("b", 2)).await.unwrap(), "there is none yet");
    b.store.create_root_secret(fingerprint(1), &envelope("a", 1)).await.unwrap();
    assert!(!b.store.add_root_envelope(fingerprint(9), &envelope("b", 2)).await.unwrap(), "another secret");
    assert!(b.store.add_root_envelope(fingerprint(1), &envelope("b", 2)).await.unwrap());
    assert!(b.store.add_root_envelope(fingerprint(1), &envelope("b", 3)).await.unwrap(), "in the place of the one before");
    for (serial, byte) in [("a", 1), ("b", 3)] {
        let stored = b.store.root_secret(serial).await.unwrap().unwrap();
        assert_eq!((stored.fingerprint, stored.envelope), (fingerprint(1), Some(envelope(serial, byte))));
    }
    assert_eq!(b.count("root_secret_envelopes").await, 2);
}

async fn a_new_secret_leaves_no_envelope_of_the_old(b: Bench) {
    assert!(!b.store.replace_root_secret(fingerprint(1), fingerprint(2), &envelope("a", 2)).await.unwrap(), "there is none yet");
    b.store.create_root_secret(fingerprint(1), &envelope("a", 1)).await.unwrap();
    b.store.add_root_envelope(fingerprint(1), &envelope("b", 1)).await.unwrap();
    assert!(!b.store.replace_root_secret(fingerprint(9), fingerprint(2), &envelope("b", 2)).await.unwrap());
    assert_eq!(b.count("root_secret_envelopes").await, 2, "what was refused changed nothing");
    assert!(b.store.replace_root_secret(fingerprint(1), fingerprint(2), &envelope("b", 2)).await.unwrap());
    assert_eq!(b.store.root_secret("a").await.unwrap(), Some(StoredRootSecret { fingerprint: fingerprint(2), envelope: None }));
    let stored = StoredRootSecret { fingerprint: fingerprint(2), envelope: Some(envelope("b", 2)) };
    assert_eq!(b.store.root_secret("b").await.unwrap(), Some(stored));
}

async fn of_parallel_replacements_one_counts(b: Bench) {
    b.store.create_root_secret(fingerprint(1), &envelope("a", 1)).await.unwrap();
    let callers = (2..=7_u8).map(|n| {
        let store = b.store.clone();
        async move {
            if n % 2 == 0 {
                store.replace_root_secret(fingerprint(1), fingerprint(n), &envelope("a", n)).await.unwrap().then_some(n)
            } else {
                // Whoever adds an envelope of the old secret is before it or not at all.
                store.add_root_envelope(fingerprint(1), &envelope("b", n)).await.unwrap();
                None
            }
        }
    });
    let winners: Vec<_> = together(callers).await.into_iter().flatten().collect();
    let [n] = winners.as_slice() else { panic!("{winners:?}") };
    let stored = b.store.root_secret("a").await.unwrap().unwrap();
    assert_eq!((stored.fingerprint, stored.envelope), (fingerprint(*n), Some(envelope("a", *n))));
    assert_eq!(b.count("root_secret_envelopes").await, 1, "no envelope of a secret that is gone");
}

async fn what_has_another_size_is_refused(b: Bench) {
    let short = RootEnvelope { envelope: vec![1; 59], ..envelope("a", 1) };
    assert!(b.store.create_root_secret(fingerprint(1), &short).await.is_err());
    assert_eq!(b.count("root_secret").await, 0, "all of it or nothing");
    let sql = |hex: &str| format!("INSERT INTO root_secret (id, fingerprint, created_at) VALUES (1, {hex}, 1)");
    if b.store.engine() == passkey_hsm::storage::Engine::Sqlite {
        b.sql("", &sql("x'0102'")).await;
        let read = b.store.root_secret_fingerprint().await;
        assert!(matches!(read, Err(passkey_hsm::storage::Error::Corrupt(_))), "{read:?}");
    }
}
