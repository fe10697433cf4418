//! The worker's side of a flight recorder: takes what memory holds for a dump, and gives back what
//! the dump did not use up.
//!
//! Guarantees: all that was accepted before a recall, and was not overwritten when it began, is in
//! its pieces, each byte once, in each producer's order. What is recalled is not overwritten before
//! it is given back. Producers go on meanwhile. Touches no file.
//!
//! `docs/design/recorder.md` has the protocol and its reasons.

use std::collections::BTreeMap;

#[cfg(loom)]
use crate::base::sync::Backoff;
#[cfg(not(loom))]
use crate::base::thread::Backoff;
use crate::memory::Shared;
use crate::memory::arena::{Arena, ChunkId, Extent};
use crate::memory::ring::Ring;
use crate::memory::slot::Slot;
use crate::memory::slot::current::LeasePhase;
use crate::report::stats::Count;
use crate::worker::collect::{Collector, Piece, pieces};

/// What one dump takes of the memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    /// Chunks that were sealed before this time of the ring stay where they are.
    pub(crate) since: u64,
    /// Everything stays in memory once it is in a file.
    pub(crate) keeps: bool,
}

/// The chunks of one dump.
#[derive(Debug, Default)]
pub(crate) struct Recall {
    /// Sealed chunks and the first chunks of chains, in their order, and what files had of each.
    /// Empty if the worker's queue frees them.
    sealed: Vec<(ChunkId, Extent)>,
    /// Chunks that were leased, and what files had of each.
    pinned: Vec<(ChunkId, Extent)>,
    keeps: bool,
}

/// A chunk that was found, or the committed prefix of one that is leased.
struct Found {
    chunk: ChunkId,
    producer: u64,
    lease: u64,
    /// The prefix that was committed at the look. `None` if the chunk is sealed.
    prefix: Option<Extent>,
}

impl Found {
    fn sealed(arena: &Arena, chunk: ChunkId) -> Self {
        let (producer, lease) = arena.order(chunk);
        Found { chunk, producer, lease, prefix: None }
    }
}

impl Recall {
    /// Takes the records in memory, in order. Returns how many they are, and when the first chunk
    /// was sealed.
    pub(crate) fn take(
        shared: &Shared,
        ring: &Ring,
        wanted: Wanted,
        mut each: impl FnMut(Piece),
    ) -> (Self, Count, u64) {
        let arena = &shared.arena;
        let mut recall = Recall { keeps: wanted.keeps, ..Recall::default() };
        let (mut count, mut first) = (Count::ZERO, ring.now());
        for found in find(shared, ring) {
            let chunk = found.chunk;
            let is_pinned = found.prefix.is_some();
            if !is_pinned && arena.sealed_at(chunk) < wanted.since {
                ring.put_back(arena, chunk);
                continue;
            }
            let from = arena.taken(chunk);
            if is_pinned {
                recall.pinned.push((chunk, from));
            } else {
                first = first.min(arena.sealed_at(chunk));
                if wanted.keeps {
                    recall.sealed.push((chunk, from));
                }
            }
            pieces(arena, chunk, found.prefix, |mut piece| {
                piece.last &= !wanted.keeps;
                count += piece.count();
                each(piece);
            });
        }
        (recall, count, first)
    }

    /// Takes back the memory of a dump that is over. `left` are the pieces that no file has, and
    /// that the queue does not free.
    pub(crate) fn give_back(self, shared: &Shared, ring: &Ring, left: &[Piece]) {
        let arena = &shared.arena;
        let restore = |piece: &Piece| {
            arena.set_taken(piece.chunk, Extent::new(piece.from as usize, piece.records_before));
        };
        left.iter().for_each(restore);
        if self.keeps {
            self.pinned.iter().for_each(|&(chunk, from)| arena.set_taken(chunk, from));
            self.sealed.iter().for_each(|&(chunk, from)| restore_all(shared, chunk, from));
        }
        let mut is_part = false;
        let heads = left.iter().filter(|piece| {
            let is_head = !std::mem::replace(&mut is_part, piece.split);
            is_head && !self.pinned.iter().any(|&(chunk, _)| chunk == piece.chunk)
        });
        let heads: Vec<ChunkId> = match self.keeps {
            true => self.sealed.iter().map(|&(chunk, _)| chunk).collect(),
            false => heads.map(|piece| piece.chunk).collect(),
        };
        heads.into_iter().for_each(|chunk| ring.put_back(arena, chunk));
        let mut handed = self.pinned.iter().filter(|&&(chunk, _)| !arena.unpin(chunk)).count();
        // Each was taken from the ring, and is on its way here.
        let mut backoff = Backoff::default();
        while handed > 0 {
            ring.take_handed(|chunk| {
                ring.put_back(arena, chunk);
                handed -= 1;
            });
            if handed > 0 {
                backoff.pause();
            }
        }
        ring.close_reserve();
    }
}

