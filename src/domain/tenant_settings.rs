//! What a tenant may choose that the contract does not know.

use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use serde_json::Value;
use url::Url;

use super::{AttestationPolicy, Hint, KeyPolicy, Origin, SigningAlgorithm, rsa_bits};

/// Settings beside the contract's configuration. A resource of its own: replacing the configuration never touches it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "independent switches, each set by name in a file")]
pub struct TenantSettings {
    /// What its next signing key signs with.
    pub algorithm: SigningAlgorithm,
    /// Size of its next key if that is an RSA key: one of [`super::RSA_BITS`].
    #[serde(deserialize_with = "read_rsa_bits")]
    pub rsa_bits: u32,
    /// Whether registration options list the user's credentials, so that no authenticator makes a second one.
    pub exclude_credentials: bool,
    /// What options ask the browser to offer first.
    pub hints: Vec<Hint>,
    /// Whether registration options ask whether the credential is discoverable (`credProps`).
    pub cred_props: bool,
    /// Whether ceremonies in an iframe of another origin are accepted (`crossOrigin`).
    pub allow_cross_origin: bool,
    /// Top-level origins accepted when `crossOrigin` is true; any when empty.
    pub top_origins: Vec<Origin>,
    /// Whether a fido-u2f statement may come with an AAGUID that is not zero, as in the W3C's own example.
    pub allow_u2f_aaguid: bool,
    /// What it demands of the authenticators of new credentials.
    #[serde(deserialize_with = "table")]
    pub attestation: AttestationPolicy,
    /// What follows from a signature counter that did not increase.
    pub cloned_credentials: ClonePolicy,
    /// Where people make and manage their passkeys, for `/.well-known/passkey-endpoints`.
    pub passkey_endpoints: PasskeyEndpoints,
    /// How long its keys, tokens and JWKS live.
    #[serde(deserialize_with = "key_policy")]
    pub keys: KeyPolicy,
    /// The `iss` claim of its tokens; by default the tenant's public URL.
    #[serde(deserialize_with = "issuer")]
    pub issuer: Option<String>,
}

/// What a relying party does about a counter that did not increase: a signal, but no proof, of a second copy of the private key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ClonePolicy {
    /// The authentication succeeds, and the audit log tells.
    #[default]
    Report,
    /// The authentication is refused, too.
    Refuse,
}

text_enum!(ClonePolicy, "report, refuse", {
    Report => "report",
    Refuse => "refuse",
});

/// URLs of the application's own pages (W3C Passkey Endpoints).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PasskeyEndpoints {
    /// Where a user makes a passkey.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enroll: Option<Url>,
    /// Where a user manages passkeys.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manage: Option<Url>,
}

/// Serde reads a list as a structure too, and an empty one as all defaults: a demand must not be lost so.
fn table<'de, D: Deserializer<'de>>(from: D) -> Result<AttestationPolicy, D::Error> {
    let policy = Value::deserialize(from)?;
    if !policy.is_object() {
        return Err(D::Error::custom("attestation must be a table"));
    }
    serde_json::from_value(policy).map_err(|e| D::Error::custom(format_args!("attestation: {e}")))
}

fn key_policy<'de, D: Deserializer<'de>>(from: D) -> Result<KeyPolicy, D::Error> {
    let policy = Value::deserialize(from)?;
    if !policy.is_object() {
        return Err(D::Error::custom("keys must be a table"));
    }
    serde_json::from_value(policy).map_err(|e| D::Error::custom(format_args!("keys: {e}")))
}

fn read_rsa_bits<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    rsa_bits(u32::deserialize(deserializer)?).map_err(|e| D::Error::custom(format_args!("rsa_bits: {e}")))
}

impl Default for TenantSettings {
    fn default() -> Self {
        Self {
            algorithm: SigningAlgorithm::default(),
            rsa_bits: 3072,
            exclude_credentials: true,
            hints: Vec::new(),
            cred_props: true,
            allow_cross_origin: true,
            top_origins: Vec::new(),
            allow_u2f_aaguid: true,
            attestation: AttestationPolicy::default(),
            cloned_credentials: ClonePolicy::default(),
            passkey_endpoints: PasskeyEndpoints::default(),
            keys: KeyPolicy::default(),
            issuer: None,
        }
    }
}

impl TenantSettings {
    /// The modulus size of its next key: `None` unless that is an RSA key.
    pub fn key_bits(&self) -> Option<u32> {
        self.algorithm.is_rsa().then_some(self.rsa_bits)
    }
}

fn issuer<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    let issuer = Option::<String>::deserialize(from)?;
    if issuer.as_deref() == Some("") { Err(D::Error::custom("issuer must not be empty")) } else { Ok(issuer) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_demand_is_a_table() {
        let settings = |attestation: Value| serde_json::from_value::<TenantSettings>(json!({ "attestation": attestation }));
        assert!(settings(json!({ "required": true })).unwrap().attestation.required);
        for other in [json!([]), json!([true]), json!(null), json!("require")] {
            assert_eq!(settings(other).unwrap_err().to_string(), "attestation must be a table");
        }
        assert!(settings(json!({ "formts": [] })).unwrap_err().to_string().starts_with("attestation: unknown field `formts`"));
    }

    #[test]
    fn rsa_keys_have_sizes_that_are_made() {
        let settings = |bits: u32| serde_json::from_value::<TenantSettings>(json!({ "rsa_bits": bits }));
        for bits in crate::domain::RSA_BITS {
            assert_eq!(settings(bits).unwrap().rsa_bits, bits);
        }
        for bits in [0, 1024, 2500, 8192] {
            assert_eq!(settings(bits).unwrap_err().to_string(), format!("rsa_bits: an RSA key has 2048, 3072 or 4096 bits, not {bits}"));
        }
    }

    #[test]
    fn what_a_copied_key_leads_to_is_one_of_two_words() {
        let settings = |policy: Value| serde_json::from_value::<TenantSettings>(json!({ "cloned_credentials": policy }));
        assert_eq!(TenantSettings::default().cloned_credentials, ClonePolicy::Report);
        assert_eq!(settings(json!("report")).unwrap().cloned_credentials, ClonePolicy::Report);
        assert_eq!(settings(json!("refuse")).unwrap().cloned_credentials, ClonePolicy::Refuse);
        for other in [json!("Refuse"), json!(""), json!(true), json!(null)] {
            assert!(settings(other).is_err());
        }
    }

    #[test]
    fn passkey_endpoints_are_urls() {
        let settings = |endpoints: Value| serde_json::from_value::<TenantSettings>(json!({ "passkey_endpoints": endpoints }));
        let (enroll, manage) = ("https://example.org/new", "https://example.org/passkeys");
        let both = settings(json!({ "enroll": enroll, "manage": manage })).unwrap().passkey_endpoints;
        assert_eq!((both.enroll.unwrap().as_str(), both.manage.unwrap().as_str()), (enroll, manage));
        assert_eq!(settings(json!({})).unwrap().passkey_endpoints, PasskeyEndpoints::default());
        for other in [json!({ "enroll": "/new" }), json!({ "manage": "" }), json!({ "enrol": enroll }), json!("x")] {
            assert!(settings(other).is_err());
        }
    }
}
