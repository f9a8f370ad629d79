//! What the fuzz targets in `fuzz/` run, here because it reaches what is private. Compiled under `--cfg fuzzing`, never into the server.
//!
//! Each function takes any bytes at all. It panics where a property does not hold; to panic for no input is the first property.

mod assertions;
mod certificates;
mod seeds;
mod verification;

use std::fmt::{Debug, Display};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value as Json, json};

pub use super::{
    attestation::tpm_structures,
    metadata::{metadata_blob, metadata_payload, revocation_list},
};
pub use assertions::{authentication, authentication_body, mutated_assertion};
pub use certificates::certificate;
pub use seeds::seeds;
pub use verification::{attestation_statement, mutated_vector, registration, registration_body, tpm_statement};

use super::{
    attestation::AttestationObject,
    authenticator_data::AuthenticatorData,
    cbor::{Map, Value},
    client_data::ClientData,
    cose::CoseKey,
    json::Object,
};

/// The most bytes of an error's text: what a client sends must not come back at length.
const MAX_ERROR: usize = 4096;

/// The vectors that may be passed on.
const VECTORS: &str = include_str!("../../../tests/vectors/ours.jsonl");

/// What accepted CBOR is encodes to as many bytes, being in its shortest form, and to the same once more.
pub fn cbor(input: &[u8]) {
    let parsed = outcome(|| Value::parse(input));
    let Ok(value) = parsed else { return };
    let encoded = value.to_vec();
    assert_eq!(encoded.len(), input.len(), "the shortest form has one length");
    let again = Value::parse(&encoded);
    assert_eq!(again.as_ref().map(Value::to_vec).as_ref(), Ok(&encoded), "the canonical form is read back");
    assert_eq!(Value::parse_prefix(&[input, &[0]].concat()).map(|(value, rest)| (value, rest.len())), Ok((value, 1)));
    if let Some((_, cut)) = input.split_last() {
        assert!(Value::parse(cut).is_err(), "an item tells its own end");
    }
}

/// An accepted key is stored in a form that is the same key, and nobody has a signature by it for nothing.
pub fn cose_key(input: &[u8]) {
    let Ok(Value::Map(map)) = Value::parse(input) else { return };
    let Ok(key) = outcome(|| CoseKey::parse(&map)) else { return };
    let stored = key.to_vec();
    assert!(stored.len() <= input.len(), "members are left out, none is made up");
    let Ok(Value::Map(map)) = Value::parse(&stored) else { panic!("the stored form is CBOR") };
    let Ok(again) = CoseKey::parse(&map) else { panic!("the stored form is a key") };
    assert_eq!((again.to_vec(), again.algorithm(), again.p256()), (stored.clone(), key.algorithm(), key.p256()));
    // R is the neutral element and S is 0: a signature of anything by an Edwards key of small order. The others are no signatures at all.
    for length in [64, 114, 256] {
        let signature: Vec<u8> = (0..length).map(|n| u8::from(n == 0)).collect();
        assert!(key.verify(b"message", &signature).is_err());
    }
    // r and s are 0, and r and s are 1, in DER.
    for signature in [[0x30, 6, 2, 1, 0, 2, 1, 0], [0x30, 6, 2, 1, 1, 2, 1, 1]] {
        assert!(key.verify(b"message", &signature).is_err());
    }
}

/// Accepted authenticator data is accounted for to the last byte.
pub fn authenticator_data(input: &[u8]) {
    let Ok(data) = outcome(|| AuthenticatorData::parse(input)) else { return };
    let flags = input.get(32).copied().unwrap_or_default();
    assert_eq!(data.attested.is_some(), flags & 0x40 != 0);
    let attested =
        data.attested.map_or(0, |credential| 18 + credential.credential_id.len() + Value::Map(credential.public_key).to_vec().len());
    let Some(extensions) = input.get(37 + attested..) else { panic!("more was read than there is") };
    assert_eq!(!extensions.is_empty(), flags & 0x80 != 0);
    assert!(extensions.is_empty() || Value::parse(extensions).is_ok_and(|outputs| outputs.as_map().is_some()));
}

