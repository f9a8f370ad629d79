//! Audit events: what happened to whom, asked for by whom, and whether it worked.

use super::{AuditEventId, CredentialId, KeyId, Operation, TenantId, Timestamp, UserId};

/// What happened. The first 22 are the contract's; the rest are ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each variant says what its text says")]
pub enum AuditEventType {
    RegistrationInitSucceeded,
    RegistrationInitFailed,
    RegistrationFinalSucceeded,
    RegistrationFinalFailed,
    AuthenticationInitSucceeded,
    AuthenticationInitFailed,
    AuthenticationFinalSucceeded,
    AuthenticationFinalFailed,
    TransactionInitSucceeded,
    TransactionInitFailed,
    TransactionFinalSucceeded,
    TransactionFinalFailed,
    CredentialUpdated,
    CredentialDeleted,
    MfaRegistrationInitSucceeded,
    MfaRegistrationInitFailed,
    MfaRegistrationFinalSucceeded,
    MfaRegistrationFinalFailed,
    MfaAuthenticationInitSucceeded,
    MfaAuthenticationInitFailed,
    MfaAuthenticationFinalSucceeded,
    MfaAuthenticationFinalFailed,
    TenantCreated,
    TenantConfigChanged,
    ApiKeyCreated,
    ApiKeyRevoked,
    SigningKeyGenerated,
    CloneSuspected,
    TenantDeleted,
    TenantRestored,
    TenantPurged,
    UserDeleted,
    KeyPolicyChanged,
    SigningKeyRequested,
    SigningKeyAdopted,
    SigningKeyPublished,
    SigningKeyPlanned,
    SigningKeyActivated,
    SigningKeyRolledBack,
    SigningKeySuspended,
    SigningKeyResumed,
    SigningKeyDeactivated,
    SigningKeyRetired,
    SigningKeyWithdrawn,
    SigningKeyCompromised,
    SigningKeyDestructionBegun,
    SigningKeyPrivateDestroyed,
    SigningKeyAttached,
    AdminCreated,
    AdminRevoked,
    AdminRefused,
    ApprovalRequested,
    ApprovalGranted,
    ApprovalRejected,
    ApprovedActDone,
    ApprovedActFailed,
    HsmActivated,
    HsmDeactivated,
    /// What a newer server wrote and this one has no name for; never written. The event's `error` begins with the name.
    Unrecognized,
}

