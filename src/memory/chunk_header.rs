//! Where things are in a writer's memory: headers of chunks, then their bytes.
//!
//! Guarantees: two chunks share no cache line; all zero is a valid header of a free chunk. Refuses sizes that
//! overflow the address space.

use crate::base::sync::{AtomicPtr, AtomicU32, AtomicU64};
use crate::memory::message::Head;
use crate::report::stats::Count;

/// Number of a chunk, from 0 to the arena's number of chunks; that number itself means "none".
pub(crate) type ChunkId = u32;

/// What begins with one, shares no line with what ends before it.
pub(crate) const LINE: usize = 64;
pub(crate) const PAGE: usize = 4096;
/// Messages of one chunk at most: each has at least a quarter of its bytes.
pub(crate) const MESSAGES_MAX: usize = 4;

/// Bytes of a mapping for so many chunks of so many bytes; `None` beyond the address space.
pub(crate) fn bytes(chunks: usize, size: usize) -> Option<usize> {
    let headers = chunks.checked_mul(size_of::<Header>())?.checked_next_multiple_of(PAGE)?;
    let bytes = chunks.checked_mul(size.checked_next_multiple_of(LINE)?)?;
    let all = headers.checked_add(bytes)?.checked_next_multiple_of(PAGE)?;
    // Half of what 48-bit addresses give to user space; more is never a sensible request.
    (all as u64 <= 1 << 46).then_some(all)
}

/// Where a byte of a chunk is in a mapping for so many chunks of this size.
#[inline]
pub(crate) fn byte_at(chunks: u32, size: usize, chunk: ChunkId, offset: usize) -> usize {
    let headers = (chunks as usize * size_of::<Header>()).next_multiple_of(PAGE);
    headers + chunk as usize * size.next_multiple_of(LINE) + offset
}

/// Length and number of records of a chunk's prefix, in one word that is stored at once. The length is
/// the low half: a write needs it as an offset, and adds to both halves with one word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Extent(pub(crate) u64);

impl Extent {
    /// `len` is at most 2^30 and no record is empty, so both halves have room.
    #[inline]
    pub(crate) fn new(len: usize, records: u32) -> Self {
        Extent(len as u64 | u64::from(records) << 32)
    }

    #[inline]
    pub(crate) fn len(self) -> usize {
        self.0 as u32 as usize
    }

    #[inline]
    pub(crate) fn records(self) -> u32 {
        (self.0 >> 32) as u32
    }

    pub(crate) fn count(self) -> Count {
        Count::new(u64::from(self.records()), self.len() as u64)
    }

    /// One more record of `len` bytes.
    #[inline]
    pub(crate) fn plus(self, len: usize) -> Self {
        Extent(self.0 + (1 << 32) + len as u64)
    }
}

/// What is known of a chunk, beside its bytes. All zero is the state of a free chunk, so that a
/// fresh mapping needs no initialisation.
///
/// Two cache lines each: processors fetch lines in pairs, and the live word of one producer is not to be
/// fetched with its neighbour's.
#[repr(C, align(128))]
#[derive(Debug)]
pub(crate) struct Header {
    /// [`Extent`] of the committed prefix. Stored by the leaseholder, Release after the bytes;
    /// loaded Acquire by the home worker; zero when free.
    pub(crate) commit: AtomicU64,
    /// [`Extent`] that the home worker has queued for its file already. The home worker's alone;
    /// at most `commit`; zero when free.
    pub(crate) taken: AtomicU64,
    /// The following chunk in a free list, an inbox or a chain, as the distance from the
    /// neighbour: zero means "the next higher number".
    pub(crate) link: AtomicU32,
    /// Second chunk of a record that is larger than one chunk, plus one; zero = the chunk stands
    /// alone. Stored before the push to an inbox, read after the take.
    pub(crate) chain: AtomicU32,
    /// Messages that stand in the chunk in place of bytes of their length, in ascending order.
    /// Stored by the leaseholder before it commits them; taken out by the home worker once a file
    /// has them; all null when the chunk is free.
    pub(crate) messages: [AtomicPtr<Head>; MESSAGES_MAX],
    /// That of the producer that leases the chunk, or leased it last. Stored by the leaseholder, read by the
    /// home worker.
    pub(crate) shard: AtomicU32,
}

#[cfg(not(loom))]
impl Header {
    /// Where a recovery finds these.
    pub(crate) const COMMIT_AT: usize = std::mem::offset_of!(Header, commit);
    pub(crate) const LINK_AT: usize = std::mem::offset_of!(Header, link);
    pub(crate) const CHAIN_AT: usize = std::mem::offset_of!(Header, chain);
}
