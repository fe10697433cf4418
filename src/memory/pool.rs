//! The free chunks: the writer's memory bound.
//!
//! Guarantees: a chunk is given out once until it comes back; a producer gets the chunk that came back to it
//! last, since it is in its processor's cache, else a fresh one, and only then another's; no operation
//! waits for another thread, except `wait_until`, which is what it is for. Refuses: to grow. Never touches
//! bytes or files.
//!
//! Each list is Treiber's stack ("Systems Programming: Coping with Parallelism", 1986). Deviations:
//! 1. Links live in the chunks' headers and are numbers, so a stale read is harmless.
//! 2. A tag of 40 bits beside the head's number makes a head that came back (ABA) differ.
//! 3. Several chunks come back with one exchange.

use crossbeam_utils::CachePadded;

use crate::base::sync::lock;
use crate::base::sync::{
    Acquire, AtomicU32, AtomicU64, Condvar, Mutex, Relaxed, Release, SeqCst, fence,
};
use crate::memory::arena::{Arena, ChunkId};
use crate::memory::chunk_header::{Header, PAGE};
use crate::memory::shard::{self, SHARDS};

const ID_BITS: u32 = 24;
const ID_MASK: u64 = (1 << ID_BITS) - 1;

/// Fresh chunks that a shard takes at once: neighbours' headers are then in its processor's cache only, which fetches
/// them ahead of use (docs/benchmarks/choices.md).
const SPAN_MAX: u32 = if cfg!(loom) { 2 } else { (PAGE / size_of::<Header>()) as u32 };
/// Such a span is at most this part of all chunks.
const SPAN_PART: u32 = if cfg!(loom) { 3 } else { 32 };

/// The free chunks, and where callers wait for one.
#[derive(Debug)]
pub(crate) struct Pool {
    /// Free chunks by the shard of the producer that had them, or took them with its own.
    lists: [List; SHARDS],
    /// Number of the first chunk that was never given out; it only grows.
    fresh: CachePadded<AtomicU32>,
    /// Chunks of a span.
    span: u32,
    /// Callers between their announcement and the end of their wait.
    waiters: CachePadded<AtomicU32>,
    /// How often those who wait were called; under its lock nothing else happens.
    calls: Mutex<u64>,
    called: Condvar,
}

impl Pool {
    /// All chunks of an untouched arena are free.
    pub(crate) fn new(arena: &Arena) -> Self {
        Pool {
            lists: std::array::from_fn(|_| List::new(arena)),
            fresh: CachePadded::new(AtomicU32::new(0)),
            span: (arena.none() / SPAN_PART).clamp(1, SPAN_MAX),
            waiters: CachePadded::new(AtomicU32::new(0)),
            calls: Mutex::new(0),
            called: Condvar::new(),
        }
    }

    /// Fresh chunks are given out in spans of so many.
    pub(crate) fn span(&self) -> u32 {
        self.span
    }

    /// Number of the first chunk that was never given out.
    pub(crate) fn fresh(&self) -> ChunkId {
        self.fresh.load(Relaxed)
    }

    /// Whether no chunk is free: one load unless nearly all memory was in use once.
    #[inline]
    pub(crate) fn is_empty(&self, arena: &Arena) -> bool {
        self.fresh.load(Relaxed) == arena.none()
            && self.lists.iter().all(|list| list.is_empty(arena))
    }

    /// Whether at least `count` chunks are free, as far as one look after the other can tell.
    pub(crate) fn holds(&self, arena: &Arena, count: u32) -> bool {
        let mut missing = count.saturating_sub(arena.none() - self.fresh.load(Relaxed));
        for list in &self.lists {
            if missing == 0 {
                break;
            }
            missing -= list.count(arena, missing);
        }
        missing == 0
    }

    /// Takes one chunk for this producer. `None`: none was free where it looked, when it looked there.
    #[inline(always)]
    pub(crate) fn pop(&self, arena: &Arena, producer: u64) -> Option<ChunkId> {
        let shard = shard::of(producer);
        self.lists[shard].pop(arena).or_else(|| self.pop_elsewhere(arena, shard))
    }

    /// What was never used before what others had: that is in their processors' caches, and would be missing there.
    #[cold]
    #[inline(never)]
    fn pop_elsewhere(&self, arena: &Arena, shard: usize) -> Option<ChunkId> {
        let mut others = (1..SHARDS).map(|step| (shard + step) % SHARDS);
        self.pop_fresh(arena, shard).or_else(|| {
            let chunk = others.find_map(|other| self.lists[other].pop(arena))?;
            arena.set_shard(chunk, shard);
            Some(chunk)
        })
    }

    /// Fresh chunks are given out in ascending order, and in spans: this one, and what the shard will need next.
    /// Others may for a moment not find those. Who waits for memory, for several chunks at once, is called then.
    fn pop_fresh(&self, arena: &Arena, shard: usize) -> Option<ChunkId> {
        let mut fresh = self.fresh.load(Relaxed);
        while fresh < arena.none() {
            // What comes last one by one: nobody is to find nothing because of who took more than one.
            let left = arena.none() - fresh;
            let end = fresh + if left > self.span { self.span } else { 1 };
            // Relaxed: there is nothing in them to see.
            match self.fresh.compare_exchange_weak(fresh, end, Relaxed, Relaxed) {
                Ok(_) => {
                    // What is fresh is linked to what follows it.
                    (fresh..end).for_each(|chunk| arena.set_shard(chunk, shard));
                    if fresh + 1 < end {
                        self.push_chain(arena, fresh + 1, end - 1);
                    }
                    arena.set_next(fresh, arena.none());
                    return Some(fresh);
                }
                Err(now) => fresh = now,
            }
        }
        None
    }

