//! What `doctor` says of signing keys: what was cut short, what is overdue, what is missing; each with the command that mends it.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use super::Finding;
use crate::{
    cli::Failure,
    domain::{KeyState, SigningKey, Tenant, TenantId, Timestamp},
    hsm::{HEALTH_KEY, Inventory, ROOT_KEY},
    services::Services,
};

/// How late the scheduler may be: a server was restarted, a token was away for a moment.
const GRACE: Duration = Duration::from_mins(10);

/// What database and token say of keys; of the token nothing where it was not listed.
pub(super) async fn check(services: &Services, on_token: Option<&Inventory>) -> Result<Vec<Finding>, Failure> {
    let store = &services.context.store;
    let (keys, tenants, now) = (store.signing_keys().await?, store.tenants().await?, store.database_now().await?);
    let mut findings = lives(&keys, &tenants, on_token, now);
    if let Some(inventory) = on_token {
        findings.extend(differences(&keys, inventory));
    }
    Ok(findings)
}

/// What is amiss in the lives of keys, and of tenants for want of them.
fn lives(keys: &[SigningKey], tenants: &[Tenant], on_token: Option<&Inventory>, now: Timestamp) -> Vec<Finding> {
    let by_id: HashMap<TenantId, &Tenant> = tenants.iter().map(|tenant| (tenant.id, tenant)).collect();
    let mut findings = Vec::new();
    for key in keys {
        let finding = match by_id.get(&key.tenant_id) {
            Some(_) if key.state == KeyState::Pending && key.public_key.is_none() => Some(unmade(key, on_token)),
            Some(tenant) if key.state == KeyState::Active => overdue_rotation(key, tenant, now),
            _ => overdue_end(key, now),
        };
        findings.extend(finding);
    }
    findings.extend(tenants.iter().filter_map(|tenant| without_key(tenant, keys)));
    findings
}

/// A key whose making was cut short.
fn unmade(key: &SigningKey, on_token: Option<&Inventory>) -> Finding {
    let (kid, tenant) = (key.id, key.tenant_id);
    let is_there = on_token.is_some_and(|inventory| inventory.keys.iter().any(|k| k.cka_id == kid.as_bytes()));
    let detail = if is_there {
        format!("the making of key {kid} of tenant {tenant} was cut short: the token has it, the database does not know its public half")
    } else {
        format!("the making of key {kid} of tenant {tenant} was cut short, before the token made it")
    };
    Finding::bad(
        "keys",
        detail,
        format!("finish it: passkey-hsm key generate --resume {kid}; or give it up: passkey-hsm key destroy {kid}"),
    )
}

/// A key whose successor should sign by now.
fn overdue_rotation(key: &SigningKey, tenant: &Tenant, now: Timestamp) -> Option<Finding> {
    let due = key.rotate_from?;
    // Without a standby the successor has to be published first.
    let late = due + tenant.settings.keys.publication() + GRACE;
    (now > late).then(|| {
        let detail = format!("key {} of tenant {} should have been replaced since {due}", key.id, tenant.id);
        let advice = format!("see to it that a server runs with keys.scheduler on; at once: passkey-hsm key rotate {}", tenant.id);
        Finding::bad("keys", detail, advice)
    })
}

/// A private half that should be gone.
fn overdue_end(key: &SigningKey, now: Timestamp) -> Option<Finding> {
    if key.private_destroyed_at.is_some() || key.state == KeyState::Destroyed {
        return None;
    }
    let kid = key.id;
    let advice = format!("finish it: passkey-hsm key destroy {kid}");
    if let Some(begun) = key.destroying_at {
        let detail = format!("the destruction of key {kid} was begun at {begun} and not finished");
        return Some(Finding::bad("keys", detail, advice));
    }
    let due = match key.state {
        KeyState::Retiring => key.keep_private_until?,
        KeyState::Retired => key.keep_private_until.or(key.withdrawn_at).unwrap_or(key.created_at),
        KeyState::Compromised => key.withdrawn_at.unwrap_or(key.created_at),
        _ => return None,
    };
    (now > due + GRACE).then(|| {
        let detail = format!("the private half of key {kid} ({}) should have been destroyed since {due}", key.state);
        Finding::bad("keys", detail, format!("see to it that a server runs with keys.scheduler on; at once: passkey-hsm key destroy {kid}"))
    })
}

