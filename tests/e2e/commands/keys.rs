//! `key ..`, over the socket of a running server and, where none runs, directly: the same commands with the same outcomes.

use std::{fs, time::Duration};

use serde_json::{Value, json};

use super::{ask, refusal};
use crate::support::{
    api::Tenant,
    authenticator::Format,
    keys::Algorithm,
    server::{Server, TenantSpec},
};

/// A policy under which everything has its time within seconds, and nothing happens by itself.
fn policy() -> Value {
    json!({ "keys": {
        "jwks_max_age_seconds": 1, "token_lifetime_seconds": 1, "clock_skew_seconds": 0, "publication_seconds": 2,
        "retirement_seconds": 2, "period_seconds": null, "rollback_seconds": 3600, "standby": false,
    }})
}

pub(super) fn tenant(server: &Server) -> Tenant {
    server.create_tenant(&TenantSpec { settings: policy(), ..TenantSpec::default() })
}

/// P, and a little.
async fn publication() {
    tokio::time::sleep(Duration::from_millis(2_200)).await;
}

fn state(server: &Server, kid: &str) -> String {
    ask(server, &["key", "show", kid])["state"].as_str().unwrap().to_owned()
}

/// The kids in the JWKS that a server serves.
async fn published(tenant: &Tenant) -> Vec<String> {
    let jwks = tenant.jwks().await.json();
    jwks["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

/// Which key signs, as whoever registers sees it.
async fn signs(tenant: &Tenant, user: &str) -> String {
    let draft = tenant.draft(user, Format::None, Algorithm::Es256).await;
    let token = tenant.finalize(draft.body().to_string()).await.token();
    crate::decoded(token.split('.').next().unwrap())["kid"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_server_does_what_commands_say() {
    let server = Server::sqlite().await;
    let tenant = tenant(&server);
    let (first, second) = life(&server, &tenant).await;
    assert_eq!(signs(&tenant, "ann").await, second);
    assert!(!published(&tenant).await.contains(&first));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_do_the_same_where_no_server_runs_and_servers_follow() {
    let mut server = Server::sqlite().await;
    let tenant = tenant(&server);
    assert!(server.terminate().success());
    let (first, second) = life(&server, &tenant).await;
    server.restart().await;
    let tenant = tenant.at(server.api());
    assert_eq!(signs(&tenant, "ann").await, second);
    assert!(!published(&tenant).await.contains(&first));
}

/// A key's whole life by command. The tenant's first key, which is compromised in the end, and the one that signs.
async fn life(server: &Server, tenant: &Tenant) -> (String, String) {
    let (id, first) = (tenant.id.as_str(), tenant.kid.as_str());
    assert_eq!(state(server, first), "active");

    // Made, published and active, each with its rule.
    let made = ask(server, &["key", "generate", id, "--reason", "a successor"]);
    let second = made["kid"].as_str().unwrap().to_owned();
    let second = second.as_str();
    assert_eq!((&made["state"], &made["in_jwks"]), (&json!("pending"), &json!(false)));
    let early = refusal(server, 1, &["key", "activate", second]);
    assert!(early.starts_with("the key was not changed: state: "), "{early}");
    let standby = ask(server, &["key", "publish", second]);
    assert_eq!((&standby["state"], &standby["in_jwks"]), (&json!("published"), &json!(true)));
    let early = refusal(server, 1, &["key", "activate", second]);
    assert!(early.starts_with("the key was not changed: publication-time: "), "{early}");
    let early = refusal(server, 1, &["key", "rotate", id, "--emergency", "--yes"]);
    assert!(early.contains("publication-time: "), "{early}");
    publication().await;
    let rotated = ask(server, &["key", "activate", second]);
    assert_eq!(
        (&rotated["rotation"], &rotated["key"]["kid"], &rotated["previous"]["kid"]),
        (&json!("done"), &json!(second), &json!(first))
    );

    // Undone, and done again.
    let undone = ask(server, &["key", "rollback", id, "--reason", "a mistake"]);
    assert_eq!(undone["key"]["kid"], first);
    assert_eq!((state(server, first), state(server, second)), ("active".into(), "suspended".into()));
    ask(server, &["key", "suspend", first, "--yes"]);
    ask(server, &["key", "resume", second]);
    assert_eq!((state(server, first), state(server, second)), ("suspended".into(), "active".into()));
    assert!(refusal(server, 1, &["key", "destroy", second, "--yes"]).contains("the key was not changed: "));

    // Out of use.
    ask(server, &["key", "retire", first, "--yes"]);
    assert_eq!(state(server, first), "retiring");
    let distrusted = ask(server, &["key", "compromise", first, "--yes", "--reason", "an exercise"]);
    assert_eq!((&distrusted["key"]["state"], &distrusted["active"]["kid"]), (&json!("compromised"), &json!(second)), "{distrusted}");
    let third = ask(server, &["key", "generate", id, "--publish"])["kid"].as_str().unwrap().to_owned();
    let gone = ask(server, &["key", "destroy", &third, "--yes"]);
    assert_eq!(gone["state"], "destroyed");
    assert!(gone["private_destroyed_at"].is_string(), "{gone}");

    evidence(server, second);
    let listed = ask(server, &["key", "list", id]);
    assert_eq!(listed.as_array().unwrap().len(), 3);
    assert!(refusal(server, 1, &["key", "show", &tenant.id]).contains(&format!("there is no signing key {}", tenant.id)));
    (first.to_owned(), second.to_owned())
}

/// A key's evidence is written, added to and checked.
fn evidence(server: &Server, kid: &str) {
    let folder = server.folder.path();
    let (file, blob) = (folder.join("evidence.json"), folder.join("vendor.bin"));
    fs::write(&blob, b"what a vendor says").unwrap();
    let (file, blob) = (file.to_str().unwrap(), blob.to_str().unwrap());
    ask(server, &["key", "evidence", kid, "--attach", blob]);
    ask(server, &["key", "evidence", kid, "--out", file]);
    let found = ask(server, &["key", "evidence", "--verify", file]);
    assert_eq!((&found["verdict"], &found["kid"], &found["attachments"]), (&json!("accept"), &json!(kid), &json!(["vendor.bin"])));
    let forged = fs::read_to_string(file).unwrap().replace("CKA_LOCAL", "CKA_LOCUL").replace(kid, "00000000-0000-4000-8000-000000000000");
    fs::write(file, forged).unwrap();
    let output = server.cli(&["key", "evidence", "--verify", file]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stdout).contains("reject"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_token_is_looked_at_whether_or_not_a_server_runs() {
    let mut server = Server::sqlite().await;
    let tenant = tenant(&server);
    for running in [true, false] {
        if !running {
            assert!(server.terminate().success());
        }
        let inventory = ask(&server, &["key", "inventory", &tenant.id]);
        let [entry] = inventory.as_array().unwrap().as_slice() else { panic!("{inventory}") };
        assert_eq!((&entry["kid"], &entry["on_token"], &entry["read_from"]), (&json!(tenant.kid), &json!(true), &json!("token")));
        assert!(entry["attributes"].is_object() && entry["firmware"].is_string(), "{entry}");
        let info = ask(&server, &["hsm", "info"]);
        assert_eq!((&info["ready"], &info["keys_expected"]), (&json!(true), &json!(1)), "{info}");
        assert_eq!(ask(&server, &["hsm", "list-orphans"]), json!({ "orphans": [], "missing": [] }));
        let measured = ask(&server, &["hsm", "bench", "--seconds", "1", "--concurrency", "2"]);
        assert!(measured.is_object(), "{measured}");
        for shown in
            [&["key", "inventory"][..], &["key", "list"], &["key", "show", &tenant.kid], &["hsm", "info"], &["hsm", "list-orphans"]]
        {
            let output = server.cli(shown);
            assert!(output.status.success() && !output.stdout.is_empty(), "{shown:?}: {output:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_waits_for_the_key_of_a_ceremony() {
    let server = Server::sqlite().await;
    let origin = ["--rp-id", "localhost", "--origin", "http://localhost:8000"];
    let mut made = ask(&server, &[&["tenant", "create", "--name", "T", "--await-key"][..], &origin].concat());
    let id = made["id"].as_str().unwrap().to_owned();
    let id = id.as_str();
    assert!(made["kid"].is_null() && ask(&server, &["key", "list", id]).as_array().unwrap().is_empty(), "{made}");
    let login = ["--login", "--pin", "env:PIN", "--token-label", "passkey-test"];
    let ceremony = ["--keypairgen", "--key-type", "EC:prime256v1", "--id", "a1b2", "--label", "ceremony", "--sensitive", "--usage-sign"];
    server.folder.tool(&[&login[..], &ceremony].concat(), "");
    assert!(refusal(&server, 2, &["key", "adopt", id, "--algorithm", "ES256"]).contains("--cka-id"));
    let adopted = ask(&server, &["key", "adopt", id, "--cka-id", "a1b2", "--label", "ceremony", "--algorithm", "ES256", "--activate"]);
    assert_eq!((&adopted["state"], &adopted["origin"], &adopted["cka_id"]), (&json!("active"), &json!("adopted"), &json!("a1b2")));
    made["kid"] = adopted["kid"].clone();
    let tenant = Tenant::new(server.api(), &made, "localhost", "http://localhost:8000");
    assert_eq!(signs(&tenant, "ann").await, adopted["kid"]);
}
