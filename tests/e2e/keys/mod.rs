//! Signing keys under command: what the scheduler does by itself, what commands may do and what they are refused, and what a crash leaves.

mod ceremony;
mod commands;
#[cfg(feature = "failpoints")]
mod crash;
mod scheduler;
mod stampede;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use passkey_hsm::{
    domain::{Actor, KeyId, KeyState, ReplicaId, RequestMeta, SigningKey, SystemClock, SystemRng},
    hsm::{Signer, SignerCommand, SignerOptions},
    services::{By, Context, Governance, RootSecret, Services, Trust},
    storage::Store,
};
use serde_json::{Value, json};

use crate::support::server::Server;

/// A life of seconds.
fn short(period: Option<u32>) -> Value {
    json!({ "keys": { "jwks_max_age_seconds": 1, "token_lifetime_seconds": 1, "clock_skew_seconds": 0, "publication_seconds": 2,
        "retirement_seconds": 2, "period_seconds": period, "rollback_seconds": 0 } })
}

/// The use cases on a server's database and token, in this process: what a command that runs directly has.
async fn operator(server: &Server) -> Services {
    let file = server.folder.path().join("passkey-hsm.toml");
    let args = vec!["--config".into(), file.into(), "signer".into()];
    let command = SignerCommand {
        program: env!("CARGO_BIN_EXE_passkey-hsm").into(),
        args,
        env: vec![("SOFTHSM2_CONF".into(), server.folder.conf().into())],
    };
    let signer = Signer::start(SignerOptions { processes: 1, ..SignerOptions::new(command) });
    signer.wait_ready(Duration::from_secs(30)).await.unwrap();
    Services::new(Context {
        store: server.store().await,
        signer,
        clock: Arc::new(SystemClock),
        rng: Arc::new(SystemRng),
        public_url: Arc::new("http://localhost".parse().unwrap()),
        trust: Trust::default(),
        root_secret: RootSecret::default(),
        replica: ReplicaId::random(&SystemRng),
        governance: Arc::new(Governance { follow_interval: Duration::from_millis(100), ..Governance::default() }),
    })
}

fn by(reason: &str) -> By {
    By { actor: Actor::Local { uid: 0 }, reason: Some(reason.to_owned()), meta: RequestMeta::default() }
}

/// Waits until what `look` finds is so.
async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "not in 20 s: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The only key in this state, once there is one.
async fn one_in(store: &Store, state: KeyState) -> SigningKey {
    until(state.as_str(), async || {
        let keys = store.signing_keys().await.unwrap().into_iter().filter(|k| k.state == state).collect::<Vec<_>>();
        assert!(keys.len() < 2, "{keys:?}");
        keys.into_iter().next()
    })
    .await
}

/// Labels of the private keys on the token, as another tool sees them.
fn on_token(server: &Server) -> String {
    server.folder.tool(&["--token-label", "passkey-test", "--login", "--pin", "env:PIN", "--list-objects", "--type", "privkey"], "")
}

/// How many private keys of tenants there are on the token, where none is that should not be.
fn pairs(server: &Server, kids: &[KeyId]) -> usize {
    let listed = on_token(server);
    kids.iter().map(|kid| listed.matches(&format!("label:      {kid}")).count()).sum()
}
