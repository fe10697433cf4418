//! Promise: `on_error` is told of errors and losses, at once and then at most once a second. It may use the writer
//! as the `Drop` of a message may, panic, or drop the last handle.

use std::fs;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use bufferedwriter::testing::Errno;
use bufferedwriter::{BufferedWriter, Config, ErrorEvent, FlushError};

use crate::support::{
    Answer, BOUND, Op, TestFs, WriterDir, close, removes_open_files, stats, until,
};

type Events = Arc<Mutex<Vec<(Instant, ErrorEvent)>>>;

fn listen(config: Config) -> (Events, Config) {
    let events = Events::default();
    let told = events.clone();
    let push = move |event: &ErrorEvent| told.lock().unwrap().push((Instant::now(), event.clone()));
    (events, config.on_error(push))
}

fn refuses(op: Op) -> Arc<TestFs> {
    TestFs::new(move |call| {
        if call.op == op && call.is_temp() { Answer::Error(Errno::NOSPC) } else { Answer::Go }
    })
}

#[test]
fn errors_are_told_at_once_and_then_once_a_second() {
    let dir = WriterDir::new();
    let config = dir.config().size(16).workers(1).drop_timeout(Duration::ZERO);
    let (events, config) = listen(config.fs(refuses(Op::Create)));
    assert!(format!("{:?}", config.clone()).contains("on_error: set"));
    let writer = BufferedWriter::new(config).unwrap();
    let began = Instant::now();
    writer.write(b"a record larger than a chunk").unwrap();
    until("it is told", || events.lock().unwrap().len() >= 3);
    let events = events.lock().unwrap().clone();
    let (first, event) = &events[0];
    assert_eq!((event.stall.worker, event.stall.attempts), (0, 1), "{event}");
    assert_eq!((event.stall.error.operation(), event.stall.held_chunks), ("create", 2));
    assert!(event.lost.is_zero() && event.stall.since >= began, "{event}");
    for ((before, _), (at, event)) in events.iter().zip(&events[1..]) {
        let apart = at.duration_since(*before);
        // The clock is read a little before the call.
        assert!(apart > Duration::from_millis(900), "{apart:?} apart: {event}");
        assert!(event.stall.since == events[0].1.stall.since, "{event}");
    }
    // Those that were left out show in the number.
    assert!(events[1].1.stall.attempts >= 5, "{}", events[1].1);
    assert!(first.duration_since(began) < BOUND);
}

#[test]
fn losses_are_told() {
    let dir = WriterDir::new();
    let (events, config) = listen(dir.config().size(16).workers(1));
    let writer = BufferedWriter::new(config).unwrap();
    writer.write(b"a record larger than a chunk").unwrap();
    until("it is in a file", || stats(&writer).workers[0].temp_file_bytes == 28);
    if removes_open_files() {
        dir.temps().iter().for_each(|temp| fs::remove_file(temp).unwrap());
        assert!(matches!(writer.flush(BOUND), Err(FlushError::Io(_))));
        let lost = events.lock().unwrap().iter().map(|(_, event)| event.lost.records).sum::<u64>();
        assert_eq!((lost, writer.close(BOUND).unwrap().lost.temp_file_removed.records), (1, 1));
    }

    let dir = WriterDir::new();
    let config = dir.config().size(16).workers(1).give_up_after(Duration::from_millis(50));
    let (events, config) = listen(config.fs(refuses(Op::Write)));
    let writer = BufferedWriter::new(config).unwrap();
    writer.write(b"a record larger than a chunk").unwrap();
    writer.write(b"and one more of them all").unwrap();
    assert_eq!(writer.close(BOUND).unwrap().lost.gave_up.records, 2);
    let events = events.lock().unwrap();
    let lost = events.iter().map(|(_, event)| event.lost.records).sum::<u64>();
    assert_eq!(lost, 2, "{events:?}");
    let (_, last) = events.last().unwrap();
    assert_eq!(last.stall.held_chunks, 0, "{last}");
}

#[test]
fn it_may_write_and_panic_and_must_not_wait() {
    let dir = WriterDir::new();
    let cell: Arc<OnceLock<BufferedWriter>> = Arc::default();
    let done = Arc::new(Mutex::new(0));
    let (inner, is_done) = (cell.clone(), done.clone());
    let refused = std::sync::atomic::AtomicU64::new(0);
    let fs = TestFs::new(move |call| {
        let fails = call.op == Op::Create
            && call.is_temp()
            && refused.fetch_add(1, std::sync::atomic::Ordering::SeqCst) < 2;
        if fails { Answer::Error(Errno::NOSPC) } else { Answer::Go }
    });
    let config = dir.config().size(64).workers(1).fs(fs).on_error(move |_| {
        let writer = inner.wait_for();
        writer.write(b"from a callback\n").unwrap();
        writer.write_timeout(b"and this\n", Duration::MAX).unwrap();
        assert!(matches!(writer.flush(Duration::MAX), Err(FlushError::OnWorker)));
        assert!(writer.close(Duration::MAX).is_err());
        assert!(!writer.health().is_ok());
        let stats = stats(writer);
        assert!(stats.lost.total().is_zero() && stats.workers[0].last_error.is_some());
        *is_done.lock().unwrap() += 1;
        panic!("in a callback");
    });
    let writer = BufferedWriter::new(config).unwrap();
    cell.set(writer.clone()).unwrap();
    writer.write(&[b'x'; 100]).unwrap();
    writer.flush(BOUND).unwrap();
    // The second failure is told only if the first one was a second ago.
    let done = *done.lock().unwrap();
    assert!((1..=2).contains(&done), "{done}");
    // The callback holds a handle, so the drop of this one alone would end nothing.
    let report = close(&writer);
    assert_eq!(report.written.records, 1 + 2 * done);
}

/// The writer, once it is there.
trait WaitFor {
    fn wait_for(&self) -> &BufferedWriter;
}

impl WaitFor for OnceLock<BufferedWriter> {
    fn wait_for(&self) -> &BufferedWriter {
        until("the writer is made", || self.get().is_some());
        self.get().unwrap()
    }
}

#[test]
fn the_last_handle_may_go_there() {
    for workers in 1..4 {
        let dir = WriterDir::new();
        let last: Arc<Mutex<Option<BufferedWriter>>> = Arc::default();
        let inner = last.clone();
        let failed = std::sync::atomic::AtomicBool::new(false);
        let fs = TestFs::new(move |call| {
            let first = call.op == Op::Create
                && call.is_temp()
                && !failed.swap(true, std::sync::atomic::Ordering::SeqCst);
            if first { Answer::Error(Errno::NOSPC) } else { Answer::Go }
        });
        let config = dir.config().size(64).workers(workers).fs(fs).on_error(move |_| {
            until("the last handle is here", || inner.lock().unwrap().is_some());
            let writer = inner.lock().unwrap().take();
            drop(writer);
        });
        let writer = BufferedWriter::new(config).unwrap();
        writer.write(&[b'x'; 100]).unwrap();
        *last.lock().unwrap() = Some(writer);
        until("it is closed", || dir.is_clean());
        assert_eq!(dir.contents().concat(), [b'x'; 100]);
    }
}
