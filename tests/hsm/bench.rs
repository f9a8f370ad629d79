//! Measuring, beside what tokens need.

use std::{sync::Arc, time::Duration};

use passkey_hsm::{
    domain::SigningAlgorithm,
    hsm::{Error, Signer},
};

use super::{
    deployment::{Key, options, start},
    faults::Load,
    softhsm::SoftHsm,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_counts_verified_signatures_and_leaves_room_for_tokens() {
    let hsm = SoftHsm::new();
    let mut options = options(&hsm);
    options.max_in_flight = 16;
    let signer = start(options).await;
    let key = Arc::new(Key::generate(&signer, SigningAlgorithm::Es256).await);
    let alone = signer.bench(1, 64).await.unwrap();
    println!("{alone:?}");
    assert_eq!((alone.concurrency, alone.errors, alone.algorithm), (8, 0, Some(SigningAlgorithm::Es256)));
    assert!(alone.signatures > 100 && alone.p50 > Duration::ZERO && alone.p50 <= alone.p99, "{alone:?}");
    assert!(alone.elapsed >= Duration::from_secs(1) && alone.elapsed < Duration::from_secs(5));

    let load = Load::start(&signer, &key);
    let beside = tokio::spawn({
        let signer = signer.clone();
        async move { signer.bench(1, 64).await }
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(matches!(signer.bench(1, 1).await, Err(Error::Refused(_))), "one at a time");
    println!("{:?}", beside.await.unwrap().unwrap());
    let (errors, done, _) = load.stop().await;
    assert_eq!(errors, [], "twelve callers have room beside half of sixteen places, of {done}");
    signer.bench(1, 1).await.unwrap();
}

#[tokio::test]
async fn its_bounds_are_kept() {
    let hsm = SoftHsm::new();
    let mut options = options(&hsm);
    options.processes = 0;
    let signer = Signer::start(options);
    for (seconds, concurrency) in [(0, 1), (31, 1), (1, 0), (1, 65)] {
        assert!(matches!(signer.bench(seconds, concurrency).await, Err(Error::Refused(_))));
    }
    assert_eq!(signer.bench(1, 1).await, Err(Error::Unavailable));
}
