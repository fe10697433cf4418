//! The state that producers and workers of one writer share. It knows only memory, no files.
//!
//! Guarantees: lives as long as anything uses it, so a worker that hangs in a system call keeps its
//! memory.

use std::io;

use crossbeam_utils::CachePadded;

use crate::base::sync::{Arc, AtomicU32, AtomicU64, Barrier, Relaxed, SeqCst, fence, prefetch};
use crate::memory::arena::Arena;
use crate::memory::inbox::Inbox;
use crate::memory::parker::Parker;
use crate::memory::pool::Pool;
#[cfg(not(loom))]
use crate::memory::prefault::Prefault;
use crate::memory::ring::Ring;
use crate::memory::slots::Slots;

/// The memory of a writer.
pub(crate) struct Shared {
    pub(crate) arena: Arena,
    pub(crate) pool: Pool,
    pub(crate) mailboxes: Box<[Mailbox]>,
    pub(crate) slots: Arc<Slots>,
    /// Number of chunks that a caller needed and did not find free, or zero. While it is not zero,
    /// workers revoke the leases of idle producers.
    starving: CachePadded<AtomicU32>,
    /// Chunks that a worker without progress may hold before its producers move to another. They
    /// notice at most a quarter later, and then also deliver the chunks that they have begun.
    pub(crate) share: u32,
    #[cfg(not(loom))]
    pub(crate) prefault: Prefault,
    /// [`OVER_QUOTA`] while the quota refuses chunks; [`RECORDS`] in a flight recorder. Kept beside
    /// fields that hardly ever change, since each swap reads it.
    swaps_differ: AtomicU32,
    /// Sealed chunks, in a flight recorder. Then inboxes are closed, and nothing goes to a worker
    /// by itself.
    pub(crate) ring: Option<Ring>,
}

#[cfg(not(loom))]
const OVER_QUOTA: u32 = 1;
const RECORDS: u32 = 2;

/// Where producers meet one worker.
#[derive(Debug)]
pub(crate) struct Mailbox {
    pub(crate) inbox: Inbox,
    pub(crate) parker: Parker,
    gauges: CachePadded<Gauges>,
    /// One while the worker works on files, or has failed to. Stored only by the worker.
    working: AtomicU32,
}

#[derive(Debug)]
struct Gauges {
    /// Chunks that the worker has taken and not yet freed. Stored only by the worker.
    backlog: AtomicU32,
    /// Chunks that the worker has freed in total. Stored only by the worker.
    freed: AtomicU64,
}

impl Shared {
    /// `chunks` and `size` are in the ranges of [`Config`](crate::Config).
    #[cfg(test)]
    pub(crate) fn new(
        chunks: u32,
        size: usize,
        workers: usize,
        barrier: Barrier,
    ) -> io::Result<Self> {
        Self::with(Arena::new(chunks, size)?, workers, barrier)
    }

    /// Creates the shared state on memory that is not in use.
    pub(crate) fn with(arena: Arena, workers: usize, barrier: Barrier) -> io::Result<Self> {
        Self::of(arena, workers, barrier, None)
    }

    /// The same for a flight recorder, of whose chunks `keeps` are in use while nothing is dumped.
    /// It has one worker.
    pub(crate) fn recorder(arena: Arena, keeps: u32, barrier: Barrier) -> io::Result<Self> {
        let ring = Ring::new(arena.none(), keeps);
        Self::of(arena, 1, barrier, Some(ring))
    }

    fn of(arena: Arena, workers: usize, barrier: Barrier, ring: Option<Ring>) -> io::Result<Self> {
        let mailbox = |_| Mailbox {
            inbox: Inbox::new(&arena),
            parker: Parker::new(),
            gauges: CachePadded::new(Gauges {
                backlog: AtomicU32::new(0),
                freed: AtomicU64::new(0),
            }),
            working: AtomicU32::new(0),
        };
        let pool = Pool::new(&arena);
        let mailboxes: Box<[Mailbox]> = (0..workers).map(mailbox).collect();
        let swaps_differ = AtomicU32::new(if ring.is_some() { RECORDS } else { 0 });
        if ring.is_some() {
            // A push is refused, and the chunk goes to the ring. So other writers need no check.
            mailboxes.iter().for_each(|mailbox| mailbox.inbox.close(&arena, |_| ()));
        }
        Ok(Shared {
            mailboxes,
            slots: Arc::new(Slots::new(barrier)?),
            starving: CachePadded::new(AtomicU32::new(0)),
            share: (arena.none() / workers as u32).max(1),
            #[cfg(not(loom))]
            prefault: Prefault::new(&arena, &pool),
            pool,
            swaps_differ,
            ring,
            arena,
        })
    }

