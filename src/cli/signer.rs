//! `passkey-hsm signer`: the process that loads the PKCS#11 module.

use std::{
    env, io,
    os::{fd::AsFd as _, unix::net::UnixStream},
    path::Path,
    process::ExitCode,
    sync::Arc,
};

use tokio::signal::unix::{SignalKind, signal};

use super::{
    Failure,
    doctor::{Finding, PROBE_LIMIT},
    output,
    setup::token_config,
};
use crate::{
    config::SignerConfig,
    domain::SystemClock,
    hsm::{self, signer},
    telemetry,
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Refuse to make or destroy keys
    #[arg(long)]
    sign_only: bool,
    /// Only try the token, step by step, and print the findings as JSON
    #[arg(long, hide = true)]
    probe: bool,
}

/// From now on a signal that asks for an end is not heard: the socket's end is what ends this process. A service manager asks every process
/// of a service at once, while the server has requests to finish yet; Ctrl-C at a terminal reaches `doctor` and its probe alike, and a login
/// that is cut short can cost the token.
fn ignore_signals() -> io::Result<()> {
    // A handler that was registered stays; the runtime is not needed afterwards.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let _inside = runtime.enter();
    for kind in [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()] {
        drop(signal(kind)?);
    }
    Ok(())
}

/// Serves a PIN keeper's socket on standard input until it is closed.
pub(super) fn keep_pin() -> Result<ExitCode, Failure> {
    ignore_signals()?;
    hsm::keep_pin(socket()?)?;
    Ok(ExitCode::SUCCESS)
}

fn socket() -> Result<UnixStream, Failure> {
    let socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    if socket.peer_addr().is_err() {
        return Err(Failure::usage("this process is started by `passkey-hsm serve`, with a socket as its standard input"));
    }
    Ok(socket)
}

/// Serves the socket on standard input until it is closed.
pub(super) fn run(file: Option<&Path>, args: &Args) -> Result<ExitCode, Failure> {
    let config = SignerConfig::load(file, &mut env::vars_os()).map_err(|e| Failure::usage(e.to_string()))?;
    telemetry::init_logs(&config.log).map_err(|e| Failure::usage(e.to_string()))?;
    ignore_signals()?;
    let token = token_config(&config.hsm, !args.sign_only)?;
    if args.probe {
        // It hears no signal, and `doctor` may be gone before its module answers: nobody else would end it.
        std::thread::spawn(|| {
            std::thread::sleep(PROBE_LIMIT);
            signer::die()
        });
        let findings: Vec<Finding> = signer::probe(&token).steps.into_iter().map(Finding::from).collect();
        output::line(&serde_json::to_string(&findings)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    match signer::run(&token, socket()?, Arc::new(SystemClock)) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) => Ok(ExitCode::from(error.exit_code())),
    }
}
