//! The free chunks, which bound the writer's memory.
//!
//! Guarantees: a chunk has one holder until it comes back. A producer first gets the chunk that
//! came back last, which its processor has in cache; else a fresh one; else one of another shard.
//! Only `wait_until` waits for other threads. Never touches bytes or files.
//! Refuses: to grow.
//!
//! Each list is Treiber's stack ("Systems Programming: Coping with Parallelism", 1986). Deviations:
//! 1. Links live in the chunks' headers and are numbers, so a stale read is harmless.
//! 2. A 40-bit tag beside the head's number makes a head that came back (ABA) differ.
//! 3. Several chunks come back with one exchange.

use crossbeam_utils::CachePadded;

use crate::base::sync::lock;
use crate::base::sync::{
    Acquire, AtomicU32, AtomicU64, Condvar, Mutex, Relaxed, Release, SeqCst, fence,
};
use crate::memory::arena::{Arena, ChunkId};
use crate::memory::chunk_header::{Header, PAGE};
use crate::memory::shard::{self, SHARDS};
use crate::memory::tasks::Tasks;

const ID_BITS: u32 = 24;
const ID_MASK: u64 = (1 << ID_BITS) - 1;

/// Fresh chunks that a shard takes at once. Then only its processors have the neighbouring headers
/// in cache, and they fetch headers ahead of use (docs/benchmarks/choices.md).
const SPAN_MAX: u32 = if cfg!(loom) { 2 } else { (PAGE / size_of::<Header>()) as u32 };
/// A span is at most this fraction of all chunks.
const SPAN_PART: u32 = if cfg!(loom) { 3 } else { 32 };

/// Walks of a free list before its count is given up.
const COUNT_ATTEMPTS: u32 = 3;

/// One task in `Pool::waiters`.
const TASK: u64 = 1 << 32;

/// The free chunks, and the callers and tasks that wait for one.
#[derive(Debug)]
pub(crate) struct Pool {
    /// Free chunks by shard: those that its producers gave back, and those of the spans they took.
    lists: [List; SHARDS],
    /// Number of the first chunk that was never given out. Only grows.
    fresh: CachePadded<AtomicU32>,
    /// Chunks per span.
    span: u32,
    /// Callers inside `wait_until`; in the high half, tasks that wait. One word, so that chunks that
    /// come back cost one load.
    waiters: CachePadded<AtomicU64>,
    /// How often waiting callers were notified. Nothing else happens under its lock.
    calls: Mutex<u64>,
    called: Condvar,
    pub(super) tasks: Tasks,
}

impl Pool {
    /// Starts with all chunks of an unused arena free.
    pub(crate) fn new(arena: &Arena) -> Self {
        Pool {
            lists: std::array::from_fn(|_| List::new(arena)),
            fresh: CachePadded::new(AtomicU32::new(0)),
            span: (arena.none() / SPAN_PART).clamp(1, SPAN_MAX),
            waiters: CachePadded::new(AtomicU64::new(0)),
            calls: Mutex::new(0),
            called: Condvar::new(),
            tasks: Tasks::default(),
        }
    }

    /// Number of fresh chunks in one span.
    pub(crate) fn span(&self) -> u32 {
        self.span
    }

    /// Number of the first chunk that was never given out.
    pub(crate) fn fresh(&self) -> ChunkId {
        self.fresh.load(Relaxed)
    }

    /// Whether no chunk is free. Costs one load until nearly all memory was used once.
    #[inline]
    pub(crate) fn is_empty(&self, arena: &Arena) -> bool {
        self.fresh.load(Relaxed) == arena.none()
            && self.lists.iter().all(|list| list.is_empty(arena))
    }

    /// Whether at least `count` chunks are free. Lists are read one after the other, so the answer
    /// is approximate. `None` if other threads change a list too fast to count it.
    pub(crate) fn holds(&self, arena: &Arena, count: u32) -> Option<bool> {
        let mut missing = count.saturating_sub(arena.none() - self.fresh.load(Relaxed));
        for list in &self.lists {
            if missing == 0 {
                break;
            }
            missing -= list.count(arena, missing)?;
        }
        Some(missing == 0)
    }

    /// Takes one chunk for this producer. `None` if each list was empty at the moment this call
    /// looked there.
    #[inline(always)]
    pub(crate) fn pop(&self, arena: &Arena, producer: u64) -> Option<ChunkId> {
        let shard = shard::of(producer);
        self.lists[shard].pop(arena).or_else(|| self.pop_elsewhere(arena, shard))
    }

    /// Prefers fresh chunks to those of other shards, which lie in the caches of other processors
    /// and would be missed there.
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

