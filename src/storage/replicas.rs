//! The servers that there are.

use std::time::Duration;

use super::{Error, Store, unbuilt};
use crate::domain::{Replica, ReplicaId};

impl Store {
    /// Says that a server is there and which changes of keys its JWKS have; `started_at` and `seen_at` are the database's. Rows of servers that
    /// have been silent for ten times `lease` are swept.
    pub async fn beat(&self, replica: &Replica, lease: Duration) -> Result<(), Error> {
        let _ = (replica, lease);
        unbuilt()
    }

    /// A server that stopped in good order is not waited for.
    pub async fn remove_replica(&self, id: ReplicaId) -> Result<(), Error> {
        let _ = id;
        unbuilt()
    }

    /// The servers that were seen within `lease`, by the database's clock, the oldest first.
    pub async fn live_replicas(&self, lease: Duration) -> Result<Vec<Replica>, Error> {
        let _ = lease;
        unbuilt()
    }
}
