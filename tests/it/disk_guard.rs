//! Promise: beyond `min_free` and `max_total` records are refused with `DiskGuard`, at once and by whatever way
//! they come. That ends by itself, and what was accepted lands. A writer without limits pays nothing for it.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bufferedwriter::testing::Errno;
use bufferedwriter::{BufferedWriter, Config, Producer, WriteError};

use crate::support::{
    Answer, BOUND, Drops, Gate, Op, Tally, TestFs, WriterDir, close, record, stats, traces, until,
};

const CHUNK: usize = 4096;

/// A disk of which the test says what is free, and how often each was asked for.
struct Disk {
    free: AtomicU64,
    free_calls: AtomicU64,
    lists: AtomicU64,
    /// Measurements fail.
    is_sick: AtomicBool,
}

fn disk(free: u64) -> (Arc<Disk>, Arc<TestFs>) {
    let disk = Arc::new(Disk {
        free: AtomicU64::new(free),
        free_calls: AtomicU64::new(0),
        lists: AtomicU64::new(0),
        is_sick: AtomicBool::new(false),
    });
    let asked = disk.clone();
    let fs = TestFs::new(move |call| {
        let calls = match call.op {
            Op::FreeBytes => &asked.free_calls,
            Op::List => &asked.lists,
            _ => return Answer::Go,
        };
        calls.fetch_add(1, Ordering::SeqCst);
        match call.op {
            _ if asked.is_sick.load(Ordering::SeqCst) => Answer::Error(Errno::IO),
            Op::FreeBytes => Answer::Free(asked.free.load(Ordering::SeqCst)),
            _ => Answer::Go,
        }
    });
    (disk, fs)
}

/// Small chunks, files of some of them, everything through one worker; and nobody but the guard lists a
/// directory.
fn config(dir: &WriterDir) -> Config {
    let config = dir.config().size(CHUNK).queue_size(15).workers(1);
    config.file_size(4 * CHUNK as u64).recover(false)
}

/// One thread's records of one length, and how many were accepted.
struct Feed {
    own: Producer,
    producer: u32,
    accepted: u32,
    buffer: Vec<u8>,
}

impl Feed {
    fn new(writer: &BufferedWriter, producer: u32) -> Self {
        Feed { own: writer.producer(), producer, accepted: 0, buffer: Vec::new() }
    }

    /// Another one, which waits for memory.
    fn write(&mut self) -> Result<(), WriteError> {
        record(&mut self.buffer, self.producer, self.accepted, 512);
        let result = self.own.write_timeout(&self.buffer, BOUND);
        self.accepted += u32::from(result.is_ok());
        result
    }

    /// As many as there are until one is refused by the guard.
    fn until_refused(&mut self) {
        until("the guard refuses", || match self.write() {
            Ok(()) => false,
            Err(cause) => {
                assert_eq!(cause, WriteError::DiskGuard);
                true
            }
        });
    }
}

/// Bytes of all files of a directory, as the file system counts them.
fn taken(dir: &WriterDir) -> u64 {
    let files = dir.files().into_iter().map(|(_, file)| file).chain(dir.temps());
    let len = |file: &Path| std::fs::symlink_metadata(file).map_or(0, |found| found.len());
    let taken = |file: PathBuf| traces(&file).map_or(0, |found| found.allocated.max(len(&file)));
    files.map(taken).sum()
}

#[test]
fn free_space_trips_it_and_clears_it_without_any_help() {
    let dir = WriterDir::new();
    let (disk, fs) = disk(1 << 30);
    let writer = BufferedWriter::new(config(&dir).min_free(1 << 20).fs(fs)).unwrap();
    let mut feed = Feed::new(&writer, 1);
    for round in 1..=2 {
        feed.write().unwrap();
        disk.free.store(1 << 20, Ordering::SeqCst);
        feed.until_refused();
        let guard = stats(&writer).disk_guard.unwrap();
        assert!(guard.refuses && guard.free_bytes.unwrap() <= 1 << 20, "{guard:?}");
        assert!(guard.total_bytes.is_none() && guard.last_error.is_none(), "{guard:?}");
        assert!(guard.measured_at.is_some_and(|at| at.elapsed() < BOUND));
        // What was in the buffer need not wait for another record.
        until("it is in a file", || {
            let now = stats(&writer);
            now.memory_bytes == 0
        });
        // No record comes, and still somebody looks.
        disk.free.store(1 << 30, Ordering::SeqCst);
        until("it clears", || !stats(&writer).disk_guard.unwrap().refuses);
        assert_eq!(stats(&writer).refused.disk_guard.records, round);
    }
    feed.write().unwrap();
    let accepted = feed.accepted;
    drop(feed);
    let report = close(&writer);
    assert_eq!(report.refused.total(), report.refused.disk_guard);
    assert_eq!(report.refused.disk_guard.bytes, 2 * 512);
    assert_eq!(disk.lists.load(Ordering::SeqCst), 0);
    Tally::of(&dir).assert_ranges(&[(1, accepted)]);
    dir.assert_clean();
}

