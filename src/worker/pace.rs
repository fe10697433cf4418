//! How a worker rests between two rounds, how long chunks wait for each other, and whether a worker has
//! little to do.
//!
//! Guarantees: naps follow the load, between half a millisecond and four. Pure: the time is passed
//! in.

use std::time::{Duration, Instant};

/// Shortest nap between two looks at the inbox while chunks come in. The kernel adds about 50 us.
pub(crate) const NAP: Duration = Duration::from_micros(500);
/// Longest nap, while few chunks come in. With little memory the limit is lower, so that callers
/// cannot fill all of it during a nap.
const NAP_MAX: Duration = Duration::from_millis(4);
/// Bytes that callers can fill per second, at most.
const FILL_BYTES_MAX: f64 = 4e9;
/// A worker that got no push for this long parks, and the next push must wake it.
const NAPS_AFTER_PUSH: Duration = Duration::from_millis(100);
/// Chunks wait at most this long for more chunks, for a write past the page cache.
const GATHER_MAX: Duration = Duration::from_millis(100);

/// How a worker rests between two rounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rest {
    /// Not at all: work arrived while the worker prepared to park, or the quota has more files
    /// to measure.
    Again,
    /// For this long. A push does not wake the worker.
    Nap(Duration),
    /// Parked, for this long or without a limit. A push wakes the worker.
    Doze(Option<Duration>),
    /// Parked behind its producers' shut gates, with nothing unpublished. Without a limit, or for
    /// this long, to see whether the quota must still refuse records.
    Sleep(Option<Duration>),
}

/// When chunks came in, when they were written, and when the worker was woken.
#[derive(Debug)]
pub(crate) struct Pace {
    /// When the inbox last had something.
    pushed: Option<Instant>,
    /// When the oldest unwritten chunk came in.
    gathered: Option<Instant>,
    /// The current length of a nap: half the time over which the last write was gathered.
    nap: Duration,
    nap_max: Duration,
    /// When another thread last ended a sleep without a limit.
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

    /// All chunks that came in are written.
    pub(crate) fn wrote(&mut self, now: Instant) {
        if let Some(began) = self.gathered.take() {
            self.nap = (now.saturating_duration_since(began) / 2).clamp(NAP, self.nap_max);
        }
    }

    /// Another thread ended a sleep without a limit.
    pub(crate) fn woke(&mut self, now: Instant) {
        self.woken = Some(now);
    }

    /// The length of a nap.
    pub(crate) fn nap(&self) -> Duration {
        self.nap
    }

    /// Whether chunks came in recently.
    pub(crate) fn is_pushed(&self, now: Instant) -> bool {
        self.pushed.is_some_and(|at| now.saturating_duration_since(at) < NAPS_AFTER_PUSH)
    }

    /// Whether the worker was just woken. The producer that woke it has yet to commit its record. A
    /// worker that parked again at once would shut the gate just opened, and be woken once more.
    pub(crate) fn is_woken(&self, now: Instant) -> bool {
        self.woken.is_some_and(|at| now.saturating_duration_since(at) < NAP * 2)
    }

    /// Whether chunks may wait for more chunks: for a while, as long as more come in.
    pub(crate) fn may_gather(&self, now: Instant) -> bool {
        let soon = |since| now.saturating_duration_since(since) < GATHER_MAX;
        self.gathered.is_some_and(soon) && self.is_pushed(now)
    }
}

/// Bytes per second up to which a worker has little to do. All workers' little together is little
/// for the first one, however slow its codec is.
const LITTLE: u64 = 256 << 10;
/// So many seconds' worth of that may come at once: a chunk, or a short burst.
const LITTLE_AT_ONCE: u64 = 5;

/// Whether a worker has little to do: a bucket that leaks.
#[derive(Debug)]
pub(crate) struct Load {
    /// Bytes in the bucket, and when it was so.
    level: u64,
    at: Instant,
}

impl Load {
    pub(crate) fn new(now: Instant) -> Self {
        Load { level: 0, at: now }
    }

    /// These bytes came in.
    pub(crate) fn came(&mut self, bytes: u64, now: Instant) {
        // Beyond that, a load of hours would count for minutes after its end.
        let most = 2 * LITTLE_AT_ONCE * LITTLE;
        (self.level, self.at) = ((self.level(now) + bytes).min(most), now);
    }

    /// Whether little came in of late.
    pub(crate) fn is_little(&self, now: Instant) -> bool {
        self.level(now) <= LITTLE_AT_ONCE * LITTLE
    }

    fn level(&self, now: Instant) -> u64 {
        let nanos = now.saturating_duration_since(self.at).as_nanos() as u64;
        let leaked = (nanos / 1000).saturating_mul(LITTLE) / 1_000_000;
        self.level.saturating_sub(leaked)
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
        // With little memory, callers would fill all of it during a longer nap.
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

    #[test]
    fn a_load_is_little_by_its_rate_and_soon_after_it_was_much() {
        for (bytes, every, is_little) in [
            (0, MS, true),
            (8 << 10, MS * 40, true),
            (8 << 10, MS * 30, false),
            (1 << 20, MS * 5000, true),
            (1 << 20, MS * 3000, false),
        ] {
            let mut now = Instant::now();
            let mut load = Load::new(now);
            for _ in 0..100_000 {
                now += every;
                load.came(bytes, now);
            }
            assert_eq!(load.is_little(now), is_little, "{bytes} bytes each {every:?}");
            assert!(load.is_little(now + MS * 5001), "{bytes} bytes each {every:?}, and no more");
            assert!(!load.is_little(now + MS * 4900) || is_little);
        }
    }
}
