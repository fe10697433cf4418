//! The writer that users hold: clones share one.

pub(crate) mod budget;
pub(crate) mod close;
pub(crate) mod handle;
pub(crate) mod inner;
pub(crate) mod io_write;
pub(crate) mod open;
pub(crate) mod producer;
pub(crate) mod snapshot;
pub(crate) mod thread_slots;

use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::time::Duration;

use crate::accept;
use crate::accept::append;
use crate::accept::formatted::RecordWriter;
use crate::config::Config;
use crate::report::close::{CloseError, CloseReport};
use crate::report::error::{Error, FlushError, SendError, WriteError};
use crate::report::health::Health;
use crate::report::recovery::Recovery;
use crate::report::stats::Stats;
use crate::writer::handle::Handle;
use crate::writer::producer::Producer;
use crate::writer::thread_slots::{cached, with_slot};

/// Takes records from any thread and writes them to files that become visible complete.
///
/// Clones share one writer. When the last handle is dropped (clones and [`Producer`]s), the writer
/// is closed, and the drop waits up to [`Config::drop_timeout`]. A `static` is never dropped: close
/// it by hand at the end of `main` (`examples/global.rs`). If not, what is in memory then is gone, no
/// report tells of it, and temp files stay behind until the next writer recovers them.
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
    handle: Handle,
}

impl BufferedWriter {
    /// Starts a writer: its memory is mapped, 256 KiB of it touched, its workers sleep.
    ///
    /// # Errors
    /// An option out of its range; a directory that is missing, or in which files can't be
    /// created and renamed; memory or threads that the system refuses. Nothing is left behind.
    pub fn new(config: Config) -> Result<Self, Error> {
        let handle = Handle::new(open::open(config)?);
        Ok(BufferedWriter { id: handle.id, handle })
    }

    /// Accepts a record: copies it and returns at once. One call, one record: its bytes will lie
    /// together in one file. Nothing is added to it, no newline either. An empty record is
    /// accepted and counted nowhere.
    ///
    /// Records of one thread are in ascending order within each file, but for those that destructors
    /// of its thread-locals write; between threads there is no order. A record is in memory until its
    /// buffer is full or due (see [`Config::forced`] and [`Config::file_age`]), or until
    /// [`flush`](Self::flush).
    ///
    /// Not to be called from a signal handler.
    ///
    /// # Errors
    /// [`WriteError::Full`] if no memory is free, [`WriteError::TooLarge`] if the record is larger
    /// than all memory, [`WriteError::Closed`] after [`close`](Self::close), [`WriteError::DiskGuard`]
    /// beyond [`Config::min_free`] or [`Config::max_total`]. The refusal is counted.
    /// [`WriteError::Forked`] in a child by `fork`, where it is not.
    #[inline]
    pub fn write(&self, record: &[u8]) -> Result<(), WriteError> {
        let slot = cached(self.id);
        // SAFETY: the number is this writer's, so the slot is of its list, which the handle keeps. It is
        // this thread's alone, and nothing calls user code while it is busy.
        if slot.is_some_and(|slot| unsafe { append::try_write(&*slot, record) }) {
            return Ok(());
        }
        self.write_slow(record)
    }

    /// Apart, so that the common case needs no more than the slot. It begins anew, which also ends what
    /// was begun.
    #[cold]
    #[inline(never)]
    fn write_slow(&self, record: &[u8]) -> Result<(), WriteError> {
        with_slot(self.id, &self.handle, |mut slot| accept::write(&mut slot, record))
    }

    /// Accepts a record as [`write`](Self::write), but waits up to `timeout` for free memory.
    /// [`Duration::MAX`] = for ever. On a thread of the writer's own, in the `Drop` of a message, it
    /// does not wait: it would wait for itself.
    ///
    /// # Errors
    /// As `write`; [`WriteError::Full`] when the time is over. It does not wait for room on the disk:
    /// [`WriteError::DiskGuard`] is returned at once.
    pub fn write_timeout(&self, record: &[u8], timeout: Duration) -> Result<(), WriteError> {
        let timeout = self.handle.patience(timeout);
        with_slot(self.id, &self.handle, |mut slot| {
            accept::write_timeout(&mut slot, record, timeout)
        })
    }

    /// Accepts a message that the caller gives away: its bytes are one record, as of
    /// [`write`](Self::write). From a quarter of [`Config::size`] on (and up to 4 GiB) it is handed
    /// over without a copy, takes as much of the writer's memory as it has bytes, and is dropped by a
    /// worker once a file has it (with [`Durability::File`](crate::Durability::File), once an fsync covers it). A
    /// smaller one is copied, and dropped before this returns.
    ///
    /// `as_ref` is called once, here; if it panics, the panic goes on, and the record is counted in
    /// [`Refused::format`](crate::Refused::format). `Drop` is called once, while the writer holds
    /// nothing: it may write, too. It holds up its worker, though; a panic in it is caught. What the
    /// message owns beyond its bytes (spare capacity, itself) is the caller's to bound.
    ///
    /// ```
    /// # use bufferedwriter::{BufferedWriter, Config};
    /// # let dir = std::env::temp_dir().join(format!("bw-doc-send-{}", std::process::id()));
    /// # let config = Config::default().path(&dir).temp(&dir).create_dirs(true);
    /// let writer = BufferedWriter::new(config)?;
    /// let body = vec![b'x'; 100_000];
    /// if let Err(refused) = writer.send(body) {
    ///     // The memory is full: the message is still there.
    ///     let body: Vec<u8> = refused.into_inner();
    ///     assert_eq!(body.len(), 100_000);
    /// }
    /// # writer.close(std::time::Duration::from_secs(5))?;
    /// # std::fs::remove_dir_all(&dir)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As `write`, with the message in it.
    pub fn send<M>(&self, message: M) -> Result<(), SendError<M>>
    where
        M: AsRef<[u8]> + Send + 'static,
    {
        // Foreign code runs before and after the slot is in use, not meanwhile.
        let message = accept::message(message, || {
            with_slot(self.id, &self.handle, |slot| slot.slot.add_refused(WriteError::Format, 0));
        });
        let result = with_slot(self.id, &self.handle, |mut slot| accept::send(&mut slot, message));
        // SAFETY: it was made of an `M`.
        unsafe { accept::sent(result) }
    }

