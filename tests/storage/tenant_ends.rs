//! The end of tenants and of users: what is out of sight, what is gone, and what stays.

use passkey_hsm::{
    domain::{AuditEvent, AuditEventType, KeyId, NewCredential, Order, Page, SigningKey, SystemRng, Tenant, TenantId, UserRowId},
    storage::{Answered, AuthenticationCommit, RegistrationCommit, Store},
};

use crate::bench::{Bench, api_key, assert_same, at, confirmation, credential, event, login, tenant, user};

on_both_engines! {
    a_deleted_tenant_is_out_of_sight,
    a_tenant_is_deleted_once,
    nothing_is_stored_for_a_deleted_tenant,
    a_tenant_comes_back_as_it_was_before_its_time_is_over,
    a_tenant_is_purged_after_its_time_and_after_its_keys,
    a_purge_is_done_in_parts_and_leaves_the_trail,
    a_tenant_that_waits_for_its_key_is_there_and_signs_nothing,
    users_are_listed_in_pages,
    a_user_is_found_by_its_row_in_its_tenant_alone,
    a_user_goes_with_everything_and_nobody_elses,
    a_user_keeps_its_row_when_it_is_described_anew,
    old_audit_events_are_swept,
    names_of_keys_are_one_space,
}

/// An instant at which nothing is due yet, and one at which it is.
const SOON: i64 = 999;
const DUE: i64 = 1000;

/// An event later than others.
fn told(tenant: TenantId, event_type: AuditEventType) -> AuditEvent {
    let created_at = at(if event_type == AuditEventType::TenantPurged { 60 } else { 50 });
    AuditEvent { event_type, created_at, ..event(tenant) }
}

/// Deletes a tenant at 100, to be purged from [`DUE`] on.
async fn delete(store: &Store, tenant: TenantId) {
    assert!(store.delete_tenant(tenant, at(100), at(DUE), &told(tenant, AuditEventType::TenantDeleted)).await.unwrap());
}

/// As if the scheduler had destroyed the private halves of all keys.
async fn destroy_keys(b: &Bench) {
    let done = "UPDATE signing_keys SET state = 'retired', private_destroyed_at = 7 WHERE state <> 'destroyed'";
    b.sql(done, done).await;
}

async fn a_deleted_tenant_is_out_of_sight(b: Bench) {
    let ((gone, key), (other, _)) = (b.tenant().await, b.tenant().await);
    let (record, hash) = api_key(gone.id, "backend");
    b.store.add_api_key(&record, &hash, &event(gone.id)).await.unwrap();
    delete(&b.store, gone.id).await;
    assert!(b.store.tenant(gone.id).await.unwrap().is_none());
    assert_same(&b.store.tenants().await.unwrap(), &[&other]);
    assert_same(&b.store.tenants_of_rp_id("example.org", 9).await.unwrap(), &[&other]);
    assert!(b.store.find_api_key(gone.id, &hash).await.unwrap().is_none());
    assert!(b.store.active_signing_key(gone.id).await.unwrap().is_none());
    assert!(!b.store.update_tenant(gone.id, Some("x"), None, None, &[event(gone.id)]).await.unwrap());
    assert!(b.store.incomplete_tenants().await.unwrap().is_empty());
    // What is kept.
    assert!(b.store.was_tenant(gone.id).await.unwrap());
    assert!(b.store.signing_keys().await.unwrap().iter().any(|k| k.id == key.id));
    let [deleted] = &b.store.deleted_tenants().await.unwrap()[..] else { panic!("one was deleted") };
    assert_eq!((deleted.id, deleted.deleted_at, deleted.purge_from, deleted.purged_at), (gone.id, at(100), at(DUE), None));
    assert_eq!(deleted.display_name, gone.display_name);
    assert_eq!(b.store.audit_events(gone.id, 1).await.unwrap()[0].event_type, AuditEventType::TenantDeleted);
}

