//! COSE_Key: the form of a credential's public key (RFC 9052 section 7, RFC 9053 section 7, RFC 8230 section 4).

use super::{
    CoseAlgorithm,
    cbor::{Map, Value},
    edwards::Edwards,
    key::{Curve, MAX_EXPONENT, PublicKey},
    signature::{self, SignatureError},
};

/// Labels of a key's members. The key type's own count down from -1, each type anew.
const KTY: i64 = 1;
const ALG: i64 = 3;
const CRV: i64 = -1;
const X: i64 = -2;
const Y: i64 = -3;
const N: i64 = -1;
const E: i64 = -2;

/// Key types.
const OKP: i64 = 1;
const EC2: i64 = 2;
const RSA: i64 = 3;

/// A public key that may not become a credential's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// No algorithm in it, or one that is not a number.
    #[error("the key has no algorithm")]
    NoAlgorithm,
    /// An algorithm without a name here.
    #[error("the key's algorithm {0} is not supported")]
    UnknownAlgorithm(i64),
    /// Its type is not the algorithm's.
    #[error("the key's type does not go with {0}")]
    Type(CoseAlgorithm),
    /// Its curve is not the algorithm's.
    #[error("the key's curve does not go with {0}")]
    Curve(CoseAlgorithm),
    /// A member is missing, of another type or of another length.
    #[error("the key's {0} is missing or malformed")]
    Member(&'static str),
    /// The coordinates are of no point that may be a key.
    #[error("the key is not a point on its curve")]
    NotOnCurve,
    /// The modulus is outside 2048 to 8192 bits, or even.
    #[error("the key's modulus must be odd and of 2048 to 8192 bits")]
    Modulus,
    /// The exponent is even, or not in 3 to 2^32 - 1.
    #[error("the key's exponent must be odd, more than 1 and of at most 32 bits")]
    Exponent,
}

impl Curve {
    /// Its number in the IANA registry of COSE curves.
    const fn id(self) -> i64 {
        match self {
            Self::P256 => 1,
            Self::P384 => 2,
            Self::P521 => 3,
            Self::Secp256k1 => 8,
        }
    }
}

impl Edwards {
    /// Its number in the IANA registry of COSE curves.
    const fn id(self) -> i64 {
        match self {
            Self::Ed25519 => 6,
            Self::Ed448 => 7,
        }
    }
}

/// What kind of key an algorithm takes: one, exactly (WebAuthn L3 section 5.8.5).
#[derive(Debug, Clone, Copy)]
enum Kind {
    Ec2(Curve),
    Okp(Edwards),
    Rsa,
}

fn kind(algorithm: CoseAlgorithm) -> Option<Kind> {
    use CoseAlgorithm as A;
    Some(match algorithm {
        A::Es256 | A::Esp256 => Kind::Ec2(Curve::P256),
        A::Es384 | A::Esp384 => Kind::Ec2(Curve::P384),
        A::Es512 | A::Esp512 => Kind::Ec2(Curve::P521),
        A::Es256k => Kind::Ec2(Curve::Secp256k1),
        A::EdDsa | A::Ed25519 => Kind::Okp(Edwards::Ed25519),
        A::Ed448 => Kind::Okp(Edwards::Ed448),
        A::Rs256 | A::Rs384 | A::Rs512 | A::Ps256 | A::Ps384 | A::Ps512 => Kind::Rsa,
        A::Rs1 => return None,
    })
}

/// A credential's public key, found good: of the type, curve and size that its algorithm demands, and a point on that curve.
#[derive(Debug)]
pub(super) struct CoseKey<'a> {
    algorithm: CoseAlgorithm,
    material: Material<'a>,
    public: PublicKey,
}

/// A key's numbers, each as long as its form demands.
#[derive(Debug)]
pub(super) enum Material<'a> {
    Ec2 { curve: Curve, x: &'a [u8], y: &'a [u8] },
    Okp { curve: Edwards, x: &'a [u8] },
    Rsa { n: &'a [u8], e: &'a [u8] },
}

