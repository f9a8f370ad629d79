//! `passkey-hsm transaction evidence`

use std::process::ExitCode;

use clap::Subcommand;

use super::{Failure, Setup, output, setup::block_on};
use crate::{
    domain::{Tenant, TenantId, TransactionRowId},
    services::Services,
};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Write what was confirmed, and with what, one JSON object a line: for `inspect`, and for auditors
    Evidence {
        /// The tenant's id
        tenant: TenantId,
    },
}

pub(super) fn run(setup: &Setup, command: &Command) -> Result<ExitCode, Failure> {
    let Command::Evidence { tenant } = *command;
    block_on(async {
        let services = setup.services_without_signer().await?;
        all_evidence(&services, &services.tenants.get(tenant).await?).await?;
        services.context.store.close().await;
        Ok(ExitCode::SUCCESS)
    })
}

/// One line each, as they are read: there may be many.
async fn all_evidence(services: &Services, tenant: &Tenant) -> Result<(), Failure> {
    let mut after: Option<TransactionRowId> = None;
    loop {
        let page = services.transactions.evidence_page(tenant, after).await?;
        let Some((last, _)) = page.last() else { return Ok(()) };
        after = Some(*last);
        for (_, line) in page {
            output::line(&line.to_string())?;
        }
    }
}
