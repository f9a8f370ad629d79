//! What can go wrong with a database, named by what the caller can do about it.

use std::{fmt, sync::Arc};

/// A storage operation that failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The database cannot be used now: no connection, no room, or a conflict that several tries did not get past. Nothing was done.
    #[error("the database is not available: {0}")]
    Unavailable(#[source] Fault),
    /// The reply to a commit was lost. Read again on another connection ([`super::Store::audit_event`]) before saying either.
    #[error("whether the database committed is not known: {0}")]
    OutcomeUnknown(#[source] Fault),
    /// A name or an id is taken already. Nothing was done.
    #[error("taken already")]
    Conflict,
    /// A stored row is not what this program writes: the table, the row and why.
    #[error("the database holds a row that cannot be read: {0}")]
    Corrupt(String),
    /// The database was migrated by a newer version of this program, to the version given.
    #[error("the database has migration {0}, which this version of the program does not know: run the newer version")]
    NewerDatabase(i64),
    /// The database's address cannot be used, for the reason given. The address, which can hold a password, is not repeated.
    #[error("the database URL cannot be used: {0}")]
    Url(String),
    /// The database refused something that this program should not have asked. Nothing was done.
    #[error("the database failed: {0}")]
    Database(#[source] Fault),
}

/// The driver's error. Its `Debug` is its `Display`: what the driver keeps beside it quotes rows, and rows hold challenges and hashes.
#[derive(Clone)]
pub struct Fault(Arc<sqlx::Error>);

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fault({})", self.0)
    }
}

impl std::error::Error for Fault {}

impl From<sqlx::Error> for Fault {
    fn from(error: sqlx::Error) -> Self {
        Self(Arc::new(error))
    }
}

/// What the database itself called its error.
enum Code {
    /// PostgreSQL: SQLSTATE (its manual, appendix A).
    State(String),
    /// SQLite: the primary result code (<https://sqlite.org/rescode.html>).
    Result(u32),
    /// Not an error of the database, but of the way to it.
    None,
}

impl Fault {
    /// A statement or a connection that took longer than it may.
    pub(super) fn timeout() -> Self {
        sqlx::Error::Io(std::io::ErrorKind::TimedOut.into()).into()
    }

    /// The part of this program that talks to the database is gone.
    pub(super) fn stopped() -> Self {
        sqlx::Error::WorkerCrashed.into()
    }

    /// Whether the same work is likely to succeed at once: a lost connection, a serialization failure, a deadlock. Says nothing of
    /// what was done: only for work whose commit was not asked for.
    #[cfg(feature = "postgres")]
    pub(super) fn is_transient(&self) -> bool {
        match (&*self.0, code(&self.0)) {
            (sqlx::Error::Io(error), _) => error.kind() != std::io::ErrorKind::TimedOut,
            (_, Code::State(state)) => matches!(state.as_str(), "40001" | "40P01" | "57P01" | "57P02" | "08006"),
            _ => false,
        }
    }

    /// Whether the connection lives: the database answered, and not that it hangs up.
    #[cfg(feature = "postgres")]
    pub(super) fn leaves_connection(&self) -> bool {
        matches!(code(&self.0), Code::State(state) if !state.starts_with("08") && !state.starts_with("57P"))
    }

    /// Whether the database cannot be used now, as opposed to: was asked something wrong.
    fn is_unavailable(&self) -> bool {
        match (&*self.0, code(&self.0)) {
            // Connection, rollback (several tries did not get past it), resources, operator intervention and timeouts, system.
            (_, Code::State(state)) => ["08", "40", "53", "55P03", "57", "58"].iter().any(|class| state.starts_with(class)),
            // Busy, locked, out of memory, read-only, I/O, full, cannot open.
            (_, Code::Result(code)) => matches!(code, 5 | 6 | 7 | 8 | 10 | 13 | 14),
            (error, Code::None) => matches!(
                error,
                sqlx::Error::Io(_)
                    | sqlx::Error::Tls(_)
                    | sqlx::Error::PoolTimedOut
                    | sqlx::Error::PoolClosed
                    | sqlx::Error::WorkerCrashed
                    | sqlx::Error::BeginFailed
            ),
        }
    }
}

/// Whether a failed commit is certain to have done nothing: the database itself said so, on a connection that lived.
fn proves_rollback(error: &sqlx::Error) -> bool {
    match code(error) {
        Code::State(state) => !(state.starts_with("08") || state.starts_with("57P") || state == "40003"),
        // Busy, locked, out of memory, read-only, full, constraint. Not an I/O error: the commit record may have reached the disk.
        Code::Result(code) => matches!(code, 5 | 6 | 7 | 8 | 13 | 19),
        Code::None => false,
    }
}

fn code(error: &sqlx::Error) -> Code {
    match error.as_database_error().and_then(sqlx::error::DatabaseError::code) {
        Some(code) if code.len() == 5 => Code::State(code.into_owned()),
        // The low byte of an extended result code is the primary one.
        Some(code) => code.parse::<u32>().map_or(Code::None, |code| Code::Result(code & 0xff)),
        None => Code::None,
    }
}

/// For a statement or a transaction whose commit was not asked for: whatever happened, nothing was done.
impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        if error.as_database_error().is_some_and(sqlx::error::DatabaseError::is_unique_violation) {
            return Self::Conflict;
        }
        if let sqlx::Error::ColumnDecode { index, source } = &error {
            return Self::Corrupt(format!("column {index}: {source}"));
        }
        let fault = Fault::from(error);
        if fault.is_unavailable() { Self::Unavailable(fault) } else { Self::Database(fault) }
    }
}

impl Error {
    /// For a commit, or a statement that commits by itself.
    pub(super) fn of_commit(error: sqlx::Error) -> Self {
        if proves_rollback(&error) { Self::from(error) } else { Self::OutcomeUnknown(error.into()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_connection_is_unavailable_before_a_commit_and_unknown_after() {
        let lost = || sqlx::Error::Io(std::io::ErrorKind::ConnectionReset.into());
        assert!(matches!(Error::from(lost()), Error::Unavailable(_)));
        assert!(matches!(Error::of_commit(lost()), Error::OutcomeUnknown(_)));
        assert!(matches!(Error::of_commit(sqlx::Error::WorkerCrashed), Error::OutcomeUnknown(_)));
    }

    #[test]
    fn what_cannot_be_decoded_is_corrupt() {
        let error = sqlx::Error::ColumnDecode { index: "id".to_owned(), source: "16 bytes expected".into() };
        assert_eq!(Error::from(error).to_string(), "the database holds a row that cannot be read: column id: 16 bytes expected");
    }
}
