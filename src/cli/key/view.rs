//! A key as the admin API writes it, for people to read.

use serde::Deserialize;
use serde_json::Value;

use super::super::output::{facts, table};

/// The members that people are shown. Instants are RFC 3339.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Key {
    pub(super) kid: String,
    pub(super) tenant_id: String,
    pub(super) algorithm: String,
    pub(super) rsa_bits: Option<u32>,
    pub(super) state: String,
    pub(super) plan: String,
    pub(super) origin: String,
    pub(super) token_serial: Option<String>,
    pub(super) cka_id: Option<String>,
    pub(super) thumbprint: Option<String>,
    pub(super) in_jwks: bool,
    pub(super) created_at: String,
    pub(super) published_at: Option<String>,
    pub(super) usable_from: Option<String>,
    pub(super) activated_at: Option<String>,
    pub(super) rotate_from: Option<String>,
    pub(super) deactivated_at: Option<String>,
    pub(super) withdraw_from: Option<String>,
    pub(super) withdrawn_at: Option<String>,
    pub(super) keep_private_until: Option<String>,
    pub(super) destroying_at: Option<String>,
    pub(super) private_destroyed_at: Option<String>,
    pub(super) predecessor: Option<String>,
}

impl Key {
    /// What can be read of it: an answer of a newer server is shown as far as it goes.
    pub(super) fn read(value: &Value) -> Self {
        Self::deserialize(value).unwrap_or_default()
    }

    /// `ES256`, `RS256 (3072 bits)`.
    pub(super) fn kind(&self) -> String {
        self.rsa_bits.map_or_else(|| self.algorithm.clone(), |bits| format!("{} ({bits} bits)", self.algorithm))
    }

    /// What is next for it, and when.
    fn next(&self) -> String {
        let at = |what: &str, when: &Option<String>| when.as_ref().map(|when| format!("{what} {when}"));
        let next = match self.state.as_str() {
            "pending" if self.plan != "none" => Some(format!("{} is planned", self.plan)),
            "published" => at(if self.plan == "activate" { "signs from" } else { "may sign from" }, &self.usable_from),
            "active" => at("rotation from", &self.rotate_from),
            "suspended" | "retiring" if self.in_jwks => at("in the JWKS until", &self.withdraw_from),
            _ => None,
        };
        next.unwrap_or_default()
    }
}

/// One key.
pub(super) fn render(key: &Value) -> String {
    let key = Key::read(key);
    let kind = key.kind();
    let text = |member: Option<String>| member.unwrap_or_default();
    // What is written down of an earlier state is no promise any more.
    let while_it_is = |state: &str, member: Option<String>| if key.state == state { text(member) } else { String::new() };
    let rotation_from = while_it_is("active", key.rotate_from);
    let can_come_back_until = while_it_is("retiring", key.keep_private_until);
    facts(&[
        ("kid", key.kid),
        ("tenant", key.tenant_id),
        ("algorithm", kind),
        ("state", key.state),
        ("in the JWKS", if key.in_jwks { "yes" } else { "no" }.to_owned()),
        ("plan", if key.plan == "none" { String::new() } else { key.plan }),
        ("origin", key.origin),
        ("on token", text(key.token_serial)),
        ("CKA_ID", text(key.cka_id)),
        ("thumbprint", text(key.thumbprint)),
        ("predecessor", text(key.predecessor)),
        ("created", key.created_at),
        ("published", text(key.published_at)),
        ("may sign from", text(key.usable_from)),
        ("signs since", text(key.activated_at)),
        ("rotation from", rotation_from),
        ("signed until", text(key.deactivated_at)),
        ("in the JWKS until", text(key.withdraw_from)),
        ("left the JWKS", text(key.withdrawn_at)),
        ("can come back until", can_come_back_until),
        ("destruction begun", text(key.destroying_at)),
        ("private half gone", text(key.private_destroyed_at)),
    ])
}

/// Many keys.
pub(super) fn render_all(keys: &[Value]) -> String {
    let row = |key: &Value| {
        let key = Key::read(key);
        let (kind, next) = (key.kind(), key.next());
        [key.kid, key.tenant_id, kind, key.state, key.created_at, next]
    };
    table(["kid", "tenant", "algorithm", "state", "created", "next"], keys.iter().map(row))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn people_are_shown_what_is_there() {
        let key = json!({ "kid": "k", "algorithm": "RS256", "rsa_bits": 3072, "state": "active", "in_jwks": true, "rotate_from": "2026-01-02T03:04:05.000Z", "more": 1 });
        let shown = render(&key);
        assert!(shown.contains("RS256 (3072 bits)") && !shown.contains("predecessor"), "{shown}");
        let listed = render_all(&[key]);
        assert!(listed.contains("rotation from 2026-01-02T03:04:05.000Z"), "{listed}");
        let distrusted = render(&json!({ "kid": "k", "state": "compromised", "keep_private_until": "2026-01-02T03:04:05.000Z" }));
        assert!(!distrusted.contains("come back"), "{distrusted}");
        let retiring = render(&json!({ "kid": "k", "state": "retiring", "keep_private_until": "2026-01-02T03:04:05.000Z" }));
        assert!(retiring.contains("can come back until  2026"), "{retiring}");
    }
}
