//! One producer's place in a writer: what it leases, and the words through which it and the
//! workers talk about that.
//!
//! Guarantees: one owner at a time; a gate that is not OPEN keeps the owner off its chunk, once
//! the barrier has passed and `busy` was seen as zero. Never blocks, never touches files.
//!
//! The words live here and not in the chunk: a producer that is late would otherwise write into
//! a header that is another's by now.

pub(crate) mod current;
pub(crate) mod gate;
pub(crate) mod lease;
pub(crate) mod owned;

use std::cell::UnsafeCell;

#[cfg(loom)]
use crate::base::sync::BarrierWord;
use crate::base::sync::{Acquire, AtomicU32, AtomicU64, Barrier, Relaxed, Release};
use crate::memory::arena::{Arena, BytePtr, ChunkId, Extent};
use crate::memory::slot::current::{Current, LeasePhase};
use crate::memory::slot::lease::{Chunk, Lease};
use crate::report::error::WriteError;
use crate::report::stats::{Count, Refused};

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
    /// The owner's alone: see [`owned`].
    lease: UnsafeCell<Lease>,
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
                chunk: Chunk::dangling(),
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

    /// Owner: ends a write, or a step of a record that is being formatted. Release, so that who sees it sees
    /// the whole write.
    #[inline(always)]
    pub(crate) fn rest(&self, is_recording: bool) {
        let busy = if is_recording { busy::RECORDING } else { busy::REST };
        self.busy.store(busy, Release);
    }

    /// Owner, busy: the chunk that it leases.
    ///
    /// # Safety
    /// The caller is the owner, and no reference to the lease is alive.
    #[inline(always)]
    pub(crate) unsafe fn chunk(&self) -> Chunk {
        // SAFETY: the caller's promise.
        unsafe { (*self.lease.get()).chunk }
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
