//! FIDO metadata and imported anchors: brought in, shown, and held against the credentials that there are.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use uuid::Uuid;

use super::{Context, Error};
use crate::{
    domain::{Aaguid, AnchorSetName, AttestationFormat, AttestationType, CredentialOfModel, MetadataEntry, MetadataHead, StatusReport},
    storage::{self, MetadataUpdate},
    webauthn::{
        self, BlobError, Crl, CrlError, MDS_ROOT_SHA256, TrustAnchor, TrustAnchorError, Verified, attestation_path, forbidding,
        key_identifiers,
    },
};

/// Why metadata or anchors were not taken.
#[derive(Debug, thiserror::Error)]
pub enum MetadataError {
    /// The BLOB is refused.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// Not newer than what is stored.
    #[error("the metadata BLOB is refused: its number {no} is not above {stored}, which is stored")]
    NotNewer {
        /// The BLOB's number.
        no: u64,
        /// The number of the one that is stored.
        stored: u64,
    },
    /// A file of anchors without a certificate.
    #[error("{0}")]
    Anchor(#[from] TrustAnchorError),
    /// The database failed.
    #[error(transparent)]
    Service(#[from] Error),
}

impl From<storage::Error> for MetadataError {
    fn from(error: storage::Error) -> Self {
        Self::Service(error.into())
    }
}

/// What a BLOB is verified by.
#[derive(Debug, Default)]
pub struct BlobTrust {
    roots: Vec<TrustAnchor>,
    crls: Vec<Crl>,
    /// The host that its signer's certificate must be for; any where the root certifies nobody else.
    pub signer_name: Option<String>,
}

impl BlobTrust {
    /// By the certificates of a PEM file.
    ///
    /// # Errors
    /// When there is none, or one that cannot be read.
    pub fn of_roots(pem: &[u8]) -> Result<Self, TrustAnchorError> {
        Ok(Self { roots: TrustAnchor::from_pem(pem)?, ..Self::default() })
    }

    /// By the FIDO Alliance's root, if a PEM file of many has it: it is known by its fingerprint.
    pub fn pinned(pem: &[u8]) -> Option<Self> {
        let mut roots = TrustAnchor::from_pem(pem).ok()?;
        roots.retain(|root| MDS_ROOT_SHA256.contains(&root.sha256().as_str()));
        if roots.is_empty() { None } else { Some(Self { roots, ..Self::default() }) }
    }

    /// Holds the signer's chain against this revocation list too, in PEM or DER.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn add_crl(&mut self, bytes: &[u8]) -> Result<(), CrlError> {
        self.crls.push(Crl::parse(bytes)?);
        Ok(())
    }
}

/// A BLOB that was stored.
#[derive(Debug)]
pub struct Imported {
    /// Its number and dates.
    pub head: MetadataHead,
    /// How many models it has.
    pub models: usize,
    /// Who signed it.
    pub signer: String,
    /// The certificates of its chain for whose issuer no revocation list was given.
    pub unchecked: Vec<String>,
    /// How many entries are not used, by the reason.
    pub skipped: BTreeMap<String, usize>,
    /// How many anchors are no certificates.
    pub unreadable_anchors: usize,
    /// Whether its successor should have come by now.
    pub overdue: bool,
}

/// The metadata that is stored.
#[derive(Debug)]
pub struct StoredMetadata {
    /// Its number and dates.
    pub head: MetadataHead,
    /// How many models it has.
    pub models: usize,
    /// Those that may not be registered any more.
    pub forbidden: Vec<Forbidden>,
    /// Whether its successor should have come by now.
    pub overdue: bool,
}

/// A set of imported anchors, for people.
#[derive(Debug)]
pub struct AnchorSet {
    /// Its name.
    pub name: AnchorSetName,
    /// What is in it.
    pub certificates: Vec<AnchorCertificate>,
}

/// A certificate of a set.
#[derive(Debug, Serialize)]
pub struct AnchorCertificate {
    /// Its subject: `CN=.., O=..`.
    pub subject: String,
    /// SHA-256 of its DER.
    pub sha256: String,
    /// When it ends.
    pub not_after: String,
}

impl From<&TrustAnchor> for AnchorCertificate {
    fn from(anchor: &TrustAnchor) -> Self {
        Self { subject: anchor.subject(), sha256: anchor.sha256(), not_after: anchor.not_after() }
    }
}

/// A credential whose model has a status that forbids new ones.
#[derive(Debug)]
pub struct Affected {
    /// The model, and what became of it.
    pub forbidden: Forbidden,
    /// The credential, its owner and its tenant. Whether the model is proven or only claimed is in its attestation.
    pub credential: CredentialOfModel,
}

/// A model that may not be registered any more.
#[derive(Debug, Clone)]
pub struct Forbidden {
    /// Its name for people.
    pub model: String,
    /// Which model; none for U2F.
    pub aaguid: Option<Aaguid>,
    /// What happened to it.
    pub report: StatusReport,
}

impl Forbidden {
    fn of(entry: &MetadataEntry, report: &StatusReport) -> Self {
        Self { model: entry.description.clone(), aaguid: entry.aaguid, report: report.clone() }
    }
}

/// How many credentials are read at once.
const PAGE: u32 = 500;

/// The use cases of metadata and anchors.
#[derive(Clone, Debug)]
pub struct Metadata {
    context: Context,
}

impl Metadata {
    pub(super) fn new(context: Context) -> Self {
        Self { context }
    }

