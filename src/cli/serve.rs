//! `passkey-hsm serve`: both listeners, the signer processes, the housekeeping, and an orderly end.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use serde_json::json;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
    task::JoinHandle,
};

use super::{Failure, Setup, key_watch, root_secret, setup::block_on};
use crate::{
    config::{self, AdminAuthentication, Config},
    hsm,
    http::{self, AdminAccess, AppState, Credentials, DevTenant, Limits, Server, Tls, TlsFiles, TrustedProxies},
    services::{Context, Scheduler, Services, TRUST_REFRESH, describe_key_metrics},
    telemetry,
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Write the addresses bound to this file, as JSON, once both listeners serve
    #[arg(long, value_name = "FILE")]
    pub(super) ready_file: Option<PathBuf>,
}

/// The addresses that were bound.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bound {
    pub(super) public: SocketAddr,
    pub(super) admin: SocketAddr,
}

pub(super) fn run(setup: &Setup, args: &Args) -> Result<ExitCode, Failure> {
    block_on(async {
        let metrics = install_metrics()?;
        let services = setup.server_services().await?;
        serve(setup, args, metrics, services, None, |_| Ok(())).await
    })
}

/// Makes the recorder. Before the services: what is counted without one is lost, the first start of a signer process too.
pub(super) fn install_metrics() -> Result<telemetry::Metrics, Failure> {
    let metrics = telemetry::Metrics::install().map_err(|e| Failure::new(e.to_string()))?;
    hsm::metrics::describe();
    describe_key_metrics();
    Ok(metrics)
}

/// Serves until SIGTERM, SIGINT or SIGHUP, then finishes what was accepted. `bound` is told the addresses before the first request is taken.
pub(super) async fn serve(
    setup: &Setup,
    args: &Args,
    metrics: telemetry::Metrics,
    services: Services,
    dev: Option<DevTenant>,
    bound: impl FnOnce(Bound) -> Result<(), Failure>,
) -> Result<ExitCode, Failure> {
    // API keys, challenges and tokens pass through this process too.
    hsm::signer::harden();
    let config = &setup.config.http;
    let limits =
        Limits { connections: config.max_connections, header_timeout: config.header_timeout, shutdown_timeout: config.shutdown_timeout };
    let public = bind(config.public_address, None, limits).await?;
    let admin = bind(config.admin_address, admin_tls(&setup.config)?, limits).await?;
    let socket = bind_socket(&setup.config.admin.socket, limits).await;
    let addresses = Bound { public: public.local_addr()?, admin: admin.local_addr()? };

    tokio::spawn(metrics.clone().upkeep());
    let state = AppState {
        services: services.clone(),
        body_limit: config.body_limit_bytes,
        body_timeout: config.body_timeout,
        trusted_proxies: Arc::new(TrustedProxies::new(config.trusted_proxies.clone())),
        metrics: shown(metrics, services.context.clone()),
        dev: dev.map(Arc::new),
        admin: Arc::new(admin_access(&setup.config.admin)),
    };

    let (stop, stopped) = watch::channel(false);
    let scheduler = Scheduler::new(&services);
    let mut housekeeping = key_watch::watch(&services.context, &scheduler);
    housekeeping.extend([
        tokio::spawn(sweep(services.clone())),
        tokio::spawn(follow_trust(services.clone())),
        tokio::spawn(root_secret::follow(services.context.clone())),
    ]);
    let public = tokio::spawn(public.serve(http::public_router(state.clone()), stopped.clone()));
    let socket = socket.map(|socket| tokio::spawn(socket.serve(http::admin_router(state.clone()), stopped.clone())));
    let admin = tokio::spawn(admin.serve(http::admin_router(state), stopped));
    let dual_control = if setup.config.admin.dual_control { "on" } else { "off" };
    tracing::info!(dual_control, "dual control is {dual_control}");
    tracing::info!(public = %addresses.public, admin = %addresses.admin, "listening on {} and, for operators, {}", addresses.public, addresses.admin);
    write_ready_file(args.ready_file.as_deref(), addresses)?;
    bound(addresses)?;

    wait_for_end().await?;
    tracing::info!("stopping: requests under way are finished first");
    let _ = stop.send(true);
    let _ = tokio::join!(public, admin);
    if let Some(socket) = socket {
        let _ = socket.await;
    }
    housekeeping.iter().for_each(JoinHandle::abort);
    key_watch::leave(&scheduler).await;
    services.context.signer.shutdown().await;
    services.context.store.close().await;
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

/// The metrics at the moment at which they are asked for.
fn shown(metrics: telemetry::Metrics, context: Context) -> http::Metrics {
    http::Metrics(Arc::new(move || {
        let in_flight = u32::try_from(context.signer.status().in_flight).unwrap_or(u32::MAX);
        ::metrics::gauge!(hsm::metrics::IN_FLIGHT).set(in_flight);
        if let Some(head) = context.trust.current().metadata() {
            // Exact for 68 years either way, and for four thousand million BLOBs.
            let left = head.next_update.as_secs().saturating_sub(context.clock.now().as_secs());
            let left = i32::try_from(left).unwrap_or(if left < 0 { i32::MIN } else { i32::MAX });
            ::metrics::gauge!("mds_number").set(u32::try_from(head.no).unwrap_or(u32::MAX));
            ::metrics::gauge!("mds_next_update_seconds").set(left);
        }
        metrics.render()
    }))
}

/// Follows the database's anchors and metadata, for ever, and says once a day that new metadata is due.
async fn follow_trust(services: Services) {
    let context = &services.context;
    let mut interval = tokio::time::interval(TRUST_REFRESH);
    let (mut warned, mut fails): (Option<String>, bool) = (None, false);
    loop {
        interval.tick().await;
        let followed = context.trust.refresh(&context.store).await;
        match &followed {
            Ok(anew) if *anew || fails => tracing::info!("trust anchors and metadata were read anew"),
            Err(error) if !fails => {
                // Once, until it is over: whoever revoked a model must hear that this server does not know of it.
                let why = Failure::from_error(error);
                tracing::warn!(error = %why, "trust anchors and metadata cannot be read, and go on as they were: {why}");
            }
            _ => {}
        }
        fails = followed.is_err();
        let now = context.clock.now();
        let overdue = context.trust.current().metadata().filter(|head| head.is_overdue(now));
        if let Some(head) = overdue
            && warned.as_ref() != Some(&now.date())
        {
            let due = head.next_update.date();
            tracing::warn!(%due, "FIDO metadata no. {} should have been followed by a newer one on {due}: passkey-hsm mds update", head.no);
            warned = Some(now.date());
        }
    }
}

/// The admin listener's TLS, if it is configured. Without it whoever is on the way reads the tokens.
fn admin_tls(config: &Config) -> Result<Option<Tls>, Failure> {
    let (admin, address) = (&config.admin, config.http.admin_address);
    let (Some(certificate), Some(key)) = (&admin.tls_certificate, &admin.tls_key) else {
        if !address.ip().is_loopback() {
            tracing::warn!(%address, "the admin listener {address} can be reached from other hosts and speaks no TLS: set admin.tls_certificate and admin.tls_key");
        }
        return Ok(None);
    };
    // Without one of these modes a client would be asked for a certificate that means nothing.
    let client_roots = admin.client_ca.as_deref().filter(|_| admin.authentication != AdminAuthentication::Token);
    let tls = Tls::load(&TlsFiles { certificate, key, client_roots });
    tls.map(Some).map_err(|error| Failure::new(format!("the admin listener cannot speak TLS: {error}")))
}

fn admin_access(config: &config::Admin) -> AdminAccess {
    let credentials = match config.authentication {
        AdminAuthentication::Token => Credentials::Token,
        AdminAuthentication::Certificate => Credentials::Certificate,
        AdminAuthentication::Either => Credentials::Either,
        AdminAuthentication::Both => Credentials::Both,
    };
    AdminAccess { credentials, origins: config.cors_origins.iter().map(|url| url.origin().ascii_serialization()).collect() }
}

/// The Unix socket for commands on this host. A server without one serves all the same.
async fn bind_socket(path: &Path, limits: Limits) -> Option<Server> {
    match Server::bind_socket(path, limits).await {
        Ok(socket) => Some(socket),
        Err(error) => {
            tracing::warn!(%error, "commands on this host cannot reach this server: {error}");
            None
        }
    }
}

async fn bind(address: SocketAddr, tls: Option<Tls>, limits: Limits) -> Result<Server, Failure> {
    Server::bind(address, tls, limits).await.map_err(|e| Failure::new(format!("cannot listen on {address}: {e}")))
}

/// Whole or not at all: whoever waits for the file never reads half of it.
fn write_ready_file(path: Option<&Path>, addresses: Bound) -> Result<(), Failure> {
    let Some(path) = path else { return Ok(()) };
    let text = json!({ "public": addresses.public.to_string(), "admin": addresses.admin.to_string() }).to_string();
    let temporary = path.with_extension("tmp");
    let written = fs::write(&temporary, text).and_then(|()| fs::rename(&temporary, path));
    written.map_err(|e| Failure::new(format!("{}: {e}", path.display())))
}

async fn wait_for_end() -> Result<(), Failure> {
    let (mut term, mut int, mut hup) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?, signal(SignalKind::hangup())?);
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
        _ = hup.recv() => {}
    }
    Ok(())
}

