//! Promise: a file appears by itself when it has its size, and not before.

use std::fs;

use bufferedwriter::BufferedWriter;
use bufferedwriter::testing::Errno;

use crate::support::{BOUND, Tally, WriterDir, close, record, stats, until};

#[test]
fn files_appear_when_they_have_their_size() {
    let dir = WriterDir::new();
    let config = dir.config().size(256).queue_size(16).workers(1).file_size(2000);
    let writer = BufferedWriter::new(config).unwrap();
    let mut buffer = Vec::new();
    for seq in 0..500 {
        record(&mut buffer, 1, seq, 100);
        writer.write_timeout(&buffer, BOUND).unwrap();
    }
    // 200 bytes of each chunk are used: ten chunks make a file, the last one is not sealed.
    until("all full files are visible", || stats(&writer).written.records >= 480);
    let sizes: Vec<_> =
        dir.files().iter().map(|(_, file)| fs::metadata(file).unwrap().len()).collect();
    for size in &sizes {
        // What is written at once may exceed it by a chunk.
        assert!((2000..2000 + 256).contains(size), "{sizes:?}");
    }
    assert!(dir.temps().len() <= 1);
    close(&writer);
    Tally::of(&dir).assert_ranges(&[(1, 500)]);
    dir.assert_clean();
}

#[test]
fn less_than_the_size_stays_hidden() {
    let dir = WriterDir::new();
    let config = dir.config().size(64).queue_size(100).workers(1).file_size(1000);
    let writer = BufferedWriter::new(config).unwrap();
    let mut buffer = Vec::new();
    for seq in 0..15 {
        record(&mut buffer, 1, seq, 64);
        writer.write(&buffer).unwrap();
    }
    // Fourteen chunks are sealed and go to the temp file.
    until("the worker wrote", || stats(&writer).workers[0].temp_file_bytes == 14 * 64);
    let now = stats(&writer);
    assert_eq!((now.written.records, now.pending.records, now.files), (0, 15, 0));
    assert!(dir.files().is_empty());
    assert_eq!(dir.temps(), [now.workers[0].temp_file.clone().unwrap()]);
    assert_eq!(now.temp_dir, dir.temp);
    // Two more seal the fifteenth and sixteenth: that is the size.
    for seq in 15..17 {
        record(&mut buffer, 1, seq, 64);
        writer.write(&buffer).unwrap();
    }
    until("the file is visible", || stats(&writer).files == 1);
    assert_eq!(dir.contents().len(), 1);
    close(&writer);
    Tally::of(&dir).assert_ranges(&[(1, 17)]);
    dir.assert_clean();
}

/// A full file whose rename fails, or whose directory's sync, is tried again by itself, without a
/// further record and without an age.
#[test]
fn a_full_file_is_tried_again_by_itself() {
    use crate::support::{Answer, Op, TestFs};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
    for fails in [Op::Rename, Op::SyncDir] {
        let dir = WriterDir::new();
        let calls = Arc::new(AtomicU32::new(0));
        let counted = calls.clone();
        // Each is called once at the start already.
        let fs = TestFs::new(move |call| match call.op == fails {
            true if counted.fetch_add(1, SeqCst) == 1 => Answer::Error(Errno::IO),
            _ => Answer::Go,
        });
        let config = dir.config().size(64).workers(1).file_size(100).fs(fs);
        let config = config.durability(bufferedwriter::Durability::File);
        let writer = BufferedWriter::new(config).unwrap();
        let mut buffer = Vec::new();
        // The third one stays in its chunk, the two before fill a file.
        for seq in 0..3 {
            record(&mut buffer, 0, seq, 60);
            writer.write(&buffer).unwrap();
        }
        until("it was tried again", || calls.load(SeqCst) >= 3);
        until("it is visible", || dir.files().len() == 1);
        until("no error is left", || stats(&writer).workers[0].last_error.is_none());
        close(&writer);
        Tally::of(&dir).assert_ranges(&[(0, 3)]);
        dir.assert_clean();
    }
}

/// A file that the system does not let grow (RLIMIT_FSIZE, or the file system's own limit) is published. The
/// records go to another one, and nobody has to wait for that.
#[test]
fn a_file_that_may_not_grow_is_published() {
    use crate::support::{Answer, Op, TestFs};
    let dir = WriterDir::new();
    let fs = TestFs::new(|call| {
        let is_large = || fs::metadata(call.path).is_ok_and(|facts| facts.len() >= 1000);
        match call.op == Op::Write && call.is_temp() && is_large() {
            true => Answer::Error(Errno::FBIG),
            false => Answer::Go,
        }
    });
    let config = dir.config().size(256).queue_size(8).workers(1).fs(fs);
    let writer = BufferedWriter::new(config).unwrap();
    let mut buffer = Vec::new();
    for seq in 0..200 {
        record(&mut buffer, 0, seq, 100);
        writer.write_timeout(&buffer, BOUND).unwrap();
    }
    close(&writer);
    // Ten writes of two records or more each would be one file without the limit.
    assert!(dir.files().len() > 1, "{:?}", dir.files());
    Tally::of(&dir).assert_ranges(&[(0, 200)]);
    dir.assert_clean();
}
