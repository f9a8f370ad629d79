//! The end of signing keys: retired, withdrawn, distrusted, destroyed; and what is due.

use std::time::Duration;

use passkey_hsm::{
    domain::{KeyChange, KeyPlan, KeyState, SigningKey},
    storage::DueKeys,
};

use crate::{
    bench::Bench,
    key_bench::{NOW_USABLE, TIMES, assert_taken_since, in_the_place_of, intent, key_event, reinstate},
};

on_both_engines! {
    a_retiring_key_leaves_the_jwks_after_r,
    what_does_not_sign_is_retired,
    a_compromised_key_leaves_the_jwks_at_once,
    a_private_half_goes_when_its_time_is_over,
    a_private_half_goes_by_command,
    an_intent_ends_destroyed,
    the_end_of_a_tenant_ends_its_keys,
    what_is_made_is_due,
    what_is_over_is_due,
    a_standby_is_missed,
    intents_of_the_last_minute_are_counted,
}

const BEGIN: KeyChange = KeyChange::BeginDestruction { by_command: false };
const COMMAND: KeyChange = KeyChange::BeginDestruction { by_command: true };

async fn a_retiring_key_leaves_the_jwks_after_r(b: Bench) {
    let (first, second) = b.rotated().await;
    b.refused(&first, KeyChange::Withdraw).await;
    b.refused(&second, KeyChange::Withdraw).await;
    b.set(&first, "withdraw_from = 1").await;
    let before = b.now().await;
    let first = b.changed(&first, KeyChange::Withdraw).await;
    assert_taken_since(before, first.withdrawn_at);
    assert_eq!((first.state, first.in_jwks()), (KeyState::Retired, false));
    b.refused(&first, KeyChange::Withdraw).await;
    b.refused(&first, reinstate(Some(second.id))).await;
}

async fn what_does_not_sign_is_retired(b: Bench) {
    let (first, second) = b.rotated().await;
    for key in [&first, &second] {
        b.refused(key, KeyChange::Retire).await;
    }
    let intent = intent(first.tenant_id, KeyPlan::Publish);
    b.store.begin_signing_key(&intent, &key_event(&intent)).await.unwrap();
    b.refused(&intent, KeyChange::Retire).await;
    b.changed(&intent, COMMAND).await;
    b.changed(&intent, KeyChange::FinishDestruction).await;

    let made = b.made(first.tenant_id, KeyPlan::Publish).await;
    let made = b.changed(&made, KeyChange::Retire).await;
    assert_eq!((made.state, made.plan, made.withdrawn_at), (KeyState::Retired, KeyPlan::None, None), "it never was in the JWKS");
    let before = b.now().await;
    let standby = b.standby(first.tenant_id).await;
    let standby = b.changed(&standby, KeyChange::Retire).await;
    let now = assert_taken_since(before, standby.withdrawn_at);
    assert_eq!((standby.state, standby.keep_private_until), (KeyState::Retired, Some(now)));

    let suspended = b.changed(&second, KeyChange::Suspend(TIMES)).await;
    let retiring = b.changed(&suspended, KeyChange::Retire).await;
    assert_eq!((retiring.state, retiring.withdraw_from), (KeyState::Retiring, suspended.withdraw_from));
    let other = b.changed(&b.tenant().await.1, KeyChange::Suspend(TIMES)).await;
    b.set(&other, "withdraw_from = 1").await;
    let other = b.changed(&other, KeyChange::Withdraw).await;
    let other = b.changed(&other, KeyChange::Retire).await;
    assert_eq!((other.state, other.in_jwks()), (KeyState::Retired, false), "out of the JWKS already");
    b.refused(&other, KeyChange::Retire).await;
}

