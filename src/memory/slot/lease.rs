//! The private state of a slot's owner: its chunk, and its view of its home worker.

use crate::base::sync::{AtomicU64, Relaxed, Release};
use crate::memory::arena::{BytePtr, Extent};

/// Where records go. Only the owner reads and writes it.
pub(crate) struct Lease {
    /// The leased chunk. `Slot::no_chunk` without one, and while a record is being formatted.
    pub(crate) chunk: Chunk,
    /// Worker of the last lease.
    pub(crate) home: usize,
    /// Chunks that this worker had freed by then.
    pub(crate) freed: u64,
    /// Chunks of this shard that waited for this worker when all shards were last counted.
    pub(crate) weighed: u32,
    /// Messages that stand in the chunk.
    pub(crate) messages: usize,
    /// A record is being formatted beyond the committed prefix.
    pub(crate) is_recording: bool,
}

/// A chunk as its leaseholder sees it. Only the commit word says how much of it is in use: each
/// store saved makes a write measurably cheaper.
#[derive(Clone, Copy)]
pub(crate) struct Chunk {
    /// Its first byte.
    pub(crate) base: BytePtr,
    /// Its length; zero without a chunk.
    pub(crate) end: usize,
    /// Its commit word, never dangling. Without a chunk, a word that stays zero.
    commit: *const AtomicU64,
}

impl Chunk {
    /// A placeholder, replaced before anything reads it.
    pub(super) fn dangling() -> Self {
        Chunk { base: BytePtr::NONE, end: 0, commit: std::ptr::null() }
    }

    pub(crate) fn new(base: BytePtr, end: usize, commit: &AtomicU64) -> Self {
        Chunk { base, end, commit }
    }

    /// The committed prefix.
    #[inline(always)]
    pub(crate) fn extent(&self) -> Extent {
        // SAFETY: the word lies in the arena or in the slot, and the leaseholder keeps both alive.
        Extent(unsafe { &*self.commit }.load(Relaxed))
    }

    /// Bytes left.
    pub(crate) fn room(&self) -> usize {
        self.end - self.extent().len()
    }

    /// Commits one more record, whose `len` bytes are already written.
    #[inline(always)]
    pub(crate) fn commit(&self, before: Extent, len: usize) {
        // SAFETY: the word is valid, as in `extent`. Release: the bytes come before it. Pairs with
        // the loads of `Collector` and `Slot::accepted`.
        unsafe { &*self.commit }.store(before.plus(len).0, Release);
    }
}
