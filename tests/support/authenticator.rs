//! A software authenticator and the browser around it, with a knob for everything a hostile client could turn.
//!
//! [`Draft::new`] answers creation options as an honest client would. Change its fields to change what is signed; change what [`Draft::object`]
//! or [`Draft::body`] return to spoil what is sent after it was signed.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use openssl::{rand::rand_bytes, sha::sha256, x509::X509};
use serde_json::{Map, Value, json};

use super::{
    cbor::{Cbor, Entries},
    certificates::{LeafSpec, Maker},
    keys::{Algorithm, KeyPair},
    statements,
};

/// The flags of authenticator data (WebAuthn L3 section 6.1).
pub mod flag {
    pub const UP: u8 = 0x01;
    pub const UV: u8 = 0x04;
    pub const BE: u8 = 0x08;
    pub const BS: u8 = 0x10;
    pub const AT: u8 = 0x40;
    pub const ED: u8 = 0x80;
}

/// An attestation statement format, `packed` with and without certificates apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    None,
    PackedSelf,
    PackedX5c,
    FidoU2f,
    Tpm,
    AndroidKey,
    Apple,
    /// Of the parts that the draft names.
    Compound,
    /// Accepted only where a policy says so.
    AndroidSafetynet,
}

impl Format {
    /// Those that are accepted by default.
    pub const ALL: [Self; 8] =
        [Self::None, Self::PackedSelf, Self::PackedX5c, Self::FidoU2f, Self::Tpm, Self::AndroidKey, Self::Apple, Self::Compound];

    /// The `fmt` member.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::PackedSelf | Self::PackedX5c => "packed",
            Self::FidoU2f => "fido-u2f",
            Self::Tpm => "tpm",
            Self::AndroidKey => "android-key",
            Self::Apple => "apple",
            Self::Compound => "compound",
            Self::AndroidSafetynet => "android-safetynet",
        }
    }

    /// Whether a key of this algorithm can be attested so: U2F knows P-256 alone, and no TPM knows Ed25519.
    pub fn takes(self, algorithm: Algorithm) -> bool {
        match self {
            Self::FidoU2f => algorithm == Algorithm::Es256,
            Self::Tpm => algorithm != Algorithm::EdDsa,
            _ => true,
        }
    }
}

/// Our model's AAGUID.
pub const AAGUID: [u8; 16] = *b"\x8e\x0f\x1a\x2b\x3c\x4d\x45\x5e\x96\x6f\x70\x81\x92\xa3\xb4\xc5";

/// A registration in the making.
pub struct Draft {
    pub format: Format,
    /// The credential's key pair.
    pub key: KeyPair,
    /// The members of client data, in order.
    pub client_data: Map<String, Value>,
    pub rp_id_hash: Vec<u8>,
    pub flags: u8,
    pub sign_count: u32,
    pub aaguid: [u8; 16],
    pub credential_id: Vec<u8>,
    /// Whose it is, kept for assertions.
    pub user_handle: Vec<u8>,
    /// COSE_Key, which need not fit `key`.
    pub public_key: Cbor,
    /// Whatever follows the public key in authenticator data: extension outputs, or bytes too many.
    pub trailing: Vec<u8>,
    pub leaf: LeafSpec,
    /// The key in the leaf certificate.
    pub attestation_key: KeyPair,
    pub maker: Maker,
    /// In the place of the leaf that `leaf` describes: a batch has one and the same.
    pub certificate: Option<X509>,
    /// What a compound statement consists of.
    pub parts: Vec<Format>,
    /// Where Android's keystore keeps the key: 1 in a trusted environment, 0 in software.
    pub android_level: u8,
    /// Whether the TPM signs with SHA-1; its attestation key must be RSA's.
    pub tpm_sha1: bool,
    pub transports: Vec<&'static str>,
}

