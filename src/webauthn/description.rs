//! What an answer says of itself, verified or not: for people who look at it.

use super::{
    AuthenticationCredential, RegistrationCredential,
    attestation::AttestationObject,
    cbor::Value,
};
use crate::domain::Aaguid;

/// What can be read off an answer. Nothing of it is believed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Description {
    /// The attestation statement's format; not of an assertion.
    pub format: Option<String>,
    /// The credential key's algorithm, as a number of the COSE registry.
    pub algorithm: Option<i64>,
    /// The model that the authenticator names; not of an assertion.
    pub aaguid: Option<Aaguid>,
    /// The flags byte of the authenticator data.
    pub flags: Option<u8>,
    /// The signature counter.
    pub sign_count: Option<u32>,
}
