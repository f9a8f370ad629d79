//! The vectors: one JSON object a line; what each field means is in `README.md` beside them.

use std::{
    collections::HashMap,
    io::{Write as _, stderr},
    path::PathBuf,
};

use base64::{
    Engine as _, alphabet,
    engine::{GeneralPurpose, GeneralPurposeConfig, general_purpose::URL_SAFE_NO_PAD},
};
use openssl::x509::X509;
use passkey_hsm::{
    domain::{
        AttestationFormat, AttestationPolicy, BackupFlags, Challenge, CredentialId, Origin, Timestamp, TrustDemand, UserVerification,
    },
    webauthn::{
        AccountKnown, Authentication, AuthenticationCredential, AuthenticationPolicy, CoseAlgorithm, Registration, RegistrationCredential,
        RegistrationPolicy, StoredCredential, TrustAnchor, TrustStore, verify_authentication, verify_registration,
    },
};
use serde::Deserialize;
use serde_json::Value;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::second_verifier::{Asked, Known, Question};

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
    stored: Option<Stored>,
    pub(crate) expected: String,
    pub(crate) reason: String,
    #[serde(default)]
    pub(crate) may_differ: bool,
    /// Verdicts by verifier.
    observed: HashMap<String, String>,
}

/// The record of an authentication's credential.
#[derive(Debug, Deserialize)]
struct Stored {
    credential_id: String,
    cose_public_key: String,
    sign_count: u32,
    /// What UV was when it was made: no step looks at it.
    user_verified: bool,
    backup_eligible: bool,
    backup_state: bool,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

impl OneOrMore {
    fn texts(&self) -> &[String] {
        match self {
            Self::One(text) => std::slice::from_ref(text),
            Self::More(texts) => texts,
        }
    }
}

impl Vector {
    pub(crate) fn has_anchors(&self) -> bool {
        !self.trust_anchor_pem.is_empty()
    }

    pub(crate) fn body(&self) -> Vec<u8> {
        self.credential.to_string().into_bytes()
    }

    /// Parses and verifies it, of either kind.
    pub(crate) fn verdict(&self) -> Result<(), String> {
        self.prepared(self.check_chain).judge(&self.body())
    }

    /// Parses and verifies an assertion.
    pub(crate) fn authenticate(&self, body: &[u8]) -> Result<Authentication, String> {
        self.prepared(false).authenticate(body)
    }

    /// Parses and verifies a registration, its chain too if it is asked for.
    pub(crate) fn verify(&self, check_chain: bool) -> Result<Registration, String> {
        self.verify_body(&self.body(), check_chain)
    }

    /// Another body in its place.
    pub(crate) fn verify_body(&self, body: &[u8], check_chain: bool) -> Result<Registration, String> {
        self.prepared(check_chain).register(body)
    }

    /// All that is done before an answer comes.
    pub(crate) fn prepared(&self, check_chain: bool) -> Prepared<'_> {
        let (attestation, trust_store) = trust(&self.anchors(check_chain, |pem| TrustAnchor::from_pem(pem).unwrap()));
        Prepared {
            vector: self,
            origins: self.origin.texts().iter().map(|text| text.parse().unwrap_or_else(|error| panic!("{error}"))).collect(),
            challenge: Challenge::from_bytes(&self.challenge()),
            top_origins: self.top_origin.iter().flat_map(OneOrMore::texts).map(|text| text.parse().unwrap()).collect(),
            attestation,
            trust_store,
            now: self.time(),
            stored: self.stored.as_ref().map(|stored| {
                let id = LAX.decode(&stored.credential_id).unwrap();
                (CredentialId::try_from(id.as_slice()).unwrap(), LAX.decode(&stored.cose_public_key).unwrap())
            }),
        }
    }

    /// The same for the second verifier. An error says why it cannot be asked.
    pub(crate) fn asked(&self, check_chain: bool) -> Result<Asked, String> {
        let question = Question {
            rp_id: &self.rp_id,
            origins: self.origin.texts().iter().map(String::as_str).collect(),
            challenge: URL_SAFE_NO_PAD.encode(self.challenge()),
            user_verification_required: self.user_verification_required,
            anchors: self.anchors(check_chain, |pem| X509::stack_from_pem(pem).unwrap()),
        };
        let Some(stored) = &self.stored else { return Asked::registration(question) };
        let known = Known {
            id: LAX.decode(&stored.credential_id).unwrap(),
            cose_key: &LAX.decode(&stored.cose_public_key).unwrap(),
            sign_count: stored.sign_count,
            user_verified: stored.user_verified,
            backup_eligible: stored.backup_eligible,
            backup_state: stored.backup_state,
        };
        Asked::authentication(&question, known)
    }

    /// What the second verifier said when the vector was made.
    pub(crate) fn observed(&self) -> &str {
        self.observed.get("webauthn-rs-core 0.5.5").unwrap_or_else(|| panic!("{}", self.name))
    }

    fn anchors<T>(&self, check_chain: bool, read: fn(&[u8]) -> Vec<T>) -> Vec<T> {
        self.trust_anchor_pem.iter().filter(|_| check_chain).flat_map(|pem| read(pem.as_bytes())).collect()
    }

