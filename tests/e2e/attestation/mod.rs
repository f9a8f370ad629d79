//! Attestation on a running server: every format, what a tenant demands, what statements may lead to.

mod anchors;
mod formats;
mod policy;

use std::{fs, path::PathBuf, time::Duration};

use serde_json::{Value, json};

use crate::{
    commands::ask,
    support::{
        api::{Answer, Tenant},
        authenticator::{Draft, Format},
        certificates::Maker,
        keys::Algorithm,
        server::{Server, TenantSpec, text},
    },
};

/// What a refusal of an attestation is called.
pub(crate) const REFUSED: &str = "failed to validate attestation";

/// How long a server may judge by what was changed: five seconds by its documentation, and what a busy machine takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// A tenant with these settings.attestation.
pub(crate) fn tenant_with(server: &Server, attestation: &Value) -> Tenant {
    let tenant = server.create_tenant(&TenantSpec::default());
    demand(server, &tenant, attestation);
    tenant
}

/// Replaces a tenant's settings.attestation.
pub(crate) fn demand(server: &Server, tenant: &Tenant, attestation: &Value) {
    let file = server.folder.path().join("demand.json");
    let mut config = ask(server, &["tenant", "config", "get", &tenant.id]);
    config["settings"]["attestation"] = attestation.clone();
    fs::write(&file, config.to_string()).unwrap();
    ask(server, &["tenant", "config", "set", &tenant.id, file.to_str().unwrap()]);
}

/// Writes certificates into a PEM file of the server's folder.
pub(crate) fn pem(server: &Server, name: &str, certificates: &[&openssl::x509::X509Ref]) -> PathBuf {
    let file = server.folder.path().join(name);
    fs::write(&file, certificates.iter().flat_map(|certificate| certificate.to_pem().unwrap()).collect::<Vec<_>>()).unwrap();
    file
}

/// Sends a registration after a change to the draft.
pub(crate) async fn register(tenant: &Tenant, format: Format, change: impl FnOnce(&mut Draft)) -> (String, Answer) {
    let mut draft = tenant.draft("ann", format, Algorithm::Es256).await;
    change(&mut draft);
    (draft.id(), tenant.finalize(draft.body().to_string()).await)
}

/// A batch of authenticators: they share a maker, an attestation key and its certificate.
pub(crate) fn batch(tenant: &Tenant, maker: &Maker) -> impl Fn(&mut Draft) + Clone + use<> {
    let options = json!({"publicKey": {"rp": {"id": tenant.rp_id}, "challenge": ""}});
    let first = Draft::new(&options, &tenant.origin, Format::PackedX5c, Algorithm::Es256);
    let (maker, key) = (maker.clone(), first.attestation_key);
    let certificate = maker.issue(&first.leaf, &key);
    move |draft| {
        draft.maker = maker.clone();
        draft.attestation_key = key.clone();
        draft.certificate = Some(certificate.clone());
    }
}

/// Tries until a registration is answered with this status: until the server has taken a change.
pub(crate) async fn until(tenant: &Tenant, status: u16, format: Format, change: impl Fn(&mut Draft)) -> (String, Answer) {
    let started = std::time::Instant::now();
    loop {
        let (id, answer) = register(tenant, format, &change).await;
        if answer.status == status {
            return (id, answer);
        }
        assert!(started.elapsed() < PATIENCE, "no {status} after {PATIENCE:?}: {}", answer.body);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// A credential as `credential list` has it.
pub(crate) fn listed(server: &Server, tenant: &Tenant, id: &str) -> Value {
    let all = ask(server, &["credential", "list", &tenant.id]);
    all.as_array().unwrap().iter().find(|credential| credential["id"] == id).unwrap_or_else(|| panic!("no {id} in {all}")).clone()
}

/// What `inspect` finds of a credential's evidence.
pub(crate) fn inspected(server: &Server, tenant: &Tenant, id: &str, options: &[&str]) -> Value {
    let evidence = server.cli(&["credential", "evidence", &tenant.id, "--credential", id]);
    assert!(evidence.status.success(), "{}", text(&evidence));
    let found = server.cli_fed(&evidence.stdout, &[], &[&["inspect"], options, &["-"]].concat());
    assert!(found.status.success(), "{}", text(&found));
    serde_json::from_slice(&found.stdout).unwrap_or_else(|e| panic!("{e}: {}", text(&found)))
}
