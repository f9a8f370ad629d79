//! Attestation certificates: what statements need to know of X.509.

use std::borrow::Cow;

use openssl::sha::sha1;
use uuid::Uuid;

use super::{
    der::{self, NotDer, Reader},
    key::PublicKey,
};
use crate::domain::Aaguid;

/// Object identifiers in DER: 1.3.6.1.4.1.45724.1.1.4 (id-fido-gen-ce-aaguid) and .2 (id-fido-gen-ce-sernum), 2.5.29.19 (basicConstraints)
/// and 2.5.29.17 (subjectAltName).
const FIDO_AAGUID: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0x82, 0xe5, 0x1c, 0x01, 0x01, 0x04];
const FIDO_SERIAL: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0x82, 0xe5, 0x1c, 0x01, 0x01, 0x02];
const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13];
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];

/// 1.3.6.1.4.1.11129.2.1.17 in DER: what Android's keystore says of a key that it made for an application.
pub(super) const ANDROID_KEY_DESCRIPTION: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0xd6, 0x79, 0x02, 0x01, 0x11];

/// The most bytes of a certificate. The largest genuine ones have some 2,000.
const MAX_LEN: usize = 16 * 1024;

/// The most extensions. Genuine ones have some ten.
const MAX_EXTENSIONS: usize = 32;

/// The most bytes of a device's serial number. The standard has no bound; it is kept with the credential.
const MAX_SERIAL: usize = 64;

/// What is wrong with a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// It cannot be read.
    #[error("a certificate in x5c is not X.509")]
    Malformed,
    /// Its key cannot be read, or is of a kind that nothing here uses.
    #[error("the attestation certificate's key cannot be used")]
    Key,
    /// Not of version 3.
    #[error("the attestation certificate is not of version 3")]
    Version,
    /// A part of its subject is missing or has the wrong value.
    #[error("the attestation certificate's subject has no valid {0}")]
    Subject(&'static str),
    /// It may issue certificates.
    #[error("the attestation certificate is a CA's")]
    IsCa,
    /// An extension that is needed cannot be read.
    #[error("the attestation certificate's {0} extension is malformed")]
    Extension(&'static str),
    /// id-fido-gen-ce-aaguid is critical.
    #[error("the attestation certificate's AAGUID extension is critical")]
    AaguidCritical,
    /// id-fido-gen-ce-aaguid names another model.
    #[error("the attestation certificate is for another AAGUID")]
    AaguidMismatch,
}

/// A part of a subject's name, by the last byte of its object identifier 2.5.4.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum NamePart {
    CommonName = 3,
    Country = 6,
    Organization = 10,
    OrganizationalUnit = 11,
}

/// A certificate of an attestation statement, borrowed from its bytes: taken apart as far as statements need it. Its issuer, its dates and
/// its signature are OpenSSL's to judge, where a chain is judged ([`super::trust`]).
#[derive(Debug)]
pub(super) struct Certificate<'a> {
    der: &'a [u8],
    version: u8,
    /// The contents of the Name.
    subject: &'a [u8],
    /// The contents of the SubjectPublicKeyInfo.
    public_key: &'a [u8],
    extensions: Vec<Extension<'a>>,
}

#[derive(Debug, Clone, Copy)]
struct Extension<'a> {
    oid: &'a [u8],
    critical: bool,
    value: &'a [u8],
}

impl<'a> Certificate<'a> {
    /// The whole of `der`.
    pub(super) fn parse(der: &'a [u8]) -> Result<Self, CertificateError> {
        if der.len() > MAX_LEN {
            return Err(CertificateError::Malformed);
        }
        Self::read(der).map_err(|NotDer| CertificateError::Malformed)
    }

    /// RFC 5280 section 4.1.
    fn read(der: &'a [u8]) -> Result<Self, NotDer> {
        let mut certificate = Reader::new(der::only(der::SEQUENCE, der)?);
        let mut tbs = Reader::new(certificate.expect(der::SEQUENCE)?);
        certificate.expect(der::SEQUENCE)?; // signatureAlgorithm
        certificate.expect(der::BIT_STRING)?; // signatureValue
        let version = match tbs.optional(der::CONTEXT_0)?.map(|version| der::only(der::INTEGER, version)).transpose()? {
            None => 1,
            Some([n @ 0..=2]) => n + 1,
            Some(_) => return Err(NotDer),
        };
        tbs.expect(der::INTEGER)?; // serialNumber
        tbs.expect(der::SEQUENCE)?; // signature
        tbs.expect(der::SEQUENCE)?; // issuer
        tbs.expect(der::SEQUENCE)?; // validity
        let subject = tbs.expect(der::SEQUENCE)?;
        let public_key = tbs.expect(der::SEQUENCE)?;
        tbs.optional(der::CONTEXT_1)?; // issuerUniqueID
        tbs.optional(der::CONTEXT_2)?; // subjectUniqueID
        let extensions = tbs.optional(der::CONTEXT_3)?.map_or(Ok(Vec::new()), extensions)?;
        if tbs.is_empty() && certificate.is_empty() { Ok(Self { der, version, subject, public_key, extensions }) } else { Err(NotDer) }
    }

