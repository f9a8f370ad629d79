//! `passkey-hsm api-key create|list|revoke`

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::{Value, json};

use super::{
    Failure, Output, Setup,
    authority::commander,
    client::Reach,
    output::{facts, table},
    setup::{block_on, name},
};
use crate::domain::{ApiKey, ApiKeyId, ApiKeyRecord, Permission, TenantId};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make an API key. It is shown this once
    Create {
        /// The tenant's id
        tenant: TenantId,
        /// A name for people, unique in the tenant
        #[arg(long, value_parser = name)]
        name: String,
    },
    /// List a tenant's API keys, without their secrets
    List {
        /// The tenant's id
        tenant: TenantId,
    },
    /// Revoke an API key, at once and for good
    Revoke {
        /// The tenant's id
        tenant: TenantId,
        /// The key's id
        id: ApiKeyId,
    },
}

pub(super) fn run(setup: &Setup, reach: &Reach<'_>, command: Command, output: &Output) -> Result<ExitCode, Failure> {
    block_on(async {
        // None of these needs the HSM: no signer is started.
        let services = setup.services_without_signer().await?;
        let keys = &services.api_keys;
        match command {
            Command::Create { tenant, name } => {
                let (_, by) = commander(reach, &services, Permission::ChangeApiKeys, Some(tenant)).await?;
                let (record, key) = keys.create(tenant, &name, &by).await?;
                output.show(&created(&record, &key), |_| render_created(&record, &key))?;
            }
            Command::List { tenant } => {
                let records = keys.list(tenant).await?;
                output.show(&records.iter().map(row).collect::<Vec<_>>(), |_| {
                    let revoked = |r: &ApiKeyRecord| r.revoked_at.map(|t| t.to_string()).unwrap_or_default();
                    let rows = records.iter().map(|r| [r.id.to_string(), r.name.clone(), r.created_at.to_string(), revoked(r)]);
                    table(["id", "name", "created", "revoked"], rows)
                })?;
            }
            Command::Revoke { tenant, id } => {
                let (_, by) = commander(reach, &services, Permission::ChangeApiKeys, Some(tenant)).await?;
                if !keys.revoke(tenant, id, &by).await? {
                    return Err(Failure::new(format!("tenant {tenant} has no API key {id} that could be revoked")));
                }
                output.show(&json!({ "revoked": id }), |_| format!("Revoked {id}."))?;
            }
        }
        services.context.store.close().await;
        Ok(ExitCode::SUCCESS)
    })
}

fn row(record: &ApiKeyRecord) -> Value {
    let revoked_at = record.revoked_at.map(|t| t.to_string());
    json!({ "id": record.id, "name": record.name, "created_at": record.created_at.to_string(), "revoked_at": revoked_at })
}

/// The key in the contract's form.
pub(super) fn created(record: &ApiKeyRecord, key: &ApiKey) -> Value {
    json!({ "id": record.id, "name": record.name, "secret": key.expose().as_str(), "created_at": record.created_at.to_string() })
}

fn render_created(record: &ApiKeyRecord, key: &ApiKey) -> String {
    let shown = facts(&[("id", record.id.to_string()), ("name", record.name.clone()), ("api key", key.expose().as_str().to_owned())]);
    format!("{shown}\n\nThe API key is shown this once; only its hash is stored.")
}
