//! The metadata BLOB: a signed list of models (section 3.1.7), verified as section 3.2 says.

use super::{
    chain,
    crl::{Crl, CrlFault, check_revocation},
    entries::{self, SkippedEntry},
};
use crate::{
    domain::{MetadataBlob, Timestamp},
    webauthn::{JwsError, SignatureError, TrustAnchor, certificate::Certificate, chain::name, jws::Jws},
};

/// The most bytes of a BLOB. The one of October 2026 has some 10 million.
const MAX_LEN: usize = 64 << 20;

/// Why a BLOB is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BlobError {
    /// Larger than anything that could be one.
    #[error("the metadata BLOB has more than {0} bytes")]
    TooLarge(usize),
    /// Not three parts of base64url with dots between.
    #[error("the metadata BLOB is not a signed JWT: {0}")]
    NotJws(&'static str),
    /// A header that cannot be read.
    #[error("the metadata BLOB's header is malformed: {0}")]
    Header(String),
    /// Unsigned, signed with a shared secret, or with an algorithm that is not known here.
    #[error("the metadata BLOB is signed with {0}; RS, PS and ES of 256, 384 and 512 are accepted")]
    Algorithm(String),
    /// The header demands that an extension be understood.
    #[error("the metadata BLOB's header names critical extensions, which are not known here")]
    Critical,
    /// The certificates are to be fetched.
    #[error("the metadata BLOB's header has x5u: certificates are not fetched, they must be in x5c")]
    CertificateUrl,
    /// No certificates, or too many.
    #[error("the metadata BLOB's header must have x5c with 1 to {0} certificates")]
    CertificateCount(usize),
    /// One that cannot be read, by its place in x5c.
    #[error("certificate {0} of the metadata BLOB's x5c cannot be read")]
    Certificate(usize),
    /// One that was not issued by the one after it, by its place in x5c.
    #[error("the metadata BLOB's x5c is not a chain: certificate {0} was not issued by the next one")]
    NotAChain(usize),
    /// One that may not issue certificates is not the first.
    #[error("the metadata BLOB's x5c is not a chain: {0} is no CA")]
    NotACa(String),
    /// No path to a root, or a certificate on it is not valid at that time.
    #[error("the metadata BLOB's certificate does not lead to a trusted root: {reason}: {subject}")]
    NoPath {
        /// The certificate at which it ended.
        subject: String,
        /// OpenSSL's reason.
        reason: String,
    },
    /// Signed by somebody else.
    #[error("the metadata BLOB's certificate is not for {expected}: {subject}")]
    Signer {
        /// Whom it should be for.
        expected: String,
        /// Whom it is for.
        subject: String,
    },
    /// A list of revoked certificates that was given cannot be used.
    #[error("the CRL of {issuer} {fault}")]
    Crl {
        /// Who issued it.
        issuer: String,
        /// What is wrong with it.
        fault: CrlFault,
    },
    /// A certificate was revoked.
    #[error("a certificate of the metadata BLOB was revoked: {0}")]
    Revoked(String),
    /// The certificate's key is not one for the header's algorithm.
    #[error("the metadata BLOB's algorithm does not go with its certificate's key")]
    Key,
    /// The payload is not what was signed.
    #[error("the metadata BLOB's signature does not verify")]
    Signature,
    /// A payload that cannot be read.
    #[error("the metadata BLOB's payload is malformed: {0}")]
    Payload(String),
}

impl From<JwsError> for BlobError {
    fn from(error: JwsError) -> Self {
        match error {
            JwsError::TooLong(max) => Self::TooLarge(max),
            JwsError::NotCompact => Self::NotJws("it does not have three parts"),
            JwsError::NotBase64Url(part) => Self::NotJws(part),
            JwsError::Header(fault) => Self::Header(fault),
            JwsError::Critical => Self::Critical,
            JwsError::Algorithm(name) => Self::Algorithm(name),
            JwsError::CertificateUrl => Self::CertificateUrl,
            JwsError::CertificateCount(max) => Self::CertificateCount(max),
            JwsError::Certificate(n) => Self::Certificate(n),
        }
    }
}

/// What was found while a BLOB was verified, for the log of whoever imports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The subject of the certificate that signed it.
    pub signer: String,
    /// The subjects of the certificates on the path, the root apart, for whose issuer no CRL was given.
    pub unchecked: Vec<String>,
    /// Entries that are not used.
    pub skipped: Vec<SkippedEntry>,
    /// How many trust anchors of used entries were left out because they are no certificates.
    pub unreadable_anchors: usize,
}

/// Verifies a BLOB (section 3.2) and reads its entries.
///
/// - `text` is the BLOB as it is served: a JWS in compact serialization (RFC 7515 section 7.1), white space around it ignored.
/// - `roots` are what its x5c must lead to, by itself: there is no trust in intermediates. x5c may end with the root or before it.
/// - `crls`: each must be of an issuer on the path and current. A certificate for whose issuer there is none is not checked:
///   [`Verified::unchecked`] names it.
/// - `signer_name`: the DNS name that the signing certificate must be for; [`super::MDS_SIGNER`] wherever a root is a public CA's.
///   `None` is for roots that issue to nobody else.
/// - `now`: when the certificates and CRLs must be valid, and what [`crate::domain::MetadataHead::imported_at`] becomes.
///
/// What the caller must judge: whether the serial number has grown since the last BLOB (section 3.2 step 6), and whether `nextUpdate` has
/// passed. Entries that cannot be used never fail the whole: they are in [`Verified::skipped`].
pub fn verify_blob(
    text: &[u8],
    roots: &[TrustAnchor],
    crls: &[Crl],
    signer_name: Option<&str>,
    now: Timestamp,
) -> Result<(MetadataBlob, Verified), BlobError> {
    let jws = Jws::parse(text.trim_ascii(), MAX_LEN)?;
    // Steps 4 and 5: the certificates, which are those of x5c.
    let path = chain::establish(&jws.certificates, roots, signer_name, now)?;
    // Step 2: their revocation.
    let unchecked = check_revocation(&path, crls, now)?;
    // Step 6: the signature. Nothing of the payload is decoded before.
    verify_signature(&jws)?;
    // Step 7 is the caller's, step 8 is what the entries are read for.
    let payload = jws.payload()?;
    let (blob, found) = entries::read(&payload, now)?;
    let signer = path.first().map(|leaf| name(leaf.subject_name())).unwrap_or_default();
    Ok((blob, Verified { signer, unchecked, skipped: found.skipped, unreadable_anchors: found.unreadable_anchors }))
}

fn verify_signature(jws: &Jws<'_>) -> Result<(), BlobError> {
    let leaf = jws.certificates.first().ok_or(BlobError::Certificate(0))?;
    let key = Certificate::parse(leaf).and_then(|leaf| leaf.public_key()).map_err(|_| BlobError::Key)?;
    jws.verify(&key).map_err(|error| match error {
        SignatureError::KeyMismatch(_) | SignatureError::Unsupported(_) => BlobError::Key,
        SignatureError::Invalid => BlobError::Signature,
    })
}
