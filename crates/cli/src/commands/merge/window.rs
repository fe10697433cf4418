//! The lines of a file whose disorder is bounded, in order.
//!
//! Guarantees: stable. Lines leave once the file is `window` further, so memory is what comes within that time; beyond
//! a bound they leave before. Lines that come too late leave at once and are counted: the order of the others holds.

use std::collections::BTreeMap;

use crate::commands::merge::feed::Feed;
use crate::commands::merge::key::Key;

/// Memory of a piece beside its bytes: its node, its key, the allocator's.
const PIECE_BYTES: usize = 80;

/// A file, read ahead.
pub(crate) struct Window<K> {
    pub(crate) feed: Feed<K>,
    window: i64,
    /// By key and number.
    waiting: BTreeMap<(K, u64), Box<[u8]>>,
    waiting_bytes: usize,
    waiting_bytes_max: usize,
    newest: K,
    /// Of the piece that left last.
    key: K,
    piece: Box<[u8]>,
    number: u64,
    has_ended: bool,
    pub(crate) late: u64,
}

impl<K: Key> Window<K> {
    pub(crate) fn new(feed: Feed<K>, window: i64, waiting_bytes_max: usize) -> Self {
        Window {
            feed,
            window,
            waiting: BTreeMap::new(),
            waiting_bytes: 0,
            waiting_bytes_max,
            newest: K::FIRST,
            key: K::FIRST,
            piece: Box::default(),
            number: 0,
            has_ended: false,
            late: 0,
        }
    }

    pub(crate) fn key(&self) -> K {
        self.key
    }

    pub(crate) fn piece(&self) -> &[u8] {
        &self.piece
    }

    /// Goes to the next piece. Returns whether there is one.
    pub(crate) fn next(&mut self) -> bool {
        loop {
            if let Some((&(key, _), _)) = self.waiting.first_key_value() {
                let is_due = self.has_ended || key <= self.newest.earlier(self.window);
                if is_due || self.waiting_bytes > self.waiting_bytes_max {
                    self.leave();
                    return true;
                }
            } else if self.has_ended {
                return false;
            }
            self.has_ended |= !self.take();
        }
    }

    fn leave(&mut self) {
        if let Some(((key, _), piece)) = self.waiting.pop_first() {
            self.waiting_bytes -= piece.len() + PIECE_BYTES;
            (self.key, self.piece) = (key, piece);
        }
    }

    fn take(&mut self) -> bool {
        let keyed = self.feed.counts.keyed;
        if !self.feed.next() {
            return false;
        }
        // Lines of other files may have left before a late one. Of this file it stands behind what has left, and so
        // does what goes on with it.
        let key = self.feed.key();
        let is_late = key < self.key || key < self.newest.earlier(self.window);
        self.late += u64::from(is_late) * (self.feed.counts.keyed - keyed);
        let key = key.max(self.key);
        self.newest = self.newest.max(key);
        self.number += 1;
        let piece: Box<[u8]> = self.feed.piece().into();
        self.waiting_bytes += piece.len() + PIECE_BYTES;
        self.waiting.insert((key, self.number), piece);
        true
    }
}
