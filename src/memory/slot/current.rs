//! The lease of a slot, in one word.

use crate::memory::arena::ChunkId;

/// The lease of a slot. One word, so that no reader sees half of a swap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Current(pub(crate) u64);

/// The states of [`Current`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LeasePhase {
    /// No chunk is leased.
    Idle = 0,
    /// The chunk is leased; its home worker may scrape it.
    Live = 1,
    /// The owner is between two states: its old chunk may or may not be in an inbox, and the totals
    /// are changing. Readers skip the slot and retry.
    Swapping = 2,
}

impl Current {
    const CHUNK_BITS: u32 = 24;
    const HOME_BITS: u32 = 8;
    const PHASE_SHIFT: u32 = Self::CHUNK_BITS + Self::HOME_BITS;
    /// Counts swaps: reading the same word twice shows that no swap came between.
    const COUNT: u64 = 1 << (Self::PHASE_SHIFT + 2);

    pub(crate) fn phase(self) -> LeasePhase {
        match self.0 >> Self::PHASE_SHIFT & 3 {
            0 => LeasePhase::Idle,
            1 => LeasePhase::Live,
            _ => LeasePhase::Swapping,
        }
    }

    pub(crate) fn chunk(self) -> ChunkId {
        self.0 as u32 & ((1 << Self::CHUNK_BITS) - 1)
    }

    pub(crate) fn home(self) -> usize {
        (self.0 >> Self::CHUNK_BITS) as usize & ((1 << Self::HOME_BITS) - 1)
    }

    pub(crate) fn swapping(self) -> Self {
        Current(
            self.0 & !(3 << Self::PHASE_SHIFT) | (LeasePhase::Swapping as u64) << Self::PHASE_SHIFT,
        )
    }

    pub(crate) fn idle(self) -> Self {
        Current((self.0 & !(Self::COUNT - 1)).wrapping_add(Self::COUNT))
    }

    pub(crate) fn live(self, chunk: ChunkId, home: usize) -> Self {
        let lease = u64::from(chunk)
            | (home as u64) << Self::CHUNK_BITS
            | (LeasePhase::Live as u64) << Self::PHASE_SHIFT;
        Current(self.idle().0 | lease)
    }

    /// Live again with the same chunk, after a swap that concerned other chunks.
    pub(crate) fn resumed(self) -> Self {
        self.live(self.chunk(), self.home())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_swap_changes_the_phase_alone_and_each_lease_the_count() {
        let fields = |current: Current| (current.phase(), current.chunk(), current.home());
        let live = Current(0).live(5, 7);
        assert_eq!(fields(live), (LeasePhase::Live, 5, 7));
        let swapping = live.swapping();
        assert_eq!(fields(swapping), (LeasePhase::Swapping, 5, 7));
        assert_eq!(swapping.resumed(), Current(live.0 + Current::COUNT));
        assert_eq!(swapping.idle(), Current(2 * Current::COUNT));
        assert_eq!(fields(swapping.idle()), (LeasePhase::Idle, 0, 0));
    }
}