    /// All of it.
    pub(super) const fn der(&self) -> &'a [u8] {
        self.der
    }

    /// Its key.
    pub(super) fn public_key(&self) -> Result<PublicKey, CertificateError> {
        PublicKey::from_spki(self.public_key).ok_or(CertificateError::Key)
    }

    /// Refuses any version but 3.
    pub(super) fn check_version(&self) -> Result<(), CertificateError> {
        if self.version == 3 { Ok(()) } else { Err(CertificateError::Version) }
    }

    /// Whether basicConstraints say that it may issue certificates. Where the extension is missing it may not (RFC 5280 section 4.2.1.9).
    pub(super) fn is_ca(&self) -> Result<bool, CertificateError> {
        let Some(extension) = self.extension(BASIC_CONSTRAINTS) else { return Ok(false) };
        der::only(der::SEQUENCE, extension.value)
            .and_then(|contents| Reader::new(contents).default_false())
            .map_err(|NotDer| CertificateError::Extension("basicConstraints"))
    }

    /// Refuses a certificate whose id-fido-gen-ce-aaguid extension is critical, malformed or names another model than `aaguid`. One
    /// without it passes.
    pub(super) fn check_aaguid(&self, aaguid: Aaguid) -> Result<(), CertificateError> {
        let Some(extension) = self.extension(FIDO_AAGUID) else { return Ok(()) };
        if extension.critical {
            return Err(CertificateError::AaguidCritical);
        }
        // An OCTET STRING in the extension's OCTET STRING.
        let value = der::only(der::OCTET_STRING, extension.value).ok().and_then(|value| <[u8; 16]>::try_from(value).ok());
        match value {
            None => Err(CertificateError::Extension("AAGUID")),
            Some(value) if Uuid::from_bytes(value) == aaguid.as_uuid() => Ok(()),
            Some(_) => Err(CertificateError::AaguidMismatch),
        }
    }

    /// The value of the id-fido-gen-ce-sernum extension, which names the single device, if there is one (section 8.2.2).
    pub(super) fn device_serial(&self) -> Result<Option<&'a [u8]>, CertificateError> {
        let Some(extension) = self.extension(FIDO_SERIAL) else { return Ok(None) };
        let serial = der::only(der::OCTET_STRING, extension.value).ok().filter(|serial| (1..=MAX_SERIAL).contains(&serial.len()));
        match serial {
            Some(serial) if !extension.critical => Ok(Some(serial)),
            _ => Err(CertificateError::Extension("serial number")),
        }
    }

    /// What metadata knows its key by: SHA-1 of the subjectPublicKey (RFC 5280 section 4.2.1.2, method 1).
    pub(super) fn key_identifier(&self) -> Option<[u8; 20]> {
        let mut key = Reader::new(self.public_key);
        key.expect(der::SEQUENCE).ok()?; // algorithm
        let (_unused_bits, key) = key.expect(der::BIT_STRING).ok()?.split_first()?;
        Some(sha1(key))
    }

    /// Whether the subject has a part of this kind that is text and meets a condition.
    pub(super) fn has_subject(&self, part: NamePart, condition: impl Fn(&str) -> bool) -> Result<bool, CertificateError> {
        let parts = name_parts(self.subject).map_err(|NotDer| CertificateError::Malformed)?;
        Ok(parts.iter().any(|p| p.oid == [0x55, 0x04, part as u8] && condition(&p.text)))
    }

    /// Whether the subject is empty.
    pub(super) const fn has_empty_subject(&self) -> bool {
        self.subject.is_empty()
    }

    /// What is in the extension of this object identifier (in DER), if it is there.
    pub(super) fn extension_value(&self, oid: &[u8]) -> Option<&'a [u8]> {
        self.extension(oid).map(|extension| extension.value)
    }

    /// Whether it is for this host, exactly: by a dNSName of subjectAltName, or, where there is none, by its common name, as certificates
    /// were written before (RFC 6125 section 6.4.4).
    pub(super) fn is_for_host(&self, host: &str) -> Result<bool, CertificateError> {
        let names = self.extension_value(SUBJECT_ALT_NAME).map_or(Ok(Vec::new()), dns_names);
        let names = names.map_err(|NotDer| CertificateError::Extension("subjectAltName"))?;
        if names.is_empty() {
            return self.has_subject(NamePart::CommonName, |name| name.eq_ignore_ascii_case(host));
        }
        Ok(names.iter().any(|name| name.eq_ignore_ascii_case(host.as_bytes())))
    }

    fn extension(&self, oid: &[u8]) -> Option<&Extension<'a>> {
        self.extensions.iter().find(|extension| extension.oid == oid)
    }
}

