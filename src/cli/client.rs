//! The one command protocol: a request to the admin API. It goes over the Unix socket of the server on this host, to the admin listener that
//! `--server` names or, where no server runs, to the same API inside this process. See ADR 0012.

mod direct;
mod options;
mod remote;
mod reply;

use std::{path::Path, time::Instant};

use hyper::Method;
use serde_json::Value;
use zeroize::Zeroizing;

use self::{direct::Direct, remote::Remote};
pub(super) use self::{
    options::ClientOptions,
    reply::{Answer, CallError, Reply},
};
use super::{
    Failure, Setup,
    output::warn,
    setup::{block_on, host_name},
};
use crate::{
    domain::{AdminToken, Replica, Timestamp},
    services::REPLICA_LEASE,
};

/// What a command has to say about its way before there is one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reach<'a> {
    /// As `--config` names it.
    pub(super) config: Option<&'a Path>,
    /// The rest of the command line.
    pub(super) options: &'a ClientOptions,
}

impl Reach<'_> {
    /// The configuration, for commands that work on this host alone.
    ///
    /// # Errors
    /// When a server elsewhere is meant.
    pub(super) fn setup(&self) -> Result<Setup, Failure> {
        if self.options.is_remote() {
            return Err(Failure::usage("this command works on the server's own host alone, without --server"));
        }
        Setup::load(self.config)
    }
}

/// What a command needs where no server does it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// The database, to read.
    Records,
    /// Token and database, to read.
    Token,
    /// The database, to change it.
    Change,
    /// Token and database, to change them.
    Keys,
    /// The same; but the act is due whether or not the token can be reached.
    KeysOrNot,
}

impl Need {
    const fn changes(self) -> bool {
        matches!(self, Self::Change | Self::Keys | Self::KeysOrNot)
    }
}

/// A request.
#[derive(Debug)]
pub(super) struct Call {
    method: Method,
    path: String,
    body: Option<Body>,
}

/// The most entries that the API puts on a page.
const PAGE_SIZE: u32 = 500;

/// JSON. It may hold the PIN: wiped when it is dropped.
type Body = Zeroizing<Vec<u8>>;

/// The admin API, by whichever way.
pub(super) struct AdminClient {
    way: Way,
    token: Option<AdminToken>,
}

enum Way {
    Server(Remote),
    Here(Box<Direct>),
}

/// Runs `act` with a way to the admin API, which is left in good order whatever came of it.
pub(super) fn with_client<T>(
    reach: &Reach<'_>,
    need: Need,
    act: impl AsyncFnOnce(&AdminClient) -> Result<T, Failure>,
) -> Result<T, Failure> {
    block_on(async {
        let client = Box::pin(AdminClient::open(reach, need)).await?;
        let done = act(&client).await;
        client.close().await;
        done
    })
}

impl AdminClient {
    async fn open(reach: &Reach<'_>, need: Need) -> Result<Self, Failure> {
        let token = reach.options.admin_token()?;
        let way = if reach.options.is_remote() {
            Way::Server(reach.options.remote()?)
        } else {
            Box::pin(choose(Box::new(Setup::quiet(reach.config)?), need)).await?
        };
        Ok(Self { way, token })
    }

    async fn close(self) {
        if let Way::Here(direct) = self.way {
            direct.close().await;
        }
    }

    /// Whether the answers come from a server, and not from this process.
    pub(super) fn is_served(&self) -> bool {
        matches!(self.way, Way::Server(_))
    }

    /// The configuration of the server on this host; none where a server elsewhere answers, or none does.
    pub(super) fn setup(&self) -> Option<&Setup> {
        match &self.way {
            Way::Server(remote) => remote.setup(),
            Way::Here(_) => None,
        }
    }

    /// Reads.
    pub(super) async fn get(&self, path: &str) -> Result<Value, CallError> {
        self.send(Method::GET, path, None).await?.json()
    }

