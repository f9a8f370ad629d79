//! CBOR (RFC 8949) in the strict subset that CTAP2 writes (CTAP 2.1 section 8), read without copying.
//!
//! Refused: indefinite lengths, lengths and integers not in their shortest form, duplicate keys, tags, simple values other than the four
//! with names, text that is not UTF-8, bytes after the item, and anything deeper or larger than WebAuthn needs. Two things are let
//! through on purpose: keys out of order (genuine authenticators write them) and floating-point numbers, which only extension outputs
//! hold and which nothing here interprets.

use std::borrow::Cow;

/// Nesting needed: a compound statement's certificate list is 5 deep. One to spare.
const MAX_DEPTH: usize = 6;

/// The most items in one encoding: what it may cost in memory, whatever lengths it claims.
const MAX_ITEMS: usize = 4096;

/// Why an encoding was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each variant says what its text says")]
pub enum Error {
    #[error("CBOR ends too early")]
    Truncated,
    #[error("bytes after the CBOR item")]
    TrailingBytes,
    #[error("a CBOR number or length is not in its shortest form")]
    NotShortest,
    #[error("a CBOR item of indefinite length")]
    Indefinite,
    #[error("a CBOR map has a key twice")]
    DuplicateKey,
    #[error("CBOR text is not UTF-8")]
    NotUtf8,
    #[error("a CBOR tag")]
    Tag,
    #[error("a reserved CBOR value")]
    Reserved,
    #[error("CBOR nested too deeply")]
    TooDeep,
    #[error("too many CBOR items")]
    TooMany,
}

/// A data item. Strings are borrowed from the encoding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value<'a> {
    /// Major type 0.
    Unsigned(u64),
    /// Major type 1: the number is -1 minus this.
    Negative(u64),
    /// Major type 2.
    Bytes(&'a [u8]),
    /// Major type 3.
    Text(&'a str),
    /// Major type 4.
    Array(Vec<Value<'a>>),
    /// Major type 5.
    Map(Map<'a>),
    /// `false` or `true`.
    Bool(bool),
    /// `null`.
    Null,
    /// `undefined`.
    Undefined,
    /// A floating-point number, as its 2, 4 or 8 bytes.
    Float(&'a [u8]),
}

/// A map, in the order it came. No key is in it twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Map<'a>(Vec<(Value<'a>, Value<'a>)>);

impl<'a> Value<'a> {
    /// The whole of `bytes` as one item.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        match Self::parse_prefix(bytes)? {
            (value, []) => Ok(value),
            _ => Err(Error::TrailingBytes),
        }
    }

    /// The item that `bytes` begin with, and the bytes after it.
    pub(super) fn parse_prefix(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), Error> {
        let mut reader = Reader { rest: bytes, items: 0 };
        let value = reader.value(0)?;
        Ok((value, reader.rest))
    }

    /// The integer, if it is one that fits.
    pub(super) fn as_int(&self) -> Option<i64> {
        match *self {
            Self::Unsigned(n) => i64::try_from(n).ok(),
            Self::Negative(n) => i64::try_from(n).ok().map(|n| -1 - n),
            _ => None,
        }
    }

    /// The byte string, if it is one.
    pub(super) fn as_bytes(&self) -> Option<&'a [u8]> {
        if let Self::Bytes(bytes) = self { Some(bytes) } else { None }
    }

    /// The text, if it is one.
    pub(super) fn as_text(&self) -> Option<&'a str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// The array, if it is one.
    pub(super) fn as_array(&self) -> Option<&[Self]> {
        if let Self::Array(items) = self { Some(items) } else { None }
    }

    /// The map, if it is one.
    pub(super) fn as_map(&self) -> Option<&Map<'a>> {
        if let Self::Map(map) = self { Some(map) } else { None }
    }
}

impl From<i64> for Value<'_> {
    fn from(n: i64) -> Self {
        // In two's complement -1 - n is the complement of n.
        if n < 0 { Self::Negative((!n).unsigned_abs()) } else { Self::Unsigned(n.unsigned_abs()) }
    }
}

