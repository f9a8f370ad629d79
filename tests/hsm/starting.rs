//! Starts that must not succeed, and must not be tried for ever.

use std::{
    fs,
    io::Write as _,
    os::{
        fd::OwnedFd,
        unix::{fs::PermissionsExt as _, net::UnixStream},
    },
    path::PathBuf,
    process::Stdio,
    time::{Duration, Instant},
};

use passkey_hsm::hsm::{Error, PinSource, ProcessState, Signer, SignerCommand, SignerOptions, TokenAddress, TokenConfig, signer};
use rustix::process::Signal;

use super::{
    deployment::{START, command, options, until},
    faults::send_signal,
    interposer,
    softhsm::{SoftHsm, module},
};

/// The options with a script that notes each start before the signer process takes its place.
pub(crate) fn counted(hsm: &SoftHsm, mut options: SignerOptions) -> (SignerOptions, PathBuf) {
    let (script, log) = (hsm.path().join("counted.sh"), hsm.path().join("starts"));
    fs::write(&log, "").unwrap();
    let text = format!("#!/bin/sh\necho start >> {}\nexec {} \"$@\"\n", log.display(), options.command.program.display());
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o700)).unwrap();
    options.command.program = script;
    (options, log)
}

pub(crate) fn starts(log: &PathBuf) -> usize {
    fs::read_to_string(log).unwrap().lines().count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_pin_is_tried_exactly_once() {
    let hsm = SoftHsm::new();
    hsm.write_pin("0000000000-wrong");
    let (options, log) = counted(&hsm, options(&hsm));
    let signer = Signer::start(options);
    let error = signer.wait_ready(START).await.unwrap_err();
    assert!(matches!(&error, Error::PinRefused(why) if why.contains("CKR_PIN_INCORRECT")), "{error:?}");
    assert!(!error.to_string().contains("0000000000-wrong"));
    until(START, &signer, |s| s.processes.iter().all(|p| p.state == ProcessState::Stopped)).await;
    hsm.write_pin(hsm.pin());
    tokio::time::sleep(Duration::from_millis(700)).await; // several times the pause between starts
    assert_eq!(starts(&log), 1, "one try for two processes, and none after it");
    assert!(signer.status().stopped.is_some());
    assert_eq!(signer.reserve().unwrap_err(), Error::Unavailable);
}

/// The PIN was changed behind a server's back: what runs goes on, and the one that has to be replaced tries once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pin_that_went_wrong_later_is_tried_once_and_the_other_process_serves_on() {
    let hsm = SoftHsm::new();
    let (options, log) = counted(&hsm, options(&hsm));
    let signer = super::deployment::start(options).await;
    let key = super::deployment::Key::generate(&signer, passkey_hsm::domain::SigningAlgorithm::Es256).await;
    hsm.write_pin("0000000000-wrong");
    let pid = signer.status().processes[0].pid.unwrap();
    super::faults::send_signal(pid, rustix::process::Signal::KILL);
    until(START, &signer, |s| s.stopped.is_some()).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(starts(&log), 3);
    assert_eq!(signer.status().up(), 1);
    key.sign(&signer, 0).await.unwrap();
}

/// A signer process without anybody to watch it, and the other end of its socket.
fn alone(hsm: &SoftHsm, token: &str) -> (std::process::Child, UnixStream) {
    let config = hsm.config("alone.toml", token, "");
    spawn(&command(hsm, &config))
}

fn spawn(command: &SignerCommand) -> (std::process::Child, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let mut child = std::process::Command::new(&command.program);
    child.args(&command.args).env_clear().envs(command.env.iter().cloned()).stdin(OwnedFd::from(theirs)).stdout(Stdio::null());
    (child.spawn().unwrap(), ours)
}

#[test]
fn exit_codes_tell_why_a_start_failed() {
    let hsm = SoftHsm::new();
    let (mut child, _socket) = alone(&hsm, "token_label = \"missing\"");
    assert_eq!(child.wait().unwrap().code(), Some(4));
    hsm.write_pin("0000000000-wrong");
    let (mut child, _socket) = alone(&hsm, "token_label = \"passkey-test\"");
    assert_eq!(child.wait().unwrap().code(), Some(3));
}

