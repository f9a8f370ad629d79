//! Signing keys as the admin API shows them.

use serde::Serialize;

use crate::{
    domain::{KeyOrigin, KeyPlan, KeyState, SigningAlgorithm, SigningKey, Timestamp, hex},
    hsm::thumbprint,
    http::json::rfc_3339,
    services::{Outcome, Rotation},
};

/// A signing key: its public facts and its dates.
#[derive(Debug, Serialize)]
pub(super) struct KeyResponse {
    kid: String,
    tenant_id: String,
    algorithm: SigningAlgorithm,
    /// Size of an RSA key.
    #[serde(skip_serializing_if = "Option::is_none")]
    rsa_bits: Option<u32>,
    state: KeyState,
    plan: KeyPlan,
    origin: KeyOrigin,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_serial: Option<String>,
    /// In hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    cka_id: Option<String>,
    /// Of RFC 7638.
    #[serde(skip_serializing_if = "Option::is_none")]
    thumbprint: Option<String>,
    in_jwks: bool,
    created_at: String,
    #[serde(flatten)]
    dates: Dates,
    #[serde(skip_serializing_if = "Option::is_none")]
    predecessor: Option<String>,
}

/// What has happened to it, or will.
#[derive(Debug, Serialize)]
struct Dates {
    #[serde(skip_serializing_if = "Option::is_none")]
    published_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usable_from: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    activated_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rotate_from: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deactivated_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    withdraw_from: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    withdrawn_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    keep_private_until: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    destroying_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    private_destroyed_at: Option<String>,
}

impl From<SigningKey> for KeyResponse {
    fn from(key: SigningKey) -> Self {
        let date = |instant: Option<Timestamp>| instant.map(rfc_3339);
        Self {
            kid: key.id.to_string(),
            tenant_id: key.tenant_id.to_string(),
            algorithm: key.algorithm,
            rsa_bits: key.rsa_bits,
            state: key.state,
            plan: key.plan,
            origin: key.origin,
            in_jwks: key.in_jwks(),
            thumbprint: key.public_key.as_deref().and_then(|public_key| thumbprint(key.algorithm, public_key)),
            token_serial: key.token_serial,
            cka_id: key.cka_id.as_deref().map(hex),
            created_at: rfc_3339(key.created_at),
            dates: Dates {
                published_at: date(key.published_at),
                usable_from: date(key.usable_from),
                activated_at: date(key.activated_at),
                rotate_from: date(key.rotate_from),
                deactivated_at: date(key.deactivated_at),
                withdraw_from: date(key.withdraw_from),
                withdrawn_at: date(key.withdrawn_at),
                keep_private_until: date(key.keep_private_until),
                destroying_at: date(key.destroying_at),
                private_destroyed_at: date(key.private_destroyed_at),
            },
            predecessor: key.predecessor.map(|kid| kid.to_string()),
        }
    }
}

/// What came of a change.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum OutcomeResponse {
    /// A key, as it is now.
    Key(Box<KeyResponse>),
    Compromised {
        key: Box<KeyResponse>,
        /// The key that signs now, if any.
        active: Option<Box<KeyResponse>>,
    },
    Rotation {
        rotation: &'static str,
        /// The key that signs, or will.
        key: Box<KeyResponse>,
        /// The key that signed before, where it was replaced now.
        #[serde(skip_serializing_if = "Option::is_none")]
        previous: Option<Box<KeyResponse>>,
    },
    Nothing {},
}

impl From<SigningKey> for OutcomeResponse {
    fn from(key: SigningKey) -> Self {
        Self::Key(Box::new(key.into()))
    }
}

impl From<Rotation> for OutcomeResponse {
    fn from(rotation: Rotation) -> Self {
        let (rotation, key, previous) = match rotation {
            Rotation::Done(key, previous) => ("done", key, previous),
            Rotation::Planned(key) => ("planned", key, None),
            Rotation::NotNeeded(key) => ("not_needed", key, None),
        };
        Self::Rotation { rotation, key: Box::new(key.into()), previous: previous.map(|key| Box::new(key.into())) }
    }
}

impl From<Outcome> for OutcomeResponse {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Key(key) => key.into(),
            Outcome::Compromised(key, active) => {
                Self::Compromised { key: Box::new(key.into()), active: active.map(|key| Box::new(key.into())) }
            }
            Outcome::Rotation(rotation) => rotation.into(),
            Outcome::Done => Self::Nothing {},
        }
    }
}

/// Bytes out of hexadecimal; `None` where it is none.
pub(super) fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |c: char| c.to_digit(16).and_then(|d| u8::try_from(d).ok());
    let digits: Vec<u8> = text.chars().map(digit).collect::<Option<_>>()?;
    digits.chunks(2).map(|pair| if let [high, low] = pair { Some(16 * high + low) } else { None }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_round_trips() {
        assert_eq!(unhex(&hex(&[0, 1, 0xab, 0xff])), Some(vec![0, 1, 0xab, 0xff]));
        assert_eq!(unhex("ABab"), Some(vec![0xab, 0xab]));
        assert_eq!((unhex(""), unhex("a"), unhex("0x"), unhex("\u{fc}\u{fc}")), (Some(Vec::new()), None, None, None));
    }
}
