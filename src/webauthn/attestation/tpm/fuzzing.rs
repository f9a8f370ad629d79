//! A TPM's structures, for the fuzz target of that name.

use super::structures::{CertInfo, PublicArea, Signature};

/// After a byte that says which: a TPMT_PUBLIC, a TPMS_ATTEST or a TPMT_SIGNATURE. It is read as a whole or not at all.
pub fn tpm_structures(input: &[u8]) {
    let Some((which, bytes)) = input.split_first() else { return };
    let is_read = |bytes: &[u8]| match which {
        0 => PublicArea::parse(bytes).is_ok(),
        1 => CertInfo::parse(bytes).is_ok(),
        _ => Signature::parse(bytes).is_ok(),
    };
    if !is_read(bytes) {
        return;
    }
    assert!(!is_read(&[bytes, &[0]].concat()), "a byte more is a byte too many");
    assert!(!bytes.split_last().is_some_and(|(_, cut)| is_read(cut)), "a byte less is a byte too few");
    if let (0, Ok(area)) = (which, PublicArea::parse(bytes)) {
        assert_eq!(area.name().len(), 2 + area.name_hash.digest(b"").len());
    }
}
