//! The writer that users hold. Clones share one writer.

pub(crate) mod async_calls;
pub(crate) mod budget;
pub(crate) mod close;
pub(crate) mod dump;
pub(crate) mod guard;
pub(crate) mod handle;
pub(crate) mod inner;
pub(crate) mod io_write;
mod make_room;
pub(crate) mod open;
pub(crate) mod producer;
mod reconfigure;
mod refresher;
pub(crate) mod snapshot;
pub(crate) mod thread_slots;

use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::time::Duration;

use crate::accept::formatted::RecordWriter;
use crate::accept::{self, Sent, append};
use crate::config::Config;
use crate::memory::message::Message;
use crate::memory::slot::owned::OwnedSlot;
use crate::report::close::{CloseError, CloseReport};
use crate::report::error::{Error, FlushError, SendError, WriteError};
use crate::report::health::Health;
use crate::report::recovery::Recovery;
use crate::report::stats::Stats;
use crate::writer::guard::CloseGuard;
use crate::writer::handle::Handle;
use crate::writer::producer::Producer;
use crate::writer::thread_slots::{cached, with_slot};

/// Accepts records from any thread and writes them to files that become visible when they are
/// complete.
///
/// Clones share one writer. When the last handle (a clone or a [`Producer`]) is dropped, the writer
/// is closed; the drop waits up to [`Config::drop_timeout`].
///
/// A `static` is never dropped: call [`close`](Self::close) at the end of `main`
/// (`examples/global.rs`). Without it the records in memory vanish and no report counts them. Temp
/// files then stay until the next writer recovers them.
///
/// [`flush`](Self::flush), [`close`](Self::close) and the drop of the last handle block their
/// thread. On an async executor's thread use [`flush_async`](Self::flush_async) and
/// [`close_async`](Self::close_async); after a close the drop does not block.
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
    /// A copy of the handle's number, to save a load in `write`.
    pub(super) id: u64,
    pub(super) handle: Handle,
}

impl BufferedWriter {
    /// Starts a writer: maps its memory, touches 256 KiB of it (or all: [`Config::populate`]), and starts the workers, which
    /// sleep.
    ///
    /// # Errors
    /// An option is out of its range. A directory is missing, or files can't be created and renamed
    /// in it. The system refuses memory, threads, or to lock memory ([`Config::populate`]). After an
    /// error nothing is left behind.
    pub fn new(config: Config) -> Result<Self, Error> {
        let handle = Handle::new(open::open(config)?);
        Ok(BufferedWriter { id: handle.id, handle })
    }

    /// Accepts a record: copies it and returns. It never waits for a disk.
    ///
    /// One call is one record: its bytes will lie together in one file. Nothing is added, not even
    /// a newline. An empty record is accepted and not counted.
    ///
    /// Within a file, the records of one thread are in the order of its calls, except those that
    /// destructors of its thread-locals write. Between threads there is no order.
    ///
    /// A record stays in memory until its chunk ([`Config::size`] bytes that one thread fills) is
    /// full or due ([`Config::forced`], [`Config::file_age`]), or until [`flush`](Self::flush).
    ///
    /// Workers make memory resident ahead, so that a call rarely meets a page fault. They can't do
    /// that with a [`size`](Config::size) above 4 MiB, nor when the system is short of memory.
    /// [`Config::populate`] has all memory resident and locked from the start.
    ///
    /// Do not call it from a signal handler.
    ///
    /// # Errors
    /// [`WriteError::Full`] if no memory is free. [`WriteError::TooLarge`] if the record is larger
    /// than all memory. [`WriteError::Closed`] after [`close`](Self::close).
    /// [`WriteError::DiskGuard`] beyond [`Config::min_free`] or [`Config::max_total`], or while the
    /// disk has been full since the [start](Config::start_on_full_disk).
    /// [`WriteError::OutOfMemory`] if this is the thread's first record, and the system has no
    /// memory for what the writer keeps of the thread. These refusals are counted in
    /// [`Stats::refused`](crate::Stats::refused). [`WriteError::Forked`] in a forked child, where
    /// nothing is counted.
    #[inline]
    pub fn write(&self, record: &[u8]) -> Result<(), WriteError> {
        let slot = cached(self.id);
        // SAFETY: the number is this writer's, so the slot is in its list, which the handle keeps
        // alive. The slot belongs to this thread alone, and no user code runs while it is busy.
        if slot.is_some_and(|slot| unsafe { append::try_write(&*slot, record) }) {
            return Ok(());
        }
        self.write_with_slot(record)
    }

    /// A separate function, so that the common case needs the slot alone. It starts the write
    /// again, which also undoes what the first try began.
    #[cold]
    #[inline(never)]
    fn write_with_slot(&self, record: &[u8]) -> Result<(), WriteError> {
        self.with_slot(record.len(), |mut slot| accept::write(&mut slot, record))
    }