async fn a_compromised_key_leaves_the_jwks_at_once(b: Bench) {
    let (first, second) = b.rotated().await;
    let tenant = first.tenant_id;
    let intent = intent(tenant, KeyPlan::Publish);
    b.store.begin_signing_key(&intent, &key_event(&intent)).await.unwrap();
    b.refused(&intent, KeyChange::Compromise).await;
    b.set(&intent, "state = 'destroyed'").await;
    b.refused(&intent, KeyChange::Compromise).await;

    let before = b.now().await;
    let second = b.changed(&second, KeyChange::Compromise).await;
    let now = assert_taken_since(before, second.withdrawn_at);
    assert_eq!((second.state, second.deactivated_at, second.keep_private_until), (KeyState::Compromised, Some(now), Some(now)));
    assert!(b.store.active_signing_key(tenant).await.unwrap().is_none());
    b.refused(&second, KeyChange::Compromise).await;
    let first = b.changed(&first, KeyChange::Compromise).await;
    assert!(first.withdrawn_at.is_some() && first.deactivated_at < first.withdrawn_at);
    let standby = b.standby(tenant).await;
    b.changed(&standby, KeyChange::Compromise).await;
    let made = b.made(tenant, KeyPlan::None).await;
    assert_eq!(b.changed(&made, KeyChange::Compromise).await.withdrawn_at, None, "it never was in the JWKS");
    assert!(b.store.published_signing_keys(tenant).await.unwrap().is_empty());
    for change in [KeyChange::Retire, reinstate(None), KeyChange::Plan(KeyPlan::Publish), NOW_USABLE] {
        b.refused(&second, change).await;
    }
}

async fn a_private_half_goes_when_its_time_is_over(b: Bench) {
    let (first, second) = b.rotated().await;
    let standby = b.standby(first.tenant_id).await;
    for key in [&first, &second, &standby] {
        b.refused(key, BEGIN).await;
        b.refused(key, KeyChange::FinishDestruction).await;
    }
    b.set(&first, "keep_private_until = 1").await;
    let before = b.now().await;
    let first = b.changed(&first, BEGIN).await;
    let begun = assert_taken_since(before, first.destroying_at);
    b.refused(&first, reinstate(Some(second.id))).await;
    assert_eq!(b.changed(&first, BEGIN).await.destroying_at, Some(begun), "taken up again");
    let first = b.changed(&first, KeyChange::FinishDestruction).await;
    assert_taken_since(before, first.private_destroyed_at);
    assert_eq!((first.state, first.in_jwks()), (KeyState::Retiring, true), "its last tokens are still verified");
    for change in [BEGIN, COMMAND, KeyChange::FinishDestruction, reinstate(Some(second.id))] {
        b.refused(&first, change).await;
    }
    b.set(&first, "withdraw_from = 1").await;
    assert_eq!(b.changed(&first, KeyChange::Withdraw).await.state, KeyState::Retired);
    // A compromised one at once, and it stays what it is.
    let second = b.changed(&second, KeyChange::Compromise).await;
    b.changed(&second, BEGIN).await;
    assert_eq!(b.changed(&second, KeyChange::FinishDestruction).await.state, KeyState::Compromised);
}

async fn a_private_half_goes_by_command(b: Bench) {
    let (first, second) = b.rotated().await;
    b.refused(&second, COMMAND).await;
    let standby = b.standby(first.tenant_id).await;
    b.changed(&standby, COMMAND).await;
    b.refused(&standby, in_the_place_of(second.id)).await;
    let second = b.changed(&second, KeyChange::Compromise).await;
    for key in [first, standby, second] {
        let before = b.now().await;
        b.changed(&key, COMMAND).await;
        let key = b.changed(&key, KeyChange::FinishDestruction).await;
        assert_taken_since(before, key.private_destroyed_at);
        assert_eq!((key.state, key.in_jwks(), key.withdrawn_at.is_some()), (KeyState::Destroyed, false, true));
        for change in [COMMAND, BEGIN, KeyChange::FinishDestruction, KeyChange::Compromise, KeyChange::Retire] {
            b.refused(&key, change).await;
        }
    }
    // What the scheduler began a command may take over: it ends as the command wants it.
    let (first, _) = b.rotated().await;
    b.set(&first, "keep_private_until = 1").await;
    b.changed(&first, BEGIN).await;
    b.changed(&first, COMMAND).await;
    b.changed(&first, BEGIN).await;
    assert_eq!(b.changed(&first, KeyChange::FinishDestruction).await.state, KeyState::Destroyed);
}

