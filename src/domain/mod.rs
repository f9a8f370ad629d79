//! What the service is about: no I/O, no framework, no SQL, no PKCS#11.
//!
//! Time and randomness reach every function as arguments ([`Clock`], [`Rng`]), so that a test chooses both.

#[macro_use]
mod text_enum;

mod admin;
mod api_key;
mod approval;
mod attestation;
mod audit;
mod authentication;
mod ceremony;
mod clock;
mod credential;
pub mod go_json;
mod hex;
mod ids;
mod key_change;
mod key_policy;
mod metadata;
mod network;
mod origin;
mod page;
mod replica;
mod rng;
mod secret;
mod signing_key;
mod tenant;
mod tenant_settings;
mod transaction;
mod user;

pub use admin::{ADMIN_TOKEN_PREFIX, Actor, AdminHash, AdminKind, AdminRecord, AdminToken, AdminTokenError, Caller, Permission, Role};
pub use api_key::{ApiKey, ApiKeyError, ApiKeyHash, ApiKeyRecord};
pub use approval::{Act, Approval, ApprovalState};
pub use attestation::{
    AnchorSetName, AnchorSetNameError, AttestationFormat, AttestationPolicy, AttestationRecord, AttestationTrust, AttestationType,
    EnterpriseDemand, MDS_ANCHORS, PathCertificate, StaleMetadata, TrustDemand,
};
pub use audit::{AuditEvent, AuditEventType, AuditFilter, CeremonyEvents, RequestMeta};
pub use authentication::{AuthenticationEvidence, CredentialUse};
pub use ceremony::{Ceremony, CeremonyConfig, Challenge, Operation};
pub use clock::{Clock, SystemClock, Timestamp};
pub use credential::{BackupFlags, Credential, CredentialOfModel, NewCredential, RegistrationEvidence};
pub use hex::hex;
pub use ids::{
    Aaguid, AdminId, ApiKeyId, ApprovalId, AuditEventId, CredentialId, IdError, KeyId, ReplicaId, TenantId, TransactionRowId, UserRowId,
};
pub use key_change::{KeyChange, KeyOrigin, KeyPlan, KeyRefusal, KeyRule, Leaving, Times};
pub use key_policy::{KeyPolicy, KeyPolicyError};
pub use metadata::{MetadataBlob, MetadataEntry, MetadataHead, StatusReport};
pub use network::{Cidr, CidrError};
pub use origin::{Origin, OriginError};
pub use page::{Order, Page};
pub use replica::Replica;
pub use rng::{Rng, SystemRng};
pub use secret::Pin;
pub use signing_key::{KeyEvidence, KeyState, RSA_BITS, RsaBitsError, SigningAlgorithm, SigningKey, rsa_bits};
pub use tenant::{
    Attachment, AttestationPreference, ConfigError, Cors, DeletedTenant, Hint, Mfa, RelyingParty, ResidentKey, Tenant, TenantConfig,
    UserVerification, Webauthn,
};
pub use tenant_settings::{ClonePolicy, PasskeyEndpoints, TenantSettings};
pub use text_enum::ParseEnumError;
pub use transaction::{
    Confirmation, NewTransaction, Transaction, TransactionData, TransactionDataError, TransactionId, TransactionIdError, TransactionState,
};
pub use user::{User, UserId, UserIdError};
