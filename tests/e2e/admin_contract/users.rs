//! `/tenants/{id}/users`

use serde_json::{Value, json};

use super::{NOBODY, ask, changed, events, members, refused, tenant};
use crate::{
    engines,
    support::{ceremonies::Kind, keys::Algorithm, server::Server},
};

engines! { rows_of_users }

async fn rows_of_users(server: Server) {
    let admin = server.admin_as("admin", &[]).await;
    let (tenant, other) = (tenant(&server, &admin).await, tenant(&server, &admin).await);
    let path = format!("/tenants/{}/users", tenant.id);
    let empty = admin.get(&path).await;
    assert_eq!((empty.status, empty.body.as_str(), empty.header("X-Total-Count")), (200, "[]\n", "0"));
    let passkey = tenant.passkey("ann", Algorithm::Es256).await;
    tenant.second_factor("ann", Algorithm::Es256).await;
    tenant.end(Kind::Transaction, tenant.assertion(Kind::Transaction, "order", &passkey).await.text()).await.token();
    // A later instant than ann's.
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    tenant.options("bob").await;
    other.passkey("eve", Algorithm::Es256).await;

    let names = async |query: &str| {
        let answer = admin.get(&format!("{path}{query}")).await;
        assert_eq!((answer.status, answer.header("X-Total-Count")), (200, "2"), "{}", answer.body);
        let users = answer.json().as_array().unwrap().clone();
        users.iter().map(|user| user["user_id"].as_str().unwrap().to_owned()).collect::<Vec<_>>().join(" ")
    };
    for (query, expected) in [
        ("", "bob ann"),
        ("?sort_direction=desc", "bob ann"),
        ("?sort_direction=asc", "ann bob"),
        ("?sort_direction=", "bob ann"),
        ("?per_page=1", "bob"),
        ("?per_page=1&page=2&sort_direction=desc", "ann"),
        ("?page=9", ""),
    ] {
        assert_eq!(names(query).await, expected, "{query}");
    }
    let first = admin.get(&format!("{path}?per_page=1")).await;
    let base = admin.url(&path);
    assert_eq!(first.header("Link"), format!("<{base}?page=2&per_page=1>; rel=\"last\",<{base}?page=2&per_page=1>; rel=\"next\""));
    let listed = admin.get(&format!("{path}?sort_direction=asc")).await.json();
    let ann = &listed[0];
    assert_eq!(members(ann), ["display_name", "icon", "id", "name", "user_id"]);
    assert_eq!(
        (&ann["user_id"], &ann["name"], &ann["icon"], &ann["display_name"]),
        (&json!("ann"), &json!("ann"), &json!(""), &json!("ann"))
    );

    let one = format!("{path}/{}", ann["id"].as_str().unwrap());
    let shown = admin.get(&one).await.json();
    assert_eq!(members(&shown), ["credentials", "display_name", "icon", "id", "name", "transactions", "user_id"]);
    let credentials = shown["credentials"].as_array().unwrap();
    assert_eq!((credentials.len(), &credentials[0]["id"], &credentials[0]["is_mfa"]), (2, &json!(passkey.id()), &json!(false)));
    assert_eq!(shown["transactions"][0]["identifier"], "order");

    let eve = admin.get(&format!("/tenants/{}/users", other.id)).await.json()[0]["id"].as_str().unwrap().to_owned();
    refused(
        &admin,
        &[
            ("GET", format!("{path}?sort_direction=up"), Value::Null, 400, "sort_direction must be desc or asc", ""),
            (
                "GET",
                format!("{path}?page=abc"),
                Value::Null,
                400,
                "unable to parse request",
                "strconv.ParseInt: parsing \"abc\": invalid syntax",
            ),
            ("GET", format!("{path}/ann"), Value::Null, 400, "invalid user_id", ""),
            ("DELETE", format!("{path}/ann"), Value::Null, 400, "invalid user_id", ""),
            ("GET", format!("{path}/{NOBODY}"), Value::Null, 404, "user not found", ""),
            ("DELETE", format!("{path}/{NOBODY}"), Value::Null, 404, "user not found", ""),
            // The tenant in the path counts.
            ("GET", format!("{path}/{eve}"), Value::Null, 404, "user not found", ""),
            ("DELETE", format!("{path}/{eve}"), Value::Null, 404, "user not found", ""),
            ("GET", format!("/tenants/{NOBODY}/users"), Value::Null, 404, "tenant not found", ""),
            ("GET", format!("/tenants/{NOBODY}/users/{eve}"), Value::Null, 404, "tenant not found", ""),
            ("DELETE", format!("/tenants/{NOBODY}/users/{eve}"), Value::Null, 404, "tenant not found", ""),
        ],
    )
    .await;
    assert_eq!(admin.get(&format!("/tenants/{}/users/{eve}", other.id)).await.status, 200);

    let login = tenant.begin(Kind::Login, "ann", "").await;
    changed(&admin, "DELETE", &one, &json!({"reason": "asked to be forgotten"})).await;
    assert_eq!(ask(&admin, "DELETE", &one, &Value::Null).await.status, 404);
    assert_eq!(names_of(&admin.get(&path).await.json()), ["bob"]);
    let late = crate::support::ceremonies::answer(&login, Kind::Login, &tenant.origin, &passkey);
    assert_eq!(tenant.end(Kind::Login, late).await.status, 401);
    let events = events(&admin, &tenant.id).await;
    let deleted = events.iter().find(|event| event["type"] == "user_deleted").unwrap();
    assert_eq!((&deleted["actor_user_id"], &deleted["reason"]), (&json!("ann"), &json!("asked to be forgotten")));
    assert_eq!(admin.get(&format!("/tenants/{}/users", other.id)).await.header("X-Total-Count"), "1");
}

fn names_of(users: &Value) -> Vec<&str> {
    users.as_array().unwrap().iter().map(|user| user["user_id"].as_str().unwrap()).collect()
}
