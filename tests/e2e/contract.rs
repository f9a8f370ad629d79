//! The contract's table (1.3 and 1.4), row by row: what is asked, and status, title and details of the answer. Where README's table of
//! differences says something else than the contract, the row does too.

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    engines,
    support::{
        api::{Answer, Tenant},
        assertion::AssertionDraft,
        authenticator::{Draft, Format, flag},
        ceremonies::{Kind, answer},
        keys::Algorithm,
        server::{Server, TenantSpec},
    },
};

engines! { rows_for_everybody, rows_of_credentials, rows_of_registrations, rows_of_logins, rows_of_transactions, rows_of_our_faults }

/// What a row promises.
enum Expected {
    /// 200 with exactly these members; of the first item if it is a list.
    Members(&'static [&'static str]),
    /// 204, without a body.
    NoContent,
    /// A refusal: status, title, details.
    Problem(u16, &'static str, &'static str),
    /// One whose details have more to say.
    Begins(u16, &'static str, &'static str),
}

use Expected::{Begins, Members, NoContent, Problem};

/// Whether a row is asked with the API key.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Key {
    Right,
    Wrong,
    None,
}

use Key::{None as Keyless, Right, Wrong};

type Row = (&'static str, String, Key, String, Expected);

/// Asks each row in turn.
async fn hold(tenant: &Tenant, rows: Vec<Row>) {
    for (method, path, key, body, expected) in rows {
        let method: Method = method.parse().unwrap();
        let row = format!("{method} {path} {key:?} {body}");
        let mut request = tenant.request(method, &tenant.path(&path)).header("Content-Type", "application/json");
        match key {
            Right => request = request.header("apiKey", &tenant.api_key),
            Wrong => request = request.header("apiKey", format!("{}==", "A".repeat(86))),
            Keyless => {}
        }
        let answer = Answer::to(request.body(body)).await;
        match expected {
            Members(names) => {
                assert_eq!(answer.status, 200, "{row}: {}", answer.body);
                let mut value = answer.json();
                if let Value::Array(items) = &mut value {
                    value = items.first().cloned().unwrap_or_else(|| json!({}));
                }
                let mut found: Vec<_> = value.as_object().unwrap().keys().map(String::as_str).collect();
                let mut names = names.to_vec();
                names.sort_unstable();
                found.sort_unstable();
                assert_eq!(found, names, "{row}");
            }
            NoContent => assert_eq!((answer.status, answer.body.as_str()), (204, ""), "{row}"),
            Problem(status, title, details) => {
                assert_eq!(answer.status, status, "{row}: {}", answer.body);
                assert_eq!(answer.problem(status, title), details, "{row}");
            }
            Begins(status, title, details) => {
                assert_eq!(answer.status, status, "{row}: {}", answer.body);
                let found = answer.problem(status, title);
                assert!(found.starts_with(details), "{row}: {found}");
            }
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "rows are written with texts and JSON alike")]
fn row(method: &'static str, path: &str, key: Key, body: impl ToString, expected: Expected) -> Row {
    (method, path.to_owned(), key, body.to_string(), expected)
}

const UNKEYED: Expected = Problem(401, "The api key is invalid", "api keys needs to be an apiKey Header and 32 byte long");
const NOT_FOUND: Expected = Problem(404, "Not Found", "");
const INVALID: &str = "unable to validate request";
const UNFIT: &str = "unable to process request";
const PUBLIC_KEY: Expected = Members(&["publicKey"]);
const TOKEN: Expected = Members(&["token"]);

async fn rows_for_everybody(server: Server) {
    let tenant = server.create_tenant(&TenantSpec::default());
    hold(
        &tenant,
        vec![
            row("GET", "/.well-known/jwks.json", Keyless, "", Members(&["keys"])),
            row("POST", "/.well-known/jwks.json", Keyless, "", NOT_FOUND),
            row("GET", "/audit_logs", Keyless, "", UNKEYED),
            row("GET", "/audit_logs", Wrong, "", UNKEYED),
            row("GET", "/audit_logs?type=none", Right, "", Members(&[])),
            row(
                "GET",
                "/audit_logs?type=tenant_created",
                Right,
                "",
                Members(&[
                    "id",
                    "type",
                    "meta_http_request_id",
                    "meta_source_ip",
                    "meta_user_agent",
                    "created_at",
                    "updated_at",
                    "tenant_id",
                    "transaction_id",
                ]),
            ),
            row(
                "GET",
                "/audit_logs?page=abc",
                Right,
                "",
                Problem(400, "unable to list audit logs", "strconv.ParseInt: parsing \"abc\": invalid syntax"),
            ),
            row("GET", "/nothing", Keyless, "", NOT_FOUND),
            row("GET", "", Keyless, "", NOT_FOUND),
            row("GET", "/login/initialize", Keyless, "", NOT_FOUND),
            row("PUT", "/login/finalize", Keyless, "", NOT_FOUND),
            row("DELETE", "/registration/initialize", Keyless, "", NOT_FOUND),
            // Groups behind the key do not say what there is.
            row("DELETE", "/transaction/initialize", Keyless, "", UNKEYED),
            row("DELETE", "/transaction/initialize", Right, "", NOT_FOUND),
            row("GET", "/mfa/login/initialize", Wrong, "", UNKEYED),
            row("GET", "/mfa/login/initialize", Right, "", NOT_FOUND),
        ],
    )
    .await;
    for (path, status, title) in [
        ("/nobody/login/initialize", 400, "tenant_id must be a valid uuid4"),
        ("/health/alive", 400, "tenant_id must be a valid uuid4"),
        ("/00000000-0000-4000-8000-000000000000/login/initialize", 404, "tenant not found"),
        ("/00000000-0000-4000-8000-000000000000/transaction/finalize", 404, "tenant not found"),
        ("/", 405, "Method Not Allowed"),
    ] {
        assert_eq!(tenant.post(path, "{}").await.problem(status, title), "", "{path}");
    }
    assert_eq!(tenant.get("/").await.status, 200);
}

async fn rows_of_credentials(server: Server) {
    let tenant = server.create_tenant(&TenantSpec::default());
    let id = tenant.passkey("ann", Algorithm::Es256).await.id();
    let one = format!("/credentials/{id}");
    let shown = Members(&[
        "id",
        "name",
        "public_key",
        "attestation_type",
        "aaguid",
        "last_used_at",
        "created_at",
        "transports",
        "backup_eligible",
        "backup_state",
        "is_mfa",
        "user_id",
    ]);
    let Members(members) = shown else { unreachable!() };
    let unknown = || Problem(404, "credential with id 'AAAA' not found", "");
    hold(
        &tenant,
        vec![
            row("GET", "/credentials", Keyless, "", UNKEYED),
            row("GET", "/credentials", Right, "", Members(members)),
            row("GET", "/credentials?user_id=ann&page=1&per_page=1&order=asc", Right, "", Members(members)),
            row("GET", "/credentials?user_id=nobody", Right, "", Members(&[])),
            row("GET", "/credentials?user_id=", Right, "", Problem(400, INVALID, "user_id must at least have 1 entry")),
            row("GET", "/credentials?order=up", Right, "", Problem(400, INVALID, "Order must be one of 'desc asc'")),
            row("GET", "/credentials?page=abc", Right, "", Problem(400, UNFIT, "strconv.ParseInt: parsing \"abc\": invalid syntax")),
            row("GET", &one, Keyless, "", UNKEYED),
            row("GET", &one, Wrong, "", UNKEYED),
            row("GET", &one, Right, "", Members(members)),
            row("GET", "/credentials/AAAA", Right, "", unknown()),
            row("PATCH", &one, Keyless, r#"{"name":"x"}"#, UNKEYED),
            row("PATCH", &one, Right, "{}", Problem(400, INVALID, "name is a required field")),
            row("PATCH", &one, Right, "{", Begins(400, UNFIT, "Syntax error: offset=")),
            row("PATCH", "/credentials/AAAA", Right, r#"{"name":"x"}"#, unknown()),
            row("PATCH", &one, Right, r#"{"name":"x"}"#, NoContent),
            row("DELETE", &one, Keyless, "", UNKEYED),
            row("DELETE", "/credentials/AAAA", Right, "", unknown()),
            row("DELETE", &one, Right, "", NoContent),
        ],
    )
    .await;
}

async fn rows_of_registrations(server: Server) {
    let tenant = server.create_tenant(&TenantSpec::default());
    let strict = server.create_tenant(&TenantSpec { user_verification: "required", ..TenantSpec::default() });
    let passkey = tenant.passkey("ann", Algorithm::Es256).await;
    let name = "n".repeat(129);
    for kind in [Kind::Registration, Kind::MfaRegistration] {
        let (begin, end) = (format!("{}/initialize", kind.path()), format!("{}/finalize", kind.path()));
        let good = json!({"user_id": "ann", "username": "ann", "display_name": "Ann", "icon": "https://example.org/a.png"});
        let draft = async || Draft::new(&tenant.begin(kind, "ann", "").await, &tenant.origin, Format::None, Algorithm::Es256);
        let (mut elsewhere, mut copy, mut spoilt) = (draft().await, draft().await, draft().await.body());
        elsewhere.client_data["origin"] = json!("https://evil.example");
        copy.credential_id.clone_from(&passkey.credential_id);
        spoilt["response"]["attestationObject"] = json!("AA");
        let (unreadable, refused) = ("unable to parse credential creation response", "failed to validate attestation");
        let mut rows = vec![
            row("POST", &begin, Keyless, &good, UNKEYED),
            row("POST", &begin, Wrong, &good, UNKEYED),
            row("POST", &begin, Right, &good, PUBLIC_KEY),
            row("POST", &begin, Right, "{}", Problem(400, INVALID, "user_id is a required field and username is a required field")),
            row("POST", &begin, Right, "", Problem(400, INVALID, "user_id is a required field and username is a required field")),
            row(
                "POST",
                &begin,
                Right,
                json!({"user_id": "ann", "username": name, "display_name": name, "icon": "no url"}),
                Problem(
                    400,
                    INVALID,
                    "username cannot have more than 128 entries and display_name cannot have more than 128 entries and icon must be a valid URL",
                ),
            ),
            row(
                "POST",
                &begin,
                Right,
                r#"{"user_id":1234}"#,
                Problem(400, UNFIT, "Unmarshal type error: expected=string, got=number, field=user_id, offset=15"),
            ),
            row("POST", &begin, Right, "{", Begins(400, UNFIT, "Syntax error: offset=1, error=")),
            row("POST", &end, Right, "{}", Problem(400, unreadable, "Parse error for Registration")),
            row("POST", &end, Right, &spoilt, Problem(400, unreadable, "Error parsing attestation response")),
            row("POST", &end, Right, passkey.body(), Problem(400, "received challenge does not match with any stored one", "")),
            row("POST", &end, Right, elsewhere.body(), Problem(400, refused, "Error validating origin")),
            row("POST", &end, Right, copy.body(), Problem(400, refused, "the credential is already registered")),
        ];
        if kind == Kind::MfaRegistration {
            rows.push(row("POST", &end, Keyless, draft().await.body(), UNKEYED));
            rows.push(row("POST", &end, Right, draft().await.body(), TOKEN));
        } else {
            rows.push(row("POST", &end, Keyless, draft().await.body(), TOKEN));
        }
        hold(&tenant, rows).await;

        let late = draft().await.body().to_string();
        assert!(server.execute("UPDATE ceremonies SET expires_at = expires_at - 100000").await > 0);
        hold(&tenant, vec![row("POST", &end, Right, late, Problem(400, refused, "Session has Expired"))]).await;
    }
    let mut unverified = strict.draft("ann", Format::None, Algorithm::Es256).await;
    unverified.flags &= !flag::UV;
    let title = "failed to validate attestation: Error validating the authenticator response: User verification required but flag not set by authenticator\n";
    hold(&strict, vec![row("POST", "/registration/finalize", Keyless, unverified.body(), Begins(422, title, ""))]).await;
}

async fn rows_of_logins(server: Server) {
    let tenant = server.create_tenant(&TenantSpec { user_verification: "required", ..TenantSpec::default() });
    let passkey = tenant.passkey("ann", Algorithm::Es256).await;
    let factor = tenant.second_factor("ann", Algorithm::Es256).await;
    tenant.options("bob").await;
    let nothing_there = Problem(400, "failed to create webauthn assertion options for login: Found no credentials for user", "");
    hold(
        &tenant,
        vec![
            row("POST", "/login/initialize", Keyless, "", PUBLIC_KEY),
            row("POST", "/login/initialize", Keyless, "{}", PUBLIC_KEY),
            row("POST", "/login/initialize", Wrong, "", PUBLIC_KEY),
            row("POST", "/login/initialize", Keyless, r#"{"user_id":"ann"}"#, Problem(401, "api key is missing", "")),
            row("POST", "/login/initialize", Wrong, r#"{"user_id":"ann"}"#, UNKEYED),
            row("POST", "/login/initialize", Right, r#"{"user_id":"ann"}"#, PUBLIC_KEY),
            row("POST", "/login/initialize", Right, r#"{"user_id":""}"#, Problem(400, INVALID, "user_id must at least have 1 entry")),
            row("POST", "/login/initialize", Right, r#"{"user_id":"nobody"}"#, Problem(404, "user not found", "")),
            row("POST", "/login/initialize", Right, r#"{"user_id":"bob"}"#, nothing_there),
            row("POST", "/mfa/login/initialize", Keyless, r#"{"user_id":"ann"}"#, UNKEYED),
            row("POST", "/mfa/login/initialize", Wrong, r#"{"user_id":"ann"}"#, UNKEYED),
            row("POST", "/mfa/login/initialize", Right, r#"{"user_id":"ann"}"#, PUBLIC_KEY),
            row("POST", "/mfa/login/initialize", Right, "", Problem(400, INVALID, "user_id is a required field")),
            row("POST", "/mfa/login/initialize", Right, r#"{"user_id":"nobody"}"#, Problem(404, "user not found", "")),
        ],
    )
    .await;
    for (kind, credential) in [(Kind::Login, &passkey), (Kind::UserLogin, &passkey), (Kind::MfaLogin, &factor)] {
        let end = format!("{}/finalize", kind.path());
        let title = "unable to finish login";
        let fresh = async || tenant.assertion(kind, "", credential).await;
        let changed = async |pointer: &str, value: Value| {
            let mut body = fresh().await.body();
            *body.pointer_mut(pointer).unwrap() = value;
            body
        };
        let (mut elsewhere, mut forged, mut unverified) = (fresh().await, fresh().await, fresh().await);
        elsewhere.client_data["origin"] = json!("https://evil.example");
        forged.client_data["challenge"] = json!("A".repeat(43));
        unverified.flags &= !flag::UV;
        let mut rows = vec![
            row("POST", &end, Right, "[]", Problem(400, title, "Parse error for Assertion")),
            row("POST", &end, Right, "{}", Problem(400, title, "CredentialAssertionResponse with ID missing")),
            row(
                "POST",
                &end,
                Right,
                changed("/id", json!("+")).await,
                Problem(400, title, "CredentialAssertionResponse with ID not base64url encoded"),
            ),
            row("POST", &end, Right, changed("/type", json!("x")).await, Problem(400, title, "CredentialAssertionResponse with bad type")),
            row(
                "POST",
                &end,
                Right,
                changed("/response/authenticatorData", json!("AA")).await,
                Problem(400, title, "Error unmarshalling auth data"),
            ),
            row(
                "POST",
                &end,
                Right,
                forged.body(),
                Problem(401, "failed to get session data", "received challenge does not match with any stored one"),
            ),
            row("POST", &end, Right, elsewhere.body(), Problem(401, "failed to validate assertion", "Error validating origin")),
        ];
        // Second factors are asked to verify their user where they can.
        let unverified_answer = if kind == Kind::MfaLogin { TOKEN } else { Begins(401, "failed to validate assertion", "step 17: ") };
        rows.push(row("POST", &end, Right, unverified.body(), unverified_answer));
        if kind == Kind::Login {
            let nobody = AssertionDraft { user_handle: None, ..fresh().await };
            rows.push(row("POST", &end, Keyless, nobody.body(), Problem(401, "failed to get user handle", "user not found")));
        }
        if kind == Kind::MfaLogin {
            rows.push(row("POST", &end, Keyless, fresh().await.body(), UNKEYED));
            rows.push(row("POST", &end, Right, fresh().await.body(), TOKEN));
        } else {
            rows.push(row("POST", &end, Keyless, fresh().await.body(), TOKEN));
        }
        hold(&tenant, rows).await;
    }
}

async fn rows_of_transactions(server: Server) {
    let tenant = server.create_tenant(&TenantSpec::default());
    let passkey = tenant.passkey("ann", Algorithm::Es256).await;
    tenant.second_factor("bob", Algorithm::Es256).await;
    let begin = "/transaction/initialize";
    let ask = |user: &str, id: &str| Kind::Transaction.request(user, id);
    let required = "user_id is a required field and transaction_id is a required field and transaction_data is a required field";
    hold(
        &tenant,
        vec![
            row("POST", begin, Keyless, ask("ann", "t0"), UNKEYED),
            row("POST", begin, Wrong, ask("ann", "t0"), UNKEYED),
            row("POST", begin, Right, ask("ann", "t0"), PUBLIC_KEY),
            row("POST", begin, Right, ask("ann", "t0"), Problem(409, "transaction already exists", "")),
            row("POST", begin, Right, "{}", Problem(400, INVALID, required)),
            row(
                "POST",
                begin,
                Right,
                ask("ann", &"t".repeat(129)),
                Problem(400, INVALID, "transaction_id cannot have more than 128 entries"),
            ),
            row("POST", begin, Right, "{", Begins(400, UNFIT, "Syntax error: offset=1, error=")),
            row("POST", begin, Right, ask("nobody", "t9"), Problem(404, "unable to find user", "")),
            row("POST", begin, Right, ask("bob", "t9"), Problem(400, "user has no suitable credentials for this operation", "")),
            row("GET", "/transaction/ann", Keyless, "", UNKEYED),
            row("GET", "/transaction/ann", Right, "", Members(&["id", "identifier", "data", "created_at", "updated_at", "state"])),
            row("GET", "/transaction/nobody", Right, "", Members(&[])),
            row("GET", "/transaction/%00", Right, "", Problem(400, "invalid user id", "")),
        ],
    )
    .await;
    let end = "/transaction/finalize";
    let (good, mut elsewhere, mut forged) = (
        tenant.assertion(Kind::Transaction, "t1", &passkey).await,
        tenant.assertion(Kind::Transaction, "t2", &passkey).await,
        tenant.assertion(Kind::Transaction, "t3", &passkey).await,
    );
    elsewhere.client_data["origin"] = json!("https://evil.example");
    forged.client_data["challenge"] = json!("A".repeat(86));
    let gone = || Problem(401, "failed to get session data", "no transaction found for this challenge");
    hold(
        &tenant,
        vec![
            row("POST", end, Keyless, good.body(), UNKEYED),
            row("POST", end, Right, "{}", Problem(400, "unable to finish transaction", "CredentialAssertionResponse with ID missing")),
            row("POST", end, Right, "", Problem(400, "unable to finish transaction", "Parse error for Assertion")),
            row("POST", end, Right, forged.body(), gone()),
            row("POST", end, Right, elsewhere.body(), Problem(401, "failed to validate assertion", "Error validating origin")),
            row("POST", end, Right, good.body(), TOKEN),
            row("POST", end, Right, good.body(), gone()),
        ],
    )
    .await;
    let late = answer(&tenant.begin(Kind::Transaction, "ann", "t4").await, Kind::Transaction, &tenant.origin, &passkey);
    assert!(server.execute("UPDATE transactions SET expires_at = expires_at - 100000").await > 0);
    hold(&tenant, vec![row("POST", end, Right, late, Problem(401, "failed to validate assertion", "Session has Expired"))]).await;
    let confirmed = &["id", "identifier", "data", "created_at", "updated_at", "state", "confirmed_at", "credential_id"];
    assert!(server.execute("DELETE FROM transactions WHERE state <> 'confirmed'").await > 0);
    hold(&tenant, vec![row("GET", "/transaction/ann", Right, "", Members(confirmed))]).await;
}

/// What is our fault is told without details.
async fn rows_of_our_faults(server: Server) {
    let tenant = server.create_tenant(&TenantSpec::default());
    let passkey = tenant.passkey("ann", Algorithm::Es256).await;
    server.execute("DROP TABLE used_challenges").await;
    let body = tenant.assertion(Kind::Login, "", &passkey).await.text();
    let answer = tenant.end(Kind::Login, body).await;
    assert_eq!((answer.status, answer.body.as_str()), (500, "{\"title\":\"Internal Server Error\",\"status\":500}\n"));
}
