//! A key's evidence as a file: written for an auditor, and checked again by one who has the file alone.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use openssl::{memcmp, sha::sha256};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::KeyDossier;
use crate::{
    domain::{AuditEvent, KeyEvidence, KeyId, SigningAlgorithm, hex},
    hsm::{thumbprint, verify_evidence},
    services::Error,
};

/// What a record calls itself.
const RECORD: &str = "passkey-hsm key evidence v1";

/// The file of a key: what was signed and the signature, the public key, what was attached, and the key's history.
///
/// # Errors
/// [`Error::Invalid`] where the key has no evidence yet.
pub fn evidence_file(dossier: &KeyDossier) -> Result<Value, Error> {
    let key = &dossier.key;
    let (Some(evidence), Some(public_key)) = (&key.evidence, &key.public_key) else {
        return Err(Error::Invalid(format!("signing key {} has no evidence: it was never completed", key.id)));
    };
    let attachments = dossier.attachments.iter().map(|attachment| {
        json!({
            "name": attachment.name,
            "sha256": hex(&sha256(&attachment.content)),
            "content": URL_SAFE_NO_PAD.encode(&attachment.content),
        })
    });
    Ok(json!({
        "record": evidence.record,
        "signature": URL_SAFE_NO_PAD.encode(&evidence.signature),
        "public_key": URL_SAFE_NO_PAD.encode(public_key),
        "attachments": attachments.collect::<Vec<_>>(),
        "history": dossier.history.iter().map(event).collect::<Vec<_>>(),
    }))
}

fn event(event: &AuditEvent) -> Value {
    json!({
        "time": event.created_at.to_string(),
        "type": event.event_type.as_str(),
        "actor": event.actor,
        "reason": event.reason,
        "error": event.error,
    })
}

/// What a check of a file found: `accept`, or `reject` with the reason; and what the record says, as far as it could be read.
#[derive(Debug, Default, Serialize)]
pub struct KeyFinding {
    verdict: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    kid: Option<KeyId>,
    algorithm: Option<SigningAlgorithm>,
    thumbprint: Option<String>,
    /// When the record was made, by the clock of the server that asked for it.
    time: Option<String>,
    actor: Option<String>,
    origin: Option<String>,
    token: Value,
    module: Value,
    attributes: Value,
    /// Names of attachments whose content has the hash that is written beside it. What they say is for the vendor's tool to judge.
    attachments: Vec<String>,
    /// How many events the history has. It is not signed: the audit log is where it is from.
    unsigned_events: usize,
}

impl KeyFinding {
    /// Whether the evidence is what it claims to be.
    pub fn is_accepted(&self) -> bool {
        self.reason.is_none()
    }
}

/// The file's members.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    record: Option<String>,
    signature: Option<String>,
    public_key: String,
    #[serde(default)]
    attachments: Vec<Attached>,
    #[serde(default)]
    history: Vec<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Attached {
    name: String,
    sha256: String,
    content: String,
}

/// What has to be in a record; more may be.
#[derive(Deserialize)]
struct Record {
    evidence: String,
    kid: KeyId,
    algorithm: SigningAlgorithm,
    public_key: String,
    thumbprint: String,
    time: String,
    #[serde(default)]
    actor: Option<String>,
    #[serde(default)]
    origin: Option<String>,
    #[serde(default)]
    token: Value,
    #[serde(default)]
    module: Value,
    #[serde(default)]
    attributes: Value,
}

/// Checks a file of [`evidence_file`], with nothing but the file: that the key whose public half it has signed the record, that the record is of
/// that key, and that attachments are what they were. That the kid is one of this service's, its JWKS or database says.
pub fn verify_key_evidence(file: &[u8]) -> KeyFinding {
    let mut finding = KeyFinding { verdict: "accept", ..KeyFinding::default() };
    if let Err(reason) = check(file, &mut finding) {
        finding.verdict = "reject";
        finding.reason = Some(reason);
    }
    finding
}

