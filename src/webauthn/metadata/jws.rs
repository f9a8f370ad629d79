//! A JWS in compact serialization (RFC 7515), of the one shape that metadata BLOBs have: certificates in x5c, an asymmetric algorithm.

use std::borrow::Cow;

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use openssl::{bn::BigNum, ecdsa::EcdsaSig};

use super::BlobError;
use crate::webauthn::{
    CoseAlgorithm,
    json::{Fault, Json, Object},
};

/// The most bytes of a BLOB. The one of October 2026 has some 10 million.
const MAX_LEN: usize = 64 << 20;

/// The most bytes of a header in base64url: room for all certificates that it may have.
const MAX_HEADER_LEN: usize = 256 << 10;

/// The most certificates in x5c. The FIDO Alliance's have two.
const MAX_CERTIFICATES: usize = 8;

/// What was signed and what it was signed with, its signature not verified yet.
#[derive(Debug)]
pub(super) struct Jws<'a> {
    /// The first two parts, as they are.
    pub(super) signed: &'a [u8],
    pub(super) algorithm: CoseAlgorithm,
    /// The certificates in DER, the signer's first; one at least.
    pub(super) x5c: Vec<Vec<u8>>,
    /// In base64url.
    payload: &'a [u8],
    /// As the header's algorithm writes it.
    signature: Vec<u8>,
}

impl<'a> Jws<'a> {
    /// The whole of `text`, but for white space around it.
    pub(super) fn parse(text: &'a [u8]) -> Result<Self, BlobError> {
        let text = text.trim_ascii();
        if text.len() > MAX_LEN {
            return Err(BlobError::TooLarge(MAX_LEN));
        }
        let mut parts = text.split(|&byte| byte == b'.');
        let (Some(header), Some(payload), Some(signature), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
            return Err(BlobError::NotJws("it does not have three parts"));
        };
        if header.len() > MAX_HEADER_LEN {
            return Err(BlobError::Header("it is too long".to_owned()));
        }
        let signed = text.get(..header.len() + 1 + payload.len()).unwrap_or_default();
        let header = URL_SAFE_NO_PAD.decode(header).map_err(|_| BlobError::NotJws("its header is not base64url"))?;
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| BlobError::NotJws("its signature is not base64url"))?;
        let header = Object::parse(&header).map_err(|fault| BlobError::Header(fault.to_string()))?;
        let algorithm = algorithm(&header)?;
        Ok(Self { signed, algorithm, x5c: certificates(&header)?, payload, signature })
    }

    /// What it says.
    pub(super) fn payload(&self) -> Result<Vec<u8>, BlobError> {
        URL_SAFE_NO_PAD.decode(self.payload).map_err(|_| BlobError::NotJws("its payload is not base64url"))
    }

    /// The signature in the form in which it is verified. JOSE's ECDSA is r and s, each as long as the curve's field (RFC 7518 section
    /// 3.4); that of certificates is DER.
    pub(super) fn signature(&self) -> Option<Cow<'_, [u8]>> {
        let len = match self.algorithm {
            CoseAlgorithm::Esp256 => 32,
            CoseAlgorithm::Esp384 => 48,
            CoseAlgorithm::Esp512 => 66,
            _ => return Some(Cow::Borrowed(&self.signature)),
        };
        let (r, s) = self.signature.split_at_checked(len).filter(|(_, s)| s.len() == len)?;
        let number = |bytes| BigNum::from_slice(bytes).ok();
        let signature = EcdsaSig::from_private_components(number(r)?, number(s)?).ok()?;
        signature.to_der().ok().map(Cow::Owned)
    }
}

/// What it is signed with, where nothing of the header (RFC 7515 section 4.1) speaks against it.
fn algorithm(header: &Object<'_>) -> Result<CoseAlgorithm, BlobError> {
    use CoseAlgorithm as A;
    // Whatever its value: an extension that is not understood must not be passed over (section 4.1.11).
    if header.string("crit") != Err(Fault::Missing("crit")) {
        return Err(BlobError::Critical);
    }
    let name = header.string("alg").map_err(|fault| BlobError::Header(fault.to_string()))?;
    // One curve for each ES (RFC 7518 section 3.4), as with COSE's ESP.
    Ok(match name {
        "RS256" => A::Rs256,
        "RS384" => A::Rs384,
        "RS512" => A::Rs512,
        "PS256" => A::Ps256,
        "PS384" => A::Ps384,
        "PS512" => A::Ps512,
        "ES256" => A::Esp256,
        "ES384" => A::Esp384,
        "ES512" => A::Esp512,
        other => return Err(BlobError::Algorithm(other.chars().take(32).flat_map(char::escape_default).collect())),
    })
}

/// x5c: base64, not base64url, of DER (section 4.1.6).
fn certificates(header: &Object<'_>) -> Result<Vec<Vec<u8>>, BlobError> {
    if header.get("x5u").is_some() {
        return Err(BlobError::CertificateUrl);
    }
    let Some(Json::Array(x5c)) = header.get("x5c") else { return Err(BlobError::CertificateCount(MAX_CERTIFICATES)) };
    if x5c.is_empty() || x5c.len() > MAX_CERTIFICATES {
        return Err(BlobError::CertificateCount(MAX_CERTIFICATES));
    }
    let certificate = |(n, value): (usize, &Json<'_>)| match value {
        Json::String(text) => STANDARD.decode(text.as_bytes()).map_err(|_| BlobError::Certificate(n)),
        _ => Err(BlobError::Certificate(n)),
    };
    x5c.iter().enumerate().map(certificate).collect()
}
