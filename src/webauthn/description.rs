//! What an answer says of itself, verified or not: for people who look at it, and for reports on stored evidence.

use super::{
    AuthenticationCredential, RegistrationCredential,
    attestation::AttestationObject,
    cbor::{Map, Value},
    certificate::Certificate,
    cose,
};
use crate::domain::Aaguid;

/// What can be read off an answer. None of it is believed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Description {
    /// The attestation statement's format; not of an assertion.
    pub format: Option<String>,
    /// The algorithm of the credential's key, as a number of the COSE registry.
    pub algorithm: Option<i64>,
    /// The model that the authenticator names; not of an assertion.
    pub aaguid: Option<Aaguid>,
    /// The flags byte of the authenticator data.
    pub flags: Option<u8>,
    /// The signature counter.
    pub sign_count: Option<u32>,
}

impl RegistrationCredential {
    /// What it says of itself.
    pub fn describe(&self) -> Description {
        let Ok(object) = AttestationObject::parse(self.attestation_object()) else { return Description::default() };
        let (data, attested) = (&object.authenticator_data, object.authenticator_data.attested.as_ref());
        Description {
            format: Some(object.format.to_owned()),
            algorithm: attested.and_then(|attested| cose::algorithm_id(&attested.public_key)),
            aaguid: attested.map(|attested| attested.aaguid),
            flags: Some(data.flags.as_byte()),
            sign_count: Some(data.sign_count),
        }
    }
}

impl AuthenticationCredential {
    /// What it says of itself, and the algorithm of the key in its record, a COSE_Key.
    pub fn describe(&self, public_key: &[u8]) -> Description {
        let key = Value::parse(public_key).ok();
        Description {
            algorithm: key.as_ref().and_then(Value::as_map).and_then(cose::algorithm_id),
            flags: Some(self.assertion.flags.as_byte()),
            sign_count: Some(self.assertion.sign_count),
            ..Description::default()
        }
    }
}

/// The certificates of the statement in an attestation object, in DER, the attestation certificate first. `None` where it has none that can be
/// read. Of a compound statement: those of its parts, one after the other.
pub fn attestation_path(attestation_object: &[u8]) -> Option<Vec<Vec<u8>>> {
    let object = AttestationObject::parse(attestation_object).ok()?;
    let path = match &object.statement {
        Value::Map(statement) => certificates(statement),
        Value::Array(parts) => {
            let statements = parts.iter().filter_map(|part| part.as_map()?.text("attStmt")?.as_map());
            statements.flat_map(certificates).collect()
        }
        _ => Vec::new(),
    };
    if path.is_empty() { None } else { Some(path) }
}

fn certificates(statement: &Map<'_>) -> Vec<Vec<u8>> {
    let items = statement.text("x5c").and_then(Value::as_array).unwrap_or_default();
    items.iter().filter_map(Value::as_bytes).map(<[u8]>::to_vec).collect()
}

/// What the FIDO metadata knows the keys of certificates by: SHA-1 of each public key, in lower case hexadecimal.
pub fn key_identifiers(path: &[&[u8]]) -> Vec<String> {
    path.iter().filter_map(|der| Certificate::parse(der).ok()?.key_identifier()).map(|key| super::trust::hex(&key)).collect()
}
