//! What happens to signer processes, and what callers notice of it: nothing, as long as one is left.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use passkey_hsm::{
    domain::SigningAlgorithm,
    hsm::{Error, Signer},
};
use rustix::process::{Pid, Signal, kill_process};

use super::{
    deployment::{Key, START, options, start, until},
    softhsm::SoftHsm,
};

pub(crate) fn send_signal(pid: u32, signal: Signal) {
    kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), signal).unwrap();
}

/// Twelve callers that sign without a pause, until told to stop.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
    callers: Vec<tokio::task::JoinHandle<(Vec<Error>, Duration)>>,
}

impl Load {
    pub(crate) fn start(signer: &Signer, key: &Arc<Key>) -> Self {
        let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let callers = (0..12).map(|_| {
            let (signer, key, stop, done) = (signer.clone(), key.clone(), stop.clone(), done.clone());
            tokio::spawn(async move {
                let (mut errors, mut slowest) = (Vec::new(), Duration::ZERO);
                while !stop.load(Ordering::Relaxed) {
                    let begun = Instant::now();
                    if let Err(error) = key.sign(&signer, done.fetch_add(1, Ordering::Relaxed)).await {
                        errors.push(error);
                        // A refusal comes at once: without a pause the callers would take the processors from whoever mends it.
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                    slowest = slowest.max(begun.elapsed());
                }
                (errors, slowest)
            })
        });
        let callers = callers.collect();
        Self { stop, done, callers }
    }

    /// The errors, how many signatures were asked for, and the slowest of them.
    pub(crate) async fn stop(self) -> (Vec<Error>, usize, Duration) {
        self.stop.store(true, Ordering::Relaxed);
        let (mut errors, mut slowest) = (Vec::new(), Duration::ZERO);
        for caller in self.callers {
            let (e, s) = caller.await.unwrap();
            errors.extend(e);
            slowest = slowest.max(s);
        }
        (errors, self.done.load(Ordering::Relaxed), slowest)
    }
}

/// Hits each process in turn with a signal, under load; returns how long each took to be back.
async fn hit(signal: Signal, limit: Duration) {
    let hsm = SoftHsm::new();
    let signer = start(options(&hsm)).await;
    let key = Arc::new(Key::generate(&signer, SigningAlgorithm::Es256).await);
    let load = Load::start(&signer, &key);
    let mut quickest = limit;
    for round in 0..4_usize {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let victim = round % 2;
        let before = signer.status().processes[victim].clone();
        send_signal(before.pid.unwrap(), signal);
        let back = until(limit, &signer, |s| s.up() == 2 && s.processes[victim].pid != before.pid).await;
        println!("{signal:?} round {round}: back after {back:?}");
        quickest = quickest.min(back);
    }
    let (errors, done, slowest) = load.stop().await;
    println!("{signal:?}: {done} signatures, slowest {slowest:?}, errors {errors:?}");
    assert_eq!(errors, [], "of {done} signatures");
    assert!(done > 100, "{done} signatures are no load");
    // Other tests may delay a round, but not each of them.
    assert!(quickest < Duration::from_secs(1), "the quickest was back after {quickest:?}");
}

/// A fraction of a second where nothing else runs; here twelve callers do, and maybe other tests.
const BACK: Duration = Duration::from_secs(4);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_under_load_fails_no_request() {
    hit(Signal::KILL, BACK).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigstop_under_load_fails_no_request() {
    hit(Signal::STOP, BACK).await;
}

/// A call into the module that never returns, by way of a module that can be told to hang: the process answers pings and is replaced
/// nevertheless.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_hangs_costs_its_process_and_no_request() {
    let hsm = SoftHsm::new();
    let hang = hsm.path().join("hang");
    let mut options = options(&hsm);
    options.command = super::interposer::command(&hsm, &hang);
    let signer = start(options).await;
    let key = Arc::new(Key::generate(&signer, SigningAlgorithm::Es256).await);
    let load = Load::start(&signer, &key);
    tokio::time::sleep(Duration::from_millis(200)).await;
    let before: Vec<_> = signer.status().processes.iter().map(|p| p.pid).collect();
    fs::write(&hang, "").unwrap(); // the next C_Sign takes it away and sleeps
    let fresh = |s: &passkey_hsm::hsm::Status| s.up() == 2 && s.processes.iter().zip(&before).any(|(p, old)| p.pid != *old);
    let back = until(Duration::from_secs(3), &signer, fresh).await;
    let (errors, done, slowest) = load.stop().await;
    println!("hang: back after {back:?}, {done} signatures, slowest {slowest:?}");
    assert_eq!(errors, []);
    assert!(!hang.exists(), "nothing hung");
    let same = signer.status().processes.iter().zip(&before).filter(|(p, old)| p.pid == **old).count();
    assert_eq!(same, 1, "the other process was left alone");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_both_gone_callers_are_told_at_once_and_served_soon() {
    let hsm = SoftHsm::new();
    let signer = start(options(&hsm)).await;
    let key = Key::generate(&signer, SigningAlgorithm::Es256).await;
    for process in signer.status().processes {
        send_signal(process.pid.unwrap(), Signal::KILL);
    }
    until(START, &signer, |s| s.up() == 0).await;
    let begun = Instant::now();
    if let Err(error) = key.sign(&signer, 0).await {
        assert_eq!(error, Error::Unavailable);
        assert!(begun.elapsed() < Duration::from_millis(50));
    }
    until(Duration::from_secs(1), &signer, |s| s.ready).await;
    key.sign(&signer, 1).await.unwrap();
}

/// SoftHSM says that sessions are open and that there are no objects. Only a signature tells.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_goes_away_and_comes_back_is_noticed_both_times() {
    let hsm = SoftHsm::new();
    let mut options = options(&hsm);
    options.health_interval = Duration::from_millis(200);
    options.absent_backoff = Duration::from_millis(200);
    let signer = start(options).await;
    let key = Key::generate(&signer, SigningAlgorithm::Es256).await;
    key.sign(&signer, 0).await.unwrap();
    let away = hsm.path().join("away");
    fs::rename(hsm.token_dir(), &away).unwrap();
    until(START, &signer, |s| !s.ready && s.up() == 0).await;
    assert_eq!(key.sign(&signer, 1).await, Err(Error::Unavailable));
    fs::rename(&away, hsm.token_dir()).unwrap();
    let back = until(START, &signer, |s| s.ready).await;
    println!("ready {back:?} after the token's return");
    key.sign(&signer, 2).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_process_outlives_its_signer() {
    let hsm = SoftHsm::new();
    let signer = start(options(&hsm)).await;
    let pids: Vec<u32> = signer.status().processes.iter().filter_map(|p| p.pid).collect();
    drop(signer);
    let begun = Instant::now();
    while pids.iter().any(|pid| fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z"))) {
        assert!(begun.elapsed() < Duration::from_secs(2), "{pids:?} are still there");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signer_process_leaves_no_core_and_lets_nobody_look() {
    let hsm = SoftHsm::new();
    let signer = start(options(&hsm)).await;
    let pid = signer.status().processes[0].pid.unwrap();
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let core: Vec<&str> = limits.lines().find(|l| l.starts_with("Max core file size")).unwrap().split_whitespace().collect();
    assert_eq!(core[4..6], ["0", "0"]);
    // What is in its environment and arguments, for whoever may look: no PIN.
    for file in ["cmdline", "environ"] {
        let text = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
        assert!(!String::from_utf8_lossy(&text).contains(hsm.pin()), "the PIN is in {file}");
    }
}
