//! What every kind of ceremony has in common: one success for each challenge, however many ask; its end; nothing for free.

use std::time::Instant;

use futures::future::join_all;
use serde_json::json;

use crate::{
    engines,
    support::{
        api::{Answer, Tenant, counter},
        authenticator::Draft,
        ceremonies::{Kind, answer},
        keys::Algorithm,
        postgres::Server as Postgres,
        server::{Server, TenantSpec},
    },
};

engines! { equal_requests_yield_one_token, each_wrong_challenge_has_its_answer, a_flood_of_beginnings_writes_nothing }

/// A passkey and a second factor of `ann`'s: what ends a ceremony of each kind.
struct Holder {
    passkey: Draft,
    factor: Draft,
}

impl Holder {
    async fn of(tenant: &Tenant) -> Self {
        Self { passkey: tenant.passkey("ann", Algorithm::Es256).await, factor: tenant.second_factor("ann", Algorithm::Es256).await }
    }

    /// A fresh ceremony's honest end.
    async fn body(&self, tenant: &Tenant, kind: Kind, transaction: &str) -> String {
        let options = tenant.begin(kind, "ann", transaction).await;
        answer(&options, kind, &tenant.origin, if kind == Kind::MfaLogin { &self.factor } else { &self.passkey })
    }
}

/// How many equal requests there are at once.
const POSTS: usize = 64;

async fn one_of_many(server: &Server, seen_from: &[Tenant]) {
    let tenant = &seen_from[0];
    let holder = Holder::of(tenant).await;
    for kind in Kind::ALL {
        let body = holder.body(tenant, kind, "t1").await;
        let succeeded = format!("audit_events WHERE event_type = '{}_final_succeeded'", kind.events());
        let before = server.count(&succeeded).await;
        let posts = seen_from.iter().cycle().take(POSTS).map(|tenant| tenant.end(kind, body.clone()));
        let answers = join_all(posts).await;
        let (good, bad): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 200);
        assert_eq!(good.len(), 1, "{kind:?}: {answers:?}");
        good[0].token();
        let (status, title, details) = kind.unknown();
        for answer in bad {
            assert_eq!(answer.problem(status, title), details, "{kind:?}");
        }
        assert_eq!(server.count(&succeeded).await, before + 1, "{kind:?}");
    }
    assert_eq!((server.count("credentials").await, server.count("ceremonies").await), (4, 0));
    assert_eq!((server.count("used_challenges").await, server.count("transaction_evidence").await), (3, 1));
}

async fn equal_requests_yield_one_token(server: Server) {
    let tenant = server.create_tenant(&TenantSpec::default());
    one_of_many(&server, &[tenant]).await;
}

async fn each_wrong_challenge_has_its_answer(server: Server) {
    let (tenant, other) = (server.create_tenant(&TenantSpec::default()), server.create_tenant(&TenantSpec::default()));
    let brief = server.create_tenant(&TenantSpec { timeout: 1, ..TenantSpec::default() });
    let (holder, theirs) = (Holder::of(&tenant).await, Holder::of(&other).await);
    for kind in Kind::ALL {
        let (status, title, details) = kind.unknown();
        let refused = async |tenant: &Tenant, body: String| assert_eq!(tenant.end(kind, body).await.problem(status, title), details);
        let owner = if kind == Kind::MfaLogin { &holder.factor } else { &holder.passkey };
        let options = tenant.begin(kind, "ann", "t1").await;
        let honest = answer(&options, kind, &tenant.origin, owner);

        // Forged: any other, and this one with one bit of it changed.
        let genuine = options["publicKey"]["challenge"].as_str().unwrap();
        for at in [0, 8, 20, genuine.len() - 2] {
            let mut bytes = genuine.as_bytes().to_vec();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let mut forged = options.clone();
            forged["publicKey"]["challenge"] = json!(String::from_utf8(bytes).unwrap());
            refused(&tenant, answer(&forged, kind, &tenant.origin, owner)).await;
        }
        // Another tenant's, by its own credential and by that of the one it is tried on.
        let foreign = other.begin(kind, "ann", "t1").await;
        refused(&tenant, answer(&foreign, kind, &tenant.origin, owner)).await;
        let stranger = if kind == Kind::MfaLogin { &theirs.factor } else { &theirs.passkey };
        refused(&other, honest.clone()).await;
        other.end(kind, answer(&foreign, kind, &other.origin, stranger)).await.token();
        // None of that has used it up. Used, it is gone.
        tenant.end(kind, honest.clone()).await.token();
        refused(&tenant, honest).await;
    }
    expired(&server, &brief).await;
}

