//! The processes that serve now, and which of them gets the next request.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::sync::watch;

use super::{
    connection::{Connection, lock},
    public_key::{PublicKey, PublicKeyError},
};
use crate::domain::SigningAlgorithm;

/// One place for each process, empty while it does not serve.
#[derive(Debug)]
pub(super) struct Pool {
    places: Mutex<Vec<Option<Arc<Connection>>>>,
    turn: AtomicUsize,
    changed: watch::Sender<()>,
    /// Smoothed time of a signature, in microseconds.
    usual_micros: AtomicU64,
}

impl Pool {
    pub(super) fn new(processes: usize) -> Self {
        Self {
            places: Mutex::new(vec![None; processes]),
            turn: AtomicUsize::new(0),
            changed: watch::Sender::new(()),
            usual_micros: AtomicU64::new(0),
        }
    }

    /// Puts a process into its place, or takes it out.
    pub(super) fn set(&self, place: usize, connection: Option<Arc<Connection>>) {
        let mut places = lock(&self.places);
        if let Some(entry) = places.get_mut(place) {
            *entry = connection;
        }
        #[expect(clippy::cast_precision_loss, reason = "a handful of processes")]
        metrics::gauge!(super::metrics::PROCESSES_UP).set(places.iter().flatten().count() as f64);
        drop(places);
        self.notify();
    }

    /// Tells whoever waits that something has changed.
    pub(super) fn notify(&self) {
        self.changed.send_replace(());
    }

    /// Sees every change from now on.
    pub(super) fn watch(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Whether any process serves.
    pub(super) fn any(&self) -> bool {
        lock(&self.places).iter().any(Option::is_some)
    }

    /// The least loaded process that is not late with something, else the least loaded; never `except`.
    pub(super) fn pick(&self, except: Option<&Arc<Connection>>) -> Option<Arc<Connection>> {
        let places = lock(&self.places);
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % places.len().max(1);
        let in_turn = places[turn..].iter().chain(&places[..turn]).flatten();
        let others = in_turn.filter(|c| except.is_none_or(|e| !Arc::ptr_eq(c, e)));
        others.min_by_key(|c| (c.is_suspect(), c.load())).cloned()
    }

    /// The process that makes and destroys keys: always the same one while it serves. When two processes make keys at once SoftHSM shows
    /// one object twice, or not at all for a while.
    pub(super) fn manager(&self) -> Option<Arc<Connection>> {
        lock(&self.places).iter().flatten().min_by_key(|c| c.is_suspect()).cloned()
    }

    /// Takes note of how long a signature took.
    pub(super) fn took(&self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let old = self.usual_micros.load(Ordering::Relaxed);
        // An eighth of the new: races between threads cost a sample, no more.
        let smoothed = if old == 0 { micros } else { old - old / 8 + micros / 8 };
        self.usual_micros.store(smoothed, Ordering::Relaxed);
    }

    /// How long a signature takes as a rule.
    pub(super) fn usual(&self) -> Duration {
        Duration::from_micros(self.usual_micros.load(Ordering::Relaxed))
    }
}

/// The most parsed keys that are kept: one for each tenant that signs, a few kB each.
const MAX_KEYS: usize = 4096;

/// Public keys that were parsed, by their SubjectPublicKeyInfo: parsing costs as much as a verification.
#[derive(Debug, Default)]
pub(super) struct KeyCache(Mutex<ParsedKeys>);

type ParsedKeys = HashMap<(SigningAlgorithm, Vec<u8>), Arc<PublicKey>>;

impl KeyCache {
    /// The parsed key.
    pub(super) fn get(&self, algorithm: SigningAlgorithm, spki: &[u8]) -> Result<Arc<PublicKey>, PublicKeyError> {
        let name = (algorithm, spki.to_vec());
        if let Some(key) = lock(&self.0).get(&name) {
            return Ok(key.clone());
        }
        let key = Arc::new(PublicKey::from_spki(algorithm, spki)?);
        let mut keys = lock(&self.0);
        if keys.len() >= MAX_KEYS {
            keys.clear(); // rare, and a parsed key is soon made again
        }
        keys.insert(name, key.clone());
        Ok(key)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::hsm::protocol::Request;

    #[tokio::test]
    async fn the_late_and_the_loaded_come_last() {
        let pool = Pool::new(2);
        assert!(pool.pick(None).is_none());
        let (a, _other_a) = UnixStream::pair().unwrap();
        let (b, _other_b) = UnixStream::pair().unwrap();
        let (a, b) = (Connection::open(a).unwrap(), Connection::open(b).unwrap());
        pool.set(0, Some(a.clone()));
        pool.set(1, Some(b.clone()));
        let _owed = a.begin(Request::Ping, Duration::from_secs(1)).unwrap();
        assert!((0..4).all(|_| Arc::ptr_eq(&pool.pick(None).unwrap(), &b)));
        b.suspect();
        assert!((0..4).all(|_| Arc::ptr_eq(&pool.pick(None).unwrap(), &a)));
        assert!(Arc::ptr_eq(&pool.pick(Some(&a)).unwrap(), &b), "better late than none");
        pool.set(0, None);
        assert!(pool.pick(Some(&b)).is_none());
    }

    #[test]
    fn parsed_keys_are_kept_within_bounds() {
        let cache = KeyCache::default();
        let spki = openssl::pkey::PKey::generate_ed25519().unwrap().public_key_to_der().unwrap();
        let first = cache.get(SigningAlgorithm::EdDsa, &spki).unwrap();
        assert!(Arc::ptr_eq(&first, &cache.get(SigningAlgorithm::EdDsa, &spki).unwrap()));
        assert!(cache.get(SigningAlgorithm::Es256, &spki).is_err());
        assert!(cache.get(SigningAlgorithm::EdDsa, b"garbage").is_err());
    }
}
