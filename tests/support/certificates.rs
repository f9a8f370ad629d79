//! Attestation certificates: a maker's root and the leaf in its authenticators (WebAuthn L3 section 8.2.1).

use openssl::{
    asn1::{Asn1Object, Asn1OctetString, Asn1Time},
    bn::{BigNum, MsbOption},
    hash::MessageDigest,
    nid::Nid,
    pkey::{PKeyRef, Private},
    x509::{X509, X509Builder, X509Extension, X509Name, extension::BasicConstraints},
};

use super::keys::{Algorithm, KeyPair};

/// `id-fido-gen-ce-aaguid`.
const AAGUID_EXTENSION: &str = "1.3.6.1.4.1.45724.1.1.4";

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
            not_before: 1_577_836_800,
            not_after: 4_102_444_800,
        }
    }
}

/// A maker of authenticators.
pub struct Maker {
    root_key: KeyPair,
    pub root: X509,
}

impl Maker {
    pub fn new() -> Self {
        let root_key = KeyPair::generate(Algorithm::Es256);
        let name =
            name(&[(Nid::COUNTRYNAME, "AT"), (Nid::ORGANIZATIONNAME, "Example Authenticators"), (Nid::COMMONNAME, "Example Root 1")]);
        let mut builder = builder(2, &name, &name, &root_key.key, 1_577_836_800, 4_102_444_800);
        builder.append_extension(BasicConstraints::new().critical().ca().build().unwrap()).unwrap();
        builder.sign(&root_key.key, MessageDigest::sha256()).unwrap();
        Self { root: builder.build(), root_key }
    }

    /// A leaf for `key`, signed by this maker's root.
    pub fn issue(&self, spec: &LeafSpec, key: &KeyPair) -> X509 {
        let subject = name(&[
            (Nid::COUNTRYNAME, spec.country),
            (Nid::ORGANIZATIONNAME, spec.organisation),
            (Nid::ORGANIZATIONALUNITNAME, spec.unit),
            (Nid::COMMONNAME, spec.common_name),
        ]);
        let mut builder = builder(spec.version, &subject, self.root.subject_name(), &key.key, spec.not_before, spec.not_after);
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
        builder.sign(&self.root_key.key, MessageDigest::sha256()).unwrap();
        builder.build()
    }
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
