//! FIDO metadata: what is known of models of authenticators, and how it is known to come from the FIDO Alliance.
//!
//! Written to the FIDO Metadata Service v3.0 (Proposed Standard of 2021-05-18), with what v3.1 adds to status reports. One file per
//! concern: `blob` is the whole, `chain` finds the way from its certificate to a root, `crl` asks whether a certificate of that way was
//! revoked, `entries` reads the payload, `registry` knows its words, `status` judges its reports.

mod blob;
mod chain;
mod crl;
mod entries;
#[cfg(fuzzing)]
mod fuzzing;
mod registry;
mod status;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use blob::{BlobError, Verified, verify_blob};
pub use crl::{Crl, CrlError, CrlFault};
pub use entries::{SkipReason, SkippedEntry};
#[cfg(fuzzing)]
pub use fuzzing::{metadata_blob, metadata_payload, revocation_list};
pub use status::forbidding;

/// The roots that the FIDO Alliance's BLOBs lead to, by SHA-256 of the certificate: GlobalSign Root CA - R3.
pub const MDS_ROOT_SHA256: &[&str] = &["cbb522d7b7f127ad6a0113865bdf1cd4102e7d0759af635a7cf4720dc963c53b"];

/// Whom the certificate that signs the FIDO Alliance's BLOBs is for. That root is a public CA's: whoever has a web site can have a
/// certificate that leads to it.
pub const MDS_SIGNER: &str = "mds.fidoalliance.org";
