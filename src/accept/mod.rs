//! A record on its way to the lease: refusals are counted, and who wants to wait, waits here.
//!
//! A formatter of `record` that writes to the same writer finds the slot in use by its own record,
//! and is served through another one. Guarantees: a refusal is counted once, where it is returned.

pub(crate) mod append;
pub(crate) mod formatted;
pub(crate) mod large;
pub(crate) mod lease;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant};

use crate::accept::formatted::RecordWriter;
use crate::base::latch::wait_on;
use crate::memory::Shared;
use crate::memory::message::Message;
use crate::memory::slot::Slot;
use crate::report::error::{SendError, WriteError};

/// Accepts a record or counts the refusal.
///
/// # Safety
/// The caller is the owner of `slot`, which belongs to `shared`.
#[inline(always)]
pub(crate) unsafe fn write(shared: &Shared, slot: &Slot, record: &[u8]) -> Result<(), WriteError> {
    // SAFETY: the caller's promise.
    unsafe {
        if append::try_write(slot, record) { Ok(()) } else { write_after_try(shared, slot, record) }
    }
}

/// Accepts a record that [`append::try_write`] did not, or counts the refusal.
///
/// # Safety
/// As `write`, after `try_write` has returned `false`.
#[cold]
#[inline(never)]
pub(crate) unsafe fn write_after_try(
    shared: &Shared,
    slot: &Slot,
    record: &[u8],
) -> Result<(), WriteError> {
    // SAFETY: the caller's promise.
    match unsafe { append::write_cold(shared, slot, record) } {
        Ok(()) => Ok(()),
        // SAFETY: the caller's promise.
        Err(cause) => unsafe { refused(shared, slot, record, cause) },
    }
}

/// # Safety
/// As `write`.
#[cold]
#[inline(never)]
unsafe fn refused(
    shared: &Shared,
    slot: &Slot,
    record: &[u8],
    cause: WriteError,
) -> Result<(), WriteError> {
    // SAFETY: the caller's promise.
    if unsafe { slot.is_recording() } {
        // SAFETY: the guard's slot is ours, and not recording.
        return unsafe { write(shared, &shared.slots.borrow(), record) };
    }
    slot.add_refused(cause, record.len());
    Err(cause)
}

/// Accepts a record, at the latest after `timeout`, or counts the refusal, once.
///
/// # Safety
/// As `write`.
pub(crate) unsafe fn write_timeout(
    shared: &Shared,
    slot: &Slot,
    record: &[u8],
    timeout: Duration,
) -> Result<(), WriteError> {
    // SAFETY: the caller's promise.
    let attempt = || unsafe { append::write(shared, slot, record) };
    // SAFETY: the caller's promise.
    if unsafe { slot.is_recording() } {
        // SAFETY: the guard's slot is ours, and not recording.
        return unsafe { write_timeout(shared, &shared.slots.borrow(), record, timeout) };
    }
    let result = match attempt() {
        Err(WriteError::Full) => wait(shared, attempt, timeout),
        result => result,
    };
    result.inspect_err(|&cause| slot.add_refused(cause, record.len()))
}

/// Takes a message from the caller. If its `as_ref` panics, that is counted and goes on.
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

/// What the caller of `send` hears of it. A message that was copied is dropped here.
///
/// # Safety
/// The message was made of an `M`.
pub(crate) unsafe fn sent<M>(
    result: Result<Option<Message>, (WriteError, Message)>,
) -> Result<(), SendError<M>> {
    match result {
        Ok(copied) => {
            drop(copied);
            Ok(())
        }
        Err((kind, message)) => {
            // SAFETY: the caller's promise.
            Err(SendError { kind, message: unsafe { message.into_inner() } })
        }
    }
}

/// Accepts a message or counts the refusal. What was copied comes back, and what was refused.
///
/// # Safety
/// As `write`.
pub(crate) unsafe fn send(
    shared: &Shared,
    slot: &Slot,
    message: Message,
) -> Result<Option<Message>, (WriteError, Message)> {
    // SAFETY: the caller's promise.
    if unsafe { slot.is_recording() } {
        // SAFETY: the guard's slot is ours, and not recording.
        return unsafe { send(shared, &shared.slots.borrow(), message) };
    }
    // SAFETY: the caller's promise.
    let result = unsafe { append::send(shared, slot, message) };
    result.inspect_err(|(cause, message)| slot.add_refused(*cause, message.bytes().len()))
}

/// Accepts what `format` writes, as one record, or counts the refusal.
///
/// # Safety
/// As `write`, also while `format` runs.
pub(crate) unsafe fn record(
    shared: &Shared,
    slot: &Slot,
    format: impl FnOnce(&mut RecordWriter<'_>) -> fmt::Result,
) -> Result<(), WriteError> {
    // SAFETY: the caller's promise.
    if unsafe { slot.is_recording() } {
        // SAFETY: the guard's slot is ours, and not recording.
        return unsafe { record(shared, &shared.slots.borrow(), format) };
    }
    // SAFETY: the caller's promise, and it is not recording.
    let (bytes, result) = match unsafe { RecordWriter::begin(shared, slot) } {
        Ok(mut record) => {
            let formatted = format(&mut record);
            (record.len(), record.end(formatted))
        }
        Err(cause) => (0, Err(cause)),
    };
    result.inspect_err(|&cause| slot.add_refused(cause, bytes))
}

/// Tries again whenever chunks came back. Too long a time for the clock is for ever.
fn wait(
    shared: &Shared,
    attempt: impl Fn() -> Result<(), WriteError>,
    timeout: Duration,
) -> Result<(), WriteError> {
    let deadline = Instant::now().checked_add(timeout);
    shared.wake_busy();
    let other_than_full = || match attempt() {
        Err(WriteError::Full) => None,
        result => Some(result),
    };
    shared
        .pool
        .wait_until(other_than_full, |called, calls| wait_on(called, calls, deadline))
        .unwrap_or(Err(WriteError::Full))
}