impl Draft {
    /// An honest answer to `options` (the `{"publicKey": ..}` of initialize), given at `origin`.
    pub fn new(options: &Value, origin: &str, format: Format, algorithm: Algorithm) -> Self {
        let public_key = &options["publicKey"];
        let rp_id = public_key["rp"]["id"].as_str().expect("options name a relying party");
        let key = KeyPair::generate(algorithm);
        let u2f = format == Format::FidoU2f;
        let aaguid = if u2f || format == Format::None { [0; 16] } else { AAGUID };
        let client_data = json!({"type": "webauthn.create", "challenge": public_key["challenge"], "origin": origin, "crossOrigin": false});
        let mut credential_id = vec![0; 32];
        rand_bytes(&mut credential_id).unwrap();
        Self {
            format,
            client_data: client_data.as_object().unwrap().clone(),
            rp_id_hash: sha256(rp_id.as_bytes()).to_vec(),
            flags: flag::UP | flag::AT | if u2f { 0 } else { flag::UV },
            sign_count: 0,
            aaguid,
            credential_id,
            user_handle: public_key["user"]["id"].as_str().map(|id| URL_SAFE_NO_PAD.decode(id).unwrap()).unwrap_or_default(),
            public_key: Cbor::Map(key.cose()),
            trailing: Vec::new(),
            leaf: LeafSpec::new(AAGUID),
            // A U2F leaf holds a P-256 key (WebAuthn L3 section 8.6), and so does SafetyNet's here; elsewhere the maker uses the credential's
            // algorithm too.
            attestation_key: KeyPair::generate_attestation(if u2f || format == Format::AndroidSafetynet {
                Algorithm::Es256
            } else {
                algorithm
            }),
            maker: Maker::new(),
            certificate: None,
            parts: vec![Format::PackedX5c, Format::AndroidKey],
            android_level: 1,
            tpm_sha1: false,
            transports: if u2f { vec!["usb"] } else { vec!["internal", "hybrid"] },
            key,
        }
    }

    /// `clientDataJSON`, before base64url.
    pub fn client_data_json(&self) -> Vec<u8> {
        Value::Object(self.client_data.clone()).to_string().into_bytes()
    }

    /// Authenticator data (WebAuthn L3 section 6.1); attested credential data is written whatever the flags say.
    pub fn auth_data(&self) -> Vec<u8> {
        let id_length = u16::try_from(self.credential_id.len()).unwrap();
        [
            self.rp_id_hash.as_slice(),
            &[self.flags],
            &self.sign_count.to_be_bytes(),
            &self.aaguid,
            &id_length.to_be_bytes(),
            &self.credential_id,
            &self.public_key.encode(),
            &self.trailing,
        ]
        .concat()
    }

    /// The attestation statement over authenticator data and client data; not a compound one, which is no map.
    pub fn statement(&self, auth_data: &[u8], client_data: &[u8]) -> Entries {
        self.statement_of(self.format, auth_data, client_data)
    }

    fn statement_of(&self, format: Format, auth_data: &[u8], client_data: &[u8]) -> Entries {
        let client_data_hash = sha256(client_data);
        let signed = [auth_data, &client_data_hash].concat();
        let alg = |key: &KeyPair| (Cbor::text("alg"), Cbor::Int(key.algorithm.cose_id()));
        let sig = |signature| (Cbor::text("sig"), Cbor::Bytes(signature));
        let x5c = || {
            let chain = self.chain(format, &signed, &client_data_hash).into_iter().map(Cbor::Bytes).collect();
            (Cbor::text("x5c"), Cbor::Array(chain))
        };
        match format {
            Format::None => Vec::new(),
            Format::PackedSelf => vec![alg(&self.key), sig(self.key.sign(&signed))],
            Format::PackedX5c => vec![alg(&self.attestation_key), sig(self.attestation_key.sign(&signed)), x5c()],
            Format::FidoU2f => {
                let (x, y) = self.key.point();
                let message = [&[0], self.rp_id_hash.as_slice(), &client_data_hash, &self.credential_id, &[4], &x, &y].concat();
                vec![sig(self.attestation_key.sign(&message)), x5c()]
            }
            Format::Tpm => {
                let mut entries = statements::tpm(&self.key, &self.attestation_key, self.tpm_sha1, &signed);
                entries.push(x5c());
                entries
            }
            Format::AndroidKey => vec![alg(&self.key), sig(self.key.sign(&signed)), x5c()],
            Format::Apple => vec![x5c()],
            Format::AndroidSafetynet => {
                statements::safetynet(&self.attestation_key, &self.chain(format, &signed, &client_data_hash), &signed)
            }
            Format::Compound => panic!("a compound statement is no map"),
        }
    }

