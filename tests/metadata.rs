//! A metadata BLOB that the FIDO Alliance signed: no. 31, of September 2023. It is not ours to ship: without it the tests say so, and pass.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, and says why")]

use std::{
    fs,
    io::{Write as _, stderr},
    path::{Path, PathBuf},
};

use passkey_hsm::{
    domain::{AttestationType, Timestamp},
    webauthn::{BlobError, MDS_ROOT_SHA256, MDS_SIGNER, SkipReason, TrustAnchor, forbidding, verify_blob},
};
use time::macros::datetime;

/// Names the BLOB.
const BLOB: &str = "METADATA_BLOB";

/// Where the public CAs' certificates are, by the name that OpenSSL has for it.
const CERTIFICATES: &str = "SSL_CERT_FILE";

/// The BLOB and its root, if they are at hand.
fn genuine() -> Option<(Vec<u8>, Vec<TrustAnchor>)> {
    let beside = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/mds/blob-no31.jwt"));
    let blob = read(BLOB, &std::env::var_os(BLOB).map_or_else(beside, PathBuf::from))?;
    let system = || PathBuf::from("/etc/ssl/certs/ca-certificates.crt");
    let bundle = read(CERTIFICATES, &std::env::var_os(CERTIFICATES).map_or_else(system, PathBuf::from))?;
    let mut roots = TrustAnchor::from_pem(&bundle).unwrap();
    roots.retain(|root| MDS_ROOT_SHA256.contains(&root.sha256().as_str()));
    if roots.is_empty() {
        let _ = writeln!(stderr(), "SKIPPED the genuine metadata BLOB: its root is not among the system's certificates.");
        return None;
    }
    Some((blob, roots))
}

fn read(name: &str, path: &Path) -> Option<Vec<u8>> {
    let read = fs::read(path);
    if let Err(error) = &read {
        // Straight to stderr: what a passing test prints is captured, and this is to be seen.
        let _ = writeln!(stderr(), "SKIPPED the genuine metadata BLOB: {}: {error}. Name the file in {name}.", path.display());
    }
    read.ok()
}

fn at(time: time::OffsetDateTime) -> Timestamp {
    Timestamp::from_millis(time.unix_timestamp() * 1000)
}

#[test]
fn verified_in_its_own_time() {
    let Some((blob, roots)) = genuine() else { return };
    let now = at(datetime!(2023-09-15 00:00 UTC));
    let (blob, verified) = verify_blob(&blob, &roots, &[], Some(MDS_SIGNER), now).unwrap();
    assert_eq!((blob.head.no, blob.head.next_update), (31, at(datetime!(2023-10-01 00:00 UTC))));
    assert!(verified.signer.ends_with("CN=mds.fidoalliance.org"), "{}", verified.signer);
    assert_eq!(verified.unchecked.len(), 2);
    assert_eq!((blob.entries.len(), verified.skipped.len()), (157, 17));
    assert!(verified.skipped.iter().all(|skipped| skipped.reason == SkipReason::Uaf));
    assert_eq!(blob.entries.iter().filter(|entry| entry.aaguid.is_some()).count(), 108);
    assert_eq!(blob.entries.iter().filter(|entry| !entry.key_identifiers.is_empty()).count(), 49);
    for entry in &blob.entries {
        let certified =
            entry.attestation_types.contains(&AttestationType::Basic) || entry.attestation_types.contains(&AttestationType::AttCa);
        assert!(!certified || !entry.anchors.is_empty(), "{}", entry.description);
        assert!(!entry.algorithms.is_empty() && !entry.attestation_types.is_empty(), "{}", entry.description);
        assert!(!entry.status_reports.is_empty() && forbidding(entry, None, "2023-09-15").is_none(), "{}", entry.description);
    }
    assert_eq!(verified.unreadable_anchors, 0);
}

#[test]
fn refused_when_its_certificates_have_expired() {
    let Some((blob, roots)) = genuine() else { return };
    for (now, culprit) in [
        (datetime!(2023-06-01 00:00 UTC), "CN=mds.fidoalliance.org"),
        (datetime!(2024-08-01 00:00 UTC), "CN=mds.fidoalliance.org"),
        (datetime!(2026-11-01 00:00 UTC), "CN=GlobalSign Extended Validation CA - SHA256 - G3"),
    ] {
        match verify_blob(&blob, &roots, &[], Some(MDS_SIGNER), at(now)).unwrap_err() {
            BlobError::NoPath { subject, reason } => assert!(subject.contains(culprit), "{now}: {subject}: {reason}"),
            other => panic!("{now}: {other}"),
        }
    }
}

#[test]
fn refused_when_changed_or_meant_for_others() {
    let Some((blob, roots)) = genuine() else { return };
    let now = at(datetime!(2023-09-15 00:00 UTC));
    let verify = |blob: &[u8], roots: &[TrustAnchor], name| verify_blob(blob, roots, &[], Some(name), now).unwrap_err();
    let mut changed = blob.clone();
    let middle = changed.len() / 2;
    changed[middle] = if changed[middle] == b'A' { b'B' } else { b'A' };
    assert_eq!(verify(&changed, &roots, MDS_SIGNER), BlobError::Signature);
    assert!(matches!(verify(&blob, &roots, "fidoalliance.org"), BlobError::Signer { .. }));
    assert!(matches!(verify(&blob, &[], MDS_SIGNER), BlobError::NoPath { .. }));
}
