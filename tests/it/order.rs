//! Promise: records of one producer are strictly ascending within each file, and a worker without
//! progress holds its share of the memory only: availability before order between files.

use std::thread;

use bufferedwriter::BufferedWriter;

use crate::support::{
    Answer, BOUND, Gate, Op, Random, Tally, TestDir, TestFs, close, record, stats, until,
};

#[test]
fn tiny_chunks_and_many_workers() {
    for seed in 0..3 {
        let dir = TestDir::new();
        let config = dir.config().size(64).queue_size(4).workers(8).file_size(3000);
        let writer = BufferedWriter::new(config).unwrap();
        thread::scope(|scope| {
            for producer in 0..6_u32 {
                let writer = writer.clone();
                scope.spawn(move || {
                    let mut random = Random(seed << 8 | u64::from(producer));
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

#[test]
fn a_worker_that_hangs_holds_its_share_only() {
    let dir = TestDir::new();
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
        // Its share is 3 of 12; one more, since the producer saw it make progress before.
        let backlog = stats(&writer).workers[0].backlog_chunks;
        assert!(backlog <= 4, "round {round}: the hanging worker holds {backlog} of 12 chunks");
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
