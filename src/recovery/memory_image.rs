//! Decodes the crash-proof memory of a dead instance, which may be hostile. The layout is in
//! `memory/crash_image.rs` and in `docs/design/crash-proof.md`.
//!
//! Guarantees: never panics, maps nothing, and reads nothing beyond the file. Every chunk, length
//! and chain that it returns is in range. Refuses a header that is not whole, of another version,
//! of another instance, or that does not fit the file. Changes nothing.

use std::io;

use crate::base::checksum::fnv1a;
use crate::config::{CHUNKS_MAX, Compression, SIZE_MAX, WORKERS_MAX};
use crate::file::state_file::decode::Unreadable;
use crate::file::state_file::format::WorkerEntry;
use crate::fs::{FsFile, read_full};
use crate::memory::chunk_header::{ChunkId, Extent, Header};
use crate::memory::crash_image::{
    CHUNK_WORDS_BYTES, ChunkWord, ENTRY_BYTES, GOOD, HEADER_BYTES, LIST_AT, LIST_MAX, Layout,
    MAGIC, NEXT, ORDER, RECORDER_VERSION, VERSION, WORKER_BYTES, WorkerWord, WriterWord, marked,
};
use crate::memory::ring;
use crate::naming::{Names, Stamp, TempId};
use crate::report::stats::{Count, Watermark};

/// The decoded memory of a dead writer.
#[derive(Debug)]
pub(crate) struct MemoryImage {
    pub(crate) layout: Layout,
    /// The writer was closed: nothing in the memory is of use.
    pub(crate) is_closed: bool,
    /// Stamp of the temp file to which a recovery has copied all unfiled records.
    pub(crate) salvaged: Option<Stamp>,
    /// For each worker, what its temp file holds.
    pub(crate) entries: Vec<WorkerEntry>,
    pub(crate) lost: Count,
    /// For each worker that noted it, since when it held records.
    pub(crate) since: Vec<Stamp>,
    /// Records that a flight recorder had overwritten.
    pub(crate) overwritten: Count,
    /// Unfiled bytes (in chunks and in no file), in the order in which the producers wrote them.
    pub(crate) unfiled: Vec<Unfiled>,
    /// Number of invalid chunks and list entries. Everything else in the memory is taken at its
    /// word.
    pub(crate) damaged: u64,
}

/// Bytes of one chunk that are in no file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unfiled {
    pub(crate) chunk: ChunkId,
    pub(crate) from: usize,
    pub(crate) to: usize,
    /// Records that begin in these bytes.
    pub(crate) records: u64,
}

/// The words that describe one chunk.
#[derive(Clone, Copy, Debug, Default)]
struct ChunkState {
    committed: Extent,
    link: u32,
    chain: u32,
    producer: u64,
    lease: u64,
    filed: Extent,
    is_part: bool,
}

/// Decodes a memory that should belong to this instance.
pub(crate) fn read(
    file: &mut dyn FsFile,
    names: &Names,
) -> io::Result<Result<MemoryImage, Unreadable>> {
    let len = file.facts()?.len;
    let Some(header) = part(file, 0, HEADER_BYTES)? else { return Ok(Err(Unreadable::Short)) };
    let layout = match layout(&header, len, names) {
        Ok(layout) => layout,
        Err(why) => return Ok(Err(why)),
    };
    let all = part(file, 0, layout.arena_at())?;
    let headers = part(file, layout.arena_at(), layout.chunks as usize * size_of::<Header>())?;
    let (Some(all), Some(headers)) = (all, headers) else { return Ok(Err(Unreadable::Short)) };
    Ok(Ok(take_apart(layout, &all, &headers)))
}

/// Reads `len` bytes at this offset. `None` if the file ends before.
fn part(file: &mut dyn FsFile, at: usize, len: usize) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = vec![0; len];
    Ok((read_full(file, &mut bytes, at as u64)? == len).then_some(bytes))
}

