//! The database goes away while a registration is committed, or a credential's end: between the server and PostgreSQL stands a proxy that
//! cuts the connection right before or right after the statement that does it.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
};

use tempfile::TempDir;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{UnixListener, UnixStream},
};

use crate::support::{
    api::{Answer, Tenant},
    authenticator::Format,
    jose,
    keys::Algorithm,
    postgres,
    server::{Server, TenantSpec},
};

/// A parameter of the statement that stores a credential, and of no other: it is sent as it is; and the end of what is more than one
/// statement.
const MARKS: [&[u8]; 2] = [b"webauthn_registration_final_succeeded", b"COMMIT"];

/// What the proxy does when it sees one of [`MARKS`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Cut {
    /// Nothing.
    Never,
    /// Cuts before the server of the database has seen it.
    Before,
    /// Passes it on, waits for the answer, and cuts instead of passing that on.
    After,
    /// The same, and nobody gets through any more.
    AfterForGood,
    /// Nobody gets through.
    Closed,
}

const CUTS: [Cut; 5] = [Cut::Never, Cut::Before, Cut::After, Cut::AfterForGood, Cut::Closed];

/// A proxy in front of the shared PostgreSQL, on a Unix socket of its own.
pub(super) struct Proxy {
    dir: TempDir,
    mode: Arc<AtomicU8>,
}

impl Proxy {
    /// In front of the server that this URL leads to.
    pub(super) fn before(direct: &str) -> Self {
        let (_, host) = direct.split_once("?host=").unwrap();
        Self::start(Path::new(host).join(".s.PGSQL.5432"))
    }

    fn start(upstream: PathBuf) -> Self {
        let dir = tempfile::Builder::new().prefix("pkhsm-px.").tempdir_in("/tmp").unwrap();
        let mode = Arc::new(AtomicU8::new(0));
        let listener = UnixListener::bind(dir.path().join(".s.PGSQL.5432")).unwrap();
        let shared = Arc::clone(&mode);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (mode, upstream) = (Arc::clone(&shared), upstream.clone());
                tokio::spawn(async move { pass(client, &upstream, &mode).await });
            }
        });
        Self { dir, mode }
    }

    /// The URL of a database behind it, from the one that leads there straight.
    pub(super) fn url(&self, direct: &str) -> String {
        let (base, _) = direct.split_once("?host=").unwrap();
        format!("{base}?host={}", self.dir.path().display())
    }

    pub(super) fn set(&self, cut: Cut) {
        self.mode.store(cut as u8, Ordering::SeqCst);
    }
}

fn current(mode: &AtomicU8) -> Cut {
    CUTS[usize::from(mode.load(Ordering::SeqCst))]
}

/// One connection: both directions until either ends or the moment has come.
async fn pass(client: UnixStream, upstream: &Path, mode: &AtomicU8) {
    if current(mode) == Cut::Closed {
        return;
    }
    let server = UnixStream::connect(upstream).await.unwrap();
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) = (client.into_split(), server.into_split());
    tokio::select! {
        () = async { while copy(&mut from_server, &mut to_client).await {} } => {}
        cut = async {
            let mut buffer = vec![0; 64 * 1024];
            loop {
                let Ok(n @ 1..) = from_client.read(&mut buffer).await else { return Cut::Never };
                let cut = if MARKS.into_iter().any(|mark| buffer[..n].windows(mark.len()).any(|w| w == mark)) { current(mode) } else { Cut::Never };
                if cut == Cut::Before || current(mode) == Cut::Closed {
                    return cut;
                }
                if to_server.write_all(&buffer[..n]).await.is_err() || cut != Cut::Never {
                    return cut;
                }
            }
        } => {
            if matches!(cut, Cut::After | Cut::AfterForGood) {
                // The answer says that it is done; it goes nowhere. The other direction has stopped: nothing of it gets past.
                let mut answer = [0; 1024];
                assert_ne!(from_server.read(&mut answer).await.unwrap(), 0);
                mode.store(if cut == Cut::AfterForGood { Cut::Closed } else { Cut::Never } as u8, Ordering::SeqCst);
            } else if cut == Cut::Before {
                mode.store(Cut::Never as u8, Ordering::SeqCst);
            }
        }
    }
}

