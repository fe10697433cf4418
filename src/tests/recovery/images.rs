//! Memories of dead writers that are made by hand, for tests and for the fuzzer (`fuzz/`).

use std::ffi::OsString;
use std::path::Path;

use crate::base::checksum::fnv1a;
use crate::base::sys::file::facts_at;
use crate::file::state_file::encode;
use crate::file::state_file::format::{ENTRY_BYTES, FileLayout, Header, MemoryDir, WorkerEntry};
use crate::memory::crash_image::Layout;
use crate::naming::{Names, Stamp, TempId};
use crate::report::stats::{Count, Watermark};

/// Of the temp files of all hostile cases.
pub(crate) const STAMP: Stamp = Stamp(1_795_376_430_123_456_789);

/// Of a machine, or a boot, that is not this one.
pub(crate) const OTHER_BOOT: [u8; 16] = [9; 16];

pub(crate) fn names() -> Names {
    let (prefix, extension) = (OsString::from("p"), OsString::from("log"));
    Names { prefix, extension, instance: 0x1122_3344_5566_7788, pid: 77 }
}

/// Five chunks of 100 bytes, two workers. All offsets below are of this one.
pub(crate) const LAYOUT: Layout =
    Layout { chunks: 5, size: 100, workers: 2, mode: 0o640, codec: 0, records: false };
/// Number of bytes, and where the parts of it begin.
pub(crate) const LEN: usize = 32_768;
pub(crate) const CHUNK_WORDS: usize = 4160;
pub(crate) const ARENA: usize = 24_576;
pub(crate) const BYTES: usize = 28_672;

/// A memory that is made by hand, word by word.
#[derive(Clone)]
pub(crate) struct Image(pub(crate) Vec<u8>);

impl Image {
    pub(crate) fn new() -> Self {
        Self::of(LAYOUT)
    }

    /// Of another codec or mode.
    pub(crate) fn of(layout: Layout) -> Self {
        let mut bytes = vec![0; LEN];
        let header = layout.header(names().instance, names().pid);
        bytes[..header.len()].copy_from_slice(&header);
        Image(bytes)
    }

    pub(crate) fn put(&mut self, at: usize, word: u64) -> &mut Self {
        self.0[at..at + 8].copy_from_slice(&word.to_ne_bytes());
        self
    }

    pub(crate) fn put_u32(&mut self, at: usize, word: u32) -> &mut Self {
        self.0[at..at + 4].copy_from_slice(&word.to_ne_bytes());
        self
    }

    /// A chunk of a producer, with `committed` bytes, of which `filed` are filed.
    pub(crate) fn chunk(
        &mut self,
        chunk: usize,
        producer: u64,
        lease: u64,
        committed: u64,
        filed: u64,
    ) -> &mut Self {
        let words = CHUNK_WORDS + 32 * chunk;
        self.put(words, producer).put(words + 8, lease).put(words + 16, filed);
        // Three records.
        self.put(ARENA + 128 * chunk, 3 << 32 | committed);
        for at in 0..committed.min(100) as usize {
            self.0[BYTES + 128 * chunk + at] = 16 * chunk as u8 + at as u8 % 16;
        }
        self
    }

    /// These chunks are one record.
    pub(crate) fn chain(&mut self, chunks: &[u32]) -> &mut Self {
        self.put_u32(ARENA + 128 * chunks[0] as usize + 20, chunks[1] + 1);
        for (at, &chunk) in chunks.iter().enumerate().skip(1) {
            self.put(CHUNK_WORDS + 32 * chunk as usize + 24, 1);
            let next = chunks.get(at + 1).copied().unwrap_or(5);
            let distance = next.wrapping_sub(chunk).wrapping_sub(1);
            self.put_u32(ARENA + 128 * chunk as usize + 16, distance);
        }
        self
    }

    pub(crate) fn fix_checksum(&mut self) -> &mut Self {
        if self.0.len() >= 4096 {
            let sum = fnv1a(&self.0[..4088]);
            self.put(4088, sum);
        }
        self
    }
}

/// The header of a state file whose writer's files hold records as they are.
pub(crate) fn header(
    boot: [u8; 16],
    path: &Path,
    memory: Option<&Path>,
    names: &Names,
    workers: usize,
) -> Option<Vec<u8>> {
    header_in(boot, path, memory, names, workers, ("", ""))
}

/// The same, with a partition and its time zone.
pub(crate) fn header_in(
    boot: [u8; 16],
    path: &Path,
    memory: Option<&Path>,
    names: &Names,
    workers: usize,
    (partition, time_zone): (&str, &str),
) -> Option<Vec<u8>> {
    let memory = memory.map(memory_dir);
    let (path, names) = (path.to_owned(), names.clone());
    let (partition, time_zone) = (partition.to_owned(), time_zone.to_owned());
    let layout = FileLayout { partition, time_zone, ..FileLayout::default() };
    encode::header(boot, &Header { path, memory, names, codec: 0, layout, workers, slot_bytes: 0 })
}

/// As the writer of an image saw its directory of memory.
pub(crate) fn memory_dir(dir: &Path) -> MemoryDir {
    let found = facts_at(dir).ok().flatten();
    let id = found.map_or((0, 0), |found| found.id);
    MemoryDir { path: dir.to_owned(), id }
}

/// A worker's entry in it. `good` bytes are whole records, and `synced` of them are synced.
pub(crate) fn entry(
    generation: u64,
    temp: Option<TempId>,
    good: u64,
    synced: u64,
) -> [u8; ENTRY_BYTES] {
    encode::entry(generation, WorkerEntry { temp, good: mark(good), synced: mark(synced) })
}

/// A watermark of `bytes` records of one byte.
pub(crate) fn mark(bytes: u64) -> Watermark {
    Watermark { len: bytes, count: Count::new(bytes, bytes), checksum: 0 }
}

/// Seeds: memories with something of everything.
pub(crate) fn seed(which: usize, names: &Names) -> Image {
    let mut image = Image::new();
    image.0[..4096].copy_from_slice(&LAYOUT.header(names.instance, names.pid));
    image.chunk(0, 1, 1, 50, 10).chunk(2, 1, 3, 100, 0).chunk(3, 0, 0, 100, 0).chunk(4, 0, 0, 7, 0);
    image.chain(&[2, 3, 4]);
    // Temp files of both workers, the first one in the middle of a step.
    image.put(8192, STAMP.0).put(8192 + 8, 1).put(8192 + 16, 4);
    image.put(16_384, STAMP.0).put(16_384 + 8, 2).put(16_384 + 16, 5);
    match which {
        0 => drop(image.chunk(1, 1, 2, 100, 0)),
        1 => drop(image.put(8192 + 64, 8).put(8192 + 128, 0).put(8192 + 136, 50).put(8192 + 56, 1)),
        2 => drop(image.put(4104, STAMP.0)),
        _ => drop(image.put(4096, 1)),
    }
    image
}
