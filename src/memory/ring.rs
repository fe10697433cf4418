//! The ring of a flight recorder: sealed chunks that no worker has asked for, oldest first.
//!
//! Guarantees: a chunk is taken over as a whole, the oldest first, once no more chunks may be in
//! use. Who takes it over counts what it held. A chunk that a dump is reading is not taken over.
//! No thread waits for another one.
//! Refuses: a chunk when each one is leased or being dumped.
//!
//! `docs/design/recorder.md` has the protocol.

#[cfg(not(loom))]
use std::time::Duration;
use std::time::Instant;

use crossbeam_utils::CachePadded;

use crate::base::sync::{AcqRel, AtomicU32, Relaxed, Release};
#[cfg(not(loom))]
use crate::memory::arena::Extent;
use crate::memory::arena::{Arena, ChunkId};
use crate::memory::fifo::Fifo;
use crate::report::stats::Count;

/// The states of [`Header::claim`](crate::memory::chunk_header::Header::claim), of which one
/// exchange decides whether a dump or a producer has the chunk.
pub(crate) struct Claim;

impl Claim {
    /// Whoever takes the chunk from the ring may reuse it.
    const FREE: u32 = 0;
    /// A dump reads the chunk's committed prefix, which its producer may still extend.
    const PINNED: u32 = 1;
    /// Somebody has taken the chunk from the ring. Until it is reset, no dump pins it.
    const TAKEN: u32 = 2;
    /// A producer has taken it from the ring and found the pin. It is, or will soon be, among those
    /// that were handed over, and stays so until the worker has it.
    const MET: u32 = 3;
}

/// Which pair of `Header::overwritten` counts: bit 0 names it, and bit 1 says that the other one
/// counts once the commit word is zero.
const PENDING: u64 = 2;

/// Sealed chunks in memory, and how many chunks may be in use.
#[derive(Debug)]
pub(crate) struct Ring {
    /// What dumps gave back: older than everything in `newer`.
    older: Fifo,
    /// What producers sealed.
    newer: Fifo,
    /// Pinned chunks that a producer met when it looked for one to take over.
    handed: Fifo,
    /// Chunks that are not in the pool.
    used: CachePadded<AtomicU32>,
    /// As long as fewer chunks are in use, producers take free ones. The rest is a reserve, for
    /// what is written during a dump.
    limit: CachePadded<AtomicU32>,
    /// The usual limit.
    keeps: u32,
    began: Instant,
}

/// Chunks that were taken over, linked from `first` to `last` and reset, and what they held.
#[derive(Debug)]
pub(crate) struct TakenOver {
    pub(crate) first: ChunkId,
    pub(crate) last: ChunkId,
    pub(crate) chunks: u32,
    pub(crate) held: Count,
}

impl TakenOver {
    /// A chunk that was free.
    pub(crate) fn free(chunk: ChunkId) -> Self {
        TakenOver { first: chunk, last: chunk, chunks: 1, held: Count::ZERO }
    }
}

impl Ring {
    /// A ring that keeps up to `keeps` of so many chunks in use.
    pub(crate) fn new(chunks: u32, keeps: u32) -> Self {
        Ring {
            older: Fifo::new(chunks),
            newer: Fifo::new(chunks),
            handed: Fifo::new(chunks),
            used: CachePadded::new(AtomicU32::new(0)),
            limit: CachePadded::new(AtomicU32::new(keeps)),
            keeps,
            began: Instant::now(),
        }
    }

    /// Bytes that a ring for so many chunks takes.
    #[cfg(not(loom))]
    pub(crate) fn bytes(chunks: u32) -> usize {
        3 * Fifo::bytes(chunks)
    }

    /// Most chunks in use while nothing is dumped.
    pub(crate) fn keeps(&self) -> u32 {
        self.keeps
    }

    /// Chunks that are not in the pool.
    pub(crate) fn used(&self) -> u32 {
        self.used.load(Relaxed)
    }

    /// By how many chunks more than permitted are in use; zero if just as many are. `None` while
    /// fewer are, and a free chunk may be taken.
    #[inline]
    pub(crate) fn excess(&self) -> Option<u32> {
        self.used().checked_sub(self.limit.load(Relaxed))
    }

    /// So many chunks were taken from the pool.
    pub(crate) fn took(&self, chunks: u32) {
        self.used.fetch_add(chunks, Relaxed);
    }

    /// So many chunks are about to go back to the pool.
    pub(crate) fn gave_back(&self, chunks: u32) {
        self.used.fetch_sub(chunks, Relaxed);
    }

