//! `RegistrationResponseJSON` (WebAuthn L3 section 5.1).

use super::{parse_body, parse_client_data, read_id};
use crate::{
    domain::{Challenge, CredentialId},
    webauthn::{
        attestation::AttestationObject,
        client_data::ClientData,
        json::{Fault, Json, Object},
    },
};

/// The most bytes of an attestation object. A TPM's chain makes some 6,000.
const MAX_ATTESTATION_OBJECT: usize = 64 * 1024;

/// The most transports, and the most bytes of each. The standard names six.
const MAX_TRANSPORTS: usize = 16;
const MAX_TRANSPORT_LEN: usize = 32;

/// A body that cannot be read as a credential. Nothing was looked up and nothing is consumed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Not a public-key credential of the ceremony; the contract's `Parse error for Registration`.
    #[error("Parse error for Registration: {0}")]
    Credential(String),
    /// The client data cannot be read; the contract's `Error parsing attestation response`.
    #[error("Error parsing attestation response: {0}")]
    ClientData(String),
    /// The attestation object cannot be read; the same to the contract.
    #[error("Error parsing attestation response: {0}")]
    AttestationObject(String),
}

impl ParseError {
    fn credential(fault: &Fault) -> Self {
        Self::Credential(fault.to_string())
    }

    fn client_data(fault: &Fault) -> Self {
        Self::ClientData(fault.to_string())
    }

    fn attestation_object(fault: &Fault) -> Self {
        Self::AttestationObject(fault.to_string())
    }

    /// The step of WebAuthn L3 section 7.1 that such a body does not come through.
    pub const fn step(&self) -> u8 {
        match self {
            Self::Credential(_) => 3,
            Self::ClientData(_) => 6,
            Self::AttestationObject(_) => 13,
        }
    }
}

/// `RegistrationResponseJSON`: well-formed, not verified.
#[derive(Debug, Clone)]
pub struct RegistrationCredential {
    id: CredentialId,
    pub(in crate::webauthn) client_data: ClientData,
    client_data_json: Vec<u8>,
    attestation_object: Vec<u8>,
    transports: Vec<String>,
}

impl RegistrationCredential {
    /// Reads a body. Members that the standard does not know, and the response's convenience copies (`authenticatorData`, `publicKey`,
    /// `publicKeyAlgorithm`, which nothing signs), are ignored.
    pub fn parse(body: &[u8]) -> Result<Self, ParseError> {
        let credential = parse_body(body).map_err(|fault| ParseError::credential(&fault))?;
        let id = read_id(&credential).map_err(|fault| ParseError::credential(&fault))?;
        let response = credential.object("response").map_err(|fault| ParseError::credential(&fault))?;
        let transports = transports(&credential, response).map_err(|fault| ParseError::credential(&fault))?;

        let (client_data, client_data_json) = parse_client_data(response).map_err(|fault| ParseError::client_data(&fault))?;
        let attestation_object = response.bytes("attestationObject", MAX_ATTESTATION_OBJECT);
        let attestation_object = attestation_object.map_err(|fault| ParseError::attestation_object(&fault))?;
        // Read here only to refuse it here, before a ceremony is looked up; keeping what borrows from it is not worth the microsecond.
        AttestationObject::parse(&attestation_object)
            .map_err(|error| ParseError::AttestationObject(format!("attestationObject: {error}")))?;
        Ok(Self { id, client_data, client_data_json, attestation_object, transports })
    }

    /// The challenge that the client says it was given: the key of the ceremony.
    pub fn challenge(&self) -> Challenge {
        self.client_data.challenge.clone()
    }

    /// `id`, which is `rawId`. What is stored is the id in the authenticator's data ([`crate::webauthn::Registration::credential_id`]).
    pub fn id(&self) -> &CredentialId {
        &self.id
    }

    /// `response.clientDataJSON` as received: with the attestation object, the evidence from which the statement can be verified again.
    pub fn client_data_json(&self) -> &[u8] {
        &self.client_data_json
    }

    /// `response.attestationObject` as received.
    pub fn attestation_object(&self) -> &[u8] {
        &self.attestation_object
    }

    /// How the browser says it reached the authenticator: `response.transports`, or a top-level `transports` as older clients send it.
    pub fn transports(&self) -> &[String] {
        &self.transports
    }
}

