//! How a worker rests between two rounds, and how long chunks wait for each other.
//!
//! Guarantees: naps follow the load, between half a millisecond and four. Pure: time is passed in.

use std::time::{Duration, Instant};

/// Between two looks at the inbox while chunks come in, at least. The kernel adds about 50 us of its own.
pub(crate) const NAP: Duration = Duration::from_micros(500);
/// At most, while few chunks come in, and not so long that callers could fill all memory meanwhile.
const NAP_MAX: Duration = Duration::from_millis(4);
/// What callers fill in a second, at most, for the above.
const FILL_BYTES_MAX: f64 = 4e9;
/// A worker that was pushed nothing for so long sleeps, and the next push has to wake it.
const NAPS_AFTER_PUSH: Duration = Duration::from_millis(100);
/// Chunks wait at most so long for more of them, to be written past the page cache.
const GATHER_MAX: Duration = Duration::from_millis(100);

/// How a worker rests between two rounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rest {
    /// Not at all: something came while it lay down, or there is more to look up for the disk guard.
    Again,
    /// So long. A push does not wake it.
    Nap(Duration),
    /// Lying down, so that a push wakes it, so long or without a limit.
    Doze(Option<Duration>),
    /// Lying down behind its producers' shut gates, with nothing unpublished, without a limit; or so long,
    /// to look whether the disk guard still has to refuse records.
    Sleep(Option<Duration>),
}

/// When chunks came, when some were written, when the worker was woken.
#[derive(Debug)]
pub(crate) struct Pace {
    /// When the inbox last had something.
    pushed: Option<Instant>,
    /// When the first chunk came that is not written yet.
    gathered: Option<Instant>,
    /// Between two looks just now: half the time in which the last write was gathered.
    nap: Duration,
    nap_max: Duration,
    /// When somebody last ended a sleep without a limit.
    woken: Option<Instant>,
}

impl Pace {
    /// For a writer with this much memory.
    pub(crate) fn new(all_bytes: f64) -> Self {
        let filled = Duration::from_secs_f64(all_bytes / FILL_BYTES_MAX);
        let nap_max = filled.clamp(NAP, NAP_MAX);
        Pace { pushed: None, gathered: None, nap: NAP, nap_max, woken: None }
    }

    /// Chunks came in.
    pub(crate) fn came(&mut self, now: Instant) {
        self.pushed = Some(now);
        self.gathered.get_or_insert(now);
    }

    /// All that came in is written.
    pub(crate) fn wrote(&mut self, now: Instant) {
        if let Some(began) = self.gathered.take() {
            self.nap = (now.saturating_duration_since(began) / 2).clamp(NAP, self.nap_max);
        }
    }

    /// Somebody ended a sleep without a limit.
    pub(crate) fn woke(&mut self, now: Instant) {
        self.woken = Some(now);
    }

    /// How long a nap is.
    pub(crate) fn nap(&self) -> Duration {
        self.nap
    }

    /// Whether chunks came in lately.
    pub(crate) fn is_pushed(&self, now: Instant) -> bool {
        self.pushed.is_some_and(|at| now.saturating_duration_since(at) < NAPS_AFTER_PUSH)
    }

    /// Whether it was woken just now. Who woke it has yet to commit the record: a worker that lay down
    /// again at once would shut the gate that was just opened, and be woken at once more.
    pub(crate) fn is_woken(&self, now: Instant) -> bool {
        self.woken.is_some_and(|at| now.saturating_duration_since(at) < NAP * 2)
    }

    /// Whether chunks that came may wait for more of them, as long as more come, for a while.
    pub(crate) fn may_gather(&self, now: Instant) -> bool {
        let soon = |since| now.saturating_duration_since(since) < GATHER_MAX;
        self.gathered.is_some_and(soon) && self.is_pushed(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn naps_are_half_the_time_in_which_a_write_was_gathered() {
        let (mut pace, now) = (Pace::new(1e9), Instant::now());
        assert_eq!(pace.nap(), NAP);
        for (gathered, nap) in [(MS * 4, MS * 2), (MS * 100, NAP_MAX), (MS / 10, NAP)] {
            pace.came(now);
            pace.came(now + gathered);
            pace.wrote(now + gathered);
            assert_eq!(pace.nap(), nap);
        }
        // With little memory callers would fill all of it meanwhile.
        let mut small = Pace::new(1e6);
        small.came(now);
        small.wrote(now + MS * 100);
        assert_eq!(small.nap(), NAP);
    }

    #[test]
    fn chunks_wait_for_more_while_they_come_and_not_for_long() {
        let (mut pace, now) = (Pace::new(1e9), Instant::now());
        assert!(!pace.may_gather(now) && !pace.is_pushed(now) && !pace.is_woken(now));
        pace.came(now);
        assert!(pace.may_gather(now + GATHER_MAX - MS) && !pace.may_gather(now + GATHER_MAX));
        pace.came(now + GATHER_MAX - MS);
        assert!(!pace.may_gather(now + GATHER_MAX), "the first one has waited long enough");
        pace.wrote(now + GATHER_MAX);
        assert!(pace.is_pushed(now + GATHER_MAX) && !pace.may_gather(now + GATHER_MAX));
        pace.woke(now);
        assert!(pace.is_woken(now + NAP) && !pace.is_woken(now + NAP * 2));
    }
}
