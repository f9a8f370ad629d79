//! Administrators.

use std::time::Duration;

use futures::future::join_all;
use passkey_hsm::{
    domain::{AdminHash, AdminId, AdminKind, AdminRecord, AdminToken, AuditEvent, Role, SystemRng, TenantId},
    storage::Error,
};

use crate::bench::{Bench, assert_same, at, event};

on_both_engines! {
    one_is_found_by_its_hash_while_it_is_good,
    a_name_and_a_certificate_are_taken_for_ever,
    a_use_is_written_down_once_a_minute,
    revoking_is_for_good_and_counts_once,
    the_last_admin_can_be_kept,
    of_two_last_admins_revoked_at_once_one_is_left,
    one_of_a_tenant_that_there_is_not_is_not_added,
}

fn admin(name: &str, role: Role, tenants: &[TenantId]) -> (AdminRecord, AdminHash) {
    let mut tenants = tenants.to_vec();
    tenants.sort_unstable();
    let record = AdminRecord {
        id: AdminId::random(&SystemRng),
        name: name.to_owned(),
        kind: AdminKind::Token,
        role,
        tenants,
        created_at: at(0),
        created_by: "local user 0".to_owned(),
        expires_at: None,
        last_used_at: None,
        revoked_at: None,
    };
    (record, AdminToken::random(&SystemRng).hash())
}

fn deployment() -> AuditEvent {
    event(AuditEvent::DEPLOYMENT)
}

async fn add(b: &Bench, admin: &(AdminRecord, AdminHash)) {
    b.store.add_admin(&admin.0, &admin.1, &deployment()).await.unwrap();
}

async fn one_is_found_by_its_hash_while_it_is_good(b: Bench) {
    let ((one, _), (two, _)) = (b.tenant().await, b.tenant().await);
    let (mut record, hash) = admin("ann", Role::TenantAdmin, &[one.id, two.id]);
    record.expires_at = Some(at(100));
    record.kind = AdminKind::Certificate;
    let event = deployment();
    b.store.add_admin(&record, &hash, &event).await.unwrap();
    assert_same(&b.store.audit_event(AuditEvent::DEPLOYMENT, event.id).await.unwrap().unwrap(), &event);
    assert_same(&b.store.find_admin(&hash, at(99)).await.unwrap().unwrap(), &record);
    assert!(b.store.find_admin(&hash, at(100)).await.unwrap().is_none(), "it has expired");
    let other = AdminToken::random(&SystemRng).hash();
    assert!(b.store.find_admin(&other, at(0)).await.unwrap().is_none());
    let (plain, plain_hash) = admin("bob", Role::Auditor, &[]);
    add(&b, &(plain.clone(), plain_hash)).await;
    assert_same(&b.store.admin(record.id).await.unwrap().unwrap(), &record);
    assert_same(&b.store.admin(plain.id).await.unwrap().unwrap(), &plain);
    assert!(b.store.admin(AdminId::random(&SystemRng)).await.unwrap().is_none());
    let mut all = vec![record, plain];
    all.sort_by_key(|admin| admin.id);
    assert_same(&b.store.admins().await.unwrap(), &all);
}

async fn a_name_and_a_certificate_are_taken_for_ever(b: Bench) {
    let first = admin("ann", Role::Admin, &[]);
    add(&b, &first).await;
    assert!(b.store.revoke_admin(first.0.id, at(1), false, &deployment()).await.unwrap());
    let refused = deployment();
    let namesake = admin("ann", Role::Admin, &[]);
    assert!(matches!(b.store.add_admin(&namesake.0, &namesake.1, &refused).await, Err(Error::Conflict)));
    let other = admin("bob", Role::Admin, &[]);
    assert!(matches!(b.store.add_admin(&other.0, &first.1, &refused).await, Err(Error::Conflict)));
    assert!(b.store.audit_event(AuditEvent::DEPLOYMENT, refused.id).await.unwrap().is_none());
    assert_eq!(b.store.admins().await.unwrap().len(), 1);
}

