//! `passkey-hsm anchors import|list|remove`: what attestation certificates may lead to, beside the FIDO metadata.

use std::{path::PathBuf, process::ExitCode};

use clap::Subcommand;
use serde_json::{Value, json};

use super::{
    Failure, Output, Setup, download,
    output::table,
    setup::block_on,
};
use crate::{domain::AnchorSetName, services::TrustAnchor};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Import a PEM file's certificates as a set, in the place of what was in it
    Import {
        /// The set's name, as in a tenant's settings.attestation.anchors
        name: AnchorSetName,
        /// PEM: roots, intermediates or attestation certificates; `-` for standard input
        file: PathBuf,
    },
    /// List the sets and their certificates
    List,
    /// Remove a set: chains that led to it are untrusted from then on
    Remove {
        /// The set's name
        name: AnchorSetName,
    },
}

pub(super) fn run(setup: &Setup, command: Command, output: &Output) -> Result<ExitCode, Failure> {
    block_on(async {
        let services = setup.services_without_signer().await?;
        let metadata = &services.metadata;
        match command {
            Command::Import { name, file } => {
                let pem = download::read_file(&file)?;
                let anchors = metadata.import_anchors(&name, &pem).await.map_err(|e| Failure::usage(format!("{}: {e}", file.display())))?;
                output.show(&json!({ "set": name, "certificates": rows_json(&anchors) }), |_| {
                    format!("{}\n\nImported as {name}; servers follow within seconds.", certificates(&name, &anchors))
                })?;
            }
            Command::List => {
                let sets = metadata.anchor_sets().await?;
                let json: Vec<Value> = sets.iter().map(|(name, anchors)| json!({ "set": name, "certificates": rows_json(anchors) })).collect();
                output.show(&json, |_| table(HEADING, sets.iter().flat_map(|(name, anchors)| rows(name, anchors))))?;
            }
            Command::Remove { name } => {
                if !metadata.remove_anchors(&name).await? {
                    return Err(Failure::new(format!("there is no set of anchors {name}")));
                }
                output.show(&json!({ "removed": name }), |_| format!("Removed {name}."))?;
            }
        }
        services.context.store.close().await;
        Ok(ExitCode::SUCCESS)
    })
}

const HEADING: [&str; 4] = ["set", "certificate", "sha-256", "until"];

fn rows(name: &AnchorSetName, anchors: &[TrustAnchor]) -> Vec<[String; 4]> {
    anchors.iter().map(|a| [name.to_string(), a.subject(), a.sha256(), a.not_after()]).collect()
}

fn certificates(name: &AnchorSetName, anchors: &[TrustAnchor]) -> String {
    table(HEADING, rows(name, anchors))
}

fn rows_json(anchors: &[TrustAnchor]) -> Vec<Value> {
    anchors.iter().map(|a| json!({ "subject": a.subject(), "sha256": a.sha256(), "not_after": a.not_after() })).collect()
}
