//! Lists: the query that asks for a page of one, and the headers that lead to the others (contract 1.2).

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use hyper::{
    HeaderMap,
    header::{self, HeaderValue},
    http::{request::Parts, uri::Authority},
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use url::form_urlencoded;

use super::{AppState, Error};
use crate::domain::Page;

/// The most bytes of a list's query. The answer repeats it four times, and each of its bytes may become three.
const MAX_QUERY: usize = 4096;

/// A request for a part of a list: its query, read as Go's binder does, and where it was sent to.
#[derive(Debug)]
pub(super) struct Listing {
    pairs: Vec<(String, String)>,
    too_long: bool,
    /// Scheme, host and path.
    base: String,
}

impl FromRequestParts<AppState> for Listing {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Infallible> {
        let public_url = &state.services.context.public_url;
        Ok(Self::new(parts, public_url.authority()))
    }
}

impl Listing {
    fn new(parts: &Parts, default_host: &str) -> Self {
        let query = parts.uri.query().unwrap_or_default();
        let too_long = query.len() > MAX_QUERY;
        let pairs = if too_long { Vec::new() } else { form_urlencoded::parse(query.as_bytes()).into_owned().collect() };
        let text = |name| parts.headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        // Both are the client's word and go back to the client alone: they need be no more than harmless within a link.
        let scheme = text(header::HeaderName::from_static("x-forwarded-proto")).filter(|scheme| ["http", "https"].contains(scheme));
        let host = text(header::HOST).filter(|host| host.parse::<Authority>().is_ok_and(|host| !host.as_str().contains(['@', '<', '>'])));
        let base = format!("{}://{}{}", scheme.unwrap_or("http"), host.unwrap_or(default_host), parts.uri.path());
        Self { pairs, too_long, base }
    }

    /// The page that is asked for: `page` and `per_page`.
    ///
    /// # Errors
    /// What is wrong with the query, in Go's words where Go has some.
    pub(super) fn page(&self) -> Result<Page, String> {
        if self.too_long {
            return Err(format!("a query has at most {MAX_QUERY} bytes"));
        }
        let number = |name, default| self.first(name).map_or(Ok(default), parse_int);
        Ok(Page::new(number("page", 1)?, number("per_page", i64::from(Page::DEFAULT_SIZE))?))
    }

    /// The first value called `name`.
    pub(super) fn first(&self, name: &str) -> Option<&str> {
        self.all(name).first().copied()
    }

    /// Every value called `name` in this very spelling or, if there is none, in any case.
    pub(super) fn all(&self, name: &str) -> Vec<&str> {
        let exact = self.pairs.iter().any(|(n, _)| n == name);
        let named = |n: &str| if exact { n == name } else { n.eq_ignore_ascii_case(name) };
        self.pairs.iter().filter(|(n, _)| named(n)).map(|(_, value)| value.as_str()).collect()
    }

    /// `X-Total-Count` and `Link` (RFC 8288) for an answer with `page` of a list of `total` entries.
    ///
    /// # Errors
    /// A fault of ours.
    pub(super) fn headers(&self, page: Page, total: u64) -> Result<HeaderMap, Error> {
        let (number, last) = (page.number(), page.last(total));
        let mut links = Vec::with_capacity(4);
        let mut link = |rel: &str, to: u64| links.push(format!("<{}>; rel=\"{rel}\"", self.url(to, page.size())));
        if number != 1 || number == last {
            link("first", 1);
        }
        if number != last {
            link("last", last);
        }
        if number < last {
            link("next", number + 1);
        }
        if number > 1 {
            link("prev", number - 1);
        }
        let mut headers = HeaderMap::new();
        headers.insert("x-total-count", HeaderValue::from(total));
        let value = HeaderValue::try_from(links.join(",")).map_err(|e| Error::internal("a header of ours is malformed", e))?;
        headers.insert(header::LINK, value);
        Ok(headers)
    }

    /// This request's own URL with another page in it; names sorted, values of one name in their order.
    fn url(&self, number: u64, size: u32) -> String {
        let (number, size) = (number.to_string(), size.to_string());
        let others = self.pairs.iter().map(|(n, v)| (n.as_str(), v.as_str())).filter(|(n, _)| !["page", "per_page"].contains(n));
        let mut pairs: Vec<_> = others.chain([("page", number.as_str()), ("per_page", size.as_str())]).collect();
        pairs.sort_by_key(|(name, _)| *name);
        let query: Vec<_> = pairs.into_iter().map(|(name, value)| format!("{}={}", escape(name), escape(value))).collect();
        format!("{}?{}", self.base, query.join("&"))
    }
}

/// What Go's `url.QueryEscape` leaves as it is, beside letters and digits.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b' ');

fn escape(text: &str) -> String {
    utf8_percent_encode(text, ESCAPED).to_string().replace(' ', "+")
}

/// A number as Go's binder reads it: nothing is 0.
fn parse_int(text: &str) -> Result<i64, String> {
    use std::num::IntErrorKind as Kind;
    let refused = |why| {
        let shown: String = text.chars().take(100).collect();
        format!("strconv.ParseInt: parsing {shown:?}: {why}")
    };
    match text.parse() {
        _ if text.is_empty() => Ok(0),
        Ok(number) => Ok(number),
        Err(error) if matches!(error.kind(), Kind::PosOverflow | Kind::NegOverflow) => Err(refused("value out of range")),
        Err(_) => Err(refused("invalid syntax")),
    }
}

#[cfg(test)]
mod tests {
    use hyper::Request;

    use super::*;

    fn listing(uri: &str, headers: &[(&str, &str)]) -> Listing {
        let mut request = Request::get(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Listing::new(&request.body(()).unwrap().into_parts().0, "passkeys.example")
    }

    fn link(query: &str, total: u64) -> String {
        let listing = listing(&format!("/t/list?{query}"), &[("host", "a.example:8000")]);
        let headers = listing.headers(listing.page().unwrap(), total).unwrap();
        assert_eq!(headers["x-total-count"], total.to_string());
        headers["link"].to_str().unwrap().replace("http://a.example:8000/t/list?", "")
    }

    #[test]
    fn links_lead_to_the_pages_around() {
        let ten = |rel: &str, n: u64| format!("<page={n}&per_page=10>; rel=\"{rel}\"");
        for (query, total, expected) in [
            ("per_page=10", 30, vec![ten("last", 3), ten("next", 2)]),
            ("page=2&per_page=10", 30, vec![ten("first", 1), ten("last", 3), ten("next", 3), ten("prev", 1)]),
            ("page=3&per_page=10", 30, vec![ten("first", 1), ten("prev", 2)]),
            ("per_page=10&page=1", 10, vec![ten("first", 1)]),
            ("per_page=10", 0, vec![ten("first", 1)]),
            ("per_page=10&page=9", 11, vec![ten("first", 1), ten("last", 2), ten("prev", 8)]),
        ] {
            assert_eq!(link(query, total), expected.join(","), "{query}");
        }
        assert_eq!(link("", 1), "<page=1&per_page=20>; rel=\"first\"");
        assert_eq!(link("per_page=1001", 1), "<page=1&per_page=1000>; rel=\"first\"");
    }

    #[test]
    fn links_repeat_the_rest_of_the_query_sorted_and_escaped_as_go_does() {
        let found = link("z=%3C%22%3E&type=b&type=a&page=1&q=a+b*~&page=7&%C3%BC=&flag", 0);
        assert_eq!(found, "<flag=&page=1&per_page=20&q=a+b%2A~&type=b&type=a&z=%3C%22%3E&%C3%BC=>; rel=\"first\"");
    }

    #[test]
    fn links_are_for_whoever_asked() {
        for (headers, base) in [
            (vec![("host", "a.example"), ("x-forwarded-proto", "https")], "https://a.example/t"),
            (vec![("host", "a.example"), ("x-forwarded-proto", "javascript")], "http://a.example/t"),
            (vec![("host", "[::1]:8000")], "http://[::1]:8000/t"),
            (vec![("host", "a>; rel=\"first\",<https://evil.example")], "http://passkeys.example/t"),
            (vec![("host", "x@evil.example")], "http://passkeys.example/t"),
            (vec![], "http://passkeys.example/t"),
        ] {
            assert_eq!(listing("/t", &headers).base, base, "{headers:?}");
        }
    }

    #[test]
    fn numbers_are_read_as_go_does() {
        for (query, expected) in [
            ("", (1, 20)),
            ("page=&per_page=", (1, 20)),
            ("page=3&PER_PAGE=5", (3, 5)),
            ("page=%2B3&Page=9", (3, 20)),
            ("page=2&page=x", (2, 20)),
            ("page=-1&per_page=-1", (1, 20)),
            ("page=0", (1, 20)),
        ] {
            let page = listing(&format!("/t?{query}"), &[]).page().unwrap();
            assert_eq!((page.number(), page.size()), expected, "{query}");
        }
        for (value, why) in [
            ("abc", "\"abc\": invalid syntax"),
            ("1e3", "\"1e3\": invalid syntax"),
            ("9223372036854775808", "\"9223372036854775808\": value out of range"),
            ("-9223372036854775809", "\"-9223372036854775809\": value out of range"),
            ("1%3BDROP", "\"1;DROP\": invalid syntax"),
            // A plus sign is a space in a query.
            ("+3", "\" 3\": invalid syntax"),
            ("%22", "\"\\\"\": invalid syntax"),
        ] {
            for name in ["page", "per_page"] {
                let found = listing(&format!("/t?{name}={value}"), &[]).page();
                assert_eq!(found, Err(format!("strconv.ParseInt: parsing {why}")), "{name}");
            }
        }
    }

    #[test]
    fn a_query_is_bounded() {
        let long = format!("/t?q={}", "x".repeat(MAX_QUERY));
        assert_eq!(listing(&long, &[]).page(), Err("a query has at most 4096 bytes".to_owned()));
        assert!(listing(&long[..long.len() - 2], &[]).page().is_ok());
    }
}
