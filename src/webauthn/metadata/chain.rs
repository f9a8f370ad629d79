//! From the certificate that signed to a root.

use std::fmt::Write as _;

use openssl::{
    error::ErrorStack,
    stack::Stack,
    x509::{
        X509, X509NameRef, X509Ref, X509StoreContext, X509VerifyResult,
        store::X509StoreBuilder,
        verify::{X509CheckFlags, X509VerifyParam},
    },
};

use super::BlobError;
use crate::{
    domain::Timestamp,
    webauthn::{TrustAnchor, certificate::Certificate},
};

/// OpenSSL's level of 112 bits: keys of RSA with 2048 bits, no signature with SHA-1.
const SECURITY_LEVEL: i32 = 2;

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

/// Whether one certificate names the other as its issuer and has its signature.
pub(super) fn is_issued_by(subject: &X509Ref, issuer: &X509Ref) -> bool {
    let signed = || issuer.public_key().is_ok_and(|key| subject.verify(&key).unwrap_or(false));
    issuer.issued(subject) == X509VerifyResult::OK && signed()
}

/// A name for people: `CN=.., O=..` in the certificate's order, without control characters.
pub(super) fn name(name: &X509NameRef) -> String {
    let mut text = String::new();
    for entry in name.entries() {
        let separator = if text.is_empty() { "" } else { ", " };
        let kind = entry.object().nid().short_name().unwrap_or("?");
        let value = entry.data().to_string().unwrap_or_default();
        let value: String = value.chars().take(128).map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect();
        // Writing to a String does not fail.
        let _ = write!(text, "{separator}{kind}={value}");
    }
    text
}

/// Why OpenSSL found no path, and at which certificate.
struct Failure(X509VerifyResult, Option<X509>);

fn find_path(certificates: &[X509], roots: &[TrustAnchor], signer_name: Option<&str>, now: Timestamp) -> Result<Vec<X509>, BlobError> {
    let [leaf, others @ ..] = certificates else { return Err(BlobError::Certificate(0)) };
    let signer = |expected: &str| BlobError::Signer { expected: expected.to_owned(), subject: name(leaf.subject_name()) };
    // To OpenSSL, no name is any name, and one with a dot before it stands for all below it.
    if let Some(expected) = signer_name.filter(|name| name.is_empty() || name.starts_with('.')) {
        return Err(signer(expected));
    }
    let found =
        search(leaf, others, roots, signer_name, now).unwrap_or_else(|_| Err(Failure(X509VerifyResult::APPLICATION_VERIFICATION, None)));
    found.map_err(|Failure(error, certificate)| match signer_name {
        Some(expected) if error.as_raw() == HOSTNAME_MISMATCH => signer(expected),
        _ => {
            let certificate = certificate.as_deref().unwrap_or(leaf);
            let dates = format!("valid from {} to {}", certificate.not_before(), certificate.not_after());
            BlobError::NoPath { subject: format!("{}, {dates}", name(certificate.subject_name())), reason: error.error_string().to_owned() }
        }
    })
}

/// The path that OpenSSL finds. Each certificate's dates, signature, constraints and critical extensions are judged there.
fn search(
    leaf: &X509Ref,
    others: &[X509],
    roots: &[TrustAnchor],
    signer_name: Option<&str>,
    now: Timestamp,
) -> Result<Result<Vec<X509>, Failure>, ErrorStack> {
    let mut param = X509VerifyParam::new()?;
    param.set_time(now.as_secs());
    param.set_auth_level(SECURITY_LEVEL);
    if let Some(name) = signer_name {
        param.set_hostflags(X509CheckFlags::NO_WILDCARDS);
        param.set_host(name)?;
    }
    let mut store = X509StoreBuilder::new()?;
    store.set_param(&param)?;
    for root in roots {
        store.add_cert(root.certificate().clone())?;
    }
    let mut untrusted = Stack::new()?;
    for certificate in others {
        untrusted.push(certificate.clone())?;
    }
    X509StoreContext::new()?.init(&store.build(), leaf, &untrusted, |context| {
        let found = context.verify_cert()?;
        Ok(match (found, context.error()) {
            (true, X509VerifyResult::OK) => {
                Ok(context.chain().map(|chain| chain.iter().map(X509Ref::to_owned).collect()).unwrap_or_default())
            }
            // Two answers that must agree: neither alone is taken for a yes.
            (_, X509VerifyResult::OK) => Err(Failure(X509VerifyResult::APPLICATION_VERIFICATION, None)),
            (_, error) => Err(Failure(error, context.current_cert().map(X509Ref::to_owned))),
        })
    })
}
