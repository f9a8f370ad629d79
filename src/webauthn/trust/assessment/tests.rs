use super::{super::testing::*, *};
use crate::{
    domain::MetadataEntry,
    webauthn::{
        Refusal, StatementError,
        certificate::CertificateError,
        testing::{CertificateSpec, Maker, NEW_YEAR, Statement},
        trust::TrustAnchor,
    },
};

mod compound;

use AttestationTrust::{SelfAttestation, Trusted, Untrusted};
use TrustDemand::{Judge as JUDGE, Record as RECORD, Require as REQUIRE};

const X5C: &[usize] = &[LEAF, INTERMEDIATE];
const SERIAL: &str = "1.3.6.1.4.1.45724.1.1.2";

/// A store with the chain's root as the named set and in the model's entry, changed so.
fn both(chain: &Chain, change: impl Fn(MetadataEntry) -> MetadataEntry) -> TrustStore {
    store(&[chain.anchor(ROOT)], &[change(chain.entry(&[ROOT]))])
}

fn by_name(anchors: &[TrustAnchor]) -> TrustStore {
    store(anchors, &[])
}

fn is_failed<T>(verdict: &Result<T, TrustError>) -> bool {
    matches!(verdict, Err(TrustError::NoPath { .. }))
}

fn is_not_judged<T>(verdict: &Result<T, TrustError>) -> bool {
    matches!(verdict, Err(TrustError::NotJudged(_)))
}

#[test]
fn the_metadata_judges_its_own_model_and_named_sets_every_model() {
    let (chain, other) = (Chain::new(), Chain::new());
    let maker = device(chain.packed(X5C));
    let set = |verdict: Result<AttestationRecord, TrustError>| verdict.unwrap().anchors;
    assert_eq!(set(judged(&maker, &policy(REQUIRE), &store(&[], &[chain.entry(&[ROOT])]))).as_deref(), Some("mds"));
    assert_eq!(set(judged(&maker, &policy(REQUIRE), &by_name(&[chain.anchor(ROOT)]))).as_deref(), Some("ours"));
    // Either will do.
    assert_eq!(set(judged(&maker, &policy(REQUIRE), &store(&[other.anchor(ROOT)], &[chain.entry(&[ROOT])]))).as_deref(), Some("mds"));
    assert_eq!(set(judged(&maker, &policy(REQUIRE), &store(&[chain.anchor(ROOT)], &[other.entry(&[ROOT])]))).as_deref(), Some("ours"));
    assert_eq!(set(judged(&maker, &policy(REQUIRE), &both(&chain, |entry| entry))).as_deref(), Some("mds"));
    // Not what the policy does not name, nor another model's.
    let all = both(&chain, |entry| entry);
    let no_sets = AttestationPolicy { anchors: vec![], ..policy(REQUIRE) };
    assert!(is_not_judged(&judged(&maker, &no_sets, &all)));
    let of_another = store(&[], &[MetadataEntry { aaguid: Some(Aaguid::from_uuid(Uuid::max())), ..chain.entry(&[ROOT]) }]);
    assert!(is_not_judged(&judged(&maker, &policy(REQUIRE), &of_another)));
}

#[test]
fn demands_on_a_chain_that_fails() {
    let (chain, other) = (Chain::new(), Chain::new());
    let maker = device(chain.packed(X5C));
    let store = store(&[other.anchor(ROOT)], &[other.entry(&[ROOT])]);
    let record = judged(&maker, &policy(RECORD), &store).unwrap();
    assert_eq!((record.trust, record.path.len(), record.anchors), (Untrusted, 0, None));
    let reason = record.reason.unwrap();
    for part in ["at CN=Intermediate", "certificate signature failure", "looked in mds (Token), ours"] {
        assert!(reason.contains(part), "{reason}");
    }
    assert!(is_failed(&judged(&maker, &policy(JUDGE), &store)));
    assert!(is_failed(&judged(&maker, &policy(REQUIRE), &store)));
}

