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
use crate::memory::arena::BytePtr;
use crate::memory::slot::gate;
use crate::memory::slot::lease::Chunk;
use crate::memory::slot::owned::{Busy, OwnedSlot};
use crate::report::error::WriteError;

/// A record that is being formatted; see [`BufferedWriter::record`](crate::BufferedWriter::record).
///
/// `write!` works on it without an import; so does whatever takes a [`fmt::Write`] or an
/// [`io::Write`], such as a serialiser. Once something was refused, all the rest is too, and the
/// record is as if it had never been.
pub struct RecordWriter<'a> {
    slot: OwnedSlot<'a>,
    draft: Draft,
    refused: Option<WriteError>,
    is_over: bool,
}

/// The bytes that are formatted so far.
struct Draft {
    /// Where the next bytes go in the leased chunk. The lease itself is where the record begins.
    at: BytePtr,
    /// Bytes left there; zero once the record is in a chain, or refused.
    room: usize,
    /// Bytes formatted.
    len: usize,
    /// The leased chunk, which the lease does not show meanwhile.
    chunk: Chunk,
    chain: Option<Chain>,
}

impl<'a> RecordWriter<'a> {
    /// Begins a record: a chunk is leased, if there is none with room. No other record is being formatted
    /// through the slot.
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
        // SAFETY: there is room; the chunk is leased, and not revoked while we are recording.
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

    /// Ends the record: accepted as a whole, or not at all. Once.
    #[inline]
    pub(crate) fn end(&mut self, formatted: fmt::Result) -> Result<(), WriteError> {
        let complete = match (self.refused, formatted) {
            // Even if the formatter thinks otherwise.
            (Some(cause), _) => Err(cause),
            (None, Err(_)) => Err(WriteError::Format),
            (None, Ok(())) => Ok(()),
        };
        self.is_over = true;
        if self.slot.slot.is_wiped() {
            // The formatter forked, and this is the child: what it leased is the parent's.
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
    /// Nothing, in the leased chunk.
    #[inline]
    fn begin(busy: &mut Busy<'_>) -> Self {
        let chunk = busy.lease.chunk;
        let room = chunk.room();
        // SAFETY: within the chunk.
        let at = unsafe { chunk.base.add(chunk.end - room) };
        let mut draft = Draft { at, room, len: 0, chunk, chain: None };
        draft.hide_chunk(busy);
        draft
    }

    /// Begins, or goes on, with foreign code.
    fn hide_chunk(&mut self, busy: &mut Busy<'_>) {
        self.chunk = std::mem::replace(&mut busy.lease.chunk, busy.slot.no_chunk());
        busy.lease.is_recording = true;
    }

    /// Foreign code has returned.
    fn show_chunk(&self, busy: &mut Busy<'_>) {
        busy.lease.chunk = self.chunk;
    }

    /// # Safety
    /// There is room; the chunk is leased, and its owner busy or recording.
    #[inline]
    unsafe fn put(&mut self, bytes: &[u8]) {
        // SAFETY: the caller's promise.
        self.at = unsafe { self.at.put(bytes) };
        self.room -= bytes.len();
        self.len += bytes.len();
    }

    /// What does not fit the leased chunk goes to a new one, with what is there already.
    fn put_elsewhere(&mut self, busy: &mut Busy<'_>, bytes: &[u8]) -> Result<(), WriteError> {
        let arena = &busy.shared.arena;
        let chunks = (self.len + bytes.len()).div_ceil(arena.size());
        if chunks > arena.none() as usize {
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

    /// To the beginning of a new chunk.
    fn move_on(&mut self, busy: &mut Busy<'_>, bytes: &[u8]) -> Result<(), WriteError> {
        lease::pass_guard(busy)?;
        let chunk = lease::pop(busy)?;
        let arena = &busy.shared.arena;
        // SAFETY: the record's bytes, which we wrote. Before the old chunk is sealed: it may be
        // another's then.
        self.at = unsafe { arena.at(chunk, 0).copy(self.begin_at(), self.len) };
        self.room = arena.size() - self.len;
        lease::seal(busy);
        lease::begin(busy, chunk);
        // SAFETY: all of the record fits one chunk.
        unsafe { self.put(bytes) };
        Ok(())
    }

    /// A chain with what is there already.
    fn begin_chain(&mut self, busy: &mut Busy<'_>, chunks: u32) -> Result<Chain, WriteError> {
        self.room = 0;
        if busy.lease.chunk.extent().len() == 0 {
            return Ok(Chain::adopt(busy, self.len));
        }
        let mut chain = Chain::lease(busy, chunks)?;
        // SAFETY: the record's bytes, which we wrote; they are at most a chunk.
        unsafe { chain.copy(self.begin_at(), self.len) };
        Ok(chain)
    }

    /// Where the record begins, while it is in the leased chunk.
    fn begin_at(&self) -> BytePtr {
        // SAFETY: it begins where nothing is committed yet.
        unsafe { self.chunk.base.add(self.chunk.extent().len()) }
    }

    /// The last step: commits or forgets the record, and the lease is as any other. To commit, behind an
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

    /// Does nothing: a record is accepted as a whole, at its end.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for RecordWriter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordWriter").field("bytes", &self.len()).finish_non_exhaustive()
    }
}
