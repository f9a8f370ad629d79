//! Signing keys on the admin API: each endpoint, what it does and what it refuses, by the names of the rules.

mod evidence;
mod hsm;
mod lifecycle;

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{
    api::{Answer, Api, Tenant},
    server::{Server, TenantSpec},
};

/// P and R of two seconds, and no window for a rollback.
pub(crate) fn short() -> TenantSpec {
    with_policy(&json!({}))
}

/// The same with other members.
pub(crate) fn with_policy(other: &Value) -> TenantSpec {
    let mut keys = json!({
        "jwks_max_age_seconds": 1, "token_lifetime_seconds": 1, "clock_skew_seconds": 0, "publication_seconds": 2, "retirement_seconds": 2,
        "period_seconds": null, "rollback_seconds": 0,
    });
    for (name, value) in other.as_object().unwrap() {
        keys[name] = value.clone();
    }
    TenantSpec { settings: json!({ "keys": keys }), ..TenantSpec::default() }
}

/// Until a key that was published is usable.
pub(crate) const PUBLICATION: Duration = Duration::from_millis(2100);

/// What a change of a key answers.
pub(crate) async fn act(api: &Api, kid: &str, act: &str, body: Value) -> Answer {
    api.post(&format!("/signing_keys/{kid}/{act}"), body.to_string()).await
}

/// A new key of a tenant, as it is answered.
pub(crate) async fn generated(api: &Api, tenant: &Tenant) -> Value {
    let made = api.post(&format!("/tenants/{}/signing_keys", tenant.id), "{}").await;
    assert_eq!(made.status, 201, "{}", made.body);
    made.json()
}

/// A new key of a tenant that is published; its kid.
pub(crate) async fn published(api: &Api, tenant: &Tenant) -> String {
    let kid = text(&generated(api, tenant).await, "kid");
    let published = act(api, &kid, "publish", json!({})).await;
    assert_eq!(published.status, 200, "{}", published.body);
    kid
}

pub(crate) async fn rotate(api: &Api, tenant: &Tenant, body: Value) -> Answer {
    api.post(&format!("/tenants/{}/signing_keys/rotate", tenant.id), body.to_string()).await
}

pub(crate) async fn key(api: &Api, kid: &str) -> Value {
    let answer = api.get(&format!("/signing_keys/{kid}")).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()
}

pub(crate) async fn state(api: &Api, kid: &str) -> String {
    text(&key(api, kid).await, "state")
}

/// That a change was refused by this rule.
#[track_caller]
pub(crate) fn refused(answer: &Answer, rule: &str) {
    let details = answer.problem(409, "the key was not changed");
    assert!(details.starts_with(&format!("{rule}: ")), "{details}");
}

pub(crate) fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_else(|| panic!("no {name} in {value}")).to_owned()
}

/// A tenant of a short policy, and an administrator.
async fn with_tenant(server: &Server) -> (Api, Tenant) {
    (server.admin_as("admin", &[]).await, server.create_tenant(&short()))
}
