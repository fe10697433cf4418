//! Leases chunks: from the pool to a producer, and from the producer to its home worker.
//!
//! Guarantees: a swap takes no lock, allocates nothing and makes no system call while the home
//! worker is awake. The one exception: taking a span of fresh chunks may wake callers that wait for
//! memory. Nothing here waits. The caller is always the owner, and busy.
//! Refuses: a chunk when none is free or the quota forbids it, and everything after `close`.
//!
//! Swaps are so rare that their code is out of cache by then. So the common swap is inlined into
//! one piece, and everything else is a call.

use crate::accept::recorder;
use crate::base::sync::{SeqCst, fence};
use crate::memory::Shared;
use crate::memory::arena::{ChunkId, Extent};
use crate::memory::ring::Ring;
use crate::memory::shard;
use crate::memory::slot::current::LeasePhase;
use crate::memory::slot::gate;
use crate::memory::slot::lease::Chunk;
use crate::memory::slot::owned::Busy;
use crate::report::error::WriteError;

/// Ensures an open gate and, for a record that fits one chunk, room in the leased chunk. The owner
/// is busy.
#[inline(always)]
pub(crate) fn make_room(busy: &mut Busy<'_>, len: usize) -> Result<(), WriteError> {
    if busy.lease.is_recording {
        // A record whose formatter writes to the same writer uses the chunk. The caller notices
        // this too, and takes another slot.
        return Err(WriteError::Full);
    }
    if !pass_gate(busy) {
        return Err(WriteError::Closed);
    }
    let size = busy.shared.arena.size();
    if len > size {
        return fits(busy.shared, len);
    }
    // The record may fit the leased chunk, if only the gate stood in the way.
    if len > busy.lease.chunk.room() { swap(busy) } else { Ok(()) }
}

/// Whether all chunks together can hold the record.
#[cold]
#[inline(never)]
fn fits(shared: &Shared, len: usize) -> Result<(), WriteError> {
    let fits = len.div_ceil(shared.arena.size()) <= shared.record_chunks_max();
    if fits { Ok(()) } else { Err(WriteError::TooLarge) }
}

/// Ensures an open gate while busy. `false` once it is closed.
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
                // Replaces the light side of the barrier: busy is stored before the gate is loaded.
                fence(SeqCst);
                if slot.gate() == seen {
                    return true;
                }
            }
            gate::CLOSED | gate::CLOSED_TAKEN => return false,
            taken @ (gate::TAKEN | gate::DISMISSED) => {
                forget(busy, slot.revoked());
                slot.reopen(seen);
                if taken == gate::DISMISSED {
                    busy.lease.home = earlier(busy);
                }
            }
            _ => {
                // The home worker is parked, or about to park, and would not look for this record.
                busy.pause(|shared, slot| {
                    slot.reopen(seen);
                    shared.mailboxes[slot.current().home()].parker.wake_if_parked();
                });
            }
        }
    }
}

/// Leases a new chunk, then seals the old one. The old one is sealed even if no chunk is free.
/// Otherwise producers could hold all chunks while each waits for another.
#[inline(always)]
pub(crate) fn swap(busy: &mut Busy<'_>) -> Result<(), WriteError> {
    let (shared, slot) = (busy.shared, busy.slot);
    if shared.swaps_differ() {
        return swap_otherwise(busy);
    }
    let before = slot.current();
    // While the pool is empty, a producer without a chunk pays only some loads and writes nothing.
    if before.phase() == LeasePhase::Idle && shared.pool.is_empty(&shared.arena) {
        shared.starve(1);
        return Err(WriteError::Full);
    }
    shared.prefetch(busy.lease.home, shard::of(slot.number));
    let chunk = pop(busy)?;
    shared.arena.prefetch(chunk);
    let sealed = seal_quietly(busy);
    // One wake-up covers both the push and the new lease, since each would cost a fence.
    begin(busy, chunk);
    if let Some(home) = sealed.filter(|home| *home != busy.lease.home) {
        shared.mailboxes[home].parker.wake_if_parked();
    }
    Ok(())
}

/// A swap beyond the quota, or in a flight recorder.
#[cold]
#[inline(never)]
fn swap_otherwise(busy: &mut Busy<'_>) -> Result<(), WriteError> {
    match &busy.shared.ring {
        Some(ring) => swap_in_recorder(busy, ring),
        None => Err(hold_back(busy)),
    }
}

