//! All chunks of a writer, in one mapping of headers and bytes. The kernel supplies its pages at
//! first use.
//!
//! Guarantees: a chunk's bytes and header stay in place while the arena lives. Two chunks share no
//! cache line. Messages that no worker took are dropped with the arena. Never blocks.
//! Refuses: sizes that overflow the address space.

#[cfg(not(loom))]
use std::io;
use std::ops::Range;

use crate::base::sync::{Acquire, AtomicU32, AtomicU64, Relaxed, Release};
#[cfg(not(loom))]
use crate::base::sys::{
    InChild,
    memory::{self, Mapping},
};
pub(crate) use crate::memory::byte_ptr::{BytePtr, Bytes};
use crate::memory::chunk_header::Header;
#[cfg(not(loom))]
pub(crate) use crate::memory::chunk_header::bytes;
pub(crate) use crate::memory::chunk_header::{ChunkId, Extent, MESSAGES_MAX};
#[cfg(not(loom))]
use crate::memory::chunk_header::{LINE, byte_at};
#[cfg(not(loom))]
use crate::memory::crash_image::CrashImage;
use crate::memory::message::Message;

/// All chunks of a writer.
pub(crate) struct Arena {
    chunks: u32,
    size: usize,
    /// One after the first message was handed over; only then does a drop search the headers for
    /// messages. Stored only once, so that the shared line does not change again.
    has_messages: AtomicU32,
    #[cfg(not(loom))]
    map: std::ptr::NonNull<u8>,
    /// Owns the mapping, unless it outlives the process.
    #[cfg(not(loom))]
    _private: Option<Mapping>,
    /// Owns the mapping if it outlives the process.
    #[cfg(not(loom))]
    crash_image: Option<CrashImage>,
    #[cfg(loom)]
    headers: Box<[Header]>,
    #[cfg(loom)]
    bytes: Box<[loom::cell::UnsafeCell<u8>]>,
}

impl Arena {
    /// Maps the arena without touching a page of it.
    #[cfg(not(loom))]
    pub(crate) fn new(chunks: u32, size: usize) -> io::Result<Self> {
        let len = bytes(chunks as usize, size).ok_or(io::ErrorKind::OutOfMemory)?;
        // A child has no use for the pages. If it shared them, the parent's next write to each would
        // fault, and copy it. A formatter that forks goes on in zeros there.
        let mapping = Mapping::new(len, InChild::Zeros)?;
        let (map, _private) = (mapping.begin(), Some(mapping));
        Ok(Arena {
            chunks,
            size,
            has_messages: AtomicU32::new(0),
            map,
            _private,
            crash_image: None,
        })
    }

    /// An arena in crash-proof memory that was laid out for as many chunks of the same size.
    #[cfg(not(loom))]
    pub(crate) fn in_crash_image(chunks: u32, size: usize, image: CrashImage) -> Self {
        let map = image.arena();
        let (has_messages, crash_image) = (AtomicU32::new(0), Some(image));
        Arena { chunks, size, has_messages, map, _private: None, crash_image }
    }

    /// The image that a recovery would read, if the memory outlives the process.
    #[cfg(not(loom))]
    #[inline]
    pub(crate) fn crash_image(&self) -> Option<&CrashImage> {
        self.crash_image.as_ref()
    }

    /// Leaseholder, before it commits anything: records the chunk's producer and the order of its
    /// leases.
    #[inline]
    pub(crate) fn note_lease(&self, chunk: ChunkId, producer: u64, lease: u64) {
        #[cfg(not(loom))]
        if let Some(image) = self.crash_image() {
            image.set_lease(chunk, producer, lease);
        }
        #[cfg(loom)]
        let _ = (chunk, producer, lease);
    }

    /// Leaseholder, before it fills the chunk: records that the chunk continues another chunk's
    /// record.
    pub(crate) fn note_part(&self, chunk: ChunkId) {
        #[cfg(not(loom))]
        if let Some(image) = self.crash_image() {
            image.set_part(chunk);
        }
        #[cfg(loom)]
        let _ = chunk;
    }

