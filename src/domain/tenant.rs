//! Tenants and what each of them has chosen.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use url::Url;

use super::{CeremonyConfig, Operation, Origin, TenantId, TenantSettings, Timestamp};

/// How much the relying party wants to see the authenticator's work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum UserVerification {
    /// A ceremony without it fails.
    #[default]
    Required,
    /// Where the authenticator can.
    Preferred,
    /// Not asked for.
    Discouraged,
}

text_enum!(UserVerification, "required, preferred, discouraged", {
    Required => "required",
    Preferred => "preferred",
    Discouraged => "discouraged",
});

/// What the relying party asks to know of the authenticator's provenance (WebAuthn L3 section 5.4.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[expect(missing_docs, reason = "the standard's words")]
pub enum AttestationPreference {
    None,
    Indirect,
    #[default]
    Direct,
    Enterprise,
}

text_enum!(AttestationPreference, "none, indirect, direct, enterprise", {
    None => "none",
    Indirect => "indirect",
    Direct => "direct",
    Enterprise => "enterprise",
});

/// Which kind of authenticator may take part (WebAuthn L3 section 5.4.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Attachment {
    /// Part of the client's device.
    Platform,
    /// A roaming one.
    CrossPlatform,
}

text_enum!(Attachment, "platform, cross-platform", {
    Platform => "platform",
    CrossPlatform => "cross-platform",
});

/// Whether the credential must be discoverable (WebAuthn L3 section 5.4.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[expect(missing_docs, reason = "the standard's words")]
pub enum ResidentKey {
    #[default]
    Required,
    Preferred,
    Discouraged,
}

text_enum!(ResidentKey, "required, preferred, discouraged", {
    Required => "required",
    Preferred => "preferred",
    Discouraged => "discouraged",
});

/// What the browser should offer first (WebAuthn L3 section 5.8.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the standard's words")]
pub enum Hint {
    SecurityKey,
    ClientDevice,
    Hybrid,
}

text_enum!(Hint, "security-key, client-device, hybrid", {
    SecurityKey => "security-key",
    ClientDevice => "client-device",
    Hybrid => "hybrid",
});

/// A tenant: one relying party.
#[derive(Debug, Clone)]
pub struct Tenant {
    /// Its id, the first segment of every public path.
    pub id: TenantId,
    /// A name for people.
    pub display_name: String,
    /// What the contract lets a tenant choose.
    pub config: TenantConfig,
    /// What it may choose besides.
    pub settings: TenantSettings,
    /// When it was made.
    pub created_at: Timestamp,
}

/// A tenant that was deleted: nobody but operators sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeletedTenant {
    /// Its id.
    pub id: TenantId,
    /// A name for people.
    pub display_name: String,
    /// When it was deleted.
    pub deleted_at: Timestamp,
    /// When its keys and its data begin to be destroyed: it can be restored before.
    pub purge_from: Timestamp,
    /// When the last of them was gone.
    pub purged_at: Option<Timestamp>,
}

impl Tenant {
    /// What it has configured for an operation.
    pub fn ceremony_config(&self, operation: Operation) -> CeremonyConfig {
        let (passkeys, mfa) = (&self.config.webauthn, &self.config.mfa);
        if operation.is_mfa() {
            CeremonyConfig {
                timeout: mfa.ceremony_timeout(),
                user_verification: mfa.user_verification,
                attachment: mfa.attachment,
                attestation: mfa.attestation_preference,
                resident_key: mfa.resident_key_requirement,
            }
        } else {
            CeremonyConfig {
                timeout: passkeys.ceremony_timeout(),
                user_verification: passkeys.user_verification,
                attachment: passkeys.attachment,
                attestation: passkeys.attestation_preference,
                resident_key: passkeys.resident_key_requirement,
            }
        }
    }
}

/// A configuration that cannot be: what is wrong with each member, in the contract's words, joined with ` and `.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join(" and "))]
pub struct ConfigError(pub Vec<String>);

/// The contract's configuration of a tenant. Read and written in the contract's JSON form; defaults are filled in when it is read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "RawConfig")]
pub struct TenantConfig {
    /// Which pages may call.
    pub cors: Cors,
    /// Passkeys.
    pub webauthn: Webauthn,
    /// Second factors.
    pub mfa: Mfa,
}

/// Which pages may call this tenant from a browser.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cors {
    /// Origins, with `*` and `?` as wildcards.
    pub allowed_origins: Vec<String>,
    /// Whether `*` is answered by echoing the caller's origin.
    pub allow_unsafe_wildcard: bool,
}

/// How passkeys are made and used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Webauthn {
    /// Who asks.
    pub relying_party: RelyingParty,
    /// How long a ceremony may take, in milliseconds.
    pub timeout: u32,
    /// Asked of every passkey ceremony.
    pub user_verification: UserVerification,
    /// Which authenticators may take part.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attachment: Option<Attachment>,
    /// Asked of every passkey's registration.
    pub attestation_preference: AttestationPreference,
    /// Asked of every passkey's registration.
    pub resident_key_requirement: ResidentKey,
}

