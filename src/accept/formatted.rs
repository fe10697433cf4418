//! Formats a record in its final place: in the leased chunk, beyond the committed prefix.
//!
//! Guarantees: nothing of a record is visible before it is whole. An error or a panic leaves
//! nothing behind. A record that outgrows its chunk moves to a new one; one that outgrows that
//! becomes a chain.
//!
//! The formatter is foreign code and runs while nothing is held. The owner is not busy, so no
//! thread waits for it. Its slot says "recording" instead, so the chunk cannot be revoked. The
//! lease shows no room, so the formatter's own writes go to another slot.

use std::fmt;
use std::io;

use crate::accept::large::Chain;
use crate::accept::lease;
use crate::memory::arena::BytePtr;
use crate::memory::slot::gate;
use crate::memory::slot::lease::Chunk;
use crate::memory::slot::owned::{Busy, OwnedSlot};
use crate::report::error::WriteError;

/// A record that is being formatted; see [`BufferedWriter::record`](crate::BufferedWriter::record).
///
/// `write!` works on it without an import. So does code that takes a [`fmt::Write`] or an
/// [`io::Write`], such as a serialiser. After one refusal everything else is refused too, and no
/// part of the record is kept.
pub struct RecordWriter<'a> {
    slot: OwnedSlot<'a>,
    draft: Draft,
    refused: Option<WriteError>,
    is_over: bool,
}

/// The bytes formatted so far.
struct Draft {
    /// Next byte in the leased chunk. The record begins at the chunk's committed length.
    at: BytePtr,
    /// Bytes left there. Zero once the record is in a chain or was refused.
    room: usize,
    /// Bytes formatted.
    len: usize,
    /// The leased chunk, which the lease hides while the formatter runs.
    chunk: Chunk,
    chain: Option<Chain>,
}

impl<'a> RecordWriter<'a> {
    /// Begins a record, and leases a chunk if there is none with room. No other record is being
    /// formatted through the slot.
    #[inline]
    pub(crate) fn begin(mut slot: OwnedSlot<'a>) -> Result<Self, WriteError> {
        if slot.slot.is_wiped() {
            return Err(WriteError::Forked);
        }
        let mut busy = slot.enter();
        let is_open = busy.slot.gate() & gate::STATE == gate::OPEN;
        if !is_open || busy.lease.chunk.room() == 0 {
            lease::make_room(&mut busy, 1)?;
        }
        let draft = Draft::begin(&mut busy);
        drop(busy);
        Ok(RecordWriter { slot, draft, refused: None, is_over: false })
    }

    /// Bytes formatted so far.
    pub(crate) fn len(&self) -> usize {
        self.draft.len
    }

    /// Appends bytes.
    #[inline]
    pub(crate) fn put(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        if bytes.len() > self.draft.room {
            return self.put_slow(bytes);
        }
        // SAFETY: the bytes fit; the chunk is leased and cannot be revoked while the slot is
        // recording.
        unsafe { self.draft.put(bytes) };
        Ok(())
    }

    #[cold]
    fn put_slow(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        if let Some(cause) = self.refused {
            return Err(cause);
        }
        let RecordWriter { slot, draft, .. } = self;
        if slot.slot.is_wiped() {
            self.refused = Some(WriteError::Forked);
            return Err(WriteError::Forked);
        }
        let mut busy = slot.enter();
        draft.show_chunk(&mut busy);
        let result = if lease::pass_gate(&mut busy) {
            draft.put_elsewhere(&mut busy, bytes)
        } else {
            Err(WriteError::Closed)
        };
        draft.hide_chunk(&mut busy);
        if let Err(cause) = result {
            draft.room = 0;
            drop(busy);
            self.refused = Some(cause);
        }
        result
    }

    /// Ends the record: all of it is accepted, or nothing. Call this once.
    #[inline]
    pub(crate) fn end(&mut self, formatted: fmt::Result) -> Result<(), WriteError> {
        let complete = match (self.refused, formatted) {
            // A refusal counts even if the formatter ignored it.
            (Some(cause), _) => Err(cause),
            (None, Err(_)) => Err(WriteError::Format),
            (None, Ok(())) => Ok(()),
        };
        self.is_over = true;
        if self.slot.slot.is_wiped() {
            // The formatter forked, and this is the child. The parent owns the lease.
            return Err(WriteError::Forked);
        }
        let mut busy = self.slot.enter();
        self.draft.show_chunk(&mut busy);
        let result = complete.and_then(|()| {
            let open = lease::pass_gate(&mut busy);
            if open { Ok(()) } else { Err(WriteError::Closed) }
        });
        self.draft.end(&mut busy, result.is_ok());
        result
    }

    /// Appends formatted text; `write!` calls this.
    ///
    /// # Errors
    /// If memory is full, the writer is closed, or a `Display` implementation fails.
    pub fn write_fmt(&mut self, args: fmt::Arguments<'_>) -> fmt::Result {
        match args.as_str() {
            Some(text) => self.write_str(text),
            None => fmt::Write::write_fmt(self, args),
        }
    }

    /// Appends text.
    ///
    /// # Errors
    /// If memory is full or the writer is closed.
    #[inline]
    pub fn write_str(&mut self, text: &str) -> fmt::Result {
        self.write_bytes(text.as_bytes())
    }

