//! The part of a writer's memory that a recovery reads after the process has died: what is in which chunk, and
//! what of it is in which file already. The layout is described in `docs/durability.md`.
//!
//! Guarantees: at each instruction at which the process may die, each committed record is either in its
//! chunk beyond what counts as filed, or in a temp file below what counts as good, never both, never
//! neither: files move both at once, by a list that is complete before it counts and is gone through again if
//! need be. Off the hot path: producers come here when they swap a chunk, workers when a file has something.

use std::ffi::OsStr;
use std::path::Path;

use crate::base::sync::{AtomicU64, Relaxed, Release};
use crate::memory::chunk_header::{self, ChunkId, Extent, Header};
use crate::memory::crash_mapping::CrashMapping;
use crate::report::error::Error;
use crate::report::stats::{Count, Watermark};

pub(crate) const MAGIC: [u8; 8] = *b"BUFWMEM\0";
pub(crate) const VERSION: u32 = 2;
/// Reads as another number where bytes have another order.
pub(crate) const ORDER: u32 = 0x0102_0304;
/// Of a part of the file.
const PAGE: usize = 4096;
/// What never changes, with a checksum at its end.
pub(crate) const HEADER_BYTES: usize = PAGE;
/// Words of the whole writer, behind the header.
const WORDS_AT: usize = HEADER_BYTES;
const CHUNK_WORDS_AT: usize = WORDS_AT + 64;
pub(crate) const CHUNK_WORDS_BYTES: usize = 32;
pub(crate) const WORKER_BYTES: usize = 2 * PAGE;
/// Where a worker's list begins in its part.
pub(crate) const LIST_AT: usize = 128;
pub(crate) const ENTRY_BYTES: usize = 16;
/// Chunks of one step of a worker.
pub(crate) const LIST_MAX: usize = (WORKER_BYTES - LIST_AT) / ENTRY_BYTES;

/// Words of the whole writer.
#[repr(usize)]
#[derive(Clone, Copy)]
pub(crate) enum WriterWord {
    /// Not zero: the writer was closed, and nothing in here is of use.
    Closed = 0,
    /// Stored by a recovery: the stamp of the temp file that has all that was left in chunks.
    Salvaged = 1,
}

/// Words of a chunk. All zero when the chunk is free.
#[repr(usize)]
#[derive(Clone, Copy)]
pub(crate) enum ChunkWord {
    /// Number of the producer that leases it, or did last.
    Producer = 0,
    /// Number of the lease, ascending for each producer.
    Lease = 1,
    /// [`Extent`] of it that is in a file; of the first chunk of a chain: not zero = all of the chain is.
    Filed = 2,
    /// Not zero: it goes on where another chunk of a chain ended.
    Part = 3,
}

/// Words of a worker.
#[repr(usize)]
#[derive(Clone, Copy)]
pub(crate) enum WorkerWord {
    /// Its temp file.
    Stamp = 0,
    Seq = 1,
    /// How far it counts as filed: bytes of the file, records in it, and their bytes.
    GoodLen = 2,
    GoodRecords = 3,
    GoodBytes = 4,
    LostRecords = 5,
    LostBytes = 6,
    /// Entries of the list; not zero = what they and the `Next` words say holds in place of what `Filed` and the
    /// `Good` words say.
    Listed = 7,
    NextLen = 8,
    NextRecords = 9,
    NextBytes = 10,
}

/// Where everything is, for so many chunks and workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) chunks: u32,
    pub(crate) size: usize,
    pub(crate) workers: usize,
    /// Permissions of visible files.
    pub(crate) mode: u32,
    /// Number of the codec of the files.
    pub(crate) codec: u32,
}

impl Layout {
    pub(crate) fn word_at(self, word: WriterWord) -> usize {
        WORDS_AT + word as usize * 8
    }

    pub(crate) fn chunk_word_at(self, chunk: ChunkId, word: ChunkWord) -> usize {
        CHUNK_WORDS_AT + chunk as usize * CHUNK_WORDS_BYTES + word as usize * 8
    }

    pub(crate) fn worker_at(self, worker: usize) -> usize {
        let checkpoint = CHUNK_WORDS_AT + self.chunks as usize * CHUNK_WORDS_BYTES;
        checkpoint.next_multiple_of(PAGE) + worker * WORKER_BYTES
    }

    pub(crate) fn worker_word_at(self, worker: usize, word: WorkerWord) -> usize {
        self.worker_at(worker) + word as usize * 8
    }

