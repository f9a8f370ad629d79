//! What attestation statements may lead to, kept in memory: the imported anchors and the FIDO metadata.

use std::sync::{Arc, PoisonError, RwLock};

use crate::webauthn::TrustStore;

/// The trust store as it is now. Cheap to clone; all clones see the same one.
#[derive(Clone, Debug, Default)]
pub struct Trust(Arc<RwLock<Arc<TrustStore>>>);

impl Trust {
    /// The store to judge one ceremony by.
    pub fn current(&self) -> Arc<TrustStore> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}
