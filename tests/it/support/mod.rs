//! What the tests have in common. Each helper checks what it touches and panics with the reason.

mod dir;
mod fs;
mod message;
mod name;
mod oracle;

pub use dir::TestDir;
pub use fs::{Answer, Call, Gate, Op, TestFs, hangs_at};
pub use message::{Drops, Message};
pub use name::Name;
pub use oracle::{Tally, record};

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bufferedwriter::{BufferedWriter, CloseReport, Error, FlushError, Stats};

/// Far more than anything takes here, also on a machine that is busy with other things.
/// Planted bugs are not worth so long a wait.
pub const BOUND: Duration = Duration::from_secs(match option_env!("BUFFEREDWRITER_SHORT_BOUND") {
    Some(_) => 8,
    None => 60,
});

/// Returns once the condition holds; panics when it does not come true.
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let began = Instant::now();
    let mut looks = 0_u32;
    while !condition() {
        assert!(began.elapsed() < BOUND, "waited in vain: {what}");
        looks += 1;
        // Yields first; later it leaves the processor to those that it waits for.
        if looks < 100 {
            thread::yield_now();
        } else {
            thread::park_timeout(Duration::from_micros(200));
        }
    }
}

/// The accounts, which must balance in every snapshot.
pub fn stats(writer: &BufferedWriter) -> Stats {
    let stats = writer.stats();
    let sum = stats.written + stats.pending + stats.lost.total();
    assert_eq!(stats.accepted, sum, "accepted == written + pending + lost: {stats:?}");
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

/// Ends a loop of another thread at the end of a scope, also when that is left by a panic: a test
/// that fails must not hang.
pub struct SetAtEnd<'a>(pub &'a AtomicBool);

impl Drop for SetAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Random numbers that are the same in each run: splitmix64 (Steele, Lea, Flood: OOPSLA 2014).
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// From `from` to `to`, both included.
    pub fn within(&mut self, from: usize, to: usize) -> usize {
        from + (self.next() % (to - from + 1) as u64) as usize
    }
}
