//! Rates, from what a writer told at two times.
//!
//! A writer refreshes its counts only while they change. So a rate belongs to the time between two refreshes, and is zero
//! once there has been none for a while.

use std::time::{Duration, Instant, SystemTime};

use bufferedwriter::{Count, Stats};

/// How often a writer refreshes.
const REFRESH: Duration = Duration::from_secs(1);
/// After that without a refresh nothing happens there.
const QUIET: Duration = Duration::from_millis(2500);

/// Per second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Rate {
    pub(super) records: f64,
    pub(super) bytes: f64,
}

/// What changed per second.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Rates {
    /// As [`Sample::counts`].
    pub(super) counts: [Rate; 4],
    /// For each worker the share of a processor that its codec had.
    pub(super) codec: Vec<f64>,
}

/// What a writer told.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    pub(super) refreshed: SystemTime,
    /// Accepted, written, lost, refused.
    pub(super) counts: [Count; 4],
    /// For each worker the time in its codec.
    pub(super) codec: Vec<Duration>,
}

impl Sample {
    pub(super) fn new(refreshed: SystemTime, stats: &Stats) -> Self {
        let counts = [stats.accepted, stats.written, stats.lost.total(), stats.refused.total()];
        let codec = stats.workers.iter().map(|worker| worker.codec_time).collect();
        Sample { refreshed, counts, codec }
    }
}

/// The last sample of one writer, and what came of it.
#[derive(Debug)]
pub(super) struct Pace {
    newest: Sample,
    /// When it was seen first, and when somebody looked last.
    seen: Instant,
    looked: Instant,
    rates: Option<Rates>,
}

impl Pace {
    pub(super) fn new(first: Sample, now: Instant) -> Self {
        Pace { newest: first, seen: now, looked: now, rates: None }
    }

    /// Takes what the writer tells now.
    pub(super) fn look(&mut self, sample: Sample, now: Instant) {
        let since_look = now.saturating_duration_since(self.looked);
        let since_seen = now.saturating_duration_since(self.seen);
        self.looked = now;
        if sample.refreshed == self.newest.refreshed {
            if since_seen >= QUIET {
                let codec = vec![0.0; self.newest.codec.len()];
                self.rates = Some(Rates { codec, ..Rates::default() });
            }
            return;
        }
        // Clocks are set, and after a silence all is new: it came since the last look, or just before it.
        let told = sample.refreshed.duration_since(self.newest.refreshed).unwrap_or(since_seen);
        let between = told.min(since_look + REFRESH).max(Duration::from_millis(1)).as_secs_f64();
        let rate = |(new, old): (&Count, &Count)| Rate {
            records: new.records.saturating_sub(old.records) as f64 / between,
            bytes: new.bytes.saturating_sub(old.bytes) as f64 / between,
        };
        let mut pairs = sample.counts.iter().zip(&self.newest.counts).map(rate);
        let counts = [(); 4].map(|()| pairs.next().unwrap_or_default());
        let share = |(new, old): (&Duration, &Duration)| {
            (new.saturating_sub(*old).as_secs_f64() / between).min(1.0)
        };
        let codec = sample.codec.iter().zip(&self.newest.codec).map(share).collect();
        self.rates = Some(Rates { counts, codec });
        (self.newest, self.seen) = (sample, now);
    }

    /// `None` until two refreshes were seen, or none for a while.
    pub(super) fn rates(&self) -> Option<&Rates> {
        self.rates.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(at: u64, records: u64, codec_millis: u64) -> Sample {
        let refreshed = SystemTime::UNIX_EPOCH + Duration::from_millis(at);
        let count = Count { records, bytes: 10 * records };
        let codec = vec![Duration::from_millis(codec_millis)];
        Sample { refreshed, counts: [count; 4], codec }
    }

    fn accepted(pace: &Pace) -> Option<Rate> {
        pace.rates().map(|rates| rates.counts[0])
    }

    #[test]
    fn a_rate_is_that_between_two_refreshes_and_ends_with_them() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut pace = Pace::new(sample(1000, 100, 0), at(0));
        assert_eq!(accepted(&pace), None);
        pace.look(sample(1000, 100, 0), at(1000));
        assert_eq!(accepted(&pace), None);
        pace.look(sample(2500, 400, 750), at(2000));
        assert_eq!(accepted(&pace), Some(Rate { records: 200.0, bytes: 2000.0 }));
        assert_eq!(pace.rates().unwrap().codec, [0.5]);
        pace.look(sample(2500, 400, 750), at(3000));
        assert_eq!(accepted(&pace), Some(Rate { records: 200.0, bytes: 2000.0 }));
        pace.look(sample(2500, 400, 750), at(4500));
        assert_eq!(accepted(&pace), Some(Rate::default()));
        assert_eq!(pace.rates().unwrap().codec, [0.0]);
    }

    #[test]
    fn what_comes_after_a_silence_is_not_spread_over_it() {
        let start = Instant::now();
        let mut pace = Pace::new(sample(0, 0, 0), start);
        for second in 1..100 {
            pace.look(sample(0, 0, 0), start + Duration::from_secs(second));
        }
        pace.look(sample(100_000, 500, 0), start + Duration::from_secs(100));
        assert_eq!(accepted(&pace).map(|rate| rate.records), Some(250.0));
    }

    #[test]
    fn a_clock_that_is_set_and_counts_that_fall_give_no_nonsense() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut pace = Pace::new(sample(1_000_000, 100, 5000), start);
        pace.look(sample(5, 300, 6000), at(1));
        assert_eq!(accepted(&pace).map(|rate| rate.records), Some(200.0));
        pace.look(sample(u32::MAX.into(), 500, 9000), at(2));
        assert_eq!(accepted(&pace).map(|rate| rate.records), Some(100.0));
        assert_eq!(pace.rates().unwrap().codec, [1.0], "never more than all of it");
        pace.look(sample(7, 0, 0), at(2));
        assert_eq!(accepted(&pace), Some(Rate::default()));
    }
}
