//! Decides in which period of the wall clock a worker is, and when it must look again.
//!
//! Guarantees: boundaries follow from the wall clock alone, so a late worker shifts none. A clock
//! that is set, forth or back, is noticed at the next look, which comes within [`LOOK_INTERVAL`].
//! Pure but for [`Periods`], which reads the clock that it was given.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::config::{Boundary, WallClock};
use crate::naming::Stamp;

const SECOND: u64 = 1_000_000_000;
const HOUR: i64 = 3600;
/// By this much a record may be in a file of the neighbouring period.
pub(crate) const SKEW_MAX: Duration = Duration::from_millis(100);
/// Longest time between two looks while a worker holds records. It leaves half of the skew to a
/// busy machine, and costs 20 wake-ups a second. Neither a clock that is set nor the end of a
/// suspend wakes a thread that waits by the monotonic clock.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// The boundaries of a writer's periods.
#[derive(Clone, Debug)]
pub(crate) struct Calendar {
    /// Length of a period in seconds, by civil time. It divides a day.
    step: i64,
    zone: TimeZone,
}

/// From one boundary to the next, in wall-clock time. The end belongs to the next period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Period {
    pub(crate) start: Stamp,
    pub(crate) end: Stamp,
}

impl Calendar {
    /// `None` without boundaries.
    pub(crate) fn new(boundary: Boundary, zone: TimeZone) -> Option<Self> {
        let step = boundary.seconds()?;
        Some(Calendar { step: step as i64, zone })
    }

    /// The period that contains this time.
    pub(crate) fn period(&self, at: Stamp) -> Period {
        let second = (at.0 / SECOND) as i64;
        let stamp = |second: i64| Stamp(u64::try_from(second).unwrap_or(0).saturating_mul(SECOND));
        Period { start: stamp(self.start(second)), end: stamp(self.end(second)) }
    }

    /// The last boundary up to this second.
    fn start(&self, second: i64) -> i64 {
        let mut at = second;
        loop {
            let start = at - self.civil(at).rem_euclid(self.step);
            // Before the next second, so up to this one.
            let change = self.zone.preceding(timestamp(at + 1)).next();
            match change.map(|change| change.timestamp().as_second()) {
                Some(change) if (start..=at).contains(&change) => {
                    if self.is_boundary(change) {
                        return change;
                    }
                    // The period reaches back beyond the change.
                    at = change - 1;
                }
                _ => return start,
            }
        }
    }

    /// The next boundary after this second.
    fn end(&self, second: i64) -> i64 {
        let mut at = second;
        loop {
            let end = at + self.step - self.civil(at).rem_euclid(self.step);
            let change = self.zone.following(timestamp(at)).next();
            match change.map(|change| change.timestamp().as_second()) {
                // jiff may name a change of the past if a zone's file says nothing of the future.
                Some(change) if (at + 1..=end).contains(&change) => {
                    if self.is_boundary(change) {
                        return change;
                    }
                    // The period goes on after the change.
                    at = change;
                }
                _ => return end,
            }
        }
    }

    /// Whether a period ends at this change of the clocks. An hour that comes twice is a period of
    /// its own each time, but a day is one period.
    fn is_boundary(&self, change: i64) -> bool {
        let [before, after] = [change - 1, change].map(|at| self.civil(at).div_euclid(self.step));
        let shifts = self.civil(change) != self.civil(change - 1) + 1;
        before != after || (shifts && self.step <= HOUR)
    }

    /// The civil time in seconds.
    fn civil(&self, second: i64) -> i64 {
        second + i64::from(self.zone.to_offset(timestamp(second)).seconds())
    }
}

/// Stamps end in the year 2554, and jiff's times in the year 9999.
fn timestamp(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap_or(Timestamp::MAX)
}

impl Period {
    fn contains(self, at: Stamp) -> bool {
        self.start <= at && at < self.end
    }
}

/// What a look at the clock showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// The period lasts.
    Lasts,
    /// The period ended just now: what is in memory belongs to it, but for the skew.
    Ended,
    /// The period ended while the worker was kept from looking. What it has not taken by now
    /// belongs to the period that the clock shows.
    Missed,
}

