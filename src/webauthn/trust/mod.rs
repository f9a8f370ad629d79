//! Trust: whether a statement's certificates lead to an anchor that the relying party accepts (WebAuthn L3 section 7.1, steps 23 and 24).
//!
//! `path` finds the way to an anchor, `assessment` is the policy.

mod assessment;
mod error;
mod path;

use std::{collections::HashMap, fmt::Write as _};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use openssl::{
    hash::MessageDigest,
    x509::{X509, X509Ref},
};

use uuid::Uuid;

use super::{attestation_path, chain::name, key_identifiers};
use crate::domain::{Aaguid, MetadataEntry, MetadataHead};

pub(super) use assessment::{Assessed, assess};
pub use error::TrustError;

/// A certificate that statements may lead to: a root, an intermediate, or an attestation certificate itself. Its own dates count.
#[derive(Debug, Clone)]
pub struct TrustAnchor(X509);

/// Text or bytes that hold no certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an X.509 certificate")]
pub struct TrustAnchorError;

impl TrustAnchor {
    /// One certificate in DER.
    pub fn from_der(der: &[u8]) -> Result<Self, TrustAnchorError> {
        X509::from_der(der).map(Self).map_err(|_| TrustAnchorError)
    }

    /// Each certificate of a PEM file, one at least.
    pub fn from_pem(pem: &[u8]) -> Result<Vec<Self>, TrustAnchorError> {
        match X509::stack_from_pem(pem) {
            Ok(certificates) if !certificates.is_empty() => Ok(certificates.into_iter().map(Self).collect()),
            _ => Err(TrustAnchorError),
        }
    }

    /// SHA-256 of its DER, in lower case hexadecimal: what a root is known by where it is looked up.
    pub fn sha256(&self) -> String {
        sha256(&self.0)
    }

    /// Its DER.
    pub fn to_der(&self) -> Result<Vec<u8>, TrustAnchorError> {
        self.0.to_der().map_err(|_| TrustAnchorError)
    }

    /// Its subject, for people: `CN=.., O=..`.
    pub fn subject(&self) -> String {
        name(self.0.subject_name())
    }

    /// When it ends, for people.
    pub fn not_after(&self) -> String {
        self.0.not_after().to_string()
    }

    /// What it is.
    pub(super) const fn certificate(&self) -> &X509 {
        &self.0
    }

    /// One of a metadata entry: base64 of DER, which may hold white space.
    fn from_base64(text: &str) -> Result<Self, TrustAnchorError> {
        let text: String = text.chars().filter(|c| !c.is_ascii_whitespace()).collect();
        Self::from_der(&STANDARD.decode(text).map_err(|_| TrustAnchorError)?)
    }
}

/// What statements may lead to: imported sets of anchors by their names, and the FIDO metadata.
///
/// A named set applies to every model; the anchors of a metadata entry to its own model only. Anchors are read once, here, and found by
/// their subjects, so that a set of hundreds costs a registration no more than a set of one.
#[derive(Debug, Default)]
pub struct TrustStore {
    sets: HashMap<String, AnchorSet>,
    models: Vec<Model>,
    /// Places in `models`.
    by_aaguid: HashMap<Aaguid, Vec<usize>>,
    /// The same, by SHA-1 of the key of an attestation certificate or its CA, in lower case hexadecimal.
    by_key: HashMap<String, Vec<usize>>,
    head: Option<MetadataHead>,
}

/// Anchors by OpenSSL's hash of their subjects in canonical form: names that differ in case or in the type of their texts are one name
/// (RFC 5280 section 7.1). Names of one hash only make for a candidate too many.
#[derive(Debug, Default)]
struct AnchorSet(HashMap<u32, Vec<TrustAnchor>>);

impl FromIterator<TrustAnchor> for AnchorSet {
    fn from_iter<I: IntoIterator<Item = TrustAnchor>>(anchors: I) -> Self {
        let mut by_subject = HashMap::<_, Vec<_>>::new();
        for anchor in anchors {
            by_subject.entry(anchor.0.subject_name_hash()).or_default().push(anchor);
        }
        Self(by_subject)
    }
}

impl AnchorSet {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those whose subject has this hash.
    fn named(&self, hash: u32) -> impl Iterator<Item = &X509> {
        self.0.get(&hash).into_iter().flatten().map(|anchor| &anchor.0)
    }
}

/// An entry of the metadata, with its anchors read. Those that OpenSSL cannot read are left out.
#[derive(Debug)]
struct Model {
    entry: MetadataEntry,
    anchors: AnchorSet,
}

