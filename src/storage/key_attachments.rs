//! What vendors' tools say of keys.

use sqlx::types::Uuid;

use super::{Error, Store, audit, conn::Done, rows::text};
use crate::domain::{AuditEvent, KeyId, Timestamp};

/// How many a key can have.
const MAX_ATTACHMENTS: i64 = 16;

/// A vendor's attestation of a key, as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyAttachment {
    /// The key.
    pub key_id: KeyId,
    /// A name, unique for the key: 1 to 200 characters.
    pub name: String,
    /// 1 byte to 1 MiB.
    pub content: Vec<u8>,
    /// When it was added.
    pub added_at: Timestamp,
    /// By whom.
    pub added_by: String,
}

struct AttachmentRow {
    key_id: Uuid,
    name: String,
    content: Vec<u8>,
    added_at: i64,
    added_by: String,
}

struct CountRow {
    count: i64,
}

impl Store {
    /// Adds one. [`Error::Conflict`] when the key has one of that name, or 16 as it is; `false` when there is no such key.
    pub async fn add_key_attachment(&self, attachment: &KeyAttachment, event: &AuditEvent) -> Result<bool, Error> {
        self.write("key_attachment", (attachment.clone(), event.clone()), |tx, (attachment, event)| {
            Box::pin(async move {
                // The key's row is held: attachments of one key come one after another, and are counted right.
                let key = execute!(tx, "UPDATE signing_keys SET revision = revision WHERE id = $1", attachment.key_id.as_uuid())?;
                if key == 0 {
                    return Ok(Done::Undo(false));
                }
                let found = query!(
                    tx,
                    fetch_one,
                    CountRow,
                    r#"SELECT count(*) AS "count!: i64" FROM key_attachments WHERE key_id = $1"#,
                    attachment.key_id.as_uuid()
                )?;
                if found.count >= MAX_ATTACHMENTS {
                    return Err(Error::Conflict);
                }
                execute!(
                    tx,
                    "INSERT INTO key_attachments (key_id, name, content, added_at, added_by) VALUES ($1, $2, $3, $4, $5)",
                    attachment.key_id.as_uuid(),
                    text(&attachment.name),
                    attachment.content.as_slice(),
                    attachment.added_at.as_millis(),
                    text(&attachment.added_by)
                )?;
                audit::insert(tx, event).await?;
                Ok(Done::Keep(true))
            })
        })
        .await
    }

    /// Those of a key, by name.
    pub async fn key_attachments(&self, kid: KeyId) -> Result<Vec<KeyAttachment>, Error> {
        let rows = query!(
            self.reader().await?,
            fetch_all,
            AttachmentRow,
            r#"SELECT key_id AS "key_id: Uuid", name, content, added_at, added_by FROM key_attachments WHERE key_id = $1 ORDER BY name"#,
            kid.as_uuid()
        )?;
        Ok(rows.into_iter().map(KeyAttachment::from).collect())
    }
}

impl From<AttachmentRow> for KeyAttachment {
    fn from(row: AttachmentRow) -> Self {
        Self {
            key_id: KeyId::from_uuid(row.key_id),
            name: row.name,
            content: row.content,
            added_at: Timestamp::from_millis(row.added_at),
            added_by: row.added_by,
        }
    }
}