impl<'a> Map<'a> {
    /// What is under a text key.
    pub(super) fn text(&self, key: &str) -> Option<&Value<'a>> {
        self.0.iter().find_map(|(k, v)| (k.as_text() == Some(key)).then_some(v))
    }

    /// Takes out what is under a text key.
    pub(super) fn take_text(&mut self, key: &str) -> Option<Value<'a>> {
        let at = self.0.iter().position(|(k, _)| k.as_text() == Some(key))?;
        Some(self.0.swap_remove(at).1)
    }

    /// What is under an integer key.
    pub(super) fn int(&self, key: i64) -> Option<&Value<'a>> {
        self.0.iter().find_map(|(k, v)| (k.as_int() == Some(key)).then_some(v))
    }

    /// What is under its keys.
    #[cfg(fuzzing)]
    pub(super) fn values(&self) -> impl Iterator<Item = &Value<'a>> {
        self.0.iter().map(|(_, value)| value)
    }

    /// Whether nothing is in it.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A map of these entries, whose keys must differ: for writing.
    pub(super) fn from_entries(entries: Vec<(Value<'a>, Value<'a>)>) -> Self {
        Self(entries)
    }
}

struct Reader<'a> {
    rest: &'a [u8],
    items: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> Result<&'a [u8], Error> {
        let (head, rest) = self.rest.split_at_checked(n).ok_or(Error::Truncated)?;
        self.rest = rest;
        Ok(head)
    }

    fn byte(&mut self) -> Result<u8, Error> {
        let (&byte, rest) = self.rest.split_first().ok_or(Error::Truncated)?;
        self.rest = rest;
        Ok(byte)
    }

    /// The argument after an initial byte of major type 0 to 5.
    fn argument(&mut self, info: u8) -> Result<u64, Error> {
        let (width, least) = match info {
            0..24 => return Ok(u64::from(info)),
            24 => (1, 24),
            25 => (2, 1 << 8),
            26 => (4, 1 << 16),
            27 => (8, 1 << 32),
            31 => return Err(Error::Indefinite),
            _ => return Err(Error::Reserved),
        };
        let n = self.take(width)?.iter().fold(0u64, |n, &byte| n << 8 | u64::from(byte));
        if n < least { Err(Error::NotShortest) } else { Ok(n) }
    }

    /// A length in bytes; that many are there.
    fn string(&mut self, length: u64) -> Result<&'a [u8], Error> {
        self.take(usize::try_from(length).map_err(|_| Error::Truncated)?)
    }

    /// A count of items or entries, judged before anything is set aside for them: each takes a byte at least.
    fn count(&self, n: u64) -> Result<usize, Error> {
        let n = usize::try_from(n).map_err(|_| Error::Truncated)?;
        if n > self.rest.len() {
            Err(Error::Truncated)
        } else if n > MAX_ITEMS {
            Err(Error::TooMany)
        } else {
            Ok(n)
        }
    }

    fn value(&mut self, depth: usize) -> Result<Value<'a>, Error> {
        self.items += 1;
        if self.items > MAX_ITEMS {
            return Err(Error::TooMany);
        }
        let initial = self.byte()?;
        let (major, info) = (initial >> 5, initial & 0x1f);
        match major {
            0 => self.argument(info).map(Value::Unsigned),
            1 => self.argument(info).map(Value::Negative),
            2 => self.argument(info).and_then(|n| self.string(n)).map(Value::Bytes),
            3 => {
                let bytes = self.argument(info).and_then(|n| self.string(n))?;
                std::str::from_utf8(bytes).map(Value::Text).map_err(|_| Error::NotUtf8)
            }
            4 | 5 if depth == MAX_DEPTH => Err(Error::TooDeep),
            4 => {
                let n = self.argument(info)?;
                (0..self.count(n)?).map(|_| self.value(depth + 1)).collect::<Result<_, _>>().map(Value::Array)
            }
            5 => self.argument(info).and_then(|n| self.map(n, depth + 1)).map(Value::Map),
            6 => Err(Error::Tag),
            _ => self.simple(info),
        }
    }

    fn map(&mut self, entries: u64, depth: usize) -> Result<Map<'a>, Error> {
        let n = self.count(entries)?;
        let (mut map, mut encoded_keys) = (Vec::with_capacity(n), Vec::with_capacity(n));
        for _ in 0..n {
            let start = self.rest;
            let key = self.value(depth)?;
            encoded_keys.push(match key {
                // Two orders of one map are one key.
                Value::Array(_) | Value::Map(_) => Cow::Owned(key.to_vec()),
                _ => Cow::Borrowed(start.get(..start.len() - self.rest.len()).unwrap_or_default()),
            });
            map.push((key, self.value(depth)?));
        }
        // Each value has one encoding here, but for the order of maps, so two keys are equal where their encodings are.
        encoded_keys.sort_unstable();
        if encoded_keys.windows(2).any(|pair| pair.first() == pair.last()) {
            return Err(Error::DuplicateKey);
        }
        Ok(Map(map))
    }

    fn simple(&mut self, info: u8) -> Result<Value<'a>, Error> {
        match info {
            20 => Ok(Value::Bool(false)),
            21 => Ok(Value::Bool(true)),
            22 => Ok(Value::Null),
            23 => Ok(Value::Undefined),
            25 => self.take(2).map(Value::Float),
            26 => self.take(4).map(Value::Float),
            27 => self.take(8).map(Value::Float),
            31 => Err(Error::Indefinite),
            _ => Err(Error::Reserved),
        }
    }
}

