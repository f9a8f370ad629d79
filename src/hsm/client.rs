//! What services hold: the HSM as something that signs in time or says at once that it does not.

use std::{borrow::Cow, sync::Arc, time::Duration};

use tokio::{
    sync::{OwnedSemaphorePermit, TryAcquireError},
    task::JoinSet,
    time::{Instant, timeout, timeout_at},
};

use super::{
    Error, Inventory, ROOT_KEY, SignerOptions, Status, Unlocked, attempts,
    connection::{Lost, lock},
    evidence::verify_evidence,
    metrics as names,
    protocol::{Generate, Reply, Request},
    supervisor::{self, Shared},
};
use crate::domain::{KeyEvidence, KeyId, Pin, SigningAlgorithm, Timestamp};

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

/// A key pair to be made.
#[derive(Debug, Clone, Copy)]
pub struct GenerateRequest<'a> {
    /// Its id: `CKA_ID` and, as text, label.
    pub kid: KeyId,
    /// What it will sign with.
    pub algorithm: SigningAlgorithm,
    /// Size of its modulus if it is an RSA key: 2048 (the default), 3072 or 4096.
    pub rsa_bits: Option<u32>,
    /// The time for its evidence.
    pub now: Timestamp,
    /// Who asked for it, for its evidence.
    pub actor: &'a str,
}

/// A key pair on the token to be taken over, found by the one or the other.
#[derive(Debug, Clone, Copy)]
pub struct AdoptRequest<'a> {
    /// The id that it will go by. Its `CKA_ID` and label stay what they are.
    pub kid: KeyId,
    /// Its `CKA_ID`.
    pub cka_id: Option<&'a [u8]>,
    /// Its `CKA_LABEL`.
    pub label: Option<&'a str>,
    /// What it signs with.
    pub algorithm: SigningAlgorithm,
    /// The time for its evidence.
    pub now: Timestamp,
    /// Who asked for it, for its evidence.
    pub actor: &'a str,
}

/// A key pair that was made, or taken over from an attempt whose answer was lost. It has signed its evidence.
#[derive(Debug, Clone)]
pub struct GeneratedKey {
    /// `CKA_ID` as read back.
    pub cka_id: Vec<u8>,
    /// Serial number of the token that holds it.
    pub token_serial: String,
    /// SubjectPublicKeyInfo in DER.
    pub public_key: Vec<u8>,
    /// What the token said of it.
    pub evidence: KeyEvidence,
}