/// One worker's periods.
pub(crate) struct Periods {
    calendar: Calendar,
    clock: WallClock,
    /// The period of the worker's file.
    current: Period,
    /// When the worker last saw that this period lasts.
    seen: Instant,
    /// The last look, and what the clock showed.
    looked: (Instant, Stamp),
}

impl Periods {
    pub(crate) fn new(calendar: Calendar, clock: WallClock, now: Instant) -> Self {
        let at = Stamp::read(&clock);
        let current = calendar.period(at);
        Periods { calendar, clock, current, seen: now, looked: (now, at) }
    }

    /// Looks at the clock. Once the period is over, it stays so until [`begin`](Self::begin), unless
    /// the clock goes back.
    pub(crate) fn look(&mut self, now: Instant) -> Look {
        let at = Stamp::read(&self.clock);
        self.looked = (now, at);
        let Period { end, .. } = self.current;
        if self.current.contains(at) {
            self.seen = now;
            return Look::Lasts;
        }
        let is_recent = now.saturating_duration_since(self.seen) <= SKEW_MAX;
        let ends = is_recent || (at >= end && at.since(end) <= SKEW_MAX);
        if ends { Look::Ended } else { Look::Missed }
    }

    /// Begins the period of the last look.
    pub(crate) fn begin(&mut self) {
        let (now, at) = self.looked;
        self.seen = now;
        if !self.current.contains(at) {
            self.current = self.calendar.period(at);
        }
    }

    /// The moment of the current period that is next to this one.
    pub(crate) fn nearest(&self, at: Stamp) -> Stamp {
        let Period { start, end } = self.current;
        at.min(Stamp(end.0 - 1)).max(start)
    }

