//! The audit log over HTTP: what is in it, who reads it, and every filter (contract 1.2, 1.4 and 1.8).

use passkey_hsm::domain::{AuditEvent, AuditEventId, AuditEventType as T, RequestMeta, SystemRng, Timestamp};
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    engines,
    support::{
        api::{Answer, Tenant},
        authenticator::{Format, flag},
        ceremonies::Kind,
        keys::Algorithm,
        server::{Server, TenantSpec},
    },
};

engines! {
    events_have_the_contracts_form, filters, pages, refusals, logs_are_kept_apart, hostile_queries, refused_initializes_are_told,
    a_flood_of_refusals_is_sampled, credentials_are_named, long_values_are_cut
}

const UNLISTABLE: &str = "unable to list audit logs";

/// 2026-01-01T00:00:00Z.
const NEW_YEAR: i64 = 1_767_225_600_000;

async fn list(tenant: &Tenant, query: &str) -> Answer {
    let path = tenant.path(&format!("/audit_logs{query}"));
    Answer::to(tenant.request(Method::GET, &path).header("apiKey", &tenant.api_key)).await
}

/// The entries that `query` lets through, all on one page.
async fn entries(tenant: &Tenant, query: &str) -> Vec<Value> {
    let answer = list(tenant, query).await;
    assert_eq!((answer.status, answer.header("Content-Type")), (200, "application/json; charset=UTF-8"), "{query}: {}", answer.body);
    let entries: Vec<Value> = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(answer.header("X-Total-Count"), entries.len().to_string(), "{query}");
    entries
}

/// The request ids of what `query` lets through.
async fn names(tenant: &Tenant, query: &str) -> Vec<String> {
    entries(tenant, query).await.iter().map(|entry| entry["meta_http_request_id"].as_str().unwrap().to_owned()).collect()
}

/// Puts an event called `name` into the log, so many milliseconds into the year.
async fn add(server: &Server, tenant: &Tenant, name: &str, age: i64, event_type: T, user: Option<&str>, address: &str) -> AuditEvent {
    let event = AuditEvent {
        id: AuditEventId::random(&SystemRng),
        tenant_id: tenant.id.parse().unwrap(),
        event_type,
        error: None,
        meta: RequestMeta::new(name, address, "test"),
        actor_user_id: user.map(|user| user.parse().unwrap()),
        credential_id: None,
        transaction_id: None,
        actor: None,
        key_id: None,
        reason: None,
        created_at: Timestamp::from_millis(NEW_YEAR + age),
    };
    server.store().await.append_audit(&event).await.unwrap();
    event
}

/// A tenant whose log holds nothing of its making: that is of today.
async fn tenant(server: &Server) -> Tenant {
    let tenant = server.create_tenant(&TenantSpec::default());
    server.execute("DELETE FROM audit_events").await;
    tenant
}

async fn events_have_the_contracts_form(server: Server) {
    let tenant = tenant(&server).await;
    let bare = add(&server, &tenant, "r<1>", 120, T::TenantConfigChanged, None, "").await;
    let full = AuditEvent {
        id: AuditEventId::random(&SystemRng),
        error: Some("why & how".to_owned()),
        actor_user_id: Some("ann".parse().unwrap()),
        credential_id: Some("AQID".parse().unwrap()),
        transaction_id: Some("order 7".to_owned()),
        actor: None,
        key_id: None,
        reason: None,
        event_type: T::TransactionFinalFailed,
        meta: RequestMeta::new("r2", "192.0.2.1", "test"),
        created_at: Timestamp::from_millis(NEW_YEAR + 1000),
        ..bare.clone()
    };
    server.store().await.append_audit(&full).await.unwrap();
    let answer = list(&tenant, "").await;
    // The text, so that order and escapes count too.
    let expected = format!(
        r#"[{{"id":"{}","type":"webauthn_transaction_final_failed","error":"why \u0026 how","meta_http_request_id":"r2","meta_source_ip":"192.0.2.1","meta_user_agent":"test","actor_user_id":"ann","created_at":"2026-01-01T00:00:01Z","updated_at":"2026-01-01T00:00:01Z","tenant_id":"{tenant}","transaction_id":"order 7","credential_id":"AQID"}},{{"id":"{}","type":"tenant_config_changed","meta_http_request_id":"r\u003c1\u003e","meta_source_ip":"","meta_user_agent":"test","created_at":"2026-01-01T00:00:00.12Z","updated_at":"2026-01-01T00:00:00.12Z","tenant_id":"{tenant}","transaction_id":null}}]"#,
        full.id,
        bare.id,
        tenant = tenant.id
    );
    assert_eq!((answer.status, answer.body.as_str()), (200, format!("{expected}\n").as_str()));
    assert_eq!((answer.header("Content-Type"), answer.header("X-Total-Count")), ("application/json; charset=UTF-8", "2"));
    let none = list(&tenant, "?q=nobody").await;
    assert_eq!((none.status, none.body.as_str(), none.header("X-Total-Count")), (200, "[]\n", "0"));
}

