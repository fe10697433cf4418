//! Promise: with `forced`, a record becomes visible without any further call, whichever way it was
//! written and however deep the worker sleeps.

use std::thread;
use std::time::{Duration, Instant};

use bufferedwriter::BufferedWriter;

use crate::support::{BOUND, Random, Tally, WriterDir, close, record, stats, until};

#[test]
fn one_record_and_no_further_call() {
    let dir = WriterDir::new();
    let config = dir.config().forced(Duration::from_millis(10)).workers(2).size(256);
    let writer = BufferedWriter::new(config).unwrap();
    let mut own = writer.producer();
    let (mut random, mut buffer, mut tally) = (Random::new(1), Vec::new(), Tally::default());
    for seq in 0..150 {
        for producer in [0, 1] {
            // One that stays in its chunk, one that seals a chunk, a large one.
            record(&mut buffer, producer, seq, [12, 200, 700][random.within(0, 2)]);
            match producer {
                0 => writer.write(&buffer).unwrap(),
                _ => own.write(&buffer).unwrap(),
            }
            if random.within(0, 3) == 0 {
                // Both at once.
                continue;
            }
            until("the record is visible", || {
                tally.look(&dir);
                tally.has(producer, seq)
            });
            stats(&writer);
            // The next one comes at any moment of the worker's way to sleep.
            let (began, pause) = (Instant::now(), Duration::from_micros(random.next() % 3000));
            while random.within(0, 1) == 0 && began.elapsed() < pause {
                std::hint::spin_loop();
            }
        }
    }
    until("all records are visible", || {
        tally.look(&dir);
        tally.found.records == 300
    });
    drop(own);
    close(&writer);
    tally.assert_ranges(&[(0, 150), (1, 150)]);
    dir.assert_clean();
}

/// A worker is in deep sleep at the latest when it has been idle for some tenths of a second. The long age of
/// another writer's file tells the time without a sleep.
#[test]
fn after_a_long_rest() {
    let dir = WriterDir::new();
    let config = dir.config().forced(Duration::from_millis(30)).workers(3);
    let writer = BufferedWriter::new(config).unwrap();
    let mut own = writer.producer();
    let (mut buffer, mut tally) = (Vec::new(), Tally::default());
    let clock_dir = WriterDir::new();
    let clock = clock_dir.config().forced(Duration::from_millis(400)).workers(1);
    let clock = BufferedWriter::new(clock).unwrap();
    for seq in 0..6 {
        clock.write(b"tick\n").unwrap();
        until("a while is over", || stats(&clock).pending.is_zero());
        record(&mut buffer, 0, seq, 100);
        own.write(&buffer).unwrap();
        until("a producer's record is visible", || stats(&writer).pending.is_zero());
        record(&mut buffer, 1, seq, 100);
        writer.write(&buffer).unwrap();
        until("a writer's record is visible", || stats(&writer).pending.is_zero());
        tally.look(&dir);
        assert!(tally.has(0, seq) && tally.has(1, seq));
    }
    drop(own);
    close(&writer);
    close(&clock);
    tally.assert_ranges(&[(0, 6), (1, 6)]);
    dir.assert_clean();
}

#[test]
fn many_producers_that_rarely_write() {
    let dir = WriterDir::new();
    let config = dir.config().forced(Duration::from_millis(5)).workers(4).size(64).queue_size(60);
    let writer = BufferedWriter::new(config).unwrap();
    thread::scope(|scope| {
        for producer in 0..8_u32 {
            let writer = writer.clone();
            scope.spawn(move || {
                let (mut random, mut buffer) = (Random::new(producer.into()), Vec::new());
                for seq in 0..40 {
                    record(&mut buffer, producer, seq, random.within(12, 100));
                    writer.write_timeout(&buffer, BOUND).unwrap();
                    // Until the workers have come to rest, or not quite.
                    if random.within(0, 1) == 0 {
                        let all = stats(&writer).accepted.records;
                        until("visible", || stats(&writer).written.records >= all);
                    }
                }
            });
        }
    });
    until("all are visible, nobody asks for it", || stats(&writer).pending.is_zero());
    Tally::of(&dir).assert_ranges(&(0..8).map(|p| (p, 40)).collect::<Vec<_>>());
    close(&writer);
    dir.assert_clean();
}

/// The records that follow the one that woke a worker neither ring nor wake it, until they are due. Only Linux says how
/// often a thread slept.
#[cfg(target_os = "linux")]
#[test]
fn records_before_the_oldest_is_due_wake_nobody() {
    use bufferedwriter_testkit::process;
    let dir = WriterDir::new();
    let worker = std::sync::Arc::new(std::sync::Mutex::new(None));
    let noted = worker.clone();
    let fs = crate::support::TestFs::new(move |call| {
        if call.op == crate::support::Op::Create && call.is_temp() {
            *noted.lock().unwrap() = Some(rustix::thread::gettid().as_raw_nonzero());
        }
        crate::support::Answer::Go
    });
    let config = dir.config().forced(Duration::from_secs(30)).workers(1).fs(fs);
    let writer = BufferedWriter::new(config).unwrap();
    let mut buffer = Vec::new();
    record(&mut buffer, 0, 0, 20);
    writer.write(&buffer).unwrap();
    writer.flush(BOUND).unwrap();
    let tid = worker.lock().unwrap().unwrap();
    let wakes = || process::number(format!("self/task/{tid}"), "voluntary_ctxt_switches:");
    // Woken, it runs at once; so between two records it is seen asleep, or about to wake.
    let asleep = || process::status(format!("self/task/{tid}"), "State:").starts_with('S');
    let before = wakes();
    for seq in 1..=100 {
        record(&mut buffer, 0, seq, 20);
        writer.write(&buffer).unwrap();
        until("the worker sleeps", asleep);
    }
    let woken = wakes() - before;
    close(&writer);
    assert!(woken < 20, "the worker woke {woken} times for 100 records");
    Tally::of(&dir).assert_ranges(&[(0, 101)]);
    dir.assert_clean();
}