#[test]
fn demands_on_a_chain_that_cannot_be_judged() {
    let chain = Chain::new();
    let maker = device(chain.packed(X5C));
    for (store, reason) in [
        (TrustStore::default(), "looked in mds (no metadata), ours (no anchors)"),
        (store(&[], &[entry()]), "looked in mds (Token: no anchors), ours (no anchors)"),
        (store(&[], &[MetadataEntry { aaguid: None, ..entry() }]), "mds (no entry for the model 07070707-"),
    ] {
        for demand in [RECORD, JUDGE] {
            let record = judged(&maker, &policy(demand), &store).unwrap();
            assert_eq!(record.trust, Untrusted);
            assert!(record.reason.as_ref().unwrap().contains(reason), "{record:?}");
        }
        assert!(is_not_judged(&judged(&maker, &policy(REQUIRE), &store)));
    }
}

#[test]
fn demands_on_what_has_no_chain() {
    let chain = Chain::new();
    let surrogate = store(&[chain.anchor(ROOT)], &[MetadataEntry { attestation_types: vec![AttestationType::SelfAttestation], ..entry() }]);
    for store in [by_name(&[chain.anchor(ROOT)]), surrogate] {
        for (statement, trust) in [(Statement::None, AttestationTrust::None), (Statement::PackedSelf, SelfAttestation)] {
            let maker = device(statement);
            for demand in [RECORD, JUDGE] {
                let record = judged(&maker, &policy(demand), &store).unwrap();
                assert_eq!((record.trust, record.reason), (trust, None));
            }
            assert!(matches!(judged(&maker, &policy(REQUIRE), &store), Err(TrustError::Unproven(_))));
        }
    }
}

#[test]
fn u2f_models_are_known_by_their_keys() {
    let chain = Chain::new();
    let of_key =
        |n| store(&[], &[MetadataEntry { aaguid: None, key_identifiers: vec![chain.key_identifier(n)], ..chain.entry(&[INTERMEDIATE]) }]);
    let trust = |maker: &Maker, n| judged(maker, &policy(RECORD), &of_key(n)).unwrap().trust;
    let u2f = Maker::attested(chain.u2f());
    assert_eq!(trust(&u2f, LEAF), Trusted);
    assert_eq!(trust(&u2f, ROOT), Untrusted);
    // CTAP2 authenticators without an AAGUID too, by any certificate of theirs; one with an AAGUID is known by that alone.
    assert_eq!(trust(&Maker::attested(chain.packed(X5C)), LEAF), Trusted);
    assert_eq!(trust(&Maker::attested(chain.packed(X5C)), INTERMEDIATE), Trusted);
    assert_eq!(trust(&device(chain.packed(X5C)), LEAF), Untrusted);
    // U2F signs no AAGUID: the entry of the one that is claimed gives no anchors.
    let maker = device(chain.u2f());
    assert!(is_not_judged(&judged(&maker, &policy(REQUIRE), &store(&[], &[chain.entry(&[INTERMEDIATE])]))));
}

#[test]
fn stale_metadata_judges_nothing_where_it_is_distrusted() {
    let chain = Chain::new();
    let distrust = AttestationPolicy { stale_metadata: StaleMetadata::Distrust, ..policy(RECORD) };
    let at = |days: i64, millis: i64| Maker {
        now: Timestamp::from_millis((NEW_YEAR + days * 86_400) * 1000 + millis),
        ..device(chain.packed(X5C))
    };
    // The update was due on new year's day.
    let surrogate = |entry| MetadataEntry { attestation_types: vec![AttestationType::SelfAttestation], ..entry };
    let store = |change: &dyn Fn(MetadataEntry) -> MetadataEntry| store(&[], &[change(chain.entry(&[ROOT]))]);
    assert_eq!(judged(&at(1, -1), &distrust, &store(&|entry| entry)).unwrap().trust, Trusted);
    for change in [&(|entry| entry) as &dyn Fn(_) -> _, &surrogate] {
        let record = judged(&at(1, 0), &distrust, &store(change)).unwrap();
        assert_eq!(record.trust, Untrusted);
        assert!(record.reason.as_ref().unwrap().contains("mds (stale: an update was due on 2026-01-01)"), "{record:?}");
    }
    assert_eq!(judged(&at(30, 0), &policy(RECORD), &store(&|entry| entry)).unwrap().trust, Trusted);
    let revoked = store(&|entry| reported(entry, "REVOKED", "2025-01-01"));
    assert!(matches!(judged(&at(30, 0), &distrust, &revoked), Err(TrustError::Reported { .. })));
}

