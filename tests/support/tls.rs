//! Certificates for TLS: an authority, and what it issues to servers and to administrators.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use openssl::{
    asn1::Asn1Time,
    bn::{BigNum, MsbOption},
    hash::MessageDigest,
    nid::Nid,
    pkey::{PKey, Private},
    x509::{
        X509, X509Builder, X509Name, X509NameRef,
        extension::{BasicConstraints, ExtendedKeyUsage, SubjectAlternativeName},
    },
};
use reqwest::{Certificate, Identity};

use super::keys::{Algorithm, KeyPair};

/// 2020 to 2100, in Unix seconds.
const NOT_BEFORE: i64 = 1_577_836_800;
pub const NOT_AFTER: i64 = 4_102_444_800;

/// An authority of its own.
pub struct Authority {
    key: PKey<Private>,
    pub root: X509,
}

/// A certificate and its private key, in PEM.
pub struct Issued {
    pub certificate: Vec<u8>,
    pub key: Vec<u8>,
}

/// What a certificate is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    Server,
    Client,
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let key = KeyPair::generate(Algorithm::Es256).key;
        let subject = subject(name);
        let mut builder = builder(&subject, &subject, &key, NOT_AFTER);
        builder.append_extension(BasicConstraints::new().critical().ca().build().unwrap()).unwrap();
        builder.sign(&key, MessageDigest::sha256()).unwrap();
        Self { key, root: builder.build() }
    }

    /// A certificate for 127.0.0.1, or for an administrator of that name.
    pub fn issue(&self, name: &str, purpose: Use) -> Issued {
        self.issue_until(name, purpose, NOT_AFTER)
    }

    pub fn issue_until(&self, name: &str, purpose: Use, not_after: i64) -> Issued {
        let key = KeyPair::generate(Algorithm::Es256).key;
        let mut builder = builder(&subject(name), self.root.subject_name(), &key, not_after);
        let mut usage = ExtendedKeyUsage::new();
        if purpose == Use::Server {
            let alternative =
                SubjectAlternativeName::new().ip("127.0.0.1").dns("localhost").build(&builder.x509v3_context(Some(&self.root), None));
            builder.append_extension(alternative.unwrap()).unwrap();
            usage.server_auth();
        } else {
            usage.client_auth();
        }
        builder.append_extension(usage.build().unwrap()).unwrap();
        builder.sign(&self.key, MessageDigest::sha256()).unwrap();
        Issued { certificate: builder.build().to_pem().unwrap(), key: key.private_key_to_pem_pkcs8().unwrap() }
    }

    /// As clients trust it.
    pub fn trusted(&self) -> Certificate {
        Certificate::from_der(&self.root.to_der().unwrap()).unwrap()
    }

    /// Writes the root to a file.
    pub fn write(&self, path: &Path) {
        fs::write(path, self.root.to_pem().unwrap()).unwrap();
    }
}

impl Issued {
    /// As a client shows it.
    pub fn identity(&self) -> Identity {
        Identity::from_pkcs8_pem(&self.certificate, &self.key).unwrap()
    }

    /// Writes both to files, the key for its owner alone.
    pub fn write(&self, certificate: &Path, key: &Path) {
        fs::write(certificate, &self.certificate).unwrap();
        fs::write(key, &self.key).unwrap();
        fs::set_permissions(key, fs::Permissions::from_mode(0o600)).unwrap();
    }
}

fn subject(name: &str) -> X509Name {
    let mut builder = X509Name::builder().unwrap();
    builder.append_entry_by_nid(Nid::COMMONNAME, name).unwrap();
    builder.build()
}

fn builder(subject: &X509NameRef, issuer: &X509NameRef, key: &PKey<Private>, not_after: i64) -> X509Builder {
    let mut serial = BigNum::new().unwrap();
    serial.rand(120, MsbOption::ONE, false).unwrap();
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    builder.set_serial_number(&serial.to_asn1_integer().unwrap()).unwrap();
    builder.set_subject_name(subject).unwrap();
    builder.set_issuer_name(issuer).unwrap();
    builder.set_pubkey(key).unwrap();
    builder.set_not_before(&Asn1Time::from_unix(NOT_BEFORE).unwrap()).unwrap();
    builder.set_not_after(&Asn1Time::from_unix(not_after).unwrap()).unwrap();
    builder
}
