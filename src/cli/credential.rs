//! `passkey-hsm credential list|evidence`

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::{Value, json};

use super::{
    Failure, Output, Setup,
    output::{self, table},
    setup::block_on,
};
use crate::{
    domain::{Credential, CredentialId, Tenant, TenantId},
    services::Services,
};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List a tenant's credentials, with what was found of their attestation
    List {
        /// The tenant's id
        tenant: TenantId,
    },
    /// Write what credentials were made of, one JSON object a line: for `inspect`, and for auditors
    Evidence {
        /// The tenant's id
        tenant: TenantId,
        /// This credential alone
        // An id in base64url may begin with a hyphen.
        #[arg(long, value_name = "ID", allow_hyphen_values = true)]
        credential: Option<CredentialId>,
    },
}

pub(super) fn run(setup: &Setup, command: Command, output: &Output) -> Result<ExitCode, Failure> {
    block_on(async {
        let services = setup.services_without_signer().await?;
        match command {
            Command::List { tenant } => list(&services, &services.tenants.get(tenant).await?, output).await?,
            Command::Evidence { tenant, credential: None } => all_evidence(&services, &services.tenants.get(tenant).await?).await?,
            Command::Evidence { tenant, credential: Some(id) } => {
                let evidence = services.credentials.evidence(&services.tenants.get(tenant).await?, &id).await?;
                let line = evidence.ok_or_else(|| Failure::new(format!("tenant {tenant} has no evidence of credential {id}")))?;
                output::line(&line.to_string())?;
            }
        }
        services.context.store.close().await;
        Ok(ExitCode::SUCCESS)
    })
}

async fn list(services: &Services, tenant: &Tenant, output: &Output) -> Result<(), Failure> {
    let mut credentials: Vec<Credential> = Vec::new();
    loop {
        let page = services.credentials.page(tenant, credentials.last().map(|last| &last.data.id)).await?;
        if page.is_empty() {
            break;
        }
        credentials.extend(page);
    }
    output.show(&credentials.iter().map(json).collect::<Vec<_>>(), |_| {
        if credentials.is_empty() {
            return format!("Tenant {} has no credentials.", tenant.id);
        }
        let row = |Credential { data, .. }: &Credential| {
            let record = &data.attestation;
            let names = [data.id.to_string(), data.user_id.to_string(), data.name.clone().unwrap_or_default()];
            let [id, user, name] = names;
            [
                id,
                user,
                name,
                data.attestation_type.clone(),
                record.attestation_type.to_string(),
                record.trust.to_string(),
                data.created_at.to_string(),
            ]
        };
        table(["id", "user", "name", "format", "type", "trust", "created"], credentials.iter().map(row))
    })
}

/// One line each, as they are read: there may be many.
async fn all_evidence(services: &Services, tenant: &Tenant) -> Result<(), Failure> {
    let mut after: Option<CredentialId> = None;
    loop {
        let page = services.credentials.evidence_page(tenant, after.as_ref()).await?;
        let Some((last, _)) = page.last() else { return Ok(()) };
        after = Some(last.clone());
        for (_, line) in page {
            output::line(&line.to_string())?;
        }
    }
}

fn json(Credential { data, last_used_at }: &Credential) -> Value {
    json!({
        "id": data.id.to_string(),
        "user_id": data.user_id.as_str(),
        "name": data.name,
        "aaguid": data.aaguid,
        "attestation_type": data.attestation_type,
        "attestation": data.attestation,
        "transports": data.transports,
        "backup_eligible": data.backup.eligible,
        "backup_state": data.backup.state,
        "user_verified": data.user_verified,
        "mfa": data.is_mfa,
        "sign_count": data.sign_count,
        "created_at": data.created_at.to_string(),
        "last_used_at": last_used_at.map(|t| t.to_string()),
    })
}
