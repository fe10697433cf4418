//! Promise: every snapshot of the accounts balances, also while others write; and what was accepted
//! or refused by the end is what the callers saw.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use bufferedwriter::{Count, WriteError};

use crate::support::{BOUND, Random, SetAtEnd, Tally, WriterDir, close, record, stats};

#[test]
fn snapshots_balance_while_others_write() {
    let dir = WriterDir::new();
    let config = dir.config().size(128).queue_size(24).workers(3).file_size(4000);
    let writer = bufferedwriter::BufferedWriter::new(config).unwrap();
    let done = AtomicBool::new(false);
    let (accepted, full, snapshots) = thread::scope(|scope| {
        let end = SetAtEnd(&done);
        let watch = scope.spawn(|| {
            let (mut snapshots, mut before) = (0_u64, stats(&writer));
            while !done.load(Ordering::Relaxed) {
                let now = stats(&writer);
                assert!(now.accepted.records >= before.accepted.records);
                assert!(now.accepted.bytes >= before.accepted.bytes);
                assert!(now.written.records >= before.written.records);
                assert!(now.refused.full.records >= before.refused.full.records);
                assert!(now.files >= before.files);
                assert_eq!(now.workers.len(), 3);
                assert!(now.memory_bytes <= 27 * 128);
                before = now;
                snapshots += 1;
                // Lets the writers write, where there are few processors.
                thread::yield_now();
            }
            snapshots
        });
        let threads: Vec<_> = (0..4_u32)
            .map(|producer| {
                let writer = &writer;
                scope.spawn(move || {
                    let (mut accepted, mut full) = (Count::default(), Count::default());
                    let (mut random, mut buffer) = (Random::new(producer.into()), Vec::new());
                    let mut own = (producer % 2 == 0).then(|| writer.producer());
                    let mut seq = 0;
                    while seq < 4000 {
                        record(&mut buffer, producer, seq, random.within(20, 300));
                        // Now and then one that doesn't wait, and may be refused.
                        let result = match &mut own {
                            Some(own) if seq % 4 == 0 => own.write(&buffer),
                            Some(own) => own.write_timeout(&buffer, BOUND),
                            None if seq % 4 == 0 => writer.write(&buffer),
                            None => writer.write_timeout(&buffer, BOUND),
                        };
                        let count = match result {
                            Ok(()) => {
                                seq += 1;
                                &mut accepted
                            }
                            Err(WriteError::Full) => &mut full,
                            Err(other) => panic!("{other}"),
                        };
                        count.records += 1;
                        count.bytes += buffer.len() as u64;
                        if seq % 500 == 0 {
                            stats(writer);
                        }
                    }
                    (accepted, full)
                })
            })
            .collect();
        let sums = threads.into_iter().map(|thread| thread.join().unwrap());
        let sums = sums.reduce(|a, b| (a.0 + b.0, a.1 + b.1)).unwrap();
        drop(end);
        (sums.0, sums.1, watch.join().unwrap())
    });
    assert!(snapshots > 0);
    let report = close(&writer);
    assert_eq!((report.accepted, report.refused.full), (accepted, full));
    assert_eq!(report.refused.total(), full);
    let tally = Tally::of(&dir);
    tally.assert_ranges(&[(0, 4000), (1, 4000), (2, 4000), (3, 4000)]);
    assert_eq!((tally.found.bytes, tally.found.files), (accepted.bytes, report.files));
    dir.assert_clean();
}

#[test]
fn an_empty_record_is_accepted_and_counted_nowhere() {
    let dir = WriterDir::new();
    let writer = bufferedwriter::BufferedWriter::new(dir.config()).unwrap();
    writer.write(b"").unwrap();
    writer.producer().write(b"").unwrap();
    writer.flush(BOUND).unwrap();
    let now = stats(&writer);
    assert!(now.accepted.is_zero() && now.refused.total().is_zero());
    writer.write(b"a\n").unwrap();
    writer.write(b"").unwrap();
    let report = close(&writer);
    assert_eq!((report.accepted.records, report.accepted.bytes, report.files), (1, 2, 1));
    dir.assert_clean();
}