/// How often ended ceremonies and used challenges are looked for, how long they are kept so that their owners are told `Session has Expired`,
/// and how many one statement removes.
const SWEEP_INTERVAL: Duration = Duration::from_mins(1);
const SWEEP_GRACE: Duration = Duration::from_hours(1);
const SWEEP_BATCH: u32 = 1000;

/// Removes ended ceremonies, used challenges, and audit events past their time, for ever.
async fn sweep(services: Services) {
    let context = &services.context;
    let mut interval = tokio::time::interval(SWEEP_INTERVAL);
    loop {
        interval.tick().await;
        let grace = i64::try_from(SWEEP_GRACE.as_millis()).unwrap_or(i64::MAX);
        let ended_before = crate::domain::Timestamp::from_millis(context.clock.now().as_millis().saturating_sub(grace));
        if let Err(error) = in_batches(|| context.store.sweep_ceremonies(ended_before, SWEEP_BATCH)).await {
            tracing::warn!(%error, "ended ceremonies could not be removed: {error}");
        }
        if let Err(error) = in_batches(|| context.store.sweep_used_challenges(ended_before, SWEEP_BATCH)).await {
            tracing::warn!(%error, "used challenges could not be removed: {error}");
        }
        if let Err(error) = in_batches(|| services.audit.sweep(SWEEP_BATCH)).await {
            tracing::warn!(%error, "audit events past their time could not be removed: {error}");
        }
    }
}

/// Until a batch is not full.
async fn in_batches<E, F: Future<Output = Result<u64, E>>>(batch: impl Fn() -> F) -> Result<(), E> {
    while batch().await? == u64::from(SWEEP_BATCH) {}
    Ok(())
}
