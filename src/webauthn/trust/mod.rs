//! Trust: whether a statement's certificates lead to an anchor that the relying party accepts (WebAuthn L3 section 7.1, step 24).

use openssl::{
    error::ErrorStack,
    hash::MessageDigest,
    stack::Stack,
    x509::{
        X509, X509Ref, X509StoreContext, X509VerifyResult,
        store::X509StoreBuilder,
        verify::{X509VerifyFlags, X509VerifyParam},
    },
};

use std::{borrow::Cow, collections::HashMap};

use super::attestation::Attestation;
use crate::domain::{
    Aaguid, AttestationFormat, AttestationPolicy, AttestationRecord, AttestationTrust, AttestationType, MetadataEntry, MetadataHead,
    Timestamp, TrustDemand,
};

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

    /// SHA-256 of its DER, in lower case hexadecimal: what a root is known by where it is looked up.
    pub fn sha256(&self) -> String {
        let digest = self.0.digest(MessageDigest::sha256());
        digest.map(|digest| digest.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))).unwrap_or_default()
    }

    /// What it is.
    pub(super) const fn certificate(&self) -> &X509 {
        &self.0
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

/// What statements may lead to: imported sets of anchors by their names, and the FIDO metadata.
#[derive(Debug, Default)]
pub struct TrustStore {
    sets: HashMap<String, Vec<TrustAnchor>>,
    models: HashMap<Aaguid, MetadataEntry>,
    head: Option<MetadataHead>,
}

impl TrustStore {
    /// Of these sets and this metadata.
    pub fn new(sets: impl IntoIterator<Item = (String, Vec<TrustAnchor>)>, metadata: Option<(MetadataHead, Vec<MetadataEntry>)>) -> Self {
        let (head, entries) = metadata.map_or((None, Vec::new()), |(head, entries)| (Some(head), entries));
        let models = entries.into_iter().filter_map(|entry| Some((entry.aaguid?, entry))).collect();
        Self { sets: sets.into_iter().collect(), models, head }
    }

    /// What the metadata says of a model.
    pub fn model(&self, aaguid: Aaguid) -> Option<&MetadataEntry> {
        self.models.get(&aaguid)
    }

    /// The metadata's serial number and dates, if there is any.
    pub fn metadata(&self) -> Option<MetadataHead> {
        self.head.clone()
    }
}

/// What is judged.
#[derive(Debug)]
pub(super) struct Assessed<'a> {
    /// The statement's format.
    pub(super) format: AttestationFormat,
    /// What its verification gave.
    pub(super) attestation: &'a Attestation<'a>,
    /// The model that the authenticator data names.
    pub(super) aaguid: Aaguid,
}

/// Assesses a verified statement by a tenant's policy (section 7.1, steps 23 and 24).
pub(super) fn assess(
    assessed: &Assessed<'_>,
    policy: &AttestationPolicy,
    store: &TrustStore,
    now: Timestamp,
) -> Result<AttestationRecord, TrustError> {
    let record =
        |attestation_type, trust| AttestationRecord { format: assessed.format, attestation_type, trust, ..AttestationRecord::none() };
    let (attestation_type, path) = match assessed.attestation {
        Attestation::None => return Ok(AttestationRecord::none()),
        Attestation::SelfSigned => return Ok(record(AttestationType::SelfAttestation, AttestationTrust::SelfAttestation)),
        Attestation::Certified { attestation_type, path } => (*attestation_type, path),
        Attestation::Compound(_) => return Err(TrustError::NoPath("a compound statement".to_owned())),
    };
    let anchors: Vec<_> = policy.anchors.iter().filter_map(|name| store.sets.get(name)).flatten().cloned().collect();
    if anchors.is_empty() || policy.trust == TrustDemand::Record {
        return Ok(record(attestation_type, AttestationTrust::Untrusted));
    }
    let unreadable = |_: ErrorStack| TrustError::NoPath("a certificate cannot be read".to_owned());
    let path = path.iter().map(|der: &Cow<'_, [u8]>| X509::from_der(der)).collect::<Result<Vec<_>, _>>().map_err(unreadable)?;
    let found = find_path(&path, &anchors, now).map_err(|error| TrustError::NoPath(error.error_string().to_owned()))?;
    check_order(&path, &found)?;
    Ok(record(attestation_type, AttestationTrust::Trusted))
}

/// The path that OpenSSL finds from the first certificate to an anchor.
fn find_path(path: &[X509], anchors: &[TrustAnchor], now: Timestamp) -> Result<Vec<X509>, X509VerifyResult> {
    let failed = |_: ErrorStack| X509VerifyResult::APPLICATION_VERIFICATION;
    let [leaf, others @ ..] = path else { return Err(X509VerifyResult::APPLICATION_VERIFICATION) };
    let search = || -> Result<_, ErrorStack> {
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
            untrusted.push(certificate.clone())?;
        }
        X509StoreContext::new()?.init(&store.build(), leaf, &untrusted, |context| {
            let found = context.verify_cert()?;
            let chain = context.chain().map(|chain| chain.iter().map(X509Ref::to_owned).collect()).unwrap_or_default();
            Ok((found, context.error(), chain))
        })
    };
    match search().map_err(failed)? {
        (true, X509VerifyResult::OK, chain) => Ok(chain),
        // Two answers that must agree: neither alone is taken for a yes.
        (_, X509VerifyResult::OK, _) => Err(X509VerifyResult::APPLICATION_VERIFICATION),
        (_, error, _) => Err(error),
    }
}

