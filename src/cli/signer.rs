//! `passkey-hsm signer`: the process that loads the PKCS#11 module.

use std::{
    env, io,
    os::{fd::AsFd as _, unix::net::UnixStream},
    path::Path,
    process::ExitCode,
};

use super::{Failure, doctor::Finding, output, setup::token_config};
use crate::{config::SignerConfig, hsm::signer, telemetry};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Refuse to make or destroy keys
    #[arg(long)]
    sign_only: bool,
    /// Only try the token, step by step, and print the findings as JSON
    #[arg(long, hide = true)]
    probe: bool,
}

/// Serves the socket on standard input until it is closed.
pub(super) fn run(file: Option<&Path>, args: &Args) -> Result<ExitCode, Failure> {
    let config = SignerConfig::load(file, &mut env::vars_os()).map_err(|e| Failure::usage(e.to_string()))?;
    telemetry::init_logs(&config.log).map_err(|e| Failure::usage(e.to_string()))?;
    let token = token_config(&config.hsm, !args.sign_only)?;
    if args.probe {
        let findings: Vec<Finding> = signer::probe(&token).steps.into_iter().map(Finding::from).collect();
        output::line(&serde_json::to_string(&findings)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    if socket.peer_addr().is_err() {
        return Err(Failure::usage("a signer process is started by `passkey-hsm serve`, with a socket as its standard input"));
    }
    match signer::run(&token, socket) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) => Ok(ExitCode::from(error.exit_code())),
    }
}
