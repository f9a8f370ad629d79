//! Every change of a signing key up to its withdrawal, and every refusal, which writes nothing.

use std::time::Duration;

use passkey_hsm::{
    domain::{KeyChange, KeyId, KeyPlan, KeyState, SigningKey, SystemRng, TenantId},
    storage::Error,
};

use crate::{
    bench::{Bench, activated, assert_same, pending_key, tenant},
    key_bench::{
        LEASE, NOW_USABLE, P, R, TIMES, WINDOW, activate, assert_taken_since, in_the_place_of, intent, key_event, reinstate, replica,
    },
};

on_both_engines! {
    the_databases_clock_is_a_clock,
    a_tenants_first_key_signs_at_once_and_is_counted,
    an_intent_is_one_per_tenant,
    what_became_of_an_intent_is_written_once,
    publishing_fixes_when_a_key_may_sign,
    only_what_is_on_the_token_is_published,
    activating_replaces_the_active_key_in_one_step,
    activating_keeps_its_rules,
    tokens_of_older_settings_hold_a_key_back,
    a_rotation_is_undone_inside_its_window,
    a_suspended_key_comes_back,
    a_suspended_key_that_left_the_jwks_is_published_anew,
    plans_are_for_keys_that_do_not_sign_yet,
    servers_find_what_changed,
}

async fn the_databases_clock_is_a_clock(b: Bench) {
    let first = b.now().await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    let second = b.now().await;
    assert!(second.since(first) >= Duration::from_millis(15) && second.since(first) < Duration::from_mins(1), "{first} {second}");
    assert!(first.as_millis() > 1_750_000_000_000, "milliseconds since the Unix epoch: {first}");
}

async fn a_tenants_first_key_signs_at_once_and_is_counted(b: Bench) {
    let (tenant, pending) = (tenant(), KeyId::random(&SystemRng));
    let pending = pending_key(tenant.id, pending);
    b.store.begin_tenant(&tenant, &pending).await.unwrap();
    assert_eq!(b.store.key_revision().await.unwrap(), 0);
    let due = crate::bench::at(90);
    let key = SigningKey { rotate_from: Some(due), ..activated(&pending) };
    assert!(b.store.complete_tenant(tenant.id, &key, None, &[]).await.unwrap());
    let stored = b.key(key.id).await;
    assert_eq!((stored.usable_from, stored.rotate_from), (key.published_at, Some(due)));
    assert_eq!((stored.revision, stored.published_revision, b.store.key_revision().await.unwrap()), (1, 1, 1));
    assert!(b.store.set_rotate_from(key.id, None).await.unwrap());
    assert_eq!(b.key(key.id).await.rotate_from, None);
    assert!(!b.store.set_rotate_from(KeyId::random(&SystemRng), Some(due)).await.unwrap());
}

async fn an_intent_is_one_per_tenant(b: Bench) {
    let (t, active) = b.tenant().await;
    let first = intent(t.id, KeyPlan::Activate);
    let e = key_event(&first);
    assert!(b.store.begin_signing_key(&first, &e).await.unwrap());
    assert_same(&b.key(first.id).await, &first);
    assert!(b.store.audit_event(t.id, e.id).await.unwrap().is_some());
    let (in_the_making, deleted) = (tenant(), b.tenant().await.0);
    b.store.begin_tenant(&in_the_making, &pending_key(in_the_making.id, KeyId::random(&SystemRng))).await.unwrap();
    b.set_tenant(deleted.id, "deleted_at = 1").await;
    for tenant in [t.id, in_the_making.id, deleted.id, TenantId::random(&SystemRng)] {
        let (second, e) = (intent(tenant, KeyPlan::None), key_event(&first));
        assert!(!b.store.begin_signing_key(&second, &e).await.unwrap());
        assert!(b.store.signing_key(second.id).await.unwrap().is_none());
        assert!(b.store.audit_event(t.id, e.id).await.unwrap().is_none());
    }
    // A kid is never used again, of whichever tenant.
    let again = SigningKey { id: active.id, ..intent(b.tenant().await.0.id, KeyPlan::None) };
    assert!(matches!(b.store.begin_signing_key(&again, &key_event(&again)).await, Err(Error::Conflict)));
}

