//! Public halves: from a token's attributes to SubjectPublicKeyInfo, and the verification that precedes every release.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use openssl::{
    bn::{BigNum, BigNumContext},
    ec::{EcGroup, EcKey, EcPoint, PointConversionForm},
    ecdsa::EcdsaSig,
    error::ErrorStack,
    hash::MessageDigest,
    nid::Nid,
    pkey::{Id, PKey, Public},
    rsa::{Padding, Rsa},
    sha::{sha256, sha384},
    sign::{RsaPssSaltlen, Verifier},
};

use crate::domain::SigningAlgorithm;

/// A public key that cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum PublicKeyError {
    /// OpenSSL does not take it.
    #[error("not a public key: {0}")]
    Invalid(#[from] ErrorStack),
    /// A key, but not one of that algorithm.
    #[error("not a key for {0}")]
    OtherAlgorithm(SigningAlgorithm),
    /// CKA_EC_POINT in none of the encodings that modules use.
    #[error("CKA_EC_POINT of {0} bytes is in no known encoding")]
    PointEncoding(usize),
}

/// The thumbprint (RFC 7638, base64url) of the key whose SubjectPublicKeyInfo is `spki`; `None` where that is no key for `algorithm`.
pub fn thumbprint(algorithm: SigningAlgorithm, spki: &[u8]) -> Option<String> {
    PublicKey::from_spki(algorithm, spki).ok()?.thumbprint().ok()
}

/// A parsed public key of one algorithm. Cheap to verify with, dear to parse: keep it.
#[derive(Debug)]
pub(super) struct PublicKey {
    algorithm: SigningAlgorithm,
    key: PKey<Public>,
    /// Set for ECDSA keys: saves a conversion at each verification.
    ec: Option<EcKey<Public>>,
}

impl PublicKey {
    /// From SubjectPublicKeyInfo in DER. A key of another type or curve than `algorithm` asks for is refused.
    pub(super) fn from_spki(algorithm: SigningAlgorithm, der: &[u8]) -> Result<Self, PublicKeyError> {
        Self::new(algorithm, PKey::public_key_from_der(der)?)
    }

    /// From CKA_EC_POINT of a P-256, P-384 or Ed25519 key.
    pub(super) fn from_ec_point(algorithm: SigningAlgorithm, attribute: &[u8]) -> Result<Self, PublicKeyError> {
        let Some(curve) = curve(algorithm) else {
            let point = unwrap_point(attribute, 32)?;
            return Self::new(algorithm, PKey::public_key_from_raw_bytes(point, Id::ED25519)?);
        };
        let point = unwrap_point(attribute, 1 + 2 * coordinate_length(algorithm))?;
        let group = EcGroup::from_curve_name(curve)?;
        let point = EcPoint::from_bytes(&group, point, &mut *BigNumContext::new()?)?;
        let key = EcKey::from_public_key(&group, &point)?;
        key.check_key()?;
        Self::new(algorithm, PKey::from_ec_key(key)?)
    }

    /// From CKA_MODULUS and CKA_PUBLIC_EXPONENT, both big endian.
    pub(super) fn from_rsa(algorithm: SigningAlgorithm, modulus: &[u8], exponent: &[u8]) -> Result<Self, PublicKeyError> {
        let rsa = Rsa::from_public_components(BigNum::from_slice(modulus)?, BigNum::from_slice(exponent)?)?;
        Self::new(algorithm, PKey::from_rsa(rsa)?)
    }

    fn new(algorithm: SigningAlgorithm, key: PKey<Public>) -> Result<Self, PublicKeyError> {
        let other = || PublicKeyError::OtherAlgorithm(algorithm);
        let ec = match curve(algorithm) {
            Some(curve) => {
                let ec = key.ec_key().map_err(|_| other())?;
                if ec.group().curve_name() != Some(curve) {
                    return Err(other());
                }
                Some(ec)
            }
            None => None,
        };
        let expected = if ec.is_some() {
            Id::EC
        } else if algorithm.is_rsa() {
            Id::RSA
        } else {
            Id::ED25519
        };
        if key.id() == expected { Ok(Self { algorithm, key, ec }) } else { Err(other()) }
    }

    /// Size of an RSA key's modulus.
    pub(super) fn rsa_bits(&self) -> Option<u32> {
        self.algorithm.is_rsa().then(|| self.key.bits())
    }

