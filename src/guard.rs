//! The disk guard: when the disk has too little room, or the files of this prefix take too much, records
//! are refused.
//!
//! Guarantees: one worker at a time measures, with nothing locked, so that a measurement that hangs holds up
//! nobody else; between two measurements what this writer writes is reckoned with; while records are refused
//! somebody looks again. Refuses nothing because of an error: the last answer holds. Deletes nothing.
//!
//! Names in directories are parsed, never trusted; symbolic links are not followed.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::fs::Fs;
use crate::name;
use crate::shared::Shared;
use crate::stats::GuardStats;
use crate::sync::{Arc, Mutex, lock};

/// Between two measurements, at least.
const INTERVAL: Duration = Duration::from_secs(1);
/// A measurement of the files is followed by so many times its duration without one: 2 % of one worker's
/// time at most.
const REST_FACTOR: u32 = 50;

/// What is permitted, in bytes; zero = everything.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// What the file system must keep free.
    pub(crate) min_free: u64,
    /// What the files of this prefix may take.
    pub(crate) max_total: u64,
}

/// Where a writer's files are, and whose they are.
pub(crate) struct Scope {
    /// Of the options, so std's.
    pub(crate) fs: std::sync::Arc<dyn Fs>,
    pub(crate) path: PathBuf,
    pub(crate) temp: PathBuf,
    pub(crate) prefix: OsString,
    pub(crate) extension: OsString,
}

/// The guard of one writer.
pub(crate) struct Guard {
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

