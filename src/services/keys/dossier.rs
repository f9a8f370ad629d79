//! What is known of a key's birth and life.

use super::{By, Error, KeyDossier, Keys};
use crate::{
    domain::{AuditEventType, KeyId},
    storage::{self, KeyAttachment},
};

/// The most events that a dossier has: far more than a life consists of, unless somebody suspends and resumes a key for days.
const MAX_EVENTS: u32 = 1000;

impl Keys {
    /// What is known of a key's birth and life.
    pub async fn dossier(&self, kid: KeyId) -> Result<KeyDossier, Error> {
        let key = self.get(kid).await?;
        let attachments = self.context.store.key_attachments(kid).await?;
        let history = self.context.store.audit_events_of_key(key.tenant_id, kid, MAX_EVENTS).await?;
        Ok(KeyDossier { key, attachments, history })
    }

    /// Adds what a vendor's tool says of a key.
    ///
    /// # Errors
    /// [`Error::Conflict`] when the key has an attachment of that name; [`Error::Invalid`] for one that is empty or larger than 1 MiB.
    pub async fn attach(&self, kid: KeyId, name: &str, content: Vec<u8>, by: &By) -> Result<(), Error> {
        let key = self.get(kid).await?;
        if !(1..=200).contains(&name.chars().count()) || name.chars().any(char::is_control) {
            return Err(Error::Invalid("an attachment's name has 1 to 200 characters, and no control characters".to_owned()));
        }
        if !(1..=1 << 20).contains(&content.len()) {
            return Err(Error::Invalid(format!("an attachment has 1 byte to 1 MiB, not {} bytes", content.len())));
        }
        let event = self.event(&key, AuditEventType::SigningKeyAttached, by);
        let (added_at, added_by) = (event.created_at, by.actor.to_string());
        let attachment = KeyAttachment { key_id: kid, name: name.to_owned(), content, added_at, added_by };
        match self.context.store.add_key_attachment(&attachment, &event).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(Error::KeyNotFound(kid)),
            Err(storage::Error::Conflict) => Err(Error::Conflict(format!("key {kid} has an attachment named {name}"))),
            Err(error) => Err(error.into()),
        }
    }
}