    /// Reads a list to its end, page by page where it has pages.
    pub(super) async fn list(&self, path: &str) -> Result<Vec<Value>, CallError> {
        let more = if path.contains('?') { '&' } else { '?' };
        let (mut all, mut next) = (Vec::new(), Some(format!("{path}{more}per_page={PAGE_SIZE}")));
        while let Some(path) = next {
            let reply = self.send(Method::GET, &path, None).await?;
            next = reply.next_page();
            match reply.json()? {
                Value::Array(page) if !page.is_empty() => all.extend(page),
                _ => break,
            }
        }
        Ok(all)
    }

    /// Changes.
    pub(super) async fn post(&self, path: &str, body: &Value) -> Result<Answer, CallError> {
        self.post_bytes(path, Zeroizing::new(body.to_string().into_bytes())).await
    }

    /// The same with a body that may hold a secret.
    pub(super) async fn post_bytes(&self, path: &str, body: Body) -> Result<Answer, CallError> {
        self.send(Method::POST, path, Some(body)).await?.answer()
    }

    /// Deletes.
    pub(super) async fn delete(&self, path: &str, body: Option<&Value>) -> Result<Answer, CallError> {
        let body = body.map(|body| Zeroizing::new(body.to_string().into_bytes()));
        self.send(Method::DELETE, path, body).await?.answer()
    }

    async fn send(&self, method: Method, path: &str, body: Option<Body>) -> Result<Reply, CallError> {
        let call = Call { method, path: path.to_owned(), body };
        let reply = match &self.way {
            Way::Server(remote) => remote.send(call, self.token.as_ref()).await?,
            Way::Here(direct) => direct.send(call, self.token.as_ref()).await?,
        };
        reply.refused(self.token.is_some())
    }

    /// The database's time; through `--server`, that server's.
    pub(super) async fn now(&self) -> Result<Timestamp, Failure> {
        match &self.way {
            Way::Server(remote) => {
                if let Some(setup) = remote.setup() {
                    let store = setup.open_store().await?;
                    let now = store.database_now().await;
                    store.close().await;
                    return Ok(now?);
                }
                let reply = self.send(Method::GET, "/health/alive", None).await?;
                reply.date().ok_or_else(|| Failure::new("the server does not say what time it is: say --since"))
            }
            Way::Here(direct) => Ok(direct.store().database_now().await?),
        }
    }
}

/// Asks the server on this host. Where none answers, and none is alive elsewhere either, the act is this process' own.
async fn choose(setup: Box<Setup>, need: Need) -> Result<Way, Failure> {
    let started = Instant::now();
    let mut told = false;
    let store = loop {
        if remote::answers(&setup.config.admin.socket).await? {
            return Ok(Way::Server(Remote::socket(setup)?));
        }
        let store = setup.open_store().await?;
        // Reading harms nobody.
        let live = if need.changes() && store.pending_migrations().await?.is_empty() {
            store.live_replicas(REPLICA_LEASE).await?
        } else {
            Vec::new()
        };
        if live.is_empty() {
            break store;
        }
        store.close().await;
        wait_for(&setup, &live, started, &mut told)?;
        tokio::time::sleep(std::time::Duration::from_millis(250)).await;
    };
    store.close().await;
    Ok(Way::Here(Box::new(Direct::open(&setup, need).await?)))
}

/// A server that was killed is counted as alive until its lease is over; one on another host is not to be waited for.
fn wait_for(setup: &Setup, live: &[Replica], started: Instant, told: &mut bool) -> Result<(), Failure> {
    let host = host_name();
    let socket = setup.config.admin.socket.display();
    if let Some(other) = live.iter().find(|replica| replica.host != host) {
        return Err(Failure::new(format!(
            "the server {} runs on {} (last seen {}): run this there, or say --server URL and show an admin token",
            other.pid, other.host, other.seen_at
        )));
    }
    let Some(first) = live.first() else { return Ok(()) };
    let server = format!("the server with process id {} on this host (last seen {})", first.pid, first.seen_at);
    if started.elapsed() > REPLICA_LEASE + std::time::Duration::from_secs(2) {
        return Err(Failure::new(format!("{server} is alive, and does not answer at its socket {socket}: see admin.socket and its log")));
    }
    if !*told {
        *told = true;
        warn(&format!("{server} does not answer at {socket}: waiting until it does, or counts as gone"));
    }
    Ok(())
}