/// A swap in a flight recorder. Wakes no worker.
fn swap_in_recorder(busy: &mut Busy<'_>, ring: &Ring) -> Result<(), WriteError> {
    let chunk = match recorder::pop(busy, ring) {
        Some(chunk) => chunk,
        // All others are leased or being dumped. The own one is sealed now, so it can be taken over.
        None => {
            let cause = run_dry(busy);
            recorder::pop(busy, ring).ok_or(cause)?
        }
    };
    busy.shared.arena.prefetch(chunk);
    seal(busy);
    recorder::begin(busy, chunk);
    Ok(())
}

/// Whether the quota allows chunks to be taken: one load. If not, seals the leased chunk, so
/// that its records reach a worker. No worker is asked for memory.
#[inline(always)]
pub(crate) fn pass_quota(busy: &mut Busy<'_>) -> Result<(), WriteError> {
    if busy.shared.is_over_quota() { Err(hold_back(busy)) } else { Ok(()) }
}

/// Takes a chunk for a record that outgrew its own, or seals that one.
pub(crate) fn take(busy: &mut Busy<'_>) -> Result<ChunkId, WriteError> {
    match &busy.shared.ring {
        Some(ring) => recorder::pop(busy, ring).ok_or_else(|| run_dry(busy)),
        None => pop(busy),
    }
}

/// Leases a chunk to an owner without one, off the common path.
pub(crate) fn renew(busy: &mut Busy<'_>, chunk: ChunkId) {
    match &busy.shared.ring {
        Some(_) => recorder::begin(busy, chunk),
        None => begin(busy, chunk),
    }
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
    // The first failure justifies some system calls, so that no worker naps on.
    busy.shared.wake_busy();
    busy.shared.starve(1);
    WriteError::Full
}

/// Leases a chunk to an owner without one.
#[inline(always)]
pub(crate) fn begin(busy: &mut Busy<'_>, chunk: ChunkId) {
    let (shared, slot) = (busy.shared, busy.slot);
    busy.lease.home = home(busy);
    let arena = &shared.arena;
    arena.note_lease(chunk, slot.number, 2 * slot.leased());
    busy.lease.chunk = Chunk::new(arena.at(chunk, 0), arena.size(), arena.commit_word(chunk));
    slot.set_current(slot.current().live(chunk, busy.lease.home));
    // A parked worker must learn that it has a producer now; see `Parker::prepare_to_park`.
    shared.mailboxes[busy.lease.home].parker.wake_if_parked();
}

/// Gives the leased chunk, if any, to its home worker.
#[inline(always)]
pub(crate) fn seal(busy: &mut Busy<'_>) {
    if let Some(home) = seal_quietly(busy) {
        busy.shared.mailboxes[home].parker.wake_if_parked();
    }
}

/// Like [`seal`], but the caller must soon wake the worker that this returns.
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
    // After the push: a worker that sees the slot without the chunk finds the chunk in its inbox.
    slot.set_current(before.idle());
    is_taken.then_some(home)
}

/// Ends the lease and adds its extent to the totals. In phase Swapping.
#[inline(always)]
fn end(busy: &mut Busy<'_>, extent: Extent) {
    busy.slot.add_sealed(extent.count());
    busy.lease.messages = 0;
    busy.lease.chunk = busy.slot.no_chunk();
}

/// Ends a lease without sealing the chunk, of which `extent` is committed. Either the chunk was
/// revoked, and may belong to another producer by now. Or it is empty, and the owner uses it for a
/// chain.
pub(crate) fn forget(busy: &mut Busy<'_>, extent: Extent) {
    let slot = busy.slot;
    let before = slot.current();
    slot.set_current(before.swapping());
    end(busy, extent);
    slot.set_current(before.idle());
}

/// Pushes a chunk or a chain into a worker's inbox and wakes the worker.
#[inline(always)]
pub(crate) fn deliver(shared: &Shared, home: usize, chunk: u32, weight: u32) {
    if push(shared, home, chunk, weight) {
        shared.mailboxes[home].parker.wake_if_parked();
    }
}

/// Pushes a chunk or a chain into a worker's inbox. `false` if no worker has it: `close` gave up,
/// the chunk stays out of circulation, and its records count as lost. Or this is a flight recorder,
/// and the chunk is in its ring.
#[inline(always)]
fn push(shared: &Shared, home: usize, chunk: u32, weight: u32) -> bool {
    shared.mailboxes[home].inbox.push(&shared.arena, chunk, weight) || recorder::keep(shared, chunk)
}

/// The worker of the next lease. It stays the same while it makes progress or holds less than its
/// share; then the next one that holds less takes over. So few workers are busy, and their files
/// are large.
#[inline(always)]
pub(crate) fn home(busy: &mut Busy<'_>) -> usize {
    let freed = busy.shared.mailboxes[busy.lease.home].freed();
    if freed == busy.lease.freed && holds_share(busy) {
        return elsewhere(busy);
    }
    busy.lease.freed = freed;
    busy.lease.home
}

