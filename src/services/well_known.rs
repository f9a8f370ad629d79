//! What is public about a relying party, for browsers and password managers that ask at its own host.

use std::collections::HashSet;

use crate::domain::{PasskeyEndpoints, Tenant};

/// The web origins of tenants that share an RP ID, as browsers write them, each once: related origin requests (WebAuthn L3 section 5.11).
/// The order is the tenants', and within a tenant that of its configuration: a browser may read the first few alone.
pub fn related_origins(tenants: &[Tenant]) -> Vec<String> {
    let origins = tenants.iter().flat_map(|tenant| &tenant.config.webauthn.relying_party.origins).filter_map(|origin| origin.web());
    let mut seen = HashSet::new();
    origins.filter(|origin| seen.insert(*origin)).map(str::to_owned).collect()
}

/// Where people make and manage their passkeys: each page of the first tenant that names one. None when nobody does.
pub fn passkey_endpoints(tenants: &[Tenant]) -> Option<PasskeyEndpoints> {
    let set = || tenants.iter().map(|tenant| &tenant.settings.passkey_endpoints);
    let endpoints = PasskeyEndpoints { enroll: set().find_map(|e| e.enroll.clone()), manage: set().find_map(|e| e.manage.clone()) };
    (endpoints != PasskeyEndpoints::default()).then_some(endpoints)
}
