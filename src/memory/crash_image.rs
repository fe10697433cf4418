//! The memory image that a recovery reads after the process has died. It shows which records are
//! in which chunk, and which of them a file already has. `docs/design/crash-proof.md` describes the layout.
//!
//! Guarantees: wherever the process dies, each committed record is in exactly one place. It is in
//! its chunk beyond the filed extent, or in a temp file below the watermark, never both, never
//! neither. A file moves both marks at once, by a list that is complete before it counts. A
//! recovery replays the list if need be. Off the hot path: producers come here when they swap a
//! chunk, workers when a file has taken something.

use std::path::{Path, PathBuf};

use crate::base::sync::{AtomicU64, Relaxed, Release};
use crate::memory::chunk_header::{self, ChunkId, Extent, Header};
use crate::memory::crash_mapping::CrashMapping;
use crate::report::error::Error;
use crate::report::stats::{Count, Watermark};

pub(crate) const MAGIC: [u8; 8] = *b"BUFWMEM\0";
pub(crate) const VERSION: u32 = 2;
/// Of a flight recorder, whose headers of chunks also count what was overwritten.
pub(crate) const RECORDER_VERSION: u32 = 3;
/// Reads as another number on a machine with another byte order.
pub(crate) const ORDER: u32 = 0x0102_0304;
/// Alignment of the parts of the file.
const PAGE: usize = 4096;
/// The constant part, with a checksum at its end.
pub(crate) const HEADER_BYTES: usize = PAGE;
/// Words of the whole writer, after the header.
const WORDS_AT: usize = HEADER_BYTES;
const CHUNK_WORDS_AT: usize = WORDS_AT + 64;
pub(crate) const CHUNK_WORDS_BYTES: usize = 32;
pub(crate) const WORKER_BYTES: usize = 2 * PAGE;
/// Offset of a worker's list in its part.
pub(crate) const LIST_AT: usize = 128;
pub(crate) const ENTRY_BYTES: usize = 16;
/// Most chunks that a worker can file in one step.
pub(crate) const LIST_MAX: usize = (WORKER_BYTES - LIST_AT) / ENTRY_BYTES;

/// Words of the whole writer.
#[repr(usize)]
#[derive(Clone, Copy)]
pub(crate) enum WriterWord {
    /// Not zero: the writer was closed, and the image is obsolete.
    Closed = 0,
    /// Stored by a recovery: stamp of the temp file that has everything that was left in chunks.
    Salvaged = 1,
}

/// Words of a chunk. All zero when the chunk is free.
#[repr(usize)]
#[derive(Clone, Copy)]
pub(crate) enum ChunkWord {
    /// Number of the producer that leases it or leased it last.
    Producer = 0,
    /// Number of the lease, ascending for each producer.
    Lease = 1,
    /// [`Extent`] of the chunk that is in a file. In the first chunk of a chain: not zero if the
    /// whole chain is in a file.
    Filed = 2,
    /// Not zero: the chunk continues a chain that begins in another one.
    Part = 3,
}

/// Words of a worker.
#[repr(usize)]
#[derive(Clone, Copy)]
pub(crate) enum WorkerWord {
    /// Stamp and sequence of its temp file.
    Stamp = 0,
    Seq = 1,
    /// Watermark of that file: bytes of the file, records in it, and the records' bytes. Then the
    /// codec's checksum of them.
    GoodLen = 2,
    GoodRecords = 3,
    GoodBytes = 4,
    LostRecords = 5,
    LostBytes = 6,
    /// Entries in the list. While not zero, the list replaces the `Filed` words, and the `Next`
    /// words replace the `Good` words.
    Listed = 7,
    NextLen = 8,
    NextRecords = 9,
    NextBytes = 10,
    GoodChecksum = 11,
    NextChecksum = 12,
    /// No record that the worker holds was accepted before this time; it is of the period in which they were. 0 = unknown.
    Since = 13,
}

/// The words of a watermark, in the order of [`marked`].
pub(crate) type MarkWords = [WorkerWord; 4];
pub(crate) const GOOD: MarkWords =
    [WorkerWord::GoodLen, WorkerWord::GoodRecords, WorkerWord::GoodBytes, WorkerWord::GoodChecksum];
pub(crate) const NEXT: MarkWords =
    [WorkerWord::NextLen, WorkerWord::NextRecords, WorkerWord::NextBytes, WorkerWord::NextChecksum];

/// The watermark in these words.
pub(crate) fn marked(words: MarkWords, word: impl Fn(WorkerWord) -> u64) -> Watermark {
    let [len, records, bytes, checksum] = words.map(word);
    Watermark { len, count: Count::new(records, bytes), checksum: checksum as u32 }
}

