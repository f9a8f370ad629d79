//! Which handle a key has in this process: one listing when the process starts, so that no signature ever searches.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    thread,
    time::{Duration, Instant},
};

use cryptoki::{
    error::Result,
    object::{Attribute, AttributeType, ObjectClass, ObjectHandle},
    session::Session,
};

use super::{lane::Lane, queue::lock};

/// How long an answer "not there" stands before the token is asked again about the same id.
const MISS_STANDS: Duration = Duration::from_secs(1);

/// When to look again for what is not found. While another process makes keys, SoftHSM shows a finished one a few milliseconds late.
const LOOKS_AGAIN: [Duration; 3] = [Duration::from_millis(5), Duration::from_millis(15), Duration::from_millis(40)];

/// The most ids whose absence is remembered.
const MAX_MISSES: usize = 4096;

/// What is known of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Lookup {
    /// Its private half.
    Found(ObjectHandle),
    /// Several share the id: two keys, or one that the module shows twice. Which one is meant, a signature tells.
    Ambiguous(Vec<ObjectHandle>),
    /// The token was asked just now and shows none. On its own that proves nothing.
    Absent,
    /// The token was asked a moment ago, by somebody else.
    AbsentLately,
}

/// `CKA_ID` to private-key handles. Handles are the process's own and good until its end, unless another process destroys the key.
pub(super) struct KeyIndex {
    handles: RwLock<HashMap<Vec<u8>, Vec<ObjectHandle>>>,
    /// Held while a missing key is looked for, so that one thread looks for all.
    misses: Mutex<HashMap<Vec<u8>, Instant>>,
    /// Finds share it, key generation and destruction have it alone: in SoftHSM a find beside a C_GenerateKeyPair makes the latter fail
    /// and leave half-written objects. Signing needs no part of it.
    finds: RwLock<()>,
}

impl KeyIndex {
    /// Lists every private key on the token.
    pub(super) fn list(session: &Session) -> Result<Self> {
        let mut handles: HashMap<Vec<u8>, Vec<ObjectHandle>> = HashMap::new();
        for handle in session.find_objects(&[Attribute::Class(ObjectClass::PRIVATE_KEY), Attribute::Token(true)])? {
            if let Some(Attribute::Id(id)) = session.get_attributes(handle, &[AttributeType::Id])?.pop() {
                handles.entry(id).or_default().push(handle);
            }
        }
        Ok(Self { handles: RwLock::new(handles), misses: Mutex::default(), finds: RwLock::new(()) })
    }

    /// Keeps key generation and destruction away.
    pub(super) fn shared(&self) -> RwLockReadGuard<'_, ()> {
        self.finds.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps every find away.
    pub(super) fn exclusive(&self) -> RwLockWriteGuard<'_, ()> {
        self.finds.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the key is, as far as this process knows.
    pub(super) fn known(&self, id: &[u8]) -> Option<Lookup> {
        let handles = self.handles.read().unwrap_or_else(PoisonError::into_inner);
        handles.get(id).map(|found| lookup(found))
    }

    /// Asks the token again: the key is new, or its handle was not good. At most once a second for one id.
    pub(super) fn search(&self, lane: &Lane, id: &[u8], stale: Option<ObjectHandle>) -> Result<Lookup> {
        let mut misses = lock(&self.misses);
        // Somebody may have found it while we waited.
        match self.known(id) {
            Some(Lookup::Found(handle)) if Some(handle) != stale => return Ok(Lookup::Found(handle)),
            _ => {}
        }
        if misses.get(id).is_some_and(|at| at.elapsed() < MISS_STANDS) {
            return Ok(self.known(id).unwrap_or(Lookup::AbsentLately));
        }
        let mut found = self.look(lane, id)?;
        for pause in LOOKS_AGAIN {
            if !found.is_empty() {
                break;
            }
            thread::sleep(pause);
            found = self.look(lane, id)?;
        }
        if misses.len() >= MAX_MISSES {
            misses.retain(|_, at| at.elapsed() < MISS_STANDS);
        }
        if misses.len() < MAX_MISSES && (found.is_empty() || stale.is_some()) {
            misses.insert(id.to_vec(), Instant::now());
        }
        let answer = lookup(&found);
        self.put(id, found);
        Ok(answer)
    }

    fn look(&self, lane: &Lane, id: &[u8]) -> Result<Vec<ObjectHandle>> {
        let _shared = self.shared();
        lane.call(|session| find(session, ObjectClass::PRIVATE_KEY, Attribute::Id(id.to_vec())))
    }

    /// Takes note of what is now on the token under that id: none, for a key that was destroyed.
    pub(super) fn put(&self, id: &[u8], found: Vec<ObjectHandle>) {
        let mut handles = self.handles.write().unwrap_or_else(PoisonError::into_inner);
        if found.is_empty() {
            handles.remove(id);
        } else {
            handles.insert(id.to_vec(), found);
        }
    }
}

fn lookup(found: &[ObjectHandle]) -> Lookup {
    match found {
        [] => Lookup::Absent,
        [one] => Lookup::Found(*one),
        many => Lookup::Ambiguous(many.to_vec()),
    }
}

/// Token objects of a class with one attribute. The class comes first: SoftHSM compares in that order and walks through every object.
pub(super) fn find(session: &Session, class: ObjectClass, by: Attribute) -> Result<Vec<ObjectHandle>> {
    session.find_objects(&[Attribute::Class(class), Attribute::Token(true), by])
}