async fn what_became_of_an_intent_is_written_once(b: Bench) {
    let (tenant, active) = b.tenant().await;
    let made = b.made(tenant.id, KeyPlan::Publish).await;
    assert_same(&b.key(made.id).await, &made);
    let twice = SigningKey { cka_id: Some(vec![9]), ..made.clone() };
    for other in [twice, SigningKey { cka_id: Some(vec![9]), ..active.clone() }] {
        let e = key_event(&other);
        assert!(!b.store.complete_signing_key(&other, &e).await.unwrap());
        assert!(b.store.audit_event(tenant.id, e.id).await.unwrap().is_none());
    }
    assert_same(&b.key(made.id).await, &made);
    assert_eq!(b.key(active.id).await.cka_id, active.cka_id);
}

async fn publishing_fixes_when_a_key_may_sign(b: Bench) {
    let (tenant, first) = b.tenant().await;
    let made = b.made(tenant.id, KeyPlan::Publish).await;
    let before = b.now().await;
    let key = b.changed(&made, KeyChange::Publish { publication: P }).await;
    let published_at = assert_taken_since(before, key.published_at);
    assert_eq!((key.state, key.usable_from, key.published_revision), (KeyState::Published, Some(published_at + P), key.revision));
    let jwks: Vec<_> = b.store.published_signing_keys(tenant.id).await.unwrap().into_iter().map(|k| k.id).collect();
    assert!(jwks.len() == 2 && jwks.contains(&first.id) && jwks.contains(&key.id), "{jwks:?}");
    b.refused(&key, KeyChange::Publish { publication: P }).await;
    // Verifiers may hold a JWKS of an older, longer max-age.
    let cached_until = b.now().await + 2 * P;
    b.set_tenant(tenant.id, &format!("jwks_cached_until = {}", cached_until.as_millis())).await;
    let made = b.made(tenant.id, KeyPlan::Publish).await;
    assert_eq!(b.changed(&made, KeyChange::Publish { publication: P }).await.usable_from, Some(cached_until));
}

async fn only_what_is_on_the_token_is_published(b: Bench) {
    let (tenant, active) = b.tenant().await;
    b.refused(&active, NOW_USABLE).await;
    let intent = intent(tenant.id, KeyPlan::Publish);
    b.refused(&intent, NOW_USABLE).await;
    assert!(b.store.begin_signing_key(&intent, &key_event(&intent)).await.unwrap());
    b.refused(&intent, NOW_USABLE).await;
    let made = SigningKey { state: KeyState::Pending, evidence: None, ..activated(&intent) };
    assert!(b.store.complete_signing_key(&made, &key_event(&made)).await.unwrap());
    b.refused(&made, NOW_USABLE).await;
    b.set(&made, "evidence_record = '{}', evidence_signature = public_key, destroying_at = 1").await;
    b.refused(&made, NOW_USABLE).await;
    b.set(&made, "destroying_at = NULL").await;
    let other = SigningKey { tenant_id: b.tenant().await.0.id, ..made.clone() };
    b.refused(&other, NOW_USABLE).await;
    b.changed(&made, NOW_USABLE).await;
}

async fn activating_replaces_the_active_key_in_one_step(b: Bench) {
    for to in [KeyState::Retiring, KeyState::Suspended, KeyState::Compromised] {
        let (tenant, first) = b.tenant().await;
        let second = b.standby(tenant.id).await;
        let before = b.now().await;
        let second = b.changed(&second, activate(Some((first.id, to)))).await;
        let now = assert_taken_since(before, second.activated_at);
        assert_eq!((second.state, second.rotate_from, second.predecessor), (KeyState::Active, Some(now + P), Some(first.id)));
        assert_eq!((second.plan, second.deactivated_at), (KeyPlan::None, None));
        let first = b.key(first.id).await;
        assert_eq!((first.state, first.deactivated_at, first.revision), (to, Some(now), second.revision));
        if to == KeyState::Compromised {
            assert_eq!((first.withdrawn_at, first.keep_private_until), (Some(now), Some(now)));
        } else {
            assert_eq!((first.withdraw_from, first.keep_private_until, first.withdrawn_at), (Some(now + R), Some(now + WINDOW), None));
        }
        assert_eq!(b.store.active_signing_key(tenant.id).await.unwrap().unwrap().id, second.id);
        let jwks = b.store.published_signing_keys(tenant.id).await.unwrap();
        assert_eq!(jwks.len(), if to == KeyState::Compromised { 1 } else { 2 });
    }
}

