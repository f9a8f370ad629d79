//! What `doctor` says of things that are wrong, and what commands say that are used wrongly.

use std::process::Command;

use serde_json::Value;

use crate::support::server::{Server, TenantSpec, text};

/// The findings that are not well, each with its name and detail.
fn complaints(server: &Server) -> Vec<(String, String)> {
    let done = server.cli(&["--json", "doctor"]);
    let findings: Vec<Value> = serde_json::from_slice(&done.stdout).unwrap_or_else(|e| panic!("{e}: {}", text(&done)));
    let bad: Vec<_> = findings.iter().filter(|f| f["ok"] == false).collect();
    assert_eq!(done.status.code(), Some(i32::from(!bad.is_empty())));
    assert!(bad.iter().all(|f| f["advice"].as_str().is_some_and(|advice| !advice.is_empty())), "{}", text(&done));
    let word = |f: &Value, name: &str| f[name].as_str().unwrap().to_owned();
    bad.into_iter().map(|f| (word(f, "name"), word(f, "detail"))).collect()
}

/// Somebody made the token anew under its old name: nothing on it belongs to anybody here.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_the_keys_of_a_token_that_was_made_anew() {
    let mut server = Server::sqlite().await;
    server.create_tenant(&TenantSpec::default());
    assert_eq!(complaints(&server), []);
    server.kill();
    std::fs::remove_dir_all(server.folder.token_dir()).unwrap();
    std::fs::create_dir(server.folder.token_dir()).unwrap();
    server.folder.add_token("passkey-test");
    let found = complaints(&server);
    let said: Vec<_> = found.iter().map(|(name, detail)| (name.as_str(), detail.as_str())).collect();
    let [("keys", keys), ("root secret", secret)] = said.as_slice() else { panic!("{found:?}") };
    assert!(keys.contains("lacks key") && secret.contains("has no envelope"), "{found:?}");
}

/// What is wrong with the database does not hide what was found of the HSM.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn goes_on_where_the_database_cannot_be_read() {
    let server = Server::sqlite().await;
    server.execute("ALTER TABLE tenants RENAME COLUMN display_name TO gone").await;
    let found = complaints(&server);
    assert!(!found.is_empty() && found.iter().all(|(name, _)| name == "tenants"), "{found:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scripts_read_why_a_command_was_refused() {
    let server = Server::sqlite().await;
    let tenant = "00000000-0000-4000-8000-000000000000";
    for (args, code) in [
        (["tenant", "show", "nonsense"].as_slice(), 2),
        (&["tenant", "show", tenant], 1),
        (&["bogus"], 2),
        (&["api-key", "create", tenant, "--name", ""], 2),
        (&["api-key", "create", tenant, "--name", "two\nlines"], 2),
        (&["api-key", "create", tenant, "--name", "n"], 1),
    ] {
        let done = server.cli(&[&["--json"], args].concat());
        assert_eq!(done.status.code(), Some(code), "{args:?}: {}", text(&done));
        let said: Value = serde_json::from_slice(&done.stdout).unwrap_or_else(|e| panic!("{args:?}: {e}: {}", text(&done)));
        assert!(said["error"].as_str().is_some_and(|error| !error.is_empty()), "{args:?}: {said}");
    }
}

/// A reader that goes away is no reason to panic.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_pipe_is_not_a_crash() {
    let server = Server::sqlite().await;
    for command in ["completions bash", "tenant list", "--help"] {
        let script = format!("\"$0\" {command} 2>err | true; echo ${{PIPESTATUS[0]}}; cat err");
        let mut shell = Command::new("bash");
        let done = shell.args(["-c", &script, env!("CARGO_BIN_EXE_passkey-hsm")]).current_dir(server.folder.path()).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&done.stdout), "0\n", "{command}");
    }
}
