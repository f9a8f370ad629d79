//! Evidence verified again: what an auditor, or whoever answers a user's question, holds in hand.

mod transaction;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    domain::{
        Aaguid, AttestationFormat, AttestationPolicy, AttestationRecord, AttestationTrust, AttestationType, BackupFlags, Challenge,
        ClonePolicy, CredentialId, IdError, Origin, PathCertificate, Timestamp, TrustDemand, UserVerification,
    },
    webauthn::{
        AccountKnown, AuthenticationCredential, AuthenticationPolicy, CoseAlgorithm, Description, RegistrationCredential,
        RegistrationPolicy, StoredCredential, TrustAnchor, TrustAnchorError, TrustStore, verify_authentication, verify_registration,
    },
};

pub use transaction::ClaimedTransaction;

/// A ceremony's answer, and what it is to be held against.
#[derive(Debug)]
pub struct Evidence<'a> {
    /// Given back with the finding.
    pub name: Option<&'a str>,
    /// The RP ID that was expected.
    pub rp_id: &'a str,
    /// The origins that were accepted.
    pub origins: &'a [Origin],
    /// The challenge that was sent.
    pub challenge: &'a Challenge,
    /// Whether the user had to be verified.
    pub user_verification_required: bool,
    /// Which ceremony it is of; told from what the credential has where nobody wrote it down.
    pub kind: Option<EvidenceKind>,
    /// The credential as the browser made it: JSON, as it came.
    pub credential: &'a str,
    /// What was known of the credential: for an authentication.
    pub stored: Option<StoredKey>,
    /// What becomes of an authentication whose counter did not increase; it is told in any case.
    pub clones: ClonePolicy,
    /// What an authentication is said to have confirmed.
    pub transaction: Option<ClaimedTransaction<'a>>,
    /// Whether the ceremony may have run in a frame of another origin.
    pub allow_cross_origin: bool,
    /// Below which pages; any when empty.
    pub top_origins: &'a [Origin],
    /// PEM files of trust anchors.
    pub anchors: &'a [&'a [u8]],
    /// Anchors that were read before, for all evidence.
    pub common_anchors: &'a Anchors,
    /// Whether a chain must lead to one of them.
    pub check_chain: bool,
    /// The instant at which certificates must be valid.
    pub at: Timestamp,
}

/// Trust anchors, read once for much evidence.
#[derive(Debug, Default)]
pub struct Anchors(Vec<TrustAnchor>);

impl Anchors {
    /// Adds those of a PEM file.
    ///
    /// # Errors
    /// When there is none, or one that cannot be read.
    pub fn add_pem(&mut self, pem: &[u8]) -> Result<(), EvidenceError> {
        self.0.extend(TrustAnchor::from_pem(pem)?);
        Ok(())
    }
}

/// The ceremony that evidence is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EvidenceKind {
    /// Section 7.1.
    Registration,
    /// Section 7.2.
    Authentication,
}

/// What was known of a credential before it was used.
#[derive(Debug)]
pub struct StoredKey {
    /// Its id.
    pub credential_id: Vec<u8>,
    /// Its COSE_Key.
    pub public_key: Vec<u8>,
    /// Its counter.
    pub sign_count: u32,
    /// BE.
    pub backup_eligible: bool,
    /// BS.
    pub backup_state: bool,
    /// The user handle that it was made for, where it is known.
    pub user_handle: Option<Vec<u8>>,
}

/// What came of it: `accept` or `reject` with the step and the reason, and what the evidence says of itself.
#[derive(Debug, Default, Serialize)]
pub struct Finding {
    name: Option<String>,
    kind: &'static str,
    verdict: &'static str,
    /// Of WebAuthn L3 section 7.1 for a registration, of 7.2 for an authentication.
    step: Option<u8>,
    reason: Option<String>,
    /// The statement's format.
    fmt: Option<String>,
    /// Of the credential's key: a number of the COSE registry.
    alg: Option<i64>,
    aaguid: Option<Aaguid>,
    attestation_type: Option<AttestationType>,
    trust: Option<AttestationTrust>,
    /// The path to the anchor, from the attestation certificate on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    trust_path: Vec<PathCertificate>,
    /// Why there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    trust_reason: Option<String>,
    flags: Option<Flags>,
    sign_count: Option<u32>,
    /// The counter did not increase.
    #[serde(skip_serializing_if = "Option::is_none")]
    clone_suspected: Option<bool>,
    /// The transaction that was confirmed: of an authentication that is accepted, where one was claimed.
    #[serde(skip_serializing_if = "Option::is_none")]
    transaction_id: Option<String>,
}