async fn a_tenant_is_deleted_once(b: Bench) {
    let (first, _) = b.tenant().await;
    delete(&b.store, first.id).await;
    let making = tenant();
    b.store.begin_tenant(&making, &crate::bench::pending_key(making.id, KeyId::random(&SystemRng))).await.unwrap();
    for id in [first.id, making.id, TenantId::random(&SystemRng)] {
        let refused = event(id);
        assert!(!b.store.delete_tenant(id, at(200), at(300), &refused).await.unwrap());
        assert!(b.store.audit_event(id, refused.id).await.unwrap().is_none());
    }
    assert_eq!(b.store.deleted_tenants().await.unwrap()[0].purge_from, at(DUE));
    assert!(!b.store.was_tenant(making.id).await.unwrap() && !b.store.was_tenant(TenantId::random(&SystemRng)).await.unwrap());
}

async fn nothing_is_stored_for_a_deleted_tenant(b: Bench) {
    let (tenant, key, n) = b.in_use().await;
    let (ceremony, begun) = (b.ceremony(tenant.id).await, b.begun(tenant.id).await);
    delete(&b.store, tenant.id).await;
    let committed = b.store.commit_registration(&ceremony, &credential(tenant.id), key.id, &event(tenant.id)).await.unwrap();
    assert_eq!(committed, RegistrationCommit::KeyNotActive);
    for unit in [login(&key, &n, 8), confirmation(&key, &n, 8, &begun)] {
        assert_eq!(b.store.commit_authentication(&unit).await.unwrap(), AuthenticationCommit::KeyNotActive);
        assert!(b.store.audit_event(tenant.id, unit.event.id).await.unwrap().is_none());
    }
    assert_eq!(b.count("credentials").await, 1);
    assert_eq!(b.count("used_challenges").await, 0);
    // Nothing was used up: it is all there when the tenant is.
    assert!(b.store.restore_tenant(tenant.id, at(SOON), &event(tenant.id)).await.unwrap());
    let committed = b.store.commit_registration(&ceremony, &credential(tenant.id), key.id, &event(tenant.id)).await.unwrap();
    assert_eq!(committed, RegistrationCommit::Committed);
    assert_eq!(b.store.commit_authentication(&login(&key, &n, 9)).await.unwrap(), AuthenticationCommit::Committed);
}

async fn a_tenant_comes_back_as_it_was_before_its_time_is_over(b: Bench) {
    let ((tenant, key), (other, destroyed)) = (b.tenant().await, b.tenant().await);
    let refused = event(tenant.id);
    assert!(!b.store.restore_tenant(tenant.id, at(0), &refused).await.unwrap(), "it is not deleted");
    delete(&b.store, tenant.id).await;
    assert!(!b.store.restore_tenant(tenant.id, at(DUE), &refused).await.unwrap(), "it is too late");
    assert!(b.store.audit_event(tenant.id, refused.id).await.unwrap().is_none());
    let restored = told(tenant.id, AuditEventType::TenantRestored);
    assert!(b.store.restore_tenant(tenant.id, at(SOON), &restored).await.unwrap());
    assert!(b.store.audit_event(tenant.id, restored.id).await.unwrap().is_some());
    assert_same(&b.store.tenant(tenant.id).await.unwrap().unwrap(), &tenant);
    assert_eq!(b.store.active_signing_key(tenant.id).await.unwrap().unwrap().id, key.id);
    assert!(b.store.tenants_to_purge(at(DUE), 9).await.unwrap().is_empty());
    // It can be deleted again.
    delete(&b.store, tenant.id).await;

    delete(&b.store, other.id).await;
    let begun = format!("UPDATE signing_keys SET destroying_at = {} WHERE tenant_id = ", at(150).as_millis());
    let hex = destroyed.tenant_id.as_uuid().simple().to_string();
    b.sql(&format!("{begun}'{hex}'"), &format!("{begun}x'{hex}'")).await;
    assert!(!b.store.restore_tenant(other.id, at(SOON), &event(other.id)).await.unwrap(), "a key of it was destroyed");
    // What was out of use before goes when its own time is over: nothing is lost by that.
    let retired = "UPDATE signing_keys SET state = 'retired' WHERE tenant_id = ";
    b.sql(&format!("{retired}'{hex}'"), &format!("{retired}x'{hex}'")).await;
    assert!(b.store.restore_tenant(other.id, at(SOON), &event(other.id)).await.unwrap(), "a retired key of it was destroyed");
    assert!(b.store.restore_tenant(tenant.id, at(SOON), &event(tenant.id)).await.unwrap(), "another's key was");
}

