//! Rows that this program did not write: named in an error, never a panic. And what errors must not say.

use std::fmt::Write;

use passkey_hsm::{
    domain::{AuditEvent, AuditEventType, AuditFilter, NewCredential, Page},
    storage::{AuthenticationCommit, Error, MetadataUpdate, Store},
};

use crate::bench::{Bench, api_key, assert_same, at, blob, confirmation, credential, event, evidence};

on_both_engines! {
    a_tenant_that_does_not_parse_is_named,
    a_signing_key_that_does_not_parse_is_named,
    a_ceremony_that_does_not_parse_is_named_without_its_challenge,
    a_credential_that_does_not_parse_is_named,
    a_record_that_does_not_parse_is_named,
    an_event_that_does_not_parse_is_named,
    an_event_of_a_newer_server_is_listed,
    a_transaction_that_does_not_parse_is_named,
    a_confirmation_and_its_evidence_belong_together,
    metadata_that_does_not_parse_is_named,
    an_anchor_that_is_not_what_it_was_is_named,
    a_revision_that_is_missing_is_named,
}

#[track_caller]
fn assert_corrupt<T>(result: Result<T, Error>, words: &[&str]) {
    let Err(Error::Corrupt(text)) = result else { panic!("{:?}", result.err()) };
    for word in words {
        assert!(text.contains(word), "{word}: {text}");
    }
}

/// Runs one statement on both engines, on PostgreSQL without the constraint that forbids it.
async fn spoil(b: &Bench, table: &str, constraint: Option<&str>, set: &str) {
    let drop = constraint.map(|name| format!("ALTER TABLE {table} DROP CONSTRAINT {name};")).unwrap_or_default();
    b.sql(&format!("{drop} UPDATE {table} SET {set}"), &format!("UPDATE {table} SET {set}")).await;
}

async fn a_tenant_that_does_not_parse_is_named(b: Bench) {
    let (tenant, _) = b.tenant().await;
    for set in ["config = '{}'", "config = 'not JSON'"] {
        spoil(&b, "tenants", None, set).await;
        assert_corrupt(b.store.tenant(tenant.id).await, &["tenants", &tenant.id.to_string()]);
        assert_corrupt(b.store.tenants().await, &["tenants"]);
    }
    let config = serde_json::to_string(&tenant.config).unwrap();
    spoil(&b, "tenants", None, &format!("config = '{config}', settings = '[1]'")).await;
    assert_corrupt(b.store.tenant(tenant.id).await, &["tenants", &tenant.id.to_string()]);
}

async fn a_signing_key_that_does_not_parse_is_named(b: Bench) {
    let (tenant, key) = b.tenant().await;
    spoil(&b, "signing_keys", None, "rsa_bits = -1").await;
    assert_corrupt(b.store.active_signing_key(tenant.id).await, &["signing_keys", &key.id.to_string()]);
    spoil(&b, "signing_keys", Some("signing_keys_check1"), "rsa_bits = 2048, evidence_signature = NULL").await;
    assert_corrupt(b.store.published_signing_keys(tenant.id).await, &["signing_keys", &key.id.to_string(), "evidence"]);
    spoil(&b, "signing_keys", Some("signing_keys_algorithm_check"), "algorithm = 'RS1', evidence_record = NULL, rsa_bits = NULL").await;
    assert_corrupt(b.store.signing_keys().await, &["signing_keys", &key.id.to_string(), "RS1"]);
}

async fn a_ceremony_that_does_not_parse_is_named_without_its_challenge(b: Bench) {
    let (tenant, _) = b.tenant().await;
    let c = b.ceremony(tenant.id).await;
    spoil(&b, "ceremonies", Some("ceremonies_user_verification_check"), "user_verification = 'maybe'").await;
    let result = b.store.ceremony(tenant.id, c.operation, &c.challenge).await;
    let mut hex = String::new();
    for byte in c.challenge.as_bytes() {
        write!(hex, "{byte:02x}").unwrap();
    }
    assert!(!format!("{result:?}").contains(&hex));
    assert_corrupt(result, &["ceremonies", &tenant.id.to_string(), "maybe"]);
}