    /// Appends bytes, which need not be text.
    ///
    /// # Errors
    /// If memory is full or the writer is closed.
    #[inline]
    pub fn write_bytes(&mut self, bytes: &[u8]) -> fmt::Result {
        self.put(bytes).map_err(|_| fmt::Error)
    }
}

impl Drop for RecordWriter<'_> {
    /// Runs without `end` only if the formatter panicked.
    fn drop(&mut self) {
        if self.is_over || self.slot.slot.is_wiped() {
            return;
        }
        let mut busy = self.slot.enter();
        self.draft.show_chunk(&mut busy);
        self.draft.end(&mut busy, false);
        busy.slot.add_refused(WriteError::Format, self.draft.len);
    }
}

impl Draft {
    /// An empty record in the leased chunk.
    #[inline]
    fn begin(busy: &mut Busy<'_>) -> Self {
        let chunk = busy.lease.chunk;
        let room = chunk.room();
        // SAFETY: the offset is the committed length, so the result is within the chunk or at its
        // end.
        let at = unsafe { chunk.base.add(chunk.end - room) };
        let mut draft = Draft { at, room, len: 0, chunk, chain: None };
        draft.hide_chunk(busy);
        draft
    }

    /// Called before foreign code runs or continues.
    fn hide_chunk(&mut self, busy: &mut Busy<'_>) {
        self.chunk = std::mem::replace(&mut busy.lease.chunk, busy.slot.no_chunk());
        busy.lease.is_recording = true;
    }

    /// Called when foreign code has returned.
    fn show_chunk(&self, busy: &mut Busy<'_>) {
        busy.lease.chunk = self.chunk;
    }

    /// # Safety
    /// The bytes fit. The chunk is leased, and its owner is busy or recording.
    #[inline]
    unsafe fn put(&mut self, bytes: &[u8]) {
        // SAFETY: the caller promises the lease and the room.
        self.at = unsafe { self.at.put(bytes) };
        self.room -= bytes.len();
        self.len += bytes.len();
    }

    /// Appends bytes that do not fit the leased chunk. The record moves to a new chunk or into a
    /// chain.
    fn put_elsewhere(&mut self, busy: &mut Busy<'_>, bytes: &[u8]) -> Result<(), WriteError> {
        let arena = &busy.shared.arena;
        let chunks = (self.len + bytes.len()).div_ceil(arena.size());
        if chunks > busy.shared.record_chunks_max() {
            return Err(WriteError::TooLarge);
        }
        if chunks == 1 {
            return self.move_on(busy, bytes);
        }
        let mut chain = match self.chain.take() {
            Some(chain) => chain,
            None => self.begin_chain(busy, chunks as u32)?,
        };
        let grown = chain.grow(busy, bytes.len());
        if grown.is_ok() {
            chain.put(arena, bytes);
            self.len += bytes.len();
        }
        self.chain = Some(chain);
        grown
    }

    /// Moves the record to the beginning of a new chunk.
    fn move_on(&mut self, busy: &mut Busy<'_>, bytes: &[u8]) -> Result<(), WriteError> {
        lease::pass_quota(busy)?;
        let chunk = lease::take(busy)?;
        let arena = &busy.shared.arena;
        // SAFETY: this thread leases both chunks and wrote the bytes, which fit. The copy comes
        // before the seal, after which another producer may have the old chunk.
        self.at = unsafe { arena.at(chunk, 0).copy(self.begin_at(), self.len) };
        self.room = arena.size() - self.len;
        lease::seal(busy);
        lease::renew(busy, chunk);
        // SAFETY: the whole record fits one chunk.
        unsafe { self.put(bytes) };
        Ok(())
    }

    /// Begins a chain with the bytes formatted so far.
    fn begin_chain(&mut self, busy: &mut Busy<'_>, chunks: u32) -> Result<Chain, WriteError> {
        self.room = 0;
        if busy.lease.chunk.extent().len() == 0 {
            return Ok(Chain::adopt(busy, self.len));
        }
        // Not `lease_all`: others may write over the record as soon as its chunk is sealed.
        let mut chain = Chain::lease(busy, chunks)?;
        // SAFETY: this thread leases the source and wrote the bytes. They are at most a chunk, and
        // the chain is empty.
        unsafe { chain.copy(self.begin_at(), self.len) };
        Ok(chain)
    }

    /// The beginning of the record while it is in the leased chunk.
    fn begin_at(&self) -> BytePtr {
        // SAFETY: the committed length is within the chunk or at its end.
        unsafe { self.chunk.base.add(self.chunk.extent().len()) }
    }

    /// Commits or forgets the record and makes the lease an ordinary one again. A commit needs an
    /// open gate.
    #[inline]
    fn end(&mut self, busy: &mut Busy<'_>, commit: bool) {
        busy.lease.is_recording = false;
        if self.chain.is_some() {
            self.end_chain(busy, commit);
        } else if commit && self.len > 0 {
            busy.lease.chunk.commit(busy.lease.chunk.extent(), self.len);
        }
    }

    #[cold]
    fn end_chain(&mut self, busy: &mut Busy<'_>, commit: bool) {
        match self.chain.take() {
            Some(chain) if commit => chain.commit(busy),
            Some(chain) => chain.abandon(busy),
            None => {}
        }
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

    /// Does nothing: a record is accepted as a whole, when it ends.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for RecordWriter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordWriter").field("bytes", &self.len()).finish_non_exhaustive()
    }
}
