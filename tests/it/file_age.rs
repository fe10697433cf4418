//! Promise: a file appears when its oldest record has the age; records that are still in memory are
//! fetched for that.

use std::time::{Duration, Instant};

use bufferedwriter::BufferedWriter;

use crate::support::{Tally, WriterDir, close, record, stats, until};

#[test]
fn records_in_memory_are_fetched_in_time() {
    let dir = WriterDir::new();
    let age = Duration::from_millis(150);
    let writer = BufferedWriter::new(dir.config().file_age(age).workers(2)).unwrap();
    let mut own = writer.producer();
    let mut buffer = Vec::new();
    let began = Instant::now();
    for seq in 0..5 {
        record(&mut buffer, 0, seq, 50);
        own.write(&buffer).unwrap();
        record(&mut buffer, 1, seq, 50);
        writer.write(&buffer).unwrap();
        until("visible", || stats(&writer).pending.is_zero());
    }
    // It waits for company: the age was not ignored. No worker's clock starts before the writer's.
    assert!(began.elapsed() >= age * 3);
    drop(own);
    let report = close(&writer);
    assert!(report.files <= 20, "{report:?}");
    Tally::of(&dir).assert_ranges(&[(0, 5), (1, 5)]);
    dir.assert_clean();
}

#[test]
fn with_steady_traffic_too() {
    let dir = WriterDir::new();
    let config = dir.config().file_age(Duration::from_millis(40)).workers(2).size(512);
    let writer = BufferedWriter::new(config).unwrap();
    let (mut buffer, mut seq) = (Vec::new(), 0);
    until("ten files because of their age", || {
        record(&mut buffer, 0, seq, 50);
        writer.write(&buffer).unwrap();
        seq += 1;
        stats(&writer).files >= 10
    });
    assert!(stats(&writer).written.bytes < 64 << 20);
    close(&writer);
    Tally::of(&dir).assert_ranges(&[(0, seq)]);
    dir.assert_clean();
}
