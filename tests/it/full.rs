//! Promise: without free memory a write says so at once, counts it, and leaves the decision to the caller. A
//! `write_timeout` waits its time and counts once. When the disk goes on, so does all.

use std::time::{Duration, Instant};

use bufferedwriter::{BufferedWriter, WriteError};

use crate::support::{BOUND, Op, Tally, WriterDir, close, hangs_at, record, stats, until};

#[test]
fn one_chunk_and_a_disk_that_hangs() {
    let dir = WriterDir::new();
    let (gate, fs) = hangs_at(Op::Write);
    let config = dir.config().size(64).queue_size(0).workers(1).file_size(0).fs(fs);
    let writer = BufferedWriter::new(config).unwrap();
    let mut own = writer.producer();
    let (mut buffer, mut refused, mut seq) = (Vec::new(), 0_u64, 0);
    for round in 1..=5_u64 {
        gate.set_shut(true);
        record(&mut buffer, 7, seq, 64);
        own.write_timeout(&buffer, BOUND).unwrap();
        seq += 1;
        // It fills the only chunk: the next one is refused, at once, however often it tries.
        record(&mut buffer, 7, seq, 64);
        let began = Instant::now();
        for _ in 0..1000 {
            assert_eq!(own.write(&buffer), Err(WriteError::Full));
        }
        assert!(began.elapsed() < BOUND / 2);
        refused += 1000;
        until("the worker hangs", || gate.waiting() == 1);
        // Another thread's slot has no chunk at all.
        assert_eq!(writer.write(&buffer), Err(WriteError::Full));
        let began = Instant::now();
        let wait = Duration::from_millis(20);
        assert_eq!(own.write_timeout(&buffer, wait), Err(WriteError::Full));
        assert!(began.elapsed() >= wait && began.elapsed() < BOUND);
        assert_eq!(own.write_timeout(&buffer, Duration::ZERO), Err(WriteError::Full));
        refused += 3;
        let now = stats(&writer);
        assert_eq!(now.refused.full.records, refused);
        assert_eq!(now.refused.full.bytes, refused * 64);
        assert_eq!((now.accepted.records, now.pending.records), (u64::from(seq), 1));
        assert_eq!((now.written.records, now.memory_bytes), (round * 2 - 2, 64));

        gate.set_shut(false);
        own.write_timeout(&buffer, Duration::MAX).unwrap();
        seq += 1;
        writer.flush(BOUND).unwrap();
    }
    drop(own);
    let report = close(&writer);
    assert_eq!(report.refused.total().records, refused);
    Tally::of(&dir).assert_ranges(&[(7, seq)]);
    dir.assert_clean();
}

#[test]
fn who_waits_is_woken_when_the_disk_goes_on_and_when_the_writer_closes() {
    for closes in [false, true] {
        let dir = WriterDir::new();
        let (gate, fs) = hangs_at(Op::Write);
        let config = dir.config().size(64).queue_size(1).workers(1).fs(fs);
        let writer = BufferedWriter::new(config).unwrap();
        gate.set_shut(true);
        let mut buffer = Vec::new();
        let mut accepted = 0;
        record(&mut buffer, 0, accepted, 64);
        while writer.write(&buffer).is_ok() {
            accepted += 1;
            record(&mut buffer, 0, accepted, 64);
        }
        assert_eq!(accepted, 2);
        until("the worker hangs", || gate.waiting() == 1);
        std::thread::scope(|scope| {
            let waiters: Vec<_> = (1..=2)
                .map(|producer| {
                    let writer = &writer;
                    scope.spawn(move || {
                        let mut buffer = Vec::new();
                        record(&mut buffer, producer, 0, 64);
                        writer.write_timeout(&buffer, Duration::MAX)
                    })
                })
                .collect();
            if closes {
                assert!(writer.close(Duration::ZERO).is_err());
                for waiter in waiters {
                    assert_eq!(waiter.join().unwrap(), Err(WriteError::Closed));
                }
                let now = stats(&writer);
                assert_eq!((now.lost.shutdown.records, now.pending.records), (2, 0));
                assert_eq!((now.refused.closed.records, now.refused.full.records), (2, 1));
            } else {
                gate.set_shut(false);
                for waiter in waiters {
                    waiter.join().unwrap().unwrap();
                }
            }
        });
        if !closes {
            close(&writer);
            Tally::of(&dir).assert_ranges(&[(0, 2), (1, 1), (2, 1)]);
            dir.assert_clean();
        }
    }
}

/// Chunks that producers hold without writing go to those that need them.
#[test]
fn idle_producers_give_way() {
    let dir = WriterDir::new();
    let writer = BufferedWriter::new(dir.config().size(64).queue_size(1).workers(1)).unwrap();
    let mut buffer = Vec::new();
    let mut idle = Vec::new();
    for producer in 0..8 {
        let mut own = writer.producer();
        record(&mut buffer, producer, 0, 20);
        let accepted = own.write_timeout(&buffer, Duration::from_secs(5));
        assert_eq!(accepted, Ok(()), "{producer} idle producers hold all of the memory");
        idle.push(own);
    }
    // A record that needs all chunks.
    record(&mut buffer, 8, 0, 128);
    writer.write_timeout(&buffer, Duration::from_secs(5)).unwrap();
    close(&writer);
    Tally::of(&dir).assert_ranges(&(0..9).map(|p| (p, 1)).collect::<Vec<_>>());
    dir.assert_clean();
}
