//! The disk guard: when the disk has too little room, or the files of this prefix take too much, records
//! are refused.
//!
//! Guarantees: one worker at a time measures, with nothing locked, so that a measurement that hangs holds up
//! nobody else; between two measurements what this writer writes is reckoned with; while records are refused
//! somebody looks again. Refuses nothing because of an error: the last answer holds. Deletes nothing.
//!
//! What is measured, `census.rs` knows.

use std::time::{Duration, Instant};

use crate::base::sync::{Arc, Mutex, lock};
use crate::config::Limits;
use crate::file::usage::{Scope, Walk};
use crate::memory::Shared;
use crate::report::error::Error;
use crate::report::stats::GuardStats;

/// Between two measurements, at least.
pub(crate) const INTERVAL: Duration = Duration::from_secs(1);
/// A measurement of the files is followed by so many times its duration without one: 2 % of one worker's
/// time at most.
const REST_FACTOR: u32 = 50;
/// A worker looks up files for so long at once, then it writes what has come in meanwhile. A list comes whole,
/// though.
const PORTION: Duration = Duration::from_millis(5);

/// The quota of one writer.
pub(crate) struct Quota {
    limits: Limits,
    scope: Scope,
    shared: Arc<Shared>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    free: Gauge,
    total: Gauge,
    /// Bytes that this writer has written in all.
    written: u64,
    /// A worker measures just now.
    is_claimed: bool,
    /// What the flag in `Shared` says.
    refuses: bool,
    /// When the last measurement that succeeded ended.
    measured_at: Option<Instant>,
    /// The count of the files that is under way, between two portions.
    walk: Option<Walk>,
}

/// One of the two things that are measured.
#[derive(Debug)]
struct Gauge {
    /// What was found last.
    found: Option<u64>,
    /// What the writer had written when that measurement began: what came later may not be in it.
    written: u64,
    /// When to measure again; none = nobody wants to know.
    next: Option<Instant>,
    /// Of the last measurement.
    error: Option<Error>,
}

impl Gauge {
    fn new(wanted: bool, now: Instant) -> Self {
        Gauge { found: None, written: 0, next: wanted.then_some(now), error: None }
    }

    fn is_due(&self, now: Instant) -> bool {
        self.next.is_some_and(|at| at <= now)
    }

    fn settle(&mut self, result: Result<u64, Error>, written: u64, next: Option<Instant>) {
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
    /// What is free by now, if nobody else writes.
    fn free_bytes(&self) -> Option<u64> {
        let Gauge { found, written, .. } = self.free;
        Some(found?.saturating_sub(self.written - written))
    }

    /// What the files take by now, if nobody else writes.
    fn total_bytes(&self) -> Option<u64> {
        let Gauge { found, written, .. } = self.total;
        Some(found?.saturating_add(self.written - written))
    }

    /// Whether there is no room for another byte.
    fn is_beyond(&self, limits: Limits) -> bool {
        self.free_bytes().is_some_and(|free| free <= limits.min_free)
            || self.total_bytes().is_some_and(|total| total >= limits.max_total)
    }
}

impl Quota {
    /// None if everything is permitted: then nothing is ever measured.
    pub(crate) fn new(
        limits: Limits,
        scope: Scope,
        shared: Arc<Shared>,
        now: Instant,
    ) -> Option<Self> {
        let Limits { min_free, max_total } = limits;
        let state = Mutex::new(State {
            free: Gauge::new(min_free > 0, now),
            total: Gauge::new(max_total > 0, now),
            written: 0,
            is_claimed: false,
            refuses: false,
            measured_at: None,
            walk: None,
        });
        (min_free > 0 || max_total > 0).then_some(Quota { limits, scope, shared, state })
    }

    /// Worker: measures if it is time to and nobody else does; a portion, after which this returns `true`, or
    /// the rest of it. Takes as long as the file system does.
    pub(crate) fn look(&self, clock: impl Fn() -> Instant) -> bool {
        let began = clock();
        let Some((free, mut walk, written)) = self.claim(began) else { return false };
        let free = free.then(|| self.scope.free_bytes());
        let is_over = || clock().saturating_duration_since(began) >= PORTION;
        let counted = walk.as_mut().map(|walk| self.scope.count(walk, is_over));
        let now = clock();
        let mut state = lock(&self.state);
        state.is_claimed = false;
        if let Some(result) = free {
            state.measured_at = if result.is_ok() { Some(now) } else { state.measured_at };
            state.free.settle(result, written, now.checked_add(INTERVAL));
        }
        if let (Some(mut walk), Some(counted)) = (walk, counted) {
            walk.took += now.saturating_duration_since(began);
            match counted {
                Ok(false) => state.walk = Some(walk),
                Ok(true) | Err(_) => {
                    let rest = INTERVAL.max(walk.took.saturating_mul(REST_FACTOR));
                    state.measured_at = if counted.is_ok() { Some(now) } else { state.measured_at };
                    let result = counted.map(|_| walk.total);
                    state.total.settle(result, walk.written, now.checked_add(rest));
                }
            }
        }
        self.judge(&mut state);
        state.walk.is_some()
    }

