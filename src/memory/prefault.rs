//! Makes memory resident before a caller needs it. In steady operation, with `size` up to 4 MiB, a
//! write then meets no page fault unless memory is short.
//!
//! Guarantees: each shard has as much memory resident ahead of use as it uses, within limits. That
//! holds in the shard's spans and in the chunks not given out yet. Before the first use a small
//! amount is resident for all shards together. Workers call this; it never waits for another
//! thread.
//! Refuses: nothing. Memory that cannot be made resident faults at its first write.

use crate::base::sync::{AtomicU32, Relaxed};
use crate::memory::arena::{Arena, ChunkId};
use crate::memory::chunk_header::{Header, LINE};
use crate::memory::pool::Pool;
use crate::memory::shard::SHARDS;

/// Limits of the bytes kept resident ahead, once a chunk is in use. Chunks larger than the lower
/// limit are not touched until then; chunks larger than the upper limit, never.
const BYTES_MIN: usize = 256 << 10;
const BYTES_MAX: usize = 4 << 20;
/// Bytes of the smallest chunk: a line and its header.
const SMALLEST_BYTES: usize = LINE + size_of::<Header>();

/// Records which memory is resident. The numbers may be too low; then a call to the kernel is
/// wasted.
pub(crate) struct Prefault {
    /// The spans in which the pool gives out fresh chunks.
    spans: Box<[Span]>,
    /// Chunks that were in use at least once, by shard.
    used: [AtomicU32; SHARDS],
    /// Of the chunks not given out yet, those below this number are resident. Only grows.
    fresh: AtomicU32,
}

/// Progress within one span, as numbers of chunks from its beginning.
#[derive(Default)]
struct Span {
    used: AtomicU32,
    /// Resident, or about to be: the worker that raises this number makes them so.
    resident: AtomicU32,
}

impl Prefault {
    /// Bytes for each span.
    pub(crate) const SPAN_BYTES: usize = size_of::<Span>();

    pub(crate) fn new(arena: &Arena, pool: &Pool) -> Self {
        let spans = arena.none().div_ceil(pool.span());
        Prefault {
            spans: (0..spans).map(|_| Span::default()).collect(),
            used: std::array::from_fn(|_| AtomicU32::new(0)),
            fresh: AtomicU32::new(0),
        }
    }

    /// All memory is resident: nothing is left to do.
    pub(crate) fn finish(&self, arena: &Arena) {
        self.fresh.store(arena.none(), Relaxed);
        self.spans.iter().for_each(|span| span.resident.store(arena.none(), Relaxed));
    }

    /// Worker: makes memory resident before the first record, unless a producer is quicker.
    pub(crate) fn begin(&self, arena: &Arena, pool: &Pool) {
        // Only half of the minimum, since the heads take memory too: an unused writer should take
        // little.
        self.fresh(arena, pool, chunks(arena, BYTES_MIN / 2), 1);
        self.heads(arena, pool);
    }

    /// Worker: a chunk is, or was, in use.
    pub(crate) fn note(&self, arena: &Arena, pool: &Pool, chunk: ChunkId) {
        let (span, count) = ((chunk / pool.span()) as usize, chunk % pool.span() + 1);
        let known = &self.spans[span].used;
        if known.load(Relaxed) >= count {
            return;
        }
        let before = known.fetch_max(count, Relaxed);
        let new = count.saturating_sub(before);
        if new == 0 {
            return;
        }
        let used = self.used[arena.shard(chunk)].fetch_add(new, Relaxed) + new;
        let ahead = used.clamp(chunks(arena, BYTES_MIN), chunks(arena, BYTES_MAX));
        if ahead == 0 {
            return;
        }
        let wanted = count.saturating_add(ahead);
        self.span(arena, pool, span, wanted, ahead.div_ceil(4));
        // The rest belongs to the shard's next span.
        self.fresh(arena, pool, wanted.saturating_sub(pool.span()), ahead.div_ceil(4));
        if before == 0 {
            self.heads(arena, pool);
        }
    }

    /// Makes the first chunk of each of the next spans resident, for shards that begin.
    fn heads(&self, arena: &Arena, pool: &Pool) {
        let first = pool.fresh().div_ceil(pool.span()) as usize;
        let shards = SHARDS.min(chunks(arena, BYTES_MIN) as usize);
        for span in (first..self.spans.len()).take(shards) {
            self.span(arena, pool, span, 1, 1);
        }
    }

    /// Makes the first chunks of a span resident, in steps large enough to justify a call.
    fn span(&self, arena: &Arena, pool: &Pool, span: usize, wanted: u32, step: u32) {
        let begin = span as u32 * pool.span();
        let whole = pool.span().min(arena.none() - begin);
        let (known, wanted) = (&self.spans[span].resident, wanted.min(whole));
        let resident = known.load(Relaxed);
        let is_worth_it = wanted >= resident.saturating_add(step) || wanted == whole;
        if resident < wanted && is_worth_it && raise(known, resident, wanted) {
            arena.populate(begin + resident..begin + wanted);
        }
    }