#[test]
fn reports_forbid_whatever_is_demanded() {
    let chain = Chain::new();
    let revoked = |entry| reported(entry, "REVOKED", "2026-01-02");
    let with_mds = policy(RECORD);
    for maker in [device(chain.packed(X5C)), device(Statement::None), device(Statement::PackedSelf), device(chain.u2f())] {
        let error = judged(&maker, &with_mds, &both(&chain, revoked)).unwrap_err();
        assert_eq!(error.to_string(), "the FIDO metadata reports REVOKED of Token since 2026-01-02");
        let without = AttestationPolicy { anchors: vec!["ours".to_owned()], ..policy(RECORD) };
        assert!(judged(&maker, &without, &both(&chain, revoked)).is_ok());
        assert!(judged(&maker, &with_mds, &both(&chain, |entry| reported(entry, "REVOKED", "2026-01-03"))).is_ok());
        assert!(judged(&maker, &with_mds, &both(&chain, |entry| reported(entry, "UPDATE_AVAILABLE", "2026-01-01"))).is_ok());
    }
    // By the key of a U2F device; and by the second of two entries.
    let by_key = MetadataEntry { aaguid: None, key_identifiers: vec![chain.key_identifier(LEAF)], ..revoked(entry()) };
    assert!(judged(&Maker::attested(chain.u2f()), &with_mds, &store(&[], &[by_key])).is_err());
    assert!(judged(&device(Statement::None), &with_mds, &store(&[], &[entry(), revoked(entry())])).is_err());
    // No model is the zero one.
    let zero = MetadataEntry { aaguid: Some(Aaguid::from_uuid(Uuid::nil())), ..revoked(entry()) };
    assert!(judged(&Maker::attested(Statement::None), &with_mds, &store(&[], &[zero])).is_ok());
}

#[test]
fn models_that_are_denied() {
    let chain = Chain::new();
    let policy = AttestationPolicy { aaguids_denied: vec![MODEL], ..policy(RECORD) };
    for statement in [chain.packed(X5C), Statement::None, Statement::PackedSelf] {
        assert_eq!(judged(&device(statement), &policy, &TrustStore::default()), Err(TrustError::ModelDenied(MODEL)));
    }
    assert!(judged(&Maker::attested(Statement::None), &policy, &TrustStore::default()).is_ok());
}

#[test]
fn models_that_alone_are_allowed() {
    let (chain, nil) = (Chain::new(), Aaguid::from_uuid(Uuid::nil()));
    let allow = |aaguid| AttestationPolicy { aaguids_allowed: vec![aaguid], ..policy(RECORD) };
    let store = by_name(&[chain.anchor(ROOT), chain.anchor(INTERMEDIATE)]);
    assert_eq!(judged(&device(chain.packed(X5C)), &allow(MODEL), &store).unwrap().trust, Trusted);
    assert_eq!(judged(&device(chain.packed(X5C)), &allow(nil), &store), Err(TrustError::ModelNotAllowed(MODEL)));
    // What nothing proves is a claim.
    for statement in [Statement::None, Statement::PackedSelf] {
        assert!(matches!(judged(&device(statement), &allow(MODEL), &store), Err(TrustError::Unproven(_))));
    }
    assert!(is_not_judged(&judged(&device(chain.packed(X5C)), &allow(MODEL), &TrustStore::default())));
    // U2F devices have none, and sign none.
    assert_eq!(judged(&Maker::attested(chain.u2f()), &allow(nil), &store).unwrap().trust, Trusted);
    assert_eq!(judged(&device(chain.u2f()), &allow(MODEL), &store), Err(TrustError::ModelUnproven(MODEL)));
}