/// The layout for a number of chunks and workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) chunks: u32,
    pub(crate) size: usize,
    pub(crate) workers: usize,
    /// Permissions of visible files.
    pub(crate) mode: u32,
    /// Number of the files' codec.
    pub(crate) codec: u32,
    /// Whether this is a flight recorder.
    pub(crate) records: bool,
}

impl Layout {
    pub(crate) fn word_at(self, word: WriterWord) -> usize {
        WORDS_AT + word as usize * 8
    }

    pub(crate) fn chunk_word_at(self, chunk: ChunkId, word: ChunkWord) -> usize {
        CHUNK_WORDS_AT + chunk as usize * CHUNK_WORDS_BYTES + word as usize * 8
    }

    /// Saturates: `Config::memory_bound` asks for layouts that no writer has.
    pub(crate) fn worker_at(self, worker: usize) -> usize {
        let words = (self.chunks as usize).saturating_mul(CHUNK_WORDS_BYTES);
        let end = CHUNK_WORDS_AT.saturating_add(words).checked_next_multiple_of(PAGE);
        end.unwrap_or(usize::MAX).saturating_add(worker.saturating_mul(WORKER_BYTES))
    }

    pub(crate) fn worker_word_at(self, worker: usize, word: WorkerWord) -> usize {
        self.worker_at(worker) + word as usize * 8
    }

    /// An entry: the number of a chunk, then the extent of it that is filed.
    pub(crate) fn entry_at(self, worker: usize, entry: usize) -> usize {
        self.worker_at(worker) + LIST_AT + entry * ENTRY_BYTES
    }

    /// Offset of the arena: its headers, then its bytes.
    pub(crate) fn arena_at(self) -> usize {
        self.worker_at(self.workers)
    }

    /// Offset of a chunk's byte.
    pub(crate) fn byte_at(self, chunk: ChunkId, offset: usize) -> usize {
        self.arena_at() + chunk_header::byte_at(self.chunks, self.size, chunk, offset)
    }

    /// Length of the file; `None` beyond the address space.
    pub(crate) fn bytes(self) -> Option<usize> {
        self.arena_at().checked_add(chunk_header::bytes(self.chunks as usize, self.size)?)
    }

