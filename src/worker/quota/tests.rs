//! Tests of the quota, with its insides.

use super::*;
use crate::base::sync::Barrier;
use crate::base::sys::Errno;
use crate::config::Retain;
use crate::fs::Fs;
use crate::tests::fs::faulty::{Answer, Faulty, Op};
use bufferedwriter_testkit::dir::TestDir;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
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

    let free = State {
        start: Gauge::new(false, now),
        limits: Limits::default(),
        free: Gauge { found: Some(500), written: 70, next: None, error: None },
        total: Gauge::new(false, now),
        written: 70 + 399,
        deleted: 0,
        deleted_before: 0,
        relief: Relief::Unasked,
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
        let quota = quota(&fs, dir.path().into(), dir.path().into(), limits, now);
        quota.look(|| now);
        let before = quota.stats().unwrap();
        assert_eq!(before.refuses, refuses);
        for (op, operation) in
            [(Op::List, "list"), (Op::Facts, "look up"), (Op::FreeBytes, "look for free space in")]
        {
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
        .map(|seq| put(dir.join(names(b"a\xff", 1).visible(crate::naming::Stamp(1), 0, seq)), 1))
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

#[test]
fn limits_may_change_and_end() {
    let (dir, now, fs) = (TestDir::new(), Instant::now(), Faulty::default());
    let limits = |min_free, max_total| Limits { min_free, max_total };
    let quota = quota(&fs, dir.path().into(), dir.path().into(), limits(0, 1000), now);
    let scope = || lock(&quota.scope).as_ref().clone();
    quota.look(|| now);
    quota.wrote(999);
    assert!(!quota.shared.is_over_quota());
    // What is known holds against the new limit at once.
    quota.set_limits(limits(0, 500), scope(), now);
    assert!(quota.shared.is_over_quota() && fs.calls(Op::List) == 1);
    quota.set_limits(limits(0, 2000), scope(), now);
    assert!(!quota.shared.is_over_quota());
    quota.set_limits(limits(0, 500), scope(), now);
    // Without limits nothing is refused, told or measured.
    quota.set_limits(limits(0, 0), scope(), now);
    assert!(!quota.shared.is_over_quota() && quota.stats().is_none());
    quota.look(|| now + INTERVAL * 100);
    assert_eq!((fs.calls(Op::List), fs.calls(Op::FreeBytes)), (1, 0));
    // Another limit is measured when it begins, even one that was being measured as it ended.
    quota.set_limits(limits(u64::MAX, 0), scope(), now);
    quota.look(|| now);
    assert!(quota.shared.is_over_quota() && fs.calls(Op::FreeBytes) == 1);
    lock(&quota.state).free.settle(Ok(0), 0, Some(now + INTERVAL));
    lock(&quota.state).free.want(0, now);
    assert!(lock(&quota.state).free_bytes().is_none());
}