    fn settle(&mut self, result: Result<u64, Error>, written: u64) {
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

impl Guard {
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
        });
        (min_free > 0 || max_total > 0).then_some(Guard { limits, scope, shared, state })
    }

    /// Worker: measures if it is time to and nobody else does. Takes as long as the file system does.
    pub(crate) fn look(&self, clock: impl Fn() -> Instant) {
        let began = clock();
        let (free, total, written) = {
            let mut state = lock(&self.state);
            let due = (state.free.is_due(began), state.total.is_due(began));
            if state.is_claimed || due == (false, false) {
                return;
            }
            state.is_claimed = true;
            (due.0, due.1, state.written)
        };
        let free = free.then(|| self.scope.free_bytes());
        let total = total.then(|| self.scope.total_bytes());
        let now = clock();
        let took = now.saturating_duration_since(began);
        let mut state = lock(&self.state);
        state.is_claimed = false;
        if matches!((&free, &total), (Some(Ok(_)), _) | (_, Some(Ok(_)))) {
            state.measured_at = Some(now);
        }
        if let Some(result) = free {
            state.free.settle(result, written);
            state.free.next = now.checked_add(INTERVAL);
        }
        if let Some(result) = total {
            state.total.settle(result, written);
            state.total.next = now.checked_add(INTERVAL.max(took.saturating_mul(REST_FACTOR)));
        }
        self.judge(&mut state);
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

impl Scope {
    /// The directories; whether files are visible there.
    fn dirs(&self) -> impl Iterator<Item = (&PathBuf, bool)> {
        let temp = (self.temp != self.path).then_some((&self.temp, false));
        [(&self.path, true)].into_iter().chain(temp)
    }

    /// What this process may still take of the file system: as the directory says that has less.
    fn free_bytes(&self) -> Result<u64, Error> {
        let mut least = u64::MAX;
        for (dir, _) in self.dirs() {
            let free = self.fs.free_bytes(dir);
            least = least.min(free.map_err(|e| Error::io("look for free space in", dir, e))?);
        }
        Ok(least)
    }

    /// What all files of this prefix and extension take: visible ones of any instance, and temp files.
    fn total_bytes(&self) -> Result<u64, Error> {
        let (mut total, mut counted) = (0_u64, BTreeSet::new());
        for (dir, visible) in self.dirs() {
            let names = self.fs.list(dir).map_err(|e| Error::io("list", dir, e))?;
            for name in names {
                let parsed = name::parse(&name, &self.prefix, &self.extension);
                if parsed.is_none_or(|parsed| !parsed.temp && !visible) {
                    continue;
                }
                let path = dir.join(name);
                let facts = self.fs.facts(&path).map_err(|e| Error::io("look up", &path, e))?;
                // Published or removed meanwhile; or nothing that a writer makes.
                let Some(facts) = facts.filter(|facts| facts.is_file) else { continue };
                // A rename by link and unlink (see `RealFs`) leaves two names for a moment.
                if facts.links < 2 || counted.insert(facts.id) {
                    total = total.saturating_add(facts.allocated.max(facts.len));
                }
            }
        }
        Ok(total)
    }
}
#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::faulty::{Fault, Faulty, Op, TestDir};
    use crate::handle::Handle;
    use crate::sync::Barrier;
    use crate::worker::Rest;
    use rustix::io::Errno;
    use std::ffi::OsStr;
    use std::fs;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;

    fn names(prefix: &[u8], instance: u64) -> name::Names {
        let prefix = OsStr::from_bytes(prefix).to_owned();
        name::Names { prefix, extension: OsString::from("log"), instance, pid: 1 }
    }

    fn guard(fs: &Faulty, path: PathBuf, temp: PathBuf, limits: Limits, now: Instant) -> Guard {
        let prefix = OsStr::from_bytes(b"a\xff").to_owned();
        let fs = std::sync::Arc::new(fs.clone());
        let scope = Scope { fs, path, temp, prefix, extension: OsString::from("log") };
        let shared = Shared::new(4, 64, 1, Barrier::detect()).unwrap();
        Guard::new(limits, scope, Arc::new(shared), now).unwrap()
    }

    /// A file of so many bytes; what it takes.
    fn put(path: PathBuf, bytes: usize) -> u64 {
        fs::write(&path, vec![b'x'; bytes]).unwrap();
        let facts = crate::real_fs::RealFs.facts(&path).unwrap().unwrap();
        facts.allocated.max(facts.len)
    }

    #[test]
    fn what_counts_are_files_of_this_prefix_of_anybody() {
        let dir = TestDir::new();
        let (path, temp) = (dir.dir("path"), dir.dir("temp"));
        let (ours, longer) = (names(b"a\xff", 1), names(b"a\xffb", 1));
        let stamp = name::Stamp(1);
        let mut expected = put(path.join(ours.visible(stamp, 0, 1)), 100_000);
        expected += put(path.join(names(b"a\xff", 2).visible(stamp, 0, 1)), 10);
        expected += put(path.join(ours.temp(stamp, 0, 3)), 20_000);
        expected += put(temp.join(ours.temp(stamp, 0, 2)), 30_000);
        // Sparse: not what it takes, but what it may come to.
        let sparse = fs::File::create(path.join(ours.visible(stamp, 0, 9))).unwrap();
        sparse.set_len(1 << 30).unwrap();
        expected += 1 << 30;
        // One file under two names.
        let [from, to] = [5, 6].map(|seq| path.join(ours.visible(stamp, 0, seq)));
        expected += put(from.clone(), 40_000);
        fs::hard_link(from, to).unwrap();
        // None of these.
        put(path.join(longer.visible(stamp, 0, 1)), 1000);
        put(path.join(names(b"a", 1).visible(stamp, 0, 1)), 1000);
        put(path.join(names(b"", 1).visible(stamp, 0, 1)), 1000);
        put(path.join("a"), 1000);
        put(temp.join(ours.visible(stamp, 0, 7)), 1000);
        put(temp.join(ours.state()), 1000);
        symlink("/etc/passwd", path.join(ours.visible(stamp, 1, 1))).unwrap();
        fs::create_dir(path.join(ours.visible(stamp, 1, 2))).unwrap();

        let (faulty, now) = (Faulty::default(), Instant::now());
        let limits = Limits { min_free: 0, max_total: 1 };
        let found = guard(&faulty, path, temp, limits, now).scope.total_bytes().unwrap();
        assert_eq!(found, expected);
        assert_eq!(faulty.calls(Op::Open), 0);
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
        };
        let beyond = |min_free| free.is_beyond(Limits { min_free, max_total: 0 });
        assert_eq!((beyond(100), beyond(101), beyond(102)), (false, true, true));
    }

    #[test]
    fn an_error_leaves_the_last_answer_and_is_told() {
        for refuses in [false, true] {
            let (dir, now, fs) = (TestDir::new(), Instant::now(), Faulty::default());
            put(dir.join(names(b"a\xff", 1).visible(name::Stamp(1), 0, 1)), 5000);
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

    #[test]
    fn what_takes_long_is_done_seldom() {
        let (dir, now, fs) = (TestDir::new(), Instant::now(), Faulty::default());
        let limits = Limits { min_free: 1, max_total: 1 };
        let guard = guard(&fs, dir.path().into(), dir.path().into(), limits, now);
        let looks = std::cell::Cell::new(0);
        guard.look(|| now + Duration::from_millis(100) * looks.replace(looks.get() + 1));
        let state = lock(&guard.state);
        assert_eq!(state.free.next, Some(now + Duration::from_millis(1100)));
        assert_eq!(state.total.next, Some(now + Duration::from_millis(5100)));
    }

    /// A writer with workers that are stepped by hand.
    #[test]
    fn nobody_wakes_up_for_it_unless_records_are_refused() {
        let (dir, now, fs) = (TestDir::new(), Instant::now(), Faulty::default());
        let config = Config::default().path(dir.path()).temp(dir.path()).workers(2);
        let config = config.drop_timeout(Duration::ZERO).fs(std::sync::Arc::new(fs.clone()));
        let config = config.min_free(1).max_total(1000);
        let (handle, mut workers) = Handle::assemble(config, now).unwrap();
        let mut rests = |at| {
            [0, 1].map(|i: usize| {
                let rest = workers[i].step(|| at).unwrap();
                workers[i].rise(rest, || at);
                rest
            })
        };
        assert_eq!(rests(now + INTERVAL / 2), [Rest::Sleep(None); 2]);
        let path = dir.join(names(b"", 1).visible(name::Stamp(1), 0, 1));
        put(path.clone(), 1000);
        let hour = now + Duration::from_secs(3600);
        assert_eq!(rests(hour), [Rest::Sleep(Some(INTERVAL)); 2]);
        assert!(handle.shared.is_guarded());
        let rung = |i: usize| handle.shared.desks[i].bell.is_rung();
        assert!(rung(0) && rung(1), "all see to it that somebody looks again");
        let soon = hour + INTERVAL / 2;
        assert_eq!(rests(soon), [Rest::Sleep(Some(INTERVAL / 2)); 2]);
        fs::remove_file(path).unwrap();
        let lists = fs.calls(Op::List);
        assert_eq!(rests(hour + INTERVAL), [Rest::Sleep(None); 2]);
        assert_eq!(fs.calls(Op::List), lists + 1, "one of them looks");
        assert!(!handle.shared.is_guarded());
    }
}
