//! Tenants, from the intent to the change of a configuration.

use passkey_hsm::{
    domain::{AuditEventType, KeyId, KeyState, SigningKey, SystemRng, TenantId, TenantSettings},
    storage::Error,
};

use crate::bench::{Bench, activated, api_key, assert_same, event, pending_key, tenant};

on_both_engines! {
    a_tenant_is_seen_once_its_key_is_active,
    an_id_is_taken_once,
    a_tenant_is_completed_once,
    a_tenant_is_not_completed_with_a_key_that_is_not_its_own_pending_one,
    an_abandoned_tenant_is_never_seen_again,
    a_failed_completion_leaves_the_tenant_in_the_making,
    an_update_replaces_what_it_is_given,
    an_update_of_no_tenant_leaves_no_trace,
    tenants_are_found_by_their_rp_id,
    answers_a_ping_and_nothing_after_it_is_closed,
}

async fn a_tenant_is_seen_once_its_key_is_active(b: Bench) {
    let tenant = tenant();
    let pending = pending_key(tenant.id, KeyId::random(&SystemRng));
    b.store.begin_tenant(&tenant, &pending).await.unwrap();
    assert!(b.store.tenant(tenant.id).await.unwrap().is_none());
    assert!(b.store.tenants().await.unwrap().is_empty());
    assert!(b.store.active_signing_key(tenant.id).await.unwrap().is_none());
    assert!(b.store.published_signing_keys(tenant.id).await.unwrap().is_empty());
    assert_same(&b.store.incomplete_tenants().await.unwrap(), &[(&tenant, &pending)]);

    let key = activated(&pending);
    let (record, hash) = api_key(tenant.id, "backend");
    let events = [event(tenant.id), event(tenant.id)];
    assert!(b.store.complete_tenant(tenant.id, &key, Some((&record, &hash)), &events).await.unwrap());
    assert_same(&b.store.tenant(tenant.id).await.unwrap().unwrap(), &tenant);
    assert_same(&b.store.tenants().await.unwrap(), &[&tenant]);
    let key = SigningKey { usable_from: key.published_at, revision: 1, published_revision: 1, ..key };
    assert_same(&b.store.active_signing_key(tenant.id).await.unwrap().unwrap(), &key);
    assert_same(&b.store.signing_keys().await.unwrap(), &[&key]);
    assert_same(&b.store.find_api_key(tenant.id, &hash).await.unwrap().unwrap(), &record);
    assert_eq!(b.store.audit_events(tenant.id, 10).await.unwrap().len(), 2);
    assert!(b.store.incomplete_tenants().await.unwrap().is_empty());
}

async fn an_id_is_taken_once(b: Bench) {
    let (first, key) = b.tenant().await;
    let again = b.store.begin_tenant(&first, &pending_key(first.id, KeyId::random(&SystemRng))).await;
    assert!(matches!(again, Err(Error::Conflict)), "{again:?}");
    // A kid is never used twice, not even by another tenant; and the tenant that came with it is not there either.
    let other = tenant();
    let again = b.store.begin_tenant(&other, &pending_key(other.id, key.id)).await;
    assert!(matches!(again, Err(Error::Conflict)), "{again:?}");
    assert!(b.store.incomplete_tenants().await.unwrap().is_empty());
    assert_eq!(b.count("tenants").await, 1);
}

async fn a_tenant_is_completed_once(b: Bench) {
    let (tenant, key) = b.tenant().await;
    assert!(!b.store.complete_tenant(tenant.id, &key, None, &[event(tenant.id)]).await.unwrap());
    assert!(!b.store.complete_tenant(TenantId::random(&SystemRng), &key, None, &[]).await.unwrap());
    assert!(b.store.audit_events(tenant.id, 10).await.unwrap().is_empty());
}

async fn a_tenant_is_not_completed_with_a_key_that_is_not_its_own_pending_one(b: Bench) {
    let (_, others) = b.tenant().await;
    let tenant = tenant();
    let pending = pending_key(tenant.id, KeyId::random(&SystemRng));
    b.store.begin_tenant(&tenant, &pending).await.unwrap();
    let unknown = activated(&pending_key(tenant.id, KeyId::random(&SystemRng)));
    for key in [&others, &unknown] {
        assert!(!b.store.complete_tenant(tenant.id, key, None, &[]).await.unwrap());
    }
    assert_same(&b.store.incomplete_tenants().await.unwrap(), &[(&tenant, &pending)]);
}

async fn an_abandoned_tenant_is_never_seen_again(b: Bench) {
    let tenant = tenant();
    let pending = pending_key(tenant.id, KeyId::random(&SystemRng));
    b.store.begin_tenant(&tenant, &pending).await.unwrap();
    let destroyed = SigningKey { state: KeyState::Destroyed, ..pending.clone() };
    assert!(b.store.abandon_tenant(&destroyed).await.unwrap());
    assert!(!b.store.abandon_tenant(&destroyed).await.unwrap());
    assert!(b.store.incomplete_tenants().await.unwrap().is_empty());
    assert!(b.store.tenant(tenant.id).await.unwrap().is_none());
    assert!(!b.store.complete_tenant(tenant.id, &activated(&pending), None, &[]).await.unwrap());
}

