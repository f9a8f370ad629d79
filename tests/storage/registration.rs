//! The commit of a registration: every outcome, and that only one of them writes.

use passkey_hsm::{
    domain::{AuditEvent, BackupFlags, CredentialId, KeyId, NewCredential, Operation, SigningKey, SystemRng, Tenant},
    storage::{Error, RegistrationCommit},
};

use crate::bench::{Bench, assert_same, at, credential, event};

on_both_engines! {
    a_registration_is_committed_whole,
    every_field_of_a_credential_is_kept,
    a_ceremony_that_is_gone_commits_nothing,
    a_ceremony_of_another_operation_or_tenant_commits_nothing,
    a_key_that_is_not_active_commits_nothing,
    a_credential_that_exists_commits_nothing,
    a_credential_id_is_unique_within_its_tenant_only,
    what_fails_half_way_commits_nothing,
    a_users_credentials_are_listed_by_kind,
}

/// That the ceremony still stands and neither credential nor event was stored.
async fn assert_untouched(b: &Bench, tenant: &Tenant, n: &NewCredential, e: &AuditEvent) {
    assert!(b.store.credential(tenant.id, &n.id).await.unwrap().is_none());
    assert!(b.store.audit_event(tenant.id, e.id).await.unwrap().is_none());
}

async fn a_registration_is_committed_whole(b: Bench) {
    let (tenant, key) = b.tenant().await;
    let (c, n, e) = (b.ceremony(tenant.id).await, credential(tenant.id), event(tenant.id));
    assert_eq!(b.store.commit_registration(&c, &n, key.id, &e).await.unwrap(), RegistrationCommit::Committed);
    assert!(!b.is_open(&c).await);
    let stored = b.store.credential(tenant.id, &n.id).await.unwrap().unwrap();
    assert_same(&stored.data, &n);
    assert_eq!(stored.last_used_at, Some(n.created_at));
    assert_same(&b.store.audit_event(tenant.id, e.id).await.unwrap().unwrap(), &e);
}

async fn every_field_of_a_credential_is_kept(b: Bench) {
    let (tenant, key) = b.tenant().await;
    let longest = CredentialId::try_from([0xff; 1023].as_slice()).unwrap();
    let shortest = CredentialId::try_from([0].as_slice()).unwrap();
    let other = NewCredential {
        id: longest,
        name: Some("Schlüssel".to_owned()),
        sign_count: 0,
        transports: Vec::new(),
        backup: BackupFlags { eligible: true, state: true },
        user_verified: false,
        is_mfa: true,
        ..credential(tenant.id)
    };
    let bare = NewCredential { id: shortest, backup: BackupFlags { eligible: false, state: false }, ..credential(tenant.id) };
    for n in [other, bare] {
        let full = AuditEvent { error: Some("e".to_owned()), transaction_id: Some("t".to_owned()), ..event(tenant.id) };
        let c = b.ceremony(tenant.id).await;
        assert_eq!(b.store.commit_registration(&c, &n, key.id, &full).await.unwrap(), RegistrationCommit::Committed);
        assert_same(&b.store.credential(tenant.id, &n.id).await.unwrap().unwrap().data, &n);
        assert_same(&b.store.audit_event(tenant.id, full.id).await.unwrap().unwrap(), &full);
    }
}

async fn a_ceremony_that_is_gone_commits_nothing(b: Bench) {
    let (tenant, key) = b.tenant().await;
    let (c, n) = (b.ceremony(tenant.id).await, credential(tenant.id));
    b.store.refuse_ceremony(&c, &event(tenant.id)).await.unwrap();
    let e = event(tenant.id);
    assert_eq!(b.store.commit_registration(&c, &n, key.id, &e).await.unwrap(), RegistrationCommit::CeremonyGone);
    assert_untouched(&b, &tenant, &n, &e).await;
}

async fn a_ceremony_of_another_operation_or_tenant_commits_nothing(b: Bench) {
    let ((tenant, key), (other, _)) = (b.tenant().await, b.tenant().await);
    let c = b.ceremony(tenant.id).await;
    let (mut mfa, mut foreign) = (c.clone(), c.clone());
    mfa.operation = Operation::MfaRegistration;
    foreign.tenant_id = other.id;
    for wrong in [mfa, foreign] {
        let (n, e) = (credential(tenant.id), event(tenant.id));
        assert_eq!(b.store.commit_registration(&wrong, &n, key.id, &e).await.unwrap(), RegistrationCommit::CeremonyGone);
        assert_untouched(&b, &tenant, &n, &e).await;
    }
    assert!(b.is_open(&c).await);
}