    /// Worker: from now on producers take all free chunks before they take one over.
    pub(crate) fn open_reserve(&self) {
        self.limit.store(u32::MAX, Relaxed);
    }

    /// Worker: a dump is over.
    pub(crate) fn close_reserve(&self) {
        self.limit.store(self.keeps, Relaxed);
    }

    /// Nanoseconds since the ring began.
    pub(crate) fn now(&self) -> u64 {
        // Models know no time.
        if cfg!(loom) { 0 } else { self.began.elapsed().as_nanos() as u64 }
    }

    /// The time that was so long ago, or the beginning.
    #[cfg(not(loom))]
    pub(crate) fn before(&self, time: Duration) -> u64 {
        self.now().saturating_sub(time.as_nanos().try_into().unwrap_or(u64::MAX))
    }

    /// Keeps a chunk that is sealed: no producer writes to it any more.
    #[inline]
    pub(crate) fn put(&self, arena: &Arena, chunk: ChunkId) {
        arena.header(chunk).sealed_at.store(self.now(), Relaxed);
        self.newer.put(chunk);
    }

    /// Worker: gives back a chunk that a dump had, older than all that was sealed since it began.
    pub(crate) fn put_back(&self, arena: &Arena, chunk: ChunkId) {
        arena.header(chunk).claim.store(Claim::FREE, Release);
        self.older.put(chunk);
    }

    /// Producer: takes over the oldest chunk, or the oldest chain.
    #[inline]
    pub(crate) fn take_over(&self, arena: &Arena) -> Option<TakenOver> {
        loop {
            let chunk = self.older.take().or_else(|| self.newer.take())?;
            if arena.claim(chunk) {
                return Some(overwrite(arena, chunk));
            }
            // Until now the worker can't tell this from a chunk that is taken over.
            arena.header(chunk).claim.store(Claim::MET, Release);
            self.handed.put(chunk);
        }
    }

    /// How many chunks are in the ring: those that were given back, and those that were sealed.
    pub(crate) fn depths(&self) -> [u32; 2] {
        [self.older.len(), self.newer.len()]
    }

    /// Worker: takes the oldest chunks, as many of each kind. Each of them is the worker's alone,
    /// even if it was pinned.
    pub(crate) fn take_all(&self, arena: &Arena, depths: [u32; 2], mut each: impl FnMut(ChunkId)) {
        for (fifo, depth) in [&self.older, &self.newer].into_iter().zip(depths) {
            for _ in 0..depth {
                let Some(chunk) = fifo.take() else { break };
                arena.claim(chunk);
                each(chunk);
            }
        }
    }

    /// Worker: takes the pinned chunks that producers met.
    pub(crate) fn take_handed(&self, mut each: impl FnMut(ChunkId)) {
        while let Some(chunk) = self.handed.take() {
            each(chunk);
        }
    }

    /// Whether there is nothing to take over.
    pub(crate) fn is_empty(&self) -> bool {
        self.older.is_empty() && self.newer.is_empty()
    }
}

impl Arena {
    /// Claims a chunk that the caller has taken from the ring. `false` if a dump has pinned it.
    #[inline]
    fn claim(&self, chunk: ChunkId) -> bool {
        // AcqRel: comes after the pin and sees it, or the pin comes after this and sees that the
        // chunk's owner had sealed it.
        self.header(chunk).claim.swap(Claim::TAKEN, AcqRel) == Claim::FREE
    }

    /// Worker: keeps others from taking over a chunk that was seen as leased. Whoever does so must
    /// look again whether it still is. `false` if somebody has just taken it from the ring.
    pub(crate) fn pin(&self, chunk: ChunkId) -> bool {
        let claim = &self.header(chunk).claim;
        claim.compare_exchange(Claim::FREE, Claim::PINNED, AcqRel, Relaxed).is_ok()
    }

    /// Worker: ends a pin. `false` if a producer met the chunk in the ring. It then is, or will
    /// soon be, among those that were handed over.
    pub(crate) fn unpin(&self, chunk: ChunkId) -> bool {
        // Release: who takes the chunk over sees what the worker noted of it.
        let claim = &self.header(chunk).claim;
        claim.compare_exchange(Claim::PINNED, Claim::FREE, AcqRel, Relaxed).is_ok()
    }

