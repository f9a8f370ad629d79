//! Attestation: what an authenticator's statement is, what a tenant demands of it, and what was found.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, de::Error as _};

use super::Aaguid;

/// An attestation statement format (WebAuthn L3 section 8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the standard's words")]
pub enum AttestationFormat {
    None,
    Packed,
    Tpm,
    AndroidKey,
    AndroidSafetynet,
    FidoU2f,
    Apple,
    Compound,
}

text_enum!(AttestationFormat, "none, packed, tpm, android-key, android-safetynet, fido-u2f, apple, compound", {
    None => "none",
    Packed => "packed",
    Tpm => "tpm",
    AndroidKey => "android-key",
    AndroidSafetynet => "android-safetynet",
    FidoU2f => "fido-u2f",
    Apple => "apple",
    Compound => "compound",
});

/// An attestation type (WebAuthn L3 section 6.5.4), in the words of the FIDO metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AttestationType {
    /// No statement.
    None,
    /// By the credential's own key: proves possession, nothing of the model.
    SelfAttestation,
    /// By a key that a batch of authenticators shares.
    Basic,
    /// By a key that an attestation CA certified for one authenticator.
    AttCa,
    /// By a key that an anonymization CA certified for one credential.
    AnonCa,
}

text_enum!(AttestationType, "none, self, basic, attca, anonca", {
    None => "none",
    SelfAttestation => "self",
    Basic => "basic",
    AttCa => "attca",
    AnonCa => "anonca",
});

/// What came of judging an attestation statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AttestationTrust {
    /// No statement: the AAGUID is the authenticator's own claim.
    None,
    /// Signed by the credential's own key: proves possession, nothing of the model.
    SelfAttestation,
    /// Signed by a certificate's key; no path to a trust anchor was looked for, or none was found.
    Untrusted,
    /// Signed by a certificate's key with a path to a trust anchor.
    Trusted,
}

text_enum!(AttestationTrust, "none, self, untrusted, trusted", {
    None => "none",
    SelfAttestation => "self",
    Untrusted => "untrusted",
    Trusted => "trusted",
});

/// What a tenant demands of a statement's chain of certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum TrustDemand {
    /// Nothing: what was found is recorded, no chain is a reason to refuse.
    #[default]
    Record,
    /// A chain for whose authenticator there are anchors must lead to one; what cannot be judged is accepted, as untrusted.
    Judge,
    /// Each registration must lead to an anchor: none, self attestation and what cannot be judged are refused.
    Require,
}

text_enum!(TrustDemand, "record, judge, require", {
    Record => "record",
    Judge => "judge",
    Require => "require",
});

/// What is made of FIDO metadata whose `nextUpdate` has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum StaleMetadata {
    /// It goes on being used; logs, metrics and `doctor` warn.
    #[default]
    Use,
    /// Its anchors judge nothing any more. What its status reports refuse stays refused.
    Distrust,
}

text_enum!(StaleMetadata, "use, distrust", {
    Use => "use",
    Distrust => "distrust",
});

/// What is made of enterprise attestation: a certificate that names the single device (WebAuthn L3 section 8.2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum EnterpriseDemand {
    /// Taken like any other.
    #[default]
    Accept,
    /// Refused: a relying party that does not want to know single devices.
    Refuse,
    /// Demanded: a fleet of devices that its owner knows one by one. The statement must be trusted, whatever else is said of that: anyone
    /// can write a number into a certificate of his own.
    Require,
}

text_enum!(EnterpriseDemand, "accept, refuse, require", {
    Accept => "accept",
    Refuse => "refuse",
    Require => "require",
});

/// The anchors of the FIDO metadata, in a list of sets of anchors.
pub const MDS_ANCHORS: &str = "mds";

/// The name of an imported set of anchors: 1 to 64 of `a-z`, `0-9` and `-`, and not [`MDS_ANCHORS`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct AnchorSetName(String);

/// A text that cannot name a set of anchors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AnchorSetNameError {
    /// Empty, too long, or with another character.
    #[error("the name of a set of anchors has 1 to 64 of the characters a to z, 0 to 9 and -")]
    Text,
    /// It means the anchors of the FIDO metadata.
    #[error("the name mds means the anchors of the FIDO metadata: no other set can have it")]
    Mds,
}

