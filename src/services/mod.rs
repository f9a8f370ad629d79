//! The use cases, one file each. A service decides; what it decides is done by `storage`, `hsm` and `webauthn`.

mod acts;
mod admins;
mod api_keys;
mod assertion;
mod audit;
mod authentication;
mod credentials;
mod flight;
mod inspection;
mod key_secrets;
mod keys;
mod metadata;
mod registration;
mod root_secret;
mod tenants;
mod token;
mod token_view;
mod transactions;
mod trust;
mod users;
mod vouching;
mod well_known;

use std::{sync::Arc, time::Duration};

use url::Url;

use crate::{
    domain::{ApprovalId, Clock, CredentialId, KeyId, KeyRefusal, ReplicaId, Rng, SigningAlgorithm, TenantId},
    hsm::{self, Signer},
    storage::{self, Store},
    webauthn::{AuthenticationError, RegistrationError},
};

pub use acts::{Acts, Outcome, Submitted};
pub use admins::{Admins, NewAdmin};
pub use api_keys::ApiKeys;
pub use audit::Audit;
pub use authentication::Authentication;
pub use credentials::{AcceptedCredentials, Credentials};
pub use inspection::{Anchors, ClaimedTransaction, Evidence, EvidenceError, EvidenceKind, Finding, StoredKey, inspect};
pub use key_secrets::{KeySecrets, NamedKey};
pub use keys::{
    AdoptKey, By, KeyDossier, KeyFinding, Keys, NewKey, REPLICA_LEASE, Rotate, Rotation, Scheduler, describe_key_metrics, evidence_file,
    verify_key_evidence,
};
pub use metadata::{Affected, AnchorCertificate, AnchorSet, BlobTrust, Forbidden, Imported, Metadata, MetadataError, StoredMetadata};
pub use registration::{Initialize, Registration};
pub use root_secret::{RootSecret, RootSecretError, RootSecretState};
pub use tenants::{CreatedTenant, NewTenant, Tenants, UpdateTenant};
pub use token::{JwtToken, PublishedKeys, Tokens};
pub use token_view::{Differences, HsmState, InventoryEntry, Source, TokenView};
pub use transactions::{BeginTransaction, Transactions};
pub use trust::{TRUST_REFRESH, Trust};
pub use users::{UserDetails, Users};
pub use well_known::{passkey_endpoints, related_origins};

/// Everything a use case works with. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Context {
    /// The database.
    pub store: Store,
    /// The way to the HSM.
    pub signer: Signer,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub rng: Arc<dyn Rng>,
    /// Where the public listener is reached from outside; the `iss` of tokens begins with it.
    pub public_url: Arc<Url>,
    /// What attestation statements may lead to.
    pub trust: Trust,
    /// What makes challenges that need no row.
    pub root_secret: RootSecret,
    /// Which server this is, among those of its deployment. A command has an id too, and is none.
    pub replica: ReplicaId,
    /// How the deployment is governed.
    pub governance: Arc<Governance>,
}

/// How keys and tenants are governed, from the configuration.
#[derive(Debug, Clone)]
pub struct Governance {
    /// Whether acts that end something need a second administrator.
    pub dual_control: bool,
    /// How long a request for an approval can be decided.
    pub approval_limit: Duration,
    /// How long a deleted tenant can be restored.
    pub deletion_grace: Duration,
    /// How long audit events are kept; for ever where it is `None`.
    pub audit_retention: Option<Duration>,
    /// Whether this server does what is due.
    pub scheduler: bool,
    /// How many keys the scheduler makes in a minute at most.
    pub generations_per_minute: u32,
    /// How often a server looks for changes of keys at least: how stale it can be.
    pub follow_interval: Duration,
}

impl Default for Governance {
    fn default() -> Self {
        Self {
            dual_control: false,
            approval_limit: Duration::from_hours(24),
            deletion_grace: Duration::from_hours(7 * 24),
            audit_retention: None,
            scheduler: true,
            generations_per_minute: 60,
            follow_interval: Duration::from_secs(1),
        }
    }
}

/// The use cases, wired.
#[derive(Clone, Debug)]
pub struct Services {
    /// Making passkeys.
    pub registration: Registration,
    /// Signing in.
    pub authentication: Authentication,
    /// Confirming transactions.
    pub transactions: Transactions,
    /// The audit log.
    pub audit: Audit,
    /// Making tenants.
    pub tenants: Tenants,
    /// API keys.
    pub api_keys: ApiKeys,
    /// Stored credentials and their evidence.
    pub credentials: Credentials,
    /// FIDO metadata and trust anchors.
    pub metadata: Metadata,
    /// Tokens and the keys that verify them.
    pub tokens: Tokens,
    /// Signing keys under command.
    pub keys: Keys,
    /// The same in the contract's form.
    pub key_secrets: KeySecrets,
    /// What may need a second administrator.
    pub acts: Acts,
    /// The HSM and the keys on it.
    pub token_view: TokenView,
    /// Administrators.
    pub admins: Admins,
    /// Users, as operators see them.
    pub users: Users,
    /// Shared parts, for health checks and housekeeping.
    pub context: Context,
}

