//! Records and messages that are larger than a chunk: chains of chunks, sealed together.
//!
//! Guarantees: nobody sees a chain before it is whole; one that is given up goes back to the pool.
//! A message's chain stands for its memory: the chunks' own bytes are not touched. Never waits.

use crate::accept::lease;
use crate::base::sync::Release;
use crate::memory::Shared;
use crate::memory::arena::{Arena, BytePtr, ChunkId, Extent};
use crate::memory::message::Message;
use crate::memory::slot::Slot;
use crate::memory::slot::current::LeasePhase;
use crate::memory::slot::owned::Busy;
use crate::report::error::WriteError;
use crate::report::stats::Count;

/// Linked chunks that are the caller's alone.
#[derive(Debug)]
pub(crate) struct Chain {
    head: ChunkId,
    /// The last one.
    tail: ChunkId,
    chunks: u32,
    /// Of them, those that are counted as leased.
    counted: u32,
    /// The one that is being filled, where, and how many bytes it has left.
    chunk: ChunkId,
    at: BytePtr,
    room: usize,
    /// Bytes in it.
    len: usize,
}

impl Chain {
    /// Takes so many chunks from the pool, or none.
    pub(crate) fn lease(busy: &mut Busy<'_>, chunks: u32) -> Result<Self, WriteError> {
        lease::pass_guard(busy)?;
        let arena = &busy.shared.arena;
        let Some((head, tail)) = pop(busy.shared, busy.slot, chunks) else {
            // What the leased chunk holds may be what is missing.
            lease::seal(busy);
            return Err(WriteError::Full);
        };
        let (at, room) = (arena.at(head, 0), arena.size());
        Ok(Chain { head, tail, chunks, counted: 0, chunk: head, at, room, len: 0 })
    }

    /// Makes a chain of the leased chunk, to which nothing is committed: its first `len` bytes are the
    /// chain's.
    pub(crate) fn adopt(busy: &mut Busy<'_>, len: usize) -> Self {
        let (arena, chunk) = (&busy.shared.arena, busy.slot.current().chunk());
        lease::forget(busy, Extent::default());
        let (at, room) = (arena.at(chunk, len), arena.size() - len);
        Chain { head: chunk, tail: chunk, chunks: 1, counted: 1, chunk, at, room, len }
    }

    /// Makes room for so many bytes more.
    pub(crate) fn grow(&mut self, busy: &Busy<'_>, bytes: usize) -> Result<(), WriteError> {
        let (shared, slot) = (busy.shared, busy.slot);
        let (arena, size) = (&shared.arena, shared.arena.size());
        let chunks = (self.len + bytes).div_ceil(size) as u32;
        if chunks > self.chunks {
            if shared.is_guarded() {
                // What is leased besides, its producer's next swap seals.
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
            // SAFETY: the chain is ours alone, and the part fits the chunk.
            self.at = unsafe { self.at.put(part) };
            self.add(part.len());
            bytes = rest;
        }
    }

    /// Appends bytes of a chunk that the caller leases, at most a chunk full, at the beginning.
    ///
    /// # Safety
    /// As `BytePtr::copy`; nothing was put here before.
    pub(crate) unsafe fn copy(&mut self, from: BytePtr, len: usize) {
        // SAFETY: the caller's promise; a whole chunk is free here.
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

    /// Seals it as one record. Busy, behind an open gate.
    pub(crate) fn commit(self, busy: &mut Busy<'_>) {
        let (shared, slot) = (busy.shared, busy.slot);
        let (arena, size) = (&shared.arena, shared.arena.size());
        // After all leases before it, before the next one.
        arena.note_lease(self.head, slot.number, 2 * slot.leased() + 1);
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
        // The record counts where it begins, and from here on.
        fill(arena, self.head, Extent::new(first, 1));
        self.seal(busy);
    }

    fn link(&self, arena: &Arena) {
        if self.head != self.tail {
            arena.set_chained(self.head, arena.next(self.head));
        }
    }

    /// Gives the chunks to a worker, after the records before.
    fn seal(self, busy: &mut Busy<'_>) {
        let (shared, slot) = (busy.shared, busy.slot);
        let arena = &shared.arena;
        slot.add_leased(self.chunks - self.counted);
        if busy.lease.chunk.extent().len() > 0 {
            // The records before this one go before it. An empty chunk may stay.
            lease::seal(busy);
        } else if slot.current().phase() == LeasePhase::Live {
            // Its records come after this one.
            arena.note_lease(slot.current().chunk(), slot.number, 2 * slot.leased());
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

    /// Gives the chunks back to the pool, as good as new; one that was adopted is leased again.
    pub(crate) fn abandon(self, busy: &mut Busy<'_>) {
        let shared = busy.shared;
        let arena = &shared.arena;
        if self.counted == 0 {
            shared.pool.push_chain(arena, self.head, self.tail);
            return;
        }
        if self.head != self.tail {
            shared.pool.push_chain(arena, arena.next(self.head), self.tail);
        }
        lease::begin(busy, self.head);
    }
}

/// Chunks from the pool, the first and the last.
fn pop(shared: &Shared, slot: &Slot, chunks: u32) -> Option<(ChunkId, ChunkId)> {
    let popped = shared.pool.pop_chain(&shared.arena, slot.number, chunks);
    if popped.is_none() {
        shared.starve(chunks);
    }
    popped
}

/// Says what a chunk of a chain holds. The push publishes it. Release: as in `Arena::reset`.
fn fill(arena: &Arena, chunk: ChunkId, extent: Extent) {
    arena.commit_word(chunk).store(extent.0, Release);
}

/// A message that is larger than a chunk stands in a chain of its length.
pub(crate) fn hand_over(
    busy: &mut Busy<'_>,
    message: Message,
    chunks: u32,
) -> Result<(), (WriteError, Message)> {
    let mut chain = match Chain::lease(busy, chunks) {
        Ok(chain) => chain,
        Err(cause) => return Err((cause, message)),
    };
    let arena = &busy.shared.arena;
    // All of it stands in the head; the other chunks are empty, and free when it is.
    chain.len = message.bytes().len();
    arena.place(chain.head, 0, message, 0);
    fill(arena, chain.head, Extent::new(chain.len, 1));
    chain.seal(busy);
    Ok(())
}
