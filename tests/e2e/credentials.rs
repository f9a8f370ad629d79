//! Credentials over the API (contract 1.2 to 1.4): every row of its table, pages, filters, and what another tenant sees of them.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    engines,
    support::{
        api::{Answer, Tenant},
        authenticator::{Draft, Format},
        cbor::Cbor,
        keys::Algorithm,
        server::{Server, ServerSpec, TenantSpec},
    },
};

engines! {
    each_row_of_the_table, changes_are_recorded, refusals_in_their_order, pages_lead_to_each_other, filters_and_hostile_queries,
    tenants_do_not_see_each_other
}

const UNKEYED: &str = "api keys needs to be an apiKey Header and 32 byte long";
const UNFIT: &str = "unable to process request";
const INVALID: &str = "unable to validate request";

/// A request under `/{tenant}/credentials`, with the API key.
async fn ask(tenant: &Tenant, method: Method, rest: &str, body: Option<&str>) -> Answer {
    let mut request = tenant.request(method, &tenant.path(&format!("/credentials{rest}"))).header("apiKey", &tenant.api_key);
    if let Some(body) = body {
        request = request.header("Content-Type", "application/json").body(body.to_owned());
    }
    Answer::to(request).await
}

async fn get(tenant: &Tenant, rest: &str) -> Answer {
    ask(tenant, Method::GET, rest, None).await
}

async fn rename(tenant: &Tenant, id: &str, body: &str) -> Answer {
    ask(tenant, Method::PATCH, &format!("/{id}"), Some(body)).await
}

async fn delete(tenant: &Tenant, id: &str) -> Answer {
    ask(tenant, Method::DELETE, &format!("/{id}"), None).await
}

async fn register(tenant: &Tenant, user: &str, format: Format) -> Draft {
    let draft = tenant.draft(user, format, Algorithm::Es256).await;
    tenant.finalize(draft.body().to_string()).await.token();
    draft
}

/// The ids of a list, in its order.
fn ids(answer: &Answer) -> Vec<String> {
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json().as_array().unwrap().iter().map(|c| c["id"].as_str().unwrap().to_owned()).collect()
}

/// A list's `X-Total-Count`, and its `Link` by relation: page number and the URL's query.
fn links(answer: &Answer, base: &str) -> (String, Vec<(String, String)>) {
    let parts = answer.header("Link").split(',').map(|part| {
        let (url, relation) = part.strip_prefix('<').unwrap().split_once(">; rel=\"").unwrap();
        (relation.strip_suffix('"').unwrap().to_owned(), url.strip_prefix(base).unwrap_or_else(|| panic!("{url}")).to_owned())
    });
    (answer.header("X-Total-Count").to_owned(), parts.collect())
}