async fn activating_keeps_its_rules(b: Bench) {
    let (tenant, first) = b.tenant().await;
    let second = b.made(tenant.id, KeyPlan::Activate).await;
    b.refused(&second, in_the_place_of(first.id)).await;
    let second = b.changed(&second, KeyChange::Publish { publication: P }).await;
    let change = in_the_place_of(first.id);
    // P is not over.
    b.refused(&second, change).await;
    let soon = b.now().await + Duration::from_secs(5);
    b.set(&second, &format!("usable_from = {}", soon.as_millis())).await;
    b.refused(&second, change).await;
    b.set(&second, "usable_from = 1").await;
    // A live server does not serve it yet, even if the exposure is accepted; one that is gone is not waited for.
    let behind = replica(second.published_revision - 1);
    b.store.beat(&behind, LEASE).await.unwrap();
    b.store.beat(&replica(second.published_revision), LEASE).await.unwrap();
    b.refused(&second, change).await;
    let KeyChange::Activate { leaving, .. } = change else { panic!() };
    let exposed = KeyChange::Activate { leaving, accept_exposure: true, replica_lease: LEASE, rotate_after: None };
    b.refused(&second, exposed).await;
    let silent = (b.now().await.as_millis()) - 10_500;
    let behind_id = behind.id.as_uuid().simple();
    b.sql(
        &format!("UPDATE replicas SET seen_at = {silent} WHERE id = '{behind_id}'"),
        &format!("UPDATE replicas SET seen_at = {silent} WHERE id = x'{behind_id}'"),
    )
    .await;
    for flaw in ["destroying_at = 1", "private_destroyed_at = 1", "evidence_record = NULL, evidence_signature = NULL", "usable_from = NULL"]
    {
        b.set(&second, flaw).await;
        b.refused(&second, change).await;
        b.set(&second, "destroying_at = NULL, private_destroyed_at = NULL, evidence_record = '{}', evidence_signature = public_key").await;
        b.set(&second, "usable_from = 1").await;
    }
    // Another key is active than the caller thinks.
    b.refused(&second, activate(None)).await;
    b.refused(&second, in_the_place_of(second.id)).await;
    b.refused(&second, in_the_place_of(b.tenant().await.1.id)).await;
    for to in [KeyState::Published, KeyState::Retired, KeyState::Destroyed, KeyState::Active] {
        b.refused(&second, activate(Some((first.id, to)))).await;
    }
    b.set(&second, "usable_from = 9223372036854775807").await;
    let second = b.changed(&second, exposed).await;
    assert_eq!(second.rotate_from, None);
    b.refused(&second, in_the_place_of(first.id)).await;
}

async fn tokens_of_older_settings_hold_a_key_back(b: Bench) {
    let (tenant, first) = b.tenant().await;
    let valid_until = b.now().await + 2 * R;
    b.set_tenant(tenant.id, &format!("tokens_valid_until = {}", valid_until.as_millis())).await;
    let second = b.standby(tenant.id).await;
    b.changed(&second, in_the_place_of(first.id)).await;
    assert_eq!(b.key(first.id).await.withdraw_from, Some(valid_until));
}

async fn a_rotation_is_undone_inside_its_window(b: Bench) {
    let (first, second) = b.rotated().await;
    b.refused(&first, reinstate(None)).await;
    b.refused(&second, reinstate(Some(second.id))).await;
    for over in ["keep_private_until = 1", "withdrawn_at = 1", "destroying_at = 1", "private_destroyed_at = 1", "keep_private_until = NULL"]
    {
        b.set(&first, over).await;
        b.refused(&first, reinstate(Some(second.id))).await;
        let until = first.keep_private_until.unwrap().as_millis();
        let columns = format!("keep_private_until = {until}, withdrawn_at = NULL, destroying_at = NULL, private_destroyed_at = NULL");
        b.set(&first, &columns).await;
    }
    let before = b.now().await;
    let first = b.changed(&first, reinstate(Some(second.id))).await;
    let now = assert_taken_since(before, first.activated_at);
    assert_eq!((first.state, first.rotate_from, first.predecessor), (KeyState::Active, Some(now + P), Some(second.id)));
    assert_eq!((first.deactivated_at, first.withdraw_from, first.keep_private_until), (None, None, None));
    let second = b.key(second.id).await;
    assert_eq!((second.state, second.deactivated_at, second.withdraw_from), (KeyState::Suspended, Some(now), Some(now + R)));
}

