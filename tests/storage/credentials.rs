//! Credentials after they were made: listed in pages, renamed, removed.

use passkey_hsm::{
    domain::{AuditEvent, AuditEventType, CredentialId, NewCredential, Order, Page, SigningKey, UserId},
    storage::Error,
};

use crate::{
    bench::{Bench, at, ceremony, credential, credential_id, event, evidence, user},
    races::together,
};

on_both_engines! {
    pages_are_in_the_order_of_time_then_id,
    pages_are_of_one_tenant_and_of_one_user,
    a_page_behind_the_last_is_empty,
    the_indexes_serve_the_listing,
    a_rename_is_recorded_with_its_user,
    a_removal_takes_the_evidence_along,
    another_tenants_credential_is_not_there,
    what_cannot_be_recorded_does_not_happen,
    of_parallel_removals_one_counts,
}

/// Registers a credential of this id and this time for a user, who is made.
async fn add(b: &Bench, key: &SigningKey, name: &str, id: &[u8], created_at: i64) -> NewCredential {
    let tenant = key.tenant_id;
    b.store.begin_registration(&user(tenant, name), &ceremony(tenant, name), &event(tenant)).await.unwrap();
    let n = NewCredential {
        id: CredentialId::try_from(id).unwrap(),
        user_id: name.parse().unwrap(),
        created_at: at(created_at),
        evidence: Some(evidence()),
        ..credential(tenant)
    };
    b.register(key, &n).await;
    n
}

/// The ids of a page, and how many there are in all.
async fn ids(b: &Bench, key: &SigningKey, user: Option<&str>, order: Order, page: (i64, i64)) -> (Vec<Vec<u8>>, u64) {
    let user: Option<UserId> = user.map(|user| user.parse().unwrap());
    let found = b.store.listed_credentials(key.tenant_id, user.as_ref(), order, Page::new(page.0, page.1)).await.unwrap();
    (found.0.iter().map(|c| c.data.id.as_bytes().to_vec()).collect(), found.1)
}

async fn pages_are_in_the_order_of_time_then_id(b: Bench) {
    let (_, key) = b.tenant().await;
    // Two instants, so that ids decide; bytes above 0x7f, which come last.
    let expected: Vec<Vec<u8>> = vec![vec![9], vec![0xff, 1], vec![1], vec![1, 0], vec![0x7f], vec![0x80]];
    for at in [4, 0, 5, 1, 3, 2] {
        add(&b, &key, "ann", &expected[at], i64::from(at >= 2)).await;
    }
    for size in 1..=7_i64 {
        for (order, expected) in [(Order::Ascending, expected.clone()), (Order::Descending, expected.iter().rev().cloned().collect())] {
            for user in [None, Some("ann")] {
                let mut found = Vec::new();
                for number in 1..=6_i64 {
                    let (page, total) = ids(&b, &key, user, order, (number, size)).await;
                    assert_eq!(total, 6);
                    assert!(page.len() <= usize::try_from(size).unwrap());
                    found.extend(page);
                }
                assert_eq!(found, expected, "{size} {order:?} {user:?}");
            }
        }
    }
}

async fn pages_are_of_one_tenant_and_of_one_user(b: Bench) {
    let ((_, key), (_, others)) = (b.tenant().await, b.tenant().await);
    for (key, user, id) in [(&key, "ann", 1), (&key, "bob", 2), (&key, "Ann", 3), (&others, "ann", 4), (&others, "ann", 1)] {
        add(&b, key, user, &[id], i64::from(id)).await;
    }
    for (key, user, expected) in [
        (&key, None, vec![1, 2, 3]),
        (&key, Some("ann"), vec![1]),
        (&key, Some("bob"), vec![2]),
        (&key, Some("Ann"), vec![3]),
        (&key, Some("' OR ''='"), vec![]),
        (&key, Some("%"), vec![]),
        (&others, None, vec![1, 4]),
        (&others, Some("ann"), vec![1, 4]),
        (&others, Some("bob"), vec![]),
    ] {
        let (found, total) = ids(&b, key, user, Order::Ascending, (1, 20)).await;
        assert_eq!((found.concat(), total), (expected.clone(), expected.len() as u64), "{user:?}");
    }
}

async fn a_page_behind_the_last_is_empty(b: Bench) {
    let (_, key) = b.tenant().await;
    add(&b, &key, "ann", &[1], 0).await;
    for (page, expected) in
        [((0, 0), vec![1]), ((-5, 9999), vec![1]), ((2, 1), vec![]), ((i64::MAX, i64::MAX), vec![]), ((i64::MAX, 1), vec![])]
    {
        assert_eq!(ids(&b, &key, None, Order::Descending, page).await, (expected.into_iter().map(|id| vec![id]).collect(), 1), "{page:?}");
    }
}

/// A page reads what is on it, not the whole tenant to sort it.
async fn the_indexes_serve_the_listing(b: Bench) {
    let plan = b.plan("SELECT name FROM credentials WHERE tenant_id = 'x' ORDER BY created_at DESC, id DESC LIMIT 20").await;
    assert!(plan.contains("credentials_by_time") && !plan.contains("TEMP B-TREE") && !plan.contains("Sort"), "{plan}");
}

