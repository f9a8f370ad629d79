//! `/tenants` and `/tenants/{id}`

use serde_json::{Value, json};

use super::{NOBODY, ask, changed, config, events, members, refused, tenant};
use crate::{engines, support::server::Server};

engines! { rows_of_tenants, a_configuration_is_replaced_whole, a_tenant_can_wait_for_its_key, without_the_hsm_no_tenant_is_made }

/// The contract's own example (1.13).
const NOTHING_GIVEN: &str = "display_name is a required field and allowed_origins is a required field and allow_unsafe_wildcard is a required \
    field and id is a required field and display_name is a required field and origins is a required field and timeout is a required field";

async fn rows_of_tenants(server: Server) {
    let admin = server.admin_as("admin", &[]).await;
    assert_eq!(admin.get("/tenants").await.body, "[]\n");
    let unnamed = json!({"config": config()});
    let long = json!({"display_name": "n".repeat(201), "config": config()});
    let mut foreign = config();
    foreign["webauthn"]["relying_party"]["icon"] = json!("no url");
    foreign["webauthn"]["timeout"] = json!(0);
    let foreign = json!({"display_name": "Example", "config": foreign});
    let mut settings = json!({"display_name": "Example", "config": config()});
    settings["settings"] = json!({"algoritm": "ES256"});
    let unable = "unable to create tenant";
    refused(
        &admin,
        &[
            ("POST", "/tenants".to_owned(), json!({}), 400, unable, NOTHING_GIVEN),
            ("POST", "/tenants".to_owned(), Value::Null, 400, unable, NOTHING_GIVEN),
            ("POST", "/tenants".to_owned(), unnamed, 400, unable, "display_name is a required field"),
            ("POST", "/tenants".to_owned(), long, 400, unable, "display_name cannot have more than 200 entries"),
            ("POST", "/tenants".to_owned(), foreign, 400, unable, "icon must be a valid URL and timeout is a required field"),
            (
                "POST",
                "/tenants".to_owned(),
                json!({"display_name": 7, "config": config()}),
                400,
                "unable to process request",
                "Unmarshal type error: expected=string, got=number, field=display_name, offset=17",
            ),
            ("GET", "/tenants/nobody".to_owned(), Value::Null, 400, "tenant_id must be a valid uuid4", ""),
            ("GET", format!("/tenants/{NOBODY}"), Value::Null, 404, "tenant not found", ""),
            ("PUT", format!("/tenants/{NOBODY}"), json!({"display_name": "x"}), 404, "tenant not found", ""),
            ("PUT", format!("/tenants/{NOBODY}/config"), config(), 404, "tenant not found", ""),
            ("DELETE", format!("/tenants/{NOBODY}"), Value::Null, 404, "tenant not found", ""),
            ("POST", format!("/tenants/{NOBODY}/restore"), Value::Null, 404, "tenant not found", ""),
            ("PATCH", "/tenants".to_owned(), Value::Null, 404, "Not Found", ""),
        ],
    )
    .await;
    let answer = ask(&admin, "POST", "/tenants", &settings).await.problem(400, unable);
    assert!(answer.starts_with("settings: unknown field `algoritm`"), "{answer}");

    let made = ask(&admin, "POST", "/tenants", &json!({"display_name": "First", "config": config()})).await;
    assert_eq!((made.status, members(&made.json())), (201, vec!["id"]), "{}", made.body);
    let first = made.json()["id"].as_str().unwrap().to_owned();
    let new = json!({"display_name": "Second", "config": config(), "create_api_key": true, "settings": {"algorithm": "EdDSA"}});
    let made = ask(&admin, "POST", "/tenants", &new).await.json();
    assert_eq!(members(&made["api_key"]), ["created_at", "id", "name", "secret"]);
    assert_eq!((&made["api_key"]["name"], made["api_key"]["secret"].as_str().unwrap().len()), (&json!("Initial API Key"), 88));
    let second = made["id"].as_str().unwrap();
    let listed = admin.get("/tenants").await.json();
    assert_eq!(listed, json!([{"id": first, "display_name": "First"}, {"id": second, "display_name": "Second"}]));
    let jwks = server.api().get(&format!("/{second}/.well-known/jwks.json")).await.json();
    assert_eq!(jwks["keys"][0]["alg"], "EdDSA");

    changed(&admin, "PUT", &format!("/tenants/{first}"), &json!({"display_name": "Renamed", "reason": "ticket 7"})).await;
    assert_eq!(admin.get(&format!("/tenants/{first}")).await.json()["display_name"], "Renamed");
    let event = &events(&admin, &first).await[0];
    assert_eq!((&event["type"], &event["reason"]), (&json!("tenant_config_changed"), &json!("ticket 7; changed: display_name")));
    assert!(event["actor"].as_str().unwrap().starts_with("admin admin "), "{event}");
    refused(&admin, &[("PUT", format!("/tenants/{first}"), json!({}), 400, "unable to update tenant", "display_name is a required field")])
        .await;
}

