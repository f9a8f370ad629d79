//! The deployment's root secret: known only inside running servers.

use std::sync::{Arc, OnceLock};

use openssl::{hash::MessageDigest, pkey::PKey, sign::Signer};
use zeroize::Zeroizing;

use super::Error;

/// The secret, once it is open. Cheap to clone; all clones share it.
#[derive(Clone, Default)]
pub struct RootSecret(Arc<OnceLock<Zeroizing<[u8; 32]>>>);

impl RootSecret {
    /// Takes the secret. The first one stays.
    pub fn set(&self, secret: Zeroizing<[u8; 32]>) {
        let _ = self.0.set(secret);
    }

    /// HMAC-SHA-256 of `message` under the subkey for `purpose`.
    ///
    /// # Errors
    /// [`Error::Unavailable`] until the secret is open.
    pub(super) fn mac(&self, purpose: &str, message: &[u8]) -> Result<[u8; 32], Error> {
        let secret = self.0.get().ok_or(Error::Unavailable("the root secret", None))?;
        let failed = |e: openssl::error::ErrorStack| Error::Internal("a MAC could not be made".to_owned(), Some(e.into()));
        let hmac = |key: &[u8], data: &[u8]| {
            let key = PKey::hmac(key)?;
            let mut mac = [0; 32];
            Signer::new(MessageDigest::sha256(), &key)?.sign_oneshot(&mut mac, data)?;
            Ok(mac)
        };
        let subkey = Zeroizing::new(hmac(&**secret, purpose.as_bytes()).map_err(failed)?);
        hmac(&*subkey, message).map_err(failed)
    }
}

/// Without the secret.
impl std::fmt::Debug for RootSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RootSecret({})", if self.0.get().is_some() { "open" } else { "closed" })
    }
}
