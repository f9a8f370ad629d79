//! A metadata service for unit tests: its certificates, what it signs, and what it revokes.

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use openssl::{
    asn1::{Asn1Object, Asn1OctetString},
    ecdsa::EcdsaSig,
    hash::MessageDigest,
    pkey::{PKey, PKeyRef, Private},
    x509::{X509, X509Extension},
};
use serde_json::{Value, json};
use time::{OffsetDateTime, macros::format_description};

use super::{BlobError, Crl, MDS_SIGNER, Verified, verify_blob};
use crate::{
    domain::{MetadataBlob, Timestamp},
    webauthn::{
        CoseAlgorithm, TrustAnchor,
        testing::{CertificateSpec, KeyPair, NEW_YEAR, sign},
    },
};

pub(super) const ROOT: usize = 0;
pub(super) const INTERMEDIATE: usize = 1;
pub(super) const LEAF: usize = 2;

/// The end of the first day of the certificates, and of the CRLs.
pub(super) const NOW: Timestamp = Timestamp::from_millis((NEW_YEAR + 86_400) * 1000);

/// Root, intermediate and signer, each with its key.
pub(super) struct Service {
    pub(super) chain: [(X509, PKey<Private>); 3],
    algorithm: CoseAlgorithm,
}

impl Default for Service {
    fn default() -> Self {
        Self::new("ES256")
    }
}

impl Service {
    /// One that signs with an algorithm of JOSE.
    pub(super) fn new(algorithm: &str) -> Self {
        Self::valid(algorithm, (0, 365), (0, 365))
    }

    /// One whose intermediate and signer are valid on these days.
    pub(super) fn valid(algorithm: &str, intermediate: (i64, i64), leaf: (i64, i64)) -> Self {
        let algorithm = CoseAlgorithm::ALL.into_iter().find(|a| a.to_string().starts_with(&format!("{algorithm} "))).unwrap();
        let key = || KeyPair::generate(CoseAlgorithm::Es256).private;
        let (root_key, intermediate_key, leaf_key) = (key(), key(), KeyPair::generate(algorithm).private);
        let ca = |name, validity| CertificateSpec { subject: name, ca: Some(true), validity, ..CertificateSpec::default() };
        let root = ca(&[("CN", "Root")], (0, 365)).make(&root_key, None);
        let intermediate = ca(&[("CN", "Intermediate")], intermediate).make(&intermediate_key, Some((&root, &root_key)));
        let spec = CertificateSpec { subject: &[("O", "Example"), ("CN", MDS_SIGNER)], validity: leaf, ..CertificateSpec::default() };
        let leaf = spec.make(&leaf_key, Some((&intermediate, &intermediate_key)));
        Self { chain: [(root, root_key), (intermediate, intermediate_key), (leaf, leaf_key)], algorithm }
    }

    /// One whose signer has an extension more: object identifier and contents. Its intermediate has this key, if one is given.
    pub(super) fn extended(extension: Option<(&str, &[u8])>, intermediate_key: Option<PKey<Private>>) -> Self {
        let mut service = Self::default();
        if let Some(key) = intermediate_key {
            let [(root, root_key), (intermediate, own_key), _] = &mut service.chain;
            let spec = CertificateSpec { subject: &[("CN", "Intermediate")], ca: Some(true), ..CertificateSpec::default() };
            *intermediate = spec.make(&key, Some((root, root_key)));
            *own_key = key;
        }
        let [_, (intermediate, intermediate_key), (leaf, leaf_key)] = &mut service.chain;
        let mut builder = X509::builder().unwrap();
        builder.set_version(2).unwrap();
        builder.set_serial_number(leaf.serial_number()).unwrap();
        builder.set_subject_name(leaf.subject_name()).unwrap();
        builder.set_issuer_name(intermediate.subject_name()).unwrap();
        builder.set_not_before(leaf.not_before()).unwrap();
        builder.set_not_after(leaf.not_after()).unwrap();
        builder.set_pubkey(leaf_key).unwrap();
        if let Some((oid, value)) = extension {
            let (oid, value) = (Asn1Object::from_str(oid).unwrap(), Asn1OctetString::new_from_bytes(value).unwrap());
            builder.append_extension(X509Extension::new_from_der(&oid, false, &value).unwrap()).unwrap();
        }
        builder.sign(intermediate_key, MessageDigest::sha256()).unwrap();
        *leaf = builder.build();
        service
    }

    pub(super) fn root(&self) -> TrustAnchor {
        TrustAnchor::from_der(&self.chain[ROOT].0.to_der().unwrap()).unwrap()
    }

    /// Certificates in base64, by their places.
    pub(super) fn x5c(&self, places: &[usize]) -> Value {
        places.iter().map(|&n| json!(STANDARD.encode(self.chain[n].0.to_der().unwrap()))).collect()
    }

    /// A good header.
    pub(super) fn header(&self) -> Value {
        let name = self.algorithm.to_string();
        json!({ "alg": name.split(' ').next().unwrap(), "typ": "JWT", "x5c": self.x5c(&[LEAF, INTERMEDIATE]) })
    }

