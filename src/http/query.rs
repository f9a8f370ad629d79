//! Query parameters, by name whatever its case, as the contract finds them.

use std::collections::BTreeMap;

use hyper::Uri;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::Error;

/// The most bytes of a query: a page's `Link` repeats it four times, in headers that proxies bound.
const MAX_LEN: usize = 2048;

/// The parameters of a request, in their order.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Query {
    pairs: Vec<(String, String)>,
}

impl Query {
    /// Reads all of it. The contract drops what it cannot read; a filter that is dropped would show everybody's.
    ///
    /// # Errors
    /// 400 when it is too long, or holds what is no form of `application/x-www-form-urlencoded`.
    pub(super) fn parse(uri: &Uri) -> Result<Self, Error> {
        let query = uri.query().unwrap_or_default();
        if query.len() > MAX_LEN {
            return Err(Error::unprocessable(format!("a query has at most {MAX_LEN} bytes")));
        }
        if query.contains(';') {
            return Err(Error::unprocessable("invalid semicolon separator in query"));
        }
        let pairs = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decode(name)?, decode(value)?))
        });
        Ok(Self { pairs: pairs.collect::<Result<_, Error>>()? })
    }

    /// The value called `name`; `None` when it is missing.
    ///
    /// # Errors
    /// 400 when there are two: hops that read such a query may disagree on which counts.
    pub(super) fn text(&self, name: &str) -> Result<Option<&str>, Error> {
        let mut found = self.texts(name);
        match (found.next(), found.next()) {
            (_, Some(_)) => Err(Error::unprocessable(format!("duplicate parameter {name}"))),
            (value, None) => Ok(value),
        }
    }

    /// Every value called `name`, in their order.
    pub(super) fn texts(&self, name: &str) -> impl Iterator<Item = &str> {
        self.pairs.iter().filter(move |(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The number called `name`; 0 when it is missing or empty.
    ///
    /// # Errors
    /// 400 in Go's words when it is no integer of 64 bits, or there are two.
    pub(super) fn integer(&self, name: &str) -> Result<i64, Error> {
        let text = self.text(name)?.unwrap_or_default();
        if text.is_empty() {
            return Ok(0);
        }
        text.parse().map_err(|error: std::num::ParseIntError| {
            use std::num::IntErrorKind::{NegOverflow, PosOverflow};
            let why = if matches!(error.kind(), PosOverflow | NegOverflow) { "value out of range" } else { "invalid syntax" };
            Error::unprocessable(format!("strconv.ParseInt: parsing {text:?}: {why}"))
        })
    }

    /// The same query with other values for some names, as Go writes it: sorted by name.
    pub(super) fn with(&self, replaced: &[(&str, String)]) -> String {
        let kept = self.pairs.iter().filter(|(name, _)| !replaced.iter().any(|(other, _)| other.eq_ignore_ascii_case(name)));
        let kept = kept.map(|(name, value)| (name.as_str(), value.as_str()));
        let mut sorted: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (name, value) in kept.chain(replaced.iter().map(|(name, value)| (*name, value.as_str()))) {
            sorted.entry(name).or_default().push(value);
        }
        let pairs = sorted.into_iter().flat_map(|(name, values)| values.into_iter().map(move |value| (name, value)));
        pairs.map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect::<Vec<_>>().join("&")
    }
}

/// What Go's `url.QueryEscape` leaves as it is; a space becomes a plus.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b' ');

fn encode(text: &str) -> String {
    utf8_percent_encode(text, ESCAPED).to_string().replace(' ', "+")
}

fn decode(text: &str) -> Result<String, Error> {
    let mut rest = text;
    while let Some((_, after)) = rest.split_once('%') {
        let digits = after.as_bytes().get(..2).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        if digits.is_none() {
            let escape: String = after.chars().take(2).collect();
            return Err(Error::unprocessable(format!("invalid URL escape {:?}", format!("%{escape}"))));
        }
        rest = after;
    }
    let spaced = text.replace('+', " ");
    let decoded = percent_decode_str(&spaced).decode_utf8();
    decoded.map(std::borrow::Cow::into_owned).map_err(|_| Error::unprocessable("a query is UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(query: &str) -> Result<Query, String> {
        Query::parse(&format!("/x?{query}").parse().unwrap()).map_err(|e| e.to_string())
    }

    fn text(query: &str) -> Result<Option<String>, String> {
        parse(query)?.text("user_id").map(|found| found.map(str::to_owned)).map_err(|e| e.to_string())
    }

    #[test]
    fn finds_parameters_as_go_does() {
        for (query, value) in [
            ("user_id=a", Some("a")),
            ("x=1&&User_ID=a+b%2B%C3%BC&", Some("a b+ü")),
            ("user_id=a=b", Some("a=b")),
            ("user%5Fid=a", Some("a")),
            ("user_id", Some("")),
            ("user_id=", Some("")),
            ("user_id=%00", Some("\0")),
            ("", None),
            ("=a", None),
            ("user_id2=a", None),
        ] {
            assert_eq!(text(query), Ok(value.map(str::to_owned)), "{query}");
        }
        assert_eq!(Query::parse(&"/x".parse().unwrap()).unwrap(), Query { pairs: Vec::new() });
    }

    #[test]
    fn refuses_what_can_be_read_in_two_ways() {
        let long = format!("x={}", "a".repeat(MAX_LEN - 1));
        for (query, why) in [
            ("user_id=a&user_id=b", "duplicate parameter user_id"),
            ("user_id=a&USER_ID=a", "duplicate parameter user_id"),
            ("user_id=a;x=b", "invalid semicolon separator in query"),
            ("user_id=%", "invalid URL escape \"%\""),
            ("user_id=%2", "invalid URL escape \"%2\""),
            ("x=1&y%zz=1", "invalid URL escape \"%zz\""),
            ("user_id=%%41", "invalid URL escape \"%%4\""),
            ("user_id=%ff", "a query is UTF-8"),
            (&long, "a query has at most 2048 bytes"),
        ] {
            assert_eq!(text(query), Err(format!("400 unable to process request: {why}")), "{query}");
        }
        assert_eq!(text(&long[..MAX_LEN]), Ok(None));
    }

    #[test]
    fn reads_numbers_as_go_does() {
        let integer = |query: &str| parse(query).unwrap().integer("page").map_err(|e| e.to_string());
        for (query, number) in [
            ("", 0),
            ("page=", 0),
            ("page=7", 7),
            ("Page=007", 7),
            ("page=%2B7", 7),
            ("page=-7", -7),
            ("page=9223372036854775807", i64::MAX),
            ("page=-9223372036854775808", i64::MIN),
        ] {
            assert_eq!(integer(query), Ok(number), "{query}");
        }
        for (query, parsing, why) in [
            ("page=abc", "abc", "invalid syntax"),
            ("page=1.0", "1.0", "invalid syntax"),
            ("page=1_0", "1_0", "invalid syntax"),
            ("page=0x1", "0x1", "invalid syntax"),
            ("page=+1", " 1", "invalid syntax"),
            ("page=-", "-", "invalid syntax"),
            ("page=9223372036854775808", "9223372036854775808", "value out of range"),
            ("page=-9223372036854775809", "-9223372036854775809", "value out of range"),
        ] {
            let expected = format!("400 unable to process request: strconv.ParseInt: parsing \"{parsing}\": {why}");
            assert_eq!(integer(query), Err(expected), "{query}");
        }
    }

    #[test]
    fn writes_queries_as_go_does() {
        let with = |query: &str| parse(query).unwrap().with(&[("page", "2".to_owned()), ("per_page", "20".to_owned())]);
        assert_eq!(with(""), "page=2&per_page=20");
        assert_eq!(with("PAGE=9&z=1&per%5fpage=3&a=~*+%2B&z=0"), "a=~%2A+%2B&page=2&per_page=20&z=1&z=0");
        assert_eq!(with("%C3%BC=%22%3E%0D%0A"), "page=2&per_page=20&%C3%BC=%22%3E%0D%0A");
    }
}
