//! The keys that sign tokens. Only their public halves and their history are ever here.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{KeyId, TenantId, Timestamp};

/// What a tenant's tokens are signed with (RFC 7518 section 3.1, RFC 8037).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum SigningAlgorithm {
    /// ECDSA on P-256 with SHA-256.
    #[default]
    Es256,
    /// ECDSA on P-384 with SHA-384.
    Es384,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// RSASSA-PSS with SHA-256, salt of 32 bytes.
    Ps256,
    /// Ed25519.
    EdDsa,
}

text_enum!(SigningAlgorithm, "ES256, ES384, RS256, PS256, EdDSA", {
    Es256 => "ES256",
    Es384 => "ES384",
    Rs256 => "RS256",
    Ps256 => "PS256",
    EdDsa => "EdDSA",
});

impl SigningAlgorithm {
    /// Whether its keys are RSA keys, which have a size to choose.
    pub const fn is_rsa(self) -> bool {
        matches!(self, Self::Rs256 | Self::Ps256)
    }
}

/// Sizes of RSA keys that are made: what every HSM that has RSA can do.
pub const RSA_BITS: [u32; 3] = [2048, 3072, 4096];

/// A size that RSA keys are not made in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an RSA key has 2048, 3072 or 4096 bits, not {0}")]
pub struct RsaBitsError(pub u32);

/// `bits` if RSA keys are made in that size.
pub fn rsa_bits(bits: u32) -> Result<u32, RsaBitsError> {
    if RSA_BITS.contains(&bits) { Ok(bits) } else { Err(RsaBitsError(bits)) }
}

/// Where a signing key is in its life (NIST SP 800-57 part 1, section 7, where it has a word).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyState {
    /// Meant to exist: the row precedes the key on the token. Not in the JWKS.
    Pending,
    /// In the JWKS, does not sign yet.
    Published,
    /// Signs. One per tenant.
    Active,
    /// Does not sign for now; still in the JWKS.
    Suspended,
    /// Signs no more; in the JWKS until its last token has expired everywhere.
    Retiring,
    /// Out of the JWKS; kept for the record.
    Retired,
    /// Distrusted: out of the JWKS at once.
    Compromised,
    /// Gone from the token, and proved to be. Terminal.
    Destroyed,
}

text_enum!(KeyState, "pending, published, active, suspended, retiring, retired, compromised, destroyed", {
    Pending => "pending",
    Published => "published",
    Active => "active",
    Suspended => "suspended",
    Retiring => "retiring",
    Retired => "retired",
    Compromised => "compromised",
    Destroyed => "destroyed",
});

impl KeyState {
    /// Whether verifiers see the key in the tenant's JWKS.
    pub const fn in_jwks(self) -> bool {
        matches!(self, Self::Published | Self::Active | Self::Suspended | Self::Retiring)
    }
}

/// What the token said of a key when it was made, with a signature by that key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyEvidence {
    /// A JSON object, kept byte for byte because it is what was signed.
    pub record: String,
    /// The key's own signature over the evidence prefix and `record`. JOSE form (r || s for ECDSA).
    pub signature: Vec<u8>,
}

/// A signing key: its public half, its state and its history.
#[derive(Debug, Clone)]
pub struct SigningKey {
    /// Database key, `kid`, and `CKA_ID` wherever the module lets us choose it.
    pub id: KeyId,
    /// Whose tokens it signs.
    pub tenant_id: TenantId,
    /// What it signs with.
    pub algorithm: SigningAlgorithm,
    /// Modulus size for RSA, else `None`.
    pub rsa_bits: Option<u32>,
    /// Where it is in its life.
    pub state: KeyState,
    /// SubjectPublicKeyInfo in DER; `None` while `pending`.
    pub public_key: Option<Vec<u8>>,
    /// `CKA_ID` as read back from the token, which is not always the one asked for; `None` while `pending`.
    pub cka_id: Option<Vec<u8>>,
    /// Serial number of the token that holds it; `None` while `pending`.
    pub token_serial: Option<String>,
    /// What the token said of it; `None` while `pending`.
    pub evidence: Option<KeyEvidence>,
    /// When the row was written.
    pub created_at: Timestamp,
    /// When it came into the JWKS.
    pub published_at: Option<Timestamp>,
    /// When it began to sign.
    pub activated_at: Option<Timestamp>,
    /// When it ceased to sign.
    pub deactivated_at: Option<Timestamp>,
    /// When its private half was proved to be gone from the token.
    pub private_destroyed_at: Option<Timestamp>,
}

/// How long verifiers may keep a JWKS.
pub const JWKS_MAX_AGE: Duration = Duration::from_mins(10);

/// How long a token is good for.
pub const TOKEN_LIFETIME: Duration = Duration::from_mins(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_round_trip() {
        for state in KeyState::ALL {
            assert_eq!(state.as_str().parse::<KeyState>().as_ref(), Ok(state));
        }
        for algorithm in SigningAlgorithm::ALL {
            assert_eq!(algorithm.as_str().parse::<SigningAlgorithm>().as_ref(), Ok(algorithm));
        }
        assert!("es256".parse::<SigningAlgorithm>().is_err());
    }

    #[test]
    fn only_four_states_are_published() {
        let published: Vec<_> = KeyState::ALL.iter().filter(|s| s.in_jwks()).map(|s| s.as_str()).collect();
        assert_eq!(published, ["published", "active", "suspended", "retiring"]);
    }
}