/// A part of a Name.
pub(super) struct Attribute<'a> {
    pub(super) oid: &'a [u8],
    pub(super) text: Cow<'a, str>,
}

/// The parts of a Name (RFC 5280 section 4.1.2.4), from its contents.
pub(super) fn name_parts(name: &[u8]) -> Result<Vec<Attribute<'_>>, NotDer> {
    let mut parts = Vec::new();
    let mut names = Reader::new(name);
    while !names.is_empty() {
        let mut set = Reader::new(names.expect(der::SET)?);
        while !set.is_empty() {
            let mut attribute = Reader::new(set.expect(der::SEQUENCE)?);
            let oid = attribute.expect(der::OBJECT_IDENTIFIER)?;
            let text = match attribute.any()? {
                (der::BMP_STRING, utf16) => {
                    let units = utf16.chunks_exact(2).filter_map(|pair| <[u8; 2]>::try_from(pair).ok()).map(u16::from_be_bytes);
                    Cow::Owned(char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect())
                }
                // UTF-8, or a subset of ASCII; what older types have beyond ASCII is not compared with anything.
                (_, bytes) => String::from_utf8_lossy(bytes),
            };
            parts.push(Attribute { oid, text });
        }
    }
    Ok(parts)
}

/// The dNSNames of a subjectAltName (RFC 5280 section 4.2.1.6).
fn dns_names(value: &[u8]) -> Result<Vec<&[u8]>, NotDer> {
    let mut names = Vec::new();
    let mut list = Reader::new(der::only(der::SEQUENCE, value)?);
    while !list.is_empty() {
        if let (der::DNS_NAME, name) = list.any()? {
            names.push(name);
        }
    }
    Ok(names)
}

