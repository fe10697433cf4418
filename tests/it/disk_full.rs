//! Promise: on a disk that fails for a while nothing torn becomes visible, and the error is told with operation and
//! path. Records are kept, and all of them land once there is space again.

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bufferedwriter::testing::Errno;
use bufferedwriter::{BufferedWriter, Durability, WriteError};

use crate::support::{
    Answer, BOUND, Op, Random, Tally, TestFs, WriterDir, close, flush_error, record, stats, until,
};

#[test]
fn no_space_for_a_while() {
    for durability in [Durability::None, Durability::File] {
        let dir = WriterDir::new();
        let full = Arc::new(AtomicBool::new(false));
        let (is_full, writes) = (full.clone(), AtomicU64::new(0));
        let fs = TestFs::new(move |call| {
            if call.op != Op::Write || !call.is_temp() || !is_full.load(Ordering::SeqCst) {
                return Answer::Go;
            }
            // A torn write comes first, as on a real disk.
            let nth = writes.fetch_add(1, Ordering::Relaxed);
            match nth % 3 {
                // Within a record, within one that is larger than a chunk, at the end of a chunk.
                0 => Answer::Short([77, 200, 333, 128, 256][(nth / 3) as usize % 5]),
                1 => Answer::Error(Errno::NOSPC),
                _ => Answer::Short(0),
            }
        });
        let config =
            dir.config().size(128).queue_size(60).workers(2).file_size(1000).durability(durability);
        let writer = BufferedWriter::new(config.fs(fs.clone())).unwrap();
        let mut own = writer.producer();
        let (mut random, mut buffer, mut seq) = (Random::new(5), Vec::new(), 0);
        let mut write = |count: u32| {
            let before = seq;
            while seq < before + count {
                record(&mut buffer, 1, seq, random.within(12, 300));
                match own.write(&buffer) {
                    Ok(()) => seq += 1,
                    Err(WriteError::Full) => break,
                    Err(other) => panic!("{other}"),
                }
            }
            seq
        };
        for _ in 0..3 {
            write(100);
            full.store(true, Ordering::SeqCst);
            write(100);
            let error = flush_error(&writer);
            let now = stats(&writer);
            let errors: Vec<_> = now.workers.iter().filter_map(|w| w.last_error.clone()).collect();
            assert!(!errors.is_empty(), "{now:?}");
            for error in errors.iter().chain([&error]) {
                assert_eq!(error.operation(), "write", "{error}");
                assert!(error.path().is_some_and(|path| path.starts_with(&dir.temp)), "{error}");
                let kinds = [ErrorKind::StorageFull, ErrorKind::WriteZero];
                assert!(kinds.contains(&error.kind()), "{error:?}");
            }
            // What is visible by now is whole.
            let tally = Tally::of(&dir);
            assert!(tally.found.records >= now.written.records);
            full.store(false, Ordering::SeqCst);
            writer.flush(BOUND).unwrap();
            let now = stats(&writer);
            assert!(now.pending.is_zero(), "{now:?}");
            assert!(now.workers.iter().all(|worker| worker.last_error.is_none()), "{now:?}");
        }
        let seq = write(0);
        drop(own);
        close(&writer);
        Tally::of(&dir).assert_ranges(&[(1, seq)]);
        fs.assert_sound();
        dir.assert_clean();
    }
}

/// The caller is told by `Full`, not by waiting, and nothing that was accepted is dropped.
#[test]
fn memory_runs_out_meanwhile() {
    let dir = WriterDir::new();
    let full = Arc::new(AtomicBool::new(true));
    let is_full = full.clone();
    let fs = TestFs::new(move |call| {
        let refuses = is_full.load(Ordering::SeqCst) && call.is_temp() && call.op == Op::Create;
        if refuses { Answer::Error(Errno::NOSPC) } else { Answer::Go }
    });
    let config = dir.config().size(128).queue_size(10).workers(2).fs(fs);
    let writer = BufferedWriter::new(config).unwrap();
    let (mut buffer, mut seq) = (Vec::new(), 0);
    let mut write = || {
        record(&mut buffer, 1, seq, 64);
        let result = writer.write(&buffer);
        seq += u32::from(result.is_ok());
        result
    };
    while write().is_ok() {}
    assert_eq!(write(), Err(WriteError::Full));
    until("a worker tells of it", || {
        stats(&writer).workers.iter().any(|worker| {
            worker.last_error.as_ref().is_some_and(|error| error.operation() == "create")
        })
    });
    assert_eq!(stats(&writer).memory_bytes, 12 * 128);
    full.store(false, Ordering::SeqCst);
    until("there is room", || write().is_ok());
    close(&writer);
    Tally::of(&dir).assert_ranges(&[(1, seq)]);
    dir.assert_clean();
}

#[test]
fn short_writes_are_continued() {
    for durability in [Durability::None, Durability::File] {
        let dir = WriterDir::new();
        let writes = AtomicU64::new(0);
        let fs = TestFs::new(move |call| match call.op {
            Op::Write if call.is_temp() => match writes.fetch_add(1, Ordering::Relaxed) % 5 {
                0 => Answer::Error(Errno::INTR),
                n => Answer::Short(1 + 97 * n as usize),
            },
            _ => Answer::Go,
        });
        let config =
            dir.config().size(256).queue_size(60).workers(2).file_size(3000).durability(durability);
        let writer = BufferedWriter::new(config.fs(fs)).unwrap();
        let (mut random, mut buffer) = (Random::new(5), Vec::new());
        for seq in 0..600 {
            record(&mut buffer, 1, seq, random.within(12, 900));
            writer.write_timeout(&buffer, BOUND).unwrap();
        }
        stats(&writer);
        close(&writer);
        Tally::of(&dir).assert_ranges(&[(1, 600)]);
        dir.assert_clean();
    }
}

/// Each retry gets a file further: the pauses must not add up, as they do while nothing works.
#[test]
fn a_disk_that_fails_now_and_then_is_tried_again_soon() {
    let dir = WriterDir::new();
    let renames = AtomicU64::new(0);
    let fs = TestFs::new(move |call| {
        let fails = call.op == Op::Rename
            && call.is_temp()
            && renames.fetch_add(1, Ordering::Relaxed) % 2 == 1;
        if fails { Answer::Error(Errno::IO) } else { Answer::Go }
    });
    let config = dir.config().size(64).queue_size(300).workers(1).file_size(64).fs(fs);
    let writer = BufferedWriter::new(config).unwrap();
    let mut buffer = Vec::new();
    for seq in 0..200 {
        record(&mut buffer, 1, seq, 64);
        writer.write_timeout(&buffer, BOUND).unwrap();
    }
    writer.flush(BOUND).unwrap();
    close(&writer);
    Tally::of(&dir).assert_ranges(&[(1, 200)]);
    dir.assert_clean();
}
