//! Sealed chunks on their way to one worker.
//!
//! Guarantees: chunks of one producer come out in the order in which they went in; each once;
//! neither side ever waits for the other. Refuses: pushes after `close`.
//!
//! A stack for each shard that is taken whole and turned around (as in Linux' llist). Deviation: the
//! number of chunks inside stands beside the head, so that a producer sees a worker that is behind
//! without another shared word.

use crossbeam_utils::CachePadded;

use crate::base::sync::{Acquire, AtomicU64, Relaxed, Release, prefetch};
use crate::memory::arena::{Arena, ChunkId};
use crate::memory::shard::SHARDS;

const CLOSED: u64 = u64::MAX;

/// The inbox of one worker.
#[derive(Debug)]
pub(crate) struct Inbox {
    shards: [Shard; SHARDS],
}

/// Chunks of some producers, the one that came last at the head.
#[derive(Debug)]
struct Shard {
    /// Number of the chunk pushed last in the low half, number of chunks inside in the high half;
    /// or `CLOSED`.
    head: CachePadded<AtomicU64>,
}

impl Inbox {
    pub(crate) fn new(arena: &Arena) -> Self {
        Inbox { shards: std::array::from_fn(|_| Shard::new(arena)) }
    }

    /// Of what a swap needs.
    pub(crate) fn prefetch(&self, shard: usize) {
        prefetch(&raw const self.shards[shard].head);
    }

    /// Hands a sealed chunk, or the head of a chain of `weight` chunks, to the worker. `false` if
    /// the worker is gone: the chunk stays the caller's.
    #[inline(always)]
    pub(crate) fn push(&self, arena: &Arena, chunk: ChunkId, weight: u32) -> bool {
        self.shards[arena.shard(chunk)].push(arena, chunk, weight)
    }

    /// Takes all that is inside, each shard's oldest first.
    pub(crate) fn take(&self, arena: &Arena, mut each: impl FnMut(ChunkId)) {
        for shard in self.shards.iter().filter(|shard| !shard.is_empty(arena)) {
            shard.drain(arena, u64::from(arena.none()), &mut each);
        }
    }

    /// Takes all that is inside for the last time.
    pub(crate) fn close(&self, arena: &Arena, mut each: impl FnMut(ChunkId)) {
        for shard in &self.shards {
            shard.drain(arena, CLOSED, &mut each);
        }
    }

    /// Whether nothing is inside. Relaxed: a hint, or after a fence.
    pub(crate) fn is_empty(&self, arena: &Arena) -> bool {
        self.shards.iter().all(|shard| shard.is_empty(arena))
    }

    /// Chunks inside.
    pub(crate) fn depth(&self) -> u32 {
        self.shards.iter().map(Shard::depth).sum()
    }

    /// Chunks inside that came along one shard.
    #[inline(always)]
    pub(crate) fn depth_of(&self, shard: usize) -> u32 {
        self.shards[shard].depth()
    }
}

impl Shard {
    fn new(arena: &Arena) -> Self {
        Shard { head: CachePadded::new(AtomicU64::new(u64::from(arena.none()))) }
    }

    #[inline(always)]
    fn push(&self, arena: &Arena, chunk: ChunkId, weight: u32) -> bool {
        let mut head = self.head.load(Relaxed);
        loop {
            if head == CLOSED {
                return false;
            }
            arena.set_next(chunk, head as u32);
            let depth = (head >> 32) + u64::from(weight);
            let new = depth << 32 | u64::from(chunk);
            // Pairs with the swap of `drain`: the chunk's last commit and its links are visible.
            match self.head.compare_exchange_weak(head, new, Release, Relaxed) {
                Ok(_) => return true,
                Err(now) => head = now,
            }
        }
    }

    /// Takes all that is inside, and leaves this.
    fn drain(&self, arena: &Arena, leave: u64, each: &mut impl FnMut(ChunkId)) {
        // Pairs with the exchanges of `push`, all of them: each continues the one before.
        let head = self.head.swap(leave, Acquire);
        if head == CLOSED {
            return;
        }
        let mut chunk = head as u32;
        let mut oldest = arena.none();
        while chunk != arena.none() {
            let next = arena.next(chunk);
            arena.set_next(chunk, oldest);
            oldest = chunk;
            chunk = next;
        }
        while oldest != arena.none() {
            // Read first: `each` may free the chunk.
            let next = arena.next(oldest);
            each(oldest);
            oldest = next;
        }
    }

    fn is_empty(&self, arena: &Arena) -> bool {
        let head = self.head.load(Relaxed);
        head == CLOSED || head as u32 == arena.none()
    }

    fn depth(&self) -> u32 {
        match self.head.load(Relaxed) {
            CLOSED => 0,
            head => (head >> 32) as u32,
        }
    }
}
