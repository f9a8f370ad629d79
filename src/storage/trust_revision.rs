//! How often what statements may lead to has changed.

use super::{Error, Store, conn::Conn, rows::corrupt};

const TABLE: &str = "trust_revision";

struct RevisionRow {
    revision: i64,
}

impl Store {
    /// The number of changes of the metadata and of the sets of anchors so far: a replica that finds another one than before reads both
    /// again. Ask before reading them: what changes in between is then read once more, not missed.
    pub async fn trust_revision(&self) -> Result<i64, Error> {
        let row = query!(self.reader().await?, fetch_optional, RevisionRow, "SELECT revision FROM trust_revision WHERE id = 1")?;
        row.map(|row| row.revision).ok_or_else(missing)
    }
}

/// Counts a change, first of all in its unit of work: the row's lock makes those who change something at the same time, on whatever
/// server, do it one after the other, each seeing what the one before left.
pub(super) async fn bump(tx: &mut Conn<'_>) -> Result<(), Error> {
    let updated = execute!(tx, "UPDATE trust_revision SET revision = revision + 1 WHERE id = 1")?;
    if updated == 1 { Ok(()) } else { Err(missing()) }
}

fn missing() -> Error {
    corrupt(TABLE, &1, "the row is missing")
}
