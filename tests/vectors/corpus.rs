//! The vectors: one JSON object a line; what each field means is in `README.md` beside them.

use std::{
    io::{Write as _, stderr},
    path::PathBuf,
};

use base64::{
    Engine as _, alphabet,
    engine::{GeneralPurpose, GeneralPurposeConfig},
};
use passkey_hsm::{
    domain::{AttestationFormat, AttestationPolicy, Challenge, Origin, Timestamp, TrustDemand, UserVerification},
    webauthn::{CoseAlgorithm, Registration, RegistrationCredential, RegistrationPolicy, TrustAnchor, TrustStore, verify_registration},
};
use serde::Deserialize;
use serde_json::Value;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// Where a vector says nothing of the time: its certificates are judged at this instant, so that the tests mean the same in ten years.
const DEFAULT_TIME: &str = "2026-11-01T00:00:00Z";

/// Names the file with other projects' vectors.
const THIRD_PARTY: &str = "THIRD_PARTY_VECTORS";

/// Some upstream tests expect texts that are no bytes' one encoding.
const LAX: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(base64::engine::DecodePaddingMode::Indifferent),
);

#[derive(Debug, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "the vectors' own fields")]
pub(crate) struct Vector {
    pub(crate) name: String,
    pub(crate) kind: String,
    #[serde(default)]
    fmt: Value,
    rp_id: String,
    origin: OneOrMore,
    challenge_b64url: String,
    user_verification_required: bool,
    pub(crate) credential: Value,
    #[serde(default)]
    trust_anchor_pem: Vec<String>,
    #[serde(default)]
    pub(crate) check_chain: bool,
    at_time: Option<String>,
    certs_valid_at: Option<String>,
    #[serde(default)]
    cross_origin_allowed: bool,
    top_origin: Option<OneOrMore>,
    pub(crate) expected: String,
    pub(crate) reason: String,
    #[serde(default)]
    pub(crate) may_differ: bool,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

impl OneOrMore {
    fn origins(&self) -> Vec<Origin> {
        let texts = match self {
            Self::One(text) => std::slice::from_ref(text),
            Self::More(texts) => texts,
        };
        texts.iter().map(|text| text.parse().unwrap_or_else(|error| panic!("{error}"))).collect()
    }
}

impl Vector {
    /// The statement format, if the vector has one that is a text.
    pub(crate) fn format(&self) -> Option<&str> {
        self.fmt.as_str()
    }

    pub(crate) fn has_anchors(&self) -> bool {
        !self.trust_anchor_pem.is_empty()
    }

    pub(crate) fn body(&self) -> Vec<u8> {
        self.credential.to_string().into_bytes()
    }

    /// Parses and verifies it, its chain too if it is asked for.
    pub(crate) fn verify(&self, check_chain: bool) -> Result<Registration, String> {
        self.verify_body(&self.body(), check_chain)
    }

    /// Another body in its place.
    pub(crate) fn verify_body(&self, body: &[u8], check_chain: bool) -> Result<Registration, String> {
        let credential = RegistrationCredential::parse(body).map_err(|error| error.to_string())?;
        let pem = self.trust_anchor_pem.iter().filter(|_| check_chain);
        let anchors: Vec<_> = pem.flat_map(|pem| TrustAnchor::from_pem(pem.as_bytes()).unwrap()).collect();
        let top_origins = self.top_origin.as_ref().map(OneOrMore::origins).unwrap_or_default();
        let (attestation, trust_store) = trust(&anchors);
        let policy = RegistrationPolicy {
            rp_id: &self.rp_id,
            origins: &self.origin.origins(),
            challenge: &Challenge::from_bytes(&LAX.decode(&self.challenge_b64url).unwrap()),
            user_verification: if self.user_verification_required { UserVerification::Required } else { UserVerification::Preferred },
            algorithms: &CoseAlgorithm::ALL,
            allow_cross_origin: self.cross_origin_allowed || self.top_origin.is_some(),
            top_origins: &top_origins,
            allow_u2f_aaguid: true,
            attestation: &attestation,
            trust_store: &trust_store,
            now: self.time(),
        };
        verify_registration(&credential, &policy).map_err(|error| error.to_string())
    }

    fn time(&self) -> Timestamp {
        let text = self.at_time.as_deref().or(self.certs_valid_at.as_deref()).unwrap_or(DEFAULT_TIME);
        let seconds = OffsetDateTime::parse(text, &Rfc3339).unwrap().unix_timestamp();
        Timestamp::from_millis(seconds * 1000)
    }
}

/// A policy that takes every format, and demands a path to one of these anchors where there are any.
pub(crate) fn trust(anchors: &[TrustAnchor]) -> (AttestationPolicy, TrustStore) {
    let policy = AttestationPolicy {
        formats: AttestationFormat::ALL.to_vec(),
        anchors: vec!["vector".to_owned()],
        trust: if anchors.is_empty() { TrustDemand::Record } else { TrustDemand::Judge },
        ..AttestationPolicy::default()
    };
    (policy, TrustStore::new([("vector".to_owned(), anchors.to_vec())], None))
}

fn read(text: &str) -> Vec<Vector> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).filter(|vector: &Vector| vector.kind == "registration").collect()
}

/// The registrations of `ours.jsonl`.
pub(crate) fn ours() -> Vec<Vector> {
    read(include_str!("ours.jsonl"))
}

/// The registrations of other projects' tests. They are not ours to ship: `None`, said aloud, where they are not at hand.
pub(crate) fn third_party() -> Option<Vec<Vector>> {
    let beside = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/vectors/third-party.jsonl"));
    let path = std::env::var_os(THIRD_PARTY).map_or_else(beside, PathBuf::from);
    match std::fs::read_to_string(&path) {
        Ok(text) => Some(read(&text)),
        Err(error) => {
            // Straight to stderr: what a passing test prints is captured, and this is to be seen.
            let _ = writeln!(stderr(), "SKIPPED other projects' vectors: {}: {error}. Name their file in {THIRD_PARTY}.", path.display());
            None
        }
    }
}