/// The relying party (WebAuthn L3 section 5.4.2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RelyingParty {
    /// RP ID: a domain.
    pub id: String,
    /// A name for people.
    pub display_name: String,
    /// A URL; kept, never sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub icon: Option<String>,
    /// Where ceremonies may take place; at least one.
    pub origins: Vec<Origin>,
}

/// How second factors are made and used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mfa {
    /// How long a ceremony may take, in milliseconds.
    pub timeout: u32,
    /// Asked of every second-factor ceremony.
    pub user_verification: UserVerification,
    /// Which authenticators may take part.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attachment: Option<Attachment>,
    /// Asked of every second factor's registration.
    pub attestation_preference: AttestationPreference,
    /// Asked of every second factor's registration.
    pub resident_key_requirement: ResidentKey,
}

/// How long a ceremony lasts when user verification is discouraged, whatever the tenant's timeout: the contract's value.
const DISCOURAGED_TIMEOUT: u32 = 120_000;

fn effective_timeout(timeout: u32, user_verification: UserVerification) -> Duration {
    let millis = if user_verification == UserVerification::Discouraged { DISCOURAGED_TIMEOUT } else { timeout };
    Duration::from_millis(u64::from(millis))
}

impl Webauthn {
    /// How long a passkey ceremony lasts.
    pub fn ceremony_timeout(&self) -> Duration {
        effective_timeout(self.timeout, self.user_verification)
    }
}

impl Mfa {
    /// How long a second-factor ceremony lasts.
    pub fn ceremony_timeout(&self) -> Duration {
        effective_timeout(self.timeout, self.user_verification)
    }
}

/// The configuration as sent: anything may be missing, and all that is wrong is reported at once.
#[derive(Deserialize)]
struct RawConfig {
    #[serde(default)]
    cors: RawCors,
    #[serde(default)]
    webauthn: RawWebauthn,
    #[serde(default)]
    mfa: Option<RawMfa>,
}

#[derive(Deserialize, Default)]
struct RawCors {
    #[serde(default)]
    allowed_origins: Vec<String>,
    allow_unsafe_wildcard: Option<bool>,
}

#[derive(Deserialize, Default)]
struct RawWebauthn {
    #[serde(default)]
    relying_party: RawRelyingParty,
    timeout: Option<i64>,
    user_verification: Option<UserVerification>,
    attachment: Option<Attachment>,
    attestation_preference: Option<AttestationPreference>,
    resident_key_requirement: Option<ResidentKey>,
}

#[derive(Deserialize, Default)]
struct RawRelyingParty {
    id: Option<String>,
    display_name: Option<String>,
    icon: Option<String>,
    #[serde(default)]
    origins: Vec<String>,
}

#[derive(Deserialize, Default)]
struct RawMfa {
    timeout: Option<i64>,
    user_verification: Option<UserVerification>,
    attachment: Option<Attachment>,
    attestation_preference: Option<AttestationPreference>,
    resident_key_requirement: Option<ResidentKey>,
}

/// Collects what is wrong, member by member, and goes on.
#[derive(Default)]
struct Faults(Vec<String>);

impl Faults {
    fn required(&mut self, name: &str, value: Option<String>) -> String {
        let value = value.unwrap_or_default();
        if value.is_empty() {
            self.0.push(format!("{name} is a required field"));
        }
        value
    }

    /// A domain as browsers write it: lower case, no scheme, no port.
    fn domain(&mut self, name: &str, value: Option<String>) -> String {
        let value = self.required(name, value);
        let host = Url::parse(&format!("https://{value}/")).ok().and_then(|url| url.host_str().map(str::to_owned));
        if !value.is_empty() && host.as_ref() != Some(&value) {
            self.0.push(format!("{name} must be a domain, such as example.org, not {value:?}"));
        }
        value
    }

    /// Milliseconds from 1 to a day.
    fn timeout(&mut self, value: Option<i64>) -> u32 {
        match value {
            None | Some(0) => self.0.push("timeout is a required field".to_owned()),
            Some(ms) => match u32::try_from(ms) {
                Ok(ms) if ms <= 86_400_000 => return ms,
                _ => self.0.push("timeout must be 1 to 86400000 milliseconds".to_owned()),
            },
        }
        0
    }

    fn origins(&mut self, texts: Vec<String>) -> Vec<Origin> {
        if texts.is_empty() {
            self.0.push("origins is a required field".to_owned());
        }
        let parsed = texts.into_iter().map(|text| text.parse::<Origin>());
        parsed.filter_map(|origin| origin.map_err(|e| self.0.push(e.to_string())).ok()).collect()
    }

