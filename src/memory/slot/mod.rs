//! One producer's place in a writer: its lease, and the words through which the producer and the
//! workers coordinate.
//!
//! Guarantees: a slot has one owner at a time. A gate that is not OPEN keeps the owner off its
//! chunk, once the barrier has passed and `busy` was seen as zero. Never blocks, never touches
//! files.
//!
//! The words live here and not in the chunk: a late producer would otherwise write into a header
//! that another producer has by then.

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

/// The owner's current activity.
mod busy {
    /// No activity.
    pub(super) const REST: u32 = 0;
    /// In a write, which is short: other threads may wait for its end.
    pub(super) const WRITE: u32 = 1;
    /// Formats a record into its chunk. This runs foreign code, which may take for ever. No thread
    /// waits for it, but the chunk cannot be taken.
    pub(super) const RECORDING: u32 = 2;
}

/// A worker's view of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum View {
    /// A live chunk whose home worker is the viewer.
    Live(ChunkId),
    /// Unknown until the swap is over.
    Swapping,
    /// No chunk, or one of another worker.
    Elsewhere,
}

/// Padded to two lines, since some processors fetch lines in pairs.
#[repr(C, align(128))]
pub(crate) struct Slot {
    /// See [`busy`]. Stored only by the owner.
    busy: AtomicU32,
    /// The state of an open gate: OPEN or FENCED, depending on the barrier. Never zero.
    open: u64,
    /// See [`gate`]. Exchanged by the home worker (OPEN to SHUT to TAKEN or DISMISSED), the owner
    /// (from these to OPEN) and the closer (anything to CLOSED).
    gate: AtomicU64,
    /// Only the owner accesses it: see [`owned`].
    lease: UnsafeCell<Lease>,
    /// The commit word of "no chunk": nothing is ever committed to it.
    zero: AtomicU64,
    /// See [`Current`]. Stored only by the owner.
    current: AtomicU64,
    /// Ascends within a writer. A recovery tells producers apart by it.
    pub(crate) number: u64,
    /// Records and bytes of the chunks sealed so far. Stored only by the owner, in phase Swapping.
    sealed_records: AtomicU64,
    sealed_bytes: AtomicU64,
    /// Chunks leased in total. Stored only by the owner.
    leased_chunks: AtomicU64,
    /// The [`Extent`] of the chunk when its lease was revoked. Valid while the gate is TAKEN.
    /// Stored by the home worker.
    revoked: AtomicU64,
    /// Records and bytes that the owner has overwritten in a flight recorder. Stored only by it.
    overwritten: [AtomicU64; 2],
    /// Records and bytes refused, by cause. Stored only by the owner.
    refused: [[AtomicU64; 2]; 5],
    /// The slot registered before this one.
    pub(crate) next: *const Slot,
    #[cfg(loom)]
    barrier: BarrierWord,
}

// A swap needs only the first two lines of a slot, which are out of cache by then.
#[cfg(all(not(loom), target_pointer_width = "64"))]
const _: () = assert!(std::mem::offset_of!(Slot, revoked) <= 128);

// SAFETY: `Slots` hands a slot to one thread at a time, and only that owner accesses `lease`.
// `next` is fixed before the slot is shared. All other fields are atomics.
unsafe impl Sync for Slot {}
// SAFETY: no field is bound to a thread.
unsafe impl Send for Slot {}

