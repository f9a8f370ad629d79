//! A maker's chain, and what the metadata says of its model.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use openssl::{
    pkey::{PKey, Private},
    x509::X509,
};
use serde_json::json;
use uuid::Uuid;

use super::{TrustAnchor, TrustStore};
use crate::{
    domain::{Aaguid, AttestationPolicy, AttestationRecord, MetadataEntry, MetadataHead, Timestamp, TrustDemand},
    webauthn::{
        CoseAlgorithm, Refusal, TrustError,
        certificate::Certificate,
        testing::{CertificateSpec, KeyPair, Maker, NEW_YEAR, Statement},
    },
};

pub(super) const ROOT: usize = 0;
pub(super) const INTERMEDIATE: usize = 1;
pub(super) const LEAF: usize = 2;

pub(super) const MODEL: Aaguid = Aaguid::from_uuid(Uuid::from_bytes([7; 16]));

/// Root, intermediate and attestation certificate, each with its key.
pub(super) struct Chain(pub(super) [(X509, PKey<Private>); 3]);

impl Chain {
    pub(super) fn new() -> Self {
        Self::valid((0, 365), (0, 365))
    }

    /// Intermediate and attestation certificate valid from and to these days.
    pub(super) fn valid(intermediate: (i64, i64), leaf: (i64, i64)) -> Self {
        Self::of(
            &CertificateSpec { validity: intermediate, ..ca("Intermediate") },
            &CertificateSpec { validity: leaf, ..CertificateSpec::default() },
        )
    }

    pub(super) fn of(intermediate: &CertificateSpec<'_>, leaf: &CertificateSpec<'_>) -> Self {
        let key = || KeyPair::generate(CoseAlgorithm::Es256).private;
        Self::with_keys(intermediate, leaf, [key(), key(), key()])
    }

    pub(super) fn with_keys(intermediate: &CertificateSpec<'_>, leaf: &CertificateSpec<'_>, keys: [PKey<Private>; 3]) -> Self {
        let [root_key, intermediate_key, leaf_key] = keys;
        let root = ca("Root").make(&root_key, None);
        let intermediate = intermediate.make(&intermediate_key, Some((&root, &root_key)));
        let leaf = leaf.make(&leaf_key, Some((&intermediate, &intermediate_key)));
        Self([(root, root_key), (intermediate, intermediate_key), (leaf, leaf_key)])
    }

    pub(super) fn der(&self, n: usize) -> Vec<u8> {
        self.0[n].0.to_der().unwrap()
    }

    pub(super) fn anchor(&self, n: usize) -> TrustAnchor {
        TrustAnchor(self.0[n].0.clone())
    }

    /// A packed statement with these certificates in x5c, by their place, signed by the first one's key.
    pub(super) fn packed(&self, x5c: &[usize]) -> Statement {
        let ders = x5c.iter().map(|&n| self.der(n)).collect();
        Statement::Packed(self.0[x5c[0]].1.clone(), CoseAlgorithm::Es256, ders)
    }

    pub(super) fn u2f(&self) -> Statement {
        Statement::U2f(self.0[LEAF].1.clone(), vec![self.der(LEAF)])
    }

    /// SHA-1 of the key of one of them, as metadata has it.
    pub(super) fn key_identifier(&self, n: usize) -> String {
        let der = self.der(n);
        super::hex(&Certificate::parse(&der).unwrap().key_identifier().unwrap())
    }

    /// A metadata entry for `MODEL` with these anchors.
    pub(super) fn entry(&self, anchors: &[usize]) -> MetadataEntry {
        MetadataEntry { anchors: anchors.iter().map(|&n| STANDARD.encode(self.der(n))).collect(), ..entry() }
    }
}

pub(super) fn ca(name: &'static str) -> CertificateSpec<'static> {
    let subject: &'static [(&'static str, &'static str)] = match name {
        "Root" => &[("CN", "Root")],
        _ => &[("CN", "Intermediate")],
    };
    CertificateSpec { subject, ca: Some(true), validity: (0, 365), ..CertificateSpec::default() }
}

/// An entry that says nothing of `MODEL` but its name.
pub(super) fn entry() -> MetadataEntry {
    MetadataEntry {
        aaguid: Some(MODEL),
        key_identifiers: Vec::new(),
        description: "Token".to_owned(),
        attestation_types: Vec::new(),
        algorithms: Vec::new(),
        anchors: Vec::new(),
        status_reports: Vec::new(),
    }
}

/// The entry with a report.
pub(super) fn reported(entry: MetadataEntry, status: &str, date: &str) -> MetadataEntry {
    let report = serde_json::from_value(json!({"status": status, "effective_date": date})).unwrap();
    MetadataEntry { status_reports: vec![report], ..entry }
}

/// The named set `ours`, if it has anchors, and metadata of which the next update is due on new year's day, if it has entries.
pub(super) fn store(anchors: &[TrustAnchor], entries: &[MetadataEntry]) -> TrustStore {
    let day = Timestamp::from_millis(NEW_YEAR * 1000);
    let head = MetadataHead { no: 7, next_update: day, imported_at: day };
    let sets = (!anchors.is_empty()).then(|| ("ours".to_owned(), anchors.to_vec()));
    TrustStore::new(sets, (!entries.is_empty()).then(|| (head, entries.to_vec())))
}

/// With both sources of anchors.
pub(super) fn policy(trust: TrustDemand) -> AttestationPolicy {
    AttestationPolicy { trust, anchors: vec!["mds".to_owned(), "ours".to_owned()], ..AttestationPolicy::default() }
}

/// A registration by a device of `MODEL`.
pub(super) fn device(statement: Statement) -> Maker {
    Maker { aaguid: MODEL.as_uuid().into_bytes(), ..Maker::attested(statement) }
}

/// What is found of a registration, or why it is refused, which is at step 24.
pub(super) fn judged(maker: &Maker, policy: &AttestationPolicy, store: &TrustStore) -> Result<AttestationRecord, TrustError> {
    let verdict = maker.verify_by(policy, store).map(|registration| registration.attestation);
    verdict.map_err(|error| match error.refusal() {
        Refusal::Trust(reason) => {
            assert_eq!(error.step(), 24);
            reason.clone()
        }
        other => panic!("{other}"),
    })
}
