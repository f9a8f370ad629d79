//! `passkey-hsm hsm rewrap`: which tokens open the deployment's root secret.

use std::{
    env,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;
use serde_json::json;

use super::super::{Failure, Output, Setup, authority::commander, client::Reach, setup::block_on};
use crate::{
    config::Config,
    domain::Permission,
    services::{Context, RootSecret, RootSecretError, RootSecretState},
};

/// What helps where a token does not open the secret.
pub(in crate::cli) const REWRAP_ADVICE: &str = "run `passkey-hsm hsm rewrap --from FILE` with the configuration of a token that opens it, or, if there \
                                        is none any more, `passkey-hsm hsm rewrap --new-secret`";

#[derive(Debug, Args)]
pub(in crate::cli) struct Rewrap {
    /// A configuration file whose [hsm] section is that of a token that opens the secret
    #[arg(long, value_name = "FILE", conflicts_with = "new_secret")]
    from: Option<PathBuf>,
    /// Make a new secret: logins under way fail, every other token has to be rewrapped
    #[arg(long)]
    new_secret: bool,
}

pub(super) fn run(setup: &Setup, reach: &Reach<'_>, args: Rewrap, output: &Output) -> Result<ExitCode, Failure> {
    let Rewrap { from, new_secret } = args;
    block_on(async {
        let services = setup.services().await?;
        let context = &services.context;
        let done = async {
            commander(reach, &services, Permission::OperateHsm, None).await?;
            setup.signer_ready(&services).await?;
            if new_secret { replace(context).await } else { rewrap(context, from.as_deref()).await }
        };
        let done = done.await;
        context.signer.shutdown().await;
        context.store.close().await;
        let Done { serial, change } = done?;
        let human = match change {
            Change::Nothing => format!("Nothing to do: the token with serial {serial} opens the root secret."),
            Change::Wrapped => format!("The token with serial {serial} opens the root secret now."),
            Change::Replaced => format!(
                "There is a new root secret, which only the token with serial {serial} opens. Servers take it within seconds; rewrap every other token."
            ),
        };
        let facts = json!({ "token_serial": serial, "changed": change != Change::Nothing, "new_secret": change == Change::Replaced });
        output.show(&facts, |_| human)?;
        Ok(ExitCode::SUCCESS)
    })
}

struct Done {
    /// The token's.
    serial: String,
    change: Change,
}

#[derive(PartialEq)]
enum Change {
    Nothing,
    Wrapped,
    Replaced,
}

async fn replace(context: &Context) -> Result<Done, Failure> {
    let serial = context.root_secret.replace(context).await.map_err(|e| Failure::from_error(&e))?;
    Ok(Done { serial, change: Change::Replaced })
}

async fn rewrap(context: &Context, from: Option<&Path>) -> Result<Done, Failure> {
    match (RootSecret::check(context).await, from) {
        (Ok(RootSecretState::Opens(serial)), _) => Ok(Done { serial, change: Change::Nothing }),
        (Ok(RootSecretState::NotMade), _) => Err(Failure::new("there is no root secret yet: the first start of a server makes it")),
        (Err(RootSecretError::NoEnvelope(_) | RootSecretError::DoesNotOpen(_)), Some(from)) => {
            let serial = rewrap_from(context, from).await?;
            Ok(Done { serial, change: Change::Wrapped })
        }
        (Err(error @ (RootSecretError::NoEnvelope(_) | RootSecretError::DoesNotOpen(_))), None) => {
            Err(Failure::new(format!("{error}; {REWRAP_ADVICE}")))
        }
        (Err(error), _) => Err(Failure::from_error(&error)),
    }
}

/// Opens the secret with another token, and wraps it for this one.
async fn rewrap_from(context: &Context, from: &Path) -> Result<String, Failure> {
    let config = Config::load(Some(from), &mut env::vars_os()).map_err(|e| Failure::usage(format!("{}: {e}", from.display())))?;
    let other = Setup { config };
    let services = other.services().await?;
    let opened = async {
        other.signer_ready(&services).await?;
        // Only what is there is opened: a database without a secret is another deployment's.
        match RootSecret::check(&services.context).await.map_err(|e| Failure::from_error(&e))? {
            RootSecretState::Opens(_) => services.context.root_secret.open(&services.context).await.map_err(|e| Failure::from_error(&e)),
            RootSecretState::NotMade => Err(Failure::new("its database has no root secret")),
        }
    };
    let opened = opened.await;
    services.context.signer.shutdown().await;
    services.context.store.close().await;
    opened.map_err(|why| Failure::new(format!("{}: {why}", from.display())))?;
    // The other file's database may be another one: then the fingerprint is another too, and nothing is written.
    services.context.root_secret.rewrap(context).await.map_err(|e| Failure::from_error(&e))
}
