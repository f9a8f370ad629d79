//! `passkey-hsm doctor`: what is wrong, and what to do about it; one line a check.

mod keys;

use std::{
    path::Path,
    process::{ExitCode, Stdio},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::{process::Command, time::timeout};

use super::{Failure, Output, Setup, hsm::REWRAP_ADVICE, setup::block_on};
use crate::{
    domain::{Clock as _, SigningKey, SystemClock, Tenant},
    hsm::{Inventory, signer::Step},
    services::{RootSecret, RootSecretError, RootSecretState, Services},
    storage::Store,
};

/// One check.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Finding {
    /// What was checked.
    name: String,
    /// Whether it is well.
    ok: bool,
    /// What was found.
    detail: String,
    /// What to do when it is not.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    advice: String,
}

impl Finding {
    fn good(name: &str, detail: impl Into<String>) -> Self {
        Self { name: name.to_owned(), ok: true, detail: detail.into(), advice: String::new() }
    }

    fn bad(name: &str, detail: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { name: name.to_owned(), ok: false, detail: detail.into(), advice: advice.into() }
    }
}

/// A step of the probe: what is wrong comes first, what to do about it after the first semicolon.
impl From<Step> for Finding {
    fn from(step: Step) -> Self {
        match step.outcome {
            Ok(detail) => Self::good(step.name, detail),
            Err(text) => {
                let (detail, advice) = text.split_once("; ").unwrap_or((&text, ""));
                Self::bad(step.name, detail, advice)
            }
        }
    }
}

