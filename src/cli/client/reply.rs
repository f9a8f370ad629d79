//! What the admin API answered.

use hyper::{HeaderMap, header};
use serde_json::Value;
use time::{OffsetDateTime, format_description::well_known::Rfc2822};

use super::super::Failure;
use crate::domain::Timestamp;

/// An answer, whole.
#[derive(Debug)]
pub(in crate::cli) struct Reply {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

/// What came of a change.
#[derive(Debug)]
pub(in crate::cli) enum Answer {
    /// It was made. `null` where there is nothing to say.
    Done(Value),
    /// It waits for this approval.
    Waits(Value),
}

/// A request that was refused, or got no answer.
#[derive(Debug)]
pub(in crate::cli) struct CallError {
    /// What was answered; `None` for no answer.
    pub(in crate::cli) status: Option<u16>,
    /// For a person.
    pub(in crate::cli) text: String,
}

/// What helps whoever is not known.
const SHOW_A_TOKEN: &str = "show an admin token: --admin-token-file FILE, or PASSKEY_HSM_ADMIN_TOKEN";

impl CallError {
    /// There was no answer.
    pub(super) fn unanswered(text: impl Into<String>) -> Self {
        Self { status: None, text: text.into() }
    }

    /// Whether the same request may succeed a moment later.
    pub(in crate::cli) fn is_passing(&self) -> bool {
        self.status == Some(503)
    }
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        Self::new(error.text)
    }
}

impl Reply {
    /// Itself, unless it is a refusal.
    pub(super) fn refused(self, token_shown: bool) -> Result<Self, CallError> {
        if (200..300).contains(&self.status) {
            return Ok(self);
        }
        let body: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        let text = |member: &str| body.get(member).and_then(Value::as_str).unwrap_or_default().trim_end();
        let mut said = match (text("title"), text("details")) {
            ("", _) => format!("the server answered {}", self.status),
            (title, "") if self.status >= 500 => format!("{title} (the server's log says why)"),
            (title, "") => title.to_owned(),
            (title, details) => format!("{title}: {details}"),
        };
        if matches!(self.status, 401 | 403) && !token_shown {
            said = format!("{said}; {SHOW_A_TOKEN}");
        }
        Err(CallError { status: Some(self.status), text: said })
    }

    /// The body; `null` where there is none.
    pub(super) fn json(&self) -> Result<Value, CallError> {
        if self.body.iter().all(u8::is_ascii_whitespace) {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&self.body)
            .map_err(|e| CallError { status: Some(self.status), text: format!("the answer cannot be read: {e}") })
    }

    /// The body as that of a change.
    pub(super) fn answer(&self) -> Result<Answer, CallError> {
        let body = self.json()?;
        Ok(if self.status == 202 { Answer::Waits(body) } else { Answer::Done(body) })
    }

    /// Path and query of the page after this one.
    pub(super) fn next_page(&self) -> Option<String> {
        let links = self.headers.get(header::LINK)?.to_str().ok()?;
        let next = links.split(',').find(|link| link.contains("rel=\"next\""))?;
        let url = next.split_once('<')?.1.split_once('>')?.0;
        let url = url::Url::parse(url).ok()?;
        Some(url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path())))
    }

    /// When it was given, to the second.
    pub(super) fn date(&self) -> Option<Timestamp> {
        let text = self.headers.get(header::DATE)?.to_str().ok()?;
        let date = OffsetDateTime::parse(text, &Rfc2822).ok()?;
        Some(Timestamp::from_millis(date.unix_timestamp().checked_mul(1000)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(status: u16, body: &str) -> Reply {
        Reply { status, headers: HeaderMap::new(), body: body.as_bytes().to_vec() }
    }

    #[test]
    fn a_refusal_says_what_the_api_says() {
        let text = |status, body, token| reply(status, body).refused(token).unwrap_err().text;
        let rule = r#"{"title":"the key was not changed","details":"state: the key is active","status":409}"#;
        assert_eq!(text(409, rule, false), "the key was not changed: state: the key is active");
        assert_eq!(
            text(500, r#"{"title":"Internal Server Error","status":500}"#, false),
            "Internal Server Error (the server's log says why)"
        );
        assert_eq!(text(502, "<html>", false), "the server answered 502");
        assert!(text(401, r#"{"title":"unauthorized","details":"","status":401}"#, false).ends_with(SHOW_A_TOKEN));
        assert_eq!(text(403, r#"{"title":"no","details":"","status":403}"#, true), "no");
    }

    #[test]
    fn what_waits_is_not_done() {
        assert!(matches!(reply(202, r#"{"id":"1"}"#).answer(), Ok(Answer::Waits(Value::Object(_)))));
        assert!(matches!(reply(204, "").answer(), Ok(Answer::Done(Value::Null))));
        assert!(reply(200, "{").answer().is_err());
    }

    #[test]
    fn pages_and_dates_are_read() {
        let mut page = reply(200, "[]");
        assert!(page.next_page().is_none() && page.date().is_none());
        let links =
            r#"<http://localhost/inventory?page=3&per_page=2>; rel="last",<http://localhost/inventory?page=2&per_page=2>; rel="next""#;
        page.headers.insert(header::LINK, links.parse().unwrap());
        page.headers.insert(header::DATE, "Thu, 01 Jan 2026 00:00:01 GMT".parse().unwrap());
        assert_eq!(page.next_page().as_deref(), Some("/inventory?page=2&per_page=2"));
        assert_eq!(page.date().unwrap().as_millis(), 1_767_225_601_000);
    }
}
