//! When to try again, and how fast. Pure functions of a given time and a given random number.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::time::{Duration, Instant};

const BACKOFF_FIRST: Duration = Duration::from_millis(100);

/// The pause after the `attempts`-th failure: random between nothing and a bound that doubles. So a thousand hosts
/// that failed together don't come back together.
pub(crate) fn backoff(attempts: u32, max: Duration, random: u64) -> Duration {
    let doublings = attempts.saturating_sub(1).min(20);
    let bound = BACKOFF_FIRST.saturating_mul(1 << doublings).min(max);
    bound.mul_f64((random >> 11) as f64 / (1_u64 << 53) as f64)
}

/// A random number, of the system's source of keys for hash tables.
pub(crate) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// How many files are uploaded at a time: fewer after "slow down", one more after each round of successes.
#[derive(Debug)]
pub(crate) struct Window {
    files: f64,
    max: f64,
    /// Answers to what was sent before count as one.
    halved: Option<Instant>,
}

impl Window {
    pub(crate) fn new(max: usize) -> Self {
        Window { files: max as f64, max: max as f64, halved: None }
    }

    pub(crate) fn files(&self) -> usize {
        self.files as usize
    }

    pub(crate) fn succeeded(&mut self) {
        self.files = (self.files + 1.0 / self.files).min(self.max);
    }

    pub(crate) fn throttled(&mut self, now: Instant) {
        if self.halved.is_none_or(|at| now.duration_since(at) >= Duration::from_secs(1)) {
            self.files = (self.files / 2.0).max(1.0);
            self.halved = Some(now);
        }
    }
}

/// Whether the store takes anything at all. After a failure one file at a time asks, after pauses that double: else a
/// fleet whose store is away would send as many requests as it has files.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    /// Failures since the last success.
    failures: u32,
    until: Option<Instant>,
}

impl Gate {
    /// How many files may be on their way.
    pub(crate) fn files(&self, window: &Window, now: Instant) -> usize {
        match self.until {
            Some(until) if now < until => 0,
            Some(_) => 1,
            None => window.files(),
        }
    }

    /// Returns when to try again. Failures during a pause are those of attempts that began before.
    pub(crate) fn failed(&mut self, now: Instant, max: Duration, random: u64) -> Instant {
        match self.until {
            Some(until) if now < until => until,
            _ => {
                self.failures += 1;
                *self.until.insert(now + backoff(self.failures, max, random))
            }
        }
    }

    pub(crate) fn succeeded(&mut self) {
        *self = Gate::default();
    }

    /// When the pause is over.
    pub(crate) fn until(&self) -> Option<Instant> {
        self.until
    }
}

/// A limit in bytes a second. What comes waits until what came before is due.
#[derive(Debug)]
pub(crate) struct Rate {
    bytes_per_second: Option<u64>,
    due: Option<Instant>,
}

impl Rate {
    pub(crate) fn new(bytes_per_second: Option<u64>) -> Self {
        Rate { bytes_per_second, due: None }
    }

    /// When these bytes may go.
    pub(crate) fn reserve(&mut self, bytes: u64, now: Instant) -> Instant {
        let Some(rate) = self.bytes_per_second else { return now };
        let at = self.due.map_or(now, |due| due.max(now));
        self.due = Some(at + Duration::from_secs_f64(bytes as f64 / rate as f64));
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_bound_and_are_random_below_it() {
        let max = Duration::from_secs(30);
        for (attempts, bound) in [(0, 100), (1, 100), (2, 200), (5, 1600), (30, 30_000)] {
            let longest = backoff(attempts, max, u64::MAX);
            assert!(longest <= Duration::from_millis(bound));
            assert!(longest >= Duration::from_millis(bound - 1), "{attempts}: {longest:?}");
            assert_eq!(backoff(attempts, max, 0), Duration::ZERO);
        }
        assert_ne!(random(), random());
    }

    #[test]
    fn the_window_halves_once_a_second_and_grows_by_one_a_round() {
        let (mut window, now) = (Window::new(8), Instant::now());
        window.throttled(now);
        window.throttled(now);
        assert_eq!(window.files(), 4);
        window.throttled(now + Duration::from_secs(1));
        assert_eq!(window.files(), 2);
        (0..4).for_each(|_| window.succeeded());
        assert_eq!(window.files(), 3);
        (0..100).for_each(|_| window.succeeded());
        assert_eq!(window.files(), 8);
    }

    #[test]
    fn while_nothing_succeeds_one_file_asks_after_pauses_that_double() {
        let (mut gate, window, now) = (Gate::default(), Window::new(8), Instant::now());
        let max = Duration::from_secs(30);
        assert_eq!(gate.files(&window, now), 8);
        let until = gate.failed(now, max, u64::MAX);
        assert_eq!((gate.files(&window, now), gate.files(&window, until)), (0, 1));
        // One that was on its way.
        assert_eq!(gate.failed(now, max, u64::MAX), until);
        let later = gate.failed(until, max, u64::MAX);
        assert!(later - until > (until - now).mul_f64(1.9));
        gate.succeeded();
        assert_eq!((gate.files(&window, now), gate.until()), (8, None));
    }

    #[test]
    fn bytes_wait_for_those_before_them() {
        let (mut rate, now) = (Rate::new(Some(1000)), Instant::now());
        assert_eq!(rate.reserve(2000, now), now);
        assert_eq!(rate.reserve(1, now), now + Duration::from_secs(2));
        assert_eq!(Rate::new(None).reserve(u64::MAX, now), now);
    }
}
