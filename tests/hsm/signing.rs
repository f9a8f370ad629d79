//! Signatures that are made, and those that are not.

use passkey_hsm::{
    domain::SigningAlgorithm,
    hsm::{Error, SignRequest},
};

use super::{
    deployment::{Key, key_id, now, options, signing_input, start, until},
    softhsm::SoftHsm,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_algorithm_signs_on_every_process() {
    let hsm = SoftHsm::new();
    let signer = start(options(&hsm)).await;
    for algorithm in SigningAlgorithm::ALL {
        let key = Key::generate(&signer, *algorithm).await;
        for n in 0..8 {
            key.sign(&signer, n).await.unwrap_or_else(|e| panic!("{algorithm}: {e}"));
        }
    }
    signer.shutdown().await;
}

/// SoftHSM 2.6 has no combined ECDSA mechanism: the other way is found by trying.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mechanism_that_is_not_there_is_replaced_by_the_other() {
    let hsm = SoftHsm::new();
    let mut options = options(&hsm);
    let config = hsm.config("combined.toml", "token_label = \"passkey-test\"", "hashing = \"combined\"");
    options.command = super::deployment::command(&hsm, &config);
    let signer = start(options).await;
    for algorithm in SigningAlgorithm::ALL {
        let key = Key::generate(&signer, *algorithm).await;
        for n in 0..4 {
            key.sign(&signer, n).await.unwrap_or_else(|e| panic!("{algorithm}: {e}"));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_but_a_token_of_ours_is_signed() {
    let hsm = SoftHsm::new();
    let signer = start(options(&hsm)).await;
    let key = Key::generate(&signer, SigningAlgorithm::Es256).await;
    let header = |alg: &str, kid: &str, typ: &str| format!(r#"{{"alg":"{alg}","kid":"{kid}","typ":"{typ}"}}"#);
    let kid = key.kid.to_string();
    let payload = |iat: i64, lifetime: i64| format!(r#"{{"iat":{iat},"exp":{}}}"#, iat + lifetime);
    let good = &payload(now(), 300);
    let refused = [
        signing_input(&header("none", &kid, "JWT"), good),
        signing_input(&header("ES384", &kid, "JWT"), good),
        signing_input(&header("ES256", &key_id().to_string(), "JWT"), good),
        signing_input(&header("ES256", &kid, "jose"), good),
        signing_input(&header("ES256", &kid, "JWT").replace('}', r#","jku":"https://x"}"#), good),
        signing_input(&header("ES256", &kid, "JWT"), &payload(now(), 3601)),
        signing_input(&header("ES256", &kid, "JWT"), &payload(now() + 600, 300)),
        signing_input(&header("ES256", &kid, "JWT"), &payload(now() - 600, 300)),
        signing_input(&header("ES256", &kid, "JWT"), r#"{"sub":"for ever"}"#),
        "\0passkey-hsm key evidence v1\0{}".to_owned(),
        "not a token".to_owned(),
        "x".repeat(100_000),
    ];
    for input in &refused {
        let outcome = signer.reserve().unwrap().sign(key.request(input)).await;
        assert!(matches!(outcome, Err(Error::Refused(_))), "{outcome:?}: {input:.80}");
    }
    key.sign(&signer, 0).await.unwrap();
    assert!(signer.status().processes.iter().all(|p| p.respawns == 0), "a refusal costs no process");
}

/// The row of one key names another's `CKA_ID`: what the token signs then must not get out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_signature_of_another_key_is_never_released() {
    let hsm = SoftHsm::new();
    let signer = start(options(&hsm)).await;
    for algorithm in [SigningAlgorithm::Es256, SigningAlgorithm::Rs256, SigningAlgorithm::EdDsa] {
        let (mine, theirs) = (Key::generate(&signer, algorithm).await, Key::generate(&signer, algorithm).await);
        // At an algorithm's first use in a process, when its mechanism is negotiated, and later.
        for _ in 0..4 {
            let input = mine.input(0);
            let request = SignRequest { cka_id: &theirs.made.cka_id, ..mine.request(&input) };
            let outcome = signer.reserve().unwrap().sign(request).await;
            assert_eq!(outcome, Err(Error::WrongSignature(mine.kid)));
            mine.sign(&signer, 1).await.unwrap();
            theirs.sign(&signer, 1).await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_is_missing_is_told_from_a_token_that_is() {
    let hsm = SoftHsm::new();
    let signer = start(options(&hsm)).await;
    let (gone, kept) = (Key::generate(&signer, SigningAlgorithm::Es256).await, Key::generate(&signer, SigningAlgorithm::Es256).await);
    for n in 0..4 {
        gone.sign(&signer, n).await.unwrap();
    }
    assert!(signer.destroy(gone.kid, None).await.unwrap());
    assert!(!signer.destroy(gone.kid, None).await.unwrap(), "there is nothing left to destroy");
    // In the process that destroyed it, and in the one that still holds its handle.
    for n in 0..8 {
        assert_eq!(gone.sign(&signer, n).await, Err(Error::KeyNotFound(gone.kid)));
        kept.sign(&signer, n).await.unwrap();
    }
    assert_eq!(until(super::deployment::START, &signer, |s| s.up() == 2).await.as_secs(), 0);
    assert!(signer.status().processes.iter().all(|p| p.respawns == 0), "one tenant's lost key costs no process");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_says_so_at_once_and_a_permit_is_given_back() {
    let hsm = SoftHsm::new();
    let mut options = options(&hsm);
    options.max_in_flight = 3;
    let signer = start(options).await;
    let key = Key::generate(&signer, SigningAlgorithm::Es256).await;
    let mut permits: Vec<_> = (0..3).map(|_| signer.reserve().unwrap()).collect();
    assert_eq!(signer.reserve().unwrap_err(), Error::Busy);
    assert_eq!((signer.status().in_flight, signer.status().max_in_flight), (3, 3));
    let input = key.input(0);
    permits.pop().unwrap().sign(key.request(&input)).await.unwrap();
    drop(permits.pop());
    assert_eq!(signer.status().in_flight, 1);
    key.sign(&signer, 1).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shutdown_finishes_what_is_under_way_and_leaves_no_process() {
    let hsm = SoftHsm::new();
    let signer = start(options(&hsm)).await;
    let key = std::sync::Arc::new(Key::generate(&signer, SigningAlgorithm::Rs256).await);
    let pids: Vec<u32> = signer.status().processes.iter().filter_map(|p| p.pid).collect();
    let under_way: Vec<_> = (0..32)
        .map(|n| {
            let (key, permit) = (key.clone(), signer.reserve().unwrap());
            tokio::spawn(async move {
                let input = key.input(n);
                permit.sign(key.request(&input)).await.map(drop)
            })
        })
        .collect();
    signer.shutdown().await;
    for outcome in under_way {
        outcome.await.unwrap().unwrap();
    }
    assert_eq!(signer.reserve().unwrap_err(), Error::Unavailable);
    assert_eq!(signer.inventory().await.unwrap_err(), Error::Unavailable);
    assert_eq!(pids.len(), 2);
    for pid in pids {
        assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists(), "process {pid} is still there");
    }
}
