//! The lease of a chunk: from the pool to a producer, and from the producer to its home worker.
//!
//! Guarantees: the swap takes no lock, allocates nothing and makes no system call while the home
//! worker is awake, but to call who waits for several chunks, when it takes a span of fresh ones. Nothing
//! here waits. Everything here is the owner's, while busy.
//! Refuses: a chunk when none is free or the disk guard forbids it, everything after `close`.
//!
//! A swap comes so seldom that its code is far away by then: what the common one runs is inlined into one
//! piece, and whatever else may happen is a call.

use crate::base::sync::{SeqCst, fence};
use crate::memory::Shared;
use crate::memory::arena::{ChunkId, Extent};
use crate::memory::shard;
use crate::memory::slot::current::LeasePhase;
use crate::memory::slot::gate;
use crate::memory::slot::lease::Chunk;
use crate::memory::slot::owned::Busy;
use crate::report::error::WriteError;

/// Sees to an open gate and, for what fits one chunk, to room in the leased one. Busy.
#[inline(always)]
pub(crate) fn make_room(busy: &mut Busy<'_>, len: usize) -> Result<(), WriteError> {
    if busy.lease.is_recording {
        // The chunk is in use by a record whose formatter writes to the same writer: whoever
        // called sees that too, and takes another slot.
        return Err(WriteError::Full);
    }
    if !pass_gate(busy) {
        return Err(WriteError::Closed);
    }
    let size = busy.shared.arena.size();
    if len > size {
        return fits(busy.shared, len);
    }
    // The gate may have been the only hindrance.
    if len > busy.lease.chunk.room() { swap(busy) } else { Ok(()) }
}

/// Whether all chunks together can hold a record.
#[cold]
#[inline(never)]
fn fits(shared: &Shared, len: usize) -> Result<(), WriteError> {
    let fits = len.div_ceil(shared.arena.size()) <= shared.arena.none() as usize;
    if fits { Ok(()) } else { Err(WriteError::TooLarge) }
}

/// Sees to an open gate while busy; `false` once it is closed.
#[inline(always)]
pub(crate) fn pass_gate(busy: &mut Busy<'_>) -> bool {
    busy.slot.gate() & gate::STATE == gate::OPEN || pass_gate_slow(busy)
}

#[cold]
#[inline(never)]
fn pass_gate_slow(busy: &mut Busy<'_>) -> bool {
    let slot = busy.slot;
    loop {
        let seen = slot.gate();
        match seen & gate::STATE {
            gate::OPEN => return true,
            gate::FENCED => {
                // In place of the light side of the barrier: busy first, then the gate.
                fence(SeqCst);
                if slot.gate() == seen {
                    return true;
                }
            }
            gate::CLOSED | gate::CLOSED_TAKEN => return false,
            gate::TAKEN => {
                forget(busy, slot.revoked());
                slot.reopen(seen);
            }
            _ => {
                // The home worker sleeps, or is about to, and would not look for this record.
                busy.pause(|shared, slot| {
                    slot.reopen(seen);
                    shared.mailboxes[slot.current().home()].parker.wake_if_parked();
                });
            }
        }
    }
}

/// Leases a new chunk, then seals the old one. Without a free chunk the old one is sealed all the
/// same: else all chunks could be full in the hands of producers that each wait for another.
#[inline(always)]
pub(crate) fn swap(busy: &mut Busy<'_>) -> Result<(), WriteError> {
    let (shared, slot) = (busy.shared, busy.slot);
    pass_guard(busy)?;
    let before = slot.current();
    // While the pool is empty a producer without a chunk pays some loads, and writes nothing.
    if before.phase() == LeasePhase::Idle && shared.pool.is_empty(&shared.arena) {
        shared.starve(1);
        return Err(WriteError::Full);
    }
    shared.prefetch(busy.lease.home, shard::of(slot.number));
    let chunk = pop(busy)?;
    shared.arena.prefetch(chunk);
    let sealed = seal_quietly(busy);
    // One ring for both, the push and the new lease: each costs a fence.
    begin(busy, chunk);
    if let Some(home) = sealed.filter(|home| *home != busy.lease.home) {
        shared.mailboxes[home].parker.wake_if_parked();
    }
    Ok(())
}

