//! One producer's place in a writer: what it leases, and the words through which it and the
//! workers talk about that.
//!
//! Guarantees: one owner at a time; a gate that is not OPEN keeps the owner off its chunk, once
//! the barrier has passed and `busy` was seen as zero. Never blocks, never touches files.
//!
//! The words live here and not in the chunk: a producer that is late would otherwise write into
//! a header that is another's by now.

use std::cell::UnsafeCell;

#[cfg(loom)]
use crate::base::sync::BarrierWord;
use crate::base::sync::{Acquire, AtomicU32, AtomicU64, Barrier, Relaxed, Release};
use crate::memory::arena::{Arena, BytePtr, ChunkId, Extent};
use crate::report::error::WriteError;
use crate::report::stats::{Count, Refused};

/// States of a gate, in its low byte; above it a generation that each SHUT increments, so
/// that a gate that was reopened in between is never taken. CLOSED is zero, so that a page of slots
/// that is wiped reads as closed.
pub(crate) mod gate {
    /// No write ever again.
    pub(crate) const CLOSED: u64 = 0;
    /// The owner writes without asking.
    pub(crate) const OPEN: u64 = 1;
    /// The owner opens the gate itself and wakes its home worker.
    pub(crate) const SHUT: u64 = 2;
    /// The chunk is not the owner's any more: its home worker has revoked the lease.
    pub(crate) const TAKEN: u64 = 3;
    /// Closed after it was taken: what `current` says is not the owner's.
    pub(crate) const CLOSED_TAKEN: u64 = 4;
    /// As OPEN, where the kernel refuses membarrier: the owner passes a fence and asks once more.
    pub(crate) const FENCED: u64 = 5;
    pub(crate) const STATE: u64 = 0xff;
    pub(crate) const GENERATION: u64 = 0x100;

    /// Whether the lease that `current` tells of was revoked.
    pub(super) fn is_taken(gate: u64) -> bool {
        matches!(gate & STATE, TAKEN | CLOSED_TAKEN)
    }
}

/// What an owner is doing.
mod busy {
    /// Nothing.
    pub(super) const REST: u32 = 0;
    /// It is in a write, which takes no time: who waits for its end may.
    pub(super) const WRITE: u32 = 1;
    /// It formats a record into its chunk: foreign code is running, which may take for ever. Nobody
    /// waits for it, but the chunk can't be taken.
    pub(super) const RECORDING: u32 = 2;
}

/// What a slot leases, in one word, so that no reader sees half of a swap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Current(pub(crate) u64);

/// The states of [`Current`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LeasePhase {
    /// No chunk.
    Idle = 0,
    /// The chunk is leased; its home worker may scrape it.
    Live = 1,
    /// The owner is between two states: what it had may be in an inbox already, or not yet, and
    /// the totals move. Readers leave the chunk alone and come again.
    Swapping = 2,
}

impl Current {
    const CHUNK_BITS: u32 = 24;
    const HOME_BITS: u32 = 8;
    const PHASE_SHIFT: u32 = Self::CHUNK_BITS + Self::HOME_BITS;
    /// Counts the swaps, so that a word that was seen twice means that nothing happened between.
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

    /// Live again, with the same chunk, after a swap that was about something else.
    pub(crate) fn resumed(self) -> Self {
        self.live(self.chunk(), self.home())
    }
}

/// What only the owner knows and writes: where records go.
pub(crate) struct Lease {
    /// The leased chunk; [`Slot::no_chunk`] without one, and while a record is being formatted.
    pub(crate) chunk: Chunk,
    /// Worker of the last lease.
    pub(crate) home: usize,
    /// What that worker had freed by then.
    pub(crate) freed: u64,
    /// Chunks of this shard that waited for that worker when all shards were last counted.
    pub(crate) weighed: u32,
    /// Messages that stand in the chunk.
    pub(crate) messages: usize,
    /// A record is being formatted beyond what is committed.
    pub(crate) is_recording: bool,
}

/// A chunk as its leaseholder sees it. How much of it is in use, only the commit word says: each store
/// that is saved shows in what a write costs.
#[derive(Clone, Copy)]
pub(crate) struct Chunk {
    /// Its first byte.
    pub(crate) base: BytePtr,
    /// Its length; zero for no chunk.
    pub(crate) end: usize,
    /// Its commit word; never dangling, but a word that stays zero for no chunk.
    commit: *const AtomicU64,
}

