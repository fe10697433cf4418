//! Promise: a message that is given away is one record. From a quarter of a chunk on it is kept, without a copy,
//! until a file has it, and counts by its length. It is dropped exactly once, on whatever path. One that is refused
//! comes back.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use bufferedwriter::testing::Errno;
use bufferedwriter::{BufferedWriter, Durability, WriteError};

use crate::support::{
    Answer, BOUND, Drops, Op, Random, Tally, TestFs, WriterDir, close, hangs_at, record, stats,
    until,
};

/// Sends, and when memory is full, waits for the workers.
fn send_soon(writer: &BufferedWriter, message: crate::support::Message) {
    let mut message = Some(message);
    until("memory for a message", || match writer.send(message.take().unwrap()) {
        Ok(()) => true,
        Err(refused) => {
            assert_eq!(refused.kind(), WriteError::Full);
            message = Some(refused.into_inner());
            false
        }
    });
}

#[test]
fn in_order_between_writes_and_each_dropped_once() {
    for durability in [Durability::None, Durability::File] {
        let dir = WriterDir::new();
        let config = dir
            .config()
            .size(1000)
            .queue_size(20)
            .workers(1)
            .file_size(20_000)
            .durability(durability);
        let writer = BufferedWriter::new(config).unwrap();
        let (drops, mut random, mut buffer, mut sent) =
            (Drops::leaked(), Random::new(3), vec![], 0);
        for seq in 0..2000 {
            record(&mut buffer, 1, seq, random.within(1, 400) * random.within(1, 12));
            if random.within(0, 2) == 0 {
                writer.write_timeout(&buffer, BOUND).unwrap();
            } else {
                send_soon(&writer, drops.message(&buffer));
                sent += 1;
            }
        }
        close(&writer);
        let mut tally = Tally::across_files();
        tally.look(&dir);
        tally.assert_ranges(&[(1, 2000)]);
        assert_eq!(drops.dropped(), sent);
        dir.assert_clean();
    }
}

#[test]
fn all_types_that_hold_bytes() {
    let dir = WriterDir::new();
    let writer = BufferedWriter::new(dir.config().size(64).workers(1)).unwrap();
    let mut own = writer.producer();
    let text = "0123456789".repeat(9) + "\n";
    writer.send(text.clone()).unwrap();
    writer.send(text.clone().into_bytes()).unwrap();
    writer.send(Arc::<[u8]>::from(text.as_bytes())).unwrap();
    own.send(text.clone().into_boxed_str().into_boxed_bytes()).unwrap();
    own.send("a static text\n").unwrap();
    own.send([b'x'; 100]).unwrap();
    own.send(Vec::new()).unwrap();
    drop(own);
    let report = close(&writer);
    assert_eq!((report.accepted.records, report.accepted.bytes), (6, 4 * 91 + 14 + 100));
    let all = dir.contents().concat();
    assert_eq!(all.windows(91).filter(|part| *part == text.as_bytes()).count(), 4);
}

#[test]
fn a_large_one_is_charged_by_its_length_and_comes_back_when_refused() {
    let dir = WriterDir::new();
    let (gate, fs) = hangs_at(Op::Write);
    // 4000 bytes in all.
    let config = dir.config_without_copy().size(1000).queue_size(3).workers(1).fs(fs);
    let writer = BufferedWriter::new(config).unwrap();
    let mut own = writer.producer();
    for (len, fit) in [(250, 16), (251, 12), (999, 4), (1000, 4), (2000, 2), (3001, 1), (4000, 1)] {
        gate.set_shut(true);
        let (drops, before) = (Drops::leaked(), stats(&writer));
        let message = || drops.message(&vec![b'm'; len]);
        for _ in 0..fit {
            own.send(message()).unwrap();
        }
        let refused = own.send(message()).unwrap_err();
        assert_eq!((refused.kind(), drops.dropped()), (WriteError::Full, 0), "{len}");
        let back = refused.into_inner();
        assert_eq!(back.as_ref(), vec![b'm'; len]);
        drop(back);
        let now = stats(&writer);
        assert_eq!(now.accepted.bytes - before.accepted.bytes, fit * len as u64);
        assert_eq!(now.refused.full.bytes - before.refused.full.bytes, len as u64);
        // Nothing is dropped before a file has it.
        until("the worker hangs", || gate.waiting() == 1);
        assert_eq!(drops.dropped(), 1);
        gate.set_shut(false);
        until("a file has them", || {
            writer.flush(BOUND).unwrap();
            drops.dropped() == fit + 1
        });
    }
    // What never fits.
    let refused = own.send(vec![0; 4001]).unwrap_err();
    assert_eq!((refused.kind(), refused.into_inner().len()), (WriteError::TooLarge, 4001));
    drop(own);
    close(&writer);
    for len in [1, 400] {
        let refused = writer.send(vec![7; len]).unwrap_err();
        assert_eq!(format!("{refused:?}"), "SendError { kind: Closed, .. }");
        assert_eq!(refused.to_string(), "the writer is closed");
        assert_eq!(refused.into_inner(), vec![7; len]);
    }
}

