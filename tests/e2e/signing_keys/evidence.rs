//! Evidence, attachments, and keys that a ceremony made.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use passkey_hsm::services::verify_key_evidence;
use reqwest::Method;
use serde_json::{Value, json};

use super::{act, generated, text, with_tenant};
use crate::{engines, support::server::Server};

engines! { evidence_is_checked_without_the_server }

async fn evidence_is_checked_without_the_server(server: Server) {
    let (api, tenant) = with_tenant(&server).await;
    let kid = text(&generated(&api, &tenant).await, "kid");
    let content = vec![0x5e; 300_000];
    let attached = act(&api, &kid, "attachments", json!({"name": "vendor.bin", "content": STANDARD.encode(&content)})).await;
    assert_eq!(attached.status, 201, "{}", attached.body);
    for (name, content) in [("", "AA=="), ("a", ""), ("a", "%"), ("a", "AA")] {
        act(&api, &kid, "attachments", json!({"name": name, "content": content})).await.problem(400, "unable to validate request");
    }
    act(&api, &kid, "attachments", json!({"name": "b", "content": STANDARD.encode(vec![0; (1 << 20) + 1])}))
        .await
        .problem(400, "unable to validate request");
    // It is not read to its end, so that the client may never hear why; nor is its connection of use any more.
    let other = server.admin_api().with_token(api.token());
    let huge = other.request(Method::POST, &format!("/signing_keys/{kid}/attachments")).body("x".repeat((2 << 20) + 1)).send().await;
    assert!(huge.is_err() || huge.is_ok_and(|answer| answer.status() == 413));
    assert_eq!(act(&api, &kid, "attachments", json!({"name": "vendor.bin", "content": "AA=="})).await.status, 409);

    let file = api.get(&format!("/signing_keys/{kid}/evidence")).await;
    assert_eq!(file.status, 200, "{}", file.body);
    let finding = serde_json::to_value(verify_key_evidence(file.body.as_bytes())).unwrap();
    assert_eq!((text(&finding, "verdict"), text(&finding, "kid")), ("accept".to_owned(), kid.clone()), "{finding}");
    assert_eq!(finding["attachments"], json!(["vendor.bin"]));
    assert_eq!(finding["attributes"]["CKA_NEVER_EXTRACTABLE"], true, "{finding}");
    let forged = file.body.replacen("Te", "Tf", 1).replacen("ES256", "ES384", 1);
    assert!(!verify_key_evidence(forged.as_bytes()).is_accepted());

    let entries = api.get("/inventory?per_page=500").await;
    let entry = entries.json().as_array().unwrap().iter().find(|entry| text(entry, "kid") == kid).cloned().unwrap();
    assert_eq!((text(&entry, "read_from"), &entry["on_token"]), ("token".to_owned(), &json!(true)), "{entry}");
    assert_eq!(entry["attributes"]["CKA_EXTRACTABLE"], false, "{entry}");
    assert!(text(&entry, "tenant_name").starts_with("Tenant ") && entry["firmware"].is_string() && entry["model"].is_string(), "{entry}");
    assert_eq!(act(&api, &kid, "destroy", json!({})).await.status, 200);
    let gone = api.get("/inventory").await.json();
    let entry = gone.as_array().unwrap().iter().find(|entry| text(entry, "kid") == kid).unwrap();
    assert_eq!((text(entry, "read_from"), &entry["on_token"]), ("evidence".to_owned(), &json!(false)), "{entry}");
    let bound = server.admin_as("tenant-admin", &[&tenant.id]).await;
    assert_eq!(bound.get("/inventory").await.header("X-Total-Count"), "2");
}

/// `pkcs11-tool --keypairgen`, as in a ceremony.
fn ceremony(server: &Server, id: &str, label: &str) {
    let login = ["--login", "--pin", "env:PIN", "--token-label", "passkey-test"];
    let make = ["--keypairgen", "--key-type", "EC:prime256v1", "--id", id, "--label", label, "--sensitive", "--usage-sign"];
    server.folder.tool(&[login.as_slice(), &make].concat(), "");
}

#[tokio::test]
async fn a_key_of_a_ceremony_is_an_orphan_until_it_is_adopted() {
    let server = Server::sqlite().await;
    let (api, tenant) = with_tenant(&server).await;
    ceremony(&server, "a1b2", "ceremony 7");
    let orphans = async || api.get("/hsm/orphans").await.json()["orphans"].clone();
    let found = orphans().await;
    assert_eq!(found.as_array().unwrap().len(), 1, "{found}");
    assert_eq!((text(&found[0], "cka_id"), text(&found[0], "label")), ("a1b2".to_owned(), "ceremony 7".to_owned()));
    let path = format!("/tenants/{}/signing_keys/adopt", tenant.id);
    for (body, why) in [
        (json!({"label": "ceremony 7"}), "algorithm is a required field"),
        (json!({"algorithm": "ES256"}), "cka_id or label is a required field"),
        (json!({"algorithm": "ES256", "cka_id": "a1b"}), "cka_id must be 1 to 255 bytes in hexadecimal"),
        (json!({"algorithm": "ES256", "cka_id": ""}), "cka_id must be 1 to 255 bytes in hexadecimal"),
        (json!({"algorithm": "ES256", "label": ""}), "label must have 1 to 255 bytes"),
    ] {
        assert_eq!(api.post(&path, body.to_string()).await.problem(400, "unable to validate request"), why);
    }
    let none = api.post(&path, json!({"algorithm": "ES256", "label": "ceremony 8"}).to_string()).await;
    assert!((400..500).contains(&none.status), "{}", none.body);
    let adopted = api.post(&path, json!({"algorithm": "ES256", "cka_id": "A1B2", "label": "ceremony 7"}).to_string()).await;
    assert_eq!(adopted.status, 201, "{}", adopted.body);
    let key: Value = adopted.json();
    assert_eq!(
        (text(&key, "origin"), text(&key, "cka_id"), text(&key, "state")),
        ("adopted".to_owned(), "a1b2".to_owned(), "pending".to_owned())
    );
    assert_eq!(orphans().await, json!([]));
    let again = api.post(&path, json!({"algorithm": "ES256", "label": "ceremony 7"}).to_string()).await;
    assert_eq!((again.status, text(&again.json(), "title").contains(&text(&key, "kid"))), (409, true), "{}", again.body);
    assert_eq!(act(&api, &text(&key, "kid"), "publish", json!({})).await.status, 200);
}