    /// Gives out fresh chunks in ascending order, a span at a time: one to the caller, the rest to
    /// its shard's list. For a moment other producers may miss the rest. Callers that wait for
    /// several chunks are woken once the rest is in the list.
    fn pop_fresh(&self, arena: &Arena, shard: usize) -> Option<ChunkId> {
        let mut fresh = self.fresh.load(Relaxed);
        while fresh < arena.none() {
            // The last chunks go out one by one: a larger span could make another producer find
            // nothing.
            let left = arena.none() - fresh;
            let end = fresh + if left > self.span { self.span } else { 1 };
            // Relaxed: a fresh chunk holds no data to see.
            match self.fresh.compare_exchange_weak(fresh, end, Relaxed, Relaxed) {
                Ok(_) => {
                    // A fresh header already links to the next higher chunk.
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

    /// Takes `count` linked chunks, or none. Returns the first and the last, which links to "none".
    /// A call that fails may briefly hide chunks from other producers.
    pub(crate) fn pop_chain(
        &self,
        arena: &Arena,
        producer: u64,
        count: u32,
    ) -> Option<(ChunkId, ChunkId)> {
        // If the lists change too fast to tell, only trying can.
        if self.holds(arena, count) == Some(false) {
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

    /// Gives back reset chunks of one producer, linked from `first` to `last`, and wakes waiting
    /// callers.
    pub(crate) fn push_chain(&self, arena: &Arena, first: ChunkId, last: ChunkId) {
        self.lists[arena.shard(first)].push_chain(arena, first, last);
        self.notify();
    }

    /// Gives back chunks of any producers and returns their number. Each list takes its chunks in
    /// one exchange and gives out the last one first.
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
        if count > 0 && self.notify() {
            self.tasks.wake_for(count as usize);
        }
        count
    }

    /// Whether a caller or a task waits for chunks. After a change and a fence, either this sees it,
    /// or its next look sees the change.
    pub(crate) fn has_waiters(&self) -> bool {
        self.waiters.load(Relaxed) != 0
    }

    /// Number of tasks that wait for chunks. Relaxed: as `has_waiters`.
    pub(crate) fn waiting_tasks(&self) -> u64 {
        self.waiters.load(Relaxed) / TASK
    }

    pub(super) fn add_task(&self) {
        self.waiters.fetch_add(TASK, Relaxed);
    }

    pub(super) fn remove_task(&self) {
        self.waiters.fetch_sub(TASK, Relaxed);
    }

    /// Wakes all waiting callers, whatever the reason to look again. Returns whether tasks wait too.
    /// Waking them is foreign code, so here it is left to the workers: producers are busy.
    pub(crate) fn notify(&self) -> bool {
        // Pairs with the fences of `wait_until` and of a task's wait: either their look sees the
        // chunk, or this load sees the waiter.
        fence(SeqCst);
        let waiters = self.waiters.load(Relaxed);
        if waiters != 0 {
            *lock(&self.calls) += 1;
            self.called.notify_all();
        }
        waiters >= TASK
    }

    /// Wakes all waiting callers and tasks. Nothing is held.
    pub(crate) fn notify_all(&self) {
        if self.notify() {
            self.tasks.wake_all();
        }
    }

    /// Wakes a task, or all.
    #[cold]
    pub(super) fn wake_tasks(&self, all: bool) {
        if all { self.tasks.wake_all() } else { self.tasks.wake_for(1) }
    }

    /// Calls `look` until it returns something, again after each `notify`. `park` waits on the
    /// condition variable and returns `None` when the time is over. Holds no lock while it looks.
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
            // A notification during the look calls for another look.
            if *calls == before && park(&self.called, calls).is_none() {
                // Look once more: a notification may have come together with the deadline.
                break look();
            }
        };
        self.waiters.fetch_sub(1, Relaxed);
        found
    }
}

/// Free chunks, newest first.
#[derive(Debug)]
struct List {
    /// Number of the first chunk in the low 24 bits; above them a tag that each exchange
    /// increments.
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
            // A stale link leads to some chunk of the arena, never out of it, and then the exchange
            // fails.
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

    /// Number of chunks, but at most `most`. `None` if the head moved during each of
    /// [`COUNT_ATTEMPTS`] walks: walking a long list takes longer than an exchange by another thread.
    fn count(&self, arena: &Arena, most: u32) -> Option<u32> {
        let mut head = self.head.load(Acquire);
        for _ in 0..COUNT_ATTEMPTS {
            let (mut at, mut count) = ((head & ID_MASK) as ChunkId, 0);
            while at != arena.none() && count < most {
                (at, count) = (arena.next(at), count + 1);
            }
            // A concurrent exchange may have cut the walk short or misled it. Then count again.
            let now = self.head.load(Acquire);
            if now == head {
                return Some(count);
            }
            head = now;
        }
        None
    }
}

/// The lock guard that [`Pool::wait_until`] passes to `park`.
pub(crate) type Guard<'a> = crate::base::sync::MutexGuard<'a, u64>;

fn retag(head: u64, id: u64) -> u64 {
    (head & !ID_MASK).wrapping_add(1 << ID_BITS) | id
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::{Duration, Instant};
    use std::{iter, thread};

    use super::*;

    #[test]
    fn each_change_of_a_list_has_another_tag() {
        let head = retag(0, 3);
        assert_eq!((head & ID_MASK, retag(head, 4) & ID_MASK), (3, 4));
        assert_ne!(retag(head, 3), head);
    }

    /// A walk over 300,000 chunks takes much longer than a pop and a push elsewhere.
    #[test]
    fn a_list_that_others_change_is_not_counted_for_ever() {
        const CHUNKS: u32 = 300_000;
        let arena = Arena::new(CHUNKS, 1).unwrap();
        let pool = Pool::new(&arena);
        let (first, last) = pool.pop_chain(&arena, 0, CHUNKS).unwrap();
        pool.push_chain(&arena, first, last);
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    let chunk = pool.pop(&arena, 0).unwrap();
                    pool.push_chain(&arena, chunk, chunk);
                }
            });
            let end = Instant::now() + Duration::from_secs(60);
            let is_given_up = iter::repeat_with(|| pool.holds(&arena, CHUNKS - 1))
                .take_while(|_| Instant::now() < end)
                .any(|answer| answer.is_none());
            // Not knowing is no reason not to try.
            let (first, last) = pool.pop_chain(&arena, 0, CHUNKS / 2).unwrap();
            pool.push_chain(&arena, first, last);
            is_over.store(true, Ordering::Relaxed);
            assert!(is_given_up, "each count was right, or there was none");
        });
        assert_eq!(pool.holds(&arena, CHUNKS), Some(true));
    }
}