/// Exit code 0 when all is well, 1 when anything is not.
pub(super) fn run(file: Option<&Path>, output: &Output) -> Result<ExitCode, Failure> {
    let findings = match Setup::load(file) {
        Ok(setup) => check(&setup)?,
        Err(failure) => {
            vec![Finding::bad(
                "configuration",
                failure.to_string(),
                "mend it: docs/passkey-hsm.example.toml describes every key, hsm-config/ has an [hsm] section for each device",
            )]
        }
    };
    let well = findings.iter().all(|f| f.ok);
    output.show(&findings, |findings| findings.iter().map(render).collect::<Vec<_>>().join("\n"))?;
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn render(finding: &Finding) -> String {
    let mark = if finding.ok { "ok  " } else { "FAIL" };
    let advice = if finding.advice.is_empty() { String::new() } else { format!("\n      -> {}", finding.advice) };
    format!("{mark}  {:<14}  {}{advice}", finding.name, finding.detail.replace('\n', "\n      "))
}

fn check(setup: &Setup) -> Result<Vec<Finding>, Failure> {
    let mut findings = vec![Finding::good("configuration", shown_file(setup))];
    let hsm = probe(setup)?;
    let hsm_well = hsm.iter().all(|f| f.ok);
    block_on(async {
        let (store, database) = check_database(setup).await;
        findings.extend(database);
        findings.extend(hsm);
        if let Some(store) = store {
            findings.push(check_metadata(&store).await);
            store.close().await;
            let operator = setup.config.hsm.pin_operator;
            findings.extend(check_keys(setup, hsm_well && !operator).await);
            if operator {
                let text =
                    "not compared with the token, whose PIN is the operator's: `passkey-hsm hsm list-orphans` asks a server that has it";
                findings.push(Finding::good("keys", text));
            }
        }
        Ok(findings)
    })
}

/// Having no metadata is a choice; having old metadata is not.
async fn check_metadata(store: &Store) -> Finding {
    match store.metadata().await {
        Ok(None) => Finding::good("metadata", "none: models of authenticators are not judged by the FIDO metadata"),
        Ok(Some((head, entries))) if !head.is_overdue(SystemClock.now()) => Finding::good(
            "metadata",
            format!("no. {} with {} models, the next is due on {}", head.no, entries.len(), head.next_update.date()),
        ),
        Ok(Some((head, _))) => {
            let detail = format!("no. {} should have been followed by a newer one on {}", head.no, head.next_update.date());
            Finding::bad("metadata", detail, "run `passkey-hsm mds update`, daily")
        }
        Err(error) => Finding::bad("metadata", Failure::from_error(&error).to_string(), "run `passkey-hsm mds update`"),
    }
}

fn shown_file(setup: &Setup) -> String {
    setup.config.file.as_ref().map_or_else(|| "from the environment alone".to_owned(), |file| file.display().to_string())
}

/// The database and its migrations; the store when both are well.
async fn check_database(setup: &Setup) -> (Option<Store>, Vec<Finding>) {
    let url = setup.config.database.url.redacted();
    let store = match setup.open_store().await {
        Ok(store) => store,
        Err(failure) => {
            let advice = "check database.url, and that the server runs and lets this user in; a damaged file is restored from a backup";
            return (None, vec![Finding::bad("database", failure.to_string(), advice)]);
        }
    };
    let mut findings = vec![Finding::good("database", format!("{url} answers"))];
    match store.pending_migrations().await {
        Ok(pending) if pending.is_empty() => {
            findings.push(Finding::good("migrations", "up to date"));
            return (Some(store), findings);
        }
        Ok(pending) => findings.push(Finding::bad("migrations", format!("{} missing", pending.len()), "run `passkey-hsm migrate`")),
        Err(error) => {
            let advice = "the database may be of a newer release: run that release";
            findings.push(Finding::bad("migrations", Failure::from_error(&error).to_string(), advice));
        }
    }
    (None, findings)
}

/// How long the module may take for all steps of the probe. A device that is slow to log in is well below.
pub(super) const PROBE_LIMIT: Duration = Duration::from_mins(1);

/// The steps up to a test signature, in a process of their own: a module that crashes takes only that one along.
fn probe(setup: &Setup) -> Result<Vec<Finding>, Failure> {
    let command = setup.signer_command(&["--probe"]);
    let mut probe = Command::new(command.program);
    probe.args(command.args).env_clear().envs(command.env).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let done = block_on(async { Ok(timeout(PROBE_LIMIT, probe.kill_on_drop(true).output()).await) })?;
    let Ok(done) = done else {
        let advice = "a call into the PKCS#11 module hangs, or the PIN's file never ends: see to the device, its network and its own log";
        return Ok(vec![Finding::bad("module", format!("no answer within {} s", PROBE_LIMIT.as_secs()), advice)]);
    };
    let done = done?;
    if let Ok(findings) = serde_json::from_slice::<Vec<Finding>>(&done.stdout)
        && !findings.is_empty()
    {
        return Ok(findings);
    }
    let said = String::from_utf8_lossy(&done.stderr);
    let last = said.lines().last().unwrap_or_default();
    let advice = "the PKCS#11 module ended the process: check hsm.module and what the device's sample says of its environment";
    Ok(vec![Finding::bad("module", format!("{}: {last}", done.status), advice)])
}

/// What database and token say of each other. What cannot be found out is a finding too: the others are worth reading all the more.
async fn check_keys(setup: &Setup, hsm_well: bool) -> Vec<Finding> {
    let services = if hsm_well { setup.services().await } else { setup.services_without_signer().await };
    let services = match services {
        Ok(services) => services,
        Err(failure) => return vec![unreadable(&failure)],
    };
    let mut findings = incomplete(&services).await.unwrap_or_else(|failure| vec![unreadable(&failure)]);
    let inventory = if hsm_well { Some(inventory(&services).await) } else { None };
    let on_token = inventory.as_ref().and_then(|inventory| inventory.as_ref().ok());
    findings.extend(keys::check(&services, on_token).await.unwrap_or_else(|failure| vec![unreadable(&failure)]));
    findings.extend(inventory.and_then(Result::err));
    if hsm_well {
        findings.push(check_root_secret(&services).await);
    }
    services.context.signer.shutdown().await;
    services.context.store.close().await;
    findings
}

fn unreadable(failure: &Failure) -> Finding {
    let advice = "see to the database and its log; one that is damaged is restored from a backup";
    Finding::bad("tenants", failure.to_string(), advice)
}

/// Tenants whose making was cut short.
async fn incomplete(services: &Services) -> Result<Vec<Finding>, Failure> {
    let left = services.tenants.incomplete().await?;
    let finding = |(tenant, key): (Tenant, SigningKey)| {
        let detail = format!("the making of tenant {} ({}) was cut short; its key would be {}", tenant.id, tenant.display_name, key.id);
        Finding::bad("tenants", detail, format!("finish it: passkey-hsm tenant create --resume {}", tenant.id))
    };
    Ok(left.into_iter().map(finding).collect())
}

/// What is on the token, or why that cannot be said.
async fn inventory(services: &Services) -> Result<Inventory, Finding> {
    let signer = &services.context.signer;
    let inventory = async {
        signer.wait_ready(Duration::from_secs(30)).await?;
        signer.inventory().await
    };
    inventory.await.map_err(|error| {
        let advice = "see the log of the signer process above; then run doctor again";
        Finding::bad("keys", format!("the token's keys cannot be listed: {error}"), advice)
    })
}

/// Whether this token opens the deployment's root secret. Makes nothing.
async fn check_root_secret(services: &Services) -> Finding {
    const NAME: &str = "root secret";
    match RootSecret::check(&services.context).await {
        Ok(RootSecretState::NotMade) => Finding::good(NAME, "not there yet: it is made when the server starts"),
        Ok(RootSecretState::Opens(serial)) => Finding::good(NAME, format!("the token with serial {serial} opens it")),
        Err(error @ (RootSecretError::NoEnvelope(_) | RootSecretError::DoesNotOpen(_))) => {
            Finding::bad(NAME, error.to_string(), REWRAP_ADVICE)
        }
        Err(error) => Finding::bad(NAME, Failure::from_error(&error).to_string(), "see to the database and the HSM, then run doctor again"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_check_however_many_faults_it_found() {
        let finding = Finding::bad("configuration", "first\nsecond", "mend it");
        assert_eq!(render(&finding), "FAIL  configuration   first\n      second\n      -> mend it");
    }
}
