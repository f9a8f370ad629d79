//! What a key pair is asked to be. Everything explicit: modules default private keys to decrypting, unwrapping and deriving.

use cryptoki::{
    mechanism::Mechanism,
    object::{Attribute, KeyType},
};

use crate::domain::{KeyId, SigningAlgorithm};

/// How much is asked for. Some modules refuse attributes that they could ignore; each step asks for less. What came of it is read back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    /// All of it.
    Full,
    /// Less CKA_MODIFIABLE.
    Modifiable,
    /// Less the uses that a key of this type does not have anyway.
    OtherUses,
    /// Less CKA_PRIVATE of the public half.
    Least,
}

impl Step {
    pub(super) const ALL: [Self; 4] = [Self::Full, Self::Modifiable, Self::OtherUses, Self::Least];
}

/// CKA_KEY_TYPE of an algorithm's keys.
pub(super) const fn key_type(algorithm: SigningAlgorithm) -> KeyType {
    match algorithm {
        SigningAlgorithm::Es256 | SigningAlgorithm::Es384 => KeyType::EC,
        SigningAlgorithm::Rs256 | SigningAlgorithm::Ps256 => KeyType::RSA,
        SigningAlgorithm::EdDsa => KeyType::EC_EDWARDS,
    }
}

/// The key generation mechanism, and the templates of the public and of the private half.
pub(super) fn key_pair(
    kid: KeyId,
    algorithm: SigningAlgorithm,
    rsa_bits: u32,
    step: Step,
) -> (Mechanism<'static>, Vec<Attribute>, Vec<Attribute>) {
    let id = Attribute::Id(kid.as_bytes().to_vec());
    let label = Attribute::Label(kid.to_string().into_bytes());
    let mut public = vec![Attribute::Token(true), Attribute::Verify(true), label.clone(), id.clone()];
    let mut private = vec![
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Sign(true),
        label,
        id,
    ];
    let mechanism = parameters(algorithm, rsa_bits, &mut public);
    if step < Step::Least {
        public.push(Attribute::Private(false));
    }
    if step < Step::OtherUses {
        public.extend([Attribute::Encrypt(false), Attribute::Wrap(false), Attribute::VerifyRecover(false), Attribute::Derive(false)]);
        private.extend([Attribute::Decrypt(false), Attribute::Unwrap(false), Attribute::SignRecover(false), Attribute::Derive(false)]);
    }
    if step < Step::Modifiable {
        public.push(Attribute::Modifiable(false));
        private.push(Attribute::Modifiable(false));
    }
    (mechanism, public, private)
}

fn parameters(algorithm: SigningAlgorithm, rsa_bits: u32, public: &mut Vec<Attribute>) -> Mechanism<'static> {
    // Named curves, as DER object identifiers.
    let (mechanism, oid): (_, &[u8]) = match algorithm {
        SigningAlgorithm::Rs256 | SigningAlgorithm::Ps256 => {
            public.push(Attribute::ModulusBits(u64::from(rsa_bits).into()));
            public.push(Attribute::PublicExponent(vec![1, 0, 1]));
            return Mechanism::RsaPkcsKeyPairGen;
        }
        SigningAlgorithm::Es256 => (Mechanism::EccKeyPairGen, &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07]),
        SigningAlgorithm::Es384 => (Mechanism::EccKeyPairGen, &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22]),
        SigningAlgorithm::EdDsa => (Mechanism::EccEdwardsKeyPairGen, &[0x06, 0x03, 0x2b, 0x65, 0x70]),
    };
    public.push(Attribute::EcParams(oid.to_vec()));
    mechanism
}
