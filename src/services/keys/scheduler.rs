//! Does what is due, on one server at a time; and follows, on every server, what others change.

use super::{Context, Error};
use crate::services::Services;

/// What runs in every server. See ADR 0011.
#[derive(Debug, Clone)]
pub struct Scheduler {
    context: Context,
}

impl Scheduler {
    /// For the server that `services` serve.
    pub fn new(services: &Services) -> Self {
        Self { context: services.context.clone() }
    }

    /// Says that this server is there, and which changes of keys its JWKS have: it looks at what it serves, and beats. Once.
    pub async fn follow(&self) -> Result<(), Error> {
        let _ = &self.context;
        Ok(crate::storage::unbuilt()?)
    }

    /// Does what is due, if this server holds the lease. Says how many things it did.
    pub async fn tick(&self) -> Result<u32, Error> {
        Ok(crate::storage::unbuilt()?)
    }

    /// Gives lease and replica back, at an orderly end.
    pub async fn leave(&self) -> Result<(), Error> {
        Ok(crate::storage::unbuilt()?)
    }
}