/// The algorithm that a key says it is for, before anything else of it is judged.
pub(super) fn algorithm(key: &Map<'_>) -> Result<CoseAlgorithm, KeyError> {
    let id = algorithm_id(key).ok_or(KeyError::NoAlgorithm)?;
    CoseAlgorithm::from_id(id).ok_or(KeyError::UnknownAlgorithm(id))
}

/// Its number, known here or not.
pub(super) fn algorithm_id(key: &Map<'_>) -> Option<i64> {
    key.int(ALG).and_then(Value::as_int)
}

impl<'a> CoseKey<'a> {
    /// Judges a key. Members beside those that its type needs are not looked at, and are not in what [`Self::to_vec`] writes.
    pub(super) fn parse(key: &Map<'a>) -> Result<Self, KeyError> {
        let algorithm = algorithm(key)?;
        let kind = kind(algorithm).ok_or(KeyError::UnknownAlgorithm(algorithm.id()))?;
        let int = |label| key.int(label).and_then(Value::as_int);
        let bytes = |label, name| key.int(label).and_then(Value::as_bytes).ok_or(KeyError::Member(name));
        let (kty, crv) = match kind {
            Kind::Ec2(curve) => (EC2, Some(curve.id())),
            Kind::Okp(curve) => (OKP, Some(curve.id())),
            Kind::Rsa => (RSA, None),
        };
        if int(KTY) != Some(kty) {
            return Err(KeyError::Type(algorithm));
        }
        if crv.is_some() && int(CRV) != crv {
            return Err(KeyError::Curve(algorithm));
        }
        let (material, public) = match kind {
            Kind::Ec2(curve) => {
                let (x, y) = (bytes(X, "x")?, bytes(Y, "y")?);
                (Material::Ec2 { curve, x, y }, ec_key(curve, x, y)?)
            }
            Kind::Okp(curve) => {
                let x = bytes(X, "x")?;
                (Material::Okp { curve, x }, edwards_key(curve, x)?)
            }
            Kind::Rsa => {
                let (n, e) = (bytes(N, "modulus")?, bytes(E, "exponent")?);
                (Material::Rsa { n, e }, rsa_key(n, e)?)
            }
        };
        Ok(Self { algorithm, material, public })
    }

    /// What it signs with.
    pub(super) const fn algorithm(&self) -> CoseAlgorithm {
        self.algorithm
    }

    /// Whether a certificate's key is this one, by its numbers.
    pub(super) fn is_same(&self, key: &PublicKey) -> bool {
        self.public.is_same(key)
    }

    /// Its numbers.
    pub(super) const fn material(&self) -> &Material<'a> {
        &self.material
    }

    /// Checks a signature by this key.
    pub(super) fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), SignatureError> {
        signature::verify(self.algorithm, &self.public, message, signature)
    }

    /// The coordinates, if it is a point on P-256.
    pub(super) const fn p256(&self) -> Option<(&'a [u8], &'a [u8])> {
        match self.material {
            Material::Ec2 { curve: Curve::P256, x, y } => Some((x, y)),
            _ => None,
        }
    }

    /// The COSE_Key in CTAP2 canonical CBOR, with the members that it needs and no others: the form that is stored.
    pub(super) fn to_vec(&self) -> Vec<u8> {
        let (kty, members) = match self.material {
            Material::Ec2 { curve, x, y } => (EC2, vec![(CRV, curve.id().into()), (X, Value::Bytes(x)), (Y, Value::Bytes(y))]),
            Material::Okp { curve, x } => (OKP, vec![(CRV, curve.id().into()), (X, Value::Bytes(x))]),
            Material::Rsa { n, e } => (RSA, vec![(N, Value::Bytes(n)), (E, Value::Bytes(e))]),
        };
        let head = [(KTY, Value::from(kty)), (ALG, self.algorithm.id().into())];
        let entries = head.into_iter().chain(members).map(|(label, value)| (label.into(), value)).collect();
        Value::Map(Map::from_entries(entries)).to_vec()
    }
}