impl Chunk {
    pub(crate) fn new(base: BytePtr, end: usize, commit: &AtomicU64) -> Self {
        Chunk { base, end, commit }
    }

    /// What is committed.
    #[inline(always)]
    pub(crate) fn extent(&self) -> Extent {
        // SAFETY: the word is in the arena or in the slot; who has the chunk, has both.
        Extent(unsafe { &*self.commit }.load(Relaxed))
    }

    /// Bytes left.
    pub(crate) fn room(&self) -> usize {
        self.end - self.extent().len()
    }

    /// Commits one record more, of `len` bytes, which are there.
    #[inline(always)]
    pub(crate) fn commit(&self, before: Extent, len: usize) {
        // SAFETY: as above. Release: the bytes come before it. Pairs with the loads of `Collector` and
        // `Slot::accepted`.
        unsafe { &*self.commit }.store(before.plus(len).0, Release);
    }
}

impl Lease {
    /// Ends a write, or a step of a record that is being formatted.
    #[inline(always)]
    pub(crate) fn end_write(&self, slot: &Slot) {
        let busy = if self.is_recording { busy::RECORDING } else { busy::REST };
        // Release, so that who sees it sees the whole write.
        slot.busy.store(busy, Release);
    }
}

/// What a worker sees of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum View {
    /// A live chunk whose home the worker is.
    Live(ChunkId),
    /// Nobody knows before the swap is over.
    Swapping,
    /// No chunk, or none of the worker's.
    Elsewhere,
}

/// Padded to two lines: the processors of some makers fetch lines in pairs.
#[repr(C, align(128))]
pub(crate) struct Slot {
    /// See [`busy`]. Stored by the owner alone.
    busy: AtomicU32,
    /// The state of an open gate: OPEN or FENCED, as the barrier wants it. Neither is zero.
    open: u64,
    /// See [`gate`]. Exchanged by the home worker (OPEN to SHUT to TAKEN), the owner (SHUT or TAKEN
    /// to OPEN) and the closer (anything to CLOSED).
    gate: AtomicU64,
    pub(crate) lease: UnsafeCell<Lease>,
    /// Commit word of no chunk: nothing is ever committed to it.
    zero: AtomicU64,
    /// See [`Current`]. Stored by the owner alone.
    current: AtomicU64,
    /// Ascends in a writer: who reads what is left of its memory tells producers by it.
    pub(crate) number: u64,
    /// Records and bytes of chunks sealed before. Stored by the owner alone, in phase Swapping.
    sealed_records: AtomicU64,
    sealed_bytes: AtomicU64,
    /// Chunks leased in all. Stored by the owner alone.
    leased_chunks: AtomicU64,
    /// What the chunk held when its lease was revoked: an [`Extent`], valid while the gate is TAKEN.
    /// Stored by the home worker.
    revoked: AtomicU64,
    /// Records and bytes refused, by cause. Stored by the owner alone.
    refused: [[AtomicU64; 2]; 5],
    /// The slot registered before this one.
    pub(crate) next: *const Slot,
    #[cfg(loom)]
    barrier: BarrierWord,
}

// What a swap needs of a slot, which is far away by then, are its first two lines.
#[cfg(all(not(loom), target_pointer_width = "64"))]
const _: () = assert!(std::mem::offset_of!(Slot, revoked) <= 128);

// SAFETY: `lease` is the owner's alone, which `Slots` hands out to one thread at a time; `next` is
// fixed before the slot is shared; the rest are atomics.
unsafe impl Sync for Slot {}
// SAFETY: nothing in it is bound to a thread.
unsafe impl Send for Slot {}

impl Slot {
    /// Makes a slot at `place`, where it stays.
    ///
    /// # Safety
    /// There is room for it, which is the caller's alone.
    pub(crate) unsafe fn make(place: *mut Slot, barrier: Barrier, number: u64, next: *const Slot) {
        let open = if barrier.is_fence() { gate::FENCED } else { gate::OPEN };
        let slot = Slot {
            busy: AtomicU32::new(busy::REST),
            open,
            gate: AtomicU64::new(open),
            lease: UnsafeCell::new(Lease {
                // Not for long: see below.
                chunk: Chunk { base: BytePtr::NONE, end: 0, commit: std::ptr::null() },
                home: 0,
                freed: 0,
                weighed: 0,
                messages: 0,
                is_recording: false,
            }),
            zero: AtomicU64::new(0),
            current: AtomicU64::new(0),
            revoked: AtomicU64::new(0),
            sealed_records: AtomicU64::new(0),
            sealed_bytes: AtomicU64::new(0),
            leased_chunks: AtomicU64::new(0),
            refused: std::array::from_fn(|_| std::array::from_fn(|_| AtomicU64::new(0))),
            number,
            next,
            #[cfg(loom)]
            barrier: BarrierWord::new(),
        };
        // SAFETY: the caller's promise.
        unsafe {
            place.write(slot);
            (*(*place).lease.get()).chunk = (*place).no_chunk();
        }
    }

