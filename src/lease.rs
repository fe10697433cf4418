//! The hot path: a record into the leased chunk; and the swap, when the chunk is full.
//!
//! Guarantees: `write` is a copy and a handful of loads and stores of the producer's own lines: no
//! locked instruction, no fence, no call, no clock. The swap takes no lock, allocates nothing and
//! makes no system call while the home worker is awake. Nothing here waits.
//! Refuses: records when no chunk is free, records that never fit, everything after `close`.

use crate::arena::{BytePtr, Extent};
use crate::error::WriteError;
use crate::shared::Shared;
use crate::slot::{Lease, Phase, Slot, gate};
use crate::stats::Count;
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
    slot.leave();
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
    if !pass_gate(shared, slot, lease) {
        return Err(WriteError::Closed);
    }
    if record.is_empty() {
        return Ok(());
    }
    let chunks = record.len().div_ceil(shared.arena.size());
    if chunks > shared.arena.none() as usize {
        return Err(WriteError::TooLarge);
    }
    if chunks > 1 {
        return write_chain(shared, slot, lease, record, chunks as u32);
    }
    // The gate may have been the only hindrance.
    if record.len() > lease.room {
        swap(shared, slot, lease)?;
    }
    // SAFETY: the gate was open while we are busy, so the chunk is ours, and there is room.
    unsafe { append(lease, record) };
    Ok(())
}

/// Sees to an open gate while busy; `false` once it is closed.
fn pass_gate(shared: &Shared, slot: &Slot, lease: &mut Lease) -> bool {
    loop {
        let seen = slot.gate();
        match seen & gate::STATE {
            gate::OPEN => return true,
            gate::CLOSED | gate::CLOSED_TAKEN => return false,
            gate::TAKEN => {
                forget(slot, lease);
                slot.reopen(seen);
            }
            _ => {
                // The home worker sleeps, or is about to, and would not look for this record.
                slot.leave();
                slot.reopen(seen);
                shared.desks[slot.current().home()].bell.ring();
                slot.enter();
            }
        }
    }
}

/// Leases a new chunk, then seals the old one. Without a free chunk the old one is sealed all the
/// same: else all chunks could be full in the hands of producers that each wait for another.
fn swap(shared: &Shared, slot: &Slot, lease: &mut Lease) -> Result<(), WriteError> {
    let before = slot.current();
    // While the pool is empty a producer without a chunk pays two loads.
    if before.phase() == Phase::Idle && shared.pool.is_empty(&shared.arena) {
        shared.starve(1);
        return Err(WriteError::Full);
    }
    let new = shared.pool.pop(&shared.arena);
    seal(shared, slot, lease);
    let Some(chunk) = new else {
        // Out of memory for the first time: worth some calls, so that no worker naps on.
        shared.wake_busy();
        shared.starve(1);
        return Err(WriteError::Full);
    };
    slot.add_leased(1);
    lease.home = home(shared, lease);
    lease.at = shared.arena.at(chunk, 0);
    lease.room = shared.arena.size();
    lease.extent = Extent::default();
    lease.commit = shared.arena.commit_word(chunk);
    slot.set_current(slot.current().live(chunk, lease.home));
    // A worker that sleeps must know that it has a producer now; see `Bell::lie_down`.
    shared.desks[lease.home].bell.ring();
    Ok(())
}

/// Gives the leased chunk, if there is one, to its home worker.
fn seal(shared: &Shared, slot: &Slot, lease: &mut Lease) {
    let before = slot.current();
    if before.phase() == Phase::Idle {
        return;
    }
    // Before the push: a worker that has taken the chunk never sees it as live again.
    slot.set_current(before.swapping());
    end(slot, lease);
    deliver(shared, before.home(), before.chunk(), 1);
    // After the push: a worker that sees the slot without the chunk finds it in its inbox.
    slot.set_current(before.idle());
}

/// Adds what was leased to the totals. In phase Swapping.
fn end(slot: &Slot, lease: &mut Lease) {
    slot.add_sealed(lease.extent.count());
    lease.room = 0;
    lease.at = BytePtr::NONE;
    lease.extent = Extent::default();
    lease.commit = std::ptr::null();
}

/// Ends a lease that was revoked: the chunk is its worker's already, or somebody else's by now.
fn forget(slot: &Slot, lease: &mut Lease) {
    let before = slot.current();
    slot.set_current(before.swapping());
    end(slot, lease);
    slot.set_current(before.idle());
}

/// Puts a chunk, or a chain, into a worker's inbox. After `close` gave up there is no worker: then
/// the chunk stays out of circulation, and its records are accounted for as lost.
fn deliver(shared: &Shared, home: usize, chunk: u32, weight: u32) {
    let desk = &shared.desks[home];
    if desk.inbox.push(&shared.arena, chunk, weight) {
        desk.bell.ring();
    }
}

/// The worker of the next lease: the same one as long as it makes progress or holds less than its
/// share; then the next one that holds less. Few workers are busy, so, and files are large.
fn home(shared: &Shared, lease: &mut Lease) -> usize {
    let desks = &shared.desks;
    let old = lease.home;
    let stuck = desks[old].freed() == lease.freed && desks[old].held() >= shared.share;
    let workers = desks.len();
    let new = (0..workers)
        .map(|step| (old + step) % workers)
        .find(|&worker| !stuck || desks[worker].held() < shared.share)
        .unwrap_or(old);
    lease.freed = desks[new].freed();
    new
}

/// A record that is larger than a chunk: a chain of chunks, sealed together.
fn write_chain(
    shared: &Shared,
    slot: &Slot,
    lease: &mut Lease,
    record: &[u8],
    chunks: u32,
) -> Result<(), WriteError> {
    let arena = &shared.arena;
    let Some(head) = shared.pool.pop_chain(arena, chunks) else {
        // What the chunk holds may be what is missing.
        seal(shared, slot, lease);
        shared.starve(chunks);
        return Err(WriteError::Full);
    };
    slot.add_leased(chunks);
    if lease.extent.len() > 0 {
        // The records before this one go before it. An empty chunk may stay.
        seal(shared, slot, lease);
    }
    let mut chunk = head;
    for (i, part) in record.chunks(arena.size()).enumerate() {
        // SAFETY: the chain is ours alone, each part fits one chunk.
        unsafe { arena.at(chunk, 0).put(part) };
        // The record counts where it begins. The push publishes all of it. Release: as in `reset`.
        let extent = Extent::new(part.len(), u32::from(i == 0));
        arena.commit_word(chunk).store(extent.0, Release);
        chunk = arena.next(chunk);
    }
    arena.set_chained(head, arena.next(head));
    lease.home = home(shared, lease);
    let before = slot.current();
    slot.set_current(before.swapping());
    slot.add_sealed(Count::new(1, record.len() as u64));
    deliver(shared, lease.home, head, chunks);
    slot.set_current(match before.phase() {
        Phase::Idle => before.idle(),
        _ => before.resumed(),
    });
    Ok(())
}
