//! What handlers ask of a request: its API key, its JSON members.

use axum::{body::Bytes, extract::FromRequestParts};
use hyper::{HeaderMap, header, http::request::Parts};
use serde::{Deserialize, Deserializer, de};
use serde_json::value::RawValue;

use super::{AppState, Error};
use crate::domain::{ApiKey, Tenant};

/// Proof that the caller holds one of the tenant's API keys. Comes before the body among a handler's arguments, so that a stranger's body
/// is not looked at.
#[derive(Debug)]
pub(super) struct Backend;

impl FromRequestParts<AppState> for Backend {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Error> {
        let tenant = parts.extensions.get::<Tenant>().ok_or_else(Error::tenant_not_found)?.id;
        let header = parts.headers.get("apikey").and_then(|v| v.to_str().ok());
        let key: ApiKey = header.and_then(|v| v.parse().ok()).ok_or_else(Error::api_key_invalid)?;
        if state.services.api_keys.authenticate(tenant, &key).await? { Ok(Self) } else { Err(Error::api_key_invalid()) }
    }
}

/// The members of a JSON object, found by name whatever its case, as Go does. An empty body is `{}`.
#[derive(Debug)]
pub(super) struct JsonObject {
    body: Bytes,
}

/// What is wrong with the members asked for so far; all of it is reported at once.
#[derive(Debug, Default)]
pub(super) struct Faults(Vec<String>);

impl Faults {
    pub(super) fn add(&mut self, fault: String) {
        self.0.push(fault);
    }

    /// # Errors
    /// When anything was wrong.
    pub(super) fn into_result(self) -> Result<(), Error> {
        if self.0.is_empty() { Ok(()) } else { Err(Error::invalid(&self.0)) }
    }
}

impl JsonObject {
    /// # Errors
    /// 400 when a body that is there is declared to be something else than JSON.
    pub(super) fn new(headers: &HeaderMap, body: Bytes) -> Result<Self, Error> {
        let media_type = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
        let is_json = media_type.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json");
        if body.is_empty() || is_json { Ok(Self { body }) } else { Err(Error::unprocessable("Unsupported Media Type")) }
    }

    /// Reads the members. What follows the object is ignored, as in the contract.
    ///
    /// # Errors
    /// 400 when the body is not an object, or has a member twice.
    pub(super) fn members(&self) -> Result<Members<'_>, Error> {
        if self.body.is_empty() {
            return Ok(Members { body: &self.body, members: Vec::new() });
        }
        let mut deserializer = serde_json::Deserializer::from_slice(&self.body);
        let members = Option::<Pairs<'_>>::deserialize(&mut deserializer).map_err(|e| self.refuse(&e))?;
        let members = members.map(|pairs| pairs.0).unwrap_or_default();
        for (n, (name, _)) in members.iter().enumerate() {
            if members.iter().take(n).any(|(other, _)| other.eq_ignore_ascii_case(name)) {
                let name: String = name.chars().take(32).collect();
                return Err(Error::unprocessable(format!("duplicate member {}", name.escape_debug())));
            }
        }
        Ok(Members { body: &self.body, members })
    }

    fn refuse(&self, error: &serde_json::Error) -> Error {
        let before: usize = self.body.split(|b| *b == b'\n').take(error.line().saturating_sub(1)).map(|line| line.len() + 1).sum();
        let offset = (before + error.column()).min(self.body.len());
        let what = if error.is_data() { "Unmarshal type error" } else { "Syntax error" };
        Error::unprocessable(format!("{what}: offset={offset}, error={error}"))
    }
}

/// The members of one object.
#[derive(Debug)]
pub(super) struct Members<'a> {
    body: &'a [u8],
    members: Vec<(String, &'a RawValue)>,
}

impl Members<'_> {
    /// The text called `name`; `None` when it is missing or null.
    ///
    /// # Errors
    /// 400 when it is anything else.
    pub(super) fn text(&self, name: &str) -> Result<Option<String>, Error> {
        let Some((_, raw)) = self.members.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)) else { return Ok(None) };
        let raw = raw.get();
        serde_json::from_str(raw).map_err(|_| {
            let found = match raw.as_bytes().first() {
                Some(b'{') => "object",
                Some(b'[') => "array",
                Some(b't' | b'f') => "bool",
                Some(b'"') => "text that is not Unicode",
                _ => "number",
            };
            let end = (raw.as_ptr() as usize).saturating_sub(self.body.as_ptr() as usize) + raw.len();
            Error::unprocessable(format!("Unmarshal type error: expected=string, got={found}, field={name}, offset={end}"))
        })
    }
}

/// An object's members in their order, doubles included.
struct Pairs<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Pairs<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Pairs<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry::<String, &'de RawValue>()? {
                    // Checking for doubles is quadratic; no call has nearly so many members.
                    if pairs.len() == MAX_MEMBERS {
                        return Err(de::Error::custom(format_args!("an object has at most {MAX_MEMBERS} members")));
                    }
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }

        deserializer.deserialize_map(Visitor)
    }
}

const MAX_MEMBERS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn object(body: &'static str) -> Result<JsonObject, Error> {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json; charset=utf-8"));
        JsonObject::new(&headers, Bytes::from_static(body.as_bytes()))
    }

    fn text(body: &'static str) -> Result<Option<String>, String> {
        object(body).and_then(|o| o.members()?.text("user_id")).map_err(|e| e.to_string())
    }

    #[test]
    fn finds_members_as_go_does() {
        assert_eq!(text(r#"{"user_id":"u1"}"#), Ok(Some("u1".into())));
        assert_eq!(text(r#"{"User_ID":"u\u0031"} trailing"#), Ok(Some("u1".into())));
        for absent in ["", "{}", "null", r#"{"user_id":null}"#] {
            assert_eq!(text(absent), Ok(None), "{absent}");
        }
    }

    #[test]
    fn refuses_with_the_contracts_words() {
        let prefix = "400 unable to process request: ";
        for (body, why) in [
            (r#"{"user_id":1234}"#, "Unmarshal type error: expected=string, got=number, field=user_id, offset=15"),
            (r#"{"user_id":"a","USER_ID":"b"}"#, "duplicate member USER_ID"),
            ("[]", "Unmarshal type error: offset="),
            ("{", "Syntax error: offset=1, error="),
            (r#"{"user_id":"\ud800"}"#, "Unmarshal type error: expected=string, got=text that is not Unicode"),
        ] {
            let error = text(body).unwrap_err();
            assert!(error.starts_with(&format!("{prefix}{why}")), "{body}: {error}");
        }
    }

    #[test]
    fn a_body_of_another_type_is_refused_unless_it_is_empty() {
        let headers = HeaderMap::new();
        assert!(JsonObject::new(&headers, Bytes::new()).is_ok());
        assert!(JsonObject::new(&headers, Bytes::from_static(b"user_id=1")).is_err());
    }
}
