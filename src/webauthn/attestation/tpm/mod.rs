//! The `tpm` statement format (WebAuthn L3 section 8.3).
//!
//! Where the standard's text and the statements of the world part:
//! - `sig` is a TPMT_SIGNATURE by the text. The standard's own examples, FIDO's tests and Windows have the bare signature, in the form that
//!   packed statements have (section 6.5.5): PKCS#1's for RSA, DER for ECDSA. Both are taken; no bytes are both.
//! - Statements signed with SHA-1 are from Windows on TPMs of the years before SHA-256: `ver` is "2.0" in them as in any other. Whether they
//!   count is for the policy to say. Here alone is such a signature checked at all.

mod certificate;
#[cfg(fuzzing)]
mod fuzzing;
mod structures;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

#[cfg(fuzzing)]
pub use self::fuzzing::tpm_structures;

use std::borrow::Cow;

use openssl::{bn::BigNum, ecdsa::EcdsaSig, error::ErrorStack};

use self::structures::{CertInfo, Hash, Key, PublicArea, Scheme, Signature};
use super::{Attestation, StatementError, Subject, algorithm, certificates, signature};
use crate::domain::AttestationType;
use crate::webauthn::{
    CoseAlgorithm, SignatureError,
    cbor::Map,
    certificate::Certificate,
    cose::{CoseKey, Material},
    signature::{verify as verify_signature, verify_rs1},
};

