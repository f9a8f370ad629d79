//! `passkey-hsm admin-token create|list|revoke`: who may command, and as what.

use std::{fs, path::PathBuf, process::ExitCode};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{
    Failure, Output, approval,
    client::{Answer, Need, Reach, with_client},
    key::Why,
    output::{facts, table},
    setup::name,
};
use crate::domain::{AdminId, Role, TenantId, Timestamp};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make an administrator. Its token is shown this once
    Create(Create),
    /// List the administrators, without their secrets
    List,
    /// Revoke an administrator's token or certificate, at once and for good
    Revoke {
        /// The administrator's id
        id: AdminId,
        #[command(flatten)]
        why: Why,
    },
}

#[derive(Debug, Args)]
pub(super) struct Create {
    /// A name for people, unique for ever
    #[arg(long, value_parser = name)]
    name: String,
    /// admin, key-custodian, tenant-admin or auditor
    #[arg(long)]
    role: Role,
    /// A tenant that a tenant-admin is for; may be given several times
    #[arg(long = "tenant", value_name = "TENANT")]
    tenants: Vec<TenantId>,
    /// When it ceases to be good (RFC 3339); never, if left out
    #[arg(long, value_name = "INSTANT", value_parser = super::setup::instant)]
    expires_at: Option<Timestamp>,
    /// After how many days it ceases to be good
    #[arg(long, value_name = "DAYS", conflicts_with = "expires_at", value_parser = clap::value_parser!(u32).range(1..=36_500))]
    expires_in_days: Option<u32>,
    /// A PEM file with its TLS client certificate: it shows that, and has no token
    #[arg(long, value_name = "FILE")]
    certificate: Option<PathBuf>,
    #[command(flatten)]
    why: Why,
}

pub(super) fn run(reach: &Reach<'_>, command: Command, output: &Output) -> Result<ExitCode, Failure> {
    let need = if matches!(command, Command::List) { Need::Records } else { Need::Change };
    with_client(reach, need, async |client| {
        match command {
            Command::List => {
                let admins = client.list("/admin_tokens").await?;
                output.show(&admins, |admins| render_all(admins))?;
            }
            Command::Create(args) => match client.post("/admin_tokens", &args.body()?).await? {
                Answer::Done(made) => output.show(&made, render_made)?,
                Answer::Waits(approval) => return approval::waits(&approval, output),
            },
            Command::Revoke { id, why } => {
                let body = why.reason.is_some().then(|| why.with(json!({})));
                match client.delete(&format!("/admin_tokens/{id}"), body.as_ref()).await? {
                    Answer::Done(_) => output.show(&json!({ "revoked": id }), |_| format!("Revoked {id}."))?,
                    Answer::Waits(approval) => return approval::waits(&approval, output),
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    })
}

impl Create {
    fn body(&self) -> Result<Value, Failure> {
        let mut body = json!({ "name": self.name, "role": self.role.as_str() });
        let certificate = match &self.certificate {
            Some(file) => Some(fs::read_to_string(file).map_err(|e| Failure::usage(format!("{}: {e}", file.display())))?),
            None => None,
        };
        if let Some(members) = body.as_object_mut() {
            members.extend((!self.tenants.is_empty()).then(|| ("tenants".to_owned(), json!(self.tenants))));
            members.extend(self.expires_at.map(|at| ("expires_at".to_owned(), json!(at.to_string()))));
            members.extend(self.expires_in_days.map(|days| ("expires_in_days".to_owned(), json!(days))));
            members.extend(certificate.map(|pem| ("certificate".to_owned(), json!(pem))));
        }
        Ok(self.why.with(body))
    }
}

fn text(admin: &Value, member: &str) -> String {
    match admin.get(member) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" "),
        _ => String::new(),
    }
}

fn render_made(admin: &Value) -> String {
    let members = ["id", "name", "role", "tenants", "expires_at", "token"];
    let shown = facts(&members.map(|member| (member, text(admin, member))));
    if text(admin, "token").is_empty() { shown } else { format!("{shown}\n\nThe token is shown this once; only its hash is stored.") }
}

fn render_all(admins: &[Value]) -> String {
    let members = ["id", "name", "kind", "role", "created_at", "expires_at", "last_used_at", "revoked_at"];
    table(members, admins.iter().map(|admin| members.map(|member| text(admin, member))))
}
