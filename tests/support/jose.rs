//! Tokens verified as an application would, from the JWKS alone, by two libraries that know nothing of ours.
//!
//! `PYTHON3=` overrides the interpreter that has jwcrypto.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header, jwk::JwkSet};
use serde_json::{Value, json};

/// Reads `{token, jwks}` from standard input: what is on a command line is everyone's to read.
const JWCRYPTO: &str = "
import json, sys
from jwcrypto import jwk, jwt
given = json.load(sys.stdin)
keys = jwk.JWKSet.from_json(json.dumps(given['jwks']))
token = jwt.JWT(jwt=given['token'], key=keys, algs=['ES256', 'ES384', 'RS256', 'PS256', 'EdDSA'],
                check_claims={'aud': given['audience'], 'exp': None, 'iat': None})
json.dump({'header': json.loads(token.header), 'claims': json.loads(token.claims)}, sys.stdout)
";

/// A token that verified.
#[derive(Debug, Clone, PartialEq)]
pub struct Verified {
    pub header: Value,
    pub claims: Value,
}

/// Python's jwcrypto: signature, `exp` and `aud`. `Err` is what it complained of.
pub fn jwcrypto(token: &str, jwks: &Value, audience: &str) -> Result<Verified, String> {
    let python = std::env::var_os("PYTHON3").unwrap_or_else(|| "/usr/bin/python3".into());
    let mut child = Command::new(&python)
        .args(["-I", "-c", JWCRYPTO])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("{} does not start ({e}): install Python 3 with jwcrypto or set PYTHON3", python.display()));
    let given = json!({"token": token, "jwks": jwks, "audience": audience});
    child.stdin.take().unwrap().write_all(given.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let mut value: Value = serde_json::from_slice(&output.stdout).unwrap();
    Ok(Verified { header: value["header"].take(), claims: value["claims"].take() })
}

/// The jsonwebtoken crate: the same.
pub fn jsonwebtoken(token: &str, jwks: &Value, audience: &str) -> Result<Verified, String> {
    let header = decode_header(token).map_err(|e| e.to_string())?;
    let keys: JwkSet = serde_json::from_value(jwks.clone()).map_err(|e| e.to_string())?;
    let key = header.kid.as_deref().and_then(|kid| keys.find(kid)).ok_or("no such key")?;
    // The key says what it is for, not the token (RFC 8725 section 3.1).
    let algorithm = match key.common.key_algorithm.map(|a| a.to_string()).as_deref() {
        Some("ES256") => Algorithm::ES256,
        Some("ES384") => Algorithm::ES384,
        Some("RS256") => Algorithm::RS256,
        Some("PS256") => Algorithm::PS256,
        Some("EdDSA") => Algorithm::EdDSA,
        other => return Err(format!("key for {other:?}")),
    };
    let mut validation = Validation::new(algorithm);
    validation.set_audience(&[audience]);
    let decoding_key = DecodingKey::from_jwk(key).map_err(|e| e.to_string())?;
    let data = decode::<Value>(token, &decoding_key, &validation).map_err(|e| e.to_string())?;
    Ok(Verified { header: serde_json::to_value(data.header).unwrap(), claims: data.claims })
}

/// Both must accept, and read the same claims.
pub fn verify(token: &str, jwks: &Value, audience: &str) -> Verified {
    let second = jsonwebtoken(token, jwks, audience).unwrap_or_else(|e| panic!("jsonwebtoken refuses: {e}"));
    let first = jwcrypto(token, jwks, audience).unwrap_or_else(|e| panic!("jwcrypto refuses: {e}"));
    assert_eq!(first.claims, second.claims);
    first
}
