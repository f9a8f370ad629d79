//! A bounded queue between the thread that reads the socket and those that work.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
};

/// Locks whatever happened to the last holder. What these locks protect is whole after each statement, and a thread that panics ends the
/// process anyway.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// First come, first served, except for what is put in front.
pub(super) struct Queue<T> {
    items: Mutex<VecDeque<T>>,
    filled: Condvar,
    limit: usize,
}

impl<T> Queue<T> {
    pub(super) fn new(limit: usize) -> Self {
        Self { items: Mutex::new(VecDeque::new()), filled: Condvar::new(), limit }
    }

    /// Adds at the end; gives the item back when the queue is full.
    pub(super) fn push(&self, item: T) -> Result<(), T> {
        let mut items = lock(&self.items);
        if items.len() >= self.limit {
            return Err(item);
        }
        items.push_back(item);
        drop(items);
        self.filled.notify_one();
        Ok(())
    }

    /// Adds in front, full or not: for the health signature, which has its place reserved.
    pub(super) fn push_front(&self, item: T) {
        lock(&self.items).push_front(item);
        self.filled.notify_one();
    }

    /// Waits for the next item.
    pub(super) fn pop(&self) -> T {
        let mut items = lock(&self.items);
        loop {
            match items.pop_front() {
                Some(item) => return item,
                None => items = self.filled.wait(items).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounded_but_for_the_front() {
        let queue = Queue::new(2);
        assert_eq!((queue.push(1), queue.push(2), queue.push(3)), (Ok(()), Ok(()), Err(3)));
        queue.push_front(0);
        assert_eq!([queue.pop(), queue.pop(), queue.pop()], [0, 1, 2]);
    }
}
