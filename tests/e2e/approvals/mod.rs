//! Dual control: what ends something waits for a second administrator, and is done once.

#[cfg(feature = "failpoints")]
mod crash;
mod deciding;
mod grants;
mod waiting;

use serde_json::{Value, json};

use crate::{
    signing_keys::{act, short, text},
    support::{
        api::{Answer, Api, Tenant},
        postgres,
        server::{Server, ServerSpec},
    },
};

/// A server under dual control, with two administrators, a key custodian and a tenant.
pub(crate) struct Council {
    pub(crate) server: Server,
    pub(crate) alice: Api,
    pub(crate) bob: Api,
    pub(crate) carol: Api,
    pub(crate) tenant: Tenant,
}

impl Council {
    pub(crate) async fn meet(database: Option<String>, env: &[(&str, &str)]) -> Self {
        let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let spec = ServerSpec { database, admin: vec!["dual_control = \"on\"".to_owned()], env, ..ServerSpec::default() };
        let server = Server::start(spec).await;
        let alice = appointed(&server, &server.local_api(), "alice", "admin", &[]).await;
        let bob = appointed(&server, &alice, "bob", "admin", &[]).await;
        let carol = appointed(&server, &alice, "carol", "key-custodian", &[]).await;
        let tenant = server.create_tenant_with(&[("PASSKEY_HSM_ADMIN_TOKEN", alice.token())], &short());
        Self { server, alice, bob, carol, tenant }
    }

    pub(crate) async fn sqlite() -> Self {
        Self::meet(None, &[]).await
    }

    pub(crate) async fn postgres() -> Self {
        Self::meet(Some(postgres::Server::shared().empty_database().await), &[]).await
    }

    /// The same callers, at the listener of a restarted server.
    pub(crate) async fn again(&mut self) {
        self.server.restart().await;
        for api in [&mut self.alice, &mut self.bob, &mut self.carol] {
            *api = self.server.admin_api().with_token(api.token());
        }
        self.tenant = self.tenant.at(self.server.api());
    }

    /// A request of alice's to distrust the tenant's key; its id.
    pub(crate) async fn compromise(&self) -> String {
        requested(&act(&self.alice, &self.tenant.kid, "compromise", json!({"reason": "leaked"})).await)
    }

    /// How often this has happened, to the tenant or to the deployment.
    pub(crate) async fn events(&self, event_type: &str) -> i64 {
        self.server.count(&format!("audit_events WHERE event_type = '{event_type}'")).await
    }
}

/// The new administrator's way to the API. Made on the server's own host: under dual control whoever may approve is made nowhere else.
pub(crate) async fn appointed(server: &Server, by: &Api, name: &str, role: &str, tenants: &[&str]) -> Api {
    let on_host = server.local_api();
    let by = if by.is_anonymous() { by.clone() } else { on_host.with_token(by.token()) };
    let made = by.post("/admin_tokens", json!({"name": name, "role": role, "tenants": tenants}).to_string()).await;
    assert_eq!(made.status, 201, "{}", made.body);
    server.admin_api().with_token(&text(&made.json(), "token"))
}

/// The id of the request that waits.
#[track_caller]
pub(crate) fn requested(answer: &Answer) -> String {
    assert_eq!(answer.status, 202, "{}", answer.body);
    let approval = answer.json();
    assert_eq!(approval["state"], "pending", "{approval}");
    text(&approval, "id")
}

pub(crate) async fn decide(api: &Api, id: &str, decision: &str) -> Answer {
    api.post(&format!("/approvals/{id}/{decision}"), "{}").await
}

pub(crate) async fn approval(api: &Api, id: &str) -> Value {
    let answer = api.get(&format!("/approvals/{id}")).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()
}

/// That a decision was refused; returns why.
#[track_caller]
pub(crate) fn undecided(answer: &Answer) -> String {
    answer.problem(409, "the approval was not decided")
}
