//! The memory of a dead instance, read as if an enemy had written it. The layout stands in `crash_image.rs` and in
//! `docs/durability.md`.
//!
//! Guarantees: never panics, maps nothing, reads nothing beyond the file; what it returns is in range: chunks,
//! lengths, the way through a chain. Refuses a header that is not whole, of another version, of another
//! instance, or that does not fit the file. Changes nothing.

use std::io;

use crate::base::checksum::fnv1a;
use crate::config::{CHUNKS_MAX, SIZE_MAX, WORKERS_MAX};
use crate::file::state_file::decode::{Record, Unreadable};
use crate::fs::{FsFile, read_full};
use crate::memory::chunk_header::{ChunkId, Header};
use crate::memory::crash_image::{
    CHUNK_WORDS_BYTES, ChunkWord, ENTRY_BYTES, HEADER_BYTES, LIST_AT, LIST_MAX, Layout, MAGIC,
    ORDER, VERSION, WORKER_BYTES, WorkerWord, WriterWord,
};
use crate::naming::{Names, Stamp, TempId};
use crate::report::stats::Count;

/// What is left of a writer's memory.
#[derive(Debug)]
pub(crate) struct MemoryImage {
    pub(crate) layout: Layout,
    /// The writer was closed: nothing in here is of use.
    pub(crate) is_closed: bool,
    /// The temp file in which a recovery has put all that was left in chunks.
    pub(crate) rescued: Option<Stamp>,
    /// What the workers' temp files hold.
    pub(crate) records: Vec<Record>,
    pub(crate) lost: Count,
    /// What is in chunks and in no file, in the order in which producers wrote it.
    pub(crate) runs: Vec<Run>,
    /// Chunks, and entries of lists, that make no sense. What else is in here is taken for what it says.
    pub(crate) damaged: u64,
}

/// Bytes of one chunk that follow those of the run before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) chunk: ChunkId,
    pub(crate) from: usize,
    pub(crate) to: usize,
}

/// What stands beside a chunk.
#[derive(Clone, Copy, Debug, Default)]
struct Chunk {
    committed: usize,
    link: u32,
    chain: u32,
    producer: u64,
    lease: u64,
    filed: u64,
    is_part: bool,
}

/// Takes a memory apart that should be of this instance.
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
    Ok(Ok(relics(layout, &all, &headers)))
}

/// So many bytes from here on; none if the file ends before.
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
    if version != VERSION {
        return Err(Unreadable::Version(version));
    }
    let (chunks, workers, size) = (u32_at(header, 16), u32_at(header, 20), u64_at(header, 24));
    let is_its = u64_at(header, 40) == names.instance && u32_at(header, 48) == names.pid;
    let in_range = (1..=CHUNKS_MAX).contains(&(chunks as usize))
        && (1..=WORKERS_MAX).contains(&(workers as usize))
        && (1..=SIZE_MAX as u64).contains(&size)
        && u32_at(header, 52) <= 0o777;
    if u64_at(sum, 0) != fnv1a(body) || !is_its || !in_range {
        return Err(Unreadable::Damaged);
    }
    let layout =
        Layout { chunks, size: size as usize, workers: workers as usize, mode: u32_at(header, 52) };
    let bytes = layout.bytes().map(|bytes| bytes as u64);
    let fits = bytes == Some(len) && u64_at(header, 32) == len;
    if fits { Ok(layout) } else { Err(Unreadable::Damaged) }
}