    /// The certificates of a statement, in DER, the attestation certificate first.
    fn chain(&self, format: Format, signed: &[u8], client_data_hash: &[u8]) -> Vec<Vec<u8>> {
        let mut leaf = self.leaf.clone();
        // Android's and Apple's certificates are for the credential's own key.
        let key = match format {
            Format::Tpm => {
                leaf.nameless = true;
                leaf.extensions.extend(statements::aik_extensions());
                &self.attestation_key
            }
            Format::AndroidKey => {
                leaf.extensions.push(statements::key_description(client_data_hash, self.android_level));
                &self.key
            }
            Format::Apple => {
                leaf.extensions.push(statements::apple_nonce(signed));
                &self.key
            }
            Format::AndroidSafetynet => {
                leaf.common_name = "attest.android.com";
                &self.attestation_key
            }
            _ => &self.attestation_key,
        };
        let leaf = self.certificate.clone().unwrap_or_else(|| self.maker.issue(&leaf, key));
        // A U2F statement has one certificate, no more.
        let others = self.maker.intermediate().filter(|_| format != Format::FidoU2f);
        [Some(&leaf), others].into_iter().flatten().map(|certificate| certificate.to_der().unwrap()).collect()
    }

    /// `attStmt`, of whatever format.
    fn attestation_statement(&self, auth_data: &[u8], client_data: &[u8]) -> Cbor {
        if self.format != Format::Compound {
            return Cbor::Map(self.statement(auth_data, client_data));
        }
        let part = |&format: &Format| {
            let statement = self.statement_of(format, auth_data, client_data);
            Cbor::Map(vec![(Cbor::text("fmt"), Cbor::text(format.name())), (Cbor::text("attStmt"), Cbor::Map(statement))])
        };
        Cbor::Array(self.parts.iter().map(part).collect())
    }

    /// The entries of the attestation object, in canonical order: `fmt`, `attStmt`, `authData`.
    pub fn object(&self) -> Entries {
        let auth_data = self.auth_data();
        let statement = self.attestation_statement(&auth_data, &self.client_data_json());
        vec![
            (Cbor::text("fmt"), Cbor::text(self.format.name())),
            (Cbor::text("attStmt"), statement),
            (Cbor::text("authData"), Cbor::Bytes(auth_data)),
        ]
    }

    /// The RegistrationResponseJSON that the browser would post (WebAuthn L3 section 5.1.8).
    pub fn body(&self) -> Value {
        self.body_with(&self.client_data_json(), &Cbor::Map(self.object()).encode())
    }

    /// The same around other client data and another attestation object.
    pub fn body_with(&self, client_data: &[u8], attestation_object: &[u8]) -> Value {
        let id = self.id();
        json!({
            "id": id,
            "rawId": id,
            "type": "public-key",
            "authenticatorAttachment": if self.format == Format::FidoU2f { "cross-platform" } else { "platform" },
            "response": {
                "clientDataJSON": URL_SAFE_NO_PAD.encode(client_data),
                "attestationObject": URL_SAFE_NO_PAD.encode(attestation_object),
                "transports": self.transports,
            },
            "clientExtensionResults": {},
        })
    }

    /// The credential's id, as the API writes it.
    pub fn id(&self) -> String {
        URL_SAFE_NO_PAD.encode(&self.credential_id)
    }
}
