//! The FIDO metadata in use.

use futures::future::join_all;
use passkey_hsm::{
    domain::MetadataBlob,
    storage::{Error, MetadataUpdate, Store},
};

use crate::{
    bench::{Bench, assert_same, blob},
    races::together,
};

on_both_engines! {
    a_blob_is_kept_whole,
    a_newer_one_takes_its_place,
    one_that_is_not_newer_changes_nothing,
    one_without_entries_is_one_all_the_same,
    a_number_that_no_database_holds_is_refused,
    as_many_entries_as_there_will_be_are_kept,
    of_parallel_imports_the_newest_is_left,
    who_reads_during_an_import_sees_the_old_or_the_new_one,
}

async fn assert_in_use(b: &Bench, blob: &MetadataBlob) {
    let (head, entries) = b.store.metadata().await.unwrap().unwrap();
    assert_same(&head, &blob.head);
    assert_same(&entries, &blob.entries);
}

async fn a_blob_is_kept_whole(b: Bench) {
    assert!(b.store.metadata().await.unwrap().is_none());
    let blob = blob(0, 12);
    assert_eq!(b.store.replace_metadata(&blob).await.unwrap(), MetadataUpdate::Stored);
    assert_in_use(&b, &blob).await;
}

async fn a_newer_one_takes_its_place(b: Bench) {
    // With more entries than before, with fewer, and with the next number and a later one.
    for (no, entries) in [(1, 5), (2, 9), (90, 2)] {
        let blob = blob(no, entries);
        assert_eq!(b.store.replace_metadata(&blob).await.unwrap(), MetadataUpdate::Stored);
        assert_in_use(&b, &blob).await;
    }
    assert_eq!((b.count("metadata_blob").await, b.count("metadata_entries").await), (1, 2));
}

async fn one_that_is_not_newer_changes_nothing(b: Bench) {
    let stored = blob(7, 3);
    b.store.replace_metadata(&stored).await.unwrap();
    for no in [0, 6, 7] {
        let mut older = blob(no, 5);
        older.head.next_update = older.head.imported_at;
        assert_eq!(b.store.replace_metadata(&older).await.unwrap(), MetadataUpdate::NotNewer { stored_no: 7 });
        assert_in_use(&b, &stored).await;
    }
}

async fn one_without_entries_is_one_all_the_same(b: Bench) {
    for blob in [blob(1, 0), blob(2, 1), blob(3, 0)] {
        assert_eq!(b.store.replace_metadata(&blob).await.unwrap(), MetadataUpdate::Stored);
        assert_in_use(&b, &blob).await;
    }
}

async fn a_number_that_no_database_holds_is_refused(b: Bench) {
    let mut largest = blob(3, 1);
    largest.head.no = u64::try_from(i64::MAX).unwrap() + 1;
    let refused = b.store.replace_metadata(&largest).await;
    assert!(matches!(refused, Err(Error::Corrupt(_))), "{refused:?}");
    assert!(b.store.metadata().await.unwrap().is_none());
    largest.head.no -= 1;
    b.store.replace_metadata(&largest).await.unwrap();
    assert_in_use(&b, &largest).await;
}

/// 2000 entries of some 5 KiB: five times what the FIDO Alliance publishes.
async fn as_many_entries_as_there_will_be_are_kept(b: Bench) {
    let mut large = blob(1, 2000);
    for entry in &mut large.entries {
        entry.anchors = vec!["A".repeat(2500); 2];
    }
    b.store.replace_metadata(&large).await.unwrap();
    assert_in_use(&b, &large).await;
    large.head.no = 2;
    b.store.replace_metadata(&large).await.unwrap();
    assert_in_use(&b, &large).await;
}

/// Each importer is a replica with a store of its own.
async fn of_parallel_imports_the_newest_is_left(b: Bench) {
    let replicas: Vec<_> = join_all((0..4).map(|_| Store::open(&b.url, 2))).await.into_iter().map(Result::unwrap).collect();
    for round in 0..8 {
        let callers = (1..=4_u64).zip(&replicas).map(|(n, store)| {
            // The newest begins in another place each time.
            let (store, blob) = (store.clone(), blob(round * 4 + 1 + (n + round) % 4, 40));
            async move { (blob.head.no, store.replace_metadata(&blob).await.unwrap()) }
        });
        let newest = round * 4 + 4;
        for (no, update) in together(callers).await {
            match update {
                MetadataUpdate::Stored => (),
                MetadataUpdate::NotNewer { stored_no } => assert!(stored_no >= no && no < newest, "{stored_no} {no}"),
            }
        }
        assert_in_use(&b, &blob(newest, 40)).await;
    }
}

async fn who_reads_during_an_import_sees_the_old_or_the_new_one(b: Bench) {
    b.store.replace_metadata(&blob(1, 50)).await.unwrap();
    let importer = tokio::spawn({
        let store = b.store.clone();
        async move {
            for no in 2..30 {
                store.replace_metadata(&blob(no, 50)).await.unwrap();
            }
        }
    });
    let mut seen = 0;
    while !importer.is_finished() || seen == 0 {
        let (head, entries) = b.store.metadata().await.unwrap().unwrap();
        assert_same(&entries, &blob(head.no, 50).entries);
        seen += 1;
    }
    importer.await.unwrap();
    assert_eq!(b.store.metadata().await.unwrap().unwrap().0.no, 29);
}
