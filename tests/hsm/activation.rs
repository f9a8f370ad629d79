//! An HSM that an operator takes into service and out of it.

use std::{fs, path::PathBuf, sync::Arc, time::Duration};

use passkey_hsm::{
    domain::{Pin, SigningAlgorithm},
    hsm::{Activation, Error, ProcessState, Signer, SignerCommand, SignerOptions},
};
use rustix::process::Signal;

use super::{
    deployment::{Key, START, options, start, until},
    faults::{Load, send_signal},
    softhsm::SoftHsm,
    starting::{counted, starts},
};

/// Signer processes whose PIN is nowhere to be read.
fn operated(hsm: &SoftHsm) -> (SignerOptions, PathBuf) {
    let mut options = options(hsm);
    let config = hsm.path().join("hsm.toml");
    let text = fs::read_to_string(&config).unwrap();
    let text: String = text
        .lines()
        .map(|line| if line.starts_with("pin_file") { "pin_operator = \"on\"\n".to_owned() } else { format!("{line}\n") })
        .collect();
    fs::write(&config, text).unwrap();
    fs::remove_file(hsm.pin_file()).unwrap();
    options.keeper =
        Some(SignerCommand { program: PathBuf::from(env!("CARGO_BIN_EXE_passkey-hsm")), args: vec!["pin-keeper".into()], env: Vec::new() });
    counted(hsm, options)
}

fn pin(text: &str) -> Pin {
    Pin::new(text.to_owned().into())
}

/// Whether a process runs; one that has ended and that nobody has waited for yet does not.
fn runs(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z"))
}