#[test]
fn types() {
    let chain = Chain::new();
    let accept = |t| AttestationPolicy { types: vec![t], ..policy(RECORD) };
    let store = TrustStore::default();
    assert!(judged(&device(chain.packed(X5C)), &accept(AttestationType::Basic), &store).is_ok());
    let error = judged(&device(chain.packed(X5C)), &accept(AttestationType::AttCa), &store);
    assert_eq!(error, Err(TrustError::Type(AttestationType::Basic)));
    let error = judged(&device(Statement::PackedSelf), &accept(AttestationType::Basic), &store);
    assert_eq!(error, Err(TrustError::Type(AttestationType::SelfAttestation)));
    // None is the business of `required`.
    assert!(judged(&device(Statement::None), &accept(AttestationType::Basic), &store).is_ok());
}

#[test]
fn the_metadata_tells_basic_from_ca() {
    use AttestationType as T;
    let chain = Chain::new();
    let found = |types: &[T]| {
        let store = both(&chain, |entry| MetadataEntry { attestation_types: types.to_vec(), ..entry });
        judged(&device(chain.packed(X5C)), &policy(JUDGE), &store).unwrap().attestation_type
    };
    assert_eq!(found(&[]), T::Basic);
    assert_eq!(found(&[T::AttCa]), T::AttCa);
    assert_eq!(found(&[T::SelfAttestation, T::AnonCa]), T::AnonCa);
    assert_eq!(found(&[T::AttCa, T::Basic]), T::Basic);
    assert_eq!(found(&[T::SelfAttestation, T::Basic]), T::Basic);
}

/// FIDO's server tests, Resp-6 F-2 and Resp-5 F-8.
#[test]
fn what_the_model_does_not_do() {
    use AttestationType as T;
    let chain = Chain::new();
    let maker = device(chain.packed(X5C));
    let surrogate = both(&chain, |entry| MetadataEntry { attestation_types: vec![T::SelfAttestation], ..entry });
    let others = both(&chain, |entry| MetadataEntry { algorithms: vec![-257, -8], ..entry });
    for (store, text) in
        [(&surrogate, "Token attests with the credential's own key alone"), (&others, "Token does not have the algorithm -7")]
    {
        let record = judged(&maker, &policy(RECORD), store).unwrap();
        assert!(record.trust == Untrusted && record.reason.as_ref().unwrap().contains(text), "{record:?}");
        for demand in [JUDGE, REQUIRE] {
            assert!(judged(&maker, &policy(demand), store).unwrap_err().to_string().contains(text));
        }
        let without = AttestationPolicy { anchors: vec!["ours".to_owned()], ..policy(REQUIRE) };
        assert_eq!(judged(&maker, &without, store).unwrap().trust, Trusted);
    }
    let both_kinds =
        both(&chain, |entry| MetadataEntry { algorithms: vec![-7], attestation_types: vec![T::SelfAttestation, T::Basic], ..entry });
    assert_eq!(judged(&maker, &policy(REQUIRE), &both_kinds).unwrap().trust, Trusted);
    // The credential's algorithm counts as the statement's does.
    let ed25519 = Maker { algorithm: CoseAlgorithm::EdDsa, ..device(chain.packed(X5C)) };
    assert!(matches!(judged(&ed25519, &policy(JUDGE), &both_kinds), Err(TrustError::Algorithm { algorithm: -8, .. })));
}

/// An application gets a certificate of Google's for a key of its own, and signs packed or U2F statements about any other key with it.
#[test]
fn an_applications_key_attests_no_other_key() {
    use AttestationFormat as F;
    let described = CertificateSpec { extensions: vec![("1.3.6.1.4.1.11129.2.1.17", false, vec![0x30, 0])], ..CertificateSpec::default() };
    let chain = Chain::of(&ca("Intermediate"), &described);
    let google = by_name(&[chain.anchor(ROOT)]);
    let maker = device(chain.packed(X5C));
    let record = judged(&maker, &policy(RECORD), &google).unwrap();
    assert!(record.trust == Untrusted && record.reason.unwrap().contains("an application's key"));
    for demand in [JUDGE, REQUIRE] {
        assert_eq!(judged(&maker, &policy(demand), &google), Err(TrustError::ApplicationKey(F::Packed)));
    }
    let verdict = |format| compound(vec![(format, certified(&chain)), (F::Packed, Attestation::SelfSigned)], &policy(REQUIRE), &google);
    assert_eq!(verdict(F::FidoU2f), Err(TrustError::ApplicationKey(F::FidoU2f)));
    assert_eq!(verdict(F::AndroidKey).unwrap().trust, Trusted);
}