/// A tenant whose users cannot sign in.
fn without_key(tenant: &Tenant, keys: &[SigningKey]) -> Option<Finding> {
    let id = tenant.id;
    let mut own = keys.iter().filter(|k| k.tenant_id == id);
    if own.clone().any(|k| k.state == KeyState::Active) {
        return None;
    }
    let suspended = own.clone().find(|k| k.state == KeyState::Suspended && k.in_jwks());
    let (detail, advice) = match suspended {
        Some(key) => (format!("tenant {id} has no active key: key {} is suspended", key.id), format!("passkey-hsm key resume {}", key.id)),
        None if own.any(|k| k.published_at.is_some()) => {
            (format!("tenant {id} has no active key"), format!("passkey-hsm key rotate {id} --emergency"))
        }
        None => (format!("tenant {id} waits for its first key"), format!("passkey-hsm key adopt {id}, or passkey-hsm key rotate {id}")),
    };
    Some(Finding::bad("keys", format!("{detail}: its users cannot sign in"), advice))
}

/// Keys that the database has and the token lacks, and the other way round.
fn differences(keys: &[SigningKey], inventory: &Inventory) -> Vec<Finding> {
    let on_token: BTreeMap<&[u8], u32> = inventory.keys.iter().map(|k| (k.cka_id.as_slice(), k.private_keys)).collect();
    // One whose end has begun may be gone already, and one that was not made is not there yet: both are named for what they are.
    let is_whole = |k: &SigningKey| k.cka_id.is_some() && k.state != KeyState::Destroyed;
    let expected = |k: &&SigningKey| is_whole(k) && k.private_destroyed_at.is_none() && k.destroying_at.is_none();
    let mut findings = Vec::new();
    // Whatever serial number a key's row has: a token that was restored on another device has its keys and another number.
    for key in keys.iter().filter(expected) {
        let id = key.cka_id.as_deref().unwrap_or_default();
        if on_token.get(id).copied().unwrap_or(0) == 0 {
            let made_on = key.token_serial.as_deref().filter(|serial| *serial != inventory.token.serial);
            let made_on = made_on.map(|serial| format!(", made on the token with serial {serial}")).unwrap_or_default();
            let detail = format!("the token lacks key {} of tenant {} ({}{made_on})", key.id, key.tenant_id, key.state);
            let new_key = format!("passkey-hsm key rotate {} --emergency --accept-exposure", key.tenant_id);
            let advice = format!(
                "nothing is made anew by itself: configure or restore the token that has it, or give the tenant a new key: {new_key}"
            );
            findings.push(Finding::bad("keys", detail, advice));
        }
    }
    for key in keys.iter().filter(|k| k.private_destroyed_at.is_some()) {
        let id = key.cka_id.as_deref().unwrap_or_else(|| key.id.as_bytes());
        if key.token_serial.as_ref().is_none_or(|serial| *serial == inventory.token.serial) && on_token.get(id).is_some_and(|n| *n > 0) {
            let detail = format!("the token has key {} of tenant {}, which was destroyed: somebody has put it back", key.id, key.tenant_id);
            findings.push(Finding::bad("keys", detail, "find out who; remove it with the vendor's tool, by the label that is its id"));
        }
    }
    if findings.is_empty() {
        let active = match keys.iter().filter(|k| k.state == KeyState::Active).count() {
            0 => "none yet".to_owned(),
            n => format!("{n} active, all on the token"),
        };
        let others = match inventory.keys.iter().filter(|k| is_unowned(&k.cka_id, keys)).count() {
            0 => String::new(),
            n => format!("; {n} on the token belong to nobody here"),
        };
        findings.push(Finding::good("keys", format!("{active}{others}")));
    }
    findings
}

