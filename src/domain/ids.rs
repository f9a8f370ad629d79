//! Identifiers. Each is a type of its own, so that one cannot be passed for another.

use std::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Rng;

/// A text that is not the identifier it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Not a UUID in any of the usual forms.
    #[error("not a UUID")]
    NotUuid,
    /// Not unpadded base64url.
    #[error("not base64url")]
    NotBase64Url,
    /// Empty, or longer than WebAuthn allows (1023 bytes).
    #[error("a credential id has 1 to 1023 bytes")]
    Length,
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// A fresh random identifier (UUID version 4).
            pub fn random(rng: &dyn Rng) -> Self {
                Self(uuid::Builder::from_random_bytes(rng.bytes()).into_uuid())
            }

            /// Wraps an existing UUID.
            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// The UUID inside.
            pub const fn as_uuid(self) -> Uuid {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        /// Any of the usual forms: hyphenated, 32 hex digits, in braces, `urn:uuid:`.
        impl FromStr for $name {
            type Err = IdError;

            fn from_str(s: &str) -> Result<Self, IdError> {
                Uuid::try_parse(s).map(Self).map_err(|_| IdError::NotUuid)
            }
        }
    };
}

uuid_id! {
    /// A tenant: one relying party with its users, credentials and keys.
    TenantId
}
uuid_id! {
    /// A signing key: the database key, the `kid` of JWKS and tokens and, as its 16 bytes, `CKA_ID` on the token.
    KeyId
}
uuid_id! {
    /// An API key's row. Not a secret.
    ApiKeyId
}
uuid_id! {
    /// An audit event.
    AuditEventId
}
uuid_id! {
    /// A transaction's row. The application's own name for it is a `TransactionId`.
    TransactionRowId
}
uuid_id! {
    /// The model of an authenticator (WebAuthn L3 section 6.5.1); all zero when it does not say.
    Aaguid
}

uuid_id! {
    /// A user's row: the admin API's name for a user. The application's own is a `UserId`.
    UserRowId
}
uuid_id! {
    /// An administrator's row. Not a secret.
    AdminId
}
uuid_id! {
    /// A request for an approval.
    ApprovalId
}
uuid_id! {
    /// A running server.
    ReplicaId
}

impl KeyId {
    /// `CKA_ID` of the key pair on the token.
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }
}

/// A credential's id as the authenticator chose it: 1 to 1023 bytes (WebAuthn L3 section 4), unique per tenant only.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CredentialId(Box<[u8]>);

impl CredentialId {
    /// The most bytes an id may have.
    pub const MAX_LEN: usize = 1023;

    /// The raw bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl TryFrom<&[u8]> for CredentialId {
    type Error = IdError;

    fn try_from(bytes: &[u8]) -> Result<Self, IdError> {
        if bytes.is_empty() || bytes.len() > Self::MAX_LEN { Err(IdError::Length) } else { Ok(Self(bytes.into())) }
    }
}

/// Unpadded base64url, the form of the API.
impl fmt::Display for CredentialId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(&self.0))
    }
}

impl fmt::Debug for CredentialId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CredentialId({self})")
    }
}

impl FromStr for CredentialId {
    type Err = IdError;

    fn from_str(s: &str) -> Result<Self, IdError> {
        let bytes = URL_SAFE_NO_PAD.decode(s).map_err(|_| IdError::NotBase64Url)?;
        Self::try_from(bytes.as_slice())
    }
}
