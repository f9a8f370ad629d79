//! Words of the metadata (FIDO Registry of Predefined Values v2.2, sections 3.6.1 and 3.6.3) in terms of WebAuthn.

use crate::{
    domain::AttestationType,
    webauthn::CoseAlgorithm::{self as A},
};

/// What an algorithm's word stands for in COSE. Some algorithms have two numbers there, and the words tell encodings of a signature apart,
/// which COSE does not. `None` for new words, and for SM2, which has no number.
pub(super) fn algorithm(word: &str) -> Option<&'static [A]> {
    Some(match word {
        "secp256r1_ecdsa_sha256_raw" | "secp256r1_ecdsa_sha256_der" => &[A::Es256, A::Esp256],
        "secp384r1_ecdsa_sha384_raw" => &[A::Es384, A::Esp384],
        "secp521r1_ecdsa_sha512_raw" => &[A::Es512, A::Esp512],
        "secp256k1_ecdsa_sha256_raw" | "secp256k1_ecdsa_sha256_der" => &[A::Es256k],
        "rsassa_pss_sha256_raw" | "rsassa_pss_sha256_der" => &[A::Ps256],
        "rsassa_pss_sha384_raw" => &[A::Ps384],
        "rsassa_pss_sha512_raw" => &[A::Ps512],
        "rsassa_pkcsv15_sha256_raw" | "rsa_emsa_pkcs1_sha256_raw" | "rsa_emsa_pkcs1_sha256_der" => &[A::Rs256],
        "rsassa_pkcsv15_sha384_raw" => &[A::Rs384],
        "rsassa_pkcsv15_sha512_raw" => &[A::Rs512],
        "rsassa_pkcsv15_sha1_raw" => &[A::Rs1],
        "ed25519_eddsa_sha512_raw" => &[A::EdDsa, A::Ed25519],
        "ed448_eddsa_sha512_raw" => &[A::EdDsa, A::Ed448],
        _ => return None,
    })
}

/// What an attestation type's word stands for. ECDAA is no type of WebAuthn Level 3: it stands for nothing. `None` for new words.
pub(super) fn attestation_type(word: &str) -> Option<&'static [AttestationType]> {
    use AttestationType as T;
    Some(match word {
        "basic_full" => &[T::Basic],
        "basic_surrogate" => &[T::SelfAttestation],
        "attca" => &[T::AttCa],
        "anonca" => &[T::AnonCa],
        "none" => &[T::None],
        "ecdaa" => &[],
        _ => return None,
    })
}
