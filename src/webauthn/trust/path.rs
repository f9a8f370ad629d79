//! The path from an attestation certificate to an anchor: OpenSSL finds it, within the rules of RFC 5280 section 6.

use std::{borrow::Cow, cmp::Ordering};

use openssl::{
    nid::Nid,
    x509::{X509, X509Ref, X509VerifyResult, verify::X509VerifyFlags},
};

use super::{AnchorSet, TrustError};
use crate::{
    domain::Timestamp,
    webauthn::{
        certificate::Certificate,
        chain::{self, is_issued_by, name},
    },
};

/// 2.5.29.30 in DER.
const NAME_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x1e];

/// The most anchors that are tried one by one, where several that have the name looked for give no path together.
const MAX_TRIES: usize = 8;

/// A path, the attestation certificate first.
#[derive(Debug)]
pub(super) struct Path<'a> {
    pub(super) certificates: Vec<X509>,
    /// The set that its last certificate is in.
    pub(super) set: &'a str,
}

/// A path from the first of these certificates, in DER, to an anchor of these sets, valid at an instant.
///
/// - An anchor may be a root, an intermediate or the attestation certificate (X509_V_FLAG_PARTIAL_CHAIN); its own dates count.
/// - An anchor that issued itself need not say that it may issue others ([`search_below_roots`]).
/// - What certificates are for is not judged beyond that CAs' are CAs': no purpose is set, so extended key usage is the format's to judge
///   (TPMs' is critical, and has no name in OpenSSL). A critical extension that OpenSSL does not know is a reason to refuse, as RFC 5280
///   section 4.2 has it; those of genuine TPMs (subjectAltName, certificatePolicies) it knows.
/// - Certificates after the first that are not on the path, such as the anchor itself, must be in order too.
pub(super) fn find<'a>(
    path: &[Cow<'_, [u8]>],
    sets: &[(&'a str, &'a AnchorSet)],
    now: Timestamp,
    looked_in: impl Fn() -> String,
) -> Result<Path<'a>, TrustError> {
    let failed = |Stop { subject, why }| TrustError::NoPath { subject, why, looked_in: looked_in() };
    let path = read(path).map_err(failed)?;
    let candidates = candidates(&path, sets);
    let anchors: Vec<_> = candidates.iter().map(|(_, anchor)| *anchor).collect();
    let found = search_all(&path, &anchors, now);
    let certificates = found.or_else(|stop| search_below_roots(&path, &anchors, now).ok_or(stop)).map_err(failed)?;
    check_order(&path, &certificates)?;
    let is_end = |anchor: &X509| certificates.last().is_some_and(|last| last == anchor);
    let set = candidates.iter().find(|(_, anchor)| is_end(anchor)).map_or("", |(set, _)| set);
    Ok(Path { certificates, set })
}

/// Where a search ended, and why.
struct Stop {
    subject: String,
    why: String,
}

impl Stop {
    fn at(certificate: Option<&X509Ref>, why: &str) -> Self {
        Self { subject: certificate.map(|certificate| name(certificate.subject_name())).unwrap_or_default(), why: why.to_owned() }
    }
}

fn read(path: &[Cow<'_, [u8]>]) -> Result<Vec<X509>, Stop> {
    let unreadable = |n| Stop { subject: format!("certificate {n}"), why: "it cannot be read".to_owned() };
    path.iter().enumerate().map(|(n, der)| X509::from_der(der).map_err(|_| unreadable(n))).collect()
}

/// The anchors that could be on a path of these certificates, each with its set: those that have the name of an issuer, and the first
/// certificate itself.
fn candidates<'a>(path: &[X509], sets: &[(&'a str, &'a AnchorSet)]) -> Vec<(&'a str, &'a X509)> {
    let mut names: Vec<_> = path.iter().map(|certificate| certificate.issuer_name_hash()).collect();
    names.sort_unstable();
    names.dedup();
    let mut found = Vec::new();
    for &(set, anchors) in sets {
        found.extend(names.iter().flat_map(|&name| anchors.named(name)).map(|anchor| (set, anchor)));
        let itself = path.first().and_then(|leaf| anchors.named(leaf.subject_name_hash()).find(|anchor| *anchor == leaf));
        found.extend(itself.map(|anchor| (set, anchor)));
    }
    found
}

