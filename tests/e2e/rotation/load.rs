//! Logins through several servers, and applications that verify every token with what they have cached of the JWKS.

use std::{
    fs,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use futures::future::join_all;
use serde_json::Value;
use tokio::task::JoinSet;

use crate::{
    decoded,
    support::{api::Tenant, assertion::AssertionDraft, authenticator::Draft, jose, keys::Algorithm},
};

/// Between two logins of a user.
const PAUSE: Duration = Duration::from_millis(120);
/// How long after its last answer a process is seen to be dead.
const DEATH: Duration = Duration::from_secs(3);
/// Lifetime and skew: nobody accepts a token that is older.
const LIFE: Duration = Duration::from_secs(4);

/// A tenant as one server shows it.
#[derive(Clone)]
pub(super) struct Side {
    pub(super) tenant: Tenant,
    /// The server's process: what it does not answer once it is dead is no failure.
    pub(super) pid: u32,
}

/// What has happened so far.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) logins: usize,
    pub(super) verified: usize,
    pub(super) failures: Vec<String>,
    /// The keys that signed, in their order.
    pub(super) kids: Vec<String>,
}

/// A steady load until it is dropped.
pub(super) struct Load {
    seen: Arc<Mutex<Seen>>,
    /// The process whose refusals are expected; 0 is none.
    excused: Arc<AtomicU32>,
    stop: Arc<AtomicBool>,
    workers: JoinSet<()>,
}

/// The load as its workers have it.
#[derive(Clone)]
struct Shared {
    seen: Arc<Mutex<Seen>>,
    excused: Arc<AtomicU32>,
    stop: Arc<AtomicBool>,
    verifiers: Arc<Vec<Verifier>>,
    /// A token is verified again so long after it was made.
    late: Duration,
}

/// Why something was not answered as it should be.
enum Fault {
    /// There was no answer.
    Silence(String),
    /// The server refused.
    Refused(String),
    /// The token did not verify.
    Unverified(String),
}

impl Load {
    /// One user a side, whose tokens are verified at once and again `late` after, by an application for each side which keeps a JWKS for `max_age`.
    pub(super) async fn start(sides: &[Side], max_age: Duration, late: Duration) -> Self {
        let verifiers = sides.iter().map(|side| Verifier { side: side.clone(), max_age, cache: tokio::sync::Mutex::default() });
        let shared =
            Shared { seen: Arc::default(), excused: Arc::default(), stop: Arc::default(), verifiers: Arc::new(verifiers.collect()), late };
        let mut workers = JoinSet::new();
        for (number, side) in sides.iter().enumerate() {
            let passkey = side.tenant.passkey(&format!("user-{number}"), Algorithm::Es256).await;
            workers.spawn(shared.clone().work(side.clone(), passkey));
        }
        Self { seen: shared.seen, excused: shared.excused, stop: shared.stop, workers }
    }

    /// How often another key has begun to sign.
    pub(super) fn rotations(&self) -> usize {
        self.seen.lock().unwrap().kids.len().saturating_sub(1)
    }

    /// From now on this server's refusals are expected, and no others. Tokens have to verify all the same.
    pub(super) fn excuse(&self, pid: Option<u32>) {
        self.excused.store(pid.unwrap_or(0), Ordering::SeqCst);
    }

    /// Stops it, waits for the late verifications, and hands over what has happened.
    pub(super) async fn stop(mut self) -> Seen {
        self.stop.store(true, Ordering::SeqCst);
        while let Some(worker) = self.workers.join_next().await {
            worker.unwrap();
        }
        std::mem::take(&mut *self.seen.lock().unwrap())
    }
}

