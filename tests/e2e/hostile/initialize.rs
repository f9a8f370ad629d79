//! The JSON of `registration/initialize`: every member missing, mistyped, oversized or there twice; and bodies that are no JSON.

use reqwest::Method;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::{
    api::{Answer, Tenant},
    server::{Server, TenantSpec},
};

const UNFIT: &str = "unable to process request";
const INVALID: &str = "unable to validate request";

async fn begun(server: &Server) -> (i64, i64) {
    (server.count("ceremonies").await, server.count("users").await)
}

#[tokio::test]
async fn missing_or_empty() {
    let server = Server::sqlite().await;
    let tenant = server.create_tenant(&TenantSpec::default());
    let both = "user_id is a required field and username is a required field";
    for (body, details) in [
        ("", both),
        ("{}", both),
        ("null", both),
        (r#"{"user_id":null,"username":null}"#, both),
        (r#"{"user_id":"","username":""}"#, both),
        (r#"{"username":"ann"}"#, "user_id is a required field"),
        (r#"{"user_id":"u1"}"#, "username is a required field"),
        (r#"{"user_id":"u1","display_name":"Ann"}"#, "username is a required field"),
    ] {
        assert_eq!(tenant.initialize(body).await.problem(400, INVALID), details, "{body}");
    }
    assert_eq!(begun(&server).await, (0, 0));
}

#[tokio::test]
async fn mistyped() {
    let server = Server::sqlite().await;
    let tenant = server.create_tenant(&TenantSpec::default());
    assert_eq!(
        tenant.initialize(r#"{"user_id":1234}"#).await.problem(400, UNFIT),
        "Unmarshal type error: expected=string, got=number, field=user_id, offset=15"
    );
    for member in ["user_id", "username", "display_name", "icon"] {
        for value in [json!(7), json!(-1.5), json!(true), json!([]), json!(["ann"]), json!({})] {
            let mut body = json!({"user_id": "u1", "username": "ann"});
            body[member] = value.clone();
            let details = tenant.initialize(body.to_string()).await.problem(400, UNFIT);
            assert!(details.starts_with("Unmarshal type error: expected=string, got="), "{body}: {details}");
            assert!(details.contains(&format!("field={member}")), "{body}: {details}");
        }
    }
    for body in ["[]", "7", "\"u1\"", "true", "[{\"user_id\":\"u1\",\"username\":\"ann\"}]"] {
        tenant.initialize(body).await.problem(400, UNFIT);
    }
    assert_eq!(begun(&server).await, (0, 0));
}

#[tokio::test]
async fn oversized() {
    let server = Server::sqlite().await;
    let tenant = server.create_tenant(&TenantSpec::default());
    for (member, value, details) in [
        ("username", "n".repeat(129), Some("username cannot have more than 128 entries")),
        ("display_name", "ü".repeat(129), Some("display_name cannot have more than 128 entries")),
        ("user_id", "u".repeat(65), None),
        ("user_id", "ü".repeat(33), None),
        ("icon", format!("https://example.org/{}", "i".repeat(60_000)), Some("icon must be a valid URL")),
        ("icon", "not a url".to_owned(), Some("icon must be a valid URL")),
    ] {
        let mut body = json!({"user_id": "u1", "username": "ann"});
        body[member] = json!(value);
        let found = tenant.initialize(body.to_string()).await.problem(400, INVALID);
        assert!(details.is_none_or(|d| d == found) && found.contains(member), "{member}: {found}");
    }
    let all = json!({"user_id": "u".repeat(65), "username": "n".repeat(129), "display_name": "d".repeat(129)});
    let found = tenant.initialize(all.to_string()).await.problem(400, INVALID);
    assert!(found.ends_with("username cannot have more than 128 entries and display_name cannot have more than 128 entries"), "{found}");
    assert_eq!(begun(&server).await, (0, 0));

    // The longest that may be.
    let longest = json!({"user_id": "ü".repeat(32), "username": "ü".repeat(128), "display_name": "d".repeat(128)});
    assert_eq!(tenant.initialize(longest.to_string()).await.status, 200);
}

#[tokio::test]
async fn twice() {
    let server = Server::sqlite().await;
    let tenant = server.create_tenant(&TenantSpec::default());
    for member in ["user_id", "username", "display_name", "icon", "unknown"] {
        for again in [member.to_owned(), member.to_uppercase()] {
            let body = format!(r#"{{"{member}":"https://a.example","{again}":"https://b.example","user_id":"u1","username":"ann"}}"#);
            tenant.initialize(body).await.problem(400, UNFIT);
        }
    }
    assert_eq!(begun(&server).await, (0, 0));
}

#[tokio::test]
async fn not_json() {
    let server = Server::sqlite().await;
    let tenant = server.create_tenant(&TenantSpec::default());
    for body in [
        &b"{"[..],
        b"{\"user_id\"",
        b"{\"user_id\":\"u1\",}",
        b"\xff",
        b"{\"user_id\":\"\xff\",\"username\":\"ann\"}",
        b"{\"user_id\":\"\\ud800\",\"username\":\"ann\"}",
    ] {
        tenant.initialize(body).await.problem(400, UNFIT);
    }
    // What is unknown is passed over, however deep.
    tenant.initialize(format!("{{\"x\":{}{}}}", "[".repeat(20_000), "]".repeat(20_000))).await.problem(400, INVALID);
    for content_type in ["text/plain", "application/octet-stream", "application/jsonx", "multipart/form-data; boundary=x"] {
        let answer = typed(&tenant, Some(content_type)).await;
        assert_eq!(answer.problem(400, UNFIT), "Unsupported Media Type", "{content_type}");
    }
    assert_eq!(typed(&tenant, None).await.problem(400, UNFIT), "Unsupported Media Type");
    assert_eq!(begun(&server).await, (0, 0));

    for content_type in ["application/json", "application/json; charset=UTF-8", "Application/JSON"] {
        assert_eq!(typed(&tenant, Some(content_type)).await.status, 200, "{content_type}");
    }
}

async fn typed(tenant: &Tenant, content_type: Option<&str>) -> Answer {
    let mut request = tenant.request(Method::POST, &tenant.path("/registration/initialize")).header("apiKey", &tenant.api_key);
    if let Some(content_type) = content_type {
        request = request.header("Content-Type", content_type);
    }
    Answer::to(request.body(r#"{"user_id":"u1","username":"ann"}"#)).await
}

#[tokio::test]
async fn what_clients_rely_on() {
    let server = Server::sqlite().await;
    let tenant = server.create_tenant(&TenantSpec::default());
    for body in [
        r#"{"User_ID":"u1","USERNAME":"ann"}"#,
        r#"{"user_id":"u1","username":"ann","unknown":{"a":[1]}}"#,
        r#"{"user_id":"u1","username":"ann"} trailing"#,
        r#"{"user_id":"u1","username":"ann","display_name":"","icon":""}"#,
        r#"{"user_id":"u1","username":"ann","display_name":null,"icon":null}"#,
    ] {
        let answer = tenant.initialize(body).await;
        assert_eq!(answer.status, 200, "{body}: {}", answer.body);
        assert_eq!(answer.json()["publicKey"]["user"], json!({"name": "ann", "displayName": "ann", "id": "dTE"}), "{body}");
    }
    // A chunked body is read like any other.
    let mut stream = TcpStream::connect(server.public).await.unwrap();
    let head = format!("POST {} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n", tenant.path("/registration/initialize"));
    let headers = format!("apiKey: {}\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n", tenant.api_key);
    let chunks = "10\r\n{\"user_id\":\"u1\",\r\n11\r\n\"username\":\"ann\"}\r\n0\r\n\r\n";
    stream.write_all(format!("{head}{headers}{chunks}").as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}
