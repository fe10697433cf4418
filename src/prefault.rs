//! Memory that is made resident before a caller needs it: a write meets no page fault.
//!
//! Guarantees: in each lane, as much ahead of what is in use as is in use, within limits, and no more than
//! that. Workers call it; it never waits for anybody. Refuses nothing: what can't be made resident is left to
//! whoever writes first.

use std::ops::Range;

use crate::arena::{Arena, ChunkId};
use crate::lane::LANES;
use crate::pool::Pool;
use crate::sync::{AtomicU32, Relaxed};

/// Bytes ahead, at least and at most. Chunks that are larger than the first are left alone until one is in use, and
/// those that are larger than the second altogether.
const BYTES_MIN: usize = 256 << 10;
const BYTES_MAX: usize = 4 << 20;

/// What is resident. All of it is known to be too small at worst: then a call is made in vain.
pub(crate) struct Prefault {
    /// The runs in which the pool gives out fresh chunks.
    runs: Box<[Run]>,
    /// Chunks that were in use once, by lane.
    used: [AtomicU32; LANES],
}

/// Chunks from the beginning of a run on.
#[derive(Default)]
struct Run {
    used: AtomicU32,
    /// Or about to be. Whoever raises it sees to that.
    resident: AtomicU32,
}

impl Prefault {
    pub(crate) fn new(arena: &Arena, pool: &Pool) -> Self {
        let runs = arena.none().div_ceil(pool.run());
        Prefault {
            runs: (0..runs).map(|_| Run::default()).collect(),
            used: std::array::from_fn(|_| AtomicU32::new(0)),
        }
    }

    /// Worker, before the first record, if nobody is quicker.
    pub(crate) fn begin(&self, arena: &Arena, pool: &Pool) {
        self.ahead(arena, pool, 0, 0, 0);
    }

    /// Worker: a chunk is, or was, in use.
    pub(crate) fn note(&self, arena: &Arena, pool: &Pool, chunk: ChunkId) {
        let (run, count) = ((chunk / pool.run()) as usize, chunk % pool.run() + 1);
        let known = &self.runs[run].used;
        if known.load(Relaxed) >= count {
            return;
        }
        let new = count.saturating_sub(known.fetch_max(count, Relaxed));
        if new > 0 {
            let used = self.used[arena.lane(chunk)].fetch_add(new, Relaxed) + new;
            self.ahead(arena, pool, run, count, used);
        }
    }

    /// Makes resident what follows the first `count` chunks of a run, and then what nobody was given yet, for a lane
    /// that has used so many.
    fn ahead(&self, arena: &Arena, pool: &Pool, run: usize, count: u32, used: u32) {
        let chunks = |bytes| u32::try_from(bytes / arena.size()).unwrap_or(u32::MAX);
        let ahead = used.clamp(chunks(BYTES_MIN), chunks(BYTES_MAX));
        if ahead == 0 {
            return;
        }
        let mut wanted = count.saturating_add(ahead);
        let fresh = (pool.fresh().div_ceil(pool.run()) as usize).min(self.runs.len());
        for run in std::iter::once(run).chain(fresh.max(run + 1)..self.runs.len()) {
            self.populate(arena, pool.run(), run, wanted, ahead.div_ceil(4));
            wanted = wanted.saturating_sub(pool.run());
            if wanted == 0 {
                break;
            }
        }
    }

    /// In steps that are worth a call.
    fn populate(&self, arena: &Arena, len: u32, run: usize, wanted: u32, step: u32) {
        let begin = run as u32 * len;
        let whole = len.min(arena.none() - begin);
        let (known, wanted) = (&self.runs[run].resident, wanted.min(whole));
        let resident = known.load(Relaxed);
        let is_worth_it = wanted >= resident.saturating_add(step) || wanted == whole;
        if resident < wanted
            && is_worth_it
            // Who comes second has nothing to do.
            && known.compare_exchange(resident, wanted, Relaxed, Relaxed).is_ok()
        {
            let chunks: Range<ChunkId> = begin + resident..begin + wanted;
            arena.populate(chunks);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Memory(Arena, Pool, Prefault);

    impl Memory {
        fn new(chunks: u32, size: usize) -> Self {
            let arena = Arena::new(chunks, size).unwrap();
            let pool = Pool::new(&arena);
            let prefault = Prefault::new(&arena, &pool);
            Memory(arena, pool, prefault)
        }

        /// A producer takes so many chunks, and workers get them.
        fn use_chunks(&self, producer: u64, count: u32) {
            let Memory(arena, pool, prefault) = self;
            for _ in 0..count {
                prefault.note(arena, pool, pool.pop(arena, producer).unwrap());
            }
        }

        /// Where memory is resident.
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
        let memory = Memory::new(4000, 4096);
        assert_eq!(memory.resident(), []);
        memory.2.begin(&memory.0, &memory.1);
        // 256 KiB at first, then as much again as is in use, in steps; 4 MiB at most.
        assert_eq!(memory.resident(), vec![Range { start: 0, end: 64 }]);
        let mut used = 0;
        for more in [10, 20, 70, 1400, 2500] {
            memory.use_chunks(0, more);
            used += more;
            let ahead = u32::clamp(used, 64, 1024);
            let [Range { start: 0, end }] = memory.resident()[..] else {
                panic!("{:?}", memory.resident())
            };
            let (least, most) = (used + ahead - ahead / 4, used + ahead);
            assert!((least.min(4000)..=most.min(4000)).contains(&end), "{used} in use: {end}");
        }
    }

    #[test]
    fn each_lane_has_as_much_ahead_as_it_uses() {
        // Runs of 32 chunks, of which 256 KiB are 4.
        let memory = Memory::new(1024, 64 << 10);
        memory.use_chunks(0, 2);
        memory.use_chunks(1, 10);
        memory.use_chunks(2, 1);
        assert_eq!(memory.resident(), [0..6, 32..52, 64..69]);
        // The next run of lane 0 begins at 96.
        memory.use_chunks(0, 28);
        assert_eq!(memory.resident(), [0..52, 64..69, 96..124]);
    }

    #[test]
    fn large_chunks_are_not_made_resident_before_anybody_uses_one() {
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
