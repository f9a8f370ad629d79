//! Which credentials a model of authenticator holds.

use passkey_hsm::domain::{Aaguid, CredentialOfModel, NewCredential, SystemRng, Tenant};

use crate::bench::{Bench, credential, evidence};

on_both_engines! {
    a_models_credentials_are_found_in_every_tenant,
    a_models_credentials_are_paged_across_tenants,
    u2f_credentials_come_with_what_was_kept,
}

fn of_model(tenant: &Tenant, n: &NewCredential) -> CredentialOfModel {
    CredentialOfModel {
        tenant_id: tenant.id,
        tenant_name: tenant.display_name.clone(),
        id: n.id.clone(),
        user_id: n.user_id.clone(),
        created_at: n.created_at,
        last_used_at: Some(n.created_at),
        attestation: n.attestation.clone(),
    }
}

async fn a_models_credentials_are_found_in_every_tenant(b: Bench) {
    let (wanted, other) = (Aaguid::random(&SystemRng), Aaguid::random(&SystemRng));
    let mut expected = Vec::new();
    for _ in 0..3 {
        let (tenant, key) = b.tenant().await;
        let n = NewCredential { aaguid: wanted, ..credential(tenant.id) };
        b.register(&key, &n).await;
        b.register(&key, &NewCredential { aaguid: other, ..credential(tenant.id) }).await;
        expected.push(of_model(&tenant, &n));
    }
    expected.sort_by_key(|found| found.tenant_id);
    assert_eq!(b.store.credentials_by_aaguid(wanted, None, 100).await.unwrap(), expected);
    assert_eq!(b.store.credentials_by_aaguid(other, None, 100).await.unwrap().len(), 3);
    assert!(b.store.credentials_by_aaguid(Aaguid::random(&SystemRng), None, 100).await.unwrap().is_empty());
}

async fn a_models_credentials_are_paged_across_tenants(b: Bench) {
    let mut expected = Vec::new();
    let mut aaguid = None;
    for _ in 0..3 {
        let (tenant, key) = b.tenant().await;
        for _ in 0..3 {
            let n = credential(tenant.id);
            aaguid = Some(n.aaguid);
            b.register(&key, &n).await;
            expected.push(of_model(&tenant, &n));
        }
    }
    expected.sort_by(|a, b| (a.tenant_id, &a.id).cmp(&(b.tenant_id, &b.id)));
    for limit in [1, 2, 3, 4, 9, 100] {
        let mut found = Vec::new();
        loop {
            let page = b.store.credentials_by_aaguid(aaguid.unwrap(), found.last(), limit).await.unwrap();
            assert!(page.len() <= limit as usize);
            if page.is_empty() {
                break;
            }
            found.extend(page);
        }
        assert_eq!(found, expected, "{limit}");
    }
}

async fn u2f_credentials_come_with_what_was_kept(b: Bench) {
    let mut expected = Vec::new();
    for _ in 0..2 {
        let (tenant, key) = b.tenant().await;
        for kept in [Some(evidence()), None] {
            let n = NewCredential { attestation_type: "fido-u2f".to_owned(), evidence: kept.clone(), ..credential(tenant.id) };
            b.register(&key, &n).await;
            expected.push((of_model(&tenant, &n), kept));
        }
        b.register(&key, &NewCredential { evidence: Some(evidence()), ..credential(tenant.id) }).await;
    }
    expected.sort_by(|(a, _), (b, _)| (a.tenant_id, &a.id).cmp(&(b.tenant_id, &b.id)));
    let mut found: Vec<(CredentialOfModel, _)> = Vec::new();
    loop {
        let page = b.store.u2f_credentials(found.last().map(|(last, _)| last), 3).await.unwrap();
        if page.is_empty() {
            break;
        }
        found.extend(page);
    }
    assert_eq!(found, expected);
}
