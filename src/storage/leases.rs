//! What only one server may do at a time.

use std::time::Duration;

use super::{Error, Store, unbuilt};
use crate::domain::ReplicaId;

impl Store {
    /// Takes the lease called `name`, or holds it for longer, until `ttl` from now by the database's clock. `false` when another has it.
    pub async fn hold_lease(&self, name: &str, holder: ReplicaId, ttl: Duration) -> Result<bool, Error> {
        let _ = (name, holder, ttl);
        unbuilt()
    }

    /// Gives it back, if `holder` has it.
    pub async fn release_lease(&self, name: &str, holder: ReplicaId) -> Result<(), Error> {
        let _ = (name, holder);
        unbuilt()
    }
}
