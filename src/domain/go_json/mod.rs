//! JSON as Go's `encoding/json` writes it after it has read it into `interface{}`.
//!
//! The open-source passkey-server decodes the data of a transaction so, stores what it encodes again, and hashes that into the challenge. An
//! application that computes the same hash in Go, or has stored one, must find the same bytes here. The rule is that of Go 1.24, with which
//! version 1.2 of that server is built; since Go 1.22 backspace and form feed are `\b` and `\f`, which before were `\u0008` and `\u000c`.

mod number;
mod parser;
mod writer;

#[cfg(test)]
mod cases;
#[cfg(test)]
mod tests;

use std::{borrow::Cow, iter::repeat_n};

use parser::Parser;

/// The most bytes that are read, and the most that are written: all that a request's body may have by default.
pub const MAX_LEN: usize = 128 << 10;

/// The most arrays and objects within one another. Go stops at 10,000, which no data for a person to confirm needs; what is written here can
/// be read by any parser.
pub const MAX_DEPTH: usize = 100;

/// A text that is not read, and where: characters are counted from 1, and a byte that is not UTF-8 counts as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GoJsonError {
    /// More bytes than [`MAX_LEN`], as sent or as written.
    #[error("the JSON has more than {MAX_LEN} bytes")]
    TooLong,
    /// More levels than [`MAX_DEPTH`].
    #[error("the JSON has more than {MAX_DEPTH} levels of arrays and objects")]
    TooDeep,
    /// Not one JSON value (RFC 8259) and nothing else.
    #[error("not JSON at character {0}")]
    Syntax(usize),
    /// A number that no double is near, such as `1e400`.
    #[error("the number at character {0} is beyond the range of a double")]
    Range(usize),
    /// A number with more characters than Go reads aright.
    #[error("the number at character {0} has more than {max} characters", max = number::MAX_LEN)]
    LongNumber(usize),
}

/// `text` as Go writes it after it has read it; the same again for what it returns.
///
/// Members are sorted by their names' bytes, and of two with one name the last is kept, whole. Numbers are doubles. There is no space. In
/// strings `<`, `>`, `&`, U+2028, U+2029 and control characters are escaped; half of a surrogate pair and each byte that is not UTF-8 become
/// U+FFFD.
pub fn canonical(text: &[u8]) -> Result<String, GoJsonError> {
    if text.len() > MAX_LEN {
        return Err(GoJsonError::TooLong);
    }
    // Go does this while it reads strings. Anywhere else neither the byte nor U+FFFD is JSON.
    let text = coerce_utf8(text);
    let value = Parser::parse(&text)?;
    let mut written = String::with_capacity(text.len());
    // No more than six times as much: `<` is `\u003c`, and `1e20` has 21 digits.
    writer::write(&value, &mut written);
    if written.len() > MAX_LEN { Err(GoJsonError::TooLong) } else { Ok(written) }
}

/// `text` with U+FFFD for each byte that is not part of a character: one for each byte, as in Go, where the Unicode standard's advice, which
/// Rust follows, is one for each sequence that begins well.
pub fn coerce_utf8(text: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(text) {
        return Cow::Borrowed(text);
    }
    let mut coerced = String::with_capacity(text.len());
    for chunk in text.utf8_chunks() {
        coerced.push_str(chunk.valid());
        coerced.extend(repeat_n(char::REPLACEMENT_CHARACTER, chunk.invalid().len()));
    }
    Cow::Owned(coerced)
}

/// What a text says, as Go keeps it.
#[derive(Debug)]
enum Value<'a> {
    Null,
    Bool(bool),
    /// Finite.
    Number(f64),
    String(Cow<'a, str>),
    Array(Vec<Value<'a>>),
    /// Sorted by the names' bytes; no name is there twice.
    Object(Vec<(Cow<'a, str>, Value<'a>)>),
}