/// Sets a chunk, or each chunk of a chain, back to what files had of it.
fn restore_all(shared: &Shared, chunk: ChunkId, from: Extent) {
    let arena = &shared.arena;
    arena.set_taken(chunk, from);
    let mut part = arena.chained(chunk);
    while let Some(chunk) = part {
        arena.set_taken(chunk, Extent::default());
        part = Some(arena.next(chunk)).filter(|&next| next != arena.none());
    }
}

/// Bytes that a dump needs for each chunk: what it found and its order, doubled for the growth of the
/// lists, and what it must give back.
#[cfg(not(loom))]
pub(crate) const RECALL_BYTES_PER_CHUNK: usize = 2 * size_of::<Found>()
    + 2 * size_of::<Option<Found>>()
    + 4 * size_of::<usize>()
    + 2 * size_of::<(ChunkId, Extent)>();

/// Everything in memory, in each producer's order, and otherwise in the order of the seals.
fn find(shared: &Shared, ring: &Ring) -> Vec<Found> {
    let mut met = Vec::new();
    // Before the ring is taken. So a chunk that is sealed meanwhile is found in one of the two.
    let live = shared.slots.iter().filter_map(|slot| pin(shared, slot, &mut met)).collect();
    find_beside(live, &met, shared, ring)
}

/// Everything in memory, after the look at what is leased. Waits for chunks that others `met` in that look.
fn find_beside(
    live: Vec<(ChunkId, Extent)>,
    met: &[ChunkId],
    shared: &Shared,
    ring: &Ring,
) -> Vec<Found> {
    let arena = &shared.arena;
    // Before producers may use the reserve. So a dump takes no more than is usually kept, even if
    // this thread is preempted here, and producers have the reserve for themselves.
    let depths = ring.depths();
    ring.open_reserve();
    let mut found = Vec::new();
    let mut seen = |chunk| found.push(Found::sealed(arena, chunk));
    ring.take_all(arena, depths, &mut seen);
    ring.take_handed(&mut seen);
    // Their records may have been accepted before the call, and later ones of the same producers are
    // in this dump. Each is on its way here.
    let mut backoff = Backoff::default();
    while !met.iter().all(|&chunk| found.iter().any(|found| found.chunk == chunk)) {
        backoff.pause();
        ring.take_handed(|chunk| found.push(Found::sealed(arena, chunk)));
    }
    let mut ends = BTreeMap::new();
    for (chunk, extent) in live {
        // Neither taken from the ring just now, by the worker or by a producer.
        if arena.is_pinned(chunk) || !found.iter().any(|found| found.chunk == chunk) {
            let (producer, lease) = arena.order(chunk);
            ends.insert(producer, lease);
            found.push(Found { chunk, producer, lease, prefix: Some(extent) });
        }
    }
    in_order(&mut found);
    found.retain(|found| {
        // Sealed after the look, so it was accepted after the call. The rest of the pinned chunk,
        // which comes before, is not in this dump either.
        let is_later = ends.get(&found.producer).is_some_and(|&end| found.lease > end);
        if is_later {
            ring.put_back(arena, found.chunk);
        }
        !is_later
    });
    found
}

/// Sorts the chunks of each producer among the places that they have.
fn in_order(found: &mut Vec<Found>) {
    let mut places: Vec<usize> = (0..found.len()).collect();
    places.sort_by_key(|&place| (found[place].producer, place));
    let mut order: Vec<usize> = (0..found.len()).collect();
    order.sort_by_key(|&place| (found[place].producer, found[place].lease));
    let mut all: Vec<Option<Found>> = std::mem::take(found).into_iter().map(Some).collect();
    let mut sorted: Vec<Option<Found>> = all.iter().map(|_| None).collect();
    for (place, from) in places.into_iter().zip(order) {
        sorted[place] = all[from].take();
    }
    found.extend(sorted.into_iter().flatten());
}

/// Pins the chunk that a slot leases, if it holds anything that no file has. Waits for the end of a
/// swap, which is short unless the producer is preempted in it. Adds chunks that it pinned in vain, and
/// that others met meanwhile, to `met`.
fn pin(shared: &Shared, slot: &Slot, met: &mut Vec<ChunkId>) -> Option<(ChunkId, Extent)> {
    let arena = &shared.arena;
    let mut backoff = Backoff::default();
    loop {
        let before = slot.leased_now()?;
        match before.phase() {
            LeasePhase::Idle => return None,
            LeasePhase::Live if arena.pin(before.chunk()) => {
                let chunk = before.chunk();
                // After the pin: whoever takes the chunk from the ring from now on sees it.
                if slot.leased_now() == Some(before) {
                    let extent = arena.committed(chunk);
                    if extent.len() > arena.taken(chunk).len() {
                        return Some((chunk, extent));
                    }
                    unpin(arena, chunk, met);
                    return None;
                }
                unpin(arena, chunk, met);
            }
            _ => {}
        }
        backoff.pause();
    }
}

