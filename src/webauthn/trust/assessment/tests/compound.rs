//! Statements of several parts, and what a part proves beside others.

use super::*;

#[test]
fn of_a_compound_statement_the_best_part_is_kept() {
    let (good, bad) = (Chain::new(), Chain::new());
    let ours = by_name(&[good.anchor(ROOT)]);
    let own = || (AttestationFormat::Packed, Attestation::SelfSigned);
    let part = |chain| (AttestationFormat::Packed, certified(chain));
    let key = |chain| (AttestationFormat::AndroidKey, certified(chain));

    let record = compound(vec![own(), part(&bad), key(&good)], &policy(RECORD), &ours).unwrap();
    assert_eq!((record.format, record.trust, record.path.len()), (AttestationFormat::AndroidKey, Trusted, 3));
    let record = compound(vec![own(), key(&bad), part(&bad)], &policy(RECORD), &ours).unwrap();
    assert_eq!((record.format, record.trust), (AttestationFormat::AndroidKey, Untrusted));
    assert_eq!(compound(vec![own(), own()], &policy(JUDGE), &ours).unwrap().trust, SelfAttestation);

    for demand in [JUDGE, REQUIRE] {
        assert!(is_failed(&compound(vec![key(&good), part(&bad)], &policy(demand), &ours)));
        assert_eq!(compound(vec![own(), part(&good)], &policy(demand), &ours).unwrap().trust, Trusted);
    }
    assert!(matches!(compound(vec![own(), own()], &policy(REQUIRE), &ours), Err(TrustError::Unproven(_))));
    assert!(is_not_judged(&compound(vec![own(), part(&good)], &policy(REQUIRE), &TrustStore::default())));
}

#[test]
fn of_a_compound_statement_each_part_must_be_acceptable() {
    let (good, named) = (Chain::new(), with_serial(false, vec![4, 1, 9]));
    let ours = by_name(&[good.anchor(ROOT), named.anchor(ROOT)]);
    let parts = || vec![(AttestationFormat::Packed, certified(&good)), (AttestationFormat::Packed, Attestation::SelfSigned)];
    let types = AttestationPolicy { types: vec![AttestationType::Basic], ..policy(RECORD) };
    assert_eq!(compound(parts(), &types, &ours), Err(TrustError::Type(AttestationType::SelfAttestation)));
    let with_number = || vec![(AttestationFormat::Packed, certified(&good)), (AttestationFormat::Packed, certified(&named))];
    let enterprise = |enterprise| AttestationPolicy { enterprise, ..policy(RECORD) };
    assert_eq!(compound(with_number(), &enterprise(EnterpriseDemand::Refuse), &ours), Err(TrustError::Enterprise));
    let record = compound(with_number(), &enterprise(EnterpriseDemand::Require), &ours).unwrap();
    assert_eq!(record.device_serial.as_deref(), Some("09"));
    // A trusted part does not vouch for the number in another: here no anchor is for the model, but for the U2F key.
    let by_key = MetadataEntry { aaguid: None, key_identifiers: vec![good.key_identifier(LEAF)], ..good.entry(&[INTERMEDIATE]) };
    let beside = vec![(AttestationFormat::FidoU2f, certified(&good)), (AttestationFormat::Packed, certified(&named))];
    assert_eq!(compound(beside, &enterprise(EnterpriseDemand::Require), &store(&[], &[by_key])), Err(TrustError::NotEnterprise));
    // A U2F part proves no AAGUID, be it trusted.
    let allow = AttestationPolicy { aaguids_allowed: vec![MODEL], ..policy(RECORD) };
    let u2f = || (AttestationFormat::FidoU2f, certified(&good));
    assert_eq!(compound(vec![u2f(), u2f()], &allow, &ours), Err(TrustError::ModelUnproven(MODEL)));
    assert!(compound(vec![u2f(), (AttestationFormat::Packed, certified(&good))], &allow, &ours).is_ok());
}

