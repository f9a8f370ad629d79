//! Bearer tokens: made, shown, refused, revoked, and never seen in a log.

use passkey_hsm::domain::{AuditEvent, AuditEventType};
use reqwest::Method;
use serde_json::{Value, json};

use super::{nobody, refusals, text, unauthorized};
use crate::{
    engines,
    support::{
        api::{Answer, Api},
        server::{Server, ServerSpec, TenantSpec},
    },
};

engines! { a_token_has_a_life, the_last_administrator_stays }

async fn made(api: &Api, new: Value) -> Value {
    let answer = api.post("/admin_tokens", new.to_string()).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    answer.json()
}

async fn a_token_has_a_life(server: Server) {
    let local = server.local_api();
    let first = made(&local, json!({"name": "ann", "role": "admin", "reason": "day one"})).await;
    let token = text(&first, "token");
    assert!(token.starts_with("phsm_admin_") && token.len() == 54, "{first}");
    assert!(text(&first, "created_by").starts_with("local user "));
    let ann = server.admin_api().with_token(&token);
    let second = made(&ann, json!({"name": "bob", "role": "auditor", "expires_in_days": 30})).await;
    assert_eq!(text(&second, "created_by"), format!("admin ann ({})", text(&first, "id")));
    let bob = server.admin_api().with_token(&text(&second, "token"));

    let listed = bob.get("/admin_tokens").await;
    let rows = listed.json();
    assert!(!listed.body.contains("phsm_admin_"), "{rows}");
    assert_eq!(listed.header("Cache-Control"), "no-store");
    assert_eq!(rows.as_array().unwrap().iter().map(|row| text(row, "name")).collect::<Vec<_>>(), ["ann", "bob"]);
    assert!(rows[0]["last_used_at"].is_string() && rows[0]["expires_at"].is_null() && rows[1]["expires_at"].is_string(), "{rows}");

    let path = format!("/admin_tokens/{}", text(&second, "id"));
    bob.delete(&path).await.problem(403, "Forbidden");
    assert_eq!(ann.delete(&path).await.status, 204);
    let why = nobody(&bob, "/admin_tokens").await;
    assert_eq!(why, "the admin token is unknown, revoked or expired");
    assert!(
        ann.delete(&path)
            .await
            .problem(404, &format!("there is no administrator {}, or it was revoked before", text(&second, "id")))
            .is_empty()
    );
    let again = ann.post("/admin_tokens", json!({"name": "bob", "role": "auditor"}).to_string()).await;
    again.problem(409, "there is or was an administrator named bob");

    server.execute("UPDATE admins SET expires_at = 1 WHERE name = 'ann'").await;
    nobody(&ann, "/admin_tokens").await;
    let refused = refusals(&server).await;
    assert_eq!(
        refused,
        [
            "nobody: the admin token is unknown, revoked or expired".to_owned(),
            "nobody: the admin token is unknown, revoked or expired".to_owned(),
            format!("admin bob ({}): the role auditor does not have change-admins", text(&second, "id")),
        ]
    );
    let events = server.store().await.audit_events(AuditEvent::DEPLOYMENT, 100).await.unwrap();
    let acts: Vec<_> = events.iter().rev().filter(|e| e.event_type != AuditEventType::AdminRefused).collect();
    assert_eq!(acts.iter().map(|e| e.event_type.as_str()).collect::<Vec<_>>(), ["admin_created", "admin_created", "admin_revoked"]);
    assert!(acts[0].reason.as_ref().unwrap().ends_with(": day one"), "{:?}", acts[0]);
    assert_eq!(acts[2].actor, Some(format!("admin ann ({})", text(&first, "id"))));
}

async fn the_last_administrator_stays(server: Server) {
    let (one, two) = (server.admin_as("admin", &[]).await, server.admin_as("admin", &[]).await);
    let rows = one.get("/admin_tokens").await.json();
    let path = |n: usize| format!("/admin_tokens/{}", text(&rows[n], "id"));
    assert_eq!(two.delete(&path(1)).await.status, 204, "oneself");
    nobody(&two, "/admin_tokens").await;
    let refused = one.delete(&path(0)).await;
    assert!(refused.json()["title"].as_str().unwrap().contains("make another first") && refused.status == 409, "{}", refused.body);
    assert_eq!(one.get("/admin_tokens").await.status, 200, "it is still good");
    assert_eq!(server.local_api().delete(&path(0)).await.status, 204);
    nobody(&one, "/admin_tokens").await;
}

