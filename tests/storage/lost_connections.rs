//! What a caller learns when the way to PostgreSQL breaks, at each place where it can.
//!
//! Between store and server stands a proxy that cuts the connection at a given word: before the server hears it, or after the server has
//! answered and before the store hears that.

use std::{
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use passkey_hsm::{
    domain::{Ceremony, KeyId, NewCredential, TenantId},
    storage::{Error, MetadataUpdate, RegistrationCommit, Store},
};
use sqlx::AssertSqlSafe;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
};

use crate::{
    bench::{Bench, blob, credential, event, evidence},
    postgres::Server,
};

#[derive(Clone)]
enum Cut {
    /// The server does not hear the message that holds these bytes.
    Before(Vec<u8>),
    /// The server hears it and answers; the store does not hear the answer.
    After(Vec<u8>),
}

#[derive(Default)]
struct Wire {
    /// The next cut, if one is due; taken by the connection that it happens to.
    due: Mutex<Option<Cut>>,
    /// How often the store has spoken, but for the driver's ping (a bare Sync) when it puts a connection back, for which nobody waits.
    requests: AtomicUsize,
    /// Whether what the store says on the connections that are open is heard by nobody, and not answered either.
    frozen: AtomicBool,
}

struct Proxied {
    bench: Bench,
    store: Store,
    wire: Arc<Wire>,
}

impl Proxied {
    async fn new() -> Self {
        let bench = Bench::postgres().await;
        let (base, directory) = bench.url.split_once("?host=").unwrap();
        let server = Path::new(directory).join(".s.PGSQL.5432");
        let listener = UnixListener::bind(bench.dir.path().join(".s.PGSQL.5432")).unwrap();
        let wire = Arc::<Wire>::default();
        tokio::spawn({
            let wire = Arc::clone(&wire);
            async move {
                while let Ok((client, _)) = listener.accept().await {
                    let server = UnixStream::connect(&server).await.unwrap();
                    tokio::spawn(relay(client, server, Arc::clone(&wire)));
                }
            }
        });
        // One connection, so that statements are prepared before the cut and the cut hits what it is meant for.
        let store = Store::open(&format!("{base}?host={}", bench.dir.path().display()), 1).await.unwrap();
        Self { bench, store, wire }
    }

    fn cut(&self, cut: Cut) {
        *self.wire.due.lock().unwrap() = Some(cut);
    }

    fn was_cut(&self) -> bool {
        self.wire.due.lock().unwrap().is_none()
    }

    /// A registration about to be committed, on a connection that has run the statement before.
    async fn registration(&self) -> (TenantId, KeyId, Ceremony, NewCredential) {
        let (tenant, key) = self.bench.tenant().await;
        let gone = crate::bench::ceremony(tenant.id, "ann");
        let warm = self.store.commit_registration(&gone, &credential(tenant.id), key.id, &event(tenant.id)).await.unwrap();
        assert_eq!(warm, RegistrationCommit::CeremonyGone);
        (tenant.id, key.id, self.bench.ceremony(tenant.id).await, credential(tenant.id))
    }
}

