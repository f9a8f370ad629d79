//! What commands do with keys, and by which rules they are refused.

use std::time::Duration;

use passkey_hsm::{
    domain::{KeyId, KeyPlan, KeyRefusal, KeyRule, KeyState, SigningAlgorithm, SigningKey, TenantId},
    services::{Error, NewKey, Rotate, Rotation, Services, UpdateTenant},
};
use rustix::process::Signal;

use super::{by, on_token, operator, short, until};
use crate::support::{
    api::Tenant,
    authenticator::Format,
    jose,
    keys::Algorithm,
    postgres,
    server::{Server, ServerSpec, TenantSpec},
};

const OWN: NewKey = NewKey { algorithm: None, rsa_bits: None, plan: KeyPlan::None };

/// A server that does nothing by itself, an operator beside it, and a tenant with a life of seconds.
pub(super) struct Scene {
    pub(super) server: Server,
    pub(super) operator: Services,
    tenant: Tenant,
    pub(super) id: TenantId,
}

impl Scene {
    async fn new(database: Option<String>, period: Option<u32>) -> Self {
        let keys = vec!["follow_ms = 100".to_owned()];
        let server = Server::start(ServerSpec { database, keys, ..ServerSpec::default() }).await;
        let operator = operator(&server).await;
        let tenant = server.create_tenant(&TenantSpec { settings: short(period), ..TenantSpec::default() });
        let id = tenant.id.parse().unwrap();
        Self { server, operator, tenant, id }
    }

    pub(super) async fn sqlite() -> Self {
        Self::new(None, None).await
    }

    pub(super) fn first(&self) -> KeyId {
        self.tenant.kid.parse().unwrap()
    }

    async fn key(&self, kid: KeyId) -> SigningKey {
        self.operator.keys.get(kid).await.unwrap()
    }

    /// A key that is published.
    pub(super) async fn standby(&self) -> SigningKey {
        let made = self.operator.keys.generate(self.id, OWN, &by("test")).await.unwrap();
        self.operator.keys.publish(made.id, &by("test")).await.unwrap()
    }

    /// A key that may sign by now.
    async fn ready_standby(&self) -> SigningKey {
        let standby = self.standby().await;
        self.server.execute("UPDATE signing_keys SET usable_from = 1 WHERE state = 'published'").await;
        self.seen(standby.published_revision).await;
        standby
    }

    /// Waits until the server has looked at its JWKS.
    async fn seen(&self, revision: i64) {
        until("the server follows", async || {
            let replicas = self.operator.context.store.live_replicas(Duration::from_secs(10)).await.unwrap();
            replicas.iter().all(|r| r.key_revision >= revision).then_some(())
        })
        .await;
    }

    /// The kid of a token that is made now, which verifies with the JWKS of now.
    async fn signs(&self) -> KeyId {
        let draft = self.tenant.draft("ann", Format::None, Algorithm::Es256).await;
        let token = self.tenant.finalize(draft.body().to_string()).await.token();
        let verified = jose::jsonwebtoken(&token, &self.tenant.jwks().await.json(), "localhost").unwrap();
        verified.header["kid"].as_str().unwrap().parse().unwrap()
    }

    async fn is_published(&self, kid: KeyId) -> bool {
        self.tenant.jwks().await.body.contains(&kid.to_string())
    }
}

#[track_caller]
pub(super) fn refused<T: std::fmt::Debug>(outcome: Result<T, Error>, rule: KeyRule) -> String {
    match outcome {
        Err(Error::KeyRefused(KeyRefusal { rule: found, detail })) if found == rule => detail,
        other => panic!("not refused by {rule}: {other:?}"),
    }
}

