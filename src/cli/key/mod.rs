//! `passkey-hsm key ..`: signing keys under command. Each is a request to the admin API: see [`super::client`].

mod change;
mod evidence;
mod inventory;
mod rotate_all;
mod view;

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use self::view::{Key, render, render_all};
use super::{
    Failure, Output,
    client::{AdminClient, Need, Reach, with_client},
    setup::parse_rsa_bits,
    terminal::Sure,
};
use crate::domain::{KeyId, SigningAlgorithm, TenantId};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List signing keys, in whatever state
    List {
        /// This tenant's alone
        tenant: Option<TenantId>,
    },
    /// Show a key: its state and its dates
    Show {
        /// The key's id
        kid: KeyId,
    },
    /// Make a key in the HSM
    Generate(Generate),
    /// Put a key into the JWKS, as the tenant's standby
    Publish(One),
    /// Have a published key sign, in the place of the active one
    Activate {
        #[command(flatten)]
        one: One,
        /// Although verifiers may not have it yet: they refuse its tokens until they fetch the JWKS anew
        #[arg(long)]
        accept_exposure: bool,
        #[command(flatten)]
        sure: Sure,
    },
    /// Put a tenant's standby, or every tenant's, in the place of the key that signs
    Rotate(Rotate),
    /// Undo a tenant's last rotation
    Rollback {
        /// The tenant's id
        tenant: TenantId,
        #[command(flatten)]
        why: Why,
    },
    /// Have a key sign no more for now; it stays in the JWKS until its last token has expired
    Suspend {
        #[command(flatten)]
        one: One,
        /// Have the standby sign in its place
        #[arg(long)]
        replace: bool,
        #[command(flatten)]
        sure: Sure,
    },
    /// Have a suspended key sign again; publish it again where it has left the JWKS
    Resume(One),
    /// Take a key that does not sign out of use
    Retire {
        #[command(flatten)]
        one: One,
        #[command(flatten)]
        sure: Sure,
    },
    /// Distrust a key: out of the JWKS at once, and its private half destroyed
    Compromise {
        #[command(flatten)]
        one: One,
        /// Have a standby sign in its place although verifiers may not have it yet
        #[arg(long)]
        accept_exposure: bool,
        #[command(flatten)]
        sure: Sure,
    },
    /// Destroy a key that does not sign, on the token and for good; also finishes what was cut short
    Destroy {
        #[command(flatten)]
        one: One,
        #[command(flatten)]
        sure: Sure,
    },
    /// Take over a key that a ceremony made on the token
    Adopt(Adopt),
    /// Write what the token said of a key when it was made, signed by that key
    Evidence(Evidence),
    /// Write what an auditor asks for: every key with its token, attributes, state and dates
    Inventory {
        /// This tenant's alone
        tenant: Option<TenantId>,
    },
}

/// Why a change is made.
#[derive(Debug, Default, Args)]
pub(super) struct Why {
    /// Why, for the audit log
    #[arg(long, value_name = "TEXT", value_parser = super::setup::name)]
    pub(super) reason: Option<String>,
}

impl Why {
    /// `body` with the reason.
    pub(super) fn with(&self, mut body: Value) -> Value {
        if let (Some(members), Some(reason)) = (body.as_object_mut(), &self.reason) {
            members.insert("reason".to_owned(), json!(reason));
        }
        body
    }
}

/// A key, and why it is changed.
#[derive(Debug, Args)]
pub(super) struct One {
    /// The key's id
    kid: KeyId,
    #[command(flatten)]
    why: Why,
}

#[derive(Debug, Args)]
pub(super) struct Generate {
    /// The tenant's id
    #[arg(required_unless_present = "resume")]
    tenant: Option<TenantId>,
    /// What it signs with, in the place of the tenant's own choice
    #[arg(long)]
    algorithm: Option<SigningAlgorithm>,
    /// Size of an RSA key: 2048, 3072 or 4096
    #[arg(long, value_name = "BITS", value_parser = parse_rsa_bits)]
    rsa_bits: Option<u32>,
    /// Have the scheduler publish it
    #[arg(long, conflicts_with = "activate")]
    publish: bool,
    /// Have the scheduler publish it, and have it sign as soon as it may
    #[arg(long)]
    activate: bool,
    /// Finish a key whose making was cut short; `doctor` names them
    #[arg(long, value_name = "KID", conflicts_with_all = ["tenant", "algorithm", "rsa_bits", "publish", "activate"])]
    resume: Option<KeyId>,
    #[command(flatten)]
    why: Why,
}

