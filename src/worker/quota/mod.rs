//! The quota, which users know as the disk guard. It refuses records while the disk has too little
//! room, or while the files of this prefix and extension take too much.
//!
//! Guarantees: one worker at a time measures, and holds no lock, so a measurement that hangs delays
//! no other worker. Between two measurements this writer's own writes are added. While records are
//! refused, some worker measures again. An error refuses nothing: the last result stays. Deletes
//! nothing, but lets the thread that deletes old files do so before it begins to refuse. A writer that started on a full disk refuses all until its start can be completed.
//!
//! `src/file/usage.rs` takes the measurements.

mod gauges;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use crate::base::sync::{Arc, Mutex, lock};
use crate::config::Limits;
use crate::file::usage::{Scope, Walk};
use crate::housekeeping::notices::Notices;
use crate::memory::Shared;
use crate::report::error::Error;
use crate::report::stats::GuardStats;

use gauges::{Gauge, Relief, State};

/// Shortest time between two measurements.
pub(crate) const INTERVAL: Duration = Duration::from_secs(1);
/// After a measurement of the files, this multiple of its duration passes without one. So it takes
/// at most 2 % of one worker's time.
const REST_FACTOR: u32 = 50;
/// A worker measures files for this long at once, then writes what came in meanwhile. But a
/// directory is listed as a whole.
const PORTION: Duration = Duration::from_millis(5);
/// How long records are accepted beyond a limit while old files are deleted, and then while what is
/// left is measured.
const RELIEF_MAX: Duration = Duration::from_secs(1);
/// Time between two looks at whether that is over.
const RELIEF_POLL: Duration = Duration::from_millis(10);

/// What is left to do of a start on a full disk. Called again after an error.
pub(crate) type Rest = Box<dyn Fn() -> Result<(), Error> + Send + Sync>;

/// The quota of one writer.
pub(crate) struct Quota {
    rest: Option<Rest>,
    /// Replaced with the limits.
    scope: Mutex<Arc<Scope>>,
    /// The thread that deletes old files, if it deletes any.
    relief: Option<Arc<Notices>>,
    shared: Arc<Shared>,
    state: Mutex<State>,
}

impl Quota {
    /// Returns `None` without limits and a start that is complete; then nothing is ever measured.
    pub(crate) fn new(
        limits: Limits,
        rest: Option<Rest>,
        scope: Scope,
        relief: Option<Arc<Notices>>,
        shared: Arc<Shared>,
        now: Instant,
    ) -> Option<Self> {
        let Limits { min_free, max_total } = limits;
        let is_wanted = rest.is_some() || min_free > 0 || max_total > 0;
        let state = Mutex::new(State {
            limits,
            start: Gauge::new(rest.is_some(), now),
            free: Gauge::new(min_free > 0, now),
            total: Gauge::new(max_total > 0, now),
            written: 0,
            deleted: 0,
            deleted_before: 0,
            relief: Relief::Unasked,
            is_claimed: false,
            refuses: false,
            measured_at: None,
            walk: None,
        });
        let scope = Mutex::new(Arc::new(scope));
        is_wanted.then_some(Quota { rest, scope, relief, shared, state })
    }

    /// Worker: measures if it is time and no other worker does. Returns `true` after a portion that
    /// leaves more to measure. Takes as long as the file system does.
    pub(crate) fn look(&self, clock: impl Fn() -> Instant) -> bool {
        let began = clock();
        self.follow_relief(began);
        let Some((start, free, mut walk, written)) = self.claim(began) else { return false };
        let started = self.rest.as_ref().filter(|_| start).map(|rest| rest());
        let scope = lock(&self.scope).clone();
        let free = free.then(|| scope.free_bytes());
        let is_over = || clock().saturating_duration_since(began) >= PORTION;
        let counted = walk.as_mut().map(|walk| scope.count(walk, is_over));
        let now = clock();
        let mut state = lock(&self.state);
        state.is_claimed = false;
        let limits = state.limits;
        if let Some(result) = started {
            let again = now.checked_add(INTERVAL).filter(|_| result.is_err());
            state.start.settle(result.map(|()| 0), written, again);
        }
        if let Some(result) = free {
            state.measured_at = if result.is_ok() { Some(now) } else { state.measured_at };
            state.free.settle(result, written, now.checked_add(INTERVAL));
            // Nobody wants it any more, perhaps.
            state.free.want(limits.min_free, now);
        }
        if let (Some(mut walk), Some(counted)) = (walk, counted) {
            walk.took += now.saturating_duration_since(began);
            match counted {
                Ok(false) => state.walk = Some(walk),
                Ok(true) | Err(_) => {
                    let rest = INTERVAL.max(walk.took.saturating_mul(REST_FACTOR));
                    state.measured_at = if counted.is_ok() { Some(now) } else { state.measured_at };
                    if counted.is_ok() {
                        let deleted = self.bytes_deleted();
                        (state.deleted, state.deleted_before) = (deleted, deleted);
                    }
                    let result = counted.map(|_| walk.total);
                    state.total.settle(result, walk.written, now.checked_add(rest));
                    state.total.want(limits.max_total, now);
                }
            }
        }
        if matches!(state.relief, Relief::Measuring(_)) && state.walk.is_none() {
            state.relief = Relief::InVain;
        }
        self.set_flag(&mut state);
        state.walk.is_some()
    }

    /// The thread that deletes old files, while it does.
    fn relief(&self) -> Option<&Notices> {
        self.relief.as_deref().filter(|notices| notices.deletes())
    }

