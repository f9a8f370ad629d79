//! Why the policy refuses a verified statement.

use crate::domain::{Aaguid, AttestationFormat, AttestationType};

/// Why a statement is not trusted enough. Texts of the client's are escaped and cut.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrustError {
    /// A certificate of x5c was not issued by the one after it.
    #[error("x5c is not a chain: certificate {place}, {subject}, was not issued by the next one")]
    NotAChain {
        /// Its place, from 0.
        place: usize,
        /// Its subject.
        subject: String,
    },
    /// No path to an anchor, or a certificate on it does not count.
    #[error("x5c does not lead to a trust anchor: at {subject}: {why}; looked in {looked_in}")]
    NoPath {
        /// The subject of the certificate at which the search ended.
        subject: String,
        /// What was wrong there, in OpenSSL's words.
        why: String,
        /// The sets of anchors.
        looked_in: String,
    },
    /// The statement is signed with a key of some application's.
    #[error(
        "the certificate is for an application's key in Android's keystore, not for an attestation key: it proves nothing in the format {0}"
    )]
    ApplicationKey(AttestationFormat),
    /// There is no anchor to judge the chain by, and it had to be trusted.
    #[error("{0}")]
    NotJudged(String),
    /// No statement, or one that the credential's own key signed, where a trusted one is demanded.
    #[error("a statement that leads to a trust anchor is required, not {0}")]
    Unproven(AttestationType),
    /// An attestation type that the policy does not accept.
    #[error("attestation of the type {0} is not accepted")]
    Type(AttestationType),
    /// A model on the list of those that are refused.
    #[error("authenticators of the model {0} are not accepted")]
    ModelDenied(Aaguid),
    /// A model that is not on the list of those that are accepted.
    #[error("authenticators of the model {0} are not among those that are accepted")]
    ModelNotAllowed(Aaguid),
    /// An AAGUID that the statement's format does not prove, where models are selected by it.
    #[error(
        "the statement does not prove the model {0}: fido-u2f proves none, tpm and android ones only by the model's own anchors in the FIDO metadata"
    )]
    ModelUnproven(Aaguid),
    /// A model that the metadata reports as revoked or compromised.
    #[error("the FIDO metadata reports {status} of {model}{}", .since.as_ref().map(|date| format!(" since {date}")).unwrap_or_default())]
    Reported {
        /// The model's name.
        model: String,
        /// The report's status.
        status: String,
        /// The date that the report gives.
        since: Option<String>,
    },
    /// A certificate, of a model that has none.
    #[error("by the FIDO metadata, {0} attests with the credential's own key alone: it has no attestation certificate")]
    SurrogateOnly(String),
    /// An algorithm that the model does not have.
    #[error("by the FIDO metadata, {model} does not have the algorithm {algorithm}")]
    Algorithm {
        /// The model's name.
        model: String,
        /// Number of the COSE algorithm, of the credential's key or of the statement.
        algorithm: i64,
    },
    /// A certificate that names the single device, where that is not wanted.
    #[error("the attestation certificate names the single device: enterprise attestation is not accepted")]
    Enterprise,
    /// None of that, where it is demanded.
    #[error("the attestation certificate must name the single device: enterprise attestation is required")]
    NotEnterprise,
}
