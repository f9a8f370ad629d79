//! API keys.

use futures::future::join_all;
use passkey_hsm::storage::Error;

use crate::bench::{Bench, api_key, assert_same, at, event};

on_both_engines! {
    a_key_is_found_by_its_hash_in_its_tenant,
    a_name_is_taken_once_in_a_tenant,
    a_revoked_key_leaves_its_name,
    a_revoked_key_opens_nothing,
    of_parallel_keys_of_one_name_one_is_added,
    of_parallel_revocations_one_counts,
}

async fn a_key_is_found_by_its_hash_in_its_tenant(b: Bench) {
    let ((tenant, _), (other, _)) = (b.tenant().await, b.tenant().await);
    let (record, hash) = api_key(tenant.id, "backend");
    let event = event(tenant.id);
    b.store.add_api_key(&record, &hash, &event).await.unwrap();
    assert_same(&b.store.find_api_key(tenant.id, &hash).await.unwrap().unwrap(), &record);
    assert_same(&b.store.audit_event(tenant.id, event.id).await.unwrap().unwrap(), &event);
    assert!(b.store.find_api_key(other.id, &hash).await.unwrap().is_none());
    assert!(b.store.find_api_key(tenant.id, &api_key(tenant.id, "x").1).await.unwrap().is_none());
    assert!(b.store.api_keys(other.id).await.unwrap().is_empty());
}

async fn a_name_is_taken_once_in_a_tenant(b: Bench) {
    let ((tenant, _), (other, _)) = (b.tenant().await, b.tenant().await);
    let (first, hash) = api_key(tenant.id, "backend");
    b.store.add_api_key(&first, &hash, &event(tenant.id)).await.unwrap();
    let (second, hash) = api_key(tenant.id, "backend");
    let refused = event(tenant.id);
    assert!(matches!(b.store.add_api_key(&second, &hash, &refused).await, Err(Error::Conflict)));
    assert!(b.store.find_api_key(tenant.id, &hash).await.unwrap().is_none());
    assert!(b.store.audit_event(tenant.id, refused.id).await.unwrap().is_none());
    let (elsewhere, hash) = api_key(other.id, "backend");
    b.store.add_api_key(&elsewhere, &hash, &event(other.id)).await.unwrap();
    let (mut third, hash) = api_key(tenant.id, "Backend");
    third.created_at = at(-5);
    b.store.add_api_key(&third, &hash, &event(tenant.id)).await.unwrap();
    let names: Vec<_> = b.store.api_keys(tenant.id).await.unwrap().into_iter().map(|k| k.name).collect();
    assert_eq!(names, ["Backend", "backend"]);
}

async fn a_revoked_key_leaves_its_name(b: Bench) {
    let (tenant, _) = b.tenant().await;
    for n in 0..3 {
        let (mut record, hash) = api_key(tenant.id, "backend");
        record.created_at = at(n);
        b.store.add_api_key(&record, &hash, &event(tenant.id)).await.unwrap();
        assert!(b.store.find_api_key(tenant.id, &hash).await.unwrap().is_some());
        assert!(b.store.revoke_api_key(tenant.id, record.id, at(7), &event(tenant.id)).await.unwrap());
    }
    let names: Vec<_> = b.store.api_keys(tenant.id).await.unwrap().into_iter().map(|k| k.name).collect();
    assert_eq!(names, [format!("backend (until {})", at(1)), format!("backend (until {})", at(2)), "backend".to_owned()]);
}

async fn a_revoked_key_opens_nothing(b: Bench) {
    let ((tenant, _), (other, _)) = (b.tenant().await, b.tenant().await);
    let (mut record, hash) = api_key(tenant.id, "backend");
    b.store.add_api_key(&record, &hash, &event(tenant.id)).await.unwrap();
    assert!(!b.store.revoke_api_key(other.id, record.id, at(7), &event(tenant.id)).await.unwrap());
    assert!(b.store.revoke_api_key(tenant.id, record.id, at(7), &event(tenant.id)).await.unwrap());
    assert!(b.store.find_api_key(tenant.id, &hash).await.unwrap().is_none());
    assert!(!b.store.revoke_api_key(tenant.id, record.id, at(8), &event(tenant.id)).await.unwrap());
    record.revoked_at = Some(at(7));
    assert_same(&b.store.api_keys(tenant.id).await.unwrap(), &[record]);
    assert_eq!(b.store.audit_events(tenant.id, 10).await.unwrap().len(), 2);
}

async fn of_parallel_keys_of_one_name_one_is_added(b: Bench) {
    let (tenant, _) = b.tenant().await;
    let keys: Vec<_> = (0..8).map(|_| api_key(tenant.id, "backend")).collect();
    let event = event(tenant.id);
    let added = keys.iter().map(|(record, hash)| {
        let event = passkey_hsm::domain::AuditEvent { id: crate::bench::event(tenant.id).id, ..event.clone() };
        let store = &b.store;
        async move { store.add_api_key(record, hash, &event).await }
    });
    let results = join_all(added).await;
    assert_eq!(results.iter().filter(|r| r.is_ok()).count(), 1, "{results:?}");
    assert_eq!(results.iter().filter(|r| matches!(r, Err(Error::Conflict))).count(), 7, "{results:?}");
    assert_eq!(b.store.audit_events(tenant.id, 10).await.unwrap().len(), 1);
}

async fn of_parallel_revocations_one_counts(b: Bench) {
    let (tenant, _) = b.tenant().await;
    let (record, hash) = api_key(tenant.id, "backend");
    b.store.add_api_key(&record, &hash, &event(tenant.id)).await.unwrap();
    let events: Vec<_> = (0..8).map(|_| event(tenant.id)).collect();
    let results = join_all(events.iter().map(|e| b.store.revoke_api_key(tenant.id, record.id, at(7), e))).await;
    assert_eq!(results.iter().filter(|r| *r.as_ref().unwrap()).count(), 1);
    assert_eq!(b.store.audit_events(tenant.id, 10).await.unwrap().len(), 2);
}
