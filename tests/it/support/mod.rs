//! What the tests have in common. Each helper checks what it touches and panics with the reason.

mod fs;
mod system;
mod tally;
mod traffic;
mod writer_dir;

pub use bufferedwriter_testkit::message::{Drops, Message};
pub use bufferedwriter_testkit::name::Name;
pub use bufferedwriter_testkit::os::{makes_links, removes_open_files};
pub use bufferedwriter_testkit::random::Random;
pub use bufferedwriter_testkit::wait::{BOUND, until};
pub use fs::{Answer, Call, Gate, Op, TestFs, fails_while_broken, hangs_at};
pub use system::{
    Traces, assert_mode, links, moves_used_dirs, not_unicode, of_this_boot, recovery_of,
    tells_path, traces,
};
pub use tally::{Tally, record};
pub use traffic::Traffic;
pub use writer_dir::WriterDir;

use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bufferedwriter::{BufferedWriter, CloseReport, Error, FlushError, Stats};

/// The accounts, which must balance in every snapshot.
pub fn stats(writer: &BufferedWriter) -> Stats {
    let stats = writer.stats();
    let sum = stats.written + stats.pending + stats.lost.total() + stats.overwritten;
    assert_eq!(
        stats.accepted, sum,
        "accepted == written + pending + lost + overwritten: {stats:?}"
    );
    assert!(stats.memory_bytes <= stats.memory_bound_bytes, "{stats:?}");
    stats
}

/// Flushes on a disk that fails, until a worker tells of the error; the flush must not succeed.
pub fn flush_error(writer: &BufferedWriter) -> Error {
    let mut found = None;
    until("the flush tells the error", || match writer.flush(Duration::from_millis(50)) {
        Err(FlushError::Io(error)) => found.replace(error).is_none(),
        // The worker has not come so far, on a machine that is busy with other things.
        Err(FlushError::TimedOut) => false,
        other => panic!("flushed on a disk that fails: {other:?}"),
    });
    found.unwrap()
}

/// Closes a writer that has nothing to complain about: everything that it accepted is visible.
pub fn close(writer: &BufferedWriter) -> CloseReport {
    let report = writer.close(BOUND).expect("a clean close");
    assert_eq!(report.accepted, report.written, "{report:?}");
    assert!(report.lost.total().is_zero() && report.unresolved.is_zero(), "{report:?}");
    let stats = stats(writer);
    assert_eq!((stats.accepted, stats.written), (report.accepted, report.written));
    assert_eq!((stats.files, stats.refused), (report.files, report.refused));
    report
}

/// Polls a future once. Nobody hears its waker.
pub fn poll<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// The result of a future that does not wait.
pub fn at_once<T>(future: impl Future<Output = T>) -> T {
    match poll(pin!(future)) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("it waits"),
    }
}

/// Ends a loop of another thread at the end of a scope, also when that is left by a panic. A test that fails must
/// not hang.
pub struct SetAtEnd<'a>(pub &'a AtomicBool);

impl Drop for SetAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
