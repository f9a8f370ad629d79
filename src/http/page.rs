//! Listings in pages: which is asked for, and the headers that lead to the others.

use axum::{
    extract::FromRequestParts,
    response::{IntoResponse, Response},
};
use hyper::{
    HeaderMap,
    header::{self, HeaderName, HeaderValue},
    http::{request::Parts, uri::Authority},
};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde::Serialize;
use url::Position;

use super::{AppState, Error, json::GoJson, meta::Peer, query::Query};
use crate::domain::Page;

/// `X-Total-Count`: how many items there are on all pages.
const TOTAL: HeaderName = HeaderName::from_static("x-total-count");

/// A request for a page of a listing (`page`, `per_page`), with its other parameters.
#[derive(Debug)]
pub(super) struct Listing {
    pub(super) query: Query,
    pub(super) page: Page,
    /// The listing's URL without a query, as its client knows it.
    base: String,
}

impl FromRequestParts<AppState> for Listing {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Error> {
        let query = Query::parse(&parts.uri)?;
        let page = Page::new(query.integer("page")?, query.integer("per_page")?);
        Ok(Self { query, page, base: base(parts, state) })
    }
}

impl Listing {
    /// A bare array, and headers that say how many items there are and where the other pages are.
    pub(super) fn answer<T: Serialize>(&self, items: Vec<T>, total: u64) -> Result<Response, Error> {
        let link = HeaderValue::try_from(self.link(total)).map_err(|e| Error::internal("a link of ours is malformed", e))?;
        let headers = HeaderMap::from_iter([(TOTAL, HeaderValue::from(total)), (header::LINK, link)]);
        Ok((headers, GoJson(items)).into_response())
    }

    /// `Link` (RFC 8288), with the relations and in the order of the contract.
    fn link(&self, total: u64) -> String {
        let (number, last) = (self.page.number(), self.page.last(total));
        let relations = [
            (number != 1 || number == last, 1, "first"),
            (number != last, last, "last"),
            (number < last, number.saturating_add(1), "next"),
            (number > 1, number.saturating_sub(1), "prev"),
        ];
        let parts = relations.into_iter().filter(|(is_there, ..)| *is_there).map(|(_, page, relation)| {
            let query = self.query.with(&[("page", page.to_string()), ("per_page", self.page.size().to_string())]);
            format!("<{}?{query}>; rel=\"{relation}\"", self.base)
        });
        parts.collect::<Vec<_>>().join(",")
    }
}

/// What a path may hold and a URL between angle brackets may not.
const ESCAPED: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'<').add(b'>').add(b'\\').add(b'^').add(b'`').add(b'{').add(b'|').add(b'}');

/// The URL under which the client asked: its host, and the scheme that a trusted proxy names; else that of our public URL where it is of this
/// host; else the one that was spoken.
fn base(parts: &Parts, state: &AppState) -> String {
    let public = &*state.services.context.public_url;
    let public_host = &public[Position::BeforeHost..Position::AfterPort];
    let host = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok()).and_then(|host| host.parse::<Authority>().ok());
    let host = host.filter(|host| !host.as_str().contains('@')).map_or_else(|| public_host.to_owned(), |host| host.to_string());
    let peer = parts.extensions.get::<Peer>();
    let told = peer.and_then(Peer::ip).and_then(|peer| state.trusted_proxies.scheme(peer, &parts.headers));
    let spoken = || peer.map_or("http", Peer::scheme);
    let scheme = told.unwrap_or_else(|| if host.eq_ignore_ascii_case(public_host) { public.scheme() } else { spoken() });
    format!("{scheme}://{}{}", utf8_percent_encode(&host, ESCAPED), utf8_percent_encode(parts.uri.path(), ESCAPED))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(query: &str, page: (i64, i64), total: u64) -> String {
        let query = Query::parse(&format!("/x?{query}").parse().unwrap()).unwrap();
        Listing { query, page: Page::new(page.0, page.1), base: "http://h/t/x".to_owned() }.link(total)
    }

    #[test]
    fn links_lead_to_the_pages_that_there_are() {
        let part = |page: u64, relation| format!("<http://h/t/x?page={page}&per_page=10>; rel=\"{relation}\"");
        for (page, total, expected) in [
            (1, 0, vec![(1, "first")]),
            (1, 10, vec![(1, "first")]),
            (1, 11, vec![(2, "last"), (2, "next")]),
            (1, 30, vec![(3, "last"), (2, "next")]),
            (2, 30, vec![(1, "first"), (3, "last"), (3, "next"), (1, "prev")]),
            (3, 30, vec![(1, "first"), (2, "prev")]),
            (9, 30, vec![(1, "first"), (3, "last"), (8, "prev")]),
            (i64::MAX, 0, vec![(1, "first"), (1, "last"), (i64::MAX.unsigned_abs() - 1, "prev")]),
        ] {
            let expected: Vec<_> = expected.into_iter().map(|(page, relation)| part(page, relation)).collect();
            assert_eq!(link("", (page, 10), total), expected.join(","), "{page} of {total}");
        }
    }

    #[test]
    fn links_keep_the_other_parameters() {
        let expected = "<http://h/t/x?a=%3E%22&page=1&per_page=500&user_id=u+1>; rel=\"first\"";
        assert_eq!(link("user_id=u%201&PER_PAGE=9999&a=%3E%22", (1, 9999), 1), expected);
    }
}
