//! Tokens and JWKs made by OpenSSL outside any HSM, to try on those who verify them.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use openssl::{
    bn::{BigNum, BigNumContext},
    ec::{EcGroup, EcKey},
    ecdsa::EcdsaSig,
    hash::MessageDigest,
    nid::Nid,
    pkey::{PKey, Private},
    rsa::{Padding, Rsa},
    sign::{RsaPssSaltlen, Signer},
};
use serde_json::{Value, json};

/// A signing key of one of the five algorithms that tokens are signed with.
pub struct Mint {
    pub algorithm: &'static str,
    kid: &'static str,
    key: PKey<Private>,
}

impl Mint {
    pub fn new(algorithm: &'static str, kid: &'static str) -> Self {
        Self { algorithm, kid, key: generate(algorithm) }
    }

    /// A JWS in compact form (RFC 7515 section 7.1).
    pub fn token(&self, claims: &Value) -> String {
        let header = json!({"alg": self.algorithm, "kid": self.kid, "typ": "JWT"});
        jws(self.algorithm, &self.key, &header, claims.to_string().as_bytes())
    }

    /// The public half.
    pub fn jwk(&self) -> Value {
        jwk(self.algorithm, self.kid, &self.key)
    }
}

/// A JWS in compact form (RFC 7515 section 7.1), whatever header and payload are.
pub fn jws(algorithm: &str, key: &PKey<Private>, header: &Value, payload: &[u8]) -> String {
    let input = format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(payload));
    let signature = sign(algorithm, key, input.as_bytes());
    format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn generate(algorithm: &str) -> PKey<Private> {
    let ec = |curve| PKey::from_ec_key(EcKey::generate(&EcGroup::from_curve_name(curve).unwrap()).unwrap()).unwrap();
    match algorithm {
        "ES256" => ec(Nid::X9_62_PRIME256V1),
        "ES384" => ec(Nid::SECP384R1),
        "EdDSA" => PKey::generate_ed25519().unwrap(),
        _ => PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap(),
    }
}

fn jwk(algorithm: &str, kid: &str, key: &PKey<Private>) -> Value {
    let mut jwk = json!({"alg": algorithm, "kid": kid, "use": "sig"});
    let b64 = |bytes: Vec<u8>| json!(URL_SAFE_NO_PAD.encode(bytes));
    if let Ok(ec) = key.ec_key() {
        let (mut x, mut y) = (BigNum::new().unwrap(), BigNum::new().unwrap());
        ec.public_key().affine_coordinates(ec.group(), &mut x, &mut y, &mut BigNumContext::new().unwrap()).unwrap();
        let size = i32::try_from(ec.group().degree().div_ceil(8)).unwrap();
        (jwk["kty"], jwk["crv"]) = (json!("EC"), json!(format!("P-{}", ec.group().degree())));
        (jwk["x"], jwk["y"]) = (b64(x.to_vec_padded(size).unwrap()), b64(y.to_vec_padded(size).unwrap()));
    } else if let Ok(rsa) = key.rsa() {
        (jwk["kty"], jwk["n"], jwk["e"]) = (json!("RSA"), b64(rsa.n().to_vec()), b64(rsa.e().to_vec()));
    } else {
        (jwk["kty"], jwk["crv"], jwk["x"]) = (json!("OKP"), json!("Ed25519"), b64(key.raw_public_key().unwrap()));
    }
    jwk
}

fn sign(algorithm: &str, key: &PKey<Private>, input: &[u8]) -> Vec<u8> {
    if algorithm == "EdDSA" {
        return Signer::new_without_digest(key).unwrap().sign_oneshot_to_vec(input).unwrap();
    }
    let digest = if algorithm == "ES384" { MessageDigest::sha384() } else { MessageDigest::sha256() };
    let mut signer = Signer::new(digest, key).unwrap();
    if algorithm == "PS256" {
        signer.set_rsa_padding(Padding::PKCS1_PSS).unwrap();
        signer.set_rsa_pss_saltlen(RsaPssSaltlen::DIGEST_LENGTH).unwrap();
    }
    let signature = signer.sign_oneshot_to_vec(input).unwrap();
    match key.ec_key() {
        Ok(ec) => {
            let size = i32::try_from(ec.group().degree().div_ceil(8)).unwrap();
            let parsed = EcdsaSig::from_der(&signature).unwrap();
            [parsed.r().to_vec_padded(size).unwrap(), parsed.s().to_vec_padded(size).unwrap()].concat()
        }
        Err(_) => signature,
    }
}