fn check(file: &[u8], finding: &mut KeyFinding) -> Result<(), String> {
    let file: File = serde_json::from_slice(file).map_err(|e| format!("the file cannot be read: {e}"))?;
    let (Some(text), Some(signature)) = (file.record, file.signature) else {
        return Err("the file has no evidence: record or signature is missing".to_owned());
    };
    let record: Record = serde_json::from_str(&text).map_err(|e| format!("the record cannot be read: {e}"))?;
    if record.evidence != RECORD {
        return Err(format!("the record is not a {RECORD:?}"));
    }
    finding.unsigned_events = file.history.len();
    (finding.kid, finding.algorithm, finding.time) = (Some(record.kid), Some(record.algorithm), Some(record.time));
    (finding.actor, finding.origin) = (record.actor, record.origin);
    (finding.token, finding.module, finding.attributes) = (record.token, record.module, record.attributes);

    // 1. The record is of this public key.
    if record.public_key != file.public_key {
        return Err("the record is of another public key than the file's".to_owned());
    }
    let public_key = decode("public_key", &file.public_key)?;
    let found = thumbprint(record.algorithm, &public_key).ok_or_else(|| format!("public_key is no key for {}", record.algorithm))?;
    if record.thumbprint != found {
        return Err(format!("the record's thumbprint is not the public key's, which is {found}"));
    }
    finding.thumbprint = Some(found);

    // 2. That key signed it.
    let evidence = KeyEvidence { record: text, signature: decode("signature", &signature)? };
    if !verify_evidence(record.algorithm, &public_key, &evidence) {
        return Err("the signature over the record does not verify with the public key".to_owned());
    }

    // 3. What is attached is what it was.
    for Attached { name, sha256: written, content } in file.attachments {
        let found = hex(&sha256(&decode("an attachment's content", &content)?));
        if found.len() != written.len() || !memcmp::eq(found.as_bytes(), written.as_bytes()) {
            return Err(format!("the content of attachment {name:?} has another SHA-256 than the one written beside it"));
        }
        finding.attachments.push(name);
    }
    Ok(())
}

fn decode(what: &str, text: &str) -> Result<Vec<u8>, String> {
    URL_SAFE_NO_PAD.decode(text).map_err(|e| format!("{what} is not base64url: {e}"))
}

#[cfg(test)]
mod tests {
    use openssl::{
        ec::{EcGroup, EcKey},
        ecdsa::EcdsaSig,
        nid::Nid,
        pkey::PKey,
    };

    use super::*;
    use crate::{
        domain::{KeyPlan, SigningKey, SystemRng, TenantId, Timestamp},
        hsm::EVIDENCE_PREFIX,
        storage::KeyAttachment,
    };

    /// The file of an honest key, and what signs with it.
    fn file() -> (Value, EcKey<openssl::pkey::Private>) {
        let private = EcKey::generate(&EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap()).unwrap();
        let public_key = PKey::from_ec_key(private.clone()).unwrap().public_key_to_der().unwrap();
        let now = Timestamp::from_millis(0);
        let (kid, tenant) = (KeyId::random(&SystemRng), TenantId::random(&SystemRng));
        let record = json!({
            "evidence": RECORD,
            "kid": kid,
            "algorithm": "ES256",
            "token": {"serial": "5f1e"},
            "attributes": {"CKA_LOCAL": true},
            "public_key": URL_SAFE_NO_PAD.encode(&public_key),
            "thumbprint": thumbprint(SigningAlgorithm::Es256, &public_key),
            "time": now.to_string(),
        });
        let record = record.to_string();
        let evidence = KeyEvidence { signature: sign(&private, &record), record };
        let mut key = SigningKey::intent(kid, tenant, SigningAlgorithm::Es256, None, KeyPlan::None, now);
        (key.public_key, key.evidence) = (Some(public_key), Some(evidence));
        let attachment =
            KeyAttachment { key_id: kid, name: "a.bin".to_owned(), content: vec![0, 1, 255], added_at: now, added_by: "alice".to_owned() };
        (evidence_file(&KeyDossier { key, attachments: vec![attachment], history: Vec::new() }).unwrap(), private)
    }

    fn sign(key: &EcKey<openssl::pkey::Private>, record: &str) -> Vec<u8> {
        let digest = sha256(&[EVIDENCE_PREFIX, record.as_bytes()].concat());
        let signature = EcdsaSig::sign(&digest, key).unwrap();
        [signature.r().to_vec_padded(32).unwrap(), signature.s().to_vec_padded(32).unwrap()].concat()
    }

    fn reason(file: &Value) -> String {
        verify_key_evidence(file.to_string().as_bytes()).reason.unwrap_or_else(|| "accepted".to_owned())
    }