impl Shared {
    async fn work(self, side: Side, passkey: Draft) {
        let mut checks = JoinSet::new();
        while !self.stop.load(Ordering::SeqCst) {
            match sign_in(&side.tenant, &passkey).await {
                Ok(token) => {
                    self.note(&token);
                    // Not waited for: a server that is stopped keeps nobody from signing in at the other one.
                    checks.spawn(self.clone().check(token));
                }
                Err(fault) => {
                    if self.settle(&side, fault, "a login").await {
                        break;
                    }
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
        checks.join_all().await;
    }

    async fn check(self, token: String) {
        let born = Instant::now();
        for when in ["at once", "late"] {
            let verify = self.verifiers.iter().map(async |verifier| match verifier.verify(&token, born).await {
                Ok(counts) => self.seen.lock().unwrap().verified += usize::from(counts),
                Err(fault) => drop(self.settle(&verifier.side, fault, &format!("a token of {}, {when}", kid(&token))).await),
            });
            join_all(verify).await;
            tokio::time::sleep(self.late.saturating_sub(born.elapsed())).await;
        }
    }

    /// Writes down what may not be. Whether the server is dead.
    async fn settle(&self, side: &Side, fault: Fault, what: &str) -> bool {
        // As it is now: whether it dies takes a while to find out.
        let excused = self.excused.load(Ordering::SeqCst) == side.pid;
        match fault {
            Fault::Silence(_) if dies(side.pid).await => return true,
            Fault::Silence(_) | Fault::Refused(_) if excused => {}
            Fault::Silence(why) | Fault::Refused(why) | Fault::Unverified(why) => {
                self.seen.lock().unwrap().failures.push(format!("{what}: {why}"));
            }
        }
        false
    }

    fn note(&self, token: &str) {
        let (mut seen, kid) = (self.seen.lock().unwrap(), kid(token));
        seen.logins += 1;
        if !seen.kids.contains(&kid) {
            seen.kids.push(kid);
        }
    }
}

/// An application: what it fetched of a server's JWKS it keeps for max-age, counted from its request (RFC 9111 section 4.2.3), and fetches nothing
/// anew for a kid that it does not know.
struct Verifier {
    side: Side,
    max_age: Duration,
    cache: tokio::sync::Mutex<Option<(Instant, Value)>>,
}

impl Verifier {
    /// `false` where it took so long that the token is past its life, whatever signed it.
    async fn verify(&self, token: &str, born: Instant) -> Result<bool, Fault> {
        let mut cache = self.cache.lock().await;
        let (asked, jwks) = match cache.take() {
            Some((asked, jwks)) if asked.elapsed() < self.max_age => (asked, jwks),
            _ => {
                let (asked, tenant) = (Instant::now(), &self.side.tenant);
                (asked, send(tenant.request(reqwest::Method::GET, &tenant.path("/.well-known/jwks.json"))).await?)
            }
        };
        let (_, jwks) = cache.insert((asked, jwks));
        let verified = jose::jsonwebtoken(token, jwks, &self.side.tenant.rp_id);
        let in_time = born.elapsed() < LIFE;
        verified.map(|_| in_time).or_else(|why| if in_time { Err(Fault::Unverified(format!("{why}, with {jwks}"))) } else { Ok(false) })
    }
}

/// A login, from its beginning to its token.
async fn sign_in(tenant: &Tenant, passkey: &Draft) -> Result<String, Fault> {
    let post = |path: &str, body: String| {
        tenant.request(reqwest::Method::POST, &tenant.path(path)).header("Content-Type", "application/json").body(body)
    };
    let options = send(post("/login/initialize", "{}".to_owned())).await?;
    let body = AssertionDraft::new(&options, passkey).text();
    let answer = send(post("/login/finalize", body)).await?;
    Ok(answer["token"].as_str().unwrap().to_owned())
}

async fn send(request: reqwest::RequestBuilder) -> Result<Value, Fault> {
    let silence = |error: reqwest::Error| Fault::Silence(format!("{error:?}"));
    let response = request.send().await.map_err(silence)?;
    let status = response.status();
    let body = response.text().await.map_err(silence)?;
    if status == 200 { Ok(serde_json::from_str(&body).unwrap()) } else { Err(Fault::Refused(format!("{status}: {body}"))) }
}

fn kid(token: &str) -> String {
    decoded(token.split('.').next().unwrap())["kid"].as_str().unwrap().to_owned()
}

/// Whether this process is dead, or is in a moment: a connection ends before its process does.
pub(super) async fn dies(pid: u32) -> bool {
    let started = Instant::now();
    while started.elapsed() < DEATH {
        if is_dead(pid) {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    false
}

/// Gone, or waited for by its parent alone (proc(5): the state follows the name, which is in parentheses).
pub(super) fn is_dead(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with(['Z', 'X']))
}
