//! The threads that sign, and what they make of an error.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use cryptoki::{error::Error as P11Error, object::ObjectHandle};

use super::{
    fault::{self, Class},
    health,
    index::Lookup,
    jws,
    lane::{Device, Lane},
    process::Replies,
    queue::Queue,
};
use crate::{
    domain::{KeyId, SigningAlgorithm},
    hsm::{
        evidence::proof_message,
        protocol::{Failure, Prove, Reply, Sign},
        public_key::PublicKey,
        root_key::is_reserved,
    },
};

/// What waits for a worker.
pub(super) struct Job {
    pub(super) id: u64,
    /// When nobody waits for the reply any more.
    pub(super) expires: Instant,
    pub(super) task: Task,
}

/// What a worker does.
pub(super) enum Task {
    Sign(Sign<'static>),
    Prove(Prove<'static>),
    Health { nonce: u64 },
}

/// Serves jobs for ever. Ends the process when the token does not work any more.
pub(super) fn run(device: &Arc<Device>, slot: usize, jobs: &Queue<Job>, replies: &Replies) {
    let mut lane = match Lane::open(device, Some(slot)) {
        Ok(lane) => lane,
        Err(error) => replies.die(1, format!("cannot open a session: {}", fault::name(&error))),
    };
    loop {
        let job = jobs.pop();
        let reply = match &job.task {
            // Not a moment for what nobody waits for: after a stall a queue is full of it.
            _ if job.expires <= Instant::now() => Reply::Failed(Failure::Expired),
            Task::Sign(request) => signature(sign(&mut lane, request, job.expires, replies)),
            Task::Prove(request) => signature(prove(&mut lane, request, job.expires, replies)),
            Task::Health { nonce } => health_reply(&mut lane, *nonce, replies),
        };
        replies.send(job.id, reply);
    }
}

fn signature(outcome: Result<Vec<u8>, Failure>) -> Reply {
    outcome.map_or_else(Reply::Failed, Reply::Signature)
}

/// What is to be signed, once it was found to be something that may be.
struct Order<'a> {
    kid: KeyId,
    cka_id: &'a [u8],
    algorithm: SigningAlgorithm,
    public_key: &'a [u8],
    message: &'a [u8],
    fresh: bool,
}

fn sign(lane: &mut Lane, r: &Sign, expires: Instant, replies: &Replies) -> Result<Vec<u8>, Failure> {
    let now = lane.device.clock.now();
    jws::check(r.kid, r.algorithm, &r.signing_input, now).map_err(|why| Failure::Refused(why.to_owned()))?;
    let message = r.signing_input.as_bytes();
    let Sign { kid, algorithm, fresh, .. } = *r;
    carry_out(lane, &Order { kid, cka_id: &r.cka_id, algorithm, public_key: &r.public_key, message, fresh }, expires, replies)
}

/// The message starts with what no token starts with, and is made here: whatever the client asks, a token cannot come of it.
fn prove(lane: &mut Lane, r: &Prove, expires: Instant, replies: &Replies) -> Result<Vec<u8>, Failure> {
    let message = proof_message(r.kid, &r.nonce);
    let Prove { kid, algorithm, fresh, .. } = *r;
    carry_out(lane, &Order { kid, cka_id: &r.cka_id, algorithm, public_key: &r.public_key, message: &message, fresh }, expires, replies)
}

fn carry_out(lane: &mut Lane, request: &Order, expires: Instant, replies: &Replies) -> Result<Vec<u8>, Failure> {
    if is_reserved(request.cka_id) || is_reserved(request.kid.as_bytes()) {
        return Err(Failure::Refused("the health key and the root key sign no tokens".to_owned()));
    }
    let mut handle = find(lane, request, request.fresh, replies)?;
    let mut tries_left = 1;
    loop {
        let error = match sign_with(lane, handle, request) {
            Ok(signature) => return Ok(signature),
            Err(error) => error,
        };
        let name = fault::name(&error);
        // Whatever it was: a failed signature can leave its operation active, and the session with it.
        if let Err(error) = lane.renew() {
            replies.die(1, format!("{name}, and then no new session: {}", fault::name(&error)));
        }
        tracing::warn!(kid = %request.kid, "signing with key {} failed: {name}", request.kid);
        match fault::classify(&error) {
            Class::Mechanism => return Err(Failure::Mechanism(format!("{} is not to be had: {name}", request.algorithm))),
            Class::Refused => return Err(Failure::Device(name)),
            Class::Session if tries_left > 0 => {}
            Class::Handle if tries_left > 0 => handle = find(lane, request, true, replies)?,
            _ => return Err(only_this_or_die(lane, &name, replies)),
        }
        tries_left -= 1;
        if expires <= Instant::now() {
            return Err(Failure::Expired);
        }
    }
}

fn sign_with(lane: &mut Lane, handle: ObjectHandle, request: &Order) -> Result<Vec<u8>, P11Error> {
    let public_key = || PublicKey::from_spki(request.algorithm, request.public_key).ok();
    lane.device.mechanisms.sign(lane, handle, request.algorithm, request.message, public_key)
}

/// The key's handle; the token is asked again if it is not known, or `again`.
fn find(lane: &mut Lane, request: &Order, again: bool, replies: &Replies) -> Result<ObjectHandle, Failure> {
    let index = &lane.device.index;
    let lookup = match index.known(request.cka_id) {
        Some(Lookup::Found(handle)) if again => index.search(lane, request.cka_id, Some(handle)),
        Some(known) => Ok(known),
        None => index.search(lane, request.cka_id, None),
    };
    match lookup {
        Ok(Lookup::Found(handle)) => Ok(handle),
        Ok(Lookup::Ambiguous(handles)) => choose(lane, request, &handles),
        Ok(Lookup::AbsentLately) => Err(Failure::KeyNotFound),
        // "Found nothing" is also what a module says whose token is gone.
        Ok(Lookup::Absent) => Err(match health::token_works(lane) {
            Ok(true) => Failure::KeyNotFound,
            Ok(false) => Failure::Device("the token shows neither this key nor the health key".to_owned()),
            Err(why) => replies.die(1, format!("the token shows no key {} and does not sign: {why}", request.kid)),
        }),
        Err(error) => {
            let name = fault::name(&error);
            Err(only_this_or_die(lane, &name, replies))
        }
    }
}

/// The one of several that signs as the stored public key wants it. A module can show one object twice, and people make copies.
fn choose(lane: &mut Lane, request: &Order, handles: &[ObjectHandle]) -> Result<ObjectHandle, Failure> {
    let key = PublicKey::from_spki(request.algorithm, request.public_key).map_err(|e| Failure::Refused(e.to_string()))?;
    for handle in handles {
        match sign_with(lane, *handle, request) {
            Ok(signature) if key.verify(request.message, &signature) => {
                lane.device.index.put(request.cka_id, vec![*handle]);
                return Ok(*handle);
            }
            Ok(_) => {}
            Err(error) => {
                tracing::warn!("one of {} keys with one CKA_ID does not sign: {}", handles.len(), fault::name(&error));
                lane.renew().map_err(|e| Failure::Device(fault::name(&e)))?;
            }
        }
    }
    Err(Failure::KeyUnclear(format!("{} private keys share its CKA_ID, and none signs with the stored public key", handles.len())))
}

/// An error that may mean that the token is gone. If the health key signs it was only this request; if not, a new process is the remedy.
pub(super) fn only_this_or_die(lane: &mut Lane, what: &str, replies: &Replies) -> Failure {
    match health::token_works(lane) {
        Ok(_) => Failure::Device(what.to_owned()),
        Err(why) => replies.die(1, format!("{what}, and the health key does not sign: {why}")),
    }
}

fn health_reply(lane: &mut Lane, nonce: u64, replies: &Replies) -> Reply {
    match health::sign(lane, nonce) {
        Ok(Some(proof)) => Reply::Health(proof),
        Ok(None) => replies.die(1, "the token shows no health key".to_owned()),
        Err(first) => match lane.renew().and_then(|()| health::sign(lane, nonce)) {
            Ok(Some(proof)) => Reply::Health(proof),
            _ => replies.die(1, format!("the health key does not sign: {}", fault::name(&first))),
        },
    }
}

/// How long a reply may take at the most, whatever the client says: what bounds the age of a job.
pub(super) const MAX_WAIT: Duration = Duration::from_mins(10);
