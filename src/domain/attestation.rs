//! Attestation: what an authenticator's statement is, what a tenant demands of it, and what was found.

use serde::{Deserialize, Serialize};

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
    /// Demanded: a fleet of devices that its owner knows one by one.
    Require,
}

text_enum!(EnterpriseDemand, "accept, refuse, require", {
    Accept => "accept",
    Refuse => "refuse",
    Require => "require",
});

/// The anchors of the FIDO metadata, in a list of sets of anchors.
pub const MDS_ANCHORS: &str = "mds";

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
    /// The sets of anchors that a chain may lead to: `mds`, and names of imported sets.
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
    /// Whether android-key statements must say that the key lives in hardware (`teeEnforced` alone counts).
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
