//! `AuthenticationResponseJSON` (WebAuthn L3 section 5.1).

use super::{PUBLIC_KEY, parse_body, parse_client_data, read_id};
use crate::{
    domain::{Attachment, Challenge, CredentialId, UserId},
    webauthn::{
        AuthenticatorDataError,
        authenticator_data::{AuthenticatorData, Flags},
        client_data::ClientData,
        json::{Fault, Json, Object},
    },
};

/// The most bytes of authenticator data: 37, and what extensions put out.
const MAX_AUTHENTICATOR_DATA: usize = 16 * 1024;

/// The most bytes of a signature: those of the largest RSA key.
const MAX_SIGNATURE: usize = 1024;

/// A body that cannot be read as an assertion. Nothing was looked up and nothing is consumed. The texts begin with the contract's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AssertionParseError {
    /// Not a public-key credential of the ceremony.
    #[error("Parse error for Assertion: {0}")]
    Credential(String),
    /// The client data cannot be read; the same to the contract.
    #[error("Parse error for Assertion: {0}")]
    ClientData(String),
    /// `id` is missing or empty.
    #[error("CredentialAssertionResponse with ID missing")]
    IdMissing,
    /// `id` is a text, but of another alphabet.
    #[error("CredentialAssertionResponse with ID not base64url encoded")]
    IdNotBase64Url,
    /// `type` is missing, or another than `public-key`.
    #[error("CredentialAssertionResponse with bad type")]
    Type,
    /// Authenticator data that cannot be read.
    #[error("Error unmarshalling auth data: {0}")]
    AuthenticatorData(#[from] AuthenticatorDataError),
}

impl From<Fault> for AssertionParseError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Missing("id") | Fault::Empty("id") => Self::IdMissing,
            Fault::NotBase64Url("id") => Self::IdNotBase64Url,
            Fault::Missing("type") | Fault::Empty("type") | Fault::Mistyped("type", PUBLIC_KEY) => Self::Type,
            Fault::Within(..) => Self::ClientData(fault.to_string()),
            other => Self::Credential(other.to_string()),
        }
    }
}

impl AssertionParseError {
    /// The step of WebAuthn L3 section 7.2 that such a body does not come through.
    pub const fn step(&self) -> u8 {
        match self {
            Self::Credential(_) | Self::IdMissing | Self::IdNotBase64Url | Self::Type => 3,
            Self::AuthenticatorData(_) => 7,
            Self::ClientData(_) => 9,
        }
    }
}

/// `AuthenticationResponseJSON`: well-formed, not verified.
#[derive(Debug, Clone)]
pub struct AuthenticationCredential {
    id: CredentialId,
    attachment: Option<Attachment>,
    user_handle: Option<Vec<u8>>,
    pub(in crate::webauthn) client_data: ClientData,
    pub(in crate::webauthn) assertion: AssertionData,
    client_data_json: Vec<u8>,
    authenticator_data: Vec<u8>,
    signature: Vec<u8>,
}

/// What an assertion's authenticator data say.
#[derive(Debug, Clone, Copy)]
pub(in crate::webauthn) struct AssertionData {
    pub(in crate::webauthn) rp_id_hash: [u8; 32],
    pub(in crate::webauthn) flags: Flags,
    pub(in crate::webauthn) sign_count: u32,
}

impl AuthenticationCredential {
    /// Reads a body. Members that the standard does not know are ignored.
    pub fn parse(body: &[u8]) -> Result<Self, AssertionParseError> {
        let credential = parse_body(body)?;
        let id = read_id(&credential)?;
        let response = credential.object("response")?;
        let (client_data, client_data_json) = parse_client_data(response)?;
        let authenticator_data = response.bytes("authenticatorData", MAX_AUTHENTICATOR_DATA)?;
        let signature = response.bytes("signature", MAX_SIGNATURE)?;
        let user_handle = user_handle(response)?;
        let assertion = AssertionData::parse(&authenticator_data)?;
        let attachment = attachment(&credential);
        Ok(Self { id, attachment, user_handle, client_data, assertion, client_data_json, authenticator_data, signature })
    }

