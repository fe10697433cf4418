//! Pieces on their way to a worker's file, and their chunks on the way back to the pool.
//!
//! Guarantees: pieces leave in order, and each takes its messages and chunk with it exactly once.
//! Touches no file.

use std::collections::VecDeque;
use std::io::IoSlice;

use crate::base::sync::Arc;
use crate::memory::Shared;
use crate::memory::arena::{ChunkId, MESSAGES_MAX};
use crate::memory::crash_image::LIST_MAX;
use crate::report::stats::{Count, Watermark};
use crate::worker::collect::{self, Piece};

/// Bytes of one write. Larger writes are not faster.
pub(crate) const BATCH_BYTES: usize = 1 << 20;
/// Slices of one write: the most that writev(2) takes at once.
const BATCH_SLICES: usize = 1024;
/// Most slices of one piece: its messages, and bytes before, between and after them.
const SLICES_PER_PIECE_MAX: usize = 2 * MESSAGES_MAX + 1;

/// The pieces that one worker holds: first those in the file, then those that wait.
pub(crate) struct Queue {
    worker: usize,
    shared: Arc<Shared>,
    pieces: VecDeque<Piece>,
    /// The first `done` pieces are in the file and end with a whole record, but are not released.
    done: usize,
    /// The ends of the batches that are done, in ascending order, and how far the file had come
    /// with each.
    batches: VecDeque<(usize, Watermark)>,
    /// Chunks that become free when the whole queue is released.
    chunks: usize,
}

impl Queue {
    pub(crate) fn new(worker: usize, shared: Arc<Shared>) -> Self {
        let (pieces, batches) = (VecDeque::new(), VecDeque::new());
        Queue { worker, shared, pieces, done: 0, batches, chunks: 0 }
    }

    pub(crate) fn push(&mut self, piece: Piece) {
        self.chunks += usize::from(piece.last);
        self.pieces.push_back(piece);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Pieces that are not in the file.
    pub(crate) fn waiting(&self) -> usize {
        self.pieces.len() - self.done
    }

    /// Whether some pieces are in the file and not released.
    pub(crate) fn has_done(&self) -> bool {
        self.done > 0
    }

    /// Chunks held.
    pub(crate) fn chunks(&self) -> usize {
        self.chunks
    }

    /// The chunks of the pieces that were pushed last.
    pub(crate) fn newest(&self, pieces: usize) -> impl Iterator<Item = ChunkId> {
        self.pieces.iter().rev().take(pieces).map(|piece| piece.chunk)
    }

    /// The records of all pieces.
    pub(crate) fn count(&self) -> Count {
        self.pieces.iter().map(Piece::count).sum()
    }

    /// All pieces.
    pub(crate) fn pieces(&self) -> impl Iterator<Item = &Piece> {
        self.pieces.iter()
    }

    /// The next waiting pieces as slices, in a sensible number, up to the end of a whole record. At
    /// least one record. Beyond that at most `fits` bytes, and no further piece once there are
    /// `room` bytes.
    pub(crate) fn next_batch(&self, fits: usize, room: u64) -> Vec<IoSlice<'_>> {
        // In crash-proof memory a batch counts in one step, so it must fit one list.
        let most = if self.shared.arena.is_in_crash_image() { LIST_MAX } else { usize::MAX };
        let mut slices = Vec::with_capacity(BATCH_SLICES.min(self.waiting()));
        let (mut bytes, mut is_whole) = (0, true);
        for (i, piece) in self.pieces.range(self.done..).enumerate() {
            if is_whole && bytes > 0 && (bytes + piece.len as usize > fits || i >= most) {
                break;
            }
            let slice = |bytes| slices.push(IoSlice::new(bytes));
            // SAFETY: pieces are committed. Their chunks and messages go only in `free_done`, which
            // the slices' borrow of the queue rules out.
            unsafe { self.shared.arena.each_slice(piece.chunk, piece.range(), slice) };
            bytes += piece.len as usize;
            is_whole = !piece.split;
            let enough = bytes >= BATCH_BYTES || slices.len() + SLICES_PER_PIECE_MAX > BATCH_SLICES;
            if is_whole && (enough || bytes as u64 >= room) {
                break;
            }
        }
        slices
    }

