//! Second factors (contract 1.4): made and used behind the API key, and never taken for passkeys (contract 1.12, B12).

use serde_json::{Value, json};

use crate::{
    engines,
    support::{
        api::{Answer, Tenant},
        assertion::AssertionDraft,
        authenticator::{Draft, Format},
        ceremonies::{Kind, answer},
        keys::Algorithm,
        server::{Server, TenantSpec},
    },
    tokens,
};

engines! { every_algorithm, options_are_the_contracts, everything_asks_for_the_key, refusals, no_ceremony_passes_for_another, a_second_factor_is_no_passkey }

async fn every_algorithm(server: Server) {
    let tenant = server.create_tenant(&TenantSpec::default());
    let jwks = tenant.jwks().await.json();
    for algorithm in Algorithm::ALL {
        let user = format!("{algorithm:?}");
        let options = tenant.begin(Kind::MfaRegistration, &user, "").await;
        let draft = Draft::new(&options, &tenant.origin, Format::None, algorithm);
        let token = tenant.end(Kind::MfaRegistration, draft.body().to_string()).await.token();
        tokens::check(&tenant, Kind::MfaRegistration, &token, &jwks, &user, &draft.id());
        let mut assertion = tenant.assertion(Kind::MfaLogin, "", &draft).await;
        // Security keys that hold nothing of the user's name nobody.
        assertion.user_handle = None;
        let token = tenant.end(Kind::MfaLogin, assertion.text()).await.token();
        tokens::check(&tenant, Kind::MfaLogin, &token, &jwks, &user, &draft.id());
    }
    assert_eq!(server.count("credentials WHERE is_mfa = true").await, 10);
    for kind in ["registration_init", "registration_final", "authentication_init", "authentication_final"] {
        assert_eq!(server.count(&format!("audit_events WHERE event_type = 'mfa_{kind}_succeeded'")).await, 10, "{kind}");
    }
    assert_eq!(server.count("audit_events WHERE event_type LIKE 'webauthn_%'").await, 0);
}

async fn options_are_the_contracts(server: Server) {
    let tenant = server.create_tenant(&TenantSpec { user_verification: "required", ..TenantSpec::default() });
    // What the contract has for second factors where nothing is said of them.
    let made = tenant.begin(Kind::MfaRegistration, "ann", "").await;
    let selection = json!({
        "authenticatorAttachment": "cross-platform", "requireResidentKey": false, "residentKey": "discouraged", "userVerification": "preferred",
    });
    assert_eq!(made["publicKey"]["authenticatorSelection"], selection);
    assert_eq!((&made["publicKey"]["attestation"], &made["publicKey"]["timeout"]), (&json!("direct"), &json!(60_000)));

    let passkey = tenant.passkey("ann", Algorithm::Es256).await;
    let factor = tenant.second_factor("ann", Algorithm::Es256).await;
    let asked = tenant.begin(Kind::MfaLogin, "ann", "").await;
    let mut ids: Vec<_> = asked["publicKey"]["allowCredentials"].as_array().unwrap().iter().map(|c| c["id"].clone()).collect();
    ids.sort_by_key(Value::to_string);
    let mut expected = vec![json!(passkey.id()), json!(factor.id())];
    expected.sort_by_key(Value::to_string);
    assert_eq!((ids, &asked["publicKey"]["userVerification"]), (expected, &json!("preferred")));
    // Credentials of the same kind alone are excluded.
    for (kind, id) in [(Kind::Registration, passkey.id()), (Kind::MfaRegistration, factor.id())] {
        let excluded = tenant.begin(kind, "ann", "").await["publicKey"]["excludeCredentials"].clone();
        assert_eq!((excluded.as_array().unwrap().len(), &excluded[0]["id"]), (1, &json!(id)), "{kind:?}");
    }
    // A passkey can be the second factor, too.
    let assertion = AssertionDraft::new(&asked, &passkey);
    let token = tenant.end(Kind::MfaLogin, assertion.text()).await.token();
    tokens::check(&tenant, Kind::MfaLogin, &token, &tenant.jwks().await.json(), "ann", &passkey.id());
}

async fn everything_asks_for_the_key(server: Server) {
    let (tenant, other) = (server.create_tenant(&TenantSpec::default()), server.create_tenant(&TenantSpec::default()));
    let factor = tenant.second_factor("ann", Algorithm::Es256).await;
    let before = server.count("audit_events").await;
    for kind in [Kind::MfaRegistration, Kind::MfaLogin] {
        let options = tenant.begin(kind, "ann", "").await;
        let honest = answer(&options, kind, &tenant.origin, &factor);
        for (end, body) in [("initialize", "{\"user_id\":\"ann\",\"username\":\"a\"}"), ("finalize", honest.as_str()), ("finalize", "{")] {
            let path = tenant.path(&format!("{}/{end}", kind.path()));
            let details = "api keys needs to be an apiKey Header and 32 byte long";
            assert_eq!(tenant.post(&path, body).await.problem(401, "The api key is invalid"), details);
            let request = tenant.request(reqwest::Method::POST, &path).header("apiKey", &other.api_key);
            assert_eq!(Answer::to(request.body(body.to_owned())).await.problem(401, "The api key is invalid"), details);
        }
        tenant.end(kind, honest).await.token();
    }
    assert_eq!(server.count("audit_events").await, before + 4);
    // Nor is it said what there is.
    for path in ["/mfa", "/mfa/", "/mfa/x", "/mfa/login", "/mfa/login/initialize"] {
        tenant.get(&tenant.path(path)).await.problem(401, "The api key is invalid");
        let request = tenant.request(reqwest::Method::GET, &tenant.path(path)).header("apiKey", &tenant.api_key);
        Answer::to(request).await.problem(404, "Not Found");
    }
}