    #[test]
    fn an_honest_file_is_accepted_and_told_of() {
        let (file, _) = file();
        let finding = verify_key_evidence(file.to_string().as_bytes());
        assert!(finding.is_accepted(), "{finding:?}");
        let told = serde_json::to_value(&finding).unwrap();
        assert_eq!((&told["verdict"], &told["attachments"]), (&json!("accept"), &json!(["a.bin"])));
        assert_eq!((&told["token"]["serial"], &told["algorithm"]), (&json!("5f1e"), &json!("ES256")));
    }

    #[test]
    fn each_member_counts() {
        let ((honest, private), (other, _)) = (file(), file());
        let record: Value = serde_json::from_str(honest["record"].as_str().unwrap()).unwrap();
        // Signed by the very key, and yet not evidence.
        let signed = |member: &str, value: Value| {
            let (mut file, mut record) = (honest.clone(), record.clone());
            record[member] = value;
            let text = record.to_string();
            file["signature"] = URL_SAFE_NO_PAD.encode(sign(&private, &text)).into();
            file["record"] = text.into();
            file
        };
        assert_eq!(reason(&signed("attributes", json!({}))), "accepted", "the signature alone vouches for what the record says");
        let other_record: Value = serde_json::from_str(other["record"].as_str().unwrap()).unwrap();
        for (member, value, why) in [
            ("evidence", json!("a token"), "the record is not a"),
            ("kid", json!("x"), "the record cannot be read"),
            ("algorithm", json!("ES384"), "public_key is no key for ES384"),
            ("algorithm", json!("RS256"), "public_key is no key for RS256"),
            ("public_key", other["public_key"].clone(), "the record is of another public key"),
            ("thumbprint", other_record["thumbprint"].clone(), "the record's thumbprint is not the public key's"),
            ("thumbprint", Value::Null, "the record cannot be read"),
            ("time", Value::Null, "the record cannot be read"),
        ] {
            assert!(reason(&signed(member, value)).starts_with(why), "{member}: {}", reason(&honest));
        }
        for (member, value, why) in [
            ("record", Value::Null, "the file has no evidence"),
            ("signature", Value::Null, "the file has no evidence"),
            ("record", other["record"].clone(), "the record is of another public key"),
            ("record", json!(format!("{} ", honest["record"].as_str().unwrap())), "the signature over the record does not verify"),
            ("signature", other["signature"].clone(), "the signature over the record does not verify"),
            ("signature", json!(""), "the signature over the record does not verify"),
            ("signature", json!("%"), "signature is not base64url"),
            ("public_key", other["public_key"].clone(), "the record is of another public key"),
            ("attachments", json!([{"name": "a", "sha256": "00", "content": "AA"}]), "the content of attachment \"a\" has another SHA-256"),
            ("attachments", json!([{"name": "a", "sha256": "00", "content": "="}]), "an attachment's content is not base64url"),
            ("surprise", json!(1), "the file cannot be read: unknown field `surprise`"),
        ] {
            let mut file = honest.clone();
            file[member] = value;
            assert!(reason(&file).starts_with(why), "{member}: {}", reason(&file));
        }
        let mut unwritten = honest.clone();
        unwritten["attachments"][0]["content"] = json!("AAH-");
        assert!(reason(&unwritten).starts_with("the content of attachment \"a.bin\""));
    }

    #[test]
    fn a_file_that_is_cut_or_none_is_refused() {
        let text = file().0.to_string();
        for n in [0, 1, text.len() / 2, text.len() - 1] {
            let finding = verify_key_evidence(&text.as_bytes()[..n]);
            assert!(finding.reason.unwrap().starts_with("the file cannot be read"), "{n}");
        }
        for none in ["null", "[]", "{}", "\"x\"", "\u{feff}{}"] {
            assert!(!verify_key_evidence(none.as_bytes()).is_accepted(), "{none}");
        }
    }

    #[test]
    fn a_key_without_evidence_has_no_file() {
        let intent = SigningKey::intent(
            KeyId::random(&SystemRng),
            TenantId::random(&SystemRng),
            SigningAlgorithm::Es256,
            None,
            KeyPlan::None,
            Timestamp::from_millis(0),
        );
        let dossier = KeyDossier { key: intent, attachments: Vec::new(), history: Vec::new() };
        assert!(matches!(evidence_file(&dossier), Err(Error::Invalid(_))));
    }
}
