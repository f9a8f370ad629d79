//! Registrations by software authenticators that are not ours, on options that are, with a second verifier's opinion where it is known
//! to be right.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use openssl::{rand::rand_bytes, sha::sha256, x509::X509};
use passkey_hsm::{
    domain::{AttestationPreference, Challenge, Clock as _, Origin, ResidentKey, SystemClock, UserVerification},
    webauthn::{
        CreationRequest, OFFERED_ALGORITHMS, Registration, RegistrationCredential, RegistrationPolicy, TrustAnchor, creation_options,
        verify_registration,
    },
};
use serde_json::{Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use webauthn_authenticator_rs::{AuthenticatorBackendHashedClientData, softpasskey::SoftPasskey, softtoken::SoftToken};

use crate::{
    corpus::{REGISTRATION, Vector},
    second_verifier::Asked,
};

const ORIGIN: &str = "https://example.org";

/// A registration that a software authenticator made.
pub(crate) struct Made {
    pub(crate) body: Vec<u8>,
    pub(crate) challenge: Challenge,
    root: Option<X509>,
}

impl Made {
    /// On options of ours; the second verifier must accept the result too.
    fn by(authenticator: &mut impl AuthenticatorBackendHashedClientData, root: Option<X509>) -> Self {
        let mut challenge = [0; 32];
        rand_bytes(&mut challenge).unwrap();
        let challenge = Challenge::from_bytes(&challenge);

        let options = creation_options(&CreationRequest {
            rp_id: "example.org",
            rp_name: "Example",
            user_id: &"u1".parse().unwrap(),
            user_name: "ann",
            display_name: "Ann",
            icon: None,
            challenge: &challenge,
            timeout: Duration::from_mins(1),
            exclude: Vec::new(),
            attachment: None,
            resident_key: ResidentKey::Discouraged,
            user_verification: UserVerification::Required,
            hints: &[],
            attestation: AttestationPreference::Direct,
            cred_props: true,
        });
        let options = serde_json::to_value(options).unwrap();
        // The client's part, as browsers do it: the crate's own writes an origin with a path.
        let client_data = json!({"type": "webauthn.create", "challenge": options["challenge"], "origin": ORIGIN, "crossOrigin": false});
        let client_data = client_data.to_string().into_bytes();
        let hash = sha256(&client_data).to_vec();
        let mut made = authenticator.perform_register(hash, serde_json::from_value(options).unwrap(), 60_000).unwrap();
        made.response.client_data_json = client_data.into();
        let made = Self { body: serde_json::to_vec(&made).unwrap(), challenge, root };
        made.asked(true).verify(&made.body).expect("the second verifier accepts it");
        made
    }

    /// The second verifier, about the same; with the chain to the root if that is asked for and there is one.
    pub(crate) fn asked(&self, check_chain: bool) -> Asked {
        self.vector().asked(check_chain).unwrap()
    }

    /// The same as a vector, with the chain to the root where there is one.
    pub(crate) fn vector(&self) -> Vector {
        let now = OffsetDateTime::from_unix_timestamp(SystemClock.now().as_secs()).unwrap();
        let pem = |root: &X509| String::from_utf8(root.to_pem().unwrap()).unwrap();
        let vector = json!({
            "name": "made",
            "kind": REGISTRATION,
            "rp_id": "example.org",
            "origin": ORIGIN,
            "challenge_b64url": URL_SAFE_NO_PAD.encode(self.challenge.as_bytes()),
            "user_verification_required": true,
            "credential": serde_json::from_slice::<Value>(&self.body).unwrap(),
            "trust_anchor_pem": self.root.iter().map(pem).collect::<Vec<_>>(),
            "check_chain": self.root.is_some(),
            "at_time": now.format(&Rfc3339).unwrap(),
            "expected": "accept",
            "reason": "genuine",
            "observed": {},
        });
        serde_json::from_value(vector).unwrap()
    }

    /// By a `SoftToken`, with the root of its attestation.
    pub(crate) fn by_token() -> (Self, TrustAnchor) {
        let (mut token, root): (SoftToken, X509) = SoftToken::new(true).unwrap();
        let anchor = TrustAnchor::from_der(&root.to_der().unwrap()).unwrap();
        (Self::by(&mut token, Some(root)), anchor)
    }

    /// By a `SoftPasskey`.
    pub(crate) fn by_passkey() -> Self {
        Self::by(&mut SoftPasskey::new(true), None)
    }

    /// Verifies another body in its place.
    pub(crate) fn verify_body(&self, body: &[u8], anchors: &[TrustAnchor]) -> Result<Registration, String> {
        let credential = RegistrationCredential::parse(body).map_err(|error| error.to_string())?;
        let origins: [Origin; 1] = [ORIGIN.parse().unwrap()];
        let (attestation, trust_store) = crate::corpus::trust(anchors);
        let policy = RegistrationPolicy {
            rp_id: "example.org",
            origins: &origins,
            challenge: &self.challenge,
            user_verification: UserVerification::Required,
            algorithms: &OFFERED_ALGORITHMS,
            allow_cross_origin: false,
            top_origins: &[],
            allow_u2f_aaguid: false,
            attestation: &attestation,
            trust_store: &trust_store,
            now: SystemClock.now(),
        };
        verify_registration(&credential, &policy).map_err(|error| error.to_string())
    }
}

#[test]
fn soft_token_attests_with_a_certificate() {
    let (made, root) = Made::by_token();
    let registration = made.verify_body(&made.body, &[]).unwrap();
    assert_eq!(registration.attestation_type, "packed");
    assert_eq!(registration.attestation.trust.as_str(), "untrusted");
    assert_eq!(registration.aaguid.to_string(), "0fb9bcbc-a0d4-4042-bbb0-559bc1631e28");
    assert!(registration.user_verified);

    let trusted = made.verify_body(&made.body, &[root]).unwrap();
    assert_eq!(trusted.attestation.trust.as_str(), "trusted");

    let (_, foreign) = Made::by_token();
    let error = made.verify_body(&made.body, &[foreign]).unwrap_err();
    assert!(error.starts_with("step 24: "), "{error}");
}

#[test]
fn soft_passkey_attests_with_its_own_key() {
    let made = Made::by_passkey();
    let registration = made.verify_body(&made.body, &[]).unwrap();
    assert_eq!(registration.attestation_type, "packed");
    assert_eq!(registration.attestation.trust.as_str(), "self");
}
