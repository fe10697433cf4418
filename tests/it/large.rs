//! Promise: a record larger than a chunk is whole, up to all of the memory. Beyond that it is refused as too large,
//! whatever else is going on.

use std::thread;

use bufferedwriter::{BufferedWriter, WriteError};
use bufferedwriter_testkit::emulated;

use crate::support::{BOUND, Random, Tally, WriterDir, close, record, stats};

#[test]
fn around_the_multiples_of_a_chunk() {
    for file_size in [0, 500, 64 << 20] {
        let dir = WriterDir::new();
        let (size, chunks) = (64, 9);
        let config = dir.config().size(size).queue_size(8).workers(1).file_size(file_size);
        let writer = BufferedWriter::new(config).unwrap();
        let mut own = writer.producer();
        let (mut buffer, mut seq) = (Vec::new(), 0);
        for multiple in 1..=chunks {
            for len in [multiple * size - 1, multiple * size, multiple * size + 1] {
                record(&mut buffer, 3, seq, len);
                assert_eq!(buffer.len(), len);
                if len > chunks * size {
                    let before = stats(&writer).refused;
                    assert_eq!(own.write(&buffer), Err(WriteError::TooLarge));
                    assert_eq!(own.write_timeout(&buffer, BOUND), Err(WriteError::TooLarge));
                    let after = stats(&writer).refused;
                    assert_eq!(after.too_large.records, before.too_large.records + 2);
                    assert_eq!(after.too_large.bytes, before.too_large.bytes + 2 * len as u64);
                } else {
                    // The largest ones need the chunk that the producer itself has.
                    own.write_timeout(&buffer, BOUND).unwrap();
                    seq += 1;
                    // A small one between them.
                    record(&mut buffer, 3, seq, 12);
                    own.write_timeout(&buffer, BOUND).unwrap();
                    seq += 1;
                }
                stats(&writer);
            }
        }
        drop(own);
        assert_eq!(close(&writer).refused.total().records, 2);
        Tally::of(&dir).assert_ranges(&[(3, seq)]);
        dir.assert_clean();
    }
}

#[test]
fn chunks_of_one_byte_and_records_of_two_thousand() {
    let dir = WriterDir::new();
    let config = dir.config().size(1).queue_size(9000).workers(3).file_size(30_000);
    let writer = BufferedWriter::new(config).unwrap();
    // On Windows each byte is a write of its own, which takes long under Wine.
    let each = if cfg!(windows) { 60 / emulated::fewer() as u32 } else { 60 };
    write_from_many_threads(&writer, 8, each, 1950, 2050);
    close(&writer);
    Tally::of(&dir).assert_ranges(&(0..8).map(|p| (p, each)).collect::<Vec<_>>());
    dir.assert_clean();
}

#[test]
fn small_and_large_ones_from_many_threads() {
    let dir = WriterDir::new();
    let config = dir.config().size(256).queue_size(60).workers(4).file_size(30_000);
    let writer = BufferedWriter::new(config).unwrap();
    write_from_many_threads(&writer, 8, 800, 12, 4000);
    close(&writer);
    Tally::of(&dir).assert_ranges(&(0..8).map(|p| (p, 800)).collect::<Vec<_>>());
    dir.assert_clean();
}

fn write_from_many_threads(
    writer: &BufferedWriter,
    threads: u32,
    records: u32,
    min: usize,
    max: usize,
) {
    thread::scope(|scope| {
        for producer in 0..threads {
            scope.spawn(move || {
                let (mut random, mut buffer) = (Random::new(producer.into()), Vec::new());
                for seq in 0..records {
                    record(&mut buffer, producer, seq, random.within(min, max));
                    writer.write_timeout(&buffer, BOUND).unwrap();
                }
                stats(writer);
            });
        }
    });
}
