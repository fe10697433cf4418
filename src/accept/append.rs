//! The hot path: appends a record or a message to the leased chunk.
//!
//! Guarantees: `write` is a copy and a few loads and stores to the producer's own lines. It has no
//! locked instruction, no fence, no call and no clock. Nothing here waits.
//! Refuses: records when no chunk is free, records that can never fit, and everything after
//! `close`.
//!
//! A message that is handed over stands in for its bytes in the chunk, which stay untouched. Order,
//! memory bound and accounts are those of a copy.

use crate::accept::large::{self, Chain};
use crate::accept::lease::make_room;
use crate::memory::Shared;
use crate::memory::arena::{Extent, MESSAGES_MAX};
use crate::memory::message::Message;
use crate::memory::slot::lease::Chunk;
use crate::memory::slot::owned::{Busy, OwnedSlot};
use crate::memory::slot::{Slot, gate};
use crate::report::error::WriteError;

/// The common case: the gate is open, and the record fits the leased chunk. Otherwise returns
/// `false` and leaves the owner busy; [`write_cold`] must follow.
///
/// Knows only the slot, so that its caller needs nothing else at hand.
///
/// # Safety
/// The caller is the owner of `slot`, and no [`Busy`] of it is alive.
#[inline(always)]
pub(crate) unsafe fn try_write(slot: &Slot, record: &[u8]) -> bool {
    slot.enter();
    // Checked before the lease: in a forked child the slot is zeroed, and its commit word is a null
    // pointer.
    if slot.gate() & gate::STATE != gate::OPEN {
        return false;
    }
    // SAFETY: the caller is the owner. A reference to the lease would need a `Busy`, and none is
    // alive.
    let chunk = unsafe { slot.chunk() };
    let extent = chunk.extent();
    // An empty record wraps to a huge number, so one comparison rejects it too.
    if record.len().wrapping_sub(1) < chunk.end - extent.len() {
        // SAFETY: the gate is open while the owner is busy, so the chunk is leased; the record fits
        // the rest.
        unsafe { append(chunk, extent, record) };
        slot.leave();
        return true;
    }
    false
}

/// Accepts a record or says why not. Does not count a refusal.
#[inline(always)]
pub(crate) fn write(slot: &mut OwnedSlot<'_>, record: &[u8]) -> Result<(), WriteError> {
    // SAFETY: `slot` owns it, and a live `Busy` would borrow `slot`.
    if unsafe { try_write(slot.slot, record) } { Ok(()) } else { write_cold(slot, record) }
}

/// # Safety
/// The caller leases the chunk and is busy behind an open gate. `extent` is the chunk's committed
/// prefix, and `record` fits the rest.
#[inline(always)]
unsafe fn append(chunk: Chunk, extent: Extent, record: &[u8]) {
    // SAFETY: the caller promises the lease and the room.
    unsafe { chunk.base.add(extent.len()).put(record) };
    chunk.commit(extent, record.len());
}

/// Whether a message of `len` bytes is handed over rather than copied. At most [`MESSAGES_MAX`] of
/// them fill a chunk. Its length must also fit the 32 bits of the commit word.
fn is_handed_over(shared: &Shared, len: usize) -> bool {
    let is_large = len >= shared.arena.size().div_ceil(MESSAGES_MAX);
    // Crash-proof memory must not point to memory that dies with the process. And who takes a chunk
    // over is busy, and may not run the foreign code of a drop.
    let copies = shared.arena.is_in_crash_image() || shared.ring.is_some();
    is_large && u32::try_from(len).is_ok() && !copies
}

/// Accepts a message. A large one is handed over; a smaller one is copied and returned for the
/// caller to drop. A refused one is returned with the cause.
pub(crate) fn send(
    slot: &mut OwnedSlot<'_>,
    message: Message,
) -> Result<Option<Message>, (WriteError, Message)> {
    let (shared, len) = (slot.shared, message.bytes().len());
    if !is_handed_over(shared, len) {
        return match write(slot, message.bytes()) {
            Ok(()) => Ok(Some(message)),
            Err(cause) => Err((cause, message)),
        };
    }
    if slot.slot.is_wiped() {
        return Err((WriteError::Forked, message));
    }
    let mut busy = slot.enter();
    let chunks = len.div_ceil(shared.arena.size());
    match make_room(&mut busy, len) {
        Err(cause) => return Err((cause, message)),
        Ok(()) if chunks > 1 => large::hand_over(&mut busy, message, chunks as u32)?,
        Ok(()) => hand_over(&mut busy, message, len),
    }
    Ok(None)
}

/// Lets the message stand in for `len` bytes of the chunk, which has room for them.
fn hand_over(busy: &mut Busy<'_>, message: Message, len: usize) {
    let extent = busy.lease.chunk.extent();
    let chunk = busy.slot.current().chunk();
    busy.shared.arena.place(chunk, busy.lease.messages, message, extent.len());
    busy.lease.messages += 1;
    busy.lease.chunk.commit(extent, len);
}

/// Handles everything but the common case. [`try_write`] has returned `false` and left the owner
/// busy.
#[cold]
#[inline(always)]
pub(crate) fn write_cold(slot: &mut OwnedSlot<'_>, record: &[u8]) -> Result<(), WriteError> {
    if slot.slot.is_wiped() {
        slot.slot.leave();
        return Err(WriteError::Forked);
    }
    let mut busy = slot.entered();
    make_room(&mut busy, record.len())?;
    if record.is_empty() {
        return Ok(());
    }
    if record.len() > busy.shared.arena.size() {
        return accept_large(&mut busy, record);
    }
    let chunk = busy.lease.chunk;
    // SAFETY: `make_room` left the gate open while the owner is busy, and the record fits the
    // leased chunk.
    unsafe { append(chunk, chunk.extent(), record) };
    Ok(())
}

/// Accepts a record larger than a chunk, behind an open gate.
#[cold]
#[inline(never)]
fn accept_large(busy: &mut Busy<'_>, record: &[u8]) -> Result<(), WriteError> {
    let arena = &busy.shared.arena;
    let chunks = record.len().div_ceil(arena.size()) as u32;
    let mut chain = Chain::lease_all(busy, chunks)?;
    chain.put(arena, record);
    chain.commit(busy);
    Ok(())
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::base::sync::Barrier;
    use crate::memory::slot::owned::Borrowed;
    use crate::worker::collect::Collector;

    /// The worker would write the bytes from the message itself, not from the chunk.
    #[test]
    fn a_large_message_is_not_copied() {
        let shared = Shared::new(8, 100, 1, Barrier::detect()).unwrap();
        let mut slot = Borrowed::new(&shared).unwrap();
        let (mut lent, mut expected) = (Vec::new(), Vec::new());
        for len in [24, 25, 70, 30, 100, 350, 20] {
            let bytes = vec![len as u8; len];
            if len >= 25 {
                lent.push(bytes.as_ptr());
            }
            expected.extend_from_slice(&bytes);
            let sent = send(&mut slot.owned(), Message::new(bytes));
            assert_eq!(sent.unwrap().is_some(), len < 25, "small ones are copied and come back");
        }
        let (mut collector, mut runs, mut pieces) = (Collector::new(0), Vec::new(), Vec::new());
        assert!(collector.scrape(&shared, |piece| pieces.push(piece)));
        for piece in &pieces {
            // SAFETY: all pieces are committed, and nothing is freed or dropped yet.
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
