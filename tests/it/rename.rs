//! Promise: a rename that fails is tried again until it succeeds, and nothing is visible meanwhile. A temp file
//! that somebody removed is counted as lost, and the rest goes on.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bufferedwriter::testing::Errno;
use bufferedwriter::{BufferedWriter, Durability, FlushError, WorkerStats, WriteError};

use crate::support::{
    Answer, BOUND, Op, Tally, TestFs, WriterDir, close, fails_while_broken, flush_error, record,
    removes_open_files, stats, until,
};

#[test]
fn fails_for_a_while() {
    for errno in [Errno::IO, Errno::ACCESS, Errno::NOSPC, Errno::EXIST, Errno::NOENT] {
        let dir = WriterDir::new();
        let (broken, fs) =
            fails_while_broken(errno, |call| call.op == Op::Rename && call.is_temp());
        let config = dir.config().size(128).queue_size(60).workers(2).file_size(1000);
        let writer = BufferedWriter::new(config.fs(fs)).unwrap();
        let mut buffer = Vec::new();
        for seq in 0..50 {
            record(&mut buffer, 1, seq, 100);
            writer.write(&buffer).unwrap();
        }
        let error = flush_error(&writer);
        assert_eq!(error.operation(), "rename", "{errno:?}");
        // Both ends of it, of which the new one is the error's path.
        assert!(error.path().is_some_and(|path| path.starts_with(&dir.path)), "{error}");
        let told = error.to_string();
        let temp = format!("rename {}.", dir.temp.join("").display());
        let visible = format!(".tmp to {}", dir.path.display());
        assert!(told.starts_with(&temp) && told.contains(&visible), "{told}");
        let now = stats(&writer);
        assert_eq!((now.pending.records, now.files), (50, 0));
        assert!(now.workers.iter().any(|worker| worker.last_error.is_some()));
        assert!(dir.files().is_empty());
        broken.store(false, Ordering::SeqCst);
        writer.flush(BOUND).unwrap();
        assert!(stats(&writer).workers.iter().all(|worker| worker.last_error.is_none()));
        close(&writer);
        Tally::of(&dir).assert_ranges(&[(1, 50)]);
        dir.assert_clean();
    }
}

/// A file that has its size, and a disk that refuses once: it appears without any further call, and
/// the error is told until then.
#[test]
fn is_tried_again_without_traffic() {
    for (op, durability) in [
        (Op::Rename, Durability::None),
        (Op::Rename, Durability::File),
        (Op::SyncDir, Durability::File),
    ] {
        let dir = WriterDir::new();
        let broken = Arc::new(AtomicBool::new(false));
        let (is_broken, refusals) = (broken.clone(), Arc::new(AtomicU64::new(0)));
        let (counter, renamed) = (refusals.clone(), AtomicBool::new(false));
        let directory_synced = Arc::new(AtomicBool::new(false));
        let synced = directory_synced.clone();
        let fs = TestFs::new(move |call| {
            renamed.fetch_or(call.op == Op::Rename && call.is_temp(), Ordering::SeqCst);
            if call.op == op && renamed.load(Ordering::SeqCst) && is_broken.load(Ordering::SeqCst) {
                counter.fetch_add(1, Ordering::SeqCst);
                return Answer::Error(Errno::IO);
            }
            synced.store(call.op == Op::SyncDir, Ordering::SeqCst);
            Answer::Go
        });
        let config =
            dir.config().size(128).queue_size(60).workers(1).file_size(500).durability(durability);
        let writer = BufferedWriter::new(config.fs(fs)).unwrap();
        broken.store(true, Ordering::SeqCst);
        let mut buffer = Vec::new();
        // The last one seals the fifth chunk: more than the size of a file.
        for seq in 0..6 {
            record(&mut buffer, 1, seq, 100);
            writer.write(&buffer).unwrap();
        }
        until("it was tried several times", || refusals.load(Ordering::SeqCst) >= 3);
        let error = stats(&writer).workers[0].last_error.clone().expect("the error is told");
        assert!(error.operation() == "rename" || error.operation() == "fsync directory");
        broken.store(false, Ordering::SeqCst);
        until("the file is visible", || {
            stats(&writer).files == 1 && stats(&writer).workers[0].last_error.is_none()
        });
        if op == Op::SyncDir {
            assert!(directory_synced.load(Ordering::SeqCst));
        }
        assert_eq!(stats(&writer).written.records, 5);
        close(&writer);
        Tally::of(&dir).assert_ranges(&[(1, 6)]);
        dir.assert_clean();
    }
}

