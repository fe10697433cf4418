//! What only the owner of a slot knows: its chunk, and what it remembers of its home worker.

use crate::base::sync::{AtomicU64, Relaxed, Release};
use crate::memory::arena::{BytePtr, Extent};

/// What only the owner knows and writes: where records go.
pub(crate) struct Lease {
    /// The leased chunk; `Slot::no_chunk` without one, and while a record is being formatted.
    pub(crate) chunk: Chunk,
    /// Worker of the last lease.
    pub(crate) home: usize,
    /// What that worker had freed by then.
    pub(crate) freed: u64,
    /// Chunks of this shard that waited for that worker when all shards were last counted.
    pub(crate) weighed: u32,
    /// Messages that stand in the chunk.
    pub(crate) messages: usize,
    /// A record is being formatted beyond what is committed.
    pub(crate) is_recording: bool,
}

/// A chunk as its leaseholder sees it. How much of it is in use, only the commit word says: each store
/// that is saved shows in what a write costs.
#[derive(Clone, Copy)]
pub(crate) struct Chunk {
    /// Its first byte.
    pub(crate) base: BytePtr,
    /// Its length; zero for no chunk.
    pub(crate) end: usize,
    /// Its commit word; never dangling, but a word that stays zero for no chunk.
    commit: *const AtomicU64,
}

impl Chunk {
    /// Nowhere: to be replaced before anybody sees it.
    pub(super) fn dangling() -> Self {
        Chunk { base: BytePtr::NONE, end: 0, commit: std::ptr::null() }
    }

    pub(crate) fn new(base: BytePtr, end: usize, commit: &AtomicU64) -> Self {
        Chunk { base, end, commit }
    }

    /// What is committed.
    #[inline(always)]
    pub(crate) fn extent(&self) -> Extent {
        // SAFETY: the word is in the arena or in the slot; who has the chunk, has both.
        Extent(unsafe { &*self.commit }.load(Relaxed))
    }

    /// Bytes left.
    pub(crate) fn room(&self) -> usize {
        self.end - self.extent().len()
    }

    /// Commits one record more, of `len` bytes, which are there.
    #[inline(always)]
    pub(crate) fn commit(&self, before: Extent, len: usize) {
        // SAFETY: as in `extent`. Release: the bytes come before it. Pairs with the loads of `Collector` and
        // `Slot::accepted`.
        unsafe { &*self.commit }.store(before.plus(len).0, Release);
    }
}
