//! The lines of one file, each with its key.
//!
//! Guarantees: bytes are never changed, but for a newline at the end of the file where it lacks one. Memory is one
//! buffer: a line that does not fit comes in pieces with the same key, the last of which ends with a newline. A line
//! that damage has torn is left out, and told.

use std::io;
use std::path::Path;

use crate::commands::merge::key::{Finder, Key};
use crate::contents::{Contents, Fault, Step};

/// Damaged places of a file that are told one by one: a hostile file may have millions.
const FAULTS_MAX: u64 = 100;

/// A file that is being read.
pub(crate) struct Feed<K> {
    contents: Contents,
    buffer: Box<[u8]>,
    /// In 0..=end. Where the piece begins.
    start: usize,
    /// In start..=filled. Where the piece ends.
    end: usize,
    /// In end..=filled. There is no newline between `end` and it.
    searched: usize,
    filled: usize,
    key: K,
    /// The piece before this one ended a line.
    begins_line: bool,
    has_ended: bool,
    finder: Finder,
    faults: Vec<Fault>,
    pub(crate) counts: Counts,
}

/// What was read of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) lines: u64,
    pub(crate) bytes: u64,
    /// Lines that have a key of their own.
    pub(crate) keyed: u64,
    /// Damaged places.
    pub(crate) faults: u64,
    /// Bytes of lines that damage has torn, as far as they were read.
    pub(crate) torn_bytes: u64,
}

impl Counts {
    /// Damaged places that were not told one by one.
    pub(crate) fn faults_untold(&self) -> u64 {
        self.faults.saturating_sub(FAULTS_MAX)
    }
}

impl<K: Key> Feed<K> {
    /// Opens a file. Lines before the first one with a key have `before`.
    pub(crate) fn open(
        path: &Path,
        window_log: u32,
        buffer_bytes: usize,
        finder: Finder,
        before: K,
    ) -> io::Result<Self> {
        let contents = Contents::open(path, window_log)?;
        Ok(Feed {
            contents,
            buffer: vec![0; buffer_bytes].into_boxed_slice(),
            start: 0,
            end: 0,
            searched: 0,
            filled: 0,
            key: before,
            begins_line: true,
            has_ended: false,
            finder,
            faults: Vec::new(),
            counts: Counts::default(),
        })
    }

    /// Reads the beginning of the file and chooses the format of the times by it.
    pub(crate) fn detect(&mut self) {
        // One read may bring little, such as the first block of a frame.
        while self.filled < self.buffer.len() / 2 && self.fill() {}
        self.finder.times.detect(&self.buffer[..self.filled]);
    }

    pub(crate) fn finder(&self) -> &Finder {
        &self.finder
    }

    /// Memory of the decoder, so far.
    pub(crate) fn decoder_bytes(&self) -> usize {
        self.contents.memory()
    }

    /// The piece of a line that [`next`](Self::next) has found.
    #[inline]
    pub(crate) fn piece(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    #[inline]
    pub(crate) fn key(&self) -> K {
        self.key
    }

    #[inline]
    pub(crate) fn has_faults(&self) -> bool {
        !self.faults.is_empty()
    }

    /// Damage that was met since the last call.
    pub(crate) fn take_faults(&mut self) -> Vec<Fault> {
        std::mem::take(&mut self.faults)
    }

    /// Goes to the next piece. Returns whether there is one.
    #[inline]
    pub(crate) fn next(&mut self) -> bool {
        self.start = self.end;
        loop {
            let unsearched = &self.buffer[self.searched..self.filled];
            if let Some(at) = memchr::memchr(b'\n', unsearched) {
                self.end = self.searched + at + 1;
                break;
            }
            self.searched = self.filled;
            if self.start == 0 && self.filled == self.buffer.len() {
                self.end = self.filled;
                break;
            }
            if !self.fill() && !self.finish() {
                return false;
            }
        }
        self.searched = self.end;
        self.note();
        true
    }

    #[inline]
    fn note(&mut self) {
        let piece = &self.buffer[self.start..self.end];
        if self.begins_line {
            self.counts.lines += 1;
            if let Some(key) = K::of(piece, &mut self.finder) {
                self.key = key;
                self.counts.keyed += 1;
            }
        }
        self.counts.bytes += piece.len() as u64;
        self.begins_line = piece.ends_with(b"\n");
    }

    /// Reads more. Returns whether there was more to read.
    fn fill(&mut self) -> bool {
        if self.has_ended {
            return false;
        }
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.filled, 0);
            self.filled -= self.start;
            self.searched -= self.start;
            (self.start, self.end) = (0, 0);
        }
        match self.contents.read(&mut self.buffer[self.filled..]) {
            Step::Bytes(bytes) => self.filled += bytes,
            Step::Fault(fault) => {
                self.counts.faults += 1;
                if self.counts.faults <= FAULTS_MAX {
                    self.faults.push(fault);
                }
                self.cut_torn();
            }
            Step::End => self.has_ended = true,
        }
        true
    }

    /// Leaves out the line that has no end because of damage. If pieces of it are gone already, they get an end.
    fn cut_torn(&mut self) {
        let whole = memchr::memrchr(b'\n', &self.buffer[self.start..self.filled]);
        let keep = whole.map_or(self.start, |at| self.start + at + 1);
        self.counts.torn_bytes += (self.filled - keep) as u64;
        self.filled = keep;
        self.searched = self.searched.min(keep);
        if !self.begins_line && whole.is_none() {
            self.end_line();
        }
    }

    /// At the end of the file: gives the last line its newline. Returns whether a line was without.
    fn finish(&mut self) -> bool {
        let lacks = self.filled > self.start || !self.begins_line;
        if lacks {
            self.end_line();
        }
        lacks
    }

    fn end_line(&mut self) {
        // `fill` and `next` leave room: a full buffer is a piece.
        self.buffer[self.filled] = b'\n';
        self.filled += 1;
    }
}