async fn each_row_of_the_table(server: Server) {
    let tenant = server.create_tenant(&TenantSpec::default());
    let draft = register(&tenant, "ü1", Format::PackedX5c).await;
    let id = draft.id();

    let shown = get(&tenant, &format!("/{id}")).await;
    assert_eq!((shown.status, shown.header("Content-Type")), (200, "application/json; charset=UTF-8"), "{}", shown.body);
    let made = shown.json()["created_at"].as_str().unwrap().to_owned();
    let fraction = made.strip_suffix('Z').unwrap().split_once('.').map_or("1", |(_, fraction)| fraction);
    assert!(made.starts_with("20") && fraction.len() <= 3 && !fraction.ends_with('0'), "{made}");
    // The text, so that the order of the members counts too. The key is the COSE_Key itself.
    let expected = format!(
        r#"{{"id":"{id}","name":"cred-{id}","public_key":"{}","attestation_type":"packed","aaguid":"8e0f1a2b-3c4d-455e-966f-708192a3b4c5","last_used_at":"{made}","created_at":"{made}","transports":["internal","hybrid"],"backup_eligible":false,"backup_state":false,"is_mfa":false,"user_id":"ü1"}}"#,
        URL_SAFE_NO_PAD.encode(Cbor::Map(draft.key.cose()).encode()),
    );
    assert_eq!(shown.body, format!("{expected}\n"));
    let listed = get(&tenant, "?user_id=%C3%BC1").await;
    assert_eq!((listed.status, listed.header("X-Total-Count")), (200, "1"));
    assert_eq!(listed.body, format!("[{expected}]\n"));

    // What was never set is not there.
    server.execute("UPDATE credentials SET name = NULL, last_used_at = NULL").await;
    let mut bare: Value = serde_json::from_str(&expected).unwrap();
    for member in ["name", "last_used_at"] {
        bare.as_object_mut().unwrap().remove(member);
    }
    assert_eq!(get(&tenant, &format!("/{id}")).await.json(), bare);

    let renamed = rename(&tenant, &id, r#"{"NAME":"<Ann's> & key","id":"x","CredentialId":"x"} trailing"#).await;
    assert_eq!((renamed.status, renamed.body.as_str()), (204, ""));
    assert!(get(&tenant, &format!("/{id}")).await.body.contains(r#""name":"\u003cAnn's\u003e \u0026 key""#));
    for name in ["ü".repeat(255), "a\0b".to_owned(), "'; DELETE FROM credentials; --".to_owned()] {
        assert_eq!(rename(&tenant, &id, &json!({"name": name}).to_string()).await.status, 204);
        assert_eq!(get(&tenant, &format!("/{id}")).await.json()["name"], name.replace('\0', "\u{fffd}"));
    }

    let other = register(&tenant, "ü1", Format::None).await;
    // As the contract's own clients send it: a content type, and no body.
    let request = tenant.request(Method::DELETE, &tenant.path(&format!("/credentials/{id}?credential_id={}", other.id())));
    let deleted = Answer::to(request.header("apiKey", &tenant.api_key).header("Content-Type", "application/json")).await;
    assert_eq!((deleted.status, deleted.body.as_str()), (204, ""));
    assert_eq!(ids(&get(&tenant, "").await), [other.id()]);
    assert_eq!((server.count("credentials").await, server.count("credential_evidence").await), (1, 1));
    for answer in [get(&tenant, &format!("/{id}")).await, rename(&tenant, &id, r#"{"name":"x"}"#).await, delete(&tenant, &id).await] {
        assert_eq!(answer.problem(404, &format!("credential with id '{id}' not found")), "");
    }
}

async fn changes_are_recorded(server: Server) {
    let tenant = server.create_tenant(&TenantSpec::default());
    let draft = register(&tenant, "ann", Format::None).await;
    let before = server.count("audit_events").await;
    rename(&tenant, "AAAA", r#"{"name":"x"}"#).await.problem(404, "credential with id 'AAAA' not found");
    rename(&tenant, &draft.id(), "{}").await.problem(400, INVALID);
    assert_eq!(server.count("audit_events").await, before, "nothing has happened");
    assert_eq!(rename(&tenant, &draft.id(), r#"{"name":"x"}"#).await.status, 204);
    assert_eq!(delete(&tenant, &draft.id()).await.status, 204);
    let store = server.store().await;
    let events = store.audit_events(tenant.id.parse().unwrap(), 2).await.unwrap();
    let mut told: Vec<_> = events
        .iter()
        .map(|e| {
            assert_eq!((e.actor_user_id.as_ref().unwrap().as_str(), e.credential_id.as_ref().unwrap().to_string()), ("ann", draft.id()));
            assert_eq!((e.meta.source_ip.as_str(), e.meta.request_id.len(), &e.error), ("127.0.0.1", 32, &None));
            e.event_type.as_str()
        })
        .collect();
    told.sort_unstable();
    assert_eq!(told, ["webauthn_credential_deleted", "webauthn_credential_updated"]);
    store.close().await;
}

async fn refusals_in_their_order(server: Server) {
    let tenant = server.create_tenant(&TenantSpec::default());
    let id = register(&tenant, "ann", Format::None).await.id();
    // Before anything is read, and before it is known whether there is such a path.
    for (method, rest) in [
        (Method::GET, "?page=x".to_owned()),
        (Method::GET, format!("/{id}")),
        (Method::PATCH, format!("/{id}")),
        (Method::DELETE, format!("/{id}")),
        (Method::POST, String::new()),
        (Method::PUT, format!("/{id}")),
        (Method::GET, format!("/{id}/more")),
        (Method::GET, "/".to_owned()),
    ] {
        let path = tenant.path(&format!("/credentials{rest}"));
        let answer = Answer::to(tenant.request(method.clone(), &path).header("Content-Type", "application/json").body("{")).await;
        assert_eq!(answer.problem(401, "The api key is invalid"), UNKEYED, "{method} {rest}");
    }
    for (method, rest) in [
        (Method::POST, String::new()),
        (Method::PUT, format!("/{id}")),
        (Method::GET, format!("/{id}/more")),
        (Method::GET, "/".to_owned()),
    ] {
        assert_eq!(ask(&tenant, method.clone(), &rest, Some("{}")).await.problem(404, "Not Found"), "", "{method} {rest}");
    }
    assert_eq!(ask(&tenant, Method::HEAD, &format!("/{id}"), None).await.status, 404);

    for bad in ["x", "AA==", "AB", "a.b", "%00", "%ff", "'%20OR%201=1--", &"A".repeat(1366), &"A".repeat(4000), &"%C3%BC".repeat(3000)] {
        for answer in [get(&tenant, &format!("/{bad}")).await, rename(&tenant, bad, r#"{"name":"x"}"#).await, delete(&tenant, bad).await] {
            let title = answer.json()["title"].as_str().unwrap().to_owned();
            assert!(title.starts_with("credential with id '") && title.chars().count() < 1400, "{title}");
            assert_eq!(answer.problem(404, &title), "");
        }
    }
    // What the body is comes before whether there is such a credential.
    for id in [id.as_str(), "AAAA", "no id"] {
        for (body, title, details) in [
            ("", INVALID, "name is a required field"),
            ("{}", INVALID, "name is a required field"),
            ("null", INVALID, "name is a required field"),
            (r#"{"name":null}"#, INVALID, "name is a required field"),
            (r#"{"name":""}"#, INVALID, "name is a required field"),
            (&json!({"name": "ü".repeat(256)}).to_string(), INVALID, "name cannot have more than 255 entries"),
            (r#"{"name":7}"#, UNFIT, "Unmarshal type error: expected=string, got=number, field=name, offset=9"),
            (r#"{"name":"a","Name":"b"}"#, UNFIT, "duplicate member Name"),
            ("{", UNFIT, "Syntax error: offset=1, error="),
            ("[]", UNFIT, "Unmarshal type error: offset="),
        ] {
            let given = rename(&tenant, id, body).await.problem(400, title);
            assert!(given.starts_with(details), "{id} {body}: {given}");
        }
    }
    let form = tenant.request(Method::PATCH, &tenant.path(&format!("/credentials/{id}"))).header("apiKey", &tenant.api_key);
    let form = form.header("Content-Type", "application/x-www-form-urlencoded").body("name=x");
    assert_eq!(Answer::to(form).await.problem(400, UNFIT), "Unsupported Media Type");
    assert_eq!(get(&tenant, &format!("/{id}")).await.json()["name"], format!("cred-{id}"), "nothing of this had an effect");
}

async fn pages_lead_to_each_other(server: Server) {
    let tenant = server.create_tenant(&TenantSpec::default());
    let base = format!("{}{}?", server.url(), tenant.path("/credentials"));
    let nothing = get(&tenant, "").await;
    assert_eq!(nothing.body, "[]\n");
    assert_eq!(links(&nothing, &base), ("0".to_owned(), vec![("first".to_owned(), "page=1&per_page=20".to_owned())]));
    let mut made = Vec::new();
    for user in ["ann", "bob", "ann", "bob", "ann"] {
        made.push(register(&tenant, user, Format::None).await.id());
    }
    // Some may be of one millisecond, in which their ids decide: what is sorted is what there is.
    let newest = ids(&get(&tenant, "").await);
    assert_eq!(
        {
            let mut sorted = newest.clone();
            sorted.sort();
            sorted
        },
        {
            made.sort();
            made
        }
    );
    let oldest = ids(&get(&tenant, "?order=asc").await);
    assert_eq!(oldest, newest.iter().rev().cloned().collect::<Vec<_>>());
    assert_eq!(ids(&get(&tenant, "?Order=desc").await), newest);

    let (mut found, mut next) = (Vec::new(), "?x=%22&PER_PAGE=2&order=asc".to_owned());
    let mut relations = Vec::new();
    loop {
        let answer = get(&tenant, &next).await;
        found.extend(ids(&answer));
        let (total, links) = links(&answer, &base);
        assert_eq!(total, "5");
        relations.push(links.iter().map(|(relation, _)| relation.clone()).collect::<Vec<_>>().join(" "));
        assert!(links.iter().all(|(_, query)| query.starts_with("order=asc&page=") && query.ends_with("&per_page=2&x=%22")), "{links:?}");
        let Some((_, query)) = links.into_iter().find(|(relation, _)| relation == "next") else { break };
        next = format!("?{query}");
    }
    assert_eq!((found, relations), (oldest, vec!["last next".into(), "first last next prev".into(), "first prev".into()]));

    for (query, count, size) in [
        ("?page=0&per_page=0", 5, 20),
        ("?page=-1&per_page=-1", 5, 20),
        ("?page=&per_page=", 5, 20),
        ("?page=1&per_page=9223372036854775807", 5, 500),
        ("?page=9223372036854775807&per_page=500", 0, 500),
        ("?page=2", 0, 20),
        ("?page=3&per_page=2", 1, 2),
    ] {
        let answer = get(&tenant, query).await;
        assert_eq!((ids(&answer).len(), answer.header("X-Total-Count")), (count, "5"), "{query}");
        assert!(answer.header("Link").contains(&format!("per_page={size}>")), "{query}: {}", answer.header("Link"));
    }
}

async fn filters_and_hostile_queries(server: Server) {
    let tenant = server.create_tenant(&TenantSpec::default());
    let (ann, bob) = (register(&tenant, "ann", Format::None).await.id(), register(&tenant, "B%_ ;&=+", Format::FidoU2f).await.id());
    for (query, expected) in [
        ("?user_id=ann", vec![&ann]),
        ("?USER_ID=ann&page=1&unknown=1", vec![&ann]),
        ("?user_id=B%25_%20%3B%26%3D%2B", vec![&bob]),
        ("?user_id=B%25_+%3B%26%3D%2B", vec![&bob]),
        ("?user_id=Ann", vec![]),
        ("?user_id=an_", vec![]),
        ("?user_id=%25", vec![]),
        ("?user_id=ann%00", vec![]),
        ("?user_id=%27%20OR%20%27%27%3D%27", vec![]),
        ("?user_id=ann%27--", vec![]),
        ("?user_id=ann%27)%20UNION%20SELECT%20*%20FROM%20api_keys--", vec![]),
        (&format!("?user_id={}", "a".repeat(65)), vec![]),
        (&format!("?user_id={}", "a".repeat(2000)), vec![]),
    ] {
        let answer = get(&tenant, query).await;
        assert_eq!(ids(&answer).iter().collect::<Vec<_>>(), expected, "{query}");
        assert_eq!(answer.header("X-Total-Count"), expected.len().to_string(), "{query}");
    }
    let order = "Order must be one of 'desc asc'";
    for (query, title, details) in [
        ("?order=up", INVALID, order.to_owned()),
        ("?order=DESC", INVALID, order.to_owned()),
        ("?order=asc%3B%20DROP%20TABLE%20credentials", INVALID, order.to_owned()),
        ("?user_id=", INVALID, "user_id must at least have 1 entry".to_owned()),
        ("?user_id&order=x", INVALID, format!("user_id must at least have 1 entry and {order}")),
        ("?page=abc&order=x", UNFIT, "strconv.ParseInt: parsing \"abc\": invalid syntax".to_owned()),
        ("?per_page=1e9", UNFIT, "strconv.ParseInt: parsing \"1e9\": invalid syntax".to_owned()),
        ("?page=9223372036854775808", UNFIT, "strconv.ParseInt: parsing \"9223372036854775808\": value out of range".to_owned()),
        ("?page=1;per_page=2", UNFIT, "invalid semicolon separator in query".to_owned()),
        ("?user_id=ann&user_id=bob", UNFIT, "duplicate parameter user_id".to_owned()),
        ("?user_id=ann&User_Id=bob", UNFIT, "duplicate parameter user_id".to_owned()),
        ("?page=1&page=1", UNFIT, "duplicate parameter page".to_owned()),
        ("?user_id=%zz", UNFIT, "invalid URL escape \"%zz\"".to_owned()),
        ("?user_id=%ff", UNFIT, "a query is UTF-8".to_owned()),
        (&format!("?x={}", "a".repeat(2047)), UNFIT, "a query has at most 2048 bytes".to_owned()),
    ] {
        assert_eq!(get(&tenant, query).await.problem(400, title), details, "{query}");
    }
    assert_eq!(server.count("credentials").await, 2);
}

async fn tenants_do_not_see_each_other(server: Server) {
    let (tenant, other) = (server.create_tenant(&TenantSpec::default()), server.create_tenant(&TenantSpec::default()));
    let id = register(&tenant, "ann", Format::None).await.id();
    let not_found = format!("credential with id '{id}' not found");
    // The other tenant's key with its own path: there is no such credential there.
    assert_eq!((get(&other, "").await.body.as_str(), get(&other, "?user_id=ann").await.header("X-Total-Count")), ("[]\n", "0"));
    let body = r#"{"name":"mine"}"#;
    for answer in [get(&other, &format!("/{id}")).await, rename(&other, &id, body).await, delete(&other, &id).await] {
        assert_eq!(answer.problem(404, &not_found), "");
    }
    // Its key with the first one's path opens nothing, and says nothing of what there is.
    let mut stranger = tenant.clone();
    stranger.api_key.clone_from(&other.api_key);
    for id in [id.as_str(), "AAAA"] {
        for answer in [
            get(&stranger, "").await,
            get(&stranger, &format!("/{id}")).await,
            rename(&stranger, id, body).await,
            delete(&stranger, id).await,
        ] {
            assert_eq!(answer.problem(401, "The api key is invalid"), UNKEYED);
        }
    }
    assert_eq!(get(&tenant, &format!("/{id}")).await.json()["name"], format!("cred-{id}"));
    assert_eq!(server.count("audit_events WHERE event_type LIKE 'webauthn_credential_%'").await, 0);
}

#[tokio::test]
async fn links_are_of_the_host_that_was_asked() {
    let http = vec!["trusted_proxies = [\"127.0.0.1/32\"]".to_owned()];
    let server = Server::start(ServerSpec { http, ..ServerSpec::default() }).await;
    let tenant = server.create_tenant(&TenantSpec::default());
    let link = async |host: &str, proto: &str| {
        let request = tenant.request(Method::GET, &tenant.path("/credentials")).header("apiKey", &tenant.api_key);
        Answer::to(request.header("Host", host).header("X-Forwarded-Proto", proto)).await.header("Link").to_owned()
    };
    let path = tenant.path("/credentials?page=1&per_page=20>; rel=\"first\"");
    assert_eq!(link("api.example.org", "https").await, format!("<https://api.example.org{path}"));
    assert_eq!(link("api.example.org:8443", "").await, format!("<http://api.example.org:8443{path}"));
    assert_eq!(link("api.example.org", "javascript").await, format!("<http://api.example.org{path}"));
    // What is no host is not repeated.
    for hostile in ["a>; rel=\"next\",<b", "user@evil.example", "a/b"] {
        assert_eq!(link(hostile, "").await, format!("<http://localhost:0{path}"), "{hostile}");
    }
    // Nobody else's word counts for the scheme.
    let server = Server::sqlite().await;
    let tenant = server.create_tenant(&TenantSpec::default());
    let request = tenant.request(Method::GET, &tenant.path("/credentials")).header("apiKey", &tenant.api_key);
    assert!(Answer::to(request.header("X-Forwarded-Proto", "https")).await.header("Link").starts_with("<http://"));
}
