//! Promise: a flight recorder keeps the newest records in memory, refuses none for want of memory, and
//! makes no file before it is asked. A dump publishes each record that is in memory once, in each
//! producer's order, while others write. One that fails loses nothing. What is written over counts.

use std::collections::BTreeMap;
use std::fs;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::thread;
use std::time::Duration;

use bufferedwriter::testing::Errno;
use bufferedwriter::{
    BufferedWriter, Config, Count, DumpError, DumpOptions, Dumped, Durability, Recorder, WriteError,
};

use crate::support::{
    Answer, BOUND, Op, SetAtEnd, Tally, TestFs, WriterDir, hangs_at, poll, record, stats, until,
};

const SIZE: usize = 256;
const KEPT: usize = 16;
/// With the worker's chunk, 32.
const RESERVE: usize = 31;

fn small(dir: &WriterDir) -> Config {
    dir.config().size(SIZE).recorder(Recorder::Last(KEPT * SIZE)).queue_size(RESERVE)
}

fn all() -> DumpOptions {
    DumpOptions::default().timeout(BOUND)
}

/// Records of 64 bytes, from this number on.
fn write(writer: &BufferedWriter, producer: u32, seqs: std::ops::Range<u32>) {
    let mut buffer = Vec::new();
    for seq in seqs {
        record(&mut buffer, producer, seq, 64);
        assert_eq!(writer.write(&buffer), Ok(()), "{seq}: {:?}", stats(writer));
    }
}

/// The numbers of a producer's records in the visible files, file by file.
fn found(dir: &WriterDir, producer: u32) -> Vec<u32> {
    let mut tally = Tally::across_files();
    tally.look(dir);
    let ids = tally.found.ids().filter(|id| id.producer == producer);
    ids.map(|id| id.seq as u32).collect()
}

#[test]
fn the_newest_records_are_dumped_and_the_others_are_counted() {
    let dir = WriterDir::new();
    let writer = BufferedWriter::new(small(&dir)).unwrap();
    write(&writer, 1, 0..1000);
    assert!(dir.files().is_empty() && dir.temps().is_empty(), "nothing was asked");
    let before = stats(&writer);
    assert_eq!(before.accepted.records, before.pending.records + before.overwritten.records);
    // Four fit a chunk.
    assert_eq!(before.pending.records, 4 * KEPT as u64);
    let dumped = writer.dump(all()).unwrap();
    assert_eq!((dumped.records, dumped.files), (before.pending, 1));
    assert_eq!(found(&dir, 1), (1000 - 4 * KEPT as u32..1000).collect::<Vec<_>>());
    let after = stats(&writer);
    assert_eq!((after.written, after.pending), (before.pending, Count::default()));
    assert_eq!(writer.dump(all()).unwrap().files, 0, "each record once");
    write(&writer, 1, 1000..1010);
    let report = writer.close(BOUND).unwrap();
    assert_eq!(report.overwritten.records, 1000 - 4 * KEPT as u64 + 10);
    assert_eq!(report.accepted.records, report.written.records + report.overwritten.records);
    dir.assert_clean();
}

#[test]
fn what_is_kept_is_dumped_again_and_counts_as_pending() {
    let dir = WriterDir::new();
    let writer = BufferedWriter::new(small(&dir).dump_on_close(true)).unwrap();
    write(&writer, 1, 0..6);
    for _ in 0..2 {
        let dumped = writer.dump(all().keep(true)).unwrap();
        assert_eq!((dumped.records.records, dumped.files), (6, 1));
        let stats = stats(&writer);
        assert_eq!((stats.pending.records, stats.written.records), (6, 0));
        assert_eq!(found(&dir, 1), (0..6).collect::<Vec<_>>());
        dir.files().iter().for_each(|(_, file)| fs::remove_file(file).unwrap());
        assert!(dir.temps().is_empty());
    }
    // They stay in order with what comes after them, and each is written over once.
    write(&writer, 1, 6..8);
    let report = writer.close(BOUND).unwrap();
    assert_eq!((report.written.records, report.overwritten.records), (8, 0));
    assert_eq!(found(&dir, 1), (0..8).collect::<Vec<_>>());
}