#[test]
fn small_ones_are_dropped_at_once_large_ones_when_a_sync_covers_them() {
    let dir = WriterDir::new();
    let (gate, fs) = hangs_at(Op::Sync);
    let config =
        dir.config_without_copy().size(1000).workers(1).durability(Durability::File).fs(fs);
    let writer = BufferedWriter::new(config).unwrap();
    let drops = Drops::leaked();
    gate.set_shut(true);
    writer.send(drops.message(&[b's'; 249])).unwrap();
    assert_eq!(drops.dropped(), 1);
    writer.send(drops.message(&[b'l'; 250])).unwrap();
    writer.send(drops.message(&[b'l'; 2500])).unwrap();
    let error = writer.flush(Duration::from_millis(1)).unwrap_err();
    assert!(matches!(error, bufferedwriter::FlushError::TimedOut), "{error}");
    until("the worker syncs", || gate.waiting() == 1);
    assert_eq!(drops.dropped(), 1);
    gate.set_shut(false);
    writer.flush(BOUND).unwrap();
    assert_eq!(drops.dropped(), 3);
    close(&writer);
}

#[test]
fn a_disk_that_fails_gets_them_again() {
    for op in [Op::Write, Op::Sync, Op::Rename, Op::Create] {
        let dir = WriterDir::new();
        let failures = AtomicU32::new(0);
        let fs = TestFs::new(move |call| match call.is_temp() && call.op == op {
            true if failures.fetch_add(1, Ordering::SeqCst) < 3 => Answer::Error(Errno::NOSPC),
            _ if call.op == Op::Write => Answer::Short(700),
            _ => Answer::Go,
        });
        let config =
            dir.config().size(512).queue_size(100).workers(1).durability(Durability::File).fs(fs);
        let writer = BufferedWriter::new(config).unwrap();
        let (drops, mut buffer) = (Drops::leaked(), Vec::new());
        for seq in 0..20 {
            record(&mut buffer, 1, seq, 100 * seq as usize + 200);
            writer.send(drops.message(&buffer)).unwrap();
        }
        writer.flush(BOUND).unwrap();
        assert_eq!(drops.dropped(), 20);
        close(&writer);
        Tally::of(&dir).assert_ranges(&[(1, 20)]);
    }
}

/// In the worker's hands, in an inbox, in a live chunk, in chains.
#[test]
fn a_close_that_gives_up_drops_all_once() {
    let dir = WriterDir::new();
    let (gate, fs) = hangs_at(Op::Write);
    let config = dir.config().size(100).queue_size(60).workers(2).fs(fs);
    let writer = BufferedWriter::new(config).unwrap();
    let drops = Drops::leaked();
    gate.set_shut(true);
    let mut producers: Vec<_> = (0..4).map(|_| writer.producer()).collect();
    for own in &mut producers {
        for len in [30, 40, 250, 99, 25, 25, 25, 33] {
            own.send(drops.message(&vec![b'm'; len])).unwrap();
        }
    }
    until("a worker hangs", || gate.waiting() > 0);
    let report = *writer.close(Duration::ZERO).unwrap_err().report();
    assert_eq!((report.accepted.records, report.lost.shutdown.records), (32, 32));
    gate.set_shut(false);
    until("all are dropped", || drops.dropped() == 32);
    drop(producers);
    drop(writer);
    assert_eq!(drops.dropped(), 32);
    assert!(dir.files().is_empty());
}