impl Value<'_> {
    /// The encoding in CTAP2 canonical form: shortest numbers, keys ordered by type, then length, then bytes.
    pub(super) fn to_vec(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(&mut out);
        out
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Unsigned(n) => write_head(out, 0, *n),
            Self::Negative(n) => write_head(out, 1, *n),
            Self::Bytes(bytes) => {
                write_head(out, 2, bytes.len() as u64);
                out.extend_from_slice(bytes);
            }
            Self::Text(text) => {
                write_head(out, 3, text.len() as u64);
                out.extend_from_slice(text.as_bytes());
            }
            Self::Array(items) => {
                write_head(out, 4, items.len() as u64);
                for item in items {
                    item.write(out);
                }
            }
            Self::Map(map) => map.write(out),
            Self::Bool(false) => out.push(0xf4),
            Self::Bool(true) => out.push(0xf5),
            Self::Null => out.push(0xf6),
            Self::Undefined => out.push(0xf7),
            Self::Float(bytes) => {
                out.push(match bytes.len() {
                    2 => 0xf9,
                    4 => 0xfa,
                    _ => 0xfb,
                });
                out.extend_from_slice(bytes);
            }
        }
    }
}

impl Map<'_> {
    fn write(&self, out: &mut Vec<u8>) {
        write_head(out, 5, self.0.len() as u64);
        let mut entries: Vec<_> = self.0.iter().map(|(key, value)| (key.to_vec(), value)).collect();
        entries.sort_by(|(a, _), (b, _)| {
            let rank = |key: &[u8]| (key.first().map(|initial| initial >> 5), key.len());
            rank(a).cmp(&rank(b)).then_with(|| a.cmp(b))
        });
        for (key, value) in entries {
            out.extend_from_slice(&key);
            value.write(out);
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "each arm holds what it cuts to")]
fn write_head(out: &mut Vec<u8>, major: u8, n: u64) {
    let major = major << 5;
    match n {
        0..24 => out.push(major | n as u8),
        24..0x100 => out.extend_from_slice(&[major | 0x18, n as u8]),
        0x100..0x1_0000 => {
            out.push(major | 0x19);
            out.extend_from_slice(&(n as u16).to_be_bytes());
        }
        0x1_0000..0x1_0000_0000 => {
            out.push(major | 0x1a);
            out.extend_from_slice(&(n as u32).to_be_bytes());
        }
        _ => {
            out.push(major | 0x1b);
            out.extend_from_slice(&n.to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests;