#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "one for each option that takes no value")]
pub(super) struct Rotate {
    /// The tenant's id
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    tenant: Option<TenantId>,
    /// Every tenant
    #[arg(long)]
    all: bool,
    /// Of all tenants, those whose rotation is due
    #[arg(long, requires = "all")]
    due: bool,
    /// Of all tenants, those whose key signs since before this instant (RFC 3339): takes up a run that was broken off
    #[arg(long, value_name = "INSTANT", requires = "all", value_parser = super::setup::instant)]
    since: Option<crate::domain::Timestamp>,
    /// Now, or not at all; else a rotation for which no key is ready is planned
    #[arg(long, conflicts_with = "all")]
    emergency: bool,
    /// Although verifiers may not have the standby yet: they refuse its tokens until they fetch the JWKS anew
    #[arg(long, requires = "emergency")]
    accept_exposure: bool,
    #[command(flatten)]
    why: Why,
    #[command(flatten)]
    sure: Sure,
}

#[derive(Debug, Args)]
pub(super) struct Adopt {
    /// The tenant's id
    tenant: TenantId,
    /// The key's CKA_ID, in hex
    #[arg(long, value_name = "HEX", required_unless_present = "label")]
    cka_id: Option<String>,
    /// The key's CKA_LABEL
    #[arg(long, value_name = "LABEL")]
    label: Option<String>,
    /// What it signs with
    #[arg(long)]
    algorithm: SigningAlgorithm,
    /// Have the scheduler publish it
    #[arg(long, conflicts_with = "activate")]
    publish: bool,
    /// Have the scheduler publish it, and have it sign as soon as it may: at once for a tenant that waits for its first key
    #[arg(long)]
    activate: bool,
    #[command(flatten)]
    why: Why,
}

#[derive(Debug, Args)]
pub(super) struct Evidence {
    /// The key's id
    #[arg(required_unless_present = "verify")]
    kid: Option<KeyId>,
    /// Write it to this file, in the place of standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Add what a vendor's tool says of the key
    #[arg(long, value_name = "FILE", conflicts_with = "out")]
    attach: Option<PathBuf>,
    /// Check a file that this command wrote, without a server, a database or a token
    #[arg(long, value_name = "FILE", conflicts_with_all = ["kid", "out", "attach"])]
    verify: Option<PathBuf>,
    #[command(flatten)]
    why: Why,
}

pub(super) fn run(reach: &Reach<'_>, command: Command, output: &Output) -> Result<ExitCode, Failure> {
    match command {
        Command::List { tenant } => with_client(reach, Need::Records, async |client| list(client, tenant, output).await),
        Command::Show { kid } => with_client(reach, Need::Records, async |client| {
            let key = client.get(&path(kid, "")).await?;
            output.show(&key, render)?;
            Ok(ExitCode::SUCCESS)
        }),
        Command::Evidence(args) => evidence::run(reach, &args, output),
        Command::Inventory { tenant } => with_client(reach, Need::Token, async |client| inventory::run(client, tenant, output).await),
        Command::Rotate(args) if args.all => with_client(reach, Need::Keys, async |client| rotate_all::run(client, &args, output).await),
        // Distrust waits for nothing, and what the token has to do is done by the scheduler.
        Command::Compromise { .. } => with_client(reach, Need::KeysOrNot, async |client| change::run(client, command, output).await),
        command => with_client(reach, Need::Keys, async |client| change::run(client, command, output).await),
    }
}

async fn list(client: &AdminClient, tenant: Option<TenantId>, output: &Output) -> Result<ExitCode, Failure> {
    let keys = match tenant {
        Some(tenant) => client.list(&format!("/tenants/{tenant}/signing_keys")).await?,
        None => client.list("/signing_keys").await?,
    };
    output.show(&keys, |keys| render_all(keys))?;
    Ok(ExitCode::SUCCESS)
}

/// Where a key is, or what is done to it.
fn path(kid: KeyId, act: &str) -> String {
    if act.is_empty() { format!("/signing_keys/{kid}") } else { format!("/signing_keys/{kid}/{act}") }
}
