//! The counters in a state file: their bytes, what a reader makes of hostile ones, and reads beside a writer.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bufferedwriter_testkit::dir::TestDir;
use bufferedwriter_testkit::os::{makes_links, removes_open_files, symlink};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::base::checksum::fnv1a;
use crate::base::sync::Arc;
use crate::base::sys::Errno;
use crate::file::observe::stats_of;
use crate::file::state_file::counters::{self, Counters, Times, slot_bytes};
use crate::file::state_file::decode;
use crate::file::state_file::format::{FileLayout, Header};
use crate::file::state_file::live::StateFile;
use crate::file::state_file::slot_writer::SlotWriter;
use crate::fs::Fs;
use crate::fs::real::RealFs;
use crate::naming::Stamp;
use crate::report::error::Error;
use crate::report::health::{Health, Stall};
use crate::report::published::{HookStall, ManifestStall};
use crate::report::stats::{
    Count, GuardStats, Lost, Missing, PublishStats, Refused, RetentionStats, Stats, WorkerStats,
};
use crate::tests::fs::faulty::{Answer, Faulty, Op};
use crate::tests::recovery::images::names;

const SECOND: Duration = Duration::from_secs(1);
const TIMES: Times =
    Times { started: Stamp(0x0102_0304), refreshed: Stamp(0x0506_0708), uptime: SECOND };

fn header(path: &Path, workers: usize) -> Header {
    let (path, names, layout) = (path.to_owned(), names(), FileLayout::default());
    let slot_bytes = slot_bytes(workers);
    Header { path, memory: None, names, codec: 0, layout, workers, slot_bytes }
}

fn failed(path: &str) -> Error {
    Error::io("write", path.as_ref(), Errno::NOSPC.into())
}

/// Each number is another one, and everything is there.
fn full(start: Instant) -> (Stats, Health) {
    let mut next = 0;
    let mut number = || {
        next += 1;
        next
    };
    let mut count = || Count::new(number(), number());
    let [accepted, written, pending] = std::array::from_fn(|_| count());
    let [shutdown, temp_file_removed, temp_file_damaged, gave_up] =
        std::array::from_fn(|_| count());
    let [full, too_large, closed, disk_guard, format, out_of_memory] =
        std::array::from_fn(|_| count());
    let worker = |n: u64| WorkerStats {
        backlog_chunks: 100 + n as usize,
        temp_file_bytes: 200 + n,
        temp_file: (n == 0).then(Default::default),
        temp_file_is_direct: n == 0,
        codec_time: Duration::from_nanos(300 + n),
        last_error: (n == 1).then(|| failed("/a")),
    };
    let stats = Stats {
        accepted,
        written,
        pending,
        lost: Lost { shutdown, temp_file_removed, temp_file_damaged, gave_up },
        overwritten: Count::new(47, 48),
        refused: Refused { full, too_large, closed, disk_guard, format, out_of_memory },
        files: 27,
        files_bytes: 28,
        memory_bytes: 29,
        memory_bound_bytes: 30,
        temp_dir: Default::default(),
        workers: vec![worker(0), worker(1)],
        disk_guard: Some(GuardStats {
            refuses: true,
            free_bytes: Some(31),
            total_bytes: None,
            measured_at: Some(start + SECOND / 2),
            last_error: Some(failed("/guard")),
        }),
        missing: Missing { locks: false, permissions: true },
        publishing: Some(PublishStats {
            listed: 32,
            unlisted: 33,
            acknowledged: 34,
            gone: 35,
            unacknowledged: 36,
        }),
        retention: Some(RetentionStats {
            files_deleted: 37,
            bytes_deleted: 38,
            held_by: Some("/held".into()),
            last_error: Some(failed("/old")),
        }),
        latest_error: Some(failed("/latest")),
    };
    let since = start + SECOND / 4;
    let lasting = SECOND * 3 / 4;
    let held_in_file = Count::new(41, 42);
    let stalls = vec![Stall {
        worker: 1,
        error: failed("/a"),
        since,
        lasting,
        attempts: 43,
        held_chunks: 101,
        held_in_file,
    }];
    let (manifest, file) =
        (ManifestStall { error: failed("/manifest"), since, attempts: 44 }, "/f".into());
    let hook =
        HookStall { file, error: "no".into(), since, lasting, attempts: 45, unacknowledged: 46 };
    (stats, Health { stalls, manifest: Some(manifest), hook: Some(hook) })
}

fn read(slots: &[u8], now: Instant) -> Option<Counters> {
    counters::newest(slots, slot_bytes(2), 2, (now, TIMES.refreshed))
}

