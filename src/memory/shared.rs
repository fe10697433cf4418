//! What producers and workers of one writer share: the memory, and nothing of files.
//!
//! Guarantees: lives as long as anybody uses it, so that a worker that hangs in a system call
//! never finds its memory gone.

use std::io;

use crossbeam_utils::CachePadded;

use crate::base::sync::{Arc, AtomicU32, AtomicU64, Barrier, Relaxed, SeqCst, fence, prefetch};
use crate::memory::arena::Arena;
use crate::memory::inbox::Inbox;
use crate::memory::parker::Parker;
use crate::memory::pool::Pool;
#[cfg(not(loom))]
use crate::memory::prefault::Prefault;
use crate::memory::slots::Slots;

/// The memory of a writer.
pub(crate) struct Shared {
    pub(crate) arena: Arena,
    pub(crate) pool: Pool,
    pub(crate) mailboxes: Box<[Mailbox]>,
    pub(crate) slots: Arc<Slots>,
    /// Chunks that somebody needed and did not find free, or zero: then workers revoke the leases of
    /// idle producers.
    starving: CachePadded<AtomicU32>,
    /// Chunks that a worker without progress may hold before its producers move to another. They find out
    /// after a quarter more at the latest, and bring what they had begun by then.
    pub(crate) share: u32,
    #[cfg(not(loom))]
    pub(crate) prefault: Prefault,
    /// One while the disk guard has no chunk given out. Beside what is hardly ever written: each swap
    /// looks at it.
    guarded: AtomicU32,
}

/// Where producers and one worker meet.
#[derive(Debug)]
pub(crate) struct Mailbox {
    pub(crate) inbox: Inbox,
    pub(crate) parker: Parker,
    gauges: CachePadded<Gauges>,
}

#[derive(Debug)]
struct Gauges {
    /// Chunks that the worker has taken and not yet freed. Stored by the worker alone.
    backlog: AtomicU32,
    /// Chunks that the worker has freed in all. Stored by the worker alone.
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

    /// With this memory, none of which is in use.
    pub(crate) fn with(arena: Arena, workers: usize, barrier: Barrier) -> io::Result<Self> {
        let mailbox = |_| Mailbox {
            inbox: Inbox::new(&arena),
            parker: Parker::new(),
            gauges: CachePadded::new(Gauges {
                backlog: AtomicU32::new(0),
                freed: AtomicU64::new(0),
            }),
        };
        let pool = Pool::new(&arena);
        Ok(Shared {
            mailboxes: (0..workers).map(mailbox).collect(),
            slots: Arc::new(Slots::new(barrier)?),
            starving: CachePadded::new(AtomicU32::new(0)),
            share: (arena.none() / workers as u32).max(1),
            #[cfg(not(loom))]
            prefault: Prefault::new(&arena, &pool),
            pool,
            guarded: AtomicU32::new(0),
            arena,
        })
    }

    /// Producer: found fewer than `wanted` free chunks. Costs a fence and a load if somebody else
    /// did too.
    pub(crate) fn starve(&self, wanted: u32) {
        // Pairs with the fence of `is_starving`.
        fence(SeqCst);
        if self.starving.load(Relaxed) < wanted {
            self.starving.fetch_max(wanted, Relaxed);
            // All of them: idle producers' workers sleep.
            self.mailboxes.iter().for_each(|mailbox| mailbox.parker.wake());
        }
    }

    /// Worker: whether somebody still finds too few chunks.
    pub(crate) fn is_starving(&self) -> bool {
        let wanted = self.starving.load(Relaxed);
        if wanted == 0 {
            return false;
        }
        let enough = || self.pool.holds(&self.arena, wanted);
        // While it is up it stays up, for the other workers to see.
        if !enough() || self.starving.compare_exchange(wanted, 0, Relaxed, Relaxed).is_err() {
            return true;
        }
        // Who finds too few from here on, finds the flag down and raises it; who did so before, and
        // found it up, is seen by this look.
        fence(SeqCst);
        if enough() {
            return false;
        }
        self.starve(wanted);
        true
    }

    /// Producer, about to swap a chunk of this home: the lines that it will need, which others write. They are
    /// mostly far away by then.
    pub(crate) fn prefetch(&self, home: usize, shard: usize) {
        let mailbox = &self.mailboxes[home];
        mailbox.inbox.prefetch(shard);
        mailbox.parker.prefetch();
        prefetch(&raw const mailbox.gauges);
    }

    /// Producer, before it takes a chunk: whether the disk guard forbids it. Relaxed: nothing is read because
    /// of it, and who sees it late takes a chunk that the memory bound has room for anyway.
    #[inline(always)]
    pub(crate) fn is_guarded(&self) -> bool {
        // loom has nothing to explore here.
        cfg!(not(loom)) && self.guarded.load(Relaxed) != 0
    }

    /// Worker: raises or lowers the flag of the disk guard. Who waits for memory hears of it, and so do all
    /// workers: from here on each of them sees to it that somebody looks again.
    #[cfg(not(loom))]
    pub(crate) fn set_guarded(&self, guarded: bool) {
        self.guarded.store(u32::from(guarded), Relaxed);
        if guarded {
            // Its fence comes between the store and the look for waiters.
            self.pool.notify();
            self.mailboxes.iter().for_each(|mailbox| mailbox.parker.wake());
        }
    }

    /// Wakes the workers that hold chunks, also from a nap or while they wait for a later sync.
    pub(crate) fn wake_busy(&self) {
        self.mailboxes
            .iter()
            .filter(|mailbox| mailbox.held() > 0)
            .for_each(|mailbox| mailbox.parker.wake());
    }
}

impl Mailbox {
    /// Chunks that wait for the worker or are held by it.
    pub(crate) fn held(&self) -> u32 {
        self.inbox.depth() + self.backlog()
    }

    /// Chunks that the worker has taken and not yet freed.
    #[inline(always)]
    pub(crate) fn backlog(&self) -> u32 {
        self.gauges.backlog.load(Relaxed)
    }

    /// Chunks that the worker has freed in all: it makes progress as long as this grows.
    pub(crate) fn freed(&self) -> u64 {
        self.gauges.freed.load(Relaxed)
    }

    /// Worker only: how many chunks it holds now.
    pub(crate) fn set_backlog(&self, chunks: usize) {
        self.gauges.backlog.store(chunks as u32, Relaxed);
    }

    /// Worker only: it has freed so many chunks more.
    pub(crate) fn add_freed(&self, chunks: u64) {
        self.gauges.freed.store(self.freed() + chunks, Relaxed);
    }
}
