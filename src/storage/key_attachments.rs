//! What vendors' tools say of keys.

use super::{Error, Store, unbuilt};
use crate::domain::{AuditEvent, KeyId, Timestamp};

/// A vendor's attestation of a key, as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyAttachment {
    /// The key.
    pub key_id: KeyId,
    /// A name, unique for the key.
    pub name: String,
    /// 1 byte to 1 MiB.
    pub content: Vec<u8>,
    /// When it was added.
    pub added_at: Timestamp,
    /// By whom.
    pub added_by: String,
}

impl Store {
    /// Adds one. [`Error::Conflict`] when the key has one of that name; `false` when there is no such key.
    pub async fn add_key_attachment(&self, attachment: &KeyAttachment, event: &AuditEvent) -> Result<bool, Error> {
        let _ = (attachment, event);
        unbuilt()
    }

    /// Those of a key, by name.
    pub async fn key_attachments(&self, kid: KeyId) -> Result<Vec<KeyAttachment>, Error> {
        let _ = kid;
        unbuilt()
    }
}
