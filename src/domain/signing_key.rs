//! The keys that sign tokens. Only their public halves and their history are ever here.

use serde::{Deserialize, Serialize};

use super::{KeyId, KeyOrigin, KeyPlan, TenantId, Timestamp};

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
    /// Meant to exist (the row precedes the key on the token), or made and not published yet.
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
    /// Whether verifiers see keys of this state in the tenant's JWKS: see [`SigningKey::in_jwks`].
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
    /// How it came to be on the token.
    pub origin: KeyOrigin,
    /// What the scheduler does with it by itself.
    pub plan: KeyPlan,
    /// The earliest instant at which it may sign, fixed when it is published.
    pub usable_from: Option<Timestamp>,
    /// When its successor is due, fixed when it begins to sign.
    pub rotate_from: Option<Timestamp>,
    /// The earliest instant at which it may leave the JWKS, fixed when it ceases to sign.
    pub withdraw_from: Option<Timestamp>,
    /// Until when its rotation can be undone, fixed when it ceases to sign.
    pub keep_private_until: Option<Timestamp>,
    /// When it left the JWKS.
    pub withdrawn_at: Option<Timestamp>,
    /// When the end of its private half was begun: it cannot come back.
    pub destroying_at: Option<Timestamp>,
    /// The key that signed before it.
    pub predecessor: Option<KeyId>,
    /// Of the deployment's count of key changes, when it last changed.
    pub revision: i64,
    /// The same, when it came into the JWKS.
    pub published_revision: i64,
}

impl SigningKey {
    /// A key that is meant to exist: nothing has been asked of the token yet.
    pub fn intent(
        id: KeyId,
        tenant_id: TenantId,
        algorithm: SigningAlgorithm,
        rsa_bits: Option<u32>,
        plan: KeyPlan,
        now: Timestamp,
    ) -> Self {
        Self {
            id,
            tenant_id,
            algorithm,
            rsa_bits,
            state: KeyState::Pending,
            public_key: None,
            cka_id: None,
            token_serial: None,
            evidence: None,
            created_at: now,
            published_at: None,
            activated_at: None,
            deactivated_at: None,
            private_destroyed_at: None,
            origin: KeyOrigin::Generated,
            plan,
            usable_from: None,
            rotate_from: None,
            withdraw_from: None,
            keep_private_until: None,
            withdrawn_at: None,
            destroying_at: None,
            predecessor: None,
            revision: 0,
            published_revision: 0,
        }
    }

    /// Whether verifiers see it in the tenant's JWKS.
    pub const fn in_jwks(&self) -> bool {
        self.state.in_jwks() && self.withdrawn_at.is_none()
    }

    /// Whether its private half should be on the token: it was completed, and nobody has begun to destroy it.
    pub const fn is_expected(&self) -> bool {
        self.cka_id.is_some()
            && self.destroying_at.is_none()
            && self.private_destroyed_at.is_none()
            && !matches!(self.state, KeyState::Destroyed)
    }
}

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
