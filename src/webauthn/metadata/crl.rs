//! Lists of revoked certificates (RFC 5280 section 5), which an operator downloads and gives.

use std::cmp::Ordering;

use openssl::{
    asn1::{Asn1Time, Asn1TimeRef},
    x509::{CrlStatus, X509, X509Crl, X509NameRef, X509Ref},
};

use super::BlobError;
use crate::{
    domain::Timestamp,
    webauthn::{
        certificate::Certificate,
        chain::name,
        der::{self, NotDer, Reader},
    },
};

/// The most bytes of a CRL. Those of a CA with millions of certificates have some ten million.
const MAX_LEN: usize = 32 << 20;

/// The most extensions and distribution points.
const MAX_PARTS: usize = 32;

/// 2.5.29.28 in DER.
const ISSUING_DISTRIBUTION_POINT: &[u8] = &[0x55, 0x1d, 0x1c];

/// Tags of an issuingDistributionPoint's parts and of a GeneralName that is a URI.
const ONLY_SOME_REASONS: u8 = 0x83;
const INDIRECT: u8 = 0x84;
const ONLY_ATTRIBUTE_CERTIFICATES: u8 = 0x85;
const URI: u8 = 0x86;

/// A list of revoked certificates, well-formed; who signed it is not known before it meets a chain.
pub struct Crl {
    list: X509Crl,
    scope: Scope,
}

/// Bytes that are no CRL that can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CrlError {
    /// Not a CRL in PEM or DER.
    #[error("not a CRL in PEM or DER")]
    Malformed,
    /// It says, critically, something that is not understood here: a delta, an indirect CRL, one for some reasons only.
    #[error("the CRL has a critical extension that is not known here")]
    Critical,
}

/// What is wrong with a CRL for a certain path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CrlFault {
    /// Nobody of that name issued a certificate of the path.
    #[error("is of no issuer of the metadata BLOB's certificates")]
    Foreign,
    /// The issuer of that name did not sign it.
    #[error("is not signed by that issuer")]
    Signature,
    /// Its time has not come.
    #[error("is not valid yet")]
    NotYet,
    /// There should be a newer one.
    #[error("is out of date: get a newer one")]
    Stale,
}

/// Which of its issuer's certificates a CRL is about (RFC 5280 section 5.2.5).
#[derive(Debug, Clone, Default)]
struct Scope {
    only_users: bool,
    only_cas: bool,
    /// URIs, one of which a certificate must name; `None` is about all certificates.
    points: Option<Vec<Vec<u8>>>,
}

impl Crl {
    /// One CRL, in PEM or DER.
    pub fn parse(bytes: &[u8]) -> Result<Self, CrlError> {
        if bytes.len() > MAX_LEN {
            return Err(CrlError::Malformed);
        }
        let is_pem = bytes.trim_ascii_start().starts_with(b"-----BEGIN");
        let list = if is_pem { X509Crl::from_pem(bytes) } else { X509Crl::from_der(bytes) }.map_err(|_| CrlError::Malformed)?;
        let der = list.to_der().map_err(|_| CrlError::Malformed)?;
        let extensions = extensions(&der).map_err(|NotDer| CrlError::Malformed)?;
        let mut scope = Scope::default();
        for Extension { oid, critical, value } in extensions {
            if oid == ISSUING_DISTRIBUTION_POINT {
                scope = Scope::read(value).map_err(|NotDer| CrlError::Malformed)?.ok_or(CrlError::Critical)?;
            } else if critical {
                return Err(CrlError::Critical);
            }
        }
        Ok(Self { list, scope })
    }

    /// Who issued it, for people.
    pub fn issuer(&self) -> String {
        name(self.list.issuer_name())
    }

    fn has_issuer(&self, name: &X509NameRef) -> bool {
        self.list.issuer_name().try_cmp(name).is_ok_and(Ordering::is_eq)
    }

    fn is_signed_by(&self, issuer: &X509Ref) -> bool {
        issuer.public_key().is_ok_and(|key| self.list.verify(&key).unwrap_or(false))
    }

    /// RFC 5280 section 5.1.2: a CRL without nextUpdate is none.
    fn check_dates(&self, now: &Asn1TimeRef) -> Result<(), CrlFault> {
        if self.list.last_update().compare(now).is_ok_and(Ordering::is_gt) {
            return Err(CrlFault::NotYet);
        }
        let is_current = self.list.next_update().is_some_and(|next| next.compare(now).is_ok_and(Ordering::is_ge));
        if is_current { Ok(()) } else { Err(CrlFault::Stale) }
    }

    /// A complete CRL has nobody who was taken off again: such an entry counts as a revocation.
    fn revokes(&self, certificate: &X509) -> bool {
        matches!(self.list.get_by_cert(certificate), CrlStatus::Revoked(_) | CrlStatus::RemoveFromCrl(_))
    }
}

impl std::fmt::Debug for Crl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Crl").field("issuer", &self.issuer()).finish_non_exhaustive()
    }
}

