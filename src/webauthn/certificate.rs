//! Attestation certificates: what statements need to know of X.509.

use openssl::{
    nid::Nid,
    pkey::{PKey, Public},
    x509::{X509, X509Ref},
};
use uuid::Uuid;

use super::der::{self, NotDer, Reader};
use crate::domain::Aaguid;

/// Object identifiers in DER: 1.3.6.1.4.1.45724.1.1.4 (id-fido-gen-ce-aaguid) and 2.5.29.19 (basicConstraints).
const FIDO_AAGUID: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0x82, 0xe5, 0x1c, 0x01, 0x01, 0x04];
const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13];

/// The most bytes of a certificate. The largest genuine ones have some 2,000.
const MAX_LEN: usize = 16 * 1024;

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

/// A certificate of an attestation statement.
#[derive(Debug)]
pub(super) struct Certificate<'a> {
    x509: X509,
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
        let extensions = extensions(der).map_err(|NotDer| CertificateError::Malformed)?;
        let x509 = X509::from_der(der).map_err(|_| CertificateError::Malformed)?;
        Ok(Self { x509, extensions })
    }

    /// OpenSSL's view of it.
    pub(super) fn x509(&self) -> &X509Ref {
        &self.x509
    }

    /// Its key.
    pub(super) fn public_key(&self) -> Result<PKey<Public>, CertificateError> {
        self.x509.public_key().map_err(|_| CertificateError::Key)
    }

    /// Refuses any version but 3.
    pub(super) fn check_version(&self) -> Result<(), CertificateError> {
        if self.x509.version() == 2 { Ok(()) } else { Err(CertificateError::Version) }
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

    /// The values of one kind of part of the subject. Those that are not text are left out.
    pub(super) fn subject(&self, kind: Nid) -> impl Iterator<Item = String> {
        self.x509.subject_name().entries_by_nid(kind).filter_map(|entry| entry.data().to_string().ok())
    }

    fn extension(&self, oid: &[u8]) -> Option<&Extension<'a>> {
        self.extensions.iter().find(|extension| extension.oid == oid)
    }
}

/// The extensions of a certificate (RFC 5280 section 4.1). One that is there twice makes it malformed.
fn extensions(certificate: &[u8]) -> Result<Vec<Extension<'_>>, NotDer> {
    let tbs = Reader::new(der::only(der::SEQUENCE, certificate)?).expect(der::SEQUENCE)?;
    let mut tbs = Reader::new(tbs);
    tbs.optional(der::CONTEXT_0)?; // version
    tbs.expect(der::INTEGER)?; // serialNumber
    for _ in 0..5 {
        tbs.expect(der::SEQUENCE)?; // signature, issuer, validity, subject, subjectPublicKeyInfo
    }
    let mut found: Vec<Extension<'_>> = Vec::new();
    while !tbs.is_empty() {
        let (tag, contents) = tbs.any()?;
        if tag != der::CONTEXT_3 {
            continue; // issuerUniqueID, subjectUniqueID
        }
        let mut list = Reader::new(der::only(der::SEQUENCE, contents)?);
        while !list.is_empty() {
            let mut extension = Reader::new(list.expect(der::SEQUENCE)?);
            let oid = extension.expect(der::OBJECT_IDENTIFIER)?;
            let critical = extension.default_false()?;
            let value = extension.expect(der::OCTET_STRING)?;
            if !extension.is_empty() || found.iter().any(|other| other.oid == oid) {
                return Err(NotDer);
            }
            found.push(Extension { oid, critical, value });
        }
    }
    Ok(found)
}
