//! Sealed chunks on their way to one worker.
//!
//! Guarantees: chunks of one producer come out once each, in the order in which they went in.
//! Neither side ever waits for the other.
//! Refuses: pushes after `close`.
//!
//! Each shard has a stack that the worker takes whole and reverses, as in Linux' llist. Deviation:
//! the head word also counts the chunks, so that a producer sees without another shared word that a
//! worker lags behind.

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

/// Chunks of one shard's producers, newest first.
#[derive(Debug)]
struct Shard {
    /// Number of the newest chunk in the low half, number of chunks in the high half; or `CLOSED`.
    head: CachePadded<AtomicU64>,
}

impl Inbox {
    pub(crate) fn new(arena: &Arena) -> Self {
        Inbox { shards: std::array::from_fn(|_| Shard::new(arena)) }
    }

    /// Prefetches the line that a swap needs.
    pub(crate) fn prefetch(&self, shard: usize) {
        prefetch(&raw const self.shards[shard].head);
    }

    /// Hands the worker a sealed chunk, or the head of a chain of `weight` chunks. `false` after
    /// `close`; the caller then keeps the chunk.
    #[inline(always)]
    pub(crate) fn push(&self, arena: &Arena, chunk: ChunkId, weight: u32) -> bool {
        self.shards[arena.shard(chunk)].push(arena, chunk, weight)
    }

    /// Takes all chunks, the oldest of each shard first.
    pub(crate) fn take(&self, arena: &Arena, mut each: impl FnMut(ChunkId)) {
        for shard in self.shards.iter().filter(|shard| !shard.is_empty(arena)) {
            shard.drain(arena, u64::from(arena.none()), &mut each);
        }
    }

    /// Takes all chunks for the last time.
    pub(crate) fn close(&self, arena: &Arena, mut each: impl FnMut(ChunkId)) {
        for shard in &self.shards {
            shard.drain(arena, CLOSED, &mut each);
        }
    }

    /// Whether the inbox is empty. Relaxed: a hint, unless the caller has passed a fence.
    pub(crate) fn is_empty(&self, arena: &Arena) -> bool {
        self.shards.iter().all(|shard| shard.is_empty(arena))
    }

    /// Number of chunks inside.
    pub(crate) fn depth(&self) -> u32 {
        self.shards.iter().map(Shard::depth).sum()
    }

    /// Number of chunks inside that came through one shard.
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
            // Pairs with the swap of `drain`: the worker sees the chunk's last commit and its
            // links.
            match self.head.compare_exchange_weak(head, new, Release, Relaxed) {
                Ok(_) => return true,
                Err(now) => head = now,
            }
        }
    }

    /// Takes all chunks and leaves `leave` as the head.
    fn drain(&self, arena: &Arena, leave: u64, each: &mut impl FnMut(ChunkId)) {
        // Pairs with the exchanges of all `push` calls: each continues the release sequence of the
        // one before.
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
