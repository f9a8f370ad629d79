//! `passkey-hsm dev`: a server to try out, with a demo tenant that a second run keeps.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use serde::{Deserialize, Serialize};
use serde_json::json;
use zeroize::Zeroizing;

use super::{
    Failure, Output, Setup, output,
    serve::{self, Args, Bound},
    setup::{block_on, by},
};
use crate::{
    domain::{ApiKeyError, TenantConfig, TenantId, TenantSettings},
    http::DevTenant,
    services::{CreatedTenant, NewTenant, Services},
};

/// What a second run needs to keep its tenant. Lies beside the configuration file, readable by its owner alone.
#[derive(Serialize, Deserialize)]
struct Remembered {
    tenant_id: TenantId,
    api_key: Zeroizing<String>,
}

const DEMO_NAME: &str = "Demo tenant";
const FILE_NAME: &str = "dev-tenant.json";

pub(super) fn run(setup: &Setup, args: &Args, output: &Output) -> Result<ExitCode, Failure> {
    let address = setup.config.http.public_address;
    if !address.ip().is_loopback() {
        return Err(Failure::usage(format!("dev mode makes passkeys for whoever asks: it listens on loopback only, not on {address}")));
    }
    block_on(async {
        let store = setup.open_store().await?;
        store.migrate().await?;
        store.close().await;
        let metrics = serve::install_metrics()?;
        let services = setup.server_services().await?;
        setup.signer_ready(&services).await?;
        let demo = demo_tenant(setup, &services).await?;
        let tenant = DevTenant { id: demo.tenant_id, api_key: demo.api_key.parse().map_err(|e| no_key(setup, e))? };
        let json = output.is_json();
        serve::serve(setup, args, metrics, services, Some(tenant), |bound| announce(setup, bound, &demo, json)).await
    })
}

/// The tenant of the last run if it is still there; else one whose making was cut short; else a new one.
async fn demo_tenant(setup: &Setup, services: &Services) -> Result<Remembered, Failure> {
    let path = remembered_path(setup);
    if let Some(remembered) = recall(&path)?
        && services.tenants.get(remembered.tenant_id).await.is_ok()
    {
        return Ok(remembered);
    }
    let tenants = &services.tenants;
    let cut_short = tenants.incomplete().await?.into_iter().find(|(tenant, _)| tenant.display_name == DEMO_NAME);
    let created = match cut_short {
        Some((tenant, _)) => tenants.resume(tenant.id, Some("Development"), &by()).await?,
        None => tenants.create(demo(setup)?, Some("Development"), &by()).await?,
    };
    let CreatedTenant { tenant, api_key: Some((_, key)), .. } = created else {
        return Err(Failure::new("the demo tenant was made without an API key"));
    };
    let remembered = Remembered { tenant_id: tenant.id, api_key: key.expose() };
    remember(&path, &remembered)?;
    Ok(remembered)
}

/// A tenant for the page that this server shows.
fn demo(setup: &Setup) -> Result<NewTenant, Failure> {
    let url = &setup.config.http.public_url;
    let origin = url.origin().ascii_serialization();
    let config = json!({
        "cors": { "allowed_origins": [origin], "allow_unsafe_wildcard": false },
        "webauthn": {
            "relying_party": { "id": url.host_str(), "display_name": "passkey-hsm demo", "origins": [origin] },
            "timeout": 60_000,
            // A security key without a PIN should do on this page too.
            "user_verification": "preferred",
            "resident_key_requirement": "preferred",
        },
    });
    let config: TenantConfig = serde_json::from_value(config)?;
    Ok(NewTenant { display_name: DEMO_NAME.to_owned(), config, settings: TenantSettings::default(), await_key: false })
}

fn remembered_path(setup: &Setup) -> PathBuf {
    let beside = setup.config.file.as_deref().and_then(Path::parent);
    beside.unwrap_or(Path::new(".")).join(FILE_NAME)
}

fn no_key(setup: &Setup, error: ApiKeyError) -> Failure {
    Failure::new(format!("{}: {error}; delete it to get a new tenant", remembered_path(setup).display()))
}

fn recall(path: &Path) -> Result<Option<Remembered>, Failure> {
    match fs::read(path).map(Zeroizing::new) {
        Ok(bytes) => {
            let remembered = serde_json::from_slice(&bytes);
            remembered
                .map(Some)
                .map_err(|e| Failure::new(format!("{} cannot be read ({e}): delete it to get a new tenant", path.display())))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Failure::new(format!("{}: {error}", path.display()))),
    }
}

fn remember(path: &Path, remembered: &Remembered) -> Result<(), Failure> {
    let text = Zeroizing::new(serde_json::to_vec(remembered)?);
    let _ = fs::remove_file(path);
    let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let written = file.and_then(|mut file| file.write_all(&text));
    written.map_err(|e| Failure::new(format!("{}: {e}", path.display())))
}

/// What to open and what to call.
fn announce(setup: &Setup, bound: Bound, demo: &Remembered, json: bool) -> Result<(), Failure> {
    let Remembered { tenant_id, api_key } = demo;
    let url = setup.config.http.public_url.as_str().trim_end_matches('/');
    let api_key = api_key.as_str();
    if json {
        let facts = json!({ "url": url, "tenant_id": tenant_id, "api_key": api_key, "admin": format!("http://{}", bound.admin) });
        return output::line(&facts.to_string());
    }
    output::line(&format!(
        r#"
passkey-hsm is up, for development.

  Open      {url}/
  Tenant    {tenant_id}
  API key   {api_key}
  JWKS      {url}/{tenant_id}/.well-known/jwks.json
  Health    http://{admin}/health/ready
  Metrics   http://{admin}/metrics

Begin a registration as an application's backend would:

  curl -s {url}/{tenant_id}/registration/initialize \
    -H 'apiKey: {api_key}' -H 'Content-Type: application/json' \
    -d '{{"user_id": "u1", "username": "ann"}}'

Stop with Ctrl-C. The next run keeps this tenant.
"#,
        admin = bound.admin,
    ))
}
