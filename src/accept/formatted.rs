//! A record that is formatted where it will lie: in the leased chunk, beyond what is committed.
//!
//! Guarantees: nothing of it is visible before it is whole; an error or a panic leaves nothing
//! behind. What outgrows its chunk moves to a new one, what outgrows that into a chain.
//!
//! The formatter is foreign code, and runs while nothing is held: not busy, so that nobody waits for
//! it. The slot says that it is recording instead, which keeps the chunk from being revoked; the
//! lease shows no room, which sends the formatter's own writes to another slot.

use std::fmt;
use std::io;

use crate::accept::large::Chain;
use crate::accept::lease;
use crate::memory::Shared;
use crate::memory::arena::BytePtr;
use crate::memory::slot::{Chunk, Lease, Slot, gate};
use crate::report::error::WriteError;

/// A record that is being formatted; see [`BufferedWriter::record`](crate::BufferedWriter::record).
///
/// `write!` works on it without an import; so does whatever takes a [`fmt::Write`] or an
/// [`io::Write`], such as a serialiser. Once something was refused, all the rest is too, and the
/// record is as if it had never been.
pub struct RecordWriter<'a> {
    shared: &'a Shared,
    /// The caller is its owner.
    slot: &'a Slot,
    /// Where the next bytes go in the leased chunk. The lease itself is where the record begins.
    at: BytePtr,
    /// Bytes left there; zero once the record is in a chain, or refused.
    room: usize,
    /// Bytes formatted.
    len: usize,
    /// The leased chunk, which the lease does not show meanwhile.
    chunk: Chunk,
    chain: Option<Chain>,
    refused: Option<WriteError>,
    is_over: bool,
}

impl<'a> RecordWriter<'a> {
    /// Begins a record: a chunk is leased, if there is none with room.
    ///
    /// # Safety
    /// The caller is the owner of `slot`, which belongs to `shared`, and stays it during `'a`. No
    /// other record is being formatted through it.
    #[inline]
    pub(crate) unsafe fn begin(shared: &'a Shared, slot: &'a Slot) -> Result<Self, WriteError> {
        if slot.is_wiped() {
            return Err(WriteError::Forked);
        }
        slot.enter();
        // SAFETY: the lease is the owner's, and no other reference to it is alive: those that
        // `append` and this file make end before any foreign code runs.
        let lease = unsafe { &mut *slot.lease.get() };
        let ready = slot.gate() & gate::STATE == gate::OPEN && lease.chunk.room() > 0;
        let result = if ready { Ok(()) } else { lease::make_room(shared, slot, lease, 1) };
        let mut record = RecordWriter {
            shared,
            slot,
            at: BytePtr::NONE,
            room: 0,
            len: 0,
            chunk: slot.no_chunk(),
            chain: None,
            refused: result.err(),
            is_over: result.is_err(),
        };
        if result.is_ok() {
            record.hide_chunk(lease);
            record.room = record.chunk.room();
            // SAFETY: within the chunk.
            record.at = unsafe { record.chunk.base.add(record.chunk.end - record.room) };
        }
        lease.end_write(slot);
        result.map(|()| record)
    }

    /// Begins, or goes on, with foreign code.
    fn hide_chunk(&mut self, lease: &mut Lease) {
        self.chunk = std::mem::replace(&mut lease.chunk, self.slot.no_chunk());
        lease.is_recording = true;
    }

    /// Bytes formatted so far.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Appends bytes.
    #[inline]
    pub(crate) fn put(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        if bytes.len() > self.room {
            return self.put_slow(bytes);
        }
        // SAFETY: there is room; the chunk is leased, and not revoked while we are recording.
        self.at = unsafe { self.at.put(bytes) };
        self.room -= bytes.len();
        self.len += bytes.len();
        Ok(())
    }

    #[cold]
    fn put_slow(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        if let Some(cause) = self.refused {
            return Err(cause);
        }
        if self.slot.is_wiped() {
            self.refused = Some(WriteError::Forked);
            return Err(WriteError::Forked);
        }
        self.slot.enter();
        // SAFETY: as in `begin`.
        let lease = unsafe { &mut *self.slot.lease.get() };
        lease.chunk = self.chunk;
        let result = if lease::pass_gate(self.shared, self.slot, lease) {
            self.put_elsewhere(lease, bytes)
        } else {
            Err(WriteError::Closed)
        };
        self.hide_chunk(lease);
        lease.end_write(self.slot);
        if let Err(cause) = result {
            self.refused = Some(cause);
            self.room = 0;
        }
        result
    }