/// Ends a pin that was in vain. A chunk that somebody met because of it is added to `met`: it will come
/// with those that are handed over.
pub(crate) fn unpin(arena: &Arena, chunk: ChunkId, met: &mut Vec<ChunkId>) {
    if arena.unpin(chunk) {
        return;
    }
    let mut backoff = Backoff::default();
    let was_met = loop {
        match arena.was_met(chunk) {
            Some(was_met) => break was_met,
            None => backoff.pause(),
        }
    };
    if was_met {
        met.push(chunk);
    }
}

/// Gives the chunks of idle producers to the ring, since a caller finds none to take over.
pub(crate) fn revoke(collector: &mut Collector, shared: &Shared, ring: &Ring) {
    let mut ended = Vec::new();
    collector.revoke(shared, |piece| ended.push(piece));
    keep(shared, ring, &ended);
}

/// Seals all chunks that hold something, so that none spans more time. Returns `false` if it had to pass by
/// one, whose owner was in a write.
pub(crate) fn seal_all(collector: &mut Collector, shared: &Shared, ring: &Ring) -> bool {
    let mut ended = Vec::new();
    let is_all = collector.end_all(shared, |piece| ended.push(piece));
    keep(shared, ring, &ended);
    is_all
}

fn keep(shared: &Shared, ring: &Ring, ended: &[Piece]) {
    for piece in ended {
        let from = Extent::new(piece.from as usize, piece.records_before);
        shared.arena.set_taken(piece.chunk, from);
        ring.put(&shared.arena, piece.chunk);
    }
}

/// Forgets the oldest chunks of which more are in use than permitted, since what is written during a
/// dump needs the reserve. Returns what they held.
pub(crate) fn shrink(shared: &Shared, ring: &Ring) -> Count {
    let mut forgotten = Count::ZERO;
    while ring.excess().is_some_and(|excess| excess > 0) {
        let Some(over) = ring.take_over(&shared.arena) else { break };
        forgotten += over.held;
        ring.gave_back(over.chunks);
        shared.pool.push_chain(&shared.arena, over.first, over.last);
    }
    forgotten
}

/// Forgets all that is in memory, once no producer writes any more. Returns what no file has.
pub(crate) fn discard(shared: &Shared, ring: &Ring) -> Count {
    let everything = Wanted { since: 0, keeps: false };
    let (_, count, _) = Recall::take(shared, ring, everything, |_| ());
    count
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::base::sync::{Barrier, Release};
    use crate::memory::arena::Arena;

    /// A producer that looks for memory has taken the pinned chunk from the ring, and not yet handed it over. So a
    /// dump has its prefix alone, and must not have what was sealed after it.
    #[test]
    fn what_comes_after_a_pinned_chunk_is_not_dumped_without_its_rest() {
        let shared = Shared::recorder(Arena::new(5, 8).unwrap(), 3, Barrier::detect()).unwrap();
        let (arena, ring) = (&shared.arena, shared.ring.as_ref().unwrap());
        // SAFETY: the slot lives as long as `shared`.
        let slot = unsafe { &*shared.slots.acquire().unwrap() };
        let [pinned, later] = [2, 4].map(|lease| {
            let chunk = shared.pool.pop(arena, slot.number).unwrap();
            arena.note_order(chunk, slot.number, lease);
            chunk
        });
        let commit = |chunk, len| arena.commit_word(chunk).store(Extent::new(len, 1).0, Release);
        commit(pinned, 3);
        slot.set_current(slot.current().live(pinned, 0));
        let live: Vec<_> = pin(&shared, slot, &mut Vec::new()).into_iter().collect();
        commit(pinned, 8);
        commit(later, 8);
        [pinned, later].into_iter().for_each(|chunk| ring.put(arena, chunk));
        slot.set_current(slot.current().idle());
        ring.take_all(arena, [0, 1], |chunk| assert_eq!(chunk, pinned));
        let found = find_beside(live, &[], &shared, ring);
        assert_eq!((found.len(), found[0].chunk), (1, pinned));
        assert_eq!(found[0].prefix.map(Extent::len), Some(3));
        assert_eq!(ring.depths(), [1, 0], "the later one is back");
    }
}
