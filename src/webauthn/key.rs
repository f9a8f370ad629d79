//! Public keys, from the parts of a COSE_Key or from a certificate, ready to verify with.
//!
//! A certificate's key is taken apart here, not by OpenSSL: its decoder costs more than the verification (150 us against 80 us on P-256).

use std::sync::LazyLock;

use openssl::{
    bn::{BigNum, BigNumContext},
    ec::{EcGroup, EcKey, EcPoint},
    error::ErrorStack,
    nid::Nid,
    pkey::{Id, PKey, Public},
    rsa::Rsa,
};

use super::{
    der::{self, NotDer, Reader},
    edwards::Edwards,
};

/// A curve in the sense of SEC 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Curve {
    P256,
    P384,
    P521,
    Secp256k1,
}

/// Made once: making a group costs ten times what using it does.
static P256: LazyLock<Option<EcGroup>> = LazyLock::new(|| EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).ok());
static P384: LazyLock<Option<EcGroup>> = LazyLock::new(|| EcGroup::from_curve_name(Nid::SECP384R1).ok());
static P521: LazyLock<Option<EcGroup>> = LazyLock::new(|| EcGroup::from_curve_name(Nid::SECP521R1).ok());
static SECP256K1: LazyLock<Option<EcGroup>> = LazyLock::new(|| EcGroup::from_curve_name(Nid::SECP256K1).ok());

impl Curve {
    /// Bytes of a coordinate.
    pub(super) const fn len(self) -> usize {
        match self {
            Self::P256 | Self::Secp256k1 => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }

    /// `None` where this build of OpenSSL lacks the curve.
    fn group(self) -> Option<&'static EcGroup> {
        match self {
            Self::P256 => P256.as_ref(),
            Self::P384 => P384.as_ref(),
            Self::P521 => P521.as_ref(),
            Self::Secp256k1 => SECP256K1.as_ref(),
        }
    }

    /// From its object identifier in DER.
    fn from_oid(oid: &[u8]) -> Option<Self> {
        match oid {
            [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07] => Some(Self::P256),
            [0x2b, 0x81, 0x04, 0x00, 0x22] => Some(Self::P384),
            [0x2b, 0x81, 0x04, 0x00, 0x23] => Some(Self::P521),
            [0x2b, 0x81, 0x04, 0x00, 0x0a] => Some(Self::Secp256k1),
            _ => None,
        }
    }
}

/// The most bytes of an RSA exponent: what TPMs and the APIs of platforms can express. The work grows with its bits: with one as long as the
/// modulus, OpenSSL's is a hundred times that of 65537.
pub(super) const MAX_EXPONENT: usize = 4;

/// A key, and what kind it is.
#[derive(Debug)]
pub(super) enum PublicKey {
    Ec(Curve, EcKey<Public>),
    Edwards(Edwards, PKey<Public>),
    Rsa(PKey<Public>),
}

/// Key types in a certificate, as object identifiers in DER.
const ID_EC_PUBLIC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const RSA_ENCRYPTION: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const ID_ED25519: &[u8] = &[0x2b, 0x65, 0x70];
const ID_ED448: &[u8] = &[0x2b, 0x65, 0x71];

impl PublicKey {
    /// From a point in the form of SEC 1 section 2.3.3. `None` if it is not on the curve.
    pub(super) fn ec(curve: Curve, point: &[u8]) -> Option<Self> {
        let group = curve.group()?;
        let make = || -> Result<_, ErrorStack> {
            // This refuses what is not on the curve. The curves' cofactor is 1: each of their points but infinity is of the full order.
            let point = EcPoint::from_bytes(group, point, &mut *BigNumContext::new()?)?;
            if point.is_infinity(group) { Ok(None) } else { EcKey::from_public_key(group, &point).map(Some) }
        };
        make().ok().flatten().map(|key| Self::Ec(curve, key))
    }

    /// From its bytes (RFC 8032). `None` if they are no point that may be a key.
    pub(super) fn edwards(curve: Edwards, bytes: &[u8]) -> Option<Self> {
        let id = match curve {
            Edwards::Ed25519 => Id::ED25519,
            Edwards::Ed448 => Id::ED448,
        };
        let key = PKey::public_key_from_raw_bytes(bytes, id).ok().filter(|_| curve.is_key(bytes))?;
        Some(Self::Edwards(curve, key))
    }

    /// From modulus and exponent, big-endian. Their sizes are for the caller to judge.
    pub(super) fn rsa(modulus: &[u8], exponent: &[u8]) -> Option<Self> {
        let make = || Rsa::from_public_components(BigNum::from_slice(modulus)?, BigNum::from_slice(exponent)?).and_then(PKey::from_rsa);
        make().ok().map(Self::Rsa)
    }

