//! Records and messages larger than a chunk: chains of chunks that are sealed together.
//!
//! Guarantees: no worker sees a chain before it is whole. A chain that is given up goes back to the
//! pool. A message's chain stands for its memory; the chunks' own bytes stay untouched. Never
//! waits.

use crate::accept::{lease, recorder};
use crate::base::sync::Release;
use crate::memory::Shared;
use crate::memory::arena::{Arena, BytePtr, ChunkId, Extent};
use crate::memory::message::Message;
use crate::memory::slot::Slot;
use crate::memory::slot::current::LeasePhase;
use crate::memory::slot::owned::Busy;
use crate::report::error::WriteError;
use crate::report::stats::Count;

/// Linked chunks that only the caller accesses.
#[derive(Debug)]
pub(crate) struct Chain {
    head: ChunkId,
    /// The last chunk.
    tail: ChunkId,
    chunks: u32,
    /// How many of them are counted as leased.
    counted: u32,
    /// The chunk being filled, the next byte in it, and the bytes it has left.
    chunk: ChunkId,
    at: BytePtr,
    room: usize,
    /// Bytes in the chain.
    len: usize,
}

impl Chain {
    /// Takes `chunks` chunks from the pool, or none.
    pub(crate) fn lease(busy: &mut Busy<'_>, chunks: u32) -> Result<Self, WriteError> {
        lease::pass_quota(busy)?;
        let Some(popped) = pop(busy.shared, busy.slot, chunks) else {
            // The leased chunk may hold the missing memory, so pass it to a worker.
            lease::seal(busy);
            return Err(WriteError::Full);
        };
        Ok(Self::of(busy.shared, popped, chunks))
    }

    /// The same for a record of which no byte is in the leased chunk. A flight recorder takes over
    /// that one, too.
    pub(crate) fn lease_all(busy: &mut Busy<'_>, chunks: u32) -> Result<Self, WriteError> {
        match Self::lease(busy, chunks) {
            Err(WriteError::Full) if busy.shared.ring.is_some() => {
                let popped = pop(busy.shared, busy.slot, chunks).ok_or(WriteError::Full)?;
                Ok(Self::of(busy.shared, popped, chunks))
            }
            leased => leased,
        }
    }

    fn of(shared: &Shared, (head, tail): (ChunkId, ChunkId), chunks: u32) -> Self {
        let (at, room) = (shared.arena.at(head, 0), shared.arena.size());
        Chain { head, tail, chunks, counted: 0, chunk: head, at, room, len: 0 }
    }

    /// Turns the leased chunk into a chain. Nothing is committed to it, and its first `len` bytes
    /// belong to the chain.
    pub(crate) fn adopt(busy: &mut Busy<'_>, len: usize) -> Self {
        let (arena, chunk) = (&busy.shared.arena, busy.slot.current().chunk());
        lease::forget(busy, Extent::default());
        let (at, room) = (arena.at(chunk, len), arena.size() - len);
        Chain { head: chunk, tail: chunk, chunks: 1, counted: 1, chunk, at, room, len }
    }

    /// Makes room for `bytes` more bytes.
    pub(crate) fn grow(&mut self, busy: &Busy<'_>, bytes: usize) -> Result<(), WriteError> {
        let (shared, slot) = (busy.shared, busy.slot);
        let (arena, size) = (&shared.arena, shared.arena.size());
        let chunks = (self.len + bytes).div_ceil(size) as u32;
        if chunks > self.chunks {
            if shared.is_over_quota() {
                // The producer's next swap seals the chunk that it leases beside this chain.
                return Err(WriteError::DiskGuard);
            }
            let (head, tail) = pop(shared, slot, chunks - self.chunks).ok_or(WriteError::Full)?;
            arena.set_next(self.tail, head);
            (self.tail, self.chunks) = (tail, chunks);
        }
        Ok(())
    }