/// Any program on a device makes statements with its keystore, about whatever AAGUID it likes.
#[test]
fn keystores_prove_a_model_by_its_own_anchors() {
    use AttestationFormat as F;
    let (keystore, token) = (Chain::new(), Chain::new());
    let allow = AttestationPolicy { aaguids_allowed: vec![MODEL], ..policy(RECORD) };
    let verdict = |format, policy: &AttestationPolicy, store: &TrustStore| {
        compound(vec![(format, certified(&keystore)), (F::Packed, Attestation::SelfSigned)], policy, store)
            .map(|record| record.anchors.unwrap())
    };
    let of_another = store(&[keystore.anchor(ROOT)], &[token.entry(&[ROOT])]);
    let unproven = Err(TrustError::ModelUnproven(MODEL));
    for format in [F::Tpm, F::AndroidKey, F::AndroidSafetynet] {
        assert_eq!(verdict(format, &allow, &of_another), unproven, "{format}");
        // No better when the metadata is stale.
        let distrust = AttestationPolicy { stale_metadata: StaleMetadata::Distrust, ..allow.clone() };
        let now = Timestamp::from_millis((NEW_YEAR + 3 * 86_400) * 1000);
        let record = AttestationRecord { format, anchors: Some("ours".to_owned()), ..AttestationRecord::none() };
        let judge = Judge { aaguid: MODEL, key_algorithm: CoseAlgorithm::Es256, policy: &distrust, store: &of_another, now };
        assert!(judge.is_stale() && !judge.proves_model(&record), "{format}");
        // The model's own anchors, or a set where the metadata has none or is not used.
        assert_eq!(verdict(format, &allow, &both(&keystore, |entry| entry)).as_deref(), Ok("mds"), "{format}");
        assert_eq!(verdict(format, &allow, &store(&[keystore.anchor(ROOT)], &[entry()])).as_deref(), Ok("ours"), "{format}");
        assert_eq!(verdict(format, &allow, &by_name(&[keystore.anchor(ROOT)])).as_deref(), Ok("ours"), "{format}");
        let without = AttestationPolicy { anchors: vec!["ours".to_owned()], ..allow.clone() };
        assert_eq!(verdict(format, &without, &of_another).as_deref(), Ok("ours"), "{format}");
        // Where models are not selected, it is as good as any.
        assert_eq!(verdict(format, &policy(REQUIRE), &of_another).as_deref(), Ok("ours"), "{format}");
    }
    for format in [F::Packed, F::Apple] {
        assert_eq!(verdict(format, &allow, &of_another).as_deref(), Ok("ours"), "{format}");
    }
}

/// The algorithm of each part's own statement counts.
#[test]
fn parts_have_their_own_statements() {
    use crate::webauthn::cbor::Map;
    let statement = |alg: i64| Value::Map(Map::from_entries(vec![(Value::Text("alg"), alg.into())]));
    let part =
        |alg| Value::Map(Map::from_entries(vec![(Value::Text("fmt"), Value::Text("packed")), (Value::Text("attStmt"), statement(alg))]));
    let attestation = Attestation::Compound(vec![
        (AttestationFormat::Packed, Attestation::SelfSigned),
        (AttestationFormat::Tpm, Attestation::SelfSigned),
    ]);
    let statement = Value::Array(vec![part(-7), part(-257)]);
    let parts = parts(AttestationFormat::Compound, &attestation, &statement);
    let found: Vec<_> = parts.iter().map(|part| (part.format, part.algorithm)).collect();
    assert_eq!(found, [(AttestationFormat::Packed, Some(-7)), (AttestationFormat::Tpm, Some(-257))]);
}

#[test]
fn a_compound_registration_is_judged() {
    let chain = Chain::new();
    let maker = || device(Statement::Compound(vec![Statement::PackedSelf, chain.packed(X5C)]));
    let record = judged(&maker(), &policy(REQUIRE), &by_name(&[chain.anchor(ROOT)])).unwrap();
    assert_eq!((record.format, record.trust), (AttestationFormat::Packed, Trusted));
    let ed25519 = store(&[], &[MetadataEntry { algorithms: vec![-8], ..chain.entry(&[ROOT]) }]);
    assert!(matches!(judged(&maker(), &policy(JUDGE), &ed25519), Err(TrustError::Algorithm { algorithm: -7, .. })));
}
