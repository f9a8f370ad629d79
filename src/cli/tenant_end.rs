//! `passkey-hsm tenant delete|restore`

use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use super::{
    Failure, Output, approval,
    client::{AdminClient, Answer, Need, Reach, with_client},
    key::Why,
    terminal::{Question, Sure},
};
use crate::domain::TenantId;

#[derive(Debug, Args)]
pub(super) struct Delete {
    /// The tenant's id
    tenant: TenantId,
    #[command(flatten)]
    why: Why,
    #[command(flatten)]
    sure: Sure,
}

#[derive(Debug, Args)]
pub(super) struct Restore {
    /// The tenant's id
    tenant: TenantId,
    #[command(flatten)]
    why: Why,
}

pub(super) fn delete(reach: &Reach<'_>, args: &Delete, output: &Output) -> Result<ExitCode, Failure> {
    let Delete { tenant, why, sure } = args;
    with_client(reach, Need::Change, async |client| {
        sure.ask(&what_happens(client, *tenant).await?, Question::Grave("tenant's id", &tenant.to_string()))?;
        let body = why.reason.is_some().then(|| why.with(json!({})));
        match client.delete(&format!("/tenants/{tenant}"), body.as_ref()).await? {
            Answer::Done(_) => output.show(&json!({ "deleted": tenant }), |_| {
                format!("Deleted {tenant}. While its grace period lasts, `passkey-hsm tenant restore {tenant}` brings it back.")
            })?,
            Answer::Waits(approval) => return approval::waits(&approval, output),
        }
        Ok(ExitCode::SUCCESS)
    })
}

pub(super) fn restore(reach: &Reach<'_>, args: &Restore, output: &Output) -> Result<ExitCode, Failure> {
    let Restore { tenant, why } = args;
    with_client(reach, Need::Change, async |client| {
        match client.post(&format!("/tenants/{tenant}/restore"), &why.with(json!({}))).await? {
            Answer::Done(_) => output.show(&json!({ "restored": tenant }), |_| format!("Restored {tenant}."))?,
            Answer::Waits(approval) => return approval::waits(&approval, output),
        }
        Ok(ExitCode::SUCCESS)
    })
}

async fn what_happens(client: &AdminClient, tenant: TenantId) -> Result<String, Failure> {
    let known = client.get(&format!("/tenants/{tenant}")).await?;
    let name = known.get("display_name").and_then(Value::as_str).unwrap_or_default().to_owned();
    let keys = client.list(&format!("/tenants/{tenant}/signing_keys")).await.unwrap_or_default();
    let active = keys.iter().find(|key| key.get("state").and_then(Value::as_str) == Some("active"));
    let kid = active.and_then(|key| key.get("kid")).and_then(Value::as_str).unwrap_or("none");
    Ok(format!(
        "Tenant {name} ({tenant}, active key {kid}, {} keys in all) is deleted. Its API answers 404 from now on: nobody registers or signs in, and\n\
         its JWKS is gone, so that verifiers refuse its tokens once they fetch it anew. After the grace period its keys are destroyed on the\n\
         token and its users with their credentials are removed, for good. Its audit log is kept.",
        keys.len()
    ))
}
