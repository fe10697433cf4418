//! The worker's side of the memory. Collects committed bytes as pieces, in the order in which they
//! go to the file, and returns chunks to the pool.
//!
//! Guarantees: each committed byte becomes part of exactly one piece. Pieces of one producer come
//! in the order of its writes. Nothing here waits for a producer. Touches no file.

use std::ops::Range;

use crate::memory::Shared;
use crate::memory::arena::{Arena, ChunkId, Extent};
use crate::memory::slot::{Slot, View, gate};
use crate::report::stats::Count;

/// Consecutive committed bytes of one chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) chunk: ChunkId,
    pub(crate) from: u32,
    pub(crate) len: u32,
    pub(crate) records: u32,
    /// Records of the chunk before the piece.
    pub(crate) records_before: u32,
    /// The last piece of the chunk: once it is done, the chunk is free.
    pub(crate) last: bool,
    /// The piece ends within a record, which continues in the next piece.
    pub(crate) split: bool,
}

impl Piece {
    /// The range of the chunk that the piece covers. A message larger than the chunk extends it
    /// beyond the chunk's size.
    pub(crate) fn range(&self) -> Range<usize> {
        self.from as usize..self.from as usize + self.len as usize
    }

    pub(crate) fn count(&self) -> Count {
        Count::new(u64::from(self.records), u64::from(self.len))
    }

    /// The chunk's extent up to the end of this piece.
    #[cfg(not(loom))]
    pub(crate) fn end(&self) -> Extent {
        Extent::new(self.range().end, self.records_before + self.records)
    }
}

/// The collector of one worker.
pub(crate) struct Collector {
    /// Number of the worker. It touches only chunks whose home worker it is.
    me: usize,
    /// Live chunks and their extents, in the current scrape.
    live: Vec<(ChunkId, Extent)>,
    /// Live chunks and their extents at the last look for idle producers, sorted by chunk.
    seen: Vec<(ChunkId, Extent)>,
}

impl Collector {
    pub(crate) fn new(me: usize) -> Self {
        Collector { me, live: Vec::new(), seen: Vec::new() }
    }

    /// Takes the sealed chunks.
    pub(crate) fn take(&mut self, shared: &Shared, mut each: impl FnMut(Piece)) {
        let Shared { arena, mailboxes, .. } = shared;
        mailboxes[self.me].inbox.take(arena, |chunk| sealed(arena, chunk, &mut each));
    }

    /// Takes the sealed chunks and then the committed prefixes of the live ones. `false` if a
    /// producer was in the middle of a swap. Its chunk may be on its way, so only a later scrape
    /// covers all records accepted before this one.
    pub(crate) fn scrape(&mut self, shared: &Shared, mut each: impl FnMut(Piece)) -> bool {
        let complete = self.look(shared);
        self.take(shared, &mut each);
        self.prefixes(&shared.arena, each);
        complete
    }

    /// Like `scrape`, for the last time: closes the inbox.
    pub(crate) fn close(&mut self, shared: &Shared, mut each: impl FnMut(Piece)) -> bool {
        let complete = self.look(shared);
        let Shared { arena, mailboxes, .. } = shared;
        mailboxes[self.me].inbox.close(arena, |chunk| sealed(arena, chunk, &mut each));
        self.prefixes(arena, each);
        complete
    }

    /// Notes the extents of live chunks, before the inbox is taken. In the other order a producer
    /// could seal one chunk and fill the next in between, and the later records would be written
    /// first.
    fn look(&mut self, shared: &Shared) -> bool {
        let mut complete = true;
        self.live.clear();
        for slot in shared.slots.iter() {
            match slot.view(self.me) {
                // Only this worker frees the chunk, so it is still the one that the slot names.
                View::Live(chunk) => self.live.push((chunk, committed(&shared.arena, chunk))),
                View::Swapping => complete = false,
                View::Elsewhere => {}
            }
        }
        complete
    }