    fn bytes_deleted(&self) -> u64 {
        self.relief.as_ref().map_or(0, |notices| notices.bytes_deleted())
    }

    /// Reckons with what was deleted. Once the pass that was asked for has ended, what is left is
    /// measured, unless that was enough.
    fn follow_relief(&self, now: Instant) {
        let Some(notices) = self.relief() else { return };
        let mut state = lock(&self.state);
        state.deleted = notices.bytes_deleted();
        let until = |until: Option<Instant>| until.or(now.checked_add(RELIEF_MAX)).unwrap_or(now);
        match state.relief {
            Relief::Asked(_, Some(at)) | Relief::Measuring(at) if at <= now => {
                state.relief = Relief::InVain;
            }
            // A measurement that began before the pass had ended is no answer.
            Relief::Asked(number, _) if notices.is_answered(number) && !state.is_claimed => {
                let counts = state.meets_total(state.limits);
                let State { free, total, walk, relief, .. } = &mut *state;
                free.next = free.next.map(|_| now);
                // Without the deleted files there is room. Counting may take long.
                total.next = total.next.map(|at| if counts { now } else { at });
                *walk = None;
                *relief = Relief::Measuring(until(None));
            }
            Relief::Asked(number, at) => state.relief = Relief::Asked(number, Some(until(at))),
            _ => {}
        }
        self.set_flag(&mut state);
    }

    /// Claims a measurement. Returns whether to go on with the start, and to measure free space, the count to begin or continue,
    /// and the bytes written by now. `None` if there is nothing to do, or another worker does it.
    fn claim(&self, now: Instant) -> Option<(bool, bool, Option<Walk>, u64)> {
        let mut state = lock(&self.state);
        if state.is_claimed {
            return None;
        }
        let written = state.written;
        let begin = || Walk::new(&lock(&self.scope), written);
        let is_due = state.total.is_due(now);
        let walk = state.walk.take().or_else(|| is_due.then(begin));
        let free = state.free.is_due(now);
        let start = state.start.is_due(now);
        state.is_claimed = start || free || walk.is_some();
        state.is_claimed.then_some((start, free, walk, written))
    }

    /// Takes other limits. The caller must then wake the workers, which measure what is not known.
    pub(crate) fn set_limits(&self, limits: Limits, scope: Scope, now: Instant) {
        *lock(&self.scope) = Arc::new(scope);
        let mut state = lock(&self.state);
        state.limits = limits;
        state.free.want(limits.min_free, now);
        state.total.want(limits.max_total, now);
        if limits.max_total == 0 {
            state.walk = None;
        }
        // Other old files may go now.
        state.relief = Relief::Unasked;
        self.set_flag(&mut state);
    }

    /// Worker: its file has `bytes` more bytes.
    pub(crate) fn wrote(&self, bytes: u64) {
        let mut state = lock(&self.state);
        state.written += bytes;
        self.set_flag(&mut state);
    }

    /// Sets the flag to the current verdict. Under the lock, so that it never lags behind another
    /// verdict.
    fn set_flag(&self, state: &mut State) {
        let is_beyond = state.is_beyond(state.limits);
        if !is_beyond {
            state.relief = Relief::Unasked;
        }
        let refuses = is_beyond && !self.puts_off(state);
        if refuses != state.refuses {
            state.refuses = refuses;
            self.shared.set_over_quota(refuses);
        }
    }

    /// Whether records are accepted although a limit is met, because old files are being deleted.
    fn puts_off(&self, state: &mut State) -> bool {
        let Some(notices) = self.relief() else { return false };
        if state.refuses || state.start.next.is_some() {
            return false;
        }
        if state.relief == Relief::Unasked {
            state.relief = Relief::Asked(notices.ask(), None);
        }
        state.relief != Relief::InVain
    }

    /// While records are refused, or are about to be: when an idle worker should measure again.
    pub(crate) fn vigil(&self, now: Instant) -> Option<Duration> {
        let state = lock(&self.state);
        if matches!(state.relief, Relief::Asked(..) | Relief::Measuring(_)) {
            return Some(RELIEF_POLL);
        }
        if !state.refuses {
            return None;
        }
        let gauges = [&state.start, &state.free, &state.total];
        let next = gauges.into_iter().filter_map(|gauge| gauge.next).min();
        match next {
            // The worker that measures may hang.
            _ if state.is_claimed => Some(INTERVAL),
            // Files may be deleted at any time, which needs no measurement.
            Some(at) if self.relief().is_some() => {
                Some(at.saturating_duration_since(now).min(INTERVAL))
            }
            Some(at) => Some(at.saturating_duration_since(now)),
            None => Some(INTERVAL),
        }
    }

    /// The numbers that users see. `None` if it is off.
    pub(crate) fn stats(&self) -> Option<GuardStats> {
        let deleted = self.bytes_deleted();
        let mut state = lock(&self.state);
        state.deleted = deleted;
        let Limits { min_free, max_total } = state.limits;
        let is_on = self.rest.is_some() || min_free > 0 || max_total > 0;
        is_on.then(|| GuardStats {
            refuses: state.refuses,
            free_bytes: state.free_bytes(),
            total_bytes: state.total_bytes(),
            measured_at: state.measured_at,
            last_error: [&state.start, &state.free, &state.total]
                .into_iter()
                .find_map(|gauge| gauge.error.clone()),
        })
    }
}
