//! What the quota knows: the last measurements, what happened since, and whether there is room.
//!
//! Pure: the time is passed in, and nothing is measured here. Refuses nothing.

use std::time::Instant;

use crate::config::Limits;
use crate::file::usage::Walk;
use crate::report::error::Error;

/// What happens between meeting a limit and refusing records, where old files are deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Relief {
    /// No limit is met.
    Unasked,
    /// Old files are being deleted. The number is that of the pass. The time limit begins with the
    /// next look.
    Asked(u64, Option<Instant>),
    /// What is left is being measured, until then at most.
    Measuring(Instant),
    /// That was not enough.
    InVain,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) limits: Limits,
    /// Its result is 0 once the start is complete.
    pub(super) start: Gauge,
    pub(super) free: Gauge,
    pub(super) total: Gauge,
    /// Bytes that this writer has written in total.
    pub(super) written: u64,
    /// Bytes that were deleted in total, at the last look.
    pub(super) deleted: u64,
    /// That number at the end of the last count. It may have missed what was deleted later.
    pub(super) deleted_before: u64,
    pub(super) relief: Relief,
    /// A worker is measuring.
    pub(super) is_claimed: bool,
    /// The value of the flag in `Shared`.
    pub(super) refuses: bool,
    /// When the last successful measurement ended.
    pub(super) measured_at: Option<Instant>,
    /// The unfinished count of the files, between two portions.
    pub(super) walk: Option<Walk>,
}

/// One of the two measured quantities.
#[derive(Debug)]
pub(super) struct Gauge {
    /// The last result.
    pub(super) found: Option<u64>,
    /// Bytes that the writer had written when that measurement began. It may have missed later
    /// ones.
    pub(super) written: u64,
    /// When to measure again; `None` if no limit needs it.
    pub(super) next: Option<Instant>,
    /// The error of the last measurement, if any.
    pub(super) error: Option<Error>,
}

impl Gauge {
    pub(super) fn new(wanted: bool, now: Instant) -> Self {
        Gauge { found: None, written: 0, next: wanted.then_some(now), error: None }
    }

    /// With a limit of 0 nobody wants it. What is newly wanted is due.
    pub(super) fn want(&mut self, limit: u64, now: Instant) {
        if limit == 0 || self.next.is_none() {
            *self = Gauge::new(limit > 0, now);
        }
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.next.is_some_and(|at| at <= now)
    }

    pub(super) fn settle(
        &mut self,
        result: Result<u64, Error>,
        written: u64,
        next: Option<Instant>,
    ) {
        self.next = next;
        self.error = match result {
            Ok(found) => {
                (self.found, self.written) = (Some(found), written);
                None
            }
            Err(error) => Some(error),
        };
    }
}

impl State {
    /// Nothing is measured yet, and what has a limit is due.
    pub(super) fn new(limits: Limits, is_start_open: bool, now: Instant) -> Self {
        State {
            limits,
            start: Gauge::new(is_start_open, now),
            free: Gauge::new(limits.min_free > 0, now),
            total: Gauge::new(limits.max_total > 0, now),
            written: 0,
            deleted: 0,
            deleted_before: 0,
            relief: Relief::Unasked,
            is_claimed: false,
            refuses: false,
            measured_at: None,
            walk: None,
        }
    }

    /// Free bytes now, if nothing else writes.
    pub(super) fn free_bytes(&self) -> Option<u64> {
        let Gauge { found, written, .. } = self.free;
        Some(found?.saturating_sub(self.written - written))
    }

    /// Bytes that the files take now, if nothing else writes.
    pub(super) fn total_bytes(&self) -> Option<u64> {
        let Gauge { found, written, .. } = self.total;
        let deleted = self.deleted - self.deleted_before;
        Some(found?.saturating_add(self.written - written).saturating_sub(deleted))
    }

    /// Whether there is no room for another byte.
    pub(super) fn is_beyond(&self, limits: Limits) -> bool {
        self.start.next.is_some()
            || self.free_bytes().is_some_and(|free| free <= limits.min_free)
            || self.meets_total(limits)
    }

    pub(super) fn meets_total(&self, limits: Limits) -> bool {
        self.total_bytes().is_some_and(|total| total >= limits.max_total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_wants_is_not_known_and_what_is_wanted_again_is_due() {
        let (now, soon) = (Instant::now(), std::time::Duration::from_secs(1));
        let mut gauge = Gauge::new(true, now);
        gauge.settle(Ok(7), 1, Some(now + soon));
        gauge.want(5, now);
        assert!(gauge.found == Some(7) && !gauge.is_due(now), "another limit, the same number");
        gauge.want(0, now);
        assert!(gauge.found.is_none() && !gauge.is_due(now + soon));
        // As it was being measured.
        gauge.settle(Ok(7), 1, Some(now + soon));
        gauge.want(0, now);
        assert!(gauge.found.is_none() && gauge.next.is_none());
        gauge.want(5, now);
        assert!(gauge.is_due(now));
    }

    #[test]
    fn what_was_written_since_is_not_free() {
        let mut free = State::new(Limits::default(), false, Instant::now());
        free.free = Gauge { found: Some(500), written: 70, next: None, error: None };
        free.written = 70 + 399;
        let beyond = |min_free| free.is_beyond(Limits { min_free, max_total: 0 });
        assert_eq!((beyond(100), beyond(101), beyond(102)), (false, true, true));
    }
}