impl Slot {
    /// Makes a slot at `place`, where it stays.
    ///
    /// # Safety
    /// `place` is aligned, has room for a slot, and only the caller accesses it.
    pub(crate) unsafe fn make(place: *mut Slot, barrier: Barrier, number: u64, next: *const Slot) {
        let open = if barrier.is_fence() { gate::FENCED } else { gate::OPEN };
        let slot = Slot {
            busy: AtomicU32::new(busy::REST),
            open,
            gate: AtomicU64::new(open),
            lease: UnsafeCell::new(Lease {
                // Replaced below.
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
            overwritten: [AtomicU64::new(0), AtomicU64::new(0)],
            refused: std::array::from_fn(|_| std::array::from_fn(|_| AtomicU64::new(0))),
            number,
            next,
            #[cfg(loom)]
            barrier: BarrierWord::new(barrier),
        };
        // SAFETY: the caller promises room that no other code accesses.
        unsafe {
            place.write(slot);
            (*(*place).lease.get()).chunk = (*place).no_chunk();
        }
    }

    /// Whether this is a forked child's view of a slot: all zeros, so its gate is closed. No code
    /// accesses the lease of such a slot.
    #[inline]
    pub(crate) fn is_wiped(&self) -> bool {
        self.open == 0
    }

    /// The chunk of a lease without a chunk.
    pub(crate) fn no_chunk(&self) -> Chunk {
        Chunk::new(BytePtr::NONE, 0, &self.zero)
    }

    /// Owner: begins a write. The gate is loaded after this.
    #[inline(always)]
    pub(crate) fn enter(&self) {
        self.busy.store(busy::WRITE, Relaxed);
        // The light side of the barrier: the compiler must not move the store below the load of the
        // gate. The other side's membarrier undoes the processor's own reordering.
        #[cfg(not(loom))]
        crate::base::sync::compiler_fence(crate::base::sync::SeqCst);
        #[cfg(loom)]
        self.barrier.pass();
    }

    /// Owner: ends a write while no record is being formatted. Release: a worker that sees zero
    /// sees the whole write.
    #[inline(always)]
    pub(crate) fn leave(&self) {
        self.busy.store(busy::REST, Release);
    }

    /// Owner: the gate. Relaxed: it only grants the right to go on, and the barrier orders that. An
    /// owner that finds it SHUT passes the fence of `Parker::wake_if_parked`.
    #[inline(always)]
    pub(crate) fn gate(&self) -> u64 {
        self.gate.load(Relaxed)
    }

    /// Owner: opens a gate that was seen as SHUT, TAKEN or DISMISSED. Release: a worker that sees it open sees
    /// that the revoked lease is gone.
    pub(crate) fn reopen(&self, seen: u64) {
        let open = seen & !gate::STATE | self.open;
        // On failure the gate was closed, shut or taken meanwhile, and the owner looks again.
        let _ = self.gate.compare_exchange(seen, open, Release, Relaxed);
    }

    /// Home worker: shuts an open gate. Returns the gate if it is shut now.
    pub(crate) fn shut(&self) -> Option<u64> {
        let seen = self.gate.load(Relaxed);
        match seen & gate::STATE {
            gate::SHUT => Some(seen),
            gate::OPEN | gate::FENCED => {
                let shut = (seen & !gate::STATE).wrapping_add(gate::GENERATION) | gate::SHUT;
                // On failure the gate was closed meanwhile.
                self.gate.compare_exchange(seen, shut, Relaxed, Relaxed).ok().map(|_| shut)
            }
            _ => None,
        }
    }

    /// Home worker, after the barrier, when the owner is not busy: takes the chunk, of which
    /// `extent` is committed. The gate is TAKEN or DISMISSED then, as `state` says. `false` if the
    /// owner has reopened the gate, or the gate was closed.
    pub(crate) fn take(&self, shut: u64, extent: Extent, state: u64) -> bool {
        self.revoked.store(extent.0, Relaxed);
        let taken = shut & !gate::STATE | state;
        // Release: pairs with the loads of `accepted`.
        self.gate.compare_exchange(shut, taken, Release, Relaxed).is_ok()
    }

    /// Owner, after it saw the gate as TAKEN or DISMISSED: the extent that the revoked chunk held.
    pub(crate) fn revoked(&self) -> Extent {
        // Acquire: pairs with the Release of `take`, even if the gate was closed since.
        self.gate.load(Acquire);
        Extent(self.revoked.load(Relaxed))
    }

    /// Before anybody else has it: from now on a record seems to be formatted through it.
    pub(crate) fn seem_recording(&mut self) {
        self.lease.get_mut().is_recording = true;
    }

    /// Closer: closes the gate for ever.
    pub(crate) fn close(&self) {
        let mut seen = self.gate.load(Relaxed);
        loop {
            let closed = if gate::is_taken(seen) { gate::CLOSED_TAKEN } else { gate::CLOSED };
            // Relaxed: an exchange carries on the Release of the `take` or `reopen` that it
            // replaces.
            match self.gate.compare_exchange(seen, closed, Relaxed, Relaxed) {
                Ok(_) => return,
                Err(now) => seen = now,
            }
        }
    }

    /// Worker or closer, after the barrier: whether the owner is in a write. Acquire: zero shows
    /// the whole last write.
    pub(crate) fn is_busy(&self) -> bool {
        self.busy.load(Acquire) == busy::WRITE
    }

    /// Home worker, after the barrier: whether the owner is not using its chunk. Acquire: zero
    /// shows the whole last write.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.busy.load(Acquire) == busy::REST
    }

    /// Owner: ends a write, or one step of a record that is being formatted. Release: a worker that
    /// sees the new state sees the whole write.
    #[inline(always)]
    pub(crate) fn rest(&self, is_recording: bool) {
        let busy = if is_recording { busy::RECORDING } else { busy::REST };
        self.busy.store(busy, Release);
    }

    /// Owner, busy: the leased chunk.
    ///
    /// # Safety
    /// The caller is the owner, and no reference to the lease is alive.
    #[inline(always)]
    pub(crate) unsafe fn chunk(&self) -> Chunk {
        // SAFETY: the caller is the owner, and no reference to the lease is alive.
        unsafe { (*self.lease.get()).chunk }
    }

    /// The lease of the slot. Acquire: a chunk that was pushed to an inbox before is there.
    pub(crate) fn current(&self) -> Current {
        Current(self.current.load(Acquire))
    }

    /// The lease of the slot, if it was not revoked. The gate is read first, as in `view`.
    pub(crate) fn leased_now(&self) -> Option<Current> {
        let is_taken = gate::is_taken(self.gate.load(Acquire));
        Some(self.current()).filter(|_| !is_taken)
    }

    /// What a worker may do with the slot's chunk. The gate is read first: a gate that was reopened
    /// after a revocation shows the new lease too.
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

    /// Owner only: has taken over a chunk of a flight recorder that held this much.
    pub(crate) fn add_overwritten(&self, held: Count) {
        let [records, bytes] = &self.overwritten;
        add(records, held.records);
        add(bytes, held.bytes);
    }

    /// What the owners of this slot ever overwrote. Acquire: whoever accepted it is seen after this.
    pub(crate) fn overwritten(&self) -> Count {
        let [records, bytes] = &self.overwritten;
        Count::new(records.load(Acquire), bytes.load(Acquire))
    }

    /// Owner only: counts a record that it refused.
    #[cold]
    pub(crate) fn add_refused(&self, cause: WriteError, bytes: usize) {
        let [records, sum] = self.counters(cause);
        add(records, 1);
        add(sum, bytes as u64);
    }

    /// All records that the owners of this slot ever refused, by cause.
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
            out_of_memory: Count::ZERO,
        }
    }

    fn counters(&self, cause: WriteError) -> &[AtomicU64; 2] {
        &self.refused[match cause {
            // Without a slot, `Slots` counts.
            WriteError::Full | WriteError::OutOfMemory => 0,
            WriteError::TooLarge => 1,
            // A forked child never counts: its writer has no accounts.
            WriteError::Closed | WriteError::Forked => 2,
            WriteError::Format => 3,
            WriteError::DiskGuard => 4,
        }]
    }

    /// Chunks that the owners of this slot ever leased.
    pub(crate) fn leased(&self) -> u64 {
        self.leased_chunks.load(Relaxed)
    }

    /// All records that the owners of this slot ever committed: the sealed totals plus the live
    /// chunk. Returns `None` if a swap is under way or came between the loads.
    pub(crate) fn accepted(&self, arena: &Arena) -> Option<Count> {
        let before = self.current();
        let gate = self.gate.load(Acquire);
        // Acquire: the second look at `current` and `gate` comes after these loads.
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

/// A counter with one writer needs no read-modify-write. Release: see `Slot::accepted`.
fn add(counter: &AtomicU64, amount: u64) {
    counter.store(counter.load(Relaxed) + amount, Release);
}