    /// The challenge that the client says it was given: the key of the ceremony.
    pub fn challenge(&self) -> Challenge {
        self.client_data.challenge.clone()
    }

    /// `id`, which is `rawId`: which credential is said to have signed.
    pub fn id(&self) -> &CredentialId {
        &self.id
    }

    /// `response.userHandle`, 1 to 64 bytes: whose credential the authenticator says it is. Discoverable credentials have one, and others
    /// may leave it out. Nothing signs it; step 6 compares it.
    pub fn user_handle(&self) -> Option<&[u8]> {
        self.user_handle.as_deref()
    }

    /// How the client says it is attached to the authenticator, if it says it in a word that the standard knows. Nothing signs it.
    pub const fn attachment(&self) -> Option<Attachment> {
        self.attachment
    }

    /// `response.clientDataJSON` as received: with the two that follow, and the public key, the evidence from which the signature can be
    /// verified again.
    pub fn client_data_json(&self) -> &[u8] {
        &self.client_data_json
    }

    /// `response.authenticatorData` as received.
    pub fn authenticator_data(&self) -> &[u8] {
        &self.authenticator_data
    }

    /// `response.signature` as received: of the authenticator data, followed by the SHA-256 of the client data.
    pub fn signature(&self) -> &[u8] {
        &self.signature
    }
}

impl AssertionData {
    /// An authenticator must not put a credential into an assertion (section 6.1, AT), but some did, and the procedure does not refuse it:
    /// it must be well-formed, and is not looked at. Nor are extensions.
    fn parse(bytes: &[u8]) -> Result<Self, AuthenticatorDataError> {
        let data = AuthenticatorData::parse(bytes)?;
        Ok(Self { rp_id_hash: *data.rp_id_hash, flags: data.flags, sign_count: data.sign_count })
    }
}

/// No user handle has no bytes (section 5.4.3): an empty text, as some clients write where there is none, is none.
fn user_handle(response: &Object<'_>) -> Result<Option<Vec<u8>>, Fault> {
    match response.get("userHandle") {
        None => Ok(None),
        Some(Json::String(text)) if text.is_empty() => Ok(None),
        Some(_) => response.bytes("userHandle", UserId::MAX_LEN).map(Some),
    }
}

