//! Tasks wait for a flush.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use bufferedwriter::FlushError;
use bufferedwriter_testkit::dir::TestDir;
use bufferedwriter_testkit::record::Id;
use bufferedwriter_testkit::wait::{BOUND, until};

use crate::support::{Task, full, make, on_each, small, visible, waiting};

#[test]
fn after_a_flush_by_many_tasks_each_record_is_visible() {
    on_each(|executor| {
        let dir = TestDir::new();
        let writer = small(&dir);
        let task = |number: u32| -> Task {
            let (writer, dir) = (writer.clone(), dir.path().to_owned());
            Box::pin(async move {
                writer.write_async(&make(number, 0, 40)).await.unwrap();
                writer.flush_async().await.unwrap();
                if number.is_multiple_of(100) {
                    assert!(visible(&dir).contains(Id { producer: number, seq: 0 }));
                }
            })
        };
        executor.run((0..1000).map(task));
        assert_eq!(waiting(&writer), (0, 0));
        assert_eq!(visible(dir.path()).records, 1000);
        writer.close(BOUND).unwrap();
        let late = writer.clone();
        executor.run([Box::pin(async move {
            assert!(matches!(late.flush_async().await, Err(FlushError::Closed)));
        }) as Task]);
    });
}

#[test]
fn a_flush_that_is_dropped_leaves_no_waiter_and_goes_on() {
    on_each(|executor| {
        let dir = TestDir::new();
        let (writer, gate) = full(&dir);
        let given_up = Arc::new(AtomicU32::new(0));
        let task = |_| -> Task {
            let (writer, given_up) = (writer.clone(), given_up.clone());
            Box::pin(async move {
                let flushed = executor.within(Duration::from_millis(2), writer.flush_async()).await;
                assert!(flushed.is_none(), "{flushed:?} though the worker hangs");
                given_up.fetch_add(1, Relaxed);
                writer.flush_async().await.unwrap();
            })
        };
        let opens = thread::spawn({
            let (writer, given_up) = (writer.clone(), given_up.clone());
            move || {
                until("all have given up once", || given_up.load(Relaxed) == 50);
                until("and wait again", || waiting(&writer).1 == 50);
                gate.open();
            }
        });
        executor.run((0..50).map(task));
        opens.join().unwrap();
        assert_eq!(waiting(&writer), (0, 0));
        assert_eq!(writer.stats().pending.records, 0);
    });
}