    /// Whether to look for free space, the count to begin or to go on with, and what is written by now; none
    /// if there is nothing to do, or another one does it.
    fn claim(&self, now: Instant) -> Option<(bool, Option<Walk>, u64)> {
        let mut state = lock(&self.state);
        if state.is_claimed {
            return None;
        }
        let written = state.written;
        let begin = || Walk::new(&self.scope, written);
        let is_due = state.total.is_due(now);
        let walk = state.walk.take().or_else(|| is_due.then(begin));
        let free = state.free.is_due(now);
        state.is_claimed = free || walk.is_some();
        state.is_claimed.then_some((free, walk, written))
    }

    /// Worker: so many bytes more are in its file.
    pub(crate) fn wrote(&self, bytes: u64) {
        let mut state = lock(&self.state);
        state.written += bytes;
        self.judge(&mut state);
    }

    /// The flag follows what is known. Under the lock, so that it never lags behind another judgement.
    fn judge(&self, state: &mut State) {
        let refuses = state.is_beyond(self.limits);
        if refuses != state.refuses {
            state.refuses = refuses;
            self.shared.set_guarded(refuses);
        }
    }

    /// While records are refused, when a worker that has nothing to do should look again.
    pub(crate) fn vigil(&self, now: Instant) -> Option<Duration> {
        let state = lock(&self.state);
        if !state.refuses {
            return None;
        }
        let next = [state.free.next, state.total.next].into_iter().flatten().min();
        match next {
            // The other one may hang.
            _ if state.is_claimed => Some(INTERVAL),
            Some(at) => Some(at.saturating_duration_since(now)),
            None => Some(INTERVAL),
        }
    }

