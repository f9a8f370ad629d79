//! FIDO metadata and imported anchors: brought in, shown, and held against the credentials that there are.

use super::{Context, Error};
use crate::{
    domain::{Aaguid, AnchorSetName, AttestationTrust, CredentialId, MetadataEntry, MetadataHead, StatusReport, TenantId, Timestamp, UserId},
    storage::{self, MetadataUpdate},
    webauthn::{self, BlobError, BlobReport, Crl, TrustAnchor, TrustAnchorError},
};

/// Why metadata or anchors were not taken.
#[derive(Debug, thiserror::Error)]
pub enum MetadataError {
    /// The BLOB is refused.
    #[error("the metadata BLOB is refused: {0}")]
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
#[derive(Debug)]
pub struct BlobTrust {
    /// The roots that its signature must lead to.
    pub roots: Vec<TrustAnchor>,
    /// Revocation lists to hold its certificates against.
    pub crls: Vec<Crl>,
    /// The host that its signer's certificate must be for; any where the root certifies nobody else.
    pub signer_name: Option<String>,
}

/// A BLOB that was stored.
#[derive(Debug)]
pub struct Imported {
    /// Its number and dates.
    pub head: MetadataHead,
    /// How many models it has.
    pub models: usize,
    /// What was noticed on the way.
    pub report: BlobReport,
}

/// A credential whose model has a status that forbids new ones.
#[derive(Debug)]
pub struct Affected {
    /// Whose relying party.
    pub tenant_id: TenantId,
    /// The tenant's name for people.
    pub tenant_name: String,
    /// Whose it is.
    pub user_id: UserId,
    /// Which it is.
    pub credential_id: CredentialId,
    /// Its model's name.
    pub model: String,
    /// Its model; all zero for U2F.
    pub aaguid: Aaguid,
    /// Whether the model is proven, or only claimed.
    pub trust: AttestationTrust,
    /// What happened to the model.
    pub status: StatusReport,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last used.
    pub last_used_at: Option<Timestamp>,
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

    /// Verifies a BLOB and stores it, if it is newer than the one there is. All servers follow within [`crate::services::TRUST_REFRESH`].
    ///
    /// # Errors
    /// [`MetadataError`]; then nothing changed.
    pub async fn import(&self, blob: &[u8], trust: &BlobTrust) -> Result<Imported, MetadataError> {
        let now = self.context.clock.now();
        let (blob, report) = webauthn::verify_blob(blob, &trust.roots, &trust.crls, trust.signer_name.as_deref(), now)?;
        match self.context.store.replace_metadata(&blob).await? {
            MetadataUpdate::Stored => Ok(Imported { head: blob.head, models: blob.entries.len(), report }),
            MetadataUpdate::NotNewer { stored_no } => Err(MetadataError::NotNewer { no: blob.head.no, stored: stored_no }),
        }
    }

    /// What is stored, if anything is.
    pub async fn stored(&self) -> Result<Option<(MetadataHead, Vec<MetadataEntry>)>, Error> {
        Ok(self.context.store.metadata().await?)
    }

    /// Imports the certificates of a PEM file as the set `name`, in the place of what was in it. Says how many there are.
    ///
    /// # Errors
    /// When the file has none, or one that cannot be read.
    pub async fn import_anchors(&self, name: &AnchorSetName, pem: &[u8]) -> Result<Vec<TrustAnchor>, MetadataError> {
        let anchors = TrustAnchor::from_pem(pem)?;
        let ders: Vec<Vec<u8>> = anchors.iter().map(TrustAnchor::to_der).collect::<Result<_, _>>()?;
        self.context.store.replace_anchor_set(name, &ders, self.context.clock.now()).await?;
        Ok(anchors)
    }

    /// The imported sets of anchors.
    pub async fn anchor_sets(&self) -> Result<Vec<(AnchorSetName, Vec<TrustAnchor>)>, Error> {
        let sets = self.context.store.anchor_sets().await?;
        let read = |ders: Vec<Vec<u8>>| ders.iter().filter_map(|der| TrustAnchor::from_der(der).ok()).collect();
        Ok(sets.into_iter().map(|(name, ders)| (name, read(ders))).collect())
    }

    /// Removes a set of anchors. `false` when there is none of that name.
    pub async fn remove_anchors(&self, name: &AnchorSetName) -> Result<bool, Error> {
        Ok(self.context.store.remove_anchor_set(name).await?)
    }
}
