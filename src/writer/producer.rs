//! A producer owns a slot, so its writes need no look-up of the thread's slot.

use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::time::Duration;

use crate::accept::formatted::RecordWriter;
use crate::accept::{self, Sent, append};
use crate::memory::message::Message;
use crate::memory::slot::Slot;
use crate::memory::slot::owned::OwnedSlot;
use crate::report::error::{SendError, WriteError};
use crate::writer::handle::Handle;

/// A handle for one hot thread. It writes like the [`BufferedWriter`](crate::BufferedWriter), but
/// does not look up the thread's chunk in each call.
///
/// It may be sent to another thread, but only one thread uses it at a time. It counts as a handle:
/// the writer is closed when the last of its handles is dropped.
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
    /// Declared before `handle`, whose drop may free the list that holds the slot. The list's ghost
    /// while there is no memory for a slot.
    slot: *const Slot,
    pub(super) handle: Handle,
}

// SAFETY: the slot belongs to this producer alone and is not bound to a thread. The other fields
// are Send.
unsafe impl Send for Producer {}

impl Producer {
    pub(crate) fn new(handle: Handle) -> Self {
        let slots = &handle.shared.slots;
        Producer { slot: slots.acquire().unwrap_or(slots.ghost()), handle }
    }

    /// `None` while there is no memory for a slot.
    #[inline(always)]
    pub(super) fn slot(&mut self) -> Option<OwnedSlot<'_>> {
        // The ghost seems to be recording. Callers look for that anyway, so this costs nothing.
        if self.owned().is_recording() && !self.has_slot() {
            return None;
        }
        Some(self.owned())
    }

    #[inline(always)]
    fn owned(&mut self) -> OwnedSlot<'_> {
        // SAFETY: the slot is in the list that the handle keeps alive, and belongs to this producer
        // alone. `&mut` excludes a second `OwnedSlot`. Nobody changes the ghost's lease: `slot`
        // only asks it whether it is recording. In a forked child each slot is the ghost.
        unsafe { OwnedSlot::new(&self.handle.shared, &*self.slot) }
    }

    /// Takes a slot in place of the ghost. `false` if there is no memory for one.
    #[cold]
    #[inline(never)]
    fn has_slot(&mut self) -> bool {
        let slots = &self.handle.shared.slots;
        if slots.is_ghost(self.slot) {
            let Some(slot) = slots.acquire() else { return false };
            self.slot = slot;
        }
        true
    }

    /// Counts the refusal of these bytes for want of a slot.
    #[cold]
    pub(super) fn refuse(&self, bytes: usize) -> WriteError {
        self.handle.shared.slots.refuse(bytes)
    }

    /// Accepts a record, like [`BufferedWriter::write`](crate::BufferedWriter::write).
    ///
    /// # Errors
    /// Those of `BufferedWriter::write`.
    #[inline]
    pub fn write(&mut self, record: &[u8]) -> Result<(), WriteError> {
        if self.try_write(record) {
            return Ok(());
        }
        self.swap_and_write(record)
    }

    /// The common case. `false` if the record does not fit into the lease.
    #[inline]
    pub(super) fn try_write(&mut self, record: &[u8]) -> bool {
        // SAFETY: the handle keeps the slot alive. The slot belongs to this producer alone, and
        // `&mut` excludes anything that is busy with it. Or it is the ghost, whose lease nobody
        // uses, since its gate is never open.
        unsafe { append::try_write(&*self.slot, record) }
    }

    /// A separate function, so that the common case needs the slot alone.
    #[cold]
    #[inline(never)]
    fn swap_and_write(&mut self, record: &[u8]) -> Result<(), WriteError> {
        let tried = self.slot;
        match self.slot() {
            Some(mut slot) if std::ptr::eq(slot.slot, tried) => {
                accept::write_after_try(&mut slot, record)
            }
            Some(mut slot) => accept::write(&mut slot, record),
            None => Err(self.refuse(record.len())),
        }
    }

    /// Accepts a record and waits up to `timeout` for free memory, like
    /// [`BufferedWriter::write_timeout`](crate::BufferedWriter::write_timeout).
    ///
    /// # Errors
    /// Those of `BufferedWriter::write_timeout`.
    pub fn write_timeout(&mut self, record: &[u8], timeout: Duration) -> Result<(), WriteError> {
        let timeout = self.handle.patience(timeout);
        match self.slot() {
            Some(mut slot) => accept::write_timeout(&mut slot, record, timeout),
            None => Err(self.refuse(record.len())),
        }
    }

    /// Accepts an owned message, like [`BufferedWriter::send`](crate::BufferedWriter::send).
    ///
    /// # Errors
    /// Those of `BufferedWriter::send`.
    pub fn send<M>(&mut self, message: M) -> Result<(), SendError<M>>
    where
        M: AsRef<[u8]> + Send + 'static,
    {
        let message = self.message(message);
        // SAFETY: the message was made from an `M`.
        unsafe { accept::sent(self.send_message(message)) }
    }

    /// Takes a message from the caller, whose code runs here.
    pub(super) fn message<M>(&mut self, message: M) -> Message
    where
        M: AsRef<[u8]> + Send + 'static,
    {
        accept::message(message, || match self.slot() {
            Some(slot) => slot.slot.add_refused(WriteError::Format, 0),
            None => drop(self.refuse(0)),
        })
    }

    pub(super) fn send_message(&mut self, message: Message) -> Sent {
        match self.slot() {
            Some(mut slot) => accept::send(&mut slot, message),
            None => Err((self.refuse(message.bytes().len()), message)),
        }
    }

    /// Accepts what `format` writes as one record, like
    /// [`BufferedWriter::record`](crate::BufferedWriter::record).
    ///
    /// # Errors
    /// Those of `BufferedWriter::record`.
    pub fn record(
        &mut self,
        format: impl FnOnce(&mut RecordWriter<'_>) -> fmt::Result,
    ) -> Result<(), WriteError> {
        if self.owned().is_recording() {
            return self.record_slow(format);
        }
        accept::record_first(self.owned(), format)
    }

    /// Outside of `record`, which costs less without it.
    #[cold]
    #[inline(never)]
    fn record_slow(
        &mut self,
        format: impl FnOnce(&mut RecordWriter<'_>) -> fmt::Result,
    ) -> Result<(), WriteError> {
        if self.has_slot() { accept::record(self.owned(), format) } else { Err(self.refuse(0)) }
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        self.handle.shared.slots.release(self.slot);
    }
}

// User code runs only while every invariant holds, so a panic in it leaves the producer intact.
impl UnwindSafe for Producer {}
impl RefUnwindSafe for Producer {}

impl fmt::Debug for Producer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer").field("writer", &self.handle.id).finish_non_exhaustive()
    }
}