    fn url(&mut self, name: &str, value: Option<String>) -> Option<String> {
        let value = value.filter(|v| !v.is_empty())?;
        if Url::parse(&value).is_err() {
            self.0.push(format!("{name} must be a valid URL"));
        }
        Some(value)
    }
}

impl TryFrom<RawConfig> for TenantConfig {
    type Error = ConfigError;

    fn try_from(raw: RawConfig) -> Result<Self, ConfigError> {
        let mut faults = Faults::default();
        if raw.cors.allowed_origins.is_empty() {
            faults.0.push("allowed_origins is a required field".to_owned());
        }
        if raw.cors.allow_unsafe_wildcard.is_none() {
            faults.0.push("allow_unsafe_wildcard is a required field".to_owned());
        }
        let relying_party = RelyingParty {
            id: faults.domain("id", raw.webauthn.relying_party.id),
            display_name: faults.required("display_name", raw.webauthn.relying_party.display_name),
            icon: faults.url("icon", raw.webauthn.relying_party.icon),
            origins: faults.origins(raw.webauthn.relying_party.origins),
        };
        let timeout = faults.timeout(raw.webauthn.timeout);
        let mfa = raw.mfa.unwrap_or_default();
        let mfa_timeout = mfa.timeout.map_or(timeout, |ms| faults.timeout(Some(ms)));
        if !faults.0.is_empty() {
            return Err(ConfigError(faults.0));
        }
        Ok(Self {
            cors: Cors {
                allowed_origins: raw.cors.allowed_origins,
                allow_unsafe_wildcard: raw.cors.allow_unsafe_wildcard.unwrap_or_default(),
            },
            webauthn: Webauthn {
                relying_party,
                timeout,
                user_verification: raw.webauthn.user_verification.unwrap_or_default(),
                attachment: raw.webauthn.attachment,
                attestation_preference: raw.webauthn.attestation_preference.unwrap_or_default(),
                resident_key_requirement: raw.webauthn.resident_key_requirement.unwrap_or_default(),
            },
            mfa: Mfa {
                timeout: mfa_timeout,
                user_verification: mfa.user_verification.unwrap_or(UserVerification::Preferred),
                attachment: Some(mfa.attachment.unwrap_or(Attachment::CrossPlatform)),
                attestation_preference: mfa.attestation_preference.unwrap_or_default(),
                resident_key_requirement: mfa.resident_key_requirement.unwrap_or(ResidentKey::Discouraged),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_empty_configuration_names_every_missing_member() {
        let error = serde_json::from_value::<TenantConfig>(json!({})).unwrap_err().to_string();
        assert_eq!(
            error,
            "allowed_origins is a required field and allow_unsafe_wildcard is a required field and id is a required field and display_name is \
             a required field and origins is a required field and timeout is a required field"
        );
    }

    #[test]
    fn defaults_are_the_contracts_and_survive_a_round_trip() {
        let config: TenantConfig = serde_json::from_value(json!({
            "cors": {"allowed_origins": ["https://example.org"], "allow_unsafe_wildcard": false},
            "webauthn": {"timeout": 60000, "relying_party": {"id": "example.org", "display_name": "Example", "origins": ["https://example.org"]}},
        }))
        .unwrap();
        let json = serde_json::to_value(&config).unwrap();
        assert_eq!(
            json["mfa"],
            json!({"timeout": 60000, "user_verification": "preferred", "attachment": "cross-platform",
            "attestation_preference": "direct", "resident_key_requirement": "discouraged"})
        );
        assert_eq!(json["webauthn"]["user_verification"], "required");
        assert_eq!(json["webauthn"]["attestation_preference"], "direct");
        assert_eq!(json["webauthn"]["resident_key_requirement"], "required");
        assert_eq!(json["webauthn"].get("attachment"), None);
        assert_eq!(serde_json::from_value::<TenantConfig>(json).unwrap(), config);
    }

    #[test]
    fn impossible_values_are_refused() {
        let web = "https://example.org";
        let config = |timeout: i64, id: &str, origin: &str| {
            serde_json::from_value::<TenantConfig>(json!({
                "cors": {"allowed_origins": ["*"], "allow_unsafe_wildcard": true},
                "webauthn": {"timeout": timeout, "relying_party": {"id": id, "display_name": "E", "origins": [origin]}},
            }))
        };
        assert!(config(60_000, "example.org", web).is_ok() && config(60_000, "localhost", web).is_ok());
        for (timeout, id, origin) in [
            (-1, "example.org", web),
            (90_000_000, "example.org", web),
            (60_000, "example.org", "example.org"),
            (60_000, "https://example.org", web),
            (60_000, "example.org:443", web),
            (60_000, "example.org/", web),
            (60_000, "Example.org", web),
        ] {
            assert!(config(timeout, id, origin).is_err(), "{timeout} {id} {origin}");
        }
    }
}
