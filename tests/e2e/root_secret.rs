//! The deployment's root secret: made once, kept over restarts, shared by servers, and lost with its tokens alone.

use std::{fs, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use openssl::sha::sha256;

use passkey_hsm::hsm::ROOT_KEY;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::support::{
    api::{Answer, Tenant},
    authenticator::{Draft, Format},
    keys::Algorithm,
    server::{Server, TenantSpec, text},
};

crate::engines! {
    is_made_once_and_kept_over_restarts,
    two_servers_follow_a_new_one,
    a_login_outlives_a_restart_and_not_the_secret,
}

/// How long servers may take to follow.
const PATIENCE: Duration = Duration::from_secs(20);

async fn fingerprint(server: &Server) -> [u8; 16] {
    server.store().await.root_secret_fingerprint().await.unwrap().unwrap()
}

/// Waits until this server's readiness says so of its root secret.
async fn until_open(server: &Server, open: bool) -> Value {
    let begun = std::time::Instant::now();
    loop {
        let said = server.admin_api().get("/health/ready").await;
        let ready = said.json();
        if ready["root_secret"] == open && ready["hsm"] == true {
            assert_eq!(said.status, if open { 200 } else { 503 });
            return ready;
        }
        assert!(begun.elapsed() < PATIENCE, "{ready}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The command's exit code, and what it printed.
fn rewrap(server: &Server, args: &[&str]) -> (i32, String) {
    let done = server.cli(&[&["hsm", "rewrap"], args].concat());
    (done.status.code().unwrap(), text(&done))
}

/// What `doctor` says of the root secret.
fn diagnosis(server: &Server) -> (bool, String) {
    let done = server.cli(&["--json", "doctor"]);
    let findings: Vec<Value> = serde_json::from_slice(&done.stdout).unwrap_or_else(|e| panic!("{e}: {}", text(&done)));
    let found = findings.iter().find(|f| f["name"] == "root secret").unwrap_or_else(|| panic!("{findings:?}"));
    (found["ok"] == true, format!("{} {}", found["detail"].as_str().unwrap(), found["advice"].as_str().unwrap_or_default()))
}

async fn is_made_once_and_kept_over_restarts(mut server: Server) {
    let first = fingerprint(&server).await;
    for _ in 0..2 {
        server.kill();
        server.restart().await;
        assert_eq!(fingerprint(&server).await, first);
    }
    assert!(diagnosis(&server).0);
    assert_eq!((server.count("root_secret").await, server.count("root_secret_envelopes").await), (1, 1));
    let (code, said) = rewrap(&server, &[]);
    assert_eq!((code, said.contains("Nothing to do")), (0, true), "{said}");
    assert_eq!(server.log().matches("the root secret is open").count(), 3, "{}", server.log());
}

async fn two_servers_follow_a_new_one(server: Server) {
    let other = server.beside().await;
    let old = fingerprint(&server).await;
    let opened = |s: &Server| s.log().matches("the root secret is open").count();
    // What both print is in one log.
    assert_eq!(opened(&server), 2);
    let (code, said) = rewrap(&server, &["--new-secret"]);
    assert_eq!(code, 0, "{said}");
    assert_ne!(fingerprint(&server).await, old);
    let begun = std::time::Instant::now();
    while opened(&server) < 4 {
        assert!(begun.elapsed() < PATIENCE, "{}", server.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    until_open(&server, true).await;
    assert_eq!(other.admin_api().get("/health/ready").await.status, 200);
    assert!(!server.log().contains("the root secret is closed"));
}

/// A passkey of a user's, registered, with the user's handle.
async fn registered(tenant: &Tenant) -> (Draft, String) {
    let options = tenant.options("ann").await;
    let draft = Draft::new(&options, &tenant.origin, Format::None, Algorithm::Es256);
    tenant.finalize(draft.body().to_string()).await.token();
    (draft, options["publicKey"]["user"]["id"].as_str().unwrap().to_owned())
}

async fn begin_login(tenant: &Tenant) -> Answer {
    tenant.post(&tenant.path("/login/initialize"), "{}").await
}

/// Answers a challenge as an authenticator with that passkey would.
async fn end_login(tenant: &Tenant, begun: &Answer, (draft, handle): &(Draft, String)) -> Answer {
    let challenge = &begun.json()["publicKey"]["challenge"];
    let client_data = json!({"type": "webauthn.get", "challenge": challenge, "origin": tenant.origin, "crossOrigin": false}).to_string();
    // UP and UV; no counter.
    let auth_data = [sha256(tenant.rp_id.as_bytes()).as_slice(), &[0x05], &[0; 4]].concat();
    let signature = draft.key.sign(&[auth_data.as_slice(), &sha256(client_data.as_bytes())].concat());
    let b64 = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let body = json!({
        "id": draft.id(),
        "rawId": draft.id(),
        "type": "public-key",
        "response": {
            "clientDataJSON": b64(client_data.as_bytes()),
            "authenticatorData": b64(&auth_data),
            "signature": b64(&signature),
            "userHandle": handle,
        },
        "clientExtensionResults": {},
    });
    tenant.post(&tenant.path("/login/finalize"), body.to_string()).await
}

async fn a_login_outlives_a_restart_and_not_the_secret(mut server: Server) {
    let tenant = server.create_tenant(&TenantSpec::default());
    let passkey = registered(&tenant).await;
    let (one, two) = (begin_login(&tenant).await, begin_login(&tenant).await);
    server.kill();
    server.restart().await;
    let tenant = tenant.at(server.api());
    end_login(&tenant, &one, &passkey).await.token();
    assert_ne!(end_login(&tenant, &one, &passkey).await.status, 200, "good once");
    let other = server.beside().await;
    end_login(&tenant.at(other.api()), &two, &passkey).await.token();

    let before = begin_login(&tenant).await;
    let (code, said) = rewrap(&server, &["--new-secret"]);
    assert_eq!(code, 0, "{said}");
    let begun = std::time::Instant::now();
    // Once both have followed, what was begun under the old one is nobody's, and what is begun at one ends at the other.
    while end_login(&tenant.at(other.api()), &begin_login(&tenant).await, &passkey).await.status != 200
        || server.log().matches("the root secret is open").count() < 5
    {
        assert!(begun.elapsed() < PATIENCE, "{}", server.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let refused = end_login(&tenant, &before, &passkey).await;
    assert_eq!(refused.status, 401, "{}", refused.body);
    assert!(refused.body.contains("received challenge does not match"), "{}", refused.body);
}

/// The HSM opens the secret and is not asked again: who floods login/initialize does not reach it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logins_begin_while_no_signer_is_up() {
    let server = Server::sqlite().await;
    let tenant = server.create_tenant(&TenantSpec::default());
    // Whatever is started from now on finds no token.
    fs::rename(server.folder.token_dir(), server.folder.path().join("away")).unwrap();
    let tasks = fs::read_dir(format!("/proc/{}/task", server.pid())).unwrap();
    let children = tasks.map(|task| fs::read_to_string(task.unwrap().path().join("children")).unwrap_or_default());
    let children = children.collect::<Vec<_>>().join(" ");
    assert_ne!(children.trim(), "");
    for pid in children.split_whitespace() {
        kill_process(Pid::from_raw(pid.parse().unwrap()).unwrap(), Signal::KILL).unwrap();
    }
    let begun = std::time::Instant::now();
    while server.admin_api().get("/health/ready").await.json()["hsm"] == true {
        assert!(begun.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(begin_login(&tenant).await.status, 200);
    assert_eq!(server.admin_api().get("/health/ready").await.json()["root_secret"], true);
}

/// Somebody made the token anew: nothing on it opens the secret, and nothing is made by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_made_anew_does_not_open_it() {
    let mut server = Server::sqlite().await;
    let first = fingerprint(&server).await;
    let tenant = server.create_tenant(&TenantSpec::default());
    server.kill();
    fs::remove_dir_all(server.folder.token_dir()).unwrap();
    fs::create_dir(server.folder.token_dir()).unwrap();
    server.folder.add_token("passkey-test");
    server.restart_unready().await;
    until_open(&server, false).await;
    let tenant = tenant.at(server.api());
    let refused = begin_login(&tenant).await;
    assert!(refused.problem(503, "Service Unavailable").contains("the root secret is not available"), "{}", refused.body);
    assert_ne!(refused.header("Retry-After"), "");
    tenant.options("ann").await;
    let (ok, said) = diagnosis(&server);
    assert!(!ok && said.contains("has no envelope") && said.contains("hsm rewrap"), "{said}");
    let (code, said) = rewrap(&server, &[]);
    assert!(code == 1 && said.contains("has no envelope") && said.contains("--new-secret"), "{said}");
    assert_eq!(fingerprint(&server).await, first, "nothing is made anew by itself");
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(server.log().matches("the root secret is closed").count(), 1, "a cause is named once: {}", server.log());

    let (code, said) = rewrap(&server, &["--new-secret"]);
    assert_eq!(code, 0, "{said}");
    until_open(&server, true).await;
    assert_eq!(begin_login(&tenant).await.status, 200);
    assert_ne!(fingerprint(&server).await, first);
    assert!(diagnosis(&server).0);
}

/// The right token, without the key that counts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_root_key_is_named() {
    let mut server = Server::sqlite().await;
    server.kill();
    let id = ROOT_KEY.as_uuid().simple().to_string();
    for half in ["privkey", "pubkey"] {
        let args = ["--token-label", "passkey-test", "--login", "--pin", "env:PIN", "--delete-object", "--type", half, "--id", &id];
        server.folder.tool(&args, "");
    }
    server.restart_unready().await;
    until_open(&server, false).await;
    let (ok, said) = diagnosis(&server);
    assert!(!ok && said.contains("does not open its envelope") && said.contains("hsm rewrap"), "{said}");
    assert!(server.log().contains("does not open its envelope"), "{}", server.log());
}

/// A second token, taken in with the help of the first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_token_opens_it_once_it_was_rewrapped() {
    let mut server = Server::sqlite().await;
    let first = fingerprint(&server).await;
    server.kill();
    server.folder.add_token("passkey-other");
    let (config, of_first) = (server.folder.path().join("passkey-hsm.toml"), server.folder.path().join("first.toml"));
    fs::copy(&config, &of_first).unwrap();
    let text = fs::read_to_string(&of_first).unwrap();
    fs::write(&config, text.replace("\"passkey-test\"", "\"passkey-other\"")).unwrap();
    let (code, said) = rewrap(&server, &[]);
    assert!(code == 1 && said.contains("has no envelope"), "{said}");
    let (code, said) = rewrap(&server, &["--from", "first.toml"]);
    assert!(code == 0 && said.contains("opens the root secret now"), "{said}");
    let (code, said) = rewrap(&server, &["--from", "first.toml"]);
    assert!(code == 0 && said.contains("Nothing to do"), "{said}");
    server.restart().await;
    assert_eq!(fingerprint(&server).await, first);
    assert_eq!(server.count("root_secret_envelopes").await, 2);
    // Another deployment's token is of no help.
    let stranger = Server::sqlite().await;
    fs::write(&config, text.replace("\"passkey-test\"", "\"passkey-third\"")).unwrap();
    server.folder.add_token("passkey-third");
    let file = stranger.folder.path().join("passkey-hsm.toml");
    let (code, said) = rewrap(&server, &["--from", file.to_str().unwrap()]);
    assert!(code == 1 && said.contains("another root secret"), "{said}");
    assert_eq!(server.count("root_secret_envelopes").await, 2);
}
