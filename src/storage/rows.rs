//! Between rows and domain types.

use std::fmt::Display;

use serde::{Serialize, de::DeserializeOwned};

use super::Error;

/// A row that does not parse: which table, which row, and why. `row` must name no secret.
pub(super) fn corrupt(table: &str, row: &dyn Display, why: impl Display) -> Error {
    Error::Corrupt(format!("{table} {row}: {why}"))
}

/// What turns a failed parse into [`Error::Corrupt`].
pub(super) trait OrCorrupt<T> {
    fn or_corrupt(self, table: &str, row: &dyn Display) -> Result<T, Error>;
}

impl<T, E: Display> OrCorrupt<T> for Result<T, E> {
    fn or_corrupt(self, table: &str, row: &dyn Display) -> Result<T, Error> {
        self.map_err(|why| corrupt(table, row, why))
    }
}

/// JSON out of a text column.
pub(super) fn from_json<T: DeserializeOwned>(text: &str, table: &str, row: &dyn Display) -> Result<T, Error> {
    serde_json::from_str(text).or_corrupt(table, row)
}

/// JSON for a text column.
pub(super) fn to_json(value: &impl Serialize, table: &str, row: &dyn Display) -> Result<String, Error> {
    serde_json::to_string(value).or_corrupt(table, row)
}

/// A text for people, as both databases can keep it: PostgreSQL has no NUL character, so U+FFFD stands in for it.
pub(super) fn text(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}