/// The flags of authenticator data by their names.
#[derive(Debug, Serialize)]
#[serde(rename_all = "UPPERCASE")]
#[expect(clippy::struct_excessive_bools, reason = "the standard's flags")]
struct Flags {
    up: bool,
    uv: bool,
    be: bool,
    bs: bool,
    at: bool,
    ed: bool,
}

impl From<u8> for Flags {
    fn from(byte: u8) -> Self {
        let bit = |mask: u8| byte & mask != 0;
        Self { up: bit(0x01), uv: bit(0x04), be: bit(0x08), bs: bit(0x10), at: bit(0x40), ed: bit(0x80) }
    }
}

/// Evidence that is none: nothing of it was judged.
#[derive(Debug, thiserror::Error)]
pub enum EvidenceError {
    /// An anchor that cannot be read.
    #[error("a trust anchor is {0}")]
    Anchor(#[from] TrustAnchorError),
    /// What was known of the credential.
    #[error("stored.credential_id: {0}")]
    CredentialId(#[from] IdError),
    /// An authentication without what was known of the credential.
    #[error("an authentication needs `stored`: the credential's record")]
    NotStored,
    /// A registration that is said to have confirmed something.
    #[error("a registration confirms no transaction")]
    ConfirmsNothing,
}

/// Judges evidence as a server does, at the instant that it names, with every format and algorithm accepted.
///
/// # Errors
/// When it cannot be judged at all. Evidence that is refused is a finding, not an error.
pub fn inspect(evidence: &Evidence<'_>) -> Result<Finding, EvidenceError> {
    let mut finding = if is_assertion(evidence) { inspect_authentication(evidence)? } else { inspect_registration(evidence)? };
    finding.name = evidence.name.map(str::to_owned);
    Ok(finding)
}

/// Whether a body is an authentication's: only that has a signature beside its client data. Where a client left that out, what was known of
/// the credential tells.
fn is_assertion(evidence: &Evidence<'_>) -> bool {
    if let Some(kind) = evidence.kind {
        return kind == EvidenceKind::Authentication;
    }
    let credential: Value = serde_json::from_str(evidence.credential).unwrap_or_default();
    let has = |member: &str| credential.pointer(member).is_some();
    let is_registration = has("/response/attestationObject");
    has("/response/signature") || !is_registration && (evidence.stored.is_some() || has("/response/authenticatorData"))
}

impl Finding {
    fn of(kind: &'static str, about: Description) -> Self {
        Self {
            kind,
            verdict: "accept",
            fmt: about.format,
            alg: about.algorithm,
            aaguid: about.aaguid,
            flags: about.flags.map(Flags::from),
            sign_count: about.sign_count,
            ..Self::default()
        }
    }

    fn refused(self, step: u8, reason: String) -> Self {
        Self { verdict: "reject", step: Some(step), reason: Some(reason), ..self }
    }

    fn attested(self, record: AttestationRecord) -> Self {
        Self {
            attestation_type: Some(record.attestation_type),
            trust: Some(record.trust),
            trust_path: record.path,
            trust_reason: record.reason,
            ..self
        }
    }

    /// Holds the challenge, which was found to be the signed one, against the transaction that is said to have been confirmed by it.
    fn confirming(self, claimed: Option<ClaimedTransaction<'_>>, challenge: &Challenge) -> Self {
        let Some(claimed) = claimed else { return self };
        match claimed.verify(challenge) {
            Ok(()) => Self { transaction_id: Some(claimed.id.to_owned()), ..self },
            // What a challenge has to be is step 11's.
            Err(refusal) => self.refused(11, refusal.to_string()),
        }
    }
}

/// The name of the set of anchors that came with the evidence.
const ANCHORS: &str = "evidence";

fn inspect_registration(evidence: &Evidence<'_>) -> Result<Finding, EvidenceError> {
    const KIND: &str = "registration";
    if evidence.transaction.is_some() {
        return Err(EvidenceError::ConfirmsNothing);
    }
    let credential = match RegistrationCredential::parse(evidence.credential.as_bytes()) {
        Ok(credential) => credential,
        Err(error) => return Ok(Finding::of(KIND, Description::default()).refused(error.step(), error.to_string())),
    };
    let mut anchors = Vec::new();
    for pem in evidence.anchors {
        anchors.extend(TrustAnchor::from_pem(pem)?);
    }
    anchors.extend_from_slice(&evidence.common_anchors.0);
    let attestation = AttestationPolicy {
        formats: AttestationFormat::ALL.to_vec(),
        trust: if evidence.check_chain && !anchors.is_empty() { TrustDemand::Judge } else { TrustDemand::Record },
        anchors: vec![ANCHORS.to_owned()],
        ..AttestationPolicy::default()
    };
    let policy = RegistrationPolicy {
        rp_id: evidence.rp_id,
        origins: evidence.origins,
        challenge: evidence.challenge,
        user_verification: evidence.user_verification(),
        algorithms: &CoseAlgorithm::ALL,
        allow_cross_origin: evidence.allow_cross_origin,
        top_origins: evidence.top_origins,
        allow_u2f_aaguid: true,
        attestation: &attestation,
        trust_store: &TrustStore::new([(ANCHORS.to_owned(), anchors)], None),
        now: evidence.at,
    };
    let finding = Finding::of(KIND, credential.describe());
    Ok(match verify_registration(&credential, &policy) {
        Ok(registration) => finding.attested(registration.attestation),
        Err(error) => finding.refused(error.step(), error.refusal().to_string()),
    })
}

fn inspect_authentication(evidence: &Evidence<'_>) -> Result<Finding, EvidenceError> {
    const KIND: &str = "authentication";
    let stored = evidence.stored.as_ref().ok_or(EvidenceError::NotStored)?;
    let id = CredentialId::try_from(stored.credential_id.as_slice())?;
    let credential = match AuthenticationCredential::parse(evidence.credential.as_bytes()) {
        Ok(credential) => credential,
        Err(error) => return Ok(Finding::of(KIND, Description::default()).refused(error.step(), error.to_string())),
    };
    // Where nobody wrote down whose it is, the account that the assertion names is taken at its word.
    let handle = stored.user_handle.as_deref().or(credential.user_handle()).unwrap_or_default();
    let policy = AuthenticationPolicy {
        rp_id: evidence.rp_id,
        origins: evidence.origins,
        challenge: evidence.challenge,
        user_verification: evidence.user_verification(),
        allow_cross_origin: evidence.allow_cross_origin,
        top_origins: evidence.top_origins,
        allowed: &[],
        account: AccountKnown::Before(handle),
        stored: StoredCredential {
            id: &id,
            user_handle: handle,
            public_key: &stored.public_key,
            sign_count: stored.sign_count,
            backup: BackupFlags { eligible: stored.backup_eligible, state: stored.backup_state },
        },
        refuse_clones: evidence.clones == ClonePolicy::Refuse,
    };
    let finding = Finding::of(KIND, credential.describe(&stored.public_key));
    Ok(match verify_authentication(&credential, &policy) {
        Ok(authentication) => Finding { clone_suspected: Some(authentication.clone_suspected), ..finding }
            .confirming(evidence.transaction, evidence.challenge),
        Err(error) => finding.refused(error.step(), error.refusal().to_string()),
    })
}

impl Evidence<'_> {
    const fn user_verification(&self) -> UserVerification {
        if self.user_verification_required { UserVerification::Required } else { UserVerification::Preferred }
    }
}
