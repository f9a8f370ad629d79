//! The process dies in the middle: of a finalize, of the making of a tenant, of a signature. Needs the `failpoints` feature.

use std::{
    fs,
    os::unix::process::ExitStatusExt,
    process::Output,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use futures::future::join_all;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::{
    authenticator::Format,
    jose,
    keys::Algorithm,
    postgres,
    server::{Server, ServerSpec, TenantSpec, text},
};

const FAILPOINT: &str = "PASSKEY_HSM_FAILPOINT";

/// A finalize dies here and has stored nothing: the same request succeeds afterwards.
const BEFORE_THE_COMMIT: [&str; 4] =
    ["finalize.ceremony_read", "finalize.verified", "finalize.signed", "storage.before_commit.registration"];

/// A finalize dies here and the credential is whole: the token is lost, its challenge used up.
const AFTER_THE_COMMIT: [&str; 2] = ["storage.after_commit.registration", "finalize.committed"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_finalize_dies_at_every_step_on_sqlite() {
    for point in BEFORE_THE_COMMIT.into_iter().chain(AFTER_THE_COMMIT) {
        a_finalize_dies(None, point).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_finalize_dies_at_every_step_on_postgres() {
    for point in BEFORE_THE_COMMIT.into_iter().chain(AFTER_THE_COMMIT) {
        let database = postgres::Server::shared().empty_database().await;
        a_finalize_dies(Some(database), point).await;
    }
}

async fn a_finalize_dies(database: Option<String>, point: &'static str) {
    let env = vec![(FAILPOINT.to_owned(), point.to_owned())];
    let mut server = Server::start(ServerSpec { database, env, ..ServerSpec::default() }).await;
    let tenant = server.create_tenant(&TenantSpec::default());
    let draft = tenant.draft("ann", Format::PackedX5c, Algorithm::Es256).await;
    let body = draft.body().to_string();

    let posted = tenant.request(reqwest::Method::POST, &tenant.path("/registration/finalize")).body(body.clone()).send().await;
    assert!(posted.is_err(), "{point}: a token was released: {posted:?}");
    assert_eq!(server.wait().signal(), Some(9), "{point}: the server went on");
    let stored = i64::from(AFTER_THE_COMMIT.contains(&point));
    assert_eq!(server.count("credentials").await, stored, "{point}");
    assert_eq!(server.count("ceremonies").await, 1 - stored, "{point}");
    assert_eq!(succeeded(&server).await, stored, "{point}");

    server.restart().await;
    let tenant = tenant.at(server.api());
    let again = tenant.finalize(body).await;
    if stored == 0 {
        let token = again.token();
        let claims = jose::jsonwebtoken(&token, &tenant.jwks().await.json(), &tenant.rp_id).unwrap().claims;
        assert_eq!(claims["cred"], draft.id(), "{point}");
    } else {
        again.problem(400, "received challenge does not match with any stored one");
    }
    assert_eq!((server.count("credentials").await, server.count("ceremonies").await), (1, 0), "{point}");
    assert_eq!(succeeded(&server).await, 1, "{point}");
}

async fn succeeded(server: &Server) -> i64 {
    server.count("audit_events WHERE event_type = 'webauthn_registration_final_succeeded' AND credential_id IS NOT NULL").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_making_of_a_tenant_dies_at_every_step_and_no_key_is_lost() {
    let server = Server::sqlite().await;
    for (point, left) in [
        ("storage.before_commit.begin_tenant", Left::Nothing),
        ("storage.after_commit.begin_tenant", Left::Intent),
        ("tenant.intent_written", Left::Intent),
        ("tenant.key_generated", Left::Intent),
        ("storage.before_commit.complete_tenant", Left::Intent),
        ("storage.after_commit.complete_tenant", Left::Tenant),
        ("tenant.completed", Left::Tenant),
    ] {
        let before = tenants(&server);
        let died = server.cli_with(
            &[(FAILPOINT, point)],
            &["--json", "tenant", "create", "--name", point, "--rp-id", "localhost", "--origin", "http://localhost:8000"],
        );
        assert_eq!(died.status.signal(), Some(9), "{point}: {}", text(&died));
        assert!(died.stdout.is_empty(), "{point}: an API key was shown");

        let doctor = server.cli(&["--json", "doctor"]);
        let advice = unfinished(&doctor);
        match left {
            Left::Nothing => assert!(doctor.status.success() && advice.is_none(), "{point}: {}", text(&doctor)),
            Left::Intent => {
                let advice = advice.unwrap_or_else(|| panic!("{point}: doctor does not name it: {}", text(&doctor)));
                assert!(!doctor.status.success());
                assert_eq!(tenants(&server).len(), before.len(), "{point}: half a tenant is to be seen");
                // The advice is a command to copy.
                let words: Vec<_> = advice.split_whitespace().skip_while(|word| *word != "tenant").collect();
                let resumed = server.cli(&[&["--json"], words.as_slice()].concat());
                assert!(resumed.status.success(), "{point}: {}", text(&resumed));
                let made: Value = serde_json::from_slice(&resumed.stdout).unwrap();
                let tenant = crate::support::api::Tenant::new(server.api(), &made, "localhost", "http://localhost:8000");
                let body = tenant.draft("ann", Format::None, Algorithm::Es256).await.body().to_string();
                let token = tenant.finalize(body).await.token();
                jose::jwcrypto(&token, &tenant.jwks().await.json(), "localhost").unwrap();
                let twice = server.cli(&[&["--json"], words.as_slice()].concat());
                assert!(!twice.status.success(), "{point}: made twice");
            }
            Left::Tenant => {
                assert!(doctor.status.success(), "{point}: {}", text(&doctor));
                assert_eq!(tenants(&server).len(), before.len() + 1, "{point}");
            }
        }
    }
    // One key a tenant, and the health key: nothing was lost, nothing made twice.
    let doctor = server.cli(&["--json", "doctor"]);
    assert!(doctor.status.success(), "{}", text(&doctor));
    assert!(!text(&doctor).contains("belong to nobody"), "{}", text(&doctor));
}

#[derive(Clone, Copy)]
enum Left {
    Nothing,
    Intent,
    Tenant,
}

fn tenants(server: &Server) -> Vec<Value> {
    serde_json::from_slice(&server.cli(&["--json", "tenant", "list"]).stdout).unwrap()
}

/// What doctor advises on a tenant that was cut short.
fn unfinished(doctor: &Output) -> Option<String> {
    let findings: Vec<Value> = serde_json::from_slice(&doctor.stdout).unwrap();
    let finding = findings.into_iter().find(|f| f["name"] == "tenants" && f["ok"] == false)?;
    finding["advice"].as_str().map(str::to_owned)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signer_is_killed_under_load_and_nobody_notices() {
    a_signer_fails_under_load(Signal::KILL).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signer_is_stopped_under_load_and_nobody_notices() {
    a_signer_fails_under_load(Signal::STOP).await;
}

async fn a_signer_fails_under_load(signal: Signal) {
    let server = Server::sqlite().await;
    let tenant = server.create_tenant(&TenantSpec::default());
    wait_for_signers(&server, &[]).await;
    let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let clients: Vec<_> = (0..4)
        .map(|client| {
            let (tenant, stop, done) = (tenant.clone(), Arc::clone(&stop), Arc::clone(&done));
            tokio::spawn(async move {
                let mut failed = Vec::new();
                for n in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let draft = tenant.draft(&format!("u{client}-{n}"), Format::PackedSelf, Algorithm::Es256).await;
                    let answer = tenant.finalize(draft.body().to_string()).await;
                    if answer.status != 200 {
                        failed.push(format!("{} {}", answer.status, answer.body));
                    }
                    done.fetch_add(1, Ordering::Relaxed);
                }
                failed
            })
        })
        .collect();

    for _ in 0..2 {
        let before = done.load(Ordering::Relaxed);
        while done.load(Ordering::Relaxed) < before + 20 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let pids = server.signers();
        kill_process(pids[0], signal).unwrap();
        let back = wait_for_signers(&server, &pids[..1]).await;
        // A fraction of a second where nothing else runs; here four clients, and other tests, do.
        assert!(back < Duration::from_secs(4), "back after {back:?}");
    }
    stop.store(true, Ordering::Relaxed);
    let failed: Vec<String> = join_all(clients).await.into_iter().flat_map(Result::unwrap).collect();
    assert!(failed.is_empty(), "{} of {} failed: {failed:#?}", failed.len(), done.load(Ordering::Relaxed));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_hsm_finalize_waits_and_the_rest_goes_on() {
    let server = Server::sqlite().await;
    let tenant = server.create_tenant(&TenantSpec::default());
    let body = tenant.draft("ann", Format::PackedSelf, Algorithm::Es256).await.body().to_string();
    let (tokens, away) = (server.folder.path().join("tokens"), server.folder.path().join("away"));
    fs::rename(&tokens, &away).unwrap();
    for pid in server.signers() {
        kill_process(pid, Signal::KILL).unwrap();
    }
    let gone = Instant::now();
    while server.admin_api().get("/health/ready").await.status == 200 {
        assert!(gone.elapsed() < Duration::from_secs(10));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let asked = Instant::now();
    let answer = tenant.finalize(body.clone()).await;
    answer.problem(503, "Service Unavailable");
    assert_eq!(answer.header("Retry-After"), "1");
    assert_eq!(tenant.jwks().await.status, 200);
    tenant.options("bob").await;
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    assert_eq!(server.count("credentials").await, 0);

    fs::rename(&away, &tokens).unwrap();
    wait_for_signers(&server, &[]).await;
    tenant.finalize(body).await.token();
}

/// How long it took until two signers were up, none of them one of `gone`.
async fn wait_for_signers(server: &Server, gone: &[Pid]) -> Duration {
    let begun = Instant::now();
    loop {
        let ready = server.admin_api().get("/health/ready").await;
        let both = ready.body.contains("2 of 2 signer processes up");
        if both && server.signers().iter().all(|pid| !gone.contains(pid)) {
            return begun.elapsed();
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "{}", ready.body);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
