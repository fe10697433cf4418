//! Promise: a file is visible complete, with whole records, whenever anybody looks. Here 16 threads write, and a
//! reader checks and removes each file as soon as it sees it.

use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use bufferedwriter::BufferedWriter;

use crate::support::{BOUND, Random, Tally, WriterDir, close, record, stats};

const THREADS: u32 = 16;

#[test]
fn sixteen_threads_and_a_reader() {
    let records = std::env::var("BUFFEREDWRITER_RECORDS");
    let records: u32 = records.map_or(300_000, |text| text.parse().expect("a number of records"));
    let each = records / THREADS;
    let dir = WriterDir::new();
    let config = dir.config().size(8192).queue_size(256).workers(4).file_size(1 << 20);
    let writer = BufferedWriter::new(config).unwrap();
    let running = AtomicU32::new(THREADS);
    let tally = thread::scope(|scope| {
        for producer in 0..THREADS {
            let (writer, running) = (writer.clone(), &running);
            scope.spawn(move || {
                let (mut random, mut buffer) = (Random::new(producer.into()), Vec::new());
                let mut own = (producer % 2 == 0).then(|| writer.producer());
                for seq in 0..each {
                    record(&mut buffer, producer, seq, random.within(20, 2000));
                    match &mut own {
                        Some(own) => own.write_timeout(&buffer, BOUND),
                        None => writer.write_timeout(&buffer, BOUND),
                    }
                    .unwrap();
                }
                running.fetch_sub(1, Ordering::Release);
            });
        }
        let mut tally = Tally::default();
        while running.load(Ordering::Acquire) > 0 {
            tally.consume(&dir);
            dir.assert_nothing_hidden();
            stats(&writer);
            thread::yield_now();
        }
        tally
    });
    let mut tally = tally;
    let report = close(&writer);
    tally.consume(&dir);
    tally.assert_ranges(&(0..THREADS).map(|p| (p, each)).collect::<Vec<_>>());
    assert_eq!(
        (tally.found.records, tally.found.bytes),
        (report.written.records, report.written.bytes)
    );
    assert_eq!(tally.found.files, report.files);
    dir.assert_clean();
}