async fn a_tenant_is_purged_after_its_time_and_after_its_keys(b: Bench) {
    let ((tenant, _), (other, _)) = (b.tenant().await, b.tenant().await);
    assert_eq!(b.store.purge_batch(tenant.id, at(DUE), 10).await.unwrap(), None, "it is not deleted");
    delete(&b.store, tenant.id).await;
    assert!(b.store.tenants_to_purge(at(SOON), 9).await.unwrap().is_empty());
    assert_eq!(b.store.tenants_to_purge(at(DUE), 9).await.unwrap(), [tenant.id]);
    assert_eq!(b.store.purge_batch(tenant.id, at(DUE), 10).await.unwrap(), None, "its key is there");
    destroy_keys(&b).await;
    assert_eq!(b.store.purge_batch(tenant.id, at(SOON), 10).await.unwrap(), None, "it is not due");
    assert_eq!(b.store.purge_batch(other.id, at(DUE), 10).await.unwrap(), None, "that is another");
    assert_eq!(b.store.purge_batch(tenant.id, at(DUE), 10).await.unwrap(), Some(0));
    let early = event(tenant.id);
    assert!(!b.store.purge_tenant(tenant.id, at(SOON), &early).await.unwrap());
    assert!(b.store.audit_event(tenant.id, early.id).await.unwrap().is_none());
    assert!(b.store.purge_tenant(tenant.id, at(DUE), &told(tenant.id, AuditEventType::TenantPurged)).await.unwrap());
    assert!(!b.store.purge_tenant(tenant.id, at(DUE), &event(tenant.id)).await.unwrap(), "once");
    assert!(b.store.tenants_to_purge(at(DUE), 9).await.unwrap().is_empty());
    assert!(!b.store.restore_tenant(tenant.id, at(0), &event(tenant.id)).await.unwrap());
    assert_eq!(b.store.deleted_tenants().await.unwrap()[0].purged_at, Some(at(DUE)));
}

/// A tenant with something of everything.
async fn full(b: &Bench) -> (Tenant, SigningKey, NewCredential) {
    let (tenant, key, n) = b.in_use().await;
    b.register(&key, &NewCredential { evidence: Some(crate::bench::evidence()), is_mfa: true, ..credential(tenant.id) }).await;
    b.ceremony(tenant.id).await;
    b.begun(tenant.id).await;
    let begun = b.begun(tenant.id).await;
    assert_eq!(b.store.commit_authentication(&confirmation(&key, &n, 8, &begun)).await.unwrap(), AuthenticationCommit::Committed);
    let unit = login(&key, &n, 9);
    assert!(matches!(unit.answered, Answered::Challenge { .. }));
    assert_eq!(b.store.commit_authentication(&unit).await.unwrap(), AuthenticationCommit::Committed);
    let (record, hash) = api_key(tenant.id, "backend");
    b.store.add_api_key(&record, &hash, &event(tenant.id)).await.unwrap();
    (tenant, key, n)
}

const TABLES: [&str; 8] =
    ["users", "credentials", "credential_evidence", "ceremonies", "transactions", "transaction_evidence", "used_challenges", "api_keys"];