    /// Verifies a BLOB and stores it, if it is newer than the one there is. All servers follow within [`super::TRUST_REFRESH`].
    ///
    /// # Errors
    /// [`MetadataError`]; then nothing changed.
    pub async fn import(&self, blob: &[u8], trust: &BlobTrust) -> Result<Imported, MetadataError> {
        let now = self.context.clock.now();
        let (blob, verified) = webauthn::verify_blob(blob, &trust.roots, &trust.crls, trust.signer_name.as_deref(), now)?;
        match self.context.store.replace_metadata(&blob).await? {
            MetadataUpdate::Stored => {}
            MetadataUpdate::NotNewer { stored_no } => return Err(MetadataError::NotNewer { no: blob.head.no, stored: stored_no }),
        }
        let Verified { signer, unchecked, skipped: entries, unreadable_anchors } = verified;
        let mut skipped = BTreeMap::new();
        for entry in entries {
            *skipped.entry(entry.reason.to_string()).or_default() += 1;
        }
        let overdue = blob.head.is_overdue(now);
        Ok(Imported { models: blob.entries.len(), head: blob.head, signer, unchecked, skipped, unreadable_anchors, overdue })
    }

    /// What is stored, if anything is, and which of its models may not be registered any more.
    pub async fn stored(&self) -> Result<Option<StoredMetadata>, Error> {
        let Some((head, entries)) = self.context.store.metadata().await? else { return Ok(None) };
        let now = self.context.clock.now();
        let forbidden = entries.iter().filter_map(|entry| Some(Forbidden::of(entry, forbidding(entry, None, &now.date())?))).collect();
        Ok(Some(StoredMetadata { overdue: head.is_overdue(now), head, models: entries.len(), forbidden }))
    }

    /// The credentials of all tenants whose model may not be registered any more: what to do about them is for people to say. `None` when
    /// there is no metadata to say of which.
    ///
    /// A U2F credential's model, and whether a compromised attestation key is the one that vouched for a credential, is told by the
    /// evidence of its registration; where that was not kept a compromised key counts, and U2F's model is not known.
    pub async fn impact(&self) -> Result<Option<Vec<Affected>>, Error> {
        let Some((_, entries)) = self.context.store.metadata().await? else { return Ok(None) };
        let today = self.context.clock.now().date();
        let forbidden = |entry: &&MetadataEntry| forbidding(entry, None, &today).is_some();
        let entries: Vec<MetadataEntry> = entries.iter().filter(forbidden).cloned().collect();
        let mut affected = Vec::new();
        for entry in &entries {
            if let Some(aaguid) = entry.aaguid {
                self.impact_on_model(entry, aaguid, &today, &mut affected).await?;
            }
        }
        if entries.iter().any(|entry| !entry.key_identifiers.is_empty()) {
            self.impact_on_u2f(&entries, &today, &mut affected).await?;
            self.impact_on_ctap2_without_model(&entries, &today, &mut affected).await?;
        }
        Ok(Some(affected))
    }

    async fn impact_on_model(&self, entry: &MetadataEntry, aaguid: Aaguid, today: &str, affected: &mut Vec<Affected>) -> Result<(), Error> {
        // Only of a compromised attestation key is it a question which certificates there were: evidence costs a round trip each.
        let asks_for_path = forbidding(entry, None, today) != forbidding(entry, Some(&[]), today);
        let mut after = None;
        loop {
            let page = self.context.store.credentials_by_aaguid(aaguid, after.as_ref(), PAGE).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.clone());
            for credential in page {
                let path = if asks_for_path { self.path(&credential).await? } else { None };
                let path: Option<Vec<&[u8]>> = path.as_ref().map(|path| path.iter().map(Vec::as_slice).collect());
                if let Some(report) = forbidding(entry, path.as_deref(), today) {
                    affected.push(Affected { forbidden: Forbidden::of(entry, report), credential });
                }
            }
        }
    }

