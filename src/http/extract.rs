//! What handlers ask of a request: its API key, its JSON members.

use std::{borrow::Cow, fmt, str::FromStr};

use axum::{body::Bytes, extract::FromRequestParts};
use hyper::{HeaderMap, header, http::request::Parts};
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Deserializer, de};
use serde_json::value::RawValue;
use zeroize::Zeroize as _;

use super::{AppState, Error};
use crate::domain::{ApiKey, Tenant, go_json};

/// Proof that the caller holds one of the tenant's API keys. Comes before the body among a handler's arguments, so that a stranger's body
/// is not looked at.
#[derive(Debug)]
pub(super) struct Backend;

impl FromRequestParts<AppState> for Backend {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Error> {
        let tenant = parts.extensions.get::<Tenant>().ok_or_else(Error::tenant_not_found)?;
        Self::identified(state, tenant, &parts.headers).await
    }
}

impl Backend {
    /// The proof, from a request's headers.
    ///
    /// # Errors
    /// 401 without a key, or with one that opens nothing.
    pub(super) async fn identified(state: &AppState, tenant: &Tenant, headers: &HeaderMap) -> Result<Self, Error> {
        let header = headers.get(API_KEY).and_then(|v| v.to_str().ok());
        let key: ApiKey = header.and_then(|v| v.parse().ok()).ok_or_else(Error::api_key_invalid)?;
        if state.services.api_keys.authenticate(tenant.id, &key).await? { Ok(Self) } else { Err(Error::api_key_invalid()) }
    }

    /// Whether a request has no key at all, or an empty one.
    pub(super) fn shows_nothing(headers: &HeaderMap) -> bool {
        headers.get(API_KEY).is_none_or(|value| value.as_bytes().trim_ascii().is_empty())
    }
}

const API_KEY: &str = "apikey";

/// The last segment of the path: whatever was sent in the place of an id. What the query or the body calls an id does not count, unlike in
/// the contract: rules of gateways go by the path.
#[derive(Debug)]
pub(super) struct LastSegment(Vec<u8>);

impl FromRequestParts<AppState> for LastSegment {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &AppState) -> Result<Self, Self::Rejection> {
        Ok(Self(percent_decode_str(parts.uri.path().rsplit('/').next().unwrap_or_default()).collect()))
    }
}

impl LastSegment {
    /// As text; `None` when it is none.
    pub(super) fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }

    /// As text that can be shown, whatever it is.
    pub(super) fn shown(&self) -> String {
        String::from_utf8_lossy(&self.0).into_owned()
    }
}