    fn prefixes(&mut self, arena: &Arena, mut each: impl FnMut(Piece)) {
        for &(chunk, extent) in &self.live {
            // The chunk may have been sealed and taken further meanwhile. It was not reset: only
            // this worker frees it, and not during a scrape.
            let taken = arena.taken(chunk);
            if extent.len() > taken.len() {
                each(piece(chunk, taken, extent, false));
                arena.set_taken(chunk, extent);
            }
        }
    }

    /// Whether the inbox is empty and everything committed to live chunks is taken.
    pub(crate) fn is_drained(&self, shared: &Shared) -> bool {
        let Shared { arena, mailboxes, slots, .. } = shared;
        mailboxes[self.me].inbox.is_empty(arena)
            && slots.iter().all(|slot| match slot.view(self.me) {
                View::Live(chunk) => committed(arena, chunk) == arena.taken(chunk),
                View::Swapping => false,
                View::Elsewhere => true,
            })
    }

    /// Prepares to park, so that a producer's next record, swap or large record wakes the worker.
    /// `false` if there is work already. After `true` the worker may park without a time limit.
    pub(crate) fn prepare_to_park(&self, shared: &Shared) -> bool {
        shared.mailboxes[self.me].parker.prepare_to_park();
        let ours = |slot: &&Slot| matches!(slot.view(self.me), View::Live(_));
        let mut any = false;
        for slot in shared.slots.iter().filter(ours) {
            slot.shut();
            any = true;
        }
        if any {
            shared.slots.heavy_barrier();
        }
        // A busy owner may have passed its gate before it was shut. Busy is read first: once it is
        // seen as zero, the extents show everything that the owner wrote.
        !shared.slots.iter().any(|slot| slot.is_busy() && ours(&slot)) && self.is_drained(shared)
    }

    /// Takes the chunks of producers that committed nothing since the last call, since a caller
    /// needs the memory. A producer that writes again at that moment keeps its chunk or leases
    /// another.
    pub(crate) fn revoke(&mut self, shared: &Shared, mut each: impl FnMut(Piece)) {
        // Sealed chunks first: they hold older records of the same producers.
        let idle = self.idle(shared);
        self.take(shared, &mut each);
        self.end_leases(shared, &idle, gate::TAKEN, each);
    }

    /// Takes the chunks of producers of which everything was taken before, so that they go to a
    /// worker before this one. Called once that is published: what they write next is then in a
    /// file with a later name.
    pub(crate) fn dismiss(&mut self, shared: &Shared, each: impl FnMut(Piece)) {
        let live = |slot| match Slot::view(slot, self.me) {
            View::Live(chunk) => Some((slot, chunk)),
            _ => None,
        };
        let all: Vec<_> = shared.slots.iter().filter_map(live).collect();
        self.end_leases(shared, &all, gate::DISMISSED, each);
    }

    /// Ends all leases of chunks that hold something, but for those of owners in a write. Returns whether
    /// it could end all.
    pub(crate) fn end_all(&mut self, shared: &Shared, each: impl FnMut(Piece)) -> bool {
        let live = |slot| match Slot::view(slot, self.me) {
            View::Live(chunk) if committed(&shared.arena, chunk).len() > 0 => Some((slot, chunk)),
            _ => None,
        };
        let all: Vec<_> = shared.slots.iter().filter_map(live).collect();
        self.end_leases(shared, &all, gate::TAKEN, each)
    }

