//! The time stamps in file names.
//!
//! Guarantees: stamps of a process ascend while the wall clock is right or off by a little. It may
//! stand still, or go back by up to [`CORRECTION_MAX`]. A clock that goes back further was wrong
//! before, so stamps follow it. Otherwise a clock that once showed the year 2040 would date all
//! later files. Refuses: to keep the names of files apart by itself. Instance, worker and sequence
//! number do.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;

use crate::base::sync::{AtomicU64, Relaxed};
use crate::config::WallClock;

/// Always 26 bytes long, since a u64 of nanoseconds ends in the year 2554.
pub(super) const FORMAT: &str = "%Y%m%dT%H%M%S.%9fZ";

/// The most that a time service corrects by itself, in nanoseconds: beyond 1,000 s ntpd ends, and
/// leaves it to the operator. Stamps wait for a clock that goes back by no more.
const CORRECTION_MAX: u64 = 1_000_000_000_000;

/// In nanoseconds.
const MILLISECOND: u64 = 1_000_000;

/// A wall-clock time in nanoseconds since the epoch. Never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Stamp(pub(crate) u64);

impl Stamp {
    /// The current time, or just after the last stamp if the clock went back by a little.
    pub(crate) fn next() -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        Self::after(&LAST, nanos(system()))
    }

    /// What the clock shows, whatever stamps there are.
    pub(crate) fn read(clock: &WallClock) -> Self {
        Stamp(nanos(clock.0.as_ref().map_or_else(system, |clock| clock())).max(1))
    }

    /// The stamp of a moment this long before.
    pub(crate) fn before(self, time: Duration) -> Self {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        Stamp(self.0.saturating_sub(nanos).max(1))
    }

    /// A stamp in the same millisecond, which differs from that of another number unless they are a
    /// million apart. Boundaries of periods are full seconds.
    pub(crate) fn numbered(self, nth: u64) -> Self {
        let begin = self.0 - self.0 % MILLISECOND;
        Stamp(begin.saturating_add(1 + nth % (MILLISECOND - 1)))
    }

    /// The time from an earlier stamp to this one. Zero if that is later.
    pub(crate) fn since(self, earlier: Stamp) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// Whether this is the later one of two stamps, of which `other` was taken before or at about the
    /// same time. A clock that went back by more than a correction was wrong before.
    pub(crate) fn is_after(self, other: Stamp) -> bool {
        self > other || other.0 - self.0 > CORRECTION_MAX
    }

    /// Relaxed: only the order of changes to this one word matters.
    fn after(last: &AtomicU64, now: u64) -> Self {
        let is_corrected = |last: u64| last.saturating_sub(now) <= CORRECTION_MAX;
        let later =
            |last: u64| if is_corrected(last) { now.max(last.saturating_add(1)) } else { now };
        let mut seen = last.load(Relaxed);
        loop {
            let next = later(seen).max(1);
            match last.compare_exchange_weak(seen, next, Relaxed, Relaxed) {
                Ok(_) => return Stamp(next),
                Err(current) => seen = current,
            }
        }
    }
}

/// What the system's clock shows. A clock before the epoch counts as the epoch. The stamps are then
/// mere numbers.
fn system() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn nanos(since_epoch: Duration) -> u64 {
    u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX)
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

    /// The stamp of a wall-clock time.
    pub(crate) fn of(time: SystemTime) -> Self {
        Stamp(nanos(time.duration_since(UNIX_EPOCH).unwrap_or_default()))
    }

    /// The stamp as RFC 3339 has it, in UTC.
    pub(crate) fn rfc3339(self) -> String {
        Timestamp::from_nanosecond(i128::from(self.0)).unwrap_or(Timestamp::MAX).to_string()
    }

    /// The stamp as a wall-clock time.
    pub(crate) fn time(self) -> SystemTime {
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

    const STAMP: u64 = 1_795_376_430_123_456_789;
    const YEAR: u64 = 365 * 86_400 * 1_000_000_000;

    #[test]
    fn a_clock_set_back_or_standing_still_gives_later_stamps() {
        let last = AtomicU64::new(0);
        let given = [100, 50, 100, 101, 200, 0].map(|now| Stamp::after(&last, now).0);
        assert_eq!(given, [100, 101, 102, 103, 200, 201]);
        assert_ne!(Stamp::after(&AtomicU64::new(0), 0).0, 0);
        assert!(Stamp::next() < Stamp::next());
    }

    #[test]
    fn a_clock_that_was_wrong_is_not_waited_for() {
        let (now, last) = (STAMP, AtomicU64::new(0));
        for (clock, expected) in [
            (now, now),
            (now + CORRECTION_MAX, now + CORRECTION_MAX),
            // A correction: stamps wait for the clock.
            (now, now + CORRECTION_MAX + 1),
            // Further back: they follow it.
            (now - 1, now - 1),
            (now + 14 * YEAR, now + 14 * YEAR),
            (now + 2, now + 2),
            (now + 3, now + 3),
            (now + 1, now + 4),
            // Before the epoch a clock counts as standing there.
            (0, 1),
            (0, 2),
            (u64::MAX, u64::MAX),
            (now, now),
        ] {
            assert_eq!(Stamp::after(&last, clock).0, expected);
        }
    }

    #[test]
    fn the_later_of_two_stamps_is_known_also_after_a_clock_was_wrong() {
        for (one, other, expected) in [
            (STAMP, STAMP - 1, true),
            (STAMP, STAMP, false),
            (STAMP - 1, STAMP, false),
            (STAMP - CORRECTION_MAX, STAMP, false),
            (STAMP - CORRECTION_MAX - 1, STAMP, true),
        ] {
            assert_eq!(Stamp(one).is_after(Stamp(other)), expected);
        }
    }

    #[test]
    fn numbered_stamps_differ_and_stay_in_their_millisecond() {
        for at in [1, MILLISECOND - 1, MILLISECOND, STAMP, u64::MAX - MILLISECOND] {
            let stamps = [0, 1, 2, MILLISECOND - 2].map(|nth| Stamp(at).numbered(nth).0);
            assert!(stamps.is_sorted_by(|a, b| a < b), "{stamps:?}");
            assert!(stamps.iter().all(|stamp| stamp / MILLISECOND == at / MILLISECOND));
            assert_ne!(stamps[0], 0);
        }
        let (second, day) = (Duration::from_secs(1), Duration::from_secs(86_400));
        assert_eq!(Stamp(STAMP).before(second), Stamp(STAMP - 1_000_000_000));
        assert_eq!(Stamp(5).before(day), Stamp(1));
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
