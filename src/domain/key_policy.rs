//! How long a tenant's keys, tokens and JWKS live, and what the lengths have to do with one another.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A tenant's key policy: all lengths in whole seconds. Those that would let a verifier refuse a good token cannot be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "Lengths", into = "Lengths")]
pub struct KeyPolicy(Lengths);

/// The members as they are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Lengths {
    /// How long verifiers may keep a JWKS (`Cache-Control: max-age`).
    jwks_max_age_seconds: u32,
    /// From `iat` to `exp`.
    token_lifetime_seconds: u32,
    /// How far the clocks of verifiers may be off.
    clock_skew_seconds: u32,
    /// P: how long a key is in the JWKS before it may sign.
    publication_seconds: u32,
    /// R: how long a key stays in the JWKS after it signed last.
    retirement_seconds: u32,
    /// T: how long a key signs. Never replaced by itself where this is null.
    period_seconds: Option<u32>,
    /// How long a rotation can be undone: until then the private half of the key before is kept.
    rollback_seconds: u32,
    /// Whether a published key is always kept ready.
    standby: bool,
    /// Whether keys are refused of which the token does not say that it made them and that they never were outside.
    strict: bool,
}

/// Why a policy cannot be had. Each names the members and the bound.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyPolicyError {
    /// A length out of its range.
    #[error("{name} must be between {min} and {max}, not {found}")]
    Range {
        /// The member.
        name: &'static str,
        /// The least.
        min: u32,
        /// The most.
        max: u32,
        /// What it is.
        found: u32,
    },
    /// A verifier could get a token before it can know the key.
    #[error("publication_seconds must be at least twice jwks_max_age_seconds: {0}")]
    Publication(u32),
    /// A key could leave the JWKS before its last token has expired.
    #[error("retirement_seconds must be at least token_lifetime_seconds + jwks_max_age_seconds + clock_skew_seconds: {0}")]
    Retirement(u32),
    /// A key could be due before the one before it is gone.
    #[error("period_seconds must be at least publication_seconds + retirement_seconds: {0}")]
    Period(u32),
}

const DAY: u32 = 86_400;

impl Default for Lengths {
    fn default() -> Self {
        Self {
            jwks_max_age_seconds: 600,
            token_lifetime_seconds: 300,
            clock_skew_seconds: 60,
            publication_seconds: 3600,
            retirement_seconds: DAY,
            period_seconds: Some(90 * DAY),
            rollback_seconds: DAY,
            standby: true,
            strict: false,
        }
    }
}

impl TryFrom<Lengths> for KeyPolicy {
    type Error = KeyPolicyError;

    fn try_from(l: Lengths) -> Result<Self, KeyPolicyError> {
        let year = 366 * DAY;
        for (name, min, max, found) in [
            ("jwks_max_age_seconds", 1, DAY, l.jwks_max_age_seconds),
            // What a signer process signs at most.
            ("token_lifetime_seconds", 1, 3600, l.token_lifetime_seconds),
            ("clock_skew_seconds", 0, 3600, l.clock_skew_seconds),
            ("publication_seconds", 2, year, l.publication_seconds),
            ("retirement_seconds", 2, year, l.retirement_seconds),
            ("period_seconds", 4, 10 * year, l.period_seconds.unwrap_or(4)),
            ("rollback_seconds", 0, year, l.rollback_seconds),
        ] {
            if found < min || found > max {
                return Err(KeyPolicyError::Range { name, min, max, found });
            }
        }
        let publication = 2 * l.jwks_max_age_seconds;
        let retirement = l.token_lifetime_seconds + l.jwks_max_age_seconds + l.clock_skew_seconds;
        let period = l.publication_seconds + l.retirement_seconds;
        match l {
            _ if l.publication_seconds < publication => Err(KeyPolicyError::Publication(publication)),
            _ if l.retirement_seconds < retirement => Err(KeyPolicyError::Retirement(retirement)),
            Lengths { period_seconds: Some(found), .. } if found < period => Err(KeyPolicyError::Period(period)),
            _ => Ok(Self(l)),
        }
    }
}

impl From<KeyPolicy> for Lengths {
    fn from(policy: KeyPolicy) -> Self {
        policy.0
    }
}

const fn seconds(n: u32) -> Duration {
    Duration::from_secs(n as u64)
}

impl KeyPolicy {
    /// How long verifiers may keep a JWKS.
    pub const fn jwks_max_age(&self) -> Duration {
        seconds(self.0.jwks_max_age_seconds)
    }

    /// How long a token is good for.
    pub const fn token_lifetime(&self) -> Duration {
        seconds(self.0.token_lifetime_seconds)
    }

    /// How far the clocks of verifiers may be off.
    pub const fn clock_skew(&self) -> Duration {
        seconds(self.0.clock_skew_seconds)
    }

    /// P.
    pub const fn publication(&self) -> Duration {
        seconds(self.0.publication_seconds)
    }

    /// R.
    pub const fn retirement(&self) -> Duration {
        seconds(self.0.retirement_seconds)
    }

    /// T, if keys are replaced by themselves.
    pub fn period(&self) -> Option<Duration> {
        self.0.period_seconds.map(seconds)
    }

    /// How long a rotation can be undone.
    pub const fn rollback_window(&self) -> Duration {
        seconds(self.0.rollback_seconds)
    }

    /// Whether a published key is always kept ready.
    pub const fn standby(&self) -> bool {
        self.0.standby
    }

    /// Whether the token has to say of a key that it made it, and that it never was outside.
    pub const fn strict(&self) -> bool {
        self.0.strict
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn policy(value: Value) -> Result<KeyPolicy, String> {
        serde_json::from_value(value).map_err(|e| e.to_string())
    }

    #[test]
    fn the_default_is_a_policy_and_round_trips() {
        let default = KeyPolicy::try_from(Lengths::default()).unwrap();
        assert_eq!(default, KeyPolicy::default());
        assert_eq!(policy(json!({})), Ok(default));
        assert_eq!(policy(serde_json::to_value(default).unwrap()), Ok(default));
    }

    #[test]
    fn lengths_keep_their_bounds() {
        let short = json!({ "jwks_max_age_seconds": 1, "token_lifetime_seconds": 2, "clock_skew_seconds": 1, "publication_seconds": 2,
            "retirement_seconds": 4, "period_seconds": 6, "rollback_seconds": 0 });
        assert!(policy(short.clone()).is_ok());
        for (member, value, why) in [
            ("publication_seconds", 1, "publication_seconds must be between 2 and"),
            ("jwks_max_age_seconds", 2, "publication_seconds must be at least twice jwks_max_age_seconds: 4"),
            (
                "retirement_seconds",
                3,
                "retirement_seconds must be at least token_lifetime_seconds + jwks_max_age_seconds + clock_skew_seconds: 4",
            ),
            ("period_seconds", 5, "period_seconds must be at least publication_seconds + retirement_seconds: 6"),
            ("token_lifetime_seconds", 3601, "token_lifetime_seconds must be between 1 and 3600, not 3601"),
            ("perod_seconds", 9, "unknown field `perod_seconds`"),
        ] {
            let mut bad = short.clone();
            bad[member] = json!(value);
            assert!(policy(bad).unwrap_err().starts_with(why), "{member}");
        }
        assert_eq!(policy(json!({ "period_seconds": null })).unwrap().period(), None);
    }
}