    /// Takes `count` chunks, or none: the first and the last of them, linked, the last one to "none". While it
    /// fails, others may for a moment not find what it has.
    pub(crate) fn pop_chain(
        &self,
        arena: &Arena,
        producer: u64,
        count: u32,
    ) -> Option<(ChunkId, ChunkId)> {
        if !self.holds(arena, count) {
            return None;
        }
        let first = self.pop(arena, producer)?;
        let mut last = first;
        for _ in 1..count {
            let Some(chunk) = self.pop(arena, producer) else {
                self.push_chain(arena, first, last);
                return None;
            };
            arena.set_next(last, chunk);
            last = chunk;
        }
        Some((first, last))
    }

    /// Gives back chunks that are linked from `first` to `last`, as good as new and of one producer, and wakes
    /// who waits for them.
    pub(crate) fn push_chain(&self, arena: &Arena, first: ChunkId, last: ChunkId) {
        self.lists[arena.shard(first)].push_chain(arena, first, last);
        self.notify();
    }

    /// Gives back chunks of any producers, those of a list at once, the last one to be the first that is given
    /// out; how many.
    pub(crate) fn push_all(&self, arena: &Arena, chunks: impl Iterator<Item = ChunkId>) -> u64 {
        let mut ends: [Option<(ChunkId, ChunkId)>; SHARDS] = [None; SHARDS];
        let mut count = 0;
        for chunk in chunks {
            let ends = &mut ends[arena.shard(chunk)];
            let last = ends.map_or(chunk, |(first, last)| {
                arena.set_next(chunk, first);
                last
            });
            *ends = Some((chunk, last));
            count += 1;
        }
        for (list, ends) in self.lists.iter().zip(ends) {
            if let Some((first, last)) = ends {
                list.push_chain(arena, first, last);
            }
        }
        if count > 0 {
            self.notify();
        }
        count
    }

    /// Wakes all callers that wait, for whatever reason they should look again.
    pub(crate) fn notify(&self) {
        // Pairs with the fence of `wait_until`: either its look sees the chunk, or this sees it.
        fence(SeqCst);
        if self.waiters.load(Relaxed) != 0 {
            *lock(&self.calls) += 1;
            self.called.notify_all();
        }
    }

    /// Calls `look`, and again after each push, until it returns something or `park`, which waits on the
    /// condition variable, says that the time is over. Holds nothing while it looks.
    pub(crate) fn wait_until<T>(
        &self,
        mut look: impl FnMut() -> Option<T>,
        mut park: impl for<'a> FnMut(&Condvar, Guard<'a>) -> Option<Guard<'a>>,
    ) -> Option<T> {
        self.waiters.fetch_add(1, Relaxed);
        let found = loop {
            let before = *lock(&self.calls);
            // Pairs with the fence of `notify`.
            fence(SeqCst);
            let found = look();
            if found.is_some() {
                break found;
            }
            let calls = lock(&self.calls);
            // Who was called during its look, looks again.
            if *calls == before && park(&self.called, calls).is_none() {
                // A last look, since the wait may have ended with both.
                break look();
            }
        };
        self.waiters.fetch_sub(1, Relaxed);
        found
    }
}

/// Free chunks, the one that came last at the head.
#[derive(Debug)]
struct List {
    /// Number of the first chunk in the low 24 bits, above them a tag that each exchange increments.
    head: CachePadded<AtomicU64>,
}

impl List {
    fn new(arena: &Arena) -> Self {
        List { head: CachePadded::new(AtomicU64::new(arena.none().into())) }
    }

    #[inline]
    fn is_empty(&self, arena: &Arena) -> bool {
        self.head.load(Relaxed) & ID_MASK == u64::from(arena.none())
    }

    #[inline(always)]
    fn pop(&self, arena: &Arena) -> Option<ChunkId> {
        // Pairs with the Release of `push_chain`: links and reset headers are visible.
        let mut head = self.head.load(Acquire);
        loop {
            let first = (head & ID_MASK) as ChunkId;
            if first == arena.none() {
                return None;
            }
            // Stale links lead anywhere in the arena, but never out of it, and the exchange fails then.
            let rest = u64::from(arena.next(first));
            match self.head.compare_exchange_weak(head, retag(head, rest), Acquire, Acquire) {
                Ok(_) => {
                    arena.set_next(first, arena.none());
                    return Some(first);
                }
                Err(now) => head = now,
            }
        }
    }

    fn push_chain(&self, arena: &Arena, first: ChunkId, last: ChunkId) {
        let mut head = self.head.load(Relaxed);
        loop {
            arena.set_next(last, (head & ID_MASK) as ChunkId);
            let new = retag(head, u64::from(first));
            // Pairs with the loads of `pop`.
            match self.head.compare_exchange_weak(head, new, Release, Relaxed) {
                Ok(_) => break,
                Err(now) => head = now,
            }
        }
    }

    /// How many chunks there are, or `most` if there are more.
    fn count(&self, arena: &Arena, most: u32) -> u32 {
        let mut head = self.head.load(Acquire);
        loop {
            let (mut at, mut count) = ((head & ID_MASK) as ChunkId, 0);
            while at != arena.none() && count < most {
                (at, count) = (arena.next(at), count + 1);
            }
            // Cut short, or led astray, by an exchange: then look again.
            let now = self.head.load(Acquire);
            if now == head {
                return count;
            }
            head = now;
        }
    }
}

/// What [`Pool::wait_until`] waits with.
pub(crate) type Guard<'a> = crate::base::sync::MutexGuard<'a, u64>;

fn retag(head: u64, id: u64) -> u64 {
    (head & !ID_MASK).wrapping_add(1 << ID_BITS) | id
}