    /// Takes these chunks from owners that are at rest, to revoke the lease or to dismiss the owner.
    /// Returns whether it could take all.
    fn end_leases(
        &self,
        shared: &Shared,
        leases: &[(&Slot, ChunkId)],
        state: u64,
        mut each: impl FnMut(Piece),
    ) -> bool {
        let mut left = leases.len();
        let (arena, inbox) = (&shared.arena, &shared.mailboxes[self.me].inbox);
        let shut: Vec<_> =
            leases.iter().filter_map(|&(slot, chunk)| Some((slot, chunk, slot.shut()?))).collect();
        if shut.is_empty() {
            return left == 0;
        }
        shared.slots.heavy_barrier();
        for (slot, chunk, gate) in shut {
            // Checked first: an owner at rest shows everything it committed, and the end of a swap.
            if !slot.is_at_rest() || slot.view(self.me) != View::Live(chunk) {
                continue;
            }
            let (taken, extent) = (arena.taken(chunk), committed(arena, chunk));
            // The inbox may hold a large record, sealed while the chunk was empty.
            let is_all_taken = || extent == taken && inbox.is_empty(arena);
            if state == gate::DISMISSED && !is_all_taken() {
                continue;
            }
            if slot.take(gate, extent, state) {
                each(piece(chunk, taken, extent, true));
                arena.set_taken(chunk, extent);
                left -= 1;
            }
        }
        left == 0
    }

    /// Slots whose chunk and extent are unchanged since the last call.
    fn idle<'a>(&mut self, shared: &'a Shared) -> Vec<(&'a Slot, ChunkId)> {
        let before = std::mem::take(&mut self.seen);
        let mut idle = Vec::new();
        for slot in shared.slots.iter() {
            let View::Live(chunk) = slot.view(self.me) else { continue };
            let seen = (chunk, committed(&shared.arena, chunk));
            if before
                .binary_search_by_key(&chunk, |&(chunk, _)| chunk)
                .is_ok_and(|i| before[i] == seen)
            {
                idle.push((slot, chunk));
            }
            self.seen.push(seen);
        }
        self.seen.sort_unstable_by_key(|&(chunk, _)| chunk);
        idle
    }
}

/// Worker: frees chunks whose last piece is done.
pub(crate) fn free(shared: &Shared, worker: usize, chunks: impl Iterator<Item = ChunkId>) {
    let arena = &shared.arena;
    let reset = |&chunk: &ChunkId| {
        arena.reset(chunk);
        shared.ring.iter().for_each(|ring| ring.gave_back(1));
    };
    let freed = shared.pool.push_all(arena, chunks.inspect(reset));
    if freed > 0 {
        shared.mailboxes[worker].add_freed(freed);
    }
}

/// Passes on what is in a chunk beyond what was taken before: all of a sealed one or of a chain, or a
/// prefix of a leased one.
pub(crate) fn pieces(
    arena: &Arena,
    chunk: ChunkId,
    prefix: Option<Extent>,
    mut each: impl FnMut(Piece),
) {
    let Some(extent) = prefix else { return sealed(arena, chunk, &mut each) };
    each(piece(chunk, arena.taken(chunk), extent, false));
    arena.set_taken(chunk, extent);
}

/// Passes on the rest of a sealed chunk, or all chunks of a chain.
fn sealed(arena: &Arena, head: ChunkId, each: &mut impl FnMut(Piece)) {
    let mut chunk = head;
    let mut next = arena.chained(head);
    loop {
        // The push to the inbox came after the commit, and the take after the push.
        let extent = committed(arena, chunk);
        let mut rest = piece(chunk, arena.taken(chunk), extent, true);
        rest.split = next.is_some();
        arena.set_taken(chunk, extent);
        each(rest);
        let Some(following) = next else { return };
        chunk = following;
        next = Some(arena.next(chunk)).filter(|&after| after != arena.none());
    }
}

fn committed(arena: &Arena, chunk: ChunkId) -> Extent {
    arena.committed(chunk)
}

fn piece(chunk: ChunkId, from: Extent, to: Extent, last: bool) -> Piece {
    Piece {
        chunk,
        from: from.len() as u32,
        len: (to.len() - from.len()) as u32,
        records: to.records() - from.records(),
        records_before: from.records(),
        last,
        split: false,
    }
}
