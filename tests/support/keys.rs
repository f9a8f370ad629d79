//! Key pairs as authenticators hold them: COSE on the outside, OpenSSL inside.

use std::sync::OnceLock;

use openssl::{
    bn::{BigNum, BigNumContext},
    ec::{EcGroup, EcKey},
    hash::MessageDigest,
    nid::Nid,
    pkey::{PKey, Private},
    rsa::{Padding, Rsa},
    sign::{RsaPssSaltlen, Signer},
};

use super::cbor::{Cbor, Entries};

/// The ten algorithms that the contract offers (RFC 9053, RFC 8812).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    Es256,
    Es384,
    Es512,
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    EdDsa,
}

use Algorithm::{EdDsa, Es256, Es384, Es512, Ps256, Ps384, Ps512, Rs256, Rs384, Rs512};

impl Algorithm {
    /// In the order in which the contract offers them.
    pub const ALL: [Self; 10] = [Es256, Es384, Es512, Rs256, Rs384, Rs512, Ps256, Ps384, Ps512, EdDsa];

    /// The COSE algorithm identifier.
    pub const fn cose_id(self) -> i64 {
        match self {
            Es256 => -7,
            Es384 => -35,
            Es512 => -36,
            Rs256 => -257,
            Rs384 => -258,
            Rs512 => -259,
            Ps256 => -37,
            Ps384 => -38,
            Ps512 => -39,
            EdDsa => -8,
        }
    }

    /// What is hashed with before a signature is made; EdDSA hashes by itself.
    pub fn digest(self) -> Option<MessageDigest> {
        match self {
            EdDsa => None,
            Es256 | Rs256 | Ps256 => Some(MessageDigest::sha256()),
            Es384 | Rs384 | Ps384 => Some(MessageDigest::sha384()),
            Es512 | Rs512 | Ps512 => Some(MessageDigest::sha512()),
        }
    }

    /// COSE's number of the curve, and OpenSSL's.
    fn curve(self) -> Option<(i64, Nid)> {
        match self {
            Es256 => Some((1, Nid::X9_62_PRIME256V1)),
            Es384 => Some((2, Nid::SECP384R1)),
            Es512 => Some((3, Nid::SECP521R1)),
            _ => None,
        }
    }
}

/// A key pair and what it signs with.
#[derive(Clone)]
pub struct KeyPair {
    pub algorithm: Algorithm,
    pub key: PKey<Private>,
}

impl KeyPair {
    /// A fresh pair for a credential, except for RSA: its primes take long to find, so every RSA key of a run is the same.
    pub fn generate(algorithm: Algorithm) -> Self {
        static RSA: OnceLock<PKey<Private>> = OnceLock::new();
        Self::with_rsa(algorithm, &RSA)
    }

    /// The same for the maker of authenticators, whose RSA key is another.
    pub fn generate_attestation(algorithm: Algorithm) -> Self {
        static RSA: OnceLock<PKey<Private>> = OnceLock::new();
        Self::with_rsa(algorithm, &RSA)
    }

    fn with_rsa(algorithm: Algorithm, rsa: &OnceLock<PKey<Private>>) -> Self {
        let key = match (algorithm, algorithm.curve()) {
            (_, Some((_, nid))) => PKey::from_ec_key(EcKey::generate(&EcGroup::from_curve_name(nid).unwrap()).unwrap()).unwrap(),
            (EdDsa, None) => PKey::generate_ed25519().unwrap(),
            _ => rsa.get_or_init(|| PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap()).clone(),
        };
        Self { algorithm, key }
    }

    /// COSE_Key (RFC 9053 section 7), in canonical order.
    pub fn cose(&self) -> Entries {
        let entry = |label, value| (Cbor::Int(label), value);
        let alg = entry(3, Cbor::Int(self.algorithm.cose_id()));
        if let Some((curve, _)) = self.algorithm.curve() {
            let (x, y) = self.point();
            return vec![entry(1, Cbor::Int(2)), alg, entry(-1, Cbor::Int(curve)), entry(-2, Cbor::Bytes(x)), entry(-3, Cbor::Bytes(y))];
        }
        if self.algorithm == EdDsa {
            let x = Cbor::Bytes(self.key.raw_public_key().unwrap());
            return vec![entry(1, Cbor::Int(1)), alg, entry(-1, Cbor::Int(6)), entry(-2, x)];
        }
        let rsa = self.key.rsa().unwrap();
        vec![entry(1, Cbor::Int(3)), alg, entry(-1, Cbor::Bytes(rsa.n().to_vec())), entry(-2, Cbor::Bytes(rsa.e().to_vec()))]
    }

    /// The coordinates of an elliptic-curve key, padded to the size of the field.
    pub fn point(&self) -> (Vec<u8>, Vec<u8>) {
        let ec = self.key.ec_key().unwrap();
        let (mut x, mut y) = (BigNum::new().unwrap(), BigNum::new().unwrap());
        ec.public_key().affine_coordinates(ec.group(), &mut x, &mut y, &mut BigNumContext::new().unwrap()).unwrap();
        let size = i32::try_from(ec.group().degree().div_ceil(8)).unwrap();
        (x.to_vec_padded(size).unwrap(), y.to_vec_padded(size).unwrap())
    }

    /// A signature in WebAuthn's form (L3 section 6.5.5): DER for ECDSA.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        let Some(digest) = self.algorithm.digest() else {
            return Signer::new_without_digest(&self.key).unwrap().sign_oneshot_to_vec(message).unwrap();
        };
        let mut signer = Signer::new(digest, &self.key).unwrap();
        if matches!(self.algorithm, Ps256 | Ps384 | Ps512) {
            signer.set_rsa_padding(Padding::PKCS1_PSS).unwrap();
            signer.set_rsa_mgf1_md(digest).unwrap();
            signer.set_rsa_pss_saltlen(RsaPssSaltlen::DIGEST_LENGTH).unwrap();
        }
        signer.sign_oneshot_to_vec(message).unwrap()
    }
}
