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
    services::{Affected, BlobTrust, Forbidden, Imported, StoredMetadata},
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
        let metadata = &services.metadata;
        match command {
            Command::Update { file, url, crl } => {
                let config = &setup.config.metadata;
                let trust = blob_trust(config, &crl)?;
                let blob = match file {
                    Some(file) => download::read_file(&file)?,
                    None => download::get(url.as_ref().unwrap_or(&config.url)).await?,
                };
                let imported = metadata.import(&blob, &trust).await.map_err(|e| Failure::from_error(&e))?;
                warn_of(&imported);
                output.show(&imported_json(&imported), |_| render_imported(&imported))?;
            }
            Command::Show => {
                let stored = metadata.stored().await?;
                output.show(&stored.as_ref().map(stored_json), |_| render_stored(stored.as_ref()))?;
            }
            Command::Impact => {
                let affected = metadata.impact().await?;
                // That no credential is touched is not known then.
                let affected = affected.ok_or_else(|| Failure::new("no metadata is stored: run `passkey-hsm mds update`"))?;
                output.show(&affected.iter().map(affected_json).collect::<Vec<_>>(), |_| render_affected(&affected))?;
            }
        }
        services.context.store.close().await;
        Ok(ExitCode::SUCCESS)
    })
}

/// Where systems keep the certificates that they trust.
const SYSTEM_BUNDLES: [&str; 3] = ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

fn blob_trust(config: &config::Metadata, crls: &[PathBuf]) -> Result<BlobTrust, Failure> {
    let refused = |file: &Path, error: &dyn std::fmt::Display| Failure::usage(format!("{}: {error}", file.display()));
    let read = |file: &Path| fs::read(file).map_err(|e| refused(file, &e));
    let mut trust = match &config.root {
        Some(file) => BlobTrust::of_roots(&read(file)?).map_err(|e| refused(file, &e))?,
        None => system_root()?,
    };
    trust.signer_name.clone_from(&config.signer);
    for file in crls {
        trust.add_crl(&read(file)?).map_err(|e| refused(file, &e))?;
    }
    Ok(trust)
}

fn system_root() -> Result<BlobTrust, Failure> {
    let found = SYSTEM_BUNDLES.iter().filter_map(|file| fs::read(file).ok()).find_map(|pem| BlobTrust::pinned(&pem));
    found.ok_or_else(|| {
        let advice = "install ca-certificates, or name a PEM file that has it in metadata.root";
        Failure::usage(format!("the root of FIDO's metadata, GlobalSign Root CA R3, is not among the system's certificates: {advice}"))
    })
}

fn warn_of(imported: &Imported) {
    for subject in &imported.unchecked {
        warn(&format!("whether {subject} was revoked is not known: no --crl covers it"));
    }
    if imported.unreadable_anchors > 0 {
        warn(&format!("{} trust anchor(s) in it are no certificates, and were left out", imported.unreadable_anchors));
    }
    if imported.overdue {
        warn(&format!("its successor was due on {}: fetch it", imported.head.next_update.date()));
    }
}

fn imported_json(imported: &Imported) -> Value {
    json!({
        "no": imported.head.no,
        "next_update": imported.head.next_update.date(),
        "overdue": imported.overdue,
        "signer": imported.signer,
        "models": imported.models,
        "skipped": imported.skipped,
        "unreadable_anchors": imported.unreadable_anchors,
        "revocation_unchecked": imported.unchecked,
    })
}

fn render_imported(imported: &Imported) -> String {
    let skipped = imported.skipped.iter().map(|(reason, n)| format!("{n} ({reason})")).collect::<Vec<_>>().join(", ");
    facts(&[
        ("stored", format!("metadata no. {} with {} models", imported.head.no, imported.models)),
        ("signed by", imported.signer.clone()),
        ("next update", imported.head.next_update.date()),
        ("left out", skipped),
    ])
}

fn forbidden_json(forbidden: &Forbidden) -> Value {
    json!({ "model": forbidden.model, "aaguid": forbidden.aaguid, "report": forbidden.report })
}

fn stored_json(stored: &StoredMetadata) -> Value {
    json!({
        "no": stored.head.no,
        "next_update": stored.head.next_update.date(),
        "overdue": stored.overdue,
        "imported_at": stored.head.imported_at.to_string(),
        "models": stored.models,
        "forbidden": stored.forbidden.iter().map(forbidden_json).collect::<Vec<_>>(),
    })
}

fn render_stored(stored: Option<&StoredMetadata>) -> String {
    let Some(stored) = stored else { return "No metadata is stored. `passkey-hsm mds update` fetches it.".to_owned() };
    let overdue = if stored.overdue { " (overdue)" } else { "" };
    let heading = facts(&[
        ("number", stored.head.no.to_string()),
        ("models", stored.models.to_string()),
        ("imported", stored.head.imported_at.to_string()),
        ("next update", format!("{}{overdue}", stored.head.next_update.date())),
    ]);
    if stored.forbidden.is_empty() {
        return format!("{heading}\n\nNo model has a status that forbids new credentials.");
    }
    let rows = stored.forbidden.iter().map(|forbidden| {
        let aaguid = forbidden.aaguid.map(|aaguid| aaguid.to_string()).unwrap_or_default();
        [forbidden.model.clone(), aaguid, forbidden.report.status.clone(), since(forbidden)]
    });
    format!("{heading}\n\n{}", table(["model", "aaguid", "status", "since"], rows))
}

fn since(forbidden: &Forbidden) -> String {
    forbidden.report.effective_date.clone().unwrap_or_default()
}

fn affected_json(affected: &Affected) -> Value {
    let (credential, mut json) = (&affected.credential, forbidden_json(&affected.forbidden));
    json["tenant_id"] = json!(credential.tenant_id);
    json["tenant"] = json!(credential.tenant_name);
    json["user_id"] = json!(credential.user_id.as_str());
    json["credential_id"] = json!(credential.id.to_string());
    json["trust"] = json!(credential.attestation.trust);
    json["created_at"] = json!(credential.created_at.to_string());
    json["last_used_at"] = json!(credential.last_used_at.map(|t| t.to_string()));
    json
}

fn render_affected(affected: &[Affected]) -> String {
    if affected.is_empty() {
        return "No credential is of a model whose status forbids new credentials.".to_owned();
    }
    let rows = affected.iter().map(|Affected { forbidden, credential }| {
        [
            credential.tenant_name.clone(),
            credential.user_id.to_string(),
            credential.id.to_string(),
            forbidden.model.clone(),
            forbidden.report.status.clone(),
            since(forbidden),
            credential.attestation.trust.to_string(),
        ]
    });
    table(["tenant", "user", "credential", "model", "status", "since", "trust"], rows)
}
