//! JSON Web Signatures in compact serialization (RFC 7515), of the one shape that attestation and metadata have: certificates in `x5c`, an asymmetric
//! algorithm.

use std::borrow::Cow;

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use openssl::{bn::BigNum, ecdsa::EcdsaSig};

use super::{
    CoseAlgorithm,
    json::{Fault, Json, Object},
    key::PublicKey,
    signature::{self, SignatureError},
};

/// The most certificates in `x5c`.
const MAX_CERTIFICATES: usize = 8;

/// The most bytes of a header in base64url: room for all certificates that it may have.
const MAX_HEADER_LEN: usize = 256 << 10;

/// Why a text is no JWS that can be verified.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JwsError {
    /// More than this many bytes.
    #[error("the JWS has more than {0} bytes")]
    TooLong(usize),
    /// Not header, payload and signature.
    #[error("it does not have the three parts of a JWS")]
    NotCompact,
    /// A part is not in base64url.
    #[error("{0}")]
    NotBase64Url(&'static str),
    /// The header is not as it must be.
    #[error("its header is malformed: {0}")]
    Header(String),
    /// The header has an extension that must be understood.
    #[error("its header names critical extensions, which are not known here")]
    Critical,
    /// Signed with something that is not accepted, `none` and HMAC among them.
    #[error("it is signed with {0}; RS, PS and ES of 256, 384 and 512 are accepted")]
    Algorithm(String),
    /// The certificates are to be fetched.
    #[error("its header has x5u: certificates are not fetched, they must be in x5c")]
    CertificateUrl,
    /// No certificates, or more than this many.
    #[error("its header must have x5c with 1 to {0} certificates")]
    CertificateCount(usize),
    /// Something that is no certificate, by its place in x5c.
    #[error("certificate {0} of its x5c cannot be read")]
    Certificate(usize),
}

impl From<Fault> for JwsError {
    fn from(fault: Fault) -> Self {
        Self::Header(fault.to_string())
    }
}

/// What was signed and by whom: taken apart, not verified.
#[derive(Debug)]
pub(super) struct Jws<'a> {
    /// The certificates in DER, the signer's first; one at least.
    pub(super) certificates: Vec<Vec<u8>>,
    algorithm: CoseAlgorithm,
    /// The first two parts as they are.
    signed: &'a [u8],
    /// In base64url.
    payload: &'a [u8],
    signature: Vec<u8>,
}

impl<'a> Jws<'a> {
    /// The whole of `text`, of at most `max` bytes.
    pub(super) fn parse(text: &'a [u8], max: usize) -> Result<Self, JwsError> {
        if text.len() > max {
            return Err(JwsError::TooLong(max));
        }
        let mut parts = text.split(|&byte| byte == b'.');
        let (Some(header), Some(payload), Some(signature), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
            return Err(JwsError::NotCompact);
        };
        let signed = text.get(..header.len() + 1 + payload.len()).ok_or(JwsError::NotCompact)?;
        if header.len() > MAX_HEADER_LEN {
            return Err(JwsError::Header("it is too long".to_owned()));
        }
        let header = decoded(header, "its header is not base64url")?;
        let header = Object::parse(&header)?;
        Ok(Self {
            algorithm: algorithm(&header)?,
            certificates: certificates(&header)?,
            signed,
            payload,
            signature: decoded(signature, "its signature is not base64url")?,
        })
    }

    /// What it says: to be looked at once its signature is verified.
    pub(super) fn payload(&self) -> Result<Vec<u8>, JwsError> {
        decoded(self.payload, "its payload is not base64url")
    }

    /// Checks its signature by `key`: that of the first certificate, of which the caller has yet to judge whose it is.
    pub(super) fn verify(&self, key: &PublicKey) -> Result<(), SignatureError> {
        let signature = self.signature().ok_or(SignatureError::Invalid)?;
        signature::verify(self.algorithm, key, self.signed, &signature)
    }

