//! `GET /hsm`, `GET /hsm/orphans`, `POST /hsm/{activate|deactivate|bench}`

use std::time::Duration;

use axum::{
    Extension,
    extract::State,
    response::{IntoResponse as _, Response},
};
use serde::Serialize;
use zeroize::Zeroizing;

use super::{AppState, Error, approvals::requested, caller::Command, key_json::KeyResponse};
use crate::{
    domain::{Act, ApprovalId, Pin, SigningAlgorithm, hex},
    hsm::{Bench, InventoryKey, ProcessState, ProcessStatus, TokenInfo},
    http::{json::GoJson, meta::Peer},
    services::{HsmState, Submitted},
};

/// The HSM's state.
#[derive(Debug, Serialize)]
pub(super) struct HsmResponse {
    activation: &'static str,
    ready: bool,
    /// Why signer processes are not started any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    stopped: Option<String>,
    token: Option<TokenInfo>,
    /// Pairs on the token, this service's own two included; null where it could not be asked.
    pairs_on_token: Option<usize>,
    /// Keys that should have a private half there.
    keys_expected: usize,
    in_flight: usize,
    max_in_flight: usize,
    processes: Vec<ProcessResponse>,
}

#[derive(Debug, Serialize)]
struct ProcessResponse {
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<u32>,
    respawns: u64,
    /// How long ago it last signed with the health key.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_health_seconds: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_error: Option<String>,
}

/// What the token and the database do not agree on.
#[derive(Debug, Serialize)]
pub(super) struct DifferencesResponse {
    /// On the token, and no key's here.
    orphans: Vec<OrphanResponse>,
    /// Keys here whose private half is not on the token.
    missing: Vec<KeyResponse>,
}

#[derive(Debug, Serialize)]
struct OrphanResponse {
    cka_id: String,
    label: String,
    key_type: String,
    private_keys: u32,
    public_keys: u32,
}

/// Shows the HSM's state.
pub(super) async fn get(State(state): State<AppState>) -> Result<GoJson<HsmResponse>, Error> {
    Ok(GoJson(state.services.token_view.state().await?.into()))
}

/// Reads the token anew, and holds it against the database.
pub(super) async fn orphans(State(state): State<AppState>) -> Result<GoJson<DifferencesResponse>, Error> {
    let found = state.services.token_view.differences().await?;
    Ok(GoJson(DifferencesResponse {
        orphans: found.orphans.into_iter().map(OrphanResponse::from).collect(),
        missing: found.missing.into_iter().map(KeyResponse::from).collect(),
    }))
}

/// What was measured. Times are in milliseconds.
#[derive(Debug, Serialize)]
pub(super) struct BenchResponse {
    algorithm: Option<SigningAlgorithm>,
    /// Signatures at once: at most half of the queue.
    concurrency: usize,
    signatures: usize,
    errors: usize,
    seconds: f64,
    per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
}

/// Measures signatures with the health key.
pub(super) async fn bench(State(state): State<AppState>, command: Command) -> Result<GoJson<BenchResponse>, Error> {
    let (members, _) = command.read(&["seconds", "concurrency"])?;
    let seconds = members.integer("seconds")?.unwrap_or(5);
    let concurrency = members.integer("concurrency")?.unwrap_or(4);
    // What is out of bounds is refused where the bounds are.
    let bounded = (u32::try_from(seconds).unwrap_or(u32::MAX), usize::try_from(concurrency).unwrap_or(usize::MAX));
    let measured = state.services.token_view.bench(bounded.0, bounded.1).await?;
    Ok(GoJson(measured.into()))
}

impl From<Bench> for BenchResponse {
    fn from(bench: Bench) -> Self {
        let ms = |time: Duration| time.as_secs_f64() * 1000.0;
        let seconds = bench.elapsed.as_secs_f64();
        let signatures = f64::from(u32::try_from(bench.signatures).unwrap_or(u32::MAX));
        Self {
            algorithm: bench.algorithm,
            concurrency: bench.concurrency,
            signatures: bench.signatures,
            errors: bench.errors,
            seconds,
            per_second: if seconds > 0.0 { signatures / seconds } else { 0.0 },
            p50_ms: ms(bench.p50),
            p99_ms: ms(bench.p99),
        }
    }
}

