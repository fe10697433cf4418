//! Promise: two writers in one process may have the same directories and the same prefix. They don't touch each
//! other's records or files, and the threads' chunks are not mixed up.

use std::collections::BTreeSet;
use std::thread;

use bufferedwriter::{BufferedWriter, WriteError};

use crate::support::{BOUND, Tally, WriterDir, close, record, stats};

#[test]
fn in_the_same_directory_with_the_same_prefix() {
    let dir = WriterDir::new();
    let config = dir.config().size(200).queue_size(30).workers(2).file_size(2000);
    let writers = [(); 2].map(|()| BufferedWriter::new(config.clone()).unwrap());
    thread::scope(|scope| {
        for thread in 0..4_u32 {
            let writers = &writers;
            scope.spawn(move || {
                let mut buffer = Vec::new();
                for seq in 0..1000 {
                    // Each thread writes to both in turn: its producer numbers tell which is which.
                    for (i, writer) in (0..).zip(writers) {
                        record(&mut buffer, thread * 2 + i, seq, 20 + seq as usize % 100);
                        writer.write_timeout(&buffer, BOUND).unwrap();
                    }
                }
            });
        }
    });
    for writer in &writers {
        assert_eq!(stats(writer).accepted.records, 4000);
    }
    // One ends, the other goes on.
    close(&writers[0]);
    assert_eq!(writers[0].write(b"late\n"), Err(WriteError::Closed));
    let mut buffer = Vec::new();
    record(&mut buffer, 8, 0, 50);
    writers[1].write_timeout(&buffer, BOUND).unwrap();
    writers[1].flush(BOUND).unwrap();
    close(&writers[1]);
    let mut expected: Vec<_> = (0..8).map(|producer| (producer, 1000)).collect();
    expected.push((8, 1));
    Tally::of(&dir).assert_ranges(&expected);
    let files = dir.files();
    let instances: BTreeSet<_> = files.iter().map(|(name, _)| name.instance.clone()).collect();
    assert_eq!(instances.len(), 2);
    let stamps: BTreeSet<_> = files.iter().map(|(name, _)| name.stamp.clone()).collect();
    assert_eq!(stamps.len(), files.len(), "stamps are unique in the process");
    dir.assert_clean();
}

#[test]
fn one_after_the_other_on_the_same_thread() {
    let dir = WriterDir::new();
    let mut buffer = Vec::new();
    for seq in 0..50 {
        let writer = BufferedWriter::new(dir.config().workers(1).queue_size(2)).unwrap();
        record(&mut buffer, 0, seq, 50);
        writer.write(&buffer).unwrap();
        if seq % 2 == 0 {
            close(&writer);
            assert_eq!(writer.write(&buffer), Err(WriteError::Closed));
        }
    }
    Tally::of(&dir).assert_ranges(&[(0, 50)]);
    dir.assert_clean();
}

/// Of use to servers that catch the panics of their handlers.
#[test]
fn a_panic_beside_a_writer_does_it_no_harm() {
    fn is_safe<T: std::panic::UnwindSafe + std::panic::RefUnwindSafe>() {}
    is_safe::<BufferedWriter>();
    is_safe::<bufferedwriter::Producer>();
}
