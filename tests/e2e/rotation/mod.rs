//! Rotation with two servers on one PostgreSQL database and one token, while users sign in through both: no login fails at a server that lives,
//! and no token is refused by anybody who keeps a JWKS for max-age, whatever dies when.

mod cut_off;
mod gone;
#[cfg(feature = "failpoints")]
mod killed;
mod load;

use std::{
    fs,
    time::{Duration, Instant},
};

use passkey_hsm::{
    domain::{KeyState, SigningKey},
    storage::Store,
};
use serde_json::{Value, json};

use self::load::{Load, Seen, Side};
use crate::support::{
    api::Tenant,
    postgres,
    server::{Beside, Server, ServerSpec, TenantSpec, text},
};

/// How long a rotation may take in which a server died: its successor waits for the lease of what the dead one did (5 s), and for its place among the
/// servers that have to show the new key (10 s).
const PATIENCE: Duration = Duration::from_secs(45);
const MAX_AGE: Duration = Duration::from_secs(1);
/// A second before the end of a token.
const LATE: Duration = Duration::from_secs(2);

/// Lengths that are as short as they may be. A key signs for seven seconds.
fn policy() -> Value {
    json!({"jwks_max_age_seconds": 1, "token_lifetime_seconds": 3, "clock_skew_seconds": 1, "publication_seconds": 2, "retirement_seconds": 5,
        "period_seconds": 7, "rollback_seconds": 0})
}

/// The same, and the scheduler has nothing to do.
fn at_rest() -> Value {
    let mut policy = policy();
    (policy["period_seconds"], policy["standby"]) = (Value::Null, json!(false));
    policy
}

/// Two servers, a tenant at rest, and users.
struct Scene {
    first: Server,
    second: Beside,
    tenant: Tenant,
    store: Store,
    load: Load,
}

/// `env` is the first server's environment, `others` the second one's. `through` is how the first reaches the database.
async fn scene(database: String, through: Option<String>, env: Vec<(String, String)>, others: Vec<(String, String)>) -> Scene {
    let others = [others, vec![("PASSKEY_HSM_DATABASE__URL".to_owned(), database.clone())]].concat();
    let spec = ServerSpec { database: Some(through.unwrap_or(database.clone())), scheduler: true, env, ..ServerSpec::default() };
    let first = Server::start(spec).await;
    let second = first.beside_with(others).await;
    let tenant = first.create_tenant(&TenantSpec { settings: json!({"keys": at_rest()}), ..TenantSpec::default() });
    let sides = [(tenant.clone(), first.pid()), (tenant.at(second.api()), second.pid())].map(|(tenant, pid)| Side { tenant, pid });
    let load = Load::start(&sides, MAX_AGE, LATE).await;
    let store = Store::open(&database, 1).await.unwrap();
    Scene { first, second, tenant, store, load }
}

async fn database() -> String {
    postgres::Server::shared().empty_database().await
}

impl Scene {
    /// Gives the tenant another key policy.
    fn set_policy(&self, keys: &Value) {
        set_policy(&self.first, &self.tenant, keys);
    }

    async fn keys(&self) -> Vec<SigningKey> {
        keys(&self.store, &self.tenant).await
    }

    /// Waits until the tenant's keys are as wanted.
    async fn until(&self, what: &str, wanted: impl Fn(&[SigningKey]) -> bool) {
        until(&self.store, &self.tenant, what, wanted).await;
    }

    /// Ends the load once it has seen `rotations`; nothing may have failed.
    async fn end(self, rotations: usize) {
        let started = Instant::now();
        while self.load.rotations() < rotations && started.elapsed() < PATIENCE {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let seen = self.load.stop().await;
        assert!(seen.failures.is_empty(), "{} failures, {} logins: {:#?}", seen.failures.len(), seen.logins, seen.failures);
        let Seen { kids, logins, verified, .. } = seen;
        assert!(
            kids.len() > rotations && logins > 20 && verified > logins,
            "{} keys, {logins} logins, {verified} verifications",
            kids.len()
        );
        drop(self.second);
    }
}

fn set_policy(server: &Server, tenant: &Tenant, keys: &Value) {
    let shown = server.cli(&["--json", "tenant", "config", "get", &tenant.id]);
    let mut config: Value = serde_json::from_slice(&shown.stdout).unwrap_or_else(|e| panic!("{e}: {}", text(&shown)));
    config["settings"]["keys"] = keys.clone();
    let file = server.folder.path().join("policy.json");
    fs::write(&file, config.to_string()).unwrap();
    let set = server.cli(&["tenant", "config", "set", &tenant.id, file.to_str().unwrap()]);
    assert!(set.status.success(), "{}", text(&set));
}

async fn keys(store: &Store, tenant: &Tenant) -> Vec<SigningKey> {
    store.signing_keys_of(tenant.id.parse().unwrap()).await.unwrap()
}

async fn until(store: &Store, tenant: &Tenant, what: &str, wanted: impl Fn(&[SigningKey]) -> bool) {
    let started = Instant::now();
    loop {
        let keys = keys(store, tenant).await;
        if wanted(&keys) {
            return;
        }
        let shown: Vec<_> = keys.iter().map(|key| (key.id, key.state, key.withdrawn_at, key.private_destroyed_at)).collect();
        assert!(started.elapsed() < PATIENCE, "not after {PATIENCE:?}: {what}: {shown:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn in_state(keys: &[SigningKey], state: KeyState) -> usize {
    keys.iter().filter(|key| key.state == state).count()
}