async fn a_suspended_key_comes_back(b: Bench) {
    let (tenant, key) = b.tenant().await;
    b.refused(&key, reinstate(None)).await;
    let before = b.now().await;
    let key = b.changed(&key, KeyChange::Suspend(TIMES)).await;
    let now = assert_taken_since(before, key.deactivated_at);
    assert_eq!((key.state, key.withdraw_from, key.in_jwks()), (KeyState::Suspended, Some(now + R), true));
    assert!(b.store.active_signing_key(tenant.id).await.unwrap().is_none());
    b.refused(&key, KeyChange::Suspend(TIMES)).await;
    b.refused(&key, KeyChange::Republish { publication: P }).await;
    // However long ago: its private half is kept.
    b.set(&key, "keep_private_until = 1").await;
    let key = b.changed(&key, reinstate(None)).await;
    assert_eq!((key.state, key.predecessor), (KeyState::Active, None));
}

async fn a_suspended_key_that_left_the_jwks_is_published_anew(b: Bench) {
    let (tenant, key) = b.tenant().await;
    let key = b.changed(&key, KeyChange::Suspend(TIMES)).await;
    b.refused(&key, KeyChange::Withdraw).await;
    b.set(&key, "withdraw_from = 1").await;
    let key = b.changed(&key, KeyChange::Withdraw).await;
    assert_eq!((key.state, key.withdrawn_at.is_some(), key.in_jwks()), (KeyState::Suspended, true, false));
    assert!(b.store.published_signing_keys(tenant.id).await.unwrap().is_empty());
    b.refused(&key, KeyChange::Withdraw).await;
    b.refused(&key, reinstate(None)).await;
    b.set(&key, "destroying_at = 1").await;
    b.refused(&key, KeyChange::Republish { publication: P }).await;
    b.set(&key, "destroying_at = NULL").await;
    let before = b.now().await;
    let key = b.changed(&key, KeyChange::Republish { publication: P }).await;
    let now = assert_taken_since(before, key.published_at);
    assert_eq!((key.state, key.usable_from, key.published_revision), (KeyState::Published, Some(now + P), key.revision));
    assert_eq!((key.in_jwks(), key.withdraw_from), (true, None));
    b.refused(&key, activate(None)).await;
    b.set(&key, "usable_from = 1").await;
    assert_eq!(b.changed(&key, activate(None)).await.deactivated_at, None);
}

async fn plans_are_for_keys_that_do_not_sign_yet(b: Bench) {
    let (tenant, active) = b.tenant().await;
    b.refused(&active, KeyChange::Plan(KeyPlan::Activate)).await;
    let made = b.made(tenant.id, KeyPlan::None).await;
    assert_eq!(b.changed(&made, KeyChange::Plan(KeyPlan::Publish)).await.plan, KeyPlan::Publish);
    let key = b.changed(&made, NOW_USABLE).await;
    assert_eq!(b.changed(&key, KeyChange::Plan(KeyPlan::Activate)).await.plan, KeyPlan::Activate);
    b.set(&key, "destroying_at = 1").await;
    b.refused(&key, KeyChange::Plan(KeyPlan::None)).await;
}

async fn servers_find_what_changed(b: Bench) {
    let (first, second) = b.rotated().await;
    let newest = b.store.key_revision().await.unwrap();
    assert!(b.store.signing_keys_changed_since(newest, 9).await.unwrap().is_empty());
    let changed: Vec<_> = b.store.signing_keys_changed_since(newest - 1, 9).await.unwrap().into_iter().map(|k| k.id).collect();
    assert!(changed.len() == 2 && changed.contains(&first.id) && changed.contains(&second.id), "{changed:?}");
    b.changed(&second, KeyChange::Suspend(TIMES)).await;
    let all = b.store.signing_keys_changed_since(0, 9).await.unwrap();
    assert_eq!(all.iter().map(|k| k.id).collect::<Vec<_>>(), [first.id, second.id], "in the order of their last changes");
    assert_eq!(b.store.signing_keys_changed_since(0, 1).await.unwrap().len(), 1);
    assert_eq!(b.store.signing_keys_of(first.tenant_id).await.unwrap().len(), 2);
    assert!(b.store.signing_key(KeyId::random(&SystemRng)).await.unwrap().is_none());
    let foreign = SigningKey { tenant_id: b.tenant().await.0.id, ..second };
    b.refused(&foreign, activate(Some((first.id, KeyState::Retiring)))).await;
}
