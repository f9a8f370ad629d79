//! `passkey-hsm tenant create|list|show|config`

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{
    Failure, Output, Setup, api_key, approval,
    authority::commander,
    client::Reach,
    output::{facts, table, warn},
    setup::{block_on, name, parse_rsa_bits},
    tenant_end,
    tenant_file::TenantFile,
};
use crate::{
    domain::{Act, AttestationPolicy, MDS_ANCHORS, Permission, SigningAlgorithm, Tenant, TenantConfig, TenantId, TenantSettings},
    services::{CreatedTenant, NewTenant, Services, Submitted, UpdateTenant},
};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make a tenant with its first signing key in the HSM and its first API key
    Create(Box<CreateArgs>),
    /// List the tenants
    List,
    /// Show a tenant with its configuration and keys
    Show {
        /// The tenant's id
        tenant: TenantId,
    },
    /// Delete a tenant: it is gone for its users at once, and its keys are destroyed once it can no more be restored
    Delete(tenant_end::Delete),
    /// Restore a deleted tenant
    Restore(tenant_end::Restore),
    /// Read and replace a tenant's configuration
    #[command(subcommand)]
    Config(ConfigCommand),
}

#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Print the configuration as a file that `set` takes
    Get {
        /// The tenant's id
        tenant: TenantId,
    },
    /// Replace the configuration with a file's
    Set {
        /// The tenant's id
        tenant: TenantId,
        /// JSON or TOML with `cors`, `webauthn`, `mfa` (the contract's) and `settings` (ours); `-` for standard input
        file: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(super) struct CreateArgs {
    /// A name for people; with a whole configuration, in place of its `display_name`
    #[arg(long, required_unless_present_any = ["config_file", "resume"], value_parser = name)]
    name: Option<String>,
    /// The relying party's id: a domain
    #[arg(long, required_unless_present_any = ["config_file", "resume"], conflicts_with = "config_file")]
    rp_id: Option<String>,
    /// The relying party's name for people; the tenant's name by default
    #[arg(long, conflicts_with = "config_file")]
    rp_name: Option<String>,
    /// An origin that ceremonies may take place on; may be given several times
    #[arg(long = "origin", value_name = "ORIGIN", required_unless_present_any = ["config_file", "resume"], conflicts_with = "config_file")]
    origins: Vec<String>,
    /// An origin whose pages may call; the web origins above by default
    #[arg(long = "cors-origin", value_name = "ORIGIN", conflicts_with = "config_file")]
    cors_origins: Vec<String>,
    /// How long a ceremony may take
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 60_000, conflicts_with = "config_file")]
    timeout: u32,
    /// A whole configuration instead of the options above, in the form of `tenant config set`
    #[arg(long = "tenant-config", id = "config_file", value_name = "FILE")]
    config_file: Option<PathBuf>,
    /// What its tokens are signed with: ES256 (the default), ES384, RS256, PS256 or EdDSA
    #[arg(long)]
    algorithm: Option<SigningAlgorithm>,
    /// Size of its key if that is an RSA key: 2048, 3072 or 4096
    #[arg(long, value_name = "BITS", value_parser = parse_rsa_bits)]
    rsa_bits: Option<u32>,
    /// Name of its first API key
    #[arg(long, value_name = "NAME", default_value = "Initial API Key", conflicts_with = "no_api_key", value_parser = name)]
    api_key_name: String,
    /// Make no key: the tenant waits for one that `key adopt` takes over, and answers 503 until then
    #[arg(long, conflicts_with = "resume")]
    await_key: bool,
    /// Make no API key
    #[arg(long)]
    no_api_key: bool,
    /// Finish a tenant whose making was cut short; `doctor` names them
    #[arg(long, value_name = "TENANT", conflicts_with_all = ["name", "rp_id", "origins", "config_file", "algorithm", "rsa_bits"])]
    resume: Option<TenantId>,
}

