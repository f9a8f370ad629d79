//! Registrations by software authenticators that are not ours, on options that are, with a second verifier's opinion where it is known
//! to be right.

use std::time::Duration;

use openssl::{sha::sha256, x509::X509};
use passkey_hsm::{
    domain::{AttestationPreference, AttestationTrust, Challenge, Clock as _, Origin, ResidentKey, SystemClock, UserVerification},
    webauthn::{
        CreationRequest, OFFERED_ALGORITHMS, Registration, RegistrationCredential, RegistrationPolicy, TrustAnchor, creation_options,
        verify_registration,
    },
};
use serde_json::json;
use url::Url;
use webauthn_authenticator_rs::{AuthenticatorBackendHashedClientData, softpasskey::SoftPasskey, softtoken::SoftToken};
use webauthn_rs_core::{WebauthnCore, proto::COSEAlgorithm};

const ORIGIN: &str = "https://example.org";

/// A registration that a software authenticator made.
pub(crate) struct Made {
    pub(crate) body: Vec<u8>,
    pub(crate) challenge: Challenge,
}

impl Made {
    /// On options of ours, of which the other verifier has the challenge; it must accept the result too.
    fn by(authenticator: &mut impl AuthenticatorBackendHashedClientData) -> Self {
        let core = WebauthnCore::new_unsafe_experts_only(
            "Example",
            "example.org",
            vec![Url::parse(ORIGIN).unwrap()],
            Duration::from_mins(1),
            None,
            None,
        );
        let builder = core.new_challenge_register_builder(b"u1", "ann", "Ann").unwrap();
        let (sent, state) = core.generate_challenge_register(builder.credential_algorithms(vec![COSEAlgorithm::ES256])).unwrap();
        let challenge = Challenge::from_bytes(sent.public_key.challenge.as_ref());

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
        core.register_credential(&made, &state, None).expect("the second verifier accepts it");
        Self { body: serde_json::to_vec(&made).unwrap(), challenge }
    }

    /// By a `SoftToken`, with the root of its attestation.
    pub(crate) fn by_token() -> (Self, TrustAnchor) {
        let (mut token, root): (SoftToken, X509) = SoftToken::new(true).unwrap();
        (Self::by(&mut token), TrustAnchor::from_der(&root.to_der().unwrap()).unwrap())
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
    assert_eq!(registration.attestation.trust, AttestationTrust::Untrusted);
    assert_eq!(registration.aaguid.to_string(), "0fb9bcbc-a0d4-4042-bbb0-559bc1631e28");
    assert!(registration.user_verified);

    let trusted = made.verify_body(&made.body, &[root]).unwrap();
    assert_eq!(trusted.attestation.trust, AttestationTrust::Trusted);

    let (_, foreign) = Made::by_token();
    let error = made.verify_body(&made.body, &[foreign]).unwrap_err();
    assert!(error.starts_with("step 24: "), "{error}");
}

#[test]
fn soft_passkey_attests_with_its_own_key() {
    let made = Made::by(&mut SoftPasskey::new(true));
    let registration = made.verify_body(&made.body, &[]).unwrap();
    assert_eq!(registration.attestation_type, "packed");
    assert_eq!(registration.attestation.trust, AttestationTrust::SelfAttestation);
}