#[tokio::test]
async fn what_cannot_be_is_refused() {
    let server = Server::sqlite().await;
    let tenant = server.create_tenant(&TenantSpec::default());
    let api = server.local_api();
    let post = async |body: Value| api.post("/admin_tokens", body.to_string()).await;
    for (body, why) in [
        (json!({}), "name is a required field and role is a required field"),
        (json!({"name": "x", "role": "root"}), "role: root is not one of admin, key-custodian, tenant-admin, auditor"),
        (json!({"name": "x", "role": "tenant-admin", "tenants": ["y"]}), "tenants must be UUIDs"),
        (json!({"name": "x", "role": "admin", "expires_in_days": 0}), "expires_in_days must be 1 to 36500"),
        (
            json!({"name": "x", "role": "admin", "expires_in_days": 1, "expires_at": "2100-01-01T00:00:00Z"}),
            "expires_at and expires_in_days exclude each other",
        ),
        (json!({"name": "x", "role": "admin", "certificate": "-----"}), "certificate must be one X.509 certificate in PEM"),
    ] {
        assert_eq!(post(body.clone()).await.problem(400, "unable to validate request"), why, "{body}");
    }
    let nobodys = "7a1a0c3e-9f0e-4f0e-8c1e-0123456789ab";
    for (body, why) in [
        (json!({"name": "x", "role": "tenant-admin"}), "a tenant-admin is bound to at least one tenant: name them in `tenants`"),
        (json!({"name": "x", "role": "auditor", "tenants": [tenant.id]}), "the role auditor is not bound to tenants"),
        (json!({"name": "x", "role": "tenant-admin", "tenants": [nobodys]}), "there is no tenant 7a1a0c3e-9f0e-4f0e-8c1e-0123456789ab"),
        (json!({"name": "x", "role": "admin", "expires_at": "2020-01-01T00:00:00Z"}), "expires_at is not in the future"),
        (
            json!({"name": "x\ny", "role": "admin"}),
            "a name has 1 to 200 characters, none of them a control character, and no space around it",
        ),
        (
            json!({"name": "x", "role": "admin", "expires": 1}),
            "unknown member expires: there are name, role, tenants, expires_at, expires_in_days, certificate, reason",
        ),
        (json!({"name": 1, "role": "admin"}), "Unmarshal type error: expected=string, got=number, field=name, offset=9"),
        (json!({"name": "x", "role": "admin", "reason": "y".repeat(1001)}), "reason has at most 1000 characters"),
    ] {
        assert_eq!(post(body.clone()).await.problem(400, "unable to process request"), why, "{body}");
    }
    let form = api.request(Method::POST, "/admin_tokens").header("Content-Type", "text/plain").body(r#"{"name":"x","role":"admin"}"#);
    assert_eq!(Answer::to(form).await.problem(400, "unable to process request"), "Unsupported Media Type");
    api.delete("/admin_tokens/x").await.problem(404, "there is no administrator x, or it was revoked before");
    assert_eq!(server.count("admins").await, 0);
}

#[tokio::test]
async fn what_is_no_token_opens_nothing_and_is_nowhere_written() {
    let server = Server::start(ServerSpec { log_level: "trace", ..ServerSpec::default() }).await;
    let api = server.admin_api();
    let good = server.admin_as("admin", &[]).await;
    let token = good.token().to_owned();
    assert_eq!(good.get("/admin_tokens").await.status, 200);
    let secret = token.strip_prefix("phsm_admin_").unwrap();
    let mut other: Vec<char> = secret.chars().collect();
    other.swap(3, 7);
    let other: String = other.into_iter().collect();
    for (shown, why) in [
        (vec![], "an admin token is needed: Authorization: Bearer TOKEN"),
        (vec![token.clone()], "the Authorization header is not of the form: Bearer TOKEN"),
        (vec![format!("Basic {secret}")], "the Authorization header is not of the form: Bearer TOKEN"),
        (vec![format!("Bearer {secret}")], "what follows Bearer is no admin token"),
        (vec![format!("Bearer {token}=")], "what follows Bearer is no admin token"),
        (vec![format!("Bearer phsm_admin_{other}")], "the admin token is unknown, revoked or expired"),
        (vec![format!("Bearer {token}"), format!("Bearer {token}")], "there is more than one Authorization header"),
    ] {
        let request = shown.iter().fold(api.request(Method::GET, "/admin_tokens"), |request, value| request.header("Authorization", value));
        assert_eq!(unauthorized(&Answer::to(request).await), why);
    }
    // In the URL it means nothing, and is in history and logs: so nobody should get into the habit.
    for name in ["token", "access_token"] {
        nobody(&api, &format!("/admin_tokens?{name}=phsm_admin_x")).await;
    }
    assert_eq!(refusals(&server).await.len(), 9);
    let log = server.log();
    assert!(log.contains("/admin_tokens"), "the log is there");
    assert!(!log.contains(secret) && !log.contains(&other), "a token is in the log");
}

#[tokio::test]
async fn strangers_do_not_fill_the_database() {
    let server = Server::sqlite().await;
    let api = server.admin_api();
    for _ in 0..150 {
        nobody(&api, "/admin_tokens").await;
    }
    let kept = server.count("audit_events").await;
    assert!((100..150).contains(&kept), "{kept}");
    // What somebody known is refused is kept whatever strangers do.
    let auditor = server.admin_as("auditor", &[]).await;
    for _ in 0..5 {
        auditor.delete("/admin_tokens/x").await.problem(403, "Forbidden");
    }
    assert!(refusals(&server).await.iter().filter(|line| line.starts_with("admin auditor")).count() == 5);
}