async fn a_purge_is_done_in_parts_and_leaves_the_trail(b: Bench) {
    let ((tenant, key, _), (other, others_key, others)) = (full(&b).await, full(&b).await);
    let mut before = Vec::new();
    for table in TABLES {
        before.push(b.count(table).await);
    }
    delete(&b.store, tenant.id).await;
    let events = b.count("audit_events").await;
    let done = "UPDATE signing_keys SET state = 'retired', private_destroyed_at = 7 WHERE tenant_id = ";
    let hex = tenant.id.as_uuid().simple().to_string();
    b.sql(&format!("{done}'{hex}'"), &format!("{done}x'{hex}'")).await;
    let mut parts = 0;
    loop {
        // As long as something is left it is not written down as purged.
        match b.store.purge_batch(tenant.id, at(DUE), 2).await.unwrap().unwrap() {
            0 => break,
            rows => assert!(rows <= 2, "{rows}"),
        }
        parts += 1;
        if parts == 1 {
            assert!(!b.store.purge_tenant(tenant.id, at(DUE), &event(tenant.id)).await.unwrap());
        }
    }
    assert!(parts > 3, "{parts}");
    assert!(b.store.purge_tenant(tenant.id, at(DUE), &told(tenant.id, AuditEventType::TenantPurged)).await.unwrap());
    for (table, count) in TABLES.iter().zip(before) {
        assert_eq!(b.count(table).await * 2, count, "{table}");
    }
    assert_eq!(b.count("audit_events").await, events + 1);
    assert_eq!(b.store.audit_events(tenant.id, 1).await.unwrap()[0].event_type, AuditEventType::TenantPurged);
    assert_eq!(b.count("tenants").await, 2);
    assert!(b.store.signing_keys().await.unwrap().iter().any(|k| k.id == key.id));
    // The other one works on.
    assert_same(&b.store.tenant(other.id).await.unwrap().unwrap(), &other);
    assert_eq!(b.store.commit_authentication(&login(&others_key, &others, 10)).await.unwrap(), AuthenticationCommit::Committed);
}

async fn a_tenant_that_waits_for_its_key_is_there_and_signs_nothing(b: Bench) {
    let waiting = tenant();
    let ((record, hash), events) = (api_key(waiting.id, "backend"), [event(waiting.id), event(waiting.id)]);
    b.store.add_waiting_tenant(&waiting, Some((&record, &hash)), &events).await.unwrap();
    assert_same(&b.store.tenant(waiting.id).await.unwrap().unwrap(), &waiting);
    assert!(b.store.find_api_key(waiting.id, &hash).await.unwrap().is_some());
    assert_eq!(b.store.audit_events(waiting.id, 9).await.unwrap().len(), 2);
    assert!(b.store.awaits_key(waiting.id).await.unwrap());
    assert!(b.store.active_signing_key(waiting.id).await.unwrap().is_none());
    assert!(b.store.incomplete_tenants().await.unwrap().is_empty());
    let (complete, _) = b.tenant().await;
    assert!(!b.store.awaits_key(complete.id).await.unwrap());
    assert!(b.store.add_waiting_tenant(&waiting, None, &[]).await.is_err());
}

/// Makes users, each a millisecond younger than the one before.
async fn make_users(b: &Bench, tenant: TenantId, names: &[&str]) {
    for (n, name) in names.iter().enumerate() {
        let made = at(n.try_into().unwrap());
        let user = passkey_hsm::domain::User { created_at: made, updated_at: made, ..user(tenant, name) };
        b.store.begin_registration(&user, &crate::bench::ceremony(tenant, name), &event(tenant)).await.unwrap();
    }
}