impl AnchorSetName {
    /// The most characters a name may have.
    pub const MAX_LEN: usize = 64;

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for AnchorSetName {
    type Err = AnchorSetNameError;

    fn from_str(s: &str) -> Result<Self, AnchorSetNameError> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if s.is_empty() || s.len() > Self::MAX_LEN || !s.bytes().all(plain) {
            return Err(AnchorSetNameError::Text);
        }
        if s == MDS_ANCHORS { Err(AnchorSetNameError::Mds) } else { Ok(Self(s.to_owned())) }
    }
}

impl fmt::Display for AnchorSetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl<'de> Deserialize<'de> for AnchorSetName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// What a tenant demands of the authenticators of new credentials. The default accepts what the open-source passkey-server accepts, and
/// records what the statement is worth.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "independent switches, each set by name in a file")]
pub struct AttestationPolicy {
    /// Whether there must be a statement: `none` is refused.
    pub required: bool,
    /// The formats that are accepted; `none` is accepted unless a statement is required.
    pub formats: Vec<AttestationFormat>,
    /// The types that are accepted; `none` is accepted unless a statement is required.
    pub types: Vec<AttestationType>,
    /// What is demanded of the chain. An allow list of AAGUIDs demands a trusted one, whatever this says.
    pub trust: TrustDemand,
    /// The sets of anchors that a chain may lead to: `mds`, and names of imported sets ([`AnchorSetName`]).
    #[serde(deserialize_with = "anchor_sources")]
    pub anchors: Vec<String>,
    /// What is made of metadata that should have been updated.
    pub stale_metadata: StaleMetadata,
    /// If not empty: the models that are accepted, each proven by a trusted statement.
    pub aaguids_allowed: Vec<Aaguid>,
    /// Models that are refused, proven or claimed.
    pub aaguids_denied: Vec<Aaguid>,
    /// Whether the credential must be bound to one device (BE is 0).
    pub device_bound: bool,
    /// What is made of certificates that name the single device.
    pub enterprise: EnterpriseDemand,
    /// Whether TPM statements may be signed with RSA and SHA-1, as those of the years of TPM 1.2 are.
    pub allow_rs1: bool,
    /// Whether android-key statements must say that the key lives in hardware: `teeEnforced` alone counts, and neither the attestation's nor
    /// the keystore's level may be that of software.
    pub android_key_hardware: bool,
}

impl Default for AttestationPolicy {
    fn default() -> Self {
        use AttestationFormat as F;
        use AttestationType as T;
        Self {
            required: false,
            formats: vec![F::Packed, F::Tpm, F::AndroidKey, F::FidoU2f, F::Apple, F::Compound],
            types: vec![T::SelfAttestation, T::Basic, T::AttCa, T::AnonCa],
            trust: TrustDemand::default(),
            anchors: vec![MDS_ANCHORS.to_owned()],
            stale_metadata: StaleMetadata::default(),
            aaguids_allowed: Vec::new(),
            aaguids_denied: Vec::new(),
            device_bound: false,
            enterprise: EnterpriseDemand::default(),
            allow_rs1: true,
            android_key_hardware: false,
        }
    }
}

impl AttestationPolicy {
    /// Why no authenticator at all can meet this policy, if none can: for whoever sets it.
    pub fn contradiction(&self) -> Option<&'static str> {
        use AttestationType as T;
        let demands_trust =
            self.trust == TrustDemand::Require || self.enterprise == EnterpriseDemand::Require || !self.aaguids_allowed.is_empty();
        let certified = [T::Basic, T::AttCa, T::AnonCa];
        let types = if demands_trust { &certified[..] } else { &[T::SelfAttestation, T::Basic, T::AttCa, T::AnonCa][..] };
        let is_statement = |format: &AttestationFormat| *format != AttestationFormat::None;
        if (self.required || demands_trust) && !self.formats.iter().any(is_statement) {
            return Some("it demands a statement and accepts no format of one");
        }
        if (self.required || demands_trust) && !self.types.iter().any(|accepted| types.contains(accepted)) {
            return Some("it demands a statement and accepts no type that could meet its demands");
        }
        if demands_trust && self.anchors.is_empty() {
            return Some("it demands trusted statements and has no anchors that they could lead to");
        }
        if !self.aaguids_allowed.is_empty() && self.aaguids_allowed.iter().all(|aaguid| self.aaguids_denied.contains(aaguid)) {
            return Some("each model in aaguids_allowed is in aaguids_denied too");
        }
        None
    }
}

fn anchor_sources<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    let sources = Vec::<String>::deserialize(from)?;
    for source in sources.iter().filter(|source| *source != MDS_ANCHORS) {
        source.parse::<AnchorSetName>().map_err(|error| D::Error::custom(format_args!("anchors: {error}, not {source:?}")))?;
    }
    Ok(sources)
}

