//! What a corpus is begun with: the vectors, whole and in parts.

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use serde_json::{Value as Json, json};

use super::{
    VECTORS, assertions, unpadded,
    verification::{self, FORMATS},
};
use crate::webauthn::{attestation::AttestationObject, authenticator_data::AuthenticatorData, cbor::Value, certificate::Certificate, der};

/// Seeds, each after its target's name.
pub fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let mut seeds = Vec::new();
    for vector in VECTORS.lines().filter_map(|line| serde_json::from_str::<Json>(line).ok()) {
        let bytes = |name: &str| unpadded(&vector, &format!("/credential/response/{name}"));
        let client_data = bytes("clientDataJSON").unwrap_or_default();
        if let Some(object) = bytes("attestationObject") {
            seeds.extend(vector.get("credential").map(|body| ("registration_body", body.to_string().into_bytes())));
            let length = u16::try_from(client_data.len()).unwrap_or_default().to_be_bytes();
            seeds.push(("registration", [&length[..], &client_data, &object].concat()));
            parts(&object, &mut seeds);
        }
        if let (Some(data), Some(signature)) = (bytes("authenticatorData"), bytes("signature")) {
            seeds.extend(vector.get("credential").map(|body| ("authentication_body", body.to_string().into_bytes())));
            let sized = |bytes: &[u8]| [&u16::try_from(bytes.len()).unwrap_or_default().to_be_bytes()[..], bytes].concat();
            seeds.push(("authentication", [sized(&client_data), sized(&data), signature].concat()));
            seeds.push(("authenticator_data", data));
        }
        seeds.push(("client_data", client_data));
    }
    let changes = |target, count: usize| {
        let numbers = 0..u8::try_from(count).unwrap_or(u8::MAX);
        numbers.flat_map(move |n| [(target, vec![n, 0, 0, 9, 1]), (target, vec![n, 1, 0, 32, 4])])
    };
    seeds.extend(changes("mutated_vector", verification::GENUINE.len()));
    seeds.extend(changes("mutated_assertion", assertions::GENUINE.len()));
    metadata(&mut seeds);
    seeds
}

/// A BLOB with each certificate, signed by nobody, and what could be in it.
fn metadata(seeds: &mut Vec<(&'static str, Vec<u8>)>) {
    let certificates: Vec<_> = seeds.iter().filter(|(target, _)| *target == "certificate").map(|(_, der)| STANDARD.encode(der)).collect();
    let first = certificates.first().cloned().unwrap_or_default();
    let entry = |member: &str, value: Json| {
        let mut entry = json!({
            "metadataStatement": {
                "legalHeader": "..",
                "description": "Example",
                "protocolFamily": "fido2",
                "schema": 3,
                "upv": [{ "major": 1, "minor": 0 }],
                "authenticationAlgorithms": ["secp256r1_ecdsa_sha256_raw", "ed25519_eddsa_sha512_raw"],
                "attestationTypes": ["basic_full", "basic_surrogate", "attca", "anonca"],
                "attestationRootCertificates": [first.clone()],
            },
            "statusReports": [
                { "status": "REVOKED", "effectiveDate": "2026-01-31", "certificate": first.clone(), "url": "https://example.org" },
                { "status": "FIDO_CERTIFIED_L1", "authenticatorVersion": 2, "certificateNumber": "1" },
            ],
            "timeOfLastStatusChange": "2026-01-31",
        });
        entry[member] = value;
        entry
    };
    let entries = [
        entry("aaguid", json!("876ca4f5-2071-c3e9-b255-09ef2cdf7ed6")),
        entry("attestationCertificateKeyIdentifiers", json!(["0123456789abcdef0123456789abcdef01234567"])),
        entry("aaid", json!("0001#0001")),
    ];
    let payload = json!({ "legalHeader": "..", "no": 7, "nextUpdate": "2026-02-01", "entries": entries }).to_string();
    for algorithm in ["ES256", "RS256", "PS512"] {
        for certificate in certificates.iter().take(3) {
            let header = json!({ "alg": algorithm, "typ": "JWT", "x5c": [certificate] }).to_string();
            let parts = [header.as_bytes(), br#"{"no":7}"#, &[1; 64]].map(|part| URL_SAFE_NO_PAD.encode(part));
            seeds.push(("metadata_blob", parts.join(".").into_bytes()));
        }
    }
    seeds.push(("metadata_payload", payload.into_bytes()));
    seeds.push(("revocation_list", revocation_list()));
}

/// A CRL of an issuer without a name, for certificates that name a distribution point, in DER; one is revoked.
fn revocation_list() -> Vec<u8> {
    fn element(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
        let contents = parts.concat();
        let [high, low] = u16::try_from(contents.len()).unwrap_or_default().to_be_bytes();
        let head = if (high, low) < (0, 0x80) { vec![tag, low] } else { vec![tag, 0x82, high, low] };
        [head, contents].concat()
    }
    let sequence = |parts: &[&[u8]]| element(der::SEQUENCE, parts);
    // ecdsa-with-SHA256; 2026-01-01 and 2026-02-01.
    let algorithm = sequence(&[&element(der::OBJECT_IDENTIFIER, &[&[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02]])]);
    let (this_update, next_update) = (element(0x17, &[b"260101000000Z"]), element(0x17, &[b"260201000000Z"]));
    // issuingDistributionPoint: fullName, a URI, and onlyContainsUserCerts.
    let uri = element(0x86, &[b"http://example.org/crl"]);
    let point = sequence(&[&element(0xa0, &[&element(0xa0, &[&uri])]), &[0x81, 1, 0xff]]);
    let extension = sequence(&[&[6, 3, 0x55, 0x1d, 0x1c, 1, 1, 0xff], &element(der::OCTET_STRING, &[&point])]);
    let revoked = sequence(&[&sequence(&[&[2, 1, 7], &this_update])]);
    let extensions = element(der::CONTEXT_0, &[&sequence(&[&extension])]);
    let list = sequence(&[&[2, 1, 1], &algorithm, &[0x30, 0], &this_update, &next_update, &revoked, &extensions]);
    sequence(&[&list, &algorithm, &[der::BIT_STRING, 2, 0, 1]])
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
        for (n, member) in [(0, "pubArea"), (1, "certInfo"), (2, "sig")] {
            let bytes = object.statement.as_map().and_then(|statement| statement.text(member)).and_then(Value::as_bytes);
            seeds.extend(bytes.map(|bytes| ("tpm_structures", [&[n], bytes].concat())));
        }
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