#[test]
fn large_records_and_messages_are_written_over_as_a_whole() {
    let dir = WriterDir::new();
    let writer = BufferedWriter::new(small(&dir)).unwrap();
    let mut buffer = Vec::new();
    for seq in 0..500 {
        let len = [70, 3 * SIZE, SIZE / 2, SIZE + 1][seq as usize % 4];
        record(&mut buffer, 1, seq, len);
        match seq % 3 {
            0 => writer.write(&buffer).unwrap(),
            1 => writer.send(buffer.clone()).unwrap(),
            _ => writer.record(|w| w.write_bytes(&buffer)).unwrap(),
        }
        stats(&writer);
    }
    let too_large = vec![b'x'; KEPT * SIZE + 1];
    assert_eq!(writer.write(&too_large), Err(WriteError::TooLarge));
    let dumped = writer.dump(all()).unwrap();
    let found = found(&dir, 1);
    assert_eq!(found, (500 - found.len() as u32..500).collect::<Vec<_>>());
    assert_eq!(dumped.records.records, found.len() as u64);
    let stats = stats(&writer);
    assert_eq!(stats.overwritten.records, 500 - found.len() as u64);
    assert_eq!(stats.accepted.bytes, stats.written.bytes + stats.overwritten.bytes);
}

/// Several threads with less memory than they fill, while one dumps all the time.
#[test]
fn dumps_and_writers_go_on_together() {
    let dir = WriterDir::new();
    let writer = BufferedWriter::new(small(&dir)).unwrap();
    let is_over = AtomicBool::new(false);
    let mut tally = Tally::across_files();
    let threads = 4;
    thread::scope(|scope| {
        let _end = SetAtEnd(&is_over);
        let writers: Vec<_> = (0..threads)
            .map(|producer| {
                let writer = writer.clone();
                scope.spawn(move || {
                    let (mut own, mut buffer) = (writer.producer(), Vec::new());
                    for seq in 0..20_000_u32 {
                        record(&mut buffer, producer, seq, [64, 100, 600][seq as usize % 3]);
                        let said = own.write(&buffer);
                        assert_eq!(said, Ok(()), "{producer}.{seq}: {:?}", stats(&writer));
                    }
                })
            })
            .collect();
        let mut dumps = 0;
        while !writers.iter().all(|writer| writer.is_finished()) {
            let before = stats(&writer).written;
            let dumped = writer.dump(all()).unwrap();
            assert_eq!(stats(&writer).written, before + dumped.records);
            dumps += 1;
            tally.consume(&dir);
        }
        assert!(dumps > 0);
    });
    writer.dump(all()).unwrap();
    tally.consume(&dir);
    let report = writer.close(BOUND).unwrap();
    assert_eq!(report.refused.total(), Count::default());
    assert_eq!(tally.found.records, report.written.records);
    assert_eq!(report.accepted, report.written + report.overwritten);
    // The last ones were in memory when the last dump began.
    (0..threads).for_each(|producer| assert!(tally.has(producer, 19_999), "{producer}"));
}

/// The files of a dump hold what was accepted before it, without a gap.
#[test]
fn what_was_accepted_before_is_in_the_dump() {
    let dir = WriterDir::new();
    let config = small(&dir).recorder(Recorder::Last(1 << 20)).queue_size(256);
    let writer = BufferedWriter::new(config).unwrap();
    let (mut other, mut tally) = (writer.producer(), Tally::across_files());
    for turn in 0..30 {
        thread::scope(|scope| {
            // Far less than is kept.
            scope.spawn(|| {
                let mut buffer = Vec::new();
                for seq in 0..3000 {
                    record(&mut buffer, 9, turn * 3000 + seq, 64);
                    other.write(&buffer).unwrap();
                }
            });
            write(&writer, 1, turn * 20..turn * 20 + 20);
            let dumped = writer.dump(all()).unwrap();
            assert!(dumped.records.records >= 20);
            tally.consume(&dir);
            assert!((0..turn * 20 + 20).all(|seq| tally.has(1, seq)), "in turn {turn}");
        });
    }
    writer.dump(all()).unwrap();
    tally.consume(&dir);
    tally.assert_ranges(&[(1, 600), (9, 90_000)]);
}