impl TrustStore {
    /// Of these sets and this metadata.
    ///
    /// Where several entries have one AAGUID or key identifier, all of them count: a statement may lead to an anchor of either, and what
    /// either reports forbids.
    pub fn new(sets: impl IntoIterator<Item = (String, Vec<TrustAnchor>)>, metadata: Option<(MetadataHead, Vec<MetadataEntry>)>) -> Self {
        let (head, entries) = metadata.map_or((None, Vec::new()), |(head, entries)| (Some(head), entries));
        let sets = sets.into_iter().map(|(name, anchors)| (name, anchors.into_iter().collect())).collect();
        let mut store = Self { sets, head, ..Self::default() };
        for (n, entry) in entries.into_iter().enumerate() {
            if let Some(aaguid) = entry.aaguid {
                store.by_aaguid.entry(aaguid).or_default().push(n);
            }
            for key in &entry.key_identifiers {
                store.by_key.entry(key.to_ascii_lowercase()).or_default().push(n);
            }
            let anchors = entry.anchors.iter().filter_map(|text| TrustAnchor::from_base64(text).ok()).collect();
            store.models.push(Model { entry, anchors });
        }
        store
    }

    /// What the metadata says of a model: the first entry, should there be several.
    pub fn model(&self, aaguid: Aaguid) -> Option<&MetadataEntry> {
        let first = self.by_aaguid.get(&aaguid)?.first()?;
        self.models.get(*first).map(|model| &model.entry)
    }

    /// What the metadata calls the authenticator of a registration, proven or claimed: by its model or, where it has none (U2F), by the
    /// keys of the statement's certificates.
    pub fn authenticator_name(&self, aaguid: Aaguid, attestation_object: &[u8]) -> Option<&str> {
        if aaguid.as_uuid() != Uuid::nil() {
            return self.model(aaguid).map(|entry| entry.description.as_str());
        }
        if self.by_key.is_empty() {
            return None;
        }
        let path = attestation_path(attestation_object)?;
        let keys = key_identifiers(&path.iter().map(Vec::as_slice).collect::<Vec<_>>());
        self.models(None, &keys).first().map(|model| model.entry.description.as_str())
    }

    /// The metadata's serial number and dates, if there is any.
    pub fn metadata(&self) -> Option<MetadataHead> {
        self.head.clone()
    }

    /// The entries for a model, or for one of these keys, each once.
    fn models(&self, aaguid: Option<Aaguid>, keys: &[String]) -> Vec<&Model> {
        let of_model = aaguid.and_then(|aaguid| self.by_aaguid.get(&aaguid)).into_iter();
        let of_keys = keys.iter().filter_map(|key| self.by_key.get(key));
        let mut places: Vec<_> = of_model.chain(of_keys).flatten().copied().collect();
        places.sort_unstable();
        places.dedup();
        places.into_iter().filter_map(|n| self.models.get(n)).collect()
    }
}

/// SHA-256 of a certificate's DER, in lower case hexadecimal.
fn sha256(certificate: &X509Ref) -> String {
    certificate.digest(MessageDigest::sha256()).map(|digest| hex(&digest)).unwrap_or_default()
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod testing;

#[cfg(test)]
mod tests {
    use super::{testing::*, *};

    #[test]
    fn anchors_are_read_from_pem_and_der() {
        let chain = Chain::new();
        let pem = [chain.0[ROOT].0.to_pem().unwrap(), chain.0[LEAF].0.to_pem().unwrap()].concat();
        assert_eq!(TrustAnchor::from_pem(&pem).unwrap().len(), 2);
        assert!(TrustAnchor::from_der(&chain.der(ROOT)).is_ok());
        assert_eq!(TrustAnchor::from_pem(b"").unwrap_err(), TrustAnchorError);
        assert_eq!(TrustAnchor::from_der(b"x").unwrap_err(), TrustAnchorError);
    }

    #[test]
    fn a_metadata_entrys_anchors_are_read_once_and_leniently() {
        let text = STANDARD.encode(Chain::new().der(ROOT));
        let (one, two) = text.split_at(64);
        let anchors = vec![format!(" {one}\r\n\t{two}\n"), "MIIB".to_owned(), "?".to_owned()];
        let store = store(&[], &[MetadataEntry { anchors, ..entry() }]);
        assert_eq!(store.models[0].anchors.0.values().map(Vec::len).sum::<usize>(), 1);
    }

    #[test]
    fn entries_are_found_by_model_and_key() {
        let u2f = MetadataEntry { aaguid: None, key_identifiers: vec!["AB".into(), "cd".into()], ..entry() };
        let store = store(&[], &[entry(), u2f, MetadataEntry { description: "again".into(), ..entry() }]);
        let found = |aaguid, keys: &[&str]| {
            let keys: Vec<_> = keys.iter().map(|&key| key.to_owned()).collect();
            store.models(aaguid, &keys).iter().map(|model| model.entry.description.clone()).collect::<Vec<_>>()
        };
        assert_eq!(found(Some(MODEL), &[]), ["Token", "again"]);
        assert_eq!(found(None, &["ab", "cd", "ef"]), ["Token"]);
        assert_eq!(found(Some(MODEL), &["ab"]).len(), 3);
        assert!(found(Some(Aaguid::from_uuid(uuid::Uuid::nil())), &["ef"]).is_empty());
        assert_eq!(store.model(MODEL).unwrap().description, "Token");
        assert_eq!(store.metadata().unwrap().no, 7);
    }
}