fn pids(signer: &Signer) -> Vec<u32> {
    let status = signer.status();
    status.processes.iter().filter_map(|p| p.pid).chain(status.keeper).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_waits_for_the_pin_and_needs_it_once() {
    let hsm = SoftHsm::new();
    let (options, log) = operated(&hsm);
    let signer = Signer::start(options);
    match signer.wait_ready(START).await {
        Err(Error::NotActivated(text)) => assert_eq!(text, "waiting for the operator: passkey-hsm hsm activate"),
        other => panic!("{other:?}"),
    }
    let status = signer.status();
    assert_eq!((status.activation, status.ready, status.up(), status.keeper), (Activation::Waiting, false, 0, None));
    assert_eq!(signer.reserve().unwrap_err(), Error::Unavailable);
    assert!(matches!(signer.activate(None).await, Err(Error::Refused(_))), "nothing says where the PIN would be");
    for bad in ["", "12\n34", &"1".repeat(1025)] {
        assert!(matches!(signer.activate(Some(pin(bad))).await, Err(Error::Refused(_))));
    }
    assert_eq!(starts(&log), 0, "nothing is started without a PIN");

    signer.activate(Some(pin(hsm.pin()))).await.unwrap();
    until(START, &signer, |s| s.up() == 2 && s.activation == Activation::Activated).await;
    assert_eq!(starts(&log), 3, "one tried the PIN, two serve");
    assert!(matches!(signer.activate(Some(pin(hsm.pin()))).await, Err(Error::Refused(_))));
    let key = Key::generate(&signer, SigningAlgorithm::Es256).await;
    key.sign(&signer, 0).await.unwrap();
    for pid in pids(&signer).into_iter().chain([std::process::id()]) {
        for file in ["cmdline", "environ"] {
            let text = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
            assert!(!String::from_utf8_lossy(&text).contains(hsm.pin()), "the PIN is in {file} of {pid}");
        }
    }

    // A service manager asks every process of a service to end, and the server has requests to finish yet.
    send_signal(signer.status().keeper.unwrap(), Signal::TERM);
    // Who was killed is back without the operator.
    for place in [0, 1, 0] {
        let pid = signer.status().processes[place].pid.unwrap();
        send_signal(pid, Signal::KILL);
        until(START, &signer, |s| s.up() == 2 && s.processes[place].pid != Some(pid)).await;
    }
    key.sign(&signer, 1).await.unwrap();
    let left = pids(&signer);
    assert_eq!(left.len(), 3);
    drop(signer);
    for _ in 0..200 {
        if !left.iter().copied().any(runs) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{left:?} have outlived their server");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_pin_is_tried_once_and_forgotten() {
    let hsm = SoftHsm::new();
    let (options, log) = operated(&hsm);
    let signer = Signer::start(options);
    match signer.activate(Some(pin("0000000000-wrong"))).await {
        Err(Error::PinRefused(why)) => assert!(why.contains("CKR_PIN_INCORRECT") && !why.contains("0000000000-wrong"), "{why}"),
        other => panic!("{other:?}"),
    }
    tokio::time::sleep(Duration::from_millis(500)).await; // several times the pause between starts
    assert_eq!(starts(&log), 1, "one login for two processes, and none after it");
    let status = signer.status();
    assert_eq!((status.activation, status.keeper), (Activation::Waiting, None));
    assert!(status.stopped.unwrap().contains("CKR_PIN_INCORRECT"));
    assert!(matches!(signer.wait_ready(START).await, Err(Error::NotActivated(text)) if text.contains("CKR_PIN_INCORRECT")));
    signer.activate(Some(pin(hsm.pin()))).await.unwrap();
    assert_eq!(signer.status().stopped, None);
    signer.shutdown().await;
    assert!(matches!(signer.activate(Some(pin(hsm.pin()))).await, Err(Error::Refused(_))), "not what has ended");
}

/// The PIN was changed behind a server's back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pin_that_went_wrong_later_is_tried_once_and_forgotten() {
    let hsm = SoftHsm::new();
    let (options, log) = operated(&hsm);
    let signer = Signer::start(options);
    signer.activate(Some(pin(hsm.pin()))).await.unwrap();
    until(START, &signer, |s| s.up() == 2).await;
    super::deployment::tool(&hsm, &["--change-pin", "--new-pin", "9876543210"]);
    send_signal(signer.status().processes[0].pid.unwrap(), Signal::KILL);
    until(START, &signer, |s| s.activation == Activation::Waiting).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let status = signer.status();
    assert_eq!((starts(&log), status.up(), status.ready, status.keeper), (4, 1, true, None));
    assert_eq!(status.processes[0].state, ProcessState::Stopped);
    signer.activate(Some(pin("9876543210"))).await.unwrap();
    until(START, &signer, |s| s.up() == 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn out_of_service_under_load_nothing_is_cut_short_and_nothing_is_left() {
    let hsm = SoftHsm::new();
    let (options, _) = operated(&hsm);
    let signer = Signer::start(options);
    signer.activate(Some(pin(hsm.pin()))).await.unwrap();
    until(START, &signer, |s| s.up() == 2).await;
    let key = Arc::new(Key::generate(&signer, SigningAlgorithm::Es256).await);
    let load = Load::start(&signer, &key);
    let permit = signer.reserve().unwrap();
    let left = pids(&signer);
    let ending = tokio::spawn({
        let signer = signer.clone();
        async move { signer.deactivate().await }
    });
    until(START, &signer, |s| s.activation == Activation::Deactivated).await;
    assert_eq!(signer.reserve().unwrap_err(), Error::Unavailable);
    assert!(matches!(signer.inventory().await, Err(Error::Unavailable)));
    let input = key.input(7);
    permit.sign(key.request(&input)).await.unwrap();
    ending.await.unwrap().unwrap();
    assert!(!left.iter().copied().any(runs), "neither signers nor keeper are left");
    let (errors, done, _) = load.stop().await;
    assert!(errors.iter().all(|e| *e == Error::Unavailable) && !errors.is_empty(), "{errors:?} of {done}");
    tokio::time::sleep(Duration::from_millis(500)).await;
    let status = signer.status();
    assert_eq!((status.activation, status.ready, status.up(), status.keeper), (Activation::Deactivated, false, 0, None));
    assert!(matches!(signer.wait_ready(START).await, Err(Error::NotActivated(text)) if text.starts_with("taken out of service")));

    signer.activate(Some(pin(hsm.pin()))).await.unwrap();
    key.sign(&signer, 0).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_keeper_what_runs_goes_on_and_what_ends_waits_for_the_operator() {
    let hsm = SoftHsm::new();
    let (options, log) = operated(&hsm);
    let signer = Signer::start(options);
    signer.activate(Some(pin(hsm.pin()))).await.unwrap();
    until(START, &signer, |s| s.up() == 2).await;
    let key = Key::generate(&signer, SigningAlgorithm::Es256).await;
    send_signal(signer.status().keeper.unwrap(), Signal::KILL);
    until(START, &signer, |s| s.activation == Activation::Waiting).await;
    let status = signer.status();
    assert_eq!((status.up(), status.ready, status.stopped.as_deref()), (2, true, Some("the PIN keeper has ended")));
    key.sign(&signer, 0).await.unwrap();

    send_signal(status.processes[0].pid.unwrap(), Signal::KILL);
    until(START, &signer, |s| s.processes[0].state == ProcessState::Stopped).await;
    let before = starts(&log);
    assert!(matches!(signer.activate(Some(pin("0000000000-wrong"))).await, Err(Error::PinRefused(_))));
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!((starts(&log), signer.status().up()), (before + 1, 1));
    key.sign(&signer, 1).await.unwrap();
    signer.activate(Some(pin(hsm.pin()))).await.unwrap();
    until(START, &signer, |s| s.up() == 2 && s.keeper.is_some()).await;
    key.sign(&signer, 2).await.unwrap();
}

/// Where the configuration says where the PIN is, an operator may still take the HSM out of service, and try again what was refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_configured_pin_the_operator_has_only_to_say_so() {
    let hsm = SoftHsm::new();
    let signer = start(options(&hsm)).await;
    assert!(matches!(signer.activate(None).await, Err(Error::Refused(_))), "it is in service");
    let key = Key::generate(&signer, SigningAlgorithm::Es256).await;
    signer.deactivate().await.unwrap();
    assert_eq!((signer.status().activation, signer.status().up()), (Activation::Deactivated, 0));
    assert!(matches!(signer.activate(Some(pin(hsm.pin()))).await, Err(Error::Refused(_))), "no PIN is taken that nobody asked for");
    signer.activate(None).await.unwrap();
    assert_eq!(signer.status().activation, Activation::Automatic);
    key.sign(&signer, 0).await.unwrap();

    signer.deactivate().await.unwrap();
    hsm.write_pin("0000000000-wrong");
    assert!(matches!(signer.activate(None).await, Err(Error::PinRefused(_))));
    hsm.write_pin(hsm.pin());
    signer.activate(None).await.unwrap();
    key.sign(&signer, 1).await.unwrap();
}

/// A configuration that was changed under a running server: the signer process says so, and no PIN is looked for elsewhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signer_that_is_handed_no_pin_says_what_is_wrong() {
    let hsm = SoftHsm::new();
    let (mut options, _) = operated(&hsm);
    options.keeper = None;
    let signer = Signer::start(options);
    match signer.wait_ready(START).await {
        Err(Error::Configuration(why)) => assert!(why.contains("start it again"), "{why}"),
        other => panic!("{other:?}"),
    }
}