    /// When to look again.
    pub(crate) fn due_at(&self) -> Instant {
        let (now, at) = self.looked;
        now + self.current.end.since(at).min(LOOK_INTERVAL)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From the last Sunday of March, 02:00, to the last Sunday of October, 03:00.
    const BERLIN: &str = "CET-1CEST,M3.5.0,M10.5.0/3";
    /// Its clocks change by half an hour.
    const LORD_HOWE: &str = "<+1030>-10:30<+11>-11,M10.1.0,M4.1.0";
    const KATHMANDU: &str = "<+0545>-5:45";
    /// A midnight is missing in September, and the hour before one comes twice in April.
    const SANTIAGO: &str = "<-04>4<-03>,M9.1.6/24,M4.1.6/24";
    /// A midnight comes twice in November.
    const HAVANA: &str = "CST5CDT,M3.2.0/0,M11.1.0/1";
    const ZONES: [&str; 6] = ["UTC0", BERLIN, LORD_HOWE, KATHMANDU, SANTIAGO, HAVANA];

    fn calendar(zone: &str, boundary: Boundary) -> Calendar {
        Calendar::new(boundary, TimeZone::posix(zone).unwrap()).unwrap()
    }

    fn stamp(time: &str) -> Stamp {
        let time: Timestamp = time.parse().unwrap();
        Stamp(u64::try_from(time.as_nanosecond()).unwrap())
    }

    fn shown(stamp: Stamp) -> String {
        Timestamp::from_nanosecond(stamp.0.into()).unwrap().to_string()
    }

    /// The boundaries after this time, up to another one.
    fn boundaries(zone: &str, boundary: Boundary, from: &str, to: &str) -> Vec<String> {
        let calendar = calendar(zone, boundary);
        let next = |at: &Stamp| Some(calendar.period(*at).end);
        let ends = std::iter::successors(next(&stamp(from)), next);
        ends.take_while(|end| *end <= stamp(to)).map(shown).collect()
    }

    #[test]
    fn boundaries_are_civil_times_of_the_zone() {
        use Boundary::{Day, Hours, Minutes};
        for (zone, boundary, from, to, expected) in [
            // A leap day, and none.
            (
                "UTC0",
                Day,
                "2028-02-28T12:00Z",
                "2028-03-01T12:00Z",
                &["2028-02-29T00:00:00Z", "2028-03-01T00:00:00Z"][..],
            ),
            ("UTC0", Day, "2027-02-28T12:00Z", "2027-03-01T12:00Z", &["2027-03-01T00:00:00Z"]),
            (
                "UTC0",
                Minutes(20),
                "2028-02-29T23:30Z",
                "2028-03-01T00:25Z",
                &["2028-02-29T23:40:00Z", "2028-03-01T00:00:00Z", "2028-03-01T00:20:00Z"],
            ),
            (
                KATHMANDU,
                Hours(12),
                "2028-02-29T06:00Z",
                "2028-02-29T19:00Z",
                &["2028-02-29T06:15:00Z", "2028-02-29T18:15:00Z"],
            ),
            (
                KATHMANDU,
                Minutes(30),
                "2028-02-29T06:00Z",
                "2028-02-29T07:00Z",
                &["2028-02-29T06:15:00Z", "2028-02-29T06:45:00Z"],
            ),
        ] {
            assert_eq!(boundaries(zone, boundary, from, to), expected, "{zone} {boundary:?}");
        }
    }

    #[test]
    fn boundaries_where_clocks_go_forward() {
        use Boundary::{Day, Hours, Minutes};
        for (zone, boundary, from, to, expected) in [
            // 02:00 and 03:00 are the same moment.
            (
                BERLIN,
                Hours(1),
                "2027-03-28T00:00Z",
                "2027-03-28T02:00Z",
                &["2027-03-28T01:00:00Z", "2027-03-28T02:00:00Z"][..],
            ),
            (
                BERLIN,
                Hours(6),
                "2027-03-27T23:00Z",
                "2027-03-28T10:00Z",
                &["2027-03-28T04:00:00Z", "2027-03-28T10:00:00Z"],
            ),
            // 02:00 is missing, 02:30 follows on 01:59:59.
            (
                LORD_HOWE,
                Hours(1),
                "2027-10-02T15:00Z",
                "2027-10-02T16:30Z",
                &["2027-10-02T15:30:00Z", "2027-10-02T16:00:00Z"],
            ),
            (
                LORD_HOWE,
                Minutes(15),
                "2027-10-02T15:20Z",
                "2027-10-02T15:50Z",
                &["2027-10-02T15:30:00Z", "2027-10-02T15:45:00Z"],
            ),
            // The day begins at 01:00.
            (
                SANTIAGO,
                Day,
                "2027-09-04T12:00Z",
                "2027-09-06T03:00Z",
                &["2027-09-05T04:00:00Z", "2027-09-06T03:00:00Z"],
            ),
        ] {
            assert_eq!(boundaries(zone, boundary, from, to), expected, "{zone} {boundary:?}");
        }
    }

    #[test]
    fn boundaries_where_clocks_go_back() {
        use Boundary::{Day, Hours, Minutes};
        for (zone, boundary, from, to, expected) in [
            // 02:00 comes twice.
            (
                BERLIN,
                Hours(1),
                "2027-10-30T23:30Z",
                "2027-10-31T02:00Z",
                &["2027-10-31T00:00:00Z", "2027-10-31T01:00:00Z", "2027-10-31T02:00:00Z"][..],
            ),
            // It is one period, of three hours.
            (
                BERLIN,
                Hours(2),
                "2027-10-30T23:30Z",
                "2027-10-31T03:00Z",
                &["2027-10-31T00:00:00Z", "2027-10-31T03:00:00Z"],
            ),
            (
                BERLIN,
                Hours(6),
                "2027-10-30T22:00Z",
                "2027-10-31T11:00Z",
                &["2027-10-31T05:00:00Z", "2027-10-31T11:00:00Z"],
            ),
            (BERLIN, Day, "2027-10-30T22:00Z", "2027-10-31T23:00Z", &["2027-10-31T23:00:00Z"]),
            (
                LORD_HOWE,
                Minutes(30),
                "2027-04-03T14:45Z",
                "2027-04-03T16:00Z",
                &["2027-04-03T15:00:00Z", "2027-04-03T15:30:00Z", "2027-04-03T16:00:00Z"],
            ),
            // 23:00 comes twice, midnight once.
            (SANTIAGO, Day, "2027-04-03T12:00Z", "2027-04-04T12:00Z", &["2027-04-04T04:00:00Z"]),
            // Midnight comes twice, the day once.
            (
                HAVANA,
                Day,
                "2027-11-06T12:00Z",
                "2027-11-08T05:00Z",
                &["2027-11-07T04:00:00Z", "2027-11-08T05:00:00Z"],
            ),
        ] {
            assert_eq!(boundaries(zone, boundary, from, to), expected, "{zone} {boundary:?}");
        }
    }

    /// Around each change of two years, in steps of some minutes.
    #[test]
    fn periods_follow_on_each_other_without_gaps() {
        let minutes = [1, 15, 30, 60].map(Boundary::Minutes);
        let hours = [1, 2, 6, 24].map(Boundary::Hours);
        for (zone, boundary) in ZONES.into_iter().flat_map(|zone| {
            minutes.into_iter().chain(hours).chain([Boundary::Day]).map(move |step| (zone, step))
        }) {
            let calendar = calendar(zone, boundary);
            let from = stamp("2027-01-01T00:00Z").0;
            for at in (0..).map(|n| from + n * 40_009 * SECOND).take_while(|at| at - from < 1 << 56)
            {
                let period = calendar.period(Stamp(at + at % 1000));
                let Period { start, end } = period;
                assert!(period.contains(Stamp(at)), "{zone} {boundary:?}: {period:?}, {at}");
                assert_eq!(calendar.period(start), period, "{zone} {boundary:?}");
                assert_eq!(calendar.period(Stamp(end.0 - 1)), period, "{zone} {boundary:?}");
                assert_eq!(calendar.period(end).start, end, "{zone} {boundary:?}");
                let day = Duration::from_secs(25 * 3600);
                assert!(end.since(start) <= day, "{zone} {boundary:?}: {period:?}");
            }
        }
    }

    /// tzfile(5) permits that: here one change at the epoch, and no rule for the future.
    #[test]
    fn a_zone_whose_file_says_nothing_of_the_future() {
        let counts = |times: u32| [0, 0, 0, times, 2, 4].map(u32::to_be_bytes).concat();
        let types = [&[0; 6][..], &3600_u32.to_be_bytes(), &[0; 2], b"TST\0"].concat();
        let header = |times| [&b"TZif2"[..], &[0; 15], &counts(times)].concat();
        let data = [&header(0)[..], &types, &header(1), &[0; 8], &[1], &types, b"\n\n"].concat();
        let zone = TimeZone::tzif("Test/Old", &data).unwrap();
        let calendar = Calendar::new(Boundary::Day, zone).unwrap();
        let Period { start, end } = calendar.period(stamp("2028-02-29T12:00Z"));
        assert_eq!(shown(start), "2028-02-28T23:00:00Z");
        assert_eq!(shown(end), "2028-02-29T23:00:00Z");
    }

    #[test]
    fn the_nearest_moment_of_a_period_is_in_it() {
        let (calendar, at) = (calendar("UTC0", Boundary::Hours(1)), stamp("2028-02-29T12:30Z"));
        let clock = WallClock(Some(std::sync::Arc::new(move || Duration::from_nanos(at.0))));
        let periods = Periods::new(calendar, clock, Instant::now());
        for (time, expected) in [
            ("2028-02-29T11:59:59.999Z", "2028-02-29T12:00:00Z"),
            ("2028-02-29T12:00:00.001Z", "2028-02-29T12:00:00.001Z"),
            ("2028-02-29T13:00:00Z", "2028-02-29T12:59:59.999999999Z"),
        ] {
            assert_eq!(shown(periods.nearest(stamp(time))), expected);
        }
    }

    #[test]
    fn no_time_is_out_of_its_range() {
        for zone in ZONES {
            let calendar = calendar(zone, Boundary::Day);
            // The kernel's clock ends in 2262.
            for at in [1, SECOND, u64::MAX / 2, u64::MAX - 86_400 * 2 * SECOND] {
                assert!(calendar.period(Stamp(at)).contains(Stamp(at)), "{zone} {at}");
            }
        }
        assert!(Calendar::new(Boundary::Never, TimeZone::UTC).is_none());
    }
}