    /// Whether the memory outlives the process. Then every record must lie in it.
    pub(crate) fn is_in_crash_image(&self) -> bool {
        #[cfg(not(loom))]
        return self.crash_image.is_some();
        #[cfg(loom)]
        false
    }

    #[cfg(loom)]
    pub(crate) fn new(chunks: u32, size: usize) -> std::io::Result<Self> {
        let header = |_| Header {
            commit: AtomicU64::new(0),
            taken: AtomicU64::new(0),
            link: AtomicU32::new(0),
            chain: AtomicU32::new(0),
            messages: std::array::from_fn(|_| {
                crate::base::sync::AtomicPtr::new(std::ptr::null_mut())
            }),
            shard: AtomicU32::new(0),
            claim: AtomicU32::new(0),
            sealed_at: AtomicU64::new(0),
            producer: AtomicU64::new(0),
            lease: AtomicU64::new(0),
            overwritten: std::array::from_fn(|_| std::array::from_fn(|_| AtomicU64::new(0))),
            overwriting: AtomicU64::new(0),
        };
        let bytes = (0..chunks as usize * size).map(|_| loom::cell::UnsafeCell::new(0)).collect();
        let headers = (0..chunks).map(header).collect();
        Ok(Arena { chunks, size, has_messages: AtomicU32::new(0), headers, bytes })
    }

    /// The number of chunks, which also means "none".
    #[inline]
    pub(crate) fn none(&self) -> ChunkId {
        self.chunks
    }

    /// Bytes of one chunk.
    #[inline]
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    #[cfg(not(loom))]
    #[inline]
    pub(super) fn header(&self, chunk: ChunkId) -> &Header {
        debug_assert!(chunk < self.chunks);
        // SAFETY: the mapping begins, page-aligned, with one header per chunk. Zeroed memory is a
        // valid header. Headers are only shared, since all fields are atomics.
        unsafe { &*self.map.cast::<Header>().as_ptr().add(chunk as usize) }
    }

    #[cfg(loom)]
    pub(super) fn header(&self, chunk: ChunkId) -> &Header {
        &self.headers[chunk as usize]
    }

    /// The word that holds the chunk's committed [`Extent`].
    #[inline]
    pub(crate) fn commit_word(&self, chunk: ChunkId) -> &AtomicU64 {
        &self.header(chunk).commit
    }

    /// The committed prefix. Acquire: pairs with `Chunk::commit`, so that the bytes are visible.
    pub(crate) fn committed(&self, chunk: ChunkId) -> Extent {
        Extent(self.header(chunk).commit.load(Acquire))
    }

    /// Home worker only: the part of the chunk that it has queued.
    pub(crate) fn taken(&self, chunk: ChunkId) -> Extent {
        Extent(self.header(chunk).taken.load(Relaxed))
    }

    /// Home worker only.
    pub(crate) fn set_taken(&self, chunk: ChunkId, extent: Extent) {
        self.header(chunk).taken.store(extent.0, Relaxed);
    }

    /// Resets a chunk to its fresh state. Only the home worker calls this, before it frees the
    /// chunk. The push to the free list publishes the change.
    pub(crate) fn reset(&self, chunk: ChunkId) {
        let header = self.header(chunk);
        // Release: pairs with `Slot::accepted`, which may read this word after its slot has lost
        // the chunk. If it reads the zero, it also sees that the slot has changed.
        header.commit.store(0, Release);
        header.taken.store(0, Relaxed);
        header.chain.store(0, Relaxed);
        #[cfg(not(loom))]
        if let Some(image) = self.crash_image() {
            image.clear(chunk);
        }
        // Release: a dump that pins the chunk sees that its former owner has sealed it.
        header.claim.store(0, Release);
    }

    /// The next chunk in the list that holds this one.
    #[inline]
    pub(crate) fn next(&self, chunk: ChunkId) -> ChunkId {
        self.header(chunk).link.load(Relaxed).wrapping_add(chunk + 1)
    }

