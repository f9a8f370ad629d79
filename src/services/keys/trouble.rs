//! What did not work in the scheduler's hands: said once for each cause, and tried again after a while.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;
use uuid::Uuid;

use super::Error;

/// The first pause, which doubles, and how long it gets: a rule can be kept a moment later; a token that makes no such keys will not learn it.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
const UNSUPPORTED_PAUSE: Duration = Duration::from_hours(1);

/// How long something that was not tried again is remembered.
const MEMORY: Duration = Duration::from_mins(10);

/// A step, and the key or tenant that it was for.
pub(super) type Thing = (&'static str, Uuid);

/// What did not work, and when it may be tried again.
#[derive(Debug, Default)]
pub(super) struct Troubles(Mutex<HashMap<Thing, Trouble>>);

#[derive(Debug)]
struct Trouble {
    why: String,
    pause: Duration,
    again: Instant,
}

impl Troubles {
    /// Whether it is time to try it, again or for the first time.
    pub(super) fn may_try(&self, thing: Thing, now: Instant) -> bool {
        self.lock().get(&thing).is_none_or(|trouble| now >= trouble.again)
    }

    /// It worked.
    pub(super) fn worked(&self, thing: Thing) {
        self.lock().remove(&thing);
    }

    /// It did not; whether that has to be said: not where it failed for the same reason before.
    pub(super) fn failed(&self, thing: Thing, error: &Error, now: Instant) -> bool {
        let why = error.to_string();
        let mut all = self.lock();
        let before = all.get(&thing);
        let pause = match (error, before) {
            (Error::Unsupported(..), _) => UNSUPPORTED_PAUSE,
            (_, Some(before)) => (before.pause * 2).min(LONGEST_PAUSE),
            (_, None) => FIRST_PAUSE,
        };
        let is_news = before.is_none_or(|before| before.why != why);
        all.insert(thing, Trouble { why, pause, again: now + pause });
        is_news
    }

    /// Forgets what is not due any more.
    pub(super) fn forget(&self, now: Instant) {
        self.lock().retain(|_, trouble| now < trouble.again + MEMORY);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Thing, Trouble>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::{KeyRefusal, KeyRule, SigningAlgorithm},
        hsm,
    };

    const THING: Thing = ("publish", Uuid::nil());

    fn refused(why: &str) -> Error {
        KeyRefusal::new(KeyRule::Replicas, why).into()
    }

    #[test]
    fn a_cause_is_said_once_until_it_is_over() {
        let (troubles, now) = (Troubles::default(), Instant::now());
        assert!(troubles.failed(THING, &refused("a"), now));
        assert!(!troubles.failed(THING, &refused("a"), now));
        assert!(troubles.failed(THING, &refused("b"), now));
        assert!(troubles.failed(("retire", Uuid::nil()), &refused("b"), now));
        troubles.worked(THING);
        assert!(troubles.failed(THING, &refused("b"), now));
    }

    #[test]
    fn it_is_tried_again_less_and_less_often() {
        let (troubles, mut now) = (Troubles::default(), Instant::now());
        assert!(troubles.may_try(THING, now));
        let mut pauses = Vec::new();
        for _ in 0..8 {
            troubles.failed(THING, &refused("a"), now);
            assert!(!troubles.may_try(THING, now));
            let begun = now;
            while !troubles.may_try(THING, now) {
                now += Duration::from_millis(500);
            }
            pauses.push((now - begun).as_millis());
        }
        assert_eq!(pauses, [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
    }

    #[test]
    fn what_a_token_cannot_do_is_left_alone_for_an_hour_and_forgotten_later() {
        let (troubles, now) = (Troubles::default(), Instant::now());
        let error = Error::Unsupported(SigningAlgorithm::EdDsa, hsm::Error::Mechanism("no".to_owned()));
        troubles.failed(THING, &error, now);
        let almost = now + UNSUPPORTED_PAUSE.saturating_sub(Duration::from_secs(1));
        troubles.forget(almost);
        assert!(!troubles.may_try(THING, almost));
        assert!(troubles.may_try(THING, now + UNSUPPORTED_PAUSE));
        troubles.forget(now + UNSUPPORTED_PAUSE + MEMORY);
        assert!(troubles.may_try(THING, now));
    }
}
