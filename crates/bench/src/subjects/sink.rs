//! The file that the peers' own threads write to, and how to wait for the end of such a thread.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};

use crate::subject::{Setup, Sink, Unavailable};

/// The run's file, or nothing at all.
pub struct Target {
    file: Option<File>,
    given_up: Arc<AtomicBool>,
    /// Never sends; its drop signals that the file is closed.
    _open: Sender<()>,
}

impl Write for Target {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.file {
            Some(file) if !self.given_up.load(Ordering::Relaxed) => file.write(bytes),
            _ => Ok(bytes.len()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Opens a target, behind a buffer of the same size for all peers, and what signals its close.
pub fn open(setup: &Setup) -> Result<(BufWriter<Target>, Closing), Unavailable> {
    let file = match setup.sink {
        Sink::Null => None,
        Sink::Files => Some(File::create(setup.file()).map_err(|e| Unavailable(e.to_string()))?),
    };
    let (open, closed) = crossbeam_channel::bounded(0);
    let given_up = Arc::new(AtomicBool::new(false));
    let target = Target { file, given_up: Arc::clone(&given_up), _open: open };
    Ok((BufWriter::with_capacity(setup.buffer_bytes, target), Closing { given_up, closed }))
}

/// The other end of a [`Target`].
pub struct Closing {
    given_up: Arc<AtomicBool>,
    closed: Receiver<()>,
}

impl Closing {
    /// Waits until the target is closed. After the timeout further writes are dropped, so that a thread that can't
    /// be stopped ends soon and does not disturb the next measurement.
    pub fn wait(&self, timeout: Duration) {
        if self.closed.recv_timeout(timeout) == Err(RecvTimeoutError::Timeout) {
            self.give_up();
        }
    }

    pub fn give_up(&self) {
        self.given_up.store(true, Ordering::Relaxed);
    }
}

/// Runs the end of a peer, which might block for ever. Returns whether it came back within the timeout.
pub fn within(timeout: Duration, end: impl FnOnce() + Send + 'static) -> bool {
    let (ended, wait) = crossbeam_channel::bounded::<()>(0);
    std::thread::spawn(move || {
        end();
        drop(ended);
    });
    wait.recv_timeout(timeout) == Err(RecvTimeoutError::Disconnected)
}

/// Waits for a condition. Returns whether it held within the timeout.
pub fn wait_until(timeout: Duration, mut done: impl FnMut() -> bool) -> bool {
    let began = Instant::now();
    loop {
        if done() {
            return true;
        }
        if began.elapsed() >= timeout {
            return false;
        }
        std::thread::yield_now();
    }
}

/// A record, for peers that take text.
#[inline]
pub fn text(record: &[u8]) -> &str {
    debug_assert!(std::str::from_utf8(record).is_ok());
    // SAFETY: `Writer::write` is given only UTF-8, which debug builds check. Real callers of such a peer have a
    // `str` already, so a check here (34 ns for 2048 bytes) would be charged to the peer.
    unsafe { std::str::from_utf8_unchecked(record) }
}

/// A record without the newline at its end, for peers that add their own.
#[inline]
pub fn without_newline(record: &[u8]) -> &[u8] {
    record.strip_suffix(b"\n").unwrap_or(record)
}