/// An accepted attestation object is the same one when it is written anew without what is ignored.
pub fn attestation_object(input: &[u8]) {
    let Ok(object) = outcome(|| AttestationObject::parse(input)) else { return };
    let members = [
        (Value::Text("fmt"), Value::Text(object.format)),
        (Value::Text("attStmt"), object.statement.clone()),
        (Value::Text("authData"), Value::Bytes(object.authenticator_data_bytes)),
    ];
    let encoded = Value::Map(Map::from_entries(members.into())).to_vec();
    assert!(encoded.len() <= input.len());
    let Ok(again) = AttestationObject::parse(&encoded) else { panic!("what was read is written so that it is read") };
    assert_eq!((again.format, again.authenticator_data_bytes), (object.format, object.authenticator_data_bytes));
    assert_eq!(again.statement.to_vec(), object.statement.to_vec());
    authenticator_data(object.authenticator_data_bytes);
}

/// Accepted client data is JSON for others too, and says the same when it is written anew.
pub fn client_data(input: &[u8]) {
    // The general reader takes an object's last member of a name; whatever the strict one takes, it takes too.
    if outcome(|| Object::parse(input).map(|_| ())).is_ok() {
        assert!(serde_json::from_slice::<Json>(input).is_ok_and(|json| json.is_object()));
    }
    let Ok(data) = outcome(|| ClientData::parse(input)) else { return };
    let written = json!({
        "type": data.ceremony,
        "challenge": URL_SAFE_NO_PAD.encode(data.challenge.as_bytes()),
        "origin": data.origin,
        "crossOrigin": data.cross_origin,
        "topOrigin": data.top_origin,
    });
    let again = ClientData::parse(written.to_string().as_bytes());
    assert_eq!(format!("{again:?}"), format!("{:?}", Ok::<_, ()>(data)));
}

/// A key of which nobody has the private half, but 1: the generator of P-256, as COSE_Key.
fn generator_key() -> Vec<u8> {
    const X: &[u8] = b"\x6b\x17\xd1\xf2\xe1\x2c\x42\x47\xf8\xbc\xe6\xe5\x63\xa4\x40\xf2\
        \x77\x03\x7d\x81\x2d\xeb\x33\xa0\xf4\xa1\x39\x45\xd8\x98\xc2\x96";
    const Y: &[u8] = b"\x4f\xe3\x42\xe2\xfe\x1a\x7f\x9b\x8e\xe7\xeb\x4a\x7c\x0f\x9e\x16\
        \x2b\xce\x33\x57\x6b\x31\x5e\xce\xcb\xb6\x40\x68\x37\xbf\x51\xf5";
    let members = [(1, Value::from(2)), (3, Value::from(-7)), (-1, Value::from(1)), (-2, Value::Bytes(X)), (-3, Value::Bytes(Y))];
    Value::Map(Map::from_entries(members.into_iter().map(|(label, value)| (Value::from(label), value)).collect())).to_vec()
}

/// Changes bytes: each three of `changes` say where, in two, and which bits.
fn change(bytes: &mut [u8], changes: &[u8]) {
    for &[high, low, bits] in changes.as_chunks::<3>().0 {
        let at = usize::from(u16::from_be_bytes([high, low])) % bytes.len().max(1);
        if let Some(byte) = bytes.get_mut(at) {
            *byte ^= bits;
        }
    }
}

/// A member of a vector.
fn text(vector: &Json, pointer: &str) -> Option<String> {
    vector.pointer(pointer).and_then(Json::as_str).map(str::to_owned)
}

/// The same, in base64url.
fn unpadded(vector: &Json, pointer: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text(vector, pointer)?.trim_end_matches('=')).ok()
}

/// What `parse` says, twice the same, with an error of bounded length.
fn outcome<T: Debug, E: Debug + Display>(parse: impl Fn() -> Result<T, E>) -> Result<T, E> {
    let (first, second) = (parse(), parse());
    match (&first, &second) {
        (Ok(first), Ok(second)) => assert_eq!(format!("{first:?}"), format!("{second:?}"), "the same input is the same value"),
        (Err(first), Err(second)) => {
            let text = first.to_string();
            assert!(text.len() <= MAX_ERROR, "an error of {} bytes", text.len());
            assert_eq!(text, second.to_string(), "the same input is refused alike");
        }
        _ => panic!("the same input is read and refused"),
    }
    first
}
