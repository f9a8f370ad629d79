//! How fast the HSM signs, measured on the way that tokens' signatures go, beside them.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use super::{
    Error, Signer, health,
    protocol::{Reply, Request},
    supervisor::Shared,
};
use crate::domain::SigningAlgorithm;

/// How long it may take, in seconds, and how many signatures may be asked for at once.
const SECONDS: std::ops::RangeInclusive<u32> = 1..=30;
const CONCURRENCY: std::ops::RangeInclusive<usize> = 1..=64;

/// What was measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bench {
    /// The health key's, once it has signed.
    pub algorithm: Option<SigningAlgorithm>,
    /// How many were asked for at once: never more than half of the signing queue.
    pub concurrency: usize,
    /// Signatures made and verified.
    pub signatures: usize,
    /// Those that failed, did not verify, or came too late.
    pub errors: usize,
    /// How long it took.
    pub elapsed: Duration,
    /// Half of the signatures took no longer.
    pub p50: Duration,
    /// 99 of 100 took no longer.
    pub p99: Duration,
}

/// What one of those who ask has seen.
#[derive(Default)]
struct Tally {
    algorithm: Option<SigningAlgorithm>,
    micros: Vec<u32>,
    errors: usize,
}

impl Signer {
    /// Signs with the health key, over and over for `seconds` (1 to 30), `concurrency` (1 to 64) at once. One place in two of the signing queue
    /// is left to tokens, which this gives way to: it waits while more than half of the queue is taken.
    ///
    /// # Errors
    /// [`Error::Refused`] outside these bounds, and while another one measures; [`Error::Unavailable`] when no process is up.
    pub async fn bench(&self, seconds: u32, concurrency: usize) -> Result<Bench, Error> {
        if !SECONDS.contains(&seconds) || !CONCURRENCY.contains(&concurrency) {
            return Err(Error::Refused("a measurement takes 1 to 30 s, with 1 to 64 signatures at once".to_owned()));
        }
        let shared = self.shared();
        drop(shared.manager().ok_or(Error::Unavailable)?);
        if shared.measuring.swap(true, Ordering::AcqRel) {
            return Err(Error::Refused("somebody else is measuring".to_owned()));
        }
        let _done = Done(shared);
        let concurrency = concurrency.min(half(shared));
        let begun = Instant::now();
        let end = begun + Duration::from_secs(seconds.into());
        let mut askers = JoinSet::new();
        for _ in 0..concurrency {
            askers.spawn(ask_until(self.clone(), end));
        }
        let mut all = Tally::default();
        while let Some(tally) = askers.join_next().await {
            let tally = tally.map_err(|_| Error::Device("the measurement was cut short".to_owned()))?;
            all.algorithm = all.algorithm.or(tally.algorithm);
            all.errors += tally.errors;
            all.micros.extend(tally.micros);
        }
        all.micros.sort_unstable();
        let Tally { algorithm, micros, errors } = all;
        let (p50, p99) = (percentile(&micros, 50), percentile(&micros, 99));
        Ok(Bench { algorithm, concurrency, signatures: micros.len(), errors, elapsed: begun.elapsed(), p50, p99 })
    }
}

/// Lets the next one measure, however this one ends.
struct Done<'a>(&'a Arc<Shared>);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.measuring.store(false, Ordering::Release);
    }
}

fn half(shared: &Shared) -> usize {
    (shared.options.max_in_flight / 2).max(1)
}

async fn ask_until(signer: Signer, end: Instant) -> Tally {
    let shared = signer.shared();
    let mut tally = Tally::default();
    while Instant::now() < end {
        let taken = shared.options.max_in_flight.saturating_sub(shared.permits.available_permits());
        let place = if taken < half(shared) { signer.reserve() } else { Err(Error::Busy) };
        match place {
            Ok(_place) => {
                let begun = Instant::now();
                match ask(shared).await {
                    Some(algorithm) => {
                        tally.algorithm = Some(algorithm);
                        tally.micros.push(u32::try_from(begun.elapsed().as_micros()).unwrap_or(u32::MAX));
                    }
                    None => tally.errors += 1,
                }
            }
            Err(Error::Busy) => sleep(Duration::from_millis(1)).await,
            Err(_) => {
                tally.errors += 1;
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
    tally
}

/// One signature, verified.
async fn ask(shared: &Shared) -> Option<SigningAlgorithm> {
    let connection = shared.pool.pick(None)?;
    let nonce = health::next_nonce();
    let limit = shared.options.sign_deadline;
    match timeout(limit, connection.call(Request::Health { nonce, urgent: false }, limit)).await {
        Ok(Ok(Reply::Health(proof))) => {
            let key = shared.keys.get(proof.algorithm, &proof.public_key).ok()?;
            key.verify(&health::message(nonce), &proof.signature).then_some(proof.algorithm)
        }
        _ => None,
    }
}

/// Of sorted microseconds, that which `percent` of them do not exceed; zero of none.
fn percentile(sorted: &[u32], percent: usize) -> Duration {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    Duration::from_micros(sorted.get(rank - 1).copied().unwrap_or(0).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_those_that_there_are() {
        let sorted: Vec<u32> = (1..=200).collect();
        assert_eq!(percentile(&sorted, 50), Duration::from_micros(100));
        assert_eq!(percentile(&sorted, 99), Duration::from_micros(198));
        assert_eq!(percentile(&sorted[..1], 99), Duration::from_micros(1));
        assert_eq!(percentile(&[], 50), Duration::ZERO);
    }
}
