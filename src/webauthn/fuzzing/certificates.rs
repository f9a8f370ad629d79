//! Certificates, read here and by OpenSSL.

use openssl::{nid::Nid, pkey::PKey, x509::X509};

use super::outcome;
use crate::webauthn::{
    certificate::{Certificate, NamePart},
    der::{self, Reader},
    key::PublicKey,
};

/// Where both this reader and OpenSSL's read a certificate, they read the same.
pub fn certificate(input: &[u8]) {
    elements(input, 0);
    let Ok(ours) = outcome(|| Certificate::parse(input)) else { return };
    assert_eq!(ours.der(), input);
    let (is_ca, key) = (ours.is_ca(), ours.public_key());
    assert_eq!(format!("{is_ca:?}"), format!("{:?}", ours.is_ca()));
    let Ok(theirs) = X509::from_der(input) else { return };

    assert_eq!(ours.check_version().is_ok(), theirs.version() == 2);
    let parts = [
        (NamePart::CommonName, Nid::COMMONNAME),
        (NamePart::Country, Nid::COUNTRYNAME),
        (NamePart::Organization, Nid::ORGANIZATIONNAME),
        (NamePart::OrganizationalUnit, Nid::ORGANIZATIONALUNITNAME),
    ];
    for (part, nid) in parts {
        if let Ok(found) = ours.has_subject(part, |_| true) {
            assert_eq!(found, theirs.subject_name().entries_by_nid(nid).next().is_some(), "{part:?}");
        }
    }
    // OpenSSL reads kinds of keys and encodings that are refused here; not the other way round.
    if let Ok(ours) = key {
        let Ok(theirs) = theirs.public_key() else { panic!("a key that OpenSSL does not read") };
        let ours = match ours {
            PublicKey::Ec(_, key) => PKey::from_ec_key(key).ok(),
            PublicKey::Edwards(_, key) | PublicKey::Rsa(key) => Some(key),
        };
        assert!(ours.is_some_and(|ours| ours.public_eq(&theirs)), "two readers, two keys");
    }
}

/// Each element is inside what it is read from, and what it is read from is all of it elements.
fn elements(input: &[u8], depth: usize) {
    let mut reader = Reader::new(input);
    let mut left = input.len();
    while let Ok((tag, contents)) = reader.any() {
        let now = reader.rest().len();
        assert!(contents.len() + 2 <= left - now, "an element has a head");
        let whole = input.get(input.len() - left..input.len() - now).unwrap_or_default();
        assert_eq!(der::only(tag, whole), Ok(contents));
        left = now;
        if tag & 0x20 != 0 && depth < 16 {
            elements(contents, depth + 1);
        }
    }
}
