//! Whoever is bound to tenants reaches nothing of others, by whatever id.

use serde_json::{Value, json};

use super::{ask, config, tenant};
use crate::{
    engines,
    support::{keys::Algorithm, server::Server},
};

engines! { a_tenant_admin_reaches_its_own_tenant_alone }

async fn a_tenant_admin_reaches_its_own_tenant_alone(server: Server) {
    let admin = server.admin_as("admin", &[]).await;
    let (own, foreign) = (tenant(&server, &admin).await, tenant(&server, &admin).await);
    foreign.passkey("ann", Algorithm::Es256).await;
    let bound = server.admin_as("tenant-admin", &[&own.id]).await;
    assert_eq!(bound.get("/tenants").await.json(), json!([{"id": own.id, "display_name": "Example"}]));
    assert_eq!(bound.get("/tenants?deleted=true").await.json(), json!([]));
    assert_eq!(admin.get("/tenants").await.json().as_array().unwrap().len(), 2);
    assert_eq!(ask(&bound, "POST", "/tenants", &json!({"display_name": "x", "config": config()})).await.status, 403);
    for path in ["/audit_logs".to_owned(), "/audit_logs?tenant=all".to_owned(), format!("/audit_logs?tenant={}", own.id)] {
        assert_eq!(bound.get(&path).await.status, 403, "{path}");
    }
    // Ids of the other tenant's under one's own path.
    let path = format!("/tenants/{}", own.id);
    let user = admin.get(&format!("/tenants/{}/users", foreign.id)).await.json()[0]["id"].as_str().unwrap().to_owned();
    let key = admin.get(&format!("/tenants/{}/secrets/api", foreign.id)).await.json()[0]["id"].as_str().unwrap().to_owned();
    for (method, rest, title) in [
        ("GET", format!("users/{user}"), "user not found".to_owned()),
        ("DELETE", format!("users/{user}"), "user not found".to_owned()),
        ("DELETE", format!("secrets/api/{key}"), format!("secret with ID '{key}' not found")),
        ("DELETE", format!("secrets/jwk/{}", foreign.kid), format!("secret with ID '{}' not found", foreign.kid)),
    ] {
        let answer = ask(&bound, method, &format!("{path}/{rest}"), &Value::Null).await;
        assert_eq!(answer.problem(404, &title), "", "{method} {rest}");
    }
    // Nothing of it changed.
    foreign.passkey("bob", Algorithm::Es256).await;
    assert_eq!(admin.get(&format!("/tenants/{}/users/{user}", foreign.id)).await.status, 200);
    assert_eq!(admin.get(&format!("/tenants/{}/secrets/jwk", foreign.id)).await.json().as_array().unwrap().len(), 1);
}
