//! Tasks wait for memory: all get it, those that are dropped leave nothing, and a close refuses the rest.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};
use std::thread;
use std::time::Duration;

use bufferedwriter::{BufferedWriter, Config, WriteError};
use bufferedwriter_testkit::dir::TestDir;
use bufferedwriter_testkit::random::Random;
use bufferedwriter_testkit::record::Id;
use bufferedwriter_testkit::wait::{BOUND, until};

use crate::support::{Task, full, make, on_each, visible, waiting};

/// A hundredth of the records is larger than a chunk.
#[test]
fn ten_thousand_tasks_write_through_little_memory() {
    const TASKS: u32 = 10_000;
    const EACH: u64 = 3;
    on_each(|executor| {
        let dir = TestDir::new();
        let config = Config::default().path(dir.path()).temp(dir.path()).workers(2);
        let writer = BufferedWriter::new(config.size(1 << 10).queue_size(4)).unwrap();
        let task = |number: u32| -> Task {
            let writer = writer.clone();
            Box::pin(async move {
                for seq in 0..EACH {
                    let len = if number % 100 == 7 { 3000 } else { 30 + number as usize % 150 };
                    writer.write_async(&make(number, seq, len)).await.unwrap();
                }
            })
        };
        executor.run((0..TASKS).map(task));
        assert_eq!(waiting(&writer), (0, 0));
        let close = writer.clone();
        executor.run([Box::pin(async move {
            let report = close.close_async(BOUND).await.unwrap();
            assert_eq!(report.written.records, u64::from(TASKS) * EACH);
            assert_eq!(report.refused.full.records, 0, "a wait is no refusal");
        }) as Task]);
        let found = visible(dir.path());
        assert_eq!(found.records, u64::from(TASKS) * EACH);
        for producer in 0..TASKS {
            assert_eq!(found.count(producer, 0..=EACH - 1), EACH, "of {producer}");
        }
    });
}

#[test]
fn producers_wait_too_and_move_between_threads() {
    on_each(|executor| {
        let dir = TestDir::new();
        let (writer, gate) = full(&dir);
        let writes = |number: u32| -> Task {
            let mut producer = writer.producer();
            Box::pin(async move {
                for seq in 0..50 {
                    producer.write_async(&make(number, seq, 90)).await.unwrap();
                }
            })
        };
        let opens = thread::spawn({
            let writer = writer.clone();
            move || {
                until("all wait", || waiting(&writer).0 == 20);
                gate.open();
            }
        });
        executor.run((1..=20).map(writes));
        opens.join().unwrap();
        writer.close(BOUND).unwrap();
        assert_eq!(visible(dir.path()).records, 20 * 50);
    });
}

