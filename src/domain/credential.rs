//! Credentials: the public halves of passkeys, with what is known of their authenticators.

use super::{Aaguid, AttestationRecord, CredentialId, TenantId, Timestamp, UserId};

/// The backup flags of authenticator data (WebAuthn L3 section 6.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackupFlags {
    /// BE: may be synced between devices. Never changes.
    pub eligible: bool,
    /// BS: is synced now. Never without BE.
    pub state: bool,
}

/// A credential about to be stored.
#[derive(Debug, Clone)]
pub struct NewCredential {
    /// Whose relying party it belongs to.
    pub tenant_id: TenantId,
    /// The authenticator's id for it, unique in the tenant.
    pub id: CredentialId,
    /// Whose it is.
    pub user_id: UserId,
    /// A name for people, if one is known.
    pub name: Option<String>,
    /// COSE_Key in canonical CBOR.
    pub public_key: Vec<u8>,
    /// The attestation statement's format as sent, such as `packed`.
    pub attestation_type: String,
    /// What the statement was found to be, and to be worth.
    pub attestation: AttestationRecord,
    /// The authenticator's model, as claimed or as attested.
    pub aaguid: Aaguid,
    /// Signature counter at registration.
    pub sign_count: u32,
    /// How the browser reached the authenticator, as it said; at most 16 values of at most 32 characters.
    pub transports: Vec<String>,
    /// BE and BS.
    pub backup: BackupFlags,
    /// Whether the user was verified when it was made (UV).
    pub user_verified: bool,
    /// A second factor rather than a passkey.
    pub is_mfa: bool,
    /// When it was made.
    pub created_at: Timestamp,
}

/// A stored credential.
#[derive(Debug, Clone)]
pub struct Credential {
    /// What was stored when it was made, with its counter, name and backup state as they are now.
    pub data: NewCredential,
    /// When it was last used; its registration counts.
    pub last_used_at: Option<Timestamp>,
}