text_enum!(AuditEventType, "an audit event type", {
    RegistrationInitSucceeded => "webauthn_registration_init_succeeded",
    RegistrationInitFailed => "webauthn_registration_init_failed",
    RegistrationFinalSucceeded => "webauthn_registration_final_succeeded",
    RegistrationFinalFailed => "webauthn_registration_final_failed",
    AuthenticationInitSucceeded => "webauthn_authentication_init_succeeded",
    AuthenticationInitFailed => "webauthn_authentication_init_failed",
    AuthenticationFinalSucceeded => "webauthn_authentication_final_succeeded",
    AuthenticationFinalFailed => "webauthn_authentication_final_failed",
    TransactionInitSucceeded => "webauthn_transaction_init_succeeded",
    TransactionInitFailed => "webauthn_transaction_init_failed",
    TransactionFinalSucceeded => "webauthn_transaction_final_succeeded",
    TransactionFinalFailed => "webauthn_transaction_final_failed",
    CredentialUpdated => "webauthn_credential_updated",
    CredentialDeleted => "webauthn_credential_deleted",
    MfaRegistrationInitSucceeded => "mfa_registration_init_succeeded",
    MfaRegistrationInitFailed => "mfa_registration_init_failed",
    MfaRegistrationFinalSucceeded => "mfa_registration_final_succeeded",
    MfaRegistrationFinalFailed => "mfa_registration_final_failed",
    MfaAuthenticationInitSucceeded => "mfa_authentication_init_succeeded",
    MfaAuthenticationInitFailed => "mfa_authentication_init_failed",
    MfaAuthenticationFinalSucceeded => "mfa_authentication_final_succeeded",
    MfaAuthenticationFinalFailed => "mfa_authentication_final_failed",
    TenantCreated => "tenant_created",
    TenantConfigChanged => "tenant_config_changed",
    ApiKeyCreated => "api_key_created",
    ApiKeyRevoked => "api_key_revoked",
    SigningKeyGenerated => "signing_key_generated",
    CloneSuspected => "webauthn_credential_clone_suspected",
    TenantDeleted => "tenant_deleted",
    TenantRestored => "tenant_restored",
    TenantPurged => "tenant_purged",
    UserDeleted => "user_deleted",
    KeyPolicyChanged => "key_policy_changed",
    SigningKeyRequested => "signing_key_requested",
    SigningKeyAdopted => "signing_key_adopted",
    SigningKeyPublished => "signing_key_published",
    SigningKeyPlanned => "signing_key_planned",
    SigningKeyActivated => "signing_key_activated",
    SigningKeyRolledBack => "signing_key_rolled_back",
    SigningKeySuspended => "signing_key_suspended",
    SigningKeyResumed => "signing_key_resumed",
    SigningKeyDeactivated => "signing_key_deactivated",
    SigningKeyRetired => "signing_key_retired",
    SigningKeyWithdrawn => "signing_key_withdrawn",
    SigningKeyCompromised => "signing_key_compromised",
    SigningKeyDestructionBegun => "signing_key_destruction_begun",
    SigningKeyPrivateDestroyed => "signing_key_private_destroyed",
    SigningKeyAttached => "signing_key_attachment_added",
    AdminCreated => "admin_created",
    AdminRevoked => "admin_revoked",
    AdminRefused => "admin_refused",
    ApprovalRequested => "approval_requested",
    ApprovalGranted => "approval_granted",
    ApprovalRejected => "approval_rejected",
    ApprovedActDone => "approved_act_done",
    ApprovedActFailed => "approved_act_failed",
    HsmActivated => "hsm_activated",
    HsmDeactivated => "hsm_deactivated",
    Unrecognized => "unrecognized",
});

/// What the audit log calls the outcomes of one operation's ceremonies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CeremonyEvents {
    /// Options were given.
    pub init_succeeded: AuditEventType,
    /// They were refused.
    pub init_failed: AuditEventType,
    /// A token was given.
    pub final_succeeded: AuditEventType,
    /// It was refused.
    pub final_failed: AuditEventType,
}

impl Operation {
    /// The events of its ceremonies.
    pub const fn events(self) -> CeremonyEvents {
        use AuditEventType as T;
        let (init_succeeded, init_failed, final_succeeded, final_failed) = match self {
            Self::Registration => {
                (T::RegistrationInitSucceeded, T::RegistrationInitFailed, T::RegistrationFinalSucceeded, T::RegistrationFinalFailed)
            }
            Self::MfaRegistration => (
                T::MfaRegistrationInitSucceeded,
                T::MfaRegistrationInitFailed,
                T::MfaRegistrationFinalSucceeded,
                T::MfaRegistrationFinalFailed,
            ),
            Self::Login => {
                (T::AuthenticationInitSucceeded, T::AuthenticationInitFailed, T::AuthenticationFinalSucceeded, T::AuthenticationFinalFailed)
            }
            Self::MfaLogin => (
                T::MfaAuthenticationInitSucceeded,
                T::MfaAuthenticationInitFailed,
                T::MfaAuthenticationFinalSucceeded,
                T::MfaAuthenticationFinalFailed,
            ),
            Self::Transaction => {
                (T::TransactionInitSucceeded, T::TransactionInitFailed, T::TransactionFinalSucceeded, T::TransactionFinalFailed)
            }
        };
        CeremonyEvents { init_succeeded, init_failed, final_succeeded, final_failed }
    }
}

/// Who asked, as far as the transport tells. Values are cut to [`RequestMeta::MAX_CHARS`] characters, never refused.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequestMeta {
    /// `X-Request-Id`, the client's or ours.
    pub request_id: String,
    /// The address of the client.
    pub source_ip: String,
    /// `User-Agent`.
    pub user_agent: String,
}