/// A fast writer between two measurements, too: what is over the limit is what memory holds.
#[test]
fn the_total_is_kept_and_a_shipper_lets_it_go_on() {
    let dir = WriterDir::new();
    let max_total = 1 << 20;
    let (_, fs) = disk(1 << 30);
    let config = config(&dir).max_total(max_total).fs(fs);
    let writer = BufferedWriter::new(config).unwrap();
    let (mut feed, mut shipped, mut refused) = (Feed::new(&writer, 1), Tally::across_files(), 0);
    for _ in 0..3 {
        feed.until_refused();
        refused += 1;
        writer.flush(BOUND).unwrap();
        let memory = 16 * CHUNK as u64;
        // Each file may take a block more than its length, until the next measurement.
        let blocks = dir.files().len() as u64 * 4096;
        let taken = taken(&dir);
        assert!(taken > max_total - 3 * CHUNK as u64, "{taken}");
        assert!(taken <= max_total + memory + blocks, "{taken}");
        let total = stats(&writer).disk_guard.unwrap().total_bytes.unwrap();
        assert!(total >= max_total, "{total}");
        assert_eq!(feed.write(), Err(WriteError::DiskGuard));
        refused += 1;
        shipped.consume(&dir);
        // A measurement may have come while files went, and have counted some of them.
        until("it clears, and knows that all are gone", || {
            let guard = stats(&writer).disk_guard.unwrap();
            !guard.refuses && guard.total_bytes.is_some_and(|total| total < max_total / 2)
        });
    }
    let accepted = feed.accepted;
    drop(feed);
    let report = close(&writer);
    assert_eq!(report.refused.disk_guard.records, refused);
    shipped.consume(&dir);
    shipped.assert_ranges(&[(1, accepted)]);
    dir.assert_clean();
}

/// `new` succeeds; but not a byte is accepted, whatever the way, until there is room.
#[test]
fn what_is_full_from_the_start_takes_nothing_by_any_way() {
    let dir = WriterDir::new();
    let (disk, fs) = disk(100);
    let writer = BufferedWriter::new(config(&dir).min_free(100).fs(fs)).unwrap();
    let mut own = writer.producer();
    let began = Instant::now();
    for bytes in [&[b'x'; 10][..], &[b'x'; CHUNK], &[b'x'; 3 * CHUNK]] {
        assert_eq!(own.write(bytes), Err(WriteError::DiskGuard));
        assert_eq!(writer.write(bytes), Err(WriteError::DiskGuard));
        assert_eq!(own.write_timeout(bytes, Duration::MAX), Err(WriteError::DiskGuard));
        let drops = Drops::leaked();
        let back = own.send(drops.message(bytes)).unwrap_err();
        assert_eq!(back.kind(), WriteError::DiskGuard);
        assert_eq!((back.into_inner().as_ref(), drops.dropped()), (bytes, 0));
    }
    let not_called = writer.record(|_| panic!("the formatter is called"));
    assert_eq!(not_called, Err(WriteError::DiskGuard));
    // It never fits, whatever the disk has.
    assert_eq!(own.write(&[0; 17 * CHUNK]), Err(WriteError::TooLarge));
    assert!(began.elapsed() < BOUND, "somebody waited");
    own.write(b"").unwrap();
    let now = stats(&writer);
    let bytes = 4 * (10 + CHUNK + 3 * CHUNK) as u64;
    assert_eq!((now.refused.disk_guard.records, now.refused.disk_guard.bytes), (13, bytes));
    assert_eq!((now.refused.too_large.records, now.refused.full.records), (1, 0));
    assert!(now.accepted.is_zero() && now.memory_bytes == 0, "{now:?}");
    disk.free.store(101, Ordering::SeqCst);
    until("it clears", || !stats(&writer).disk_guard.unwrap().refuses);
    let mut buffer = Vec::new();
    record(&mut buffer, 3, 0, 3 * CHUNK);
    own.write_timeout(&buffer, BOUND).unwrap();
    drop(own);
    close(&writer);
    Tally::of(&dir).assert_ranges(&[(3, 1)]);
    dir.assert_clean();
}