async fn copy(from: &mut (impl AsyncRead + Unpin), to: &mut (impl AsyncWrite + Unpin)) -> bool {
    let mut buffer = vec![0; 64 * 1024];
    match from.read(&mut buffer).await {
        Ok(n @ 1..) => to.write_all(&buffer[..n]).await.is_ok(),
        _ => false,
    }
}

struct Scene {
    proxy: Proxy,
    server: Server,
    tenant: Tenant,
    direct: String,
}

async fn scene() -> Scene {
    let direct = postgres::Server::shared().empty_database().await;
    let proxy = Proxy::before(&direct);
    let server = Server::on(&proxy.url(&direct)).await;
    let tenant = server.create_tenant(&TenantSpec::default());
    Scene { proxy, server, tenant, direct }
}

impl Scene {
    /// A finalize during which the proxy does its worst; with its body.
    async fn finalize(&self, cut: Cut) -> (Answer, String) {
        let body = self.tenant.draft("ann", Format::PackedSelf, Algorithm::Es256).await.body().to_string();
        self.proxy.set(cut);
        (self.tenant.finalize(body.clone()).await, body)
    }

    async fn stored(&self) -> i64 {
        let mut direct = postgres::Server::connect(&self.direct).await;
        sqlx::query_scalar("SELECT count(*) FROM credentials").fetch_one(&mut direct).await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_whose_reply_is_lost_is_found_again_and_its_token_released() {
    let scene = scene().await;
    let (answer, body) = scene.finalize(Cut::After).await;
    let token = answer.token();
    jose::jwcrypto(&token, &scene.tenant.jwks().await.json(), &scene.tenant.rp_id).unwrap();
    assert_eq!(scene.stored().await, 1);
    scene.tenant.finalize(body).await.problem(400, "received challenge does not match with any stored one");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_never_arrived_can_be_sent_again() {
    let scene = scene().await;
    let (answer, body) = scene.finalize(Cut::Before).await;
    answer.problem(503, "Service Unavailable");
    assert_eq!(answer.header("Retry-After"), "1");
    assert_eq!(scene.stored().await, 0);
    scene.tenant.finalize(body).await.token();
    assert_eq!(scene.stored().await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outcome_that_nobody_can_tell_is_said_to_be_unknown() {
    let scene = scene().await;
    let (answer, body) = scene.finalize(Cut::AfterForGood).await;
    let details = answer.problem(503, "Outcome Unknown");
    assert!(details.contains("may have succeeded"), "{details}");
    assert_eq!(answer.header("Retry-After"), "", "sending it again would not help");
    assert_eq!(scene.stored().await, 1);
    // The rest of the API says that the database is gone, and comes back with it.
    scene.tenant.jwks().await.problem(503, "Service Unavailable");
    scene.proxy.set(Cut::Never);
    assert_eq!(scene.tenant.jwks().await.status, 200);
    scene.tenant.finalize(body).await.problem(400, "received challenge does not match with any stored one");
    drop(scene.server);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_credentials_end_is_told_as_it_was() {
    let scene = scene().await;
    let tenant = &scene.tenant;
    for (cut, status, title, left) in [
        (Cut::After, 204, "", 0),
        (Cut::Before, 503, "Service Unavailable", 1),
        // The one that is left is another than this.
        (Cut::AfterForGood, 503, "Outcome Unknown", 1),
    ] {
        let draft = tenant.draft("ann", Format::PackedSelf, Algorithm::Es256).await;
        tenant.finalize(draft.body().to_string()).await.token();
        scene.proxy.set(cut);
        let path = tenant.path(&format!("/credentials/{}", draft.id()));
        let answer = Answer::to(tenant.request(reqwest::Method::DELETE, &path).header("apiKey", &tenant.api_key)).await;
        assert_eq!(answer.status, status, "{}", answer.body);
        if status != 204 {
            answer.problem(status, title);
        }
        assert_eq!(scene.stored().await, left, "{title}");
    }
}