    /// The number of the chunk, and behind it the bytes of it that are filed.
    pub(crate) fn entry_at(self, worker: usize, entry: usize) -> usize {
        self.worker_at(worker) + LIST_AT + entry * ENTRY_BYTES
    }

    /// Where the arena begins: its headers, then its bytes.
    pub(crate) fn arena_at(self) -> usize {
        self.worker_at(self.workers)
    }

    /// Where a byte of a chunk is.
    pub(crate) fn byte_at(self, chunk: ChunkId, offset: usize) -> usize {
        self.arena_at() + chunk_header::byte_at(self.chunks, self.size, chunk, offset)
    }

    /// Length of the file; none beyond the address space.
    pub(crate) fn bytes(self) -> Option<usize> {
        self.arena_at().checked_add(chunk_header::bytes(self.chunks as usize, self.size)?)
    }

    /// What never changes, of the writer with this instance number in the process with this id.
    pub(crate) fn header(self, instance: u64, pid: u32) -> Vec<u8> {
        let fields: [&[u8]; 11] = [
            &MAGIC,
            &VERSION.to_ne_bytes(),
            &ORDER.to_ne_bytes(),
            &self.chunks.to_ne_bytes(),
            &(self.workers as u32).to_ne_bytes(),
            &(self.size as u64).to_ne_bytes(),
            &(self.bytes().unwrap_or(0) as u64).to_ne_bytes(),
            &instance.to_ne_bytes(),
            &pid.to_ne_bytes(),
            &self.mode.to_ne_bytes(),
            &self.codec.to_ne_bytes(),
        ];
        let mut bytes = fields.concat();
        bytes.resize(HEADER_BYTES - 8, 0);
        bytes.extend(crate::base::checksum::fnv1a(&bytes).to_ne_bytes());
        bytes
    }
}

// What a recovery reads of an arena's headers, which are not made for it.
const _: () = assert!(size_of::<Header>() == 128 && Header::COMMIT_AT == 0);
const _: () = assert!(Header::LINK_AT == 16 && Header::CHAIN_AT == 20);

/// The memory, as the writer sees it.
pub(crate) struct CrashImage {
    memory: CrashMapping,
    layout: Layout,
}

impl CrashImage {
    /// Allocates it in `dir` and gives it its name once it is complete.
    pub(crate) fn create(
        dir: &Path,
        name: &OsStr,
        layout: Layout,
        instance: u64,
        pid: u32,
    ) -> Result<Self, Error> {
        let len = layout.bytes().ok_or_else(|| {
            Error::io("map memory in", dir, std::io::ErrorKind::OutOfMemory.into())
        })?;
        let mut memory = CrashMapping::create(dir, len)?;
        let header = layout.header(instance, pid);
        // SAFETY: within the mapping, which nobody else knows yet.
        unsafe {
            memory.begin().as_ptr().copy_from_nonoverlapping(header.as_ptr(), header.len());
        }
        memory.link(dir.join(name))?;
        Ok(CrashImage { memory, layout })
    }

    /// Where the arena begins.
    pub(crate) fn arena(&self) -> std::ptr::NonNull<u8> {
        // SAFETY: within the mapping.
        unsafe { self.memory.begin().add(self.layout.arena_at()) }
    }

    fn word(&self, at: usize) -> &AtomicU64 {
        debug_assert!(at + 8 <= self.memory.len() && at.is_multiple_of(8));
        // SAFETY: within the mapping, aligned, and only ever seen as an atomic.
        unsafe { self.memory.begin().add(at).cast().as_ref() }
    }

    fn chunk_word(&self, chunk: ChunkId, word: ChunkWord) -> &AtomicU64 {
        self.word(self.layout.chunk_word_at(chunk, word))
    }

    fn worker_word(&self, worker: usize, word: WorkerWord) -> &AtomicU64 {
        self.word(self.layout.worker_word_at(worker, word))
    }

    /// Producer: whose the chunk's records are, and in what order. Before anything is committed to it.
    pub(crate) fn set_lease(&self, chunk: ChunkId, producer: u64, lease: u64) {
        step();
        self.chunk_word(chunk, ChunkWord::Producer).store(producer, Release);
        self.chunk_word(chunk, ChunkWord::Lease).store(lease, Release);
    }

    /// Producer: the chunk goes on with what another one began. Before it is filled.
    pub(crate) fn set_part(&self, chunk: ChunkId) {
        self.chunk_word(chunk, ChunkWord::Part).store(1, Release);
    }

    /// Worker: the chunk is free, nothing is committed to it any more.
    pub(crate) fn clear(&self, chunk: ChunkId) {
        step();
        self.chunk_word(chunk, ChunkWord::Filed).store(0, Release);
        self.chunk_word(chunk, ChunkWord::Part).store(0, Release);
        step();
    }