/// A formatter that runs when the flag goes up is told by the next chunk that it needs.
#[test]
fn a_record_that_outgrows_its_buffer_is_refused_as_a_whole() {
    // To another buffer, to several; to several, of which the one that it has is the first.
    for (before, parts) in [(true, 7), (true, 40), (false, 40)] {
        let dir = WriterDir::new();
        let (disk, fs) = disk(1 << 30);
        let writer = BufferedWriter::new(config(&dir).min_free(1 << 20).fs(fs)).unwrap();
        let (mut one, mut other) = (Feed::new(&writer, 1), Feed::new(&writer, 2));
        if before {
            one.write().unwrap();
        }
        let result = one.own.record(|w| {
            w.write_bytes(&[b'x'; 512])?;
            disk.free.store(0, Ordering::SeqCst);
            other.until_refused();
            (0..parts).try_for_each(|_| w.write_bytes(&[b'x'; 512]))
        });
        assert_eq!(result, Err(WriteError::DiskGuard));
        if before {
            // Its buffer has gone to the worker: nothing fits any more.
            assert_eq!(one.write(), Err(WriteError::DiskGuard));
        }
        writer.flush(BOUND).unwrap();
        disk.free.store(1 << 30, Ordering::SeqCst);
        until("it clears", || !stats(&writer).disk_guard.unwrap().refuses);
        one.write().unwrap();
        let expected = [(1, one.accepted), (2, other.accepted)];
        drop((one, other));
        close(&writer);
        Tally::of(&dir).assert_ranges(&expected);
        dir.assert_clean();
    }
}

/// Who waits for memory when the flag goes up hears of it at once.
#[test]
fn who_waits_for_memory_is_told() {
    let dir = WriterDir::new();
    let (gate, pass) = Gate::open();
    let free = Arc::new(AtomicU64::new(1 << 30));
    let now_free = free.clone();
    let fs = TestFs::new(move |call| match call.op {
        Op::FreeBytes => Answer::Free(now_free.load(Ordering::SeqCst)),
        Op::Write if call.worker() == Some(0) => {
            pass.through();
            Answer::Go
        }
        _ => Answer::Go,
    });
    let config = config(&dir).queue_size(0).workers(2).min_free(1 << 20).fs(fs);
    let writer = BufferedWriter::new(config).unwrap();
    gate.set_shut(true);
    let mut buffer = Vec::new();
    record(&mut buffer, 0, 0, 2 * CHUNK);
    writer.write(&buffer).unwrap();
    until("the worker hangs", || gate.waiting() == 1);
    assert_eq!(writer.write(b"x"), Err(WriteError::Full));
    free.store(0, Ordering::SeqCst);
    let waited = std::thread::scope(|scope| {
        let waiter = scope.spawn(|| writer.write_timeout(b"x", Duration::MAX));
        until("it is told", || {
            // What wakes the other worker, which looks at the disk then.
            let _ = writer.flush(Duration::from_millis(1));
            waiter.is_finished()
        });
        waiter.join().unwrap()
    });
    assert_eq!(waited, Err(WriteError::DiskGuard));
    gate.set_shut(false);
    close(&writer);
    Tally::of(&dir).assert_ranges(&[(0, 1)]);
}

#[test]
fn an_error_refuses_nothing_and_is_told() {
    let dir = WriterDir::new();
    let (disk, fs) = disk(1 << 30);
    disk.is_sick.store(true, Ordering::SeqCst);
    let config = config(&dir).min_free(1 << 20).max_total(1 << 30).fs(fs);
    let writer = BufferedWriter::new(config).unwrap();
    let guard = stats(&writer).disk_guard.unwrap();
    assert_eq!(guard.last_error.unwrap().path(), Some(&*dir.path));
    assert!(!guard.refuses && guard.measured_at.is_none());
    let mut feed = Feed::new(&writer, 1);
    feed.write().unwrap();
    disk.is_sick.store(false, Ordering::SeqCst);
    until("the error is gone", || {
        feed.write().unwrap();
        stats(&writer).disk_guard.unwrap().last_error.is_none()
    });
    let accepted = feed.accepted;
    drop(feed);
    close(&writer);
    Tally::of(&dir).assert_ranges(&[(1, accepted)]);
    dir.assert_clean();
}