    /// SubjectPublicKeyInfo in DER.
    pub(super) fn to_spki(&self) -> Result<Vec<u8>, PublicKeyError> {
        Ok(self.key.public_key_to_der()?)
    }

    /// Whether `signature` (JOSE form: r || s for ECDSA, RFC 7518 section 3.4) is this key's over `message`.
    pub(super) fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        // Whatever OpenSSL objects to is not a signature. Its error queue is emptied by collecting the stack.
        self.try_verify(message, signature).unwrap_or(false)
    }

    fn try_verify(&self, message: &[u8], signature: &[u8]) -> Result<bool, ErrorStack> {
        match (self.algorithm, &self.ec) {
            (SigningAlgorithm::Es256, Some(key)) => verify_ecdsa(key, &sha256(message), signature, 32),
            (SigningAlgorithm::Es384, Some(key)) => verify_ecdsa(key, &sha384(message), signature, 48),
            (SigningAlgorithm::Rs256 | SigningAlgorithm::Ps256, _) => {
                let mut verifier = Verifier::new(MessageDigest::sha256(), &self.key)?;
                if self.algorithm == SigningAlgorithm::Ps256 {
                    verifier.set_rsa_padding(Padding::PKCS1_PSS)?;
                    verifier.set_rsa_pss_saltlen(RsaPssSaltlen::DIGEST_LENGTH)?;
                }
                verifier.verify_oneshot(signature, message)
            }
            _ => Verifier::new_without_digest(&self.key)?.verify_oneshot(signature, message),
        }
    }

    /// The thumbprint of RFC 7638, base64url.
    pub(super) fn thumbprint(&self) -> Result<String, PublicKeyError> {
        let b64 = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        // RFC 7638 section 3.2: required members alone, in the order of their names, no white space.
        let json = if let Some(ec) = &self.ec {
            let point = ec.public_key().to_bytes(ec.group(), PointConversionForm::UNCOMPRESSED, &mut *BigNumContext::new()?)?;
            let (x, y) = point[1..].split_at(coordinate_length(self.algorithm));
            let crv = if self.algorithm == SigningAlgorithm::Es256 { "P-256" } else { "P-384" };
            format!(r#"{{"crv":"{crv}","kty":"EC","x":"{}","y":"{}"}}"#, b64(x), b64(y))
        } else if self.algorithm.is_rsa() {
            let rsa = self.key.rsa()?;
            format!(r#"{{"e":"{}","kty":"RSA","n":"{}"}}"#, b64(&rsa.e().to_vec()), b64(&rsa.n().to_vec()))
        } else {
            format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, b64(&self.key.raw_public_key()?))
        };
        Ok(b64(&sha256(json.as_bytes())))
    }
}

fn curve(algorithm: SigningAlgorithm) -> Option<Nid> {
    match algorithm {
        SigningAlgorithm::Es256 => Some(Nid::X9_62_PRIME256V1),
        SigningAlgorithm::Es384 => Some(Nid::SECP384R1),
        SigningAlgorithm::Rs256 | SigningAlgorithm::Ps256 | SigningAlgorithm::EdDsa => None,
    }
}

const fn coordinate_length(algorithm: SigningAlgorithm) -> usize {
    if matches!(algorithm, SigningAlgorithm::Es384) { 48 } else { 32 }
}

/// Modules disagree: DER OCTET STRING (the standard), the bare point, or DER BIT STRING. The length tells them apart, since the first byte
/// of a bare point is that of an OCTET STRING too.
fn unwrap_point(attribute: &[u8], length: usize) -> Result<&[u8], PublicKeyError> {
    match attribute {
        raw if raw.len() == length => Ok(raw),
        [0x04, n, point @ ..] if usize::from(*n) == length && point.len() == length => Ok(point),
        [0x03, n, 0, point @ ..] if usize::from(*n) == length + 1 && point.len() == length => Ok(point),
        _ => Err(PublicKeyError::PointEncoding(attribute.len())),
    }
}

fn verify_ecdsa(key: &EcKey<Public>, digest: &[u8], signature: &[u8], half: usize) -> Result<bool, ErrorStack> {
    if signature.len() != 2 * half {
        return Ok(false);
    }
    let (r, s) = signature.split_at(half);
    EcdsaSig::from_private_components(BigNum::from_slice(r)?, BigNum::from_slice(s)?)?.verify(digest, key)
}