/// Why a statement of this format was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TpmError {
    /// `ver` is another than "2.0".
    #[error("ver must be \"2.0\"")]
    Version,
    /// An algorithm that no TPM signs with.
    #[error("TPMs do not sign with {0}")]
    Algorithm(CoseAlgorithm),
    /// SHA-1, which the relying party does not accept.
    #[error("{0} uses SHA-1, which this relying party does not accept (allow_rs1)")]
    Sha1(&'static str),
    /// A structure ends too early.
    #[error("{0} is cut short")]
    Truncated(&'static str),
    /// A structure ends too late.
    #[error("{0} has bytes left over")]
    Trailing(&'static str),
    /// A field is longer than it can be.
    #[error("{0}: {1} is too long")]
    TooLong(&'static str, &'static str),
    /// A field of pubArea selects something that has no use here, by its TPM_ALG_ID.
    #[error("pubArea's {0} {name} (0x{1:04x}) is not supported", name = structures::algorithm_name(*.1))]
    Unsupported(&'static str, u16),
    /// A curve that no credential key is on, by its TPM_ECC_CURVE.
    #[error("pubArea's curve 0x{0:04x} is not supported")]
    Curve(u16),
    /// pubArea is another key.
    #[error("pubArea is not the credential's key: its {0} differs")]
    KeyMismatch(&'static str),
    /// The name and mode of a Part 2 structure for a signature do not go with `alg`.
    #[error("sig was made with another algorithm than alg")]
    SignatureScheme,
    /// Not a structure that a TPM made itself.
    #[error("certInfo's magic is not TPM_GENERATED_VALUE")]
    Magic,
    /// An attestation of something else.
    #[error("certInfo's type is not TPM_ST_ATTEST_CERTIFY")]
    Type,
    /// Made for another registration.
    #[error("certInfo's extraData is not the hash of authData and the client data's hash")]
    ExtraData,
    /// Another key was certified.
    #[error("certInfo's attested name is not pubArea's")]
    Name,
    /// The certificate has a subject.
    #[error("the AIK certificate's subject must be empty")]
    Subject,
    /// Nothing, or nothing valid, in the certificate's name of the TPM.
    #[error("the AIK certificate's subject alternative name has no valid {0}")]
    AlternativeName(&'static str),
    /// The certificate is for another purpose.
    #[error("the AIK certificate's extended key usage lacks tcg-kp-AIKCertificate")]
    KeyUsage,
}

/// The verification procedure.
pub(super) fn verify<'a>(statement: &Map<'a>, subject: &Subject<'_>) -> Result<Attestation<'a>, StatementError> {
    // 1. Verify that attStmt is valid CBOR conforming to the syntax defined, and extract its fields.
    let member = |name| statement.text(name).ok_or(StatementError::Missing(name));
    let bytes = |name| member(name)?.as_bytes().ok_or(StatementError::Mistyped(name, "a byte string"));
    if member("ver")?.as_text().ok_or(StatementError::Mistyped("ver", "a text"))? != "2.0" {
        return Err(TpmError::Version.into());
    }
    let algorithm = algorithm(statement)?;
    let (hash, scheme) = hash_and_scheme(algorithm).ok_or(TpmError::Algorithm(algorithm))?;
    let (signature, cert_info, public_area) = (signature(statement)?, bytes("certInfo")?, PublicArea::parse(bytes("pubArea")?)?);
    let sha1 = [("alg", hash), ("nameAlg", public_area.name_hash)].into_iter().find(|(_, hash)| *hash == Hash::Sha1);
    if let (Some((name, _)), false) = (sha1, subject.policy.allow_rs1) {
        return Err(TpmError::Sha1(name).into());
    }

    // 2. Verify that the public key specified by the parameters and unique fields of pubArea is identical to credentialPublicKey.
    check_key(&public_area, subject.key)?;

    // 3. Concatenate authenticatorData and clientDataHash to form attToBeSigned.
    let to_be_signed = subject.signed_bytes();

    // 4. Verify integrity of certInfo:
    // - Verify that x5c is present.
    let path = certificates(statement)?.ok_or(StatementError::Missing("x5c"))?;
    let [aik, ..] = path.as_slice() else { return Err(StatementError::Missing("x5c")) };
    // - Verify that aikCert meets the requirements of section 8.3.1.
    certificate::check(aik)?;
    // - If aikCert contains an extension with OID 1.3.6.1.4.1.45724.1.1.4 (id-fido-gen-ce-aaguid), verify that its value matches the aaguid
    //   in authenticatorData.
    aik.check_aaguid(subject.aaguid)?;
    // - Verify that sig is a valid signature over certInfo by the attestation public key in aikCert, with the algorithm specified in alg.
    check_signature(algorithm, scheme, aik, cert_info, signature)?;

    // 5. Validate that certInfo is valid:
    // - Verify that magic is TPM_GENERATED_VALUE, and type TPM_ST_ATTEST_CERTIFY.
    let cert_info = CertInfo::parse(cert_info)?;
    // - Verify that extraData is the hash of attToBeSigned, by the hash algorithm employed in alg.
    if cert_info.extra_data != hash.digest(&to_be_signed) {
        return Err(TpmError::ExtraData.into());
    }
    // - Verify that attested contains a TPMS_CERTIFY_INFO structure, whose name is a valid Name for pubArea, computed by its nameAlg.
    if cert_info.name != public_area.name() {
        return Err(TpmError::Name.into());
    }

    // 6. The attestation type is attestation CA, the trust path x5c.
    Ok(Attestation::certified(AttestationType::AttCa, &path))
}

/// What an algorithm of COSE is to a TPM, if it is anything.
const fn hash_and_scheme(algorithm: CoseAlgorithm) -> Option<(Hash, Scheme)> {
    use CoseAlgorithm as A;
    let (algorithm, hash) = match algorithm {
        A::Rs1 => (structures::RSASSA, Hash::Sha1),
        A::Rs256 => (structures::RSASSA, Hash::Sha256),
        A::Rs384 => (structures::RSASSA, Hash::Sha384),
        A::Rs512 => (structures::RSASSA, Hash::Sha512),
        A::Ps256 => (structures::RSAPSS, Hash::Sha256),
        A::Ps384 => (structures::RSAPSS, Hash::Sha384),
        A::Ps512 => (structures::RSAPSS, Hash::Sha512),
        A::Es256 | A::Esp256 => (structures::ECDSA, Hash::Sha256),
        A::Es384 | A::Esp384 => (structures::ECDSA, Hash::Sha384),
        A::Es512 | A::Esp512 => (structures::ECDSA, Hash::Sha512),
        A::Es256k | A::EdDsa | A::Ed25519 | A::Ed448 => return None,
    };
    Some((hash, Scheme { algorithm, hash: hash.id() }))
}

/// Whether pubArea is the credential's key: the same numbers, and free to sign with the key's algorithm.
fn check_key(area: &PublicArea<'_>, key: &CoseKey<'_>) -> Result<(), TpmError> {
    let same = |name, is_same: bool| if is_same { Ok(()) } else { Err(TpmError::KeyMismatch(name)) };
    match (&area.key, key.material()) {
        (Key::Rsa { bits, exponent, modulus }, Material::Rsa { n, e }) => {
            same("modulus", number(modulus) == number(n))?;
            same("exponent", number(&exponent.to_be_bytes()) == number(e))?;
            same("keyBits", Some(usize::from(*bits)) == bit_length(n))?;
        }
        (Key::Ecc { curve, x, y }, Material::Ec2 { curve: own, x: own_x, y: own_y }) => {
            same("curve", curve == own)?;
            same("x", number(x) == number(own_x))?;
            same("y", number(y) == number(own_y))?;
        }
        _ => return Err(TpmError::KeyMismatch("type")),
    }
    let own = hash_and_scheme(key.algorithm()).map(|(_, scheme)| scheme);
    same("scheme", area.scheme.is_none() || area.scheme == own)
}

/// A number without the zeros before it: a TPM may write it in fewer bytes than COSE does, or in more.
fn number(bytes: &[u8]) -> &[u8] {
    let zeros = bytes.iter().take_while(|&&byte| byte == 0).count();
    bytes.get(zeros..).unwrap_or_default()
}

/// Bits of a number that has no zeros before it.
fn bit_length(number: &[u8]) -> Option<usize> {
    let first = number.first()?;
    (number.len() * 8).checked_sub(usize::try_from(first.leading_zeros()).ok()?)
}

fn check_signature(
    algorithm: CoseAlgorithm,
    scheme: Scheme,
    aik: &Certificate<'_>,
    cert_info: &[u8],
    signature: &[u8],
) -> Result<(), StatementError> {
    let signature = bare_signature(scheme, signature)?;
    let key = aik.public_key()?;
    if algorithm == CoseAlgorithm::Rs1 {
        verify_rs1(&key, cert_info, &signature)?;
    } else {
        verify_signature(algorithm, &key, cert_info, &signature)?;
    }
    Ok(())
}

/// A signature as packed statements have it, out of a TPMT_SIGNATURE or as it is.
///
/// A TPMT_SIGNATURE begins with a zero, which DER does not; with an RSA signature inside it is six bytes longer than the modulus, which a
/// bare one never is.
fn bare_signature(scheme: Scheme, sig: &[u8]) -> Result<Cow<'_, [u8]>, StatementError> {
    let Ok(structure) = Signature::parse(sig) else { return Ok(Cow::Borrowed(sig)) };
    if structure.scheme() != scheme {
        return Err(TpmError::SignatureScheme.into());
    }
    match structure {
        Signature::Rsa(_, bytes) => Ok(Cow::Borrowed(bytes)),
        Signature::Ecdsa(_, r, s) => Ok(Cow::Owned(ecdsa_der(r, s).map_err(|_| SignatureError::Invalid)?)),
    }
}

fn ecdsa_der(r: &[u8], s: &[u8]) -> Result<Vec<u8>, ErrorStack> {
    EcdsaSig::from_private_components(BigNum::from_slice(r)?, BigNum::from_slice(s)?)?.to_der()
}