/// Whether a body is declared to be JSON.
pub(super) fn is_json(headers: &HeaderMap) -> bool {
    let media_type = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    media_type.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json")
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

    /// What `text` says, which must be there and not be empty; else that is a fault, called `name`.
    pub(super) fn required<T: FromStr<Err: fmt::Display>>(&mut self, name: &str, text: Option<String>) -> Option<T> {
        let parsed = match text.filter(|text| !text.is_empty()) {
            None => Err(format!("{name} is a required field")),
            Some(text) => text.parse().map_err(|e| format!("{name}: {e}")),
        };
        parsed.map_err(|fault| self.add(fault)).ok()
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
        if body.is_empty() || is_json(headers) { Ok(Self { body }) } else { Err(Error::unprocessable("Unsupported Media Type")) }
    }

    /// The same with U+FFFD for each byte that is not UTF-8, as Go reads JSON.
    pub(super) fn coerced(self) -> Self {
        match go_json::coerce_utf8(&self.body) {
            Cow::Borrowed(_) => self,
            Cow::Owned(text) => Self { body: text.into() },
        }
    }

    /// Overwrites what was sent, as far as nobody else holds it.
    pub(super) fn wipe(self) {
        if let Ok(mut body) = self.body.try_into_mut() {
            body.as_mut().zeroize();
        }
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
    /// The JSON called `name`, as it was sent; `None` when it is missing or null.
    pub(super) fn json(&self, name: &str) -> Option<&str> {
        self.find(name).map(RawValue::get).filter(|raw| *raw != "null")
    }

    /// The object without the members called `names`, as it was sent.
    pub(super) fn without(&self, names: &[&str]) -> String {
        let kept = self.members.iter().filter(|(name, _)| !names.iter().any(|other| other.eq_ignore_ascii_case(name)));
        let kept = kept.map(|(name, raw)| format!("{}:{}", serde_json::Value::from(name.as_str()), raw.get()));
        format!("{{{}}}", kept.collect::<Vec<_>>().join(","))
    }

    /// The text called `name`; `None` when it is missing or null.
    ///
    /// # Errors
    /// 400 when it is anything else.
    pub(super) fn text(&self, name: &str) -> Result<Option<String>, Error> {
        self.typed(name, "string")
    }

    /// The integer called `name`; `None` when it is missing or null.
    ///
    /// # Errors
    /// 400 when it is anything else, or has more than 64 bits.
    pub(super) fn integer(&self, name: &str) -> Result<Option<i64>, Error> {
        self.typed(name, "integer")
    }

    /// Whether `name` is true; false when it is missing or null.
    ///
    /// # Errors
    /// 400 when it is anything else.
    pub(super) fn flag(&self, name: &str) -> Result<bool, Error> {
        Ok(self.typed(name, "bool")?.unwrap_or_default())
    }

    /// The texts of the array called `name`; `None` when it is missing or null.
    ///
    /// # Errors
    /// 400 when it is anything else.
    pub(super) fn texts(&self, name: &str) -> Result<Option<Vec<String>>, Error> {
        self.typed(name, "array of strings")
    }

    /// # Errors
    /// 400 when there is a member of another name than these: one that is misspelt must not pass for one that was left out.
    pub(super) fn only(&self, names: &[&str]) -> Result<(), Error> {
        let stranger = self.members.iter().find(|(name, _)| !names.iter().any(|known| known.eq_ignore_ascii_case(name)));
        let Some((name, _)) = stranger else { return Ok(()) };
        let name: String = name.chars().take(32).collect();
        Err(Error::unprocessable(format!("unknown member {}: there are {}", name.escape_debug(), names.join(", "))))
    }

    fn typed<T: de::DeserializeOwned>(&self, name: &str, expected: &str) -> Result<Option<T>, Error> {
        let Some(raw) = self.find(name).map(RawValue::get) else { return Ok(None) };
        serde_json::from_str(raw).map_err(|_| {
            let found = match raw.as_bytes().first() {
                Some(b'{') => "object",
                Some(b'[') => "array",
                Some(b't' | b'f') => "bool",
                Some(b'"') if expected == "string" => "text that is not Unicode",
                Some(b'"') => "string",
                _ => "number",
            };
            let end = (raw.as_ptr() as usize).saturating_sub(self.body.as_ptr() as usize) + raw.len();
            Error::unprocessable(format!("Unmarshal type error: expected={expected}, got={found}, field={name}, offset={end}"))
        })
    }

    fn find(&self, name: &str) -> Option<&RawValue> {
        self.members.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, raw)| *raw)
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
    fn json_is_as_it_was_sent() {
        let json = |body| object(body).unwrap().coerced().members().unwrap().json("data").map(str::to_owned);
        assert_eq!(json(r#"{"DATA": {"a" :1e3, "a":2} }"#).as_deref(), Some(r#"{"a" :1e3, "a":2}"#));
        assert_eq!((json(r#"{"data": null }"#), json("{}"), json("")), (None, None, None));
    }

    #[test]
    fn bytes_that_are_no_text_are_replaced_where_that_is_asked_for() {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
        let object = JsonObject::new(&headers, Bytes::from_static(b"{\"user_id\":\"a\xff\"}")).unwrap();
        assert!(object.members().is_err());
        assert_eq!(object.coerced().members().unwrap().text("user_id").unwrap().as_deref(), Some("a\u{fffd}"));
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