impl Signer {
    /// Starts the signer processes, on the current tokio runtime; none where `options` asks for none: whoever needs no HSM must not spend a
    /// try of its PIN. Returns at once: see [`Signer::wait_ready`].
    pub fn start(options: SignerOptions) -> Self {
        let processes = options.processes.min(64);
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
    /// [`Error::PinRefused`] and [`Error::Configuration`] as soon as nothing but a person can help; [`Error::Unavailable`] after `limit`.
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

    /// Makes a key pair, or takes over the complete one of that id.
    ///
    /// # Errors
    /// After [`Error::Deadline`] and [`Error::Unavailable`] it is unknown whether the pair was made: ask again with the same id.
    pub async fn generate(&self, r: &GenerateRequest<'_>) -> Result<GeneratedKey, Error> {
        let body = Generate { kid: r.kid, algorithm: r.algorithm, rsa_bits: r.rsa_bits, now: r.now };
        let outcome = match self.manage(Request::Generate(body)).await {
            Ok(Reply::Generated(key)) if verify_evidence(r.algorithm, &key.public_key, &key.evidence) => {
                let token_serial = lock(&self.0.shared.token).as_ref().map(|t| t.serial.clone()).unwrap_or_default();
                Ok(GeneratedKey { cka_id: key.cka_id, token_serial, public_key: key.public_key, evidence: key.evidence })
            }
            Ok(Reply::Generated(_)) => Err(Error::WrongSignature(r.kid)),
            other => Err(unexpected(r.kid, other)),
        };
        count("generate", outcome)
    }

    /// Takes over a key pair that is on the token already: exactly one has to match, and to be kept as those are that are made here. It signs
    /// its evidence, which says that it was adopted.
    pub async fn adopt(&self, r: &AdoptRequest<'_>) -> Result<GeneratedKey, Error> {
        let _ = r;
        Err(Error::Unavailable)
    }

    /// A signature by the key over [`super::PROOF_PREFIX`], `kid` and `nonce`, which can never be a token, verified with `public_key`: what shows
    /// that the private half is there and is the one. No place in the signing queue is taken.
    ///
    /// # Errors
    /// [`Error::KeyNotFound`] when the token works and does not have it.
    pub async fn prove(
        &self,
        kid: KeyId,
        cka_id: &[u8],
        algorithm: SigningAlgorithm,
        public_key: &[u8],
        nonce: [u8; 32],
    ) -> Result<Vec<u8>, Error> {
        let _ = (kid, cka_id, algorithm, public_key, nonce);
        Err(Error::Unavailable)
    }

    /// The attributes of private keys as read back from the token now, each a JSON object, `None` for those that are not there; in the order of
    /// `cka_ids`.
    pub async fn describe(&self, cka_ids: &[&[u8]]) -> Result<Vec<Option<String>>, Error> {
        let _ = cka_ids;
        Err(Error::Unavailable)
    }

    /// Gives the signer processes the PIN, or has them start again with the configured one where it is `None`; waits until one has logged in.
    ///
    /// # Errors
    /// [`Error::PinRefused`] after one try: the PIN is forgotten, and the processes wait as before.
    pub async fn activate(&self, pin: Option<Pin>) -> Result<(), Error> {
        let _ = pin;
        Err(Error::Unavailable)
    }

    /// Finishes what is under way, ends the processes and forgets the PIN. Nothing signs until [`Signer::activate`].
    pub async fn deactivate(&self) -> Result<(), Error> {
        Err(Error::Unavailable)
    }

    /// Destroys a key pair, and looks again. False when there was none, on a token that works. `cka_id` where the token knows it by another id than
    /// `id`'s.
    pub async fn destroy(&self, id: KeyId, cka_id: Option<&[u8]>) -> Result<bool, Error> {
        let _ = cka_id;
        let outcome = match self.manage(Request::Destroy { kid: id }).await {
            Ok(Reply::Destroyed(existed)) => Ok(existed),
            other => Err(unexpected(id, other)),
        };
        count("destroy", outcome)
    }

    /// The token, and every key pair on it.
    pub async fn inventory(&self) -> Result<Inventory, Error> {
        let outcome = match self.manage(Request::Inventory).await {
            Ok(Reply::Inventory(inventory)) => Ok(inventory),
            other => Err(unexpected(super::HEALTH_KEY, other)),
        };
        count("inventory", outcome)
    }

    /// The one signature of the token's root key, verified: of the pair with this public key (SubjectPublicKeyInfo), or of the one that there
    /// is, which is made where there is none.
    ///
    /// # Errors
    /// [`Error::KeyNotFound`] when the token works and has no such pair; [`Error::Refused`] when it has none and the signer processes have
    /// signing rights only. Asking again is safe.
    pub async fn unlock(&self, public_key: Option<&[u8]>) -> Result<Unlocked, Error> {
        let outcome = match self.manage(Request::Unlock { public_key: public_key.map(Cow::Borrowed) }).await {
            Ok(Reply::Unlocked(unlocked)) if unlocked.is_genuine(public_key) => Ok(unlocked),
            Ok(Reply::Unlocked(_)) => Err(Error::WrongSignature(ROOT_KEY)),
            other => Err(unexpected(ROOT_KEY, other)),
        };
        count("unlock", outcome)
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
        let all = u32::try_from(shared.options.max_in_flight).unwrap_or(u32::MAX);
        let _ = timeout(shared.options.sign_deadline, shared.permits.acquire_many(all)).await;
        shared.stop();
        let mut supervisors = std::mem::take(&mut *lock(&self.0.supervisors));
        while supervisors.join_next().await.is_some() {}
    }

    /// Asks one process, once: what was begun may have been done, and doing it twice may do harm.
    async fn manage(&self, request: Request<'_>) -> Result<Reply, Error> {
        let shared = &self.0.shared;
        let connection = if shared.is_draining() { None } else { shared.pool.manager() };
        let connection = connection.ok_or(Error::Unavailable)?;
        let limit = shared.options.manage_deadline;
        match timeout(limit, connection.call(request, limit)).await {
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(Lost)) => Err(Error::Unavailable),
            Err(_) => Err(Error::Deadline),
        }
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

fn unexpected(kid: KeyId, outcome: Result<Reply, Error>) -> Error {
    match outcome {
        Err(error) => error,
        Ok(Reply::Failed(failure)) => Error::from_failure(kid, failure),
        Ok(_) => Error::Device("the signer answered another question".to_owned()),
    }
}

fn count<T>(operation: &'static str, outcome: Result<T, Error>) -> Result<T, Error> {
    outcome.inspect_err(|e| metrics::counter!(names::ERRORS, "operation" => operation, "error" => e.kind()).increment(1))
}
