//! Signing in with a passkey (contract 1.4 to 1.6): discoverable, and by user id.

use reqwest::Method;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    engines,
    support::{
        api::{Answer, Tenant},
        assertion::AssertionDraft,
        authenticator::flag,
        ceremonies::Kind,
        keys::Algorithm,
        server::{Server, TenantSpec},
    },
    tokens,
};

engines! {
    every_algorithm, options_are_the_contracts, what_is_no_assertion, what_leads_nowhere, what_is_judged_and_refused,
    user_handles_of_16_bytes, counters_that_go_back, strangers_write_nothing, user_verification_that_was_asked_for
}

/// `(type, error, actor, credential)` of the newest event of a type.
async fn last_event(tenant: &Tenant, kind: &str) -> [String; 3] {
    let path = tenant.path(&format!("/audit_logs?per_page=1&type={kind}"));
    let answer = Answer::to(tenant.request(Method::GET, &path).header("apiKey", &tenant.api_key)).await.json();
    ["error", "actor_user_id", "credential_id"].map(|name| answer[0][name].as_str().unwrap_or_default().to_owned())
}

async fn every_algorithm(server: Server) {
    let tenant = server.create_tenant(&TenantSpec::default());
    let jwks = tenant.jwks().await.json();
    for algorithm in Algorithm::ALL {
        let user = format!("{algorithm:?}");
        let passkey = tenant.passkey(&user, algorithm).await;
        for kind in [Kind::Login, Kind::UserLogin] {
            let assertion = tenant.assertion(kind, "", &passkey).await;
            // A browser ends it, which has no API key.
            let token = tenant.post(&tenant.path("/login/finalize"), assertion.text()).await.token();
            tokens::check(&tenant, kind, &token, &jwks, &user, &passkey.id());
            assert_eq!(last_event(&tenant, "webauthn_authentication_final_succeeded").await, ["", user.as_str(), &passkey.id()]);
        }
        // Whoever is named need not say so again.
        let mut assertion = tenant.assertion(Kind::UserLogin, "", &passkey).await;
        assertion.user_handle = None;
        tenant.end(Kind::UserLogin, assertion.text()).await.token();
    }
    assert_eq!(server.count("used_challenges").await, 30);
    assert_eq!(server.count("credentials WHERE last_used_at > created_at").await, 10);
    assert_eq!(server.count("audit_events WHERE event_type = 'webauthn_authentication_final_succeeded'").await, 30);
    // Only those that were for a user are known before they end.
    assert_eq!(server.count("audit_events WHERE event_type = 'webauthn_authentication_init_succeeded'").await, 20);
}

