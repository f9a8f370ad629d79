//! SQLite: a file, one writer and a pool of readers.
//!
//! The journal is a write-ahead log, so readers never wait for the writer; `synchronous=FULL` makes each commit durable; the file is
//! made readable by its owner alone.

use std::{fs, os::unix::fs::OpenOptionsExt, path::Path, str::FromStr, sync::Arc, time::Duration};

use sqlx::{
    ConnectOptions, SqliteConnection, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

use super::{Error, counters::Counters, data_file::DataFile, writer::Writer};

/// How long to wait for another process, such as the command line beside a server, that writes to the same file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// How long to wait for a reader.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);

#[derive(Debug, Clone)]
pub(super) struct Sqlite {
    pub(super) writer: Writer,
    pub(super) readers: SqlitePool,
    file: Arc<DataFile>,
    pub(super) counters: Arc<Counters>,
    options: SqliteConnectOptions,
}

impl Sqlite {
    /// Opens the file that `url` (`sqlite:PATH`) names, which is made if it is not there; its directory is not.
    pub(super) async fn open(url: &str, max_readers: u32) -> Result<Self, Error> {
        let options = SqliteConnectOptions::from_str(url).map_err(|error| Error::Url(error.to_string()))?;
        if url.contains(":memory:") || url.contains("mode=memory") {
            return Err(Error::Url("a database in memory has no readers beside its writer: name a file".to_owned()));
        }
        create_private(options.get_filename())?;
        let options = options
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            // Once it is open, a file that is missing was taken away: an empty one in its place would help nobody.
            .create_if_missing(false)
            .busy_timeout(BUSY_TIMEOUT)
            .optimize_on_close(true, None);
        let counters = Arc::new(Counters::default());
        let file = Arc::new(DataFile::new(options.get_filename().to_path_buf()));
        let writer = Writer::start(options.clone(), Arc::clone(&file), Arc::clone(&counters)).await?;
        // No journal_mode: it is a property of the file, and setting it writes.
        let readers = SqliteConnectOptions::new()
            .filename(options.get_filename())
            .read_only(true)
            .busy_timeout(BUSY_TIMEOUT)
            .pragma("query_only", "ON");
        let pool = SqlitePoolOptions::new()
            .max_connections(max_readers.max(1))
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .idle_timeout(None)
            .max_lifetime(None)
            // A file does not hang up.
            .test_before_acquire(false);
        Ok(Self { writer, readers: pool.connect_lazy_with(readers), file, counters, options })
    }

    /// A connection that reads, unless the file was taken away.
    pub(super) async fn reader(&self) -> Result<sqlx::pool::PoolConnection<sqlx::Sqlite>, Error> {
        self.file.check()?;
        Ok(self.readers.acquire().await?)
    }

    /// A connection of its own that may write, for migrations.
    pub(super) async fn connect(&self) -> Result<SqliteConnection, Error> {
        Ok(self.options.connect().await?)
    }

    pub(super) async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

/// Makes the file, if there is none, readable by its owner alone. SQLite gives its log the same mode.
fn create_private(path: &Path) -> Result<(), Error> {
    match fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(Error::Url(format!("{}: {error}", path.display()))),
    }
}
