//! Registering a new credential: the procedure of WebAuthn L3 section 7.1, in its order and with its numbers.

use openssl::sha::sha256;

use super::{
    AuthenticatorDataError, CeremonyRefusal, CoseAlgorithm, KeyError, RegistrationCredential, StatementError, StepError, TrustError,
    TrustStore,
    attestation::{self, AttestationObject, Subject},
    ceremony::{Expected, Kind, at, shown, verify},
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

impl<'a> RegistrationPolicy<'a> {
    const fn expected(&self) -> Expected<'a> {
        Expected {
            kind: Kind::Registration,
            rp_id: self.rp_id,
            origins: self.origins,
            challenge: self.challenge,
            user_verification: self.user_verification,
            allow_cross_origin: self.allow_cross_origin,
            top_origins: self.top_origins,
        }
    }
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
    /// The authenticator's model: attested where the statement is trusted, else claimed. A fido-u2f statement attests no AAGUID.
    pub aaguid: Aaguid,
    /// Its signature counter.
    pub sign_count: u32,
    /// BE and BS.
    pub backup: BackupFlags,
    /// UV.
    pub user_verified: bool,
}

/// A registration that was refused, and the step of WebAuthn L3 section 7.1 that refused it.
pub type RegistrationError = StepError<Refusal>;

impl RegistrationError {
    /// Whether all that was found wrong is that the user was not verified though that was required.
    pub const fn is_user_verification_missing(&self) -> bool {
        matches!(self.refusal(), Refusal::Ceremony(CeremonyRefusal::UserVerification))
    }
}

/// Why a registration was refused. Texts of the client's are escaped and cut.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It would be refused as an authentication too.
    #[error(transparent)]
    Ceremony(#[from] CeremonyRefusal),
    /// The attestation object cannot be read.
    #[error("Error parsing attestation response: {0}")]
    AttestationObject(String),
    /// The authenticator data cannot be read, or is of no new credential.
    #[error("Error validating the authenticator response: {0}")]
    AuthenticatorData(#[from] AuthenticatorDataError),
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

/// The procedure, from step 7 on. Steps 1 to 4 are the client's; 5 and 6 were taken when the credential was parsed; 26 to 29, which
/// look at other credentials and store this one, are the caller's.
pub fn verify_registration(
    credential: &RegistrationCredential,
    policy: &RegistrationPolicy<'_>,
) -> Result<Registration, RegistrationError> {
    // 7 to 11. Of the client data.
    let expected = policy.expected();
    expected.verify_client_data(&credential.client_data)?;

    // 12. Let hash be the result of computing a hash over response.clientDataJSON using SHA-256.
    let hash = sha256(credential.client_data_json());

    // 13. Perform CBOR decoding on attestationObject to obtain the statement format fmt, the authenticator data and the statement.
    let object =
        AttestationObject::parse(credential.attestation_object()).map_err(|e| at(13)(Refusal::AttestationObject(e.to_string())))?;
    let data = &object.authenticator_data;
    let attested = data.attested.as_ref().ok_or_else(|| at(13)(AuthenticatorDataError::NoCredential))?;

    // 14 to 17. Of the authenticator data.
    expected.verify_authenticator_data(data.rp_id_hash, data.flags)?;

    // 18. If the relying party uses the credential's backup eligibility to inform its policies, evaluate the BE bit.
    let backup = data.flags.backup();
    verify(18, !(policy.attestation.device_bound && backup.eligible), || Refusal::NotDeviceBound)?;

    // 19. BS may inform the relying party's policies: it is returned.

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
    let assessed =
        Assessed { format, attestation: &attestation, statement: &object.statement, aaguid: attested.aaguid, key_algorithm: algorithm };
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
        backup,
        user_verified: data.flags.user_verified(),
    })
}

#[cfg(test)]
mod tests;