    /// Appends bytes for which there is room.
    pub(crate) fn put(&mut self, arena: &Arena, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            self.advance(arena);
            let (part, rest) = bytes.split_at(bytes.len().min(self.room));
            // SAFETY: only the caller accesses the chain, and the part fits the chunk.
            self.at = unsafe { self.at.put(part) };
            self.add(part.len());
            bytes = rest;
        }
    }

    /// Copies bytes from a chunk that the caller leases to the beginning of the chain. They fit one
    /// chunk.
    ///
    /// # Safety
    /// As for `BytePtr::copy`; the chain is still empty.
    pub(crate) unsafe fn copy(&mut self, from: BytePtr, len: usize) {
        // SAFETY: the caller leases the source and wrote the bytes; this chunk is empty, so they
        // fit.
        self.at = unsafe { self.at.copy(from, len) };
        self.add(len);
    }

    fn advance(&mut self, arena: &Arena) {
        if self.room == 0 {
            self.chunk = arena.next(self.chunk);
            (self.at, self.room) = (arena.at(self.chunk, 0), arena.size());
        }
    }

    fn add(&mut self, len: usize) {
        self.room -= len;
        self.len += len;
    }

    /// Seals the chain as one record. The owner is busy behind an open gate.
    pub(crate) fn commit(self, busy: &mut Busy<'_>) {
        let (shared, slot) = (busy.shared, busy.slot);
        let (arena, size) = (&shared.arena, shared.arena.size());
        // Orders the chain after all leases before it and before the next one.
        note_order(shared, self.head, slot.number, 2 * slot.leased() + 1);
        let first = self.len.min(size);
        let (mut chunk, mut left) = (self.head, self.len - first);
        while left > 0 {
            chunk = arena.next(chunk);
            arena.note_part(chunk);
            let extent = Extent::new(left.min(size), 0);
            fill(arena, chunk, extent);
            left -= extent.len();
        }
        self.link(arena);
        // The head's extent counts the record, so store it last.
        fill(arena, self.head, Extent::new(first, 1));
        self.seal(busy);
    }

    fn link(&self, arena: &Arena) {
        if self.head != self.tail {
            arena.set_chained(self.head, arena.next(self.head));
        }
    }

    /// Delivers the chunks to a worker, after the records before.
    fn seal(self, busy: &mut Busy<'_>) {
        let (shared, slot) = (busy.shared, busy.slot);
        let arena = &shared.arena;
        slot.add_leased(self.chunks - self.counted);
        if busy.lease.chunk.extent().len() > 0 {
            // The records before this one must reach the worker first. An empty chunk may stay.
            lease::seal(busy);
        } else if slot.current().phase() == LeasePhase::Live {
            // The leased chunk's records come after this one.
            note_order(shared, slot.current().chunk(), slot.number, 2 * slot.leased());
        }
        self.link(arena);
        busy.lease.home = lease::home(busy);
        let before = slot.current();
        slot.set_current(before.swapping());
        slot.add_sealed(Count::new(1, self.len as u64));
        lease::deliver(shared, busy.lease.home, self.head, self.chunks);
        slot.set_current(match before.phase() {
            LeasePhase::Idle => before.idle(),
            _ => before.resumed(),
        });
    }

    /// Returns the reset chunks to the pool. A chunk that was adopted is leased again.
    pub(crate) fn abandon(self, busy: &mut Busy<'_>) {
        let shared = busy.shared;
        let give_back = |first, chunks| {
            shared.ring.iter().for_each(|ring| ring.gave_back(chunks));
            shared.pool.push_chain(&shared.arena, first, self.tail);
        };
        if self.counted == 0 {
            give_back(self.head, self.chunks);
            return;
        }
        if self.head != self.tail {
            give_back(shared.arena.next(self.head), self.chunks - 1);
        }
        lease::renew(busy, self.head);
    }
}

/// Records the order of a lease where a recovery or a dump looks for it.
fn note_order(shared: &Shared, chunk: ChunkId, producer: u64, lease: u64) {
    shared.arena.note_lease(chunk, producer, lease);
    if shared.ring.is_some() {
        shared.arena.note_order(chunk, producer, lease);
    }
}

/// Takes linked chunks from the pool; returns the first and the last.
fn pop(shared: &Shared, slot: &Slot, chunks: u32) -> Option<(ChunkId, ChunkId)> {
    let popped = match &shared.ring {
        Some(ring) => recorder::pop_chain(shared, ring, slot, chunks),
        None => shared.pool.pop_chain(&shared.arena, slot.number, chunks),
    };
    if popped.is_none() {
        shared.starve(chunks);
    }
    popped
}

/// Sets the extent of a chunk in the chain. The push publishes it. Release: as in `Arena::reset`.
fn fill(arena: &Arena, chunk: ChunkId, extent: Extent) {
    arena.commit_word(chunk).store(extent.0, Release);
}

/// Hands over a message larger than a chunk, in a chain of its length.
pub(crate) fn hand_over(
    busy: &mut Busy<'_>,
    message: Message,
    chunks: u32,
) -> Result<(), (WriteError, Message)> {
    let mut chain = match Chain::lease_all(busy, chunks) {
        Ok(chain) => chain,
        Err(cause) => return Err((cause, message)),
    };
    let arena = &busy.shared.arena;
    // The whole message stands in the head. The other chunks stay empty and are freed with it.
    chain.len = message.bytes().len();
    arena.place(chain.head, 0, message, 0);
    fill(arena, chain.head, Extent::new(chain.len, 1));
    chain.seal(busy);
    Ok(())
}
