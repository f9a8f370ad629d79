//! A second verifier, webauthn-rs-core 0.5, asked about the same ceremonies.

use std::{collections::BTreeMap, time::Duration};

use openssl::x509::X509;
use serde_json::json;
use url::Url;
use uuid::Uuid;
use webauthn_rs_core::{
    WebauthnCore,
    internals::AuthenticatorData,
    proto::{
        AttestationCaList, AttestationCaListBuilder, AttestationFormat, AttestationMetadata, AuthenticationState, COSEKey, Credential,
        ParsedAttestation, ParsedAttestationData, PublicKeyCredential, RegisterPublicKeyCredential, RegisteredExtensions, Registration,
        RegistrationState, UserVerificationPolicy,
    },
};

/// What it is asked: what the relying party expected of the ceremony.
#[derive(Clone)]
pub(crate) struct Question<'a> {
    pub(crate) rp_id: &'a str,
    pub(crate) origins: Vec<&'a str>,
    /// In base64url.
    pub(crate) challenge: String,
    pub(crate) user_verification_required: bool,
    /// Where a registration's chain must lead. It is not looked at where there is none; its dates are judged at the time of the system.
    pub(crate) anchors: Vec<X509>,
}

/// The credential that an authentication is by.
pub(crate) struct Known<'a> {
    pub(crate) id: Vec<u8>,
    pub(crate) cose_key: &'a [u8],
    pub(crate) sign_count: u32,
    pub(crate) user_verified: bool,
    pub(crate) backup_eligible: bool,
    pub(crate) backup_state: bool,
}

/// The verifier, ready for an answer: as with ours, all that comes before the answer is done.
pub(crate) struct Asked {
    core: WebauthnCore,
    ceremony: Ceremony,
}

enum Ceremony {
    Registration(RegistrationState, Option<AttestationCaList>),
    Authentication(AuthenticationState),
}

impl Asked {
    /// About a registration. An error says why it cannot be asked.
    pub(crate) fn registration(question: Question<'_>) -> Result<Self, String> {
        let core = core(&question)?;
        // It makes its own challenges, and takes another's in this form alone.
        let state = json!({
            "policy": policy(&question),
            "exclude_credentials": [],
            "challenge": question.challenge,
            "credential_algorithms": ["ES256", "ES384", "ES512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "EDDSA", "INSECURE_RS1"],
            "require_resident_key": false,
            "authenticator_attachment": null,
            "extensions": {},
            "allow_synchronised_authenticators": true,
        });
        let state: RegistrationState = serde_json::from_value(state).map_err(|error| format!("state: {error}"))?;
        let mut anchors = AttestationCaListBuilder::new();
        for anchor in question.anchors {
            anchors.insert_device_x509(anchor, Uuid::nil(), String::new(), BTreeMap::new()).map_err(|error| error.to_string())?;
        }
        let anchors = Some(anchors.build()).filter(|list| !list.is_empty());
        Ok(Self { core, ceremony: Ceremony::Registration(state, anchors) })
    }

    /// About an authentication. An error says why it cannot be asked: it may be that it refuses the key.
    pub(crate) fn authentication(question: &Question<'_>, known: Known<'_>) -> Result<Self, String> {
        let core = core(question)?;
        let state = json!({
            "credentials": [],
            "policy": policy(question),
            "challenge": question.challenge,
            "appid": null,
            "allow_backup_eligible_upgrade": false,
        });
        let mut state: AuthenticationState = serde_json::from_value(state).map_err(|error| format!("state: {error}"))?;
        let credential = Credential {
            cred: cose_key(known.cose_key)?,
            cred_id: known.id.into(),
            counter: known.sign_count,
            transports: None,
            user_verified: known.user_verified,
            backup_eligible: known.backup_eligible,
            backup_state: known.backup_state,
            registration_policy: UserVerificationPolicy::Preferred,
            extensions: RegisteredExtensions::none(),
            attestation: ParsedAttestation { data: ParsedAttestationData::None, metadata: AttestationMetadata::None },
            attestation_format: AttestationFormat::None,
        };
        state.set_allowed_credentials(vec![credential]);
        Ok(Self { core, ceremony: Ceremony::Authentication(state) })
    }

    /// Parses and verifies an answer.
    pub(crate) fn verify(&self, body: &[u8]) -> Result<(), String> {
        match &self.ceremony {
            Ceremony::Registration(state, anchors) => {
                let answer: RegisterPublicKeyCredential = serde_json::from_slice(body).map_err(|error| error.to_string())?;
                let credential = self.core.register_credential(&answer, state, None).map_err(|error| format!("{error:?}"))?;
                if let Some(anchors) = anchors {
                    credential.verify_attestation(anchors).map_err(|error| format!("{error:?}"))?;
                }
                Ok(())
            }
            Ceremony::Authentication(state) => {
                let answer: PublicKeyCredential = serde_json::from_slice(body).map_err(|error| error.to_string())?;
                self.core.authenticate_credential(&answer, state).map(drop).map_err(|error| format!("{error:?}"))
            }
        }
    }
}

fn core(question: &Question<'_>) -> Result<WebauthnCore, String> {
    let origins = question.origins.iter().map(|origin| Url::parse(origin)).collect::<Result<_, _>>();
    let origins = origins.map_err(|error| format!("an origin: {error}"))?;
    Ok(WebauthnCore::new_unsafe_experts_only("Example", question.rp_id, origins, Duration::from_mins(1), None, None))
}

const fn policy(question: &Question<'_>) -> &'static str {
    if question.user_verification_required { "required" } else { "preferred" }
}

/// A key from its bytes: read where it lies in authenticator data, for these are the only bytes of it that the verifier reads.
fn cose_key(key: &[u8]) -> Result<COSEKey, String> {
    const ATTESTED: u8 = 0x41;
    let data = [&[0; 32][..], &[ATTESTED, 0, 0, 0, 0], &[0; 16], &[0, 1, 0], key].concat();
    let data = AuthenticatorData::<Registration>::try_from(&data[..]).map_err(|error| format!("cose: {error:?}"))?;
    let attested = data.acd.ok_or("cose: no key")?;
    COSEKey::try_from(&attested.credential_pk).map_err(|error| format!("cose: {error:?}"))
}
