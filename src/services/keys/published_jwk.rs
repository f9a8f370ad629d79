//! A key as verifiers get it: read back out of the JWKS that is served, not taken from the row that it was made of.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use openssl::{
    bn::BigNum,
    ec::{EcGroup, EcKey},
    error::ErrorStack,
    nid::Nid,
    pkey::{Id, PKey, Public},
    rsa::Rsa,
};
use serde::Deserialize;

use crate::domain::{KeyId, SigningAlgorithm};

/// Why a published key cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum JwkError {
    #[error("the JWKS that this server serves cannot be read")]
    Json(#[from] serde_json::Error),
    #[error("the JWKS that this server serves does not have it")]
    Absent,
    #[error("the published JWK is not a key for {0}")]
    OtherAlgorithm(SigningAlgorithm),
    #[error("the published JWK is not a public key: {0}")]
    Invalid(#[from] ErrorStack),
}

#[derive(Deserialize)]
struct JwkSet {
    keys: Vec<Jwk>,
}

/// The members that verifiers use (RFC 7518 section 6, RFC 8037 section 2).
#[derive(Deserialize)]
struct Jwk {
    kid: String,
    alg: String,
    kty: String,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

/// The SubjectPublicKeyInfo of the key `kid` in a JWKS, made of its published members alone.
pub(super) fn find(jwks: &str, kid: KeyId, algorithm: SigningAlgorithm) -> Result<Vec<u8>, JwkError> {
    let set: JwkSet = serde_json::from_str(jwks)?;
    let name = kid.to_string();
    let jwk = set.keys.into_iter().find(|k| k.kid == name).ok_or(JwkError::Absent)?;
    if jwk.alg != algorithm.as_str() {
        return Err(JwkError::OtherAlgorithm(algorithm));
    }
    let key = jwk.public_key()?.ok_or(JwkError::OtherAlgorithm(algorithm))?;
    Ok(key.public_key_to_der()?)
}

impl Jwk {
    /// `None` where a member is missing or unknown.
    fn public_key(&self) -> Result<Option<PKey<Public>>, ErrorStack> {
        let bytes = |member: &Option<String>| URL_SAFE_NO_PAD.decode(member.as_deref().unwrap_or_default()).unwrap_or_default();
        let number = |member| BigNum::from_slice(&bytes(member));
        let curve = match self.crv.as_deref() {
            Some("P-256") => Nid::X9_62_PRIME256V1,
            Some("P-384") => Nid::SECP384R1,
            _ => Nid::UNDEF,
        };
        Ok(Some(match self.kty.as_str() {
            "RSA" => PKey::from_rsa(Rsa::from_public_components(number(&self.n)?, number(&self.e)?)?)?,
            "EC" if curve != Nid::UNDEF => {
                let group = EcGroup::from_curve_name(curve)?;
                let (x, y) = (number(&self.x)?, number(&self.y)?);
                PKey::from_ec_key(EcKey::from_public_key_affine_coordinates(&group, &x, &y)?)?
            }
            "OKP" if self.crv.as_deref() == Some("Ed25519") => PKey::public_key_from_raw_bytes(&bytes(&self.x), Id::ED25519)?,
            _ => return Ok(None),
        }))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        domain::{KeyPlan, KeyState, SigningKey, SystemRng, TenantId, Timestamp},
        services::token::jwks_of,
    };

    fn key(algorithm: SigningAlgorithm) -> (KeyId, Vec<u8>, String) {
        let ec = |nid| EcGroup::from_curve_name(nid).and_then(|g| EcKey::generate(&g)).and_then(PKey::from_ec_key).unwrap();
        let private = match algorithm {
            SigningAlgorithm::Es256 => ec(Nid::X9_62_PRIME256V1),
            SigningAlgorithm::Es384 => ec(Nid::SECP384R1),
            SigningAlgorithm::EdDsa => PKey::generate_ed25519().unwrap(),
            _ => PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap(),
        };
        let (kid, spki) = (KeyId::random(&SystemRng), private.public_key_to_der().unwrap());
        let intent = SigningKey::intent(kid, TenantId::random(&SystemRng), algorithm, None, KeyPlan::None, Timestamp::from_millis(0));
        let key = SigningKey { state: KeyState::Published, public_key: Some(spki.clone()), ..intent };
        (kid, spki, jwks_of(&[key]).unwrap())
    }

    #[test]
    fn what_is_published_is_the_key() {
        for algorithm in SigningAlgorithm::ALL {
            let (kid, spki, jwks) = key(*algorithm);
            assert_eq!(find(&jwks, kid, *algorithm).unwrap(), spki, "{algorithm}");
        }
    }

    #[test]
    fn another_key_or_none_is_not_it() {
        let (kid, spki, jwks) = key(SigningAlgorithm::Es256);
        assert!(matches!(find(&jwks, KeyId::random(&SystemRng), SigningAlgorithm::Es256), Err(JwkError::Absent)));
        assert!(matches!(find("{}", kid, SigningAlgorithm::Es256), Err(JwkError::Json(_))));
        assert!(matches!(find(&jwks, kid, SigningAlgorithm::EdDsa), Err(JwkError::OtherAlgorithm(_))));
        let altered = |member: &str, value: Value| {
            let mut set: Value = serde_json::from_str(&jwks).unwrap();
            set["keys"][0][member] = value;
            find(&set.to_string(), kid, SigningAlgorithm::Es256)
        };
        assert!(matches!(altered("kty", json!("oct")), Err(JwkError::OtherAlgorithm(_))));
        assert!(altered("crv", json!("P-384")).is_err());
        assert!(altered("x", json!("AAAA")).is_err());
        assert!(altered("x", json!("not base64url!")).is_err());
        let (_, other, _) = key(SigningAlgorithm::Es256);
        assert_ne!(spki, other);
    }
}
