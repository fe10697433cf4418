//! Chunks in the order in which they were put: a queue for many threads.
//!
//! Guarantees: a chunk that was put comes out once, after all that were put before it. No thread
//! waits for another one: who finds a step half done finishes it.
//! Refuses: nothing. There is a place for each chunk of the arena.
//!
//! An array of words, each with a chunk and the round in which it was put there. A put fills the
//! place of its ticket, then moves the tail on; a take moves the head on. At most all chunks are
//! inside, and there are more places. So the place of a put was emptied before, and no word tells
//! of that.

use crossbeam_utils::CachePadded;

use crate::base::sync::{Acquire, AtomicU64, Relaxed, Release};
use crate::memory::arena::ChunkId;

const ID_BITS: u32 = 24;
const ID_MASK: u64 = (1 << ID_BITS) - 1;

/// The value that a word has now. A load may return an older one, and an old look at an empty place
/// would make a caller go without memory.
fn latest(word: &AtomicU64, seen: u64) -> u64 {
    word.compare_exchange(seen, seen, Relaxed, Relaxed).unwrap_or_else(|now| now)
}

/// A queue of chunks.
#[derive(Debug)]
pub(crate) struct Fifo {
    /// A power of two of them, more than there are chunks. The chunk in the low 24 bits; above them
    /// the round.
    places: Box<[AtomicU64]>,
    /// Ticket of the next take. Tickets begin in round 1, since a place begins with round 0.
    head: CachePadded<AtomicU64>,
    /// Ticket of the next put, or the one before it.
    tail: CachePadded<AtomicU64>,
}

impl Fifo {
    /// An empty queue with room for `chunks` chunks.
    pub(crate) fn new(chunks: u32) -> Self {
        let places: Box<[_]> = (0..Self::places(chunks)).map(|_| AtomicU64::new(0)).collect();
        let first = places.len() as u64;
        Fifo {
            places,
            head: CachePadded::new(AtomicU64::new(first)),
            tail: CachePadded::new(AtomicU64::new(first)),
        }
    }

    /// Places for so many chunks.
    fn places(chunks: u32) -> usize {
        (chunks as usize + 1).next_power_of_two()
    }

    /// Bytes that a queue for so many chunks takes.
    #[cfg(not(loom))]
    pub(crate) fn bytes(chunks: u32) -> usize {
        Self::places(chunks) * size_of::<AtomicU64>()
    }

    /// Appends a chunk that only the caller has.
    #[inline]
    pub(crate) fn put(&self, chunk: ChunkId) {
        let mut tail = self.tail.load(Relaxed);
        loop {
            let (place, round) = self.place(tail);
            let seen = place.load(Relaxed);
            let is_old = seen >> ID_BITS == round - 1;
            if !is_old && seen >> ID_BITS != round {
                // The tail was old: the place is used again.
                tail = latest(&self.tail, tail);
                continue;
            }
            let word = round << ID_BITS | u64::from(chunk);
            // Pairs with the load of `take`: who takes the chunk sees all that was done to it.
            let is_put = is_old && place.compare_exchange(seen, word, Release, Relaxed).is_ok();
            // The place is filled now, by whichever thread, so the tail moves on past it.
            let moved = self.tail.compare_exchange(tail, tail + 1, Relaxed, Relaxed);
            if is_put {
                return;
            }
            tail = moved.map_or_else(|now| now, |_| tail + 1);
        }
    }

    /// Takes the chunk that was put first. `None` if there was none at the moment of the look.
    #[inline]
    pub(crate) fn take(&self) -> Option<ChunkId> {
        let mut head = self.head.load(Relaxed);
        loop {
            let (place, round) = self.place(head);
            // Pairs with the exchange of `put`.
            let seen = place.load(Acquire);
            if seen >> ID_BITS == round {
                match self.head.compare_exchange(head, head + 1, Relaxed, Relaxed) {
                    Ok(_) => return Some((seen & ID_MASK) as ChunkId),
                    Err(now) => head = now,
                }
            } else if seen >> ID_BITS == round - 1 {
                if latest(place, seen) == seen {
                    return None;
                }
            } else {
                // The head was old: the place is used again.
                head = latest(&self.head, head);
            }
        }
    }

    /// Whether there was no chunk at the moment of the look.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Chunks inside. An approximation while others put and take.
    pub(crate) fn len(&self) -> u32 {
        let head = self.head.load(Relaxed);
        let tail = self.tail.load(Relaxed);
        // The tail may be one behind, and the head may have passed it.
        tail.saturating_sub(head) as u32
    }

    /// The place of a ticket, and its round.
    #[inline]
    fn place(&self, ticket: u64) -> (&AtomicU64, u64) {
        let places = self.places.len() as u64;
        // The mask keeps the index in bounds, and a division by a power of two is a shift.
        let place = &self.places[(ticket & (places - 1)) as usize];
        (place, (ticket >> places.trailing_zeros()) & (u64::MAX >> ID_BITS))
    }
}
