//! Accepts records on the caller's thread: counts refusals, and waits for callers that want to
//! wait.
//!
//! A `record` formatter that writes to the same writer finds the slot in use by its own record. It
//! gets another one, if there is memory for it.
//!
//! Guarantees: a refusal is counted once, where it is returned.

pub(crate) mod append;
pub(crate) mod formatted;
pub(crate) mod large;
pub(crate) mod lease;
mod recorder;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant};

use crate::accept::formatted::RecordWriter;
use crate::base::latch::wait_on;
use crate::memory::Shared;
use crate::memory::message::Message;
use crate::memory::slot::owned::{Borrowed, OwnedSlot};
use crate::report::error::{SendError, WriteError};

/// Accepts a record or counts the refusal.
#[inline(always)]
pub(crate) fn write(slot: &mut OwnedSlot<'_>, record: &[u8]) -> Result<(), WriteError> {
    // SAFETY: `slot` owns it, and a live `Busy` would borrow `slot`.
    if unsafe { append::try_write(slot.slot, record) } {
        return Ok(());
    }
    write_after_try(slot, record)
}

/// Accepts a record after [`append::try_write`] returned `false`, or counts the refusal.
#[cold]
#[inline(never)]
pub(crate) fn write_after_try(slot: &mut OwnedSlot<'_>, record: &[u8]) -> Result<(), WriteError> {
    append::write_cold(slot, record).or_else(|cause| refused(slot, record, cause))
}

#[cold]
#[inline(never)]
fn refused(slot: &mut OwnedSlot<'_>, record: &[u8], cause: WriteError) -> Result<(), WriteError> {
    if slot.is_recording() {
        return write(&mut borrow(slot.shared, record.len())?.owned(), record);
    }
    slot.slot.add_refused(cause, record.len());
    Err(cause)
}

/// Another slot for one call, or counts the refusal of these bytes.
fn borrow(shared: &Shared, bytes: usize) -> Result<Borrowed<'_>, WriteError> {
    Borrowed::new(shared).ok_or_else(|| shared.slots.refuse(bytes))
}

/// Accepts a record within `timeout`, or counts the refusal once.
pub(crate) fn write_timeout(
    slot: &mut OwnedSlot<'_>,
    record: &[u8],
    timeout: Duration,
) -> Result<(), WriteError> {
    if slot.is_recording() {
        let mut other = borrow(slot.shared, record.len())?;
        return write_timeout(&mut other.owned(), record, timeout);
    }
    let result = match append::write(slot, record) {
        Err(WriteError::Full) => wait(slot, record, timeout),
        result => result,
    };
    result.inspect_err(|&cause| slot.slot.add_refused(cause, record.len()))
}

/// Accepts a record or counts the refusal. `None` if no memory is free, which is not counted: the
/// caller waits.
pub(crate) fn write_when_free(
    slot: &mut OwnedSlot<'_>,
    record: &[u8],
) -> Option<Result<(), WriteError>> {
    if slot.is_recording() {
        return match borrow(slot.shared, record.len()) {
            Ok(mut other) => write_when_free(&mut other.owned(), record),
            Err(cause) => Some(Err(cause)),
        };
    }
    match append::write(slot, record) {
        Err(WriteError::Full) => None,
        result => Some(result.inspect_err(|&cause| slot.slot.add_refused(cause, record.len()))),
    }
}

/// Takes a message from the caller. If its `as_ref` panics, counts that and lets the panic
/// continue.
pub(crate) fn message<M>(message: M, count: impl FnOnce()) -> Message
where
    M: AsRef<[u8]> + Send + 'static,
{
    let caught = catch_unwind(AssertUnwindSafe(|| Message::new(message)));
    caught.unwrap_or_else(|panic| {
        count();
        resume_unwind(panic)
    })
}

/// What became of a message: accepted, and returned if it was copied; or refused, and returned.
pub(crate) type Sent = Result<Option<Message>, (WriteError, Message)>;

/// The result that the caller of `send` sees. A message that was copied is dropped here.
///
/// # Safety
/// The message was made from an `M`.
pub(crate) unsafe fn sent<M>(result: Sent) -> Result<(), SendError<M>> {
    match result {
        Ok(copied) => {
            drop(copied);
            Ok(())
        }
        Err((kind, message)) => {
            // SAFETY: the caller promises that the message was made from an `M`.
            Err(SendError { kind, message: unsafe { message.into_inner() } })
        }
    }
}

/// Accepts a message or counts the refusal.
pub(crate) fn send(slot: &mut OwnedSlot<'_>, message: Message) -> Sent {
    send_when_free(slot, message).unwrap_or_else(|message| {
        slot.slot.add_refused(WriteError::Full, message.bytes().len());
        Err((WriteError::Full, message))
    })
}

/// Accepts a message or counts the refusal. The message itself if no memory is free, which is not
/// counted: the caller waits.
pub(crate) fn send_when_free(slot: &mut OwnedSlot<'_>, message: Message) -> Result<Sent, Message> {
    if slot.is_recording() {
        return match borrow(slot.shared, message.bytes().len()) {
            Ok(mut other) => send_when_free(&mut other.owned(), message),
            Err(cause) => Ok(Err((cause, message))),
        };
    }
    match append::send(slot, message) {
        Err((WriteError::Full, message)) => Err(message),
        result => Ok(result.inspect_err(|(cause, message)| {
            slot.slot.add_refused(*cause, message.bytes().len());
        })),
    }
}

/// Accepts the output of `format` as one record, or counts the refusal.
pub(crate) fn record(
    slot: OwnedSlot<'_>,
    format: impl FnOnce(&mut RecordWriter<'_>) -> fmt::Result,
) -> Result<(), WriteError> {
    if slot.is_recording() {
        return record_elsewhere(slot.shared, format);
    }
    record_first(slot, format)
}

/// The same, through a slot that is known not to be recording.
#[inline]
pub(crate) fn record_first(
    slot: OwnedSlot<'_>,
    format: impl FnOnce(&mut RecordWriter<'_>) -> fmt::Result,
) -> Result<(), WriteError> {
    let counters = slot.slot;
    let (bytes, result) = match RecordWriter::begin(slot) {
        Ok(mut record) => {
            let formatted = format(&mut record);
            (record.len(), record.end(formatted))
        }
        Err(cause) => (0, Err(cause)),
    };
    result.inspect_err(|&cause| counters.add_refused(cause, bytes))
}

/// A formatter's own record.
#[cold]
#[inline(never)]
fn record_elsewhere(
    shared: &Shared,
    format: impl FnOnce(&mut RecordWriter<'_>) -> fmt::Result,
) -> Result<(), WriteError> {
    record(borrow(shared, 0)?.owned(), format)
}

/// Tries again whenever chunks come back. A timeout beyond the clock's range never ends.
fn wait(slot: &mut OwnedSlot<'_>, record: &[u8], timeout: Duration) -> Result<(), WriteError> {
    let deadline = Instant::now().checked_add(timeout);
    let shared = slot.shared;
    shared.wake_busy();
    let other_than_full = || match append::write(slot, record) {
        Err(WriteError::Full) => None,
        result => Some(result),
    };
    shared
        .pool
        .wait_until(other_than_full, |called, calls| wait_on(called, calls, deadline))
        .unwrap_or(Err(WriteError::Full))
}
