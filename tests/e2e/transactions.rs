//! Transactions (contract 1.4 and 1.5): begun, confirmed, listed; and what becomes of those that are refused.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use openssl::sha::sha256;
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    commands::refusal,
    engines,
    support::{
        api::{Answer, Tenant},
        assertion::AssertionDraft,
        ceremonies::Kind,
        keys::Algorithm,
        server::{Server, TenantSpec, text},
    },
    tokens,
};

engines! {
    every_algorithm, data_as_go_writes_them, members_that_are_not_right, each_refusal, what_can_be_begun_again, lists, the_key_comes_first,
    evidence_is_verified_again,
}

const INVALID: &str = "unable to validate request";
const UNFIT: &str = "unable to process request";

async fn list(tenant: &Tenant, user: &str) -> Answer {
    let request = tenant.request(Method::GET, &tenant.path(&format!("/transaction/{user}")));
    Answer::to(request.header("apiKey", &tenant.api_key)).await
}

fn challenge(options: &Value) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(options["publicKey"]["challenge"].as_str().unwrap()).unwrap()
}

async fn every_algorithm(server: Server) {
    let tenant = server.create_tenant(&TenantSpec::default());
    let jwks = tenant.jwks().await.json();
    for algorithm in Algorithm::ALL {
        let (user, name) = (format!("{algorithm:?}"), format!("order {algorithm:?}"));
        let passkey = tenant.passkey(&user, algorithm).await;
        tenant.second_factor(&user, Algorithm::Es256).await;
        let options = tenant.begin(Kind::Transaction, &user, &name).await;
        let public_key = &options["publicKey"];
        assert_eq!(public_key["allowCredentials"], json!([{"type": "public-key", "id": passkey.id()}]));
        assert_eq!((&public_key["timeout"], &public_key["rpId"]), (&json!(60_000), &json!("localhost")));
        let data = r#"{"pay":"50 EUR"}"#;
        let bytes = challenge(&options);
        assert_eq!((bytes.len(), &bytes[32..]), (64, &sha256(format!("{name}{data}").as_bytes())[..]));

        let mut assertion = AssertionDraft::new(&options, &passkey);
        if algorithm == Algorithm::EdDsa {
            // Not every authenticator names the user (contract 1.12, B20).
            assertion.user_handle = None;
        }
        let token = tenant.end(Kind::Transaction, assertion.text()).await.token();
        let claims = tokens::check(&tenant, Kind::Transaction, &token, &jwks, &user, &passkey.id());
        assert_eq!(claims["trans"], json!(name));
        assert_eq!(claims["trans_hash"], json!(URL_SAFE_NO_PAD.encode(sha256(data.as_bytes()))));

        let listed = list(&tenant, &user).await.json();
        let [one] = listed.as_array().unwrap().as_slice() else { panic!("{listed}") };
        assert_eq!([&one["identifier"], &one["data"], &one["state"]], [&json!(name), &json!(data), &json!("confirmed")]);
        assert_eq!(one["credential_id"], json!(passkey.id()));
        assert_eq!(one["confirmed_at"], one["updated_at"]);
    }
    assert_eq!((server.count("transactions").await, server.count("transaction_evidence").await), (10, 10));
    for event in ["init_succeeded", "final_succeeded"] {
        let named = format!("audit_events WHERE event_type = 'webauthn_transaction_{event}' AND transaction_id LIKE 'order %'");
        assert_eq!(server.count(&named).await, 10, "{event}");
    }
    assert_eq!(server.count("credentials WHERE is_mfa = false AND last_used_at > created_at").await, 10);
}