async fn users_are_listed_in_pages(b: Bench) {
    let ((tenant, _), (other, _)) = (b.tenant().await, b.tenant().await);
    make_users(&b, tenant.id, &["a", "b", "c", "d", "e"]).await;
    make_users(&b, other.id, &["x"]).await;
    let names = async |order, page, size| {
        let (users, total) = b.store.users(tenant.id, order, Page::new(page, size)).await.unwrap();
        assert_eq!(total, 5);
        users.into_iter().map(|(_, user)| user.user_id.to_string()).collect::<String>()
    };
    assert_eq!(names(Order::Descending, 1, 20).await, "edcba");
    assert_eq!(names(Order::Ascending, 1, 2).await, "ab");
    assert_eq!(names(Order::Descending, 2, 2).await, "cb");
    assert_eq!(names(Order::Ascending, 3, 2).await, "e");
    assert_eq!(names(Order::Ascending, i64::MAX, 500).await, "");
    let mut rows: Vec<_> = b.store.users(tenant.id, Order::Ascending, Page::new(1, 20)).await.unwrap().0.into_iter().map(|u| u.0).collect();
    rows.dedup();
    assert_eq!(rows.len(), 5);
    assert_eq!(b.store.users(TenantId::random(&SystemRng), Order::Ascending, Page::new(1, 20)).await.unwrap().1, 0);
    let plan = b.plan("SELECT name FROM users WHERE tenant_id = 'x' ORDER BY created_at DESC LIMIT 20").await;
    assert!(plan.contains("users_by_time"), "{plan}");
}

async fn row_of(b: &Bench, tenant: TenantId, name: &str) -> UserRowId {
    let (users, _) = b.store.users(tenant, Order::Ascending, Page::new(1, 500)).await.unwrap();
    users.into_iter().find(|(_, user)| user.user_id.as_str() == name).unwrap().0
}

async fn a_user_is_found_by_its_row_in_its_tenant_alone(b: Bench) {
    let ((tenant, _), (other, _)) = (b.tenant().await, b.tenant().await);
    make_users(&b, tenant.id, &["ann"]).await;
    make_users(&b, other.id, &["ann"]).await;
    let (row, others) = (row_of(&b, tenant.id, "ann").await, row_of(&b, other.id, "ann").await);
    assert_ne!(row, others);
    assert_same(&b.store.user_by_row(tenant.id, row).await.unwrap().unwrap(), &user(tenant.id, "ann"));
    assert!(b.store.user_by_row(tenant.id, others).await.unwrap().is_none());
    assert!(b.store.user_by_row(tenant.id, UserRowId::random(&SystemRng)).await.unwrap().is_none());
}

async fn a_user_goes_with_everything_and_nobody_elses(b: Bench) {
    let ((tenant, _, n), (other, ..)) = (full(&b).await, full(&b).await);
    make_users(&b, tenant.id, &["bob"]).await;
    let (row, others) = (row_of(&b, tenant.id, "ann").await, row_of(&b, other.id, "ann").await);
    for foreign in [others, UserRowId::random(&SystemRng)] {
        let refused = event(tenant.id);
        assert!(!b.store.delete_user(tenant.id, foreign, &refused).await.unwrap());
        assert!(b.store.audit_event(tenant.id, refused.id).await.unwrap().is_none());
    }
    let deleted = AuditEvent { actor_user_id: None, ..told(tenant.id, AuditEventType::UserDeleted) };
    assert!(b.store.delete_user(tenant.id, row, &deleted).await.unwrap());
    assert!(!b.store.delete_user(tenant.id, row, &event(tenant.id)).await.unwrap());
    let ann = "ann".parse().unwrap();
    assert!(b.store.user(tenant.id, &ann).await.unwrap().is_none());
    assert!(b.store.credential(tenant.id, &n.id).await.unwrap().is_none());
    assert!(b.store.user_transactions(tenant.id, &ann, 9, 1000).await.unwrap().is_empty());
    assert_eq!(b.store.audit_event(tenant.id, deleted.id).await.unwrap().unwrap().actor_user_id, Some(ann.clone()));
    // Bob has a ceremony, and the other tenant's ann everything.
    assert!(b.store.user(tenant.id, &"bob".parse().unwrap()).await.unwrap().is_some());
    assert!(b.store.user(other.id, &ann).await.unwrap().is_some());
    for (table, left) in [("credentials", 2), ("credential_evidence", 1), ("transactions", 2), ("transaction_evidence", 1), ("users", 2)] {
        assert_eq!(b.count(table).await, left, "{table}");
    }
    // Whoever comes back is somebody else.
    make_users(&b, tenant.id, &["ann"]).await;
    assert_ne!(row_of(&b, tenant.id, "ann").await, row);
}

