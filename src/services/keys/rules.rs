//! The rules that changes of keys have to keep: whether a key as it was read keeps them, and what to tell whoever asked where it does not.
//!
//! The database has the last word: each change is conditional there. These say the same beforehand, in words.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{
    domain::{KeyPolicy, KeyRefusal, KeyRule, KeyState, Replica, SigningKey, Timestamp},
    hsm::verify_evidence,
};

type Kept = Result<(), KeyRefusal>;

fn broken(rule: KeyRule, detail: impl Into<String>) -> Kept {
    Err(KeyRefusal::new(rule, detail))
}

/// The change begins in one of these states.
pub(super) fn in_state(key: &SigningKey, states: &[KeyState]) -> Kept {
    if states.contains(&key.state) {
        return Ok(());
    }
    let wanted = states.iter().map(|s| s.as_str()).collect::<Vec<_>>().join(" or ");
    broken(KeyRule::State, format!("key {} is {}, not {wanted}", key.id, key.state))
}

/// It does not sign: what ends its use needs a successor first.
pub(super) fn successor(key: &SigningKey) -> Kept {
    if key.state != KeyState::Active {
        return Ok(());
    }
    let tenant = key.tenant_id;
    broken(KeyRule::Successor, format!("it signs: passkey-hsm key rotate {tenant} gives the tenant another key first"))
}

/// The tenant's other key in the making.
pub(super) fn one_pending(pending: &SigningKey) -> KeyRefusal {
    let next = if pending.public_key.is_some() { "publish or retire it" } else { "finish it with passkey-hsm key generate --resume" };
    KeyRefusal::new(KeyRule::OnePending, format!("key {} ({}) is in the making: {next}", pending.id, pending.algorithm))
}

/// No other key of the tenant signs.
pub(super) fn one_active(active: Option<&SigningKey>) -> Kept {
    active.map_or(Ok(()), |k| broken(KeyRule::OneActive, format!("key {} signs for the tenant: rotate, or roll back, instead", k.id)))
}

/// The token has made it, and the database knows what it made.
pub(super) fn was_made(key: &SigningKey) -> Kept {
    if key.public_key.is_some() && key.cka_id.is_some() && key.token_serial.is_some() {
        return Ok(());
    }
    let detail =
        format!("it was never made, or its making was cut short: passkey-hsm key generate --resume {0}, or key destroy {0}", key.id);
    broken(KeyRule::State, detail)
}

/// P is over.
pub(super) fn publication_time(key: &SigningKey, now: Timestamp) -> Kept {
    match key.usable_from {
        Some(from) if now >= from => Ok(()),
        Some(from) => broken(
            KeyRule::PublicationTime,
            format!("verifiers may not have it before {from}; --accept-exposure has it sign although some will refuse its tokens"),
        ),
        None => broken(KeyRule::PublicationTime, "it was never published"),
    }
}

/// Every live server has looked at a JWKS that has it.
pub(super) fn replicas(key: &SigningKey, replicas: &[Replica]) -> Kept {
    match replicas.iter().find(|r| r.key_revision < key.published_revision) {
        None => Ok(()),
        Some(r) => broken(
            KeyRule::Replicas,
            format!("the server on {} (process {}, seen {}) does not serve the JWKS that has it yet", r.host, r.pid, r.seen_at),
        ),
    }
}

/// What of an evidence's record is held against the key's row.
#[derive(Deserialize)]
struct Record {
    kid: String,
    algorithm: String,
    public_key: String,
    #[serde(default)]
    attributes: Map<String, Value>,
}

/// The evidence of its birth is there, is about this key, and was signed by it.
pub(super) fn evidence(key: &SigningKey) -> Kept {
    record(key).map(|_| ())
}

fn record(key: &SigningKey) -> Result<Record, KeyRefusal> {
    let refused = |detail: &str| KeyRefusal::new(KeyRule::Evidence, detail);
    let (Some(evidence), Some(public_key)) = (&key.evidence, &key.public_key) else {
        return Err(refused("there is no evidence of its birth"));
    };
    if !verify_evidence(key.algorithm, public_key, evidence) {
        return Err(refused("the evidence of its birth was not signed by it"));
    }
    let record: Record = serde_json::from_str(&evidence.record).map_err(|_| refused("the record of its birth cannot be read"))?;
    let is_its = record.kid == key.id.to_string()
        && record.algorithm == key.algorithm.as_str()
        && record.public_key == URL_SAFE_NO_PAD.encode(public_key);
    if is_its { Ok(record) } else { Err(refused("the record of its birth is about another key")) }
}

/// What a strict policy wants to read of a private key (PKCS#11 section 4.9).
const STRICT: [(&str, bool); 6] = [
    ("CKA_LOCAL", true),
    ("CKA_SENSITIVE", true),
    ("CKA_ALWAYS_SENSITIVE", true),
    ("CKA_EXTRACTABLE", false),
    ("CKA_NEVER_EXTRACTABLE", true),
    ("CKA_MODIFIABLE", false),
];

/// The token says that it made it and that it never was outside, where the policy wants to hear that.
pub(super) fn strict_policy(policy: &KeyPolicy, key: &SigningKey) -> Kept {
    if !policy.strict() {
        return Ok(());
    }
    let attributes = record(key)?.attributes;
    let short = STRICT.iter().filter(|(name, wanted)| attributes.get(*name).and_then(Value::as_bool) != Some(*wanted));
    let short: Vec<_> = short.map(|(name, wanted)| format!("{name} is not {wanted}")).collect();
    if short.is_empty() {
        Ok(())
    } else {
        broken(KeyRule::StrictPolicy, format!("the token does not say that it is kept so: {}", short.join(", ")))
    }
}

/// The private half is still there, as far as the database knows, and its end has not begun.
pub(super) fn private_half(key: &SigningKey) -> Kept {
    match (key.private_destroyed_at, key.destroying_at) {
        (Some(at), _) => broken(KeyRule::PrivateHalf, format!("its private half was destroyed at {at}")),
        (None, Some(at)) => broken(KeyRule::PrivateHalf, format!("the end of its private half was begun at {at}")),
        (None, None) => Ok(()),
    }
}

/// It can take its place again: the last rotation can still be undone.
pub(super) fn rollback(before: &SigningKey, now: Timestamp) -> Kept {
    let over = |why: &str| {
        broken(KeyRule::RollbackWindow, format!("key {}, which signed before, {why}: the rotation cannot be undone", before.id))
    };
    if before.state != KeyState::Retiring || !before.in_jwks() {
        return over(&format!("is {}", before.state));
    }
    if private_half(before).is_err() {
        return over("has lost its private half, or is losing it");
    }
    match before.keep_private_until {
        Some(until) if now < until => Ok(()),
        Some(until) => over(&format!("was kept until {until}")),
        None => over("was not kept"),
    }
}

/// It is on the token that is configured.
pub(super) fn token(key: &SigningKey, configured: &str) -> Kept {
    match key.token_serial.as_deref() {
        Some(serial) if serial != configured => broken(
            KeyRule::Token,
            format!("it is on the token with serial {serial}, and the one that is configured has serial {configured}"),
        ),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
