//! The deployment's root secret: 32 random bytes known only inside running servers. Stored are envelopes of it, one a token.

mod derivation;
mod envelope;

use std::{
    collections::{BTreeMap, btree_map::Entry},
    fmt,
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use openssl::{error::ErrorStack, hash::MessageDigest, pkey::PKey, sign::Signer};
use zeroize::Zeroizing;

use self::{
    derivation::{fingerprint, subkey},
    envelope::{open_envelope, seal},
};
use super::{Context, Error};
use crate::{
    domain::Rng,
    hsm::{self, ROOT_KEY},
    storage::{self, RootEnvelope, RootFingerprint, StoredRootSecret},
};

/// The secret's bytes.
type Secret = Zeroizing<[u8; 32]>;

/// The secret, once it is open. Cheap to clone; all clones share it.
#[derive(Clone, Default)]
pub struct RootSecret(Arc<RwLock<Option<Arc<Open>>>>);

/// An open secret.
struct Open {
    secret: Secret,
    fingerprint: RootFingerprint,
    /// Derived once for each purpose, of which there are a few.
    subkeys: Mutex<BTreeMap<&'static str, Zeroizing<[u8; 32]>>>,
}

/// Why the root secret is not open.
#[derive(Debug, thiserror::Error)]
pub enum RootSecretError {
    /// The token was never one of this deployment's, or was initialised again.
    #[error("the token with serial {0} has no envelope of the root secret")]
    NoEnvelope(String),
    /// The token has lost the key that opens its envelope, or has it and signs otherwise.
    #[error("the token with serial {0} does not open its envelope of the root secret: it was initialised again, or lost its root key")]
    DoesNotOpen(String),
    /// The stored secret is not the one that was opened.
    #[error("the database has another root secret: it was replaced meanwhile, or is another deployment's")]
    Replaced,
    /// The token cannot be asked.
    #[error("the token cannot be asked to open the root secret")]
    Hsm(#[from] hsm::Error),
    /// The database cannot be asked, or keeps something else than envelopes.
    #[error("the root secret's envelope cannot be read or written")]
    Storage(#[from] storage::Error),
    /// A fault of ours, or of OpenSSL.
    #[error("the root secret cannot be wrapped")]
    Crypto(#[from] ErrorStack),
}

impl From<RootSecretError> for Error {
    fn from(error: RootSecretError) -> Self {
        Self::Unavailable("the root secret", Some(error.into()))
    }
}

/// What a token and the database say of the root secret, nothing changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RootSecretState {
    /// There is none: the first start of a server makes it.
    NotMade,
    /// The token with this serial number opens it.
    Opens(String),
}

impl RootSecret {
    /// Takes a secret in the place of the one that it has.
    #[cfg(test)]
    pub(super) fn set(&self, secret: Zeroizing<[u8; 32]>) {
        self.put(Some(Open::new(secret).unwrap()));
    }

    /// Whether it is open.
    pub fn is_open(&self) -> bool {
        self.get().is_some()
    }

    /// Opens the secret with the token's envelope; makes the secret where the deployment has none.
    ///
    /// # Errors
    /// [`RootSecretError::NoEnvelope`] and [`RootSecretError::DoesNotOpen`] are for an operator; after the others try again.
    pub async fn open(&self, context: &Context) -> Result<(), RootSecretError> {
        let serial = token_serial(context)?;
        let opened = if let Some(stored) = context.store.root_secret(&serial).await? {
            open_stored(context, &serial, stored).await?
        } else if let Some(created) = create(context).await? {
            created
        } else {
            // Another server was faster: what it made is everybody's.
            let stored = context.store.root_secret(&serial).await?.ok_or(RootSecretError::Replaced)?;
            open_stored(context, &serial, stored).await?
        };
        self.put(Some(opened));
        Ok(())
    }

    /// Opens the secret if it is not open, or not the deployment's any more. Says whether it did. One that was replaced is closed whether or
    /// not the new one opens: whoever replaced it wants it to be gone.
    pub async fn follow(&self, context: &Context) -> Result<bool, RootSecretError> {
        let stored = context.store.root_secret_fingerprint().await?;
        if let Some(open) = self.get() {
            if Some(open.fingerprint) == stored {
                return Ok(false);
            }
            self.put(None);
        }
        self.open(context).await?;
        Ok(true)
    }

    /// Whether the token opens the stored secret. Changes nothing, in the database or on the token.
    pub async fn check(context: &Context) -> Result<RootSecretState, RootSecretError> {
        let serial = token_serial(context)?;
        let Some(stored) = context.store.root_secret(&serial).await? else { return Ok(RootSecretState::NotMade) };
        open_stored(context, &serial, stored).await?;
        Ok(RootSecretState::Opens(serial))
    }

    /// Adds an envelope for the token of `context`, whatever it had before. Needs the secret to be open. Returns the token's serial number.
    pub async fn rewrap(&self, context: &Context) -> Result<String, RootSecretError> {
        let open = self.get().ok_or(RootSecretError::Replaced)?;
        let envelope = seal_for_token(context, &open.secret).await?;
        if !context.store.add_root_envelope(open.fingerprint, &envelope).await? {
            return Err(RootSecretError::Replaced);
        }
        Ok(envelope.token_serial)
    }

    /// Puts a new secret in the place of the deployment's, with an envelope for the token of `context` alone. Running servers follow. Returns
    /// the token's serial number.
    pub async fn replace(&self, context: &Context) -> Result<String, RootSecretError> {
        let Some(old) = context.store.root_secret_fingerprint().await? else {
            self.open(context).await?;
            return token_serial(context);
        };
        let open = Open::random(&*context.rng)?;
        let envelope = seal_for_token(context, &open.secret).await?;
        if !context.store.replace_root_secret(old, open.fingerprint, &envelope).await? {
            return Err(RootSecretError::Replaced);
        }
        self.put(Some(open));
        Ok(envelope.token_serial)
    }

    /// HMAC-SHA-256 of `message` under the subkey for `purpose`.
    ///
    /// # Errors
    /// [`Error::Unavailable`] until the secret is open.
    pub(super) fn mac(&self, purpose: &'static str, message: &[u8]) -> Result<[u8; 32], Error> {
        let open = self.get().ok_or(Error::Unavailable("the root secret", None))?;
        let failed = |e: ErrorStack| Error::Internal("a MAC could not be made".to_owned(), Some(e.into()));
        open.mac(purpose, message).map_err(failed)
    }

    fn get(&self) -> Option<Arc<Open>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn put(&self, open: Option<Open>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = open.map(Arc::new);
    }
}

impl Open {
    fn new(secret: Secret) -> Result<Self, ErrorStack> {
        Ok(Self { fingerprint: fingerprint(&secret)?, secret, subkeys: Mutex::default() })
    }

    fn random(rng: &dyn Rng) -> Result<Self, ErrorStack> {
        let mut secret = Secret::default();
        rng.fill(secret.as_mut_slice());
        Self::new(secret)
    }

    fn mac(&self, purpose: &'static str, message: &[u8]) -> Result<[u8; 32], ErrorStack> {
        let key = {
            let mut subkeys = self.subkeys.lock().unwrap_or_else(PoisonError::into_inner);
            let key = match subkeys.entry(purpose) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(place) => place.insert(subkey(&self.secret, purpose)?),
            };
            PKey::hmac(key.as_slice())?
        };
        let mut mac = [0; 32];
        Signer::new(MessageDigest::sha256(), &key)?.sign_oneshot(&mut mac, message)?;
        Ok(mac)
    }
}

/// The serial number of the token that the signer processes have opened.
fn token_serial(context: &Context) -> Result<String, RootSecretError> {
    let token = context.signer.status().token.ok_or(hsm::Error::Unavailable)?;
    Ok(token.serial)
}

async fn open_stored(context: &Context, serial: &str, stored: StoredRootSecret) -> Result<Open, RootSecretError> {
    let sealed = stored.envelope.ok_or_else(|| RootSecretError::NoEnvelope(serial.to_owned()))?;
    let does_not_open = || RootSecretError::DoesNotOpen(serial.to_owned());
    let unlocked = match context.signer.unlock(Some(&sealed.public_key)).await {
        Err(hsm::Error::KeyNotFound(ROOT_KEY)) => return Err(does_not_open()),
        other => other?,
    };
    let secret = open_envelope(&sealed, &unlocked)?.ok_or_else(does_not_open)?;
    let open = Open::new(secret)?;
    // Genuine, and still not the deployment's: a row of another time, from a backup that was restored by half.
    if open.fingerprint == stored.fingerprint { Ok(open) } else { Err(does_not_open()) }
}

/// The first secret; `None` when there is one by now.
async fn create(context: &Context) -> Result<Option<Open>, RootSecretError> {
    let open = Open::random(&*context.rng)?;
    let envelope = seal_for_token(context, &open.secret).await?;
    Ok(context.store.create_root_secret(open.fingerprint, &envelope).await?.then_some(open))
}

async fn seal_for_token(context: &Context, secret: &Secret) -> Result<RootEnvelope, RootSecretError> {
    let unlocked = context.signer.unlock(None).await?;
    Ok(seal(secret, &unlocked, &*context.rng, context.clock.now())?)
}

/// Without the secret.
impl fmt::Debug for RootSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RootSecret({})", if self.is_open() { "open" } else { "closed" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(byte: u8) -> RootSecret {
        let root = RootSecret::default();
        root.set(Zeroizing::new([byte; 32]));
        root
    }

    #[test]
    fn nothing_is_made_until_it_is_open() {
        let closed = RootSecret::default();
        assert!(matches!(closed.mac("p", b"m"), Err(Error::Unavailable("the root secret", None))));
        assert_eq!((format!("{closed:?}"), format!("{:?}", secret(7))), ("RootSecret(closed)".into(), "RootSecret(open)".into()));
    }

    #[test]
    fn secret_purpose_and_message_each_make_another_mac() {
        let one = secret(1);
        let mac = one.mac("p", b"m").unwrap();
        assert_eq!(mac, secret(1).mac("p", b"m").unwrap(), "another process comes to the same");
        assert_eq!(mac, one.mac("p", b"m").unwrap(), "and so does the kept subkey");
        for other in [one.mac("q", b"m"), one.mac("p", b"n"), one.mac("pm", b""), secret(2).mac("p", b"m")] {
            assert_ne!(mac, other.unwrap());
        }
        one.set(Zeroizing::new([2; 32]));
        assert_eq!(one.mac("p", b"m").unwrap(), secret(2).mac("p", b"m").unwrap(), "no subkey outlives its secret");
    }
}
