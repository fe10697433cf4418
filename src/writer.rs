//! The writer that users hold: clones share one.

use std::fmt;
use std::time::Duration;

use crate::config::Config;
use crate::error::{Error, FlushError, WriteError};
use crate::handle::Handle;
use crate::producer::Producer;
use crate::registry::with_slot;
use crate::report::{CloseError, Report};
use crate::stats::Stats;
use crate::submit;
use crate::sync::Arc;

/// Takes records from any thread and writes them to files that become visible complete.
///
/// Clones share one writer. When the last handle is dropped (clones and [`Producer`]s), the writer
/// is closed, and the drop waits up to [`Config::drop_timeout`]. A `static` is never dropped: close
/// it by hand at the end of `main`.
///
/// ```
/// use std::time::Duration;
/// use bufferedwriter::{BufferedWriter, Config};
///
/// # let dir = std::env::temp_dir().join(format!("bw-doc-writer-{}", std::process::id()));
/// # std::fs::create_dir_all(&dir)?;
/// let writer = BufferedWriter::new(Config::default().path(&dir).temp(&dir).prefix("access_"))?;
/// writer.write(b"it's over 9000!\n")?;
/// writer.flush(Duration::from_secs(5))?;
/// let report = writer.close(Duration::from_secs(5))?;
/// assert_eq!((report.written.records, report.files), (1, 1));
/// # std::fs::remove_dir_all(&dir)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct BufferedWriter {
    /// The handle's number, one load nearer.
    id: u64,
    handle: Arc<Handle>,
}

impl BufferedWriter {
    /// Starts a writer: its memory is mapped, not touched, its workers sleep.
    ///
    /// # Errors
    /// An option out of its range; a directory that is missing, or in which files can't be
    /// created and renamed; memory or threads that the system refuses. Nothing is left behind.
    pub fn new(config: Config) -> Result<Self, Error> {
        let handle = Arc::new(Handle::new(config)?);
        Ok(BufferedWriter { id: handle.id, handle })
    }

    /// Accepts a record: copies it and returns at once. One call, one record: its bytes will lie
    /// together in one file. Nothing is added to it, no newline either. An empty record is
    /// accepted and counted nowhere.
    ///
    /// Records of one thread are in ascending order within each file, but for those that destructors
    /// of its thread-locals write; between threads there is no order. A record is in memory until its buffer is full or due (see [`Config::forced`] and
    /// [`Config::file_age`]), or until [`flush`](Self::flush).
    ///
    /// Not to be called from a signal handler.
    ///
    /// # Errors
    /// [`WriteError::Full`] if no memory is free, [`WriteError::TooLarge`] if the record is larger
    /// than all memory, [`WriteError::Closed`] after [`close`](Self::close). The refusal is counted.
    #[inline]
    pub fn write(&self, record: &[u8]) -> Result<(), WriteError> {
        with_slot(self.id, &self.handle, |slot| {
            // SAFETY: the slot is this thread's alone, and nothing in a write calls user code that
            // could write again.
            unsafe { submit::write(&self.handle.shared, slot, record) }
        })
    }

    /// Accepts a record as [`write`](Self::write), but waits up to `timeout` for free memory.
    /// [`Duration::MAX`] = for ever.
    ///
    /// # Errors
    /// As `write`; [`WriteError::Full`] when the time is over.
    pub fn write_timeout(&self, record: &[u8], timeout: Duration) -> Result<(), WriteError> {
        with_slot(self.id, &self.handle, |slot| {
            // SAFETY: as in `write`.
            unsafe { submit::write_timeout(&self.handle.shared, slot, record, timeout) }
        })
    }

    /// A producer of its own for a hot thread.
    #[must_use]
    pub fn producer(&self) -> Producer {
        Producer::new(self.handle.clone())
    }

    /// Returns when all that was accepted before this call is in visible files.
    ///
    /// # Errors
    /// [`FlushError::TimedOut`] or [`FlushError::Io`] when `timeout` is over: the records are still
    /// accepted, and the workers keep trying. [`FlushError::Io`] also if somebody removed a temp
    /// file meanwhile: its records are counted as lost. [`FlushError::Closed`] after `close`.
    pub fn flush(&self, timeout: Duration) -> Result<(), FlushError> {
        self.handle.flush(timeout)
    }

    /// A snapshot of the accounts: `accepted == written + pending + lost.total()`.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.handle.stats()
    }

    /// Refuses further records, publishes everything and ends the workers. May be called again,
    /// and by several threads at once: the first deadline that passes ends the wait of all.
    ///
    /// # Errors
    /// When `timeout` is over before everything is in visible files: the rest is lost and counted
    /// as such, the workers publish nothing any more. The error carries the report.
    pub fn close(&self, timeout: Duration) -> Result<Report, CloseError> {
        self.handle.close(timeout)
    }
}

impl fmt::Debug for BufferedWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BufferedWriter").field("writer", &self.id).finish_non_exhaustive()
    }
}
