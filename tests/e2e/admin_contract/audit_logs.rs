//! `/tenants/{id}/audit_logs` and `/audit_logs`

use serde_json::{Value, json};

use super::{NOBODY, members, refused, tenant};
use crate::{
    engines,
    support::{api::Api, keys::Algorithm, server::Server},
};

engines! { rows_of_audit_logs }

/// The types of the events that are answered, sorted: those of one instant have no order of their own.
async fn types(api: &Api, path: &str) -> Vec<String> {
    let answer = api.get(path).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let mut types: Vec<_> = answer.json().as_array().unwrap().iter().map(|event| event["type"].as_str().unwrap().to_owned()).collect();
    types.sort();
    types
}

async fn rows_of_audit_logs(server: Server) {
    let admin = server.admin_as("admin", &[]).await;
    let (tenant, other) = (tenant(&server, &admin).await, tenant(&server, &admin).await);
    tenant.passkey("ann", Algorithm::Es256).await;
    let path = format!("/tenants/{}/audit_logs", tenant.id);
    let made = ["api_key_created", "signing_key_generated", "tenant_created"];
    let ceremony = ["webauthn_registration_final_succeeded", "webauthn_registration_init_succeeded"];
    assert_eq!(types(&admin, &path).await, [made.as_slice(), &ceremony].concat());
    assert_eq!(types(&admin, &format!("/audit_logs?tenant={}", tenant.id)).await, [made.as_slice(), &ceremony].concat());
    assert_eq!(types(&admin, &format!("/tenants/{}/audit_logs", other.id)).await, made);
    assert_eq!(types(&admin, &format!("{path}?actor_user_id=an")).await, ceremony);
    assert_eq!(types(&admin, &format!("{path}?type=tenant_created&type=api_key_created")).await, ["api_key_created", "tenant_created"]);
    assert_eq!(types(&admin, &format!("{path}?end_time=2001-01-01T00:00:00Z")).await, Vec::<String>::new());
    // The deployment's own log has its administrators.
    assert_eq!(types(&admin, "/audit_logs?type=admin_created").await, ["admin_created"]);
    assert_eq!(types(&admin, "/audit_logs?type=tenant_created").await, Vec::<String>::new());
    assert_eq!(
        types(&admin, "/audit_logs?tenant=all&type=tenant_created,admin_created").await,
        ["admin_created", "tenant_created", "tenant_created"]
    );

    let page = admin.get(&format!("{path}?per_page=2")).await;
    assert_eq!((page.json().as_array().unwrap().len(), page.header("X-Total-Count")), (2, "5"));
    let event = &admin.get(&format!("{path}?type=signing_key_generated")).await.json()[0];
    let expected = [
        "actor",
        "created_at",
        "id",
        "key_id",
        "meta_http_request_id",
        "meta_source_ip",
        "meta_user_agent",
        "tenant_id",
        "transaction_id",
        "type",
        "updated_at",
    ];
    assert_eq!(members(event), expected);
    assert_eq!(
        (&event["key_id"], &event["tenant_id"], &event["meta_source_ip"]),
        (&json!(tenant.kid), &json!(tenant.id), &json!("127.0.0.1"))
    );
    // The tenant's own backend is not told of operators.
    let own =
        tenant.request(reqwest::Method::GET, &tenant.path("/audit_logs?type=signing_key_generated")).header("apiKey", &tenant.api_key);
    let own = crate::support::api::Answer::to(own).await.json();
    assert_eq!((own[0]["type"].as_str(), own[0].get("actor"), own[0].get("key_id")), (Some("signing_key_generated"), None, None));

    let unlistable = "unable to list audit logs";
    refused(
        &admin,
        &[
            ("GET", format!("{path}?page=abc"), Value::Null, 400, unlistable, "strconv.ParseInt: parsing \"abc\": invalid syntax"),
            ("GET", "/audit_logs?page=abc".to_owned(), Value::Null, 400, unlistable, "strconv.ParseInt: parsing \"abc\": invalid syntax"),
            ("GET", "/audit_logs?tenant=x".to_owned(), Value::Null, 400, unlistable, "tenant must be a valid uuid4, or all"),
            ("GET", format!("/tenants/{NOBODY}/audit_logs"), Value::Null, 404, "tenant not found", ""),
        ],
    )
    .await;
}
