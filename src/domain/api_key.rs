//! API keys: what an application's backend proves itself with.

use std::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::URL_SAFE};
use openssl::sha::sha256;
use zeroize::{Zeroize, Zeroizing};

use super::{ApiKeyId, Rng, TenantId, Timestamp};

/// Not 64 bytes of padded base64url. Says nothing of the text, which may be a secret mistyped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an API key is 64 bytes in padded base64url")]
pub struct ApiKeyError;

/// 64 random bytes, written as padded base64url (88 characters). Shown once, stored as a hash.
pub struct ApiKey(Zeroizing<[u8; 64]>);

impl ApiKey {
    /// A fresh key.
    pub fn random(rng: &dyn Rng) -> Self {
        let mut bytes = Zeroizing::new([0; 64]);
        rng.fill(bytes.as_mut_slice());
        Self(bytes)
    }

    /// What is stored and looked up. A plain hash suffices: the key has 512 random bits, nobody can guess at it.
    pub fn hash(&self) -> ApiKeyHash {
        ApiKeyHash(sha256(self.0.as_slice()))
    }

    /// The key as the client sends it.
    pub fn expose(&self) -> Zeroizing<String> {
        Zeroizing::new(URL_SAFE.encode(self.0.as_slice()))
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(..)")
    }
}

/// Surrounding white space is dropped, as the open-source passkey-server does.
impl FromStr for ApiKey {
    type Err = ApiKeyError;

    fn from_str(s: &str) -> Result<Self, ApiKeyError> {
        let mut decoded = Zeroizing::new([0u8; 66]);
        let written = URL_SAFE.decode_slice(s.trim(), decoded.as_mut_slice()).map_err(|_| ApiKeyError)?;
        let bytes: &[u8; 64] = decoded.get(..written).and_then(|b| b.try_into().ok()).ok_or(ApiKeyError)?;
        Ok(Self(Zeroizing::new(*bytes)))
    }
}

/// SHA-256 of an API key's 64 bytes.
#[derive(Clone, Eq)]
pub struct ApiKeyHash([u8; 32]);

impl ApiKeyHash {
    /// From the stored bytes; `None` unless there are 32.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// The hash, for storage.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// In constant time: how far two hashes agree is nobody's to learn.
impl PartialEq for ApiKeyHash {
    fn eq(&self, other: &Self) -> bool {
        openssl::memcmp::eq(&self.0, &other.0)
    }
}

impl fmt::Debug for ApiKeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKeyHash(..)")
    }
}

impl Drop for ApiKeyHash {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// A stored API key, without its secret.
#[derive(Debug, Clone)]
pub struct ApiKeyRecord {
    /// Its row.
    pub id: ApiKeyId,
    /// Whose it is.
    pub tenant_id: TenantId,
    /// A name for people, unique in the tenant.
    pub name: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was revoked, if it was. A revoked key opens nothing; its row stays for the record.
    pub revoked_at: Option<Timestamp>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::SystemRng;

    #[test]
    fn round_trip_and_shape() {
        let key = ApiKey::random(&SystemRng);
        let text = key.expose();
        assert_eq!(text.len(), 88);
        assert!(text.ends_with("=="));
        let parsed: ApiKey = format!(" {} ", text.as_str()).parse().unwrap();
        assert_eq!(parsed.hash(), key.hash());
        assert_eq!(format!("{key:?} {:?}", key.hash()), "ApiKey(..) ApiKeyHash(..)");
    }

    #[test]
    fn refuses_other_lengths_and_alphabets() {
        let good = ApiKey::random(&SystemRng).expose();
        for bad in ["", "abc", &good[..86], &format!("{}AAAA", good.as_str()), &"+".repeat(88)] {
            assert!(bad.parse::<ApiKey>().is_err(), "{bad}");
        }
    }
}