fn layout(header: &[u8], len: u64, names: &Names) -> Result<Layout, Unreadable> {
    let (body, sum) = header.split_at(HEADER_BYTES - 8);
    let version = u32_at(header, 8);
    if !body.starts_with(&MAGIC) || u32_at(header, 12) != ORDER {
        return Err(Unreadable::Damaged);
    }
    if version != VERSION && version != RECORDER_VERSION {
        return Err(Unreadable::Version(version));
    }
    let (chunks, workers, size) = (u32_at(header, 16), u32_at(header, 20), u64_at(header, 24));
    let is_its = u64_at(header, 40) == names.instance && u32_at(header, 48) == names.pid;
    let in_range = (1..=CHUNKS_MAX).contains(&(chunks as usize))
        && (1..=WORKERS_MAX).contains(&(workers as usize))
        && (1..=SIZE_MAX as u64).contains(&size)
        && u32_at(header, 52) <= 0o777;
    let codec = u32_at(header, 56);
    if u64_at(sum, 0) != fnv1a(body) || !is_its || !in_range {
        return Err(Unreadable::Damaged);
    }
    if Compression::from_id(codec).is_none() {
        return Err(Unreadable::Codec(codec));
    }
    let (size, workers, mode) = (size as usize, workers as usize, u32_at(header, 52));
    let records = version == RECORDER_VERSION;
    let layout = Layout { chunks, size, workers, mode, codec, records };
    let bytes = layout.bytes().map(|bytes| bytes as u64);
    let fits = bytes == Some(len) && u64_at(header, 32) == len;
    if fits { Ok(layout) } else { Err(Unreadable::Damaged) }
}

/// `all` has the bytes before the arena, `headers` the headers of the arena's chunks.
fn take_apart(layout: Layout, all: &[u8], headers: &[u8]) -> MemoryImage {
    let chunk = |chunk: ChunkId| {
        let header = &headers[chunk as usize * size_of::<Header>()..];
        let word = |word| u64_at(all, layout.chunk_word_at(chunk, word));
        ChunkState {
            committed: Extent(u64_at(header, Header::COMMIT_AT)),
            link: u32_at(header, Header::LINK_AT),
            chain: u32_at(header, Header::CHAIN_AT),
            producer: word(ChunkWord::Producer),
            lease: word(ChunkWord::Lease),
            filed: Extent(word(ChunkWord::Filed)),
            is_part: word(ChunkWord::Part) != 0,
        }
    };
    let mut chunks: Vec<ChunkState> = (0..layout.chunks).map(chunk).collect();
    let mut image = MemoryImage {
        layout,
        is_closed: u64_at(all, layout.word_at(WriterWord::Closed)) != 0,
        salvaged: Some(u64_at(all, layout.word_at(WriterWord::Salvaged)))
            .filter(|at| *at != 0)
            .map(Stamp),
        entries: Vec::new(),
        lost: Count::ZERO,
        since: Vec::new(),
        overwritten: Count::ZERO,
        unfiled: Vec::new(),
        damaged: 0,
    };
    for worker in 0..layout.workers {
        let word = |word| u64_at(all, layout.worker_word_at(worker, word));
        let lost = Count::new(word(WorkerWord::LostRecords), word(WorkerWord::LostBytes));
        image.lost = image.lost.saturating_add(lost);
        let mut good = marked(GOOD, word);
        let listed = word(WorkerWord::Listed);
        if listed != 0 {
            // The worker died during this step. The step holds as a whole.
            good = marked(NEXT, word);
            image.damaged += u64::from(listed > LIST_MAX as u64);
            for entry in 0..listed.min(LIST_MAX as u64) as usize {
                let at = layout.entry_at(worker, entry);
                let number = usize::try_from(u64_at(all, at)).unwrap_or(usize::MAX);
                match chunks.get_mut(number) {
                    Some(chunk) => chunk.filed = Extent(u64_at(all, at + 8)),
                    None => image.damaged += 1,
                }
            }
        }
        image.since.extend(Some(Stamp(word(WorkerWord::Since))).filter(|since| since.0 != 0));
        let stamp = word(WorkerWord::Stamp);
        let temp =
            (stamp != 0).then_some(TempId { stamp: Stamp(stamp), seq: word(WorkerWord::Seq) });
        if image.is_closed {
            good = Watermark::ZERO;
        }
        image.entries.push(WorkerEntry { temp, good, synced: good });
    }
    if !image.is_closed {
        image.find_unfiled(&mut chunks);
        if layout.records {
            for header in headers.chunks_exact(size_of::<Header>()) {
                image.overwritten = image.overwritten.saturating_add(overwritten(header));
            }
        }
    }
    image
}