async fn filters(server: Server) {
    let tenant = tenant(&server).await;
    add(&server, &tenant, "a", 1000, T::RegistrationInitSucceeded, Some("Ann"), "192.0.2.1").await;
    add(&server, &tenant, "b", 2000, T::RegistrationFinalFailed, Some("bob"), "192.0.2.17").await;
    add(&server, &tenant, "c", 3000, T::RegistrationFinalSucceeded, Some("joann"), "2001:db8::1").await;
    add(&server, &tenant, "d", 4000, T::ApiKeyRevoked, None, "").await;
    for (query, expected) in [
        ("", "dcba"),
        ("?", "dcba"),
        ("?unknown=1", "dcba"),
        // Instants are not among what they bound.
        ("?start_time=2026-01-01T00:00:02Z", "dc"),
        ("?start_time=2026-01-01T00:00:01.999999999Z", "dcb"),
        ("?start_time=2026-01-01T00:00:02.000000001Z", "dc"),
        ("?end_time=2026-01-01T00:00:02Z", "a"),
        ("?end_time=2026-01-01T00:00:02.000000001Z", "ba"),
        ("?end_time=2026-01-01T02:00:03%2B02:00", "ba"),
        ("?start_time=2025-12-31T19:00:01-05:00&end_time=2026-01-01T00:00:04Z", "cb"),
        ("?start_time=9999-12-31T23:59:59Z", ""),
        ("?end_time=0000-01-01T00:00:00Z", ""),
        ("?type=api_key_revoked", "d"),
        ("?type=api_key_revoked&type=webauthn_registration_final_failed", "db"),
        ("?type=api_key_revoked,webauthn_registration_final_failed", "db"),
        ("?type=webauthn_registration_final", ""),
        ("?type=API_KEY_REVOKED", ""),
        ("?type=no_such_type", ""),
        ("?type=no_such_type&type=api_key_revoked", "d"),
        ("?type=", "dcba"),
        ("?actor_user_id=ann", "ca"),
        ("?actor_user_id=bob", "b"),
        ("?actor_user_id=", "dcba"),
        ("?meta_source_ip=192.0.2.1", "ba"),
        ("?meta_source_ip=DB8", "c"),
        ("?q=192", "ba"),
        ("?q=jo", "c"),
        ("?q=", "dcba"),
        ("?q=ann&type=webauthn_registration_final_succeeded&start_time=2026-01-01T00:00:00Z", "c"),
        // Names in any case.
        ("?Q=jo", "c"),
        ("?TYPE=api_key_revoked", "d"),
        ("?Start_Time=2026-01-01T00:00:02Z", "dc"),
        ("?type=api_key_revoked&Type=webauthn_registration_final_failed", "db"),
    ] {
        assert_eq!(names(&tenant, query).await.concat(), expected, "{query}");
    }
}

