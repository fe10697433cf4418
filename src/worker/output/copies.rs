//! What a dump of a flight recorder needs beyond other files: copies of records that stay in memory,
//! and the way back for what no file has taken.
//!
//! Guarantees: a file holds either copies or records, never both. No account and no recovery counts
//! copies.

use crate::report::error::Error;
use crate::report::published::PublishReason;
use crate::report::stats::{Count, Watermark};
use crate::worker::collect::Piece;
use crate::worker::output::Output;

impl Output {
    /// Whether what is pushed from now on are copies. Nothing is in the queue.
    pub(crate) fn set_copying(&mut self, copies: bool) {
        self.copies = copies;
        self.loss = None;
    }

    /// Ends a file that an earlier dump left and that may not go on: copies are removed, and records
    /// become visible before copies are made.
    pub(crate) fn settle_kind(&mut self, reason: PublishReason) -> Result<(), Error> {
        if self.is_stale {
            self.remove()?;
            self.is_stale = false;
        }
        if self.file.is_some() && self.has_copies != self.copies {
            self.publish(reason)?;
            // One without records is not published, and must not take those of the other kind.
            if self.file.is_some() { self.remove() } else { Ok(()) }
        } else {
            Ok(())
        }
    }

    /// What counts as written once the file is visible.
    pub(super) fn claimed(&self, file: Watermark) -> Watermark {
        if self.has_copies { Watermark { count: Count::ZERO, ..file } } else { file }
    }

    /// Ends a dump: returns the pieces that no file has. Their memory is the caller's. A file with
    /// copies goes; if the disk does not allow it now, before the next file.
    pub(crate) fn give_back(&mut self) -> Vec<Piece> {
        self.drop_uncovered();
        let left = self.queue.give_up();
        self.is_stale = self.has_copies && self.remove().is_err();
        self.note();
        self.copies = false;
        left
    }

    /// Why the copies of the last dump are not in a visible file, if its file was lost.
    pub(crate) fn take_loss(&mut self) -> Option<Error> {
        self.loss.take()
    }

    /// Whether there is a file of copies.
    pub(crate) fn has_copies(&self) -> bool {
        self.file.is_some() && self.has_copies
    }

    /// Whether there is a file, which holds records that are not visible.
    pub(crate) fn has_file(&self) -> bool {
        self.file.is_some()
    }
}