    /// Makes all memory for records resident, and locks it, before any thread uses it.
    #[cfg(not(loom))]
    pub(crate) fn lock_memory(&self) -> io::Result<()> {
        self.arena.lock()?;
        self.slots.lock_memory()?;
        self.prefault.finish(&self.arena);
        Ok(())
    }

    /// Producer: found fewer than `wanted` free chunks. Costs a fence and a load if another caller
    /// has already said so.
    pub(crate) fn starve(&self, wanted: u32) {
        // Pairs with the fence of `is_starving`.
        fence(SeqCst);
        if self.starving.load(Relaxed) < wanted {
            self.starving.fetch_max(wanted, Relaxed);
            // Wake all of them: workers of idle producers are parked.
            self.mailboxes.iter().for_each(|mailbox| mailbox.parker.wake());
        }
    }

    /// Worker: whether some caller still lacks chunks.
    pub(crate) fn is_starving(&self) -> bool {
        let wanted = self.starving.load(Relaxed);
        if wanted == 0 {
            return false;
        }
        let enough = || self.pool.holds(&self.arena, wanted) == Some(true);
        // While chunks are short the flag stays up, so that the other workers see it.
        if !enough() || self.starving.compare_exchange(wanted, 0, Relaxed, Relaxed).is_err() {
            return true;
        }
        // A producer that fails after this finds the flag down and raises it. One that failed
        // before, and found the flag up, is covered by the look below.
        fence(SeqCst);
        if enough() {
            return false;
        }
        self.starve(wanted);
        true
    }

    /// Worker: lowers the flag unless a caller waits for chunks. A caller that tries again and fails
    /// raises it again.
    pub(crate) fn expire_demand(&self) {
        let wanted = self.starving.load(Relaxed);
        if self.pool.has_waiters()
            || self.starving.compare_exchange(wanted, 0, Relaxed, Relaxed).is_err()
        {
            return;
        }
        // A caller that waits from now on finds the flag down. One that found it up is seen here.
        fence(SeqCst);
        if self.pool.has_waiters() {
            self.starve(wanted);
        }
    }

    /// Whether some caller lacked chunks, and the flag has not been lowered since.
    pub(crate) fn has_demand(&self) -> bool {
        self.starving.load(Relaxed) != 0
    }

    /// Producer, about to swap a chunk of this home worker: prefetches lines that others write,
    /// which are mostly in other caches by then.
    pub(crate) fn prefetch(&self, home: usize, shard: usize) {
        let mailbox = &self.mailboxes[home];
        mailbox.inbox.prefetch(shard);
        mailbox.parker.prefetch();
        prefetch(&raw const mailbox.gauges);
    }

    /// Producer, before it takes a chunk: whether the quota forbids it. Relaxed: no other data
    /// depends on it. A producer that sees it late takes a chunk that the memory bound allows
    /// anyway.
    #[inline(always)]
    pub(crate) fn is_over_quota(&self) -> bool {
        // loom has nothing to explore here.
        #[cfg(not(loom))]
        return self.swaps_differ.load(Relaxed) == OVER_QUOTA;
        #[cfg(loom)]
        false
    }

    /// Producer, before it takes a chunk: whether the quota forbids it, or this is a flight
    /// recorder. One load for both.
    #[inline(always)]
    pub(crate) fn swaps_differ(&self) -> bool {
        #[cfg(not(loom))]
        return self.swaps_differ.load(Relaxed) != 0;
        #[cfg(loom)]
        self.ring.is_some()
    }

    /// Most chunks that a record may take.
    pub(crate) fn record_chunks_max(&self) -> usize {
        self.ring.as_ref().map_or(self.arena.none(), Ring::keeps) as usize
    }

