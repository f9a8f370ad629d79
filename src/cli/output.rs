//! What commands print: tables for people, JSON for scripts.

use std::{
    borrow::Cow,
    fmt::Write as _,
    io::{self, Write as _},
};

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;
use serde_json::Value;

use super::failure::Failure;

/// Standard output in the form that was asked for.
#[derive(Debug)]
pub(super) struct Output {
    json: bool,
}

impl Output {
    pub(super) fn new(json: bool) -> Self {
        Self { json }
    }

    pub(super) fn is_json(&self) -> bool {
        self.json
    }

    /// Prints `value` as JSON, or what `human` makes of it.
    pub(super) fn show<T: Serialize + ?Sized>(&self, value: &T, human: impl FnOnce(&T) -> String) -> Result<(), Failure> {
        let text = if self.json { serde_json::to_string_pretty(value)? } else { human(value) };
        line(&text)
    }

    /// Prints why the command was not carried out, where JSON was asked for.
    pub(super) fn refusal(&self, text: &str) {
        if self.json {
            let _ = line(&serde_json::json!({ "error": text.trim_end() }).to_string());
        }
    }

    /// Prints why the command failed to standard error; as JSON on standard output too where that was asked for.
    pub(super) fn failure(&self, failure: &Failure) {
        self.refusal(&failure.to_string());
        warn(&failure.to_string());
    }
}

/// Says something to standard error that is not what was asked for.
pub(super) fn warn(text: &str) {
    let _ = writeln!(io::stderr(), "passkey-hsm: {}", plain(text));
}

/// Without characters that a terminal would obey: user ids, evidence and certificates come from elsewhere. The form is JSON's, so that a text
/// of JSON stays the same JSON.
pub(super) fn plain(text: &str) -> Cow<'_, str> {
    let obeyed = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
    if !text.contains(obeyed) {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        if obeyed(c) {
            let _ = write!(plain, "\\u{:04x}", u32::from(c));
        } else {
            plain.push(c);
        }
    }
    Cow::Owned(plain)
}

/// Prints one line, or several. A reader that went away (`| head`) is not an error worth a word.
pub(super) fn line(text: &str) -> Result<(), Failure> {
    match writeln!(io::stdout(), "{}", plain(text)) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other?),
    }
}

/// A table with a heading line, fitted to the terminal.
pub(super) fn table<const N: usize>(heading: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic).set_header(heading.map(str::to_uppercase));
    for row in rows {
        // Before it is laid out: one line a row, and columns as wide as what is shown.
        table.add_row(row.map(|cell| plain(&cell.replace(['\n', '\t'], " ")).into_owned()));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.trim_fmt()
}

/// Names and values under each other.
pub(super) fn facts(facts: &[(&str, String)]) -> String {
    let width = facts.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let lines = facts.iter().filter(|(_, value)| !value.is_empty()).map(|(name, value)| format!("{name:width$}  {value}"));
    lines.collect::<Vec<_>>().join("\n")
}

/// A JSON object as facts, what is nested under the names of both; for answers whose members are shown as they come.
pub(super) fn outline(value: &Value) -> String {
    let mut flat = Vec::new();
    flatten("", value, &mut flat);
    let shown: Vec<_> = flat.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
    facts(&shown)
}

fn flatten(name: &str, value: &Value, flat: &mut Vec<(String, String)>) {
    let inner = |inner: &str| if name.is_empty() { inner.replace('_', " ") } else { format!("{name} {}", inner.replace('_', " ")) };
    match value {
        Value::Null => {}
        Value::Object(members) => members.iter().for_each(|(member, value)| flatten(&inner(member), value, flat)),
        Value::Array(items) if items.iter().any(Value::is_object) => {
            items.iter().zip(1..).for_each(|(item, number)| flatten(&inner(&number.to_string()), item, flat));
        }
        Value::Array(items) => flat.push((name.to_owned(), items.iter().map(text).collect::<Vec<_>>().join(", "))),
        other => flat.push((name.to_owned(), text(other))),
    }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminals_are_told_nothing() {
        assert_eq!(plain("a\n\tb \u{e9}"), "a\n\tb \u{e9}");
        assert_eq!(plain("\u{1b}[31m\u{9b}31m\r\u{7f}"), r"\u001b[31m\u009b31m\u000d\u007f");
        let value = serde_json::json!({ "name": "\u{9b}31m\u{7f}\u{1b}" });
        let text = value.to_string();
        let shown = plain(&text);
        assert!(shown.is_ascii() && !shown.contains('\u{7f}'), "{shown}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), value);
        assert_eq!(table(["id"], [["a\nb\u{1b}c".to_owned()]]), "ID\na b\\u001bc");
    }

    #[test]
    fn answers_are_outlined() {
        let value = serde_json::json!({ "state": "up", "token": { "serial": "1", "none": null }, "processes": [{ "pid": 7 }, { "pid": 8 }], "sizes": [1, 2] });
        assert_eq!(
            outline(&value),
            "state            up\ntoken serial     1\nprocesses 1 pid  7\nprocesses 2 pid  8\nsizes            1, 2"
        );
    }

    #[test]
    fn tables_and_facts_are_aligned_and_have_no_margin() {
        let rows = [["1", "one"], ["22", ""]].map(|row| row.map(str::to_owned));
        assert_eq!(table(["id", "name"], rows), "ID  NAME\n1   one\n22");
        assert_eq!(facts(&[("a", "1".to_owned()), ("none", String::new()), ("long", "2".to_owned())]), "a     1\nlong  2");
    }
}
