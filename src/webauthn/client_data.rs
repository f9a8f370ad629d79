//! Client data: what the browser says it was asked, by whom (WebAuthn L3 section 5.8.1).

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use super::json::{Fault, Json, Object};
use crate::domain::Challenge;

/// `CollectedClientData`, of the ceremony it names itself.
#[derive(Debug, Clone)]
pub(super) struct ClientData {
    /// `webauthn.create` or `webauthn.get`.
    pub(super) ceremony: String,
    /// What the relying party sent.
    pub(super) challenge: Challenge,
    /// Where the ceremony ran, as the client writes it.
    pub(super) origin: String,
    /// Whether it ran in a frame of another origin than its ancestors'. Older clients do not say; then it did not.
    pub(super) cross_origin: bool,
    /// The top-level origin, where it ran in such a frame.
    pub(super) top_origin: Option<String>,
}

impl ClientData {
    /// Steps 5 and 6 of section 7.1, 8 and 9 of section 7.2: UTF-8 decode, which drops a byte order mark and replaces what is not UTF-8,
    /// then JSON. Members that the standard does not know are ignored; an optional one that is `null`, as some clients write it, is not
    /// there.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Fault> {
        let text = String::from_utf8_lossy(bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes));
        let members = Object::parse(text.as_bytes())?;
        let challenge = members.string("challenge")?;
        check_token_binding(&members)?;
        Ok(Self {
            ceremony: members.string("type")?.to_owned(),
            challenge: URL_SAFE_NO_PAD
                .decode(challenge)
                .map(|bytes| Challenge::from_bytes(&bytes))
                .map_err(|_| Fault::NotBase64Url("challenge"))?,
            origin: members.string("origin")?.to_owned(),
            cross_origin: match members.get("crossOrigin") {
                None => false,
                Some(Json::Bool(value)) => *value,
                Some(_) => return Err(Fault::Mistyped("crossOrigin", "a boolean")),
            },
            top_origin: match members.get("topOrigin") {
                None => None,
                Some(_) => Some(members.string("topOrigin")?.to_owned()),
            },
        })
    }
}

/// The challenge in serialized client data, if it can be read.
pub fn client_challenge(client_data_json: &[u8]) -> Option<Challenge> {
    ClientData::parse(client_data_json).ok().map(|data| data.challenge)
}

/// Token binding has left the standard, browsers and TLS; what is left of it must still be well-formed (FIDO conformance, Resp-2 F-15 to
/// F-17).
fn check_token_binding(members: &Object<'_>) -> Result<(), Fault> {
    if members.get("tokenBinding").is_none() {
        return Ok(());
    }
    match members.object("tokenBinding")?.string("status").map_err(|_| Fault::Mistyped("tokenBinding.status", "a string"))? {
        "present" | "supported" | "not-supported" => Ok(()),
        _ => Err(Fault::Mistyped("tokenBinding.status", "present, supported or not-supported")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(extra: &str) -> Result<ClientData, Fault> {
        ClientData::parse(format!(r#"{{"type":"webauthn.create","challenge":"AAEC","origin":"https://example.org"{extra}}}"#).as_bytes())
    }

    #[test]
    fn members_are_read_and_unknown_ones_ignored() {
        let data = parse(r#","crossOrigin":true,"topOrigin":"https://top.example","new":{"a":[null,1.5]}"#).unwrap();
        assert_eq!((data.ceremony.as_str(), data.origin.as_str()), ("webauthn.create", "https://example.org"));
        assert_eq!(data.challenge.as_bytes(), [0, 1, 2]);
        assert!(data.cross_origin);
        assert_eq!(data.top_origin.as_deref(), Some("https://top.example"));
        assert!(!parse("").unwrap().cross_origin);
        let data = parse(r#","crossOrigin":null,"topOrigin":null,"tokenBinding":null"#).unwrap();
        assert!(!data.cross_origin && data.top_origin.is_none());
    }

    #[test]
    fn a_byte_order_mark_is_dropped_once() {
        let json = br#"{"type":"t","challenge":"AA","origin":"o","x":"?"}"#;
        assert!(ClientData::parse(&[b"\xef\xbb\xbf", &json[..]].concat()).is_ok());
        assert!(ClientData::parse(&[b"\xef\xbb\xbf\xef\xbb\xbf", &json[..]].concat()).is_err());
        let replaced: Vec<u8> = json.iter().map(|&b| if b == b'?' { 0xff } else { b }).collect();
        assert!(ClientData::parse(&replaced).is_ok());
    }

    #[test]
    fn each_member_has_its_type() {
        for extra in [
            r#","crossOrigin":"true""#,
            r#","crossOrigin":1"#,
            r#","topOrigin":1"#,
            r#","topOrigin":"""#,
            r#","tokenBinding":"unused""#,
            r#","tokenBinding":{}"#,
            r#","tokenBinding":{"status":1}"#,
            r#","tokenBinding":{"status":"unknown"}"#,
            r#","type":"webauthn.create""#,
        ] {
            assert!(parse(extra).is_err(), "{extra}");
        }
        for extra in ["present", "supported", "not-supported"] {
            assert!(parse(&format!(r#","tokenBinding":{{"status":"{extra}","id":"x"}}"#)).is_ok());
        }
    }

    #[test]
    fn what_must_be_there() {
        for json in [
            r#"{"challenge":"AA","origin":"o"}"#,
            r#"{"type":"","challenge":"AA","origin":"o"}"#,
            r#"{"type":1,"challenge":"AA","origin":"o"}"#,
            r#"{"type":"t","origin":"o"}"#,
            r#"{"type":"t","challenge":"","origin":"o"}"#,
            r#"{"type":"t","challenge":7,"origin":"o"}"#,
            r#"{"type":"t","challenge":"AA==","origin":"o"}"#,
            r#"{"type":"t","challenge":"+A","origin":"o"}"#,
            r#"{"type":"t","challenge":"AA"}"#,
            r#"{"type":"t","challenge":"AA","origin":""}"#,
            r#"{"type":"t","challenge":"AA","origin":["o"]}"#,
            "[]",
            "",
        ] {
            assert!(ClientData::parse(json.as_bytes()).is_err(), "{json}");
        }
    }
}
