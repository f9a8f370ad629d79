//! Signing keys, as far as this issue's life of a key goes.

use passkey_hsm::{
    domain::{KeyId, KeyState, Page, SystemRng, TenantId},
    storage::KeyFilter,
};

use crate::bench::{Bench, at};

on_both_engines! {
    the_jwks_has_the_keys_of_four_states_in_a_stable_order,
    a_tenant_has_one_active_key_at_most,
    keys_are_listed_in_pages_by_state_and_by_what_is_due,
}

/// Adds a key in some state behind the store's back, younger than those before.
async fn add(b: &Bench, tenant: TenantId, state: KeyState, age: i64) -> KeyId {
    let id = KeyId::random(&SystemRng);
    let columns = "(id, tenant_id, algorithm, state, public_key, cka_id, token_serial, created_at, activated_at)";
    let (hex, tenant_hex) = (id.as_uuid().simple(), tenant.as_uuid().simple());
    b.sql(
        &format!(r"INSERT INTO signing_keys {columns} VALUES ('{hex}', '{tenant_hex}', 'ES256', '{state}', '\x30', '\x31', 's', {age}, 1)"),
        &format!("INSERT INTO signing_keys {columns} VALUES (x'{hex}', x'{tenant_hex}', 'ES256', '{state}', x'30', x'31', 's', {age}, 1)"),
    )
    .await;
    id
}

async fn the_jwks_has_the_keys_of_four_states_in_a_stable_order(b: Bench) {
    let ((tenant, active), (other, _)) = (b.tenant().await, b.tenant().await);
    let mut expected = Vec::new();
    for (age, state) in (0..).zip(KeyState::ALL.iter().filter(|s| **s != KeyState::Active)) {
        let id = add(&b, tenant.id, *state, age).await;
        if state.in_jwks() {
            expected.push(id);
        }
    }
    expected.push(active.id);
    let published: Vec<_> = b.store.published_signing_keys(tenant.id).await.unwrap().into_iter().map(|k| k.id).collect();
    assert_eq!(published, expected);
    assert_eq!(b.store.active_signing_key(tenant.id).await.unwrap().unwrap().id, active.id);
    assert_eq!(b.store.published_signing_keys(other.id).await.unwrap().len(), 1);
    assert_eq!(b.store.signing_keys().await.unwrap().len(), KeyState::ALL.len() + 1);
}

async fn a_tenant_has_one_active_key_at_most(b: Bench) {
    let (tenant, _) = b.tenant().await;
    let second = tokio::spawn(async move { add(&b, tenant.id, KeyState::Active, 1).await });
    let error = second.await.unwrap_err().into_panic();
    let message = error.downcast_ref::<String>().unwrap();
    assert!(message.to_lowercase().contains("unique"), "{message}");
}

async fn keys_are_listed_in_pages_by_state_and_by_what_is_due(b: Bench) {
    let mut active = Vec::new();
    for _ in 0..3 {
        let (tenant, key) = b.tenant().await;
        add(&b, tenant.id, KeyState::Retired, 1).await;
        active.push((tenant.id, key.id));
    }
    active.sort_unstable();
    let due = active[1].1;
    let rotate = |id: String| format!("UPDATE signing_keys SET rotate_from = {} WHERE id = {id}", at(5).as_millis());
    b.sql(&rotate(format!("'{due}'")), &rotate(format!("x'{}'", due.as_uuid().simple()))).await;
    let listed = async |filter: KeyFilter, page| {
        let (keys, total) = b.store.signing_keys_page(filter, page).await.unwrap();
        assert!(keys.iter().all(|key| filter.admits(key)));
        (keys.into_iter().map(|key| key.id).collect::<Vec<_>>(), total)
    };
    let first = Page::new(1, 10);
    let everything = listed(KeyFilter::default(), first).await;
    assert_eq!((everything.0.len(), everything.1), (6, 6));
    assert_eq!(listed(KeyFilter::default(), Page::new(2, 4)).await, (everything.0[4..].to_vec(), 6));
    assert_eq!(listed(KeyFilter::default(), Page::new(3, 4)).await, (Vec::new(), 6));
    let signing = KeyFilter { state: Some(KeyState::Active), due: None };
    assert_eq!(listed(signing, first).await, (active.iter().map(|(_, id)| *id).collect(), 3));
    for (now, expected) in [(4, Vec::new()), (5, vec![due])] {
        let total = u64::try_from(expected.len()).unwrap();
        assert_eq!(listed(KeyFilter { state: None, due: Some(at(now)) }, first).await, (expected, total), "{now}");
    }
}