    /// Calls `with` with this thread's slot, or counts the refusal of these bytes.
    #[inline(always)]
    fn with_slot(
        &self,
        bytes: usize,
        with: impl FnOnce(OwnedSlot<'_>) -> Result<(), WriteError>,
    ) -> Result<(), WriteError> {
        with_slot(self.id, &self.handle, |slot| match slot {
            Some(slot) => with(slot),
            None => Err(self.handle.shared.slots.refuse(bytes)),
        })
    }

    /// Accepts a record like [`write`](Self::write), but waits up to `timeout` for free memory.
    /// [`Duration::MAX`] = without limit. On one of the writer's own threads, in the `Drop` of a
    /// message, it does not wait, since it would wait for itself.
    ///
    /// # Errors
    /// Those of `write`. [`WriteError::Full`] is returned when the time is over. The call does not
    /// wait for room on the disk: [`WriteError::DiskGuard`] is returned at once.
    pub fn write_timeout(&self, record: &[u8], timeout: Duration) -> Result<(), WriteError> {
        let timeout = self.handle.patience(timeout);
        self.with_slot(record.len(), |mut slot| accept::write_timeout(&mut slot, record, timeout))
    }

    /// Accepts an owned message, whose bytes are one record as in [`write`](Self::write).
    ///
    /// A message of at least a quarter of [`Config::size`] (and at most 4 GiB) is handed over
    /// without a copy. It counts with its length against the writer's memory. A worker drops it
    /// once a file has it (with [`Durability::File`](crate::Durability::File), once an fsync covers
    /// it). A smaller message is copied and dropped before this call returns. With
    /// [`Config::crash_proof`] every message is copied.
    ///
    /// `as_ref` is called once, in this call. If it panics, the panic continues in the caller, and
    /// the record counts in [`Refused::format`](crate::Refused::format). `Drop` is called once,
    /// while the writer holds no lock: it may write to this writer. Its worker waits for it, and a
    /// panic in it is caught. The caller must bound what a message owns beyond its bytes, such as
    /// spare capacity.
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
    /// Those of `write`. The error holds the message.
    pub fn send<M>(&self, message: M) -> Result<(), SendError<M>>
    where
        M: AsRef<[u8]> + Send + 'static,
    {
        // User code (`as_ref`, `Drop`) runs before and after the slot is in use, never meanwhile.
        let message = self.message(message);
        // SAFETY: the message was made from an `M`.
        unsafe { accept::sent(self.send_message(message)) }
    }

    /// Takes a message from the caller, whose code runs here.
    pub(super) fn message<M>(&self, message: M) -> Message
    where
        M: AsRef<[u8]> + Send + 'static,
    {
        accept::message(message, || {
            let _ = self.with_slot(0, |slot| {
                slot.slot.add_refused(WriteError::Format, 0);
                Ok(())
            });
        })
    }

    pub(super) fn send_message(&self, message: Message) -> Sent {
        with_slot(self.id, &self.handle, |slot| match slot {
            Some(mut slot) => accept::send(&mut slot, message),
            None => Err((self.handle.shared.slots.refuse(message.bytes().len()), message)),
        })
    }

    /// Accepts what `format` writes as one record. It is formatted in the chunk itself, without a
    /// `String` in between. If `format` returns an error or panics, nothing of the record is kept.
    ///
    /// `format` may take long: no other thread waits for it, but this thread's chunk stays in use.
    /// It may write to the same writer. Such records are accepted separately, before or after this
    /// one, whatever becomes of this one. It should not wait for memory, since the chunk in use may
    /// be what it waits for.
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
    /// Those of `write`. [`WriteError::Format`] if `format` itself returns an error. `format` is
    /// not called if no memory is free, nor after `close`. Beyond a limit of the disk guard, it is
    /// not called when this thread's chunk has no room left.
    pub fn record(
        &self,
        format: impl FnOnce(&mut RecordWriter<'_>) -> fmt::Result,
    ) -> Result<(), WriteError> {
        self.with_slot(0, |slot| accept::record(slot, format))
    }

    /// Returns a guard that closes this writer when it is dropped: for `main`, where a logger or a static
    /// keeps a handle for ever, so that no handle is the last.
    ///
    /// ```
    /// # use bufferedwriter::{BufferedWriter, Config};
    /// # let dir = std::env::temp_dir().join(format!("bw-doc-guard-{}", std::process::id()));
    /// # let config = Config::default().path(&dir).temp(&dir).create_dirs(true);
    /// let writer = BufferedWriter::new(config)?;
    /// let _guard = writer.guard();
    /// writer.write(b"in a file when main returns\n")?;
    /// # drop(_guard);
    /// # assert!(writer.write(b"x").is_err());
    /// # std::fs::remove_dir_all(&dir)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn guard(&self) -> CloseGuard {
        CloseGuard::new(self.handle.clone())
    }

    /// Returns a producer for one hot thread: it saves the look-up of the thread's chunk in each
    /// write.
    #[must_use]
    pub fn producer(&self) -> Producer {
        Producer::new(self.handle.clone())
    }

    /// Waits until every record that was accepted before this call is in a visible file.
    ///
    /// This blocks the thread for up to `timeout`: on an async executor's thread use
    /// [`flush_async`](Self::flush_async).
    ///
    /// # Errors
    /// [`FlushError::TimedOut`] or [`FlushError::Io`] when `timeout` is over. The records are still
    /// accepted, and the workers keep trying. [`FlushError::Io`] also if records were lost
    /// meanwhile: a temp file was removed, or a worker gave up ([`Config::give_up_after`]).
    /// [`FlushError::Closed`] after `close`. [`FlushError::OnWorker`] on one of the writer's own
    /// threads, in the `Drop` of a message. [`FlushError::Forked`] in a forked child.
    pub fn flush(&self, timeout: Duration) -> Result<(), FlushError> {
        self.handle.flush(timeout)
    }

    /// Returns a snapshot of the counts: `accepted == written + pending + lost.total()`. In a
    /// forked child all counts are 0.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.handle.stats()
    }

