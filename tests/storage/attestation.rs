//! What is kept of a credential's attestation: the finding, and the evidence.

use std::collections::BTreeMap;

use passkey_hsm::{
    domain::{
        AttestationFormat, AttestationRecord, AttestationTrust, AttestationType, CredentialId, NewCredential, PathCertificate,
        RegistrationEvidence,
    },
    storage::{Error, RegistrationCommit},
};

use crate::bench::{Bench, assert_same, credential, event, evidence};

on_both_engines! {
    every_field_of_a_record_is_kept,
    the_column_for_queries_says_what_the_record_says,
    a_record_that_was_never_written_is_that_of_the_older_columns,
    evidence_is_kept_with_its_credential,
    what_is_not_to_be_kept_is_not,
    evidence_is_kept_by_whoever_commits_alone,
    evidence_that_cannot_be_stored_commits_nothing,
    evidence_goes_with_its_credential,
    evidence_is_paged_by_id,
}

async fn every_field_of_a_record_is_kept(b: Bench) {
    let (tenant, key) = b.tenant().await;
    let path = ["CN=Schlüssel \0, O=\"Ours\"", "CN=Root"];
    let full = AttestationRecord {
        format: AttestationFormat::Tpm,
        attestation_type: AttestationType::AttCa,
        trust: AttestationTrust::Trusted,
        path: path.map(|subject| PathCertificate { subject: subject.to_owned(), sha256: "00".repeat(32) }).to_vec(),
        anchors: Some("mds".to_owned()),
        reason: Some("of \0 no use".to_owned()),
        device_serial: Some("0401".to_owned()),
    };
    for attestation in [full, AttestationRecord::none()] {
        let n = NewCredential { attestation, ..credential(tenant.id) };
        b.register(&key, &n).await;
        assert_same(&b.store.credential(tenant.id, &n.id).await.unwrap().unwrap().data, &n);
    }
}

async fn the_column_for_queries_says_what_the_record_says(b: Bench) {
    let (tenant, key) = b.tenant().await;
    for trust in AttestationTrust::ALL {
        let n = NewCredential { attestation: AttestationRecord { trust: *trust, ..AttestationRecord::none() }, ..credential(tenant.id) };
        b.register(&key, &n).await;
        assert_eq!(b.count(&format!("credentials WHERE attestation_trust = '{trust}'")).await, 1);
        assert_eq!(b.store.credential(tenant.id, &n.id).await.unwrap().unwrap().data.attestation.trust, *trust);
    }
}

/// A server of the version before stored it while this version was already in use.
async fn a_record_that_was_never_written_is_that_of_the_older_columns(b: Bench) {
    let (tenant, key) = b.tenant().await;
    let n = credential(tenant.id);
    b.register(&key, &n).await;
    for (format, trust, expected) in [
        ("none", "none", (AttestationFormat::None, AttestationType::None, AttestationTrust::None)),
        ("packed", "self", (AttestationFormat::Packed, AttestationType::SelfAttestation, AttestationTrust::SelfAttestation)),
        ("fido-u2f", "untrusted", (AttestationFormat::FidoU2f, AttestationType::Basic, AttestationTrust::Untrusted)),
        ("packed", "trusted", (AttestationFormat::Packed, AttestationType::Basic, AttestationTrust::Trusted)),
        ("wax-seal", "untrusted", (AttestationFormat::None, AttestationType::Basic, AttestationTrust::Untrusted)),
    ] {
        let set = format!("attestation_record = DEFAULT, attestation_type = '{format}', attestation_trust = '{trust}'");
        // SQLite has no DEFAULT here.
        let update = |set: &str| format!("UPDATE credentials SET {set}");
        b.sql(&update(&set), &update(&set.replace("DEFAULT", "'{}'"))).await;
        let found = b.store.credential(tenant.id, &n.id).await.unwrap().unwrap().data.attestation;
        let (format, attestation_type, trust) = expected;
        assert_eq!(found, AttestationRecord { format, attestation_type, trust, ..AttestationRecord::none() });
    }
}

async fn evidence_is_kept_with_its_credential(b: Bench) {
    let ((tenant, key), (other, _)) = (b.tenant().await, b.tenant().await);
    let large = RegistrationEvidence {
        rp_id: "xn--bcher-kva.example".to_owned(),
        client_data_json: (0..=255).cycle().take(60_000).collect(),
        attestation_object: vec![0; 60_000],
    };
    for kept in [evidence(), large] {
        let n = NewCredential { evidence: Some(kept.clone()), ..credential(tenant.id) };
        b.register(&key, &n).await;
        assert_eq!(b.store.credential_evidence(tenant.id, &n.id).await.unwrap(), Some(kept));
        assert_eq!(b.store.credential_evidence(other.id, &n.id).await.unwrap(), None);
        let stored = b.store.credential(tenant.id, &n.id).await.unwrap().unwrap().data;
        assert!(stored.evidence.is_none(), "it is not read with the credential");
    }
}

