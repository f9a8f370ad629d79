//! Registering a new credential: the procedure of WebAuthn L3 section 7.1, in its order and with its numbers.

use openssl::sha::sha256;

use super::{
    AuthenticatorDataError, CoseAlgorithm, KeyError, RegistrationCredential, StatementError, TrustError, TrustStore,
    attestation::{self, AttestationObject, Subject},
    authenticator_data::AuthenticatorData,
    client_data::ClientData,
    cose::{self, CoseKey},
    trust::{self, Assessed},
};
use crate::domain::{
    Aaguid, AttestationFormat, AttestationPolicy, AttestationRecord, BackupFlags, Challenge, CredentialId, Origin, Timestamp,
    UserVerification,
};

/// What the relying party asked for and accepts.
#[derive(Debug, Clone, Copy)]
pub struct RegistrationPolicy<'a> {
    /// The RP ID that was sent.
    pub rp_id: &'a str,
    /// Where the ceremony may have run.
    pub origins: &'a [Origin],
    /// The challenge that was sent.
    pub challenge: &'a Challenge,
    /// What was asked of the authenticator; refused for want of it only where it was required.
    pub user_verification: UserVerification,
    /// Which algorithms the new key may be for.
    pub algorithms: &'a [CoseAlgorithm],
    /// Whether the ceremony may have run in a frame of another origin.
    pub allow_cross_origin: bool,
    /// In which top-level origins such a frame may have been; any when empty.
    pub top_origins: &'a [Origin],
    /// Whether a fido-u2f statement may come with an AAGUID other than zero.
    pub allow_u2f_aaguid: bool,
    /// What is demanded of the statement.
    pub attestation: &'a AttestationPolicy,
    /// What certified statements may lead to.
    pub trust_store: &'a TrustStore,
    /// The instant at which certificates must be valid.
    pub now: Timestamp,
}

/// A verified registration: what is stored of it.
#[derive(Debug, Clone)]
pub struct Registration {
    /// The new credential's id, from the authenticator's data.
    pub credential_id: CredentialId,
    /// Its COSE_Key in CTAP2 canonical CBOR.
    pub public_key: Vec<u8>,
    /// The statement's format as sent, such as `packed`.
    pub attestation_type: String,
    /// What the statement was found to be, and to be worth.
    pub attestation: AttestationRecord,
    /// The authenticator's model: attested where the statement is trusted, else claimed.
    pub aaguid: Aaguid,
    /// Its signature counter.
    pub sign_count: u32,
    /// BE and BS.
    pub backup: BackupFlags,
    /// UV.
    pub user_verified: bool,
}

/// A registration that was refused, and the step that refused it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("step {step}: {refusal}")]
pub struct RegistrationError {
    /// Of WebAuthn L3 section 7.1.
    step: u8,
    refusal: Refusal,
}

impl RegistrationError {
    /// The step of WebAuthn L3 section 7.1 that refused.
    pub const fn step(&self) -> u8 {
        self.step
    }

    /// Why.
    pub const fn refusal(&self) -> &Refusal {
        &self.refusal
    }

    /// Whether all that was found wrong is that the user was not verified though that was required.
    pub const fn is_user_verification_missing(&self) -> bool {
        matches!(self.refusal, Refusal::UserVerification)
    }
}

