//! The admin API inside this process, for where no server runs: the same router, the same services, one signer process.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, header};
use tokio::task::JoinHandle;

use super::{
    super::{Failure, Setup, output::warn},
    Call, CallError, Need, Reply,
    remote::bearer,
};
use crate::{
    domain::AdminToken,
    http,
    services::{Context, Services},
    storage::Store,
};

/// Two commands do not change the token side by side.
const LEASE: &str = "command";
/// How long a command that was killed is waited for.
const LEASE_TTL: Duration = Duration::from_secs(3);
/// How long one that runs is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// This process as its own server.
pub(super) struct Direct {
    services: Services,
    /// Renews the lease.
    lease: Option<JoinHandle<()>>,
    api: http::Local,
}

impl Direct {
    pub(super) async fn open(setup: &Setup, need: Need) -> Result<Self, Failure> {
        let signs = matches!(need, Need::Token | Need::Keys | Need::KeysOrNot);
        let services = if signs { setup.services().await? } else { setup.services_without_signer().await? };
        let api = http::Local::new(services.clone(), setup.config.http.body_limit_bytes);
        let mut direct = Self { services, lease: None, api };
        match direct.prepare(setup, need).await {
            Ok(()) => Ok(direct),
            Err(why) => {
                direct.close().await;
                Err(why)
            }
        }
    }

    async fn prepare(&mut self, setup: &Setup, need: Need) -> Result<(), Failure> {
        if need.changes() {
            self.lease = Some(hold(&self.services.context).await?);
        }
        match need {
            Need::Records | Need::Change => Ok(()),
            Need::Keys => setup.signer_ready(&self.services).await,
            // What is asked of the token is answered 503.
            Need::Token | Need::KeysOrNot => {
                if let Err(why) = setup.signer_ready(&self.services).await {
                    warn(&format!("the HSM is away: {why}"));
                }
                Ok(())
            }
        }
    }

    pub(super) fn store(&self) -> &Store {
        &self.services.context.store
    }

    pub(super) async fn close(self) {
        let context = &self.services.context;
        context.signer.shutdown().await;
        if let Some(lease) = self.lease {
            lease.abort();
            // It ends by itself where it cannot be given back.
            let _ = context.store.release_lease(LEASE, context.replica).await;
        }
        context.store.close().await;
    }

    pub(super) async fn send(&self, call: Call, token: Option<&AdminToken>) -> Result<Reply, CallError> {
        let mut request =
            Request::builder().method(call.method).uri(format!("http://localhost{}", call.path)).header(header::HOST, "localhost");
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, bearer(token)?);
        }
        if call.body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let body = call.body.map(Bytes::from_owner).unwrap_or_default();
        let request = request.body(Full::new(body)).map_err(|e| CallError::unanswered(e.to_string()))?;
        let broken = |e| CallError::unanswered(format!("the answer broke off: {e}"));
        let (answer, body) = self.api.call(request).await.map_err(broken)?.into_parts();
        Ok(Reply { status: answer.status.as_u16(), headers: answer.headers, body: body.to_vec() })
    }
}

/// Takes the lease of commands, and keeps it.
async fn hold(context: &Context) -> Result<JoinHandle<()>, Failure> {
    let (store, holder) = (context.store.clone(), context.replica);
    let started = std::time::Instant::now();
    let mut told = false;
    while !store.hold_lease(LEASE, holder, LEASE_TTL).await? {
        if started.elapsed() > PATIENCE {
            return Err(Failure::new("another command changes keys on this deployment: try again when it is done"));
        }
        if !told {
            told = true;
            warn("another command is at work: waiting for it");
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Ok(tokio::spawn(async move {
        loop {
            tokio::time::sleep(LEASE_TTL / 4).await;
            if let Err(error) = store.hold_lease(LEASE, holder, LEASE_TTL).await {
                tracing::debug!(%error, "the lease of commands could not be renewed: {error}");
            }
        }
    }))
}