/// Its socket is its life: when the server dies, however it dies, nothing is left that holds a login.
#[test]
fn a_signer_process_ends_with_its_socket() {
    let hsm = SoftHsm::new();
    for lived in [Duration::ZERO, Duration::from_millis(300)] {
        let (mut child, socket) = alone(&hsm, "token_label = \"passkey-test\"");
        std::thread::sleep(lived);
        assert!(child.try_wait().unwrap().is_none(), "it waits to be spoken to");
        drop(socket);
        let begun = Instant::now();
        while child.try_wait().unwrap().is_none() {
            assert!(begun.elapsed() < Duration::from_secs(2), "it is still there");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// SoftHSM empties the token's file and writes it anew at each login: whatever makes a process go must wait for that moment to pass.
#[test]
fn a_login_is_never_cut_short() {
    let hsm = SoftHsm::new();
    let hang = hsm.path().join("hang");
    let command = interposer::command(&hsm, &hang);
    let (slow, begun, done) = (hang.with_extension("login"), hang.with_extension("begun"), hang.with_extension("done"));
    for signals in [[].as_slice(), &[Signal::TERM, Signal::INT, Signal::HUP]] {
        std::fs::write(&slow, "").unwrap();
        let (mut child, socket) = spawn(&command);
        let started = Instant::now();
        while !begun.exists() {
            assert!(started.elapsed() < START, "it does not log in");
            std::thread::sleep(Duration::from_millis(1));
        }
        for signal in signals {
            send_signal(child.id(), *signal);
        }
        drop(socket);
        child.wait().unwrap();
        assert!(done.exists(), "it ended in the middle of its login");
        std::fs::remove_file(&done).unwrap();
    }
}

/// Nor by a server that ends while its signer processes start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shutdown_lets_a_login_finish() {
    let hsm = SoftHsm::new();
    let hang = hsm.path().join("hang");
    let mut options = options(&hsm);
    options.command = interposer::command(&hsm, &hang);
    options.processes = 1;
    for orderly in [true, false] {
        std::fs::write(hang.with_extension("login"), "").unwrap();
        let signer = Signer::start(options.clone());
        let started = Instant::now();
        while !hang.with_extension("begun").exists() {
            assert!(started.elapsed() < START, "it does not log in");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        if orderly {
            signer.shutdown().await;
        }
        drop(signer);
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(hang.with_extension("done").exists(), "it ended in the middle of its login");
        std::fs::remove_file(hang.with_extension("done")).unwrap();
    }
}

/// A command that needs no HSM must not spend tries of its PIN.
#[tokio::test]
async fn none_is_started_when_none_is_asked_for() {
    let hsm = SoftHsm::new();
    let (mut options, log) = counted(&hsm, options(&hsm));
    options.processes = 0;
    let signer = Signer::start(options);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(starts(&log), 0);
    assert_eq!(signer.reserve().unwrap_err(), Error::Unavailable);
    signer.shutdown().await;
}

#[test]
fn a_signer_process_ends_at_what_it_does_not_understand() {
    let hsm = SoftHsm::new();
    for garbage in [[0xff; 64].as_slice(), &[4, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]] {
        let (mut child, mut socket) = alone(&hsm, "token_label = \"passkey-test\"");
        socket.write_all(garbage).unwrap();
        assert!(!child.wait().unwrap().success());
    }
}

async fn refusal(hsm: &SoftHsm, token: &str) -> String {
    let config = hsm.config("refused.toml", token, "");
    let signer = Signer::start(SignerOptions::new(command(hsm, &config)));
    match signer.wait_ready(START).await {
        Err(Error::Configuration(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_token_or_two_are_refused_with_a_list() {
    let hsm = SoftHsm::empty();
    assert!(refusal(&hsm, "token_label = \"twin\"").await.contains("the module shows no initialized token"));
    hsm.add_token("twin");
    hsm.add_token("other");
    let why = refusal(&hsm, "token = \"pkcs11:token=missing\"").await;
    assert!(why.contains("no token matches pkcs11:token=missing") && why.contains("\"twin\"") && why.contains("\"other\""), "{why}");
    hsm.add_token("twin");
    let why = refusal(&hsm, "token_label = \"twin\"").await;
    assert!(why.contains("2 tokens match") && why.contains("serial"), "{why}");

    // Told apart by its serial number, one of the twins will do.
    let serial = why.split("serial \"").nth(1).and_then(|s| s.split('"').next()).unwrap().to_owned();
    let config = hsm.config("one.toml", &format!("token_label = \"twin\"\ntoken_serial = \"{serial}\""), "");
    let signer = super::deployment::start(SignerOptions::new(command(&hsm, &config))).await;
    assert_eq!(signer.status().token.unwrap().serial, serial);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pin_file_that_others_can_read_is_refused() {
    let hsm = SoftHsm::new();
    fs::set_permissions(hsm.pin_file(), fs::Permissions::from_mode(0o644)).unwrap();
    let why = refusal(&hsm, "token_label = \"passkey-test\"").await;
    assert!(why.contains("chmod 600"), "{why}");
    assert!(!why.contains(hsm.pin()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_module_or_program_that_is_none_is_refused() {
    let hsm = SoftHsm::new();
    let config = hsm.config("hsm.toml", "token_label = \"passkey-test\"", "");
    let text = fs::read_to_string(&config).unwrap();
    for (module_path, wanted) in [("/nowhere/module.so", "cannot read"), ("/etc/hostname", "is no PKCS#11 module")] {
        fs::write(&config, text.replace(&module().display().to_string(), module_path)).unwrap();
        let signer = Signer::start(SignerOptions::new(command(&hsm, &config)));
        let error = signer.wait_ready(START).await.unwrap_err();
        assert!(matches!(&error, Error::Configuration(why) if why.contains(wanted)), "{error:?}");
    }
    let mut options = options(&hsm);
    options.command.program = "/nowhere/passkey-hsm".into();
    assert!(matches!(Signer::start(options).wait_ready(START).await, Err(Error::Configuration(_))));
}

/// In a process of its own, whose environment names this test's token.
#[test]
fn the_probe_finds_nothing_wrong_with_a_good_token() {
    let Some(hsm) = super::deployment::in_child("starting::the_probe_finds_nothing_wrong_with_a_good_token") else { return };
    let config = TokenConfig {
        module: module(),
        token: TokenAddress::new(Some("passkey-test".into()), None).unwrap(),
        pin: PinSource::File(hsm.join("pin")),
        sessions: 1,
        hashing: passkey_hsm::hsm::Hashing::Raw,
        manage_keys: true,
    };
    let report = signer::probe(&config);
    let text: Vec<_> = report.steps.iter().map(|s| format!("{}: {:?}", s.name, s.outcome)).collect();
    assert!(report.is_ok(), "{text:#?}");
    let names: Vec<_> = report.steps.iter().map(|s| s.name).collect();
    assert_eq!(names, ["module", "token", "token flags", "pin", "login", "mechanisms", "test signature", "health key"]);
    println!("{text:#?}");
}

/// In this process, which has loaded no module yet: `doctor` does it in a child. SoftHSM takes its configuration from the environment, so
/// that a test cannot point it to a directory of its own; it is told of a token that is not there.
#[test]
fn the_probe_names_the_step_that_failed_and_what_to_do() {
    let mut config = TokenConfig {
        module: "/nowhere/module.so".into(),
        token: TokenAddress::new(Some("no such token of ours".into()), None).unwrap(),
        pin: PinSource::File("/nowhere/pin".into()),
        sessions: 1,
        hashing: passkey_hsm::hsm::Hashing::Raw,
        manage_keys: true,
    };
    let report = signer::probe(&config);
    assert!(!report.is_ok());
    assert_eq!(report.steps.len(), 1);
    assert_eq!(report.steps[0].name, "module");
    assert!(report.steps[0].outcome.as_ref().unwrap_err().contains("correct the [hsm] section"));

    config.module = module();
    let report = signer::probe(&config);
    assert!(!report.is_ok());
    assert_eq!(report.steps.last().unwrap().name, if report.steps.len() == 1 { "module" } else { "token" });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_starts_side_by_side_all_find_the_token() {
    let hsm = SoftHsm::new();
    for _ in 0..3 {
        let signers: Vec<_> = (0..6).map(|_| Signer::start(options(&hsm))).collect();
        for signer in &signers {
            until(START, signer, |s| s.up() == 2).await;
            let respawns: Vec<_> = signer.status().processes.iter().map(|p| (p.respawns, p.last_error.clone())).collect();
            assert_eq!(respawns, [(0, None), (0, None)]);
        }
        for signer in signers {
            signer.shutdown().await;
        }
    }
}
