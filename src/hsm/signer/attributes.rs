//! What a token says of a key, attribute by attribute: modules answer for a whole list with an error if they dislike one of it.

use cryptoki::{
    error::{Error as P11Error, Result},
    object::{Attribute, AttributeType, ObjectHandle},
    session::Session,
};
use serde_json::{Map, Value, json};

use super::{
    fault::{self, Class},
    token::hex,
};
use crate::{
    domain::SigningAlgorithm,
    hsm::public_key::{PublicKey, PublicKeyError},
};

/// One attribute; `None` where the module has none to tell.
pub(super) fn read(session: &Session, object: ObjectHandle, attribute: AttributeType) -> Result<Option<Attribute>> {
    match session.get_attributes(object, &[attribute]) {
        Ok(mut found) => Ok(found.pop()),
        Err(error @ P11Error::Pkcs11(..)) if fault::classify(&error) != Class::Refused => Err(error),
        // Refused, or a value that the standard does not allow: there is nothing to be known.
        Err(_) => Ok(None),
    }
}

/// Bytes of an attribute, empty where there are none.
pub(super) fn read_bytes(session: &Session, object: ObjectHandle, attribute: AttributeType) -> Result<Vec<u8>> {
    Ok(match read(session, object, attribute)? {
        Some(
            Attribute::Id(b)
            | Attribute::Label(b)
            | Attribute::EcPoint(b)
            | Attribute::Modulus(b)
            | Attribute::PublicExponent(b)
            | Attribute::EcParams(b),
        ) => b,
        _ => Vec::new(),
    })
}

/// The public key of a public-key object. The inner error is for one that is not of that algorithm.
pub(super) fn public_key(
    session: &Session,
    public: ObjectHandle,
    algorithm: SigningAlgorithm,
) -> Result<std::result::Result<PublicKey, PublicKeyError>> {
    if algorithm.is_rsa() {
        let modulus = read_bytes(session, public, AttributeType::Modulus)?;
        let exponent = read_bytes(session, public, AttributeType::PublicExponent)?;
        return Ok(PublicKey::from_rsa(algorithm, &modulus, &exponent));
    }
    Ok(PublicKey::from_ec_point(algorithm, &read_bytes(session, public, AttributeType::EcPoint)?))
}

/// What is written down of a private key.
const EVIDENCE: [(&str, AttributeType); 17] = [
    ("CKA_ID", AttributeType::Id),
    ("CKA_LABEL", AttributeType::Label),
    ("CKA_KEY_TYPE", AttributeType::KeyType),
    ("CKA_TOKEN", AttributeType::Token),
    ("CKA_PRIVATE", AttributeType::Private),
    ("CKA_SENSITIVE", AttributeType::Sensitive),
    ("CKA_ALWAYS_SENSITIVE", AttributeType::AlwaysSensitive),
    ("CKA_EXTRACTABLE", AttributeType::Extractable),
    ("CKA_NEVER_EXTRACTABLE", AttributeType::NeverExtractable),
    ("CKA_LOCAL", AttributeType::Local),
    ("CKA_KEY_GEN_MECHANISM", AttributeType::KeyGenMechanism),
    ("CKA_MODIFIABLE", AttributeType::Modifiable),
    ("CKA_SIGN", AttributeType::Sign),
    ("CKA_SIGN_RECOVER", AttributeType::SignRecover),
    ("CKA_DECRYPT", AttributeType::Decrypt),
    ("CKA_UNWRAP", AttributeType::Unwrap),
    ("CKA_DERIVE", AttributeType::Derive),
];

/// Names and values of a private key's attributes; null where the module says nothing.
pub(super) fn describe(session: &Session, private: ObjectHandle) -> Result<Map<String, Value>> {
    let mut map = Map::new();
    for (name, attribute) in EVIDENCE {
        map.insert(name.to_owned(), read(session, private, attribute)?.map_or(Value::Null, |a| to_json(&a)));
    }
    Ok(map)
}

