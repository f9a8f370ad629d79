//! One signer process as its supervisor sees it.

use std::{
    io::PipeReader,
    os::{fd::OwnedFd, unix::net::UnixStream},
    process::{ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};

use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
use tokio::{
    process::{Child, Command},
    sync::oneshot::{self, error::TryRecvError},
    time::{sleep, timeout},
};

use super::{
    HEALTH_KEY, SignerOptions, TokenInfo,
    connection::Connection,
    descriptor, health, metrics as names,
    protocol::{self, Failure, Generate, Reply, Request},
};
use crate::domain::{SigningAlgorithm, Timestamp};

/// How long a process may take to leave after its socket was closed: longer than it allows itself for what must not be cut short. One that
/// has nothing of the kind leaves in milliseconds.
const LEAVE_LIMIT: Duration = Duration::from_secs(11);

/// How long to wait for the last words of a process that ends by itself.
const LAST_WORDS: Duration = Duration::from_millis(250);

/// How many heartbeats may pass before an answer that is owed counts as never coming: of a process that was stopped, and of one that runs,
/// which on a busy host may only be waiting for a processor. Its signatures go to the other one meanwhile.
const BEATS_OWED_STOPPED: u32 = 1;
const BEATS_OWED: u32 = 20;

/// How a process ended.
#[derive(Debug)]
pub(super) struct Ending {
    /// Its exit code, or the one it announced; `None` when a signal ended it.
    pub(super) code: Option<u8>,
    /// What is known of why.
    pub(super) text: String,
    /// A word for metrics.
    pub(super) reason: &'static str,
}

/// A running process. Loses its socket when this is dropped, and then ends by itself: SoftHSM rewrites the token's file when somebody logs
/// in, and a process that is killed at that moment leaves an empty one, with which all keys are lost.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    pub(super) connection: Arc<Connection>,
    /// The ping that is not answered yet, and for how many beats.
    ping: Option<(oneshot::Receiver<Reply>, u32)>,
}