    /// Whether this is what a forked child has of a slot: zeros, so its gate is closed. Nobody touches the
    /// lease of such a slot.
    #[inline]
    pub(crate) fn is_wiped(&self) -> bool {
        self.open == 0
    }

    /// What a lease without a chunk has.
    pub(crate) fn no_chunk(&self) -> Chunk {
        Chunk::new(BytePtr::NONE, 0, &self.zero)
    }

    /// Owner: begins a write. The gate is loaded after this.
    #[inline(always)]
    pub(crate) fn enter(&self) {
        self.busy.store(busy::WRITE, Relaxed);
        // The light side: the store must not sink below the load of the gate; the processor's own
        // reordering is undone by the membarrier of the other side.
        #[cfg(not(loom))]
        crate::base::sync::compiler_fence(crate::base::sync::SeqCst);
        #[cfg(loom)]
        self.barrier.pass();
    }

    /// Owner: ends a write, while no record is being formatted. Release, so that who sees zero sees
    /// the whole write.
    #[inline(always)]
    pub(crate) fn leave(&self) {
        self.busy.store(busy::REST, Release);
    }

    /// The gate, seen by the owner. Relaxed: it guards nothing but the right to go on, and that is
    /// what the barrier orders; who finds it SHUT passes the fence of `Parker::ring`.
    #[inline(always)]
    pub(crate) fn gate(&self) -> u64 {
        self.gate.load(Relaxed)
    }

    /// Owner: opens the gate that was seen as SHUT or TAKEN. Release: who sees it open sees that the
    /// lease that was taken is gone.
    pub(crate) fn reopen(&self, seen: u64) {
        let open = seen & !gate::STATE | self.open;
        // A failure means that somebody closed, shut or took it: the owner looks once more.
        let _ = self.gate.compare_exchange(seen, open, Release, Relaxed);
    }

    /// Home worker: shuts the gate, if it is open. The gate, if it is shut now.
    pub(crate) fn shut(&self) -> Option<u64> {
        let seen = self.gate.load(Relaxed);
        match seen & gate::STATE {
            gate::SHUT => Some(seen),
            gate::OPEN | gate::FENCED => {
                let shut = (seen & !gate::STATE).wrapping_add(gate::GENERATION) | gate::SHUT;
                // A failure means that it was closed meanwhile.
                self.gate.compare_exchange(seen, shut, Relaxed, Relaxed).ok().map(|_| shut)
            }
            _ => None,
        }
    }

    /// Home worker, after the barrier, with an owner that is not busy: takes the chunk, of which
    /// `extent` is committed. `false` if the owner has opened the gate again, or it was closed.
    pub(crate) fn take(&self, shut: u64, extent: Extent) -> bool {
        self.revoked.store(extent.0, Relaxed);
        let taken = shut & !gate::STATE | gate::TAKEN;
        // Release: pairs with the loads of `accepted`.
        self.gate.compare_exchange(shut, taken, Release, Relaxed).is_ok()
    }

    /// Owner, who has seen the gate as TAKEN: what its chunk held by then.
    pub(crate) fn revoked(&self) -> Extent {
        // Acquire: pairs with the Release of `take`, also where the gate was closed since.
        self.gate.load(Acquire);
        Extent(self.revoked.load(Relaxed))
    }

    /// Closer: closes the gate for ever.
    pub(crate) fn close(&self) {
        let mut seen = self.gate.load(Relaxed);
        loop {
            let closed = if gate::is_taken(seen) { gate::CLOSED_TAKEN } else { gate::CLOSED };
            // Relaxed: an exchange carries on the Release of the `take` or `reopen` that it replaces.
            match self.gate.compare_exchange(seen, closed, Relaxed, Relaxed) {
                Ok(_) => return,
                Err(now) => seen = now,
            }
        }
    }