/// Why a key with these attributes must not sign for anybody, if so. Attributes that a module does not have (CKA_LOCAL is false and
/// CKA_KEY_GEN_MECHANISM absent on NSS) are for the reader of the evidence to judge.
pub(super) fn unacceptable(attributes: &Map<String, Value>) -> Option<String> {
    // Sign only: some modules turn other uses on where a template does not speak of them.
    judge(attributes, &["CKA_DECRYPT", "CKA_UNWRAP", "CKA_DERIVE", "CKA_SIGN_RECOVER"])
}

/// The same of a key that others made, whose template was not ours: it must not have a use beside signing that keys of its type have. SoftHSM
/// lets every private key decrypt and unwrap whose maker did not forbid it, and no elliptic curve key can.
pub(super) fn unacceptable_to_adopt(attributes: &Map<String, Value>, algorithm: SigningAlgorithm) -> Option<String> {
    if attributes.get("CKA_SIGN") == Some(&Value::Bool(false)) {
        return Some("CKA_SIGN is not true".to_owned());
    }
    let uses: &[_] = if algorithm.is_rsa() { &["CKA_DECRYPT", "CKA_UNWRAP", "CKA_SIGN_RECOVER"] } else { &["CKA_DERIVE"] };
    judge(attributes, uses)
}

fn judge(attributes: &Map<String, Value>, forbidden_uses: &[&'static str]) -> Option<String> {
    let required = [("CKA_SENSITIVE", true), ("CKA_EXTRACTABLE", false)];
    let kept = [("CKA_ALWAYS_SENSITIVE", true), ("CKA_NEVER_EXTRACTABLE", true)];
    let mut denied = kept.into_iter().chain(forbidden_uses.iter().map(|name| (*name, false)));
    let is = |name: &str, wanted: bool| attributes.get(name) == Some(&Value::Bool(wanted));
    let missing = required.into_iter().find(|(name, wanted)| !is(name, *wanted));
    let broken = missing.or_else(|| denied.find(|(name, wanted)| is(name, !*wanted)));
    broken.map(|(name, wanted)| format!("{name} is not {wanted}"))
}

fn to_json(attribute: &Attribute) -> Value {
    match attribute {
        Attribute::Id(bytes) => json!(hex(bytes)),
        Attribute::Label(bytes) => json!(String::from_utf8_lossy(bytes)),
        Attribute::KeyType(t) => json!(t.to_string()),
        Attribute::KeyGenMechanism(m) => json!(m.to_string()),
        Attribute::Token(b)
        | Attribute::Private(b)
        | Attribute::Sensitive(b)
        | Attribute::AlwaysSensitive(b)
        | Attribute::Extractable(b)
        | Attribute::NeverExtractable(b)
        | Attribute::Local(b)
        | Attribute::Modifiable(b)
        | Attribute::Sign(b)
        | Attribute::SignRecover(b)
        | Attribute::Decrypt(b)
        | Attribute::Unwrap(b)
        | Attribute::Derive(b) => json!(b),
        _ => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_key_that_signs_and_never_was_outside_is_acceptable() {
        let good = json!({"CKA_SENSITIVE": true, "CKA_EXTRACTABLE": false, "CKA_ALWAYS_SENSITIVE": true, "CKA_NEVER_EXTRACTABLE": null});
        assert_eq!(unacceptable(good.as_object().unwrap()), None);
        for (name, value) in [
            ("CKA_SENSITIVE", json!(false)),
            ("CKA_SENSITIVE", Value::Null),
            ("CKA_EXTRACTABLE", json!(true)),
            ("CKA_EXTRACTABLE", Value::Null),
            ("CKA_ALWAYS_SENSITIVE", json!(false)),
            ("CKA_NEVER_EXTRACTABLE", json!(false)),
            ("CKA_DECRYPT", json!(true)),
            ("CKA_UNWRAP", json!(true)),
            ("CKA_DERIVE", json!(true)),
            ("CKA_SIGN_RECOVER", json!(true)),
        ] {
            let mut bad = good.clone();
            bad[name] = value;
            assert!(unacceptable(bad.as_object().unwrap()).is_some(), "{bad}");
        }
    }
}
