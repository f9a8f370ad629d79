//! A command that does its work itself is killed in the middle: `doctor` says what is left, and the command that it names finishes it.

use std::os::unix::process::ExitStatusExt as _;

use serde_json::Value;

use super::{ask, keys::tenant};
use crate::support::server::{Server, text};

const FAILPOINT: &str = "PASSKEY_HSM_FAILPOINT";

/// Runs a command that dies at this point.
fn dies(server: &Server, point: &str, args: &[&str]) {
    let output = server.cli_with(&[(FAILPOINT, point)], args);
    assert_eq!(output.status.signal(), Some(9), "{point}: {}", text(&output));
}

/// What `doctor` finds wrong, with its advice.
fn doctor(server: &Server) -> String {
    text(&server.cli(&["doctor"]))
}

/// The tenant's one key in this state.
fn only(server: &Server, tenant: &str, state: &str) -> Value {
    let keys = ask(server, &["key", "list", tenant]);
    let found: Vec<_> = keys.as_array().unwrap().iter().filter(|key| key["state"] == state).cloned().collect();
    assert_eq!(found.len(), 1, "{state}: {keys}");
    found[0].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_killed_command_left_is_named_and_finished() {
    let mut server = Server::sqlite().await;
    let tenant = tenant(&server);
    let id = tenant.id.as_str();
    assert!(server.terminate().success());
    let healthy = doctor(&server);

    for point in ["key.intent_written", "key.generated"] {
        dies(&server, point, &["key", "generate", id]);
        let cut_short = only(&server, id, "pending");
        assert!(cut_short.get("thumbprint").is_none_or(Value::is_null), "{point}: {cut_short}");
        let kid = cut_short["kid"].as_str().unwrap();
        let named = format!("passkey-hsm key generate --resume {kid}");
        let said = doctor(&server);
        assert!(said.contains(&named), "{point}: {said}");
        let finished = ask(&server, &named.split(' ').skip(1).collect::<Vec<_>>());
        assert!(finished["thumbprint"].is_string() && finished["state"] == "pending", "{point}: {finished}");
        assert_eq!(doctor(&server).contains(kid), healthy.contains(kid), "{point}");

        // Its end, cut short at one of two places.
        let place = if point == "key.generated" { "key.destruction_begun" } else { "key.destroyed_on_token" };
        dies(&server, place, &["key", "destroy", kid, "--yes"]);
        let named = format!("passkey-hsm key destroy {kid}");
        let said = doctor(&server);
        assert!(said.contains(&named), "{place}: {said}");
        let finished = ask(&server, &[&named.split(' ').skip(1).collect::<Vec<_>>()[..], &["--yes"]].concat());
        assert!(finished["private_destroyed_at"].is_string() && finished["state"] == "destroyed", "{place}: {finished}");
        assert!(!doctor(&server).contains(kid), "{place}");
    }
    let orphans = ask(&server, &["hsm", "list-orphans"]);
    assert_eq!((orphans["orphans"].as_array().map(Vec::len), orphans["missing"].as_array().map(Vec::len)), (Some(0), Some(0)), "{orphans}");
}