/// Whether the disk guard has chunks given out: one load. If not, the leased one is sealed, as without a free
/// chunk, so that what is in it gets to a worker; but nobody is called for memory.
#[inline(always)]
pub(crate) fn pass_guard(busy: &mut Busy<'_>) -> Result<(), WriteError> {
    if busy.shared.is_guarded() { Err(hold_back(busy)) } else { Ok(()) }
}

#[cold]
#[inline(never)]
fn hold_back(busy: &mut Busy<'_>) -> WriteError {
    seal(busy);
    WriteError::DiskGuard
}

/// Takes a free chunk from the pool, or seals the leased one.
#[inline(always)]
pub(crate) fn pop(busy: &mut Busy<'_>) -> Result<ChunkId, WriteError> {
    let Some(chunk) = busy.shared.pool.pop(&busy.shared.arena, busy.slot.number) else {
        return Err(run_dry(busy));
    };
    busy.slot.add_leased(1);
    Ok(chunk)
}

#[cold]
#[inline(never)]
fn run_dry(busy: &mut Busy<'_>) -> WriteError {
    seal(busy);
    // Out of memory for the first time: worth some calls, so that no worker naps on.
    busy.shared.wake_busy();
    busy.shared.starve(1);
    WriteError::Full
}

/// Makes a chunk the leased one, in place of none.
#[inline(always)]
pub(crate) fn begin(busy: &mut Busy<'_>, chunk: ChunkId) {
    let (shared, slot) = (busy.shared, busy.slot);
    busy.lease.home = home(busy);
    let arena = &shared.arena;
    arena.note_lease(chunk, slot.number, 2 * slot.leased());
    busy.lease.chunk = Chunk::new(arena.at(chunk, 0), arena.size(), arena.commit_word(chunk));
    slot.set_current(slot.current().live(chunk, busy.lease.home));
    // A worker that sleeps must know that it has a producer now; see `Parker::prepare_to_park`.
    shared.mailboxes[busy.lease.home].parker.wake_if_parked();
}

/// Gives the leased chunk, if there is one, to its home worker.
#[inline(always)]
pub(crate) fn seal(busy: &mut Busy<'_>) {
    if let Some(home) = seal_quietly(busy) {
        busy.shared.mailboxes[home].parker.wake_if_parked();
    }
}

/// As [`seal`]; the worker that is returned must be woken soon.
#[inline(always)]
fn seal_quietly(busy: &mut Busy<'_>) -> Option<usize> {
    let slot = busy.slot;
    let before = slot.current();
    if before.phase() == LeasePhase::Idle {
        return None;
    }
    // Before the push: a worker that has taken the chunk never sees it as live again.
    slot.set_current(before.swapping());
    let extent = busy.lease.chunk.extent();
    end(busy, extent);
    let home = before.home();
    let is_taken = push(busy.shared, home, before.chunk(), 1);
    // After the push: a worker that sees the slot without the chunk finds it in its inbox.
    slot.set_current(before.idle());
    is_taken.then_some(home)
}

/// Adds what was leased to the totals. In phase Swapping.
#[inline(always)]
fn end(busy: &mut Busy<'_>, extent: Extent) {
    busy.slot.add_sealed(extent.count());
    busy.lease.messages = 0;
    busy.lease.chunk = busy.slot.no_chunk();
}

/// Ends a lease without sealing the chunk, of which `extent` is committed: it was revoked, and is its
/// worker's already, or somebody else's by now; or it is empty, and the owner has other plans.
pub(crate) fn forget(busy: &mut Busy<'_>, extent: Extent) {
    let slot = busy.slot;
    let before = slot.current();
    slot.set_current(before.swapping());
    end(busy, extent);
    slot.set_current(before.idle());
}

/// Puts a chunk, or a chain, into a worker's inbox, and rings.
#[inline(always)]
pub(crate) fn deliver(shared: &Shared, home: usize, chunk: u32, weight: u32) {
    if push(shared, home, chunk, weight) {
        shared.mailboxes[home].parker.wake_if_parked();
    }
}

/// Puts a chunk, or a chain, into a worker's inbox. `false`: after `close` gave up there is no worker; then
/// the chunk stays out of circulation, and its records are accounted for as lost.
#[inline(always)]
fn push(shared: &Shared, home: usize, chunk: u32, weight: u32) -> bool {
    shared.mailboxes[home].inbox.push(&shared.arena, chunk, weight)
}

