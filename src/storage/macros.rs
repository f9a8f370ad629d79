//! The two macros by which each SQL statement is written once and checked at compile time on both engines.
//!
//! Each expands to one `sqlx::query!` per engine. The descriptions in `.sqlx/` are found by the SQL's text alone, so SQLite's copy ends
//! with a comment of its own. Placeholders are `$1`, `$2`; a cast is `CAST(x AS y)`, because `::` means something else to SQLite; a column
//! whose type is not the engine's plain one says so, as in `id AS "id: Uuid"`.

/// Runs a statement: `execute!(conn, "SQL", args..)` is `Result<u64, Error>`, the number of rows it changed.
macro_rules! execute {
    ($conn:expr, $sql:literal $(+ $more:literal)* $(, $arg:expr)* $(,)?) => {
        match $conn.borrow() {
            #[cfg(feature = "sqlite")]
            $crate::storage::conn::Conn::Sqlite(c) => {
                let run = sqlx::query!($sql $(+ $more)* + " -- sqlite" $(, $arg)*).execute(c);
                $crate::storage::conn::bounded(run).await.map(|done| done.rows_affected())
            }
            #[cfg(feature = "postgres")]
            $crate::storage::conn::Conn::Postgres(c) => {
                let run = sqlx::query!($sql $(+ $more)* $(, $arg)*).execute(c);
                $crate::storage::conn::bounded(run).await.map(|done| done.rows_affected())
            }
        }
    };
}

/// Reads rows: `query!(conn, fetch_optional, Row, "SQL", args..)` is `Result` of what that method of sqlx gives.
macro_rules! query {
    ($conn:expr, $fetch:ident, $row:ty, $sql:literal $(+ $more:literal)* $(, $arg:expr)* $(,)?) => {
        match $conn.borrow() {
            #[cfg(feature = "sqlite")]
            $crate::storage::conn::Conn::Sqlite(c) => {
                $crate::storage::conn::bounded(sqlx::query_as!($row, $sql $(+ $more)* + " -- sqlite" $(, $arg)*).$fetch(c)).await
            }
            #[cfg(feature = "postgres")]
            $crate::storage::conn::Conn::Postgres(c) => {
                $crate::storage::conn::bounded(sqlx::query_as!($row, $sql $(+ $more)* $(, $arg)*).$fetch(c)).await
            }
        }
    };
}
