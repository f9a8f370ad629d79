//! The servers of a deployment.

use super::{ReplicaId, Timestamp};

/// A running server, as long as it says that it is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replica {
    /// Chosen anew at each start.
    pub id: ReplicaId,
    /// The name of its host.
    pub host: String,
    /// Its process there.
    pub pid: u32,
    /// Of this program.
    pub version: String,
    /// When it was started, by the database's clock.
    pub started_at: Timestamp,
    /// When it last said so, by the database's clock.
    pub seen_at: Timestamp,
    /// Its JWKS have every change of signing keys up to this one.
    pub key_revision: i64,
}
