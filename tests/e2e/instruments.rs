//! The tests' own instruments, each held against someone else's: what they prove is worth no more than they are.

use std::time::Duration;

use serde_json::{Value, json};
use url::Url;
use webauthn_authenticator_rs::{AuthenticatorBackend, softpasskey::SoftPasskey, softtoken::SoftToken};
use webauthn_rs_core::{
    WebauthnCore,
    proto::{AttestationConveyancePreference, COSEAlgorithm, CreationChallengeResponse, RegisterPublicKeyCredential, RegistrationState},
};

use crate::support::{
    authenticator::{Draft, Format, flag},
    cbor::{Cbor, set},
    jose,
    keys::{Algorithm, KeyPair},
    mint::Mint,
};

const ORIGIN: &str = "http://localhost:8000";
const KID: &str = "0f1e2d3c-1111-4111-8111-11111111cafe";

/// webauthn-rs-core as a relying party that offers everything it knows.
struct Judge(WebauthnCore);

impl Judge {
    fn new() -> Self {
        let origin = Url::parse(ORIGIN).unwrap();
        Self(WebauthnCore::new_unsafe_experts_only("Example", "localhost", vec![origin], Duration::from_mins(1), None, None))
    }

    fn begin(&self) -> (CreationChallengeResponse, RegistrationState) {
        let algorithms = vec![COSEAlgorithm::ES256, COSEAlgorithm::ES384, COSEAlgorithm::ES512, COSEAlgorithm::RS256, COSEAlgorithm::EDDSA];
        let builder = self.0.new_challenge_register_builder(b"u1", "ann", "Ann").unwrap();
        let builder = builder.attestation(AttestationConveyancePreference::Direct).credential_algorithms(algorithms);
        self.0.generate_challenge_register(builder).unwrap()
    }

    fn judge(&self, body: Value, state: &RegistrationState) -> Result<(), String> {
        let credential: RegisterPublicKeyCredential = serde_json::from_value(body).map_err(|e| e.to_string())?;
        self.0.register_credential(&credential, state, None).map(drop).map_err(|e| e.to_string())
    }
}

/// The combinations that webauthn-rs-core 0.5 knows; it refuses the other algorithms, and every TPM, whoever signs.
#[test]
fn our_authenticator_satisfies_webauthn_rs() {
    use Algorithm::{EdDsa, Es256, Es384, Es512, Rs256};
    let judge = Judge::new();
    for (format, algorithms) in [
        (Format::None, &[Es256, Rs256, EdDsa][..]),
        (Format::PackedSelf, &[Es256, Rs256, EdDsa]),
        (Format::PackedX5c, &[Es256, Rs256, EdDsa]),
        (Format::FidoU2f, &[Es256]),
        (Format::AndroidKey, &[Es256]),
        (Format::Apple, &[Es256]),
    ] {
        for &algorithm in algorithms {
            let (options, state) = judge.begin();
            let draft = Draft::new(&serde_json::to_value(options).unwrap(), ORIGIN, format, algorithm);
            assert_eq!(judge.judge(draft.body(), &state), Ok(()), "{format:?} {algorithm:?}");
        }
    }
    // These it registers where the maker's key is one that it can check.
    for algorithm in [Es384, Es512] {
        let (options, state) = judge.begin();
        let mut draft = Draft::new(&serde_json::to_value(options).unwrap(), ORIGIN, Format::PackedX5c, algorithm);
        draft.attestation_key = KeyPair::generate_attestation(Es256);
        assert_eq!(judge.judge(draft.body(), &state), Ok(()), "{algorithm:?}");
    }
}

type Spoil = fn(&mut Draft);

/// A knob that changes nothing would make hostile tests pass for nothing.
#[test]
fn the_knobs_of_our_authenticator_reach_the_verifier() {
    let judge = Judge::new();
    let spoils: [(&str, Spoil); 7] = [
        ("challenge", |d| d.client_data["challenge"] = json!("AAAA")),
        ("type", |d| d.client_data["type"] = json!("webauthn.get")),
        ("origin", |d| d.client_data["origin"] = json!("https://evil.example")),
        ("rp id", |d| d.rp_id_hash = vec![0; 32]),
        ("no UP", |d| d.flags &= !flag::UP),
        ("no AT", |d| d.flags &= !flag::AT),
        ("another model than in the certificate", |d| d.aaguid = [7; 16]),
    ];
    for (name, spoil) in spoils {
        let (options, state) = judge.begin();
        let mut draft = Draft::new(&serde_json::to_value(options).unwrap(), ORIGIN, Format::PackedX5c, Algorithm::Es256);
        spoil(&mut draft);
        assert!(judge.judge(draft.body(), &state).is_err(), "{name}");
    }
    let (options, state) = judge.begin();
    let draft = Draft::new(&serde_json::to_value(options).unwrap(), ORIGIN, Format::PackedSelf, Algorithm::Es256);
    let mut object = draft.object();
    set(&mut object, "fmt", Cbor::text("fido-u2f"));
    assert!(judge.judge(draft.body_with(&draft.client_data_json(), &Cbor::Map(object).encode()), &state).is_err());
}

/// The same judge on authenticators that are not ours, so that a refusal above is the authenticator's fault and not the judge's.
#[test]
fn other_authenticators_satisfy_webauthn_rs_too() {
    let judge = Judge::new();
    let (mut token, _root) = SoftToken::new(true).unwrap();
    let mut passkey = SoftPasskey::new(true);
    let backends: [&mut dyn AuthenticatorBackend; 2] = [&mut token, &mut passkey];
    for backend in backends {
        let (options, state) = judge.begin();
        let credential = backend.perform_register(Url::parse(ORIGIN).unwrap(), options.public_key, 60_000).unwrap();
        assert_eq!(judge.judge(serde_json::to_value(credential).unwrap(), &state), Ok(()));
    }
}

#[test]
fn both_jose_libraries_verify_every_algorithm_and_refuse_what_is_wrong() {
    let now = jsonwebtoken::get_current_timestamp();
    let claims = json!({"sub": "u1", "aud": ["localhost"], "iat": now, "exp": now + 300});
    for algorithm in ["ES256", "ES384", "RS256", "PS256", "EdDSA"] {
        let mint = Mint::new(algorithm, KID);
        let jwks = json!({"keys": [mint.jwk()]});
        let verified = jose::verify(&mint.token(&claims), &jwks, "localhost");
        assert_eq!((verified.header["alg"].as_str(), &verified.claims), (Some(algorithm), &claims));

        let expired = mint.token(&json!({"sub": "u1", "aud": ["localhost"], "iat": now - 900, "exp": now - 600}));
        let forged = Mint::new(algorithm, KID).token(&claims);
        let good = mint.token(&claims);
        for (name, token, audience) in
            [("expired", &expired, "localhost"), ("forged", &forged, "localhost"), ("audience", &good, "example.org")]
        {
            assert!(jose::jwcrypto(token, &jwks, audience).is_err(), "jwcrypto {algorithm} {name}");
            assert!(jose::jsonwebtoken(token, &jwks, audience).is_err(), "jsonwebtoken {algorithm} {name}");
        }
    }
}
