//! Authenticator metadata: what the FIDO Metadata Service says of models (FIDO Metadata Service v3.0), cut to what is used.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Aaguid, AttestationType, Timestamp};

/// A verified metadata BLOB.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetadataBlob {
    /// What of it is true of the whole.
    pub head: MetadataHead,
    /// Each model that takes part in WebAuthn. UAF's are left out.
    pub entries: Vec<MetadataEntry>,
}

/// The BLOB as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetadataHead {
    /// Its serial number, which only grows.
    pub no: u64,
    /// When the next one is due: the beginning of that day, UTC.
    pub next_update: Timestamp,
    /// When it was verified and stored.
    pub imported_at: Timestamp,
}

impl MetadataHead {
    /// Whether its successor should have come by now: `nextUpdate` is a day, and has passed when the day has.
    pub fn is_overdue(&self, now: Timestamp) -> bool {
        now >= self.next_update + Duration::from_hours(24)
    }
}

/// A model of authenticator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetadataEntry {
    /// The model of a FIDO2 authenticator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aaguid: Option<Aaguid>,
    /// Those of a U2F authenticator's attestation certificates: SHA-1 of their public key (RFC 5280 section 4.2.1.2 method 1), in lower
    /// case hexadecimal.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub key_identifiers: Vec<String>,
    /// A name for people.
    pub description: String,
    /// The types of attestation that it does; empty where the entry does not say.
    pub attestation_types: Vec<AttestationType>,
    /// The COSE algorithms of the keys it makes; empty where the entry does not say, or names one that has no number here.
    pub algorithms: Vec<i64>,
    /// What its attestation certificates lead to, or are: base64 of DER.
    pub anchors: Vec<String>,
    /// What happened to it, in the order of the BLOB.
    pub status_reports: Vec<StatusReport>,
}

/// Something that happened to a model (FIDO Metadata Service v3.0 section 3.1.3, v3.1 where noted).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusReport {
    /// The BLOB's word, such as `FIDO_CERTIFIED_L1` or `REVOKED`; new ones come to be.
    pub status: String,
    /// Since when, as the BLOB has it: `YYYY-MM-DD`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effective_date: Option<String>,
    /// From when on it no longer holds (v3.1): `YYYY-MM-DD`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sunset_date: Option<String>,
    /// The one firmware version it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authenticator_version: Option<u64>,
    /// The one certificate it is about: base64 of DER.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
    /// Where to read more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}
