//! The command line: one file a command, and the only place where things are built.

mod admin_token;
mod anchors;
mod api_key;
mod approval;
mod authority;
mod client;
mod credential;
mod dev;
mod doctor;
mod download;
mod failure;
mod hsm;
mod inspect;
mod key;
mod key_watch;
mod mds;
mod migrate;
mod output;
mod progress;
mod root_secret;
mod serve;
mod setup;
mod signer;
mod tenant;
mod tenant_end;
mod tenant_file;
mod terminal;
mod transaction;

use std::{env, path::PathBuf, process::ExitCode};

use clap::{CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;

use self::{
    client::{ClientOptions, Reach},
    failure::Failure,
    output::Output,
    setup::Setup,
};

/// A multi-tenant passkey (WebAuthn) server whose token-signing keys never leave a PKCS#11 HSM.
#[derive(Debug, Parser)]
#[command(
    name = "passkey-hsm",
    version,
    arg_required_else_help = true,
    after_help = "Exit codes: 0 done, 1 failed, 2 wrong usage or configuration, 3 waits for an approval, 130 broken off by Ctrl-C."
)]
struct Cli {
    /// The configuration file; by default the one that PASSKEY_HSM_CONFIG names, or passkey-hsm.toml where there is one
    #[arg(long, short, global = true, value_name = "FILE", help_heading = "Global options")]
    config: Option<PathBuf>,
    /// Print JSON instead of tables
    #[arg(long, global = true, help_heading = "Global options")]
    json: bool,
    #[command(flatten)]
    client: ClientOptions,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the public and the admin listener
    Serve(serve::Args),
    /// Serve for development: migrate, make a demo tenant, show a page to try it on
    Dev(serve::Args),
    /// Bring the database's tables up to date
    Migrate,
    /// Make and change tenants
    #[command(subcommand)]
    Tenant(tenant::Command),
    /// Make, list and revoke API keys
    #[command(subcommand)]
    ApiKey(api_key::Command),
    /// Signing keys: make, publish, activate, rotate, suspend, distrust and destroy them
    #[command(subcommand)]
    Key(key::Command),
    /// What waits for a second administrator
    #[command(subcommand)]
    Approval(approval::Command),
    /// Make, list and revoke administrators
    #[command(subcommand)]
    AdminToken(admin_token::Command),
    /// FIDO metadata: fetch it, look at it, see whom it concerns
    #[command(subcommand)]
    Mds(mds::Command),
    /// Certificates that attestations may lead to, beside FIDO's metadata
    #[command(subcommand)]
    Anchors(anchors::Command),
    /// Look at credentials and the evidence of their registration
    #[command(subcommand)]
    Credential(credential::Command),
    /// The evidence of what was confirmed
    #[command(subcommand)]
    Transaction(transaction::Command),
    /// Verify stored evidence again, offline
    Inspect(inspect::Args),
    /// The token: what is on it, whether it serves, and what it keeps for the deployment as a whole
    #[command(subcommand)]
    Hsm(hsm::Command),
    /// Check configuration, database, HSM and keys; say what to do where something is wrong
    Doctor,
    /// The process that loads the PKCS#11 module; started by the others
    Signer(signer::Args),
    /// The process that knows the PIN that an operator entered; started by the server
    #[command(hide = true)]
    PinKeeper,
    /// Print a completion script for a shell
    Completions {
        /// Which shell
        shell: Shell,
    },
}

/// Runs the program with the process' arguments and environment.
pub fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version come this way too; clap knows which stream and which code each takes.
            let _ = error.print();
            // The arguments were not understood, so whether one of them asks for JSON is read off them as they are.
            if error.use_stderr() && env::args_os().any(|arg| arg == "--json") {
                Output::new(true).refusal(&error.to_string());
            }
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let output = Output::new(cli.json);
    match dispatch(cli, &output) {
        Ok(code) => code,
        Err(failure) => {
            output.failure(&failure);
            failure.exit_code()
        }
    }
}

fn dispatch(cli: Cli, output: &Output) -> Result<ExitCode, Failure> {
    let Cli { config, client, command, .. } = cli;
    let config = config.as_deref();
    let reach = Reach { config, options: &client };
    let setup = || reach.setup();
    match command {
        Command::Completions { shell } => {
            // By way of memory: written straight to a pipe that was closed it panics.
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "passkey-hsm", &mut script);
            output::line(String::from_utf8_lossy(&script).trim_end())?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Signer(args) => signer::run(config, &args),
        Command::PinKeeper => signer::keep_pin(),
        Command::Doctor => doctor::run(config, output),
        Command::Serve(args) => serve::run(&setup()?, &args),
        Command::Dev(args) => dev::run(&setup()?, &args, output),
        Command::Inspect(args) => inspect::run(&args),
        Command::Mds(command) => mds::run(&setup()?, command, output),
        Command::Anchors(command) => anchors::run(&setup()?, command, output),
        Command::Credential(command) => credential::run(&setup()?, command, output),
        Command::Transaction(command) => transaction::run(&setup()?, &command),
        Command::Hsm(command) => hsm::run(&reach, command, output),
        Command::Key(command) => key::run(&reach, command, output),
        Command::Approval(command) => approval::run(&reach, command, output),
        Command::AdminToken(command) => admin_token::run(&reach, command, output),
        Command::Migrate => migrate::run(&setup()?, output),
        Command::Tenant(command) => tenant::run(&reach, command, output),
        Command::ApiKey(command) => api_key::run(&setup()?, &reach, command, output),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