/// What was found of a statement: kept with the credential, and shown by `inspect`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttestationRecord {
    /// The statement that counted: of a compound one, the best of its parts.
    pub format: AttestationFormat,
    /// Its type.
    #[serde(rename = "type")]
    pub attestation_type: AttestationType,
    /// What it is worth.
    pub trust: AttestationTrust,
    /// The path that was established, from the attestation certificate to the anchor. Empty unless trusted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub path: Vec<PathCertificate>,
    /// The set of anchors that the path ends in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anchors: Option<String>,
    /// Why no path was established, where there was a chain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The single device that an enterprise attestation names: the value of id-fido-gen-ce-sernum, in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_serial: Option<String>,
}

impl AttestationRecord {
    /// Of a registration without a statement.
    pub const fn none() -> Self {
        Self {
            format: AttestationFormat::None,
            attestation_type: AttestationType::None,
            trust: AttestationTrust::None,
            path: Vec::new(),
            anchors: None,
            reason: None,
            device_serial: None,
        }
    }
}

/// A certificate on a path, named so that it can be found again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathCertificate {
    /// Its subject, for people: `CN=.., O=..`.
    pub subject: String,
    /// SHA-256 of its DER, in hexadecimal.
    pub sha256: String,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn sets_of_anchors_have_plain_names() {
        let longest = "a".repeat(AnchorSetName::MAX_LEN);
        for name in ["a", "our-tokens-2026", "0", "-", longest.as_str()] {
            let parsed: AnchorSetName = name.parse().unwrap();
            assert_eq!(parsed.to_string(), name);
            assert_eq!(serde_json::from_value::<AnchorSetName>(json!(parsed)).unwrap(), parsed);
        }
        let too_long = "a".repeat(AnchorSetName::MAX_LEN + 1);
        for text in ["", "Ours", "a b", "a_b", "a/b", "\0", "\u{e4}", too_long.as_str()] {
            assert_eq!(text.parse::<AnchorSetName>(), Err(AnchorSetNameError::Text), "{text}");
            assert!(serde_json::from_value::<AnchorSetName>(json!(text)).is_err());
        }
        assert_eq!(MDS_ANCHORS.parse::<AnchorSetName>(), Err(AnchorSetNameError::Mds));
    }

    #[test]
    fn policies_that_nobody_can_meet() {
        let fault = |policy| serde_json::from_value::<AttestationPolicy>(policy).unwrap().contradiction();
        let model = "ee882879-721c-4913-9775-3dfcce97072a";
        for possible in [
            json!({}),
            json!({ "formats": [], "types": [] }),
            json!({ "required": true, "formats": ["packed"], "types": ["self"] }),
            json!({ "trust": "judge", "anchors": [] }),
            json!({ "trust": "require", "types": ["attca"] }),
            json!({ "aaguids_allowed": [model], "aaguids_denied": ["00000000-0000-0000-0000-000000000000"] }),
        ] {
            assert_eq!(fault(possible.clone()), None, "{possible}");
        }
        for (impossible, word) in [
            (json!({ "required": true, "formats": [] }), "format"),
            (json!({ "required": true, "formats": ["none"] }), "format"),
            (json!({ "required": true, "types": [] }), "type"),
            (json!({ "trust": "require", "types": ["self"] }), "type"),
            (json!({ "enterprise": "require", "types": ["none", "self"] }), "type"),
            (json!({ "trust": "require", "anchors": [] }), "anchors"),
            (json!({ "aaguids_allowed": [model], "anchors": [] }), "anchors"),
            (json!({ "aaguids_allowed": [model], "aaguids_denied": [model] }), "aaguids_denied"),
        ] {
            assert!(fault(impossible.clone()).is_some_and(|text| text.contains(word)), "{impossible}");
        }
    }

    #[test]
    fn a_policy_names_sets_that_can_be() {
        let policy = |anchors| serde_json::from_value::<AttestationPolicy>(json!({ "anchors": anchors }));
        assert_eq!(policy(json!(["mds", "ours"])).unwrap().anchors, ["mds", "ours"]);
        assert_eq!(policy(json!([])).unwrap().anchors, [""; 0]);
        let error = policy(json!(["mds", "MDS"])).unwrap_err().to_string();
        assert!(error.contains("anchors: ") && error.contains("not \"MDS\""), "{error}");
        assert_eq!(serde_json::from_value::<AttestationPolicy>(json!({})).unwrap(), AttestationPolicy::default());
    }
}