/// The worker of the next lease: the same one as long as it makes progress or holds less than its
/// share; then the next one that holds less. Few workers are busy, so, and files are large.
#[inline(always)]
pub(crate) fn home(busy: &mut Busy<'_>) -> usize {
    let freed = busy.shared.mailboxes[busy.lease.home].freed();
    if freed == busy.lease.freed && holds_share(busy) {
        return elsewhere(busy);
    }
    busy.lease.freed = freed;
    busy.lease.home
}

/// Whether the home worker holds its share. What waits in other shards is in others' caches: all shards are counted
/// only now and then. So no shard exceeds it by more than a 32nd of it.
#[inline(always)]
fn holds_share(busy: &mut Busy<'_>) -> bool {
    let (shared, slot) = (busy.shared, busy.slot);
    let mailbox = &shared.mailboxes[busy.lease.home];
    if mailbox.backlog() < shared.share {
        let waiting = mailbox.inbox.depth_of(shard::of(slot.number));
        // Fewer than before: the worker took them, or it is another one.
        if waiting.wrapping_sub(busy.lease.weighed) < shared.share / 32 {
            return false;
        }
        busy.lease.weighed = waiting;
    }
    mailbox.held() >= shared.share
}

/// The next worker that holds less than its share; the same one if there is none.
#[cold]
#[inline(never)]
fn elsewhere(busy: &mut Busy<'_>) -> usize {
    let (shared, old) = (busy.shared, busy.lease.home);
    let mailboxes = &shared.mailboxes;
    let workers = mailboxes.len();
    let new = (1..workers)
        .map(|step| (old + step) % workers)
        .find(|&worker| mailboxes[worker].held() < shared.share)
        .unwrap_or(old);
    busy.lease.freed = mailboxes[new].freed();
    new
}

#[cfg(all(test, not(loom)))]
mod tests {
    use crate::accept::append;
    use crate::base::sync::Barrier;
    use crate::memory::Shared;
    use crate::memory::slot::Slot;
    use crate::memory::slot::current::LeasePhase;
    use crate::memory::slot::owned::{Borrowed, OwnedSlot};

    /// Each of these seals a chunk of a byte or, with its first write, begins one.
    fn write(shared: &Shared, slots: &[*const Slot], count: u32) {
        for slot in slots.iter().cycle().take(count as usize) {
            // SAFETY: the slots are ours, and of these.
            let mut slot = unsafe { OwnedSlot::new(shared, &**slot) };
            append::write(&mut slot, b"x").unwrap();
        }
    }

    /// However unevenly it is filled: through one shard alone, then through the others, then through all.
    #[test]
    fn a_worker_that_does_nothing_gets_its_share_and_a_quarter_more() {
        for share in [1, 3, 16, 31, 32, 100, 400] {
            for first in [0, share / 2, share] {
                let producers = if share < 100 { 2 } else { 8 };
                // Memory for one that hangs, and for one that does not.
                let shared = Shared::new(2 * share, 1, 2, Barrier::detect()).unwrap();
                let slots: Vec<_> = (0..producers).map(|_| shared.slots.acquire()).collect();
                write(&shared, &slots[..1], first);
                let room = 2 * share - first - producers.min(share);
                write(&shared, &slots[1..], room / 2);
                write(&shared, &slots, room - room / 2);
                let held = [0, 1].map(|worker| shared.mailboxes[worker].held());
                let leased: u64 = shared.slots.iter().map(Slot::leased).sum();
                let live =
                    shared.slots.iter().filter(|slot| slot.current().phase() == LeasePhase::Live);
                let sealed = leased as u32 - live.count() as u32;
                assert_eq!(held[0] + held[1], sealed, "{held:?} of {share}, {first} first");
                // What producers had begun by then comes to it too.
                let most = share + share / 4 + producers;
                let least = share.min(sealed);
                assert!((least..=most).contains(&held[0]), "{held:?} of {share}, {first} first");
            }
        }
    }

    /// Also from a producer that is new to it.
    #[test]
    fn a_worker_that_holds_its_share_gets_no_more() {
        for (backlog, home) in [(399, 0), (400, 1), (401, 1)] {
            let shared = Shared::new(800, 8, 2, Barrier::detect()).unwrap();
            shared.mailboxes[0].set_backlog(backlog);
            let mut slot = Borrowed::new(&shared);
            let mut slot = slot.owned();
            append::write(&mut slot, b"x").unwrap();
            assert_eq!(slot.slot.current().home(), home, "{backlog}");
        }
    }
}
