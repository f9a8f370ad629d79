//! The thread that makes, destroys and lists keys: the process's main thread, once the token is open.

use std::{borrow::Cow, path::Path, sync::Arc, time::Instant};

use super::{
    Error, adoption, description, fault,
    fault::Class,
    health,
    keys::{self, KeyError},
    lane::{Device, Lane},
    process::Replies,
    queue::lock,
    reader::Work,
    removal, root,
    turn::Turn,
    worker::only_this_or_die,
};
use crate::{
    domain::KeyId,
    hsm::protocol::{self, Adopt, Failure, Generate, Hello, Reply},
};

/// What waits for this thread.
pub(super) struct Management {
    pub(super) id: u64,
    pub(super) expires: Instant,
    pub(super) chore: Chore,
}

/// What it does.
pub(super) enum Chore {
    Hello,
    Generate(Generate<'static>),
    Adopt(Adopt<'static>),
    Destroy { kid: KeyId, cka_id: Option<Vec<u8>> },
    Inventory,
    Describe { cka_ids: Vec<Cow<'static, [u8]>> },
    Unlock { public_key: Option<Vec<u8>> },
}

/// Works for ever. Its calls are not timed as the workers' are: an RSA key takes seconds.
pub(super) fn run(device: &Arc<Device>, manage_keys: bool, work: &Work, replies: &Replies) -> Result<(), Error> {
    let mut lane = Lane::open(device, None).map_err(|e| Error::Module(format!("cannot open a session: {}", fault::name(&e))))?;
    loop {
        let Management { id, expires, chore } = work.chores.pop();
        let reply = if expires <= Instant::now() {
            Reply::Failed(Failure::Expired)
        } else if !manage_keys && matches!(chore, Chore::Generate(_) | Chore::Adopt(_) | Chore::Destroy { .. }) {
            Reply::Failed(Failure::Refused("this signer was started with signing rights only".to_owned()))
        } else {
            let makes_root_key = manage_keys && matches!(chore, Chore::Unlock { public_key: None });
            let changes_keys = makes_root_key || matches!(chore, Chore::Generate(_) | Chore::Adopt(_) | Chore::Destroy { .. });
            // Two processes that look for a key and then make it must not do so side by side: both would make it.
            let _turn = changes_keys.then(|| Turn::wait(Path::new(&device.info.module)));
            // A pair that is made or destroyed by half is for a person to clear up.
            let _uncut = changes_keys.then(|| lock(&work.uncut));
            work_on(&mut lane, &chore, manage_keys).unwrap_or_else(|error| Reply::Failed(judge(&mut lane, error, replies)))
        };
        replies.send(id, reply);
    }
}

fn work_on(lane: &mut Lane, chore: &Chore, manage_keys: bool) -> Result<Reply, KeyError> {
    match chore {
        Chore::Hello => {
            let has_health_key = health::sign(lane, 0)?.is_some();
            Ok(Reply::Hello(Hello { version: protocol::VERSION, token: lane.device.info.clone(), has_health_key }))
        }
        Chore::Generate(request) => keys::generate(lane, request).map(Reply::Generated),
        Chore::Unlock { public_key } => root::unlock(lane, public_key.as_deref(), manage_keys).map(Reply::Unlocked),
        Chore::Inventory => keys::inventory(lane).map(Reply::Inventory),
        Chore::Adopt(request) => adoption::adopt(lane, request).map(Reply::Generated),
        Chore::Describe { cka_ids } => description::describe(lane, cka_ids).map(Reply::Described),
        Chore::Destroy { kid, cka_id } => {
            let existed = removal::destroy(lane, *kid, cka_id.as_deref())?;
            if !existed && !health::token_works(lane).map_err(|why| KeyError::Failure(Failure::Device(why)))? {
                return Err(KeyError::Failure(Failure::Device("the token shows neither this key nor the health key".to_owned())));
            }
            Ok(Reply::Destroyed(existed))
        }
    }
}

/// What an error of the module means. Nothing here is tried again: the client asks again, and finds what there is by then.
fn judge(lane: &mut Lane, error: KeyError, replies: &Replies) -> Failure {
    let error = match error {
        KeyError::Failure(failure) => return failure,
        KeyError::Module(error) => error,
    };
    let name = fault::name(&error);
    if let Err(error) = lane.renew() {
        replies.die(1, format!("{name}, and then no new session: {}", fault::name(&error)));
    }
    match fault::classify(&error) {
        Class::Mechanism => Failure::Mechanism(name),
        _ => only_this_or_die(lane, &name, replies),
    }
}
