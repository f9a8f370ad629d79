//! CORS, per tenant (the Fetch standard, section 3.2).

use axum::{
    Extension,
    extract::Request,
    middleware::Next,
    response::{IntoResponse, Response},
};
use hyper::{
    HeaderMap, Method,
    header::{self, HeaderValue},
};

use super::{Error, error};
use crate::domain::{Cors, Tenant};

/// Answers preflights before an API key is asked for, and marks every other answer for the page that asked.
///
/// A page of an origin that is not allowed is still served; its browser keeps the answer from it.
pub(super) async fn layer(Extension(tenant): Extension<Tenant>, request: Request, next: Next) -> Response {
    let origin = request.headers().get(header::ORIGIN).cloned();
    let allowed = allow(&tenant.config.cors, origin.as_ref());
    if request.method() == Method::OPTIONS {
        return error::no_content(preflight(allowed, request.headers()));
    }
    // HEAD is served on no route of the contract.
    let mut response = if request.method() == Method::HEAD { Error::not_found().into_response() } else { next.run(request).await };
    let headers = response.headers_mut();
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
    insert_allowed(headers, allowed);
    response
}

fn preflight(allowed: Option<HeaderValue>, request: &HeaderMap) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for name in ["Origin", "Access-Control-Request-Method", "Access-Control-Request-Headers"] {
        headers.append(header::VARY, HeaderValue::from_static(name));
    }
    if allowed.is_some() {
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET,HEAD,PUT,PATCH,POST,DELETE"));
        if let Some(asked) = request.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
            headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, asked.clone());
        }
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("7200"));
    }
    insert_allowed(&mut headers, allowed);
    headers
}

fn insert_allowed(headers: &mut HeaderMap, allowed: Option<HeaderValue>) {
    if let Some(origin) = allowed {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    }
}

/// The value of `Access-Control-Allow-Origin` for a page of `origin`, if it may read answers.
fn allow(cors: &Cors, origin: Option<&HeaderValue>) -> Option<HeaderValue> {
    let origin = origin?;
    let text = origin.to_str().ok()?;
    for pattern in &cors.allowed_origins {
        if pattern == "*" {
            // Browsers refuse the literal `*` where credentials are included: the safe reading of a careless setting.
            return Some(if cors.allow_unsafe_wildcard { origin.clone() } else { HeaderValue::from_static("*") });
        }
        if glob(pattern.as_bytes(), text.as_bytes()) {
            return Some(origin.clone());
        }
    }
    None
}

/// Whether `text` matches `pattern`, in which `*` is any run of characters and `?` any one. Linear in both: a star that is passed is never
/// tried again.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(c) if *c == b'?' || text.get(t) == Some(c) => {
                p += 1;
                t += 1;
            }
            _ => match &mut star {
                Some((at, from)) => {
                    *from += 1;
                    (p, t) = (*at + 1, *from);
                }
                None => return false,
            },
        }
    }
    pattern.get(p..).is_some_and(|rest| rest.iter().all(|c| *c == b'*'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(patterns: &[&str], unsafe_wildcard: bool, origin: &'static str) -> Option<String> {
        let cors = Cors { allowed_origins: patterns.iter().map(ToString::to_string).collect(), allow_unsafe_wildcard: unsafe_wildcard };
        allow(&cors, Some(&HeaderValue::from_static(origin))).map(|v| v.to_str().unwrap().to_owned())
    }

    #[test]
    fn origins_match_exactly_or_by_pattern() {
        let echo = Some("https://a.example.org".to_owned());
        assert_eq!(allowed(&["https://a.example.org"], false, "https://a.example.org"), echo);
        assert_eq!(allowed(&["https://*.example.org"], false, "https://a.example.org"), echo);
        assert_eq!(allowed(&["https://?.example.org"], false, "https://a.example.org"), echo);
        assert_eq!(allowed(&["https://b.example.org", "*a.exa*"], false, "https://a.example.org"), echo);
        assert_eq!(allowed(&["https://*.example.org"], false, "https://a.example.org.evil.test"), None);
        assert_eq!(allowed(&["https://example.org"], true, "https://a.example.org"), None);
    }

    #[test]
    fn the_lone_star_is_echoed_only_when_told_to() {
        assert_eq!(allowed(&["*"], false, "https://a.example.org").as_deref(), Some("*"));
        assert_eq!(allowed(&["*"], true, "https://a.example.org").as_deref(), Some("https://a.example.org"));
    }
}