    /// Worker: raises or lowers the flag of the quota. Raising it wakes the callers that wait
    /// for memory, and all workers. From then on the workers make sure that one of them measures
    /// again.
    #[cfg(not(loom))]
    pub(crate) fn set_over_quota(&self, is_over: bool) {
        self.swaps_differ.store(if is_over { OVER_QUOTA } else { 0 }, Relaxed);
        if is_over {
            // Its fence orders the store before the look for waiters.
            self.pool.notify();
            self.mailboxes.iter().for_each(|mailbox| mailbox.parker.wake());
        }
    }

    /// Worker: while tasks wait though chunks are free, wakes one of them; all, to be refused, while
    /// the quota forbids chunks. The task that was woken for these chunks may never be polled again.
    /// And some news come from busy producers, or under a lock, where no waker may be called.
    /// Returns whether tasks wait. Calls foreign code.
    pub(crate) fn serve_tasks(&self) -> bool {
        if self.pool.waiting_tasks() == 0 {
            return false;
        }
        let is_refused = self.is_over_quota();
        if is_refused || !self.pool.is_empty(&self.arena) {
            self.pool.wake_tasks(is_refused);
        }
        true
    }

    /// Wakes the workers that hold chunks, even from a nap or while they delay a sync.
    pub(crate) fn wake_busy(&self) {
        self.mailboxes
            .iter()
            .filter(|mailbox| mailbox.held() > 0)
            .for_each(|mailbox| mailbox.parker.wake());
    }
}

impl Mailbox {
    /// Chunks that the worker holds or that wait for it.
    pub(crate) fn held(&self) -> u32 {
        self.inbox.depth() + self.backlog()
    }

    /// Chunks that the worker has taken and not yet freed.
    #[inline(always)]
    pub(crate) fn backlog(&self) -> u32 {
        self.gauges.backlog.load(Relaxed)
    }

    /// Chunks that the worker has freed in total. The worker makes progress while this grows.
    pub(crate) fn freed(&self) -> u64 {
        self.gauges.freed.load(Relaxed)
    }

    /// Whether the worker may be held up: it works on files, or has failed to. Relaxed: a hint.
    pub(crate) fn is_working(&self) -> bool {
        self.working.load(Relaxed) != 0
    }

    /// Worker only: it works on files, or has failed to, or neither.
    #[cfg(not(loom))]
    pub(crate) fn set_working(&self, is_working: bool) {
        self.working.store(u32::from(is_working), Relaxed);
    }

    /// Worker only: sets how many chunks it holds.
    pub(crate) fn set_backlog(&self, chunks: usize) {
        self.gauges.backlog.store(chunks as u32, Relaxed);
    }

    /// Worker only: has freed this many more chunks.
    pub(crate) fn add_freed(&self, chunks: u64) {
        self.gauges.freed.store(self.freed() + chunks, Relaxed);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// Which workers were woken since the last look.
    fn woken(shared: &Shared) -> Vec<bool> {
        shared.mailboxes.iter().map(|mailbox| mailbox.parker.take_token()).collect()
    }

    #[test]
    fn workers_that_hold_chunks_are_woken_alone() {
        let shared = Shared::new(6, 64, 3, Barrier::detect()).unwrap();
        shared.mailboxes[1].set_backlog(1);
        shared.wake_busy();
        assert_eq!(woken(&shared), [false, true, false]);
        assert_eq!(woken(&shared), [false; 3]);
    }

    #[test]
    fn the_first_who_lacks_chunks_wakes_all_workers() {
        let shared = Shared::new(6, 64, 3, Barrier::detect()).unwrap();
        assert!(!shared.has_demand() && !shared.is_starving());
        shared.starve(2);
        assert!(shared.has_demand());
        assert_eq!(woken(&shared), [true; 3]);
        shared.starve(2);
        assert_eq!(woken(&shared), [false; 3], "that was said");
        shared.starve(3);
        assert_eq!(woken(&shared), [true; 3]);
        assert!(!shared.is_starving() && !shared.has_demand(), "there is enough");
    }
}
