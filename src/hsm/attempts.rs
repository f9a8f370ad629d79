//! One signature, and up to two processes that may make it.

use std::{borrow::Cow, sync::Arc, time::Duration};

use futures::{StreamExt as _, stream::FuturesUnordered};
use tokio::time::{Instant, sleep, timeout};

use super::{
    Error, SignRequest,
    connection::{Connection, Lost},
    metrics as names,
    protocol::{Failure, Reply, Request, Sign},
    public_key::PublicKey,
    supervisor::Shared,
};

/// How long a signature whose process died waits for another to come up, when none is.
const WAIT_FOR_ANOTHER: Duration = Duration::from_millis(750);

/// How one attempt failed.
enum Fault {
    /// The process died, or could not do it now: another may do better.
    Elsewhere(Error),
    /// It would fail anywhere.
    Final(Error),
}

/// Signs through the least loaded process. The signature is given to another, once, when that one dies with it or lets it wait: signing
/// twice harms nobody.
pub(super) async fn sign(shared: &Shared, r: &SignRequest<'_>, deadline: Instant) -> Result<Vec<u8>, Error> {
    let key = shared.keys.get(r.algorithm, r.public_key).map_err(|e| Error::Refused(format!("the stored public key: {e}")))?;
    let first = shared.pool.pick(None).ok_or(Error::Unavailable)?;
    let mut running = FuturesUnordered::new();
    running.push(attempt(shared, first.clone(), r, &key, deadline));
    let mut another_left = true;
    let mut patient = true;
    let patience = sleep(patience(shared, deadline));
    tokio::pin!(patience);
    loop {
        tokio::select! {
            Some(outcome) = running.next() => match outcome {
                Ok(signature) => return Ok(signature),
                Err(Fault::Final(error)) => return Err(error),
                Err(Fault::Elsewhere(error)) => {
                    let other = if another_left { another(shared, &first, &error).await } else { None };
                    if let Some(other) = other {
                        metrics::counter!(names::RETRIED).increment(1);
                        another_left = false;
                        running.push(attempt(shared, other, r, &key, deadline));
                    } else if running.is_empty() {
                        return Err(error);
                    }
                }
            },
            () = &mut patience, if patient => {
                patient = false;
                first.suspect();
                if another_left && let Some(other) = shared.pool.pick(Some(&first)) {
                    metrics::counter!(names::HEDGED).increment(1);
                    another_left = false;
                    running.push(attempt(shared, other, r, &key, deadline));
                }
            }
        }
    }
}

/// How long the first process has it alone: as configured, but never so short that a slow HSM gets everything twice, and never so long
/// that no time is left for another.
fn patience(shared: &Shared, deadline: Instant) -> Duration {
    let left = deadline.saturating_duration_since(Instant::now());
    shared.options.hedge_after.max(4 * shared.pool.usual()).min(left / 2)
}

/// Another process; if the first one died, waits a moment for one that is just being started.
async fn another(shared: &Shared, except: &Arc<Connection>, error: &Error) -> Option<Arc<Connection>> {
    if *error != Error::Unavailable {
        return shared.pool.pick(Some(except));
    }
    let mut changes = shared.pool.watch();
    let found = async {
        loop {
            changes.mark_unchanged();
            if let Some(connection) = shared.pool.pick(Some(except)) {
                return Some(connection);
            }
            changes.changed().await.ok()?;
        }
    };
    timeout(WAIT_FOR_ANOTHER, found).await.ok().flatten()
}

/// Asks one process, and judges its signature. One that does not verify is asked for again, with the key looked up anew: another process
/// may have destroyed it, and the module given its handle to another key.
async fn attempt(
    shared: &Shared,
    connection: Arc<Connection>,
    r: &SignRequest<'_>,
    key: &PublicKey,
    deadline: Instant,
) -> Result<Vec<u8>, Fault> {
    for fresh in [false, true] {
        let started = Instant::now();
        let request = Request::Sign(Sign {
            kid: r.kid,
            cka_id: Cow::Borrowed(r.cka_id),
            algorithm: r.algorithm,
            public_key: Cow::Borrowed(r.public_key),
            signing_input: Cow::Borrowed(r.signing_input),
            fresh,
        });
        match connection.call(request, deadline.saturating_duration_since(started)).await {
            Ok(Reply::Signature(signature)) if key.verify(r.signing_input.as_bytes(), &signature) => {
                shared.pool.took(started.elapsed());
                return Ok(signature);
            }
            Ok(Reply::Signature(_)) => {
                metrics::counter!(names::WRONG_SIGNATURES).increment(1);
                tracing::error!(kid = %r.kid, "a signature by key {} does not verify with its stored public key", r.kid);
            }
            Ok(Reply::Failed(failure)) => return Err(sort(r, failure)),
            Ok(_) => return Err(Fault::Final(Error::Device("the signer answered another question".to_owned()))),
            Err(Lost) => return Err(Fault::Elsewhere(Error::Unavailable)),
        }
    }
    Err(Fault::Final(Error::WrongSignature(r.kid)))
}

fn sort(r: &SignRequest, failure: Failure) -> Fault {
    // A key that one process does not find may be one that the other made a moment ago: not every module shows it at once.
    let elsewhere = matches!(failure, Failure::Busy | Failure::Expired | Failure::Device(_) | Failure::KeyNotFound);
    let error = Error::from_failure(r.kid, failure);
    if elsewhere { Fault::Elsewhere(error) } else { Fault::Final(error) }
}
