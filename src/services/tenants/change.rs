//! Changes of what a tenant has chosen.

use serde_json::Value;

use super::{Error, Tenants, event};
use crate::{
    domain::{AuditEvent, AuditEventId, AuditEventType, Tenant, TenantConfig, TenantId, TenantSettings},
    services::{
        keys::{By, changes_keys, settings_changed},
        vouching::settle,
    },
};

/// A change of what a tenant has chosen. What is `None` stays.
#[derive(Debug, Default)]
pub struct UpdateTenant {
    /// A new name.
    pub display_name: Option<String>,
    /// The whole new configuration.
    pub config: Option<TenantConfig>,
    /// The whole new settings.
    pub settings: Option<TenantSettings>,
    /// The settings that the new ones were weighed against: they are refused where the key policy was changed since.
    pub weighed: Option<TenantSettings>,
}

impl Tenants {
    /// Replaces a tenant's name, configuration and settings, those that are given. A change of algorithm is the next key's: the keys that are
    /// there stay what they are. The audit event says which members are other than before.
    pub async fn update(&self, id: TenantId, change: UpdateTenant, by: &By) -> Result<(), Error> {
        let before = self.get(id).await?;
        let event = event(&self.context, id, AuditEventType::TenantConfigChanged, by);
        let event = AuditEvent { reason: Some(reason(by, &changes(&before, &change)?)), ..event };
        let (name, config, settings) = (change.display_name.as_deref(), change.config.as_ref(), change.settings.as_ref());
        let of_keys = settings.filter(|new| changes_keys(&before.settings, new)).map(|_| self.key_policy_changed(&event));
        let events: Vec<_> = std::iter::once(event.clone()).chain(of_keys).collect();
        let updated = self.context.store.update_tenant_of(id, name, config, settings, change.weighed.as_ref(), &events).await;
        if !settle(&self.context, &event, updated, || true).await? {
            self.get(id).await?;
            return Err(Error::Conflict("the tenant's key policy was changed by somebody else in the same moment: look again".to_owned()));
        }
        match &change.settings {
            Some(new) => settings_changed(&self.context, id, &before.settings, new, by).await,
            None => Ok(()),
        }
    }

    /// The event of a change that concerns keys, beside that of the change itself.
    fn key_policy_changed(&self, event: &AuditEvent) -> AuditEvent {
        let id = AuditEventId::random(&*self.context.rng);
        AuditEvent { id, event_type: AuditEventType::KeyPolicyChanged, ..event.clone() }
    }
}

/// Why, if somebody said so, and what.
fn reason(by: &By, paths: &[String]) -> String {
    let what = if paths.is_empty() { "nothing changed".to_owned() } else { format!("changed: {}", paths.join(", ")) };
    let text = by.reason.as_ref().map_or_else(|| what.clone(), |why| format!("{why}; {what}"));
    text.chars().take(AuditEvent::MAX_ERROR_CHARS).collect()
}

/// The members that are other than before, by their paths in a tenant's file.
fn changes(before: &Tenant, change: &UpdateTenant) -> Result<Vec<String>, Error> {
    let mut paths = Vec::new();
    if change.display_name.as_ref().is_some_and(|name| *name != before.display_name) {
        paths.push("display_name".to_owned());
    }
    if let Some(config) = &change.config {
        differ("", &json(&before.config)?, &json(config)?, &mut paths);
    }
    if let Some(settings) = &change.settings {
        differ("settings", &json(&before.settings)?, &json(settings)?, &mut paths);
    }
    Ok(paths)
}

fn json(value: &impl serde::Serialize) -> Result<Value, Error> {
    serde_json::to_value(value).map_err(|e| Error::Internal("a value of ours has no JSON form".to_owned(), Some(e.into())))
}

/// Adds the path of each member in which `old` and `new` differ. As deep as our own types are.
fn differ(path: &str, old: &Value, new: &Value, paths: &mut Vec<String>) {
    let (Value::Object(old), Value::Object(new)) = (old, new) else {
        if old != new {
            paths.push(path.to_owned());
        }
        return;
    };
    let added = new.keys().filter(|name| !old.contains_key(*name));
    for name in old.keys().chain(added) {
        let inner = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        differ(&inner, old.get(name).unwrap_or(&Value::Null), new.get(name).unwrap_or(&Value::Null), paths);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::{Actor, RequestMeta};

    #[test]
    fn what_changed_is_named_by_its_path() {
        let mut paths = Vec::new();
        let old = json!({"a": 1, "b": {"c": [1], "d": 2}, "gone": true});
        differ("", &old, &json!({"a": 1, "b": {"c": [2], "d": 2}, "new": 1}), &mut paths);
        assert_eq!(paths, ["b.c", "gone", "new"]);
        let mut paths = Vec::new();
        differ("settings", &old, &old, &mut paths);
        assert!(paths.is_empty());
    }

    #[test]
    fn a_reason_says_why_and_what() {
        let mut by = By { actor: Actor::Local { uid: 0 }, reason: None, meta: RequestMeta::default() };
        assert_eq!(reason(&by, &[]), "nothing changed");
        assert_eq!(reason(&by, &["a.b".to_owned(), "c".to_owned()]), "changed: a.b, c");
        by.reason = Some("ticket 7".to_owned());
        assert_eq!(reason(&by, &["c".to_owned()]), "ticket 7; changed: c");
        by.reason = Some("ü".repeat(2000));
        assert_eq!(reason(&by, &[]).chars().count(), AuditEvent::MAX_ERROR_CHARS);
    }
}
