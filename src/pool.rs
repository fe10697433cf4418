//! The free chunks: the writer's memory bound.
//!
//! Guarantees: a chunk is given out once until it comes back; the chunk freed last is given out
//! first, since it is in the cache; no operation waits for another thread, except `wait_until`,
//! which is what it is for. Refuses: to grow. Never touches bytes or files.
//!
//! The list is Treiber's stack ("Systems Programming: Coping with Parallelism", 1986). Deviations:
//! 1. Links live in the chunks' headers and are numbers, so a stale read is harmless.
//! 2. A tag of 40 bits beside the head's number makes a head that came back (ABA) differ.
//! 3. Several chunks are taken, or come back, with one exchange.

use crossbeam_utils::CachePadded;

use crate::arena::{Arena, ChunkId};
use crate::sync::lock;
use crate::sync::{Acquire, AtomicU32, AtomicU64, Condvar, Mutex, Relaxed, Release, SeqCst, fence};

const ID_BITS: u32 = 24;
const ID_MASK: u64 = (1 << ID_BITS) - 1;

/// The list of free chunks, and the room where callers wait for one.
#[derive(Debug)]
pub(crate) struct Pool {
    /// Number of the first free chunk in the low 24 bits, above them a tag that each exchange
    /// increments.
    head: CachePadded<AtomicU64>,
    /// Callers between their announcement and the end of their wait.
    waiters: CachePadded<AtomicU32>,
    room: Mutex<()>,
    freed: Condvar,
}

impl Pool {
    /// All chunks of an untouched arena are free, in ascending order.
    pub(crate) fn new() -> Self {
        Pool {
            head: CachePadded::new(AtomicU64::new(0)),
            waiters: CachePadded::new(AtomicU32::new(0)),
            room: Mutex::new(()),
            freed: Condvar::new(),
        }
    }

    /// Whether no chunk is free: one load.
    #[inline]
    pub(crate) fn is_empty(&self, arena: &Arena) -> bool {
        self.head.load(Relaxed) & ID_MASK == u64::from(arena.none())
    }

    /// Takes one chunk.
    #[inline(always)]
    pub(crate) fn pop(&self, arena: &Arena) -> Option<ChunkId> {
        self.pop_chain(arena, 1)
    }

    /// Takes `count` chunks at once, or none: the first of them, the others linked behind it, the
    /// last one to "none".
    #[inline(always)]
    pub(crate) fn pop_chain(&self, arena: &Arena, count: u32) -> Option<ChunkId> {
        // Pairs with the Release of `push_chain`: links and reset headers are visible.
        let mut head = self.head.load(Acquire);
        loop {
            let first = (head & ID_MASK) as ChunkId;
            let Some(last) = self.walk(arena, first, count - 1) else {
                // Too short; or cut short by a concurrent exchange, then look again.
                let now = self.head.load(Acquire);
                if now == head {
                    return None;
                }
                head = now;
                continue;
            };
            let rest = u64::from(arena.next(last));
            match self.head.compare_exchange_weak(head, retag(head, rest), Acquire, Acquire) {
                Ok(_) => {
                    arena.set_next(last, arena.none());
                    return Some(first);
                }
                Err(now) => head = now,
            }
        }
    }

    /// Whether at least `count` chunks are free.
    pub(crate) fn holds(&self, arena: &Arena, count: u32) -> bool {
        let mut head = self.head.load(Acquire);
        loop {
            let found = self.walk(arena, (head & ID_MASK) as ChunkId, count - 1).is_some();
            let now = self.head.load(Acquire);
            if now == head {
                return found;
            }
            head = now;
        }
    }

    /// The chunk `steps` links after `from`. Stale links lead anywhere in the arena, but never out
    /// of it, and the exchange that follows fails.
    #[inline(always)]
    fn walk(&self, arena: &Arena, from: ChunkId, steps: u32) -> Option<ChunkId> {
        let mut at = from;
        for _ in 0..steps {
            if at == arena.none() {
                return None;
            }
            at = arena.next(at);
        }
        (at != arena.none()).then_some(at)
    }

    /// Gives back chunks that are linked from `first` to `last`, reset by their home worker, and
    /// wakes who waits for them.
    pub(crate) fn push_chain(&self, arena: &Arena, first: ChunkId, last: ChunkId) {
        let mut head = self.head.load(Relaxed);
        loop {
            arena.set_next(last, (head & ID_MASK) as ChunkId);
            let new = retag(head, u64::from(first));
            // Pairs with the loads of `pop_chain`.
            match self.head.compare_exchange_weak(head, new, Release, Relaxed) {
                Ok(_) => break,
                Err(now) => head = now,
            }
        }
        self.notify();
    }

    /// Wakes all callers that wait, for whatever reason they should look again.
    pub(crate) fn notify(&self) {
        // Pairs with the fence of `wait_until`: either its look sees the chunk, or this sees it.
        fence(SeqCst);
        if self.waiters.load(Relaxed) != 0 {
            // Taken so that no waiter stands between its look and its sleep.
            drop(lock(&self.room));
            self.freed.notify_all();
        }
    }

    /// Calls `look` after each push, until it returns something or `park`, which waits on the
    /// condition variable, says that the time is over.
    pub(crate) fn wait_until<T>(
        &self,
        mut look: impl FnMut() -> Option<T>,
        mut park: impl for<'a> FnMut(&Condvar, Guard<'a>) -> Option<Guard<'a>>,
    ) -> Option<T> {
        self.waiters.fetch_add(1, Relaxed);
        let mut found = None;
        let mut guard = lock(&self.room);
        loop {
            // Pairs with the fence of `notify`.
            fence(SeqCst);
            found = found.or_else(&mut look);
            if found.is_some() {
                break;
            }
            match park(&self.freed, guard) {
                Some(again) => guard = again,
                None => {
                    // A last look, since the wait may have ended with both.
                    found = look();
                    break;
                }
            }
        }
        self.waiters.fetch_sub(1, Relaxed);
        found
    }
}

/// What the waiting room is locked with.
pub(crate) type Guard<'a> = crate::sync::MutexGuard<'a, ()>;

fn retag(head: u64, id: u64) -> u64 {
    (head & !ID_MASK).wrapping_add(1 << ID_BITS) | id
}