fn transports(credential: &Object<'_>, response: &Object<'_>) -> Result<Vec<String>, Fault> {
    let items = match response.get("transports").or_else(|| credential.get("transports")) {
        None => return Ok(Vec::new()),
        Some(Json::Array(items)) if items.len() <= MAX_TRANSPORTS => items,
        Some(Json::Array(_)) => return Err(Fault::TooLong("transports")),
        Some(_) => return Err(Fault::Mistyped("transports", "an array of strings")),
    };
    let transport = |item: &Json<'_>| match item {
        Json::String(text) if text.len() <= MAX_TRANSPORT_LEN => Ok(text.to_string()),
        Json::String(_) => Err(Fault::TooLong("transports")),
        _ => Err(Fault::Mistyped("transports", "an array of strings")),
    };
    items.iter().map(transport).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::webauthn::{credential::MAX_BODY, testing::Maker};

    fn genuine() -> Value {
        Maker::default().credential()
    }

    fn parse(value: &Value) -> Result<RegistrationCredential, ParseError> {
        RegistrationCredential::parse(value.to_string().as_bytes())
    }

    fn changed(pointer: &str, value: Value) -> Value {
        let mut credential = genuine();
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        credential.pointer_mut(parent).unwrap()[name] = value;
        credential
    }

    #[test]
    fn reads_what_browsers_write() {
        let mut credential = genuine();
        credential["authenticatorAttachment"] = Value::Null;
        credential["response"]["transports"] = json!(["usb", "internal"]);
        credential["response"]["publicKeyAlgorithm"] = json!(-7);
        let parsed = parse(&credential).unwrap();
        assert_eq!(parsed.transports(), ["usb", "internal"]);
        assert_eq!(parsed.id().to_string(), credential["id"].as_str().unwrap());
        assert_eq!(parsed.challenge(), Maker::default().challenge);
    }

    #[test]
    fn older_clients_send_transports_at_the_top() {
        assert_eq!(parse(&changed("/transports", json!(["nfc"]))).unwrap().transports(), ["nfc"]);
        assert!(parse(&genuine()).unwrap().transports().is_empty());
    }

    #[test]
    fn padding_is_optional() {
        let padded = |name: &str| {
            let text = genuine().pointer(name).unwrap().as_str().unwrap().to_owned();
            let pad = "=".repeat((4 - text.len() % 4) % 4);
            changed(name, json!(text + &pad))
        };
        for name in ["/id", "/rawId", "/response/clientDataJSON", "/response/attestationObject"] {
            assert!(parse(&padded(name)).is_ok(), "{name}");
        }
    }

    #[test]
    fn every_member_missing_or_mistyped_is_refused() {
        for (pointer, response) in [
            ("/id", false),
            ("/rawId", false),
            ("/type", false),
            ("/response", false),
            ("/response/clientDataJSON", true),
            ("/response/attestationObject", true),
        ] {
            let mut missing = genuine();
            let (parent, name) = pointer.rsplit_once('/').unwrap();
            missing.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(name);
            let bad = [json!(null), json!(7), json!(true), json!([]), json!({}), json!(""), json!("+/+/"), json!("AAAAA")];
            for credential in bad.into_iter().map(|value| changed(pointer, value)).chain([missing]) {
                match parse(&credential) {
                    Err(ParseError::ClientData(_) | ParseError::AttestationObject(_)) if response || pointer == "/response" => {}
                    Err(ParseError::Credential(_)) if !response => {}
                    other => panic!("{pointer} {other:?}"),
                }
            }
        }
    }

    #[test]
    fn what_is_optional_has_its_type_too() {
        for (pointer, value) in [
            ("/clientExtensionResults", json!([])),
            ("/authenticatorAttachment", json!(1)),
            ("/response/transports", json!("usb")),
            ("/response/transports", json!([1])),
            ("/response/transports", json!(["x".repeat(33)])),
            ("/response/transports", json!(vec!["usb"; 17])),
            ("/type", json!("password")),
        ] {
            assert!(matches!(parse(&changed(pointer, value)), Err(ParseError::Credential(_))), "{pointer}");
        }
    }

    #[test]
    fn sizes_are_bounded() {
        let long = |n: usize| json!("A".repeat(n));
        assert!(matches!(parse(&changed("/response/clientDataJSON", long(12_000))), Err(ParseError::ClientData(_))));
        assert!(matches!(parse(&changed("/response/attestationObject", long(90_000))), Err(ParseError::AttestationObject(_))));
        assert!(matches!(parse(&changed("/id", long(1_368))), Err(ParseError::Credential(_))));
        assert!(matches!(parse(&changed("/x", long(MAX_BODY))), Err(ParseError::Credential(_))));
    }

    #[test]
    fn duplicates_and_trailing_data_are_refused() {
        let text = genuine().to_string();
        for (from, to) in [
            (r#""type":"#, r#""type":"public-key","type":"#),
            (r#""clientDataJSON":"#, r#""clientDataJSON":"AA","clientDataJSON":"#),
            (r#""clientExtensionResults":{"#, r#""clientExtensionResults":{"a":1,"a":1"#),
        ] {
            assert!(text.contains(from), "{text}");
            assert!(RegistrationCredential::parse(text.replacen(from, to, 1).as_bytes()).is_err());
        }
        assert!(RegistrationCredential::parse(format!("{text} ").as_bytes()).is_ok());
        assert!(RegistrationCredential::parse(format!("{text}{{}}").as_bytes()).is_err());
    }

    #[test]
    fn id_and_raw_id_are_one() {
        assert!(matches!(parse(&changed("/rawId", json!("AAAA"))), Err(ParseError::Credential(_))));
    }
}
