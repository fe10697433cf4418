//! What a writer's memory comes to, by its options: the sums behind the promise that memory is bounded.
//!
//! Guarantees: for whatever options, no sum overflows; what passes [`Config::check_budget`] can be mapped without an
//! arithmetic overflow.

use crate::config::{Config, Io};
use crate::file::aligned::{self, PAGE};
use crate::memory::arena::{self, ChunkId, Extent, MESSAGES_MAX};
use crate::memory::crash_image::Layout;
use crate::memory::message::Head;
use crate::memory::prefault::Prefault;
use crate::report::error::Error;
use crate::worker::collect::Piece;

/// A worker's list of what it holds: two pieces of a chunk (a scraped prefix and the rest),
/// twice for the growth of the list.
const QUEUE_BYTES_PER_CHUNK: usize = 4 * size_of::<Piece>();
/// A worker's lists of live chunks and their lengths: of a scrape, and of two looks for idle
/// producers, twice for the growth of the lists.
const LOOK_BYTES_PER_CHUNK: usize = 6 * size_of::<(ChunkId, Extent)>();
/// What the writer keeps beside each message that was handed over.
const MESSAGE_BYTES_PER_CHUNK: usize = MESSAGES_MAX * size_of::<Head>();
/// What is known of each span of chunks, which may be of one.
const SPAN_BYTES_PER_CHUNK: usize = Prefault::SPAN_BYTES;
const STAGING_BYTES_MIN: usize = 2 * PAGE;
const STAGING_BYTES_MAX: usize = 1 << 20;
/// From these on the page cache costs more than it saves.
const DIRECT_FILE_BYTES_MIN: u64 = 1 << 20;
const DIRECT_WRITE_BYTES_MIN: usize = 64 << 10;
/// Stack and tables of a worker, as far as it touches them.
const WORKER_BYTES: usize = 64 << 10;

impl Config {
    /// Worst case of the writer's memory in bytes, whatever the number of records: all chunks and
    /// their headers, and what each worker needs besides, also to write past the page cache. A message
    /// that was handed over counts by its length, in place of a chunk's bytes. Apart: thread stacks,
    /// of which a worker touches a few KiB; about 300 bytes for each thread that is writing at the
    /// same time; what a message owns beyond its bytes; the names of files while they are listed for
    /// [`max_total`](max_total).
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
            .saturating_add(self.memory.workers.saturating_mul(WORKER_BYTES))
            .saturating_add(aligned::mapped_bytes(self.memory.workers, self.staging_bytes()))
            .saturating_add(self.memory.crash_proof.dir().map_or(0, |_| self.layout().arena_at()))
    }

    /// What each worker has to put blocks together, for files that go past the page cache; zero = none
    /// does. A write of 1 MiB is as fast as they get, and half a worker's share comes in meanwhile.
    pub(crate) fn staging_bytes(&self) -> usize {
        let share = (self.memory.chunks() / self.memory.workers.max(1))
            .max(1)
            .saturating_mul(self.memory.size);
        let bytes = (share / 2).clamp(STAGING_BYTES_MIN, STAGING_BYTES_MAX) / PAGE * PAGE;
        let pays =
            self.files.file_size >= DIRECT_FILE_BYTES_MIN && share >= 2 * DIRECT_WRITE_BYTES_MIN;
        match self.files.io {
            Io::Direct => bytes,
            Io::Auto if pays => bytes,
            Io::Auto | Io::Buffered => 0,
        }
    }

    /// What it is made of, for chunks and workers.
    /// In crash-proof memory or not.
    pub(crate) fn layout(&self) -> Layout {
        let chunks = u32::try_from(self.memory.chunks()).unwrap_or(u32::MAX);
        let Config { memory, files, .. } = self;
        Layout {
            chunks,
            size: memory.size,
            workers: memory.workers,
            mode: files.mode,
            codec: files.codec.id(),
        }
    }

    /// Whether the address space has room for all chunks.
    pub(crate) fn check_budget(&self) -> Result<(), Error> {
        if arena::bytes(self.memory.chunks(), self.memory.size).is_none() {
            return Err(Error::option(
                "size",
                self.memory.size,
                format!("such that {} chunks of it fit the address space", self.memory.chunks()),
            ));
        }
        Ok(())
    }
}