#[test]
fn a_dump_of_the_last_time_leaves_the_older_chunks_in_memory() {
    let dir = WriterDir::new();
    let writer = BufferedWriter::new(small(&dir)).unwrap();
    // Two chunks are full by then.
    write(&writer, 1, 0..9);
    let began = std::time::Instant::now();
    until("some time is over", || began.elapsed() >= Duration::from_millis(50));
    let dumped = writer.dump(all().last(began.elapsed() / 2)).unwrap();
    assert_eq!(dumped.records.records, 1, "the chunk that is not full");
    write(&writer, 1, 9..20);
    let dumped = writer.dump(all().last(Duration::from_secs(3600))).unwrap();
    assert_eq!(dumped.records.records, 19);
    assert_eq!(stats(&writer).pending, Count::default());
}

/// Its time goes back from the call, however long it waits for the dump before it.
#[test]
fn a_dump_of_the_last_time_that_waits_has_what_came_since_its_call() {
    let dir = WriterDir::new();
    let (gate, fs) = hangs_at(Op::Write);
    let writer = BufferedWriter::new(small(&dir).fs(fs)).unwrap();
    write(&writer, 1, 0..9);
    gate.set_shut(true);
    let mut first = pin!(writer.dump_async(all()));
    assert!(poll(first.as_mut()).is_pending());
    until("the disk hangs", || gate.waiting() == 1);
    let mut second = pin!(writer.dump_async(all().last(Duration::ZERO)));
    assert!(poll(second.as_mut()).is_pending());
    // Nearly all of their chunks are full when the second dump begins.
    write(&writer, 1, 9..40);
    gate.set_shut(false);
    type Outcome = Result<Dumped, DumpError>;
    let records = |mut dump: Pin<&mut dyn Future<Output = Outcome>>| {
        let mut dumped: Option<Outcome> = None;
        until("it is dumped", || {
            let Poll::Ready(answer) = poll(dump.as_mut()) else { return false };
            dumped = Some(answer);
            true
        });
        dumped.unwrap().unwrap().records.records
    };
    assert_eq!((records(first), records(second)), (9, 31));
}

/// The bound of the error of a dump's time: a chunk spans at most `forced`.
#[test]
fn forced_seals_what_a_slow_thread_has_begun() {
    let dir = WriterDir::new();
    let writer = BufferedWriter::new(small(&dir).forced(Duration::from_millis(5))).unwrap();
    write(&writer, 1, 0..1);
    let is_sealed = || {
        let dumped = writer.dump(all().keep(true).last(Duration::from_millis(1))).unwrap();
        dir.files().iter().for_each(|(_, file)| fs::remove_file(file).unwrap());
        dumped.records.is_zero()
    };
    until("the chunk is sealed", is_sealed);
    write(&writer, 1, 1..2);
    assert_eq!(writer.dump(all()).unwrap().records.records, 2);
    assert_eq!(found(&dir, 1), (0..2).collect::<Vec<_>>(), "{:?}", dir.contents());
}

/// Each way in which the disk may fail: the dump fails by its deadline, and the next one has it all.
#[test]
fn a_dump_on_a_full_disk_fails_in_time_and_loses_nothing() {
    for (op, durability, keep) in [
        (Op::Write, Durability::None, false),
        (Op::Write, Durability::None, true),
        (Op::Create, Durability::None, false),
        (Op::Rename, Durability::None, false),
        (Op::Rename, Durability::None, true),
        (Op::Sync, Durability::File, false),
        (Op::Sync, Durability::File, true),
    ] {
        let dir = WriterDir::new();
        let is_full: &'static AtomicBool = Box::leak(Box::new(AtomicBool::new(false)));
        let fs = TestFs::new(move |call| {
            let fails = call.op == op && call.is_temp() && is_full.load(Ordering::SeqCst);
            if fails { Answer::Error(Errno::NOSPC) } else { Answer::Go }
        });
        let writer = BufferedWriter::new(small(&dir).durability(durability).fs(fs)).unwrap();
        write(&writer, 1, 0..40);
        is_full.store(true, Ordering::SeqCst);
        let timeout = Duration::from_millis(60);
        let error = writer.dump(DumpOptions::default().keep(keep).timeout(timeout)).unwrap_err();
        // On a busy machine the worker may not have come so far.
        assert!(matches!(error, DumpError::TimedOut | DumpError::Io(_)), "{op:?}: {error}");
        // The recorder goes on as before.
        write(&writer, 1, 40..42);
        assert_eq!(stats(&writer).pending.records, 42, "{op:?}");
        is_full.store(false, Ordering::SeqCst);
        writer.dump(all()).unwrap();
        assert_eq!(found(&dir, 1), (0..42).collect::<Vec<_>>(), "{op:?} {keep}");
        let report = writer.close(BOUND).unwrap();
        assert_eq!((report.written.records, report.accepted.records), (42, 42), "{op:?}");
        dir.assert_clean();
    }
}

