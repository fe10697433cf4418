//! The hot path: a record, or a message, into the leased chunk.
//!
//! Guarantees: `write` is a copy and a handful of loads and stores of the producer's own lines: no
//! locked instruction, no fence, no call, no clock. Nothing here waits.
//! Refuses: records when no chunk is free, records that never fit, everything after `close`.
//!
//! A message that is handed over takes the place of its bytes in the chunk, which are not touched:
//! order, memory bound and accounts are those of a copy.

use crate::accept::large::{self, Chain};
use crate::accept::lease::make_room;
use crate::memory::Shared;
use crate::memory::arena::{Extent, MESSAGES_MAX};
use crate::memory::message::Message;
use crate::memory::slot::{Chunk, Lease, Slot, gate};
use crate::report::error::WriteError;

/// The common case: the gate is open, and the record fits the leased chunk. If not, `false`: nothing has
/// happened, but that the owner is busy, which the call of [`write_cold`] that must follow ends.
///
/// It knows only the slot, so that whoever calls it needs nothing else at hand.
///
/// # Safety
/// The caller is the owner of `slot`.
#[inline(always)]
pub(crate) unsafe fn try_write(slot: &Slot, record: &[u8]) -> bool {
    slot.enter();
    // Before the lease: in a forked child the slot is zeroed, and its commit word nowhere.
    if slot.gate() & gate::STATE != gate::OPEN {
        return false;
    }
    // SAFETY: the lease is the owner's, and no other reference to it is alive: those that are made here
    // and in what is called from here do not outlive a write.
    let chunk = unsafe { (*slot.lease.get()).chunk };
    let extent = chunk.extent();
    // An empty record turns into a huge number, so that one comparison keeps it out too.
    if record.len().wrapping_sub(1) < chunk.end - extent.len() {
        // SAFETY: the gate is open while we are busy, so the chunk is ours, and there is room.
        unsafe { append(chunk, extent, record) };
        slot.leave();
        return true;
    }
    false
}

/// Accepts a record, or says why not. A refusal is not counted here.
///
/// # Safety
/// The caller is the owner of `slot`, which belongs to `shared`.
#[inline(always)]
pub(crate) unsafe fn write(shared: &Shared, slot: &Slot, record: &[u8]) -> Result<(), WriteError> {
    // SAFETY: the caller's promise.
    unsafe { if try_write(slot, record) { Ok(()) } else { write_cold(shared, slot, record) } }
}

/// # Safety
/// The chunk is the caller's, who is busy behind an open gate; `extent` is what it holds, and `record`
/// fits the rest.
#[inline(always)]
unsafe fn append(chunk: Chunk, extent: Extent, record: &[u8]) {
    // SAFETY: the caller's promise.
    unsafe { chunk.base.add(extent.len()).put(record) };
    chunk.commit(extent, record.len());
}

/// Whether a message of so many bytes is handed over rather than copied. Four of them fill a chunk;
/// beyond 32 bits its length would not fit the commit word.
fn is_handed_over(shared: &Shared, len: usize) -> bool {
    let is_large = len >= shared.arena.size().div_ceil(MESSAGES_MAX);
    // What outlives the process must not point at what does not.
    is_large && u32::try_from(len).is_ok() && !shared.arena.is_in_crash_image()
}

/// Accepts a message: handed over if it is large, else copied; then it comes back, to be dropped.
/// A refused one comes back with the cause.
///
/// # Safety
/// As `write`.
pub(crate) unsafe fn send(
    shared: &Shared,
    slot: &Slot,
    message: Message,
) -> Result<Option<Message>, (WriteError, Message)> {
    let len = message.bytes().len();
    if !is_handed_over(shared, len) {
        // SAFETY: the caller's promise.
        return match unsafe { write(shared, slot, message.bytes()) } {
            Ok(()) => Ok(Some(message)),
            Err(cause) => Err((cause, message)),
        };
    }
    if slot.is_wiped() {
        return Err((WriteError::Forked, message));
    }
    slot.enter();
    // SAFETY: as in `try_write`.
    let lease = unsafe { &mut *slot.lease.get() };
    let chunks = len.div_ceil(shared.arena.size());
    let result = match make_room(shared, slot, lease, len) {
        Err(cause) => Err((cause, message)),
        Ok(()) if chunks > 1 => large::hand_over(shared, slot, lease, message, chunks as u32),
        Ok(()) => {
            hand_over(shared, slot, lease, message, len);
            Ok(())
        }
    };
    lease.end_write(slot);
    result.map(|()| None)
}

