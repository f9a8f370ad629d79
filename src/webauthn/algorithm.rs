//! Signature algorithms by their COSE identifiers.

use std::fmt;

/// A COSE signature algorithm (IANA COSE Algorithms; RFC 9053, RFC 8812, RFC 8230, RFC 9864).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CoseAlgorithm {
    /// ECDSA with SHA-256; as a credential key on P-256.
    Es256,
    /// ECDSA with SHA-384; as a credential key on P-384.
    Es384,
    /// ECDSA with SHA-512; as a credential key on P-521.
    Es512,
    /// ECDSA with SHA-256 on secp256k1.
    Es256k,
    /// ECDSA with SHA-256 on P-256, fully specified.
    Esp256,
    /// ECDSA with SHA-384 on P-384, fully specified.
    Esp384,
    /// ECDSA with SHA-512 on P-521, fully specified.
    Esp512,
    /// EdDSA; as a credential key on Ed25519 (WebAuthn L3 section 5.8.5).
    EdDsa,
    /// Ed25519, fully specified.
    Ed25519,
    /// Ed448, fully specified.
    Ed448,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    Rs384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    Rs512,
    /// RSASSA-PSS with SHA-256.
    Ps256,
    /// RSASSA-PSS with SHA-384.
    Ps384,
    /// RSASSA-PSS with SHA-512.
    Ps512,
    /// RSASSA-PKCS1-v1_5 with SHA-1. It has a name because old TPMs use it; no credential key and no packed statement may.
    Rs1,
}

impl CoseAlgorithm {
    /// Every algorithm that has a name here.
    pub const ALL: [Self; 17] = [
        Self::Es256,
        Self::Es384,
        Self::Es512,
        Self::Es256k,
        Self::Esp256,
        Self::Esp384,
        Self::Esp512,
        Self::EdDsa,
        Self::Ed25519,
        Self::Ed448,
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
        Self::Rs1,
    ];

    /// Its number in the IANA registry.
    pub const fn id(self) -> i64 {
        match self {
            Self::Es256 => -7,
            Self::EdDsa => -8,
            Self::Esp256 => -9,
            Self::Ed25519 => -19,
            Self::Es384 => -35,
            Self::Es512 => -36,
            Self::Ps256 => -37,
            Self::Ps384 => -38,
            Self::Ps512 => -39,
            Self::Es256k => -47,
            Self::Esp384 => -51,
            Self::Esp512 => -52,
            Self::Ed448 => -53,
            Self::Rs256 => -257,
            Self::Rs384 => -258,
            Self::Rs512 => -259,
            Self::Rs1 => -65535,
        }
    }

    /// The algorithm of that number, if it has a name here.
    pub fn from_id(id: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.id() == id)
    }

    /// Its name in the IANA registry.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::Es512 => "ES512",
            Self::Es256k => "ES256K",
            Self::Esp256 => "ESP256",
            Self::Esp384 => "ESP384",
            Self::Esp512 => "ESP512",
            Self::EdDsa => "EdDSA",
            Self::Ed25519 => "Ed25519",
            Self::Ed448 => "Ed448",
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
            Self::Rs1 => "RS1",
        }
    }
}

/// Name and number: `ES256 (-7)`.
impl fmt::Display for CoseAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name(), self.id())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_names_one_algorithm() {
        for algorithm in CoseAlgorithm::ALL {
            assert_eq!(CoseAlgorithm::from_id(algorithm.id()), Some(algorithm));
        }
        assert_eq!(CoseAlgorithm::from_id(-48), None);
        assert_eq!(CoseAlgorithm::from_id(7), None);
        assert_eq!(CoseAlgorithm::Es256.to_string(), "ES256 (-7)");
    }
}
