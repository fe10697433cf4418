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

use std::time::{Duration, Instant};

use crate::base::sync::{Arc, Mutex, lock};
use crate::config::Limits;
use crate::file::usage::{Scope, Walk};
use crate::housekeeping::notices::Notices;
use crate::memory::Shared;
use crate::report::error::Error;
use crate::report::stats::GuardStats;

use gauges::{Relief, State};

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
        let is_wanted = rest.is_some() || limits.min_free > 0 || limits.max_total > 0;
        let state = Mutex::new(State::new(limits, rest.is_some(), now));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::sync::Barrier;
    use crate::base::sys::Errno;
    use crate::config::Retain;
    use crate::fs::Fs;
    use crate::tests::fs::faulty::{Answer, Faulty, Op};
    use bufferedwriter_testkit::dir::TestDir;
    use bufferedwriter_testkit::os::OsStrExt;
    use std::ffi::{OsStr, OsString};
    use std::fs;
    use std::path::PathBuf;

    fn names(prefix: &[u8], instance: u64) -> crate::naming::Names {
        let prefix = OsStr::from_bytes(prefix).to_owned();
        crate::naming::Names { prefix, extension: OsString::from("log"), instance, pid: 1 }
    }

    fn quota(fs: &Faulty, path: PathBuf, temp: PathBuf, limits: Limits, now: Instant) -> Quota {
        let prefix = OsStr::from_bytes(b"a\xff").to_owned();
        let fs = std::sync::Arc::new(fs.clone());
        let extension = OsString::from("log");
        let scope = Scope { fs, path, depth: 0, temp, prefix, extension, by_len: false };
        let shared = Shared::new(4, 64, 1, Barrier::detect()).unwrap();
        Quota::new(limits, None, scope, None, Arc::new(shared), now).unwrap()
    }

    /// Makes a file of `bytes` bytes; returns what it takes on disk.
    fn put(path: PathBuf, bytes: usize) -> u64 {
        fs::write(&path, vec![b'x'; bytes]).unwrap();
        let facts = crate::fs::real::RealFs.facts(&path).unwrap().unwrap();
        facts.allocated
    }

    #[test]
    fn one_directory_is_listed_once_and_nothing_that_nobody_asked_for_is_measured() {
        let (dir, now) = (TestDir::new(), Instant::now());
        for (min_free, max_total, free_calls, lists) in [(1, 0, 1, 0), (0, 1 << 40, 0, 1)] {
            let (fs, limits) = (Faulty::default(), Limits { min_free, max_total });
            let quota = quota(&fs, dir.path().into(), dir.path().into(), limits, now);
            quota.look(|| now);
            // Not again: it is too early, or another worker measures.
            quota.look(|| now + INTERVAL / 2);
            lock(&quota.state).is_claimed = true;
            quota.look(|| now + INTERVAL);
            assert_eq!((fs.calls(Op::FreeBytes), fs.calls(Op::List)), (free_calls, lists));
            let stats = quota.stats().unwrap();
            assert_eq!(stats.free_bytes.is_some(), min_free > 0);
            assert_eq!(stats.total_bytes, (max_total > 0).then_some(0));
            assert!(!stats.refuses && stats.measured_at == Some(now));
            assert_eq!(quota.vigil(now), None);
        }
    }

    #[test]
    fn between_measurements_what_was_written_is_reckoned_with() {
        let (dir, now, fs) = (TestDir::new(), Instant::now(), Faulty::default());
        let limits = Limits { min_free: 0, max_total: 1000 };
        let quota = quota(&fs, dir.path().into(), dir.path().into(), limits, now);
        quota.look(|| now);
        quota.wrote(999);
        assert!(!quota.shared.is_over_quota());
        quota.wrote(1);
        assert!(quota.shared.is_over_quota() && quota.stats().unwrap().refuses);
        assert_eq!(quota.stats().unwrap().total_bytes, Some(1000));
        assert_eq!(quota.vigil(now), Some(INTERVAL));
        assert_eq!(quota.vigil(now + INTERVAL / 4), Some(INTERVAL * 3 / 4));
        // The worker that measures may hang.
        lock(&quota.state).is_claimed = true;
        assert_eq!(quota.vigil(now + INTERVAL / 4), Some(INTERVAL));
        lock(&quota.state).is_claimed = false;
        // The files do not exist.
        quota.look(|| now + INTERVAL);
        assert!(!quota.shared.is_over_quota() && !quota.stats().unwrap().refuses);
        assert_eq!(quota.stats().unwrap().total_bytes, Some(0));
    }

    #[test]
    fn an_error_leaves_the_last_answer_and_is_told() {
        for refuses in [false, true] {
            let (dir, now, fs) = (TestDir::new(), Instant::now(), Faulty::default());
            put(dir.join(names(b"a\xff", 1).visible(crate::naming::Stamp(1), 0, 1)), 5000);
            let max_total = if refuses { 5000 } else { 1 << 30 };
            let limits = Limits { min_free: 1, max_total };
            let quota = quota(&fs, dir.path().into(), dir.path().into(), limits, now);
            quota.look(|| now);
            let before = quota.stats().unwrap();
            assert_eq!(before.refuses, refuses);
            for (op, operation) in [
                (Op::List, "list"),
                (Op::Facts, "look up"),
                (Op::FreeBytes, "look for free space in"),
            ] {
                fs.plan(op, 1, Answer::Error(Errno::IO));
                let [later, at_last] = [now + INTERVAL, now + 2 * INTERVAL];
                lock(&quota.state).free.next = Some(later);
                lock(&quota.state).total.next = Some(later);
                quota.look(|| later);
                let stats = quota.stats().unwrap();
                assert_eq!(stats.last_error.unwrap().operation(), operation);
                assert_eq!((stats.refuses, stats.total_bytes), (refuses, before.total_bytes));
                quota.look(|| at_last);
                assert!(quota.stats().unwrap().last_error.is_none());
            }
        }
    }

    /// Each look at the clock advances it by a millisecond. The count takes 5 portions, of which 4
    /// run out of time.
    #[test]
    fn what_takes_long_is_done_seldom_and_in_portions() {
        let (dir, fs) = (TestDir::new(), Faulty::default());
        let files = 5 * 16 * 5 - 1;
        let one = (0..files)
            .map(|seq| {
                put(dir.join(names(b"a\xff", 1).visible(crate::naming::Stamp(1), 0, seq)), 1)
            })
            .sum::<u64>();
        let (now, looks) = (Instant::now(), std::cell::Cell::new(0));
        let clock = || now + Duration::from_millis(1) * looks.replace(looks.get() + 1);
        let limits = Limits { min_free: 0, max_total: one + 100 };
        let quota = quota(&fs, dir.path().into(), dir.path().into(), limits, now);
        for portion in 1..=4 {
            assert!(quota.look(clock), "{portion}");
            // The total is unknown before the end; bytes written meanwhile are added to it.
            assert_eq!(quota.stats().unwrap().total_bytes, None);
            quota.wrote(20);
        }
        assert!(!quota.look(clock));
        assert_eq!(quota.stats().unwrap().total_bytes, Some(one + 80));
        assert_eq!((fs.calls(Op::List), fs.calls(Op::Facts)), (1, files as usize));
        let ended = quota.stats().unwrap().measured_at.unwrap();
        let took = lock(&quota.state).total.next.unwrap() - ended;
        assert!(took > INTERVAL && took <= 50 * (ended - now), "{took:?} {:?}", ended - now);
        quota.wrote(20);
        assert!(quota.shared.is_over_quota());
    }

    /// A quota of 1000 bytes beside a thread that deletes old files.
    fn relieved(fs: &Faulty, dir: &TestDir, now: Instant) -> (Quota, Arc<Notices>) {
        let limits = Limits { min_free: 0, max_total: 1000 };
        let notices: Arc<Notices> = Arc::default();
        notices.set_rules(Retain { files: 1, ..Retain::default() }, false);
        let mut quota = quota(fs, dir.path().into(), dir.path().into(), limits, now);
        quota.relief = Some(notices.clone());
        quota.look(|| now);
        (quota, notices)
    }

    #[test]
    fn old_files_go_before_it_refuses() {
        let (dir, now, fs) = (TestDir::new(), Instant::now(), Faulty::default());
        let (quota, notices) = relieved(&fs, &dir, now);
        let refuses = || quota.shared.is_over_quota();
        assert_eq!((quota.vigil(now), notices.asked()), (None, 0));
        quota.wrote(1500);
        quota.wrote(1);
        assert!(!refuses() && notices.asked() == 1 && quota.vigil(now) == Some(RELIEF_POLL));
        quota.look(|| now);
        assert!(!refuses());
        // Enough was deleted: nothing is counted again.
        notices.deleted(600);
        quota.look(|| now);
        notices.answer(Some(1), None, None);
        quota.look(|| now);
        assert!(!refuses() && quota.vigil(now).is_none() && fs.calls(Op::List) == 1);
        assert_eq!(quota.stats().unwrap().total_bytes, Some(901));
        // It is not enough. What is left is counted, since others delete files too.
        quota.wrote(100);
        assert!(!refuses() && notices.asked() == 2);
        notices.answer(Some(2), None, None);
        quota.look(|| now);
        assert!(!refuses() && fs.calls(Op::List) == 2, "nothing is there");
        assert_eq!(quota.stats().unwrap().total_bytes, Some(0));
    }

    #[test]
    fn it_refuses_when_deleting_was_in_vain_and_gives_way_to_what_is_deleted_later() {
        let (dir, now, fs) = (TestDir::new(), Instant::now(), Faulty::default());
        let bytes = put(dir.join(names(b"a\xff", 1).visible(crate::naming::Stamp(1), 0, 1)), 5000);
        let (quota, notices) = relieved(&fs, &dir, now);
        let refuses = || quota.shared.is_over_quota();
        assert!(!refuses() && notices.asked() == 1);
        notices.answer(Some(1), None, None);
        quota.look(|| now);
        assert!(refuses() && notices.asked() == 1 && fs.calls(Op::List) == 2);
        // An idle worker hears of what is deleted, though nothing is measured.
        assert_eq!(quota.vigil(now + INTERVAL * 9 / 10), Some(INTERVAL / 10));
        lock(&quota.state).total.next = Some(now + INTERVAL * 60);
        assert_eq!(quota.vigil(now), Some(INTERVAL));
        notices.deleted(bytes);
        quota.look(|| now + INTERVAL);
        assert!(!refuses() && fs.calls(Op::List) == 2);
    }

    #[test]
    fn it_waits_for_nothing_that_hangs() {
        let (dir, now, fs) = (TestDir::new(), Instant::now(), Faulty::default());
        for answered in [false, true] {
            let (quota, notices) = relieved(&fs, &dir, now);
            let refuses = || quota.shared.is_over_quota();
            quota.wrote(1000);
            quota.look(|| now);
            // The worker that measures hangs.
            lock(&quota.state).is_claimed = true;
            if answered {
                notices.answer(Some(1), None, None);
            }
            let soon = now + RELIEF_MAX - Duration::from_millis(1);
            quota.look(|| soon);
            assert!(!refuses() && quota.vigil(soon) == Some(RELIEF_POLL));
            quota.look(|| now + RELIEF_MAX);
            assert!(refuses(), "{answered}");
        }
    }
}
