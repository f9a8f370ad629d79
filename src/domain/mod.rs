//! What the service is about: no I/O, no framework, no SQL, no PKCS#11.
//!
//! Time and randomness reach every function as arguments ([`Clock`], [`Rng`]), so that a test chooses both.

#[macro_use]
mod text_enum;

mod api_key;
mod attestation;
mod audit;
mod authentication;
mod ceremony;
mod clock;
mod credential;
pub mod go_json;
mod ids;
mod metadata;
mod network;
mod origin;
mod page;
mod rng;
mod secret;
mod signing_key;
mod tenant;
mod tenant_settings;
mod transaction;
mod user;

pub use api_key::{ApiKey, ApiKeyError, ApiKeyHash, ApiKeyRecord};
pub use attestation::{
    AnchorSetName, AnchorSetNameError, AttestationFormat, AttestationPolicy, AttestationRecord, AttestationTrust, AttestationType,
    EnterpriseDemand, MDS_ANCHORS, PathCertificate, StaleMetadata, TrustDemand,
};
pub use audit::{AuditEvent, AuditEventType, AuditFilter, CeremonyEvents, RequestMeta};
pub use authentication::{AuthenticationEvidence, CredentialUse};
pub use ceremony::{Ceremony, CeremonyConfig, Challenge, Operation};
pub use clock::{Clock, SystemClock, Timestamp};
pub use credential::{BackupFlags, Credential, CredentialOfModel, NewCredential, RegistrationEvidence};
pub use ids::{Aaguid, ApiKeyId, AuditEventId, CredentialId, IdError, KeyId, TenantId, TransactionRowId};
pub use metadata::{MetadataBlob, MetadataEntry, MetadataHead, StatusReport};
pub use network::{Cidr, CidrError};
pub use origin::{Origin, OriginError};
pub use page::{Order, Page};
pub use rng::{Rng, SystemRng};
pub use secret::Pin;
pub use signing_key::{
    JWKS_MAX_AGE, KeyEvidence, KeyState, RSA_BITS, RsaBitsError, SigningAlgorithm, SigningKey, TOKEN_LIFETIME, rsa_bits,
};
pub use tenant::{
    Attachment, AttestationPreference, ConfigError, Cors, Hint, Mfa, RelyingParty, ResidentKey, Tenant, TenantConfig, UserVerification,
    Webauthn,
};
pub use tenant_settings::{ClonePolicy, PasskeyEndpoints, TenantSettings};
pub use text_enum::ParseEnumError;
pub use transaction::{
    Confirmation, NewTransaction, Transaction, TransactionData, TransactionDataError, TransactionId, TransactionIdError, TransactionState,
};
pub use user::{User, UserId, UserIdError};