/// Registrations take longer than that tenant gives them: its credentials are put where they should be.
async fn expired(server: &Server, brief: &Tenant) {
    let patient = server.create_tenant(&TenantSpec::default());
    let holder = Holder::of(&patient).await;
    for statement in ["UPDATE ceremonies SET expires_at = expires_at - 100000", "UPDATE transactions SET expires_at = expires_at - 100000"]
    {
        for kind in [Kind::Registration, Kind::MfaRegistration, Kind::Transaction] {
            let is_transaction = statement.contains("transactions");
            if is_transaction != (kind == Kind::Transaction) {
                continue;
            }
            let body = holder.body(&patient, kind, "late").await;
            assert!(server.execute(statement).await > 0);
            let (status, title) = kind.refused();
            // As often as it is asked.
            for _ in 0..2 {
                assert_eq!(patient.end(kind, body.clone()).await.problem(status, title), "Session has Expired", "{kind:?}");
            }
        }
    }
    // A login's time is in its challenge: it ends when it says.
    let passkey = lengthened(server, brief).await;
    for kind in [Kind::Login, Kind::UserLogin, Kind::MfaLogin] {
        let options = brief.begin(kind, "ann", "").await;
        let body = answer(&options, kind, &brief.origin, &passkey);
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        for _ in 0..2 {
            let details = brief.end(kind, body.clone()).await.problem(401, "failed to validate assertion");
            assert_eq!(details, "Session has Expired", "{kind:?}");
        }
    }
    assert_eq!(server.count("used_challenges").await, 6, "what is late was used up");
}

/// A passkey of a tenant whose ceremonies end before anybody can answer.
async fn lengthened(server: &Server, brief: &Tenant) -> Draft {
    let draft = brief.draft("ann", crate::support::authenticator::Format::None, Algorithm::Es256).await;
    assert!(server.execute("UPDATE ceremonies SET expires_at = expires_at + 200000").await > 0);
    brief.finalize(draft.body().to_string()).await.token();
    draft
}

/// The tables, but for the migrations'.
const TABLES: [&str; 9] = [
    "tenants",
    "users",
    "credentials",
    "ceremonies",
    "used_challenges",
    "transactions",
    "transaction_evidence",
    "audit_events",
    "api_keys",
];

/// 10,000 beginnings that anybody can ask for: not a row, and not a unit of work.
async fn a_flood_of_beginnings_writes_nothing(server: Server) {
    let tenant = server.create_tenant(&TenantSpec::default());
    tenant.passkey("ann", Algorithm::Es256).await;
    let rows = async || join_all(TABLES.map(|table| server.count(table))).await;
    let units = async || counter(&server.admin_api().get("/metrics").await.body, "storage_units_total");
    let (rows_before, units_before, started) = (rows().await, units().await, Instant::now());
    assert!(units_before > 0);
    let path = tenant.path("/login/initialize");
    for _ in 0..200 {
        // Fifty honest ones, and three that are refused.
        let refused = [(401, r#"{"user_id":"ann"}"#), (400, r#"{"user_id":""}"#), (400, "{")];
        let many = (0..50).map(|n| (200, ["", "{}"][n % 2])).chain(refused).map(async |(status, body)| {
            let answer = tenant.post(&path, body).await;
            assert_eq!(answer.status, status, "{}", answer.body);
        });
        join_all(many).await;
    }
    // Nothing but the server's own word, once a second, that it is there.
    let (written, beats) = (units().await - units_before, started.elapsed().as_secs() + 2);
    assert!(written <= beats, "{written} units of work, {beats} beats");
    assert_eq!(rows().await, rows_before);
}

/// Two server processes, each with a token of its own, on one database.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn equal_requests_to_two_servers_yield_one_token() {
    let url = Postgres::shared().empty_database().await;
    let first = Server::on(&url).await;
    let second = first.beside().await;
    let tenant = first.create_tenant(&TenantSpec::default());
    let there = tenant.at(second.api());
    one_of_many(&first, &[tenant, there]).await;
}

/// What one server began another ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_server_began_another_ends() {
    let url = Postgres::shared().empty_database().await;
    let first = Server::on(&url).await;
    let second = first.beside().await;
    let tenant = first.create_tenant(&TenantSpec::default());
    let there = tenant.at(second.api());
    let holder = Holder::of(&tenant).await;
    for kind in Kind::ALL {
        let body = holder.body(&tenant, kind, "t1").await;
        there.end(kind, body.clone()).await.token();
        let again: Answer = tenant.end(kind, body).await;
        assert_eq!(again.status, kind.unknown().0);
    }
}
