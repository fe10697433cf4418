//! A record on its way to the lease: refusals are counted, and who wants to wait, waits here.

use std::time::{Duration, Instant};

use crate::control::wait_on;
use crate::error::WriteError;
use crate::lease;
use crate::shared::Shared;
use crate::slot::Slot;

/// Accepts a record or counts the refusal.
///
/// # Safety
/// The caller is the owner of `slot`, which belongs to `shared`.
#[inline(always)]
pub(crate) unsafe fn write(shared: &Shared, slot: &Slot, record: &[u8]) -> Result<(), WriteError> {
    // SAFETY: the caller's promise.
    let result = unsafe { lease::write(shared, slot, record) };
    if let Err(cause) = result {
        slot.add_refused(cause, record.len());
    }
    result
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
    let attempt = || unsafe { lease::write(shared, slot, record) };
    let result = match attempt() {
        Err(WriteError::Full) => wait(shared, attempt, timeout),
        result => result,
    };
    if let Err(cause) = result {
        slot.add_refused(cause, record.len());
    }
    result
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
        .wait_until(other_than_full, |freed, room| wait_on(freed, room, deadline))
        .unwrap_or(Err(WriteError::Full))
}
