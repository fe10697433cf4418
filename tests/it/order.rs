//! Promise: records of one producer are strictly ascending within each file. A worker without progress holds its
//! share of the memory only: availability comes before order between files.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use bufferedwriter::BufferedWriter;

use crate::support::{
    Answer, BOUND, Gate, Op, Random, SetAtEnd, Tally, TestFs, WriterDir, close, record, stats,
    until,
};

#[test]
fn tiny_chunks_and_many_workers() {
    for seed in 0..3 {
        let dir = WriterDir::new();
        let config = dir.config().size(64).queue_size(4).workers(8).file_size(3000);
        let writer = BufferedWriter::new(config).unwrap();
        thread::scope(|scope| {
            for producer in 0..6_u32 {
                let writer = writer.clone();
                scope.spawn(move || {
                    let mut random = Random::new(seed << 8 | u64::from(producer));
                    let (mut own, mut buffer) = (writer.producer(), Vec::new());
                    for seq in 0..1500 {
                        record(&mut buffer, producer, seq, random.within(12, 150));
                        if producer % 2 == 0 {
                            own.write_timeout(&buffer, BOUND).unwrap();
                        } else {
                            writer.write_timeout(&buffer, BOUND).unwrap();
                        }
                        if seq % 100 == producer {
                            // Prefixes of live chunks, between the sealed ones.
                            writer.flush(BOUND).unwrap();
                            stats(&writer);
                        }
                    }
                });
            }
        });
        close(&writer);
        Tally::of(&dir).assert_ranges(&(0..6).map(|p| (p, 1500)).collect::<Vec<_>>());
        dir.assert_clean();
    }
}

/// Live chunks are scraped as often as can be, by one worker for all. Meanwhile their owners go from one chunk to
/// the next as fast as they can. Nobody changes its home, so the order holds from file to file too.
#[test]
fn scraped_all_the_time() {
    let dir = WriterDir::new();
    let config = dir.config().size(32).queue_size(500).workers(1).file_size(64 << 20);
    let writer = BufferedWriter::new(config).unwrap();
    let mut tally = Tally::across_files();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let writers: Vec<_> = (0..3_u32)
            .map(|producer| {
                let writer = &writer;
                scope.spawn(move || {
                    let (mut own, mut buffer) = (writer.producer(), Vec::new());
                    for seq in 0..30_000 {
                        record(&mut buffer, producer, seq, 14);
                        own.write_timeout(&buffer, BOUND).unwrap();
                    }
                })
            })
            .collect();
        let end = SetAtEnd(&done);
        let flusher = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let accepted = stats(&writer).accepted.records;
                writer.flush(BOUND).unwrap();
                assert!(stats(&writer).written.records >= accepted);
            }
        });
        while !writers.iter().all(|writer| writer.is_finished()) {
            tally.consume(&dir);
            thread::yield_now();
        }
        drop(end);
        flusher.join().unwrap();
    });
    close(&writer);
    tally.consume(&dir);
    tally.assert_ranges(&[(0, 30_000), (1, 30_000), (2, 30_000)]);
    dir.assert_clean();
}

#[test]
fn a_worker_that_hangs_holds_its_share_only() {
    let dir = WriterDir::new();
    let (gate, pass) = Gate::open();
    let fs = TestFs::new(move |call| {
        if call.op == Op::Write && call.worker() == Some(0) {
            pass.through();
        }
        Answer::Go
    });
    let config = dir.config().size(64).queue_size(8).workers(4).file_size(600).fs(fs);
    let writer = BufferedWriter::new(config).unwrap();
    let mut own = writer.producer();
    let mut buffer = Vec::new();
    let mut tally = Tally::default();
    let mut seq = 0;
    for round in 0..20 {
        gate.set_shut(true);
        // The producer finds another worker, and that one's files appear.
        let (files, before) = (stats(&writer).files, seq);
        until("files of workers that don't hang", || {
            record(&mut buffer, 1, seq, 40);
            own.write_timeout(&buffer, BOUND).unwrap();
            seq += 1;
            seq - before >= 100 && stats(&writer).files > files + 2
        });
        // Its share is 3 of 12. It may hold one more, since the producer saw it make progress before. It may hold
        // the share once more, since what it has taken is not counted until it has taken all.
        let backlog = stats(&writer).workers[0].backlog_chunks;
        assert!(backlog <= 7, "round {round}: the hanging worker holds {backlog} of 12 chunks");
        gate.set_shut(false);
        writer.flush(BOUND).unwrap();
        tally.look(&dir);
    }
    drop(own);
    let report = close(&writer);
    assert_eq!(report.refused.total().records, 0);
    tally.look(&dir);
    tally.assert_ranges(&[(1, seq)]);
    assert!(tally.homes[&1].len() > 1, "the home never changed: {:?}", tally.homes);
    dir.assert_clean();
}