    /// What does not fit the leased chunk goes to a new one, with what is there already.
    fn put_elsewhere(&mut self, lease: &mut Lease, bytes: &[u8]) -> Result<(), WriteError> {
        let (shared, arena) = (self.shared, &self.shared.arena);
        let size = arena.size();
        let chunks = (self.len + bytes.len()).div_ceil(size);
        if chunks > arena.none() as usize {
            return Err(WriteError::TooLarge);
        }
        if chunks > 1 {
            let mut chain = match self.chain.take() {
                Some(chain) => chain,
                None => self.begin_chain(lease, chunks as u32)?,
            };
            let grown = chain.grow(shared, self.slot, bytes.len());
            if grown.is_ok() {
                chain.put(arena, bytes);
            }
            self.chain = Some(chain);
            grown?;
        } else {
            lease::pass_guard(shared, self.slot, lease)?;
            let chunk = lease::pop(shared, self.slot, lease)?;
            // SAFETY: the record's bytes, which we wrote. Before the old chunk is sealed: it may be
            // another's then.
            let at = unsafe { arena.at(chunk, 0).copy(self.begin_at(), self.len) };
            lease::seal(shared, self.slot, lease);
            lease::begin(shared, self.slot, lease, chunk);
            // SAFETY: all of the record fits one chunk.
            self.at = unsafe { at.put(bytes) };
            self.room = size - self.len - bytes.len();
        }
        self.len += bytes.len();
        Ok(())
    }

    /// A chain with what is there already.
    fn begin_chain(&mut self, lease: &mut Lease, chunks: u32) -> Result<Chain, WriteError> {
        let (shared, slot) = (self.shared, self.slot);
        self.room = 0;
        if lease.chunk.extent().len() == 0 {
            return Ok(Chain::adopt(shared, slot, lease, self.len));
        }
        let mut chain = Chain::lease(shared, slot, lease, chunks)?;
        // SAFETY: the record's bytes, which we wrote; they are at most a chunk.
        unsafe { chain.copy(self.begin_at(), self.len) };
        Ok(chain)
    }

    /// Where the record begins, while it is in the leased chunk.
    fn begin_at(&self) -> BytePtr {
        // SAFETY: it begins where nothing is committed yet.
        unsafe { self.chunk.base.add(self.chunk.extent().len()) }
    }

    /// Ends the record: accepted as a whole, or not at all. Once.
    #[inline]
    pub(crate) fn end(&mut self, formatted: fmt::Result) -> Result<(), WriteError> {
        let complete = match (self.refused, formatted) {
            // Even if the formatter thinks otherwise.
            (Some(cause), _) => Err(cause),
            (None, Err(_)) => Err(WriteError::Format),
            (None, Ok(())) => Ok(()),
        };
        if self.slot.is_wiped() {
            // The formatter forked, and this is the child: what it leased is the parent's.
            self.is_over = true;
            return Err(WriteError::Forked);
        }
        self.slot.enter();
        // SAFETY: as in `begin`.
        let lease = unsafe { &mut *self.slot.lease.get() };
        lease.chunk = self.chunk;
        let result = complete.and_then(|()| {
            let open = lease::pass_gate(self.shared, self.slot, lease);
            if open { Ok(()) } else { Err(WriteError::Closed) }
        });
        self.leave(lease, result.is_ok());
        result
    }

    /// The last step: commits or forgets the record, and the lease is as any other. Busy; to commit,
    /// behind an open gate.
    #[inline]
    fn leave(&mut self, lease: &mut Lease, commit: bool) {
        self.is_over = true;
        lease.is_recording = false;
        if self.chain.is_some() {
            self.leave_chain(lease, commit);
        } else if commit && self.len > 0 {
            lease.chunk.commit(lease.chunk.extent(), self.len);
        }
        lease.end_write(self.slot);
    }

    #[cold]
    fn leave_chain(&mut self, lease: &mut Lease, commit: bool) {
        match self.chain.take() {
            Some(chain) if commit => chain.commit(self.shared, self.slot, lease),
            Some(chain) => chain.abandon(self.shared, self.slot, lease),
            None => {}
        }
    }

    /// Appends formatted text: what `write!` calls.
    ///
    /// # Errors
    /// If there is no memory, the writer is closed, or a `Display` returned an error.
    pub fn write_fmt(&mut self, args: fmt::Arguments<'_>) -> fmt::Result {
        match args.as_str() {
            Some(text) => self.write_str(text),
            None => fmt::Write::write_fmt(self, args),
        }
    }

    /// Appends text.
    ///
    /// # Errors
    /// If there is no memory, or the writer is closed.
    #[inline]
    pub fn write_str(&mut self, text: &str) -> fmt::Result {
        self.write_bytes(text.as_bytes())
    }

    /// Appends bytes, which need not be text.
    ///
    /// # Errors
    /// If there is no memory, or the writer is closed.
    #[inline]
    pub fn write_bytes(&mut self, bytes: &[u8]) -> fmt::Result {
        self.put(bytes).map_err(|_| fmt::Error)
    }
}

impl Drop for RecordWriter<'_> {
    /// The formatter panicked.
    fn drop(&mut self) {
        if self.is_over || self.slot.is_wiped() {
            return;
        }
        self.slot.enter();
        // SAFETY: as in `begin`.
        let lease = unsafe { &mut *self.slot.lease.get() };
        lease.chunk = self.chunk;
        self.leave(lease, false);
        self.slot.add_refused(WriteError::Format, self.len);
    }
}

impl fmt::Write for RecordWriter<'_> {
    #[inline]
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.write_bytes(text.as_bytes())
    }
}

impl io::Write for RecordWriter<'_> {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.put(bytes)?;
        Ok(bytes.len())
    }

    /// Does nothing: a record is accepted as a whole, at its end.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for RecordWriter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordWriter").field("bytes", &self.len).finish_non_exhaustive()
    }
}