/// `all` is what lies before the arena, `headers` are the arena's.
fn relics(layout: Layout, all: &[u8], headers: &[u8]) -> MemoryImage {
    let chunk = |chunk: ChunkId| {
        let header = &headers[chunk as usize * size_of::<Header>()..];
        let note = |note| u64_at(all, layout.chunk_word_at(chunk, note));
        Chunk {
            committed: u64_at(header, Header::COMMIT_AT) as u32 as usize,
            link: u32_at(header, Header::LINK_AT),
            chain: u32_at(header, Header::CHAIN_AT),
            producer: note(ChunkWord::Producer),
            lease: note(ChunkWord::Lease),
            filed: note(ChunkWord::Filed),
            is_part: note(ChunkWord::Part) != 0,
        }
    };
    let mut chunks: Vec<Chunk> = (0..layout.chunks).map(chunk).collect();
    let mut relics = MemoryImage {
        layout,
        is_closed: u64_at(all, layout.word_at(WriterWord::Closed)) != 0,
        rescued: Some(u64_at(all, layout.word_at(WriterWord::Salvaged)))
            .filter(|at| *at != 0)
            .map(Stamp),
        records: Vec::new(),
        lost: Count::ZERO,
        runs: Vec::new(),
        damaged: 0,
    };
    for worker in 0..layout.workers {
        let work = |work| u64_at(all, layout.worker_word_at(worker, work));
        let lost = Count::new(work(WorkerWord::LostRecords), work(WorkerWord::LostBytes));
        relics.lost = relics.lost.saturating_add(lost);
        let mut good = work(WorkerWord::Good);
        let listed = work(WorkerWord::Listed);
        if listed != 0 {
            // The worker died in the middle of this step: it holds as a whole.
            good = work(WorkerWord::NextGood);
            relics.damaged += u64::from(listed > LIST_MAX as u64);
            for entry in 0..LIST_MAX.min(listed as usize) {
                let at = layout.entry_at(worker, entry);
                match chunks.get_mut(u64_at(all, at) as usize) {
                    Some(chunk) => chunk.filed = u64_at(all, at + 8),
                    None => relics.damaged += 1,
                }
            }
        }
        let stamp = work(WorkerWord::Stamp);
        let temp =
            (stamp != 0).then_some(TempId { stamp: Stamp(stamp), seq: work(WorkerWord::Seq) });
        if relics.is_closed {
            good = 0;
        }
        relics.records.push(Record { temp, good, synced: good });
    }
    if !relics.is_closed {
        relics.find_runs(&mut chunks);
    }
    relics
}

impl MemoryImage {
    fn find_runs(&mut self, chunks: &mut [Chunk]) {
        let mut order: Vec<ChunkId> = (0..self.layout.chunks)
            .filter(|&chunk| {
                !chunks[chunk as usize].is_part && chunks[chunk as usize].committed > 0
            })
            .collect();
        order.sort_by_key(|&chunk| {
            let Chunk { producer, lease, .. } = chunks[chunk as usize];
            (producer, lease)
        });
        for head in order {
            let before = self.runs.len();
            if !self.find_run(chunks, head) {
                self.runs.truncate(before);
                self.damaged += 1;
            }
        }
    }

    /// What of a chunk, or of a chain that begins there, is in no file. `false` if it makes no sense.
    fn find_run(&mut self, chunks: &mut [Chunk], head: ChunkId) -> bool {
        let size = self.layout.size;
        let Chunk { committed, filed, chain, .. } = chunks[head as usize];
        if committed > size {
            return false;
        }
        let Some(mut next) = chain.checked_sub(1) else {
            let from = filed.min(committed as u64) as usize;
            if from < committed {
                self.runs.push(Run { chunk: head, from, to: committed });
            }
            return filed <= committed as u64;
        };
        if filed != 0 {
            return true;
        }
        self.runs.push(Run { chunk: head, from: 0, to: committed });
        loop {
            let Some(part) = chunks.get_mut(next as usize) else { return false };
            if !part.is_part || part.committed == 0 || part.committed > size {
                return false;
            }
            self.runs.push(Run { chunk: next, from: 0, to: part.committed });
            // Each chunk is in one chain, once: so this ends, and all runs together are no longer than the arena.
            part.is_part = false;
            next = part.link.wrapping_add(next).wrapping_add(1);
            if next == self.layout.chunks {
                return true;
            }
        }
    }
}

/// Of this machine: the memory does not outlive its boot.
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

    /// What the options allow at most is read, and no more.
    #[test]
    fn the_largest_memories_are_read() {
        let names = crate::tests::recovery::images::names();
        let read = |layout: Layout| {
            let len = layout.bytes().expect("it fits the address space") as u64;
            super::layout(&layout.header(names.instance, names.pid), len, &names).is_ok()
        };
        let most = Layout { chunks: (1 << 20) + 256, size: 1, workers: 256, mode: 0o777 };
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
