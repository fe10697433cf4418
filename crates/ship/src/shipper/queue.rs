//! What waits for its turn: the oldest first, and after an error not before its pause is over.
//!
//! Guarantees: at most `FILES_MAX` files are held, the oldest ones. Who has more lists the directory again.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Instant, SystemTime};

use crate::source::Candidate;

/// 256 bytes each: 16 MiB.
pub(crate) const FILES_MAX: usize = 65_536;

/// A file that waits.
#[derive(Clone, Debug)]
pub(crate) struct Waiting {
    pub(crate) file: Candidate,
    /// Attempts that failed.
    pub(crate) attempts: u32,
    /// Ask the store before the bytes are sent.
    pub(crate) asks_first: bool,
    /// It was shipped before, and is compared once more so that it can go.
    pub(crate) is_again: bool,
    /// The last error.
    pub(crate) reason: String,
}

/// By the time in the name, then by the path.
type Order = (SystemTime, PathBuf);

#[derive(Debug, Default)]
pub(crate) struct Queue {
    ready: BTreeMap<Order, Waiting>,
    /// By the end of the pause.
    paused: BTreeMap<(Instant, PathBuf), Waiting>,
}

impl Queue {
    /// Returns the newest file if there are too many.
    pub(crate) fn push(&mut self, waiting: Waiting) -> Option<Waiting> {
        self.ready.insert((waiting.file.time, waiting.file.path.clone()), waiting);
        let is_full = self.ready.len() + self.paused.len() > FILES_MAX;
        if is_full { self.ready.pop_last().map(|(_, waiting)| waiting) } else { None }
    }

    pub(crate) fn pause(&mut self, waiting: Waiting, until: Instant) {
        self.paused.insert((until, waiting.file.path.clone()), waiting);
    }

    /// The oldest one whose pause is over.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<Waiting> {
        while self.due().is_some_and(|due| due <= now) {
            let (_, waiting) = self.paused.pop_first()?;
            self.ready.insert((waiting.file.time, waiting.file.path.clone()), waiting);
        }
        self.ready.pop_first().map(|(_, waiting)| waiting)
    }

    /// When the first pause is over.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.paused.first_key_value().map(|((due, _), _)| *due)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ready.is_empty() && self.paused.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Waiting> {
        self.ready.values().chain(self.paused.values())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};

    fn waiting(second: u64) -> Waiting {
        let time = UNIX_EPOCH + Duration::from_secs(second);
        let file = Candidate { path: second.to_string().into(), time, bytes: 1, modified: time };
        Waiting { file, attempts: 0, asks_first: false, is_again: false, reason: String::new() }
    }

    fn popped(queue: &mut Queue, now: Instant) -> Vec<u64> {
        let next = || queue.pop(now).map(|waiting| waiting.file.path.to_str().unwrap().parse());
        std::iter::from_fn(next).map(Result::unwrap).collect()
    }

    #[test]
    fn the_oldest_comes_first_but_not_before_its_pause_is_over() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        for second in [3, 1, 4] {
            assert!(queue.push(waiting(second)).is_none());
        }
        queue.pause(waiting(2), now + Duration::from_secs(1));
        assert_eq!(queue.iter().count(), 4);
        assert_eq!(popped(&mut queue, now), [1, 3, 4]);
        assert_eq!(queue.due(), Some(now + Duration::from_secs(1)));
        assert!(queue.push(waiting(5)).is_none());
        assert_eq!(popped(&mut queue, now + Duration::from_secs(1)), [2, 5]);
        assert!(queue.is_empty());
    }

    #[test]
    fn the_newest_does_not_fit() {
        let mut queue = Queue::default();
        (1..=FILES_MAX as u64).for_each(|second| assert!(queue.push(waiting(second)).is_none()));
        assert_eq!(queue.push(waiting(0)).unwrap().file.path, PathBuf::from("65536"));
        assert_eq!(queue.push(waiting(99_999)).unwrap().file.path, PathBuf::from("99999"));
    }
}