async fn what_is_not_to_be_kept_is_not(b: Bench) {
    let (tenant, key) = b.tenant().await;
    let n = credential(tenant.id);
    b.register(&key, &n).await;
    assert_eq!(b.count("credential_evidence").await, 0);
    assert_eq!(b.store.credential_evidence(tenant.id, &n.id).await.unwrap(), None);
    assert!(b.store.registration_evidence(tenant.id, None, 9).await.unwrap().is_empty());
}

async fn evidence_is_kept_by_whoever_commits_alone(b: Bench) {
    let ((tenant, key), (_, others)) = (b.tenant().await, b.tenant().await);
    let first = NewCredential { evidence: Some(evidence()), ..credential(tenant.id) };
    b.register(&key, &first).await;
    let open = b.ceremony(tenant.id).await;
    let gone = crate::bench::ceremony(tenant.id, "ann");
    let late = RegistrationEvidence { rp_id: "late.example".to_owned(), ..evidence() };
    let (again, fresh) =
        (NewCredential { evidence: Some(late.clone()), ..first.clone() }, NewCredential { evidence: Some(late), ..credential(tenant.id) });
    for (c, n, key, outcome) in [
        (&open, &again, key.id, RegistrationCommit::CredentialExists),
        (&open, &fresh, others.id, RegistrationCommit::KeyNotActive),
        (&gone, &fresh, key.id, RegistrationCommit::CeremonyGone),
    ] {
        assert_eq!(b.store.commit_registration(c, n, key, &event(tenant.id)).await.unwrap(), outcome);
    }
    assert_eq!(b.count("credential_evidence").await, 1);
    assert_eq!(b.store.credential_evidence(tenant.id, &first.id).await.unwrap(), Some(evidence()));
}

async fn evidence_that_cannot_be_stored_commits_nothing(b: Bench) {
    let (tenant, key) = b.tenant().await;
    let c = b.ceremony(tenant.id).await;
    let empty = RegistrationEvidence { attestation_object: Vec::new(), ..evidence() };
    let (n, e) = (NewCredential { evidence: Some(empty), ..credential(tenant.id) }, event(tenant.id));
    let failed = b.store.commit_registration(&c, &n, key.id, &e).await;
    assert!(matches!(failed, Err(Error::Database(_))), "{failed:?}");
    assert!(b.store.credential(tenant.id, &n.id).await.unwrap().is_none());
    assert!(b.store.audit_event(tenant.id, e.id).await.unwrap().is_none());
    assert!(b.is_open(&c).await);
}

async fn evidence_goes_with_its_credential(b: Bench) {
    let (tenant, key) = b.tenant().await;
    for _ in 0..2 {
        b.register(&key, &NewCredential { evidence: Some(evidence()), ..credential(tenant.id) }).await;
    }
    let delete = "DELETE FROM credentials WHERE id IN (SELECT id FROM credentials LIMIT 1)";
    b.sql(delete, &format!("PRAGMA foreign_keys = ON; {delete}")).await;
    assert_eq!((b.count("credentials").await, b.count("credential_evidence").await), (1, 1));
}

async fn evidence_is_paged_by_id(b: Bench) {
    let ((tenant, key), (other, others_key)) = (b.tenant().await, b.tenant().await);
    let mut expected = BTreeMap::new();
    for (at, id) in [&[0_u8][..], &[0, 0], &[0x7f, 0xff], &[0x80], &[0xff; 1023]].into_iter().enumerate() {
        let id = CredentialId::try_from(id).unwrap();
        let kept = RegistrationEvidence { rp_id: format!("{at}.example"), ..evidence() };
        let n = NewCredential { id: id.clone(), evidence: Some(kept), ..credential(tenant.id) };
        b.register(&key, &n).await;
        expected.insert(id, n);
        // Neither what has no evidence nor another tenant's is in the way.
        b.register(&key, &credential(tenant.id)).await;
        b.register(&others_key, &NewCredential { evidence: Some(evidence()), ..credential(other.id) }).await;
    }
    for limit in [1, 2, 5, 100] {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = b.store.registration_evidence(tenant.id, after.as_ref(), limit).await.unwrap();
            assert!(page.len() <= limit as usize);
            let Some((last, _)) = page.last() else { break };
            after = Some(last.data.id.clone());
            found.extend(page);
        }
        assert_eq!(found.len(), expected.len());
        for ((stored, kept), n) in found.into_iter().zip(expected.values()) {
            assert_eq!(Some(kept), n.evidence);
            assert_same(&stored.data, &NewCredential { evidence: None, ..n.clone() });
            assert_eq!(stored.last_used_at, Some(n.created_at));
        }
    }
}
