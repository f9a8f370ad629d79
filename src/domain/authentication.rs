//! Authentications: what a passkey's use changes, and what is kept of it.

use std::fmt;

use super::{CredentialId, Timestamp};

/// A use of a credential, verified: what becomes of its record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialUse {
    /// Which.
    pub credential: CredentialId,
    /// The counter that the authenticator sent. The record keeps the greater of this and its own.
    pub sign_count: u32,
    /// BS.
    pub backup_state: bool,
    /// When.
    pub at: Timestamp,
    /// Whether a counter that did not increase is refused; else it is told. Judged against the record as it is in the commit.
    pub refuse_clone: bool,
}

/// What the client sent when it used a credential, byte by byte, and the record that it was judged by, so that an auditor can verify it
/// again, after the credential is gone too.
#[derive(Clone, PartialEq, Eq)]
pub struct AuthenticationEvidence {
    /// The credential.
    pub credential_id: CredentialId,
    /// Its COSE_Key.
    pub public_key: Vec<u8>,
    /// Its counter before.
    pub sign_count: u32,
    /// BE.
    pub backup_eligible: bool,
    /// The relying party's id at that time.
    pub rp_id: String,
    /// The serialized client data (WebAuthn L3 section 5.8.1).
    pub client_data_json: Vec<u8>,
    /// Authenticator data (section 6.1).
    pub authenticator_data: Vec<u8>,
    /// The signature of the authenticator data, followed by the SHA-256 of the client data.
    pub signature: Vec<u8>,
}

/// Without the client data, which holds a challenge.
impl fmt::Debug for AuthenticationEvidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AuthenticationEvidence({}, {}, ..)", self.rp_id, self.credential_id)
    }
}
