//! How many events a call site may write in a period.
//!
//! Guarantees: of the events in one period exactly the permitted number pass. Each other one is counted
//! once, in the next event that is written.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Bits of the number of events within a period.
const COUNT_BITS: u32 = 24;
const COUNT_MAX: u32 = (1 << COUNT_BITS) - 1;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Limit {
    events: u32,
    period: Duration,
    begin: Instant,
}

impl Limit {
    pub(crate) fn new(events: u32, period: Duration) -> Self {
        Limit {
            events: events.clamp(1, COUNT_MAX),
            period: period.max(Duration::from_millis(1)),
            begin: Instant::now(),
        }
    }

    /// The number of the period. The first one is 1, so that a new call site is in none.
    fn period_at(&self, now: Instant) -> u64 {
        let elapsed = now.saturating_duration_since(self.begin).as_nanos();
        // A thousand years of milliseconds fit the 40 bits that it has.
        (elapsed / self.period.as_nanos()) as u64 + 1
    }
}

/// Of one call site.
#[derive(Debug, Default)]
pub(crate) struct SiteLimit {
    /// The number of those that passed in the period of the last event, and above `COUNT_BITS` that period.
    state: AtomicU64,
    suppressed: AtomicU64,
}

impl SiteLimit {
    /// Whether an event passes.
    #[inline]
    pub(crate) fn pass(&self, limit: Option<Limit>) -> bool {
        let Some(limit) = limit else { return true };
        self.pass_at(limit, limit.period_at(Instant::now()))
    }

    fn pass_at(&self, limit: Limit, period: u64) -> bool {
        let passed = self.state.fetch_update(Relaxed, Relaxed, |state| {
            let (last, count) = (state >> COUNT_BITS, state & u64::from(COUNT_MAX));
            // A thread that read the clock earlier counts to the period that has begun.
            let (last, count) = if period > last { (period, 0) } else { (last, count) };
            (count < limit.events.into()).then_some(last << COUNT_BITS | (count + 1))
        });
        if passed.is_err() {
            self.suppressed.fetch_add(1, Relaxed);
        }
        passed.is_ok()
    }

    /// Takes the number of those that did not pass and are not told yet. It goes back unless the event that
    /// tells of them is written.
    #[inline]
    pub(crate) fn untold(&self) -> Untold<'_> {
        // The common case writes nothing.
        let count = match self.suppressed.load(Relaxed) {
            0 => 0,
            _ => self.suppressed.swap(0, Relaxed),
        };
        Untold { site: self, count }
    }
}

/// Suppressed events that one event is about to tell of.
pub(crate) struct Untold<'a> {
    site: &'a SiteLimit,
    pub(crate) count: u64,
}

impl Untold<'_> {
    pub(crate) fn told(mut self) {
        self.count = 0;
    }
}

impl Drop for Untold<'_> {
    fn drop(&mut self) {
        if self.count > 0 {
            self.site.suppressed.fetch_add(self.count, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    fn told(site: &SiteLimit) -> u64 {
        let untold = site.untold();
        let count = untold.count;
        untold.told();
        count
    }

    #[test]
    fn each_period_lets_as_many_pass_and_tells_of_the_others() {
        let limit = Limit::new(3, Duration::from_secs(1));
        let site = SiteLimit::default();
        let passed: Vec<_> = (0..5).map(|_| site.pass_at(limit, 1)).collect();
        assert_eq!(passed, [true, true, true, false, false]);
        // An event that is not written tells of nothing.
        assert_eq!(site.untold().count, 2);
        assert_eq!((told(&site), told(&site)), (2, 0));
        // The clock of another thread is behind.
        assert!(site.pass_at(limit, 2) && site.pass_at(limit, 1) && site.pass_at(limit, 2));
        assert!(!site.pass_at(limit, 2));
        assert!(site.pass_at(limit, u64::from(u32::MAX)));
        assert_eq!(told(&site), 1);
    }

    #[test]
    fn threads_share_a_call_sites_limit() {
        let limit = Limit::new(100, Duration::from_secs(1));
        let site = SiteLimit::default();
        let count = |period| {
            let calls = || {
                (0..1000)
                    .filter(|_| site.pass_at(limit, period))
                    .map(|_| told(&site))
                    .fold((0, 0), add)
            };
            thread::scope(|scope| {
                let threads: Vec<_> = (0..4).map(|_| scope.spawn(calls)).collect();
                threads
                    .into_iter()
                    .map(|thread| thread.join().unwrap())
                    .fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1))
            })
        };
        let (first, told_first) = count(1);
        let (second, told_second) = count(2);
        assert_eq!((first, second), (100, 100));
        assert_eq!(told_first + told_second + told(&site), 2 * 3900);
    }

    fn add((passed, told): (u64, u64), more: u64) -> (u64, u64) {
        (passed + 1, told + more)
    }

    #[test]
    fn the_bounds_hold() {
        let limit = Limit::new(0, Duration::ZERO);
        assert_eq!((limit.events, limit.period), (1, Duration::from_millis(1)));
        assert_eq!(Limit::new(u32::MAX, Duration::MAX).events, COUNT_MAX);
        assert_eq!(Limit::new(1, Duration::MAX).period_at(Instant::now()), 1);
    }
}
