//! Promise: with more threads than chunks, a thread that holds a chunk without writing gives way to one that needs
//! it. Nothing is lost by that, and nobody waits for ever.

use std::sync::Barrier;
use std::thread;

use bufferedwriter::{BufferedWriter, Durability};

use crate::support::{BOUND, Tally, WriterDir, close, record, stats};

/// Threads of little stack, all alive at once, so that each wants a chunk of its own.
fn crowd(threads: u32, chunks: usize, durability: Durability, records: u32) {
    let dir = WriterDir::new();
    let config = dir.config().queue_size(chunks - 2).workers(2).durability(durability);
    let writer = BufferedWriter::new(config).unwrap();
    let (all, writer_ref) = (Barrier::new(threads as usize), &writer);
    thread::scope(|scope| {
        for producer in 0..threads {
            let all = &all;
            let work = move || {
                let mut buffer = Vec::new();
                for seq in 0..records {
                    record(&mut buffer, producer, seq, 40);
                    writer_ref.write_timeout(&buffer, BOUND).unwrap();
                    all.wait();
                }
            };
            thread::Builder::new().stack_size(128 << 10).spawn_scoped(scope, work).unwrap();
        }
    });
    assert!(stats(&writer).memory_bytes <= chunks * 8192);
    assert_eq!(close(&writer).accepted.records, u64::from(threads * records));
    Tally::of(&dir).assert_ranges(&(0..threads).map(|p| (p, records)).collect::<Vec<_>>());
    dir.assert_clean();
}

#[test]
fn five_hundred_threads_share_ten_chunks() {
    crowd(500, 10, Durability::None, 2);
}

#[test]
fn with_sync_too() {
    crowd(100, 4, Durability::File, 2);
}

/// Without forced, file_age and traffic the workers sleep without a limit: who needs memory wakes
/// them.
#[test]
fn idle_producers_of_sleeping_workers() {
    for _ in 0..5 {
        let dir = WriterDir::new();
        let config = dir.config().size(64).queue_size(3).workers(3);
        let config = config.file_age(std::time::Duration::ZERO);
        let writer = BufferedWriter::new(config).unwrap();
        let mut buffer = Vec::new();
        let mut idle = Vec::new();
        for producer in 0..20 {
            let mut own = writer.producer();
            record(&mut buffer, producer, 0, 30);
            own.write_timeout(&buffer, BOUND).unwrap();
            idle.push(own);
        }
        // They write on, each in its turn, though their chunks were taken.
        for (producer, own) in (0..).zip(&mut idle) {
            record(&mut buffer, producer, 1, 30);
            own.write_timeout(&buffer, BOUND).unwrap();
        }
        // One that needs all chunks.
        record(&mut buffer, 20, 0, 6 * 64);
        writer.write_timeout(&buffer, BOUND).unwrap();
        close(&writer);
        let expected: Vec<_> = (0..21).map(|p| (p, if p == 20 { 1 } else { 2 })).collect();
        Tally::of(&dir).assert_ranges(&expected);
        dir.assert_clean();
    }
}
