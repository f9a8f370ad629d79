//! What the process boundary costs a signature: the same key and module behind a socket pair, and behind a channel to a thread.
//!
//!     cargo bench --bench process_boundary
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "a measurement prints, and ends where it cannot go on")]

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    sync::mpsc,
    time::{Duration, Instant},
};

use cryptoki::{
    context::{CInitializeArgs, CInitializeFlags, Pkcs11},
    mechanism::Mechanism,
    object::{Attribute, ObjectClass},
    session::UserType,
};
use futures::stream::{self, StreamExt as _};
use openssl::{bn::BigNum, ecdsa::EcdsaSig, pkey::PKey, sha::sha256};
use passkey_hsm::{
    domain::SigningAlgorithm,
    hsm::{Signer, SignerCommand, SignerOptions},
};
use tokio::sync::oneshot;

#[path = "../tests/hsm/deployment.rs"]
#[expect(dead_code, reason = "the tests use the rest")]
mod deployment;
#[path = "../tests/support/softhsm.rs"]
mod softhsm;

use self::{
    deployment::{Key, start},
    softhsm::{SoftHsm, module},
};

/// Names the token's directory to the process that measures.
const DIRECTORY: &str = "PROCESS_BOUNDARY_DIRECTORY";

const ROUNDS: usize = 9;
const SIGNATURES: usize = 4000;

type Job = (String, oneshot::Sender<Vec<u8>>);

/// Measures in a process whose `SOFTHSM2_CONF` names a fresh token: a process has one environment, and SoftHSM reads it once.
fn main() -> ExitCode {
    if let Some(directory) = env::var_os(DIRECTORY) {
        compare(&PathBuf::from(directory));
        return ExitCode::SUCCESS;
    }
    let hsm = SoftHsm::new();
    let own = env::current_exe().unwrap();
    let status = Command::new(own).env("SOFTHSM2_CONF", hsm.conf()).env(DIRECTORY, hsm.path()).status();
    if status.unwrap().success() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn compare(dir: &Path) {
    let config = format!(
        "[hsm]\nmodule = \"{}\"\ntoken_label = \"passkey-test\"\npin_file = \"{}\"\nsessions = 1\n",
        module().display(),
        dir.join("pin").display()
    );
    fs::write(dir.join("cost.toml"), config).unwrap();
    let command = SignerCommand {
        program: env!("CARGO_BIN_EXE_passkey-hsm").into(),
        args: vec!["signer".into(), "--config".into(), dir.join("cost.toml").into()],
        env: vec![("SOFTHSM2_CONF".into(), dir.join("softhsm2.conf").into())],
    };
    let options = SignerOptions { processes: 1, ..SignerOptions::new(command) };
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(async {
        let signer = start(options).await;
        let key = Key::generate(&signer, SigningAlgorithm::Es256).await;
        let jobs = thread_with_session(&fs::read_to_string(dir.join("pin")).unwrap(), &key);
        let pid = signer.status().processes[0].pid.unwrap();
        for callers in [1, 8] {
            let (mut process, mut thread) = (Vec::new(), Vec::new());
            for _ in 0..ROUNDS {
                process.push(measure(Some(pid), callers, || through_process(&signer, &key)).await);
                thread.push(measure(None, callers, || through_thread(&jobs, &key)).await);
            }
            report("socket pair and process", callers, &process);
            report("channel and thread", callers, &thread);
        }
    });
}

async fn through_process(signer: &Signer, key: &Key) {
    let input = key.input(0);
    signer.reserve().unwrap().sign(key.request(&input)).await.unwrap();
}

/// What a signer in this process would do: hash and sign in the thread, verify before release.
async fn through_thread(jobs: &mpsc::Sender<Job>, key: &Key) {
    let (sender, receiver) = oneshot::channel();
    let input = key.input(0);
    jobs.send((input.clone(), sender)).unwrap();
    let signature = receiver.await.unwrap();
    thread_local! {
        static PARSED: std::cell::OnceCell<openssl::ec::EcKey<openssl::pkey::Public>> = const { std::cell::OnceCell::new() };
    }
    PARSED.with(|parsed| {
        let parsed = parsed.get_or_init(|| PKey::public_key_from_der(&key.made.public_key).unwrap().ec_key().unwrap());
        let (r, s) = signature.split_at(32);
        let signature = EcdsaSig::from_private_components(BigNum::from_slice(r).unwrap(), BigNum::from_slice(s).unwrap()).unwrap();
        assert!(signature.verify(&sha256(input.as_bytes()), parsed).unwrap());
    });
}

fn thread_with_session(pin: &str, key: &Key) -> mpsc::Sender<Job> {
    let pkcs11 = Pkcs11::new(module()).unwrap();
    pkcs11.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)).unwrap();
    let slot = pkcs11.get_slots_with_initialized_token().unwrap()[0];
    let session = pkcs11.open_rw_session(slot).unwrap();
    session.login(UserType::User, Some(&pin.to_owned().into())).unwrap();
    let template = [Attribute::Class(ObjectClass::PRIVATE_KEY), Attribute::Id(key.made.cka_id.clone())];
    let handle = session.find_objects(&template).unwrap()[0];
    let (sender, jobs) = mpsc::channel::<Job>();
    std::thread::spawn(move || {
        for (input, reply) in jobs {
            let _ = reply.send(session.sign(&Mechanism::Ecdsa, handle, &sha256(input.as_bytes())).unwrap());
        }
    });
    sender
}

/// Median latency, and CPU of both processes, a signature, with so many callers at once.
async fn measure<F: Future<Output = ()>>(pid: Option<u32>, callers: usize, one: impl Fn() -> F) -> (Duration, Duration) {
    let cpu = || cpu_ticks("self") + pid.map_or(0, |pid| cpu_ticks(&pid.to_string()));
    let one_timed = |_| async {
        let begun = Instant::now();
        one().await;
        begun.elapsed()
    };
    let before = cpu();
    let mut times: Vec<Duration> = stream::iter(0..SIGNATURES).map(one_timed).buffer_unordered(callers).collect().await;
    let cpu = Duration::from_millis(10 * (cpu() - before)) / u32::try_from(SIGNATURES).unwrap();
    times.sort_unstable();
    (times[SIGNATURES / 2], cpu)
}

/// utime + stime, hundredths of a second.
fn cpu_ticks(process: &str) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

fn report(name: &str, callers: usize, rounds: &[(Duration, Duration)]) {
    let median = |mut values: Vec<Duration>| {
        values.sort_unstable();
        (values[values.len() / 2], values[0], values[values.len() - 1])
    };
    let (latency, low, high) = median(rounds.iter().map(|r| r.0).collect());
    let (cpu, cpu_low, cpu_high) = median(rounds.iter().map(|r| r.1).collect());
    println!("{callers} at once, {name}: latency {latency:?} ({low:?} to {high:?}), CPU {cpu:?} ({cpu_low:?} to {cpu_high:?}) a signature");
}