async fn a_user_keeps_its_row_when_it_is_described_anew(b: Bench) {
    let (tenant, _) = b.tenant().await;
    make_users(&b, tenant.id, &["ann"]).await;
    let row = row_of(&b, tenant.id, "ann").await;
    make_users(&b, tenant.id, &["ann"]).await;
    assert_eq!(row_of(&b, tenant.id, "ann").await, row);
}

async fn old_audit_events_are_swept(b: Bench) {
    let tenants = [tenant().id, tenant().id];
    for (n, tenant) in tenants.iter().cycle().take(5).enumerate() {
        b.store.append_audit(&AuditEvent { created_at: at(n.try_into().unwrap()), ..event(*tenant) }).await.unwrap();
    }
    assert_eq!(b.store.sweep_audit(at(0), 10).await.unwrap(), 0);
    assert_eq!(b.store.sweep_audit(at(3), 2).await.unwrap(), 2);
    assert_eq!(b.store.sweep_audit(at(3), 2).await.unwrap(), 1);
    assert_eq!(b.store.sweep_audit(at(3), 2).await.unwrap(), 0);
    let left = |events: Vec<AuditEvent>| events.into_iter().map(|e| e.created_at).collect::<Vec<_>>();
    assert_eq!(left(b.store.audit_events(tenants[0], 9).await.unwrap()), [at(4)]);
    assert_eq!(left(b.store.audit_events(tenants[1], 9).await.unwrap()), [at(3)]);
    let (all, total) = b.store.audit_log_of_all(&passkey_hsm::domain::AuditFilter::default(), Page::new(1, 1)).await.unwrap();
    assert_eq!((left(all), total), (vec![at(4)], 2));
}

async fn names_of_keys_are_one_space(b: Bench) {
    let ((tenant, key), (other, others)) = (b.tenant().await, b.tenant().await);
    let (record, hash) = api_key(tenant.id, "backend");
    b.store.add_api_key(&record, &hash, &event(tenant.id)).await.unwrap();
    let conflicts = |result: Result<(), passkey_hsm::storage::Error>| matches!(result, Err(passkey_hsm::storage::Error::Conflict));
    assert!(conflicts(b.store.name_signing_key(tenant.id, key.id, Some("backend")).await));
    b.store.name_signing_key(tenant.id, key.id, Some("signing")).await.unwrap();
    // In its tenant alone.
    b.store.name_signing_key(tenant.id, others.id, Some("mine")).await.unwrap();
    assert!(b.store.signing_key_names(other.id).await.unwrap().is_empty());
    b.store.name_signing_key(other.id, others.id, Some("signing")).await.unwrap();
    assert_eq!(b.store.signing_key_names(tenant.id).await.unwrap(), [(key.id, "signing".to_owned())]);
    let (record, hash) = api_key(tenant.id, "signing");
    assert!(conflicts(b.store.add_api_key(&record, &hash, &event(tenant.id)).await));
    for (name, is_there) in [("backend", true), ("signing", true), ("mine", false)] {
        assert_eq!(b.store.is_key_name(tenant.id, name).await.unwrap(), is_there, "{name}");
    }
    b.store.name_signing_key(tenant.id, key.id, None).await.unwrap();
    b.store.add_api_key(&record, &hash, &event(tenant.id)).await.unwrap();
}
