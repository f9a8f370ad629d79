//! The JSON form of a credential, as a browser's `toJSON()` writes it (WebAuthn L3 section 5.1).

mod authentication;
mod registration;

pub use authentication::{AssertionParseError, AuthenticationCredential};
pub use registration::{ParseError, RegistrationCredential};

use super::{
    client_data::ClientData,
    json::{Fault, Json, Object},
};
use crate::domain::CredentialId;

/// The most bytes of a body: base64url of the largest members, with room for what is ignored.
const MAX_BODY: usize = 256 * 1024;

/// The most bytes of client data. Browsers write some 200.
const MAX_CLIENT_DATA: usize = 8 * 1024;

/// A body, which is an object.
fn parse_body(body: &[u8]) -> Result<Object<'_>, Fault> {
    if body.len() > MAX_BODY { Err(Fault::TooLong("the body")) } else { Object::parse(body) }
}

/// `id` and `rawId`, which are one, and `type`; and what must have its type where it is there.
fn read_id(credential: &Object<'_>) -> Result<CredentialId, Fault> {
    let id = credential.bytes("id", CredentialId::MAX_LEN)?;
    if credential.bytes("rawId", CredentialId::MAX_LEN)? != id {
        return Err(Fault::Mistyped("id", "the same as rawId"));
    }
    if credential.string("type")? != PUBLIC_KEY {
        return Err(Fault::Mistyped("type", PUBLIC_KEY));
    }
    if !matches!(credential.get("clientExtensionResults"), None | Some(Json::Object(_))) {
        return Err(Fault::Mistyped("clientExtensionResults", "an object"));
    }
    if !matches!(credential.get("authenticatorAttachment"), None | Some(Json::String(_))) {
        return Err(Fault::Mistyped("authenticatorAttachment", "a string"));
    }
    CredentialId::try_from(id.as_slice()).map_err(|_| Fault::TooLong("id"))
}

/// The only type of credential there is.
const PUBLIC_KEY: &str = "public-key";

/// `clientDataJSON`: read, and as the bytes that are hashed.
fn parse_client_data(response: &Object<'_>) -> Result<(ClientData, Vec<u8>), Fault> {
    let json = response.bytes("clientDataJSON", MAX_CLIENT_DATA)?;
    let data = ClientData::parse(&json).map_err(|fault| Fault::Within("clientDataJSON", Box::new(fault)))?;
    Ok((data, json))
}
