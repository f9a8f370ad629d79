//! The `packed` statement format (WebAuthn L3 section 8.2).

use openssl::nid::Nid;

use super::{Attestation, StatementError, Subject, certificates, signature};
use crate::webauthn::{
    CoseAlgorithm,
    cbor::Map,
    certificate::{Certificate, CertificateError},
    signature::verify as verify_signature,
};

/// The verification procedure.
pub(super) fn verify<'a>(statement: &Map<'a>, subject: &Subject<'_>) -> Result<Attestation<'a>, StatementError> {
    // 1. Verify that attStmt is valid CBOR conforming to the syntax defined, and extract its fields.
    let id = statement.text("alg").ok_or(StatementError::Missing("alg"))?;
    let id = id.as_int().ok_or(StatementError::Mistyped("alg", "an integer"))?;
    let algorithm = CoseAlgorithm::from_id(id).ok_or(StatementError::UnknownAlgorithm(id))?;
    let signature = signature(statement)?;
    let signed = subject.signed_bytes();

    // 2. If x5c is present:
    if let Some(path) = certificates(statement)?
        && let Some(certificate) = path.first()
    {
        // - Verify that sig is a valid signature over authenticatorData and clientDataHash by the attestation public key in attestnCert,
        //   with the algorithm specified in alg.
        let key = certificate.public_key()?;
        verify_signature(algorithm, &key, &signed, signature)?;
        // - Verify that attestnCert meets the requirements of section 8.2.1.
        check_certificate(certificate)?;
        // - If attestnCert contains an extension with OID 1.3.6.1.4.1.45724.1.1.4 (id-fido-gen-ce-aaguid), verify that its value matches
        //   the aaguid in authenticatorData.
        certificate.check_aaguid(subject.aaguid)?;
        return Ok(Attestation::Certified(path));
    }

    // ECDAA left the standard with Level 2. Its statement would have no x5c either, and is not self attestation.
    if statement.text("ecdaaKeyId").is_some() {
        return Err(StatementError::Mistyped("ecdaaKeyId", "left out"));
    }

    // 3. If x5c is not present, self attestation is in use: validate that alg matches the algorithm of the credential's key, and verify
    //    that sig is a valid signature over authenticatorData and clientDataHash by that key.
    if algorithm != subject.key.algorithm() {
        return Err(StatementError::AlgorithmMismatch);
    }
    subject.key.verify(&signed, signature)?;
    Ok(Attestation::SelfSigned)
}

/// Section 8.2.1.
fn check_certificate(certificate: &Certificate<'_>) -> Result<(), CertificateError> {
    certificate.check_version()?;
    let has = |kind, valid: fn(&str) -> bool| certificate.subject(kind).any(|text| valid(&text));
    if !has(Nid::COUNTRYNAME, |text| text.len() == 2) {
        return Err(CertificateError::Subject("C"));
    }
    if !has(Nid::ORGANIZATIONNAME, |text| !text.is_empty()) {
        return Err(CertificateError::Subject("O"));
    }
    if !has(Nid::ORGANIZATIONALUNITNAME, |text| text == "Authenticator Attestation") {
        return Err(CertificateError::Subject("OU"));
    }
    if !has(Nid::COMMONNAME, |text| !text.is_empty()) {
        return Err(CertificateError::Subject("CN"));
    }
    if certificate.is_ca()? { Err(CertificateError::IsCa) } else { Ok(()) }
}
