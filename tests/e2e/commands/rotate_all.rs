//! `key rotate --all`: broken off and taken up again.

use std::{
    io::{BufRead as _, BufReader},
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::{ask, keys::tenant};
use crate::support::{api::Tenant, server::Server};

const TENANTS: usize = 12;

fn active(server: &Server, tenant: &Tenant) -> String {
    let keys = ask(server, &["key", "list", &tenant.id]);
    let key = keys.as_array().unwrap().iter().find(|key| key["state"] == "active").cloned();
    key.unwrap()["kid"].as_str().unwrap().to_owned()
}

/// Standbys for all of them, old enough to take over.
async fn standbys(server: &Server, tenants: &[Tenant]) {
    for tenant in tenants {
        let made = ask(server, &["key", "generate", &tenant.id]);
        ask(server, &["key", "publish", made["kid"].as_str().unwrap()]);
    }
    tokio::time::sleep(Duration::from_millis(2_200)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_tenant_is_rotated_once_however_often_the_run_is_broken_off() {
    let server = Server::sqlite().await;
    let tenants: Vec<_> = (0..TENANTS).map(|_| tenant(&server)).collect();
    standbys(&server, &tenants).await;

    // Ctrl-C after the first tenth, while the server holds its breath: what is under way is finished, and nothing more is begun.
    let mut run = server.begin(&["--json", "key", "rotate", "--all", "--yes"]);
    let mut said = BufReader::new(run.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("% (") {
        line.clear();
        assert!(said.read_line(&mut line).unwrap() > 0, "the run ended without a word");
    }
    server.signal(Signal::STOP);
    kill_process(Pid::from_raw(run.id().cast_signed()).unwrap(), Signal::INT).unwrap();
    thread::sleep(Duration::from_millis(200));
    server.signal(Signal::CONT);
    let output = run.wait_with_output().unwrap();
    let first: Value = serde_json::from_slice(&output.stdout).unwrap();
    let done = |run: &Value| run["done"].as_u64().unwrap();
    assert_eq!((output.status.code(), &first["broken_off"]), (Some(130), &json!(true)), "{first}");
    assert!((1..TENANTS as u64).contains(&done(&first)), "{first}");
    let resume = format!("passkey-hsm key rotate --all --since {}", first["since"].as_str().unwrap());
    assert_eq!(first["resume"], json!(resume));

    // The very command that was said, and then nothing is left to do.
    let args: Vec<_> = resume.split(' ').skip(1).chain(["--yes"]).collect();
    let second = ask(&server, &args);
    assert_eq!((done(&first) + done(&second), &second["failed"]), (TENANTS as u64, &json!([])), "{first} {second}");
    let third = ask(&server, &args);
    assert_eq!((&third["done"], &third["not_needed"]), (&json!(0), &json!(TENANTS)));
    for tenant in &tenants {
        let keys = ask(&server, &["key", "list", &tenant.id]);
        assert_eq!(keys.as_array().unwrap().len(), 2, "{keys}");
        assert_ne!(active(&server, tenant), tenant.kid);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_rotated_now_is_planned_or_said() {
    let mut server = Server::sqlite().await;
    let [ready, young, none] = [tenant(&server), tenant(&server), tenant(&server)];
    standbys(&server, std::slice::from_ref(&ready)).await;
    let made = ask(&server, &["key", "generate", &young.id]);
    ask(&server, &["key", "publish", made["kid"].as_str().unwrap()]);
    // Its rotation is due; that of the others is not, for they have no period.
    server.execute("UPDATE signing_keys SET rotate_from = 0 WHERE state = 'active'").await;
    assert!(server.terminate().success());

    // At a terminal, where no server runs: with a bar, and asked first.
    let mut terminal = server.at_terminal(&["key", "rotate", "--all", "--due"]);
    terminal.wait_for("Go on? [y/N] ");
    assert!(terminal.shown().contains("The keys of 3 tenants whose rotation is due"), "{}", terminal.shown());
    terminal.type_line("y");
    let (status, said) = terminal.end();
    assert!(status.success() && said.contains("1 rotated, 2 planned, 0 not needed, 0 failed, of 3 tenants."), "{said}");
    assert!(said.contains("3/3"), "no bar: {said}");
    assert_ne!(active(&server, &ready), ready.kid);
    for planned in [&young, &none] {
        assert_eq!(active(&server, planned), planned.kid);
        let keys = ask(&server, &["key", "list", &planned.id]);
        assert!(keys.as_array().unwrap().iter().any(|key| key["plan"] == "activate"), "{keys}");
    }
}