/// OpenSSL takes what it needs from a bag; the standard has a chain, in order. The links that are in `found` were verified there.
fn check_order(path: &[X509], found: &[X509]) -> Result<(), TrustError> {
    for (n, pair) in path.windows(2).enumerate() {
        let [subject, issuer] = pair else { continue };
        let is_in_found = found.get(n..n + 2).is_some_and(|found| found == pair);
        if !is_in_found && !is_issued_by(subject, issuer) {
            return Err(TrustError::NotAChain(n));
        }
    }
    Ok(())
}

fn is_issued_by(subject: &X509Ref, issuer: &X509Ref) -> bool {
    let signed = || issuer.public_key().is_ok_and(|key| subject.verify(&key).unwrap_or(false));
    issuer.issued(subject) == X509VerifyResult::OK && signed()
}

#[cfg(test)]
mod tests {
    use openssl::pkey::{PKey, Private};

    use super::*;
    use crate::webauthn::{
        CoseAlgorithm, Refusal,
        testing::{CertificateSpec, KeyPair, Maker, NEW_YEAR, Statement},
    };

    /// Root, intermediate and attestation certificate, each with its key.
    struct Chain([(X509, PKey<Private>); 3]);

    impl Chain {
        fn new() -> Self {
            Self::valid((0, 365), (0, 365))
        }

        fn valid(intermediate: (i64, i64), leaf: (i64, i64)) -> Self {
            let key = || KeyPair::generate(CoseAlgorithm::Es256).private;
            let (root_key, intermediate_key, leaf_key) = (key(), key(), key());
            let ca = |name, validity| CertificateSpec { subject: name, ca: Some(true), validity, ..CertificateSpec::default() };
            let root = ca(&[("CN", "Root")], (0, 365)).make(&root_key, None);
            let intermediate = ca(&[("CN", "Intermediate")], intermediate).make(&intermediate_key, Some((&root, &root_key)));
            let spec = CertificateSpec { validity: leaf, ..CertificateSpec::default() };
            let leaf = spec.make(&leaf_key, Some((&intermediate, &intermediate_key)));
            Self([(root, root_key), (intermediate, intermediate_key), (leaf, leaf_key)])
        }

        /// A registration with these certificates in x5c and these as anchors, by their place.
        fn verify(&self, x5c: &[usize], anchors: &[usize]) -> Result<AttestationTrust, TrustError> {
            let ders = x5c.iter().map(|&n| self.0[n].0.to_der().unwrap()).collect();
            let signer = self.0[x5c[0]].1.clone();
            self.judge(Statement::Packed(signer, CoseAlgorithm::Es256, ders), anchors)
        }

        fn judge(&self, statement: Statement, anchors: &[usize]) -> Result<AttestationTrust, TrustError> {
            let anchors = anchors.iter().map(|&n| TrustAnchor(self.0[n].0.clone())).collect();
            let verdict = Maker { anchors, ..Maker::attested(statement) }.verify();
            verdict.map(|registration| registration.attestation.trust).map_err(|error| match error.refusal() {
                Refusal::Trust(reason) => {
                    assert_eq!(error.step(), 24);
                    reason.clone()
                }
                other => panic!("{other}"),
            })
        }
    }

    const ROOT: usize = 0;
    const INTERMEDIATE: usize = 1;
    const LEAF: usize = 2;

    fn is_no_path(verdict: &Result<AttestationTrust, TrustError>) -> bool {
        matches!(verdict, Err(TrustError::NoPath(_)))
    }

    #[test]
    fn paths_to_any_kind_of_anchor() {
        let chain = Chain::new();
        let trusted = Ok(AttestationTrust::Trusted);
        assert_eq!(chain.verify(&[LEAF, INTERMEDIATE], &[ROOT]), trusted);
        assert_eq!(chain.verify(&[LEAF, INTERMEDIATE, ROOT], &[ROOT]), trusted);
        assert_eq!(chain.verify(&[LEAF], &[INTERMEDIATE]), trusted);
        assert_eq!(chain.verify(&[LEAF, INTERMEDIATE], &[INTERMEDIATE]), trusted);
        assert_eq!(chain.verify(&[LEAF, INTERMEDIATE, ROOT], &[INTERMEDIATE]), trusted);
        assert_eq!(chain.verify(&[LEAF], &[LEAF]), trusted);
        assert_eq!(chain.verify(&[LEAF, INTERMEDIATE, ROOT], &[LEAF]), trusted);
    }