impl Process {
    /// Starts it, with one end of a socket pair as its standard input and the environment exactly as given. Where the PIN is an operator's, the
    /// `pin` to read it from goes over the socket before everything else.
    pub(super) fn spawn(options: &SignerOptions, pin: Option<&PipeReader>) -> std::io::Result<Self> {
        let (ours, theirs) = UnixStream::pair()?;
        let child = Command::new(&options.command.program)
            .args(&options.command.args)
            .env_clear()
            .envs(options.command.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            // A Ctrl-C at the terminal is for the server, which then finishes what is under way.
            .process_group(0)
            .spawn()?;
        if let Some(pin) = pin {
            descriptor::send(&ours, pin)?;
        }
        Ok(Self { child, connection: Connection::open(ours)?, ping: None })
    }

    pub(super) fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// From the first message to the first signature with the health key, which is made if the token has none.
    pub(super) async fn introduce(&self, options: &SignerOptions) -> Result<TokenInfo, String> {
        let limit = options.start_limit;
        let hello = match self.connection.call(Request::Hello { version: protocol::VERSION }, limit).await {
            Ok(Reply::Hello(hello)) => hello,
            Ok(other) => return Err(format!("it did not introduce itself: {other:?}")),
            Err(_) => return Err("it died before it was ready".to_owned()),
        };
        if !hello.has_health_key {
            self.make_health_key(limit).await?;
        }
        self.health_check(limit).await?;
        Ok(hello.token)
    }

    async fn make_health_key(&self, limit: Duration) -> Result<(), String> {
        let mut last = String::new();
        for algorithm in [SigningAlgorithm::Es256, SigningAlgorithm::Rs256] {
            // Its evidence is for nobody: no time goes into it.
            let request = Generate { kid: HEALTH_KEY, algorithm, rsa_bits: None, now: Timestamp::from_millis(0), actor: "".into() };
            match self.connection.call(Request::Generate(request), limit).await {
                Ok(Reply::Generated(_)) => return Ok(()),
                Ok(Reply::Failed(Failure::Mechanism(why))) => last = why,
                Ok(Reply::Failed(failure)) => return Err(format!("the health key cannot be made: {failure:?}")),
                Ok(_) => return Err("the signer answered another question".to_owned()),
                Err(_) => return Err("it died when it made the health key".to_owned()),
            }
        }
        Err(format!("the health key cannot be made: {last}"))
    }

    /// A signature with the health key, verified.
    pub(super) fn health_check(&self, limit: Duration) -> impl Future<Output = Result<(), String>> + Send + use<> {
        let connection = self.connection.clone();
        async move {
            let nonce = health::next_nonce();
            let outcome = match timeout(limit, connection.call(Request::Health { nonce, urgent: true }, limit)).await {
                Ok(Ok(Reply::Health(proof))) if health::proves(&proof, nonce) => Ok(()),
                Ok(Ok(Reply::Health(_))) => Err("the health key's signature does not verify".to_owned()),
                Ok(Ok(other)) => Err(format!("the health key does not sign: {other:?}")),
                Ok(Err(_)) => Err("it died".to_owned()),
                Err(_) => Err("the health key does not sign in time".to_owned()),
            };
            metrics::counter!(names::HEALTH, "outcome" => if outcome.is_ok() { "ok" } else { "failed" }).increment(1);
            outcome
        }
    }

    /// To be called at every heartbeat: asks for a sign of life, and says what is wrong if the last one is missing or tells of a call that
    /// hangs.
    pub(super) fn beat(&mut self, hang_limit: Duration) -> Result<(), (&'static str, String)> {
        if let Some((mut owed, beats)) = self.ping.take() {
            match owed.try_recv() {
                Ok(Reply::Pong { call_ms }) if Duration::from_millis(call_ms.into()) > hang_limit => {
                    return Err(("hung", format!("a call into its module has hung for {call_ms} ms")));
                }
                Ok(_) => {}
                Err(TryRecvError::Empty) if beats + 1 >= BEATS_OWED_STOPPED && self.is_stopped() => {
                    return Err(("silent", "it was stopped".to_owned()));
                }
                Err(TryRecvError::Empty) if beats + 1 >= BEATS_OWED => return Err(("silent", "it gives no sign of life".to_owned())),
                Err(TryRecvError::Empty) => {
                    self.connection.suspect();
                    self.ping = Some((owed, beats + 1));
                    return Ok(());
                }
                Err(TryRecvError::Closed) => return Ok(()), // the connection broke; that is noticed elsewhere
            }
        }
        if let Ok(receiver) = self.connection.begin(Request::Ping, hang_limit) {
            self.ping = Some((receiver, 0));
        }
        Ok(())
    }

    /// Whether somebody stopped it (SIGSTOP, a debugger). Looks without taking the news from whoever waits for the process.
    fn is_stopped(&self) -> bool {
        let look = WaitIdOptions::STOPPED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let pid = self.pid().and_then(|pid| Pid::from_raw(pid.cast_signed()));
        pid.is_some_and(|pid| matches!(waitid(WaitId::Pid(pid), look), Ok(Some(status)) if status.stopped()))
    }

    /// Kills it, if it is not dead yet, and finds out why it ended.
    pub(super) async fn end(mut self, reason: &'static str, why: String) -> Ending {
        // It may have said why a moment ago, and be about to leave with its exit code.
        let status = if reason == "start" || reason == "exit" { timeout(LAST_WORDS, self.child.wait()).await.ok() } else { None };
        self.connection.close();
        let status = if let Some(status) = status {
            status
        } else {
            let _ = self.child.start_kill();
            self.child.wait().await
        };
        let announced = self.connection.stopping();
        let code = announced.as_ref().map(|(code, _)| *code).or_else(|| exit_code(status.as_ref().ok().copied()));
        let text = match (announced, status) {
            (Some((_, text)), _) => text,
            (None, Ok(status)) if reason == "exit" => format!("{why} ({status})"),
            (None, _) => why,
        };
        Ending { code, text, reason }
    }

    /// Lets it finish what it was asked, then closes its socket, which ends it.
    pub(super) async fn finish(mut self, limit: Duration) {
        let idle = async {
            while self.connection.load() != 0 && self.connection.load() != usize::MAX {
                sleep(Duration::from_millis(5)).await;
            }
        };
        let _ = timeout(limit, idle).await;
        self.connection.close();
        if timeout(LEAVE_LIMIT, self.child.wait()).await.is_err() {
            let _ = self.child.start_kill();
            let _ = self.child.wait().await;
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.connection.close();
    }
}

fn exit_code(status: Option<ExitStatus>) -> Option<u8> {
    status?.code().and_then(|code| u8::try_from(code).ok())
}