    #[inline]
    pub(crate) fn set_next(&self, chunk: ChunkId, next: ChunkId) {
        self.header(chunk).link.store(next.wrapping_sub(chunk + 1), Relaxed);
    }

    /// The shard through which the chunk goes to a worker and comes back.
    #[inline]
    pub(crate) fn shard(&self, chunk: ChunkId) -> usize {
        self.header(chunk).shard.load(Relaxed) as usize
    }

    /// Leaseholder, before it does anything else with the chunk.
    pub(crate) fn set_shard(&self, chunk: ChunkId, shard: usize) {
        self.header(chunk).shard.store(shard as u32, Relaxed);
    }

    /// The second chunk of a chain that begins here.
    pub(crate) fn chained(&self, head: ChunkId) -> Option<ChunkId> {
        self.header(head).chain.load(Relaxed).checked_sub(1)
    }

    pub(crate) fn set_chained(&self, head: ChunkId, second: ChunkId) {
        self.header(head).chain.store(second + 1, Relaxed);
    }

    /// Leaseholder, before a commit: lets a message stand in for the chunk's bytes from `offset`
    /// on. `index` counts the messages of the lease.
    pub(crate) fn place(&self, chunk: ChunkId, index: usize, message: Message, offset: usize) {
        if self.has_messages.load(Relaxed) == 0 {
            self.has_messages.store(1, Relaxed);
        }
        // Pairs with the loads of `each_slice` and `drop_messages`. A worker may read the message's
        // offset before the commit, to see that it lies beyond its range.
        self.header(chunk).messages[index].store(message.into_raw(offset), Release);
    }

    /// Passes the committed bytes of a range in order: the chunk's own bytes and those of messages.
    ///
    /// # Safety
    /// The range is committed. The chunk is not freed, and its messages are not dropped, during
    /// `'a`.
    #[allow(clippy::useless_conversion, reason = "loom has another type of bytes")]
    pub(crate) unsafe fn each_slice<'a>(
        &self,
        chunk: ChunkId,
        range: Range<usize>,
        mut each: impl FnMut(Bytes<'a>),
    ) {
        let mut from = range.start;
        let own = |from: usize, to: usize, each: &mut dyn FnMut(Bytes<'a>)| {
            if from < to {
                // SAFETY: the caller promises that the range is committed and outlives `'a`.
                each(unsafe { self.at(chunk, from).get(to - from) }.into());
            }
        };
        for message in &self.header(chunk).messages {
            // SAFETY: the caller promises that messages are not dropped, so a non-null pointer is
            // valid.
            let Some(message) = (unsafe { message.load(Acquire).as_ref() }) else { continue };
            if range.contains(&message.offset()) {
                own(from, message.offset(), &mut each);
                // SAFETY: the caller promises that the message lives during `'a`.
                each(unsafe { message.bytes() }.into());
                from = message.offset() + message.len();
            }
        }
        own(from, range.end, &mut each);
    }

    /// Home worker: drops the messages in this part of a chunk, once a file has them.
    pub(crate) fn drop_messages(&self, chunk: ChunkId, range: Range<usize>) {
        for message in &self.header(chunk).messages {
            let head = message.load(Acquire);
            // SAFETY: only this function takes messages out, so a non-null pointer is valid.
            if unsafe { head.as_ref() }.is_some_and(|head| range.contains(&head.offset())) {
                message.store(std::ptr::null_mut(), Relaxed);
                // SAFETY: the pointer was still in the header, so no other call has taken the
                // message.
                drop(unsafe { Message::from_raw(head) });
            }
        }
    }

    /// Prefetches the first bytes of a chunk that was just leased.
    #[cfg(not(loom))]
    pub(crate) fn prefetch(&self, chunk: ChunkId) {
        use crate::base::sync::prefetch;
        let first = self.at(chunk, 0).get_ptr();
        prefetch(first);
        prefetch(first.wrapping_byte_add(LINE));
    }

