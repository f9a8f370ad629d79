//! `passkey-hsm hsm ..`: the token, what is on it, and whether it is in service.

mod operator;
mod rewrap;

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

pub(super) use self::rewrap::REWRAP_ADVICE;
use super::{
    Failure, Output, approval,
    client::{AdminClient, Answer, Need, Reach, with_client},
    key::Why,
    output::{outline, table},
    terminal::Sure,
};
use crate::domain::ApprovalId;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show the token, its module, and whether it serves
    Info,
    /// List key pairs on the token that no key here owns, and keys here whose pair is missing
    ListOrphans,
    /// Measure signatures on the server's own way to the token
    Bench(Bench),
    /// Enter the PIN: the server signs from then on. Only on the server's own host
    Activate(Activate),
    /// Take the HSM out of service: nothing is signed until it is activated again
    Deactivate {
        #[command(flatten)]
        why: Why,
        #[command(flatten)]
        sure: Sure,
    },
    /// Let the configured token open the deployment's root secret
    Rewrap(rewrap::Rewrap),
}

#[derive(Debug, Args)]
pub(super) struct Bench {
    /// How long
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=30))]
    seconds: u32,
    /// Signatures at once
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=64))]
    concurrency: u32,
}

#[derive(Debug, Args)]
pub(super) struct Activate {
    /// A file with the PIN, for nobody else to read: for scripts. Without it the PIN is asked for
    #[arg(long, value_name = "FILE")]
    pin_file: Option<PathBuf>,
    /// The approval of this act, where dual control is on
    #[arg(long, value_name = "ID")]
    approval: Option<ApprovalId>,
    #[command(flatten)]
    why: Why,
}

pub(super) fn run(reach: &Reach<'_>, command: Command, output: &Output) -> Result<ExitCode, Failure> {
    match command {
        Command::Rewrap(args) => rewrap::run(&reach.setup()?, reach, args, output),
        Command::Info => with_client(reach, Need::Token, async |client| {
            let info = client.get("/hsm").await?;
            output.show(&info, outline)?;
            Ok(ExitCode::SUCCESS)
        }),
        Command::ListOrphans => with_client(reach, Need::Token, async |client| orphans(client, output).await),
        Command::Bench(Bench { seconds, concurrency }) => with_client(reach, Need::Token, async |client| {
            let Answer::Done(measured) = client.post("/hsm/bench", &json!({ "seconds": seconds, "concurrency": concurrency })).await?
            else {
                return Err(Failure::new("the answer is none to a measurement"));
            };
            output.show(&measured, outline)?;
            Ok(ExitCode::SUCCESS)
        }),
        Command::Activate(args) => operator::activate(reach, &args, output),
        Command::Deactivate { why, sure } => operator::deactivate(reach, &why, sure, output),
    }
}

async fn orphans(client: &AdminClient, output: &Output) -> Result<ExitCode, Failure> {
    let found = client.get("/hsm/orphans").await?;
    output.show(&found, |found| {
        let part = |(name, list): (&String, &Value)| {
            let list = list.as_array().map(Vec::as_slice).unwrap_or_default();
            let text = |entry: &Value, member: &str| entry.get(member).and_then(Value::as_str).unwrap_or_default().to_owned();
            let members = if name == "missing" { ["kid", "tenant_id", "state", "cka_id"] } else { ["cka_id", "label", "key_type", ""] };
            let shown = table(members, list.iter().map(|entry| members.map(|member| text(entry, member))));
            if list.is_empty() { format!("{name}: none") } else { format!("{name}:\n{shown}") }
        };
        found.as_object().into_iter().flatten().map(part).collect::<Vec<_>>().join("\n\n")
    })?;
    Ok(ExitCode::SUCCESS)
}

/// What came of an operator's act.
fn finish(answer: Answer, done: &str, output: &Output) -> Result<ExitCode, Failure> {
    match answer {
        Answer::Done(state) => {
            let said = format!("{done}\n\n{}", outline(&state));
            output.show(&state, |_| said.trim_end().to_owned())?;
            Ok(ExitCode::SUCCESS)
        }
        Answer::Waits(approval) => approval::waits(&approval, output),
    }
}
