//! An authenticator for unit tests: makes registrations of any algorithm and format, each part of which a test can spoil.

mod assertion;

use std::sync::LazyLock;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use openssl::{
    asn1::{Asn1Object, Asn1OctetString, Asn1Time},
    bn::{BigNum, BigNumContext},
    ec::{EcGroup, EcKey},
    hash::MessageDigest,
    nid::Nid,
    pkey::{PKey, PKeyRef, Private},
    rsa::{Padding, Rsa},
    sha::sha256,
    sign::{RsaPssSaltlen, Signer},
    x509::{X509, X509Extension, X509NameBuilder, extension::BasicConstraints},
};
use serde_json::{Value as Json, json};

use super::{
    CoseAlgorithm, OFFERED_ALGORITHMS, Registration, RegistrationCredential, RegistrationError, RegistrationPolicy, TrustAnchor,
    TrustStore,
    cbor::{Map, Value},
    verify_registration,
};
use crate::domain::{AttestationPolicy, Challenge, Origin, Timestamp, TrustDemand, UserVerification};

pub(super) use assertion::AssertionMaker;

/// One for all tests: making it takes longer than all that is done with it.
static RSA_KEY: LazyLock<Rsa<Private>> = LazyLock::new(|| Rsa::generate(2048).unwrap());

/// A key pair and the COSE_Key of its public half.
#[derive(Clone)]
pub(super) struct KeyPair {
    pub(super) private: PKey<Private>,
    pub(super) cose: Vec<u8>,
}

impl KeyPair {
    pub(super) fn generate(algorithm: CoseAlgorithm) -> Self {
        use CoseAlgorithm as A;
        let alg = (3, Value::from(algorithm.id()));
        let ec = |nid, crv: i64, len: i32| {
            let group = EcGroup::from_curve_name(nid).unwrap();
            let key = EcKey::generate(&group).unwrap();
            let (mut x, mut y) = (BigNum::new().unwrap(), BigNum::new().unwrap());
            key.public_key().affine_coordinates(&group, &mut x, &mut y, &mut BigNumContext::new().unwrap()).unwrap();
            let (x, y) = (x.to_vec_padded(len).unwrap(), y.to_vec_padded(len).unwrap());
            let cose = map(&[(1, 2.into()), alg.clone(), (-1, crv.into()), (-2, Value::Bytes(&x)), (-3, Value::Bytes(&y))]);
            (PKey::from_ec_key(key).unwrap(), cose)
        };
        let okp = |private: PKey<Private>, crv: i64| {
            let x = private.raw_public_key().unwrap();
            let cose = map(&[(1, 1.into()), alg.clone(), (-1, crv.into()), (-2, Value::Bytes(&x))]);
            (private, cose)
        };
        let (private, cose) = match algorithm {
            A::Es256 | A::Esp256 => ec(Nid::X9_62_PRIME256V1, 1, 32),
            A::Es384 | A::Esp384 => ec(Nid::SECP384R1, 2, 48),
            A::Es512 | A::Esp512 => ec(Nid::SECP521R1, 3, 66),
            A::Es256k => ec(Nid::SECP256K1, 8, 32),
            A::EdDsa | A::Ed25519 => okp(PKey::generate_ed25519().unwrap(), 6),
            A::Ed448 => okp(PKey::generate_ed448().unwrap(), 7),
            _ => {
                let key = RSA_KEY.clone();
                let (n, e) = (key.n().to_vec(), key.e().to_vec());
                let cose = map(&[(1, 3.into()), alg.clone(), (-1, Value::Bytes(&n)), (-2, Value::Bytes(&e))]);
                (PKey::from_rsa(key).unwrap(), cose)
            }
        };
        Self { private, cose }
    }
}

impl KeyPair {
    /// On P-256, with a coordinate (-2 is x, -3 is y) whose first byte is zero: one key in 256 has such an x.
    pub(super) fn with_leading_zero(label: i64) -> Self {
        let is_so = |pair: &Self| Value::parse(&pair.cose).unwrap().as_map().unwrap().int(label).unwrap().as_bytes().unwrap()[0] == 0;
        std::iter::repeat_with(|| Self::generate(CoseAlgorithm::Es256)).find(is_so).unwrap()
    }
}

