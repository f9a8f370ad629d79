//! Attestation certificates: a maker's root and the leaf in its authenticators (WebAuthn L3 section 8.2.1).

use openssl::{
    asn1::{Asn1Object, Asn1OctetString, Asn1Time},
    bn::{BigNum, MsbOption},
    hash::MessageDigest,
    nid::Nid,
    pkey::{PKeyRef, Private},
    x509::{X509, X509Builder, X509Extension, X509Name, extension::BasicConstraints},
};

use super::{
    keys::{Algorithm, KeyPair},
    statements::Extension,
};

/// `id-fido-gen-ce-aaguid`.
const AAGUID_EXTENSION: &str = "1.3.6.1.4.1.45724.1.1.4";

/// 2020 to 2100.
const NOT_BEFORE: i64 = 1_577_836_800;
const NOT_AFTER: i64 = 4_102_444_800;

/// What a leaf certificate says. Set as section 8.2.1 asks; every field is a knob.
#[derive(Debug, Clone)]
pub struct LeafSpec {
    /// 2 is X.509 version 3.
    pub version: i32,
    pub country: &'static str,
    pub organisation: &'static str,
    pub unit: &'static str,
    pub common_name: &'static str,
    pub is_ca: bool,
    /// The content of the AAGUID extension; `None` leaves it out.
    pub aaguid: Option<[u8; 16]>,
    pub aaguid_critical: bool,
    /// Leaves the subject empty, as a TPM's is.
    pub nameless: bool,
    /// Beside the usual ones.
    pub extensions: Vec<Extension>,
    /// Unix time, in seconds.
    pub not_before: i64,
    pub not_after: i64,
}

impl LeafSpec {
    pub fn new(aaguid: [u8; 16]) -> Self {
        Self {
            version: 2,
            country: "AT",
            organisation: "Example Authenticators",
            unit: "Authenticator Attestation",
            common_name: "Example Authenticator 1",
            is_ca: false,
            aaguid: Some(aaguid),
            aaguid_critical: false,
            nameless: false,
            extensions: Vec::new(),
            not_before: NOT_BEFORE,
            not_after: NOT_AFTER,
        }
    }
}

/// A maker of authenticators.
#[derive(Clone)]
pub struct Maker {
    root_key: KeyPair,
    pub root: X509,
    intermediate: Option<(X509, KeyPair)>,
}

impl Maker {
    /// One whose root signs leaves itself.
    pub fn new() -> Self {
        let root_key = KeyPair::generate(Algorithm::Es256);
        let root = authority("Example Root 1", &root_key, None);
        Self { root, root_key, intermediate: None }
    }

    /// One with an intermediate CA between.
    pub fn with_intermediate() -> Self {
        let (maker, key) = (Self::new(), KeyPair::generate(Algorithm::Es256));
        let certificate = authority("Example Intermediate 1", &key, Some((&maker.root, &maker.root_key)));
        Self { intermediate: Some((certificate, key)), ..maker }
    }

    /// The intermediate, in x5c after each leaf.
    pub fn intermediate(&self) -> Option<&X509> {
        self.intermediate.as_ref().map(|(certificate, _)| certificate)
    }

    pub fn root_key(&self) -> &KeyPair {
        &self.root_key
    }

    /// The key that leaves are signed with.
    pub fn issuing_key(&self) -> &KeyPair {
        self.intermediate.as_ref().map_or(&self.root_key, |(_, key)| key)
    }

    /// A leaf for `key`, signed by this maker's intermediate, or else its root.
    pub fn issue(&self, spec: &LeafSpec, key: &KeyPair) -> X509 {
        let (issuer, issuer_key) = (self.intermediate().unwrap_or(&self.root), self.issuing_key());
        let parts = [
            (Nid::COUNTRYNAME, spec.country),
            (Nid::ORGANIZATIONNAME, spec.organisation),
            (Nid::ORGANIZATIONALUNITNAME, spec.unit),
            (Nid::COMMONNAME, spec.common_name),
        ];
        let subject = name(if spec.nameless { &[] } else { &parts });
        let mut builder = builder(spec.version, &subject, issuer.subject_name(), &key.key, spec.not_before, spec.not_after);
        let mut constraints = BasicConstraints::new();
        constraints.critical();
        if spec.is_ca {
            constraints.ca();
        }
        builder.append_extension(constraints.build().unwrap()).unwrap();
        if let Some(aaguid) = spec.aaguid {
            // The extension's value is an OCTET STRING that holds the 16 bytes.
            let content = Asn1OctetString::new_from_bytes(&[&[4, 16], aaguid.as_slice()].concat()).unwrap();
            let oid = Asn1Object::from_str(AAGUID_EXTENSION).unwrap();
            builder.append_extension(X509Extension::new_from_der(&oid, spec.aaguid_critical, &content).unwrap()).unwrap();
        }
        for (oid, critical, value) in &spec.extensions {
            let (oid, value) = (Asn1Object::from_str(oid).unwrap(), Asn1OctetString::new_from_bytes(value).unwrap());
            builder.append_extension(X509Extension::new_from_der(&oid, *critical, &value).unwrap()).unwrap();
        }
        builder.sign(&issuer_key.key, MessageDigest::sha256()).unwrap();
        builder.build()
    }
}

/// A CA's certificate, signed by itself or by another.
pub fn authority(common_name: &str, key: &KeyPair, issuer: Option<(&X509, &KeyPair)>) -> X509 {
    let subject = name(&[(Nid::COUNTRYNAME, "AT"), (Nid::ORGANIZATIONNAME, "Example Authenticators"), (Nid::COMMONNAME, common_name)]);
    let (issuer, issuer_key) = issuer.map_or((&*subject, key), |(issuer, key)| (issuer.subject_name(), key));
    let mut builder = builder(2, &subject, issuer, &key.key, NOT_BEFORE, NOT_AFTER);
    builder.append_extension(BasicConstraints::new().critical().ca().build().unwrap()).unwrap();
    builder.sign(&issuer_key.key, MessageDigest::sha256()).unwrap();
    builder.build()
}

fn name(entries: &[(Nid, &str)]) -> X509Name {
    let mut builder = X509Name::builder().unwrap();
    for (nid, text) in entries {
        builder.append_entry_by_nid(*nid, text).unwrap();
    }
    builder.build()
}

fn builder(
    version: i32,
    subject: &openssl::x509::X509NameRef,
    issuer: &openssl::x509::X509NameRef,
    key: &PKeyRef<Private>,
    not_before: i64,
    not_after: i64,
) -> X509Builder {
    let mut serial = BigNum::new().unwrap();
    serial.rand(120, MsbOption::ONE, false).unwrap();
    let mut builder = X509::builder().unwrap();
    builder.set_version(version).unwrap();
    builder.set_serial_number(&serial.to_asn1_integer().unwrap()).unwrap();
    builder.set_subject_name(subject).unwrap();
    builder.set_issuer_name(issuer).unwrap();
    builder.set_pubkey(key).unwrap();
    builder.set_not_before(&Asn1Time::from_unix(not_before).unwrap()).unwrap();
    builder.set_not_after(&Asn1Time::from_unix(not_after).unwrap()).unwrap();
    builder
}
