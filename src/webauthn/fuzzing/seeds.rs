//! What a corpus is begun with: the vectors, whole and in parts.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::Value as Json;

use super::verification::{FORMATS, VECTORS, genuine_count};
use crate::webauthn::{attestation::AttestationObject, authenticator_data::AuthenticatorData, cbor::Value, certificate::Certificate};

/// Seeds, each after its target's name.
pub fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let mut seeds = Vec::new();
    for vector in VECTORS.lines().filter_map(|line| serde_json::from_str::<Json>(line).ok()) {
        let bytes = |name: &str| {
            let text = vector.pointer(&format!("/credential/response/{name}")).and_then(Json::as_str)?;
            URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok()
        };
        let client_data = bytes("clientDataJSON").unwrap_or_default();
        if let Some(object) = bytes("attestationObject") {
            seeds.extend(vector.get("credential").map(|body| ("registration_body", body.to_string().into_bytes())));
            let length = u16::try_from(client_data.len()).unwrap_or_default().to_be_bytes();
            seeds.push(("registration", [&length[..], &client_data, &object].concat()));
            parts(&object, &mut seeds);
        }
        if let Some(data) = bytes("authenticatorData") {
            seeds.push(("authenticator_data", data));
        }
        seeds.push(("client_data", client_data));
    }
    let changes = (0..genuine_count()).flat_map(|n| [[n, 0, 0, 9, 1], [n, 1, 0, 32, 4]]);
    seeds.extend(changes.map(|change| ("mutated_vector", change.to_vec())));
    seeds
}

fn parts(object: &[u8], seeds: &mut Vec<(&'static str, Vec<u8>)>) {
    seeds.push(("attestation_object", object.to_vec()));
    seeds.push(("cbor", object.to_vec()));
    let Ok(object) = AttestationObject::parse(object) else { return };
    let statement = object.statement.to_vec();
    if let Some(format) = FORMATS.iter().position(|format| format.as_str() == object.format).and_then(|n| u8::try_from(n).ok()) {
        seeds.push(("attestation_statement", [&[format], &statement[..]].concat()));
    }
    if object.format == "tpm" {
        seeds.push(("tpm_statement", statement));
    }
    certificates(&object.statement, seeds);
    seeds.push(("authenticator_data", object.authenticator_data_bytes.to_vec()));
    if let Ok(AuthenticatorData { attested: Some(credential), .. }) = AuthenticatorData::parse(object.authenticator_data_bytes) {
        seeds.push(("cose_key", Value::Map(credential.public_key).to_vec()));
    }
}

/// Each byte string that is one, at any depth.
fn certificates(value: &Value<'_>, seeds: &mut Vec<(&'static str, Vec<u8>)>) {
    match value {
        Value::Bytes(bytes) if Certificate::parse(bytes).is_ok() => seeds.push(("certificate", bytes.to_vec())),
        Value::Array(items) => items.iter().for_each(|item| certificates(item, seeds)),
        Value::Map(map) => map.values().for_each(|item| certificates(item, seeds)),
        _ => {}
    }
}