/// As those of Windows Hello, whose keys are on P-256 while its entry names RSA.
#[test]
fn keystores_may_have_algorithms_that_the_metadata_lacks() {
    let chain = Chain::new();
    let rsa = both(&chain, |entry| MetadataEntry { algorithms: vec![-257], ..entry });
    let verdict = |format| compound(vec![(format, certified(&chain)), (format, certified(&chain))], &policy(REQUIRE), &rsa);
    for format in [AttestationFormat::Tpm, AttestationFormat::AndroidKey, AttestationFormat::Apple] {
        assert_eq!(verdict(format).unwrap().anchors.as_deref(), Some("mds"), "{format}");
    }
    assert!(matches!(verdict(AttestationFormat::Packed), Err(TrustError::Algorithm { algorithm: -7, .. })));
}

/// A leaf with this serial number extension.
fn with_serial(critical: bool, value: Vec<u8>) -> Chain {
    Chain::of(&ca("Intermediate"), &CertificateSpec { extensions: vec![(SERIAL, critical, value)], ..CertificateSpec::default() })
}

#[test]
fn enterprise_attestation() {
    let (named, batch) = (with_serial(false, vec![4, 3, 0xab, 0, 1]), Chain::new());
    let demand = |enterprise| AttestationPolicy { enterprise, ..policy(RECORD) };
    let judge = |chain: &Chain, enterprise| judged(&device(chain.packed(X5C)), &demand(enterprise), &by_name(&[chain.anchor(ROOT)]));
    assert_eq!(judge(&named, EnterpriseDemand::Accept).unwrap().device_serial.as_deref(), Some("ab0001"));
    assert_eq!(judge(&batch, EnterpriseDemand::Accept).unwrap().device_serial, None);
    assert_eq!(judge(&named, EnterpriseDemand::Refuse), Err(TrustError::Enterprise));
    assert!(judge(&batch, EnterpriseDemand::Refuse).is_ok());
    assert!(judge(&named, EnterpriseDemand::Require).is_ok());
    assert_eq!(judge(&batch, EnterpriseDemand::Require), Err(TrustError::NotEnterprise));
    let none = judged(&device(Statement::None), &demand(EnterpriseDemand::Require), &TrustStore::default());
    assert_eq!(none, Err(TrustError::NotEnterprise));
    // Anyone can write a number into a certificate of his own.
    let unproven = judged(&device(named.packed(X5C)), &demand(EnterpriseDemand::Require), &by_name(&[batch.anchor(ROOT)]));
    assert!(is_failed(&unproven));
}

#[test]
fn serial_numbers_have_the_standards_form() {
    let malformed = StatementError::Certificate(CertificateError::Extension("serial number"));
    let too_long = [&[4, 65][..], &[1; 65]].concat();
    for (critical, value) in [(true, vec![4, 1, 1]), (false, vec![2, 1, 1]), (false, vec![4, 0]), (false, vec![]), (false, too_long)] {
        let error = device(with_serial(critical, value).packed(X5C)).verify().unwrap_err();
        assert!(matches!(error.refusal(), Refusal::Statement { error, .. } if *error == malformed), "{error}");
    }
    assert!(device(with_serial(false, [&[4, 64][..], &[1; 64]].concat()).packed(X5C)).verify().is_ok());
}

/// Assesses parts of these formats as those of one statement.
fn compound(
    parts: Vec<(AttestationFormat, Attestation<'_>)>,
    policy: &AttestationPolicy,
    store: &TrustStore,
) -> Result<AttestationRecord, TrustError> {
    let assessed = Assessed {
        format: AttestationFormat::Compound,
        attestation: &Attestation::Compound(parts),
        statement: &Value::Array(vec![]),
        aaguid: MODEL,
        key_algorithm: CoseAlgorithm::Es256,
    };
    assess(&assessed, policy, store, Timestamp::from_millis((NEW_YEAR + 86_400) * 1000))
}

fn certified(chain: &Chain) -> Attestation<'static> {
    let path = X5C.iter().map(|&n| Cow::Owned(chain.der(n))).collect();
    Attestation::Certified { attestation_type: AttestationType::Basic, path }
}
