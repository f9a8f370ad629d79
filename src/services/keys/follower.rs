//! Follows, on every server, which keys others publish and withdraw: no key signs before every live server serves it.

use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    fs, process,
    sync::{Mutex, PoisonError},
};

use serde::Deserialize;

use super::{Context, Error, REPLICA_LEASE, Tokens};
use crate::domain::{KeyId, Replica, SigningKey, TenantId, Timestamp};

/// How many changes a server that was just started looks back at. It serves from the database and has nothing older in memory.
const FIRST_LOOK: i64 = 1000;

/// How many changes are read at once.
const BATCH: u32 = 500;

/// One server's eye on what it serves.
#[derive(Debug)]
pub(super) struct Follower {
    context: Context,
    tokens: Tokens,
    /// As it is written down; the times are the database's.
    me: Replica,
    /// Up to which change the JWKS was looked at; `None` before the first look.
    seen: Mutex<Option<i64>>,
}

impl Follower {
    pub(super) fn new(context: Context, tokens: Tokens) -> Self {
        let nothing = Timestamp::from_millis(0);
        let me = Replica {
            id: context.replica,
            host: host_name(),
            pid: process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at: nothing,
            seen_at: nothing,
            key_revision: 0,
        };
        Self { context, tokens, me, seen: Mutex::new(None) }
    }

    /// Looks at what this server serves of the keys that changed, and says so. A server that cannot read the database says nothing.
    pub(super) async fn follow(&self) -> Result<(), Error> {
        let revision = self.context.store.key_revision().await?;
        let from = *self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = self.look(from.unwrap_or(revision - FIRST_LOOK), revision).await?;
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(seen);
        let me = Replica { key_revision: seen, ..self.me.clone() };
        Ok(self.context.store.beat(&me, REPLICA_LEASE).await?)
    }

    /// Up to which change the JWKS that is served has what it should.
    async fn look(&self, from: i64, revision: i64) -> Result<i64, Error> {
        let mut served = HashMap::new();
        let mut seen = from;
        while seen < revision {
            let changed = self.context.store.signing_keys_changed_since(seen, BATCH).await?;
            for key in &changed {
                if !self.is_served_right(key, &mut served).await? {
                    return Ok(key.revision - 1);
                }
                seen = key.revision;
            }
            if changed.len() < usize::try_from(BATCH).unwrap_or(usize::MAX) {
                break;
            }
            // Another key of the last one's change may be beyond the cut.
            seen -= 1;
        }
        Ok(seen.max(revision))
    }

    /// Whether the JWKS has the key exactly if it should.
    async fn is_served_right(&self, key: &SigningKey, served: &mut HashMap<TenantId, HashSet<KeyId>>) -> Result<bool, Error> {
        let kids = match served.entry(key.tenant_id) {
            Entry::Occupied(kids) => kids.into_mut(),
            Entry::Vacant(place) => match self.kids(key.tenant_id).await {
                Ok(kids) => place.insert(kids),
                // One tenant's damage must not keep all others' keys from signing. Its own cannot: that is shown again before.
                Err(error @ Error::Internal(..)) => {
                    let tenant = key.tenant_id;
                    tracing::error!(%tenant, %error, "the JWKS of tenant {tenant} cannot be served: {error}");
                    return Ok(true);
                }
                Err(error) => return Err(error),
            },
        };
        if kids.contains(&key.id) == key.in_jwks() {
            return Ok(true);
        }
        // It may have changed since it was read: then there is another change to look at, later.
        let now = self.context.store.signing_key(key.id).await?;
        let kids = self.kids(key.tenant_id).await?;
        Ok(now.is_none_or(|now| kids.contains(&now.id) == now.in_jwks()))
    }

    async fn kids(&self, tenant: TenantId) -> Result<HashSet<KeyId>, Error> {
        #[derive(Deserialize)]
        struct JwkSet {
            keys: Vec<Jwk>,
        }
        #[derive(Deserialize)]
        struct Jwk {
            kid: KeyId,
        }
        let served = self.tokens.published_keys(tenant).await?;
        let set: JwkSet = serde_json::from_str(&served.body)
            .map_err(|e| Error::Internal(format!("the JWKS of tenant {tenant} cannot be read"), Some(e.into())))?;
        Ok(set.keys.into_iter().map(|jwk| jwk.kid).collect())
    }
}

/// For people who look for the server.
fn host_name() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name: String = name.trim().chars().filter(|c| !c.is_control()).take(255).collect();
    if name.is_empty() { "localhost".to_owned() } else { name }
}
