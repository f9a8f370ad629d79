//! A key's life by command.

use serde_json::json;

use super::{PUBLICATION, act, generated, key, published, refused, rotate, short, state, text, with_policy, with_tenant};
use crate::{
    engines,
    support::server::{Server, TenantSpec},
};

engines! { a_key_is_made_published_and_signs, a_rotation_is_planned_done_and_undone, a_key_is_taken_out_of_use }

const NOBODYS: &str = "7a1a0c3e-9f0e-4f0e-8c1e-0123456789ab";

async fn a_key_is_made_published_and_signs(server: Server) {
    let (api, tenant) = with_tenant(&server).await;
    let path = format!("/tenants/{}/signing_keys", tenant.id);
    let made = generated(&api, &tenant).await;
    let kid = text(&made, "kid");
    for (member, value) in [
        ("state", json!("pending")),
        ("algorithm", json!("ES256")),
        ("in_jwks", json!(false)),
        ("origin", json!("generated")),
        ("plan", json!("none")),
    ] {
        assert_eq!(made[member], value, "{made}");
    }
    assert_eq!(text(&made, "cka_id"), kid.replace('-', ""));
    assert_eq!(key(&api, &kid).await, made);
    refused(&api.post(&path, "{}").await, "one-pending");
    refused(&act(&api, &kid, "activate", json!({})).await, "state");

    let published = act(&api, &kid, "publish", json!({"reason": "the next one"})).await;
    assert_eq!((published.status, text(&published.json(), "state")), (200, "published".to_owned()));
    assert!(tenant.jwks().await.body.contains(&kid));
    let thumbprints: Vec<_> = api.get(&path).await.json().as_array().unwrap().iter().map(|key| text(key, "thumbprint")).collect();
    assert_eq!(thumbprints.len(), 2);
    refused(&act(&api, &kid, "publish", json!({})).await, "state");
    refused(&act(&api, &kid, "activate", json!({})).await, "publication-time");
    tokio::time::sleep(PUBLICATION).await;
    let activated = act(&api, &kid, "activate", json!({})).await;
    let outcome = activated.json();
    assert_eq!((activated.status, text(&outcome, "rotation")), (200, "done".to_owned()), "{outcome}");
    assert_eq!((text(&outcome["key"], "state"), text(&outcome["key"], "kid")), ("active".to_owned(), kid.clone()));
    assert_eq!((text(&outcome["previous"], "state"), text(&outcome["previous"], "kid")), ("retiring".to_owned(), tenant.kid.clone()));
    assert_eq!(text(&outcome["key"], "predecessor"), tenant.kid);

    let listed = async |query: &str| {
        let answer = api.get(&format!("{path}{query}")).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        let kids: Vec<_> = answer.json().as_array().unwrap().iter().map(|key| text(key, "kid")).collect();
        assert_eq!(answer.header("X-Total-Count"), kids.len().to_string());
        kids
    };
    assert_eq!(listed("").await, [tenant.kid.clone(), kid.clone()]);
    assert_eq!(listed("?state=active").await, std::slice::from_ref(&kid));
    assert_eq!(listed("?due=true").await, Vec::<String>::new());
    api.get(&format!("{path}?state=gone&due=maybe")).await.problem(400, "unable to validate request");
    assert_eq!(api.get("/signing_keys?per_page=1&page=2").await.header("X-Total-Count"), "2");
    api.get(&format!("/tenants/{NOBODYS}/signing_keys")).await.problem(404, "tenant not found");
    api.get(&format!("/signing_keys/{NOBODYS}")).await.problem(404, &format!("there is no signing key {NOBODYS}"));
    api.get("/signing_keys/x").await.problem(400, "kid must be a valid uuid4");
    for (body, why) in [
        (r#"{"algorithm": "ES999"}"#, "algorithm: "),
        (r#"{"rsa_bits": 1024}"#, "rsa_bits: an RSA key has 2048, 3072 or 4096 bits, not 1024"),
        (r#"{"rsa_bits": -1}"#, "rsa_bits: "),
        (r#"{"algorithm": "ES256", "rsa_bits": 2048}"#, "rsa_bits is for RSA keys alone"),
        (r#"{"plan": "later"}"#, "plan: "),
    ] {
        let details = api.post(&path, body).await.problem(400, "unable to validate request");
        assert!(details.starts_with(why), "{body}: {details}");
    }
    for body in [r#"{"algoritm": "ES256"}"#, r#"{"plan": "none", "plan": "none"}"#, "[]", r#"{"rsa_bits": "2048"}"#] {
        api.post(&path, body).await.problem(400, "unable to process request");
    }
    let history = api.get(&format!("/signing_keys/{kid}/evidence")).await.json()["history"].clone();
    let told: Vec<_> = history.as_array().unwrap().iter().map(|event| text(event, "type")).collect();
    assert!(told.contains(&"signing_key_published".to_owned()) && told.contains(&"signing_key_activated".to_owned()), "{history}");
    assert!(history.to_string().contains("the next one") && history.to_string().contains("admin admin"), "{history}");
}

async fn a_rotation_is_planned_done_and_undone(server: Server) {
    let api = server.admin_as("admin", &[]).await;
    let tenant = server.create_tenant(&with_policy(&json!({"rollback_seconds": 3600})));
    let (rollback, path) = (format!("/tenants/{}/signing_keys/rollback", tenant.id), format!("/tenants/{}/signing_keys", tenant.id));
    refused(&api.post(&rollback, "{}").await, "rollback-window");
    refused(&rotate(&api, &tenant, json!({"emergency": true})).await, "standby");
    let planned = rotate(&api, &tenant, json!({})).await.json();
    assert_eq!(text(&planned, "rotation"), "planned", "{planned}");
    let kid = text(&planned["key"], "kid");
    assert_eq!((text(&planned["key"], "state"), text(&planned["key"], "plan")), ("published".to_owned(), "activate".to_owned()));
    refused(&rotate(&api, &tenant, json!({"emergency": true})).await, "publication-time");
    tokio::time::sleep(PUBLICATION).await;
    let done = rotate(&api, &tenant, json!({"emergency": true, "reason": "drill"})).await.json();
    assert_eq!((text(&done, "rotation"), text(&done["key"], "kid")), ("done".to_owned(), kid.clone()), "{done}");
    let not_needed = rotate(&api, &tenant, json!({"if_active_before": done["key"]["activated_at"]})).await.json();
    assert_eq!((text(&not_needed, "rotation"), text(&not_needed["key"], "kid")), ("not_needed".to_owned(), kid.clone()));
    let undone = api.post(&rollback, "{}").await.json();
    assert_eq!((text(&undone["key"], "kid"), state(&api, &tenant.kid).await), (tenant.kid.clone(), "active".to_owned()), "{undone}");
    assert_eq!(state(&api, &kid).await, "suspended");
    for (body, why) in [
        (json!({"accept_exposure": true}), "accept_exposure goes with emergency"),
        (json!({"if_active_before": "yesterday"}), "if_active_before: "),
    ] {
        let details = rotate(&api, &tenant, body).await.problem(400, "unable to validate request");
        assert!(details.starts_with(why), "{details}");
    }
    rotate(&api, &tenant, json!({"emergency": "yes"})).await.problem(400, "unable to process request");

    // Whoever runs a tenant rotates its keys, and accepts no exposure.
    let bound = server.admin_as("tenant-admin", &[&tenant.id]).await;
    let other = server.create_tenant(&TenantSpec::default());
    let mine = bound.get("/signing_keys").await;
    assert!(mine.json().as_array().unwrap().iter().all(|key| text(key, "tenant_id") == tenant.id), "{}", mine.body);
    assert_eq!(mine.header("X-Total-Count"), "2");
    assert_eq!(bound.get(&path).await.header("X-Total-Count"), "2");
    let details = rotate(&bound, &tenant, json!({"emergency": true, "accept_exposure": true})).await.problem(403, "Forbidden");
    assert!(details.starts_with("accepting an exposure needs distrust-keys"), "{details}");
    act(&bound, &kid, "activate", json!({"accept_exposure": true})).await.problem(403, "Forbidden");
    act(&bound, &other.kid, "suspend", json!({})).await.problem(403, "Forbidden");
    rotate(&bound, &other, json!({})).await.problem(403, "Forbidden");
    assert_eq!(rotate(&bound, &tenant, json!({})).await.status, 200);
}

async fn a_key_is_taken_out_of_use(server: Server) {
    let (api, tenant) = with_tenant(&server).await;
    refused(&act(&api, &tenant.kid, "retire", json!({})).await, "successor");
    refused(&act(&api, &tenant.kid, "destroy", json!({})).await, "successor");
    refused(&act(&api, &tenant.kid, "resume", json!({})).await, "state");
    refused(&act(&api, &tenant.kid, "suspend", json!({"replace": true})).await, "standby");
    let suspended = act(&api, &tenant.kid, "suspend", json!({})).await;
    assert_eq!((suspended.status, text(&suspended.json(), "state")), (200, "suspended".to_owned()), "{}", suspended.body);
    let resumed = act(&api, &tenant.kid, "resume", json!({})).await;
    assert_eq!((resumed.status, text(&resumed.json(), "state")), (200, "active".to_owned()), "{}", resumed.body);

    let unwanted = text(&generated(&api, &tenant).await, "kid");
    // There is nothing to finish.
    assert_eq!(text(&act(&api, &unwanted, "finish", json!({})).await.json(), "state"), "pending");
    let retired = act(&api, &unwanted, "retire", json!({})).await;
    assert_eq!((retired.status, text(&retired.json(), "state")), (200, "retired".to_owned()), "{}", retired.body);
    refused(&act(&api, &unwanted, "finish", json!({})).await, "state");
    let destroyed = act(&api, &unwanted, "destroy", json!({"reason": "never used"})).await;
    let gone = destroyed.json();
    assert_eq!((destroyed.status, text(&gone, "state")), (200, "destroyed".to_owned()), "{gone}");
    assert!(gone["private_destroyed_at"].is_string(), "{gone}");
    assert_ne!(act(&api, &unwanted, "resume", json!({})).await.status, 200);
    assert_ne!(act(&api, &unwanted, "publish", json!({})).await.status, 200);

    // An exposure that is accepted: the standby is too young.
    let standby = published(&api, &tenant).await;
    let compromised = act(&api, &tenant.kid, "compromise", json!({"accept_exposure": true, "reason": "leaked"})).await;
    let outcome = compromised.json();
    assert_eq!((compromised.status, text(&outcome["key"], "state")), (200, "compromised".to_owned()), "{outcome}");
    assert_eq!(text(&outcome["active"], "kid"), standby, "{outcome}");
    let jwks = tenant.jwks().await.body;
    assert!(!jwks.contains(&tenant.kid) && jwks.contains(&standby), "{jwks}");
    // Without another there is none that signs.
    let outcome = act(&api, &standby, "compromise", json!({})).await.json();
    assert!(outcome["active"].is_null() && outcome["key"]["state"] == "compromised", "{outcome}");
    tenant.jwks().await;
}

#[tokio::test]
async fn an_exposure_is_accepted_by_those_who_may() {
    let server = Server::sqlite().await;
    let (custodian, tenant) = (server.admin_as("key-custodian", &[]).await, server.create_tenant(&short()));
    let standby = published(&custodian, &tenant).await;
    refused(&act(&custodian, &standby, "activate", json!({})).await, "publication-time");
    let exposed = act(&custodian, &standby, "activate", json!({"accept_exposure": true})).await;
    assert_eq!((exposed.status, text(&exposed.json(), "rotation")), (200, "done".to_owned()), "{}", exposed.body);
    act(&custodian, &standby, "activate", json!({"accept_exposure": 1})).await.problem(400, "unable to process request");
}