impl RequestMeta {
    /// The most characters kept of a value that a client chose.
    pub const MAX_CHARS: usize = 255;

    /// Cuts each value to what is kept.
    pub fn new(request_id: &str, source_ip: &str, user_agent: &str) -> Self {
        let cut = |s: &str| s.chars().take(Self::MAX_CHARS).collect();
        Self { request_id: cut(request_id), source_ip: cut(source_ip), user_agent: cut(user_agent) }
    }
}

/// One event of a tenant's audit log.
#[derive(Debug, Clone)]
pub struct AuditEvent {
    /// Its row. Also the proof, after a commit whose reply was lost, that this very attempt was committed.
    pub id: AuditEventId,
    /// Whose log it is in: a tenant's, or [`Self::DEPLOYMENT`]'s.
    pub tenant_id: TenantId,
    /// What happened.
    pub event_type: AuditEventType,
    /// Why it failed, if it did; at most [`Self::MAX_ERROR_CHARS`] characters.
    pub error: Option<String>,
    /// Who asked.
    pub meta: RequestMeta,
    /// Which user it was about, if one is known.
    pub actor_user_id: Option<UserId>,
    /// Which credential it was about, if one is known.
    pub credential_id: Option<CredentialId>,
    /// Which transaction it was about, if any.
    pub transaction_id: Option<String>,
    /// Who did it, where that is no user: an [`super::Actor`] as text.
    pub actor: Option<String>,
    /// Which signing key it was about, if any.
    pub key_id: Option<KeyId>,
    /// Why, where somebody said so; at most [`Self::MAX_ERROR_CHARS`] characters.
    pub reason: Option<String>,
    /// When.
    pub created_at: Timestamp,
}

impl AuditEvent {
    /// The most characters kept of why something failed: it may quote what a client sent.
    pub const MAX_ERROR_CHARS: usize = 1000;

    /// Whose log has what is no tenant's: administrators, approvals, the HSM. No tenant has this id.
    pub const DEPLOYMENT: TenantId = TenantId::from_uuid(uuid::Uuid::nil());

    /// The event of a failure, for the reason given, which is cut to what is kept.
    #[must_use]
    pub fn because(self, reason: &str) -> Self {
        Self { error: Some(reason.chars().take(Self::MAX_ERROR_CHARS).collect()), ..self }
    }
}

/// Which events of a tenant's log are asked for; the default is all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// Later than this.
    pub after: Option<Timestamp>,
    /// Earlier than this.
    pub before: Option<Timestamp>,
    /// Of one of these types: of none when the list is empty.
    pub types: Option<Vec<AuditEventType>>,
    /// This is part of the user's id, whatever the case of ASCII letters.
    pub actor_user_id: Option<String>,
    /// This is part of the source address, whatever the case.
    pub source_ip: Option<String>,
    /// This is part of the user's id or of the source address, whatever the case of ASCII letters.
    pub search: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_cut_by_characters() {
        let event = AuditEvent {
            id: AuditEventId::from_uuid(uuid::Uuid::nil()),
            tenant_id: TenantId::from_uuid(uuid::Uuid::nil()),
            event_type: AuditEventType::RegistrationInitFailed,
            error: None,
            meta: RequestMeta::default(),
            actor_user_id: None,
            credential_id: None,
            transaction_id: None,
            actor: None,
            key_id: None,
            reason: None,
            created_at: Timestamp::from_millis(0),
        };
        assert_eq!(event.clone().because("why").error.as_deref(), Some("why"));
        assert_eq!(event.because(&"ü".repeat(1001)).error, Some("ü".repeat(1000)));
    }

    #[test]
    fn what_a_client_chose_is_cut_by_characters() {
        let (long, kept) = ("ü".repeat(300), "ü".repeat(255));
        let meta = RequestMeta::new(&long, &long, &long);
        assert_eq!(meta, RequestMeta { request_id: kept.clone(), source_ip: kept.clone(), user_agent: kept });
    }
}