    /// Signed, whatever header and payload are.
    pub(super) fn sign(&self, header: &[u8], payload: &[u8]) -> Vec<u8> {
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
        let signature = sign(self.algorithm, &self.chain[LEAF].1, signed.as_bytes());
        let len = match self.algorithm {
            CoseAlgorithm::Es256 => 32,
            CoseAlgorithm::Es384 => 48,
            CoseAlgorithm::Es512 => 66,
            _ => return format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)).into_bytes(),
        };
        let parts = EcdsaSig::from_der(&signature).unwrap();
        let raw = [parts.r().to_vec_padded(len).unwrap(), parts.s().to_vec_padded(len).unwrap()].concat();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(raw)).into_bytes()
    }

    /// A BLOB with a good header.
    pub(super) fn blob(&self, payload: &Value) -> Vec<u8> {
        self.sign(self.header().to_string().as_bytes(), payload.to_string().as_bytes())
    }

    /// A BLOB with these members in its header; `null` takes one out.
    pub(super) fn with_header(&self, members: &Value) -> Vec<u8> {
        let mut header = self.header();
        for (name, value) in members.as_object().unwrap() {
            header[name] = value.clone();
        }
        header.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        self.sign(header.to_string().as_bytes(), payload(&[]).to_string().as_bytes())
    }

    /// Verifies a BLOB with this service's root, at the usual time.
    pub(super) fn verify(&self, blob: &[u8]) -> Result<(MetadataBlob, Verified), BlobError> {
        verify_blob(blob, &[self.root()], &[], Some(MDS_SIGNER), NOW)
    }

    /// Verifies with CRLs.
    pub(super) fn verify_with(&self, crls: &[Vec<u8>]) -> Result<Verified, BlobError> {
        let crls: Vec<_> = crls.iter().map(|crl| Crl::parse(crl).unwrap()).collect();
        verify_blob(&self.blob(&payload(&[])), &[self.root()], &crls, Some(MDS_SIGNER), NOW).map(|(_, verified)| verified)
    }

    /// A CRL of one of the CAs.
    pub(super) fn crl(&self, place: usize, spec: &CrlSpec<'_>) -> Vec<u8> {
        let (issuer, key) = &self.chain[place];
        spec.make(issuer, key)
    }
}

/// A payload with these entries.
pub(super) fn payload(entries: &[Value]) -> Value {
    json!({ "legalHeader": "..", "no": 7, "nextUpdate": "2026-02-01", "entries": entries })
}

/// A CRL to be made.
#[derive(Clone)]
pub(super) struct CrlSpec<'a> {
    pub(super) serials: &'a [u8],
    /// Days from 2026-01-01 on which it begins and ends.
    pub(super) validity: (i64, Option<i64>),
    /// Extensions: object identifier, whether it is critical, contents.
    pub(super) extensions: &'a [(&'a [u8], bool, Vec<u8>)],
}

impl Default for CrlSpec<'_> {
    fn default() -> Self {
        Self { serials: &[], validity: (0, Some(30)), extensions: &[] }
    }
}

impl CrlSpec<'_> {
    fn make(&self, issuer: &X509, key: &PKeyRef<Private>) -> Vec<u8> {
        const ECDSA_WITH_SHA256: &[u8] = &[0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
        let revoked: Vec<u8> = self.serials.iter().flat_map(|&serial| tlv(0x30, &[&tlv(2, &[&[serial]]), &day(0)])).collect();
        let extension = |(oid, critical, value): &(&[u8], bool, Vec<u8>)| {
            let critical: &[u8] = if *critical { &[1, 1, 0xff] } else { &[] };
            tlv(0x30, &[&tlv(6, &[oid]), critical, &tlv(4, &[value])])
        };
        let extensions: Vec<u8> = self.extensions.iter().flat_map(extension).collect();
        let list = |tag, contents: &[u8]| if contents.is_empty() { Vec::new() } else { tlv(tag, &[contents]) };
        let tbs = tlv(
            0x30,
            &[
                &[2, 1, 1],
                ECDSA_WITH_SHA256,
                &issuer.subject_name().to_der().unwrap(),
                &day(self.validity.0),
                &self.validity.1.map(day).unwrap_or_default(),
                &list(0x30, &revoked),
                &list(0xa0, &list(0x30, &extensions)),
            ],
        );
        let signature = sign(CoseAlgorithm::Es256, key, &tbs);
        tlv(0x30, &[&tbs, ECDSA_WITH_SHA256, &tlv(3, &[&[0], &signature])])
    }
}

/// An element of DER.
pub(super) fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let contents = parts.concat();
    let [high, low] = u16::try_from(contents.len()).unwrap().to_be_bytes();
    let length = match (high, low) {
        (0, 0..=0x7f) => vec![low],
        (0, _) => vec![0x81, low],
        _ => vec![0x82, high, low],
    };
    [&[tag][..], &length, &contents].concat()
}

/// UTCTime.
fn day(n: i64) -> Vec<u8> {
    let format = format_description!("[year repr:last_two][month][day][hour][minute][second]Z");
    let time = OffsetDateTime::from_unix_timestamp(NEW_YEAR + n * 86_400).unwrap().format(format).unwrap();
    tlv(0x17, &[time.as_bytes()])
}
