//! The FIDO metadata BLOB in use.

use sqlx::types::Uuid;

use super::{
    Error, Store,
    conn::{Conn, Done},
    rows::{OrCorrupt, corrupt, from_json, to_json},
    trust_revision,
};
use crate::domain::{Aaguid, MetadataBlob, MetadataEntry, MetadataHead, Timestamp};

const BLOB: &str = "metadata_blob";
const ENTRIES: &str = "metadata_entries";

/// What came of an import.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetadataUpdate {
    /// The BLOB is the one in use now.
    Stored,
    /// The one in use is as new or newer. Nothing was written.
    NotNewer {
        /// Its serial number.
        stored_no: u64,
    },
}

/// The BLOB as a whole with one of its entries; a BLOB without entries has a row all the same.
struct MetadataRow {
    no: i64,
    next_update: i64,
    imported_at: i64,
    position: Option<i64>,
    aaguid: Option<Uuid>,
    entry: Option<String>,
}

struct NumberRow {
    no: i64,
}

impl Store {
    /// Puts a BLOB in the place of the one in use, whole, provided that its number is higher: whoever imports an older one, or imports at
    /// the same time on another server, does not take anybody's revocations back. The same number will do where what is stored cannot be
    /// read any more, since no server starts before that is mended.
    pub async fn replace_metadata(&self, blob: &MetadataBlob) -> Result<MetadataUpdate, Error> {
        self.write("metadata", blob.clone(), |tx, blob| {
            Box::pin(async move {
                trust_revision::bump(tx).await?;
                if !set_head(tx, &blob.head).await? {
                    let stored_no = stored_no(tx).await?;
                    let is_damaged = stored_no == blob.head.no && matches!(read(tx).await, Err(Error::Corrupt(_)));
                    if !is_damaged {
                        return Ok(Done::Undo(MetadataUpdate::NotNewer { stored_no }));
                    }
                }
                execute!(tx, "DELETE FROM metadata_entries")?;
                insert_entries(tx, &blob.entries).await?;
                Ok(Done::Keep(MetadataUpdate::Stored))
            })
        })
        .await
    }

    /// The BLOB in use, its entries in its order; `None` where none was imported.
    pub async fn metadata(&self) -> Result<Option<(MetadataHead, Vec<MetadataEntry>)>, Error> {
        read(&mut self.reader().await?.borrow()).await
    }
}

async fn read(conn: &mut Conn<'_>) -> Result<Option<(MetadataHead, Vec<MetadataEntry>)>, Error> {
    // One statement: the entries are those of this head, whoever imports meanwhile.
    let rows = query!(
        conn,
        fetch_all,
        MetadataRow,
        r#"SELECT b.no, b.next_update, b.imported_at, e.position AS "position?", e.aaguid AS "aaguid?: Uuid", e.entry AS "entry?"
            FROM metadata_blob b LEFT JOIN metadata_entries e ON 1 = 1 ORDER BY e.position"#
    )?;
    let Some(first) = rows.first() else { return Ok(None) };
    let head = MetadataHead {
        no: first.no.try_into().or_corrupt(BLOB, &first.no)?,
        next_update: Timestamp::from_millis(first.next_update),
        imported_at: Timestamp::from_millis(first.imported_at),
    };
    let entries = rows.into_iter().filter_map(|row| row.into_entry().transpose());
    Ok(Some((head, entries.collect::<Result<_, _>>()?)))
}

/// `false` when the head that is there has a number as high.
async fn set_head(tx: &mut Conn<'_>, head: &MetadataHead) -> Result<bool, Error> {
    let set = execute!(
        tx,
        "INSERT INTO metadata_blob (id, no, next_update, imported_at) VALUES (1, $1, $2, $3)
        ON CONFLICT (id) DO UPDATE
        SET no = excluded.no, next_update = excluded.next_update, imported_at = excluded.imported_at
        WHERE metadata_blob.no < excluded.no",
        number(head.no)?,
        head.next_update.as_millis(),
        head.imported_at.as_millis()
    )?;
    Ok(set == 1)
}

fn number(no: u64) -> Result<i64, Error> {
    no.try_into().or_corrupt(BLOB, &no)
}

async fn stored_no(tx: &mut Conn<'_>) -> Result<u64, Error> {
    let row = query!(tx, fetch_one, NumberRow, "SELECT no FROM metadata_blob WHERE id = 1")?;
    row.no.try_into().or_corrupt(BLOB, &row.no)
}

async fn insert_entries(tx: &mut Conn<'_>, entries: &[MetadataEntry]) -> Result<(), Error> {
    match tx {
        #[cfg(feature = "sqlite")]
        Conn::Sqlite(conn) => sqlite::one_by_one(conn, entries).await,
        #[cfg(feature = "postgres")]
        Conn::Postgres(conn) => postgres::at_once(conn, entries).await,
    }
}

/// An entry as its row has it: its AAGUID, and the whole of it in JSON.
fn columns(entry: &MetadataEntry) -> Result<(Option<Uuid>, String), Error> {
    Ok((entry.aaguid.map(Aaguid::as_uuid), to_json(entry, ENTRIES, &entry.description)?))
}

#[cfg(feature = "sqlite")]
mod sqlite {
    use sqlx::SqliteConnection;

    use super::{Error, MetadataEntry, columns};
    use crate::storage::conn::bounded;

    pub(super) async fn one_by_one(conn: &mut SqliteConnection, entries: &[MetadataEntry]) -> Result<(), Error> {
        for (position, entry) in (0_i64..).zip(entries) {
            let (aaguid, json) = columns(entry)?;
            let insert = sqlx::query!(
                "INSERT INTO metadata_entries (position, aaguid, entry) VALUES ($1, $2, $3) -- sqlite",
                position,
                aaguid,
                json
            );
            bounded(insert.execute(&mut *conn)).await?;
        }
        Ok(())
    }
}

#[cfg(feature = "postgres")]
mod postgres {
    //! A statement of PostgreSQL's own: one round trip for a thousand entries, because the row lock of an import is held meanwhile.

    use sqlx::{PgConnection, types::Uuid};

    use super::{Error, MetadataEntry, columns};
    use crate::storage::conn::bounded;

    pub(super) async fn at_once(conn: &mut PgConnection, entries: &[MetadataEntry]) -> Result<(), Error> {
        let (aaguids, jsons): (Vec<Option<Uuid>>, Vec<String>) = entries.iter().map(columns).collect::<Result<_, _>>()?;
        let insert = sqlx::query!(
            "INSERT INTO metadata_entries (position, aaguid, entry)
            SELECT position - 1, aaguid, entry
            FROM UNNEST(CAST($1 AS uuid[]), CAST($2 AS text[])) WITH ORDINALITY AS given (aaguid, entry, position)",
            &aaguids as &[Option<Uuid>],
            &jsons
        );
        bounded(insert.execute(conn)).await?;
        Ok(())
    }
}

impl MetadataRow {
    fn into_entry(self) -> Result<Option<MetadataEntry>, Error> {
        let (Some(position), Some(entry)) = (self.position, self.entry) else { return Ok(None) };
        let entry: MetadataEntry = from_json(&entry, ENTRIES, &position)?;
        if entry.aaguid.map(Aaguid::as_uuid) == self.aaguid {
            Ok(Some(entry))
        } else {
            Err(corrupt(ENTRIES, &position, "the AAGUID is not that of the entry"))
        }
    }
}