pub(super) fn run(reach: &Reach<'_>, command: Command, output: &Output) -> Result<ExitCode, Failure> {
    let setup = match command {
        Command::Delete(args) => return tenant_end::delete(reach, &args, output),
        Command::Restore(args) => return tenant_end::restore(reach, &args, output),
        _ => &reach.setup()?,
    };
    block_on(async {
        match command {
            Command::Delete(_) | Command::Restore(_) => {}
            Command::Create(args) => create(setup, reach, *args, output).await?,
            Command::List => list(setup, output).await?,
            Command::Show { tenant } => show(setup, tenant, output).await?,
            Command::Config(ConfigCommand::Get { tenant }) => {
                let services = setup.services_without_signer().await?;
                let file = TenantFile::describe(&services.tenants.get(tenant).await?)?;
                super::output::line(&serde_json::to_string_pretty(&file)?)?;
            }
            Command::Config(ConfigCommand::Set { tenant, file }) => {
                return Box::pin(set(setup, reach, tenant, TenantFile::read(&file)?, output)).await;
            }
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// Replaces the configuration. Where a second administrator has to agree to another key policy, the rest is replaced at once.
async fn set(setup: &Setup, reach: &Reach<'_>, tenant: TenantId, file: TenantFile, output: &Output) -> Result<ExitCode, Failure> {
    let TenantFile { display_name, config, settings } = file;
    let services = setup.services_without_signer().await?;
    let (caller, by) = commander(reach, &services, Permission::ChangeTenant, Some(tenant)).await?;
    if let Some(settings) = &settings {
        warn_of_anchors(&services, &settings.attestation).await?;
    }
    let before = services.tenants.get(tenant).await?.settings;
    let another = |new: &TenantSettings| (&new.keys, new.algorithm, new.rsa_bits) != (&before.keys, before.algorithm, before.rsa_bits);
    let policy = settings.clone().filter(another);
    if policy.is_some() && !caller.may(Permission::ChangeKeyPolicy, Some(tenant)) {
        return Err(Failure::new(format!("the role {} does not have {}", caller.role, Permission::ChangeKeyPolicy)));
    }
    let waits = policy.filter(|_| services.context.governance.dual_control);
    let settings = settings.map(|new| match &waits {
        Some(_) => TenantSettings { keys: before.keys, algorithm: before.algorithm, rsa_bits: before.rsa_bits, ..new },
        None => new,
    });
    services.tenants.update(tenant, UpdateTenant { display_name, config: Some(config), settings, weighed: Some(before) }, &by).await?;
    let waiting = match waits {
        Some(settings) => services.acts.submit(&caller, Act::ChangePolicy { tenant, settings: Box::new(settings) }, &by).await.map(Some),
        None => Ok(None),
    };
    services.context.store.close().await;
    if let Some(Submitted::Requested(approval)) = waiting? {
        return approval::requested(&approval, output);
    }
    output.show(&json!({ "updated": tenant }), |_| format!("Replaced the configuration of {tenant}."))?;
    Ok(ExitCode::SUCCESS)
}

/// Anchors may be imported after a policy names them. Until then it demands what nothing leads to, or judges less than it seems to.
async fn warn_of_anchors(services: &Services, policy: &AttestationPolicy) -> Result<(), Failure> {
    let sets = services.metadata.anchor_sets().await?;
    for name in policy.anchors.iter().filter(|name| *name != MDS_ANCHORS) {
        if !sets.iter().any(|set| set.name.as_str() == name) {
            warn(&format!("there is no set of anchors {name} yet, and nothing leads to it: passkey-hsm anchors import {name} FILE"));
        }
    }
    Ok(())
}

async fn create(setup: &Setup, reach: &Reach<'_>, args: CreateArgs, output: &Output) -> Result<(), Failure> {
    let resume = args.resume;
    let api_key_name = (!args.no_api_key).then(|| args.api_key_name.clone());
    let new = if resume.is_none() { Some(args.into_tenant()?) } else { None };
    let services = setup.services().await?;
    let created = async {
        let (_, by) = commander(reach, &services, Permission::CreateTenants, None).await?;
        setup.signer_ready(&services).await?;
        match (resume, new) {
            (Some(tenant), _) => Ok(services.tenants.resume(tenant, api_key_name.as_deref(), &by).await?),
            (None, Some(new)) => Ok(services.tenants.create(new, api_key_name.as_deref(), &by).await?),
            (None, None) => Err(Failure::usage("say which tenant to make")),
        }
    };
    let created = created.await;
    services.context.signer.shutdown().await;
    services.context.store.close().await;
    let created = created?;
    output.show(&created_json(&created), |_| render_created(&created))
}

impl CreateArgs {
    fn into_tenant(self) -> Result<NewTenant, Failure> {
        let (algorithm, rsa_bits, await_key) = (self.algorithm, self.rsa_bits, self.await_key);
        let (name, config, settings) = match &self.config_file {
            Some(path) => {
                let file = TenantFile::read(path)?;
                (self.name.or(file.display_name), file.config, file.settings)
            }
            None => (self.name.clone(), self.config()?, None),
        };
        let display_name = name.ok_or_else(|| Failure::usage("say --name, or give the configuration a display_name"))?;
        let mut settings = settings.unwrap_or_default();
        settings.algorithm = algorithm.unwrap_or(settings.algorithm);
        settings.rsa_bits = rsa_bits.unwrap_or(settings.rsa_bits);
        Ok(NewTenant { display_name, config, settings, await_key })
    }

    /// The contract's configuration, from the few options that most tenants need; the rest is the contract's defaults.
    fn config(self) -> Result<TenantConfig, Failure> {
        let web = || self.origins.iter().filter(|o| o.contains("://")).cloned().collect::<Vec<_>>();
        let allowed_origins = if self.cors_origins.is_empty() { web() } else { self.cors_origins.clone() };
        let allowed_origins = if allowed_origins.is_empty() { self.origins.clone() } else { allowed_origins };
        let config = json!({
            "cors": { "allowed_origins": allowed_origins, "allow_unsafe_wildcard": false },
            "webauthn": {
                "relying_party": {
                    "id": self.rp_id,
                    "display_name": self.rp_name.or(self.name),
                    "origins": self.origins,
                },
                "timeout": self.timeout,
            },
        });
        serde_json::from_value(config).map_err(|e| Failure::usage(e.to_string()))
    }
}

fn created_json(created: &CreatedTenant) -> Value {
    let api_key = created.api_key.as_ref().map(|(record, key)| api_key::created(record, key));
    json!({
        "id": created.tenant.id,
        "display_name": created.tenant.display_name,
        "kid": created.key.as_ref().map(|key| key.id),
        "algorithm": created.tenant.settings.algorithm,
        "token_serial": created.key.as_ref().and_then(|key| key.token_serial.as_ref()),
        "api_key": api_key,
    })
}

fn render_created(created: &CreatedTenant) -> String {
    let CreatedTenant { tenant, key, api_key } = created;
    let secret = api_key.as_ref().map(|(_, key)| key.expose().as_str().to_owned()).unwrap_or_default();
    let shown = facts(&[
        ("tenant", tenant.id.to_string()),
        ("name", tenant.display_name.clone()),
        ("signing key", key.as_ref().map(|key| format!("{} ({})", key.id, key.algorithm)).unwrap_or_default()),
        ("on token", key.as_ref().and_then(|key| key.token_serial.clone()).unwrap_or_default()),
        ("api key", secret),
    ]);
    if api_key.is_some() { format!("{shown}\n\nThe API key is shown this once; only its hash is stored.") } else { shown }
}

async fn list(setup: &Setup, output: &Output) -> Result<(), Failure> {
    let services = setup.services_without_signer().await?;
    let tenants = services.tenants.list().await?;
    let json: Vec<Value> = tenants.iter().map(|t| json!({ "id": t.id, "display_name": t.display_name })).collect();
    output.show(&json, |_| {
        let row = |t: &Tenant| {
            let relying_party = t.config.webauthn.relying_party.id.clone();
            [t.id.to_string(), t.display_name.clone(), relying_party, t.settings.algorithm.to_string(), t.created_at.to_string()]
        };
        table(["id", "name", "relying party", "algorithm", "created"], tenants.iter().map(row))
    })
}

async fn show(setup: &Setup, id: TenantId, output: &Output) -> Result<(), Failure> {
    let services = setup.services_without_signer().await?;
    let tenant = services.tenants.get(id).await?;
    let keys = services.context.store.signing_keys().await?.into_iter().filter(|k| k.tenant_id == id).collect::<Vec<_>>();
    let file = TenantFile::describe(&tenant)?;
    let keys_json = keys.iter().map(|k| {
        json!({ "kid": k.id, "algorithm": k.algorithm, "state": k.state, "token_serial": k.token_serial, "created_at": k.created_at.to_string() })
    });
    let json = json!({
        "id": tenant.id,
        "display_name": tenant.display_name,
        "created_at": tenant.created_at.to_string(),
        "config": serde_json::to_value(&tenant.config)?,
        "settings": serde_json::to_value(&tenant.settings)?,
        "signing_keys": keys_json.collect::<Vec<_>>(),
    });
    output.show(&json, |_| {
        let rows = keys.iter().map(|k| {
            [
                k.id.to_string(),
                k.algorithm.to_string(),
                k.state.to_string(),
                k.token_serial.clone().unwrap_or_default(),
                k.created_at.to_string(),
            ]
        });
        let head =
            facts(&[("tenant", tenant.id.to_string()), ("name", tenant.display_name.clone()), ("created", tenant.created_at.to_string())]);
        let keys = table(["kid", "algorithm", "state", "token", "created"], rows);
        format!("{head}\n\n{keys}\n\n{}", serde_json::to_string_pretty(&file).unwrap_or_default())
    })
}