/// Gives this server's signer processes the PIN, or has them start again with the configured one.
pub(super) async fn activate(State(state): State<AppState>, Extension(peer): Extension<Peer>, command: Command) -> Result<Response, Error> {
    let read = read_activation(&command, &peer);
    let caller = command.caller.clone();
    // The PIN has a copy of its own by now.
    command.wipe();
    let (pin, approval, by) = read?;
    match state.services.acts.activate_hsm(&caller, pin, approval, &by).await? {
        Submitted::Requested(approval) => Ok(requested(*approval)),
        Submitted::Done(_) => Ok(get(State(state)).await?.into_response()),
    }
}

type Activation = (Option<Pin>, Option<ApprovalId>, crate::services::By);

fn read_activation(command: &Command, peer: &Peer) -> Result<Activation, Error> {
    let (members, by) = command.read(&["pin", "approval"])?;
    let pin = members.text("pin")?.map(|pin| Pin::new(Zeroizing::new(pin)));
    if pin.is_some() && !is_private(peer) {
        return Err(Error::forbidden("a PIN is taken over the Unix socket, over TLS or from this host alone"));
    }
    if pin.as_ref().is_some_and(|pin| pin.expose().is_empty()) {
        return Err(Error::invalid(&["pin must not be empty".to_owned()]));
    }
    let approval = members.text("approval")?.map(|text| text.parse::<ApprovalId>()).transpose();
    Ok((pin, approval.map_err(|e| Error::invalid(&[format!("approval: {e}")]))?, by))
}

/// Whether nobody on a network between can read along. A proxy on this host that speaks TLS counts as this host.
fn is_private(peer: &Peer) -> bool {
    match peer {
        Peer::Local { .. } | Peer::Network { tls: true, .. } => true,
        Peer::Network { address, .. } => address.ip().to_canonical().is_loopback(),
    }
}

/// Takes the HSM out of service on this server.
pub(super) async fn deactivate(State(state): State<AppState>, command: Command) -> Result<Response, Error> {
    let (_, by) = command.read(&[])?;
    match state.services.acts.submit(&command.caller, Act::DeactivateHsm, &by).await? {
        Submitted::Requested(approval) => Ok(requested(*approval)),
        Submitted::Done(_) => Ok(get(State(state)).await?.into_response()),
    }
}

impl From<HsmState> for HsmResponse {
    fn from(HsmState { status, pairs, expected }: HsmState) -> Self {
        Self {
            activation: status.activation.as_str(),
            ready: status.ready,
            stopped: status.stopped,
            token: status.token,
            pairs_on_token: pairs,
            keys_expected: expected,
            in_flight: status.in_flight,
            max_in_flight: status.max_in_flight,
            processes: status.processes.into_iter().map(ProcessResponse::from).collect(),
        }
    }
}

impl From<ProcessStatus> for ProcessResponse {
    fn from(process: ProcessStatus) -> Self {
        let state = match process.state {
            ProcessState::Starting => "starting",
            ProcessState::Up => "up",
            ProcessState::Down => "down",
            ProcessState::Stopped => "stopped",
        };
        let last_health_seconds = process.last_health.map(|ago| ago.as_secs());
        Self { state, pid: process.pid, respawns: process.respawns, last_health_seconds, last_error: process.last_error }
    }
}

impl From<InventoryKey> for OrphanResponse {
    fn from(key: InventoryKey) -> Self {
        Self {
            cka_id: hex(&key.cka_id),
            label: key.label,
            key_type: key.key_type,
            private_keys: key.private_keys,
            public_keys: key.public_keys,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_comes_where_nobody_reads_along() {
        let network = |address: &str, tls| Peer::Network { address: address.parse().unwrap(), tls, certificate: None };
        assert!(is_private(&Peer::Local { uid: 7 }));
        for address in ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
            assert!(is_private(&network(address, false)), "{address}");
        }
        for address in ["192.0.2.1:1", "[2001:db8::1]:1", "[::ffff:192.0.2.1]:1", "0.0.0.0:1"] {
            assert!(!is_private(&network(address, false)) && is_private(&network(address, true)), "{address}");
        }
    }
}
