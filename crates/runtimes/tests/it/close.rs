//! Tasks close the writer.

use std::time::Duration;

use bufferedwriter::{BufferedWriter, FlushError, WriteError};
use bufferedwriter_testkit::dir::TestDir;
use bufferedwriter_testkit::wait::BOUND;

use crate::support::{Executor, Task, full, make, on_each, small, visible, waiting};

/// Runs one task.
fn run(executor: Executor, task: impl Future<Output = ()> + Send + 'static) {
    executor.run([Box::pin(task) as Task]);
}

#[test]
fn a_close_by_many_tasks_gives_each_the_same_report() {
    on_each(|executor| {
        let dir = TestDir::new();
        let writer = small(&dir);
        for seq in 0..9 {
            writer.write(&make(1, seq, 20)).unwrap();
        }
        let close = |_| -> Task {
            let writer = writer.clone();
            Box::pin(async move {
                let report = writer.close_async(BOUND).await.unwrap();
                assert_eq!((report.accepted.records, report.written.records), (9, 9));
            })
        };
        executor.run((0..20).map(close));
        assert_eq!(visible(dir.path()).records, 9);
    });
}

#[test]
fn a_close_that_is_dropped_goes_on_and_another_one_waits_for_its_end() {
    on_each(|executor| {
        let dir = TestDir::new();
        let (writer, gate) = full(&dir);
        run(executor, async move {
            let close = writer.close_async(BOUND);
            assert!(executor.within(Duration::from_millis(20), close).await.is_none());
            assert_eq!(writer.write_async(b"late\n").await, Err(WriteError::Closed));
            assert!(matches!(writer.flush_async().await, Err(FlushError::Closed)));
            gate.open();
            let report = writer.close_async(BOUND).await.unwrap();
            assert_eq!(report.accepted, report.written);
        });
    });
}

#[test]
fn a_deadline_that_passes_is_an_error_with_the_report_and_ends_flushes() {
    on_each(|executor| {
        let dir = TestDir::new();
        let (writer, gate) = full(&dir);
        let flush = writer.clone();
        let flush: Task = Box::pin(async move {
            assert!(matches!(flush.flush_async().await, Err(FlushError::Closed)));
        });
        let close: Task = Box::pin(async move {
            while waiting(&writer).1 == 0 {
                executor.within(Duration::from_millis(1), std::future::pending::<()>()).await;
            }
            let error = writer.close_async(Duration::from_millis(20)).await.unwrap_err();
            let report = error.report();
            assert!(!report.lost.shutdown.is_zero(), "{report:?}");
            assert_eq!(report.accepted, report.written + report.lost.total() + report.unresolved);
            gate.open();
        });
        executor.run([flush, close]);
    });
}

/// A future does nothing before its first poll.
#[test]
fn a_close_that_is_never_polled_closes_nothing() {
    let dir = TestDir::new();
    let writer = small(&dir);
    drop(writer.close_async(Duration::ZERO));
    writer.write(&make(1, 0, 20)).unwrap();
    writer.close(BOUND).unwrap();
    assert_eq!(visible(dir.path()).records, 1);
}

#[test]
fn all_futures_can_be_sent() {
    fn is_send<T: Send>(_: &T) {}
    let dir = TestDir::new();
    let writer: BufferedWriter = small(&dir);
    let mut producer = writer.producer();
    is_send(&writer.write_async(b""));
    is_send(&writer.flush_async());
    is_send(&writer.close_async(BOUND));
    is_send(&producer.write_async(b""));
    is_send(&writer.send_async(Vec::new()));
    is_send(&producer.send_async(Vec::new()));
}