/// A word that is not known is none (section 5.4.5).
fn attachment(credential: &Object<'_>) -> Option<Attachment> {
    match credential.get("authenticatorAttachment") {
        Some(Json::String(text)) => text.parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    use serde_json::{Value, json};

    use super::*;
    use crate::webauthn::testing::AssertionMaker;

    fn genuine() -> Value {
        AssertionMaker::default().credential()
    }

    fn parse(value: &Value) -> Result<AuthenticationCredential, AssertionParseError> {
        AuthenticationCredential::parse(value.to_string().as_bytes())
    }

    fn changed(pointer: &str, value: Value) -> Value {
        let mut credential = genuine();
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        credential.pointer_mut(parent).unwrap()[name] = value;
        credential
    }

    fn without(pointer: &str) -> Value {
        let mut credential = genuine();
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        credential.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(name);
        credential
    }

    fn text(result: Result<AuthenticationCredential, AssertionParseError>) -> String {
        result.unwrap_err().to_string()
    }

    #[test]
    fn reads_what_browsers_write() {
        let credential = genuine();
        let parsed = parse(&credential).unwrap();
        assert_eq!(parsed.id().to_string(), credential["id"].as_str().unwrap());
        assert_eq!(parsed.challenge(), AssertionMaker::default().challenge);
        assert_eq!((parsed.user_handle(), parsed.attachment()), (None, None));
        for (name, bytes) in [
            ("clientDataJSON", parsed.client_data_json()),
            ("authenticatorData", parsed.authenticator_data()),
            ("signature", parsed.signature()),
        ] {
            assert_eq!(URL_SAFE_NO_PAD.encode(bytes), credential["response"][name].as_str().unwrap(), "{name}");
        }
        assert_eq!(parse(&changed("/response/userHandle", json!("dTE"))).unwrap().user_handle(), Some(&b"u1"[..]));
        for (word, attachment) in
            [("platform", Some(Attachment::Platform)), ("cross-platform", Some(Attachment::CrossPlatform)), ("x", None)]
        {
            assert_eq!(parse(&changed("/authenticatorAttachment", json!(word))).unwrap().attachment(), attachment);
        }
    }

    #[test]
    fn no_user_handle_is_written_in_three_ways() {
        for credential in [genuine(), changed("/response/userHandle", json!(null)), changed("/response/userHandle", json!(""))] {
            assert_eq!(parse(&credential).unwrap().user_handle(), None);
        }
        let handle = |bytes: usize| parse(&changed("/response/userHandle", json!(URL_SAFE_NO_PAD.encode(vec![7; bytes]))));
        assert_eq!(handle(64).unwrap().user_handle().unwrap().len(), 64);
        assert_eq!(text(handle(65)), "Parse error for Assertion: userHandle is too long");
        for bad in [json!(7), json!({}), json!("+/+/"), json!("AAAAA")] {
            assert!(matches!(parse(&changed("/response/userHandle", bad)), Err(AssertionParseError::Credential(_))));
        }
    }

    #[test]
    fn the_contracts_texts() {
        use AssertionParseError as E;
        for credential in [without("/id"), changed("/id", json!(""))] {
            assert_eq!(parse(&credential).unwrap_err(), E::IdMissing);
        }
        for id in ["+/+/", "AAAAA", "A A"] {
            assert_eq!(parse(&changed("/id", json!(id))).unwrap_err(), E::IdNotBase64Url, "{id}");
        }
        for credential in [without("/type"), changed("/type", json!("")), changed("/type", json!("password"))] {
            assert_eq!(parse(&credential).unwrap_err(), E::Type);
        }
        let data = |bytes: &[u8]| parse(&changed("/response/authenticatorData", json!(URL_SAFE_NO_PAD.encode(bytes)))).unwrap_err();
        assert_eq!(data(&[0; 36]), E::AuthenticatorData(AuthenticatorDataError::TooShort));
        assert_eq!(data(&[0; 38]), E::AuthenticatorData(AuthenticatorDataError::LeftOver));
        assert_eq!(data(&[0; 36]).to_string(), "Error unmarshalling auth data: authenticator data is too short");
        assert_eq!(text(AuthenticationCredential::parse(b"[]")), "Parse error for Assertion: not a JSON object");
        assert_eq!(
            text(parse(&changed("/response/clientDataJSON", json!("e30")))),
            "Parse error for Assertion: clientDataJSON: challenge is missing"
        );
    }

    #[test]
    fn every_member_missing_or_mistyped_is_refused() {
        for pointer in
            ["/id", "/rawId", "/type", "/response", "/response/clientDataJSON", "/response/authenticatorData", "/response/signature"]
        {
            let bad = [json!(null), json!(7), json!(true), json!([]), json!({}), json!(""), json!("+/+/"), json!("AAAAA")];
            assert!(parse(&without(pointer)).is_err(), "{pointer}");
            for value in bad {
                assert!(parse(&changed(pointer, value.clone())).is_err(), "{pointer} {value}");
            }
        }
        for (pointer, value) in
            [("/clientExtensionResults", json!([])), ("/authenticatorAttachment", json!(1)), ("/rawId", json!("AAAA")), ("/id", json!(7))]
        {
            assert!(matches!(parse(&changed(pointer, value)), Err(AssertionParseError::Credential(_))), "{pointer}");
        }
    }

    #[test]
    fn sizes_are_bounded() {
        let members = [("/response/clientDataJSON", 12_000), ("/response/authenticatorData", 24_000), ("/response/signature", 1_368)];
        for (pointer, length) in members.into_iter().chain([("/id", 1_368), ("/response/userHandle", 88), ("/x", 300_000)]) {
            let error = text(parse(&changed(pointer, json!("A".repeat(length)))));
            assert!(error.ends_with("is too long"), "{pointer}: {error}");
        }
    }
}