/// With all anchors; then with one at a time, since OpenSSL tries only one of several that have the same name.
fn search_all(path: &[X509], anchors: &[&X509], now: Timestamp) -> Result<Vec<X509>, Stop> {
    let found = search(path, anchors, now);
    if found.is_ok() || anchors.len() < 2 {
        return found;
    }
    anchors.iter().take(MAX_TRIES).find_map(|anchor| search(path, &[anchor], now).ok()).map_or(found, Ok)
}

/// An anchor is a name and a key (RFC 5280 section 6.1.1 d): that it is trusted says what it is for. OpenSSL wants a root to say so itself, in
/// basicConstraints, and roots in the FIDO metadata do not, or say the contrary. The signature of such a root is verified here; what it
/// signed is the anchor of what OpenSSL judges. (A keyUsage without keyCertSign stays a reason to refuse.)
fn search_below_roots(path: &[X509], anchors: &[&X509], now: Timestamp) -> Option<Vec<X509>> {
    anchors.iter().filter(|anchor| is_root(anchor)).take(MAX_TRIES).find_map(|&anchor| {
        let end = path.iter().position(|certificate| certificate != anchor && anchor.issued(certificate) == X509VerifyResult::OK)?;
        let issued = path.get(end)?;
        let is_good = (end == 0 || is_ca(issued)) && is_signed_strongly(issued) && is_issued_by(issued, anchor);
        let mut found = search(path.get(..=end)?, &[issued], now).ok().filter(|_| is_good)?;
        // Its dates, the strength of its key and its critical extensions.
        found.extend(search(std::slice::from_ref(anchor), &[anchor], now).ok()?);
        Some(found)
    })
}

/// Whether it issued itself, is no CA's by what it says, and says nothing of the names it may be for. What a CA's says (how long a path may be,
/// for which names) is OpenSSL's to enforce; an attestation certificate that is an anchor has an issuer.
fn is_root(anchor: &X509Ref) -> bool {
    let issued_itself = anchor.issuer_name().try_cmp(anchor.subject_name()).is_ok_and(|order| order == Ordering::Equal);
    let is_plain = |anchor: &Certificate<'_>| anchor.is_ca() == Ok(false) && anchor.extension_value(NAME_CONSTRAINTS).is_none();
    issued_itself && parsed(anchor, is_plain)
}

fn is_ca(certificate: &X509Ref) -> bool {
    parsed(certificate, |certificate| certificate.is_ca() == Ok(true))
}

fn parsed(certificate: &X509Ref, condition: impl Fn(&Certificate<'_>) -> bool) -> bool {
    certificate.to_der().is_ok_and(|der| Certificate::parse(&der).is_ok_and(|certificate| condition(&certificate)))
}

/// By the security level, which OpenSSL does not ask of an anchor's signature.
fn is_signed_strongly(certificate: &X509Ref) -> bool {
    let digest = certificate.signature_algorithm().object().nid().signature_algorithms().map(|algorithms| algorithms.digest);
    digest.is_some_and(|digest| [Nid::SHA256, Nid::SHA384, Nid::SHA512].contains(&digest))
}

fn search(path: &[X509], anchors: &[&X509], now: Timestamp) -> Result<Vec<X509>, Stop> {
    let Some((leaf, others)) = path.split_first() else { return Err(Stop::at(None, "there is no certificate")) };
    let found = chain::find_path(leaf, others, anchors.iter().copied(), now, |param| param.set_flags(X509VerifyFlags::PARTIAL_CHAIN));
    let mut found = found.map_err(|no_path| Stop::at(no_path.certificate.as_deref().or(Some(leaf)), no_path.why()))?;
    // OpenSSL is content with an anchor anywhere in the chain that it made. The path ends in the first.
    let end = found.iter().position(|certificate| anchors.contains(&certificate));
    found.truncate(end.map_or(0, |end| end + 1));
    if found.is_empty() { Err(Stop::at(Some(leaf), "the path that was found has no anchor")) } else { Ok(found) }
}

/// OpenSSL takes what it needs from a bag; the standard has a chain, in order. The links that are in `found` were verified there.
fn check_order(path: &[X509], found: &[X509]) -> Result<(), TrustError> {
    for (place, pair) in path.windows(2).enumerate() {
        let [subject, issuer] = pair else { continue };
        let is_in_found = found.get(place..place + 2).is_some_and(|found| found == pair);
        if !is_in_found && !is_issued_by(subject, issuer) {
            return Err(TrustError::NotAChain { place, subject: name(subject.subject_name()) });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