async fn a_configuration_is_replaced_whole(server: Server) {
    let admin = server.admin_as("admin", &[]).await;
    let tenant = tenant(&server, &admin).await;
    let path = format!("/tenants/{}", tenant.id);
    let got = admin.get(&path).await.json();
    // What was left out has the contract's defaults.
    let full = json!({
        "cors": {"allowed_origins": ["http://localhost:8000"], "allow_unsafe_wildcard": false},
        "webauthn": {
            "relying_party": {"id": "localhost", "display_name": "Example", "origins": ["http://localhost:8000"]},
            "timeout": 60_000, "user_verification": "preferred", "attestation_preference": "direct", "resident_key_requirement": "required",
        },
        "mfa": {
            "timeout": 60_000, "user_verification": "preferred", "attachment": "cross-platform", "attestation_preference": "direct",
            "resident_key_requirement": "discouraged",
        },
    });
    assert_eq!(got, json!({"id": tenant.id, "display_name": "Example", "config": full}));

    // Our own settings stay whatever the configuration becomes.
    let settings = json!({"exclude_credentials": false, "issuer": "https://issuer.example"});
    changed(&admin, "PUT", &format!("{path}/settings"), &settings).await;
    let mut other = config();
    other["webauthn"]["attachment"] = json!("platform");
    other["mfa"] = json!({"timeout": 30_000, "user_verification": "required"});
    changed(&admin, "PUT", &format!("{path}/config"), &other).await;
    let got = admin.get(&path).await.json();
    assert_eq!(got["config"]["webauthn"]["user_verification"], "required", "the default again");
    assert_eq!((&got["config"]["webauthn"]["attachment"], &got["config"]["mfa"]["timeout"]), (&json!("platform"), &json!(30_000)));
    changed(&admin, "PUT", &format!("{path}/config"), &config()).await;
    let got = admin.get(&path).await.json();
    assert_eq!((&got["config"]["webauthn"]["attachment"], &got["config"]["mfa"]["timeout"]), (&Value::Null, &json!(60_000)));
    assert_eq!(admin.get(&format!("{path}/settings")).await.json()["issuer"], "https://issuer.example");

    let unable = "unable to update tenant config";
    let (mut cors, mut twice) = (config(), config().to_string());
    cors["cors"] = json!({"allowed_origins": []});
    twice.insert_str(1, "\"cors\":{},");
    refused(
        &admin,
        &[
            ("PUT", format!("{path}/config"), json!({}), 400, unable, NOTHING_GIVEN.split_once(" and ").unwrap().1),
            (
                "PUT",
                format!("{path}/config"),
                cors,
                400,
                unable,
                "allowed_origins is a required field and allow_unsafe_wildcard is a required field",
            ),
        ],
    )
    .await;
    let request = admin.request(reqwest::Method::PUT, &format!("{path}/config")).header("Content-Type", "application/json").body(twice);
    let answer = crate::support::api::Answer::to(request).await;
    assert_eq!(answer.problem(400, "unable to process request"), "duplicate member cors");
    let reasons: Vec<_> = events(&admin, &tenant.id).await.into_iter().filter(|e| e["type"] == "tenant_config_changed").collect();
    assert_eq!(
        reasons[1]["reason"],
        "changed: webauthn.user_verification, webauthn.attachment, mfa.timeout, mfa.user_verification".to_owned(),
        "{reasons:?}"
    );
}

async fn a_tenant_can_wait_for_its_key(server: Server) {
    let admin = server.admin_as("admin", &[]).await;
    let new = json!({"display_name": "Ceremony", "config": config(), "create_api_key": true, "await_key": true});
    let mut made = ask(&admin, "POST", "/tenants", &new).await.json();
    made["kid"] = json!("");
    let tenant = crate::support::api::Tenant::new(server.api(), &made, "localhost", "http://localhost:8000");
    let got = admin.get(&format!("/tenants/{}", tenant.id)).await.json();
    assert_eq!(members(&got), ["awaiting_key", "config", "display_name", "id"]);
    assert_eq!(got["awaiting_key"], true);
    assert_eq!(tenant.jwks().await.json(), json!({"keys": []}));
    let draft = tenant.draft("ann", crate::support::authenticator::Format::None, crate::support::keys::Algorithm::Es256).await;
    let body = draft.body().to_string();
    let details = tenant.finalize(body.clone()).await.problem(503, "Service Unavailable");
    assert!(details.contains("has no active signing key"), "{details}");

    // The ceremony: another program makes the key, and it is adopted.
    let made = ["--keypairgen", "--key-type", "EC:prime256v1", "--id", "c0ffee", "--label", "ceremony of may", "--usage-sign"];
    server.folder.tool(&[&["--token-label", "passkey-test", "--login", "--pin", "env:PIN"], made.as_slice()].concat(), "");
    let adopt = json!({"cka_id": "c0ffee", "algorithm": "ES256", "plan": "activate"});
    let adopted = ask(&admin, "POST", &format!("/tenants/{}/signing_keys/adopt", tenant.id), &adopt).await;
    assert!(adopted.status < 300, "{}", adopted.body);
    // Nothing was used up: the same answer does.
    tenant.finalize(body).await.token();
    assert_eq!(members(&admin.get(&format!("/tenants/{}", tenant.id)).await.json()), ["config", "display_name", "id"]);
    let keys = admin.get(&format!("/tenants/{}/secrets/jwk", tenant.id)).await.json();
    assert_eq!(keys.as_array().unwrap().len(), 1);
    assert_eq!(keys[0]["secret"], tenant.jwks().await.json()["keys"][0]["kid"]);
}

/// Without the HSM no tenant is made, and nothing of one is seen; what waits for a key needs none.
async fn without_the_hsm_no_tenant_is_made(mut server: Server) {
    let admin = server.admin_as("admin", &[]).await;
    server.terminate();
    std::fs::write(server.folder.pin_file(), "0000\n").unwrap();
    server.restart_unready().await;
    let admin = server.admin_api().with_token(admin.token());
    let new = json!({"display_name": "Example", "config": config()});
    let answer = ask(&admin, "POST", "/tenants", &new).await;
    assert!(answer.problem(503, "Service Unavailable").contains("the HSM is not available"), "{}", answer.body);
    assert_eq!(admin.get("/tenants").await.json(), json!([]));
    let waiting = json!({"display_name": "Ceremony", "config": config(), "await_key": true});
    assert_eq!(ask(&admin, "POST", "/tenants", &waiting).await.status, 201);
}