/// The message stands for `len` bytes of the chunk, which has room for them. Busy.
fn hand_over(shared: &Shared, slot: &Slot, lease: &mut Lease, message: Message, len: usize) {
    let extent = lease.chunk.extent();
    shared.arena.place(slot.current().chunk(), lease.messages, message, extent.len());
    lease.messages += 1;
    lease.chunk.commit(extent, len);
}

/// All that is not the common case. The owner is busy on entry, and not on return.
///
/// # Safety
/// As `write`, after [`try_write`] has returned `false`.
#[cold]
#[inline(always)]
pub(crate) unsafe fn write_cold(
    shared: &Shared,
    slot: &Slot,
    record: &[u8],
) -> Result<(), WriteError> {
    if slot.is_wiped() {
        slot.leave();
        return Err(WriteError::Forked);
    }
    // SAFETY: as in `try_write`.
    let lease = unsafe { &mut *slot.lease.get() };
    // SAFETY: the caller's promise; busy is set.
    let result = unsafe { accept(shared, slot, lease, record) };
    lease.end_write(slot);
    result
}

/// A record that is larger than a chunk, behind an open gate. Busy.
#[cold]
#[inline(never)]
fn accept_large(
    shared: &Shared,
    slot: &Slot,
    lease: &mut Lease,
    record: &[u8],
) -> Result<(), WriteError> {
    let chunks = record.len().div_ceil(shared.arena.size()) as u32;
    let mut chain = Chain::lease(shared, slot, lease, chunks)?;
    chain.put(&shared.arena, record);
    chain.commit(shared, slot, lease);
    Ok(())
}

/// # Safety
/// As `write`; busy is set.
#[inline(always)]
unsafe fn accept(
    shared: &Shared,
    slot: &Slot,
    lease: &mut Lease,
    record: &[u8],
) -> Result<(), WriteError> {
    make_room(shared, slot, lease, record.len())?;
    if record.is_empty() {
        return Ok(());
    }
    let size = shared.arena.size();
    if record.len() > size {
        return accept_large(shared, slot, lease, record);
    }
    // SAFETY: the gate was open while we are busy, so the chunk is ours, and there is room.
    unsafe { append(lease.chunk, lease.chunk.extent(), record) };
    Ok(())
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::base::sync::Barrier;
    use crate::worker::collect::Collector;

    /// What the worker would write is where the message has it, and the chunk is not touched.
    #[test]
    fn a_large_message_is_not_copied() {
        let shared = Shared::new(8, 100, 1, Barrier::detect()).unwrap();
        let slot = shared.slots.acquire();
        let (mut lent, mut expected) = (Vec::new(), Vec::new());
        for len in [24, 25, 70, 30, 100, 350, 20] {
            let bytes = vec![len as u8; len];
            if len >= 25 {
                lent.push(bytes.as_ptr());
            }
            expected.extend_from_slice(&bytes);
            // SAFETY: the slot is ours.
            let sent = unsafe { send(&shared, &*slot, Message::new(bytes)) };
            assert_eq!(sent.unwrap().is_some(), len < 25, "small ones are copied and come back");
        }
        let (mut collector, mut runs, mut pieces) = (Collector::new(0), Vec::new(), Vec::new());
        assert!(collector.scrape(&shared, |piece| pieces.push(piece)));
        for piece in &pieces {
            // SAFETY: all of it is committed, nothing is freed yet.
            unsafe { shared.arena.each_slice(piece.chunk, piece.range(), |run| runs.push(run)) };
        }
        assert_eq!(runs.concat(), expected);
        let found: Vec<_> = runs.iter().map(|run| run.as_ptr()).collect();
        assert!(lent.iter().all(|message| found.contains(message)), "{found:?} {lent:?}");
        let of_lent = runs.iter().filter(|run| lent.contains(&run.as_ptr()));
        assert_eq!(of_lent.map(|run| run.len()).sum::<usize>(), 25 + 70 + 30 + 100 + 350);
        for piece in &pieces {
            shared.arena.drop_messages(piece.chunk, piece.range());
        }
    }
}