fn map(entries: &[(i64, Value<'_>)]) -> Vec<u8> {
    Value::Map(Map::from_entries(entries.iter().map(|(k, v)| (Value::from(*k), v.clone())).collect())).to_vec()
}

pub(super) fn sign(algorithm: CoseAlgorithm, key: &PKeyRef<Private>, message: &[u8]) -> Vec<u8> {
    use CoseAlgorithm as A;
    let hash = match algorithm {
        A::Es384 | A::Esp384 | A::Rs384 | A::Ps384 => MessageDigest::sha384(),
        A::Es512 | A::Esp512 | A::Rs512 | A::Ps512 => MessageDigest::sha512(),
        A::Rs1 => MessageDigest::sha1(),
        _ => MessageDigest::sha256(),
    };
    let mut signer = match algorithm {
        A::EdDsa | A::Ed25519 | A::Ed448 => Signer::new_without_digest(key).unwrap(),
        _ => Signer::new(hash, key).unwrap(),
    };
    if matches!(algorithm, A::Ps256 | A::Ps384 | A::Ps512) {
        signer.set_rsa_padding(Padding::PKCS1_PSS).unwrap();
        signer.set_rsa_mgf1_md(hash).unwrap();
        signer.set_rsa_pss_saltlen(RsaPssSaltlen::DIGEST_LENGTH).unwrap();
    }
    signer.sign_oneshot_to_vec(message).unwrap()
}

/// A certificate to be made.
pub(super) struct CertificateSpec<'a> {
    pub(super) subject: &'a [(&'a str, &'a str)],
    pub(super) version: i32,
    /// CA of basicConstraints; `None` leaves the extension out.
    pub(super) ca: Option<bool>,
    /// Value of the AAGUID extension and whether it is critical.
    pub(super) aaguid: Option<(Vec<u8>, bool)>,
    /// Other extensions: object identifier, whether it is critical, value.
    pub(super) extensions: Vec<(&'static str, bool, Vec<u8>)>,
    /// Days from 2026-01-01 on which it begins and ends.
    pub(super) validity: (i64, i64),
}

pub(super) const SUBJECT: &[(&str, &str)] = &[("C", "SE"), ("O", "Example"), ("OU", "Authenticator Attestation"), ("CN", "Batch 1")];

/// 2026-01-01T00:00:00Z.
pub(super) const NEW_YEAR: i64 = 1_767_225_600;

impl Default for CertificateSpec<'_> {
    fn default() -> Self {
        Self { subject: SUBJECT, version: 2, ca: Some(false), aaguid: None, extensions: Vec::new(), validity: (0, 365) }
    }
}

impl CertificateSpec<'_> {
    /// For the public half of `key`, signed by the issuer or by itself.
    pub(super) fn make(&self, key: &PKeyRef<Private>, issuer: Option<(&X509, &PKeyRef<Private>)>) -> X509 {
        let mut name = X509NameBuilder::new().unwrap();
        for (kind, value) in self.subject {
            name.append_entry_by_text(kind, value).unwrap();
        }
        let name = name.build();
        let mut builder = X509::builder().unwrap();
        builder.set_version(self.version).unwrap();
        builder.set_serial_number(&BigNum::from_u32(7).unwrap().to_asn1_integer().unwrap()).unwrap();
        builder.set_subject_name(&name).unwrap();
        builder.set_issuer_name(issuer.map_or(&*name, |(issuer, _)| issuer.subject_name())).unwrap();
        let day = |n: i64| Asn1Time::from_unix(NEW_YEAR + n * 86_400).unwrap();
        builder.set_not_before(&day(self.validity.0)).unwrap();
        builder.set_not_after(&day(self.validity.1)).unwrap();
        builder.set_pubkey(key).unwrap();
        if let Some(ca) = self.ca {
            let mut constraints = BasicConstraints::new();
            constraints.critical();
            if ca {
                constraints.ca();
            }
            builder.append_extension(constraints.build().unwrap()).unwrap();
        }
        let aaguid = self.aaguid.iter().map(|(value, critical)| ("1.3.6.1.4.1.45724.1.1.4", *critical, value));
        for (oid, critical, value) in aaguid.chain(self.extensions.iter().map(|(oid, critical, value)| (*oid, *critical, value))) {
            let oid = Asn1Object::from_str(oid).unwrap();
            let contents = Asn1OctetString::new_from_bytes(value).unwrap();
            builder.append_extension(X509Extension::new_from_der(&oid, critical, &contents).unwrap()).unwrap();
        }
        let signer = issuer.map_or(key, |(_, key)| key);
        let digest = if signer.ec_key().is_ok() || signer.rsa().is_ok() { MessageDigest::sha256() } else { MessageDigest::null() };
        builder.sign(signer, digest).unwrap();
        builder.build()
    }
}

/// Client data with these members in place of, or beside, the usual ones; `null` leaves one out.
fn client_data(ceremony: &str, challenge: &Challenge, members: &Json) -> String {
    let mut client_data = json!({
        "type": ceremony,
        "challenge": URL_SAFE_NO_PAD.encode(challenge.as_bytes()),
        "origin": "https://example.org",
    });
    for (name, value) in members.as_object().unwrap() {
        client_data[name] = value.clone();
    }
    client_data.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    client_data.to_string()
}