async fn pages(server: Server) {
    let tenant = tenant(&server).await;
    for (age, name) in (0..).zip(["a", "b", "c", "d", "e"]) {
        add(&server, &tenant, name, age, T::CredentialUpdated, Some("ann"), "").await;
    }
    let url = |page: u32, size: u32, rest: &str| format!("<{}?{rest}page={page}&per_page={size}>", tenant.url(&tenant.path("/audit_logs")));
    for (query, expected, link) in [
        ("", "edcba", format!(r#"{}; rel="first""#, url(1, 20, ""))),
        ("?per_page=2", "ed", format!(r#"{}; rel="last",{}; rel="next""#, url(3, 2, ""), url(2, 2, ""))),
        (
            "?per_page=2&page=2",
            "cb",
            format!(
                r#"{}; rel="first",{}; rel="last",{}; rel="next",{}; rel="prev""#,
                url(1, 2, ""),
                url(3, 2, ""),
                url(3, 2, ""),
                url(1, 2, "")
            ),
        ),
        ("?per_page=2&page=3", "a", format!(r#"{}; rel="first",{}; rel="prev""#, url(1, 2, ""), url(2, 2, ""))),
        ("?per_page=5&actor_user_id=ann", "edcba", format!(r#"{}; rel="first""#, url(1, 5, "actor_user_id=ann&"))),
        ("?page=0&per_page=0", "edcba", format!(r#"{}; rel="first""#, url(1, 20, ""))),
        ("?page=-1&per_page=-1", "edcba", format!(r#"{}; rel="first""#, url(1, 20, ""))),
        ("?per_page=9223372036854775807", "edcba", format!(r#"{}; rel="first""#, url(1, 500, ""))),
        (
            "?page=9223372036854775807",
            "",
            format!(
                r#"{}; rel="first",{}; rel="last",{}; rel="prev""#,
                url(1, 20, ""),
                url(1, 20, ""),
                url(9, 20, "").replace("page=9&", "page=9223372036854775806&")
            ),
        ),
    ] {
        let answer = list(&tenant, query).await;
        assert_eq!((answer.status, answer.header("X-Total-Count"), answer.header("Link")), (200, "5", link.as_str()), "{query}");
        let entries: Vec<Value> = serde_json::from_str(&answer.body).unwrap();
        let found: String = entries.iter().map(|entry| entry["meta_http_request_id"].as_str().unwrap()).collect();
        assert_eq!(found, expected, "{query}");
    }
    // For the host that was asked for; nobody's word but a trusted proxy's makes it https.
    let path = tenant.path("/audit_logs");
    let request = tenant.request(Method::GET, &path).header("apiKey", &tenant.api_key).header("X-Forwarded-Proto", "https");
    let answer = Answer::to(request.header("Host", "keys.example")).await;
    assert_eq!(answer.header("Link"), format!("<http://keys.example{path}?page=1&per_page=20>; rel=\"first\""));
}

async fn refusals(server: Server) {
    let (tenant, other) = (server.create_tenant(&TenantSpec::default()), server.create_tenant(&TenantSpec::default()));
    let time = |text: &str, rest: &str, element: &str| {
        format!(r#"parsing time "{text}" as "2006-01-02T15:04:05Z07:00": cannot parse "{rest}" as "{element}""#)
    };
    for (query, details) in [
        ("page=abc", r#"strconv.ParseInt: parsing "abc": invalid syntax"#.to_owned()),
        ("per_page=1.5", r#"strconv.ParseInt: parsing "1.5": invalid syntax"#.to_owned()),
        ("page=9223372036854775808", r#"strconv.ParseInt: parsing "9223372036854775808": value out of range"#.to_owned()),
        ("start_time=", time("", "", "2006")),
        ("end_time=yesterday", time("yesterday", "yesterday", "2006")),
        ("start_time=2026-01-01", time("2026-01-01", "", "T")),
        ("start_time=1767225600", time("1767225600", "225600", "-")),
        // A plus sign is a space in a query.
        ("end_time=2026-01-01T00:00:00+01:00", time("2026-01-01T00:00:00 01:00", " 01:00", "Z07:00")),
        ("end_time=2026-02-29T00:00:00Z", r#"parsing time "2026-02-29T00:00:00Z": day out of range"#.to_owned()),
        ("start_time=2026-01-01T00:00:00Z'", r#"parsing time "2026-01-01T00:00:00Z'": extra text: "'""#.to_owned()),
    ] {
        assert_eq!(list(&tenant, &format!("?{query}")).await.problem(400, UNLISTABLE), details, "{query}");
    }
    // What can be read in two ways is not read.
    for (query, details) in [
        ("q=a&Q=b", "duplicate parameter q"),
        ("page=1&page=1", "duplicate parameter page"),
        ("start_time=2026-01-01T00:00:00Z&start_time=x", "duplicate parameter start_time"),
        ("q=%FF", "a query is UTF-8"),
        ("q=%zz", "invalid URL escape \"%zz\""),
        ("a=1;type=x", "invalid semicolon separator in query"),
    ] {
        assert_eq!(list(&tenant, &format!("?{query}")).await.problem(400, UNLISTABLE), details, "{query}");
    }
    let long = list(&tenant, &format!("?q={}", "x".repeat(2047))).await;
    assert_eq!(long.problem(400, UNLISTABLE), "a query has at most 2048 bytes");

    let path = tenant.path("/audit_logs");
    let details = "api keys needs to be an apiKey Header and 32 byte long";
    assert_eq!(tenant.get(&path).await.problem(401, "The api key is invalid"), details);
    for key in ["", "x", other.api_key.as_str()] {
        // Before the query is looked at.
        let request = tenant.request(Method::GET, &format!("{path}?page=x")).header("apiKey", key);
        assert_eq!(Answer::to(request).await.problem(401, "The api key is invalid"), details);
    }
    tenant.post(&path, "{}").await.problem(401, "The api key is invalid");
    let nobody = tenant.request(Method::GET, "/00000000-0000-4000-8000-000000000000/audit_logs").header("apiKey", &tenant.api_key);
    Answer::to(nobody).await.problem(404, "tenant not found");
    for (method, rest) in [(Method::POST, ""), (Method::DELETE, ""), (Method::GET, "/1"), (Method::GET, "/")] {
        let request = tenant.request(method.clone(), &format!("{path}{rest}")).header("apiKey", &tenant.api_key);
        Answer::to(request).await.problem(404, "Not Found");
    }
}

async fn logs_are_kept_apart(server: Server) {
    let (ours, theirs) = (server.create_tenant(&TenantSpec::default()), tenant(&server).await);
    add(&server, &ours, "ours", 1, T::CredentialUpdated, Some("ann"), "192.0.2.1").await;
    add(&server, &theirs, "theirs", 1, T::CredentialUpdated, Some("ann"), "192.0.2.1").await;
    let everything = T::ALL.iter().map(|t| format!("type={t}")).collect::<Vec<_>>().join("&");
    for query in [
        String::new(),
        format!("?tenant_id={}", theirs.id),
        format!("?TenantId={}&tenantId={}", theirs.id, theirs.id),
        "?q=ann&actor_user_id=ann&meta_source_ip=192".to_owned(),
        "?q=192".to_owned(),
        format!("?{everything}"),
        format!("?{everything}&start_time=2025-01-01T00:00:00Z&end_time=2027-01-01T00:00:00Z"),
        "?per_page=500".to_owned(),
    ] {
        assert_eq!(names(&ours, &query).await, ["ours"], "{query}");
        assert_eq!(names(&theirs, &query).await, ["theirs"], "{query}");
    }
    // Nor do links lead there.
    let answer = list(&ours, &format!("?tenant_id={}", theirs.id)).await;
    assert!(answer.header("Link").contains(&ours.path("/audit_logs?")), "{}", answer.header("Link"));
}

async fn hostile_queries(server: Server) {
    let (ours, theirs) = (tenant(&server).await, server.create_tenant(&TenantSpec::default()));
    add(&server, &ours, "ours", 1, T::CredentialUpdated, Some("ann"), "192.0.2.1").await;
    for name in ["type", "q", "actor_user_id", "meta_source_ip", "page", "per_page", "start_time", "end_time"] {
        for value in [
            "') OR ('1'='1",
            "' OR 1=1 --",
            "webauthn_credential_updated') OR tenant_id <> ('",
            "x') UNION SELECT hash, hash, hash, hash, hash, hash, hash, hash, hash, hash, hash FROM api_keys --",
            "'; DROP TABLE audit_events; --",
            "%",
            "_nn",
            "a\\nn",
            "\0",
            "ann\0",
            "\u{202e}",
            "$1",
            "\r\nX-Injected: 1",
            ">; rel=\"first\",<https://evil.example>; rel=\"next\"",
        ] {
            let query: String = url::form_urlencoded::Serializer::new(String::new()).append_pair(name, value).finish();
            let answer = list(&ours, &format!("?{query}")).await;
            if ["page", "per_page", "start_time", "end_time"].contains(&name) {
                answer.problem(400, UNLISTABLE);
            } else {
                assert_eq!((answer.status, answer.body.as_str()), (200, "[]\n"), "{query}");
                assert!(!answer.headers.contains_key("X-Injected") && !answer.header("Link").contains("<https://evil"), "{query}");
            }
        }
    }
    // What is no pair, or there very often.
    for query in ["?&&&=&==&", &format!("?{}", "a=&".repeat(600)), &format!("?{}", "type=&".repeat(300))] {
        assert_eq!(names(&ours, query).await, ["ours"], "{query}");
    }
    assert_eq!(names(&ours, &format!("?{}", "type=webauthn_credential_updated&".repeat(60))).await, ["ours"]);
    assert_eq!(list(&theirs, "").await.status, 200);
}

async fn refused_initializes_are_told(server: Server) {
    let tenant = tenant(&server).await;
    for (body, error, user) in [
        ("{", "unable to process request: Syntax error: offset=1, error=", None),
        ("{}", "unable to validate request: user_id is a required field and username is a required field", None),
        (r#"{"user_id":"ann"}"#, "unable to validate request: username is a required field", Some("ann")),
        (r#"{"user_id":"ann","username":7}"#, "unable to process request: Unmarshal type error: expected=string, got=number", Some("ann")),
        (r#"{"user_id":"a\u0000b","username":"ann"}"#, "unable to validate request: user_id: ", None),
    ] {
        server.execute("DELETE FROM audit_events").await;
        let answer = tenant.initialize(body).await;
        assert_eq!(answer.status, 400, "{body}");
        let log = entries(&tenant, "").await;
        let [entry] = log.as_slice() else { panic!("{body}: {log:?}") };
        assert_eq!(entry["type"], "webauthn_registration_init_failed", "{body}");
        assert!(entry["error"].as_str().unwrap().starts_with(error), "{body}: {entry}");
        assert_eq!(entry.get("actor_user_id").and_then(Value::as_str), user, "{body}");
        assert_eq!(entry["meta_http_request_id"], answer.header("X-Request-Id"));
        assert_eq!(entry["meta_source_ip"], "127.0.0.1");
    }
    // A body that is too long, and one of another kind.
    server.execute("DELETE FROM audit_events").await;
    tenant.initialize("x".repeat(1_000_000)).await.problem(413, "Request Entity Too Large");
    let request = tenant.request(Method::POST, &tenant.path("/registration/initialize")).header("apiKey", &tenant.api_key);
    Answer::to(request.header("Content-Type", "text/plain").body("x")).await.problem(400, "unable to process request");
    let errors: Vec<_> = entries(&tenant, "?type=webauthn_registration_init_failed").await.iter().map(|e| e["error"].clone()).collect();
    assert_eq!(errors.len(), 2, "{errors:?}");
    assert!(errors.contains(&json!("unable to process request: Unsupported Media Type")), "{errors:?}");

    // A stranger writes nothing; what succeeds is no failure.
    server.execute("DELETE FROM audit_events").await;
    tenant.post(&tenant.path("/registration/initialize"), "{").await.problem(401, "The api key is invalid");
    let request = tenant.request(Method::POST, &tenant.path("/registration/initialize")).header("apiKey", "A".repeat(88));
    Answer::to(request.body("{")).await.problem(401, "The api key is invalid");
    assert_eq!(entries(&tenant, "").await, [Value::Null; 0]);
    tenant.options("ann").await;
    let log = entries(&tenant, "").await;
    assert_eq!(log.iter().map(|e| e["type"].clone()).collect::<Vec<_>>(), ["webauthn_registration_init_succeeded"]);
}

async fn a_flood_of_refusals_is_sampled(server: Server) {
    let tenant = tenant(&server).await;
    // Of a challenge that is used up.
    let body = tenant.passkey("ann", Algorithm::Es256).await.body().to_string();
    server.execute("DELETE FROM audit_events").await;
    let title = "received challenge does not match with any stored one";
    for _ in 0..12 {
        let many: Vec<_> = (0..25).map(|_| tenant.finalize(body.clone())).collect();
        for answer in futures::future::join_all(many).await {
            answer.problem(400, title);
        }
    }
    let recorded = server.count("audit_events").await;
    assert!((100..300).contains(&recorded), "{recorded} of 300 were recorded");
    // A backend's are recorded all the same.
    let backends = "audit_events WHERE event_type IN ('webauthn_registration_init_failed', 'mfa_registration_final_failed')";
    for _ in 0..10 {
        tenant.initialize("{}").await.problem(400, "unable to validate request");
        tenant.end(Kind::MfaRegistration, body.clone()).await.problem(400, title);
    }
    assert_eq!(server.count(backends).await, 20);
    // The next one that is recorded says what was left out.
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    tenant.finalize(body).await.problem(400, title);
    let log: Vec<Value> = serde_json::from_str(&list(&tenant, "?per_page=500").await.body).unwrap();
    let said = |entry: &Value| entry["error"].as_str().is_some_and(|error| error.ends_with("refusals before this one were not recorded)"));
    assert!(log.iter().any(said), "{:?}", log.first());
}

async fn credentials_are_named(server: Server) {
    let tenant = tenant(&server).await;
    let good = tenant.draft("ann", Format::PackedSelf, Algorithm::Es256).await;
    tenant.finalize(good.body().to_string()).await.token();
    let mut copy = tenant.draft("bob", Format::PackedSelf, Algorithm::Es256).await;
    copy.credential_id.clone_from(&good.credential_id);
    tenant.finalize(copy.body().to_string()).await.problem(400, "failed to validate attestation");
    let mut forged = tenant.draft("eve", Format::PackedSelf, Algorithm::Es256).await;
    forged.flags &= !flag::UP;
    tenant.finalize(forged.body().to_string()).await.problem(400, "failed to validate attestation");
    // Its challenge is used up.
    tenant.finalize(good.body().to_string()).await.problem(400, "received challenge does not match with any stored one");
    let log = entries(&tenant, "?type=webauthn_registration_final_succeeded,webauthn_registration_final_failed").await;
    let found: Vec<_> =
        log.iter().rev().map(|e| [&e["type"], &e["credential_id"], &e["actor_user_id"]].map(|v| v.as_str().unwrap_or(""))).collect();
    let (succeeded, failed) = ("webauthn_registration_final_succeeded", "webauthn_registration_final_failed");
    assert_eq!(
        found,
        [[succeeded, &good.id(), "ann"], [failed, &good.id(), "bob"], [failed, &forged.id(), "eve"], [failed, &good.id(), ""]]
    );
}

async fn long_values_are_cut(server: Server) {
    let tenant = tenant(&server).await;
    let long = "y".repeat(300);
    let request = tenant.request(Method::POST, &tenant.path("/registration/initialize")).header("apiKey", &tenant.api_key);
    let request = request.header("X-Request-Id", &long).header("User-Agent", &long).header("X-Forwarded-For", &long);
    // Its refusal quotes it.
    let body = format!("\"{}\"", "k".repeat(20_000));
    Answer::to(request.header("Content-Type", "application/json").body(body)).await.problem(400, "unable to process request");
    let found = entries(&tenant, "").await;
    let [entry] = found.as_slice() else { panic!("{found:?}") };
    for name in ["meta_http_request_id", "meta_user_agent"] {
        assert_eq!(entry[name], long[..255], "{name}");
    }
    assert_eq!(entry["meta_source_ip"], "127.0.0.1");
    assert_eq!(entry["error"].as_str().unwrap().chars().count(), 1000, "{entry}");
}
