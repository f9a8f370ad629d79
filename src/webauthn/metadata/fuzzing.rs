//! Metadata, for the fuzz targets of these names.

use serde_json::Value as Json;

use super::{Crl, entries, verify_blob};
use crate::{
    domain::{MetadataEntry, Timestamp},
    webauthn::{TrustAnchor, jws::Jws},
};

/// The instant at which certificates are judged: 2026-01-02T00:00:00Z.
const NOW: Timestamp = Timestamp::from_millis(1_767_312_000_000);

/// A BLOB, trusted whoever it claims signed it: its signature is still nobody's.
pub fn metadata_blob(input: &[u8]) {
    let Ok(jws) = Jws::parse(input, 1 << 16) else { return };
    let roots: Vec<_> = jws.certificates.iter().filter_map(|der| TrustAnchor::from_der(der).ok()).collect();
    let verify = || verify_blob(input, &roots, &[], None, NOW).map_err(|error| error.to_string());
    let Err(error) = verify() else { panic!("nobody has signed this") };
    assert!(error.len() <= 4096, "an error of {} bytes", error.len());
    assert_eq!(verify(), Err(error), "the same input is refused alike");
}

/// A payload, as if its signature were good: each entry is used or accounted for, and is stored so that it is read back.
pub fn metadata_payload(input: &[u8]) {
    let (blob, found) = match entries::read(input, NOW) {
        Ok(read) => read,
        Err(error) => {
            assert!(error.to_string().len() <= 4096);
            return;
        }
    };
    let all = serde_json::from_slice::<Json>(input).ok().and_then(|payload| payload.get("entries")?.as_array().map(Vec::len));
    if let Some(all) = all {
        assert!(blob.entries.len() + found.skipped.len() <= all);
    }
    for entry in &blob.entries {
        let stored = serde_json::to_string(entry).unwrap_or_default();
        assert_eq!(serde_json::from_str::<MetadataEntry>(&stored).as_ref().ok(), Some(entry));
    }
    for skipped in &found.skipped {
        assert!(skipped.name.len() <= 4096);
    }
}

/// A list of revoked certificates.
pub fn revocation_list(input: &[u8]) {
    let read = || Crl::parse(input).map(|_| ());
    assert_eq!(read(), read());
}
