//! Every key with what an auditor asks for.

use std::process::ExitCode;

use serde_json::Value;

use super::{
    super::{Failure, Output, client::AdminClient, output::table},
    Key,
};
use crate::domain::TenantId;

pub(super) async fn run(client: &AdminClient, tenant: Option<TenantId>, output: &Output) -> Result<ExitCode, Failure> {
    let mut entries = client.list("/inventory").await?;
    if let Some(tenant) = tenant {
        let tenant = tenant.to_string();
        entries.retain(|entry| entry.get("tenant_id").and_then(Value::as_str) == Some(tenant.as_str()));
    }
    output.show(&entries, |entries| render(entries))?;
    Ok(ExitCode::SUCCESS)
}

fn render(entries: &[Value]) -> String {
    let row = |entry: &Value| {
        let key = Key::read(entry);
        let text = |member: &str| entry.get(member).and_then(Value::as_str).unwrap_or_default().to_owned();
        let kind = key.kind();
        [key.tenant_id, key.kid, kind, key.state, key.token_serial.unwrap_or_default(), text("firmware"), key.created_at]
    };
    let shown = table(["tenant", "kid", "algorithm", "state", "token", "firmware", "created"], entries.iter().map(row));
    format!("{shown}\n\n--json has each key's attributes as read back, its thumbprint and all its dates.")
}