    /// Whether this is the same key: of the same kind and curve, with the same numbers, however they were written.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Ec(curve, ours), Self::Ec(other, theirs)) if curve == other => {
                let equal = || ours.public_key().eq(ours.group(), theirs.public_key(), &mut *BigNumContext::new()?);
                equal().unwrap_or(false)
            }
            (Self::Edwards(curve, ours), Self::Edwards(other, theirs)) => curve == other && ours.public_eq(theirs),
            (Self::Rsa(ours), Self::Rsa(theirs)) => ours.public_eq(theirs),
            _ => false,
        }
    }

    /// From the contents of a SubjectPublicKeyInfo (RFC 5280 section 4.1.2.7). `None` for what cannot be read and for other kinds.
    pub(super) fn from_spki(contents: &[u8]) -> Option<Self> {
        let Spki { algorithm, parameters, key } = Spki::read(contents).ok()?;
        match algorithm {
            // A point in its hybrid form is in no certificate (RFC 5480 section 2.2).
            ID_EC_PUBLIC_KEY if matches!(key, [0x02..=0x04, ..]) => {
                Self::ec(Curve::from_oid(der::only(der::OBJECT_IDENTIFIER, parameters).ok()?)?, key)
            }
            // NULL (RFC 3279 section 2.3.1), which some leave out.
            RSA_ENCRYPTION if matches!(parameters, [] | [0x05, 0x00]) => {
                let (modulus, exponent) = rsa_numbers(key).ok()?;
                Self::rsa(modulus, exponent)
            }
            ID_ED25519 if parameters.is_empty() => Self::edwards(Edwards::Ed25519, key),
            ID_ED448 if parameters.is_empty() => Self::edwards(Edwards::Ed448, key),
            _ => None,
        }
    }
}

/// The parts of a SubjectPublicKeyInfo.
struct Spki<'a> {
    /// An object identifier.
    algorithm: &'a [u8],
    /// An encoding, or nothing.
    parameters: &'a [u8],
    key: &'a [u8],
}

impl<'a> Spki<'a> {
    fn read(contents: &'a [u8]) -> Result<Self, NotDer> {
        let mut spki = Reader::new(contents);
        let mut identifier = Reader::new(spki.expect(der::SEQUENCE)?);
        let key = spki.expect(der::BIT_STRING)?;
        let algorithm = identifier.expect(der::OBJECT_IDENTIFIER)?;
        match key.split_first() {
            Some((0, key)) if spki.is_empty() => Ok(Self { algorithm, parameters: identifier.rest(), key }),
            _ => Err(NotDer),
        }
    }
}

/// The numbers of an RSAPublicKey (RFC 8017 appendix A.1.1). The modulus must be odd; its size is judged where it is used. The exponent must
/// be odd, more than 1 and of at most [`MAX_EXPONENT`] bytes.
fn rsa_numbers(key: &[u8]) -> Result<(&[u8], &[u8]), NotDer> {
    let mut numbers = Reader::new(der::only(der::SEQUENCE, key)?);
    let (modulus, exponent) = (odd_number(&mut numbers)?, odd_number(&mut numbers)?);
    if numbers.is_empty() && exponent.len() <= MAX_EXPONENT && exponent != [1] { Ok((modulus, exponent)) } else { Err(NotDer) }
}

/// The magnitude of an odd INTEGER that is more than 0, in its shortest form.
fn odd_number<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], NotDer> {
    let magnitude = match reader.expect(der::INTEGER)? {
        [0, rest @ ..] if rest.first().is_some_and(|highest| highest & 0x80 != 0) => rest,
        number @ [0x01..=0x7f, ..] => number,
        _ => return Err(NotDer),
    };
    if magnitude.last().is_some_and(|lowest| lowest & 1 == 1) { Ok(magnitude) } else { Err(NotDer) }
}

#[cfg(test)]
mod tests {
    use openssl::ec::PointConversionForm;

    use super::*;
    use crate::webauthn::{CoseAlgorithm, testing::KeyPair};

    fn spki(algorithm: CoseAlgorithm) -> Vec<u8> {
        KeyPair::generate(algorithm).private.public_key_to_der().unwrap()
    }

    fn parse(spki: &[u8]) -> Option<PublicKey> {
        PublicKey::from_spki(der::only(der::SEQUENCE, spki).unwrap())
    }

    #[test]
    fn each_kind_of_certificates_key() {
        use CoseAlgorithm as A;
        for (algorithm, curve) in [(A::Es256, Curve::P256), (A::Es384, Curve::P384), (A::Es512, Curve::P521), (A::Es256k, Curve::Secp256k1)]
        {
            assert!(matches!(parse(&spki(algorithm)), Some(PublicKey::Ec(found, _)) if found == curve), "{algorithm}");
        }
        assert!(matches!(parse(&spki(A::Ed25519)), Some(PublicKey::Edwards(Edwards::Ed25519, _))));
        assert!(matches!(parse(&spki(A::Ed448)), Some(PublicKey::Edwards(Edwards::Ed448, _))));
        assert!(matches!(parse(&spki(A::Rs256)), Some(PublicKey::Rsa(_))));
        assert!(parse(&PKey::generate_x25519().unwrap().public_key_to_der().unwrap()).is_none());
    }