/// Whether the home worker holds its share. Counts of other shards lie in other processors' caches,
/// so all shards are counted only now and then. No shard exceeds the share by more than a 32nd
/// because of that.
#[inline(always)]
fn holds_share(busy: &mut Busy<'_>) -> bool {
    let (shared, slot) = (busy.shared, busy.slot);
    let mailbox = &shared.mailboxes[busy.lease.home];
    if mailbox.backlog() < shared.share {
        let waiting = mailbox.inbox.depth_of(shard::of(slot.number));
        // A lower number wraps to a huge one: the worker took chunks, or this is another worker.
        if waiting.wrapping_sub(busy.lease.weighed) < shared.share / 32 {
            return false;
        }
        busy.lease.weighed = waiting;
    }
    mailbox.held() >= shared.share
}

/// The next worker that holds less than its share, or else the same one.
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

/// The first worker before the present one that the disk holds up in nothing and that holds less
/// than its share, or else the present one.
fn earlier(busy: &Busy<'_>) -> usize {
    let Busy { shared, lease, .. } = busy;
    let is_free = |worker: &usize| {
        let mailbox = &shared.mailboxes[*worker];
        !mailbox.is_working() && mailbox.held() < shared.share
    };
    (0..lease.home).find(is_free).unwrap_or(lease.home)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use crate::accept::append;
    use crate::base::sync::Barrier;
    use crate::memory::Shared;
    use crate::memory::slot::Slot;
    use crate::memory::slot::current::LeasePhase;
    use crate::memory::slot::owned::{Borrowed, OwnedSlot};

    /// Each write seals a chunk of one byte. A slot's first write only begins one.
    fn write(shared: &Shared, slots: &[*const Slot], count: u32) {
        for slot in slots.iter().cycle().take(count as usize) {
            // SAFETY: the slots come from `acquire` on this list, and only this thread uses them.
            let mut slot = unsafe { OwnedSlot::new(shared, &**slot) };
            append::write(&mut slot, b"x").unwrap();
        }
    }

    /// However unevenly chunks arrive: through one shard alone, then through the others, then
    /// through all.
    #[test]
    fn a_worker_that_does_nothing_gets_its_share_and_a_quarter_more() {
        for share in [1, 3, 16, 31, 32, 100, 400] {
            for first in [0, share / 2, share] {
                let producers = if share < 100 { 2 } else { 8 };
                // Memory for one worker that hangs and one that does not.
                let shared = Shared::new(2 * share, 1, 2, Barrier::detect()).unwrap();
                let slots: Vec<_> =
                    (0..producers).map(|_| shared.slots.acquire().unwrap()).collect();
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
                // The chunks that producers had begun by then come on top.
                let most = share + share / 4 + producers;
                let least = share.min(sealed);
                assert!((least..=most).contains(&held[0]), "{held:?} of {share}, {first} first");
            }
        }
    }

    /// A producer that is new to the worker avoids it too.
    #[test]
    fn a_worker_that_holds_its_share_gets_no_more() {
        for (backlog, home) in [(399, 0), (400, 1), (401, 1)] {
            let shared = Shared::new(800, 8, 2, Barrier::detect()).unwrap();
            shared.mailboxes[0].set_backlog(backlog);
            let mut slot = Borrowed::new(&shared).unwrap();
            let mut slot = slot.owned();
            append::write(&mut slot, b"x").unwrap();
            assert_eq!(slot.slot.current().home(), home, "{backlog}");
        }
    }

    /// To the first worker that neither holds its share nor works, before the present one.
    #[test]
    fn who_is_dismissed_goes_to_a_worker_before_if_there_is_one() {
        for (full, working, home) in [
            (&[][..], &[][..], 0),
            (&[0], &[], 1),
            (&[], &[0], 1),
            (&[1], &[0], 2),
            (&[0, 1], &[2], 3),
            (&[0, 1, 2, 3], &[], 3),
        ] {
            let shared = Shared::new(800, 8, 5, Barrier::detect()).unwrap();
            full.iter().for_each(|worker: &usize| shared.mailboxes[*worker].set_backlog(160));
            working.iter().for_each(|worker: &usize| shared.mailboxes[*worker].set_working(true));
            let mut slot = Borrowed::new(&shared).unwrap();
            let mut slot = slot.owned();
            let busy = slot.enter();
            busy.lease.home = 3;
            assert_eq!(super::earlier(&busy), home, "{full:?} are full, {working:?} work");
        }
    }
}