    #[cfg(loom)]
    pub(crate) fn prefetch(&self, _: ChunkId) {}

    /// Makes all pages resident, and locks them.
    #[cfg(not(loom))]
    pub(crate) fn lock(&self) -> io::Result<()> {
        if let Some(image) = &self.crash_image {
            return image.lock();
        }
        let len = bytes(self.chunks as usize, self.size).ok_or(io::ErrorKind::OutOfMemory)?;
        // SAFETY: exactly the mapping that `new` made.
        unsafe { memory::lock(self.map, len) }
    }

    /// Makes the pages of some chunks resident without changing their contents.
    #[cfg(not(loom))]
    pub(crate) fn populate(&self, chunks: Range<ChunkId>) {
        let bytes =
            self.at(chunks.start, 0).get_ptr().addr()..self.at(chunks.end, 0).get_ptr().addr();
        let headers = |chunk| self.map.as_ptr().addr() + chunk as usize * size_of::<Header>();
        for range in [headers(chunks.start)..headers(chunks.end), bytes] {
            let offset = range.start - self.map.as_ptr().addr();
            // SAFETY: the range lies within the mapping.
            unsafe { memory::populate(self.map.add(offset), range.end - range.start) };
        }
    }

    /// Address of a chunk's byte; `offset` is at most the size.
    #[cfg(not(loom))]
    #[inline]
    pub(crate) fn at(&self, chunk: ChunkId, offset: usize) -> BytePtr {
        debug_assert!(chunk <= self.chunks && offset <= self.size);
        let begin = byte_at(self.chunks, self.size, chunk, offset);
        // SAFETY: within the mapping, whose length `bytes` computed from the same terms.
        BytePtr::new(unsafe { self.map.as_ptr().add(begin) })
    }

    #[cfg(loom)]
    pub(crate) fn at(&self, chunk: ChunkId, offset: usize) -> BytePtr {
        assert!(chunk < self.chunks && offset <= self.size);
        // SAFETY: within the slice, or one past its end.
        BytePtr::new(unsafe { self.bytes.as_ptr().add(chunk as usize * self.size + offset) })
    }
}

impl Arena {
    /// Drops messages that no worker took, in chunks that were given up with the writer.
    fn drop_all_messages(&self) {
        if self.has_messages.load(Relaxed) == 0 {
            return;
        }
        for chunk in 0..self.chunks {
            self.drop_messages(chunk, 0..usize::MAX);
        }
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        self.drop_all_messages();
    }
}

// SAFETY: the arena owns its mapping, which belongs to no thread: any thread may use and unmap it.
unsafe impl Send for Arena {}
// SAFETY: headers are atomics. Only a chunk's leaseholder writes bytes, beyond the committed
// prefix. Only its home worker reads them, within that prefix.
unsafe impl Sync for Arena {}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use bufferedwriter_testkit::process::mapped;

    impl Arena {
        /// Whether the kernel (proc(5), pagemap) has the first byte of the chunk and its header in
        /// memory.
        pub(crate) fn is_resident(&self, chunk: ChunkId) -> bool {
            use bufferedwriter_testkit::os::FileExt;
            let pages = std::fs::File::open("/proc/self/pagemap").unwrap();
            [std::ptr::from_ref(self.header(chunk)).addr(), self.at(chunk, 0).get_ptr().addr()]
                .iter()
                .all(|at| {
                    let mut entry = [0; 8];
                    pages.read_exact_at(&mut entry, (at / memory::page_size() * 8) as u64).unwrap();
                    u64::from_ne_bytes(entry) >> 63 == 1
                })
        }
    }

    /// Other tests map less than this at the same time.
    #[test]
    fn memory_goes_with_the_arena() {
        let before = mapped();
        for _ in 0..64 {
            drop(Arena::new(1 << 10, 1 << 20).unwrap());
        }
        assert!(mapped() < before + (32 << 30));
    }
}
