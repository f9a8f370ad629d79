//! Whole registrations: any bytes, and genuine ones with a byte changed.

use std::sync::LazyLock;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use openssl::sha::sha256;
use serde_json::{Value as Json, json};

use super::{VECTORS, generator_key, outcome, text, unpadded};
use crate::{
    domain::{Aaguid, AttestationFormat, AttestationPolicy, Challenge, CredentialId, Origin, Timestamp, UserVerification},
    webauthn::{
        OFFERED_ALGORITHMS, Registration, RegistrationCredential, RegistrationError, RegistrationPolicy, TrustStore,
        attestation::{self, AttestationObject, Subject},
        cbor::{Map, Value},
        cose::CoseKey,
        verify_registration,
    },
};

/// The instant at which certificates are judged: 2026-01-02T00:00:00Z.
const NOW: i64 = 1_767_312_000;

/// In the order of their numbers in [`attestation_statement`]'s input.
pub(super) const FORMATS: [AttestationFormat; 8] = {
    use AttestationFormat as F;
    [F::None, F::Packed, F::Tpm, F::AndroidKey, F::AndroidSafetynet, F::FidoU2f, F::Apple, F::Compound]
};

/// Any body, as a client sends it.
pub fn registration_body(input: &[u8]) {
    let Ok(credential) = outcome(|| RegistrationCredential::parse(input)) else { return };
    let party = Party { rp_id: "example.org", origin: "https://example.org", challenge: credential.challenge() };
    let Ok(registration) = outcome(|| party.verify(&credential, UserVerification::Preferred)) else {
        assert!(party.verify(&credential, UserVerification::Required).is_err(), "the stricter policy accepts no more");
        return;
    };
    let length = registration.credential_id.as_bytes().len();
    assert!((1..=CredentialId::MAX_LEN).contains(&length));
    super::cose_key(&registration.public_key);
    assert!(registration.attestation_type.parse::<AttestationFormat>().is_ok());
    let verified = party.verify(&credential, UserVerification::Required).is_ok();
    assert_eq!(verified, registration.user_verified);
    let elsewhere = Party { rp_id: "example.com", ..party.clone() };
    assert!(elsewhere.verify(&credential, UserVerification::Preferred).is_err());
    let elsewhere = Party { origin: "https://example.com", ..party.clone() };
    assert!(elsewhere.verify(&credential, UserVerification::Preferred).is_err());
    let later = Party { challenge: Challenge::from_bytes(&[party.challenge.as_bytes(), &[0]].concat()), ..party };
    assert!(later.verify(&credential, UserVerification::Preferred).is_err());
}

/// A body made of client data and an attestation object: two bytes with the length of the first, then both. What is inside base64 in JSON,
/// no fuzzer changes with understanding.
pub fn registration(input: &[u8]) {
    let Some((length, rest)) = input.split_first_chunk::<2>() else { return };
    let Some((client_data, object)) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length))) else { return };
    registration_body(&body(client_data, object));
}

/// A statement in CBOR, after a byte that says of which format, about a credential that is always the same.
pub fn attestation_statement(input: &[u8]) {
    let Some((&format, statement)) = input.split_first() else { return };
    if let Some(&format) = FORMATS.get(usize::from(format)) {
        verify_statement(format, statement);
    }
}

/// A TPM's statement in CBOR, about a credential that is always the same.
pub fn tpm_statement(input: &[u8]) {
    verify_statement(AttestationFormat::Tpm, input);
}

fn verify_statement(format: AttestationFormat, statement: &[u8]) {
    let Ok(statement) = Value::parse(statement) else { return };
    let key = generator_key();
    let Ok(Value::Map(key)) = Value::parse(&key) else { panic!("a key is CBOR") };
    let Ok(key) = CoseKey::parse(&key) else { panic!("the generator is a key") };
    let policy = policy();
    let subject = Subject {
        authenticator_data: &[7; 100],
        client_data_hash: &[8; 32],
        rp_id_hash: &[7; 32],
        aaguid: Aaguid::from_uuid(uuid::Uuid::nil()),
        credential_id: &[1; 16],
        key: &key,
        allow_u2f_aaguid: false,
        policy: &policy,
        now: Timestamp::from_millis(NOW * 1000),
    };
    let verdict = outcome(|| attestation::verify(format, &statement, &subject));
    let is_empty = statement.as_map().is_some_and(Map::is_empty);
    assert_eq!(verdict.is_ok(), format == AttestationFormat::None && is_empty, "nobody has signed this");
}