async fn a_failed_completion_leaves_the_tenant_in_the_making(b: Bench) {
    let tenant = tenant();
    let pending = pending_key(tenant.id, KeyId::random(&SystemRng));
    b.store.begin_tenant(&tenant, &pending).await.unwrap();
    let twice = event(tenant.id);
    let failed = b.store.complete_tenant(tenant.id, &activated(&pending), None, &[twice.clone(), twice]).await;
    assert!(matches!(failed, Err(Error::Conflict)), "{failed:?}");
    assert_same(&b.store.incomplete_tenants().await.unwrap(), &[(&tenant, &pending)]);
    assert!(b.store.complete_tenant(tenant.id, &activated(&pending), None, &[]).await.unwrap());
}

async fn an_update_replaces_what_it_is_given(b: Bench) {
    let (mut tenant, _) = b.tenant().await;
    let event = event(tenant.id);
    tenant.config.webauthn.timeout = 1234;
    assert!(b.store.update_tenant(tenant.id, None, Some(&tenant.config), None, std::slice::from_ref(&event)).await.unwrap());
    assert_same(&b.store.tenant(tenant.id).await.unwrap().unwrap(), &tenant);
    assert_same(&b.store.audit_event(tenant.id, event.id).await.unwrap().unwrap(), &event);

    "renamed".clone_into(&mut tenant.display_name);
    tenant.settings = TenantSettings { exclude_credentials: false, ..TenantSettings::default() };
    let event = crate::bench::event(tenant.id);
    assert!(
        b.store
            .update_tenant(tenant.id, Some("renamed"), Some(&tenant.config), Some(&tenant.settings), std::slice::from_ref(&event))
            .await
            .unwrap()
    );
    assert_same(&b.store.tenant(tenant.id).await.unwrap().unwrap(), &tenant);
}

async fn an_update_of_no_tenant_leaves_no_trace(b: Bench) {
    let tenant = tenant();
    let mut event = event(tenant.id);
    event.event_type = AuditEventType::TenantConfigChanged;
    assert!(!b.store.update_tenant(tenant.id, None, Some(&tenant.config), None, std::slice::from_ref(&event)).await.unwrap());
    b.store.begin_tenant(&tenant, &pending_key(tenant.id, KeyId::random(&SystemRng))).await.unwrap();
    assert!(!b.store.update_tenant(tenant.id, None, Some(&tenant.config), None, std::slice::from_ref(&event)).await.unwrap());
    assert!(b.store.audit_events(tenant.id, 10).await.unwrap().is_empty());
}

async fn tenants_are_found_by_their_rp_id(b: Bench) {
    let ((first, _), (mut second, _)) = (b.tenant().await, b.tenant().await);
    let in_the_making = tenant();
    b.store.begin_tenant(&in_the_making, &pending_key(in_the_making.id, KeyId::random(&SystemRng))).await.unwrap();
    let found = async |rp_id: &str, limit| {
        let mut found: Vec<_> = b.store.tenants_of_rp_id(rp_id, limit).await.unwrap().into_iter().map(|tenant| tenant.id).collect();
        found.sort();
        found
    };
    let mut both = [first.id, second.id];
    both.sort();
    assert_eq!(found("example.org", 9).await, both);
    assert_eq!(found("example.org", 1).await.len(), 1);
    for stranger in ["", "example", "EXAMPLE.ORG", "example.org.", "%", "example.org\0"] {
        assert!(found(stranger, 9).await.is_empty(), "{stranger}");
    }
    assert_same(&b.store.tenants_of_rp_id("example.org", 9).await.unwrap().iter().find(|t| t.id == first.id).unwrap(), &&first);

    "other.example".clone_into(&mut second.config.webauthn.relying_party.id);
    assert!(b.store.update_tenant(second.id, None, Some(&second.config), None, &[event(second.id)]).await.unwrap());
    assert_eq!((found("example.org", 9).await, found("other.example", 9).await), (vec![first.id], vec![second.id]));
    let plan = b.plan("SELECT config FROM tenants WHERE rp_id = 'example.org' AND state = 'active'").await;
    assert!(plan.contains("tenants_by_rp_id"), "{plan}");
}

async fn answers_a_ping_and_nothing_after_it_is_closed(b: Bench) {
    b.store.ping().await.unwrap();
    b.store.close().await;
    assert!(matches!(b.store.ping().await, Err(Error::Unavailable(_))));
    let event = event(tenant().id);
    assert!(matches!(b.store.append_audit(&event).await, Err(Error::Unavailable(_))));
}