/// Threads send, write and go while a closer gives the writer up in the middle of it.
#[test]
fn each_is_dropped_once_whenever_the_writer_is_given_up() {
    for round in 0..40 {
        let dir = WriterDir::new();
        let config = dir.config().size(100).queue_size(6).workers(2).drop_timeout(Duration::ZERO);
        let writer = BufferedWriter::new(config).unwrap();
        let (drops, made, started) = (Drops::leaked(), AtomicU32::new(0), AtomicU32::new(0));
        thread::scope(|scope| {
            for thread in 0..3_u64 {
                let (writer, drops, made, started) = (writer.clone(), drops, &made, &started);
                scope.spawn(move || {
                    let (mut random, mut closed) = (Random::new(round << 8 | thread), false);
                    while !closed {
                        let message = drops.message(&vec![b'm'; random.within(1, 300)]);
                        made.fetch_add(1, Ordering::Relaxed);
                        started.fetch_add(1, Ordering::Relaxed);
                        let result = writer.send(message);
                        closed = result.is_err_and(|refused| refused.kind() == WriteError::Closed);
                    }
                });
            }
            until("they write", || started.load(Ordering::Relaxed) > 20 * (round as u32 % 4));
            let result = writer.close(Duration::from_micros(300 * (round % 5)));
            let report = result.unwrap_or_else(|error| *error.report());
            let sum = report.written + report.lost.total() + report.unresolved;
            assert_eq!(report.accepted, sum);
        });
        drop(writer);
        until("all are dropped", || drops.dropped() == u64::from(made.load(Ordering::Relaxed)));
    }
}

struct Panics {
    as_ref: bool,
    drop: bool,
    bytes: Vec<u8>,
}

impl AsRef<[u8]> for Panics {
    fn as_ref(&self) -> &[u8] {
        if self.as_ref {
            // As a panic, but without a word on stderr.
            resume_unwind(Box::new("as_ref"));
        }
        &self.bytes
    }
}

impl Drop for Panics {
    fn drop(&mut self) {
        if self.drop && !thread::panicking() {
            resume_unwind(Box::new("drop"));
        }
    }
}

#[test]
fn foreign_code_that_panics_costs_its_own_record_at_most() {
    let dir = WriterDir::new();
    let writer = BufferedWriter::new(dir.config().size(100).workers(1)).unwrap();
    for len in [10, 50, 500] {
        for drop in [false, true] {
            let bytes = vec![b'p'; len];
            let bad = Panics { as_ref: true, drop, bytes: bytes.clone() };
            assert!(catch_unwind(AssertUnwindSafe(|| writer.send(bad))).is_err());
            writer.send(Panics { as_ref: false, drop, bytes: bytes.clone() }).unwrap();
            writer.write(b"next").unwrap();
            assert!(writer.flush(BOUND).is_ok());
        }
    }
    let report = close(&writer);
    assert_eq!((report.written.records, report.refused.format.records), (12, 6));
}

#[test]
fn many_threads_few_chunks() {
    let dir = WriterDir::new();
    let config = dir.config().size(512).queue_size(6).workers(3).file_size(100_000);
    let writer = BufferedWriter::new(config).unwrap();
    let drops = Drops::leaked();
    thread::scope(|scope| {
        for producer in 0..16_u32 {
            let writer = &writer;
            scope.spawn(move || {
                let (mut random, mut buffer) = (Random::new(producer.into()), Vec::new());
                for seq in 0..200 {
                    record(&mut buffer, producer, seq, random.within(20, 900));
                    send_soon(writer, drops.message(&buffer));
                }
            });
        }
    });
    close(&writer);
    assert_eq!(drops.dropped(), 16 * 200);
    Tally::of(&dir).assert_ranges(&(0..16).map(|p| (p, 200)).collect::<Vec<_>>());
    dir.assert_clean();
}
