//! The time stamps in file names.
//!
//! Guarantees: no two stamps of a process are equal, and each is later than all before it, even
//! when the wall clock is set back.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;

use crate::base::sync::{AtomicU64, Relaxed};

/// Always 26 bytes long, since a u64 of nanoseconds ends in the year 2554.
pub(super) const FORMAT: &str = "%Y%m%dT%H%M%S.%9fZ";

/// A wall-clock time in nanoseconds since the epoch. No other file of this process has it. Never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Stamp(pub(crate) u64);

impl Stamp {
    /// The current time, or just after the last stamp, whichever is later.
    pub(crate) fn next() -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        // A clock before the epoch counts as the epoch. The stamps are then mere numbers.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self::after(&LAST, u64::try_from(now.as_nanos()).unwrap_or(u64::MAX))
    }

    /// Relaxed: only the order of changes to this one word matters.
    fn after(last: &AtomicU64, now: u64) -> Self {
        let later = |last: u64| now.max(last.saturating_add(1));
        let mut seen = last.load(Relaxed);
        loop {
            let next = later(seen);
            match last.compare_exchange_weak(seen, next, Relaxed, Relaxed) {
                Ok(_) => return Stamp(next),
                Err(current) => seen = current,
            }
        }
    }
}

impl Stamp {
    /// Length of a stamp in a name, in bytes.
    pub(super) const BYTES: usize = 26;

    /// Parses a stamp. It accepts more than valid stamps, so the caller makes the name again and
    /// compares.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let date = jiff::civil::DateTime::strptime(FORMAT, text).ok()?;
        let nanos = jiff::tz::TimeZone::UTC.to_timestamp(date).ok()?.as_nanosecond();
        Some(Stamp(u64::try_from(nanos).ok()?))
    }

    /// The stamp as a wall-clock time.
    pub(super) fn time(self) -> SystemTime {
        UNIX_EPOCH + Duration::from_nanos(self.0)
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // jiff reaches to the year 9999, so the default is never used.
        let at = Timestamp::from_nanosecond(i128::from(self.0)).unwrap_or(Timestamp::MAX);
        write!(f, "{}", at.strftime(FORMAT))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_set_back_or_standing_still_gives_later_stamps() {
        let last = AtomicU64::new(0);
        let given = [100, 50, 100, 101, 200, 0].map(|now| Stamp::after(&last, now).0);
        assert_eq!(given, [100, 101, 102, 103, 200, 201]);
        assert_ne!(Stamp::after(&AtomicU64::new(0), 0).0, 0);
        assert!(Stamp::next() < Stamp::next());
    }

    #[test]
    fn stamps_of_many_threads_are_distinct() {
        let take = || (0..500).map(|_| Stamp::next().0).collect::<Vec<_>>();
        let threads = [(); 4].map(|()| std::thread::spawn(take));
        let mut all = threads.into_iter().flat_map(|t| t.join().unwrap()).collect::<Vec<_>>();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 2000);
    }
}
