//! What attestation statements may lead to, kept in memory: the imported anchors and the FIDO metadata.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use super::Error;
use crate::{
    storage::Store,
    webauthn::{TrustAnchor, TrustStore},
};

/// How often a server looks whether its copy is the newest: how long it may judge by an older one.
pub const TRUST_REFRESH: Duration = Duration::from_secs(5);

/// The trust store as it is now. Cheap to clone; all clones see the same one.
///
/// The database has it for all servers; each keeps a copy, made anew when the database's revision has changed ([`Trust::refresh`]).
#[derive(Clone, Debug, Default)]
pub struct Trust(Arc<RwLock<Snapshot>>);

#[derive(Debug, Default)]
struct Snapshot {
    /// The database's, when this copy was made; none before the first.
    revision: Option<i64>,
    store: Arc<TrustStore>,
}

impl Trust {
    /// The store to judge one ceremony by.
    pub fn current(&self) -> Arc<TrustStore> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner).store)
    }

    /// Makes the copy anew if the database's is another one. Says whether it was.
    ///
    /// # Errors
    /// When the database cannot be read; the old copy stays.
    pub async fn refresh(&self, store: &Store) -> Result<bool, Error> {
        // The revision is read first: what changes after it is seen the next time.
        let revision = store.trust_revision().await?;
        if self.0.read().unwrap_or_else(PoisonError::into_inner).revision == Some(revision) {
            return Ok(false);
        }
        let (metadata, sets) = (store.metadata().await?, store.anchor_sets().await?);
        // Reading some hundred certificates takes long enough to hold others up.
        let made = tokio::task::spawn_blocking(move || {
            let anchors = |ders: Vec<Vec<u8>>| ders.iter().filter_map(|der| TrustAnchor::from_der(der).ok()).collect::<Vec<_>>();
            TrustStore::new(sets.into_iter().map(|(name, ders)| (name.to_string(), anchors(ders))), metadata)
        });
        let made = made.await.map_err(|error| Error::Internal("the trust store could not be made".to_owned(), Some(error.into())))?;
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Snapshot { revision: Some(revision), store: Arc::new(made) };
        Ok(true)
    }
}