async fn an_intent_ends_destroyed(b: Bench) {
    let (tenant, _) = b.tenant().await;
    let intent = intent(tenant.id, KeyPlan::Publish);
    b.store.begin_signing_key(&intent, &key_event(&intent)).await.unwrap();
    b.refused(&intent, BEGIN).await;
    b.changed(&intent, COMMAND).await;
    let made = SigningKey { public_key: Some(vec![1]), ..intent.clone() };
    assert!(!b.store.complete_signing_key(&made, &key_event(&made)).await.unwrap());
    let key = b.changed(&intent, KeyChange::FinishDestruction).await;
    assert_eq!((key.state, key.withdrawn_at), (KeyState::Destroyed, None));
    b.made(tenant.id, KeyPlan::Publish).await;
}

async fn the_end_of_a_tenant_ends_its_keys(b: Bench) {
    let (first, second) = b.rotated().await;
    let tenant = first.tenant_id;
    let (standby, made) = (b.standby(tenant).await, b.made(tenant, KeyPlan::Publish).await);
    let purge_from = b.now().await + Duration::from_mins(1);
    b.set_tenant(tenant, &format!("deleted_at = 1, purge_from = {}", purge_from.as_millis())).await;
    b.refused(&second, BEGIN).await;
    assert!(due(&b).await.to_destroy.is_empty());
    b.set_tenant(tenant, "purge_from = 1").await;
    let to_destroy = due(&b).await.to_destroy;
    assert_eq!(to_destroy.len(), 4);
    for key in to_destroy {
        b.changed(&key, BEGIN).await;
        let key = b.changed(&key, KeyChange::FinishDestruction).await;
        assert_eq!(key.state, if key.id == first.id { KeyState::Retiring } else { KeyState::Destroyed });
    }
    for key in [first, second, standby, made] {
        assert!(b.key(key.id).await.private_destroyed_at.is_some());
    }
    assert!(due(&b).await.to_destroy.is_empty());
}

async fn due(b: &Bench) -> DueKeys {
    b.store.due_keys(Duration::ZERO, 9, None).await.unwrap()
}

/// Which lists have the key, in their order.
async fn lists(b: &Bench, key: &SigningKey) -> Vec<&'static str> {
    let d = due(b).await;
    let lists = [
        ("generate", d.to_generate),
        ("publish", d.to_publish),
        ("activate", d.to_activate),
        ("rotate", d.to_rotate),
        ("withdraw", d.to_withdraw),
        ("destroy", d.to_destroy),
    ];
    lists.iter().filter(|(_, keys)| keys.iter().any(|k| k.id == key.id)).map(|(name, _)| *name).collect()
}

const NONE: [&str; 0] = [];

async fn what_is_made_is_due(b: Bench) {
    let (tenant, active) = b.tenant().await;
    let intent = intent(tenant.id, KeyPlan::Activate);
    b.store.begin_signing_key(&intent, &key_event(&intent)).await.unwrap();
    assert_eq!(lists(&b, &intent).await, ["generate"]);
    let age = b.now().await.since(intent.created_at);
    assert!(b.store.due_keys(age + Duration::from_mins(1), 9, None).await.unwrap().to_generate.is_empty(), "it may be under way");
    let made = SigningKey { evidence: crate::bench::activated(&intent).evidence, ..made_of(&intent) };
    assert!(b.store.complete_signing_key(&made, &key_event(&made)).await.unwrap());
    assert_eq!(lists(&b, &made).await, ["publish"]);
    b.changed(&made, KeyChange::Plan(KeyPlan::None)).await;
    assert_eq!(lists(&b, &made).await, NONE);
    b.changed(&made, KeyChange::Plan(KeyPlan::Activate)).await;
    let key = b.changed(&made, KeyChange::Publish { publication: Duration::from_mins(1) }).await;
    assert_eq!(lists(&b, &key).await, NONE);
    b.set(&key, "usable_from = 1").await;
    assert_eq!(lists(&b, &key).await, ["activate"]);
    b.set_tenant(tenant.id, "deleted_at = 1").await;
    assert_eq!(lists(&b, &key).await, NONE);
    b.set_tenant(tenant.id, "deleted_at = NULL").await;
    // The key before it is due, but its successor is on the way.
    b.set(&active, "rotate_from = 1").await;
    assert_eq!(lists(&b, &active).await, NONE);
    b.changed(&key, KeyChange::Plan(KeyPlan::Publish)).await;
    assert_eq!((lists(&b, &key).await, lists(&b, &active).await), (Vec::new(), vec!["rotate"]));
    assert_eq!(b.store.due_keys(Duration::ZERO, 0, None).await.unwrap().to_rotate.len(), 0);
}