/// What a chunk of a flight recorder counts as overwritten.
fn overwritten(header: &[u8]) -> Count {
    let word = |at: usize| u64_at(header, Header::OVERWRITTEN_AT + 8 * at);
    let pairs = [[word(0), word(1)], [word(2), word(3)]];
    let committed = Extent(u64_at(header, Header::COMMIT_AT));
    ring::overwritten(pairs, u64_at(header, Header::OVERWRITING_AT), committed)
}

impl MemoryImage {
    fn find_unfiled(&mut self, chunks: &mut [ChunkState]) {
        let mut order: Vec<ChunkId> = (0..self.layout.chunks)
            .filter(|&chunk| {
                !chunks[chunk as usize].is_part && chunks[chunk as usize].committed.len() > 0
            })
            .collect();
        order.sort_by_key(|&chunk| {
            let ChunkState { producer, lease, .. } = chunks[chunk as usize];
            (producer, lease)
        });
        for head in order {
            let before = self.unfiled.len();
            if !self.find_unfiled_of(chunks, head) {
                self.unfiled.truncate(before);
                self.damaged += 1;
            }
        }
    }

    /// Finds the unfiled bytes of a chunk, or of the chain that begins there. `false` if it is
    /// invalid.
    fn find_unfiled_of(&mut self, chunks: &mut [ChunkState], head: ChunkId) -> bool {
        let size = self.layout.size;
        let ChunkState { committed, filed, chain, .. } = chunks[head as usize];
        if committed.len() > size {
            return false;
        }
        let unfiled = |chunk, from: Extent, to: Extent| Unfiled {
            chunk,
            from: from.len(),
            to: to.len(),
            records: to.records().saturating_sub(from.records()).into(),
        };
        let Some(mut next) = chain.checked_sub(1) else {
            if filed.len() < committed.len() {
                self.unfiled.push(unfiled(head, filed, committed));
            }
            return filed.len() <= committed.len();
        };
        if filed != Extent::default() {
            return true;
        }
        self.unfiled.push(unfiled(head, Extent::default(), committed));
        loop {
            let Some(part) = chunks.get_mut(next as usize) else { return false };
            if !part.is_part || part.committed.len() == 0 || part.committed.len() > size {
                return false;
            }
            let committed = part.committed;
            // A chunk is in one chain, and once. So this loop ends, and a chain is no longer than
            // the arena.
            part.is_part = false;
            let chunk = next;
            next = part.link.wrapping_add(chunk).wrapping_add(1);
            self.unfiled.push(unfiled(chunk, Extent::default(), committed));
            if next == self.layout.chunks {
                return true;
            }
        }
    }
}

/// Native byte order: the memory does not outlive the machine's boot.
fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut number = [0; 4];
    number.copy_from_slice(&bytes[at..at + 4]);
    u32::from_ne_bytes(number)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[at..at + 8]);
    u64::from_ne_bytes(number)
}

const _: () = assert!(LIST_AT + LIST_MAX * ENTRY_BYTES <= WORKER_BYTES && CHUNK_WORDS_BYTES == 32);

#[cfg(test)]
mod tests {
    use super::*;

    /// The largest memory that the options allow is read, and nothing larger.
    #[test]
    fn the_largest_memories_are_read() {
        let names = crate::tests::recovery::images::names();
        let read = |layout: Layout| {
            let len = layout.bytes().expect("it fits the address space") as u64;
            super::layout(&layout.header(names.instance, names.pid), len, &names).is_ok()
        };
        let most = Layout {
            chunks: (1 << 20) + 256,
            size: 1,
            workers: 256,
            mode: 0o777,
            codec: 0,
            records: false,
        };
        assert!(read(most));
        for more in [
            Layout { chunks: most.chunks + 1, ..most },
            Layout { workers: 257, ..most },
            Layout { mode: 0o1000, ..most },
            Layout { chunks: 1, size: (1 << 30) + 1, ..most },
        ] {
            assert!(!read(more), "{more:?}");
        }
        assert!(read(Layout { chunks: 1, size: 1 << 30, ..most }));
    }
}
