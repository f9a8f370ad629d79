//! Credentials: the public halves of passkeys, with what is known of their authenticators.

use std::fmt;

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
    /// What it was made of, if that is to be kept. It is not read with the credential.
    pub evidence: Option<RegistrationEvidence>,
}

/// What the client sent when a credential was made, byte by byte, so that an auditor can verify it again.
#[derive(Clone, PartialEq, Eq)]
pub struct RegistrationEvidence {
    /// The relying party's id at that time.
    pub rp_id: String,
    /// The serialized client data (WebAuthn L3 section 5.8.1).
    pub client_data_json: Vec<u8>,
    /// The attestation object in CBOR (WebAuthn L3 section 6.5).
    pub attestation_object: Vec<u8>,
}

/// Without the client data, which holds a challenge.
impl fmt::Debug for RegistrationEvidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RegistrationEvidence({}, ..)", self.rp_id)
    }
}

/// A stored credential.
#[derive(Debug, Clone)]
pub struct Credential {
    /// What was stored when it was made, with its counter, name and backup state as they are now.
    pub data: NewCredential,
    /// When it was last used; its registration counts.
    pub last_used_at: Option<Timestamp>,
}

/// A credential of some tenant, as far as it matters to whoever asks which credentials a model of authenticator holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialOfModel {
    /// Whose relying party it belongs to.
    pub tenant_id: TenantId,
    /// That tenant's name.
    pub tenant_name: String,
    /// Its id, unique in the tenant.
    pub id: CredentialId,
    /// Whose it is.
    pub user_id: UserId,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last used; its registration counts.
    pub last_used_at: Option<Timestamp>,
    /// What was found of its attestation.
    pub attestation: AttestationRecord,
}
