//! The `fido-u2f` statement format (WebAuthn L3 section 8.6).

use openssl::nid::Nid;
use uuid::Uuid;

use super::{Attestation, StatementError, Subject, certificates, signature};
use crate::webauthn::{CoseAlgorithm, cbor::Map, signature::verify as verify_signature};

/// The verification procedure.
pub(super) fn verify<'a>(statement: &Map<'a>, subject: &Subject<'_>) -> Result<Attestation<'a>, StatementError> {
    // 1. Verify that attStmt is valid CBOR conforming to the syntax defined, and extract its fields.
    let signature = signature(statement)?;
    let path = certificates(statement)?.ok_or(StatementError::Missing("x5c"))?;

    // 2. Check that x5c has exactly one element; let certificate public key be its key; if that is not an EC key over P-256, refuse.
    let [certificate] = path.as_slice() else { return Err(StatementError::Mistyped("x5c", "an array of one certificate")) };
    let certificate_key = certificate.public_key()?;
    if certificate_key.ec_key().ok().and_then(|key| key.group().curve_name()) != Some(Nid::X9_62_PRIME256V1) {
        return Err(StatementError::NotP256("attestation certificate's key"));
    }

    // 3. Extract the claimed rpIdHash, credentialId and credentialPublicKey. A U2F device has no AAGUID to claim: FIDO's tests want zero
    //    here, the standard's own example has another.
    if !subject.allow_u2f_aaguid && subject.aaguid.as_uuid() != Uuid::nil() {
        return Err(StatementError::Aaguid);
    }

    // 4. Convert the COSE_Key to raw ANSI X9.62 form. (Its coordinates were checked to be on the curve, of 32 bytes each.)
    let (x, y) = subject.key.p256().ok_or(StatementError::NotP256("credential's key"))?;

    // 5. Let verificationData be 0x00, rpIdHash, clientDataHash, credentialId, publicKeyU2F.
    let verification_data = [&[0x00], &subject.rp_id_hash[..], subject.client_data_hash, subject.credential_id, &[0x04], x, y].concat();

    // 6. Verify sig using verificationData and the certificate public key: ECDSA with SHA-256 on P-256.
    verify_signature(CoseAlgorithm::Esp256, &certificate_key, &verification_data, signature)?;

    // 7. and 8. The attestation type is basic or attestation CA; the trust path is x5c.
    Ok(Attestation::Certified(path))
}
