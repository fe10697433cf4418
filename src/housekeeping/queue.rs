//! What is known of published files that somebody has not heard of yet.
//!
//! Guarantees: from before its rename until the hook has acknowledged it, a file shows in
//! [`Queue::is_settled`] and [`Queue::protected_from`]. Memory is bounded: by the rings, and by
//! [`UPCOMING_MAX`].

use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::Instant;

use crate::housekeeping::lister::{Listing, Progress};
use crate::housekeeping::publication::Publication;
use crate::housekeeping::unread::Unread;
use crate::naming::Stamp;
use crate::report::published::ManifestStall;
use crate::report::stats::PublishStats;

/// Files that are kept in memory for the hook. Others wait in the journal.
pub(super) const UPCOMING_MAX: usize = 64;

/// Files on their way to the manifest and the hook.
#[derive(Default)]
pub(super) struct Queue {
    /// Visible, and not listed yet.
    pub(super) waiting: VecDeque<Listing>,
    /// Being listed.
    pub(super) listing: Vec<Listing>,
    pub(super) rings: Vec<RingState>,
    /// The next files for the hook, in order.
    pub(super) upcoming: VecDeque<Publication>,
    /// A file for the hook that is in no journal of ours, since there is none yet.
    pub(super) urgent: Option<Publication>,
    /// Entries of the journal, and how many of them the hook has acknowledged.
    pub(super) entries: u64,
    pub(super) acknowledged: u64,
    /// Those that are in the journal only.
    pub(super) unread: Unread,
    pub(super) stats: PublishStats,
    pub(super) manifest: Option<ManifestStall>,
    pub(super) call: Option<Call>,
    /// The threads end.
    pub(super) ends: bool,
    /// No more files come, or the next writer tells of them.
    pub(super) is_closed: bool,
}

/// Files that are being listed, and how far that has come.
#[derive(Default)]
pub(crate) struct Batch {
    pub(super) files: Vec<Listing>,
    pub(super) progress: Progress,
}

#[derive(Clone, Copy, Default)]
pub(super) struct RingState {
    /// Number of the last file that is listed.
    pub(super) listed: u64,
    /// While a file is about to become visible: its name has a later stamp.
    pub(super) begun: Option<Stamp>,
}

/// The file for which the hook is being called.
pub(super) struct Call {
    pub(super) file: PathBuf,
    pub(super) since: Instant,
    pub(super) attempts: u64,
    pub(super) error: String,
    /// When the call that has not returned began.
    pub(super) running: Option<Instant>,
}

impl Queue {
    /// Moves the files that wait to a batch. Returns whether there are any.
    pub(super) fn fill(&mut self, batch: &mut Batch) -> bool {
        if !batch.files.is_empty() || self.waiting.is_empty() {
            return false;
        }
        batch.files = self.waiting.drain(..).collect();
        self.listing.clone_from(&batch.files);
        true
    }

    /// Takes up files that are listed.
    pub(super) fn add(&mut self, has_hook: bool, files: &[&Publication]) {
        self.stats.listed += files.len() as u64;
        if !has_hook {
            return;
        }
        let is_next = self.entries - self.acknowledged == self.upcoming.len() as u64;
        self.entries += files.len() as u64;
        let room = UPCOMING_MAX.saturating_sub(self.upcoming.len());
        if is_next {
            self.upcoming.extend(files.iter().take(room).map(|&file| file.clone()));
        }
        let read = if is_next { room } else { 0 };
        // Each has a name; without one it would protect all.
        let stamps = files.iter().skip(read).map(|file| file.stamp().unwrap_or(Stamp(0)));
        stamps.for_each(|stamp| self.unread.push(stamp));
    }

    /// Whether nothing is left to tell, and no file is on its way to become visible.
    pub(super) fn is_settled(&self) -> bool {
        self.unsettled() == 0 && self.rings.iter().all(|ring| ring.begun.is_none())
    }

    /// Files that are not listed, or that the hook has not acknowledged.
    pub(super) fn unsettled(&self) -> u64 {
        let unlisted = self.waiting.len() + self.listing.len();
        (unlisted + usize::from(self.urgent.is_some())) as u64 + self.entries - self.acknowledged
    }

    /// No file with an older name waits for the hook.
    pub(super) fn protected_from(&self) -> Option<Stamp> {
        let begun = self.rings.iter().filter_map(|ring| ring.begun);
        let listings = self.waiting.iter().chain(&self.listing).map(|listing| &listing.file);
        begun.chain(listings.filter_map(Publication::stamp)).chain(self.waits_from()).min()
    }

    /// No listed file with an older name waits for the hook.
    pub(super) fn waits_from(&self) -> Option<Stamp> {
        let files = self.upcoming.iter().chain(&self.urgent);
        files.filter_map(Publication::stamp).chain(self.unread.oldest()).min()
    }
}