#[test]
fn a_temp_file_that_somebody_removed() {
    if !removes_open_files() {
        return;
    }
    let dir = WriterDir::new();
    let config = dir.config().size(128).queue_size(60).workers(1);
    let writer = BufferedWriter::new(config).unwrap();
    let (mut buffer, mut bytes) = (Vec::new(), 0);
    for seq in 0..20 {
        record(&mut buffer, 1, seq, 100);
        writer.write(&buffer).unwrap();
        bytes += buffer.len() as u64;
    }
    until("the sealed ones are in the temp file", || {
        stats(&writer).workers[0].temp_file_bytes == 1900
    });
    for temp in dir.temps() {
        fs::remove_file(temp).unwrap();
    }
    // The worker notices when it publishes: the rest of memory went into the same file.
    let flushed = writer.flush(BOUND);
    assert!(matches!(&flushed, Err(FlushError::Io(e)) if e.operation() == "rename"), "{flushed:?}");
    let now = stats(&writer);
    assert_eq!(now.lost.temp_file_removed.records, 20);
    assert_eq!(now.lost.total().bytes, bytes);
    assert!(now.pending.is_zero() && now.written.is_zero() && now.files == 0);
    // It goes on with another file.
    record(&mut buffer, 2, 0, 100);
    writer.write_timeout(&buffer, BOUND).unwrap();
    writer.flush(BOUND).unwrap();
    let report = writer.close(BOUND).unwrap();
    assert_eq!((report.lost.total().records, report.written.records, report.files), (20, 1, 1));
    stats(&writer);
    Tally::of(&dir).assert_ranges(&[(2, 1)]);
    dir.assert_clean();
}

/// There is room in `temp`, so memory serves on: each file grows up to a limit, and only then memory fills.
#[test]
fn memory_goes_on_while_renames_fail() {
    for durability in [Durability::None, Durability::File] {
        let dir = WriterDir::new();
        let (broken, fs) =
            fails_while_broken(Errno::ACCESS, |call| call.op == Op::Rename && call.is_temp());
        // 64 KiB of memory. Four times the size of a file would be less than the 1 MiB that it may have.
        let config = dir.config().size(1024).queue_size(62).workers(2).file_size(10_000);
        let writer = BufferedWriter::new(config.durability(durability).fs(fs.clone())).unwrap();
        let mut buffer = Vec::new();
        let mut own = writer.producer();
        let mut seq = 0;
        while seq < 1000 {
            record(&mut buffer, 1, seq, 1000);
            own.write_timeout(&buffer, BOUND).unwrap();
            seq += 1;
        }
        let now = stats(&writer);
        assert_eq!((now.pending.records, now.files, now.lost.total().records), (1000, 0, 0));
        // Each of the two takes what it may; then memory fills.
        until("both have what they may", || {
            record(&mut buffer, 1, seq, 1000);
            let result = own.write(&buffer);
            seq += u32::from(result.is_ok());
            assert!(seq < 5000, "there is no limit: {:?}", stats(&writer));
            let has_all = |worker: &WorkerStats| worker.temp_file_bytes >= 1 << 20;
            result == Err(WriteError::Full) && stats(&writer).workers.iter().all(has_all)
        });
        for worker in stats(&writer).workers {
            let bytes = worker.temp_file_bytes;
            assert!((1 << 20..(1 << 20) + 70_000).contains(&bytes), "{bytes} bytes");
            assert_eq!(worker.last_error.map(|error| error.operation()), Some("rename"));
        }
        assert!(dir.files().is_empty());
        broken.store(false, Ordering::SeqCst);
        drop(own);
        close(&writer);
        Tally::of(&dir).assert_ranges(&[(1, seq)]);
        fs.assert_sound();
        dir.assert_clean();
    }
}