    /// The signature in the form in which it is verified. JOSE's ECDSA is r and s, each as long as the curve's field (RFC 7518 section
    /// 3.4); everyone else's is DER.
    fn signature(&self) -> Option<Cow<'_, [u8]>> {
        let len = match self.algorithm {
            CoseAlgorithm::Esp256 => 32,
            CoseAlgorithm::Esp384 => 48,
            CoseAlgorithm::Esp512 => 66,
            _ => return Some(Cow::Borrowed(&self.signature)),
        };
        let (r, s) = self.signature.split_at_checked(len).filter(|(_, s)| s.len() == len)?;
        let number = |bytes| BigNum::from_slice(bytes).ok();
        EcdsaSig::from_private_components(number(r)?, number(s)?).ok()?.to_der().ok().map(Cow::Owned)
    }
}

fn decoded(part: &[u8], fault: &'static str) -> Result<Vec<u8>, JwsError> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| JwsError::NotBase64Url(fault))
}

/// What it is signed with, if nothing in the header (RFC 7515 section 4.1) speaks against it.
fn algorithm(header: &Object<'_>) -> Result<CoseAlgorithm, JwsError> {
    use CoseAlgorithm as A;
    // Whatever its value: an extension that is not understood must not be passed over (section 4.1.11).
    if header.string("crit") != Err(Fault::Missing("crit")) {
        return Err(JwsError::Critical);
    }
    // One curve for each ES (RFC 7518 section 3.4), as with COSE's ESP.
    Ok(match header.string("alg")? {
        "RS256" => A::Rs256,
        "RS384" => A::Rs384,
        "RS512" => A::Rs512,
        "PS256" => A::Ps256,
        "PS384" => A::Ps384,
        "PS512" => A::Ps512,
        "ES256" => A::Esp256,
        "ES384" => A::Esp384,
        "ES512" => A::Esp512,
        other => return Err(JwsError::Algorithm(other.chars().take(32).flat_map(char::escape_default).collect())),
    })
}

/// `x5c`: base64, not base64url, of DER (section 4.1.6).
fn certificates(header: &Object<'_>) -> Result<Vec<Vec<u8>>, JwsError> {
    if header.get("x5u").is_some() {
        return Err(JwsError::CertificateUrl);
    }
    let x5c = match header.get("x5c") {
        Some(Json::Array(x5c)) if (1..=MAX_CERTIFICATES).contains(&x5c.len()) => x5c,
        _ => return Err(JwsError::CertificateCount(MAX_CERTIFICATES)),
    };
    let certificate = |(n, value): (usize, &Json<'_>)| match value {
        Json::String(text) => STANDARD.decode(text.as_bytes()).map_err(|_| JwsError::Certificate(n)),
        _ => Err(JwsError::Certificate(n)),
    };
    x5c.iter().enumerate().map(certificate).collect()
}

#[cfg(test)]
mod tests {
    use openssl::sha::sha256;
    use serde_json::{Value, json};

    use super::*;
    use crate::webauthn::testing::{KeyPair, sign};

    /// With these header and payload, signed with ECDSA on P-256 in JOSE's form.
    fn made(key: &KeyPair, header: &Value) -> String {
        let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let signed = format!("{}.{}", part(header.to_string().as_bytes()), part(b"{}"));
        let signature = EcdsaSig::sign(&sha256(signed.as_bytes()), &key.private.ec_key().unwrap()).unwrap();
        let raw = [signature.r().to_vec_padded(32).unwrap(), signature.s().to_vec_padded(32).unwrap()].concat();
        format!("{signed}.{}", part(&raw))
    }

    fn header() -> Value {
        json!({"alg": "ES256", "x5c": ["AQID"]})
    }

    fn refused(header: &Value) -> JwsError {
        Jws::parse(made(&KeyPair::generate(CoseAlgorithm::Es256), header).as_bytes(), 1 << 16).unwrap_err()
    }