async fn a_use_is_written_down_once_a_minute(b: Bench) {
    let (record, hash) = admin("ann", Role::Admin, &[]);
    add(&b, &(record.clone(), hash)).await;
    let used = async |seconds: u64| {
        b.store.touch_admin(record.id, at(0) + Duration::from_secs(seconds)).await.unwrap();
        b.store.admin(record.id).await.unwrap().unwrap().last_used_at.unwrap().since(at(0)).as_secs()
    };
    assert_eq!(used(5).await, 5);
    assert_eq!(used(64).await, 5);
    assert_eq!(used(65).await, 65);
}

async fn revoking_is_for_good_and_counts_once(b: Bench) {
    let (record, hash) = admin("ann", Role::Auditor, &[]);
    add(&b, &(record.clone(), hash.clone())).await;
    let events: Vec<_> = (0..4).map(|_| deployment()).collect();
    let revoked = join_all(events.iter().map(|event| b.store.revoke_admin(record.id, at(7), false, event))).await;
    assert_eq!(revoked.iter().filter(|revoked| *revoked.as_ref().unwrap()).count(), 1);
    assert!(b.store.find_admin(&hash, at(8)).await.unwrap().is_none());
    assert_eq!(b.store.admin(record.id).await.unwrap().unwrap().revoked_at, Some(at(7)));
    let event = deployment();
    assert!(!b.store.revoke_admin(record.id, at(9), false, &event).await.unwrap());
    assert!(!b.store.revoke_admin(AdminId::random(&SystemRng), at(9), true, &event).await.unwrap());
    assert!(b.store.audit_event(AuditEvent::DEPLOYMENT, event.id).await.unwrap().is_none());
    // The one who was made, and the one revocation.
    assert_eq!(b.store.audit_events(AuditEvent::DEPLOYMENT, 10).await.unwrap().len(), 2);
}

async fn the_last_admin_can_be_kept(b: Bench) {
    let (last, expired, auditor) = (admin("ann", Role::Admin, &[]), admin("bob", Role::Admin, &[]), admin("eve", Role::Auditor, &[]));
    let expired = (AdminRecord { expires_at: Some(at(5)), ..expired.0 }, expired.1);
    for one in [&last, &expired, &auditor] {
        add(&b, one).await;
    }
    let event = deployment();
    assert!(!b.store.revoke_admin(last.0.id, at(5), true, &event).await.unwrap(), "the other has expired");
    assert!(b.store.audit_event(AuditEvent::DEPLOYMENT, event.id).await.unwrap().is_none());
    assert!(b.store.find_admin(&last.1, at(6)).await.unwrap().is_some());
    // Those who are of no use are no loss.
    assert!(b.store.revoke_admin(auditor.0.id, at(6), true, &deployment()).await.unwrap());
    assert!(b.store.revoke_admin(expired.0.id, at(6), true, &deployment()).await.unwrap());
    assert!(b.store.revoke_admin(last.0.id, at(6), false, &deployment()).await.unwrap());
}

async fn of_two_last_admins_revoked_at_once_one_is_left(b: Bench) {
    for round in 0..4 {
        let pair = [admin(&format!("ann {round}"), Role::Admin, &[]), admin(&format!("bob {round}"), Role::Admin, &[])];
        for one in &pair {
            add(&b, one).await;
        }
        let events = [deployment(), deployment()];
        let revoked = join_all(pair.iter().zip(&events).map(|((one, _), event)| b.store.revoke_admin(one.id, at(7), true, event))).await;
        assert_eq!(revoked.iter().filter(|revoked| *revoked.as_ref().unwrap()).count(), 1, "{revoked:?}");
        for (one, _) in &pair {
            b.store.revoke_admin(one.id, at(8), false, &deployment()).await.unwrap();
        }
    }
}

async fn one_of_a_tenant_that_there_is_not_is_not_added(b: Bench) {
    let (record, hash) = admin("ann", Role::TenantAdmin, &[TenantId::random(&SystemRng)]);
    assert!(b.store.add_admin(&record, &hash, &deployment()).await.is_err());
    assert!(b.store.admins().await.unwrap().is_empty());
}
