//! The layout of a writer's memory: the headers of all chunks, then their bytes.
//!
//! Guarantees: two chunks share no cache line. All zero is a valid header of a free chunk.
//! Refuses: sizes that overflow the address space.

use crate::base::sync::{AtomicPtr, AtomicU32, AtomicU64};
use crate::memory::message::Head;
use crate::report::stats::Count;

/// Number of a chunk, counted from 0. The arena's number of chunks itself means "none".
pub(crate) type ChunkId = u32;

/// A cache line. Data that begins at a multiple shares no line with the data before it.
pub(crate) const LINE: usize = 64;
pub(crate) const PAGE: usize = 4096;
/// At most this many messages stand in one chunk, since each takes at least a quarter of it.
pub(crate) const MESSAGES_MAX: usize = 4;

/// Length of the mapping for `chunks` chunks of `size` bytes. `None` beyond the address space.
pub(crate) fn bytes(chunks: usize, size: usize) -> Option<usize> {
    let headers = chunks.checked_mul(size_of::<Header>())?.checked_next_multiple_of(PAGE)?;
    let bytes = chunks.checked_mul(size.checked_next_multiple_of(LINE)?)?;
    let all = headers.checked_add(bytes)?.checked_next_multiple_of(PAGE)?;
    // Half of the user space that 48-bit addresses give. No sensible request is larger.
    (all as u64 <= 1 << 46).then_some(all)
}

/// Offset of a chunk's byte in a mapping for `chunks` chunks of `size` bytes.
#[inline]
pub(crate) fn byte_at(chunks: u32, size: usize, chunk: ChunkId, offset: usize) -> usize {
    let headers = (chunks as usize * size_of::<Header>()).next_multiple_of(PAGE);
    headers + chunk as usize * size.next_multiple_of(LINE) + offset
}

/// Length and number of records of a chunk's prefix, in one word that is stored at once. The length
/// is the low half: a write uses it as an offset and adds to both halves at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Extent(pub(crate) u64);

impl Extent {
    /// Both halves have room: `len` is at most 2^30, and no record is empty.
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

    /// Adds one record of `len` bytes.
    #[inline]
    pub(crate) fn plus(self, len: usize) -> Self {
        Extent(self.0 + (1 << 32) + len as u64)
    }
}

/// The state of a chunk, apart from its bytes. All zero means free, so a fresh mapping needs no
/// initialisation.
///
/// Each header has two cache lines: processors fetch lines in pairs, and one producer's commit word
/// must not travel with its neighbour's.
#[repr(C, align(128))]
#[derive(Debug)]
pub(crate) struct Header {
    /// [`Extent`] of the committed prefix; zero when free. The leaseholder stores it (Release)
    /// after the bytes; the home worker loads it (Acquire).
    pub(crate) commit: AtomicU64,
    /// [`Extent`] that the home worker has already queued for its file. At most `commit`; zero when
    /// free. Only the home worker accesses it.
    pub(crate) taken: AtomicU64,
    /// The next chunk in a free list, an inbox or a chain, as a distance: zero means the next
    /// higher number.
    pub(crate) link: AtomicU32,
    /// Number of the second chunk of a chain plus one; zero if the chunk stands alone. Stored
    /// before the push to an inbox, read after the take.
    pub(crate) chain: AtomicU32,
    /// Messages that stand in for bytes of the chunk, in ascending order; all null when free. The
    /// leaseholder stores them before it commits them. The home worker takes them out once a file
    /// has them.
    pub(crate) messages: [AtomicPtr<Head>; MESSAGES_MAX],
    /// What follows is read by a recovery, so it stands where it does on 64 bits.
    #[cfg(target_pointer_width = "32")]
    _short_pointers: [AtomicU32; MESSAGES_MAX],
    /// Shard of the producer that leases the chunk or leased it last. The leaseholder stores it;
    /// the home worker reads it.
    pub(crate) shard: AtomicU32,
    /// Only in a flight recorder, as all that follows: see [`Claim`](crate::memory::ring::Claim).
    pub(crate) claim: AtomicU32,
    /// When the chunk was sealed, in nanoseconds since the ring began.
    pub(crate) sealed_at: AtomicU64,
    /// Number of the producer that leases the chunk or did last, and of the lease, which ascends
    /// for each producer.
    pub(crate) producer: AtomicU64,
    pub(crate) lease: AtomicU64,
    /// Records and bytes that this chunk held when it was taken over, of all its leases. Two pairs:
    /// `overwriting` says which one counts.
    pub(crate) overwritten: [[AtomicU64; 2]; 2],
    pub(crate) overwriting: AtomicU64,
}

#[cfg(not(loom))]
impl Header {
    /// Offsets at which a recovery reads these fields.
    pub(crate) const COMMIT_AT: usize = std::mem::offset_of!(Header, commit);
    pub(crate) const LINK_AT: usize = std::mem::offset_of!(Header, link);
    pub(crate) const CHAIN_AT: usize = std::mem::offset_of!(Header, chain);
    pub(crate) const OVERWRITTEN_AT: usize = std::mem::offset_of!(Header, overwritten);
    pub(crate) const OVERWRITING_AT: usize = std::mem::offset_of!(Header, overwriting);
}
