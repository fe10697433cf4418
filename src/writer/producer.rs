//! A producer of its own: no look-up of the thread's slot.

use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::time::Duration;

use crate::accept;
use crate::accept::append;
use crate::accept::formatted::RecordWriter;
use crate::memory::slot::Slot;
use crate::memory::slot::owned::OwnedSlot;
use crate::report::error::{SendError, WriteError};
use crate::writer::handle::Handle;

/// A way into a [`BufferedWriter`](crate::BufferedWriter) for one hot thread: the same as writing
/// through the writer, without looking up the thread's buffer each time.
///
/// It may be sent to another thread, but is used by one at a time. It counts as a handle: the
/// writer is closed when the last of its handles is dropped.
///
/// ```
/// # let dir = std::env::temp_dir().join(format!("bw-doc-producer-{}", std::process::id()));
/// # let config = bufferedwriter::Config::default().path(&dir).temp(&dir).create_dirs(true);
/// let writer = bufferedwriter::BufferedWriter::new(config)?;
/// let mut producer = writer.producer();
/// std::thread::spawn(move || producer.write(b"from a hot loop\n")).join().unwrap()?;
/// let report = writer.close(std::time::Duration::from_secs(5))?;
/// assert_eq!(report.written.records, 1);
/// # std::fs::remove_dir_all(&dir)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Producer {
    /// Before `handle`, whose drop may end the life of the list that the slot is of.
    slot: *const Slot,
    handle: Handle,
}

// SAFETY: the slot is this producer's alone, and not bound to a thread; the rest is Send.
unsafe impl Send for Producer {}

impl Producer {
    pub(crate) fn new(handle: Handle) -> Self {
        Producer { slot: handle.shared.slots.acquire(), handle }
    }

    fn slot(&mut self) -> OwnedSlot<'_> {
        // SAFETY: the slot is of the handle's list and this producer's alone; `&mut` keeps a second one away.
        unsafe { OwnedSlot::new(&self.handle.shared, &*self.slot) }
    }

    /// Accepts a record, whole, as [`BufferedWriter::write`](crate::BufferedWriter::write).
    ///
    /// # Errors
    /// The same.
    #[inline]
    pub fn write(&mut self, record: &[u8]) -> Result<(), WriteError> {
        // SAFETY: the slot lives as long as the handle; it is this producer's alone, and `&mut`
        // keeps whatever is busy with it away.
        if unsafe { append::try_write(&*self.slot, record) } {
            return Ok(());
        }
        self.write_slow(record)
    }

    /// Apart, so that the common case needs no more than the slot.
    #[cold]
    #[inline(never)]
    fn write_slow(&mut self, record: &[u8]) -> Result<(), WriteError> {
        accept::write_after_try(&mut self.slot(), record)
    }

    /// Accepts a record, waiting for memory if need be, as
    /// [`BufferedWriter::write_timeout`](crate::BufferedWriter::write_timeout).
    ///
    /// # Errors
    /// The same.
    pub fn write_timeout(&mut self, record: &[u8], timeout: Duration) -> Result<(), WriteError> {
        let timeout = self.handle.patience(timeout);
        accept::write_timeout(&mut self.slot(), record, timeout)
    }

    /// Accepts a message that the caller gives away, as
    /// [`BufferedWriter::send`](crate::BufferedWriter::send).
    ///
    /// # Errors
    /// The same.
    pub fn send<M>(&mut self, message: M) -> Result<(), SendError<M>>
    where
        M: AsRef<[u8]> + Send + 'static,
    {
        let mut slot = self.slot();
        let message = accept::message(message, || slot.slot.add_refused(WriteError::Format, 0));
        // SAFETY: the message was made of an `M`.
        unsafe { accept::sent(accept::send(&mut slot, message)) }
    }

    /// Accepts what `format` writes as one record, as
    /// [`BufferedWriter::record`](crate::BufferedWriter::record).
    ///
    /// # Errors
    /// The same.
    pub fn record(
        &mut self,
        format: impl FnOnce(&mut RecordWriter<'_>) -> fmt::Result,
    ) -> Result<(), WriteError> {
        accept::record(self.slot(), format)
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        self.handle.shared.slots.release(self.slot);
    }
}

// Foreign code runs while nothing is half done; a panic in it leaves everything whole.
impl UnwindSafe for Producer {}
impl RefUnwindSafe for Producer {}

impl fmt::Debug for Producer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer").field("writer", &self.handle.id).finish_non_exhaustive()
    }
}
