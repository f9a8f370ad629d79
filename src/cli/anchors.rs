//! `passkey-hsm anchors import|list|remove`: what attestation certificates may lead to, beside the FIDO metadata.

use std::{path::PathBuf, process::ExitCode};

use clap::Subcommand;
use serde_json::{Value, json};

use super::{
    Failure, Output, Setup, download,
    output::{table, warn},
    setup::block_on,
};
use crate::{
    domain::AnchorSetName,
    services::{AnchorCertificate, AnchorSet},
};

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
                let others = other_blocks(&pem);
                if others > 0 {
                    let advice = "left out; a private key has no place there";
                    warn(&format!("{}: {others} BEGIN line(s) are not those of certificates, and were {advice}", file.display()));
                }
                let set = metadata.import_anchors(name, &pem).await;
                let set = set.map_err(|e| Failure::usage(format!("{}: {}", file.display(), Failure::from_error(&e))))?;
                output.show(&json(&set), |_| format!("{}\n\nServers take them within seconds.", render(std::slice::from_ref(&set))))?;
            }
            Command::List => {
                let sets = metadata.anchor_sets().await?;
                output.show(&sets.iter().map(json).collect::<Vec<_>>(), |_| render(&sets))?;
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

/// How many lines begin something that is no certificate, or would if they were whole: OpenSSL passes over them without a word.
fn other_blocks(pem: &[u8]) -> usize {
    let begins = |line: &&[u8]| line.starts_with(b"--") && line.windows(6).any(|part| part == b"BEGIN ");
    let names = ["CERTIFICATE", "X509 CERTIFICATE", "TRUSTED CERTIFICATE"].map(|name| format!("-----BEGIN {name}-----"));
    let is_certificate = |line: &[u8]| names.iter().any(|name| line.trim_ascii_end() == name.as_bytes());
    pem.split(|byte| *byte == b'\n').filter(begins).filter(|line| !is_certificate(line)).count()
}

fn json(set: &AnchorSet) -> Value {
    json!({ "set": set.name, "certificates": set.certificates })
}

fn render(sets: &[AnchorSet]) -> String {
    if sets.is_empty() {
        return "No anchors are imported; `passkey-hsm anchors import` does.".to_owned();
    }
    let rows = |set: &AnchorSet| {
        let row = |c: &AnchorCertificate| [set.name.to_string(), c.subject.clone(), c.sha256.clone(), c.not_after.clone()];
        set.certificates.iter().map(row).collect::<Vec<_>>()
    };
    table(["set", "certificate", "sha-256", "ends"], sets.iter().flat_map(rows))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_passed_over_is_counted() {
        let block = |begin: &str| format!("A root, BEGIN of text\r\n{begin}\r\nAAAA\r\n-----END CERTIFICATE-----\r\n");
        for (begin, expected) in [
            ("-----BEGIN CERTIFICATE-----", 0),
            ("-----BEGIN TRUSTED CERTIFICATE-----", 0),
            ("----BEGIN CERTIFICATE-----", 1),
            ("-----BEGIN PRIVATE KEY-----", 1),
            ("-----BEGIN X509 CRL-----", 1),
        ] {
            assert_eq!(other_blocks(block(begin).as_bytes()), expected, "{begin}");
        }
        assert_eq!(other_blocks(b"\xff--BEGIN "), 0);
    }
}
