//! The memory that a writer takes, computed from its options: the sums behind the promise that
//! memory is bounded.
//!
//! Guarantees: no sum overflows, whatever the options. Options that pass [`Config::check_budget`]
//! can be mapped without an arithmetic overflow.

use crate::codec;
use crate::config::{Compression, Config, Io};
use crate::file::aligned::{self, PAGE};
use crate::memory::arena::{self, ChunkId, Extent, MESSAGES_MAX};
use crate::memory::crash_image::Layout;
use crate::memory::message::Head;
use crate::memory::prefault::Prefault;
use crate::memory::ring::Ring;
use crate::report::error::Error;
use crate::worker::collect::Piece;
use crate::worker::queue::BATCH_BYTES;
use crate::worker::recall::RECALL_BYTES_PER_CHUNK;

/// A worker's list of what it holds. It has two pieces per chunk (a scraped prefix and the rest),
/// doubled for the growth of the list.
const QUEUE_BYTES_PER_CHUNK: usize = 4 * size_of::<Piece>();
/// A worker's lists of live chunks and their lengths. There are three (one for a scrape, two for
/// looks for idle producers), doubled for the growth of the lists.
const LOOK_BYTES_PER_CHUNK: usize = 6 * size_of::<(ChunkId, Extent)>();
/// Bookkeeping for the messages that were handed over.
const MESSAGE_BYTES_PER_CHUNK: usize = MESSAGES_MAX * size_of::<Head>();
/// Bookkeeping for spans of chunks. A span may have one chunk.
const SPAN_BYTES_PER_CHUNK: usize = Prefault::SPAN_BYTES;
const STAGING_BYTES_MIN: usize = 2 * PAGE;
const STAGING_BYTES_MAX: usize = 1 << 20;
/// From these sizes on, the page cache costs more than it saves.
const DIRECT_FILE_BYTES_MIN: u64 = 1 << 20;
const DIRECT_WRITE_BYTES_MIN: usize = 64 << 10;
/// The part of a worker's stack and tables that it touches.
const WORKER_BYTES: usize = 64 << 10;

impl Config {
    /// Returns an upper bound of the writer's memory in bytes, whatever the number of records.
    ///
    /// It covers all chunks and their headers, and what each worker needs, for direct I/O and
    /// [`compression`](Self::compression) too. A
    /// message that was handed over counts with its length instead of the bytes of a chunk.
    ///
    /// It does not cover thread stacks, of which a worker touches a few KiB. Nor does it cover
    /// about 300 bytes for each thread that is writing at the same time. What a message owns beyond
    /// its bytes is not in it either, nor are file names while they are listed for
    /// [`max_total`](Self::max_total).
    pub fn memory_bound(&self) -> usize {
        let chunks = self.memory.chunks();
        arena::bytes(chunks, self.memory.size)
            .unwrap_or(usize::MAX)
            .saturating_add(chunks.saturating_mul(
                QUEUE_BYTES_PER_CHUNK
                    + LOOK_BYTES_PER_CHUNK
                    + MESSAGE_BYTES_PER_CHUNK
                    + SPAN_BYTES_PER_CHUNK,
            ))
            .saturating_add(self.memory.threads().saturating_mul(WORKER_BYTES))
            .saturating_add(aligned::mapped_bytes(self.memory.threads(), self.staging_bytes()))
            .saturating_add(self.codec_bytes())
            .saturating_add(self.memory.keeps().map_or(0, |_| {
                let ring = Ring::bytes(self.layout().chunks);
                ring.saturating_add(chunks.saturating_mul(RECALL_BYTES_PER_CHUNK))
            }))
            .saturating_add(self.memory.crash_proof.dir().map_or(0, |_| self.layout().arena_at()))
    }

    /// Bytes of each worker's staging memory for direct I/O; 0 = no direct I/O. A write of 1 MiB is
    /// as fast as a write can be. Half of a worker's share of the memory can fill meanwhile.
    pub(crate) fn staging_bytes(&self) -> usize {
        let share = (self.memory.chunks() / self.memory.threads().max(1))
            .max(1)
            .saturating_mul(self.memory.size);
        let bytes = (share / 2).clamp(STAGING_BYTES_MIN, STAGING_BYTES_MAX) / PAGE * PAGE;
        // What a codec leaves is little: the page cache takes it at once, while a disk lets the codec wait.
        let pays = self.files.file_size >= DIRECT_FILE_BYTES_MIN
            && share >= 2 * DIRECT_WRITE_BYTES_MIN
            && self.files.compression == Compression::None;
        match self.files.io {
            Io::Direct => bytes,
            Io::Auto if pays => bytes,
            Io::Auto | Io::Buffered => 0,
        }
    }

    /// Memory of the codecs. A worker encodes a batch at a time. Batches are larger than that if
    /// records are, but never larger than all chunks together.
    fn codec_bytes(&self) -> usize {
        let Config { memory, files, .. } = self;
        let one = codec::memory_bound(files.compression, BATCH_BYTES);
        let all =
            codec::memory_bound(files.compression, memory.chunks().saturating_mul(memory.size));
        memory.threads().saturating_mul(one).saturating_add(all)
    }

    /// The layout of the memory, for chunks and workers, crash-proof or not.
    pub(crate) fn layout(&self) -> Layout {
        let chunks = u32::try_from(self.memory.chunks()).unwrap_or(u32::MAX);
        let Config { memory, files, .. } = self;
        Layout {
            chunks,
            size: memory.size,
            workers: memory.threads(),
            mode: files.mode,
            codec: files.compression.id(),
            records: memory.keeps().is_some(),
        }
    }

    /// Refuses options whose chunks do not fit the address space.
    pub(crate) fn check_budget(&self) -> Result<(), Error> {
        if arena::bytes(self.memory.chunks(), self.memory.size).is_none() {
            return Err(Error::option(
                "size",
                self.memory.size,
                format!("a size of which {} chunks fit the address space", self.memory.chunks()),
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_chunk_adds_its_bytes_and_all_that_is_kept_about_it() {
        let bound = |chunks| {
            Config::default()
                .workers(1)
                .size(4096)
                .io(Io::Buffered)
                .queue_size(chunks)
                .memory_bound()
        };
        let chunks = 1 << 10;
        let kept = QUEUE_BYTES_PER_CHUNK + LOOK_BYTES_PER_CHUNK + MESSAGE_BYTES_PER_CHUNK;
        let arena = |chunks| arena::bytes(chunks, 4096).unwrap();
        let bytes = arena(2 * chunks + 1) - arena(chunks + 1);
        assert_eq!(
            bound(2 * chunks) - bound(chunks),
            bytes + chunks * (kept + SPAN_BYTES_PER_CHUNK)
        );
    }
}