/// Bytes that tell whether they are still there.
struct Message(Vec<u8>, #[expect(dead_code, reason = "it counts the messages")] Arc<()>);

impl AsRef<[u8]> for Message {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// Messages that are copied, handed over, and longer than a chunk.
#[test]
fn messages_wait_and_are_dropped_once() {
    on_each(|executor| {
        let dir = TestDir::new();
        let (writer, gate) = full(&dir);
        let all = Arc::new(());
        let message = {
            let all = all.clone();
            move |number: u32, seq| {
                let len = [40, 90, 700][number as usize % 3];
                Message(make(number, seq, len), all.clone())
            }
        };
        for number in 0..3 {
            let mut future = Box::pin(writer.send_async(message(number, 99)));
            assert!(future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            assert_eq!(waiting(&writer), (1, 0));
            drop(future);
            assert_eq!((waiting(&writer), Arc::strong_count(&all)), ((0, 0), 2), "of {number}");
        }
        let sends = |number: u32| -> Task {
            let (writer, mut producer) = (writer.clone(), writer.producer());
            let message = message.clone();
            Box::pin(async move {
                for seq in 0..20 {
                    writer.send_async(message(number, 2 * seq)).await.unwrap();
                    producer.send_async(message(number, 2 * seq + 1)).await.unwrap();
                }
            })
        };
        let opens = thread::spawn({
            let writer = writer.clone();
            move || {
                until("all wait", || waiting(&writer).0 == 30);
                gate.open();
            }
        });
        executor.run((1..=30).map(sends));
        opens.join().unwrap();
        let report = writer.close(BOUND).unwrap();
        assert_eq!(report.lost.total().records, 0);
        assert_eq!(visible(dir.path()).records, 30 * 40);
        let refused = Message(Vec::new(), all.clone());
        executor.run([Box::pin(async move {
            let refused = writer.send_async(refused).await.unwrap_err();
            assert_eq!(refused.kind(), WriteError::Closed);
        }) as Task]);
        drop(message);
        assert_eq!(Arc::strong_count(&all), 1, "a message was left behind");
    });
}

/// Timeouts end waits at any moment. What was accepted is in the files, and nothing else.
#[test]
fn tasks_that_give_up_leave_no_waiter_and_keep_no_wake_up() {
    on_each(|executor| {
        let dir = TestDir::new();
        let (writer, gate) = full(&dir);
        let accepted = Arc::new(Mutex::new(BTreeSet::new()));
        let given_up = Arc::new(AtomicU32::new(0));
        let task = |number: u32| -> Task {
            let (writer, accepted) = (writer.clone(), accepted.clone());
            let (given_up, mut random) = (given_up.clone(), Random::new(number.into()));
            Box::pin(async move {
                for seq in 0..20 {
                    let record = make(number, seq, 20 + random.below(300));
                    let time = Duration::from_micros(random.below(3000) as u64);
                    match executor.within(time, writer.write_async(&record)).await {
                        Some(result) => {
                            result.unwrap();
                            accepted.lock().unwrap().insert(Id { producer: number, seq });
                        }
                        None => drop(given_up.fetch_add(1, Relaxed)),
                    }
                }
                // Without a timeout: it ends only if no wake-up was lost.
                writer.write_async(&make(number, 20, 40)).await.unwrap();
                accepted.lock().unwrap().insert(Id { producer: number, seq: 20 });
            })
        };
        let opens = thread::spawn({
            let given_up = given_up.clone();
            move || {
                until("many have given up", || given_up.load(Relaxed) >= 100);
                gate.open();
            }
        });
        executor.run((1..=200).map(task));
        opens.join().unwrap();
        assert_eq!(waiting(&writer), (0, 0));
        let report = writer.close(BOUND).unwrap();
        // Those by which the test found the memory full.
        assert!(report.refused.full.records >= 1, "{report:?}");
        let found: BTreeSet<_> = visible(dir.path()).ids().collect();
        assert!(found == *accepted.lock().unwrap(), "other records than those that were accepted");
    });
}

#[test]
fn tasks_that_wait_when_the_writer_closes_are_refused() {
    on_each(|executor| {
        let dir = TestDir::new();
        let (writer, gate) = full(&dir);
        let refused = Arc::new(AtomicU32::new(0));
        let waits = |number: u32| -> Task {
            let (writer, refused) = (writer.clone(), refused.clone());
            // Some of them need several chunks.
            let record = make(number, 0, if number.is_multiple_of(3) { 700 } else { 50 });
            Box::pin(async move {
                assert_eq!(writer.write_async(&record).await, Err(WriteError::Closed));
                refused.fetch_add(1, Relaxed);
            })
        };
        let closes = thread::spawn({
            let (writer, refused) = (writer.clone(), refused.clone());
            move || {
                until("all wait", || waiting(&writer).0 == 100);
                thread::scope(|scope| {
                    scope.spawn(|| writer.close(BOUND).unwrap());
                    // While the close waits for the worker.
                    until("all are refused", || refused.load(Relaxed) == 100);
                    gate.open();
                });
            }
        });
        executor.run((1..=100).map(waits));
        closes.join().unwrap();
        assert_eq!(waiting(&writer), (0, 0));
        assert_eq!(writer.stats().refused.closed.records, 100);
    });
}