    /// What users see of it.
    pub(crate) fn stats(&self) -> GuardStats {
        let state = lock(&self.state);
        GuardStats {
            refuses: state.refuses,
            free_bytes: state.free_bytes(),
            total_bytes: state.total_bytes(),
            measured_at: state.measured_at,
            last_error: state.free.error.clone().or_else(|| state.total.error.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::sync::Barrier;
    use crate::fs::Fs;
    use crate::tests::fs::faulty::{Fault, Faulty, Op};
    use bufferedwriter_testkit::dir::TestDir;
    use rustix::io::Errno;
    use std::ffi::{OsStr, OsString};
    use std::fs;
    use std::os::unix::ffi::OsStrExt;
    use std::path::PathBuf;

    fn names(prefix: &[u8], instance: u64) -> crate::naming::Names {
        let prefix = OsStr::from_bytes(prefix).to_owned();
        crate::naming::Names { prefix, extension: OsString::from("log"), instance, pid: 1 }
    }

    fn guard(fs: &Faulty, path: PathBuf, temp: PathBuf, limits: Limits, now: Instant) -> Quota {
        let prefix = OsStr::from_bytes(b"a\xff").to_owned();
        let fs = std::sync::Arc::new(fs.clone());
        let scope = Scope { fs, path, temp, prefix, extension: OsString::from("log") };
        let shared = Shared::new(4, 64, 1, Barrier::detect()).unwrap();
        Quota::new(limits, scope, Arc::new(shared), now).unwrap()
    }

    /// A file of so many bytes; what it takes.
    fn put(path: PathBuf, bytes: usize) -> u64 {
        fs::write(&path, vec![b'x'; bytes]).unwrap();
        let facts = crate::fs::real::RealFs.facts(&path).unwrap().unwrap();
        facts.allocated.max(facts.len)
    }

    #[test]
    fn one_directory_is_listed_once_and_nothing_that_nobody_asked_for_is_measured() {
        let (dir, now) = (TestDir::new(), Instant::now());
        for (min_free, max_total, free_calls, lists) in [(1, 0, 1, 0), (0, 1 << 40, 0, 1)] {
            let (fs, limits) = (Faulty::default(), Limits { min_free, max_total });
            let guard = guard(&fs, dir.path().into(), dir.path().into(), limits, now);
            guard.look(|| now);
            // Early, or while another one measures: not again.
            guard.look(|| now + INTERVAL / 2);
            lock(&guard.state).is_claimed = true;
            guard.look(|| now + INTERVAL);
            assert_eq!((fs.calls(Op::FreeBytes), fs.calls(Op::List)), (free_calls, lists));
            let stats = guard.stats();
            assert_eq!(stats.free_bytes.is_some(), min_free > 0);
            assert_eq!(stats.total_bytes, (max_total > 0).then_some(0));
            assert!(!stats.refuses && stats.measured_at == Some(now));
            assert_eq!(guard.vigil(now), None);
        }
    }

    #[test]
    fn between_measurements_what_was_written_is_reckoned_with() {
        let (dir, now, fs) = (TestDir::new(), Instant::now(), Faulty::default());
        let limits = Limits { min_free: 0, max_total: 1000 };
        let guard = guard(&fs, dir.path().into(), dir.path().into(), limits, now);
        guard.look(|| now);
        guard.wrote(999);
        assert!(!guard.shared.is_guarded());
        guard.wrote(1);
        assert!(guard.shared.is_guarded() && guard.stats().refuses);
        assert_eq!(guard.stats().total_bytes, Some(1000));
        assert_eq!(guard.vigil(now), Some(INTERVAL));
        assert_eq!(guard.vigil(now + INTERVAL / 4), Some(INTERVAL * 3 / 4));
        // Who measures may hang.
        lock(&guard.state).is_claimed = true;
        assert_eq!(guard.vigil(now + INTERVAL / 4), Some(INTERVAL));
        lock(&guard.state).is_claimed = false;
        // In truth nothing is there.
        guard.look(|| now + INTERVAL);
        assert!(!guard.shared.is_guarded() && !guard.stats().refuses);
        assert_eq!(guard.stats().total_bytes, Some(0));

        let free = State {
            free: Gauge { found: Some(500), written: 70, next: None, error: None },
            total: Gauge::new(false, now),
            written: 70 + 399,
            is_claimed: false,
            refuses: false,
            measured_at: None,
            walk: None,
        };
        let beyond = |min_free| free.is_beyond(Limits { min_free, max_total: 0 });
        assert_eq!((beyond(100), beyond(101), beyond(102)), (false, true, true));
    }

    #[test]
    fn an_error_leaves_the_last_answer_and_is_told() {
        for refuses in [false, true] {
            let (dir, now, fs) = (TestDir::new(), Instant::now(), Faulty::default());
            put(dir.join(names(b"a\xff", 1).visible(crate::naming::Stamp(1), 0, 1)), 5000);
            let max_total = if refuses { 5000 } else { 1 << 30 };
            let limits = Limits { min_free: 1, max_total };
            let guard = guard(&fs, dir.path().into(), dir.path().into(), limits, now);
            guard.look(|| now);
            let before = guard.stats();
            assert_eq!(before.refuses, refuses);
            for (op, operation) in [
                (Op::List, "list"),
                (Op::Facts, "look up"),
                (Op::FreeBytes, "look for free space in"),
            ] {
                fs.plan(op, 1, Fault::Error(Errno::IO));
                let [later, at_last] = [now + INTERVAL, now + 2 * INTERVAL];
                lock(&guard.state).free.next = Some(later);
                lock(&guard.state).total.next = Some(later);
                guard.look(|| later);
                let stats = guard.stats();
                assert_eq!(stats.last_error.unwrap().operation(), operation);
                assert_eq!((stats.refuses, stats.total_bytes), (refuses, before.total_bytes));
                guard.look(|| at_last);
                assert!(guard.stats().last_error.is_none());
            }
        }
    }

    /// Each look at the clock costs a millisecond: 5 portions of files, 4 of which come to their end.
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
        let guard = guard(&fs, dir.path().into(), dir.path().into(), limits, now);
        for portion in 1..=4 {
            assert!(guard.look(clock), "{portion}");
            // Nothing is known before the end; what is written meanwhile counts on top of it.
            assert_eq!(guard.stats().total_bytes, None);
            guard.wrote(20);
        }
        assert!(!guard.look(clock));
        assert_eq!(guard.stats().total_bytes, Some(one + 80));
        assert_eq!((fs.calls(Op::List), fs.calls(Op::Facts)), (1, files as usize));
        let ended = guard.stats().measured_at.unwrap();
        let took = lock(&guard.state).total.next.unwrap() - ended;
        assert!(took > INTERVAL && took <= 50 * (ended - now), "{took:?} {:?}", ended - now);
        guard.wrote(20);
        assert!(guard.shared.is_guarded());
    }
}