    /// The constant part, for the writer with this instance number in the process with this id.
    pub(crate) fn header(self, instance: u64, pid: u32) -> Vec<u8> {
        let version = if self.records { RECORDER_VERSION } else { VERSION };
        let fields: [&[u8]; 11] = [
            &MAGIC,
            &version.to_ne_bytes(),
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

// A recovery reads these fields of the headers, so their layout is part of the format.
const _: () = assert!(size_of::<Header>() == 128 && Header::COMMIT_AT == 0);
const _: () = assert!(Header::LINK_AT == 16 && Header::CHAIN_AT == 20);
const _: () = assert!(Header::OVERWRITTEN_AT == 88 && Header::OVERWRITING_AT == 120);

/// The memory image as the writer sees it.
pub(crate) struct CrashImage {
    memory: CrashMapping,
    layout: Layout,
}

impl CrashImage {
    /// Allocates the image in `dir`. It has no name yet.
    pub(crate) fn create(
        dir: &Path,
        layout: Layout,
        instance: u64,
        pid: u32,
    ) -> Result<Self, Error> {
        let len = layout.bytes().ok_or_else(|| {
            Error::io("map memory in", dir, std::io::ErrorKind::OutOfMemory.into())
        })?;
        let memory = CrashMapping::create(dir, len)?;
        let header = layout.header(instance, pid);
        // SAFETY: the header fits the mapping, which no other code has yet.
        unsafe {
            memory.begin().as_ptr().copy_from_nonoverlapping(header.as_ptr(), header.len());
        }
        Ok(CrashImage { memory, layout })
    }

    /// Names the image, so that a recovery finds it. Once, by one thread at a time.
    pub(crate) fn link(&self, path: PathBuf) -> Result<(), Error> {
        self.memory.link(path)
    }

    /// The beginning of the arena.
    pub(crate) fn arena(&self) -> std::ptr::NonNull<u8> {
        // SAFETY: the layout places the arena within the mapping.
        unsafe { self.memory.begin().add(self.layout.arena_at()) }
    }

    /// Makes all of it resident, and locks it.
    pub(crate) fn lock(&self) -> std::io::Result<()> {
        // SAFETY: exactly the mapping.
        unsafe { crate::base::sys::memory::lock(self.memory.begin(), self.memory.len()) }
    }

    fn word(&self, at: usize) -> &AtomicU64 {
        debug_assert!(at + 8 <= self.memory.len() && at % 8 == 0);
        // SAFETY: within the mapping, aligned, and accessed only as an atomic.
        unsafe { self.memory.begin().add(at).cast().as_ref() }
    }

    fn chunk_word(&self, chunk: ChunkId, word: ChunkWord) -> &AtomicU64 {
        self.word(self.layout.chunk_word_at(chunk, word))
    }

    fn worker_word(&self, worker: usize, word: WorkerWord) -> &AtomicU64 {
        self.word(self.layout.worker_word_at(worker, word))
    }

    /// Producer, before it commits anything to the chunk: sets its own number and that of the
    /// lease.
    pub(crate) fn set_lease(&self, chunk: ChunkId, producer: u64, lease: u64) {
        step();
        self.chunk_word(chunk, ChunkWord::Producer).store(producer, Release);
        self.chunk_word(chunk, ChunkWord::Lease).store(lease, Release);
    }

    /// Producer, before it fills the chunk: it continues another chunk's record.
    pub(crate) fn set_part(&self, chunk: ChunkId) {
        self.chunk_word(chunk, ChunkWord::Part).store(1, Release);
    }

    /// Worker: the chunk is free and nothing is committed to it any more.
    pub(crate) fn clear(&self, chunk: ChunkId) {
        step();
        self.chunk_word(chunk, ChunkWord::Filed).store(0, Release);
        self.chunk_word(chunk, ChunkWord::Part).store(0, Release);
        step();
    }

    /// Worker: has a new, empty temp file.
    pub(crate) fn begin_file(&self, worker: usize, stamp: u64, seq: u64) {
        step();
        self.worker_word(worker, WorkerWord::Seq).store(seq, Release);
        self.worker_word(worker, WorkerWord::Stamp).store(stamp, Release);
        step();
    }

    /// Worker: what it holds was accepted in the period of this stamp, and not before it.
    pub(crate) fn hold_since(&self, worker: usize, stamp: u64) {
        self.worker_word(worker, WorkerWord::Since).store(stamp, Release);
    }

    /// Worker: a copy takes the place of its temp file, with the same sequence number and records.
    pub(crate) fn move_file(&self, worker: usize, stamp: u64) {
        step();
        self.worker_word(worker, WorkerWord::Stamp).store(stamp, Release);
        step();
    }

    /// Worker: these pieces take its temp file to `good`. They have at most [`LIST_MAX`] entries
    /// and end with a whole record. All of them count in one step.
    pub(crate) fn file(&self, worker: usize, filed: impl Iterator<Item = Filed>, good: Watermark) {
        let mut entries = 0;
        for filed in filed {
            self.list(worker, &mut entries, &filed);
        }
        if entries > 0 {
            self.step_on(worker, entries, good);
        }
    }

    /// Worker: these pieces count as filed although no file has them. Takes as many steps as the
    /// list needs.
    pub(crate) fn pass_over(&self, worker: usize, filed: impl Iterator<Item = Filed>) {
        let word = |word| self.worker_word(worker, word).load(Relaxed);
        let good = marked(GOOD, word);
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

    /// Adds a piece to the worker's list. Only the first chunk of a chain is listed and stands for
    /// the rest.
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
        self.mark(worker, NEXT, good);
        step();
        // From here on the list counts.
        set(WorkerWord::Listed, entries as u64);
        step();
        self.mark(worker, GOOD, good);
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

    /// Worker: the temp file is gone, since it became visible or was lost.
    pub(crate) fn end_file(&self, worker: usize) {
        step();
        self.mark(worker, GOOD, Watermark::ZERO);
        step();
    }

    fn mark(&self, worker: usize, words: MarkWords, mark: Watermark) {
        let Watermark { len, count, checksum } = mark;
        let numbers = [len, count.records, count.bytes, checksum.into()];
        for (word, number) in words.into_iter().zip(numbers) {
            self.worker_word(worker, word).store(number, Release);
        }
    }

    /// Worker: adds to what is lost.
    pub(crate) fn add_lost(&self, worker: usize, lost: Count) {
        let add = |word, amount| {
            let word = self.worker_word(worker, word);
            word.store(word.load(Relaxed) + amount, Release);
        };
        add(WorkerWord::LostRecords, lost.records);
        add(WorkerWord::LostBytes, lost.bytes);
    }

    /// The writer is closed, so the image is obsolete.
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
    /// Extent of the chunk that is filed with it; `None` for a later part of a chain.
    pub(crate) to: Option<Extent>,
    /// The piece ends with a whole record.
    pub(crate) is_end: bool,
}

/// A point at which a test can kill the process.
#[cfg(test)]
pub(crate) use crate::tests::crash::step;

#[cfg(not(test))]
#[inline(always)]
pub(crate) fn step() {}