async fn a_key_that_is_not_active_commits_nothing(b: Bench) {
    let ((tenant, key), (_, others)) = (b.tenant().await, b.tenant().await);
    let (c, n, e) = (b.ceremony(tenant.id).await, credential(tenant.id), event(tenant.id));
    for wrong in [others.id, KeyId::random(&SystemRng)] {
        assert_eq!(b.store.commit_registration(&c, &n, wrong, &e).await.unwrap(), RegistrationCommit::KeyNotActive);
    }
    deactivate(&b, &key).await;
    assert_eq!(b.store.commit_registration(&c, &n, key.id, &e).await.unwrap(), RegistrationCommit::KeyNotActive);
    assert_untouched(&b, &tenant, &n, &e).await;
    assert!(b.is_open(&c).await, "it can be signed again with the active key");
}

async fn deactivate(b: &Bench, key: &SigningKey) {
    let id = key.id.as_uuid().simple();
    b.sql(
        &format!("UPDATE signing_keys SET state = 'retiring' WHERE id = '{id}'"),
        &format!("UPDATE signing_keys SET state = 'retiring' WHERE id = x'{id}'"),
    )
    .await;
}

async fn a_credential_that_exists_commits_nothing(b: Bench) {
    let (tenant, key) = b.tenant().await;
    let (first, second) = (b.ceremony(tenant.id).await, b.ceremony(tenant.id).await);
    let n = credential(tenant.id);
    assert_eq!(b.store.commit_registration(&first, &n, key.id, &event(tenant.id)).await.unwrap(), RegistrationCommit::Committed);
    let (again, e) = (NewCredential { public_key: vec![1], ..n.clone() }, event(tenant.id));
    assert_eq!(b.store.commit_registration(&second, &again, key.id, &e).await.unwrap(), RegistrationCommit::CredentialExists);
    assert!(b.is_open(&second).await);
    assert!(b.store.audit_event(tenant.id, e.id).await.unwrap().is_none());
    assert_same(&b.store.credential(tenant.id, &n.id).await.unwrap().unwrap().data, &n);
}

async fn a_credential_id_is_unique_within_its_tenant_only(b: Bench) {
    let n = credential(crate::bench::tenant().id);
    for _ in 0..2 {
        let (tenant, key) = b.tenant().await;
        let c = b.ceremony(tenant.id).await;
        let same = NewCredential { tenant_id: tenant.id, ..n.clone() };
        assert_eq!(b.store.commit_registration(&c, &same, key.id, &event(tenant.id)).await.unwrap(), RegistrationCommit::Committed);
    }
    assert_eq!(b.count("credentials").await, 2);
}

async fn what_fails_half_way_commits_nothing(b: Bench) {
    let (tenant, key) = b.tenant().await;
    let (c, e) = (b.ceremony(tenant.id).await, event(tenant.id));
    b.store.append_audit(&e).await.unwrap();
    let n = credential(tenant.id);
    let failed = b.store.commit_registration(&c, &n, key.id, &e).await;
    assert!(matches!(failed, Err(Error::Conflict)), "{failed:?}");
    // A user that was never written: the foreign key says no.
    let nobodys = NewCredential { user_id: "nobody".parse().unwrap(), ..n.clone() };
    let failed = b.store.commit_registration(&c, &nobodys, key.id, &event(tenant.id)).await;
    assert!(matches!(failed, Err(Error::Database(_))), "{failed:?}");
    assert!(b.store.credential(tenant.id, &n.id).await.unwrap().is_none());
    assert!(b.is_open(&c).await);
    assert_eq!(b.store.commit_registration(&c, &n, key.id, &event(tenant.id)).await.unwrap(), RegistrationCommit::Committed);
}

async fn a_users_credentials_are_listed_by_kind(b: Bench) {
    let (tenant, key) = b.tenant().await;
    let mut expected = Vec::new();
    for (age, is_mfa) in [(3, false), (1, false), (2, true)] {
        let n = NewCredential { created_at: at(age), is_mfa, ..credential(tenant.id) };
        let c = b.ceremony(tenant.id).await;
        b.store.commit_registration(&c, &n, key.id, &event(tenant.id)).await.unwrap();
        expected.push(n.id);
    }
    let ann = "ann".parse().unwrap();
    let ids = |list: Vec<passkey_hsm::domain::Credential>| list.into_iter().map(|c| c.data.id).collect::<Vec<_>>();
    assert_eq!(ids(b.store.user_credentials(tenant.id, &ann, false).await.unwrap()), [expected[1].clone(), expected[0].clone()]);
    assert_eq!(ids(b.store.user_credentials(tenant.id, &ann, true).await.unwrap()), [expected[2].clone()]);
    assert!(b.store.user_credentials(tenant.id, &"bob".parse().unwrap(), false).await.unwrap().is_empty());
    assert!(b.store.user_credentials(crate::bench::tenant().id, &ann, false).await.unwrap().is_empty());
}
