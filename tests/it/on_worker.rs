//! Promise: the `Drop` of a message may use the writer that it was sent to. It runs on a worker, which must not
//! wait for itself. `flush` and `close` say so, and `write_timeout` does not wait. When the last handle goes there,
//! the writer is closed all the same. It may wait for others, as channels do: what is asked of the worker meanwhile
//! is heard.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use bufferedwriter::{BufferedWriter, FlushError, WriteError};

use crate::support::{Answer, BOUND, Gate, Op, TestFs, WriterDir, at_once, close, hangs_at, until};

/// Calls a function when it is dropped.
struct AtDrop<F: FnOnce() + Send>(Option<F>);

fn at_drop<F: FnOnce() + Send>(f: F) -> AtDrop<F> {
    AtDrop(Some(f))
}

impl<F: FnOnce() + Send> AsRef<[u8]> for AtDrop<F> {
    fn as_ref(&self) -> &[u8] {
        b"a message, large enough to be handed over\n"
    }
}

impl<F: FnOnce() + Send> Drop for AtDrop<F> {
    fn drop(&mut self) {
        self.0.take().unwrap()();
    }
}

#[test]
fn it_may_write_and_must_not_wait() {
    let dir = WriterDir::new();
    let writer =
        BufferedWriter::new(dir.config_without_copy().size(100).queue_size(9).workers(1)).unwrap();
    let done = Arc::new(Mutex::new(false));
    let (inner, is_done) = (writer.clone(), done.clone());
    let message = at_drop(move || {
        inner.write(b"from a drop\n").unwrap();
        inner.record(|w| writeln!(w, "a record from a {}", 5)).unwrap();
        inner.write_timeout(b"and this\n", Duration::MAX).unwrap();
        let flushed = inner.flush(Duration::MAX).unwrap_err();
        assert!(matches!(flushed, FlushError::OnWorker), "{flushed}");
        let closed = inner.close(Duration::MAX).unwrap_err();
        assert_eq!(closed.to_string(), "close: called on a worker of the writer");
        assert!(closed.report().lost.total().is_zero());
        // A record larger than all that is free now: waiting for it would be for ever.
        while inner.write(&[b'x'; 99]).is_ok() {}
        assert_eq!(inner.write_timeout(&[b'y'; 99], Duration::MAX), Err(WriteError::Full));
        assert_eq!(at_once(inner.write_async(&[b'y'; 99])), Err(WriteError::Full));
        assert_eq!(at_once(inner.send_async([b'y'; 99])).unwrap_err().kind(), WriteError::Full);
        assert!(matches!(at_once(inner.flush_async()), Err(FlushError::OnWorker)));
        let closed = at_once(inner.close_async(Duration::MAX)).unwrap_err();
        assert_eq!(closed.to_string(), "close: called on a worker of the writer");
        *is_done.lock().unwrap() = true;
    });
    assert!(writer.send(message).is_ok());
    until("it is dropped", || {
        let flushed = writer.flush(BOUND);
        assert!(flushed.is_ok(), "{flushed:?}");
        *done.lock().unwrap()
    });
    writer.write_timeout(b"still open\n", BOUND).unwrap();
    let report = close(&writer);
    assert!(report.accepted.records > 4 && report.refused.full.records >= 2, "{report:?}");
}

#[test]
fn the_last_handle_may_go_there() {
    for workers in 1..4 {
        let dir = WriterDir::new();
        let (gate, fs) = hangs_at(Op::Write);
        let config = dir.config_without_copy().size(100).workers(workers).fs(fs);
        let writer = BufferedWriter::new(config).unwrap();
        writer.write(b"before\n").unwrap();
        let inner = writer.clone();
        let message = at_drop(move || inner.write(b"the last record\n").unwrap());
        assert!(writer.send(message).is_ok());
        gate.set_shut(true);
        assert!(writer.flush(Duration::ZERO).is_err());
        until("the write hangs", || gate.waiting() == 1);
        // The message has the last one now.
        drop(writer);
        gate.set_shut(false);
        until("it is closed", || dir.is_clean());
        let all = String::from_utf8(dir.contents().concat()).unwrap();
        let mut lines: Vec<_> = all.lines().collect();
        lines.sort_unstable();
        let message = "a message, large enough to be handed over";
        assert_eq!(lines, [message, "before", "the last record"]);
    }
}

#[test]
fn the_last_handle_may_go_there_though_the_disk_hangs() {
    let dir = WriterDir::new();
    let ((write, write_pass), (rename, rename_pass)) = (Gate::open(), Gate::open());
    let fs = TestFs::new(move |call| {
        match call.op {
            Op::Write if call.is_temp() => write_pass.through(),
            Op::Rename => rename_pass.through(),
            _ => {}
        }
        Answer::Go
    });
    let config = dir
        .config_without_copy()
        .size(100)
        .workers(1)
        .drop_timeout(Duration::from_millis(1))
        .fs(fs);
    let writer = BufferedWriter::new(config).unwrap();
    let inner = writer.clone();
    assert!(writer.send(at_drop(move || drop(inner))).is_ok());
    write.set_shut(true);
    rename.set_shut(true);
    assert!(writer.flush(Duration::ZERO).is_err());
    until("the write hangs", || write.waiting() == 1);
    drop(writer);
    write.set_shut(false);
    // The writer is given up after a millisecond: before the rename, or in the middle of it.
    until("it is given up", || rename.waiting() == 1 || dir.temps().is_empty());
    rename.set_shut(false);
    until("the file is in the one place or the other", || dir.temps().is_empty());
    assert!(dir.files().len() <= 1);
}

#[test]
fn what_is_asked_while_it_parks_is_heard() {
    let dir = WriterDir::new();
    let writer = BufferedWriter::new(dir.config_without_copy().size(100).workers(1)).unwrap();
    let [entered, may_go] = [(); 2].map(|()| Arc::new(AtomicBool::new(false)));
    let message = at_drop({
        let (entered, may_go) = (entered.clone(), may_go.clone());
        move || {
            entered.store(true, Ordering::Relaxed);
            while !may_go.load(Ordering::Relaxed) {
                thread::park_timeout(Duration::from_millis(1));
            }
            // As whoever parks, it takes the wake-ups of this thread, whoever they are for.
            thread::park_timeout(Duration::ZERO);
        }
    });
    assert!(writer.send(message).is_ok());
    assert!(writer.flush(Duration::ZERO).is_err());
    until("it is dropped", || entered.load(Ordering::Relaxed));
    // Fills nothing: only a flush makes it visible.
    writer.write(b"and one more\n").unwrap();
    assert!(writer.flush(Duration::ZERO).is_err(), "the worker waits");
    may_go.store(true, Ordering::Relaxed);
    until("the flush is done", || dir.contents().concat().ends_with(b"and one more\n"));
    close(&writer);
}