    /// Returns what holds workers up: errors that they retry, and calls that have not returned for
    /// a second. It reads what the workers noted, and neither touches a file nor waits.
    ///
    /// ```
    /// # use bufferedwriter::{BufferedWriter, Config};
    /// # let dir = std::env::temp_dir().join(format!("bw-doc-health-{}", std::process::id()));
    /// # let config = Config::default().path(&dir).temp(&dir).create_dirs(true);
    /// let writer = BufferedWriter::new(config)?;
    /// let health = writer.health();
    /// for stall in &health.stalls {
    ///     eprintln!("{stall}, {} chunks wait", stall.held_chunks);
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

    /// Returns the result of the recovery that this writer started when it was created: files that
    /// were published, set aside or skipped, and errors. `None` until the recovery is over, and
    /// with [`Config::recover`]`(false)`.
    #[must_use]
    pub fn recovery(&self) -> Option<Recovery> {
        self.handle.recovery()
    }

    /// Takes other limits, other rules of retention, and another hook, while records are written.
    ///
    /// These options hold from now on, as `config` has them: [`min_free`](Config::min_free),
    /// [`max_total`](Config::max_total), [`retain_bytes`](Config::retain_bytes),
    /// [`retain_files`](Config::retain_files), [`retain_age`](Config::retain_age),
    /// [`retain_unacknowledged`](Config::retain_unacknowledged), and
    /// [`on_publish`](Config::on_publish), from its next call on. One that `config` leaves out has
    /// its default, which is off. All other options of `config` are ignored.
    ///
    /// It may be called by any thread, also by several at once. No write waits for it.
    ///
    /// ```
    /// # use bufferedwriter::{BufferedWriter, Config};
    /// # let dir = std::env::temp_dir().join(format!("bw-doc-reconfigure-{}", std::process::id()));
    /// let config = Config::default().path(&dir).temp(&dir).create_dirs(true);
    /// let writer = BufferedWriter::new(config.clone())?;
    /// writer.reconfigure(config.min_free(1 << 30).retain_files(100))?;
    /// assert!(writer.stats().retention.is_some());
    /// # writer.close(std::time::Duration::from_secs(5))?;
    /// # std::fs::remove_dir_all(&dir)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// An option of `config` is out of its range. There is a hook and there was none at the start, or the
    /// other way round. The thread that deletes old files can't be started. Nothing has changed then. In
    /// a forked child it is always an error.
    pub fn reconfigure(&self, config: Config) -> Result<(), Error> {
        self.handle.reconfigure(config)
    }

    /// Refuses further records, publishes everything, and ends the workers.
    ///
    /// This blocks the thread for up to `timeout`: on an async executor's thread use
    /// [`close_async`](Self::close_async). Until its deadline it also waits for the recovery of left-over files. A recovery that is not
    /// over by then is no error: the next start continues it.
    ///
    /// It may be called again, and by several threads at once. The first deadline that passes ends
    /// the wait of all of them.
    ///
    /// # Errors
    /// `timeout` is over before everything is in visible files. The rest counts as lost, and the
    /// workers publish nothing more. The error holds the report. On one of the writer's own threads
    /// (in the `Drop` of a message) and in a forked child, nothing is closed.
    pub fn close(&self, timeout: Duration) -> Result<CloseReport, CloseError> {
        self.handle.close(timeout)
    }
}

// User code runs only while every invariant holds, so a panic in it leaves the writer intact.
impl UnwindSafe for BufferedWriter {}
impl RefUnwindSafe for BufferedWriter {}

impl fmt::Debug for BufferedWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BufferedWriter").field("writer", &self.id).finish_non_exhaustive()
    }
}
