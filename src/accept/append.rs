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
use crate::memory::slot::lease::Chunk;
use crate::memory::slot::owned::{Busy, OwnedSlot};
use crate::memory::slot::{Slot, gate};
use crate::report::error::WriteError;

/// The common case: the gate is open, and the record fits the leased chunk. If not, `false`: nothing has
/// happened, but that the owner is busy, which [`write_cold`] must follow.
///
/// It knows only the slot, so that whoever calls it needs nothing else at hand.
///
/// # Safety
/// The caller is the owner of `slot`, of which no [`Busy`] is alive.
#[inline(always)]
pub(crate) unsafe fn try_write(slot: &Slot, record: &[u8]) -> bool {
    slot.enter();
    // Before the lease: in a forked child the slot is zeroed, and its commit word nowhere.
    if slot.gate() & gate::STATE != gate::OPEN {
        return false;
    }
    // SAFETY: the caller's promise: whoever refers to a lease has a `Busy`.
    let chunk = unsafe { slot.chunk() };
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
#[inline(always)]
pub(crate) fn write(slot: &mut OwnedSlot<'_>, record: &[u8]) -> Result<(), WriteError> {
    // SAFETY: it is owned, and a `Busy` would borrow it.
    if unsafe { try_write(slot.slot, record) } { Ok(()) } else { write_cold(slot, record) }
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

/// The message stands for `len` bytes of the chunk, which has room for them.
fn hand_over(busy: &mut Busy<'_>, message: Message, len: usize) {
    let extent = busy.lease.chunk.extent();
    let chunk = busy.slot.current().chunk();
    busy.shared.arena.place(chunk, busy.lease.messages, message, extent.len());
    busy.lease.messages += 1;
    busy.lease.chunk.commit(extent, len);
}

/// All that is not the common case, after [`try_write`] has returned `false`, which left the owner busy.
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
    // SAFETY: the gate was open while we are busy, so the chunk is ours, and there is room.
    unsafe { append(chunk, chunk.extent(), record) };
    Ok(())
}

/// A record that is larger than a chunk, behind an open gate.
#[cold]
#[inline(never)]
fn accept_large(busy: &mut Busy<'_>, record: &[u8]) -> Result<(), WriteError> {
    let arena = &busy.shared.arena;
    let chunks = record.len().div_ceil(arena.size()) as u32;
    let mut chain = Chain::lease(busy, chunks)?;
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

    /// What the worker would write is where the message has it, and the chunk is not touched.
    #[test]
    fn a_large_message_is_not_copied() {
        let shared = Shared::new(8, 100, 1, Barrier::detect()).unwrap();
        let mut slot = Borrowed::new(&shared);
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
