use openssl::{
    ec::{EcGroup, EcKey},
    ecdsa::EcdsaSig,
    nid::Nid,
    pkey::PKey,
    sha::sha256,
};
use serde_json::json;

use super::*;
use crate::{
    domain::{KeyEvidence, KeyId, KeyPlan, ReplicaId, SigningAlgorithm, SystemRng, TenantId},
    hsm::EVIDENCE_PREFIX,
};

const NOW: Timestamp = Timestamp::from_millis(1_000_000);
const LATER: Timestamp = Timestamp::from_millis(1_000_001);

fn pending() -> SigningKey {
    let (kid, tenant) = (KeyId::random(&SystemRng), TenantId::random(&SystemRng));
    SigningKey::intent(kid, tenant, SigningAlgorithm::Es256, None, KeyPlan::None, NOW)
}

/// A key that was made, and what its record says of it beside the necessary.
fn made(attributes: &Value) -> SigningKey {
    with_record(|kid, spki| json!({ "kid": kid, "algorithm": "ES256", "public_key": spki, "attributes": attributes }).to_string())
}

fn with_record(record: impl FnOnce(KeyId, &str) -> String) -> SigningKey {
    let private = EcKey::generate(&EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap()).unwrap();
    let spki = PKey::from_ec_key(private.clone()).unwrap().public_key_to_der().unwrap();
    let key = pending();
    let record = record(key.id, &URL_SAFE_NO_PAD.encode(&spki));
    let signature = EcdsaSig::sign(&sha256(&[EVIDENCE_PREFIX, record.as_bytes()].concat()), &private).unwrap();
    let signature = [signature.r().to_vec_padded(32).unwrap(), signature.s().to_vec_padded(32).unwrap()].concat();
    SigningKey {
        public_key: Some(spki),
        cka_id: Some(key.id.as_bytes().to_vec()),
        token_serial: Some("here".to_owned()),
        evidence: Some(KeyEvidence { record, signature }),
        ..key
    }
}

/// The rule that was broken.
fn rule(kept: Kept) -> Option<KeyRule> {
    kept.err().map(|refusal| refusal.rule)
}

#[test]
fn a_refusal_says_which_state_it_is_and_which_it_should_be() {
    let key = pending();
    assert_eq!(in_state(&key, &[KeyState::Published, KeyState::Pending]), Ok(()));
    let refusal = in_state(&key, &[KeyState::Published, KeyState::Suspended]).unwrap_err();
    assert_eq!(refusal.to_string(), format!("state: key {} is pending, not published or suspended", key.id));
}

#[test]
fn what_signs_needs_a_successor_and_no_second_beside_it() {
    let active = SigningKey { state: KeyState::Active, ..pending() };
    assert_eq!(rule(successor(&active)), Some(KeyRule::Successor));
    assert_eq!(rule(successor(&pending())), None);
    assert_eq!(rule(one_active(Some(&active))), Some(KeyRule::OneActive));
    assert_eq!(rule(one_active(None)), None);
}

#[test]
fn what_was_not_made_can_be_finished() {
    assert_eq!(was_made(&made(&json!({}))), Ok(()));
    let key = pending();
    let refusal = was_made(&key).unwrap_err();
    assert!(refusal.rule == KeyRule::State && refusal.detail.contains(&format!("key generate --resume {}", key.id)), "{refusal}");
    assert!(one_pending(&key).detail.contains("--resume") && one_pending(&made(&json!({}))).detail.contains("publish or retire"));
}

#[test]
fn no_key_signs_before_its_time() {
    let from = |usable_from| SigningKey { usable_from, ..pending() };
    assert_eq!(rule(publication_time(&from(Some(NOW)), NOW)), None);
    assert_eq!(rule(publication_time(&from(Some(LATER)), NOW)), Some(KeyRule::PublicationTime));
    assert_eq!(rule(publication_time(&from(None), NOW)), Some(KeyRule::PublicationTime));
}

