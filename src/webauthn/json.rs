//! JSON read strictly: types are exact and no object has a member twice, at any depth.
//!
//! A member that is there twice is read differently by different parsers; whoever wrote it wants two readers to disagree.

use std::{borrow::Cow, collections::HashMap, fmt};

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

/// base64url with or without its padding, of one encoding otherwise: no stray bits at the end.
const BASE64URL: GeneralPurpose =
    GeneralPurpose::new(&alphabet::URL_SAFE, GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent));

/// A value; strings without escapes are borrowed from the text.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Json<'a> {
    Null,
    Bool(bool),
    /// A whole number that fits.
    Integer(i64),
    /// Any other number: nothing here needs its value.
    Number,
    String(Cow<'a, str>),
    Array(Vec<Json<'a>>),
    Object(Object<'a>),
}

/// An object.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Object<'a>(HashMap<Cow<'a, str>, Json<'a>>);

/// What is wrong with a text or a member of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    #[error("not the JSON it should be: {0}")]
    Syntax(String),
    #[error("not a JSON object")]
    NotAnObject,
    #[error("{0} is missing")]
    Missing(&'static str),
    #[error("{0} must be {1}")]
    Mistyped(&'static str, &'static str),
    #[error("{0} is empty")]
    Empty(&'static str),
    #[error("{0} is too long")]
    TooLong(&'static str),
    #[error("{0} is not base64url")]
    NotBase64Url(&'static str),
    #[error("{0}: {1}")]
    Within(&'static str, Box<Fault>),
}

impl<'a> Object<'a> {
    /// The whole of `text` as one object.
    pub(super) fn parse(text: &'a [u8]) -> Result<Self, Fault> {
        match serde_json::from_slice(text) {
            Ok(Json::Object(object)) => Ok(object),
            Ok(_) => Err(Fault::NotAnObject),
            Err(error) => Err(Fault::Syntax(error.to_string())),
        }
    }

    /// A member, if it is there and not `null`.
    pub(super) fn get(&self, name: &str) -> Option<&Json<'a>> {
        self.0.get(name).filter(|value| **value != Json::Null)
    }

    /// A text that must be there and not empty.
    pub(super) fn string(&self, name: &'static str) -> Result<&str, Fault> {
        match self.0.get(name) {
            None => Err(Fault::Missing(name)),
            Some(Json::String(text)) if text.is_empty() => Err(Fault::Empty(name)),
            Some(Json::String(text)) => Ok(text),
            Some(_) => Err(Fault::Mistyped(name, "a string")),
        }
    }

    /// A whole number of 64 bits that must be there. `1.0` and `1e3` are none.
    pub(super) fn integer(&self, name: &'static str) -> Result<i64, Fault> {
        match self.0.get(name) {
            None => Err(Fault::Missing(name)),
            Some(Json::Integer(value)) => Ok(*value),
            Some(_) => Err(Fault::Mistyped(name, "an integer")),
        }
    }

    /// Bytes in base64url that must be there: 1 to `max` of them, judged before they are decoded.
    pub(super) fn bytes(&self, name: &'static str, max: usize) -> Result<Vec<u8>, Fault> {
        let text = self.string(name)?;
        if text.len() > max.div_ceil(3) * 4 {
            return Err(Fault::TooLong(name));
        }
        let bytes = BASE64URL.decode(text).map_err(|_| Fault::NotBase64Url(name))?;
        if bytes.len() > max { Err(Fault::TooLong(name)) } else { Ok(bytes) }
    }

    /// An object that must be there.
    pub(super) fn object(&self, name: &'static str) -> Result<&Self, Fault> {
        match self.0.get(name) {
            None => Err(Fault::Missing(name)),
            Some(Json::Object(object)) => Ok(object),
            Some(_) => Err(Fault::Mistyped(name, "an object")),
        }
    }
}

impl<'de> Deserialize<'de> for Json<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Json<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Json<'de>, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json<'de>, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json<'de>, E> {
        Ok(Json::Integer(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json<'de>, E> {
        Ok(i64::try_from(value).map_or(Json::Number, Json::Integer))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Json<'de>, E> {
        Ok(Json::Number)
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Json<'de>, E> {
        Ok(Json::String(Cow::Borrowed(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Json<'de>, E> {
        Ok(Json::String(Cow::Owned(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Json<'de>, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Json::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json<'de>, A::Error> {
        let mut members = HashMap::new();
        while let Some(MemberName(name)) = map.next_key()? {
            // The name is the client's: cut, and escaped, before it goes into an answer or a log.
            let shown: String = name.chars().take(32).collect();
            if members.insert(name, map.next_value()?).is_some() {
                return Err(A::Error::custom(format_args!("member {shown:?} is there twice")));
            }
        }
        Ok(Json::Object(Object(members)))
    }
}

/// A member's name: `Cow` alone would always copy.
#[derive(serde::Deserialize)]
#[serde(transparent)]
struct MemberName<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duplicate_members_are_refused_at_every_depth() {
        for text in [r#"{"a":1,"a":1}"#, r#"{"a":{"b":1,"c":2,"b":3}}"#, r#"{"a":[[{"b":1,"b":1}]]}"#, r#"{"a":1,"\u0061":2}"#] {
            let Err(Fault::Syntax(error)) = Object::parse(text.as_bytes()) else { panic!("{text}") };
            assert!(error.contains("is there twice"), "{error}");
        }
        assert!(Object::parse(br#"{"a":{"b":1},"b":{"b":1}}"#).is_ok());
    }

    #[test]
    fn only_an_object_and_all_of_it() {
        assert_eq!(Object::parse(b"[]"), Err(Fault::NotAnObject));
        assert_eq!(Object::parse(b"null"), Err(Fault::NotAnObject));
        for text in [&b""[..], b"{", b"{}x", b"{\"a\":\xff}", b"{\"a\":\"\xff\"}", b"\xef\xbb\xbf{}", b"{'a':1}"] {
            assert!(matches!(Object::parse(text), Err(Fault::Syntax(_))), "{text:?}");
        }
        let deep = "[".repeat(100_000);
        assert!(matches!(Object::parse(format!("{{\"a\":{deep}").as_bytes()), Err(Fault::Syntax(_))));
    }

    #[test]
    fn base64url_of_one_alphabet_and_one_form() {
        let bytes = |text: &str| Object::parse(format!(r#"{{"a":"{text}"}}"#).as_bytes()).unwrap().bytes("a", 4);
        assert_eq!(bytes("-_8"), Ok(vec![0xfb, 0xff]));
        assert_eq!(bytes("-_8="), Ok(vec![0xfb, 0xff]));
        assert_eq!(bytes(""), Err(Fault::Empty("a")));
        for text in ["+/8", "-_8==", "-_9", "A", "-_8\\n", " -_8"] {
            assert_eq!(bytes(text), Err(Fault::NotBase64Url("a")), "{text}");
        }
        assert_eq!(bytes("AAAAAAA"), Err(Fault::TooLong("a")));
        assert_eq!(bytes("AAAAAAAAA"), Err(Fault::TooLong("a")));
    }

    #[test]
    fn whole_numbers() {
        let integer = |value: &str| Object::parse(format!(r#"{{"a":{value}}}"#).as_bytes()).unwrap().integer("a");
        assert_eq!(integer("1553028043529"), Ok(1_553_028_043_529));
        assert_eq!(integer("-9223372036854775808"), Ok(i64::MIN));
        for other in ["9223372036854775808", "1.0", "1e3", "\"1\"", "null"] {
            assert_eq!(integer(other), Err(Fault::Mistyped("a", "an integer")), "{other}");
        }
        assert_eq!(Object::parse(b"{}").unwrap().integer("a"), Err(Fault::Missing("a")));
    }
}
