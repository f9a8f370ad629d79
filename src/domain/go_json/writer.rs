//! Writes JSON as Go's `json.Marshal` does.

use std::{borrow::Cow, fmt::Write as _};

use super::{Value, number};

/// Appends a value, without any space.
pub(super) fn write(value: &Value<'_>, out: &mut String) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Number(number) => number::write(*number, out),
        Value::String(text) => write_string(text, out),
        Value::Array(items) => list(('[', ']'), items, out, write),
        Value::Object(members) => list(('{', '}'), members, out, write_member),
    }
}

fn write_member((name, value): &(Cow<'_, str>, Value<'_>), out: &mut String) {
    write_string(name, out);
    out.push(':');
    write(value, out);
}

fn list<T>((open, close): (char, char), items: &[T], out: &mut String, write: impl Fn(&T, &mut String)) {
    out.push(open);
    for (n, item) in items.iter().enumerate() {
        if n > 0 {
            out.push(',');
        }
        write(item, out);
    }
    out.push(close);
}

/// Escapes what JSON must, and what a browser might take for markup or a line's end. U+007F and what is beyond ASCII stay as they are.
fn write_string(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\0'..'\u{20}' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                // A `String` takes all that is written to it.
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}