async fn options_are_the_contracts(server: Server) {
    let tenant = server.create_tenant(&TenantSpec::default());
    let passkey = tenant.passkey("ü1", Algorithm::Es256).await;
    tenant.second_factor("ü1", Algorithm::Es256).await;
    let path = tenant.path("/login/initialize");
    let text = |answer: &Answer, allowed: &str| {
        assert_eq!((answer.status, answer.header("Content-Type")), (200, "application/json; charset=UTF-8"), "{}", answer.body);
        let challenge = answer.json()["publicKey"]["challenge"].as_str().unwrap().to_owned();
        assert_eq!(challenge.len(), 43);
        let expected = format!(
            r#"{{"publicKey":{{"challenge":"{challenge}","timeout":60000,"rpId":"localhost",{allowed}"userVerification":"preferred"}}}}"#
        );
        assert_eq!(answer.body, format!("{expected}\n"));
        challenge
    };
    // As the contract's own clients call it, and in every other way that names nobody.
    let mut challenges = std::collections::HashSet::new();
    for content_type in [None, Some("application/json")] {
        let mut request = tenant.request(Method::POST, &path);
        if let Some(content_type) = content_type {
            request = request.header("Content-Type", content_type);
        }
        assert!(challenges.insert(text(&Answer::to(request).await, "")));
    }
    for body in ["", "{}", "null", r#"{"user_id":null}"#, r#"{"unknown":1}"#, "{} trailing"] {
        assert!(challenges.insert(text(&tenant.post(&path, body).await, "")), "{body}");
    }
    // A key is not asked for, so it is not looked at.
    let keyed = tenant.request(Method::POST, &path).header("apiKey", "no key");
    assert!(challenges.insert(text(&Answer::to(keyed).await, "")));

    // Of a user who is named: passkeys, no second factors.
    let allowed = format!(r#""allowCredentials":[{{"type":"public-key","id":"{}"}}],"#, passkey.id());
    for body in [r#"{"user_id":"ü1"}"#, r#"{"USER_ID":"\u00fc1"} trailing"#] {
        assert!(challenges.insert(text(&tenant.call("/login/initialize", body).await, &allowed)));
    }
    // A chunked body is read like any other: it must not become one that names nobody.
    let mut stream = TcpStream::connect(server.public).await.unwrap();
    let head = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\napiKey: {}\r\n", tenant.api_key);
    let chunks =
        "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n7\r\n{\"user_\r\n9\r\nid\":\"\u{fc}1\"\r\n1\r\n}\r\n0\r\n\r\n";
    stream.write_all(format!("{head}{chunks}").as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains(&passkey.id()), "{answer}");
}

/// What cannot be read: nothing is looked up, nothing used up, nothing written.
async fn what_is_no_assertion(server: Server) {
    let tenant = server.create_tenant(&TenantSpec::default());
    let passkey = tenant.passkey("ann", Algorithm::Es256).await;
    let honest = tenant.assertion(Kind::Login, "", &passkey).await;
    let before = server.count("audit_events").await;
    for (pointer, value, details) in [
        ("", json!([]), "Parse error for Assertion"),
        ("/response", json!(null), "Parse error for Assertion"),
        ("/response/clientDataJSON", json!("e30"), "Parse error for Assertion"),
        ("/response/signature", json!("!"), "Parse error for Assertion"),
        ("/response/userHandle", json!("A".repeat(100)), "Parse error for Assertion"),
        ("/rawId", json!("AAAA"), "Parse error for Assertion"),
        ("/id", json!(null), "Parse error for Assertion"),
        ("/id", json!(""), "CredentialAssertionResponse with ID missing"),
        ("/id", json!("a+b"), "CredentialAssertionResponse with ID not base64url encoded"),
        ("/type", json!("password"), "CredentialAssertionResponse with bad type"),
        ("/response/authenticatorData", json!("AAAA"), "Error unmarshalling auth data"),
    ] {
        let mut body = honest.body();
        *body.pointer_mut(pointer).unwrap() = value;
        let answer = tenant.post(&tenant.path("/login/finalize"), body.to_string()).await;
        assert_eq!(answer.problem(400, "unable to finish login"), details, "{pointer}");
    }
    for (body, details) in [("", "Parse error for Assertion"), ("{}", "CredentialAssertionResponse with ID missing")] {
        assert_eq!(tenant.end(Kind::Login, body).await.problem(400, "unable to finish login"), details);
    }
    let trailing = format!("{} trailing", honest.text());
    assert_eq!(tenant.end(Kind::Login, trailing).await.problem(400, "unable to finish login"), "Parse error for Assertion");
    assert_eq!((server.count("audit_events").await, server.count("used_challenges").await), (before, 0));
    // The content type does not matter.
    let request = tenant.request(Method::POST, &tenant.path("/login/finalize")).header("Content-Type", "text/plain");
    Answer::to(request.body(honest.text())).await.token();
}

type Spoil = fn(&mut AssertionDraft);

/// What is well-formed and leads to no credential: recorded, and nothing is used up.
async fn what_leads_nowhere(server: Server) {
    let tenant = server.create_tenant(&TenantSpec::default());
    let passkey = tenant.passkey("ann", Algorithm::Es256).await;
    tenant.second_factor("bob", Algorithm::Es256).await;
    let cases: [(&str, Kind, Spoil, [&str; 2]); 5] = [
        ("no handle", Kind::Login, |a| a.user_handle = None, ["failed to get user handle", "user not found"]),
        ("nobody's handle", Kind::Login, |a| a.user_handle = Some(b"eve".to_vec()), ["failed to get user handle", "user not found"]),
        (
            "another challenge",
            Kind::Login,
            |a| a.client_data["challenge"] = json!("A".repeat(43)),
            ["failed to get session data", "received challenge does not match with any stored one"],
        ),
        (
            "a challenge of another length",
            Kind::UserLogin,
            |a| a.client_data["challenge"] = json!("A".repeat(86)),
            ["failed to get session data", "received challenge does not match with any stored one"],
        ),
        (
            "no credential of ours",
            Kind::Login,
            |a| a.credential_id = vec![7; 32],
            ["failed to validate assertion", "Unable to find the credential for the returned credential ID"],
        ),
    ];
    for (name, kind, spoil, [title, details]) in cases {
        let honest = tenant.assertion(kind, "", &passkey).await;
        let mut spoilt = honest.clone();
        spoil(&mut spoilt);
        let used = server.count("used_challenges").await;
        let failed = server.count("audit_events WHERE event_type = 'webauthn_authentication_final_failed'").await;
        let answer = tenant.post(&tenant.path("/login/finalize"), spoilt.text()).await;
        assert_eq!(answer.problem(401, title), details, "{name}");
        assert_eq!(server.count("used_challenges").await, used, "{name}");
        assert_eq!(server.count("audit_events WHERE event_type = 'webauthn_authentication_final_failed'").await, failed + 1, "{name}");
        let [error, _, credential] = last_event(&tenant, "webauthn_authentication_final_failed").await;
        assert_eq!((error.as_str(), credential), (details, spoilt.id()), "{name}");
        tenant.post(&tenant.path("/login/finalize"), honest.text()).await.token();
    }
}

/// What is judged and found wanting: recorded, and its challenge is gone.
async fn what_is_judged_and_refused(server: Server) {
    let tenant = server.create_tenant(&TenantSpec { user_verification: "required", ..TenantSpec::default() });
    let passkey = tenant.passkey("ann", Algorithm::Es256).await;
    tenant.passkey("bob", Algorithm::Es256).await;
    let cases: [(&str, Spoil, &str); 11] = [
        ("signature", |a| a.signature = Some(a.key.sign(b"something else")), "Error validating the assertion signature"),
        ("no signature", |a| a.signature = Some(vec![0]), "Error validating the assertion signature"),
        ("origin", |a| a.client_data["origin"] = json!("http://localhost:8001"), "Error validating origin"),
        ("type", |a| a.client_data["type"] = json!("webauthn.create"), "Error validating ceremony type"),
        ("rp id", |a| a.rp_id_hash = vec![0; 32], "Error validating the authenticator response: the RP ID hash"),
        ("UP", |a| a.flags &= !flag::UP, "User presence flag not set by authenticator"),
        ("UV", |a| a.flags &= !flag::UV, "User verification required but flag not set by authenticator"),
        ("BE", |a| a.flags |= flag::BE, "backup eligibility has changed"),
        ("BS without BE", |a| a.flags |= flag::BS, "backup state set without backup eligibility"),
        ("another's handle", |a| a.user_handle = Some(b"bob".to_vec()), "Error validating"),
        ("another key", |a| a.key = crate::support::keys::KeyPair::generate(Algorithm::Es256), "Error validating the assertion signature"),
    ];
    for kind in [Kind::Login, Kind::UserLogin] {
        for (name, spoil, details) in cases {
            let honest = tenant.assertion(kind, "", &passkey).await;
            let mut spoilt = honest.clone();
            spoil(&mut spoilt);
            let used = server.count("used_challenges").await;
            let found = tenant.post(&tenant.path("/login/finalize"), spoilt.text()).await.problem(401, "failed to validate assertion");
            assert!(found.contains(details), "{kind:?} {name}: {found}");
            assert_eq!(server.count("used_challenges").await, used + 1, "{kind:?} {name}");
            let [error, actor, credential] = last_event(&tenant, "webauthn_authentication_final_failed").await;
            assert!(error.contains(details), "{kind:?} {name}: {error}");
            assert_eq!((actor.as_str(), credential), ("ann", passkey.id()), "{kind:?} {name}");
            let again = tenant.post(&tenant.path("/login/finalize"), honest.text()).await;
            again.problem(401, "failed to get session data");
        }
    }
    assert_eq!(server.count("audit_events WHERE event_type = 'webauthn_authentication_final_succeeded'").await, 0);
    assert_eq!(server.count("credentials WHERE last_used_at > created_at").await, 0);
}

async fn user_verification_that_was_asked_for(server: Server) {
    for (user_verification, accepted) in [("required", false), ("preferred", true), ("discouraged", true)] {
        let tenant = server.create_tenant(&TenantSpec { user_verification, ..TenantSpec::default() });
        let passkey = tenant.passkey("ann", Algorithm::Es256).await;
        let mut assertion = tenant.assertion(Kind::Login, "", &passkey).await;
        assertion.flags &= !flag::UV;
        let answer = tenant.end(Kind::Login, assertion.text()).await;
        if accepted {
            let claims = tokens::check(&tenant, Kind::Login, &answer.token(), &tenant.jwks().await.json(), "ann", &passkey.id());
            assert_eq!(claims["uv"], json!(false));
        } else {
            let details = answer.problem(401, "failed to validate assertion");
            assert!(details.ends_with("User verification required but flag not set by authenticator"), "{details}");
        }
    }
}

/// Contract 1.5, B16: a handle of 16 bytes may be a UUID's bytes, but is first of all what it says.
async fn user_handles_of_16_bytes(server: Server) {
    let tenant = server.create_tenant(&TenantSpec::default());
    let uuid = "7f3b1c9e-0a4d-4e5f-8a6b-1c2d3e4f5061";
    let bytes = u128::from_str_radix(&uuid.replace('-', ""), 16).unwrap().to_be_bytes().to_vec();
    for (user, handle) in [("0123456789abcdef", b"0123456789abcdef".to_vec()), (uuid, uuid.as_bytes().to_vec()), (uuid, bytes)] {
        let passkey = tenant.passkey(user, Algorithm::Es256).await;
        for kind in [Kind::Login, Kind::UserLogin] {
            let mut assertion = tenant.assertion(kind, "", &passkey).await;
            assertion.user_handle = Some(handle.clone());
            let token = tenant.end(kind, assertion.text()).await.token();
            tokens::check(&tenant, kind, &token, &tenant.jwks().await.json(), user, &passkey.id());
        }
    }
}

/// A copy of the private key is told by a counter that does not go on: reported, and refused where the tenant says so.
async fn counters_that_go_back(server: Server) {
    let report = server.create_tenant(&TenantSpec::default());
    let settings = json!({"cloned_credentials": "refuse"});
    let refuse = server.create_tenant(&TenantSpec { settings, ..TenantSpec::default() });
    for (tenant, refused) in [(&report, false), (&refuse, true)] {
        let passkey = tenant.passkey("ann", Algorithm::Es256).await;
        let suspected = async || server.count("audit_events WHERE event_type = 'webauthn_credential_clone_suspected'").await;
        // (sent, stored afterwards, suspected)
        for (count, stored, suspect) in
            [(0, 0, false), (5, 5, false), (6, 6, false), (6, 6, true), (2, 6, true), (0, 6, true), (7, 7, false)]
        {
            let before = suspected().await;
            let honest = tenant.assertion(Kind::Login, "", &passkey).await;
            let assertion = AssertionDraft { sign_count: count, ..honest };
            let answer = tenant.end(Kind::Login, assertion.text()).await;
            if suspect && refused {
                let details = answer.problem(401, "failed to validate assertion");
                assert!(details.contains(&format!("it went from {stored} to {count}")), "{details}");
                tenant.end(Kind::Login, assertion.text()).await.problem(401, "failed to get session data");
            } else {
                answer.token();
            }
            // Told whether it is refused or not.
            assert_eq!(suspected().await - before, i64::from(suspect), "{count}");
            if suspect {
                let [error, actor, credential] = last_event(tenant, "webauthn_credential_clone_suspected").await;
                assert!(error.contains(&format!("it was {stored}, and {count} came")), "{error}");
                assert_eq!((actor.as_str(), credential), ("ann", passkey.id()));
            }
            let listed =
                server.store().await.credential(tenant.id.parse().unwrap(), &passkey.id().parse().unwrap()).await.unwrap().unwrap();
            assert_eq!(listed.data.sign_count, stored, "{count}");
        }
    }
}

/// `login/initialize` is anybody's: what it refuses to strangers leaves no trace in the database; a backend's refusals do.
async fn strangers_write_nothing(server: Server) {
    let tenant = server.create_tenant(&TenantSpec::default());
    let other = server.create_tenant(&TenantSpec::default());
    tenant.passkey("ann", Algorithm::Es256).await;
    tenant.second_factor("bob", Algorithm::Es256).await;
    let path = tenant.path("/login/initialize");
    let (unfit, invalid, unkeyed) = ("unable to process request", "unable to validate request", "The api key is invalid");
    let before = server.count("audit_events").await;
    let cases: [(&str, Option<&str>, u16, &str, &str); 9] = [
        (r#"{"user_id":"ann"}"#, None, 401, "api key is missing", ""),
        (r#"{"user_id":"ann"}"#, Some(""), 401, "api key is missing", ""),
        (r#"{"user_id":"ann"}"#, Some("x"), 401, unkeyed, "api keys needs to be an apiKey Header and 32 byte long"),
        (r#"{"user_id":"ann"}"#, Some(&other.api_key), 401, unkeyed, "api keys needs to be an apiKey Header and 32 byte long"),
        (r#"{"user_id":"nobody"}"#, None, 401, "api key is missing", ""),
        (r#"{"user_id":""}"#, None, 400, invalid, "user_id must at least have 1 entry"),
        (r#"{"user_id":7}"#, None, 400, unfit, "Unmarshal type error: expected=string, got=number, field=user_id, offset=12"),
        (r#"{"user_id":"ann","User_ID":null}"#, None, 400, unfit, "duplicate member User_ID"),
        ("{", Some(&other.api_key), 400, unfit, ""),
    ];
    for (body, key, status, title, details) in cases {
        let mut request = tenant.request(Method::POST, &path).header("Content-Type", "application/json");
        if let Some(key) = key {
            request = request.header("apiKey", key);
        }
        let found = Answer::to(request.body(body.to_owned())).await.problem(status, title);
        assert!(found == details || details.is_empty() && title == unfit, "{body}: {found}");
    }
    assert_eq!(server.count("audit_events").await, before);

    for (body, status, title, reason, user) in [
        (r#"{"user_id":""}"#, 400, invalid, "unable to validate request: user_id must at least have 1 entry", ""),
        (r#"{"user_id":"ann","x":1,"X":1}"#, 400, unfit, "unable to process request: duplicate member X", ""),
        (r#"{"user_id":"nobody"}"#, 404, "user not found", "user not found", "nobody"),
        (
            r#"{"user_id":"bob"}"#,
            400,
            "failed to create webauthn assertion options for login: Found no credentials for user",
            "Found no credentials for user",
            "bob",
        ),
    ] {
        server.execute("DELETE FROM audit_events").await;
        tenant.call("/login/initialize", body).await.problem(status, title);
        assert_eq!(server.count("audit_events").await, 1, "{body}");
        assert_eq!(last_event(&tenant, "webauthn_authentication_init_failed").await, [reason, user, ""], "{body}");
    }
    assert_eq!(server.count("used_challenges").await + server.count("ceremonies").await, 0);
    let begun: Value = tenant.begin(Kind::UserLogin, "ann", "").await;
    assert!(begun["publicKey"]["allowCredentials"].is_array());
    assert_eq!(last_event(&tenant, "webauthn_authentication_init_succeeded").await, ["", "ann", ""]);
}
