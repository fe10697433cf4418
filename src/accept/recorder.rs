//! The swap of a flight recorder: a full chunk goes to the ring, and if all permitted memory is in
//! use, the oldest one is taken over.
//!
//! Guarantees: as `lease`. No worker is woken, and a producer that leases a chunk always gets
//! another one. What is taken over is counted as overwritten by the slot of who takes it.
//! Refuses: a chunk when each one is leased by another producer or being dumped.

use crate::memory::Shared;
use crate::memory::arena::ChunkId;
use crate::memory::ring::{Ring, TakenOver};
use crate::memory::slot::Slot;
use crate::memory::slot::lease::Chunk;
use crate::memory::slot::owned::Busy;

/// Takes one chunk.
pub(super) fn pop(busy: &mut Busy<'_>, ring: &Ring) -> Option<ChunkId> {
    let (chunk, _) = pop_chain(busy.shared, ring, busy.slot, 1)?;
    busy.slot.add_leased(1);
    Some(chunk)
}

/// Leases a chunk to an owner without one. No worker is woken.
pub(super) fn begin(busy: &mut Busy<'_>, chunk: ChunkId) {
    let (arena, slot) = (&busy.shared.arena, busy.slot);
    arena.note_lease(chunk, slot.number, 2 * slot.leased());
    arena.note_order(chunk, slot.number, 2 * slot.leased());
    busy.lease.chunk = Chunk::new(arena.at(chunk, 0), arena.size(), arena.commit_word(chunk));
    slot.set_current(slot.current().live(chunk, busy.lease.home));
}

/// A chunk that no inbox took: it stays in memory. `false`, since no worker has it.
#[cold]
#[inline(never)]
pub(super) fn keep(shared: &Shared, chunk: ChunkId) -> bool {
    if let Some(ring) = &shared.ring {
        ring.put(&shared.arena, chunk);
    }
    false
}

/// Takes `count` linked chunks, free ones or the oldest of the ring, or none. Returns the first and
/// the last.
pub(super) fn pop_chain(
    shared: &Shared,
    ring: &Ring,
    slot: &Slot,
    count: u32,
) -> Option<(ChunkId, ChunkId)> {
    let (arena, pool) = (&shared.arena, &shared.pool);
    let mut taken: Option<TakenOver> = None;
    while taken.as_ref().is_none_or(|taken| taken.chunks < count) {
        let over = || {
            let over = ring.take_over(arena)?;
            slot.add_overwritten(over.held);
            Some(over)
        };
        let free = || {
            let chunk = pool.pop(arena, slot.number)?;
            ring.took(1);
            Some(TakenOver::free(chunk))
        };
        let more =
            if ring.excess().is_some() { over().or_else(free) } else { free().or_else(over) };
        let Some(more) = more else {
            if let Some(taken) = taken {
                give_back(shared, ring, taken.first, taken.last, taken.chunks);
            }
            return None;
        };
        taken = Some(join(shared, taken, more));
    }
    let TakenOver { first, last, chunks, .. } = taken?;
    let mut end = first;
    arena.set_shard(first, crate::memory::shard::of(slot.number));
    for _ in 1..count {
        end = arena.next(end);
    }
    if end != last {
        let rest = arena.next(end);
        arena.set_next(end, arena.none());
        give_back(shared, ring, rest, last, chunks - count);
    }
    Some((first, end))
}

fn join(shared: &Shared, before: Option<TakenOver>, more: TakenOver) -> TakenOver {
    let Some(before) = before else { return more };
    shared.arena.set_next(before.last, more.first);
    TakenOver { first: before.first, chunks: before.chunks + more.chunks, ..more }
}

fn give_back(shared: &Shared, ring: &Ring, first: ChunkId, last: ChunkId, chunks: u32) {
    ring.gave_back(chunks);
    shared.pool.push_chain(&shared.arena, first, last);
}
