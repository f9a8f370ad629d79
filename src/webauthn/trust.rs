//! Trust: whether a statement's certificates lead to an anchor that the relying party accepts (WebAuthn L3 section 7.1, step 24).

use openssl::{
    error::ErrorStack,
    stack::Stack,
    x509::{
        X509, X509StoreContext, X509VerifyResult,
        store::X509StoreBuilder,
        verify::{X509VerifyFlags, X509VerifyParam},
    },
};

use super::certificate::Certificate;
use crate::domain::{AttestationTrust, Timestamp};

/// A certificate that statements may lead to: a root, an intermediate, or an attestation certificate itself.
#[derive(Debug, Clone)]
pub struct TrustAnchor(X509);

/// Text or bytes that hold no certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an X.509 certificate")]
pub struct TrustAnchorError;

impl TrustAnchor {
    /// One certificate in DER.
    pub fn from_der(der: &[u8]) -> Result<Self, TrustAnchorError> {
        X509::from_der(der).map(Self).map_err(|_| TrustAnchorError)
    }

    /// Each certificate of a PEM file, one at least.
    pub fn from_pem(pem: &[u8]) -> Result<Vec<Self>, TrustAnchorError> {
        match X509::stack_from_pem(pem) {
            Ok(certificates) if !certificates.is_empty() => Ok(certificates.into_iter().map(Self).collect()),
            _ => Err(TrustAnchorError),
        }
    }
}

/// Why a statement's certificates are not trusted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrustError {
    /// A certificate of x5c was not issued by the one after it.
    #[error("x5c is not a chain: certificate {0} was not issued by the next one")]
    NotAChain(usize),
    /// No path to an anchor, or a certificate on it is not valid now.
    #[error("x5c does not lead to a trust anchor: {0}")]
    NoPath(String),
}

/// Judges `path`, a statement's certificates with the attestation certificate first, at the instant `now`.
///
/// Without anchors there is nothing to judge by, dates included. The path may hold the anchor itself and what is above it.
pub(super) fn judge(path: &[Certificate<'_>], anchors: &[TrustAnchor], now: Timestamp) -> Result<AttestationTrust, TrustError> {
    if anchors.is_empty() {
        return Ok(AttestationTrust::Untrusted);
    }
    // OpenSSL takes what it needs from a bag; the standard has a chain, in order.
    for (n, pair) in path.windows(2).enumerate() {
        if let [subject, issuer] = pair
            && !is_issued_by(subject, issuer)
        {
            return Err(TrustError::NotAChain(n));
        }
    }
    match find_path(path, anchors, now) {
        Ok(X509VerifyResult::OK) => Ok(AttestationTrust::Trusted),
        Ok(error) => Err(TrustError::NoPath(error.error_string().to_owned())),
        Err(_) => Err(TrustError::NoPath("it could not be judged".to_owned())),
    }
}

fn is_issued_by(subject: &Certificate<'_>, issuer: &Certificate<'_>) -> bool {
    let signed = || issuer.public_key().is_ok_and(|key| subject.x509().verify(&key).unwrap_or(false));
    issuer.x509().issued(subject.x509()) == X509VerifyResult::OK && signed()
}

fn find_path(path: &[Certificate<'_>], anchors: &[TrustAnchor], now: Timestamp) -> Result<X509VerifyResult, ErrorStack> {
    let [leaf, others @ ..] = path else { return Ok(X509VerifyResult::APPLICATION_VERIFICATION) };
    let mut param = X509VerifyParam::new()?;
    param.set_time(now.as_secs());
    // An anchor need not be self-signed.
    param.set_flags(X509VerifyFlags::PARTIAL_CHAIN)?;
    let mut store = X509StoreBuilder::new()?;
    store.set_param(&param)?;
    for anchor in anchors {
        store.add_cert(anchor.0.clone())?;
    }
    let mut untrusted = Stack::new()?;
    for certificate in others {
        untrusted.push(certificate.x509().to_owned())?;
    }
    let mut context = X509StoreContext::new()?;
    context.init(&store.build(), leaf.x509(), &untrusted, |context| {
        let verified = context.verify_cert()?;
        // Two answers that must agree: neither alone is taken for a yes.
        Ok(match context.error() {
            X509VerifyResult::OK if !verified => X509VerifyResult::APPLICATION_VERIFICATION,
            error => error,
        })
    })
}