#[test]
fn what_was_told_is_read_as_it_was() {
    let start = Instant::now();
    let (stats, health) = full(start);
    let slot = counters::slot(1, TIMES, &counters::body(&stats, &health, start));
    let told = read(&slot, start + SECOND).unwrap();
    assert_eq!(told.times, TIMES);
    assert_eq!(format!("{:?}", told.stats), format!("{stats:?}"));
    assert_eq!(format!("{:?}", told.health), format!("{health:?}"));
    // A reader that comes later knows how long a stall has lasted by then.
    let later = Stamp(TIMES.refreshed.0 + 5_000_000_000);
    let told = counters::newest(&slot, slot_bytes(2), 2, (start + SECOND * 6, later)).unwrap();
    assert_eq!(told.health.stalls[0].lasting, SECOND * 23 / 4);
    assert_eq!(told.health.stalls[0].since, start + SECOND / 4);

    let (stats, health) =
        (Stats { workers: vec![WorkerStats::default(); 2], ..Stats::default() }, Health::default());
    let slot = counters::slot(1, TIMES, &counters::body(&stats, &health, start));
    let told = read(&slot, start).unwrap();
    assert_eq!(format!("{:?}", (told.stats, told.health)), format!("{:?}", (stats, health)));
}

#[test]
fn texts_are_cut_at_a_character_and_left_out_without_room() {
    let start = Instant::now();
    let (mut stats, mut health) = full(start);
    let long = "ü".repeat(400);
    stats.latest_error = Some(Error::told(long.clone()));
    health.hook.as_mut().unwrap().error = format!("x{long}");
    health.manifest.as_mut().unwrap().error = Error::told(long.clone());
    health.stalls[0].error = Error::told(long.clone());
    let slot = counters::slot(1, TIMES, &counters::body(&stats, &health, start));
    assert_eq!(slot.len(), slot_bytes(2));
    let told = read(&slot, start + SECOND).unwrap();
    let cut = "ü".repeat(120);
    assert_eq!(told.health.manifest.unwrap().error.to_string(), cut);
    assert_eq!(told.health.hook.unwrap().error, format!("x{}", "ü".repeat(119)));
    assert_eq!(told.health.stalls[0].error.to_string(), cut);
    assert_eq!(told.stats.latest_error.unwrap().to_string(), "an error");
}

#[test]
fn the_bytes_are_these() {
    let start = Instant::now();
    let (stats, health) = full(start);
    let slot = counters::slot(7, TIMES, &counters::body(&stats, &health, start));
    assert_eq!(slot.len(), 512 + 2 * 64 + 1024);
    let number = |at: usize| u64::from_le_bytes(slot[at..at + 8].try_into().unwrap());
    assert_eq!([0, 8, 16, 24].map(number), [7, 0x0102_0304, 0x0506_0708, 1_000_000_000]);
    // Accepted to refused, files, memory, flags.
    let counts: Vec<u64> = (0..30).map(|n| number(32 + 8 * n)).collect();
    assert_eq!(counts, (1..=30).collect::<Vec<u64>>());
    assert_eq!([272, 280, 288, 296, 304].map(number), [2, 0b01111, 31, 0, 500_000_000]);
    assert_eq!([312, 320, 328, 336, 344, 352].map(number), [1, 32, 33, 34, 35, 36]);
    assert_eq!([360, 368, 376, 384].map(number), [0b111, 37, 38, 1]);
    assert_eq!([392, 400, 408, 416, 424].map(number), [250_000_000, 44, 250_000_000, 45, 46]);
    assert_eq!([432, 440].map(number), [47, 48]);
    assert!(slot[448..512].iter().all(|&byte| byte == 0));
    let row = |at: usize| -> Vec<u64> { (0..8).map(|n| number(at + 8 * n)).collect() };
    assert_eq!(row(512), [0b11, 100, 200, 300, 0, 0, 0, 0]);
    assert_eq!(row(576), [0b100, 101, 201, 301, 250_000_000, 43, 41, 42]);
    let error = std::io::Error::from(Errno::NOSPC);
    let text = [&b"\xe8\x03\x2f\0"[..], format!("write /guard: {error}").as_bytes()].concat();
    assert_eq!(slot[640..640 + text.len() - 4 + 4].len(), text.len());
    assert_eq!(&slot[642..644], &[(text.len() - 4) as u8, 0]);
    assert_eq!(&slot[644..640 + text.len()], &text[4..]);
    assert_eq!(number(slot.len() - 8), fnv1a(&slot[..slot.len() - 8]));
}

