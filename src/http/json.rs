//! JSON as the contract writes it: Go's `encoding/json`, with its escapes and its trailing newline.

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use hyper::header;
use serde::Serialize;

/// The content type of every JSON answer.
pub(super) const CONTENT_TYPE: &str = "application/json; charset=UTF-8";

/// A JSON answer of status 200.
#[derive(Debug)]
pub(super) struct GoJson<T>(pub(super) T);

impl<T: Serialize> IntoResponse for GoJson<T> {
    fn into_response(self) -> Response {
        match serde_json::to_string(&self.0) {
            Ok(json) => respond(&json),
            Err(error) => super::Error::internal("an answer of ours has no JSON form", error).into_response(),
        }
    }
}

/// A success whose body is `json`, escaped as Go does.
pub(super) fn respond(json: &str) -> Response {
    let mut response = Response::new(Body::from(escape(json)));
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(CONTENT_TYPE));
    response
}

/// Go escapes what a browser might take for markup or a line's end. Outside of strings none of these characters occurs.
fn escape(json: &str) -> String {
    let mut out = String::with_capacity(json.len() + 1);
    for c in json.chars() {
        match c {
            '<' => out.push_str("\\u003c"),
            '>' => out.push_str("\\u003e"),
            '&' => out.push_str("\\u0026"),
            '\u{2028}' => out.push_str("\\u2028"),
            '\u{2029}' => out.push_str("\\u2029"),
            c => out.push(c),
        }
    }
    out.push('\n');
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn escapes_like_go() {
        assert_eq!(super::escape("\"<a>&\u{2028}ü\""), "\"\\u003ca\\u003e\\u0026\\u2028ü\"\n");
    }
}