#[cfg(test)]
mod tests {
    use openssl::sign::Signer;

    use super::*;

    fn p256() -> (EcKey<openssl::pkey::Private>, Vec<u8>) {
        let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
        let key = EcKey::generate(&group).unwrap();
        let mut ctx = BigNumContext::new().unwrap();
        let point = key.public_key().to_bytes(&group, PointConversionForm::UNCOMPRESSED, &mut ctx).unwrap();
        (key, point)
    }

    #[test]
    fn every_point_encoding_gives_the_same_key() {
        let (_, point) = p256();
        let octet = [&[0x04, 65][..], &point].concat();
        let bits = [&[0x03, 66, 0][..], &point].concat();
        let spki = |attribute: &[u8]| PublicKey::from_ec_point(SigningAlgorithm::Es256, attribute).unwrap().to_spki().unwrap();
        assert_eq!(spki(&point), spki(&octet));
        assert_eq!(spki(&point), spki(&bits));
        for bad in [&point[..64], &octet[..66], &[]] {
            assert!(PublicKey::from_ec_point(SigningAlgorithm::Es256, bad).is_err());
        }
        let mut off_curve = point;
        off_curve[64] ^= 1;
        assert!(PublicKey::from_ec_point(SigningAlgorithm::Es256, &off_curve).is_err());
    }

    #[test]
    fn ed25519_points_too() {
        let raw = PKey::generate_ed25519().unwrap().raw_public_key().unwrap();
        let octet = [&[0x04, 32][..], &raw].concat();
        let spki = |attribute: &[u8]| PublicKey::from_ec_point(SigningAlgorithm::EdDsa, attribute).unwrap().to_spki().unwrap();
        assert_eq!(spki(&raw), spki(&octet));
    }

    #[test]
    fn verifies_jose_form_alone() {
        let (key, point) = p256();
        let public = PublicKey::from_ec_point(SigningAlgorithm::Es256, &point).unwrap();
        let signature = EcdsaSig::sign(&sha256(b"message"), &key).unwrap();
        let jose = [signature.r().to_vec_padded(32).unwrap(), signature.s().to_vec_padded(32).unwrap()].concat();
        assert!(public.verify(b"message", &jose));
        assert!(!public.verify(b"massage", &jose));
        assert!(!public.verify(b"message", &signature.to_der().unwrap()));
        assert!(!public.verify(b"message", &[0; 64]));
        assert!(!public.verify(b"message", &[]));
    }

    #[test]
    fn a_key_of_another_kind_is_refused() {
        let (key, _) = p256();
        let spki = PKey::from_ec_key(key).unwrap().public_key_to_der().unwrap();
        for algorithm in [SigningAlgorithm::Es384, SigningAlgorithm::Rs256, SigningAlgorithm::EdDsa] {
            assert!(PublicKey::from_spki(algorithm, &spki).is_err(), "{algorithm}");
        }
        assert!(PublicKey::from_spki(SigningAlgorithm::Es256, &spki[1..]).is_err());
    }

    #[test]
    fn pss_needs_its_own_salt_length() {
        let key = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
        let spki = key.public_key_to_der().unwrap();
        let sign = |salt: i32| {
            let mut signer = Signer::new(MessageDigest::sha256(), &key).unwrap();
            signer.set_rsa_padding(Padding::PKCS1_PSS).unwrap();
            signer.set_rsa_pss_saltlen(RsaPssSaltlen::custom(salt)).unwrap();
            signer.sign_oneshot_to_vec(b"m").unwrap()
        };
        let public = PublicKey::from_spki(SigningAlgorithm::Ps256, &spki).unwrap();
        assert!(public.verify(b"m", &sign(32)));
        assert!(!public.verify(b"m", &sign(20)), "RFC 7518 section 3.5: the salt is as long as the hash");
    }

    /// The example of RFC 7638 section 3.1.
    #[test]
    fn thumbprint_is_the_rfcs() {
        let n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
        let key = PublicKey::from_rsa(SigningAlgorithm::Rs256, &URL_SAFE_NO_PAD.decode(n).unwrap(), &[1, 0, 1]).unwrap();
        assert_eq!(key.thumbprint().unwrap(), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    }
}