    /// Worker: whether a producer met a chunk that could not be unpinned. `None` while that producer
    /// has not decided. `false`: the pin was in vain, and the chunk was reset meanwhile.
    pub(crate) fn was_met(&self, chunk: ChunkId) -> Option<bool> {
        match self.header(chunk).claim.load(Relaxed) {
            Claim::TAKEN => None,
            claim => Some(claim == Claim::MET),
        }
    }

    /// Whether the worker's pin holds and nobody has met the chunk.
    pub(crate) fn is_pinned(&self, chunk: ChunkId) -> bool {
        self.header(chunk).claim.load(Relaxed) == Claim::PINNED
    }

    /// When the chunk was sealed.
    pub(crate) fn sealed_at(&self, chunk: ChunkId) -> u64 {
        self.header(chunk).sealed_at.load(Relaxed)
    }

    /// Leaseholder: records the producer and the order of its leases, which tell a dump the order
    /// of chunks.
    pub(crate) fn note_order(&self, chunk: ChunkId, producer: u64, lease: u64) {
        let header = self.header(chunk);
        header.producer.store(producer, Relaxed);
        header.lease.store(lease, Relaxed);
    }

    /// The producer of a chunk, and its lease.
    pub(crate) fn order(&self, chunk: ChunkId) -> (u64, u64) {
        let header = self.header(chunk);
        (header.producer.load(Relaxed), header.lease.load(Relaxed))
    }

    /// Forgets what a chunk holds, and counts it where a recovery finds it. The count and the chunk
    /// change in one step: the store of the commit word.
    fn forget(&self, chunk: ChunkId, held: Count) {
        #[cfg(not(loom))]
        use crate::memory::crash_image::step;
        #[cfg(loom)]
        let step = || ();
        let header = self.header(chunk);
        let before = header.overwriting.load(Relaxed);
        let pair = |number: u64| &header.overwritten[(number & 1) as usize];
        let [records, bytes] = pair(before);
        let (records, bytes) = (records.load(Relaxed), bytes.load(Relaxed));
        let [new_records, new_bytes] = pair(before + 1);
        step();
        new_records.store(records + held.records, Release);
        new_bytes.store(bytes + held.bytes, Release);
        step();
        header.overwriting.store(before | PENDING, Release);
        step();
        header.commit.store(0, Release);
        step();
        header.overwriting.store(before & 1 ^ 1, Release);
        step();
        self.reset(chunk);
    }
}

/// The records and bytes that a dead writer's chunk counts as overwritten, by its words as they
/// stand in the memory.
#[cfg(not(loom))]
pub(crate) fn overwritten(pairs: [[u64; 2]; 2], overwriting: u64, committed: Extent) -> Count {
    // A commit word that is not zero shows that the chunk was not taken over yet.
    let is_over = overwriting & PENDING != 0 && committed == Extent::default();
    let [records, bytes] = pairs[((overwriting & 1) ^ u64::from(is_over)) as usize];
    Count::new(records, bytes)
}

/// Resets a chunk, or all chunks of a chain, and counts what no file has of it. The caller has
/// claimed it.
fn overwrite(arena: &Arena, first: ChunkId) -> TakenOver {
    let rest = |chunk| {
        let (committed, taken) = (arena.committed(chunk), arena.taken(chunk));
        Count::new(
            u64::from(committed.records().saturating_sub(taken.records())),
            committed.len().saturating_sub(taken.len()) as u64,
        )
    };
    let second = arena.chained(first);
    let (mut held, mut part) = (rest(first), second);
    while let Some(chunk) = part {
        held += rest(chunk);
        part = Some(arena.next(chunk)).filter(|&next| next != arena.none());
    }
    // The first chunk goes first, since the others belong to no record without it.
    arena.forget(first, held);
    arena.set_next(first, second.unwrap_or(arena.none()));
    let (mut last, mut chunks) = (first, 1);
    while let Some(chunk) = Some(arena.next(last)).filter(|&next| next != arena.none()) {
        arena.reset(chunk);
        (last, chunks) = (chunk, chunks + 1);
    }
    TakenOver { first, last, chunks, held }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::base::sync::AtomicU64;

    impl Arena {
        /// What a recovery would count as overwritten in a chunk, as it is now.
        #[cfg_attr(windows, expect(dead_code, reason = "it has no crash-proof memory"))]
        pub(crate) fn overwritten_now(&self, chunk: ChunkId) -> Count {
            let header = self.header(chunk);
            let number = |word: &AtomicU64| word.load(Relaxed);
            let pairs = header.overwritten.each_ref().map(|pair| pair.each_ref().map(number));
            overwritten(pairs, number(&header.overwriting), self.committed(chunk))
        }
    }
}
