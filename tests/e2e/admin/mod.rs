//! The admin API: who may call it, by which way, and what each role may do.

mod document;
mod roles;
mod socket;
mod tls;
mod tokens;

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{
    api::{Answer, Api},
    server::Server,
};

/// What the deployment's own log has of administrators: type and error, the newest first.
async fn refusals(server: &Server) -> Vec<String> {
    use passkey_hsm::domain::{AuditEvent, AuditEventType};
    let store = server.store().await;
    let events = store.audit_events(AuditEvent::DEPLOYMENT, 1000).await.unwrap();
    let refused = events.into_iter().filter(|event| event.event_type == AuditEventType::AdminRefused);
    refused.map(|event| format!("{}: {}", event.actor.unwrap_or_else(|| "nobody".to_owned()), event.error.unwrap())).collect()
}

/// Waits until the server has printed this: its log is read beside the test.
async fn logged(server: &Server, text: &str) {
    let started = Instant::now();
    while !server.log().contains(text) {
        assert!(started.elapsed() < Duration::from_secs(10), "{text:?} is not in the log:\n{}", server.log());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A request that is refused for want of credentials; returns why.
async fn nobody(api: &Api, path: &str) -> String {
    unauthorized(&api.get(path).await)
}

fn unauthorized(answer: &Answer) -> String {
    assert_eq!(answer.header("WWW-Authenticate"), "Bearer realm=\"passkey-hsm admin\"", "{}", answer.body);
    assert_eq!(answer.header("Cache-Control"), "no-store");
    answer.problem(401, "Unauthorized")
}

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_else(|| panic!("no {name} in {value}")).to_owned()
}
