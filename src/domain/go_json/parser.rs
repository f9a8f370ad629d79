//! Reads JSON as Go does: the grammar of RFC 8259 and nothing beside it, but forgiving of what strings hold.

use std::borrow::Cow;

use super::{GoJsonError, MAX_DEPTH, Value, number};

/// Reads one text from its beginning to its end. Stands between characters, always.
pub(super) struct Parser<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

impl<'a> Parser<'a> {
    /// The one value of `text`.
    pub(super) fn parse(text: &'a str) -> Result<Value<'a>, GoJsonError> {
        let mut parser = Self { text, at: 0, depth: 0 };
        let value = parser.value()?;
        parser.skip_space();
        if parser.peek().is_some() { Err(parser.syntax()) } else { Ok(value) }
    }

    fn value(&mut self) -> Result<Value<'a>, GoJsonError> {
        self.skip_space();
        match self.peek() {
            Some(b'{') => self.nested(Self::object),
            Some(b'[') => self.nested(Self::array),
            Some(b'"') => self.string().map(Value::String),
            Some(b't') => self.literal("true", Value::Bool(true)),
            Some(b'f') => self.literal("false", Value::Bool(false)),
            Some(b'n') => self.literal("null", Value::Null),
            _ => self.number().map(Value::Number),
        }
    }

    fn nested(&mut self, read: fn(&mut Self) -> Result<Value<'a>, GoJsonError>) -> Result<Value<'a>, GoJsonError> {
        if self.depth == MAX_DEPTH {
            return Err(GoJsonError::TooDeep);
        }
        self.depth += 1;
        let value = read(self)?;
        self.depth -= 1;
        Ok(value)
    }

    fn object(&mut self) -> Result<Value<'a>, GoJsonError> {
        let mut members: Vec<(Cow<'a, str>, Value<'a>)> = Vec::new();
        self.list(b'{', b'}', |parser| {
            let name = parser.string()?;
            parser.skip_space();
            parser.demand(b':')?;
            members.push((name, parser.value()?));
            Ok(())
        })?;
        // In the order of UTF-8, which is that of `str`. A stable sort leaves the last of equal names the last.
        members.sort_by(|(a, _), (b, _)| a.cmp(b));
        members.dedup_by(|later, kept| {
            let same = later.0 == kept.0;
            if same {
                std::mem::swap(&mut later.1, &mut kept.1);
            }
            same
        });
        Ok(Value::Object(members))
    }

    fn array(&mut self) -> Result<Value<'a>, GoJsonError> {
        let mut items = Vec::new();
        self.list(b'[', b']', |parser| {
            items.push(parser.value()?);
            Ok(())
        })?;
        Ok(Value::Array(items))
    }

    /// What stands between two brackets, with commas between one and the next and none at the end.
    fn list(&mut self, open: u8, close: u8, mut item: impl FnMut(&mut Self) -> Result<(), GoJsonError>) -> Result<(), GoJsonError> {
        self.demand(open)?;
        self.skip_space();
        if self.skip(close) {
            return Ok(());
        }
        loop {
            self.skip_space();
            item(self)?;
            self.skip_space();
            if self.skip(close) {
                return Ok(());
            }
            self.demand(b',')?;
        }
    }

    fn string(&mut self) -> Result<Cow<'a, str>, GoJsonError> {
        self.demand(b'"')?;
        let mut string = Cow::Borrowed("");
        loop {
            // Borrows what is added to an empty string.
            string += self.skip_while(|byte| byte >= b' ' && byte != b'"' && byte != b'\\');
            if self.skip(b'"') {
                return Ok(string);
            }
            self.demand(b'\\')?;
            string.to_mut().push(self.escape()?);
        }
    }

    /// What follows a backslash.
    fn escape(&mut self) -> Result<char, GoJsonError> {
        let c = match self.peek() {
            Some(c @ (b'"' | b'\\' | b'/')) => char::from(c),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode(),
            _ => return Err(self.syntax()),
        };
        self.at += 1;
        Ok(c)
    }

    /// `u` and four hexadecimal digits, and the second half of a surrogate pair if it is there. A half alone is U+FFFD, and what follows it is
    /// read for itself.
    fn unicode(&mut self) -> Result<char, GoJsonError> {
        self.at += 1;
        let first = self.hex(self.at).ok_or_else(|| self.syntax())?;
        self.at += 4;
        let second = self.rest().starts_with("\\u").then(|| self.hex(self.at + 2)).flatten();
        match char::decode_utf16([Some(first), second].into_iter().flatten()).next() {
            Some(Ok(c)) => {
                self.at += if c.len_utf16() == 2 { 6 } else { 0 };
                Ok(c)
            }
            _ => Ok(char::REPLACEMENT_CHARACTER),
        }
    }

    fn hex(&self, at: usize) -> Option<u16> {
        let digits = self.text.get(at..at + 4)?;
        // A sign is no digit, but would be read.
        if digits.bytes().all(|byte| byte.is_ascii_hexdigit()) { u16::from_str_radix(digits, 16).ok() } else { None }
    }

    fn number(&mut self) -> Result<f64, GoJsonError> {
        let start = self.at;
        self.skip(b'-');
        if !self.skip(b'0') {
            self.digits()?;
        }
        if self.skip(b'.') {
            self.digits()?;
        }
        if self.skip(b'e') || self.skip(b'E') {
            let _ = self.skip(b'+') || self.skip(b'-');
            self.digits()?;
        }
        let number = self.text.get(start..self.at).unwrap_or_default();
        if number.len() > number::MAX_LEN {
            return Err(GoJsonError::LongNumber(self.character(start)));
        }
        number::parse(number).ok_or_else(|| GoJsonError::Range(self.character(start)))
    }

    fn digits(&mut self) -> Result<(), GoJsonError> {
        let digits = self.skip_while(|byte| byte.is_ascii_digit());
        if digits.is_empty() { Err(self.syntax()) } else { Ok(()) }
    }

    fn literal(&mut self, name: &str, value: Value<'a>) -> Result<Value<'a>, GoJsonError> {
        for byte in name.bytes() {
            self.demand(byte)?;
        }
        Ok(value)
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// Goes on past `byte`, which is ASCII, if it is next.
    fn skip(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there
    }

    fn demand(&mut self, byte: u8) -> Result<(), GoJsonError> {
        if self.skip(byte) { Ok(()) } else { Err(self.syntax()) }
    }

    /// Goes on to the next byte that is not wanted, which must be ASCII.
    fn skip_while(&mut self, wanted: impl Fn(u8) -> bool) -> &'a str {
        let rest = self.rest();
        let skipped = rest.bytes().position(|byte| !wanted(byte)).unwrap_or(rest.len());
        self.at += skipped;
        rest.get(..skipped).unwrap_or_default()
    }

    fn skip_space(&mut self) {
        self.skip_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r'));
    }

    fn syntax(&self) -> GoJsonError {
        GoJsonError::Syntax(self.character(self.at))
    }

    /// Counted once, for an error's text.
    fn character(&self, at: usize) -> usize {
        self.text.get(..at).unwrap_or_default().chars().count() + 1
    }
}
