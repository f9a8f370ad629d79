//! The `android-safetynet` statement format (WebAuthn L3 section 8.5): deprecated, and of a service that Google has ended.

use std::borrow::Cow;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use openssl::sha::sha256;

use super::{Attestation, StatementError, Subject};
use crate::domain::{AttestationType, Timestamp};
use crate::webauthn::{
    JwsError,
    cbor::Map,
    certificate::Certificate,
    json::{Fault, Json, Object},
    jws::Jws,
};

/// The most bytes of a response. Genuine ones have some 8,000.
const MAX_RESPONSE: usize = 32 * 1024;

/// Whom the service's certificate is for.
const HOST: &str = "attest.android.com";

/// How far the response's time may be from ours, in milliseconds, either way. The client asks for it when the user is done, and sends it at
/// once: an older one was kept for later. FIDO's tests of servers refuse one that is older than a minute.
const MAX_SKEW: u64 = 60_000;

/// Why a statement of this format was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SafetyNetError {
    /// The response is no JWS, or not one that is accepted.
    #[error("response: {0}")]
    Jws(#[from] JwsError),
    /// What the response says cannot be read.
    #[error("the response's payload: {0}")]
    Payload(String),
    /// Made for another ceremony.
    #[error("the response's nonce is not that of this registration")]
    Nonce,
    /// Not the service's certificate.
    #[error("the response is not signed by {HOST}")]
    Host,
    /// A device that is not as its maker made it.
    #[error("the response does not say that the device is intact: {0} is not true")]
    Integrity(&'static str),
    /// Made at another time.
    #[error("the response's time is more than a minute from the server's")]
    Time,
}

impl From<Fault> for SafetyNetError {
    fn from(fault: Fault) -> Self {
        Self::Payload(fault.to_string())
    }
}

/// The verification procedure. Its steps have no numbers.
pub(super) fn verify<'a>(statement: &Map<'a>, subject: &Subject<'_>) -> Result<Attestation<'a>, StatementError> {
    // - Verify that attStmt is valid CBOR conforming to the syntax defined, and extract its fields. (ver is reserved for future use; FIDO
    //   refuses an empty one.)
    let member = |name| statement.text(name).ok_or(StatementError::Missing(name));
    let version = member("ver")?.as_text().filter(|version| !version.is_empty());
    version.ok_or(StatementError::Mistyped("ver", "a text that is not empty"))?;
    let response = member("response")?.as_bytes().ok_or(StatementError::Mistyped("response", "a byte string"))?;

    // - Verify that response is a valid SafetyNet response of version ver by following the steps indicated by the SafetyNet online
    //   documentation: take the certificates out of the JWS, and verify its signature with the first one.
    let jws = Jws::parse(response, MAX_RESPONSE).map_err(SafetyNetError::from)?;
    let path = jws.certificates.iter().map(|der| Certificate::parse(der)).collect::<Result<Vec<_>, _>>()?;
    let certificate = path.first().ok_or(SafetyNetError::Jws(JwsError::Certificate(0)))?;
    jws.verify(&certificate.public_key()?)?;
    let payload = jws.payload().map_err(SafetyNetError::from)?;
    verify_payload(&Object::parse(&payload).map_err(SafetyNetError::from)?, subject)?;

    // - Verify that the SafetyNet response actually came from the SafetyNet service by following the same documentation: its certificate
    //   is for this host. (That the path leads to a root of Google's is assessed with every other path, in step 24.)
    if !certificate.is_for_host(HOST)? {
        return Err(SafetyNetError::Host.into());
    }

    // - The attestation type is basic; the trust path is x5c.
    let path = jws.certificates.into_iter().map(Cow::Owned).collect();
    Ok(Attestation::Certified { attestation_type: AttestationType::Basic, path })
}

fn verify_payload(payload: &Object<'_>, subject: &Subject<'_>) -> Result<(), SafetyNetError> {
    // - Verify that the nonce attribute in the payload of response is identical to the Base64 encoding of the SHA-256 hash of the
    //   concatenation of authenticatorData and clientDataHash.
    if payload.string("nonce")? != STANDARD.encode(sha256(&subject.signed_bytes())) {
        return Err(SafetyNetError::Nonce);
    }

    // The documentation: ctsProfileMatch is the stricter verdict, on the whole device. It implies basicIntegrity, which responses had not
    // always; a response in which they disagree is none.
    for (name, may_lack) in [("ctsProfileMatch", false), ("basicIntegrity", true)] {
        let verdict = payload.get(name);
        if verdict != Some(&Json::Bool(true)) && !(may_lack && verdict.is_none()) {
            return Err(SafetyNetError::Integrity(name));
        }
    }
    let made_at = Timestamp::from_millis(payload.integer("timestampMs")?);
    if made_at.as_millis().abs_diff(subject.now.as_millis()) > MAX_SKEW { Err(SafetyNetError::Time) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use openssl::{ecdsa::EcdsaSig, pkey::PKey, pkey::Private};
    use serde_json::json;

    use super::*;
    use crate::{
        domain::{AttestationFormat, AttestationPolicy, AttestationTrust},
        webauthn::{
            CertificateError, CoseAlgorithm, Refusal, SignatureError,
            cbor::Value,
            testing::{CertificateSpec, KeyPair, Maker, NEW_YEAR, Statement, sign},
        },
    };

    const NOW: i64 = (NEW_YEAR + 86_400) * 1000;

    /// A response to be made.
    struct Response {
        algorithm: CoseAlgorithm,
        common_name: &'static str,
        /// Members of the payload in place of, or beside, the usual ones; `null` leaves one out.
        payload: serde_json::Value,
        /// In place of the payload.
        raw_payload: Option<&'static [u8]>,
        other_key: Option<PKey<Private>>,
    }

    impl Default for Response {
        fn default() -> Self {
            let algorithm = CoseAlgorithm::Rs256;
            Self { algorithm, common_name: HOST, payload: json!({}), raw_payload: None, other_key: None }
        }
    }

    impl Response {
        fn payload(&self, signed: &[u8]) -> Vec<u8> {
            if let Some(payload) = self.raw_payload {
                return payload.to_vec();
            }
            let mut payload = json!({
                "nonce": STANDARD.encode(sha256(signed)),
                "timestampMs": NOW - 1000,
                "apkPackageName": "com.google.android.gms",
                "ctsProfileMatch": true,
                "basicIntegrity": true,
            });
            for (name, value) in self.payload.as_object().unwrap() {
                payload[name] = value.clone();
            }
            payload.as_object_mut().unwrap().retain(|_, value| !value.is_null());
            payload.to_string().into_bytes()
        }

        fn make(&self, signed: &[u8]) -> String {
            let key = KeyPair::generate(self.algorithm).private;
            let subject = [("CN", self.common_name)];
            let certificate = CertificateSpec { subject: &subject, ..CertificateSpec::default() }.make(&key, None).to_der().unwrap();
            let name = if self.algorithm == CoseAlgorithm::Rs256 { "RS256" } else { "ES256" };
            let header = json!({"alg": name, "x5c": [STANDARD.encode(&certificate)]}).to_string();
            let signed = [header.as_bytes(), &self.payload(signed)].map(|part| URL_SAFE_NO_PAD.encode(part)).join(".");
            let mut signature = sign(self.algorithm, self.other_key.as_ref().unwrap_or(&key), signed.as_bytes());
            if let Ok(ecdsa) = EcdsaSig::from_der(&signature) {
                signature = [ecdsa.r(), ecdsa.s()].map(|n| n.to_vec_padded(32).unwrap()).concat();
            }
            format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
        }

        fn maker(self) -> Maker {
            let make = move |_: &KeyPair, signed: &[u8]| {
                let response = self.make(signed);
                vec![("ver", Value::Text("15180037").to_vec()), ("response", Value::Bytes(response.as_bytes()).to_vec())]
            };
            let attestation = AttestationPolicy { formats: vec![AttestationFormat::AndroidSafetynet], ..AttestationPolicy::default() };
            Maker { attestation, ..Maker::attested(Statement::Made("android-safetynet", Box::new(make))) }
        }
    }

    fn refused(maker: &Maker) -> StatementError {
        let error = maker.verify().unwrap_err();
        assert_eq!(error.step(), 22);
        let Refusal::Statement { error, .. } = error.refusal() else { panic!("{error}") };
        error.clone()
    }

    fn with(payload: serde_json::Value) -> Maker {
        Response { payload, ..Response::default() }.maker()
    }

    #[test]
    fn off_unless_it_is_asked_for() {
        let maker = Maker { attestation: AttestationPolicy::default(), ..with(json!({})) };
        assert_eq!(maker.verify().unwrap_err().step(), 21);
    }

    #[test]
    fn good_ones() {
        for algorithm in [CoseAlgorithm::Rs256, CoseAlgorithm::Es256] {
            let registration = Response { algorithm, ..Response::default() }.maker().verify().unwrap();
            assert_eq!(registration.attestation_type, "android-safetynet");
            assert_eq!(registration.attestation.attestation_type, AttestationType::Basic);
            assert_eq!(registration.attestation.trust, AttestationTrust::Untrusted);
        }
    }

    #[test]
    fn the_statements_members() {
        use StatementError as E;
        let spoilt = |name, value: Option<Value<'_>>| {
            let maker = Response::default().maker();
            refused(&Maker { spoil: vec![(name, value.map(|value| value.to_vec()))], ..maker })
        };
        assert_eq!(spoilt("ver", None), E::Missing("ver"));
        for value in [Value::Text(""), 1.into(), Value::Bytes(b"1")] {
            assert_eq!(spoilt("ver", Some(value)), E::Mistyped("ver", "a text that is not empty"));
        }
        assert_eq!(spoilt("response", None), E::Missing("response"));
        assert_eq!(spoilt("response", Some(Value::Text("e30.e30.AA"))), E::Mistyped("response", "a byte string"));
        assert_eq!(spoilt("response", Some(Value::Bytes(&[]))), SafetyNetError::Jws(JwsError::NotCompact).into());
        let long = vec![b'A'; MAX_RESPONSE + 1];
        assert_eq!(spoilt("response", Some(Value::Bytes(&long))), SafetyNetError::Jws(JwsError::TooLong(MAX_RESPONSE)).into());
        let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"RS256","x5c":["AQID"]}"#);
        let no_certificate = format!("{header}.e30.AA");
        assert_eq!(spoilt("response", Some(Value::Bytes(no_certificate.as_bytes()))), CertificateError::Malformed.into());
    }

    #[test]
    fn another_key_signed() {
        for algorithm in [CoseAlgorithm::Rs256, CoseAlgorithm::Es256] {
            let other_key = match algorithm {
                CoseAlgorithm::Rs256 => PKey::from_rsa(openssl::rsa::Rsa::generate(2048).unwrap()).unwrap(),
                other => KeyPair::generate(other).private,
            };
            let maker = Response { algorithm, other_key: Some(other_key), ..Response::default() }.maker();
            assert_eq!(refused(&maker), StatementError::Signature(SignatureError::Invalid));
        }
    }

    #[test]
    fn signed_for_another_host() {
        for common_name in ["attest.android.com.example.org", "android.com", "*.android.com"] {
            assert_eq!(refused(&Response { common_name, ..Response::default() }.maker()), SafetyNetError::Host.into());
        }
    }

    #[test]
    fn the_nonce() {
        let url_safe = STANDARD.encode([0xff; 32]);
        for nonce in [json!(url_safe), json!("A")] {
            assert_eq!(refused(&with(json!({"nonce": nonce}))), SafetyNetError::Nonce.into());
        }
        assert_eq!(refused(&with(json!({"nonce": null}))), SafetyNetError::Payload("nonce is missing".to_owned()).into());
    }

    #[test]
    fn the_payload_is_read_strictly() {
        for payload in [&b""[..], b"[]", b"{\"nonce\":\"a\",\"nonce\":\"a\"}", b"\xff"] {
            let maker = Response { raw_payload: Some(payload), ..Response::default() }.maker();
            assert!(matches!(refused(&maker), StatementError::SafetyNet(SafetyNetError::Payload(_))), "{payload:?}");
        }
    }

    #[test]
    fn a_device_that_is_not_intact() {
        for name in ["ctsProfileMatch", "basicIntegrity"] {
            for value in [json!(false), json!("true"), json!(1)] {
                assert_eq!(refused(&with(json!({ name: value }))), SafetyNetError::Integrity(name).into());
            }
        }
        assert_eq!(refused(&with(json!({"ctsProfileMatch": null}))), SafetyNetError::Integrity("ctsProfileMatch").into());
        assert!(with(json!({"basicIntegrity": null})).verify().is_ok());
    }

    #[test]
    fn the_time() {
        let at = |millis: i64| with(json!({"timestampMs": millis}));
        for good in [NOW, NOW - 60_000, NOW + 60_000] {
            assert!(at(good).verify().is_ok());
        }
        for bad in [NOW - 60_001, NOW + 60_001, NOW / 1000, 0, i64::MIN, i64::MAX] {
            assert_eq!(refused(&at(bad)), SafetyNetError::Time.into());
        }
        for (value, text) in [(json!(null), "timestampMs is missing"), (json!(1.5), "timestampMs must be an integer")] {
            assert_eq!(refused(&with(json!({"timestampMs": value}))), SafetyNetError::Payload(text.to_owned()).into());
        }
    }
}