    fn challenge(&self) -> Vec<u8> {
        LAX.decode(&self.challenge_b64url).unwrap()
    }

    fn time(&self) -> Timestamp {
        let text = self.at_time.as_deref().or(self.certs_valid_at.as_deref()).unwrap_or(DEFAULT_TIME);
        let seconds = OffsetDateTime::parse(text, &Rfc3339).unwrap().unix_timestamp();
        Timestamp::from_millis(seconds * 1000)
    }
}

/// What is expected of a vector's answer, read: what is left to do is what a server does for each.
pub(crate) struct Prepared<'a> {
    vector: &'a Vector,
    origins: Vec<Origin>,
    challenge: Challenge,
    top_origins: Vec<Origin>,
    attestation: AttestationPolicy,
    trust_store: TrustStore,
    /// Id and key of an authentication's credential.
    stored: Option<(CredentialId, Vec<u8>)>,
    now: Timestamp,
}

impl Prepared<'_> {
    /// Parses and verifies an answer of the vector's kind.
    pub(crate) fn judge(&self, body: &[u8]) -> Result<(), String> {
        match self.vector.kind.as_str() {
            REGISTRATION => self.register(body).map(drop),
            AUTHENTICATION => self.authenticate(body).map(drop),
            other => panic!("{}: kind {other}?", self.vector.name),
        }
    }

    fn register(&self, body: &[u8]) -> Result<Registration, String> {
        let credential = RegistrationCredential::parse(body).map_err(|error| error.to_string())?;
        let policy = RegistrationPolicy {
            rp_id: &self.vector.rp_id,
            origins: &self.origins,
            challenge: &self.challenge,
            user_verification: self.user_verification(),
            algorithms: &CoseAlgorithm::ALL,
            allow_cross_origin: self.allow_cross_origin(),
            top_origins: &self.top_origins,
            allow_u2f_aaguid: true,
            attestation: &self.attestation,
            trust_store: &self.trust_store,
            now: self.now,
        };
        verify_registration(&credential, &policy).map_err(|error| error.to_string())
    }

    /// The vectors say nothing of accounts: it is known before, and is the one that is named, if one is.
    fn authenticate(&self, body: &[u8]) -> Result<Authentication, String> {
        let credential = AuthenticationCredential::parse(body).map_err(|error| error.to_string())?;
        let user_handle = credential.user_handle().unwrap_or(b"user");
        let record = self.vector.stored.as_ref().unwrap();
        let (id, public_key) = self.stored.as_ref().unwrap();
        let policy = AuthenticationPolicy {
            rp_id: &self.vector.rp_id,
            origins: &self.origins,
            challenge: &self.challenge,
            user_verification: self.user_verification(),
            allow_cross_origin: self.allow_cross_origin(),
            top_origins: &self.top_origins,
            allowed: std::slice::from_ref(id),
            account: AccountKnown::Before(user_handle),
            stored: StoredCredential {
                id,
                user_handle,
                public_key,
                sign_count: record.sign_count,
                backup: BackupFlags { eligible: record.backup_eligible, state: record.backup_state },
            },
            // Where a vector is about the counter, this is what it expects.
            refuse_clones: true,
        };
        verify_authentication(&credential, &policy).map_err(|error| error.to_string())
    }

    fn user_verification(&self) -> UserVerification {
        if self.vector.user_verification_required { UserVerification::Required } else { UserVerification::Preferred }
    }

    fn allow_cross_origin(&self) -> bool {
        self.vector.cross_origin_allowed || self.vector.top_origin.is_some()
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

/// The kinds of vectors.
pub(crate) const REGISTRATION: &str = "registration";
pub(crate) const AUTHENTICATION: &str = "authentication";

fn read(text: &str, kind: &str) -> Vec<Vector> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).filter(|vector: &Vector| vector.kind == kind).collect()
}

/// The registrations of `ours.jsonl`.
pub(crate) fn ours() -> Vec<Vector> {
    ours_of(REGISTRATION)
}

/// The vectors of a kind in `ours.jsonl`.
pub(crate) fn ours_of(kind: &str) -> Vec<Vector> {
    read(include_str!("ours.jsonl"), kind)
}

/// The registrations of other projects' tests.
pub(crate) fn third_party() -> Option<Vec<Vector>> {
    third_party_of(REGISTRATION)
}

/// The vectors of a kind in other projects' tests. They are not ours to ship: `None`, said aloud, where they are not at hand.
pub(crate) fn third_party_of(kind: &str) -> Option<Vec<Vector>> {
    let beside = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/vectors/third-party.jsonl"));
    let path = std::env::var_os(THIRD_PARTY).map_or_else(beside, PathBuf::from);
    match std::fs::read_to_string(&path) {
        Ok(text) => Some(read(&text, kind)),
        Err(error) => {
            // Straight to stderr: what a passing test prints is captured, and this is to be seen.
            let _ = writeln!(stderr(), "SKIPPED other projects' vectors: {}: {error}. Name their file in {THIRD_PARTY}.", path.display());
            None
        }
    }
}
