//! A metadata service: certificates, BLOBs that it signs, certificates that it revokes (FIDO Metadata Service v3.0, RFC 5280 section 5).

use base64::{Engine as _, engine::general_purpose::STANDARD};
use openssl::{
    bn::BigNum,
    x509::{X509, X509Ref},
};
use serde_json::{Value, json};

use super::{
    certificates::{LeafSpec, Maker},
    der::{element, integer, sequence},
    keys::{Algorithm, KeyPair},
    mint,
};

/// Whom the service's certificate is for.
pub const SIGNER: &str = "mds.example.org";

/// A metadata service.
pub struct Publisher {
    /// Its CAs: a root and an intermediate.
    pub authorities: Maker,
    /// The certificate and the key that it signs with.
    pub signer: X509,
    key: KeyPair,
}

impl Publisher {
    pub fn new() -> Self {
        Self::for_host(SIGNER)
    }

    /// One whose certificate is for another host.
    pub fn for_host(host: &'static str) -> Self {
        let (authorities, key) = (Maker::with_intermediate(), KeyPair::generate(Algorithm::Es256));
        let leaf = LeafSpec { common_name: host, aaguid: None, ..LeafSpec::new([0; 16]) };
        Self { signer: authorities.issue(&leaf, &key), authorities, key }
    }

    /// The certificates in x5c, the signer's first.
    pub fn chain(&self) -> Vec<&X509Ref> {
        [Some(&self.signer), self.authorities.intermediate()].into_iter().flatten().map(AsRef::as_ref).collect()
    }

    /// A BLOB of this number with these entries. The next is due in 2099.
    pub fn blob(&self, no: u64, entries: &[Value]) -> Vec<u8> {
        self.blob_due("2099-01-01", no, entries)
    }

    /// The same with another `nextUpdate`.
    pub fn blob_due(&self, next_update: &str, no: u64, entries: &[Value]) -> Vec<u8> {
        self.signed(&self.chain(), &json!({"legalHeader": "..", "no": no, "nextUpdate": next_update, "entries": entries}))
    }

    /// A payload with these certificates in the header.
    pub fn signed(&self, x5c: &[&X509Ref], payload: &Value) -> Vec<u8> {
        let x5c: Vec<_> = x5c.iter().map(|certificate| STANDARD.encode(certificate.to_der().unwrap())).collect();
        let header = json!({"alg": "ES256", "typ": "JWT", "x5c": x5c});
        mint::jws("ES256", &self.key.key, &header, payload.to_string().as_bytes()).into_bytes()
    }

    /// The intermediate's CRL, which revokes `revoked`: DER, valid from 2020 to the end of that year.
    pub fn crl_until(&self, last_year: u32, revoked: &[&X509Ref]) -> Vec<u8> {
        let issuer = self.authorities.intermediate().unwrap();
        crl(issuer, self.authorities.issuing_key(), last_year, revoked)
    }

    /// The root's.
    pub fn root_crl_until(&self, last_year: u32, revoked: &[&X509Ref]) -> Vec<u8> {
        crl(&self.authorities.root, self.authorities.root_key(), last_year, revoked)
    }
}

/// A CertificateList (RFC 5280 section 5.1).
fn crl(issuer: &X509Ref, key: &KeyPair, last_year: u32, revoked: &[&X509Ref]) -> Vec<u8> {
    // ecdsa-with-SHA256
    let algorithm = sequence(&[&element(&[0x06], &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02])]);
    let day = |text: &str| element(&[0x17], text.as_bytes());
    let serial = |certificate: &X509Ref| certificate.serial_number().to_bn().map(|serial: BigNum| integer(&serial.to_vec())).unwrap();
    let entries: Vec<u8> = revoked.iter().flat_map(|certificate| sequence(&[&serial(certificate), &day("200101000000Z")])).collect();
    let list = if entries.is_empty() { Vec::new() } else { sequence(&[&entries]) };
    let name = issuer.subject_name().to_der().unwrap();
    let until = day(&format!("{:02}1231235959Z", last_year % 100));
    let tbs = sequence(&[&integer(&[1]), &algorithm, &name, &day("200101000000Z"), &until, &list]);
    sequence(&[&tbs, &algorithm, &element(&[0x03], &[&[0], key.sign(&tbs).as_slice()].concat())])
}

/// An entry for a FIDO2 model: its certificates lead to `anchor`.
pub fn entry(aaguid: &str, description: &str, anchor: &X509Ref, reports: &[Value]) -> Value {
    json!({
        "aaguid": aaguid,
        "metadataStatement": statement(description, anchor),
        "statusReports": reports,
    })
}

/// An entry for a U2F model, known by the key of its attestation certificate.
pub fn u2f_entry(certificate: &X509Ref, description: &str, anchor: &X509Ref, reports: &[Value]) -> Value {
    json!({
        "attestationCertificateKeyIdentifiers": [key_identifier(certificate)],
        "metadataStatement": statement(description, anchor),
        "statusReports": reports,
    })
}

fn statement(description: &str, anchor: &X509Ref) -> Value {
    json!({
        "description": description,
        "attestationTypes": ["basic_full"],
        "authenticationAlgorithms": ["secp256r1_ecdsa_sha256_raw"],
        "attestationRootCertificates": [STANDARD.encode(anchor.to_der().unwrap())],
    })
}

/// A status report since 2020.
pub fn report(status: &str) -> Value {
    json!({"status": status, "effectiveDate": "2020-02-02"})
}

/// RFC 5280 section 4.2.1.2 method 1: SHA-1 of the bits of the public key.
fn key_identifier(certificate: &X509Ref) -> String {
    let key = certificate.public_key().unwrap().ec_key().unwrap();
    let mut context = openssl::bn::BigNumContext::new().unwrap();
    let form = openssl::ec::PointConversionForm::UNCOMPRESSED;
    let point = key.public_key().to_bytes(key.group(), form, &mut context).unwrap();
    format!("{:0>40}", BigNum::from_slice(&openssl::sha::sha1(&point)).unwrap().to_hex_str().unwrap().to_ascii_lowercase())
}