impl Services {
    /// Wires the use cases to `context`.
    pub fn new(context: Context) -> Self {
        let tokens = Tokens::new(context.clone());
        let audit = Audit::new(context.clone());
        let keys = Keys::new(context.clone(), tokens.clone());
        let tenants = Tenants::new(context.clone());
        Self {
            registration: Registration::new(context.clone(), tokens.clone(), audit.clone()),
            authentication: Authentication::new(context.clone(), tokens.clone(), audit.clone()),
            transactions: Transactions::new(context.clone(), tokens.clone(), audit.clone()),
            audit: audit.clone(),
            acts: Acts::new(context.clone(), keys.clone(), tenants.clone()),
            token_view: TokenView::new(context.clone()),
            admins: Admins::new(context.clone(), audit.clone()),
            users: Users::new(context.clone()),
            key_secrets: KeySecrets::new(context.clone(), keys.clone()),
            keys,
            tenants,
            api_keys: ApiKeys::new(context.clone()),
            credentials: Credentials::new(context.clone(), audit),
            metadata: Metadata::new(context.clone()),
            tokens,
            context,
        }
    }
}

/// Why a use case did not come about.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The HSM has all the work it can do in time. Nothing was consumed; the same request can be sent again.
    #[error("the HSM is busy")]
    Busy,
    /// The HSM or the database is out of reach. Nothing was consumed; the same request can be sent again.
    #[error("{0} is not available")]
    Unavailable(&'static str, #[source] Option<Box<dyn std::error::Error + Send + Sync>>),
    /// The database went away while it was committing, and cannot be asked what became of it.
    #[error("the outcome is unknown: the database was lost while it committed")]
    OutcomeUnknown,
    /// There is no such tenant.
    #[error("there is no tenant {0}")]
    TenantNotFound(TenantId),
    /// The tenant has no key that may sign.
    #[error("tenant {0} has no active signing key")]
    NoActiveKey(TenantId),
    /// The token does not hold the tenant's key. Nothing is made anew by itself.
    #[error("the token does not hold signing key {0}")]
    KeyMissing(KeyId),
    /// No ceremony has this challenge: never begun, already used, or another tenant's or operation's.
    #[error("received challenge does not match with any stored one")]
    UnknownChallenge,
    /// The ceremony's time is over.
    #[error("Session has Expired")]
    CeremonyExpired,
    /// The ceremony's user is gone.
    #[error("user not found")]
    UserNotFound,
    /// The credential was refused; its challenge is used up.
    #[error(transparent)]
    CredentialRefused(#[from] RegistrationError),
    /// No pending transaction has this challenge.
    #[error("no transaction found for this challenge")]
    UnknownTransaction,
    /// The tenant has a transaction of this name, confirmed or under way.
    #[error("transaction already exists")]
    TransactionExists,
    /// The user has no credential that could answer.
    #[error("Found no credentials for user")]
    NoCredentials,
    /// The user handle leads to no user, or there is none where one is needed.
    #[error("user not found")]
    UnknownUserHandle,
    /// The assertion names no credential that may answer; nothing is used up.
    #[error("Unable to find the credential for the returned credential ID")]
    UnknownCredential,
    /// The assertion was refused; its challenge is used up.
    #[error(transparent)]
    AssertionRefused(#[from] AuthenticationError),
    /// The tenant already has a credential of this id (WebAuthn L3 section 7.1 step 26); its challenge is used up.
    #[error("the credential is already registered")]
    CredentialExists,
    /// The tenant has no such credential.
    #[error("credential with id '{0}' not found")]
    CredentialNotFound(CredentialId),
    /// The token cannot make keys of this algorithm. Nothing was left behind.
    #[error("the token makes no keys for {0}")]
    Unsupported(SigningAlgorithm, #[source] hsm::Error),
    /// There is no such key.
    #[error("there is no signing key {0}")]
    KeyNotFound(KeyId),
    /// The change would break a rule. Nothing was changed.
    #[error(transparent)]
    KeyRefused(#[from] KeyRefusal),
    /// There is no such request.
    #[error("there is no approval {0}")]
    ApprovalNotFound(ApprovalId),
    /// It cannot be decided so: one's own, too late, or decided before.
    #[error("{0}")]
    ApprovalRefused(String),
    /// Not this caller.
    #[error("{0}")]
    Forbidden(String),
    /// What was asked for cannot be.
    #[error("{0}")]
    Invalid(String),
    /// A name that must be unique is taken.
    #[error("{0}")]
    Conflict(String),
    /// A fault of ours.
    #[error("{0}")]
    Internal(String, #[source] Option<Box<dyn std::error::Error + Send + Sync>>),
}

impl From<storage::Error> for Error {
    fn from(error: storage::Error) -> Self {
        match error {
            storage::Error::Unavailable(_) => Self::Unavailable("the database", Some(error.into())),
            storage::Error::OutcomeUnknown(_) => Self::OutcomeUnknown,
            _ => Self::Internal("the database failed".to_owned(), Some(error.into())),
        }
    }
}

impl From<hsm::Error> for Error {
    fn from(error: hsm::Error) -> Self {
        match error {
            hsm::Error::Busy => Self::Busy,
            hsm::Error::KeyNotFound(kid) => Self::KeyMissing(kid),
            hsm::Error::Unavailable
            | hsm::Error::Deadline
            | hsm::Error::PinRefused(_)
            | hsm::Error::NotActivated(_)
            | hsm::Error::Configuration(_)
            | hsm::Error::Device(_) => Self::Unavailable("the HSM", Some(error.into())),
            _ => Self::Internal("the HSM failed".to_owned(), Some(error.into())),
        }
    }
}