    /// Makes `count` chunks resident that were not given out yet.
    fn fresh(&self, arena: &Arena, pool: &Pool, count: u32, step: u32) {
        let (known, fresh) = (self.fresh.load(Relaxed), pool.fresh());
        let from = known.max(fresh);
        let to = fresh.saturating_add(count).min(arena.none());
        let is_worth_it = to >= from.saturating_add(step) || to == arena.none();
        if from >= to || !is_worth_it || !raise(&self.fresh, known, to) {
            return;
        }
        for span in from / pool.span()..to.div_ceil(pool.span()) {
            let resident = (to - span * pool.span()).min(pool.span());
            self.spans[span as usize].resident.fetch_max(resident, Relaxed);
        }
        arena.populate(from..to);
    }
}

/// Whether the caller must make the chunks resident. If another worker was first, it does so.
fn raise(mark: &AtomicU32, from: u32, to: u32) -> bool {
    mark.compare_exchange(from, to, Relaxed, Relaxed).is_ok()
}

/// How many chunks, with their headers, fit `bytes`.
fn chunks(arena: &Arena, bytes: usize) -> u32 {
    u32::try_from(bytes / arena.size().max(SMALLEST_BYTES)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::sys::memory::POPULATES;
    use bufferedwriter_testkit::emulated;
    use std::ops::Range;

    /// Whether nothing makes pages resident here.
    fn is_skipped() -> bool {
        if !POPULATES {
            println!("skipped: this system makes no pages resident ahead");
        }
        !POPULATES || emulated::skips("qemu-user does not pass on MADV_POPULATE_WRITE")
    }

    struct Memory(Arena, Pool, Prefault);

    impl Memory {
        fn new(chunks: u32, size: usize) -> Self {
            let arena = Arena::new(chunks, size).unwrap();
            let pool = Pool::new(&arena);
            let prefault = Prefault::new(&arena, &pool);
            Memory(arena, pool, prefault)
        }

        /// Lets a producer take `count` chunks that then reach the workers.
        fn use_chunks(&self, producer: u64, count: u32) {
            let Memory(arena, pool, prefault) = self;
            for _ in 0..count {
                prefault.note(arena, pool, pool.pop(arena, producer).unwrap());
            }
        }

        /// The resident chunks.
        fn resident(&self) -> Vec<Range<ChunkId>> {
            let mut ranges: Vec<Range<ChunkId>> = Vec::new();
            for chunk in (0..self.0.none()).filter(|&chunk| self.0.is_resident(chunk)) {
                match ranges.last_mut() {
                    Some(last) if last.end == chunk => last.end += 1,
                    _ => ranges.push(chunk..chunk + 1),
                }
            }
            ranges
        }
    }

    #[test]
    fn memory_is_made_resident_ahead_of_its_use() {
        if is_skipped() {
            return;
        }
        let memory = Memory::new(4000, 4096);
        assert_eq!(memory.resident(), []);
        memory.2.begin(&memory.0, &memory.1);
        // 128 KiB at first, and one chunk of each span that the first shards will get.
        let heads = (64..=224).step_by(32).map(|head| head..head + 1);
        assert!(memory.resident().into_iter().eq(std::iter::once(0..33).chain(heads)));
        // Then as much again as is in use, in steps, between 256 KiB and 4 MiB.
        let mut used = 0;
        for more in [10, 20, 70, 1400, 2500] {
            memory.use_chunks(0, more);
            used += more;
            let ahead = u32::clamp(used, 64, 1024);
            let resident = memory.resident();
            assert_eq!(resident[0].start, 0);
            // The head of the next span may come on top.
            let end = resident[0].end;
            let (least, most) = (used + ahead - ahead / 4, used + ahead + 1);
            assert!((least.min(4000)..=most.min(4000)).contains(&end), "{used} in use: {end}");
        }
    }

    #[test]
    fn each_worker_has_as_much_ahead_as_it_uses() {
        if is_skipped() {
            return;
        }
        // Spans of 32 chunks; 4 chunks make 256 KiB.
        let memory = Memory::new(1024, 64 << 10);
        memory.use_chunks(0, 2);
        memory.use_chunks(1, 10);
        memory.use_chunks(2, 1);
        let heads = || memory.resident().into_iter().filter(|range| range.len() == 1);
        let others = || memory.resident().into_iter().filter(|range| range.len() > 1);
        assert!(others().eq([0..6, 32..52, 64..69]), "{:?}", memory.resident());
        // The heads for the next shards.
        assert!(heads().map(|head| head.start).eq((96..224).step_by(32)));
        // The next span of shard 0 begins at 96.
        memory.use_chunks(0, 28);
        assert!(others().eq([0..52, 64..69, 96..124]), "{:?}", memory.resident());
    }

    #[test]
    fn large_chunks_are_not_made_resident_before_anybody_uses_one() {
        if is_skipped() {
            return;
        }
        let memory = Memory::new(20, 1 << 20);
        memory.2.begin(&memory.0, &memory.1);
        for (used, expected) in [(0, 0), (1, 2), (3, 6), (10, 14)] {
            memory.use_chunks(0, used - memory.2.used[0].load(Relaxed));
            assert_eq!(memory.resident().last().map_or(0, |range| range.end), expected);
        }
        let memory = Memory::new(2, 8 << 20);
        memory.use_chunks(0, 1);
        assert_eq!(memory.resident(), []);
    }
}