/// Makes a statement's members, each in CBOR, for a credential's key, from authenticator data and the hash of the client data.
pub(super) type MakeMembers = Box<dyn Fn(&KeyPair, &[u8]) -> Vec<(&'static str, Vec<u8>)>>;

/// How a registration is attested.
pub(super) enum Statement {
    None,
    PackedSelf,
    /// By the key of the first certificate.
    Packed(PKey<Private>, CoseAlgorithm, Vec<Vec<u8>>),
    U2f(PKey<Private>, Vec<Vec<u8>>),
    /// Of this format, with these members.
    Made(&'static str, MakeMembers),
    /// Several in one, each about the same credential.
    Compound(Vec<Statement>),
    /// Format and statement as they are.
    Raw(String, Vec<u8>),
}

/// A registration to be made, with its relying party's policy.
pub(super) struct Maker {
    pub(super) algorithm: CoseAlgorithm,
    /// The credential's key; a fresh one where there is none.
    pub(super) key: Option<KeyPair>,
    pub(super) challenge: Challenge,
    pub(super) flags: u8,
    pub(super) aaguid: [u8; 16],
    pub(super) credential_id: Vec<u8>,
    pub(super) statement: Statement,
    /// Members of the client data in place of, or beside, the usual ones; `null` leaves one out.
    pub(super) client_data: Json,
    /// Bytes that end the authenticator data.
    pub(super) tail: Vec<u8>,
    /// The statement's members after it was signed; `None` leaves one out.
    pub(super) spoil: Vec<(&'static str, Option<Vec<u8>>)>,
    pub(super) anchors: Vec<TrustAnchor>,
    pub(super) user_verification: UserVerification,
    pub(super) algorithms: Vec<CoseAlgorithm>,
    pub(super) allow_cross_origin: bool,
    pub(super) top_origins: Vec<Origin>,
    pub(super) allow_u2f_aaguid: bool,
    /// The policy; with anchors, chains are judged whatever it says.
    pub(super) attestation: AttestationPolicy,
    pub(super) now: Timestamp,
}

impl Default for Maker {
    fn default() -> Self {
        Self {
            algorithm: CoseAlgorithm::Es256,
            key: None,
            challenge: Challenge::from_bytes(&[0x5a; 32]),
            flags: 0x45,
            aaguid: [0; 16],
            credential_id: vec![1; 16],
            statement: Statement::None,
            client_data: json!({}),
            tail: Vec::new(),
            spoil: Vec::new(),
            anchors: Vec::new(),
            user_verification: UserVerification::Preferred,
            algorithms: OFFERED_ALGORITHMS.to_vec(),
            allow_cross_origin: false,
            top_origins: Vec::new(),
            allow_u2f_aaguid: true,
            attestation: AttestationPolicy::default(),
            now: Timestamp::from_millis((NEW_YEAR + 86_400) * 1000),
        }
    }
}

impl Maker {
    /// A registration attested so.
    pub(super) fn attested(statement: Statement) -> Self {
        Self { statement, ..Self::default() }
    }

    /// A packed registration attested by a certificate of this kind, signed by itself.
    pub(super) fn packed(spec: &CertificateSpec<'_>) -> Self {
        let key = KeyPair::generate(CoseAlgorithm::Es256).private;
        let certificate = spec.make(&key, None).to_der().unwrap();
        Self::attested(Statement::Packed(key, CoseAlgorithm::Es256, vec![certificate]))
    }

    /// The JSON form, made anew.
    pub(super) fn credential(&self) -> Json {
        let key = self.key.clone().unwrap_or_else(|| KeyPair::generate(self.algorithm));
        let client_data = client_data("webauthn.create", &self.challenge, &self.client_data);
        let length = u16::try_from(self.credential_id.len()).unwrap().to_be_bytes();
        let data =
            [&sha256(b"example.org")[..], &[self.flags, 0, 0, 0, 9], &self.aaguid, &length, &self.credential_id, &key.cose, &self.tail]
                .concat();
        let (format, statement) = self.statement(&self.statement, &key, &data, sha256(client_data.as_bytes()));
        let object = Map::from_entries(vec![
            (Value::Text("fmt"), Value::Text(&format)),
            (Value::Text("attStmt"), Value::parse(&statement).unwrap()),
            (Value::Text("authData"), Value::Bytes(&data)),
        ]);
        let id: Vec<u8> = self.credential_id.iter().copied().chain([0]).take(self.credential_id.len().clamp(1, 1023)).collect();
        json!({
            "id": URL_SAFE_NO_PAD.encode(&id),
            "rawId": URL_SAFE_NO_PAD.encode(&id),
            "type": "public-key",
            "response": {
                "clientDataJSON": URL_SAFE_NO_PAD.encode(client_data),
                "attestationObject": URL_SAFE_NO_PAD.encode(Value::Map(object).to_vec()),
            },
            "clientExtensionResults": {},
        })
    }

    fn statement(&self, statement: &Statement, key: &KeyPair, data: &[u8], hash: [u8; 32]) -> (String, Vec<u8>) {
        let signed = [data, &hash].concat();
        let bytes = |bytes: &[u8]| Value::Bytes(bytes).to_vec();
        let x5c = |certificates: &[Vec<u8>]| Value::Array(certificates.iter().map(|der| Value::Bytes(der)).collect()).to_vec();
        let (format, members) = match statement {
            Statement::None => ("none", vec![]),
            Statement::Raw(format, statement) => return (format.clone(), statement.clone()),
            Statement::Compound(parts) => {
                let parts = parts.iter().map(|part| self.statement(part, key, data, hash)).collect::<Vec<_>>();
                return ("compound".to_owned(), compound(&parts));
            }
            Statement::Made(format, make) => (*format, make(key, &signed)),
            Statement::PackedSelf => {
                let signature = sign(self.algorithm, &key.private, &signed);
                ("packed", vec![("alg", Value::from(self.algorithm.id()).to_vec()), ("sig", bytes(&signature))])
            }
            Statement::Packed(key, algorithm, certificates) => {
                let signature = sign(*algorithm, key, &signed);
                let alg = Value::from(algorithm.id()).to_vec();
                ("packed", vec![("alg", alg), ("sig", bytes(&signature)), ("x5c", x5c(certificates))])
            }
            Statement::U2f(attestation_key, certificates) => {
                let cose = Value::parse(&key.cose).unwrap();
                let coordinate = |label| cose.as_map().unwrap().int(label).and_then(Value::as_bytes).unwrap_or_default();
                let message =
                    [&[0], &sha256(b"example.org")[..], &hash, &self.credential_id, &[4], coordinate(-2), coordinate(-3)].concat();
                let signature = sign(CoseAlgorithm::Es256, attestation_key, &message);
                ("fido-u2f", vec![("sig", bytes(&signature)), ("x5c", x5c(certificates))])
            }
        };
        let members: Vec<(&str, Vec<u8>)> = members
            .into_iter()
            .filter(|(name, _)| !self.spoil.iter().any(|(spoilt, _)| spoilt == name))
            .chain(self.spoil.iter().filter_map(|(name, value)| Some((*name, value.clone()?))))
            .collect();
        let entries = members.iter().map(|(name, value)| (Value::Text(name), Value::parse(value).unwrap())).collect();
        (format.to_owned(), Value::Map(Map::from_entries(entries)).to_vec())
    }

    /// Makes, parses and verifies it.
    pub(super) fn verify(&self) -> Result<Registration, RegistrationError> {
        let mut attestation = self.attestation.clone();
        let trust_store = TrustStore::new([("test".to_owned(), self.anchors.clone())], None);
        if !self.anchors.is_empty() {
            attestation.anchors.push("test".to_owned());
            attestation.trust = TrustDemand::Judge;
        }
        self.verify_by(&attestation, &trust_store)
    }

    /// The same by another policy than its own.
    pub(super) fn verify_by(&self, attestation: &AttestationPolicy, trust_store: &TrustStore) -> Result<Registration, RegistrationError> {
        let credential = RegistrationCredential::parse(self.credential().to_string().as_bytes()).unwrap();
        let origins = ["https://example.org".parse().unwrap()];
        verify_registration(
            &credential,
            &RegistrationPolicy {
                rp_id: "example.org",
                origins: &origins,
                challenge: &Challenge::from_bytes(&[0x5a; 32]),
                user_verification: self.user_verification,
                algorithms: &self.algorithms,
                allow_cross_origin: self.allow_cross_origin,
                top_origins: &self.top_origins,
                allow_u2f_aaguid: self.allow_u2f_aaguid,
                attestation,
                trust_store,
                now: self.now,
            },
        )
    }
}

/// A compound statement of these, each a format and a statement.
pub(super) fn compound(parts: &[(String, Vec<u8>)]) -> Vec<u8> {
    let part = |(format, statement): &'_ (String, Vec<u8>)| {
        let entries = [("fmt", Value::Text(format).to_vec()), ("attStmt", statement.clone())];
        let entries = entries.iter().map(|(name, value)| (Value::Text(name), Value::parse(value).unwrap())).collect();
        Value::Map(Map::from_entries(entries)).to_vec()
    };
    let parts: Vec<_> = parts.iter().map(part).collect();
    Value::Array(parts.iter().map(|part| Value::parse(part).unwrap()).collect()).to_vec()
}
