//! How often signing keys have changed.

use super::{
    super::{Error, Store, conn::Conn, rows::corrupt},
    notices,
};

struct Row {
    revision: i64,
}

impl Store {
    /// The count of changes of signing keys.
    pub async fn key_revision(&self) -> Result<i64, Error> {
        let row = query!(self.reader().await?, fetch_optional, Row, "SELECT revision FROM key_revision WHERE id = 1")?;
        row.map(|row| row.revision).ok_or_else(missing)
    }
}

/// Counts a change, tells other servers once it is committed, and returns its number. First of all in a unit of work that changes keys: the
/// row's lock makes those who change keys at the same time, on whatever server, do it one after the other, each seeing what the one before
/// left; and nobody sees a change before one with a lower number.
pub(in crate::storage) async fn raise(tx: &mut Conn<'_>) -> Result<i64, Error> {
    let row = query!(tx, fetch_optional, Row, "UPDATE key_revision SET revision = revision + 1 WHERE id = 1 RETURNING revision")?;
    let revision = row.ok_or_else(missing)?.revision;
    notices::tell(tx).await?;
    Ok(revision)
}

fn missing() -> Error {
    corrupt("key_revision", &1, "the row is missing")
}
