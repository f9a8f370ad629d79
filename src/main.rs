//! The program. Only `signer --config FILE` yet.

use std::{
    fs,
    os::{fd::AsFd as _, unix::net::UnixStream},
    path::PathBuf,
    process::ExitCode,
};

use passkey_hsm::hsm::{Hashing, PinSource, TokenAddress, TokenConfig, signer};
use serde::Deserialize;

#[derive(Deserialize)]
struct File {
    hsm: Hsm,
}

#[derive(Deserialize)]
struct Hsm {
    module: PathBuf,
    token: Option<String>,
    token_label: Option<String>,
    token_serial: Option<String>,
    pin_file: PathBuf,
    #[serde(default = "two")]
    sessions: usize,
    #[serde(default)]
    hashing: String,
}

fn two() -> usize {
    2
}

fn config(path: &str) -> Result<TokenConfig, Box<dyn std::error::Error>> {
    let File { hsm } = toml::from_str(&fs::read_to_string(path)?)?;
    let token = match hsm.token {
        Some(uri) => uri.parse()?,
        None => TokenAddress::new(hsm.token_label, hsm.token_serial)?,
    };
    let hashing = if hsm.hashing == "combined" { Hashing::Combined } else { Hashing::Raw };
    Ok(TokenConfig { module: hsm.module, token, pin: PinSource::File(hsm.pin_file), sessions: hsm.sessions, hashing, manage_keys: true })
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [command, flag, path] = args.as_slice() else { return ExitCode::from(2) };
    if command != "signer" || flag != "--config" {
        return ExitCode::from(2);
    }
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let Ok(config) = config(path) else { return ExitCode::from(4) };
    let Ok(socket) = std::io::stdin().as_fd().try_clone_to_owned().map(UnixStream::from) else { return ExitCode::from(2) };
    match signer::run(&config, socket) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => ExitCode::from(error.exit_code()),
    }
}
