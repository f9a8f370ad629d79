//! From the certificate that signed to a root.

use openssl::x509::{X509, verify::X509CheckFlags};

use super::BlobError;
use crate::{
    domain::Timestamp,
    webauthn::{
        TrustAnchor,
        certificate::Certificate,
        chain::{self, NoPath, is_issued_by, name},
    },
};

/// X509_V_ERR_HOSTNAME_MISMATCH of OpenSSL, which its binding does not name.
const HOSTNAME_MISMATCH: i32 = 62;

/// The path from the first certificate of `x5c` to one of `roots`, both included (RFC 5280 section 6.1). Each certificate of `x5c` must have
/// been issued by the next; the first must be for `signer_name`, if there is one.
pub(super) fn establish(x5c: &[Vec<u8>], roots: &[TrustAnchor], signer_name: Option<&str>, now: Timestamp) -> Result<Vec<X509>, BlobError> {
    let mut certificates = Vec::with_capacity(x5c.len());
    for (n, der) in x5c.iter().enumerate() {
        let certificate = X509::from_der(der).map_err(|_| BlobError::Certificate(n))?;
        let is_ca = Certificate::parse(der).and_then(|certificate| certificate.is_ca()).map_err(|_| BlobError::Certificate(n))?;
        // OpenSSL takes some without basicConstraints for CAs. A root is what it is.
        if n > 0 && !is_ca && !roots.iter().any(|root| *root.certificate() == certificate) {
            return Err(BlobError::NotACa(name(certificate.subject_name())));
        }
        certificates.push(certificate);
    }
    // OpenSSL takes what it needs from a bag; x5c is a chain, in order (RFC 7515 section 4.1.6).
    for (n, pair) in certificates.windows(2).enumerate() {
        if let [subject, issuer] = pair
            && !is_issued_by(subject, issuer)
        {
            return Err(BlobError::NotAChain(n));
        }
    }
    find_path(&certificates, roots, signer_name, now)
}

/// Each certificate's dates, signature, constraints and critical extensions are judged there.
fn find_path(certificates: &[X509], roots: &[TrustAnchor], signer_name: Option<&str>, now: Timestamp) -> Result<Vec<X509>, BlobError> {
    let [leaf, others @ ..] = certificates else { return Err(BlobError::Certificate(0)) };
    let signer = |expected: &str| BlobError::Signer { expected: expected.to_owned(), subject: name(leaf.subject_name()) };
    // To OpenSSL, no name is any name, and one with a dot before it stands for all below it.
    if let Some(expected) = signer_name.filter(|name| name.is_empty() || name.starts_with('.')) {
        return Err(signer(expected));
    }
    let found = chain::find_path(leaf, others, roots.iter().map(TrustAnchor::certificate), now, |param| match signer_name {
        None => Ok(()),
        Some(name) => {
            param.set_hostflags(X509CheckFlags::NO_WILDCARDS);
            param.set_host(name)
        }
    });
    found.map_err(|no_path| match (signer_name, &no_path) {
        (Some(expected), NoPath { error: Some(error), .. }) if error.as_raw() == HOSTNAME_MISMATCH => signer(expected),
        _ => {
            let certificate = no_path.certificate.as_deref().unwrap_or(leaf);
            let dates = format!("valid from {} to {}", certificate.not_before(), certificate.not_after());
            BlobError::NoPath { subject: format!("{}, {dates}", name(certificate.subject_name())), reason: no_path.why().to_owned() }
        }
    })
}