    async fn impact_on_u2f(&self, entries: &[MetadataEntry], today: &str, affected: &mut Vec<Affected>) -> Result<(), Error> {
        let mut after = None;
        loop {
            let page = self.context.store.u2f_credentials(after.as_ref(), PAGE).await?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            after = Some(last.clone());
            for (credential, evidence) in page {
                let Some(path) = evidence.and_then(|evidence| attestation_path(&evidence.attestation_object)) else { continue };
                affected.extend(forbidden_by_key(entries, &path, today).map(|forbidden| Affected { forbidden, credential }));
            }
        }
    }

    /// U2F's devices that speak CTAP2: their statements are of the format `packed`, and name no AAGUID either.
    async fn impact_on_ctap2_without_model(
        &self,
        entries: &[MetadataEntry],
        today: &str,
        affected: &mut Vec<Affected>,
    ) -> Result<(), Error> {
        let none = Aaguid::from_uuid(Uuid::nil());
        let mut after = None;
        loop {
            let page = self.context.store.credentials_by_aaguid(none, after.as_ref(), PAGE).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.clone());
            let is_certified = |credential: &CredentialOfModel| {
                let record = &credential.attestation;
                record.format == AttestationFormat::Packed && record.attestation_type != AttestationType::SelfAttestation
            };
            for credential in page.into_iter().filter(is_certified) {
                let Some(path) = self.path(&credential).await? else { continue };
                affected.extend(forbidden_by_key(entries, &path, today).map(|forbidden| Affected { forbidden, credential }));
            }
        }
    }

    /// The certificates that a credential's statement came with, where its evidence was kept.
    async fn path(&self, credential: &CredentialOfModel) -> Result<Option<Vec<Vec<u8>>>, Error> {
        let evidence = self.context.store.credential_evidence(credential.tenant_id, &credential.id).await?;
        Ok(evidence.and_then(|evidence| attestation_path(&evidence.attestation_object)))
    }

    /// Imports the certificates of a PEM file as the set `name`, in the place of what was in it. What is given back has each once.
    ///
    /// # Errors
    /// When the file has none, or one that cannot be read; then nothing changed.
    pub async fn import_anchors(&self, name: AnchorSetName, pem: &[u8]) -> Result<AnchorSet, MetadataError> {
        let mut anchors = TrustAnchor::from_pem(pem)?;
        let mut seen = BTreeSet::new();
        anchors.retain(|anchor| seen.insert(anchor.sha256()));
        let ders: Vec<Vec<u8>> = anchors.iter().map(TrustAnchor::to_der).collect::<Result<_, _>>()?;
        self.context.store.replace_anchor_set(&name, &ders, self.context.clock.now()).await?;
        Ok(AnchorSet { name, certificates: anchors.iter().map(AnchorCertificate::from).collect() })
    }

    /// The imported sets of anchors.
    pub async fn anchor_sets(&self) -> Result<Vec<AnchorSet>, Error> {
        let sets = self.context.store.anchor_sets().await?;
        let read = |der: &Vec<u8>| TrustAnchor::from_der(der).ok().as_ref().map(AnchorCertificate::from);
        Ok(sets.into_iter().map(|(name, ders)| AnchorSet { name, certificates: ders.iter().filter_map(read).collect() }).collect())
    }

    /// Removes a set of anchors. `false` when there is none of that name.
    pub async fn remove_anchors(&self, name: &AnchorSetName) -> Result<bool, Error> {
        Ok(self.context.store.remove_anchor_set(name).await?)
    }
}

/// What forbids the model that is known by a key of these certificates. Of several entries for one key any may.
fn forbidden_by_key(entries: &[MetadataEntry], path: &[Vec<u8>], today: &str) -> Option<Forbidden> {
    let path: Vec<&[u8]> = path.iter().map(Vec::as_slice).collect();
    let identifiers = key_identifiers(&path);
    let is_model = |entry: &&MetadataEntry| entry.key_identifiers.iter().any(|known| identifiers.contains(known));
    entries.iter().filter(is_model).find_map(|entry| Some(Forbidden::of(entry, forbidding(entry, Some(&path), today)?)))
}