fn made_of(intent: &SigningKey) -> SigningKey {
    SigningKey { public_key: Some(vec![0x30]), cka_id: Some(vec![1]), token_serial: Some("s".to_owned()), ..intent.clone() }
}

async fn what_is_over_is_due(b: Bench) {
    let (first, second) = b.rotated().await;
    assert_eq!((lists(&b, &first).await, lists(&b, &second).await), (Vec::new(), Vec::new()));
    b.set(&first, "withdraw_from = 1").await;
    assert_eq!(lists(&b, &first).await, ["withdraw"]);
    b.set(&first, "keep_private_until = 1").await;
    assert_eq!(lists(&b, &first).await, ["withdraw", "destroy"]);
    b.changed(&first, KeyChange::Withdraw).await;
    assert_eq!(lists(&b, &first).await, ["destroy"]);
    b.changed(&first, BEGIN).await;
    assert_eq!(lists(&b, &first).await, ["destroy"], "until it is finished");
    b.changed(&first, KeyChange::FinishDestruction).await;
    assert_eq!(lists(&b, &first).await, NONE);
    b.changed(&second, KeyChange::Suspend(TIMES)).await;
    b.set(&second, "withdraw_from = 1, keep_private_until = 1").await;
    assert_eq!(lists(&b, &second).await, ["withdraw"], "its private half is kept");
    b.changed(&second, KeyChange::Compromise).await;
    assert_eq!(lists(&b, &second).await, ["destroy"]);
}

async fn a_standby_is_missed(b: Bench) {
    let (tenant, active) = b.tenant().await;
    assert_eq!(due(&b).await.lacking_standby, [tenant.id]);
    let unwanted = if b.store.engine().to_string() == "SQLite" { "wants_standby = 0" } else { "wants_standby = FALSE" };
    b.set_tenant(tenant.id, unwanted).await;
    assert!(due(&b).await.lacking_standby.is_empty());
    b.set_tenant(tenant.id, &unwanted.replace('0', "1").replace("FALSE", "TRUE")).await;
    let standby = b.made(tenant.id, KeyPlan::Publish).await;
    assert!(due(&b).await.lacking_standby.is_empty());
    let standby = b.changed(&standby, NOW_USABLE).await;
    assert!(due(&b).await.lacking_standby.is_empty());
    b.changed(&standby, in_the_place_of(active.id)).await;
    assert_eq!(due(&b).await.lacking_standby, [tenant.id]);
    b.changed(&standby, KeyChange::Suspend(TIMES)).await;
    assert!(due(&b).await.lacking_standby.is_empty(), "it does not sign");
    b.changed(&standby, reinstate(None)).await;
    b.set_tenant(tenant.id, "deleted_at = 1").await;
    assert!(due(&b).await.lacking_standby.is_empty());
}

async fn intents_of_the_last_minute_are_counted(b: Bench) {
    let (tenant, _) = b.tenant().await;
    assert_eq!(due(&b).await.intents_of_last_minute, 0, "the bench's keys are old");
    let recent = SigningKey { created_at: b.now().await, ..intent(tenant.id, KeyPlan::Publish) };
    b.store.begin_signing_key(&recent, &key_event(&recent)).await.unwrap();
    assert_eq!(due(&b).await.intents_of_last_minute, 1);
    b.set(&recent, "origin = 'adopted'").await;
    assert_eq!(due(&b).await.intents_of_last_minute, 0);
}