    #[test]
    fn the_same_key_whatever_its_form() {
        use CoseAlgorithm as A;
        let algorithms = [A::Es256, A::Es384, A::Es512, A::Es256k, A::Ed25519, A::Ed448, A::Rs256];
        let spkis = algorithms.map(spki);
        for (n, a) in spkis.iter().enumerate() {
            for (m, b) in spkis.iter().enumerate() {
                assert_eq!(parse(a).unwrap().is_same(&parse(b).unwrap()), n == m, "{n} {m}");
            }
        }
        for algorithm in [A::Es256, A::Es384, A::Ed25519, A::Ed448] {
            assert!(!parse(&spki(algorithm)).unwrap().is_same(&parse(&spki(algorithm)).unwrap()), "{algorithm}");
        }
        let other = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap().public_key_to_der().unwrap();
        assert!(!parse(&spkis[6]).unwrap().is_same(&parse(&other).unwrap()));

        let key = KeyPair::generate(A::Es256).private.ec_key().unwrap();
        let point = |form| key.public_key().to_bytes(key.group(), form, &mut BigNumContext::new().unwrap()).unwrap();
        let read = |form| PublicKey::ec(Curve::P256, &point(form)).unwrap();
        assert!(read(PointConversionForm::COMPRESSED).is_same(&read(PointConversionForm::UNCOMPRESSED)));
    }

    #[test]
    fn what_is_no_key() {
        let spki = spki(CoseAlgorithm::Es256);
        let last = spki.len() - 1;
        let mut off_curve = spki.clone();
        off_curve[last] ^= 1;
        assert!(parse(&off_curve).is_none());
        assert!(PublicKey::ec(Curve::P256, &[0]).is_none());
        assert!(PublicKey::ec(Curve::P256, &[]).is_none());
        let unused_bits = spki.iter().enumerate().map(|(n, &byte)| if n == spki.len() - 66 { byte | 1 } else { byte });
        assert!(parse(&unused_bits.collect::<Vec<_>>()).is_none());
    }

    fn element(tag: u8, contents: &[u8]) -> Vec<u8> {
        der::element(&[tag], contents)
    }

    /// The contents of a SubjectPublicKeyInfo.
    fn info(algorithm: &[u8], parameters: &[u8], key: &[u8]) -> Vec<u8> {
        let identifier = [&element(der::OBJECT_IDENTIFIER, algorithm), parameters].concat();
        [element(der::SEQUENCE, &identifier), element(der::BIT_STRING, &[&[0], key].concat())].concat()
    }

    #[test]
    fn an_rsa_key_of_a_certificate_is_bounded_like_any_other() {
        let rsa = KeyPair::generate(CoseAlgorithm::Rs256).private.rsa().unwrap();
        let n = [&[0], &rsa.n().to_vec()[..]].concat();
        let integer = |bytes: &[u8]| element(der::INTEGER, bytes);
        let read = |parameters: &[u8], key: &[u8]| PublicKey::from_spki(&info(RSA_ENCRYPTION, parameters, key)).is_some();
        let key = |n: &[u8], e: &[u8]| element(der::SEQUENCE, &[integer(n), integer(e)].concat());
        let e = [1, 0, 1];
        assert!(read(&[5, 0], &key(&n, &e)));
        assert!(read(&[], &key(&n, &e)));
        // An exponent as long as the modulus costs a hundred times an honest one.
        let long = [&[0x7f; 255][..], &[1]].concat();
        for exponent in [&long[..], &[1; 5], &[1], &[2], &[], &[0], &[0x81], &[0, 1, 0, 1]] {
            assert!(!read(&[5, 0], &key(&n, exponent)), "{exponent:02x?}");
        }
        for modulus in [&n[1..], &[&[0], &n[..]].concat(), &[], &[&n[..256], &[0x10]].concat()] {
            assert!(!read(&[5, 0], &key(modulus, &e)), "{modulus:02x?}");
        }
        let trailing = [key(&n, &e), vec![0]].concat();
        let inside = element(der::SEQUENCE, &[integer(&n), integer(&e), integer(&e)].concat());
        assert!(!read(&[5, 0], &trailing) && !read(&[5, 0], &inside));
        assert!(!read(&[5, 1, 0], &key(&n, &e)) && !read(&[5, 0, 5, 0], &key(&n, &e)));
    }

    #[test]
    fn other_parameters_and_forms_of_points() {
        let raw = PKey::generate_ed25519().unwrap().raw_public_key().unwrap();
        assert!(PublicKey::from_spki(&info(ID_ED25519, &[], &raw)).is_some());
        assert!(PublicKey::from_spki(&info(ID_ED25519, &[5, 0], &raw)).is_none());
        let key = KeyPair::generate(CoseAlgorithm::Es256).private.ec_key().unwrap();
        let curve = element(der::OBJECT_IDENTIFIER, &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07]);
        let read = |form| {
            let point = key.public_key().to_bytes(key.group(), form, &mut BigNumContext::new().unwrap()).unwrap();
            PublicKey::from_spki(&info(ID_EC_PUBLIC_KEY, &curve, &point)).is_some()
        };
        assert!(read(PointConversionForm::UNCOMPRESSED) && read(PointConversionForm::COMPRESSED));
        // RFC 5480 section 2.2: never in a certificate.
        assert!(!read(PointConversionForm::HYBRID));
    }
}