/// Whether no row owns the key of that `CKA_ID`.
fn is_unowned(cka_id: &[u8], keys: &[SigningKey]) -> bool {
    let owns = |k: &SigningKey| k.cka_id.as_deref() == Some(cka_id) || k.id.as_bytes().as_slice() == cka_id;
    ![HEALTH_KEY, ROOT_KEY].iter().any(|reserved| reserved.as_bytes() == cka_id) && !keys.iter().any(owns)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::{KeyId, KeyPlan, SigningAlgorithm, SystemRng},
        hsm::{InventoryKey, TokenInfo},
    };

    fn key(state: KeyState, serial: &str) -> SigningKey {
        let id = KeyId::random(&SystemRng);
        let made = state != KeyState::Pending;
        SigningKey {
            state,
            cka_id: made.then(|| id.as_bytes().to_vec()),
            token_serial: made.then(|| serial.to_owned()),
            ..SigningKey::intent(id, TenantId::random(&SystemRng), SigningAlgorithm::Es256, None, KeyPlan::None, Timestamp::from_millis(0))
        }
    }

    /// A token of serial `here` with these keys, the health key and the root key.
    fn token<'a>(keys: impl IntoIterator<Item = &'a SigningKey>) -> Inventory {
        let on_token = |id: &[u8]| InventoryKey {
            cka_id: id.to_vec(),
            label: String::new(),
            key_type: "EC".to_owned(),
            private_keys: 1,
            public_keys: 1,
        };
        let keys =
            keys.into_iter().map(|k| on_token(k.id.as_bytes())).chain([HEALTH_KEY, ROOT_KEY].map(|k| on_token(k.as_bytes()))).collect();
        let [label, manufacturer, model, firmware, module, module_sha256, library] = Default::default();
        let serial = "here".to_owned();
        Inventory { token: TokenInfo { label, serial, manufacturer, model, firmware, module, module_sha256, library }, keys }
    }

    fn details(keys: &[SigningKey], inventory: &Inventory) -> Vec<(bool, String)> {
        differences(keys, inventory).into_iter().map(|f| (f.ok, f.detail)).collect()
    }

    #[test]
    fn all_is_well_where_each_key_has_its_pair() {
        assert_eq!(details(&[], &token([])), [(true, "none yet".to_owned())]);
        let keys = [key(KeyState::Active, "here"), key(KeyState::Pending, ""), key(KeyState::Destroyed, "here")];
        assert_eq!(details(&keys, &token(&keys[..1])), [(true, "1 active, all on the token".to_owned())]);
        assert_eq!(details(&[], &token(&keys[..1])), [(true, "none yet; 1 on the token belong to nobody here".to_owned())]);
    }

    #[test]
    fn a_key_that_is_not_there_is_named() {
        let keys = [key(KeyState::Active, "here"), key(KeyState::Retiring, "here")];
        let found = details(&keys, &token(&keys[..1]));
        assert!(matches!(found.as_slice(), [(false, text)] if text.contains(&format!("lacks key {}", keys[1].id))), "{found:?}");
    }

    #[test]
    fn a_key_that_was_destroyed_and_is_there_is_named() {
        let gone = SigningKey { private_destroyed_at: Some(LONG_AGO), ..key(KeyState::Retired, "here") };
        let found = details(std::slice::from_ref(&gone), &token([&gone]));
        assert!(matches!(found.as_slice(), [(false, text)] if text.contains("put it back")), "{found:?}");
        assert!(details(std::slice::from_ref(&gone), &token([])).iter().all(|(ok, _)| *ok));
    }

    #[test]
    fn a_token_made_anew_has_lost_its_keys() {
        let keys = [key(KeyState::Active, "before")];
        let found = details(&keys, &token([]));
        assert!(matches!(found.as_slice(), [(false, text)] if text.contains("made on the token with serial before")), "{found:?}");
    }

    const NOW: Timestamp = Timestamp::from_millis(100 * 86_400_000);
    const LONG_AGO: Timestamp = Timestamp::from_millis(86_400_000);

    fn tenant() -> Tenant {
        let config = serde_json::json!({
            "cors": {"allowed_origins": ["*"], "allow_unsafe_wildcard": false},
            "webauthn": {"timeout": 60000, "relying_party": {"id": "localhost", "display_name": "E", "origins": ["http://localhost"]}},
        });
        Tenant {
            id: TenantId::random(&SystemRng),
            display_name: String::new(),
            config: serde_json::from_value(config).unwrap(),
            settings: crate::domain::TenantSettings::default(),
            created_at: LONG_AGO,
        }
    }

    /// What is said of one key beside an active one, as detail and advice.
    fn said(key: impl FnOnce(SigningKey) -> SigningKey, state: KeyState, on_token: bool) -> Vec<(String, String)> {
        let tenant = tenant();
        let of_tenant = |k: SigningKey| SigningKey { tenant_id: tenant.id, ..k };
        let (key, active) = (key(of_tenant(super::tests::key(state, "here"))), of_tenant(super::tests::key(KeyState::Active, "here")));
        let inventory = token(on_token.then_some(&key));
        let keys = [key, active];
        lives(&keys, std::slice::from_ref(&tenant), Some(&inventory), NOW).into_iter().map(|f| (f.detail, f.advice)).collect()
    }

    #[test]
    fn what_was_cut_short_is_named_with_the_command_that_finishes_it() {
        let unmade = said(|k| k, KeyState::Pending, false);
        assert!(
            matches!(unmade.as_slice(), [(d, a)] if d.contains("before the token made it") && a.contains("key generate --resume")),
            "{unmade:?}"
        );
        let unwritten = said(|k| k, KeyState::Pending, true);
        assert!(matches!(unwritten.as_slice(), [(d, _)] if d.contains("the token has it")), "{unwritten:?}");
        let ending = said(|k| SigningKey { destroying_at: Some(NOW), ..k }, KeyState::Retired, true);
        assert!(matches!(ending.as_slice(), [(d, a)] if d.contains("was begun at") && a.contains("key destroy")), "{ending:?}");
    }

    #[test]
    fn a_private_half_that_should_be_gone_is_named_once_it_is_late() {
        let until = |keep, state| said(|k| SigningKey { keep_private_until: Some(keep), ..k }, state, true);
        for state in [KeyState::Retiring, KeyState::Retired] {
            assert!(
                matches!(until(LONG_AGO, state).as_slice(), [(d, a)] if d.contains("should have been destroyed") && a.contains("key destroy"))
            );
            assert_eq!(until(NOW, state), []);
        }
        let distrusted = said(|k| SigningKey { withdrawn_at: Some(LONG_AGO), ..k }, KeyState::Compromised, true);
        assert_eq!(distrusted.len(), 1, "{distrusted:?}");
        let gone = said(|k| SigningKey { private_destroyed_at: Some(LONG_AGO), ..k }, KeyState::Compromised, false);
        assert_eq!(gone, []);
        assert_eq!(said(|k| k, KeyState::Suspended, true), []);
    }

    #[test]
    fn a_rotation_that_is_overdue_is_named() {
        let tenant = tenant();
        let due = |from| {
            let key = SigningKey { tenant_id: tenant.id, rotate_from: from, ..key(KeyState::Active, "here") };
            lives(&[key], std::slice::from_ref(&tenant), None, NOW)
        };
        assert!(due(None).is_empty() && due(Some(NOW)).is_empty());
        let found = due(Some(LONG_AGO));
        assert!(matches!(found.as_slice(), [f] if f.advice.contains(&format!("key rotate {}", tenant.id))), "{found:?}");
    }

    #[test]
    fn a_tenant_without_an_active_key_is_named() {
        let tenant = tenant();
        let advice = |keys: &[SigningKey]| {
            let found = lives(keys, std::slice::from_ref(&tenant), None, NOW);
            assert_eq!(found.len(), 1, "{found:?}");
            found[0].advice.clone()
        };
        assert!(advice(&[]).contains("key adopt"));
        let of_tenant = |state| SigningKey { tenant_id: tenant.id, published_at: Some(LONG_AGO), ..key(state, "here") };
        assert!(advice(&[of_tenant(KeyState::Published)]).contains("key rotate"));
        let suspended = of_tenant(KeyState::Suspended);
        assert!(advice(std::slice::from_ref(&suspended)).contains(&format!("key resume {}", suspended.id)));
    }
}
