//! Promise: a file appears by itself when it has its size, and not before.

use std::fs;

use bufferedwriter::BufferedWriter;

use crate::support::{BOUND, Tally, TestDir, close, record, stats, until};

#[test]
fn files_appear_when_they_have_their_size() {
    let dir = TestDir::new();
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
    let dir = TestDir::new();
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