    #[test]
    fn a_good_one() {
        let key = KeyPair::generate(CoseAlgorithm::Es256);
        let text = made(&key, &header());
        let jws = Jws::parse(text.as_bytes(), text.len()).unwrap();
        assert_eq!((&jws.certificates[0][..], &jws.payload().unwrap()[..]), (&[1, 2, 3][..], &b"{}"[..]));
        let spki = |key: &KeyPair| key.private.public_key_to_der().unwrap();
        let public = |key: &KeyPair| PublicKey::from_spki(crate::webauthn::der::only(0x30, &spki(key)).unwrap()).unwrap();
        assert_eq!(jws.verify(&public(&key)), Ok(()));
        assert_eq!(jws.verify(&public(&KeyPair::generate(CoseAlgorithm::Es256))), Err(SignatureError::Invalid));
        // ES256 is on P-256 alone; RS256 has no r and s.
        let other = KeyPair::generate(CoseAlgorithm::Es384);
        assert_eq!(jws.verify(&public(&other)), Err(SignatureError::KeyMismatch(CoseAlgorithm::Esp256)));
        let rsa = made(&key, &json!({"alg": "RS256", "x5c": ["AQID"]}));
        let rsa = Jws::parse(rsa.as_bytes(), 1 << 16).unwrap();
        assert_eq!(rsa.verify(&public(&key)), Err(SignatureError::KeyMismatch(CoseAlgorithm::Rs256)));
    }

    #[test]
    fn a_signature_has_joses_form() {
        let key = KeyPair::generate(CoseAlgorithm::Es256);
        let text = made(&key, &header());
        let (signed, _) = text.rsplit_once('.').unwrap();
        let der = sign(CoseAlgorithm::Es256, &key.private, signed.as_bytes());
        let spki = key.private.public_key_to_der().unwrap();
        let public = PublicKey::from_spki(crate::webauthn::der::only(0x30, &spki).unwrap()).unwrap();
        for signature in [&der[..], &[], &[1; 63], &[0; 64], &[1; 65]] {
            let text = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature));
            assert_eq!(Jws::parse(text.as_bytes(), 1 << 16).unwrap().verify(&public), Err(SignatureError::Invalid));
        }
    }

    #[test]
    fn three_parts_in_base64url() {
        let parse = |text: &str| Jws::parse(text.as_bytes(), 1 << 16).map(|_| ()).unwrap_err();
        let good = made(&KeyPair::generate(CoseAlgorithm::Es256), &header());
        assert_eq!(Jws::parse(good.as_bytes(), good.len() - 1).unwrap_err(), JwsError::TooLong(good.len() - 1));
        for text in ["", ".", "e30.e30", "e30.e30.AA.AA"] {
            assert_eq!(parse(text), JwsError::NotCompact, "{text}");
        }
        let parts: Vec<_> = good.split('.').collect();
        let (header, signature) = (parts[0], parts[2]);
        assert_eq!(parse("e+.e30.AA"), JwsError::NotBase64Url("its header is not base64url"));
        let padded = format!("{header}.e30=.{signature}");
        assert_eq!(Jws::parse(padded.as_bytes(), 1 << 16).unwrap().payload(), Err(JwsError::NotBase64Url("its payload is not base64url")));
        let long = format!("{}.e30.AA", "A".repeat(MAX_HEADER_LEN + 1));
        assert_eq!(Jws::parse(long.as_bytes(), 1 << 20).unwrap_err(), JwsError::Header("it is too long".to_owned()));
        assert_eq!(parse(&format!("{header}.e30.{signature}\n")), JwsError::NotBase64Url("its signature is not base64url"));
    }

    #[test]
    fn headers() {
        let with = |name: &str, value: Value| {
            let mut header = header();
            header[name] = value;
            refused(&header)
        };
        for name in ["none", "HS256", "RS1", "ES256K", "EdDSA", "es256"] {
            assert_eq!(with("alg", json!(name)), JwsError::Algorithm(name.to_owned()));
        }
        assert_eq!(with("alg", json!(-7)), JwsError::Header("alg must be a string".to_owned()));
        assert_eq!(refused(&json!({"x5c": ["AQID"]})), JwsError::Header("alg is missing".to_owned()));
        assert_eq!(refused(&json!([])), JwsError::Header("not a JSON object".to_owned()));
        for value in [json!(["b64"]), json!("b64"), json!([]), Value::Null] {
            assert_eq!(with("crit", value), JwsError::Critical);
        }
        for value in [Value::Null, json!("AQID"), json!([]), json!(vec!["AQID"; 9])] {
            assert_eq!(with("x5c", value.clone()), JwsError::CertificateCount(8), "{value}");
        }
        for value in [json!(1), json!("A_-_"), json!("AQI")] {
            assert_eq!(with("x5c", json!(["AQID", value])), JwsError::Certificate(1), "{value}");
        }
        assert_eq!(with("x5u", json!("https://example.org")), JwsError::CertificateUrl);
    }
}