async fn a_rename_is_recorded_with_its_user(b: Bench) {
    let (tenant, key) = b.tenant().await;
    let (n, other) = (add(&b, &key, "ann", &[1], 0).await, add(&b, &key, "bob", &[2], 0).await);
    for name in ["Schlüssel", "'; DROP TABLE credentials; --", "a\0b"] {
        let e = AuditEvent {
            event_type: AuditEventType::CredentialUpdated,
            actor_user_id: None,
            credential_id: Some(n.id.clone()),
            ..event(tenant.id)
        };
        assert!(b.store.rename_credential(tenant.id, &n.id, name, &e).await.unwrap());
        let stored = b.store.credential(tenant.id, &n.id).await.unwrap().unwrap().data;
        assert_eq!(stored.name.as_deref(), Some(&*name.replace('\0', "\u{fffd}")));
        let told = b.store.audit_event(tenant.id, e.id).await.unwrap().unwrap();
        assert_eq!((told.event_type, told.actor_user_id.unwrap().as_str()), (AuditEventType::CredentialUpdated, "ann"));
        assert_eq!(told.credential_id, Some(n.id.clone()));
    }
    assert_eq!(b.store.credential(tenant.id, &other.id).await.unwrap().unwrap().data.name, other.name, "nobody else's");
}

async fn a_removal_takes_the_evidence_along(b: Bench) {
    let (tenant, key) = b.tenant().await;
    let (n, other) = (add(&b, &key, "ann", &[1], 0).await, add(&b, &key, "ann", &[1, 0], 0).await);
    let e = AuditEvent {
        event_type: AuditEventType::CredentialDeleted,
        actor_user_id: None,
        credential_id: Some(n.id.clone()),
        ..event(tenant.id)
    };
    assert!(b.store.delete_credential(tenant.id, &n.id, &e).await.unwrap());
    assert!(b.store.credential(tenant.id, &n.id).await.unwrap().is_none());
    assert!(b.store.credential_evidence(tenant.id, &n.id).await.unwrap().is_none());
    let told = b.store.audit_event(tenant.id, e.id).await.unwrap().unwrap();
    assert_eq!((told.actor_user_id.unwrap().as_str(), told.credential_id), ("ann", Some(n.id.clone())));
    assert!(b.store.credential_evidence(tenant.id, &other.id).await.unwrap().is_some());
    // It can be made anew.
    add(&b, &key, "bob", &[1], 0).await;
    assert_eq!((b.count("credentials").await, b.count("credential_evidence").await), (2, 2));
}

async fn another_tenants_credential_is_not_there(b: Bench) {
    let ((tenant, key), (other, _)) = (b.tenant().await, b.tenant().await);
    let n = add(&b, &key, "ann", &[1], 0).await;
    for (tenant, id) in [(other.id, n.id.clone()), (tenant.id, credential_id())] {
        let e = event(tenant);
        assert!(!b.store.rename_credential(tenant, &id, "x", &e).await.unwrap());
        assert!(!b.store.delete_credential(tenant, &id, &e).await.unwrap());
        assert!(b.store.audit_event(tenant, e.id).await.unwrap().is_none());
    }
    assert_eq!(b.store.credential(tenant.id, &n.id).await.unwrap().unwrap().data.name, n.name);
    assert_eq!(b.count("credential_evidence").await, 1);
}

async fn what_cannot_be_recorded_does_not_happen(b: Bench) {
    let (tenant, key) = b.tenant().await;
    let n = add(&b, &key, "ann", &[1], 0).await;
    // Its id is taken.
    let e = event(tenant.id);
    b.store.append_audit(&e).await.unwrap();
    for failed in [b.store.rename_credential(tenant.id, &n.id, "x", &e).await, b.store.delete_credential(tenant.id, &n.id, &e).await] {
        assert!(matches!(failed, Err(Error::Conflict)), "{failed:?}");
    }
    assert_eq!(b.store.credential(tenant.id, &n.id).await.unwrap().unwrap().data.name, n.name);
    assert_eq!(b.count("credential_evidence").await, 1);
}

async fn of_parallel_removals_one_counts(b: Bench) {
    let (tenant, key) = b.tenant().await;
    for round in 0..6 {
        let n = add(&b, &key, "ann", &[round], 0).await;
        let callers = (0..6).map(|_| {
            let (store, id, e) =
                (b.store.clone(), n.id.clone(), AuditEvent { event_type: AuditEventType::CredentialDeleted, ..event(tenant.id) });
            async move { store.delete_credential(e.tenant_id, &id, &e).await.unwrap() }
        });
        assert_eq!(together(callers).await.into_iter().filter(|deleted| *deleted).count(), 1);
    }
    assert_eq!(b.count("audit_events WHERE event_type = 'webauthn_credential_deleted'").await, 6);
    assert_eq!(b.count("credentials").await, 0);
}
