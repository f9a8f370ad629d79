//! `admin-token`, and who may command.

use std::{fs, os::unix::fs::PermissionsExt as _};

use serde_json::json;

use super::{ask, refusal};
use crate::support::server::{Server, ServerSpec};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn administrators_are_made_listed_and_revoked_whether_or_not_a_server_runs() {
    let mut server = Server::sqlite().await;
    for running in [true, false] {
        if !running {
            assert!(server.terminate().success());
        }
        let name = format!("alice {running}");
        let made = ask(&server, &["admin-token", "create", "--name", &name, "--role", "auditor", "--expires-in-days", "7"]);
        assert!(made["token"].as_str().unwrap().starts_with("phsm_admin_"), "{made}");
        let taken = refusal(&server, 1, &["admin-token", "create", "--name", &name, "--role", "admin"]);
        assert!(taken.contains(&name), "{taken}");
        let id = made["id"].as_str().unwrap();
        ask(&server, &["admin-token", "revoke", id, "--reason", "left"]);
        assert!(refusal(&server, 1, &["admin-token", "revoke", id]).contains(id));
        let listed = ask(&server, &["admin-token", "list"]);
        let row = listed.as_array().unwrap().iter().find(|admin| admin["id"] == id).unwrap();
        assert!(row["revoked_at"].is_string() && row.get("token").is_none() && row["role"] == "auditor", "{row}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_elsewhere_is_commanded_with_a_token() {
    let server = Server::sqlite().await;
    let made = ask(&server, &["admin-token", "create", "--name", "auditor", "--role", "auditor"]);
    let token = made["token"].as_str().unwrap();
    let file = server.folder.path().join("token");
    fs::write(&file, token).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let (file, url) = (file.to_str().unwrap(), format!("http://{}", server.admin));

    let listed = ask(&server, &["--server", &url, "--admin-token-file", file, "admin-token", "list"]);
    assert_eq!(listed[0]["name"], "auditor");
    let by_variable = server.cli_with(&[("PASSKEY_HSM_ADMIN_TOKEN", token)], &["--server", &url, "admin-token", "list"]);
    assert!(by_variable.status.success());

    let unknown = refusal(&server, 1, &["--server", &url, "admin-token", "list"]);
    assert!(unknown.contains("--admin-token-file FILE, or PASSKEY_HSM_ADMIN_TOKEN"), "{unknown}");
    let denied =
        refusal(&server, 1, &["--server", &url, "--admin-token-file", file, "admin-token", "create", "--name", "b", "--role", "admin"]);
    assert!(denied.contains("change-admins"), "{denied}");
    // What works on the database itself is not elsewhere.
    for local in [&["tenant", "list"][..], &["migrate"], &["hsm", "rewrap"]] {
        assert!(refusal(&server, 2, &[&["--server", &url], local].concat()).contains("without --server"));
    }
    assert!(!server.log().contains(token));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_dual_control_a_token_says_who_commands() {
    let admin = vec!["dual_control = \"on\"".to_owned()];
    let mut server = Server::start(ServerSpec { admin, ..ServerSpec::default() }).await;
    for running in [true, false] {
        if !running {
            assert!(server.terminate().success());
        }
        let (first, second) = (format!("first {running}"), format!("second {running}"));
        // The first one is made on the host, and then nobody else is.
        let made = if running { ask(&server, &["admin-token", "create", "--name", &first, "--role", "admin"]) } else { json!(null) };
        let refused = refusal(&server, 1, &["admin-token", "create", "--name", &second, "--role", "admin"]);
        assert!(refused.contains("PASSKEY_HSM_ADMIN_TOKEN"), "{refused}");
        if let Some(token) = made["token"].as_str() {
            let with = [("PASSKEY_HSM_ADMIN_TOKEN", token)];
            let made = server.cli_with(&with, &["--json", "admin-token", "create", "--name", &second, "--role", "auditor"]);
            assert!(made.status.success(), "{made:?}");
            assert!(
                server
                    .cli_with(&with, &["tenant", "create", "--name", "T", "--rp-id", "localhost", "--origin", "https://localhost"])
                    .status
                    .success()
            );
        }
        for changing in [
            &["tenant", "create", "--name", "U", "--rp-id", "localhost", "--origin", "https://localhost"][..],
            &["api-key", "create", "00000000-0000-4000-8000-000000000000", "--name", "k"],
            &["hsm", "rewrap"],
        ] {
            assert!(refusal(&server, 1, changing).contains("dual control is on: show an admin token"), "{changing:?}");
        }
        if let Some(token) = made["token"].as_str() {
            another_policy_waits(&server, token);
        }
        // Looking is free.
        assert_eq!(ask(&server, &["tenant", "list"]).as_array().unwrap().len(), 1);
        assert_eq!(ask(&server, &["admin-token", "list"]).as_array().unwrap().len(), 3);
    }
}

/// A key policy is for two administrators to change; what else a file says is for one.
fn another_policy_waits(server: &Server, token: &str) {
    let id = ask(server, &["tenant", "list"])[0]["id"].as_str().unwrap().to_owned();
    let file = server.folder.path().join("policy.json");
    let path = file.to_str().unwrap();
    let mut config = ask(server, &["tenant", "config", "get", &id]);
    config["settings"]["algorithm"] = json!("ES384");
    config["settings"]["cred_props"] = json!(false);
    fs::write(&file, config.to_string()).unwrap();
    assert!(refusal(server, 1, &["tenant", "config", "set", &id, path]).contains("dual control is on"));
    let output = server.cli_with(&[("PASSKEY_HSM_ADMIN_TOKEN", token)], &["--json", "tenant", "config", "set", &id, path]);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let approval: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&approval["act"], &approval["state"]), (&json!("change_policy"), &json!("pending")));
    let now = ask(server, &["tenant", "config", "get", &id]);
    assert_eq!((&now["settings"]["algorithm"], &now["settings"]["cred_props"]), (&json!("ES256"), &json!(false)));

    // Another administrator agrees.
    let approval = approval["id"].as_str().unwrap();
    let own = server.cli_with(&[("PASSKEY_HSM_ADMIN_TOKEN", token)], &["approval", "approve", approval]);
    assert_eq!(own.status.code(), Some(1), "{own:?}");
    let made =
        server.cli_with(&[("PASSKEY_HSM_ADMIN_TOKEN", token)], &["--json", "admin-token", "create", "--name", "other", "--role", "admin"]);
    let other: serde_json::Value = serde_json::from_slice(&made.stdout).unwrap();
    let with = [("PASSKEY_HSM_ADMIN_TOKEN", other["token"].as_str().unwrap())];
    let done = server.cli_with(&with, &["--json", "approval", "approve", approval, "--reason", "agreed"]);
    assert!(done.status.success(), "{done:?}");
    assert_eq!(ask(server, &["tenant", "config", "get", &id])["settings"]["algorithm"], "ES384");
    assert_eq!(ask(server, &["approval", "show", approval])["state"], "done");
    assert_eq!(ask(server, &["approval", "list", "--state", "done"]).as_array().unwrap().len(), 1);
}
