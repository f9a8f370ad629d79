//! The file as values with their places, not yet judged against what they mean.

use std::{ops::Range, path::Path};

use toml::de::{DeTable, DeValue};
use zeroize::Zeroizing;

use super::error::{ConfigError, Place};

/// A value as written.
#[derive(Clone)]
pub(super) enum Raw {
    Text(Zeroizing<String>),
    Integer(i64),
    List(Vec<Raw>),
    Table(Vec<(String, Raw)>),
    /// A kind that no key takes, by its name with an article.
    Other(&'static str),
    /// From the environment, where everything is text: the key decides what it is read as.
    Variable(Zeroizing<String>),
}

impl Raw {
    /// What it is, with an article: never the value, which may be a secret.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) | Self::Variable(_) => "a string",
            Self::Integer(_) => "an integer",
            Self::List(_) => "an array",
            Self::Table(_) => "a table",
            Self::Other(kind) => kind,
        }
    }
}

/// A key at the top of the file: a section when `value` is a table.
pub(super) struct Item {
    pub(super) name: String,
    pub(super) place: Place,
    pub(super) value: ItemValue,
}

/// A section's keys, or a value that stands where only sections may.
pub(super) enum ItemValue {
    Section(Vec<(String, Place, Raw)>),
    Loose,
}

/// Parses `text`, the content of `path`.
///
/// # Errors
/// With the parser's message and place, but without the line itself, which could hold a password.
pub(super) fn parse(path: &Path, text: &str) -> Result<Vec<Item>, ConfigError> {
    let place = |span: Range<usize>| place(path, text, span.start);
    let table = DeTable::parse(text)
        .map_err(|e| ConfigError::one(e.span().map_or_else(|| Place::WholeFile(path.to_path_buf()), place), e.message().trim()))?;
    let mut items: Vec<(usize, Item)> = Vec::new();
    for (name, value) in table.get_ref() {
        let value = match value.get_ref() {
            DeValue::Table(keys) => {
                let mut keys: Vec<_> = keys.iter().map(|(k, v)| (k.span().start, k, v)).collect();
                keys.sort_by_key(|(start, ..)| *start);
                let keys = keys.into_iter().map(|(_, k, v)| (k.get_ref().to_string(), place(k.span()), raw(v.get_ref())));
                ItemValue::Section(keys.collect())
            }
            _ => ItemValue::Loose,
        };
        items.push((name.span().start, Item { name: name.get_ref().to_string(), place: place(name.span()), value }));
    }
    items.sort_by_key(|(start, _)| *start);
    Ok(items.into_iter().map(|(_, item)| item).collect())
}

fn raw(value: &DeValue<'_>) -> Raw {
    match value {
        DeValue::String(s) => Raw::Text(Zeroizing::new(s.to_string())),
        DeValue::Integer(i) => i64::from_str_radix(i.as_str(), i.radix()).map_or(Raw::Other("a number out of range"), Raw::Integer),
        DeValue::Float(_) => Raw::Other("a number with a fraction"),
        DeValue::Boolean(_) => Raw::Other("a boolean"),
        DeValue::Datetime(_) => Raw::Other("a date"),
        DeValue::Array(items) => Raw::List(items.iter().map(|item| raw(item.get_ref())).collect()),
        DeValue::Table(entries) => Raw::Table(entries.iter().map(|(k, v)| (k.get_ref().to_string(), raw(v.get_ref()))).collect()),
    }
}

fn place(path: &Path, text: &str, offset: usize) -> Place {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |i| i + 1);
    let line = before.matches('\n').count() + 1;
    Place::File { path: path.to_path_buf(), line, column: before.get(line_start..).unwrap_or_default().chars().count() + 1 }
}
