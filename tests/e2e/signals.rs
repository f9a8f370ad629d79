//! What the Signal API's methods are to be called with.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use reqwest::Method;
use serde_json::json;

use crate::{
    engines,
    support::{
        api::{Answer, Tenant},
        authenticator::Format,
        keys::Algorithm,
        server::{Server, TenantSpec},
    },
};

engines! { a_users_signals, a_credentials_signal, tenants_do_not_see_each_other }

async fn ask(tenant: &Tenant, query: &str) -> Answer {
    Answer::to(tenant.request(Method::GET, &tenant.path(&format!("/signals{query}"))).header("apiKey", &tenant.api_key)).await
}

async fn register(tenant: &Tenant, user: &str) -> String {
    let draft = tenant.draft(user, Format::None, Algorithm::Es256).await;
    tenant.finalize(draft.body().to_string()).await.token();
    draft.id()
}

async fn a_users_signals(server: Server) {
    let tenant = server.create_tenant(&TenantSpec::default());
    let mut ids = vec![register(&tenant, "ü1").await, register(&tenant, "ü1").await];
    // A second factor is accepted too.
    server.execute("UPDATE credentials SET is_mfa = (1 = 1) WHERE created_at = (SELECT max(created_at) FROM credentials)").await;
    register(&tenant, "bob").await;
    ids.sort();
    let user_id = URL_SAFE_NO_PAD.encode("ü1");
    let answer = ask(&tenant, "?user_id=%C3%BC1").await;
    assert_eq!((answer.status, answer.header("Content-Type")), (200, "application/json; charset=UTF-8"));
    let mut signals = answer.json();
    let mut told: Vec<_> = signals["allAcceptedCredentials"]["allAcceptedCredentialIds"].take().as_array().unwrap().clone();
    told.sort_by_key(ToString::to_string);
    assert_eq!(told, ids);
    assert_eq!(
        signals,
        json!({
            "allAcceptedCredentials": {"rpId": "localhost", "userId": user_id, "allAcceptedCredentialIds": null},
            "currentUserDetails": {"rpId": "localhost", "userId": user_id, "name": "ann", "displayName": "ann"},
        })
    );
    // What the user is called now, and what is left.
    let renamed = tenant.initialize(json!({"user_id": "ü1", "username": "Ann <1>", "display_name": "Ann"}).to_string()).await;
    assert_eq!(renamed.status, 200);
    let request = tenant.request(Method::DELETE, &tenant.path(&format!("/credentials/{}", ids[0]))).header("apiKey", &tenant.api_key);
    assert_eq!(Answer::to(request).await.status, 204);
    let signals = ask(&tenant, "?USER_ID=%C3%BC1").await.json();
    assert_eq!(signals["allAcceptedCredentials"]["allAcceptedCredentialIds"], json!([ids[1]]));
    assert_eq!((&signals["currentUserDetails"]["name"], &signals["currentUserDetails"]["displayName"]), (&json!("Ann <1>"), &json!("Ann")));
    // A user without any: every passkey that is offered is unknown.
    tenant.options("carl").await;
    assert_eq!(ask(&tenant, "?user_id=carl").await.json()["allAcceptedCredentials"]["allAcceptedCredentialIds"], json!([]));

    for user in ["nobody", "%25", "an_", "bob%00", "%27%20OR%20%27%27%3D%27", &"a".repeat(65)] {
        assert_eq!(ask(&tenant, &format!("?user_id={user}")).await.problem(404, "user not found"), "", "{user}");
    }
}

async fn a_credentials_signal(server: Server) {
    let tenant = server.create_tenant(&TenantSpec::default());
    let id = register(&tenant, "ann").await;
    assert_eq!(ask(&tenant, &format!("?credential_id={id}")).await.body, "{\"unknownCredential\":null}\n");
    for unknown in ["AAAA", &"A".repeat(1364)] {
        let signals = ask(&tenant, &format!("?credential_id={unknown}")).await.json();
        assert_eq!(signals, json!({"unknownCredential": {"rpId": "localhost", "credentialId": unknown}}));
    }
    let required = "user_id or credential_id is a required field";
    let malformed = "credential_id must be base64url of 1 to 1023 bytes";
    let (invalid, unfit) = ("unable to validate request", "unable to process request");
    let long = format!("?credential_id={}", "A".repeat(1365));
    for (query, title, details) in [
        ("", invalid, required),
        ("?user=ann", invalid, required),
        ("?user_id=", invalid, "user_id must at least have 1 entry"),
        ("?credential_id=", invalid, "credential_id must at least have 1 entry"),
        ("?user_id=ann&credential_id=AAAA", invalid, "user_id and credential_id must not both be there"),
        ("?credential_id=a.b", invalid, malformed),
        ("?credential_id=AA==", invalid, malformed),
        (&long, invalid, malformed),
        ("?user_id=ann&User_Id=ann", unfit, "duplicate parameter user_id"),
        ("?user_id=%ff", unfit, "a query is UTF-8"),
    ] {
        assert_eq!(ask(&tenant, query).await.problem(400, title), details, "{query}");
    }
}

async fn tenants_do_not_see_each_other(server: Server) {
    let (ours, theirs) = (server.create_tenant(&TenantSpec::default()), server.create_tenant(&TenantSpec::default()));
    let id = register(&theirs, "ann").await;
    assert_eq!(ask(&ours, "?user_id=ann").await.problem(404, "user not found"), "");
    assert_eq!(ask(&ours, &format!("?credential_id={id}")).await.json()["unknownCredential"]["credentialId"], id);
    let details = "api keys needs to be an apiKey Header and 32 byte long";
    for (method, query) in [(Method::GET, "?user_id=ann"), (Method::GET, "?page=x"), (Method::POST, ""), (Method::GET, "/x")] {
        for key in ["", "x", &ours.api_key] {
            let request = theirs.request(method.clone(), &theirs.path(&format!("/signals{query}"))).header("apiKey", key);
            assert_eq!(Answer::to(request).await.problem(401, "The api key is invalid"), details);
        }
    }
    // The same user of both: each has its own.
    let own = register(&ours, "ann").await;
    assert_eq!(ask(&ours, "?user_id=ann").await.json()["allAcceptedCredentials"]["allAcceptedCredentialIds"], json!([own]));
    assert_eq!(ask(&theirs, "?user_id=ann").await.json()["allAcceptedCredentials"]["allAcceptedCredentialIds"], json!([id]));
}
