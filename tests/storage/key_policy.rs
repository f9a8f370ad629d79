//! What a change of a tenant's settings leaves behind for its keys.

use std::time::Duration;

use passkey_hsm::domain::{KeyChange, KeyId, KeyPolicy, SystemRng, TenantSettings, Times};

use crate::bench::{Bench, activated, event, pending_key};

on_both_engines! {
    what_verifiers_may_hold_of_the_settings_before_is_waited_for,
    a_tenant_wants_a_standby_or_not,
    a_key_policy_that_was_changed_meanwhile_stays,
}

/// With lengths of seconds; the default has 600 s of max-age, 300 s of tokens and 60 s of skew.
fn short(standby: bool) -> KeyPolicy {
    let text = format!(
        r#"{{"jwks_max_age_seconds": 1, "token_lifetime_seconds": 1, "clock_skew_seconds": 0, "publication_seconds": 2,
            "retirement_seconds": 2, "period_seconds": null, "rollback_seconds": 0, "standby": {standby}}}"#
    );
    serde_json::from_str(&text).unwrap()
}

async fn what_verifiers_may_hold_of_the_settings_before_is_waited_for(b: Bench) {
    let (tenant, active) = b.tenant().await;
    let settings = TenantSettings { keys: short(true), ..TenantSettings::default() };
    // What concerns no key leaves nothing behind; nor does a second change make it shorter.
    let others = TenantSettings { cred_props: false, ..TenantSettings::default() };
    for settings in [&others, &settings, &TenantSettings { keys: short(false), ..settings.clone() }] {
        assert!(b.store.update_tenant(tenant.id, None, None, Some(settings), &[event(tenant.id)]).await.unwrap());
    }
    let now = b.store.database_now().await.unwrap();

    let pending = pending_key(tenant.id, KeyId::random(&SystemRng));
    assert!(b.store.begin_signing_key(&pending, &event(tenant.id)).await.unwrap());
    assert!(b.store.complete_signing_key(&activated(&pending), &event(tenant.id)).await.unwrap());
    let publish = KeyChange::Publish { publication: Duration::from_secs(2) };
    let published = b.store.change_signing_key(tenant.id, pending.id, publish, &[]).await.unwrap().unwrap();
    let waits = published.usable_from.unwrap().since(now);
    assert!(waits > Duration::from_secs(590) && waits <= Duration::from_mins(10), "{waits:?}");

    let times = Times { retirement: Duration::from_secs(2), rollback: Duration::ZERO };
    let left = b.store.change_signing_key(tenant.id, active.id, KeyChange::Suspend(times), &[]).await.unwrap().unwrap();
    let stays = left.withdraw_from.unwrap().since(now);
    assert!(stays > Duration::from_secs(950) && stays <= Duration::from_mins(16), "{stays:?}");
    // R of a tenant whose settings did not change is R.
    let (tenant, active) = b.tenant().await;
    let left = b.store.change_signing_key(tenant.id, active.id, KeyChange::Suspend(times), &[]).await.unwrap().unwrap();
    assert_eq!(left.withdraw_from.unwrap().since(left.deactivated_at.unwrap()), Duration::from_secs(2));
}

async fn a_tenant_wants_a_standby_or_not(b: Bench) {
    let (tenant, _) = b.tenant().await;
    let lacking = async || b.store.due_keys(Duration::ZERO, 9, None).await.unwrap().lacking_standby;
    assert_eq!(lacking().await, [tenant.id]);
    for (standby, expected) in [(false, vec![]), (true, vec![tenant.id])] {
        let settings = TenantSettings { keys: short(standby), ..TenantSettings::default() };
        assert!(b.store.update_tenant(tenant.id, None, None, Some(&settings), &[event(tenant.id)]).await.unwrap());
        assert_eq!(lacking().await, expected);
    }
}

/// Whoever was found to change nothing of the key policy does not bring back what it was.
async fn a_key_policy_that_was_changed_meanwhile_stays(b: Bench) {
    let (tenant, _) = b.tenant().await;
    let before = &tenant.settings;
    let changed = TenantSettings { keys: short(true), ..before.clone() };
    assert!(b.store.update_tenant(tenant.id, None, None, Some(&changed), &[event(tenant.id)]).await.unwrap());
    let late = TenantSettings { cred_props: !before.cred_props, ..before.clone() };
    let e = event(tenant.id);
    let events = std::slice::from_ref(&e);
    assert!(!b.store.update_tenant_of(tenant.id, Some("late"), None, Some(&late), Some(before), events).await.unwrap());
    let now = b.store.tenant(tenant.id).await.unwrap().unwrap();
    assert!(now.settings == changed && now.display_name == tenant.display_name);
    assert!(b.store.audit_event(tenant.id, e.id).await.unwrap().is_none());
    let late = TenantSettings { cred_props: !before.cred_props, ..changed.clone() };
    assert!(b.store.update_tenant_of(tenant.id, None, None, Some(&late), Some(&changed), events).await.unwrap());
    assert!(b.store.tenant(tenant.id).await.unwrap().unwrap().settings == late);
}
