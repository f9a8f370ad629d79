//! `passkey-hsm mds update|show|impact`: the FIDO Metadata Service.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Subcommand;
use serde_json::{Value, json};
use url::Url;

use super::{
    Failure, Output, Setup, download,
    output::{facts, table, warn},
    setup::block_on,
};
use crate::{
    config,
    domain::{Clock as _, MetadataEntry, MetadataHead, SystemClock},
    services::{Affected, BlobTrust, Imported, Services, forbidding_reports},
};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Verify a metadata BLOB and store it for all servers, if it is newer than the one there is
    Update {
        /// The BLOB as a file, `-` for standard input; left out, it is fetched
        #[arg(long, value_name = "BLOB", conflicts_with = "url")]
        file: Option<PathBuf>,
        /// Where to fetch it, in the place of metadata.url
        #[arg(long)]
        url: Option<Url>,
        /// A revocation list (PEM or DER) to hold the signer's chain against; one for each issuer
        #[arg(long, value_name = "FILE")]
        crl: Vec<PathBuf>,
    },
    /// Show what is stored, and which models have a status that forbids new credentials
    Show,
    /// List the credentials of all tenants whose model has such a status
    Impact,
}

pub(super) fn run(setup: &Setup, command: Command, output: &Output) -> Result<ExitCode, Failure> {
    block_on(async {
        let services = setup.services_without_signer().await?;
        match command {
            Command::Update { file, url, crl } => {
                let config = &setup.config.metadata;
                let trust = blob_trust(config, &crl)?;
                let blob = match file {
                    Some(file) => download::read_file(&file)?,
                    None => download::get(url.as_ref().unwrap_or(&config.url)).await?,
                };
                let imported = services.metadata.import(&blob, &trust).await.map_err(|e| Failure::from_error(&e))?;
                warn_of_unchecked(&imported);
                output.show(&imported_json(&imported), |_| render_imported(&imported))?;
            }
            Command::Show => {
                let stored = services.metadata.stored().await?;
                let json = stored.as_ref().map(|(head, entries)| stored_json(head, entries));
                output.show(&json, |_| stored.as_ref().map_or_else(nothing_stored, |(head, entries)| render_stored(head, entries)))?;
            }
            Command::Impact => impact(&services, output).await?,
        }
        services.context.store.close().await;
        Ok(ExitCode::SUCCESS)
    })
}

/// Where Linux distributions keep the certificates they trust.
const SYSTEM_BUNDLES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

fn blob_trust(config: &config::Metadata, crls: &[PathBuf]) -> Result<BlobTrust, Failure> {
    let refused = |file: &Path, error: &dyn std::fmt::Display| Failure::usage(format!("{}: {error}", file.display()));
    let mut trust = match &config.root {
        Some(file) => {
            let pem = fs::read(file).map_err(|e| refused(file, &e))?;
            BlobTrust::of_roots(&pem).map_err(|e| refused(file, &e))?
        }
        None => {
            let found = SYSTEM_BUNDLES.iter().filter_map(|file| fs::read(file).ok()).find_map(|pem| BlobTrust::pinned(&pem));
            found.ok_or_else(|| {
                let advice = "install ca-certificates, or name a PEM file with it in metadata.root";
                Failure::usage(format!("FIDO's root, GlobalSign Root CA R3, is not among the system's certificates: {advice}"))
            })?
        }
    };
    trust.signer_name.clone_from(&config.signer);
    for file in crls {
        let bytes = fs::read(file).map_err(|e| refused(file, &e))?;
        trust.add_crls(&bytes).map_err(|e| refused(file, &e))?;
    }
    Ok(trust)
}

fn warn_of_unchecked(imported: &Imported) {
    for subject in &imported.report.unchecked {
        warn(&format!("no revocation list was given for {subject}'s issuer: whether it was revoked is not known"));
    }
    let overdue = SystemClock.now() >= imported.head.next_update;
    if overdue {
        warn(&format!("its next update was due on {}: fetch a newer one", imported.head.next_update));
    }
}

fn imported_json(imported: &Imported) -> Value {
    json!({
        "no": imported.head.no,
        "next_update": imported.head.next_update.to_string(),
        "signer": imported.report.signer,
        "models": imported.models,
        "skipped": imported.report.skipped,
        "revocation_unchecked": imported.report.unchecked,
    })
}

fn render_imported(imported: &Imported) -> String {
    facts(&[
        ("stored", format!("metadata no. {}, {} models", imported.head.no, imported.models)),
        ("signed by", imported.report.signer.clone()),
        ("next update", imported.head.next_update.to_string()),
        ("skipped", imported.report.skipped.iter().map(|(reason, n)| format!("{n} {reason}")).collect::<Vec<_>>().join(", ")),
    ])
}

fn nothing_stored() -> String {
    "No metadata is stored: passkey-hsm mds update".to_owned()
}

fn stored_json(head: &MetadataHead, entries: &[MetadataEntry]) -> Value {
    let forbidden: Vec<Value> = forbidden(entries).map(|(entry, report)| json!({ "model": entry.description, "aaguid": entry.aaguid, "status": report })).collect();
    json!({
        "no": head.no,
        "next_update": head.next_update.to_string(),
        "imported_at": head.imported_at.to_string(),
        "models": entries.len(),
        "forbidden": forbidden,
    })
}

fn render_stored(head: &MetadataHead, entries: &[MetadataEntry]) -> String {
    let heading = facts(&[
        ("number", head.no.to_string()),
        ("models", entries.len().to_string()),
        ("stored", head.imported_at.to_string()),
        ("next update", head.next_update.to_string()),
    ]);
    let rows: Vec<[String; 4]> = forbidden(entries).map(|(entry, report)| model_row(entry, report)).collect();
    if rows.is_empty() {
        return format!("{heading}\n\nNo model has a status that forbids new credentials.");
    }
    format!("{heading}\n\n{}", table(["model", "aaguid", "status", "since"], rows))
}