/// Refuses a path of which a certificate was revoked, and CRLs that say nothing of it. Gives the subjects of the certificates, the root
/// apart, of which no CRL speaks.
pub(super) fn check_revocation(path: &[X509], crls: &[Crl], now: Timestamp) -> Result<Vec<String>, BlobError> {
    let mut issued = Vec::with_capacity(crls.len());
    for crl in crls {
        let place = place_of_issuer(crl, path, now).map_err(|fault| BlobError::Crl { issuer: crl.issuer(), fault })?;
        issued.push((place, crl));
    }
    let mut unchecked = Vec::new();
    for (n, certificate) in path.iter().enumerate().take(path.len().saturating_sub(1)) {
        let mut about = issued.iter().filter(|(issuer, crl)| *issuer == n + 1 && crl.scope.covers(certificate)).peekable();
        if about.peek().is_none() {
            unchecked.push(name(certificate.subject_name()));
        }
        if about.any(|(_, crl)| crl.revokes(certificate)) {
            return Err(BlobError::Revoked(name(certificate.subject_name())));
        }
    }
    Ok(unchecked)
}

/// Whose it is, by the place on the path (RFC 5280 section 6.3.3, steps a to g).
fn place_of_issuer(crl: &Crl, path: &[X509], now: Timestamp) -> Result<usize, CrlFault> {
    let now = Asn1Time::from_unix(now.as_secs()).map_err(|_| CrlFault::Stale)?;
    let named = || path.iter().enumerate().skip(1).filter(|(_, certificate)| crl.has_issuer(certificate.subject_name()));
    named().next().ok_or(CrlFault::Foreign)?;
    let (place, _) = named().find(|(_, certificate)| crl.is_signed_by(certificate)).ok_or(CrlFault::Signature)?;
    crl.check_dates(&now)?;
    Ok(place)
}

impl Scope {
    /// An issuingDistributionPoint; `None` where it leaves out what a certificate's status could hang on.
    fn read(value: &[u8]) -> Result<Option<Self>, NotDer> {
        let mut parts = Reader::new(der::only(der::SEQUENCE, value)?);
        let points = parts.optional(der::CONTEXT_0)?.map(|name| match Reader::new(name).any()? {
            (der::CONTEXT_0, names) => uris(names).map(Some),
            // A name relative to the issuer's, which nobody uses.
            _ => Ok(None),
        });
        let points = match points.transpose()? {
            Some(None) => return Ok(None),
            points => points.flatten(),
        };
        let mut flag = |tag| parts.optional(tag).map(|value| value.is_some_and(|value| value != [0]));
        let (only_users, only_cas) = (flag(der::CONTEXT_1)?, flag(der::CONTEXT_2)?);
        let partial = flag(ONLY_SOME_REASONS)? | flag(INDIRECT)? | flag(ONLY_ATTRIBUTE_CERTIFICATES)?;
        Ok((!partial && parts.is_empty()).then_some(Self { only_users, only_cas, points }))
    }

    fn covers(&self, certificate: &X509Ref) -> bool {
        let is_ca = || {
            let der = certificate.to_der().unwrap_or_default();
            Certificate::parse(&der).and_then(|certificate| certificate.is_ca()).unwrap_or(false)
        };
        let kind = match (self.only_users, self.only_cas) {
            (false, false) => true,
            (users, cas) => (users && !is_ca()) || (cas && is_ca()),
        };
        kind && self.points.as_ref().is_none_or(|points| names_one_of(certificate, points))
    }
}

/// Whether a certificate has one of these among its distribution points.
fn names_one_of(certificate: &X509Ref, points: &[Vec<u8>]) -> bool {
    let Some(own) = certificate.crl_distribution_points() else { return false };
    let names = own.iter().filter_map(|point| point.distpoint()?.fullname()).flatten();
    names.filter_map(|name| name.uri()).take(MAX_PARTS).any(|uri| points.iter().any(|point| point == uri.as_bytes()))
}

fn uris(names: &[u8]) -> Result<Vec<Vec<u8>>, NotDer> {
    let mut found = Vec::new();
    let mut names = Reader::new(names);
    while !names.is_empty() && found.len() < MAX_PARTS {
        if let (URI, uri) = names.any()? {
            found.push(uri.to_vec());
        }
    }
    Ok(found)
}

struct Extension<'a> {
    oid: &'a [u8],
    critical: bool,
    value: &'a [u8],
}

/// A CertificateList's crlExtensions (RFC 5280 section 5.1).
fn extensions(der: &[u8]) -> Result<Vec<Extension<'_>>, NotDer> {
    let mut list = Reader::new(Reader::new(der::only(der::SEQUENCE, der)?).expect(der::SEQUENCE)?);
    list.optional(der::INTEGER)?; // version
    list.expect(der::SEQUENCE)?; // signature
    list.expect(der::SEQUENCE)?; // issuer
    let mut found = Vec::new();
    while !list.is_empty() {
        // thisUpdate, nextUpdate, revokedCertificates and, last, the extensions.
        let (der::CONTEXT_0, extensions) = list.any()? else { continue };
        let mut extensions = Reader::new(der::only(der::SEQUENCE, extensions)?);
        while !extensions.is_empty() {
            let mut extension = Reader::new(extensions.expect(der::SEQUENCE)?);
            let (oid, critical) = (extension.expect(der::OBJECT_IDENTIFIER)?, extension.default_false()?);
            let value = extension.expect(der::OCTET_STRING)?;
            if found.len() == MAX_PARTS || !extension.is_empty() {
                return Err(NotDer);
            }
            found.push(Extension { oid, critical, value });
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