async fn a_credential_that_does_not_parse_is_named(b: Bench) {
    let (tenant, key) = b.tenant().await;
    let n = NewCredential { evidence: Some(evidence()), ..credential(tenant.id) };
    b.register(&key, &n).await;
    let ann = "ann".parse().unwrap();
    for (constraint, set) in [
        (None, "transports = '{}'"),
        (Some("credentials_sign_count_check"), "transports = '[]', sign_count = -1"),
        (None, "sign_count = 4294967296"),
        (Some("credentials_attestation_trust_check"), "sign_count = 0, attestation_trust = 'somewhat'"),
    ] {
        spoil(&b, "credentials", constraint, set).await;
        assert_corrupt(b.store.registration_evidence(tenant.id, None, 9).await, &["credentials", &n.id.to_string()]);
        assert_corrupt(b.store.credential(tenant.id, &n.id).await, &["credentials", &n.id.to_string()]);
        assert_corrupt(b.store.user_credentials(tenant.id, &ann, false).await, &["credentials", &n.id.to_string()]);
    }
}

async fn a_record_that_does_not_parse_is_named(b: Bench) {
    let (tenant, key) = b.tenant().await;
    let n = credential(tenant.id);
    b.register(&key, &n).await;
    let id = n.id.to_string();
    for (set, why) in [
        ("attestation_record = ''", "EOF"),
        ("attestation_record = '[]'", "invalid"),
        (r#"attestation_record = '{"format": "packed", "type": "self"}'"#, "missing field"),
        (r#"attestation_record = '{"format": "wax-seal", "type": "self", "trust": "self"}'"#, "wax-seal is not one of"),
        // The two must agree: by one it is found, by the other it is judged.
        (r#"attestation_record = '{"format": "packed", "type": "basic", "trust": "trusted"}'"#, "attestation_trust is self"),
    ] {
        spoil(&b, "credentials", None, &format!("{set}, attestation_type = 'fido-u2f'")).await;
        assert_corrupt(b.store.credential(tenant.id, &n.id).await, &["credentials", &id, why]);
        assert_corrupt(b.store.credentials_by_aaguid(n.aaguid, None, 9).await, &["credentials", &id, why]);
        assert_corrupt(b.store.u2f_credentials(None, 9).await, &["credentials", &id, why]);
    }
}

async fn an_event_that_does_not_parse_is_named(b: Bench) {
    let (tenant, _) = b.tenant().await;
    let e = event(tenant.id);
    b.store.append_audit(&e).await.unwrap();
    spoil(&b, "audit_events", None, "actor_user_id = ''").await;
    assert_corrupt(b.store.audit_event(tenant.id, e.id).await, &["audit_events", &e.id.to_string()]);
    assert_corrupt(b.store.audit_events(tenant.id, 9).await, &["audit_events", &e.id.to_string()]);
}

/// A newer server may run beside this one.
async fn an_event_of_a_newer_server_is_listed(b: Bench) {
    let (tenant, _) = b.tenant().await;
    let e = event(tenant.id);
    b.store.append_audit(&e).await.unwrap();
    let long = "x".repeat(2000);
    for (set, error) in [
        ("event_type = 'party', error = NULL", "party"),
        ("event_type = 'party', error = 'too loud'", "party: too loud"),
        (&format!("event_type = '{long}'"), &long[..1000]),
    ] {
        spoil(&b, "audit_events", None, set).await;
        let expected = AuditEvent { event_type: AuditEventType::Unrecognized, error: Some(error.to_owned()), ..e.clone() };
        assert_same(&b.store.audit_event(tenant.id, e.id).await.unwrap().unwrap(), &expected);
        assert_same(&b.store.audit_events(tenant.id, 9).await.unwrap(), &[&expected]);
        let (page, total) = b.store.audit_log(tenant.id, &AuditFilter::default(), Page::new(1, 9)).await.unwrap();
        assert_same(&page, &[&expected]);
        assert_eq!(total, 1);
    }
}

async fn a_transaction_that_does_not_parse_is_named(b: Bench) {
    let (tenant, key, n) = b.in_use().await;
    let (t, confirmed) = (b.begun(tenant.id).await, b.begun(tenant.id).await);
    let committed = b.store.commit_authentication(&confirmation(&key, &n, 8, &confirmed)).await.unwrap();
    assert_eq!(committed, AuthenticationCommit::Committed);
    let good = format!("data = '{}', identifier = 't', user_verification = 'required'", t.data.as_str());
    for (constraint, set, why) in [
        (None, "data = '{'", "JSON"),
        (None, "data = 'null'", "null"),
        // It reads the same, but no challenge has the hash of it.
        (None, "data = '{ }'", "hashed"),
        (Some("transactions_identifier_check"), "identifier = ''", "empty"),
        (Some("transactions_user_verification_check"), "user_verification = 'maybe'", "maybe"),
    ] {
        for t in [&t, &confirmed] {
            let (id, row) = (t.row.as_uuid(), t.row.to_string());
            let (postgres, sqlite) = (format!("'{id}'"), format!("x'{}'", id.simple()));
            let drop = constraint.map(|name| format!("ALTER TABLE transactions DROP CONSTRAINT IF EXISTS {name};")).unwrap_or_default();
            let update = |set: &str, row: &str| format!("UPDATE transactions SET {set} WHERE id = {row}");
            b.sql(&format!("{drop} {}", update(set, &postgres)), &update(set, &sqlite)).await;
            let result = b.store.transaction(tenant.id, &t.challenge).await;
            assert_corrupt(result, &["transactions", &row, why]);
            assert_corrupt(b.store.user_transactions(tenant.id, &t.user_id, 9, u32::MAX).await, &["transactions", &row, why]);
            b.sql(
                &update(&good, &postgres).replace("'t'", &format!("'{row}'")),
                &update(&good, &sqlite).replace("'t'", &format!("'{row}'")),
            )
            .await;
        }
        assert_eq!(b.store.user_transactions(tenant.id, &t.user_id, 9, u32::MAX).await.unwrap().len(), 2);
    }
    spoil(&b, "transaction_evidence", Some("transaction_evidence_sign_count_check"), "sign_count = -1").await;
    assert_corrupt(b.store.transaction_evidence(tenant.id, None, 9).await, &["transaction_evidence", &confirmed.row.to_string()]);
    spoil(&b, "transaction_evidence", Some("transaction_evidence_credential_id_check"), "credential_id = substr(credential_id, 1, 0)")
        .await;
    assert_corrupt(b.store.transaction_evidence(tenant.id, None, 9).await, &["transaction_evidence", &confirmed.row.to_string()]);
    assert_corrupt(b.store.transaction(tenant.id, &confirmed.challenge).await, &["transactions", &confirmed.row.to_string()]);
}

/// A confirmation without evidence, and evidence of what nobody confirmed.
async fn a_confirmation_and_its_evidence_belong_together(b: Bench) {
    let (tenant, key, n) = b.in_use().await;
    let t = b.begun(tenant.id).await;
    let committed = b.store.commit_authentication(&confirmation(&key, &n, 8, &t)).await.unwrap();
    assert_eq!(committed, AuthenticationCommit::Committed);
    for state in ["pending", "refused"] {
        spoil(&b, "transactions", None, &format!("state = '{state}'")).await;
        assert_corrupt(b.store.transaction(tenant.id, &t.challenge).await, &["transactions", &t.row.to_string(), "evidence"]);
        assert_corrupt(b.store.transaction_evidence(tenant.id, None, 9).await, &["transactions", &t.row.to_string(), "evidence"]);
    }
    spoil(&b, "transactions", None, "state = 'confirmed'").await;
    b.sql("DELETE FROM transaction_evidence", "DELETE FROM transaction_evidence").await;
    assert_corrupt(b.store.transaction(tenant.id, &t.challenge).await, &["transactions", &t.row.to_string(), "evidence"]);
}

async fn metadata_that_does_not_parse_is_named(b: Bench) {
    b.store.replace_metadata(&blob(7, 3)).await.unwrap();
    for (entry, why) in
        [("'{}'", "missing field"), ("'x'", "expected value"), ("(SELECT entry FROM metadata_entries WHERE position = 0)", "AAGUID")]
    {
        spoil(&b, "metadata_entries", None, &format!("entry = {entry} WHERE position = 1")).await;
        assert_corrupt(b.store.metadata().await, &["metadata_entries 1:", why]);
    }
    // The BLOB itself mends it, an older one does not; once it is mended the number counts again.
    let mended = blob(7, 2);
    assert_eq!(b.store.replace_metadata(&blob(6, 3)).await.unwrap(), MetadataUpdate::NotNewer { stored_no: 7 });
    assert_corrupt(b.store.metadata().await, &["metadata_entries 1:"]);
    assert_eq!(b.store.replace_metadata(&mended).await.unwrap(), MetadataUpdate::Stored);
    assert_same(&b.store.metadata().await.unwrap().unwrap().1, &mended.entries);
    assert_eq!(b.store.replace_metadata(&mended).await.unwrap(), MetadataUpdate::NotNewer { stored_no: 7 });
    spoil(&b, "metadata_blob", Some("metadata_blob_no_check"), "no = -1").await;
    assert_corrupt(b.store.metadata().await, &["metadata_blob -1"]);
}

async fn an_anchor_that_is_not_what_it_was_is_named(b: Bench) {
    b.store.replace_anchor_set(&"ours".parse().unwrap(), &[vec![1], vec![2]], at(0)).await.unwrap();
    for (constraint, postgres, sqlite) in [
        (None, r"der = '\x03' WHERE der = '\x01'", "der = x'03' WHERE der = x'01'"),
        (Some("trust_anchors_set_name_check"), "set_name = 'Ours'", "set_name = 'Ours'"),
    ] {
        let drop = constraint.map(|name| format!("ALTER TABLE trust_anchors DROP CONSTRAINT {name};")).unwrap_or_default();
        b.sql(&format!("{drop} UPDATE trust_anchors SET {postgres}"), &format!("UPDATE trust_anchors SET {sqlite}")).await;
        assert_corrupt(b.store.anchor_sets().await, &["trust_anchors"]);
    }
}

async fn a_revision_that_is_missing_is_named(b: Bench) {
    b.sql("DELETE FROM trust_revision", "DELETE FROM trust_revision").await;
    assert_corrupt(b.store.trust_revision().await, &["trust_revision", "missing"]);
    assert_corrupt(b.store.replace_metadata(&blob(1, 1)).await, &["trust_revision", "missing"]);
    assert!(b.store.metadata().await.unwrap().is_none());
}

/// Only SQLite can be made to hold one.
#[tokio::test]
async fn a_uuid_of_the_wrong_length_is_an_error() {
    let b = Bench::sqlite().await;
    let (tenant, _) = b.tenant().await;
    let (record, hash) = api_key(tenant.id, "k");
    b.store.add_api_key(&record, &hash, &event(tenant.id)).await.unwrap();
    b.sql("", "UPDATE api_keys SET id = x'00'").await;
    assert_corrupt(b.store.api_keys(tenant.id).await, &["id"]);
}

#[tokio::test]
async fn an_address_is_never_repeated() {
    // A port where nobody listens; a text that is no address; an engine that there is not; a database in memory.
    for url in ["postgres://ann:hunter2@127.0.0.1:1/db", "postgres://ann:hunter2@[", "mysql://ann:hunter2@localhost/db", "sqlite::memory:"]
    {
        let error = Store::open(url, 1).await.unwrap_err();
        let printed = format!("{error} {error:?} {:?}", std::error::Error::source(&error));
        assert!(!printed.contains("hunter2"), "{printed}");
        assert_eq!(matches!(error, Error::Unavailable(_)), url.contains(":1/"), "{error}");
    }
    let error = Store::open("sqlite:/no/such/directory/x.db", 1).await.unwrap_err();
    assert!(error.to_string().contains("/no/such/directory/x.db"), "{error}");
}