#[test]
fn a_torn_slot_counts_for_nothing_and_the_other_one_for_all() {
    let start = Instant::now();
    let (stats, health) = full(start);
    let body = counters::body(&stats, &health, start);
    let told = |generation: u64| {
        let started = Stamp(generation);
        counters::slot(generation, Times { started, ..TIMES }, &body)
    };
    let by = |slots: &[u8]| read(slots, start).map(|told| told.times.started.0);
    assert_eq!(by(&[told(4), told(3)].concat()), Some(4));
    assert_eq!(by(&[told(4), told(5)].concat()), Some(5));
    assert_eq!(by(&[told(1), vec![0; slot_bytes(2)]].concat()), Some(1));
    assert_eq!(by(&vec![0; 2 * slot_bytes(2)]), None);
    let (old, new) = (told(4), told(6));
    // Any beginning of the new one over the old one.
    for at in 0..new.len() {
        let torn = [&new[..at], &old[at..]].concat();
        if torn != old && torn != new {
            assert_eq!(by(&[torn, told(5)].concat()), Some(5), "{at}");
        }
    }
}

#[test]
fn hostile_slots_neither_panic_nor_overflow() {
    let start = Instant::now();
    let (stats, health) = full(start);
    let good = counters::slot(1, TIMES, &counters::body(&stats, &health, start));
    let change = (any::<prop::sample::Index>(), prop::collection::vec(any::<u8>(), 1..12));
    let cases = (prop::collection::vec(change, 1..20), 0..4_usize, 0..=3_usize);
    let config = Config { cases: 2000, failure_persistence: None, ..Config::default() };
    let run = TestRunner::new(config).run(&cases, |(changes, workers, cut)| {
        let mut slot = good.clone();
        slot.truncate(good.len() - 64 * cut);
        for (at, bytes) in changes {
            let at = at.index(slot.len());
            let end = slot.len().min(at + bytes.len());
            slot[at..end].copy_from_slice(&bytes[..end - at]);
        }
        let body = slot.len() - 8;
        let sum = fnv1a(&slot[..body]);
        slot[body..].copy_from_slice(&sum.to_le_bytes());
        let slots = [slot.clone(), slot.clone()].concat();
        if let Some(told) = counters::newest(&slots, slot.len(), workers, (start, Stamp(9))) {
            let Stats { accepted, written, pending, lost, overwritten, refused, .. } = told.stats;
            let sum = accepted + written + pending + lost.total() + overwritten + refused.total();
            prop_assert!(sum.records < u64::MAX && told.stats.workers.len() == workers);
            let chunks: usize = told.stats.workers.iter().map(|worker| worker.backlog_chunks).sum();
            prop_assert!(chunks < usize::MAX);
            let _ = format!("{:?}", told.health);
        }
        Ok(())
    });
    run.unwrap();
}

/// Tells 0, 1, 2, ... as all numbers at once, as fast as it can, beside readers.
#[test]
fn a_reader_beside_a_writer_gets_numbers_of_one_moment() {
    let dir = TestDir::new();
    let state = Arc::new(StateFile::create(&RealFs, dir.path(), header(dir.path(), 2)).unwrap());
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (mut slots, start) = (SlotWriter::new(state.clone()), Instant::now());
            for n in (0..).take_while(|_| !over.load(Ordering::Relaxed)) {
                let count = Count::new(n, n);
                let worker = WorkerStats { temp_file_bytes: n, ..WorkerStats::default() };
                let workers = vec![worker; 2];
                let (accepted, written) = (count, count);
                let stats = Stats { accepted, written, files: n, workers, ..Stats::default() };
                slots.refresh(TIMES, counters::body(&stats, &Health::default(), start));
            }
        });
        let mut last = 0;
        for _ in 0..3000 {
            let found = stats_of(dir.path()).unwrap();
            assert_eq!((found.len(), found[0].is_alive), (1, true));
            let stats = &found[0].last_refresh.as_ref().expect("one of the slots is whole").stats;
            let n = stats.files;
            assert_eq!((stats.accepted, stats.written), (Count::new(n, n), Count::new(n, n)));
            assert!(stats.workers.iter().all(|worker| worker.temp_file_bytes == n));
            assert!(n >= last, "{n} after {last}");
            last = n;
        }
        over.store(true, Ordering::Relaxed);
        assert!(last > 0);
    });
}

