//! Promise: with `Durability::File` no file is visible before a sync covers all of it, and its directory
//! is synced before a flush returns. A failed fsync is final for its file: what was synced before is
//! published, everything else goes to another file, exactly once.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bufferedwriter::testing::Errno;
use bufferedwriter::{BufferedWriter, Durability};

use crate::support::{
    Answer, BOUND, Call, Gate, Op, Tally, TestFs, WriterDir, close, flush_error, record, stats,
    until,
};

/// What a sync covers, by temp file; and what went wrong.
#[derive(Default)]
struct Disk {
    synced: HashMap<PathBuf, u64>,
    directory_is_dirty: bool,
    wrong: Vec<String>,
    /// Lengths with which files whose fsync failed were published.
    cut: Vec<(PathBuf, u64)>,
    failed: Vec<PathBuf>,
}

impl Disk {
    fn see(&mut self, call: &Call<'_>, fails: bool) {
        let len = || fs::metadata(call.path).map_or(0, |metadata| metadata.len());
        match call.op {
            Op::Sync if fails => self.failed.push(call.path.to_owned()),
            Op::Sync => {
                self.synced.insert(call.path.to_owned(), len());
            }
            Op::Rename if call.is_temp() => {
                let (len, synced) = (len(), self.synced.get(call.path).copied());
                if synced != Some(len) {
                    let file = call.path.display();
                    self.wrong.push(format!("{file}: {len} bytes appear, synced: {synced:?}"));
                }
                if self.failed.iter().any(|failed| failed == call.path) {
                    self.cut.push((call.path.to_owned(), len));
                }
                self.directory_is_dirty = true;
            }
            Op::SyncDir => self.directory_is_dirty = false,
            _ => {}
        }
    }
}

/// A disk whose fsync of a temp file fails where `fails` says so, by its number.
fn disk(fails: impl Fn(u64) -> bool + Send + Sync + 'static) -> (Arc<TestFs>, Arc<Mutex<Disk>>) {
    let disk = Arc::new(Mutex::new(Disk::default()));
    let (seen, syncs) = (disk.clone(), AtomicU64::new(0));
    let fs = TestFs::new(move |call| {
        let durability = call.op == Op::Sync && call.is_temp();
        let fails = durability && fails(syncs.fetch_add(1, Ordering::SeqCst) + 1);
        seen.lock().unwrap().see(call, fails);
        if fails { Answer::Error(Errno::IO) } else { Answer::Go }
    });
    (fs, disk)
}

#[test]
fn nothing_is_visible_before_it_is_synced() {
    let dir = WriterDir::new();
    let (fs, disk) = disk(|_| false);
    let config = dir.config().size(128).queue_size(20).workers(2).file_size(2000);
    let writer = BufferedWriter::new(config.durability(Durability::File).fs(fs.clone())).unwrap();
    let mut buffer = Vec::new();
    for seq in 0..1000 {
        record(&mut buffer, 1, seq, 20 + seq as usize % 200);
        writer.write_timeout(&buffer, BOUND).unwrap();
        if seq % 100 == 0 {
            writer.flush(BOUND).unwrap();
            assert!(!disk.lock().unwrap().directory_is_dirty);
            stats(&writer);
        }
    }
    close(&writer);
    let disk = disk.lock().unwrap();
    assert!(disk.wrong.is_empty() && !disk.directory_is_dirty, "{:?}", disk.wrong);
    Tally::of(&dir).assert_ranges(&[(1, 1000)]);
    fs.assert_sound();
    dir.assert_clean();
}

#[test]
fn an_fsync_that_fails_once() {
    let mut cuts = 0;
    for k in 1..=12 {
        let dir = WriterDir::new();
        let (fs, disk) = disk(move |nth| nth == k);
        // Memory for a few records only: it is reused as syncs cover it, several times in a file.
        let config = dir.config().size(128).queue_size(3).workers(1).file_size(4000);
        let writer =
            BufferedWriter::new(config.durability(Durability::File).fs(fs.clone())).unwrap();
        let mut own = writer.producer();
        let mut buffer = Vec::new();
        for seq in 0..200 {
            record(&mut buffer, 1, seq, 100);
            own.write_timeout(&buffer, BOUND).unwrap();
        }
        stats(&writer);
        drop(own);
        close(&writer);
        let disk = disk.lock().unwrap();
        assert_eq!(disk.failed.len(), 1, "the fault was met");
        assert!(disk.wrong.is_empty(), "{:?}", disk.wrong);
        for (path, len) in &disk.cut {
            assert_eq!(disk.synced[path], *len);
        }
        cuts += disk.cut.len();
        Tally::of(&dir).assert_ranges(&[(1, 200)]);
        fs.assert_sound();
        dir.assert_clean();
    }
    assert!(cuts > 0, "no file was ever cut to what was synced");
}

