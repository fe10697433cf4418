//! The hot path: a record, or a message, into the leased chunk.
//!
//! Guarantees: `write` is a copy and a handful of loads and stores of the producer's own lines: no
//! locked instruction, no fence, no call, no clock. Nothing here waits.
//! Refuses: records when no chunk is free, records that never fit, everything after `close`.
//!
//! A message that is handed over takes the place of its bytes in the chunk, which are not touched:
//! order, memory bound and accounts are those of a copy.

use crate::arena::MESSAGES_MAX;
use crate::chain::{self, Chain};
use crate::error::WriteError;
use crate::lease::make_room;
use crate::message::Message;
use crate::shared::Shared;
use crate::slot::{Lease, Slot, gate};
use crate::sync::Release;

/// Accepts a record, or says why not. A refusal is not counted here.
///
/// # Safety
/// The caller is the owner of `slot`, which belongs to `shared`.
#[inline(always)]
pub(crate) unsafe fn write(shared: &Shared, slot: &Slot, record: &[u8]) -> Result<(), WriteError> {
    slot.enter();
    // SAFETY: the lease is the owner's, and no other reference to it is alive: this function and
    // those that it calls are the only ones that make one.
    let lease = unsafe { &mut *slot.lease.get() };
    // An empty record turns into a huge number, so that one comparison keeps it out too.
    if slot.gate() & gate::STATE == gate::OPEN && record.len().wrapping_sub(1) < lease.room {
        // SAFETY: the gate is open while we are busy, so the chunk is ours, and there is room.
        unsafe { append(lease, record) };
        slot.leave();
        return Ok(());
    }
    // SAFETY: as above.
    unsafe { write_slow(shared, slot, lease, record) }
}

/// # Safety
/// The lease is live, its owner is busy behind an open gate, and `record` fits its room.
#[inline(always)]
unsafe fn append(lease: &mut Lease, record: &[u8]) {
    // SAFETY: the caller's promise.
    lease.at = unsafe { lease.at.put(record) };
    lease.room -= record.len();
    lease.extent = lease.extent.plus(record.len());
    // SAFETY: the word is in the arena, which the caller's `shared` keeps. Release: the bytes come
    // before it. Pairs with the loads of `Intake` and `Slot::accepted`.
    unsafe { &*lease.commit }.store(lease.extent.0, Release);
}

/// Whether a message of so many bytes is handed over rather than copied. Four of them fill a chunk;
/// beyond 32 bits its length would not fit the commit word.
fn is_handed_over(shared: &Shared, len: usize) -> bool {
    len >= shared.arena.size().div_ceil(MESSAGES_MAX) && u32::try_from(len).is_ok()
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
    slot.enter();
    // SAFETY: as in `write`.
    let lease = unsafe { &mut *slot.lease.get() };
    let chunks = len.div_ceil(shared.arena.size());
    let result = match make_room(shared, slot, lease, len) {
        Err(cause) => Err((cause, message)),
        Ok(()) if chunks > 1 => chain::hand_over(shared, slot, lease, message, chunks as u32),
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
    let (arena, chunk) = (&shared.arena, slot.current().chunk());
    arena.place(chunk, lease.messages, message, lease.extent.len());
    lease.messages += 1;
    lease.room -= len;
    lease.extent = lease.extent.plus(len);
    lease.at = arena.at(chunk, lease.extent.len());
    // SAFETY: as in `append`.
    unsafe { &*lease.commit }.store(lease.extent.0, Release);
}

/// All that is not the common case. The owner is busy on entry, and not on return.
///
/// # Safety
/// As `write`.
#[cold]
#[inline(never)]
unsafe fn write_slow(
    shared: &Shared,
    slot: &Slot,
    lease: &mut Lease,
    record: &[u8],
) -> Result<(), WriteError> {
    // SAFETY: the caller's promise; busy is set.
    let result = unsafe { accept(shared, slot, lease, record) };
    lease.end_write(slot);
    result
}

/// # Safety
/// As `write`; busy is set.
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
        let mut chain = Chain::lease(shared, slot, lease, record.len().div_ceil(size) as u32)?;
        chain.put(&shared.arena, record);
        chain.commit(shared, slot, lease);
        return Ok(());
    }
    // SAFETY: the gate was open while we are busy, so the chunk is ours, and there is room.
    unsafe { append(lease, record) };
    Ok(())
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::intake::Intake;
    use crate::sync::Barrier;

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
        let (mut intake, mut runs, mut pieces) = (Intake::new(0), Vec::new(), Vec::new());
        assert!(intake.scrape(&shared, |piece| pieces.push(piece)));
        for piece in &pieces {
            // SAFETY: all of it is committed, nothing is freed yet.
            unsafe { shared.arena.each_run(piece.chunk, piece.range(), |run| runs.push(run)) };
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