async fn refusals(server: Server) {
    let tenant = server.create_tenant(&TenantSpec::default());
    let factor = tenant.second_factor("ann", Algorithm::Es256).await;
    tenant.options("bob").await;
    let missing = "user_id is a required field";
    for (path, body, status, title, details, event) in [
        (
            "/mfa/registration/initialize",
            "{}",
            400,
            "unable to validate request",
            "user_id is a required field and username is a required field",
            "mfa_registration_init_failed",
        ),
        ("/mfa/login/initialize", "", 400, "unable to validate request", missing, "mfa_authentication_init_failed"),
        ("/mfa/login/initialize", "{\"user_id\":\"\"}", 400, "unable to validate request", missing, "mfa_authentication_init_failed"),
        ("/mfa/login/initialize", "{\"user_id\":\"nobody\"}", 404, "user not found", "", "mfa_authentication_init_failed"),
        (
            "/mfa/login/initialize",
            "{\"user_id\":\"bob\"}",
            400,
            "failed to create webauthn assertion options for login: Found no credentials for user",
            "",
            "mfa_authentication_init_failed",
        ),
        (
            "/mfa/registration/finalize",
            "{}",
            400,
            "unable to parse credential creation response",
            "Parse error for Registration",
            "mfa_registration_final_failed",
        ),
        (
            "/mfa/login/finalize",
            "{}",
            400,
            "unable to finish login",
            "CredentialAssertionResponse with ID missing",
            "mfa_authentication_final_failed",
        ),
    ] {
        server.execute("DELETE FROM audit_events").await;
        assert_eq!(tenant.call(path, body).await.problem(status, title), details, "{path} {body}");
        assert_eq!(server.count(&format!("audit_events WHERE event_type = '{event}'")).await, 1, "{path} {body}");
        assert_eq!(server.count("audit_events").await, 1, "{path} {body}");
    }
    // Judged and refused: gone.
    let honest = tenant.assertion(Kind::MfaLogin, "", &factor).await;
    let forged = AssertionDraft { signature: Some(vec![1]), ..honest.clone() };
    tenant.end(Kind::MfaLogin, forged.text()).await.problem(401, "failed to validate assertion");
    tenant.end(Kind::MfaLogin, honest.text()).await.problem(401, "failed to get session data");
    // A user's second factor is no other user's.
    let stranger = tenant.second_factor("eve", Algorithm::Es256).await;
    let mut foreign = AssertionDraft::new(&tenant.begin(Kind::MfaLogin, "ann", "").await, &stranger);
    foreign.user_handle = None;
    tenant.end(Kind::MfaLogin, foreign.text()).await.problem(401, "failed to get session data");
}

/// Whatever a challenge was made for, it answers to nothing else, and trying uses nothing up.
async fn no_ceremony_passes_for_another(server: Server) {
    let tenant = server.create_tenant(&TenantSpec::default());
    let passkey = tenant.passkey("ann", Algorithm::Es256).await;
    let factor = tenant.second_factor("ann", Algorithm::Es256).await;
    for begun in Kind::ALL {
        let options = tenant.begin(begun, "ann", "t1").await;
        let credential = if begun == Kind::MfaLogin { &factor } else { &passkey };
        for ended in Kind::ALL {
            if ended.path() == begun.path() {
                continue;
            }
            // What that end can read, around the challenge of this beginning.
            let mut shaped = options.clone();
            shaped["publicKey"]["rp"]["id"] = json!(tenant.rp_id);
            shaped["publicKey"]["rpId"] = json!(tenant.rp_id);
            let (status, title, details) = ended.unknown();
            let refused = tenant.end(ended, answer(&shaped, ended, &tenant.origin, credential)).await;
            assert_eq!(refused.problem(status, title), details, "{begun:?} at {ended:?}");
        }
        tenant.end(begun, answer(&options, begun, &tenant.origin, credential)).await.token();
    }
}

async fn a_second_factor_is_no_passkey(server: Server) {
    let tenant: Tenant = server.create_tenant(&TenantSpec::default());
    let factor = tenant.second_factor("ann", Algorithm::Es256).await;
    let title = "failed to create webauthn assertion options for login: Found no credentials for user";
    tenant.call("/login/initialize", Kind::UserLogin.request("ann", "").to_string()).await.problem(400, title);
    let transaction = Kind::Transaction.request("ann", "t1").to_string();
    tenant.call("/transaction/initialize", transaction).await.problem(400, "user has no suitable credentials for this operation");
    let discoverable = tenant.assertion(Kind::Login, "", &factor).await;
    let details = tenant.end(Kind::Login, discoverable.text()).await.problem(401, "failed to validate assertion");
    assert_eq!(details, "Unable to find the credential for the returned credential ID");
    // Nor beside a passkey of the same user.
    let passkey = tenant.passkey("ann", Algorithm::Es256).await;
    for kind in [Kind::Login, Kind::UserLogin, Kind::Transaction] {
        let options = tenant.begin(kind, "ann", "t1").await;
        let answer = tenant.end(kind, AssertionDraft::new(&options, &factor).text()).await;
        let details = answer.problem(401, "failed to validate assertion");
        assert_eq!(details, "Unable to find the credential for the returned credential ID", "{kind:?}");
        tenant.end(kind, AssertionDraft::new(&options, &passkey).text()).await.token();
    }
    assert_eq!(server.count("credentials WHERE is_mfa = true AND last_used_at > created_at").await, 0);
}