    /// Accepts what `format` writes as one record, without a `String` in between: it is formatted
    /// where it will lie. If `format` returns an error or panics, nothing of it is kept.
    ///
    /// `format` may take its time: nobody waits for it, but this thread's buffer stays in use. It may
    /// write to the same writer: such records are accepted on their own, before or after this one,
    /// whatever becomes of it. It should not wait for memory, which may be that buffer.
    ///
    /// ```
    /// # use bufferedwriter::{BufferedWriter, Config};
    /// # let dir = std::env::temp_dir().join(format!("bw-doc-record-{}", std::process::id()));
    /// # let config = Config::default().path(&dir).temp(&dir).create_dirs(true);
    /// let writer = BufferedWriter::new(config)?;
    /// let (path, status) = ("/index.html", 200);
    /// writer.record(|w| writeln!(w, "GET {path} {status}"))?;
    /// # writer.close(std::time::Duration::from_secs(5))?;
    /// # std::fs::remove_dir_all(&dir)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As `write`; [`WriteError::Format`] if `format` returns an error of its own. With no memory
    /// free, or after `close`, `format` is not called; nor beyond the limits of the disk, unless this thread's
    /// buffer has room left.
    pub fn record(
        &self,
        format: impl FnOnce(&mut RecordWriter<'_>) -> fmt::Result,
    ) -> Result<(), WriteError> {
        with_slot(self.id, &self.handle, |slot| accept::record(slot, format))
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
    /// accepted, and the workers keep trying. [`FlushError::Io`] also if records were lost meanwhile:
    /// somebody removed a temp file, or a worker gave up ([`Config::give_up_after`]). [`FlushError::Closed`] after `close`.
    /// [`FlushError::OnWorker`] in the `Drop` of a message that runs on a thread of the writer's own.
    pub fn flush(&self, timeout: Duration) -> Result<(), FlushError> {
        self.handle.flush(timeout)
    }

    /// A snapshot of the accounts: `accepted == written + pending + lost.total()`. In a child by `fork`
    /// there are none: all is zero.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.handle.stats()
    }

    /// What holds workers up: errors that are tried again and again, and calls that have not returned for a
    /// second. Looks at what workers noted, touches no file, waits for nothing.
    ///
    /// ```
    /// # use bufferedwriter::{BufferedWriter, Config};
    /// # let dir = std::env::temp_dir().join(format!("bw-doc-health-{}", std::process::id()));
    /// # let config = Config::default().path(&dir).temp(&dir).create_dirs(true);
    /// let writer = BufferedWriter::new(config)?;
    /// let health = writer.health();
    /// for stall in &health.stalls {
    ///     eprintln!("{stall}, {} buffers wait", stall.held_chunks);
    /// }
    /// assert!(health.is_ok());
    /// # writer.close(std::time::Duration::from_secs(5))?;
    /// # std::fs::remove_dir_all(&dir)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn health(&self) -> Health {
        self.handle.health()
    }

    /// What became of the left-overs of writers that died, which this one looked for at its start: what
    /// was published, set aside, left alone, and what failed. None while that is not over, and with
    /// [`Config::recover`]`(false)`.
    #[must_use]
    pub fn recovery(&self) -> Option<Recovery> {
        self.handle.recovery()
    }

    /// Refuses further records, publishes everything and ends the workers. Waits, until its deadline, for
    /// the recovery of left-overs too; if that is not over by then, it is no error, and goes on at the
    /// next start. May be called again,
    /// and by several threads at once: the first deadline that passes ends the wait of all.
    ///
    /// # Errors
    /// When `timeout` is over before everything is in visible files: the rest is lost and counted
    /// as such, the workers publish nothing any more. The error carries the report. In the `Drop` of a
    /// message that runs on a thread of the writer's own, and in a child by `fork`, nothing is closed.
    pub fn close(&self, timeout: Duration) -> Result<CloseReport, CloseError> {
        self.handle.close(timeout)
    }
}

// Foreign code runs while nothing is half done; a panic in it leaves everything whole.
impl UnwindSafe for BufferedWriter {}
impl RefUnwindSafe for BufferedWriter {}

impl fmt::Debug for BufferedWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BufferedWriter").field("writer", &self.id).finish_non_exhaustive()
    }
}
