//! The people who own passkeys, as the application names them.

use std::{fmt, str::FromStr};

use serde::Serialize;

use super::{TenantId, Timestamp};

/// A text that cannot name a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UserIdError {
    /// The text is empty.
    #[error("a user id must not be empty")]
    Empty,
    /// More than 64 bytes: no authenticator would take it (WebAuthn L3 section 5.4.3).
    #[error("a user id has at most 64 bytes in UTF-8")]
    TooLong,
    /// U+0000, which PostgreSQL has no text for; no other character may stand in for it in a name.
    #[error("a user id must not contain U+0000")]
    Nul,
}

/// The application's own name for a user: 1 to 64 bytes of UTF-8 without U+0000. Its bytes are the WebAuthn user handle.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct UserId(String);

impl UserId {
    /// The most bytes a user handle may have.
    pub const MAX_LEN: usize = 64;

    /// The text as the application sent it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The user handle.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl FromStr for UserId {
    type Err = UserIdError;

    fn from_str(s: &str) -> Result<Self, UserIdError> {
        match s.len() {
            0 => Err(UserIdError::Empty),
            n if n > Self::MAX_LEN => Err(UserIdError::TooLong),
            _ if s.contains('\0') => Err(UserIdError::Nul),
            _ => Ok(Self(s.to_owned())),
        }
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A user of a tenant, written anew at each registration's start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Whose user it is.
    pub tenant_id: TenantId,
    /// The application's name for the user.
    pub user_id: UserId,
    /// `user.name`: what tells accounts apart for people; at most 128 characters.
    pub name: String,
    /// `user.displayName`; at most 128 characters.
    pub display_name: String,
    /// `user.icon`, a URL; sent back as it came, ignored by browsers today.
    pub icon: Option<String>,
    /// When the row was first written.
    pub created_at: Timestamp,
    /// When it was last written.
    pub updated_at: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_id_is_a_user_handle_that_every_database_can_hold() {
        for good in ["a", "ä 𝄞\n", &"x".repeat(64)] {
            assert_eq!(good.parse::<UserId>().unwrap().as_str(), good);
        }
        for (bad, error) in [("", UserIdError::Empty), (&*"ä".repeat(33), UserIdError::TooLong), ("a\0", UserIdError::Nul)] {
            assert_eq!(bad.parse::<UserId>(), Err(error), "{bad:?}");
        }
    }
}
