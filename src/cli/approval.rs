//! `passkey-hsm approval list|show|approve|reject`: what waits for a second administrator.

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::{Value, json};

use super::{
    Failure, Output,
    client::{Answer, Need, Reach, with_client},
    key::Why,
    output::{outline, table, warn},
};
use crate::domain::{Approval, ApprovalId, ApprovalState};

/// The exit code of a command whose act waits for an approval.
const WAITS: u8 = 3;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List requests, the newest first
    List {
        /// Those in this state: pending, approved, rejected, done or failed
        #[arg(long)]
        state: Option<ApprovalState>,
    },
    /// Show a request
    Show {
        /// Its id
        id: ApprovalId,
    },
    /// Approve another administrator's request: what it asks for is done
    Approve {
        /// Its id
        id: ApprovalId,
        #[command(flatten)]
        why: Why,
    },
    /// Reject a request, or take back one's own
    Reject {
        /// Its id
        id: ApprovalId,
        #[command(flatten)]
        why: Why,
    },
}

pub(super) fn run(reach: &Reach<'_>, command: Command, output: &Output) -> Result<ExitCode, Failure> {
    // What is approved may be anything.
    let need = match command {
        Command::List { .. } | Command::Show { .. } => Need::Records,
        Command::Approve { .. } => Need::KeysOrNot,
        Command::Reject { .. } => Need::Change,
    };
    with_client(reach, need, async |client| {
        let answer = match command {
            Command::List { state } => {
                let query = state.map(|state| format!("?state={state}")).unwrap_or_default();
                let approvals = client.list(&format!("/approvals{query}")).await?;
                output.show(&approvals, |approvals| render_all(approvals))?;
                return Ok(ExitCode::SUCCESS);
            }
            Command::Show { id } => Answer::Done(client.get(&format!("/approvals/{id}")).await?),
            Command::Approve { id, why } => client.post(&format!("/approvals/{id}/approve"), &why.with(json!({}))).await?,
            Command::Reject { id, why } => client.post(&format!("/approvals/{id}/reject"), &why.with(json!({}))).await?,
        };
        let (Answer::Done(approval) | Answer::Waits(approval)) = answer;
        let failed = text(&approval, "state") == "failed";
        output.show(&approval, outline)?;
        Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    })
}

/// The same for a request that was made here.
pub(super) fn requested(approval: &Approval, output: &Output) -> Result<ExitCode, Failure> {
    let shown = json!({
        "id": approval.id,
        "act": approval.act.name(),
        "tenant_id": approval.tenant_id,
        "reason": approval.reason,
        "state": approval.state.as_str(),
        "requested_by": approval.requested_by.to_string(),
        "requested_at": approval.requested_at.to_string(),
        "expires_at": approval.expires_at.to_string(),
    });
    waits(&shown, output)
}

/// Says that an act waits for this approval, and how it is given.
pub(super) fn waits(approval: &Value, output: &Output) -> Result<ExitCode, Failure> {
    output.show(approval, outline)?;
    let id = text(approval, "id");
    warn(&format!("nothing was done yet: another administrator has to say `passkey-hsm approval approve {id}`"));
    Ok(ExitCode::from(WAITS))
}

fn text(value: &Value, member: &str) -> String {
    match value.get(member) {
        Some(Value::String(text)) => text.clone(),
        None | Some(Value::Null) => String::new(),
        Some(other) => other.to_string(),
    }
}

fn render_all(approvals: &[Value]) -> String {
    let members = ["id", "act", "state", "requested_by", "requested_at", "expires_at"];
    table(members, approvals.iter().map(|approval| members.map(|member| text(approval, member))))
}
