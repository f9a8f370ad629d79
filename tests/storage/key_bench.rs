//! Keys in every state of their life, and changes that are looked at from all sides.

use std::time::Duration;

use passkey_hsm::domain::{
    AuditEvent, AuditEventType, KeyChange, KeyId, KeyPlan, KeyState, Leaving, Replica, ReplicaId, SigningAlgorithm, SigningKey, SystemRng,
    TenantId, Times, Timestamp,
};

use crate::bench::{Bench, activated, assert_same, at, event};

/// How long a server counts as alive.
pub const LEASE: Duration = Duration::from_secs(10);

pub const P: Duration = Duration::from_hours(1);
pub const R: Duration = Duration::from_hours(2);
pub const WINDOW: Duration = Duration::from_mins(30);
pub const TIMES: Times = Times { retirement: R, rollback: WINDOW };

pub const NOW_USABLE: KeyChange = KeyChange::Publish { publication: Duration::ZERO };

/// Has it sign, in the place of nobody, or of a key that goes to this state.
pub fn activate(leaving: Option<(KeyId, KeyState)>) -> KeyChange {
    let leaving = leaving.map(|(kid, to)| Leaving { kid, to, times: TIMES });
    KeyChange::Activate { leaving, accept_exposure: false, replica_lease: LEASE, rotate_after: Some(P) }
}

pub fn in_the_place_of(kid: KeyId) -> KeyChange {
    activate(Some((kid, KeyState::Retiring)))
}

pub fn reinstate(leaving: Option<KeyId>) -> KeyChange {
    let leaving = leaving.map(|kid| Leaving { kid, to: KeyState::Suspended, times: TIMES });
    KeyChange::Reinstate { leaving, rotate_after: Some(P) }
}

pub fn intent(tenant: TenantId, plan: KeyPlan) -> SigningKey {
    SigningKey::intent(KeyId::random(&SystemRng), tenant, SigningAlgorithm::Es256, None, plan, at(1))
}

pub fn key_event(key: &SigningKey) -> AuditEvent {
    AuditEvent {
        event_type: AuditEventType::SigningKeyGenerated,
        actor_user_id: None,
        credential_id: None,
        actor: Some("command:0".to_owned()),
        key_id: Some(key.id),
        reason: Some("the test's".to_owned()),
        ..event(key.tenant_id)
    }
}

pub fn replica(key_revision: i64) -> Replica {
    Replica {
        id: ReplicaId::random(&SystemRng),
        host: "host-1".to_owned(),
        pid: 4711,
        version: "0.1.0".to_owned(),
        started_at: at(0),
        seen_at: at(0),
        key_revision,
    }
}

impl Bench {
    /// A `pending` key that is on the token, with its evidence.
    pub async fn made(&self, tenant: TenantId, plan: KeyPlan) -> SigningKey {
        let intent = intent(tenant, plan);
        assert!(self.store.begin_signing_key(&intent, &key_event(&intent)).await.unwrap());
        let made = SigningKey { state: KeyState::Pending, published_at: None, activated_at: None, ..activated(&intent) };
        assert!(self.store.complete_signing_key(&made, &key_event(&made)).await.unwrap());
        made
    }

    /// A `published` key that may sign.
    pub async fn standby(&self, tenant: TenantId) -> SigningKey {
        let made = self.made(tenant, KeyPlan::Publish).await;
        self.changed(&made, NOW_USABLE).await
    }

    /// A tenant whose active key is the second, in the place of the first.
    pub async fn rotated(&self) -> (SigningKey, SigningKey) {
        let (tenant, first) = self.tenant().await;
        let second = self.standby(tenant.id).await;
        let second = self.changed(&second, in_the_place_of(first.id)).await;
        (self.key(first.id).await, second)
    }

    pub async fn key(&self, kid: KeyId) -> SigningKey {
        self.store.signing_key(kid).await.unwrap().unwrap()
    }

    /// Makes a change that must succeed: it is answered as it is stored, counted once, and told once.
    pub async fn changed(&self, key: &SigningKey, change: KeyChange) -> SigningKey {
        let (e, before) = (key_event(key), self.store.key_revision().await.unwrap());
        let changed = self.store.change_signing_key(key.tenant_id, key.id, change, std::slice::from_ref(&e)).await.unwrap();
        let changed = changed.unwrap_or_else(|| panic!("{change:?} was refused"));
        assert_same(&changed, &self.key(key.id).await);
        assert_eq!(self.store.key_revision().await.unwrap(), before + 1);
        assert_eq!(changed.revision, before + 1, "servers that follow find it");
        assert_same(&self.store.audit_event(key.tenant_id, e.id).await.unwrap().unwrap(), &e);
        changed
    }

    /// Makes a change that must be refused, and write nothing.
    pub async fn refused(&self, key: &SigningKey, change: KeyChange) {
        let before = self.everything().await;
        let changed = self.store.change_signing_key(key.tenant_id, key.id, change, &[key_event(key)]).await.unwrap();
        assert!(changed.is_none(), "{change:?} was not refused: {changed:?}");
        assert_eq!(self.everything().await, before, "{change:?}");
    }

    async fn everything(&self) -> (String, i64, i64) {
        let keys = format!("{:?}", self.store.signing_keys().await.unwrap());
        (keys, self.store.key_revision().await.unwrap(), self.count("audit_events").await)
    }

    /// Sets columns of a key behind the store's back: the clock of a test.
    pub async fn set(&self, key: &SigningKey, columns: &str) {
        self.set_row("signing_keys", key.id.as_uuid(), columns).await;
    }

    pub async fn set_tenant(&self, tenant: TenantId, columns: &str) {
        self.set_row("tenants", tenant.as_uuid(), columns).await;
    }

    async fn set_row(&self, table: &str, id: uuid::Uuid, columns: &str) {
        let (id, update) = (id.simple(), format!("UPDATE {table} SET {columns} WHERE id ="));
        self.sql(&format!("{update} '{id}'"), &format!("{update} x'{id}'")).await;
    }

    pub async fn now(&self) -> Timestamp {
        self.store.database_now().await.unwrap()
    }
}

/// That an instant was taken from the database's clock after `before`.
#[track_caller]
pub fn assert_taken_since(before: Timestamp, instant: Option<Timestamp>) -> Timestamp {
    let instant = instant.unwrap();
    assert!(instant >= before && instant.since(before) < Duration::from_mins(1), "{instant} {before}");
    instant
}