#[test]
fn no_key_signs_that_a_server_does_not_serve() {
    let key = SigningKey { published_revision: 7, ..pending() };
    let server = |key_revision| Replica {
        id: ReplicaId::random(&SystemRng),
        host: "there".to_owned(),
        pid: 42,
        version: String::new(),
        started_at: NOW,
        seen_at: NOW,
        key_revision,
    };
    assert_eq!(rule(replicas(&key, &[])), None);
    assert_eq!(rule(replicas(&key, &[server(7), server(8)])), None);
    let refusal = replicas(&key, &[server(8), server(6)]).unwrap_err();
    assert!(refusal.rule == KeyRule::Replicas && refusal.detail.contains("there (process 42"), "{refusal}");
}

#[test]
fn evidence_is_its_own() {
    let key = made(&json!({}));
    assert_eq!(rule(evidence(&key)), None);
    let without = SigningKey { evidence: None, ..key.clone() };
    let of_another = SigningKey { evidence: made(&json!({})).evidence, ..key.clone() };
    let mut altered = key.clone();
    altered.evidence.as_mut().unwrap().record.push(' ');
    let renamed = SigningKey { id: KeyId::random(&SystemRng), ..key };
    let unreadable = with_record(|_, _| "[]".to_owned());
    for key in [without, of_another, altered, renamed, unreadable] {
        assert_eq!(rule(evidence(&key)), Some(KeyRule::Evidence));
    }
}

#[test]
fn a_strict_policy_wants_to_hear_all_of_it() {
    let strict: KeyPolicy = serde_json::from_value(json!({ "strict": true })).unwrap();
    let good = json!({ "CKA_LOCAL": true, "CKA_SENSITIVE": true, "CKA_ALWAYS_SENSITIVE": true, "CKA_EXTRACTABLE": false,
        "CKA_NEVER_EXTRACTABLE": true, "CKA_MODIFIABLE": false });
    assert_eq!(rule(strict_policy(&strict, &made(&good))), None);
    for (name, wanted) in STRICT {
        for other in [json!(!wanted), Value::Null, json!(i32::from(wanted))] {
            let mut attributes = good.clone();
            attributes[name] = other;
            let refusal = strict_policy(&strict, &made(&attributes)).unwrap_err();
            assert!(refusal.rule == KeyRule::StrictPolicy && refusal.detail.contains(name), "{refusal}");
            assert_eq!(rule(strict_policy(&KeyPolicy::default(), &made(&attributes))), None);
        }
    }
    assert_eq!(rule(strict_policy(&strict, &pending())), Some(KeyRule::Evidence));
}

#[test]
fn a_rotation_is_undone_inside_its_window_alone() {
    let before = SigningKey { state: KeyState::Retiring, keep_private_until: Some(LATER), ..made(&json!({})) };
    assert_eq!(rule(rollback(&before, NOW)), None);
    for bad in [
        SigningKey { state: KeyState::Retired, ..before.clone() },
        SigningKey { state: KeyState::Compromised, ..before.clone() },
        SigningKey { withdrawn_at: Some(NOW), ..before.clone() },
        SigningKey { destroying_at: Some(NOW), ..before.clone() },
        SigningKey { private_destroyed_at: Some(NOW), ..before.clone() },
        SigningKey { keep_private_until: Some(NOW), ..before.clone() },
        SigningKey { keep_private_until: None, ..before.clone() },
    ] {
        assert_eq!(rule(rollback(&bad, NOW)), Some(KeyRule::RollbackWindow));
    }
}

#[test]
fn a_private_half_is_there_and_on_this_token() {
    let key = made(&json!({}));
    assert_eq!(rule(private_half(&key)), None);
    assert_eq!(rule(private_half(&SigningKey { destroying_at: Some(NOW), ..key.clone() })), Some(KeyRule::PrivateHalf));
    assert_eq!(rule(private_half(&SigningKey { private_destroyed_at: Some(NOW), ..key.clone() })), Some(KeyRule::PrivateHalf));
    assert_eq!(rule(token(&key, "here")), None);
    assert_eq!(rule(token(&key, "there")), Some(KeyRule::Token));
    assert_eq!(rule(token(&pending(), "there")), None);
}