/// Why a registration was refused. Texts of the client's are escaped and cut.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The client data is of another ceremony.
    #[error("Error validating ceremony type: {0:?} is not \"webauthn.create\"")]
    CeremonyType(String),
    /// The client data is about another challenge.
    #[error("Error validating challenge: it is not the one that was sent")]
    Challenge,
    /// The ceremony ran elsewhere.
    #[error("Error validating origin: {found:?} is not one of {accepted}")]
    Origin {
        /// What the client says.
        found: String,
        /// What there is, separated by commas.
        accepted: String,
    },
    /// The ceremony ran in a frame of another origin.
    #[error("Error validating origin: ceremonies in a frame of another origin are not accepted")]
    CrossOrigin,
    /// The ceremony ran in a frame of another origin, in a page that is not expected.
    #[error("Error validating top origin: {0:?} is not accepted")]
    TopOrigin(String),
    /// The attestation object cannot be read.
    #[error("Error parsing attestation response: {0}")]
    AttestationObject(String),
    /// The authenticator data cannot be read, or is of no new credential.
    #[error("Error validating the authenticator response: {0}")]
    AuthenticatorData(#[from] AuthenticatorDataError),
    /// The authenticator data is of another relying party.
    #[error("Error validating the authenticator response: the RP ID hash is not that of {0}")]
    RpIdHash(String),
    /// Nobody was there.
    #[error("Error validating the authenticator response: User presence flag not set by authenticator")]
    UserPresence,
    /// The user was not verified, and had to be.
    #[error("Error validating the authenticator response: User verification required but flag not set by authenticator")]
    UserVerification,
    /// Backed up, but not eligible for it.
    #[error("Error validating the authenticator response: backup state set without backup eligibility")]
    BackupState,
    /// The key is for an algorithm that was not offered.
    #[error("Error validating the credential public key: {0} was not offered")]
    Algorithm(CoseAlgorithm),
    /// The key is no good.
    #[error("Error validating the credential public key: {0}")]
    Key(#[from] KeyError),
    /// A statement format that is not known.
    #[error("Error validating the attestation: the statement format {0:?} is not supported")]
    Format(String),
    /// A statement format that the policy does not accept.
    #[error("Error validating the attestation: statements of the format {0} are not accepted")]
    FormatNotAccepted(AttestationFormat),
    /// The credential may leave its device, and must not.
    #[error("Error validating the authenticator response: the credential is not bound to one device (BE is set)")]
    NotDeviceBound,
    /// The statement is no good.
    #[error("Error validating the attestation: {format}: {error}")]
    Statement {
        /// The statement's format.
        format: String,
        /// What is wrong with it.
        error: StatementError,
    },
    /// The statement leads to no anchor.
    #[error("Error validating the attestation: {0}")]
    Trust(#[from] TrustError),
    /// The credential's id is empty, or longer than 1023 bytes.
    #[error("Error validating the credential id: it must have 1 to 1023 bytes")]
    CredentialIdLength,
}

/// The most characters of a client's text that go into a refusal.
const MAX_SHOWN: usize = 128;

fn shown(text: &str) -> String {
    text.chars().take(MAX_SHOWN).collect()
}

/// A refusal by a step.
fn at<E: Into<Refusal>>(step: u8) -> impl Fn(E) -> RegistrationError {
    move |refusal| RegistrationError { step, refusal: refusal.into() }
}

/// `Ok` if a step's condition holds.
fn verify(step: u8, condition: bool, refusal: impl FnOnce() -> Refusal) -> Result<(), RegistrationError> {
    if condition { Ok(()) } else { Err(RegistrationError { step, refusal: refusal() }) }
}

/// The procedure, from step 7 on. Steps 1 to 4 are the client's; 5 and 6 were taken when the credential was parsed; 26 to 29, which
/// look at other credentials and store this one, are the caller's.
pub fn verify_registration(
    credential: &RegistrationCredential,
    policy: &RegistrationPolicy<'_>,
) -> Result<Registration, RegistrationError> {
    verify_client_data(&credential.client_data, policy)?;

    // 12. Let hash be the result of computing a hash over response.clientDataJSON using SHA-256.
    let hash = sha256(&credential.client_data_json);

    // 13. Perform CBOR decoding on attestationObject to obtain the statement format fmt, the authenticator data and the statement.
    let object = AttestationObject::parse(&credential.attestation_object).map_err(|e| at(13)(Refusal::AttestationObject(e.to_string())))?;
    let data = &object.authenticator_data;
    let attested = data.attested.as_ref().ok_or_else(|| at(13)(AuthenticatorDataError::NoCredential))?;

    verify_authenticator_data(data, policy)?;

    // 20. Verify that the alg of the credential public key in authData is one of those in options.pubKeyCredParams.
    let algorithm = cose::algorithm(&attested.public_key).map_err(at(20))?;
    verify(20, policy.algorithms.contains(&algorithm), || Refusal::Algorithm(algorithm))?;
    let key = CoseKey::parse(&attested.public_key).map_err(at(20))?;

    // 21. Determine the attestation statement format by a case-sensitive match on fmt.
    let format: AttestationFormat = object.format.parse().map_err(|_| at(21)(Refusal::Format(shown(object.format))))?;
    let is_accepted =
        if format == AttestationFormat::None { !policy.attestation.required } else { policy.attestation.formats.contains(&format) };
    verify(21, is_accepted, || Refusal::FormatNotAccepted(format))?;

    // 22. Verify that attStmt is a correct attestation statement, conveying a valid attestation signature, by the procedure of its format.
    let subject = Subject {
        authenticator_data: object.authenticator_data_bytes,
        client_data_hash: &hash,
        rp_id_hash: data.rp_id_hash,
        aaguid: attested.aaguid,
        credential_id: attested.credential_id,
        key: &key,
        allow_u2f_aaguid: policy.allow_u2f_aaguid,
        policy: policy.attestation,
        now: policy.now,
    };
    let attestation = attestation::verify(format, &object.statement, &subject)
        .map_err(|error| at(22)(Refusal::Statement { format: object.format.to_owned(), error }))?;

    // 23. Obtain a list of acceptable trust anchors: the policy's.
    // 24. Assess the attestation trustworthiness.
    let assessed = Assessed { format, attestation: &attestation, aaguid: attested.aaguid };
    let attestation = trust::assess(&assessed, policy.attestation, policy.trust_store, policy.now).map_err(at(24))?;

    // 25. Verify that the credentialId is at most 1023 bytes.
    let credential_id = CredentialId::try_from(attested.credential_id).map_err(|_| at(25)(Refusal::CredentialIdLength))?;

    Ok(Registration {
        credential_id,
        public_key: key.to_vec(),
        attestation_type: object.format.to_owned(),
        attestation,
        aaguid: attested.aaguid,
        sign_count: data.sign_count,
        backup: data.flags.backup(),
        user_verified: data.flags.user_verified(),
    })
}

fn verify_client_data(data: &ClientData, policy: &RegistrationPolicy<'_>) -> Result<(), RegistrationError> {
    // 7. Verify that the value of C.type is webauthn.create.
    verify(7, data.ceremony == "webauthn.create", || Refusal::CeremonyType(shown(&data.ceremony)))?;

    // 8. Verify that the value of C.challenge equals the base64url encoding of options.challenge. (It was decoded strictly: the bytes
    //    are equal where the encodings are.)
    verify(8, data.challenge == *policy.challenge, || Refusal::Challenge)?;

    // 9. Verify that the value of C.origin is an origin expected by the relying party.
    verify(9, policy.origins.iter().any(|origin| origin.matches(&data.origin)), || Refusal::Origin {
        found: shown(&data.origin),
        accepted: policy.origins.iter().map(Origin::as_str).collect::<Vec<_>>().join(", "),
    })?;

    // 10. If C.crossOrigin is present and set to true, verify that the relying party would have expected that this credential would be
    //     created within an iframe that is not same-origin with its ancestors.
    verify(10, policy.allow_cross_origin || !data.cross_origin, || Refusal::CrossOrigin)?;

    // 11. If C.topOrigin is present, verify the same, and that its value matches the origin of a page that the relying party expects to
    //     be sub-framed within.
    if let Some(top) = &data.top_origin {
        let expected = policy.top_origins.is_empty() || policy.top_origins.iter().any(|origin| origin.matches(top));
        verify(11, policy.allow_cross_origin && expected, || Refusal::TopOrigin(shown(top)))?;
    }
    Ok(())
}

fn verify_authenticator_data(data: &AuthenticatorData<'_>, policy: &RegistrationPolicy<'_>) -> Result<(), RegistrationError> {
    // 14. Verify that the rpIdHash in authData is the SHA-256 hash of the RP ID expected by the relying party.
    verify(14, *data.rp_id_hash == sha256(policy.rp_id.as_bytes()), || Refusal::RpIdHash(policy.rp_id.to_owned()))?;

    // 15. If options.mediation is not set to conditional (it never is), verify that the UP bit of the flags in authData is set.
    verify(15, data.flags.user_present(), || Refusal::UserPresence)?;

    // 16. If user verification is required for this registration, verify that the UV bit of the flags in authData is set.
    let required = policy.user_verification == UserVerification::Required;
    verify(16, data.flags.user_verified() || !required, || Refusal::UserVerification)?;

    // 17. If the BE bit of the flags in authData is not set, verify that the BS bit is not set.
    let backup = data.flags.backup();
    verify(17, backup.eligible || !backup.state, || Refusal::BackupState)?;

    // 18. If the relying party uses the credential's backup eligibility to inform its policies, evaluate the BE bit.
    verify(18, !(policy.attestation.device_bound && backup.eligible), || Refusal::NotDeviceBound)?;

    // 19. BS may inform the relying party's policies: it is returned.
    Ok(())
}

#[cfg(test)]
mod tests;