/// A point given by both coordinates, each exactly as long as the field (RFC 9053 section 7.1.1). A compressed one, whose y is a boolean,
/// has no place in WebAuthn.
fn ec_key(curve: Curve, x: &[u8], y: &[u8]) -> Result<PublicKey, KeyError> {
    for (coordinate, name) in [(x, "x"), (y, "y")] {
        if coordinate.len() != curve.len() {
            return Err(KeyError::Member(name));
        }
    }
    PublicKey::ec(curve, &[&[0x04], x, y].concat()).ok_or(KeyError::NotOnCurve)
}

fn edwards_key(curve: Edwards, x: &[u8]) -> Result<PublicKey, KeyError> {
    if x.len() != curve.key_len() {
        return Err(KeyError::Member("x"));
    }
    PublicKey::edwards(curve, x).ok_or(KeyError::NotOnCurve)
}

/// Numbers in the fewest bytes (RFC 8230 section 4).
fn rsa_key(n: &[u8], e: &[u8]) -> Result<PublicKey, KeyError> {
    for (number, name) in [(n, "modulus"), (e, "exponent")] {
        if number.first().is_none_or(|&highest| highest == 0) {
            return Err(KeyError::Member(name));
        }
    }
    let is_odd = |number: &[u8]| number.last().is_some_and(|lowest| lowest & 1 == 1);
    if e.len() > MAX_EXPONENT || e == [1] || !is_odd(e) {
        return Err(KeyError::Exponent);
    }
    let has_2048_bits = n.len() > 256 || (n.len() == 256 && n.first().is_some_and(|highest| highest & 0x80 != 0));
    if !has_2048_bits || n.len() > 1024 || !is_odd(n) {
        return Err(KeyError::Modulus);
    }
    PublicKey::rsa(n, e).ok_or(KeyError::Modulus)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::webauthn::testing::KeyPair;

    /// The key with a member replaced, or left out.
    #[expect(clippy::needless_pass_by_value, reason = "reads better where it is called")]
    fn refused(key: &[u8], label: i64, value: Option<Value<'_>>) -> KeyError {
        let Value::Map(map) = Value::parse(key).unwrap() else { panic!() };
        let labels = [KTY, ALG, CRV, X, Y].into_iter().filter_map(|l| {
            let value = if l == label { value.clone() } else { map.int(l).cloned() };
            value.map(|value| (Value::from(l), value))
        });
        CoseKey::parse(&Map::from_entries(labels.collect())).map(|_| ()).unwrap_err()
    }

    #[test]
    fn each_algorithm_has_its_keys_and_their_canonical_form() {
        for algorithm in CoseAlgorithm::ALL.into_iter().filter(|a| *a != CoseAlgorithm::Rs1) {
            let key = KeyPair::generate(algorithm).cose;
            let value = Value::parse(&key).unwrap();
            let parsed = CoseKey::parse(value.as_map().unwrap()).unwrap();
            assert_eq!(parsed.algorithm(), algorithm);
            assert_eq!(parsed.to_vec(), key, "{algorithm}");
        }
    }

    #[test]
    fn canonical_whatever_the_order_and_the_company() {
        let key = KeyPair::generate(CoseAlgorithm::Es256).cose;
        let value = Value::parse(&key).unwrap();
        let map = value.as_map().unwrap();
        let entry = |l: i64| (Value::from(l), map.int(l).unwrap().clone());
        let other = vec![entry(Y), entry(X), (Value::Text("x"), Value::Null), entry(ALG), entry(CRV), entry(KTY)];
        assert_eq!(CoseKey::parse(&Map::from_entries(other)).unwrap().to_vec(), key);
    }

    #[test]
    fn ec_refusals() {
        let algorithm = CoseAlgorithm::Es256;
        let key = KeyPair::generate(algorithm).cose;
        assert_eq!(refused(&key, ALG, None), KeyError::NoAlgorithm);
        assert_eq!(refused(&key, ALG, Some(Value::Text("ES256"))), KeyError::NoAlgorithm);
        assert_eq!(refused(&key, ALG, Some(Value::from(-48))), KeyError::UnknownAlgorithm(-48));
        assert_eq!(refused(&key, ALG, Some(Value::from(-65535))), KeyError::UnknownAlgorithm(-65535));
        assert_eq!(refused(&key, ALG, Some(Value::from(-35))), KeyError::Curve(CoseAlgorithm::Es384));
        assert_eq!(refused(&key, ALG, Some(Value::from(-257))), KeyError::Type(CoseAlgorithm::Rs256));
        assert_eq!(refused(&key, KTY, None), KeyError::Type(algorithm));
        assert_eq!(refused(&key, KTY, Some(Value::from(1))), KeyError::Type(algorithm));
        assert_eq!(refused(&key, CRV, None), KeyError::Curve(algorithm));
        assert_eq!(refused(&key, CRV, Some(Value::from(2))), KeyError::Curve(algorithm));
        assert_eq!(refused(&key, X, None), KeyError::Member("x"));
        assert_eq!(refused(&key, Y, Some(Value::Bool(true))), KeyError::Member("y"));
        assert_eq!(refused(&key, Y, Some(Value::Bytes(&[1; 31]))), KeyError::Member("y"));
        assert_eq!(refused(&key, X, Some(Value::Bytes(&[0; 33]))), KeyError::Member("x"));
        assert_eq!(refused(&key, Y, Some(Value::Bytes(&[1; 32]))), KeyError::NotOnCurve);
        assert_eq!(refused(&key, X, Some(Value::Bytes(&[0xff; 32]))), KeyError::NotOnCurve);
    }

    #[test]
    fn edwards_refusals() {
        let key = KeyPair::generate(CoseAlgorithm::EdDsa).cose;
        assert_eq!(refused(&key, KTY, Some(Value::from(2))), KeyError::Type(CoseAlgorithm::EdDsa));
        assert_eq!(refused(&key, CRV, Some(Value::from(7))), KeyError::Curve(CoseAlgorithm::EdDsa));
        assert_eq!(refused(&key, X, Some(Value::Bytes(&[1; 31]))), KeyError::Member("x"));
        assert_eq!(refused(&key, X, Some(Value::Bytes(&[0; 32]))), KeyError::NotOnCurve);
    }

    #[test]
    fn rsa_refusals() {
        let key = KeyPair::generate(CoseAlgorithm::Rs256).cose;
        let value = Value::parse(&key).unwrap();
        let n = value.as_map().unwrap().int(N).unwrap().as_bytes().unwrap();
        assert_eq!(refused(&key, N, None), KeyError::Member("modulus"));
        assert_eq!(refused(&key, N, Some(Value::Bytes(&[]))), KeyError::Member("modulus"));
        assert_eq!(refused(&key, N, Some(Value::Bytes(&[&[0], n].concat()))), KeyError::Member("modulus"));
        assert_eq!(refused(&key, N, Some(Value::Bytes(&n[..255]))), KeyError::Modulus);
        assert_eq!(refused(&key, N, Some(Value::Bytes(&[&[0x7f], &n[1..]].concat()))), KeyError::Modulus);
        assert_eq!(refused(&key, N, Some(Value::Bytes(&[&n[..255], &[0xfe]].concat()))), KeyError::Modulus);
        assert_eq!(refused(&key, N, Some(Value::Bytes(&[0xff; 1025]))), KeyError::Modulus);
        assert_eq!(refused(&key, E, None), KeyError::Member("exponent"));
        assert_eq!(refused(&key, E, Some(Value::Bytes(&[0, 1, 0, 1]))), KeyError::Member("exponent"));
        for e in [&[1][..], &[2], &[1, 0, 0], &[1; 5]] {
            assert_eq!(refused(&key, E, Some(Value::Bytes(e))), KeyError::Exponent, "{e:?}");
        }
    }
}