/// Passes bytes both ways until a cut is due or either side ends.
async fn relay(mut client: UnixStream, mut server: UnixStream, wire: Arc<Wire>) {
    let (mut from_client, mut from_server) = ([0; 8192], [0; 8192]);
    let mut swallow = false;
    loop {
        tokio::select! {
            read = client.read(&mut from_client) => {
                let Ok(1..) = read else { return };
                if wire.frozen.load(Ordering::SeqCst) {
                    std::future::pending::<()>().await;
                }
                let bytes = &from_client[..read.unwrap()];
                let holds = |word: &[u8]| bytes.windows(word.len()).any(|w| w == word);
                let cut = wire.due.lock().unwrap().take_if(|cut| match cut { Cut::Before(word) | Cut::After(word) => holds(word) });
                if bytes != b"S\0\0\0\x04" {
                    wire.requests.fetch_add(1, Ordering::SeqCst);
                }
                match cut {
                    Some(Cut::Before(_)) => return,
                    Some(Cut::After(_)) => swallow = true,
                    None => (),
                }
                server.write_all(bytes).await.unwrap();
            }
            read = server.read(&mut from_server) => {
                let Ok(1..) = read else { return };
                if swallow {
                    return;
                }
                client.write_all(&from_server[..read.unwrap()]).await.unwrap();
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_whose_reply_is_lost_is_unknown_and_can_be_read_again() {
    let p = Proxied::new().await;
    let (tenant, key, c, n) = p.registration().await;
    let e = event(tenant);
    p.cut(Cut::After(n.id.as_bytes().to_vec()));
    let result = p.store.commit_registration(&c, &n, key, &e).await;
    assert!(matches!(result, Err(Error::OutcomeUnknown(_))), "{result:?}");
    assert!(p.was_cut());
    assert!(p.store.audit_event(tenant, e.id).await.unwrap().is_some(), "it was committed");
    assert!(p.store.credential(tenant, &n.id).await.unwrap().is_some());
}

/// A server that was stopped, or a network that swallows packets: nobody waits for ever, the next caller gets another connection, and the
/// end of the program does not wait either.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_falls_silent_is_given_up() {
    let p = Proxied::new().await;
    p.store.ping().await.unwrap();
    // The driver pings a connection when it is put back, and that has no limit: not what is looked at here.
    tokio::time::sleep(Duration::from_millis(200)).await;
    p.wire.frozen.store(true, Ordering::SeqCst);
    let silent = p.store.ping().await;
    assert!(matches!(silent, Err(Error::Unavailable(_))), "{silent:?}");
    p.wire.frozen.store(false, Ordering::SeqCst);
    let begun = Instant::now();
    while p.store.ping().await.is_err() {
        assert!(begun.elapsed() < Duration::from_secs(8), "its place in the pool is lost");
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    p.wire.frozen.store(true, Ordering::SeqCst);
    let (store, begun) = (p.store.clone(), Instant::now());
    let asking = tokio::spawn(async move { store.ping().await });
    tokio::task::yield_now().await;
    p.store.close().await;
    assert!(begun.elapsed() < Duration::from_secs(14), "{:?}", begun.elapsed());
    assert!(asking.await.unwrap().is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_never_arrived_is_unknown_and_did_nothing() {
    let p = Proxied::new().await;
    let (tenant, key, c, n) = p.registration().await;
    let e = event(tenant);
    p.cut(Cut::Before(n.id.as_bytes().to_vec()));
    let result = p.store.commit_registration(&c, &n, key, &e).await;
    assert!(matches!(result, Err(Error::OutcomeUnknown(_))), "{result:?}");
    assert!(p.store.audit_event(tenant, e.id).await.unwrap().is_none());
    assert_eq!(p.store.commit_registration(&c, &n, key, &e).await.unwrap(), RegistrationCommit::Committed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_cut_before_its_commit_is_done_again() {
    let p = Proxied::new().await;
    let (tenant, _, c, _) = p.registration().await;
    for place in 0..4 {
        let e = event(tenant);
        let inserted = e.id.as_uuid().as_bytes().to_vec();
        p.cut(match place {
            0 => Cut::Before(b"BEGIN".to_vec()),
            1 => Cut::After(b"BEGIN".to_vec()),
            2 => Cut::Before(inserted),
            _ => Cut::After(inserted),
        });
        p.store.refuse_ceremony(&c, &e).await.unwrap();
        assert!(p.was_cut());
        assert!(p.store.audit_event(tenant, e.id).await.unwrap().is_some());
    }
    assert_eq!(p.bench.store.audit_events(tenant, 100).await.unwrap().len(), 5, "each once, and the ceremony's beginning");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_cut_at_its_commit_is_not_done_again() {
    let p = Proxied::new().await;
    let (tenant, ..) = p.registration().await;
    for (cut, done) in [(Cut::Before(b"COMMIT".to_vec()), false), (Cut::After(b"COMMIT".to_vec()), true)] {
        p.cut(cut);
        let e = event(tenant);
        let result = p.store.append_audit(&e).await;
        assert!(matches!(result, Err(Error::OutcomeUnknown(_))), "{result:?}");
        assert!(p.was_cut());
        assert_eq!(p.store.audit_event(tenant, e.id).await.unwrap().is_some(), done);
    }
}

/// What the documentation says of round trips, on a connection that has run the statements before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn round_trips_are_as_few_as_promised() {
    let p = Proxied::new().await;
    for warm in [false, true] {
        let (tenant, key, c, n) = p.registration().await;
        let n = NewCredential { evidence: Some(evidence()), ..n };
        let (next, ann) = (crate::bench::ceremony(tenant, "ann"), crate::bench::user(tenant, "ann"));
        let mut taken = Vec::new();
        for step in 0..4 {
            let before = p.wire.requests.load(Ordering::SeqCst);
            match step {
                0 => assert!(p.store.ceremony(tenant, c.operation, &c.challenge).await.unwrap().is_some()),
                1 => assert_eq!(p.store.commit_registration(&c, &n, key, &event(tenant)).await.unwrap(), RegistrationCommit::Committed),
                2 => p.store.begin_registration(&ann, &next, &event(tenant)).await.unwrap(),
                _ => assert!(p.store.refuse_ceremony(&next, &event(tenant)).await.unwrap()),
            }
            taken.push(p.wire.requests.load(Ordering::SeqCst) - before);
        }
        assert_eq!(p.store.credential_evidence(tenant, &n.id).await.unwrap(), n.evidence);
        assert!(!warm || taken == [1, 1, 5, 4], "{taken:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_takes_two_round_trips_and_a_transaction_few() {
    use passkey_hsm::{domain::SystemRng, storage::AuthenticationCommit::Committed};

    let p = Proxied::new().await;
    let (tenant, key, n) = p.bench.in_use().await;
    for (warm, counter) in [(false, 8), (true, 10)] {
        let t = crate::bench::transaction(tenant.id, &counter.to_string());
        let refused = passkey_hsm::domain::Challenge::random(&SystemRng);
        let mut taken = Vec::new();
        for step in 0..7 {
            let before = p.wire.requests.load(Ordering::SeqCst);
            match step {
                0 => assert!(p.store.credential_for_use(tenant.id, &n.id, &refused).await.unwrap().is_some()),
                1 => assert_eq!(p.store.commit_authentication(&crate::bench::login(&key, &n, counter)).await.unwrap(), Committed),
                2 => assert!(p.store.begin_transaction(&t, &event(tenant.id)).await.unwrap()),
                3 => assert!(p.store.transaction(tenant.id, &t.challenge).await.unwrap().is_some()),
                4 => {
                    let unit = crate::bench::confirmation(&key, &n, counter + 1, &t);
                    assert_eq!(p.store.commit_authentication(&unit).await.unwrap(), Committed);
                }
                5 => assert!(p.store.refuse_challenge(tenant.id, &refused, t.expires_at, None).await.unwrap()),
                _ => assert_eq!(p.store.user_transactions(tenant.id, &t.user_id, 9, u32::MAX).await.unwrap().len(), usize::from(warm) + 1),
            }
            taken.push(p.wire.requests.load(Ordering::SeqCst) - before);
        }
        assert!(!warm || taken == [1, 1, 4, 1, 1, 3, 1], "{taken:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_authentication_whose_reply_is_lost_is_unknown_and_can_be_read_again() {
    let p = Proxied::new().await;
    let (tenant, key, n) = p.bench.in_use().await;
    for (cut, done) in [(Cut::Before(n.id.as_bytes().to_vec()), false), (Cut::After(n.id.as_bytes().to_vec()), true)] {
        let unit = crate::bench::login(&key, &n, 8);
        p.cut(cut);
        let result = p.store.commit_authentication(&unit).await;
        assert!(matches!(result, Err(Error::OutcomeUnknown(_))), "{result:?}");
        assert!(p.was_cut());
        assert_eq!(p.store.audit_event(tenant.id, unit.event.id).await.unwrap().is_some(), done);
    }
}

/// A thousand entries are not a thousand round trips: the others wait for an import.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_takes_as_many_round_trips_whatever_it_holds() {
    let p = Proxied::new().await;
    p.store.replace_metadata(&blob(1, 3)).await.unwrap();
    let before = p.wire.requests.load(Ordering::SeqCst);
    p.store.replace_metadata(&blob(2, 10)).await.unwrap();
    assert_eq!(p.wire.requests.load(Ordering::SeqCst) - before, 6, "BEGIN, four statements, COMMIT");
}

/// The serial number alone decides, at whatever level of isolation.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_on_a_strict_server_is_tried_again() {
    let b = Bench::postgres().await;
    let (base, directory) = b.url.split_once('?').unwrap();
    let strict = Store::open(&format!("{base}?{directory}&options[default_transaction_isolation]=serializable"), 4).await.unwrap();
    for round in 0..5 {
        let calls = (1..=3_u64).map(|n| {
            let (strict, blob) = (strict.clone(), blob(round * 3 + n, 20));
            tokio::spawn(async move { strict.replace_metadata(&blob).await.unwrap() })
        });
        let results = futures::future::join_all(calls.collect::<Vec<_>>()).await;
        assert!(results.iter().any(|result| *result.as_ref().unwrap() == MetadataUpdate::Stored), "{results:?}");
        assert_eq!(strict.metadata().await.unwrap().unwrap().0.no, round * 3 + 3);
    }
}

/// A server that was restarted: every connection in the pool is dead.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_died_unnoticed_are_replaced() {
    let b = Bench::postgres().await;
    let (tenant, _) = b.tenant().await;
    futures::future::join_all((0..8).map(|_| b.store.tenant(tenant.id))).await;
    let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
    sqlx::raw_sql(AssertSqlSafe(kill.to_owned())).execute(&mut Server::connect(&b.url).await).await.unwrap();
    b.store.append_audit(&event(tenant.id)).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(kill.to_owned())).execute(&mut Server::connect(&b.url).await).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(1200)).await;
    assert!(b.store.tenant(tenant.id).await.unwrap().is_some());
}

/// A server that is set to be stricter than it need be: its serialization failures never reach the caller.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn serialization_failures_are_tried_again() {
    let b = Bench::postgres().await;
    let (tenant, key) = b.tenant().await;
    let (base, directory) = b.url.split_once('?').unwrap();
    let strict = Store::open(&format!("{base}?{directory}&options[default_transaction_isolation]=serializable"), 8).await.unwrap();
    for _ in 0..10 {
        let c = b.ceremony(tenant.id).await;
        let calls = (0..6).map(|_| {
            let (strict, c, n, e) = (strict.clone(), c.clone(), credential(tenant.id), event(tenant.id));
            tokio::spawn(async move { strict.commit_registration(&c, &n, key.id, &e).await.unwrap() })
        });
        let results: Vec<_> = futures::future::join_all(calls.collect::<Vec<_>>()).await.into_iter().map(Result::unwrap).collect();
        assert_eq!(results.iter().filter(|r| **r == RegistrationCommit::Committed).count(), 1, "{results:?}");
        assert_eq!(results.iter().filter(|r| **r == RegistrationCommit::CeremonyGone).count(), 5, "{results:?}");
    }
}
