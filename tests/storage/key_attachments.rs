//! What vendors' tools say of keys.

use futures::future::join_all;
use passkey_hsm::{
    domain::{KeyId, SystemRng},
    storage::{Error, KeyAttachment},
};

use crate::bench::{Bench, assert_same, at, event};

on_both_engines! {
    attachments_are_kept_as_they_came,
    a_name_is_taken_once_for_a_key,
    a_key_has_so_many_and_no_more,
}

async fn attachments_are_kept_as_they_came(b: Bench) {
    let ((tenant, key), (_, other)) = (b.tenant().await, b.tenant().await);
    let (second, first) = (attachment(key.id, "b.bin", vec![0, 255, 7]), attachment(key.id, "a.pem", vec![1; 1 << 20]));
    let added = event(tenant.id);
    assert!(b.store.add_key_attachment(&second, &added).await.unwrap());
    assert!(b.store.add_key_attachment(&first, &event(tenant.id)).await.unwrap());
    assert_eq!(b.store.key_attachments(key.id).await.unwrap(), [first, second]);
    assert_same(&b.store.audit_event(tenant.id, added.id).await.unwrap().unwrap(), &added);
    assert!(b.store.key_attachments(other.id).await.unwrap().is_empty());
    let refused = event(tenant.id);
    assert!(!b.store.add_key_attachment(&attachment(KeyId::random(&SystemRng), "a", vec![1]), &refused).await.unwrap());
    assert!(b.store.audit_event(tenant.id, refused.id).await.unwrap().is_none());
    for empty in [attachment(key.id, "", vec![1]), attachment(key.id, "c", Vec::new()), attachment(key.id, "c", vec![1; (1 << 20) + 1])] {
        assert!(b.store.add_key_attachment(&empty, &event(tenant.id)).await.is_err());
    }
}

async fn a_name_is_taken_once_for_a_key(b: Bench) {
    let ((tenant, key), (_, other)) = (b.tenant().await, b.tenant().await);
    let first = attachment(key.id, "a", vec![1]);
    assert!(b.store.add_key_attachment(&first, &event(tenant.id)).await.unwrap());
    let again = b.store.add_key_attachment(&attachment(key.id, "a", vec![2]), &event(tenant.id)).await;
    assert!(matches!(again, Err(Error::Conflict)), "{again:?}");
    assert!(b.store.add_key_attachment(&attachment(key.id, "A", vec![2]), &event(tenant.id)).await.unwrap());
    assert!(b.store.add_key_attachment(&attachment(other.id, "a", vec![2]), &event(tenant.id)).await.unwrap());
    assert_eq!(b.store.key_attachments(key.id).await.unwrap().len(), 2);
}

async fn a_key_has_so_many_and_no_more(b: Bench) {
    let (tenant, key) = b.tenant().await;
    let all: Vec<_> = (0..20).map(|n| (attachment(key.id, &format!("{n:02}"), vec![1]), event(tenant.id))).collect();
    let results = join_all(all.iter().map(|(a, e)| b.store.add_key_attachment(a, e))).await;
    assert_eq!(results.iter().filter(|r| matches!(r, Ok(true))).count(), 16, "{results:?}");
    assert_eq!(results.iter().filter(|r| matches!(r, Err(Error::Conflict))).count(), 4, "{results:?}");
    assert_eq!(b.count("key_attachments").await, 16);
}

fn attachment(key_id: KeyId, name: &str, content: Vec<u8>) -> KeyAttachment {
    KeyAttachment { key_id, name: name.to_owned(), content, added_at: at(3), added_by: "admin alice".to_owned() }
}