async fn data_as_go_writes_them(server: Server) {
    let tenant = server.create_tenant(&TenantSpec::default());
    tenant.passkey("ann", Algorithm::Es256).await;
    let cases: [(&[u8], &str); 11] = [
        (b"0", "0"),
        (b"false", "false"),
        (b"\"\"", "\"\""),
        (b"[]", "[]"),
        (b"{ }", "{}"),
        (b"{\"b\":1.0, \"a\":[null, \"<&>\"]}", r#"{"a":[null,"\u003c\u0026\u003e"],"b":1}"#),
        (b"{\"a\":1,\"a\":{\"x\":2}}", r#"{"a":{"x":2}}"#),
        (b"12345678901234567890", "12345678901234567000"),
        (b"[1e21, 0.0000001]", "[1e+21,1e-7]"),
        (b"\"\\ud800\"", "\"\u{fffd}\""),
        (b"\"\xff\"", "\"\u{fffd}\""),
    ];
    for (n, (data, stored)) in cases.into_iter().enumerate() {
        let name = format!("order {n}");
        let head = format!(r#"{{"USER_ID":"ann","Transaction_Id":"{name}","TRANSACTION_DATA":"#);
        let answer = tenant.call("/transaction/initialize", [head.as_bytes(), data, b"} trailing"].concat()).await;
        assert_eq!(answer.status, 200, "{stored}: {}", answer.body);
        assert_eq!(challenge(&answer.json())[32..], sha256(format!("{name}{stored}").as_bytes()), "{stored}");
        let listed = list(&tenant, "ann").await.json();
        let found = listed.as_array().unwrap().iter().find(|t| t["identifier"] == json!(name)).unwrap();
        assert_eq!((&found["data"], &found["state"]), (&json!(stored), &json!("pending")));
    }
}

async fn members_that_are_not_right(server: Server) {
    let tenant = server.create_tenant(&TenantSpec::default());
    tenant.passkey("ann", Algorithm::Es256).await;
    let long = json!({"user_id": "ann", "transaction_id": "ü".repeat(129), "transaction_data": 1}).to_string();
    let deep = format!(r#"{{"user_id":"ann","transaction_id":"t","transaction_data":{}{}}}"#, "[".repeat(101), "]".repeat(101));
    let all = "user_id is a required field and transaction_id is a required field and transaction_data is a required field";
    for (body, title, details) in [
        ("", INVALID, all),
        ("null", INVALID, all),
        (r#"{"user_id":"","transaction_id":"","transaction_data":null}"#, INVALID, all),
        (r#"{"user_id":"ann","transaction_id":"t"}"#, INVALID, "transaction_data is a required field"),
        (r#"{"user_id":"ann","transaction_data":1}"#, INVALID, "transaction_id is a required field"),
        (&long, INVALID, "transaction_id cannot have more than 128 entries"),
        (
            r#"{"user_id":"ann","transaction_id":"a\u0000","transaction_data":1}"#,
            INVALID,
            "transaction_id: a transaction id must not contain U+0000",
        ),
        (&deep, INVALID, "transaction_data: the JSON has more than 100 levels of arrays and objects"),
        (
            r#"{"user_id":"ann","transaction_id":"t","transaction_data":1e400}"#,
            INVALID,
            "transaction_data: the number at character 1 is beyond the range of a double",
        ),
        (r#"{"user_id":7}"#, UNFIT, "Unmarshal type error: expected=string, got=number, field=user_id, offset=12"),
        (r#"{"transaction_data":1,"Transaction_data":2}"#, UNFIT, "duplicate member Transaction_data"),
    ] {
        server.execute("DELETE FROM audit_events").await;
        assert_eq!(tenant.call("/transaction/initialize", body).await.problem(400, title), details, "{body}");
        assert_eq!(server.count("audit_events WHERE event_type = 'webauthn_transaction_init_failed'").await, 1, "{body}");
    }
    assert_eq!(server.count("transactions").await, 0);
}

async fn each_refusal(server: Server) {
    let tenant = server.create_tenant(&TenantSpec::default());
    let passkey = tenant.passkey("ann", Algorithm::Es256).await;
    tenant.second_factor("bob", Algorithm::Es256).await;
    for (user, status, title) in
        [("nobody", 404, "unable to find user"), ("bob", 400, "user has no suitable credentials for this operation")]
    {
        server.execute("DELETE FROM audit_events").await;
        let answer = tenant.call("/transaction/initialize", Kind::Transaction.request(user, "t1").to_string()).await;
        assert_eq!(answer.problem(status, title), "");
        let recorded = format!(
            "audit_events WHERE event_type = 'webauthn_transaction_init_failed' AND actor_user_id = '{user}' AND transaction_id = 't1'"
        );
        assert_eq!(server.count(&recorded).await, 1, "{user}");
    }
    let honest = tenant.assertion(Kind::Transaction, "t1", &passkey).await;
    // Nothing of these uses it up.
    for (body, details) in [
        ("", "Parse error for Assertion"),
        ("{}", "CredentialAssertionResponse with ID missing"),
        (&format!("{} trailing", honest.text()), "Parse error for Assertion"),
    ] {
        assert_eq!(tenant.end(Kind::Transaction, body).await.problem(400, "unable to finish transaction"), details, "{body}");
    }
    let mut other = honest.clone();
    other.client_data["challenge"] = json!("A".repeat(86));
    let details = tenant.end(Kind::Transaction, other.text()).await.problem(401, "failed to get session data");
    assert_eq!(details, "no transaction found for this challenge");
    let unknown = AssertionDraft { credential_id: vec![7; 32], ..honest.clone() };
    let details = tenant.end(Kind::Transaction, unknown.text()).await.problem(401, "failed to validate assertion");
    assert_eq!(details, "Unable to find the credential for the returned credential ID");
    assert_eq!(server.count("transactions WHERE state = 'pending'").await, 1);
    // This does.
    let mut elsewhere = honest.clone();
    elsewhere.client_data["origin"] = json!("https://evil.example");
    let details = tenant.end(Kind::Transaction, elsewhere.text()).await.problem(401, "failed to validate assertion");
    assert_eq!(details, "Error validating origin");
    assert_eq!(server.count("transactions WHERE state = 'refused'").await, 1);
    let recorded =
        "audit_events WHERE event_type = 'webauthn_transaction_final_failed' AND actor_user_id = 'ann' AND transaction_id = 't1'";
    assert!(server.count(recorded).await >= 1);
    tenant.end(Kind::Transaction, honest.text()).await.problem(401, "failed to get session data");
    assert_eq!(server.count("transaction_evidence").await, 0);
}

async fn what_can_be_begun_again(server: Server) {
    let tenant = server.create_tenant(&TenantSpec::default());
    let passkey = tenant.passkey("ann", Algorithm::Es256).await;
    tenant.passkey("bob", Algorithm::Es256).await;
    let again = async |user: &str| tenant.call("/transaction/initialize", Kind::Transaction.request(user, "t1").to_string()).await;
    let first = tenant.assertion(Kind::Transaction, "t1", &passkey).await;
    // Under way, whoever asks.
    for user in ["ann", "bob"] {
        assert_eq!(again(user).await.problem(409, "transaction already exists"), "");
    }
    // Refused: it may be tried again, by a challenge of its own.
    let forged = AssertionDraft { signature: Some(vec![1]), ..first.clone() };
    tenant.end(Kind::Transaction, forged.text()).await.problem(401, "failed to validate assertion");
    let second = AssertionDraft::new(&again("ann").await.json(), &passkey);
    tenant.end(Kind::Transaction, first.text()).await.problem(401, "failed to get session data");
    // Out of its time: told so, and begun again.
    server.execute("UPDATE transactions SET expires_at = expires_at - 100000").await;
    let details = tenant.end(Kind::Transaction, second.text()).await.problem(401, "failed to validate assertion");
    assert_eq!(details, "Session has Expired");
    let third = AssertionDraft::new(&again("ann").await.json(), &passkey);
    tenant.end(Kind::Transaction, second.text()).await.problem(401, "failed to get session data");
    tenant.end(Kind::Transaction, third.text()).await.token();
    // Confirmed is confirmed.
    assert_eq!(again("ann").await.problem(409, "transaction already exists"), "");
    let details = tenant.end(Kind::Transaction, third.text()).await.problem(401, "failed to get session data");
    assert_eq!(details, "no transaction found for this challenge");
    assert_eq!((server.count("transactions").await, server.count("transaction_evidence").await), (1, 1));
    // Another tenant's names are its own.
    let other = server.create_tenant(&TenantSpec::default());
    other.passkey("ann", Algorithm::Es256).await;
    other.begin(Kind::Transaction, "ann", "t1").await;
}

async fn lists(server: Server) {
    let tenant = server.create_tenant(&TenantSpec::default());
    assert_eq!(list(&tenant, "nobody").await.body, "[]\n");
    // Whatever a user may be called, and however the paths are.
    for (user, path) in [
        ("initialize", "initialize"),
        ("finalize", "finalize"),
        ("a/b", "a%2Fb"),
        ("ü <1>", "%C3%BC%20%3C1%3E"),
        ("100%", "100%25"),
        ("7f3b1c9e-0a4d-4e5f-8a6b-1c2d3e4f5061", "7f3b1c9e-0a4d-4e5f-8a6b-1c2d3e4f5061"),
    ] {
        tenant.passkey(user, Algorithm::Es256).await;
        tenant.begin(Kind::Transaction, user, &format!("of <{user}>")).await;
        let answer = list(&tenant, path).await;
        assert_eq!((answer.status, answer.header("Content-Type")), (200, "application/json; charset=UTF-8"), "{user}");
        let listed = answer.json();
        let [one] = listed.as_array().unwrap().as_slice() else { panic!("{user}: {listed}") };
        let text = |name: &str| serde_json::to_string(&one[name]).unwrap().replace('<', "\\u003c").replace('>', "\\u003e");
        assert_eq!(one["id"].as_str().unwrap().len(), 36);
        assert_eq!(one["identifier"], json!(format!("of <{user}>")));
        // The text, so that the order of the members counts too.
        let expected = format!(
            r#"[{{"id":{},"identifier":{},"data":"{{\"pay\":\"50 EUR\"}}","created_at":{},"updated_at":{},"state":"pending"}}]"#,
            text("id"),
            text("identifier"),
            text("created_at"),
            text("updated_at"),
        );
        assert_eq!(answer.body, format!("{expected}\n"));
    }
    for path in ["%00", "%FF", &"a".repeat(65), "%ED%A0%80"] {
        assert_eq!(list(&tenant, path).await.problem(400, "invalid user id"), "", "{path}");
    }
    // The newest first.
    for name in ["t1", "t2", "t3"] {
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        tenant.begin(Kind::Transaction, "100%", name).await;
    }
    let names: Vec<_> = list(&tenant, "100%25").await.json().as_array().unwrap().iter().map(|t| t["identifier"].clone()).collect();
    assert_eq!(names, ["t3", "t2", "t1", "of <100%>"].map(|n| json!(n)));
}

async fn the_key_comes_first(server: Server) {
    let (tenant, other) = (server.create_tenant(&TenantSpec::default()), server.create_tenant(&TenantSpec::default()));
    let passkey = tenant.passkey("ann", Algorithm::Es256).await;
    let honest = tenant.assertion(Kind::Transaction, "t1", &passkey).await;
    for (method, rest, body) in [
        (Method::POST, "/initialize", "{".to_owned()),
        (Method::POST, "/finalize", honest.text()),
        (Method::GET, "/ann", String::new()),
        (Method::GET, "/initialize", String::new()),
        (Method::GET, "/%00", String::new()),
        (Method::PUT, "/initialize", String::new()),
        (Method::GET, "", String::new()),
        (Method::GET, "/ann/more", String::new()),
    ] {
        for key in [None, Some(&other.api_key)] {
            let mut request = tenant.request(method.clone(), &tenant.path(&format!("/transaction{rest}"))).body(body.clone());
            if let Some(key) = key {
                request = request.header("apiKey", key);
            }
            Answer::to(request).await.problem(401, "The api key is invalid");
        }
    }
    tenant.end(Kind::Transaction, honest.text()).await.token();
}

/// The lines of `transaction evidence`.
fn evidence(server: &Server, tenant: &Tenant) -> Vec<Value> {
    let output = server.cli(&["transaction", "evidence", &tenant.id]);
    assert!(output.status.success() && output.stderr.is_empty(), "{}", text(&output));
    output.stdout.split(|b| *b == b'\n').filter(|line| !line.is_empty()).map(|line| serde_json::from_slice(line).unwrap()).collect()
}

/// What `inspect` finds of each line.
fn inspected(server: &Server, lines: &[Value]) -> Vec<Value> {
    let input: Vec<_> = lines.iter().map(Value::to_string).collect();
    let output = server.cli_fed(input.join("\n").as_bytes(), &[], &["inspect", "-"]);
    assert!(output.status.success() && output.stderr.is_empty(), "{}", text(&output));
    let findings = output.stdout.split(|b| *b == b'\n').filter(|line| !line.is_empty());
    let findings: Vec<Value> = findings.map(|finding| serde_json::from_slice(finding).unwrap()).collect();
    assert_eq!(findings.len(), lines.len());
    findings
}

/// One line for each byte of what is at `pointer`, with that byte changed.
fn spoilt(genuine: &Value, pointer: &str, is_base64url: bool) -> Vec<Value> {
    let member = genuine.pointer(pointer).unwrap().as_str().unwrap();
    let bytes = if is_base64url { URL_SAFE_NO_PAD.decode(member).unwrap() } else { member.as_bytes().to_vec() };
    assert!(bytes.len() > 5, "{pointer}");
    let changed = |n: usize| {
        let mut bytes = bytes.clone();
        bytes[n] ^= 1;
        let mut line = genuine.clone();
        let text = if is_base64url { URL_SAFE_NO_PAD.encode(bytes) } else { String::from_utf8(bytes).unwrap() };
        *line.pointer_mut(pointer).unwrap() = json!(text);
        line
    };
    (0..bytes.len()).map(changed).collect()
}

async fn evidence_is_verified_again(server: Server) {
    let (tenant, other) = (server.create_tenant(&TenantSpec::default()), server.create_tenant(&TenantSpec::default()));
    let passkey = tenant.passkey("ann", Algorithm::Es256).await;
    let begun = json!({"user_id": "ann", "transaction_id": "order 1", "transaction_data": {"to": "<A & B>", "pay": 50.0}});
    let options = tenant.call("/transaction/initialize", begun.to_string()).await.json();
    let confirming = AssertionDraft { sign_count: 7, ..AssertionDraft::new(&options, &passkey) };
    let token = tenant.end(Kind::Transaction, confirming.text()).await.token();
    // Neither under way nor refused.
    tenant.begin(Kind::Transaction, "ann", "order 2").await;
    let forged = AssertionDraft { signature: Some(vec![1]), ..tenant.assertion(Kind::Transaction, "order 3", &passkey).await };
    tenant.end(Kind::Transaction, forged.text()).await.problem(401, "failed to validate assertion");

    let lines = evidence(&server, &tenant);
    let [line] = lines.as_slice() else { panic!("{lines:?}") };
    let listed = list(&tenant, "ann").await.json();
    let listed = listed.as_array().unwrap().iter().find(|t| t["identifier"] == "order 1").unwrap();
    assert_eq!(line["data"], json!(r#"{"pay":50,"to":"\u003cA \u0026 B\u003e"}"#));
    assert_eq!((&line["data"], &line["confirmed_at"]), (&listed["data"], &listed["confirmed_at"]));
    let claims = crate::decoded(token.split('.').nth(1).unwrap());
    assert_eq!([&line["transaction_id"], &line["user_id"], &line["token_id"]], [&claims["trans"], &claims["sub"], &claims["jti"]]);
    assert_eq!(URL_SAFE_NO_PAD.decode(line["challenge_b64url"].as_str().unwrap()).unwrap(), challenge(&options));
    let finding = &inspected(&server, &lines)[0];
    assert_eq!((&finding["verdict"], &finding["clone_suspected"]), (&json!("accept"), &json!(false)), "{finding}");
    assert_eq!([&finding["name"], &finding["transaction_id"], &finding["kind"]], ["order 1", "order 1", "authentication"]);

    // Each byte of it counts.
    for (pointer, is_base64url, step) in [
        ("/data", false, Some(11)),
        ("/transaction_id", false, Some(11)),
        ("/challenge_b64url", true, Some(11)),
        ("/credential/response/clientDataJSON", true, None),
        ("/credential/response/authenticatorData", true, None),
        ("/credential/response/signature", true, Some(21)),
    ] {
        for finding in inspected(&server, &spoilt(line, pointer, is_base64url)) {
            assert_eq!((&finding["verdict"], finding.get("transaction_id")), (&json!("reject"), None), "{pointer}: {finding}");
            assert!(step.is_none_or(|step| finding["step"] == step), "{pointer}: {finding}");
            assert!(!finding["reason"].as_str().unwrap().is_empty(), "{pointer}: {finding}");
        }
    }
    let mut dearer = line.clone();
    dearer["data"] = json!(r#"{"pay":51,"to":"\u003cA \u0026 B\u003e"}"#);
    let expected = "another transaction was confirmed: the second half of the challenge is not SHA-256(transaction_id || data)";
    assert_eq!(inspected(&server, &[dearer])[0]["reason"], expected);

    // A counter that stands still is let pass here, and told: what is exported was confirmed.
    let options = tenant.call("/transaction/initialize", Kind::Transaction.request("ann", "order 4").to_string()).await.json();
    tenant.end(Kind::Transaction, AssertionDraft { sign_count: 7, ..AssertionDraft::new(&options, &passkey) }.text()).await.token();
    // After the credential's end.
    let delete = tenant.request(Method::DELETE, &tenant.path(&format!("/credentials/{}", passkey.id())));
    assert_eq!(Answer::to(delete.header("apiKey", &tenant.api_key)).await.status, 204);
    assert_eq!(server.count("credentials").await, 0);
    let lines = evidence(&server, &tenant);
    assert!(lines.contains(line), "{lines:?}");
    let mut found: Vec<_> = inspected(&server, &lines)
        .into_iter()
        .map(|finding| (finding["transaction_id"].to_string(), finding["verdict"].to_string(), finding["clone_suspected"].to_string()))
        .collect();
    found.sort();
    let told = |name: &str, is_clone: &str| (format!("\"{name}\""), "\"accept\"".to_owned(), is_clone.to_owned());
    assert_eq!(found, [told("order 1", "false"), told("order 4", "true")]);

    assert_eq!(evidence(&server, &other), Vec::<Value>::new());
    let nobody = "00000000-0000-4000-8000-000000000000";
    assert_eq!(refusal(&server, 1, &["transaction", "evidence", nobody]), format!("there is no tenant {nobody}"));
}
