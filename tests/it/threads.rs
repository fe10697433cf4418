//! Promise: threads may come and go. Nothing that they wrote is lost, the memory does not grow with their number,
//! and destructors of a thread may still write.

use std::cell::RefCell;
use std::thread;
use std::time::Duration;

use bufferedwriter::BufferedWriter;

use crate::support::{BOUND, Tally, WriterDir, close, record, stats, until};

#[test]
fn a_thousand_that_write_one_record() {
    let dir = WriterDir::new();
    let size = 1024;
    let writer = BufferedWriter::new(dir.config().size(size).queue_size(100)).unwrap();
    let mut memory_max = 0;
    for batch in 0..250 {
        // Scoped threads may be joined before their destructors have run; these are not.
        let threads: Vec<_> = (0..4)
            .map(|i| {
                let writer = writer.clone();
                thread::spawn(move || {
                    let mut buffer = Vec::new();
                    record(&mut buffer, batch * 4 + i, 0, 50);
                    writer.write(&buffer).unwrap();
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        memory_max = memory_max.max(stats(&writer).memory_bytes);
    }
    // Four at a time have a chunk each; 50 KB were written, which is 49 chunks.
    assert!(memory_max <= (4 + 49 + 4) * size, "{memory_max}");
    writer.flush(BOUND).unwrap();
    assert!(stats(&writer).memory_bytes <= 4 * size, "{}", stats(&writer).memory_bytes);
    assert_eq!(close(&writer).accepted.records, 1000);
    Tally::of(&dir).assert_ranges(&(0..1000).map(|p| (p, 1)).collect::<Vec<_>>());
    dir.assert_clean();
}

/// The next thread goes on with the chunk that the last one left: with one chunk in all, each
/// of them needs it.
#[test]
fn the_next_thread_inherits_the_chunk() {
    let dir = WriterDir::new();
    let writer = BufferedWriter::new(dir.config().size(4096).queue_size(0).workers(1)).unwrap();
    for producer in 0..50 {
        let writer = writer.clone();
        thread::spawn(move || {
            let mut buffer = Vec::new();
            record(&mut buffer, producer, 0, 40);
            writer.write(&buffer).unwrap();
        })
        .join()
        .unwrap();
    }
    for producer in 50..80 {
        let mut own = writer.producer();
        let mut buffer = Vec::new();
        record(&mut buffer, producer, 0, 40);
        own.write(&buffer).unwrap();
    }
    close(&writer);
    Tally::of(&dir).assert_ranges(&(0..80).map(|p| (p, 1)).collect::<Vec<_>>());
    dir.assert_clean();
}

/// Each of its records is a producer of its own. From a destructor, a thread may use another chunk for each call,
/// so there is no order to check.
struct Late {
    writer: BufferedWriter,
    producer: u32,
}

const LATE: u32 = 40;

impl Drop for Late {
    fn drop(&mut self) {
        let mut buffer = Vec::new();
        for producer in self.producer..self.producer + LATE {
            record(&mut buffer, producer, 0, 30);
            until("memory", || match producer % 3 {
                0 => self.writer.write(&buffer).is_ok(),
                1 => self.writer.send(buffer.clone()).is_ok(),
                _ => self.writer.record(|w| w.write_bytes(&buffer)).is_ok(),
            });
        }
    }
}

thread_local! {
    static FIRST: RefCell<Option<Late>> = const { RefCell::new(None) };
    static SECOND: RefCell<Option<Late>> = const { RefCell::new(None) };
}

#[test]
fn destructors_of_a_thread_may_write() {
    let dir = WriterDir::new();
    let writer = BufferedWriter::new(dir.config().size(100).queue_size(60)).unwrap();
    let threads: Vec<_> = (0..30)
        .map(|thread| {
            let writer = writer.clone();
            thread::spawn(move || {
                let first = thread * (2 * LATE + 1);
                let late = |producer| Late { writer: writer.clone(), producer };
                let mut buffer = Vec::new();
                // One is registered before the library's own destructor, the other one after it.
                FIRST.set(Some(late(first)));
                record(&mut buffer, first + 2 * LATE, 0, 30);
                writer.write_timeout(&buffer, BOUND).unwrap();
                SECOND.set(Some(late(first + LATE)));
                record(&mut buffer, first + 2 * LATE, 1, 30);
                writer.write_timeout(&buffer, BOUND).unwrap();
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    close(&writer);
    let last = 2 * LATE;
    let count = |producer| if producer % (last + 1) == last { 2 } else { 1 };
    let expected: Vec<_> = (0..30 * (last + 1)).map(|p| (p, count(p))).collect();
    Tally::of(&dir).assert_ranges(&expected);
    dir.assert_clean();
}

/// On Windows such a destructor holds a lock without which no thread begins or ends. So a close in it publishes all, and
/// waits in vain for the thread that cleans up.
#[test]
fn the_last_handle_may_go_with_a_thread_local() {
    let dir = WriterDir::new();
    let patience = if cfg!(windows) { Duration::from_secs(2) } else { BOUND };
    let writer = BufferedWriter::new(dir.config().drop_timeout(patience)).unwrap();
    thread::spawn(move || {
        let mut buffer = Vec::new();
        record(&mut buffer, LATE, 0, 30);
        writer.write(&buffer).unwrap();
        FIRST.set(Some(Late { writer, producer: 0 }));
    })
    .join()
    .unwrap();
    Tally::of(&dir).assert_ranges(&(0..=LATE).map(|p| (p, 1)).collect::<Vec<_>>());
    if cfg!(windows) {
        until("it has cleaned up", || dir.is_clean());
    }
    dir.assert_clean();
}

#[test]
fn a_producer_may_be_sent_from_thread_to_thread() {
    let dir = WriterDir::new();
    let writer = BufferedWriter::new(dir.config().size(100)).unwrap();
    let mut own = writer.producer();
    for round in 0..20 {
        own = thread::spawn(move || {
            let mut buffer = Vec::new();
            for seq in round * 20..round * 20 + 20 {
                record(&mut buffer, 0, seq, 40);
                own.write_timeout(&buffer, BOUND).unwrap();
            }
            own
        })
        .join()
        .unwrap();
    }
    close(&writer);
    Tally::of(&dir).assert_ranges(&[(0, 400)]);
    dir.assert_clean();
}