/// Extensions (RFC 5280 section 4.2). One that is there twice, or one too many, makes the certificate malformed.
fn extensions(contents: &[u8]) -> Result<Vec<Extension<'_>>, NotDer> {
    let mut found: Vec<Extension<'_>> = Vec::new();
    let mut list = Reader::new(der::only(der::SEQUENCE, contents)?);
    while !list.is_empty() {
        let mut extension = Reader::new(list.expect(der::SEQUENCE)?);
        let oid = extension.expect(der::OBJECT_IDENTIFIER)?;
        let critical = extension.default_false()?;
        let value = extension.expect(der::OCTET_STRING)?;
        if !extension.is_empty() || found.len() == MAX_EXTENSIONS || found.iter().any(|other| other.oid == oid) {
            return Err(NotDer);
        }
        found.push(Extension { oid, critical, value });
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use openssl::{bn::BigNumContext, ec::PointConversionForm, x509::X509};

    use super::*;
    use crate::webauthn::{
        CoseAlgorithm,
        testing::{CertificateSpec, KeyPair},
    };

    fn certificate() -> Vec<u8> {
        let spec = CertificateSpec { aaguid: Some(([&[4, 16][..], &[7; 16]].concat(), false)), ..CertificateSpec::default() };
        spec.make(&KeyPair::generate(CoseAlgorithm::Es256).private, None).to_der().unwrap()
    }

    #[test]
    fn all_of_the_bytes_or_none() {
        let der = certificate();
        assert!(Certificate::parse(&der).is_ok());
        for cut in 0..der.len() {
            assert_eq!(Certificate::parse(&der[..cut]).unwrap_err(), CertificateError::Malformed);
        }
        assert_eq!(Certificate::parse(&[&der[..], &[0]].concat()).unwrap_err(), CertificateError::Malformed);
        assert_eq!(Certificate::parse(&vec![0x30; MAX_LEN + 1]).unwrap_err(), CertificateError::Malformed);
    }

    #[test]
    fn agrees_with_openssl() {
        let der = certificate();
        let (ours, theirs) = (Certificate::parse(&der).unwrap(), X509::from_der(&der).unwrap());
        assert_eq!(i32::from(ours.version), theirs.version() + 1);
        let spki = theirs.public_key().unwrap().public_key_to_der().unwrap();
        assert_eq!(der::only(der::SEQUENCE, &spki), Ok(ours.public_key));
        assert_eq!(der::only(der::SEQUENCE, &theirs.subject_name().to_der().unwrap()), Ok(ours.subject));
        assert_eq!(ours.der(), der);
        let key = theirs.public_key().unwrap().ec_key().unwrap();
        let point = key.public_key().to_bytes(key.group(), PointConversionForm::UNCOMPRESSED, &mut BigNumContext::new().unwrap());
        assert_eq!(ours.key_identifier(), Some(sha1(&point.unwrap())));
    }

    #[test]
    fn extensions_are_there_once() {
        let one = [0x30, 0x09, 0x06, 0x03, 0x55, 0x1d, 0x13, 0x04, 0x02, 0x30, 0x00];
        let list = |n: usize| [&[0x30, u8::try_from(n * one.len()).unwrap()][..], &one.repeat(n)].concat();
        assert_eq!(extensions(&list(1)).unwrap().len(), 1);
        assert_eq!(extensions(&list(2)).unwrap_err(), NotDer);
    }

    /// Looking for one that is there twice must not become work.
    #[test]
    fn extensions_are_few() {
        let read = |n: usize| {
            let list: Vec<u8> = (0..n).flat_map(|n| [0x30, 6, 6, 2, 1, u8::try_from(n).unwrap(), 4, 0]).collect();
            let [high, low] = u16::try_from(list.len()).unwrap().to_be_bytes();
            extensions(&[&[0x30, 0x82, high, low], &list[..]].concat()).map(|found| found.len())
        };
        assert_eq!(read(MAX_EXTENSIONS), Ok(MAX_EXTENSIONS));
        assert_eq!(read(MAX_EXTENSIONS + 1), Err(NotDer));
    }

    #[test]
    fn basic_constraints() {
        let is_ca = |value: &[u8]| {
            let der = certificate();
            let mut certificate = Certificate::parse(&der).unwrap();
            certificate.extensions = vec![Extension { oid: BASIC_CONSTRAINTS, critical: true, value }];
            certificate.is_ca()
        };
        assert_eq!(is_ca(&[0x30, 0]), Ok(false));
        assert_eq!(is_ca(&[0x30, 3, 1, 1, 0]), Ok(false));
        assert_eq!(is_ca(&[0x30, 3, 1, 1, 0xff]), Ok(true));
        assert_eq!(is_ca(&[0x30, 6, 1, 1, 0xff, 2, 1, 0]), Ok(true));
        for malformed in [&[][..], &[0x30, 3, 1, 1, 1], &[0x30, 0, 0], &[4, 0]] {
            assert_eq!(is_ca(malformed), Err(CertificateError::Extension("basicConstraints")));
        }
    }

    #[test]
    fn hosts() {
        let is_for = |common_name: &str, names: Option<&[u8]>| {
            let subject = [("CN", common_name)];
            let extensions = names.map(|names| ("2.5.29.17", false, names.to_vec())).into_iter().collect();
            let spec = CertificateSpec { subject: &subject, extensions, ..CertificateSpec::default() };
            let der = spec.make(&KeyPair::generate(CoseAlgorithm::Es256).private, None).to_der().unwrap();
            Certificate::parse(&der).unwrap().is_for_host("a.example")
        };
        let names = |names: &[(u8, &str)]| {
            let names: Vec<_> = names.iter().map(|(tag, name)| der::element(&[*tag], name.as_bytes())).collect();
            der::element(&[der::SEQUENCE], &names.concat())
        };
        assert_eq!(is_for("a.example", None), Ok(true));
        assert_eq!(is_for("A.Example", None), Ok(true));
        assert_eq!(is_for("b.example", None), Ok(false));
        assert_eq!(is_for("x", Some(&names(&[(0x82, "b.example"), (0x82, "A.example")]))), Ok(true));
        assert_eq!(is_for("a.example", Some(&names(&[(0x82, "b.example")]))), Ok(false));
        assert_eq!(is_for("x", Some(&names(&[(0x82, "*.example"), (0x82, "a.example.org"), (0x86, "a.example")]))), Ok(false));
        // Names of other kinds only: the common name counts.
        assert_eq!(is_for("a.example", Some(&names(&[(0x86, "b.example")]))), Ok(true));
        for malformed in [&[][..], &[0x30, 1], &[0x30, 2, 0x82, 1], &[0x30, 0, 0]] {
            assert_eq!(is_for("a.example", Some(malformed)), Err(CertificateError::Extension("subjectAltName")), "{malformed:02x?}");
        }
    }

    #[test]
    fn names_of_any_text_type() {
        let name = |tag: u8, text: &[u8]| {
            let value = [&[0x06, 0x03, 0x55, 0x04, 0x0b, tag, u8::try_from(text.len()).unwrap()], text].concat();
            let length = u8::try_from(value.len()).unwrap();
            [&[0x31, length + 2, 0x30, length], &value[..]].concat()
        };
        for (tag, text) in [(0x0c, "Größe".as_bytes()), (0x1e, &[0, b'G', 0, b'r', 0, 0xf6, 0, 0xdf, 0, b'e'])] {
            let name = name(tag, text);
            assert_eq!(name_parts(&name).unwrap()[0].text, "Größe");
        }
        assert!(name_parts(&[0x31, 0x02, 0x30, 0x00]).is_err());
        assert!(name_parts(&[0x30, 0x00]).is_err());
    }
}