/// A genuine registration in which something signed was changed. The first byte chooses the registration, the second what of it; then
/// each three bytes are a change: where, in two, and which bits.
pub fn mutated_vector(input: &[u8]) {
    let Some((&[which, part], changes)) = input.split_first_chunk::<2>() else { return };
    let Some(vector) = GENUINE.get(usize::from(which) % GENUINE.len()) else { panic!("no vector is accepted") };
    let (mut client_data, mut data) = (vector.client_data.clone(), vector.authenticator_data.clone());
    // U2F signs parts of the authenticator data only, among them neither flags nor counter.
    super::change(if part & 1 == 0 || vector.format == "fido-u2f" { &mut client_data } else { &mut data }, changes);
    let is_genuine = client_data == vector.client_data && data == vector.authenticator_data;
    assert_eq!(vector.verify(&client_data, &data).is_some(), is_genuine, "{}", vector.name);
}

/// A vector that is accepted, and signed.
pub(super) struct Genuine {
    name: String,
    rp_id: String,
    origin: String,
    format: String,
    client_data: Vec<u8>,
    authenticator_data: Vec<u8>,
    /// In CBOR.
    statement: Vec<u8>,
}

pub(super) static GENUINE: LazyLock<Vec<Genuine>> = LazyLock::new(|| {
    let vectors = VECTORS.lines().filter_map(|line| serde_json::from_str(line).ok());
    vectors.filter_map(|vector| Genuine::read(&vector)).filter(Genuine::is_accepted).collect()
});

impl Genuine {
    fn read(vector: &Json) -> Option<Self> {
        let object = unpadded(vector, "/credential/response/attestationObject")?;
        let object = AttestationObject::parse(&object).ok().filter(|object| object.format != "none")?;
        Some(Self {
            name: text(vector, "/name")?,
            rp_id: text(vector, "/rp_id")?,
            origin: text(vector, "/origin")?,
            format: object.format.to_owned(),
            client_data: unpadded(vector, "/credential/response/clientDataJSON")?,
            authenticator_data: object.authenticator_data_bytes.to_vec(),
            statement: object.statement.to_vec(),
        })
    }

    fn is_accepted(&self) -> bool {
        self.verify(&self.client_data, &self.authenticator_data).is_some()
    }

    fn verify(&self, client_data: &[u8], authenticator_data: &[u8]) -> Option<Registration> {
        let statement = Value::parse(&self.statement).ok()?;
        let object = [
            (Value::Text("fmt"), Value::Text(&self.format)),
            (Value::Text("attStmt"), statement),
            (Value::Text("authData"), Value::Bytes(authenticator_data)),
        ];
        let object = Value::Map(Map::from_entries(object.into())).to_vec();
        let credential = RegistrationCredential::parse(&body(client_data, &object)).ok()?;
        let party = Party { rp_id: &self.rp_id, origin: &self.origin, challenge: credential.challenge() };
        party.verify(&credential, UserVerification::Preferred).ok()
    }
}

/// Who asked.
#[derive(Clone)]
struct Party<'a> {
    rp_id: &'a str,
    origin: &'a str,
    challenge: Challenge,
}

impl Party<'_> {
    fn verify(&self, credential: &RegistrationCredential, user_verification: UserVerification) -> Result<Registration, RegistrationError> {
        let origins: Vec<Origin> = self.origin.parse().into_iter().collect();
        let policy = RegistrationPolicy {
            rp_id: self.rp_id,
            origins: &origins,
            challenge: &self.challenge,
            user_verification,
            algorithms: &OFFERED_ALGORITHMS,
            allow_cross_origin: true,
            top_origins: &[],
            allow_u2f_aaguid: true,
            attestation: &policy(),
            trust_store: &TrustStore::default(),
            now: Timestamp::from_millis(NOW * 1000),
        };
        verify_registration(credential, &policy)
    }
}

/// The default, and the formats that it leaves out.
fn policy() -> AttestationPolicy {
    let mut policy = AttestationPolicy::default();
    policy.formats.push(AttestationFormat::AndroidSafetynet);
    policy
}

fn body(client_data: &[u8], object: &[u8]) -> Vec<u8> {
    let id = URL_SAFE_NO_PAD.encode(sha256(object));
    let response = json!({ "clientDataJSON": URL_SAFE_NO_PAD.encode(client_data), "attestationObject": URL_SAFE_NO_PAD.encode(object) });
    json!({ "id": id, "rawId": id, "type": "public-key", "response": response, "clientExtensionResults": {} }).to_string().into_bytes()
}