#[test]
fn a_dump_on_a_disk_that_hangs_fails_in_time_and_writers_go_on() {
    for keep in [false, true] {
        let dir = WriterDir::new();
        let (gate, fs) = hangs_at(Op::Write);
        let writer = BufferedWriter::new(small(&dir).fs(fs)).unwrap();
        write(&writer, 1, 0..64);
        gate.set_shut(true);
        let timeout = Duration::from_millis(50);
        let error = writer.dump(DumpOptions::default().keep(keep).timeout(timeout)).unwrap_err();
        assert!(matches!(error, DumpError::TimedOut | DumpError::Io(_)), "{error}");
        // What the dump holds is not written over: these have the reserve.
        write(&writer, 1, 64..1000);
        gate.set_shut(false);
        let mut tally = Tally::across_files();
        writer.dump(all()).unwrap();
        tally.look(&dir);
        // With `keep` it is the oldest part of what is in memory, and may be written over by now.
        assert!(keep || (0..64).all(|seq| tally.has(1, seq)), "what the first dump had");
        // All of the reserve was used before the first of these was written over.
        let newest = 1000 - 4 * (KEPT as u32 - 1)..1000;
        assert!(newest.clone().all(|seq| tally.has(1, seq)), "{newest:?}");
        let report = writer.close(BOUND).unwrap();
        assert_eq!(report.accepted, report.written + report.overwritten);
        assert_eq!(report.written.records, tally.found.records);
    }
}

#[test]
fn more_threads_than_chunks_get_memory_from_idle_ones() {
    let dir = WriterDir::new();
    let config = dir.config().size(64).recorder(Recorder::Last(64)).queue_size(2);
    let writer = BufferedWriter::new(config).unwrap();
    let mut producers: Vec<_> = (0..10).map(|_| writer.producer()).collect();
    let mut accepted = BTreeMap::new();
    for (number, producer) in producers.iter_mut().enumerate() {
        let mut buffer = Vec::new();
        record(&mut buffer, number as u32, 0, 40);
        producer.write_timeout(&buffer, BOUND).unwrap();
        accepted.insert(number as u32, vec![0]);
    }
    let report = writer.close(BOUND).unwrap();
    assert_eq!((report.accepted.records, report.overwritten.records), (10, 10));
}

#[test]
fn who_may_not_dump_is_told_why() {
    let dir = WriterDir::new();
    let writer = BufferedWriter::new(dir.config()).unwrap();
    assert!(matches!(writer.dump(all()), Err(DumpError::NoRecorder)));
    drop(writer);
    let writer = BufferedWriter::new(small(&dir)).unwrap();
    write(&writer, 1, 0..3);
    writer.flush(BOUND).unwrap();
    assert_eq!(found(&dir, 1), [0, 1, 2], "a flush is a dump");
    writer.close(BOUND).unwrap();
    assert!(matches!(writer.dump(all()), Err(DumpError::Closed)));
    for config in [
        small(&dir).recorder(Recorder::Last(0)),
        small(&dir).recorder(Recorder::Last(usize::MAX)),
        small(&dir).min_free(1),
        small(&dir).max_total(1),
        small(&dir).start_on_full_disk(true),
    ] {
        let error = BufferedWriter::new(config).unwrap_err();
        assert!(error.to_string().contains("recorder"), "{error}");
    }
}
