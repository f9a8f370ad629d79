//! Secrets that are never printed and are wiped when dropped.

use std::fmt;

use zeroize::Zeroizing;

/// The user PIN of a PKCS#11 token (on some clouds `user:password`).
#[derive(Clone)]
pub struct Pin(Zeroizing<String>);

impl Pin {
    /// Takes over `pin`; the caller must not keep a copy.
    pub fn new(pin: Zeroizing<String>) -> Self {
        Self(pin)
    }

    /// The PIN itself, for the one call that logs in.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pin(..)")
    }
}
