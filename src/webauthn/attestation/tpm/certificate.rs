//! Requirements on a TPM's attestation certificate (WebAuthn L3 section 8.3.1).

use super::TpmError;
use crate::webauthn::{
    attestation::StatementError,
    certificate::{Attribute, Certificate, CertificateError, name_parts},
    der::{self, NotDer, Reader},
};

/// Object identifiers in DER: 2.5.29.17 (subjectAltName), 2.5.29.37 (extKeyUsage), 2.23.133.8.3 (tcg-kp-AIKCertificate).
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];
const EXT_KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x25];
const AIK_CERTIFICATE: &[u8] = &[0x67, 0x81, 0x05, 0x08, 0x03];

/// 2.23.133.2.1 (tcg-at-tpmManufacturer), .2 (tcg-at-tpmModel) and .3 (tcg-at-tpmVersion), in DER.
const TPM_MANUFACTURER: &[u8] = &[0x67, 0x81, 0x05, 0x02, 0x01];
const TPM_MODEL: &[u8] = &[0x67, 0x81, 0x05, 0x02, 0x02];
const TPM_VERSION: &[u8] = &[0x67, 0x81, 0x05, 0x02, 0x03];

/// directoryName in a GeneralName (RFC 5280 section 4.2.1.6).
const DIRECTORY_NAME: u8 = 0xa4;

/// Section 8.3.1. Basic constraints that are missing say "no CA" (RFC 5280 section 4.2.1.9), as under section 8.2.1.
pub(super) fn check(certificate: &Certificate<'_>) -> Result<(), StatementError> {
    certificate.check_version()?;
    if !certificate.has_empty_subject() {
        return Err(TpmError::Subject.into());
    }
    check_alternative_name(certificate)?;
    check_key_usage(certificate)?;
    if certificate.is_ca()? { Err(CertificateError::IsCa.into()) } else { Ok(()) }
}

/// TCG EK Credential Profile section 3.2.9: a directoryName with manufacturer, model and version of the TPM, in one part or in three. Other
/// kinds of names may stand beside it. That the extension is critical is not demanded: it changes nothing here, where it is always read.
///
/// The manufacturer must have the form of the TCG's vendor ids, but need not be one of them: the standard's own example (`id:00000000`) and
/// FIDO's tests (`id:FFFFF1D0`) have others, and who made a TPM is proven by the chain, not by its name. The version is `id:` and eight
/// hexadecimal digits by the profile, and `id:13` in genuine certificates.
fn check_alternative_name(certificate: &Certificate<'_>) -> Result<(), StatementError> {
    let names = certificate.extension_value(SUBJECT_ALT_NAME).ok_or(TpmError::AlternativeName("TPM manufacturer"))?;
    let parts = directory_names(names).map_err(|NotDer| CertificateError::Extension("subjectAltName"))?;
    let require = |oid: &[u8], name, condition: fn(&str) -> bool| {
        let is_there = parts.iter().any(|part| part.oid == oid && condition(&part.text));
        if is_there { Ok(()) } else { Err(TpmError::AlternativeName(name)) }
    };
    require(TPM_MANUFACTURER, "TPM manufacturer", is_vendor_id)?;
    require(TPM_MODEL, "TPM model", |text| !text.is_empty())?;
    require(TPM_VERSION, "TPM version", |text| !text.is_empty())?;
    Ok(())
}

/// The parts of each directoryName.
fn directory_names(names: &[u8]) -> Result<Vec<Attribute<'_>>, NotDer> {
    let mut names = Reader::new(der::only(der::SEQUENCE, names)?);
    let mut parts = Vec::new();
    while !names.is_empty() {
        if let (DIRECTORY_NAME, contents) = names.any()? {
            parts.extend(name_parts(der::only(der::SEQUENCE, contents)?)?);
        }
    }
    Ok(parts)
}

/// `id:` and the four bytes of a vendor id in hexadecimal.
fn is_vendor_id(text: &str) -> bool {
    text.strip_prefix("id:").is_some_and(|id| id.len() == 8 && id.bytes().all(|digit| digit.is_ascii_hexdigit()))
}

/// An extended key usage with tcg-kp-AIKCertificate.
fn check_key_usage(certificate: &Certificate<'_>) -> Result<(), StatementError> {
    let usages = certificate.extension_value(EXT_KEY_USAGE).ok_or(TpmError::KeyUsage)?;
    let is_aik = || {
        let mut usages = Reader::new(der::only(der::SEQUENCE, usages)?);
        let mut is_aik = false;
        while !usages.is_empty() {
            is_aik |= usages.expect(der::OBJECT_IDENTIFIER)? == AIK_CERTIFICATE;
        }
        Ok(is_aik)
    };
    match is_aik() {
        Ok(true) => Ok(()),
        Ok(false) => Err(TpmError::KeyUsage.into()),
        Err(NotDer) => Err(CertificateError::Extension("extKeyUsage").into()),
    }
}
