//! The `android-key` statement format (WebAuthn L3 section 8.4).

mod key_description;

use self::key_description::{AuthorizationList, KeyDescription};
use super::{Attestation, StatementError, Subject, algorithm, certificates, signature};
use crate::domain::AttestationType;
use crate::webauthn::{cbor::Map, certificate::CertificateError, der::NotDer, signature::verify as verify_signature};

/// Why a statement of this format was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AndroidKeyError {
    /// The credential's key is not the one that the statement is about.
    #[error("the credential's key is not that of the first certificate")]
    Key,
    /// The certificate says nothing of the key.
    #[error("the first certificate has no key description (1.3.6.1.4.1.11129.2.1.17)")]
    NoDescription,
    /// Another certificate says something of a key too.
    #[error("another certificate than the first has a key description: the chain was extended by a key that it attests")]
    Extended,
    /// The certificate was made for another ceremony.
    #[error("the attestationChallenge of the key is not the hash of the client data")]
    Challenge,
    /// Not bound to one application, let alone to one RP ID.
    #[error("every application may use the key (allApplications)")]
    AllApplications,
    /// Attested by software, where hardware is demanded.
    #[error("the key is attested by software, and hardware is demanded")]
    Software,
    /// Imported, or nothing is said of where it is from.
    #[error("nothing says that the key was generated where it is (origin must be KM_ORIGIN_GENERATED)")]
    Origin,
    /// Not for signing, or nothing is said of what it is for.
    #[error("nothing says that the key is for signing (purpose must have KM_PURPOSE_SIGN)")]
    Purpose,
}

/// The verification procedure. Its steps have no numbers.
pub(super) fn verify<'a>(statement: &Map<'a>, subject: &Subject<'_>) -> Result<Attestation<'a>, StatementError> {
    // - Verify that attStmt is valid CBOR conforming to the syntax defined, and extract its fields.
    let algorithm = algorithm(statement)?;
    let signature = signature(statement)?;
    let path = certificates(statement)?.ok_or(StatementError::Missing("x5c"))?;
    let certificate = path.first().ok_or(StatementError::Missing("x5c"))?;

    // - Verify that sig is a valid signature over authenticatorData and clientDataHash using the public key in the first certificate in
    //   x5c with the algorithm specified in alg.
    let key = certificate.public_key()?;
    verify_signature(algorithm, &key, &subject.signed_bytes(), signature)?;

    // - Verify that the public key in the first certificate in x5c matches the credentialPublicKey.
    if !subject.key.is_same(&key) {
        return Err(AndroidKeyError::Key.into());
    }

    // - Verify that the attestationChallenge field in the attestation certificate extension data is identical to clientDataHash.
    //   (Android's documentation: of several key descriptions in a chain only that nearest to the root is the keystore's. Whoever has a key
    //   that it attests may have signed the others himself.)
    let description = certificate.extension_value(KeyDescription::OID).ok_or(AndroidKeyError::NoDescription)?;
    if path.iter().skip(1).any(|certificate| certificate.extension_value(KeyDescription::OID).is_some()) {
        return Err(AndroidKeyError::Extended.into());
    }
    let description = KeyDescription::parse(description).map_err(|NotDer| CertificateError::Extension("key description"))?;
    if description.challenge != subject.client_data_hash {
        return Err(AndroidKeyError::Challenge.into());
    }

    // - Verify the following using the appropriate authorization list from the extension data:
    verify_authorizations(&description, subject.policy.android_key_hardware)?;

    // - The attestation type is basic; the trust path is x5c.
    Ok(Attestation::certified(AttestationType::Basic, &path))
}

/// What the key may do and where it is from. A field that neither list has is equal to nothing, and so does not pass: each release of
/// Android writes both fields.
///
/// Two lists without any field pass where hardware is not demanded: the W3C published an example of that. They say nothing against the key,
/// and no Android writes such lists, so that they add nothing to what a chain of genuine certificates can be made to say.
fn verify_authorizations(description: &KeyDescription<'_>, hardware: bool) -> Result<(), AndroidKeyError> {
    let KeyDescription { software_enforced, tee_enforced, .. } = description;

    // - The AuthorizationList.allApplications field is not present on either authorization list.
    if software_enforced.all_applications || tee_enforced.all_applications {
        return Err(AndroidKeyError::AllApplications);
    }

    // - For the following, use only the teeEnforced authorization list if the RP wants to accept only keys from a trusted execution
    //   environment, otherwise use the union of teeEnforced and softwareEnforced. (What software says of hardware is software's word: the
    //   levels of attestation and of keystore count too.)
    if hardware && !description.is_by_hardware {
        return Err(AndroidKeyError::Software);
    }
    if !hardware && tee_enforced.is_empty() && software_enforced.is_empty() {
        return Ok(());
    }
    let lists = || [Some(tee_enforced), Some(software_enforced).filter(|_| !hardware)].into_iter().flatten();

    //   - The value in the AuthorizationList.origin field is equal to KM_ORIGIN_GENERATED: each of them, if both lists have it.
    let mut origins = lists().filter_map(|list| list.is_generated).peekable();
    if origins.peek().is_none() || !origins.all(|is_generated| is_generated) {
        return Err(AndroidKeyError::Origin);
    }

    //   - The value in the AuthorizationList.purpose field is equal to KM_PURPOSE_SIGN. (It is a set, and devices write others beside it.)
    if lists().any(AuthorizationList::may_sign) { Ok(()) } else { Err(AndroidKeyError::Purpose) }
}

#[cfg(test)]
mod tests;