    /// How many waiting pieces are whole records within the first `bytes` bytes of records, and
    /// their records.
    pub(crate) fn whole_within(&self, bytes: u64) -> (usize, Count) {
        let (mut whole, mut sum) = ((0, Count::ZERO), Count::ZERO);
        for (i, piece) in self.pieces.range(self.done..).enumerate() {
            sum += piece.count();
            if sum.bytes > bytes {
                break;
            }
            if !piece.split {
                whole = (i + 1, sum);
            }
        }
        whole
    }

    /// The file has `pieces` more pieces and has come to `mark`.
    pub(crate) fn advance(&mut self, pieces: usize, mark: Watermark) {
        if pieces > 0 {
            self.done += pieces;
            self.batches.push_back((self.done, mark));
        }
    }

    /// Skips pieces without bytes, which end a lease and need no file.
    pub(crate) fn skip_empty(&mut self) {
        while self.pieces.get(self.done).is_some_and(|piece| piece.len == 0) {
            self.done += 1;
        }
    }

    /// No piece is in a file any more; all must be written to another one.
    pub(crate) fn rewind(&mut self) {
        self.done = 0;
        self.batches.clear();
    }

    /// The pieces of each batch that is done, and how far the file had come with them.
    pub(crate) fn done_batches(
        &self,
    ) -> impl Iterator<Item = (impl Iterator<Item = &Piece>, Watermark)> {
        let mut from = 0;
        self.batches.iter().map(move |&(to, mark)| {
            let begin = std::mem::replace(&mut from, to);
            (self.pieces.range(begin..to), mark)
        })
    }

    /// Drops the pieces that are done, with their messages, and frees their chunks. Returns how
    /// many had bytes.
    pub(crate) fn free_done(&mut self) -> u64 {
        let landed = self.pieces.range(..self.done).filter(|piece| piece.len > 0).count();
        if self.done > 0 {
            self.drop_messages(self.done);
            self.batches.clear();
            let done = self.pieces.drain(..std::mem::take(&mut self.done));
            let chunks = &mut self.chunks;
            let freed = done.filter(|piece| piece.last).map(|piece| {
                *chunks -= 1;
                piece.chunk
            });
            collect::free(&self.shared, self.worker, freed);
            self.shared.mailboxes[self.worker].set_backlog(self.chunks);
        }
        landed as u64
    }

    /// Passes the pieces that are done, of which the memory is not the queue's. Returns how many had
    /// bytes.
    pub(crate) fn pass_done(&mut self) -> u64 {
        self.batches.clear();
        let done = self.pieces.drain(..std::mem::take(&mut self.done));
        done.filter(|piece| piece.len > 0).count() as u64
    }

    /// Gives up all pieces that are left, whose memory goes elsewhere.
    pub(crate) fn give_up(&mut self) -> Vec<Piece> {
        self.rewind();
        self.chunks = 0;
        self.shared.mailboxes[self.worker].set_backlog(0);
        self.pieces.drain(..).collect()
    }

    /// Like [`free_done`](Self::free_done), for all pieces, written or not.
    pub(crate) fn free_all(&mut self) {
        self.done = self.pieces.len();
        self.free_done();
    }

    /// Drops all messages but frees no chunk: the memory goes as a whole.
    pub(crate) fn abandon(&self) {
        self.drop_messages(self.pieces.len());
    }

    /// Drops the messages of the first pieces. This runs foreign code, which may even write to this
    /// writer.
    fn drop_messages(&self, pieces: usize) {
        for piece in self.pieces.range(..pieces) {
            self.shared.arena.drop_messages(piece.chunk, piece.range());
        }
    }
}