    #[test]
    fn no_anchors_no_judgement() {
        let chain = Chain::new();
        assert_eq!(chain.verify(&[LEAF, INTERMEDIATE], &[]), Ok(AttestationTrust::Untrusted));
        assert_eq!(chain.verify(&[LEAF, ROOT, INTERMEDIATE], &[]), Ok(AttestationTrust::Untrusted));
    }

    #[test]
    fn no_path() {
        let (chain, other) = (Chain::new(), Chain::new());
        assert!(is_no_path(&chain.verify(&[LEAF], &[ROOT])));
        let leaf = chain.0[LEAF].0.to_der().unwrap();
        let foreign = |signer: &PKey<Private>| Statement::Packed(signer.clone(), CoseAlgorithm::Es256, vec![leaf.clone()]);
        // Of the same name, with another key.
        assert!(is_no_path(&other.judge(foreign(&chain.0[LEAF].1), &[INTERMEDIATE])));
        assert!(is_no_path(&other.judge(foreign(&chain.0[LEAF].1), &[ROOT])));
    }

    #[test]
    fn order_matters() {
        let chain = Chain::new();
        assert_eq!(chain.verify(&[LEAF, ROOT, INTERMEDIATE], &[ROOT]), Err(TrustError::NotAChain(0)));
        assert_eq!(chain.verify(&[LEAF, INTERMEDIATE, INTERMEDIATE], &[ROOT]), Err(TrustError::NotAChain(1)));
        assert_eq!(chain.verify(&[LEAF, LEAF, INTERMEDIATE], &[ROOT]), Err(TrustError::NotAChain(0)));
    }

    #[test]
    fn a_name_is_no_signature() {
        let (chain, other) = (Chain::new(), Chain::new());
        let ders = vec![chain.0[LEAF].0.to_der().unwrap(), other.0[INTERMEDIATE].0.to_der().unwrap()];
        let statement = Statement::Packed(chain.0[LEAF].1.clone(), CoseAlgorithm::Es256, ders);
        assert!(is_no_path(&other.judge(statement, &[ROOT])));
    }

    #[test]
    fn dates_are_judged_at_the_given_instant() {
        // The instant is the end of the first day.
        assert!(Chain::valid((-9, 9), (0, 2)).verify(&[LEAF, INTERMEDIATE], &[ROOT]).is_ok());
        for (intermediate, leaf) in [((-9, 0), (0, 9)), ((2, 9), (0, 9)), ((0, 9), (-9, 0)), ((0, 9), (2, 9))] {
            let chain = Chain::valid(intermediate, leaf);
            assert!(is_no_path(&chain.verify(&[LEAF, INTERMEDIATE], &[ROOT])), "{intermediate:?} {leaf:?}");
        }
        // An anchor's own dates count too, be it the attestation certificate.
        assert!(is_no_path(&Chain::valid((0, 9), (-9, 0)).verify(&[LEAF], &[LEAF])));
    }

    #[test]
    fn only_cas_issue() {
        let key = || KeyPair::generate(CoseAlgorithm::Es256).private;
        let (issuer_key, leaf_key) = (key(), key());
        let issuer = CertificateSpec { subject: &[("CN", "No CA")], ..CertificateSpec::default() }.make(&issuer_key, None);
        let leaf = CertificateSpec::default().make(&leaf_key, Some((&issuer, &issuer_key)));
        let statement = Statement::Packed(leaf_key, CoseAlgorithm::Es256, vec![leaf.to_der().unwrap()]);
        let maker = Maker { anchors: vec![TrustAnchor(issuer)], ..Maker::attested(statement) };
        assert_eq!(maker.verify().unwrap_err().step(), 24);
    }

    #[test]
    fn anchors_judge_certificates_alone() {
        let anchors = || vec![TrustAnchor(Chain::new().0[ROOT].0.clone())];
        for (statement, trust) in [(Statement::None, AttestationTrust::None), (Statement::PackedSelf, AttestationTrust::SelfAttestation)] {
            let maker = Maker { anchors: anchors(), now: Timestamp::from_millis(NEW_YEAR), ..Maker::attested(statement) };
            assert_eq!(maker.verify().unwrap().attestation.trust, trust);
        }
    }

    #[test]
    fn anchors_are_read_from_pem_and_der() {
        let chain = Chain::new();
        let pem = [chain.0[ROOT].0.to_pem().unwrap(), chain.0[LEAF].0.to_pem().unwrap()].concat();
        assert_eq!(TrustAnchor::from_pem(&pem).unwrap().len(), 2);
        assert!(TrustAnchor::from_der(&chain.0[ROOT].0.to_der().unwrap()).is_ok());
        assert_eq!(TrustAnchor::from_pem(b"").unwrap_err(), TrustAnchorError);
        assert_eq!(TrustAnchor::from_der(b"x").unwrap_err(), TrustAnchorError);
    }
}