/// The others land everything meanwhile, and the hung one catches up.
#[test]
fn a_measurement_that_hangs_holds_up_its_worker_only() {
    let dir = WriterDir::new();
    let (gate, pass) = Gate::open();
    let fs = TestFs::new(move |call| {
        if call.op == Op::List {
            pass.through();
        }
        Answer::Go
    });
    let config = config(&dir).queue_size(60).workers(4).max_total(1 << 40).fs(fs);
    let writer = BufferedWriter::new(config).unwrap();
    let mut feed = Feed::new(&writer, 1);
    gate.set_shut(true);
    until("a worker measures", || {
        feed.write().unwrap();
        gate.waiting() == 1
    });
    // Twenty times what one worker may hold, while it hangs; it hangs until all the others have landed.
    let before = stats(&writer).written.bytes;
    until("the others land it", || {
        feed.write().unwrap();
        stats(&writer).written.bytes - before > 20 * 16 * CHUNK as u64
    });
    assert_eq!(gate.waiting(), 1, "one measures at a time");
    gate.set_shut(false);
    let accepted = feed.accepted;
    drop(feed);
    let report = close(&writer);
    assert!(report.refused.total().is_zero(), "{report:?}");
    Tally::of(&dir).assert_ranges(&[(1, accepted)]);
    dir.assert_clean();
}

#[test]
fn without_limits_nothing_is_measured_and_with_them_once_a_second() {
    // `path` and `temp` each time.
    for (min_free, max_total, op) in
        [(0, 0, None), (1, 0, Some(Op::FreeBytes)), (0, 1 << 40, Some(Op::List))]
    {
        let dir = WriterDir::new();
        let measured: Arc<Mutex<Vec<(Op, Instant)>>> = Arc::default();
        let note = measured.clone();
        let fs = TestFs::new(move |call| {
            if matches!(call.op, Op::FreeBytes | Op::List) {
                note.lock().unwrap().push((call.op, Instant::now()));
            }
            Answer::Go
        });
        let began = Instant::now();
        let config = config(&dir).min_free(min_free).max_total(max_total).fs(fs);
        let writer = BufferedWriter::new(config).unwrap();
        let mut feed = Feed::new(&writer, 1);
        until("it is measured again, or a second has passed", || {
            feed.write().unwrap();
            let calls = measured.lock().unwrap().len();
            if op.is_some() { calls >= 6 } else { began.elapsed() > Duration::from_secs(1) }
        });
        assert_eq!(stats(&writer).disk_guard.is_some(), min_free + max_total > 0);
        let accepted = feed.accepted;
        drop(feed);
        close(&writer);
        let measured = measured.lock().unwrap();
        assert!(measured.iter().all(|&(which, _)| Some(which) == op), "{measured:?}");
        // However slow the machine is, the next one comes a second after the start or the last one's end.
        for nth in (2..measured.len()).step_by(2) {
            let before = if nth == 2 { began } else { measured[nth - 1].1 };
            let rest = measured[nth].1 - before;
            assert!(rest >= Duration::from_secs(1), "{rest:?} before call {nth}");
        }
        Tally::of(&dir).assert_ranges(&[(1, accepted)]);
    }
}

/// Each sees what all have written; "a" and "ab" are strangers.
#[test]
fn writers_of_one_prefix_share_the_total() {
    let dir = WriterDir::new();
    let start = |prefix: &str| {
        let config = config(&dir).prefix(prefix).max_total(64 << 10);
        BufferedWriter::new(config).unwrap()
    };
    let (one, stranger) = (start("a"), start("ab"));
    let mut feed = Feed::new(&one, 1);
    feed.until_refused();
    one.flush(BOUND).unwrap();
    assert_eq!(start("a").write(b"x"), Err(WriteError::DiskGuard));
    stranger.write(b"x").unwrap();
    assert_eq!(start("").write(b"x"), Ok(()));
    drop(feed);
    for writer in [one, stranger] {
        close(&writer);
    }
}