#[test]
fn what_has_not_changed_is_not_written_and_what_failed_is_told_again() {
    if !removes_open_files() {
        return;
    }
    let (fs, dir) = (Faulty::default(), TestDir::new());
    let state = Arc::new(StateFile::create(&fs, dir.path(), header(dir.path(), 1)).unwrap());
    let mut slots = SlotWriter::new(state.clone());
    let files =
        || stats_of(dir.path()).unwrap()[0].last_refresh.as_ref().map(|told| told.stats.files);
    let body = |files| {
        let stats = Stats { files, workers: vec![WorkerStats::default()], ..Stats::default() };
        counters::body(&stats, &Health::default(), Instant::now())
    };
    assert_eq!(files(), Some(0), "before anything is counted");
    let made = fs.calls(Op::Write);
    assert!(slots.refresh(TIMES, body(1)) && !slots.refresh(TIMES, body(1)));
    assert_eq!((fs.calls(Op::Write) - made, files()), (1, Some(1)));
    // A part of a slot is written over, and the other one stays.
    fs.plan(Op::Write, 1, Answer::Short(100));
    fs.plan(Op::Write, 2, Answer::Error(Errno::IO));
    assert!(slots.refresh(TIMES, body(2)));
    assert_eq!(files(), Some(1));
    assert!(slots.refresh(TIMES, body(2)));
    assert_eq!(files(), Some(2));
    // A file that takes its place.
    std::fs::remove_file(dir.join(names().state())).unwrap();
    crate::file::state_file::worker_state::WorkerState::all(&state).unwrap()[0].restore(&fs);
    assert_eq!(files(), Some(0));
    assert!(slots.refresh(TIMES, body(2)));
    assert_eq!(files(), Some(2));
}

#[test]
fn without_a_state_file_nothing_is_told_until_it_is_made() {
    let dir = TestDir::new();
    let state = Arc::new(StateFile::none(dir.path(), header(dir.path(), 1)));
    let mut slots = SlotWriter::new(state.clone());
    let stats = Stats { files: 3, workers: vec![WorkerStats::default()], ..Stats::default() };
    let body = counters::body(&stats, &Health::default(), Instant::now());
    slots.refresh(TIMES, body.clone());
    assert!(stats_of(dir.path()).unwrap().is_empty());
    state.make(&RealFs).unwrap();
    slots.refresh(TIMES, body);
    assert_eq!(stats_of(dir.path()).unwrap()[0].last_refresh.as_ref().unwrap().stats.files, 3);
}

#[test]
fn a_state_file_with_counters_is_recovered_as_one_without() {
    let dir = TestDir::new();
    let state = StateFile::create(&RealFs, dir.path(), header(dir.path(), 2)).unwrap();
    let bytes = std::fs::read(dir.join(names().state())).unwrap();
    let decoded = decode::read(&bytes).unwrap();
    assert_eq!((decoded.header.slot_bytes, decoded.entries.len()), (slot_bytes(2), 2));
    // Of the version before, whose length of a slot was not there yet.
    let mut old = bytes[..16_384 + 2 * 128].to_vec();
    old[8] = 3;
    old[68..72].fill(0);
    let sum = fnv1a(&old[..16_376]);
    old[16_376..16_384].copy_from_slice(&sum.to_le_bytes());
    let read = decode::read(&old).unwrap();
    assert_eq!((read.header.slot_bytes, read.entries), (0, decoded.entries));
    std::fs::write(dir.join(names().state()), old).unwrap();
    let found = stats_of(dir.path()).unwrap();
    assert!(found[0].last_refresh.is_none() && found[0].pid == names().pid);
    for len in [bytes.len() - 1, 16_384 + 2 * 128] {
        assert_eq!(decode::read(&bytes[..len]), Err(decode::Unreadable::Short));
    }
    drop(state);
}

#[test]
fn the_living_are_told_from_the_dead_and_what_is_none_is_passed_over() {
    let dir = TestDir::new();
    let state = StateFile::create(&RealFs, dir.path(), header("/srv/out".as_ref(), 1)).unwrap();
    let name = names().state();
    let other = dir.dir("other");
    std::fs::copy(dir.join(&name), other.join(&name)).unwrap();
    std::fs::write(dir.join(".p0000000000000001-1.state"), "hostile").unwrap();
    std::fs::copy(dir.join(&name), dir.join(".p0000000000000002-1.state")).unwrap();
    std::fs::create_dir(dir.join(".p0000000000000003-1.state")).unwrap();
    if makes_links() {
        symlink(dir.join(&name), dir.join(".p0000000000000004-1.state")).unwrap();
    }
    let found = stats_of(dir.path()).unwrap();
    assert_eq!(found.len(), 1);
    let (it, names) = (&found[0], names());
    assert!(it.is_alive && it.path == Path::new("/srv/out") && it.state_file == dir.join(&name));
    assert_eq!((&it.prefix, &it.extension), (&names.prefix, &names.extension));
    assert_eq!((it.instance, it.pid), (names.instance, names.pid));
    assert!(!stats_of(&other).unwrap()[0].is_alive);
    drop(state);
    assert!(!stats_of(dir.path()).unwrap()[0].is_alive);
    let error = stats_of(dir.join("none")).unwrap_err();
    assert_eq!((error.operation(), error.path()), ("list", Some(&*dir.join("none"))));
    // The lock was let go: a recovery can have it.
    RealFs.open(&dir.join(&name)).unwrap().try_lock().unwrap();
}
