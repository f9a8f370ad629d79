//! Texts that people and applications write: origins, API keys, addresses of tokens, tenants' configurations, data of transactions.
//!
//! Each function takes any bytes at all. It panics where a property does not hold; to panic for no input is the first property.

use std::{fmt::Debug, str::from_utf8};

use serde::{
    Serialize,
    de::{DeserializeOwned, IgnoredAny},
};
use serde_json::Value;

use crate::{
    address::TokenAddress,
    domain::{
        ApiKey, Origin, TenantConfig, TenantSettings,
        go_json::{MAX_LEN, canonical},
    },
};

/// A configured origin, and after a line break a client's: what matches is an origin without anything beside it, and the same one.
pub fn origin(input: &[u8]) {
    let Ok(text) = from_utf8(input) else { return };
    let (configured, client) = text.split_once('\n').unwrap_or((text, text));
    let Ok(origin) = configured.parse::<Origin>() else { return };
    assert_eq!(origin.to_string(), configured);
    if !origin.matches(client) {
        return;
    }
    let Ok(other) = client.parse::<Origin>() else { panic!("{client:?} is accepted and is no origin") };
    assert!(other.matches(client) && other.is_web() == origin.is_web());
    if origin.is_web() {
        let (_, authority) = client.split_once("://").unwrap_or_default();
        assert!(!authority.is_empty() && !authority.contains(['/', '?', '#', '@', '\\']), "{client:?}");
    } else {
        assert_eq!(configured, client);
    }
}

/// A key is written as it was read, and is in no debug output.
pub fn api_key(input: &[u8]) {
    let Ok(text) = from_utf8(input) else { return };
    match text.parse::<ApiKey>() {
        Ok(key) => {
            assert_eq!(key.expose().as_str(), text.trim());
            assert_eq!(format!("{key:?}"), "ApiKey(..)");
        }
        Err(error) => assert_eq!(error.to_string(), "an API key is 64 bytes in padded base64url"),
    }
}

/// An address is written so that it is read back, and no error repeats a PIN.
pub fn pkcs11_uri(input: &[u8]) {
    let Ok(text) = from_utf8(input) else { return };
    match text.parse::<TokenAddress>() {
        Ok(address) => {
            assert_eq!(address.to_string().parse().as_ref(), Ok(&address));
            assert!(!text.contains("pin-value="));
            assert!(!address.matches("", "", "", ""), "a token that says nothing of itself is nobody's");
        }
        Err(error) => assert!(!error.to_string().contains("pin-value="), "{error}"),
    }
}

/// A configuration is written so that it is read back.
pub fn tenant_config(input: &[u8]) {
    if let Some(config) = json::<TenantConfig>(input) {
        assert!(!config.webauthn.relying_party.origins.is_empty());
        assert!(!config.webauthn.ceremony_timeout().is_zero() && !config.mfa.ceremony_timeout().is_zero());
    }
}

/// Settings are written so that they are read back.
pub fn tenant_settings(input: &[u8]) {
    if let Some(settings) = json::<TenantSettings>(input) {
        assert!(settings.issuer.as_deref() != Some(""));
    }
}

/// Data of a transaction have one form, which any reader of JSON reads as what was sent.
pub fn go_json(input: &[u8]) {
    let read = serde_json::from_slice::<Value>(input);
    let form = match canonical(input) {
        Ok(form) => form,
        Err(error) => {
            // serde_json bounds neither lengths nor digits, stops at 127 levels, and reads numbers at the edge of the range a little off.
            let bound = ["bytes", "levels", "characters", "range"].iter().any(|what| error.to_string().contains(what));
            assert!(bound || read.is_err(), "{error}");
            return;
        }
    };
    assert!(form.len() <= MAX_LEN && canonical(form.as_bytes()).as_ref() == Ok(&form), "{form}");
    assert!(!form.contains(['<', '>', '&', '\u{2028}', '\u{2029}']) && form.bytes().all(|byte| byte >= b' '), "{form}");
    assert!(serde_json::from_str::<IgnoredAny>(&form).is_ok(), "{form}");
    // serde_json refuses halves of surrogate pairs and bytes that are not UTF-8.
    if let (Ok(read), Ok(written)) = (read, serde_json::from_str(&form)) {
        assert!(same(&read, &written), "{form}");
    }
}

/// Whether two values are the same but for the order of members and what a double does not tell apart.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => a.len() == b.len() && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| same(a, b))),
        // Unless it is told to be exact, serde_json reads long numbers a little off.
        (Value::Number(a), Value::Number(b)) => match (a.as_f64(), b.as_f64()) {
            (Some(a), Some(b)) => (a - b).abs() <= 1e-14 * a.abs() + 1e-320,
            _ => false,
        },
        _ => a == b,
    }
}

fn json<T: Serialize + DeserializeOwned + PartialEq + Debug>(input: &[u8]) -> Option<T> {
    let read: T = match serde_json::from_slice(input) {
        Ok(read) => read,
        Err(error) => {
            // What is refused may be shown, each byte of it escaped; no more than that.
            let length = error.to_string().len();
            assert!(length <= 16 * input.len() + 4096, "an error of {length} bytes");
            return None;
        }
    };
    let Ok(written) = serde_json::to_vec(&read) else { panic!("what was read is written") };
    assert_eq!(serde_json::from_slice::<T>(&written).ok().as_ref(), Some(&read));
    Some(read)
}