    /// Worker or closer, after the barrier: whether the owner is in a write. Acquire, so that
    /// zero shows the whole last write.
    pub(crate) fn is_busy(&self) -> bool {
        self.busy.load(Acquire) == busy::WRITE
    }

    /// Home worker, after the barrier: whether the owner makes no use of its chunk. Acquire, as above.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.busy.load(Acquire) == busy::REST
    }

    /// Whether the owner formats a record just now.
    ///
    /// # Safety
    /// The caller is the owner.
    pub(crate) unsafe fn is_recording(&self) -> bool {
        // SAFETY: the lease is the owner's; the reference ends here.
        unsafe { (*self.lease.get()).is_recording }
    }

    /// What the slot leases. Acquire: what was pushed to an inbox before is there.
    pub(crate) fn current(&self) -> Current {
        Current(self.current.load(Acquire))
    }

    /// What a worker may do with the slot's chunk. The gate is read first: once it is seen open
    /// after it was taken, the new lease is seen too.
    pub(crate) fn view(&self, worker: usize) -> View {
        if gate::is_taken(self.gate.load(Acquire)) {
            return View::Elsewhere;
        }
        let current = self.current();
        match current.phase() {
            LeasePhase::Live if current.home() == worker => View::Live(current.chunk()),
            LeasePhase::Swapping => View::Swapping,
            _ => View::Elsewhere,
        }
    }

    /// Owner only. Release: pairs with `current`.
    pub(crate) fn set_current(&self, current: Current) {
        self.current.store(current.0, Release);
    }

    /// Owner only, in phase Swapping.
    pub(crate) fn add_sealed(&self, count: Count) {
        add(&self.sealed_records, count.records);
        add(&self.sealed_bytes, count.bytes);
    }

    /// Owner only.
    pub(crate) fn add_leased(&self, chunks: u32) {
        add(&self.leased_chunks, u64::from(chunks));
    }

    /// Owner only: counts a record that it refused.
    #[cold]
    pub(crate) fn add_refused(&self, cause: WriteError, bytes: usize) {
        let [records, sum] = self.counters(cause);
        add(records, 1);
        add(sum, bytes as u64);
    }

    /// All that the owners of this slot ever refused, by cause.
    pub(crate) fn refused(&self) -> Refused {
        let count = |cause| {
            let [records, bytes] = self.counters(cause);
            Count::new(records.load(Relaxed), bytes.load(Relaxed))
        };
        Refused {
            full: count(WriteError::Full),
            too_large: count(WriteError::TooLarge),
            closed: count(WriteError::Closed),
            disk_guard: count(WriteError::DiskGuard),
            format: count(WriteError::Format),
        }
    }

    fn counters(&self, cause: WriteError) -> &[AtomicU64; 2] {
        &self.refused[match cause {
            WriteError::Full => 0,
            WriteError::TooLarge => 1,
            // In a forked child nobody counts: its writer has no accounts of its own.
            WriteError::Closed | WriteError::Forked => 2,
            WriteError::Format => 3,
            WriteError::DiskGuard => 4,
        }]
    }

    /// Chunks that the owners of this slot ever leased.
    pub(crate) fn leased(&self) -> u64 {
        self.leased_chunks.load(Relaxed)
    }

    /// All that the owners of this slot ever committed: the sealed totals and the live word, read
    /// until no swap came between. `None` while a swap is under way.
    pub(crate) fn accepted(&self, arena: &Arena) -> Option<Count> {
        let before = self.current();
        let gate = self.gate.load(Acquire);
        // Acquire each, so that the second look at `current` and `gate` comes after them.
        let sealed = Count::new(self.sealed_records.load(Acquire), self.sealed_bytes.load(Acquire));
        let live = match before.phase() {
            LeasePhase::Swapping => return None,
            LeasePhase::Idle => Count::ZERO,
            LeasePhase::Live if gate::is_taken(gate) => Extent(self.revoked.load(Acquire)).count(),
            LeasePhase::Live => Extent(arena.commit_word(before.chunk()).load(Acquire)).count(),
        };
        let unchanged = self.current() == before && self.gate.load(Relaxed) == gate;
        unchanged.then(|| sealed + live)
    }

    #[cfg(loom)]
    pub(crate) fn pass_barrier(&self) {
        self.barrier.pass();
    }
}

/// Counters with one writer need no read-modify-write. Release: see `Slot::accepted`.
fn add(counter: &AtomicU64, amount: u64) {
    counter.store(counter.load(Relaxed) + amount, Release);
}