    /// Worker: it has a new temp file, which is empty.
    pub(crate) fn begin_file(&self, worker: usize, stamp: u64, seq: u64) {
        step();
        self.worker_word(worker, WorkerWord::Seq).store(seq, Release);
        self.worker_word(worker, WorkerWord::Stamp).store(stamp, Release);
        step();
    }

    /// Worker: the temp file has come to `good` with these pieces, of [`LIST_MAX`] entries at most, which end with a
    /// whole record. All of it counts in one step.
    pub(crate) fn file(&self, worker: usize, filed: impl Iterator<Item = Filed>, good: Watermark) {
        let mut entries = 0;
        for filed in filed {
            self.list(worker, &mut entries, &filed);
        }
        if entries > 0 {
            self.step_on(worker, entries, good);
        }
    }

    /// Worker: these pieces count as filed, and are in no file. In as many steps as the list takes.
    pub(crate) fn pass_over(&self, worker: usize, filed: impl Iterator<Item = Filed>) {
        let word = |word| self.worker_word(worker, word).load(Relaxed);
        let good = Watermark {
            len: word(WorkerWord::GoodLen),
            count: Count::new(word(WorkerWord::GoodRecords), word(WorkerWord::GoodBytes)),
        };
        let mut entries = 0;
        for filed in filed {
            self.list(worker, &mut entries, &filed);
            if filed.is_end && entries == LIST_MAX {
                self.step_on(worker, std::mem::take(&mut entries), good);
            }
        }
        if entries > 0 {
            self.step_on(worker, entries, good);
        }
    }

    /// Puts a piece on the worker's list. Parts of chains are not listed: their first chunk says it of all.
    fn list(&self, worker: usize, entries: &mut usize, filed: &Filed) {
        let Some(to) = filed.to else { return };
        let at = self.layout.entry_at(worker, *entries);
        self.word(at).store(u64::from(filed.chunk), Release);
        self.word(at + 8).store(to.0, Release);
        *entries += 1;
    }

    fn step_on(&self, worker: usize, entries: usize, good: Watermark) {
        let set = |word, number| self.worker_word(worker, word).store(number, Release);
        step();
        set(WorkerWord::NextLen, good.len);
        set(WorkerWord::NextRecords, good.count.records);
        set(WorkerWord::NextBytes, good.count.bytes);
        step();
        // From here on the list holds.
        set(WorkerWord::Listed, entries as u64);
        step();
        set(WorkerWord::GoodLen, good.len);
        set(WorkerWord::GoodRecords, good.count.records);
        set(WorkerWord::GoodBytes, good.count.bytes);
        step();
        for entry in 0..entries {
            let at = self.layout.entry_at(worker, entry);
            let chunk = self.word(at).load(Relaxed) as ChunkId;
            self.chunk_word(chunk, ChunkWord::Filed)
                .store(self.word(at + 8).load(Relaxed), Release);
        }
        step();
        set(WorkerWord::Listed, 0);
        step();
    }

    /// Worker: the temp file is gone, it is visible or lost.
    pub(crate) fn end_file(&self, worker: usize) {
        step();
        for word in [WorkerWord::GoodLen, WorkerWord::GoodRecords, WorkerWord::GoodBytes] {
            self.worker_word(worker, word).store(0, Release);
        }
        step();
    }

    /// Worker: so much is lost.
    pub(crate) fn add_lost(&self, worker: usize, lost: Count) {
        let add = |word, amount| {
            let word = self.worker_word(worker, word);
            word.store(word.load(Relaxed) + amount, Release);
        };
        add(WorkerWord::LostRecords, lost.records);
        add(WorkerWord::LostBytes, lost.bytes);
    }

    /// The writer is closed: whatever is in here is of no use any more.
    pub(crate) fn close(&self) {
        self.word(self.layout.word_at(WriterWord::Closed)).store(1, Release);
    }

    pub(crate) fn remove(&self) -> Result<(), Error> {
        self.memory.unlink()
    }
}

/// A piece that a file has.
pub(crate) struct Filed {
    pub(crate) chunk: ChunkId,
    /// What of the chunk is filed with it; none for a part of a chain.
    pub(crate) to: Option<Extent>,
    /// It ends with a whole record.
    pub(crate) is_end: bool,
}

/// A point at which a test lets the process die.
#[cfg(test)]
pub(crate) use crate::tests::crash::step;

#[cfg(not(test))]
#[inline(always)]
pub(crate) fn step() {}