#[track_caller]
fn done(rotation: Rotation) -> (SigningKey, SigningKey) {
    match rotation {
        Rotation::Done(signs, Some(before)) => (signs, before),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_waits_for_verifiers_and_servers_on_sqlite() {
    Box::pin(a_rotation_waits(None)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_waits_for_verifiers_and_servers_on_postgres() {
    let database = postgres::Server::shared().empty_database().await;
    Box::pin(a_rotation_waits(Some(database))).await;
}

async fn a_rotation_waits(database: Option<String>) {
    let scene = Scene::new(database, None).await;
    let keys = &scene.operator.keys;
    let emergency = Rotate { emergency: true, ..Rotate::default() };
    refused(keys.rotate(scene.id, emergency, &by("t")).await, KeyRule::Standby);

    // Planned: one is made, and will sign.
    let planned = match keys.rotate(scene.id, Rotate::default(), &by("t")).await.unwrap() {
        Rotation::Planned(key) => key,
        other => panic!("{other:?}"),
    };
    assert_eq!((planned.state, planned.plan), (KeyState::Published, KeyPlan::Activate));
    refused(keys.activate(planned.id, false, &by("t")).await, KeyRule::PublicationTime);
    refused(keys.rotate(scene.id, emergency, &by("t")).await, KeyRule::PublicationTime);
    assert!(matches!(keys.rotate(scene.id, Rotate::default(), &by("t")).await, Ok(Rotation::Planned(again)) if again.id == planned.id));

    // Its time has come, but a server was stopped before it could look.
    scene.seen(planned.published_revision).await;
    scene.server.execute("UPDATE signing_keys SET usable_from = 1 WHERE state = 'published'").await;
    scene.server.execute("UPDATE signing_keys SET published_revision = 1000 WHERE state = 'published'").await;
    let why = refused(keys.activate(planned.id, false, &by("t")).await, KeyRule::Replicas);
    assert!(why.contains(&format!("process {}", scene.server.pid())), "{why}");
    refused(keys.rotate(scene.id, emergency, &by("t")).await, KeyRule::Replicas);
    scene.server.execute("UPDATE signing_keys SET published_revision = 1 WHERE state = 'published'").await;

    let (signs, before) = done(keys.rotate(scene.id, emergency, &by("t")).await.unwrap());
    assert_eq!((signs.id, before.id, before.state), (planned.id, scene.first(), KeyState::Retiring));
    assert_eq!(scene.signs().await, planned.id);
    assert!(scene.is_published(before.id).await);

    // A run that is taken up again leaves alone what it has done.
    let since = Rotate { if_active_before: signs.activated_at, ..Rotate::default() };
    assert!(matches!(keys.rotate(scene.id, since, &by("t")).await, Ok(Rotation::NotNeeded(key)) if key.id == signs.id));
}

/// A server that hangs is a server that may still serve the JWKS from before, until its lease is over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_server_is_waited_for_and_exposure_is_accepted_on_record() {
    let scene = Scene::sqlite().await;
    let keys = &scene.operator.keys;
    let standby = scene.ready_standby().await;
    scene.server.signal(Signal::STOP);
    let (distrusted, signs) = keys.compromise(standby.id, false, &by("t")).await.unwrap();
    assert_eq!((distrusted.state, signs.map(|k| k.id)), (KeyState::Compromised, Some(scene.first())), "the tenant's key signs on");
    let second = scene.standby().await;
    refused(keys.activate(second.id, true, &by("t")).await, KeyRule::Replicas);
    scene.server.signal(Signal::CONT);

    // P is not over: verifiers are exposed, and that is written down.
    refused(keys.activate(second.id, false, &by("t")).await, KeyRule::PublicationTime);
    let (signs, _) = done(keys.activate(second.id, true, &by("drill")).await.unwrap());
    assert_eq!((signs.id, scene.signs().await), (second.id, second.id));
    let history = keys.dossier(second.id).await.unwrap().history;
    let activated = history.iter().find(|e| e.event_type.as_str() == "signing_key_activated").unwrap();
    assert_eq!(activated.reason.as_deref(), Some("exposure accepted: drill"));
    assert_eq!(activated.actor.as_deref(), Some("local user 0"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotation_is_undone_inside_its_window() {
    let scene = Scene::sqlite().await;
    let keys = &scene.operator.keys;
    refused(keys.roll_back(scene.id, &by("t")).await, KeyRule::RollbackWindow);
    let standby = scene.ready_standby().await;
    done(keys.activate(standby.id, false, &by("t")).await.unwrap());
    // The window is 0, and what servers may be doing with the key is waited for: that is enough for a quick hand.
    let (signs, before) = done(keys.roll_back(scene.id, &by("regret")).await.unwrap());
    assert_eq!((signs.id, before.id, before.state), (scene.first(), standby.id, KeyState::Suspended));
    assert_eq!(scene.signs().await, scene.first());
    assert!(scene.is_published(standby.id).await, "its tokens are verified until R is over");

    // What is suspended cannot take over beside another; and its window is over some time.
    refused(keys.resume(standby.id, &by("t")).await, KeyRule::OneActive);
    let next = scene.ready_standby().await;
    done(keys.activate(next.id, false, &by("t")).await.unwrap());
    scene.server.execute("UPDATE signing_keys SET keep_private_until = 1 WHERE state = 'retiring'").await;
    refused(keys.roll_back(scene.id, &by("t")).await, KeyRule::RollbackWindow);
    assert_eq!(scene.signs().await, next.id);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_suspended_comes_back_or_is_replaced() {
    let scene = Scene::sqlite().await;
    let keys = &scene.operator.keys;
    refused(keys.suspend(scene.first(), true, &by("t")).await, KeyRule::Standby);
    let suspended = keys.suspend(scene.first(), false, &by("t")).await.unwrap();
    assert!(suspended.state == KeyState::Suspended && scene.is_published(suspended.id).await);
    let draft = scene.tenant.draft("ann", Format::None, Algorithm::Es256).await;
    scene.tenant.finalize(draft.body().to_string()).await.problem(503, "Service Unavailable");
    refused(keys.suspend(scene.first(), false, &by("t")).await, KeyRule::State);
    keys.resume(scene.first(), &by("t")).await.unwrap();
    assert_eq!(scene.signs().await, scene.first());

    let standby = scene.ready_standby().await;
    assert_eq!(keys.suspend(scene.first(), true, &by("t")).await.unwrap().state, KeyState::Suspended);
    assert_eq!(scene.signs().await, standby.id);
    // Once it has left the JWKS, P begins anew.
    scene.server.execute("UPDATE signing_keys SET withdrawn_at = 1 WHERE state = 'suspended'").await;
    let again = keys.resume(scene.first(), &by("t")).await.unwrap();
    assert_eq!(again.state, KeyState::Published);
    refused(keys.activate(again.id, false, &by("t")).await, KeyRule::PublicationTime);
    assert_eq!(keys.retire(again.id, &by("t")).await.unwrap().state, KeyState::Retired);
    refused(keys.retire(again.id, &by("t")).await, KeyRule::State);
    refused(keys.resume(again.id, &by("t")).await, KeyRule::State);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn distrust_is_at_once_with_or_without_a_successor() {
    let scene = Scene::sqlite().await;
    let keys = &scene.operator.keys;
    let standby = scene.ready_standby().await;
    let (distrusted, signs) = keys.compromise(scene.first(), false, &by("leaked")).await.unwrap();
    assert_eq!((distrusted.state, signs.map(|k| k.id)), (KeyState::Compromised, Some(standby.id)));
    assert!(!scene.is_published(scene.first()).await);
    assert_eq!(scene.signs().await, standby.id);
    refused(keys.compromise(scene.first(), false, &by("t")).await, KeyRule::State);

    // The next standby is too young: the tenant signs nothing, and the standby takes over when its time has come.
    let young = scene.standby().await;
    let (distrusted, signs) = keys.compromise(standby.id, false, &by("leaked too")).await.unwrap();
    assert!(distrusted.state == KeyState::Compromised && signs.is_none());
    let draft = scene.tenant.draft("ann", Format::None, Algorithm::Es256).await;
    scene.tenant.finalize(draft.body().to_string()).await.problem(503, "Service Unavailable");
    assert_eq!(scene.key(young.id).await.plan, KeyPlan::Activate);
    let emergency = Rotate { emergency: true, accept_exposure: true, ..Rotate::default() };
    assert!(matches!(keys.rotate(scene.id, emergency, &by("t")).await, Ok(Rotation::Done(key, None)) if key.id == young.id));
    assert_eq!(scene.signs().await, young.id);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_emergency_without_a_standby_makes_one_where_exposure_is_accepted() {
    let scene = Scene::sqlite().await;
    let emergency = Rotate { emergency: true, accept_exposure: true, ..Rotate::default() };
    let (signs, before) = done(scene.operator.keys.rotate(scene.id, emergency, &by("t")).await.unwrap());
    assert_eq!((before.id, scene.signs().await), (scene.first(), signs.id));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_destroyed_is_gone_and_what_signs_is_not_destroyed() {
    let scene = Scene::sqlite().await;
    let keys = &scene.operator.keys;
    for outcome in [keys.destroy(scene.first(), &by("t")).await, keys.retire(scene.first(), &by("t")).await] {
        refused(outcome, KeyRule::Successor);
    }
    let standby = scene.standby().await;
    assert!(on_token(&scene.server).contains(&standby.id.to_string()));
    let destroyed = keys.destroy(standby.id, &by("t")).await.unwrap();
    assert!(destroyed.state == KeyState::Destroyed && destroyed.private_destroyed_at.is_some());
    assert!(!on_token(&scene.server).contains(&standby.id.to_string()) && !scene.is_published(standby.id).await);
    assert_eq!(keys.destroy(standby.id, &by("again")).await.unwrap().private_destroyed_at, destroyed.private_destroyed_at);
    refused(keys.activate(standby.id, true, &by("t")).await, KeyRule::State);
    refused(keys.compromise(standby.id, false, &by("t")).await, KeyRule::State);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_signs_that_was_not_shown_to() {
    let scene = Scene::sqlite().await;
    let keys = &scene.operator.keys;
    let one = keys.generate(scene.id, OWN, &by("t")).await.unwrap();
    refused(keys.generate(scene.id, OWN, &by("t")).await, KeyRule::OnePending);
    refused(keys.activate(one.id, true, &by("t")).await, KeyRule::State);
    keys.publish(one.id, &by("t")).await.unwrap();
    refused(keys.publish(one.id, &by("t")).await, KeyRule::State);
    scene.server.execute("UPDATE signing_keys SET usable_from = 1 WHERE state = 'published'").await;
    scene.seen(scene.key(one.id).await.published_revision).await;

    // The published half is another key's: what the token signs does not verify with it.
    scene.server.execute("UPDATE signing_keys SET evidence_signature = zeroblob(64) WHERE state = 'published'").await;
    refused(keys.activate(one.id, false, &by("t")).await, KeyRule::Evidence);
    let evidence = one.evidence.clone().unwrap();
    assert_eq!(evidence.signature.len(), 64);
    scene.server.execute("UPDATE signing_keys SET token_serial = 'elsewhere' WHERE state = 'published'").await;
    scene.server.execute("UPDATE signing_keys SET evidence_signature = NULL, evidence_record = NULL WHERE state = 'published'").await;
    refused(keys.activate(one.id, false, &by("t")).await, KeyRule::Evidence);
    refused(keys.destroy(one.id, &by("t")).await, KeyRule::Token);
    assert_eq!(keys.compromise(one.id, false, &by("t")).await.unwrap().0.state, KeyState::Compromised);
    assert_eq!(scene.signs().await, scene.first());
}

/// What `doctor` advises where a token was lost leads out of it, though the standby went with the token.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_on_a_lost_token_stands_in_nobodys_way() {
    let scene = Scene::sqlite().await;
    let keys = &scene.operator.keys;
    let lost = scene.ready_standby().await;
    scene.server.execute("UPDATE signing_keys SET token_serial = 'lost'").await;
    let serial = scene.operator.context.signer.status().token.unwrap().serial;
    let lacking = async |serial| scene.operator.context.store.due_keys(Duration::ZERO, 9, serial).await.unwrap().lacking_standby;
    assert_eq!((lacking(Some("lost")).await, lacking(None).await), (vec![], vec![]));
    assert_eq!(lacking(Some(&serial)).await, [scene.id]);

    refused(keys.rotate(scene.id, Rotate { emergency: true, ..Rotate::default() }, &by("t")).await, KeyRule::Standby);
    let way_out = Rotate { emergency: true, accept_exposure: true, if_active_before: None };
    let Rotation::Done(signs, before) = keys.rotate(scene.id, way_out, &by("t")).await.unwrap() else { panic!("it was not done") };
    assert!(signs.id != lost.id && signs.token_serial == Some(serial));
    assert_eq!(before.unwrap().id, scene.first());
    assert_eq!(scene.signs().await, signs.id);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_private_half_that_is_gone_is_not_activated() {
    let scene = Scene::sqlite().await;
    let keys = &scene.operator.keys;
    let standby = scene.ready_standby().await;
    scene.operator.context.signer.destroy(standby.id, None).await.unwrap();
    refused(keys.activate(standby.id, false, &by("t")).await, KeyRule::PrivateHalf);
    refused(keys.rotate(scene.id, Rotate::default(), &by("t")).await, KeyRule::PrivateHalf);
    // Once its end has begun it is nobody's standby: another key is made.
    scene.server.execute("UPDATE signing_keys SET destroying_at = 1 WHERE state = 'published'").await;
    refused(keys.rotate(scene.id, Rotate { emergency: true, ..Rotate::default() }, &by("t")).await, KeyRule::Standby);
    let planned = keys.rotate(scene.id, Rotate::default(), &by("t")).await;
    assert!(matches!(&planned, Ok(Rotation::Planned(key)) if key.id != standby.id), "{planned:?}");
    assert_eq!(scene.signs().await, scene.first());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_of_settings_replaces_the_standby_and_waits_for_what_was_cached() {
    let scene = Scene::new(None, Some(3600)).await;
    let keys = &scene.operator.keys;
    let (standby, store) = (scene.standby().await, &scene.operator.context.store);
    let mut settings = scene.operator.tenants.get(scene.id).await.unwrap().settings;
    settings.algorithm = SigningAlgorithm::Es384;
    settings.keys = serde_json::from_value(serde_json::json!({ "period_seconds": 8_640_000, "standby": false })).unwrap();
    let change = UpdateTenant { settings: Some(settings.clone()), ..UpdateTenant::default() };
    scene.operator.tenants.update(scene.id, change, &by("policy")).await.unwrap();
    assert_eq!(scene.key(standby.id).await.state, KeyState::Retired);
    let first = scene.key(scene.first()).await;
    assert!(first.rotate_from.unwrap().since(first.activated_at.unwrap()) > Duration::from_secs(8_000_000));
    assert!(store.due_keys(Duration::ZERO, 10, None).await.unwrap().lacking_standby.is_empty(), "none is wanted any more");

    // The max-age of now is 600 s, and after it is lowered verifiers still keep for 600 s what they have.
    settings.keys = serde_json::from_value(super::short(None)["keys"].clone()).unwrap();
    let change = UpdateTenant { settings: Some(settings), ..UpdateTenant::default() };
    scene.operator.tenants.update(scene.id, change, &by("policy")).await.unwrap();
    let now = store.database_now().await.unwrap();
    let next = scene.standby().await;
    assert_eq!(next.algorithm, SigningAlgorithm::Es384);
    let wait = next.usable_from.unwrap().since(now);
    assert!(wait > Duration::from_secs(590) && wait <= Duration::from_mins(10), "{wait:?}");
    scene.server.execute("UPDATE signing_keys SET usable_from = 1 WHERE state = 'published'").await;
    scene.seen(next.published_revision).await;
    let (_, before) = done(keys.activate(next.id, false, &by("t")).await.unwrap());
    let stays = before.withdraw_from.unwrap().since(before.deactivated_at.unwrap());
    assert!(
        stays > Duration::from_secs(950) && stays <= Duration::from_mins(16),
        "300 s of life, 600 s of max-age, 60 s of skew: {stays:?}"
    );
    assert_eq!(scene.server.count("audit_events WHERE event_type = 'key_policy_changed'").await, 2);
}