#[test]
fn an_fsync_that_fails_for_a_while() {
    let dir = WriterDir::new();
    let broken = Arc::new(AtomicBool::new(true));
    let is_broken = broken.clone();
    let (fs, disk) = disk(move |_| is_broken.load(Ordering::SeqCst));
    let config = dir.config().size(128).queue_size(20).workers(2).durability(Durability::File);
    let writer = BufferedWriter::new(config.fs(fs.clone())).unwrap();
    let mut buffer = Vec::new();
    for seq in 0..10 {
        record(&mut buffer, 1, seq, 100);
        writer.write(&buffer).unwrap();
    }
    assert_eq!(flush_error(&writer).operation(), "fsync");
    assert!(dir.files().is_empty());
    until("it was tried several times", || disk.lock().unwrap().failed.len() >= 3);
    assert_eq!(stats(&writer).pending.records, 10);
    broken.store(false, Ordering::SeqCst);
    writer.flush(BOUND).unwrap();
    close(&writer);
    assert!(disk.lock().unwrap().wrong.is_empty());
    Tally::of(&dir).assert_ranges(&[(1, 10)]);
    fs.assert_sound();
    dir.assert_clean();
}

/// Memory that only waits for a sync comes back when nothing more comes, though nobody asks for it. A worker must
/// not go to sleep with it.
#[test]
fn no_worker_sleeps_on_memory() {
    for _ in 0..4 {
        let dir = WriterDir::new();
        let writers: Vec<_> = (0..150)
            .map(|_| {
                let config =
                    dir.config().size(64).workers(1).queue_size(8).durability(Durability::File);
                BufferedWriter::new(config).unwrap()
            })
            .collect();
        for writer in &writers {
            let mut own = writer.producer();
            own.write(&[b'x'; 60]).unwrap();
            own.write(&[b'y'; 60]).unwrap();
        }
        for writer in &writers {
            until("the memory is free", || stats(writer).workers[0].backlog_chunks == 0);
        }
        for writer in &writers {
            close(writer);
        }
    }
}

/// What the file has is in memory still, as long as the fsync has not returned. Should this one fail, the file is
/// cut to what an earlier fsync covered.
#[test]
fn memory_stays_until_the_sync_returns() {
    for fails in [false, true] {
        let dir = WriterDir::new();
        let (gate, pass) = Gate::open();
        let sick = Arc::new(AtomicBool::new(false));
        let is_sick = sick.clone();
        let fs = TestFs::new(move |call| {
            if call.op == Op::Sync && call.is_temp() {
                pass.through();
                if is_sick.swap(false, Ordering::SeqCst) {
                    return Answer::Error(Errno::IO);
                }
            }
            Answer::Go
        });
        let (size, chunks) = (128, 8);
        let config =
            dir.config().size(size).queue_size(chunks - 1).workers(1).durability(Durability::File);
        let writer = BufferedWriter::new(config.fs(fs.clone())).unwrap();
        let (mut own, mut buffer) = (writer.producer(), Vec::new());
        let mut seq = 0;
        let mut write = |own: &mut bufferedwriter::Producer, count: u32| {
            for _ in 0..count {
                record(&mut buffer, 1, seq, size);
                own.write_timeout(&buffer, BOUND).unwrap();
                seq += 1;
            }
        };
        for _ in 0..2 {
            write(&mut own, 4);
            // All but the chunk that the producer has.
            until("what is sealed is synced", || stats(&writer).memory_bytes <= size);
        }
        let synced = stats(&writer).workers[0].temp_file_bytes;
        gate.set_shut(true);
        write(&mut own, chunks as u32 - 1);
        until("the worker hangs in fsync", || gate.waiting() == 1);
        let now = stats(&writer);
        assert!(now.workers[0].temp_file_bytes > synced, "{now:?}");
        sick.store(fails, Ordering::SeqCst);
        assert!(now.workers[0].backlog_chunks > 0 && now.memory_bytes > size, "{now:?}");
        gate.set_shut(false);
        drop(own);
        close(&writer);
        Tally::of(&dir).assert_ranges(&[(1, seq)]);
        let first = dir.contents()[0].len() as u64;
        assert_eq!(first == synced, fails, "{first} of {synced} synced bytes in the first file");
        fs.assert_sound();
        dir.assert_clean();
    }
}
