//! What services hold: the HSM as something that signs in time or says at once that it does not.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{OwnedSemaphorePermit, TryAcquireError},
    task::JoinSet,
    time::{Instant, timeout, timeout_at},
};

use super::{
    Error, SignerOptions, Status, attempts,
    connection::lock,
    metrics as names,
    supervisor::{self, Shared},
};
use crate::domain::{KeyId, SigningAlgorithm};

/// The HSM. Clones share everything; when the last is dropped the signer processes end.
#[derive(Debug, Clone)]
pub struct Signer(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
    /// One task a process; aborted, and the processes left without their sockets, when this is dropped.
    supervisors: std::sync::Mutex<JoinSet<()>>,
}

/// A place in the signing queue. It is given back when the signature is there, or when this is dropped.
#[derive(Debug)]
#[must_use = "an unused permit keeps others out"]
pub struct Permit {
    shared: Arc<Shared>,
    _place: OwnedSemaphorePermit,
}

/// One signature to be made.
#[derive(Debug, Clone, Copy)]
pub struct SignRequest<'a> {
    /// The key, which the header of `signing_input` has to name as its `kid`.
    pub kid: KeyId,
    /// The key's `CKA_ID` on the token.
    pub cka_id: &'a [u8],
    /// Its algorithm, which the header has to name as `alg`.
    pub algorithm: SigningAlgorithm,
    /// SubjectPublicKeyInfo in DER, as stored: nothing that does not verify with it is released.
    pub public_key: &'a [u8],
    /// `BASE64URL(header) || '.' || BASE64URL(payload)` of a JWT (RFC 7515 section 5.1).
    pub signing_input: &'a str,
}

impl Signer {
    /// Starts the signer processes, on the current tokio runtime; none where `options` asks for none: whoever needs no HSM must not spend a
    /// try of its PIN. Returns at once: see [`Signer::wait_ready`].
    pub fn start(options: SignerOptions) -> Self {
        let processes = options.processes.min(64);
        if options.keeper.is_some() && processes > 0 {
            tracing::warn!("the HSM is waiting for the operator: passkey-hsm hsm activate");
        }
        let shared = Arc::new(Shared::new(options, processes));
        let mut supervisors = JoinSet::new();
        for place in 0..processes {
            supervisors.spawn(supervisor::supervise(shared.clone(), place));
        }
        Self(Arc::new(Inner { shared, supervisors: supervisors.into() }))
    }

    /// Waits until a process has signed with the health key.
    ///
    /// # Errors
    /// [`Error::PinRefused`], [`Error::NotActivated`] and [`Error::Configuration`] as soon as nothing but a person can help; [`Error::Unavailable`] after `limit`.
    pub async fn wait_ready(&self, limit: Duration) -> Result<(), Error> {
        let shared = &self.0.shared;
        let mut changes = shared.pool.watch();
        let ready = async {
            loop {
                changes.mark_unchanged();
                if let Some(outcome) = shared.settled() {
                    return outcome;
                }
                if changes.changed().await.is_err() {
                    return Err(Error::Unavailable);
                }
            }
        };
        timeout(limit, ready).await.unwrap_or(Err(Error::Unavailable))
    }

    /// A place in the signing queue, now.
    ///
    /// # Errors
    /// [`Error::Busy`] when it is full, [`Error::Unavailable`] when no process is up. Both at once.
    pub fn reserve(&self) -> Result<Permit, Error> {
        let shared = &self.0.shared;
        if shared.is_draining() || !shared.pool.any() {
            return Err(Error::Unavailable);
        }
        match shared.permits.clone().try_acquire_owned() {
            Ok(place) => Ok(Permit { shared: shared.clone(), _place: place }),
            Err(TryAcquireError::NoPermits) => {
                metrics::counter!(names::REFUSED_BUSY).increment(1);
                Err(Error::Busy)
            }
            Err(TryAcquireError::Closed) => Err(Error::Unavailable),
        }
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.0.shared
    }

    /// How long a signature may take in all: so long after a key ceased to sign, none with it is under way any more.
    pub fn sign_deadline(&self) -> Duration {
        self.0.shared.options.sign_deadline
    }

    /// What is known without asking the HSM.
    pub fn status(&self) -> Status {
        self.0.shared.status()
    }

    /// Takes no more requests, finishes what is under way, and ends the processes.
    pub async fn shutdown(&self) {
        let shared = &self.0.shared;
        shared.drain();
        self.drained().await;
        shared.stop();
        let mut supervisors = std::mem::take(&mut *lock(&self.0.supervisors));
        while supervisors.join_next().await.is_some() {}
        let keeper = lock(&shared.keeper).take();
        if let Some(keeper) = keeper {
            keeper.forget().await;
        }
    }

    /// Waits until no signature is under way, or all of them are late.
    pub(super) async fn drained(&self) {
        let shared = self.shared();
        let all = u32::try_from(shared.options.max_in_flight).unwrap_or(u32::MAX);
        let _ = timeout(shared.options.sign_deadline, shared.permits.acquire_many(all)).await;
    }
}

impl Permit {
    /// The signature in JOSE form (r || s for ECDSA), verified with the stored public key.
    ///
    /// # Errors
    /// [`Error::Deadline`] after the configured time; [`Error::Unavailable`] when the process died and no other could do it. Asking again is
    /// safe.
    pub async fn sign(self, r: SignRequest<'_>) -> Result<Vec<u8>, Error> {
        let started = Instant::now();
        let deadline = started + self.shared.options.sign_deadline;
        let outcome = timeout_at(deadline, attempts::sign(&self.shared, &r, deadline)).await.unwrap_or(Err(Error::Deadline));
        if outcome.is_ok() {
            metrics::histogram!(names::SIGN_SECONDS, "algorithm" => r.algorithm.as_str()).record(started.elapsed().as_secs_f64());
        }
        count("sign", outcome)
    }
}

pub(super) fn count<T>(operation: &'static str, outcome: Result<T, Error>) -> Result<T, Error> {
    outcome.inspect_err(|e| metrics::counter!(names::ERRORS, "operation" => operation, "error" => e.kind()).increment(1))
}
