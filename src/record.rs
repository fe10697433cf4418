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

use crate::arena::BytePtr;
use crate::chain::Chain;
use crate::error::WriteError;
use crate::lease;
use crate::shared::Shared;
use crate::slot::{Lease, Slot};
use crate::sync::Release;

/// A record that is being formatted; see [`BufferedWriter::record`](crate::BufferedWriter::record).
///
/// `write!` works on it without an import; so does whatever takes a [`fmt::Write`] or an
/// [`io::Write`], such as a serialiser. Once something was refused, all the rest is too, and the
/// record is as if it had never been.
pub struct Record<'a> {
    shared: &'a Shared,
    /// The caller is its owner.
    slot: &'a Slot,
    /// Where the next bytes go in the leased chunk. The lease itself is where the record begins.
    at: BytePtr,
    /// Bytes left there; zero once the record is in a chain, or refused.
    room: usize,
    /// Bytes formatted.
    len: usize,
    /// The lease's room without this record.
    room_before: usize,
    chain: Option<Chain>,
    refused: Option<WriteError>,
    is_over: bool,
}

impl<'a> Record<'a> {
    /// Begins a record: a chunk is leased, if there is none with room.
    ///
    /// # Safety
    /// The caller is the owner of `slot`, which belongs to `shared`, and stays it during `'a`. No
    /// other record is being formatted through it.
    pub(crate) unsafe fn begin(shared: &'a Shared, slot: &'a Slot) -> Result<Self, WriteError> {
        slot.enter();
        // SAFETY: the lease is the owner's, and no other reference to it is alive: those that
        // `append` and this file make end before any foreign code runs.
        let lease = unsafe { &mut *slot.lease.get() };
        let result = lease::make_room(shared, slot, lease, 1);
        lease.is_recording = result.is_ok();
        let (at, room) = (lease.at, lease.room);
        if result.is_ok() {
            lease.room = 0;
        }
        lease.end_write(slot);
        result.map(|()| Record {
            shared,
            slot,
            at,
            room,
            len: 0,
            room_before: room,
            chain: None,
            refused: None,
            is_over: false,
        })
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
        self.slot.enter();
        // SAFETY: as in `begin`.
        let lease = unsafe { &mut *self.slot.lease.get() };
        let result = if lease::pass_gate(self.shared, self.slot, lease) {
            self.put_elsewhere(lease, bytes)
        } else {
            Err(WriteError::Closed)
        };
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
            let grown = chain.grow(shared, bytes.len());
            if grown.is_ok() {
                chain.put(arena, bytes);
            }
            self.chain = Some(chain);
            grown?;
        } else {
            let popped = lease::pop(shared, self.slot, lease);
            let chunk = popped.inspect_err(|_| self.room_before = 0)?;
            // SAFETY: the record's bytes, which we wrote. Before the old chunk is sealed: it may be
            // another's then.
            let at = unsafe { arena.at(chunk, 0).copy(lease.at, self.len) };
            lease::seal(shared, self.slot, lease);
            lease::begin(shared, self.slot, lease, chunk);
            self.room_before = std::mem::take(&mut lease.room);
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
        if lease.extent.len() == 0 {
            self.room_before = 0;
            return Ok(Chain::adopt(shared, slot, lease, self.len));
        }
        let leased = Chain::lease(shared, slot, lease, chunks);
        // Without one, the leased chunk was sealed.
        let mut chain = leased.inspect_err(|_| self.room_before = 0)?;
        // SAFETY: the record's bytes, which we wrote; they are less than a chunk.
        unsafe { chain.copy(lease.at, self.len) };
        Ok(chain)
    }

    /// Ends the record: accepted as a whole, or not at all.
    pub(crate) fn end(mut self, formatted: fmt::Result) -> Result<(), WriteError> {
        let complete = match (self.refused, formatted) {
            // Even if the formatter thinks otherwise.
            (Some(cause), _) => Err(cause),
            (None, Err(_)) => Err(WriteError::Format),
            (None, Ok(())) => Ok(()),
        };
        self.slot.enter();
        // SAFETY: as in `begin`.
        let lease = unsafe { &mut *self.slot.lease.get() };
        let result = complete.and_then(|()| {
            let open = lease::pass_gate(self.shared, self.slot, lease);
            if open { Ok(()) } else { Err(WriteError::Closed) }
        });
        self.leave(lease, result.is_ok());
        result
    }

    /// The last step: commits or forgets the record, and the lease is as any other. Busy; to commit,
    /// behind an open gate.
    fn leave(&mut self, lease: &mut Lease, commit: bool) {
        self.is_over = true;
        lease.is_recording = false;
        lease.room = self.room_before;
        match self.chain.take() {
            Some(chain) if commit => chain.commit(self.shared, self.slot, lease),
            Some(chain) => chain.give_up(self.shared, self.slot, lease),
            None if commit && self.len > 0 => {
                (lease.at, lease.room) = (self.at, self.room);
                lease.extent = lease.extent.plus(self.len);
                // SAFETY: the word is in the arena, which `shared` keeps. Release: the bytes come
                // before it. Pairs with the loads of `Intake` and `Slot::accepted`.
                unsafe { &*lease.commit }.store(lease.extent.0, Release);
            }
            None => {}
        }
        lease.end_write(self.slot);
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

impl Drop for Record<'_> {
    /// The formatter panicked.
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        self.slot.enter();
        // SAFETY: as in `begin`.
        let lease = unsafe { &mut *self.slot.lease.get() };
        self.leave(lease, false);
        self.slot.add_refused(WriteError::Format, self.len);
    }
}

impl fmt::Write for Record<'_> {
    #[inline]
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.write_bytes(text.as_bytes())
    }
}

impl io::Write for Record<'_> {
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

impl fmt::Debug for Record<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record").field("bytes", &self.len).finish_non_exhaustive()
    }
}
