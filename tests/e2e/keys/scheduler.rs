//! What a server does by itself.

use std::time::{Duration, Instant};

use passkey_hsm::{
    domain::{KeyPlan, KeyState},
    services::NewKey,
};
use serde_json::Value;

use super::{by, on_token, one_in, short, until};
use crate::support::{
    api::Tenant,
    authenticator::Format,
    jose,
    keys::Algorithm,
    postgres,
    server::{Server, ServerSpec, TenantSpec},
};

fn spec(database: Option<String>) -> ServerSpec {
    ServerSpec { database, scheduler: true, keys: vec!["follow_ms = 100".to_owned()], ..ServerSpec::default() }
}

/// A verifier that fetches the JWKS when its max-age is over and never else, whatever kid it meets.
struct Verifier {
    jwks: Value,
    fetched: Instant,
}

impl Verifier {
    async fn new(tenant: &Tenant) -> Self {
        Self { jwks: tenant.jwks().await.json(), fetched: Instant::now() }
    }

    /// The kid of a token that verifies.
    async fn verify(&mut self, tenant: &Tenant, token: &str) -> String {
        if self.fetched.elapsed() >= Duration::from_secs(1) {
            *self = Self::new(tenant).await;
        }
        let verified = jose::jsonwebtoken(token, &self.jwks, &tenant.rp_id).unwrap_or_else(|e| panic!("{e}: {}", self.jwks));
        verified.header["kid"].as_str().unwrap().to_owned()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_live_and_die_by_themselves_on_sqlite() {
    keys_live_and_die(spec(None)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_live_and_die_by_themselves_on_postgres() {
    keys_live_and_die(spec(Some(postgres::Server::shared().empty_database().await))).await;
}

/// The standby comes, takes over when the period is over, and the key before leaves the JWKS and the token; all the while each token verifies.
async fn keys_live_and_die(spec: ServerSpec) {
    let server = Server::start(spec).await;
    let tenant = server.create_tenant(&TenantSpec { settings: short(Some(4)), ..TenantSpec::default() });
    let store = server.store().await;
    let (first, mut verifier) = (tenant.kid.clone(), Verifier::new(&tenant).await);
    assert!(on_token(&server).contains(&first));
    let (begun, mut signed_by) = (Instant::now(), Vec::new());
    let first_key = loop {
        let draft = tenant.draft(&format!("u{}", signed_by.len()), Format::None, Algorithm::Es256).await;
        let token = tenant.finalize(draft.body().to_string()).await.token();
        signed_by.push(verifier.verify(&tenant, &token).await);
        let key = store.signing_key(first.parse().unwrap()).await.unwrap().unwrap();
        if key.state == KeyState::Retired && key.private_destroyed_at.is_some() {
            break key;
        }
        assert!(begun.elapsed() < Duration::from_secs(25), "{key:?}");
        tokio::time::sleep(Duration::from_millis(30)).await;
    };
    let mut kids = signed_by;
    kids.dedup();
    assert!(kids.len() >= 2 && kids[0] == first && !kids[1..].contains(&first), "{kids:?}");
    assert!(!tenant.jwks().await.body.contains(&first));
    assert!(!on_token(&server).contains(&first));

    // Each date is where the policy has it, by the database's clock.
    let second = store.signing_key(kids[1].parse().unwrap()).await.unwrap().unwrap();
    let at = |t: Option<passkey_hsm::domain::Timestamp>| t.unwrap().as_millis();
    assert!(at(second.usable_from) - at(second.published_at) == 2000 && at(second.activated_at) >= at(second.usable_from), "{second:?}");
    assert!(at(second.activated_at) >= at(first_key.rotate_from) && second.predecessor == Some(first_key.id));
    assert_eq!((first_key.deactivated_at, at(first_key.withdraw_from)), (second.activated_at, at(second.activated_at) + 2000));
    assert!(at(first_key.withdrawn_at) >= at(first_key.withdraw_from));
    assert!(at(first_key.private_destroyed_at) >= at(first_key.keep_private_until));
    let life = at(first_key.rotate_from) - at(first_key.activated_at);
    assert!((3800..=4000).contains(&life), "{life}");

    // Who did it, and what.
    let told = store.audit_events_of_key(second.tenant_id, first_key.id, 100).await.unwrap();
    let told: Vec<_> = told.iter().map(|e| (e.event_type.as_str(), e.actor.clone().unwrap_or_default())).collect();
    for event in ["signing_key_deactivated", "signing_key_retired", "signing_key_destruction_begun", "signing_key_private_destroyed"] {
        let by_scheduler = told.iter().filter(|(name, who)| *name == event && who.starts_with("scheduler of "));
        assert_eq!(by_scheduler.count(), 1, "{event}: {told:?}");
    }
}

/// Two servers, one token, one database: each thing is done once, and the second goes on when the first is gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_servers_do_each_thing_once() {
    let mut server = Server::start(spec(Some(postgres::Server::shared().empty_database().await))).await;
    let beside = server.beside().await;
    let store = server.store().await;
    let tenants: Vec<_> = (0..3).map(|_| server.create_tenant(&TenantSpec { settings: short(None), ..TenantSpec::default() })).collect();
    until("each tenant has its standby", async || {
        let keys = store.signing_keys().await.unwrap();
        (keys.iter().filter(|k| k.state == KeyState::Published).count() == 3).then_some(())
    })
    .await;
    assert_eq!(store.signing_keys().await.unwrap().len(), 6);
    let lease = Duration::from_secs(10);
    until("both servers serve the standbys", async || {
        let (replicas, revision) = (store.live_replicas(lease).await.unwrap(), store.key_revision().await.unwrap());
        (replicas.len() == 2 && replicas.iter().all(|r| r.key_revision == revision)).then_some(())
    })
    .await;

    server.kill();
    let tenant = tenants[0].at(beside.api());
    server.execute("UPDATE signing_keys SET rotate_from = 1 WHERE state = 'active'").await;
    until("the other server rotates", async || {
        let keys = store.signing_keys().await.unwrap();
        (keys.iter().filter(|k| k.state == KeyState::Retiring).count() == 3).then_some(())
    })
    .await;
    let draft = tenant.draft("ann", Format::None, Algorithm::Es256).await;
    let token = tenant.finalize(draft.body().to_string()).await.token();
    let verified = jose::jsonwebtoken(&token, &tenant.jwks().await.json(), "localhost").unwrap();
    assert_ne!(verified.header["kid"], tenant.kid);
}

/// What is taken out of service in good order is not waited for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_ends_takes_its_leave() {
    let mut server = Server::start(spec(None)).await;
    let store = server.store().await;
    let lease = Duration::from_secs(10);
    let replica = until("the server says that it is there", async || store.live_replicas(lease).await.unwrap().pop()).await;
    assert_eq!((replica.pid, replica.version.as_str()), (server.pid(), env!("CARGO_PKG_VERSION")));
    assert!(server.terminate().success());
    assert_eq!(store.live_replicas(lease).await.unwrap(), []);
    assert_eq!(server.count("leases WHERE expires_at > 0").await, 0);
}

/// No more keys are made in a minute than the HSM is to be asked for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_made_at_the_rate_that_is_allowed() {
    let spec = ServerSpec { keys: vec!["follow_ms = 100".to_owned(), "generations_per_minute = 3".to_owned()], ..spec(None) };
    let server = Server::start(spec).await;
    let store = server.store().await;
    for _ in 0..2 {
        server.create_tenant(&TenantSpec::default());
    }
    one_in(&store, KeyState::Published).await;
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert_eq!(store.signing_keys().await.unwrap().len(), 3, "two first keys and one standby are three keys in a minute");
    // A minute later.
    server.execute("UPDATE signing_keys SET created_at = created_at - 61000").await;
    until("the other standby", async || (store.signing_keys().await.unwrap().len() == 4).then_some(())).await;
}

/// What others change is heard of at once on PostgreSQL, long before the next look.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_is_heard_of_before_the_next_look() {
    let database = Some(postgres::Server::shared().empty_database().await);
    let server = Server::start(ServerSpec { database, keys: vec!["follow_ms = 5000".to_owned()], ..ServerSpec::default() }).await;
    let (operator, lease) = (super::operator(&server).await, Duration::from_secs(20));
    let tenant = server.create_tenant(&TenantSpec::default());
    let new = NewKey { algorithm: None, rsa_bits: None, plan: KeyPlan::None };
    let made = operator.keys.generate(tenant.id.parse().unwrap(), new, &by("t")).await.unwrap();
    let store = &operator.context.store;
    until("the server is there", async || store.live_replicas(lease).await.unwrap().pop()).await;
    // Two looks apart from one another, whatever its first one met.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let (begun, published) = (Instant::now(), operator.keys.publish(made.id, &by("t")).await.unwrap());
    until("the server has heard of it", async || {
        let replicas = store.live_replicas(lease).await.unwrap();
        replicas.iter().all(|r| r.key_revision >= published.revision).then_some(())
    })
    .await;
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
}

/// What needs no HSM is done while it is away, and the rest when it is back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_hsm_that_is_away_holds_nothing_else_up() {
    let server = Server::start(spec(None)).await;
    server.create_tenant(&TenantSpec::default());
    let store = server.store().await;
    let standby = one_in(&store, KeyState::Published).await;
    let (tokens, away) = (server.folder.token_dir(), server.folder.path().join("away"));
    std::fs::rename(&tokens, &away).unwrap();
    for pid in server.signers() {
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    }
    until("the HSM is away", async || (server.admin_api().get("/health/ready").await.status != 200).then_some(())).await;
    server.execute("UPDATE signing_keys SET state = 'retiring', withdraw_from = 1, keep_private_until = 1 WHERE state = 'published'").await;
    let retired = one_in(&store, KeyState::Retired).await;
    assert_eq!((retired.id, retired.private_destroyed_at), (standby.id, None));

    std::fs::rename(&away, &tokens).unwrap();
    let next = one_in(&store, KeyState::Published).await;
    assert_ne!(next.id, standby.id);
    until("the end", async || store.signing_key(standby.id).await.unwrap().filter(|k| k.private_destroyed_at.is_some())).await;
    assert!(!on_token(&server).contains(&standby.id.to_string()));
}
