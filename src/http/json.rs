//! JSON as the contract writes it: Go's `encoding/json`, with its escapes and its trailing newline.

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use hyper::header;
use serde::Serialize;

use crate::domain::Timestamp;

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

/// An instant as Go writes it (`time.RFC3339Nano`): a fraction of a second without zeros at its end, or none.
pub(super) fn rfc_3339(instant: Timestamp) -> String {
    let text = instant.to_string();
    match text.strip_suffix('Z').and_then(|text| text.split_once('.')) {
        None => text,
        Some((seconds, fraction)) => match fraction.trim_end_matches('0') {
            "" => format!("{seconds}Z"),
            fraction => format!("{seconds}.{fraction}Z"),
        },
    }
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
    use super::*;

    #[test]
    fn writes_instants_like_go() {
        for (millis, text) in [
            (1_700_000_000_123, "2023-11-14T22:13:20.123Z"),
            (1_700_000_000_120, "2023-11-14T22:13:20.12Z"),
            (1_700_000_000_100, "2023-11-14T22:13:20.1Z"),
            (1_700_000_000_001, "2023-11-14T22:13:20.001Z"),
            (1_700_000_000_000, "2023-11-14T22:13:20Z"),
            (0, "1970-01-01T00:00:00Z"),
        ] {
            assert_eq!(rfc_3339(Timestamp::from_millis(millis)), text);
        }
    }

    #[test]
    fn escapes_like_go() {
        assert_eq!(escape("\"<a>&\u{2028}ü\""), "\"\\u003ca\\u003e\\u0026\\u2028ü\"\n");
    }
}
