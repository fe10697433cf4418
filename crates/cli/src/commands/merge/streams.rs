//! What is merged: files in order, files in order but for a window, sorted runs.

use std::io;
use std::path::Path;

use crate::commands::merge::feed::Feed;
use crate::commands::merge::key::Key;
use crate::commands::merge::outcome::Outcome;
use crate::commands::merge::spill::{Run, RunReader};
use crate::commands::merge::window::Window;

/// Something to merge that is not open yet.
pub(crate) struct Pending<K> {
    /// No piece of it comes before this key and rank.
    pub(crate) first: (K, u64),
    pub(crate) what: What<K>,
}

/// Where its lines are.
pub(crate) enum What<K> {
    /// The index of a file among the known ones.
    File(usize),
    Run(Run<K>),
}

/// The rank of a file's lines among lines of the same key, and that of its n-th run.
pub(crate) fn rank(source: u32, run: u32) -> u64 {
    u64::from(source) << 32 | u64::from(run)
}

/// An open one.
pub(crate) struct Stream<'a, K> {
    pub(crate) lines: Lines<'a, K>,
    /// Memory that it takes.
    pub(crate) bytes: usize,
}

pub(crate) enum Lines<'a, K> {
    Sorted(Box<Ordered<'a, K>>),
    Windowed(Box<Window<K>>, &'a Path, u64),
    Run(Box<RunReader<'a, K>>),
}

/// A file in order, as it was found or as a window of 0 says. Lines that are not are late.
pub(crate) struct Ordered<'a, K> {
    feed: Feed<K>,
    path: &'a Path,
    rank: u64,
    key: K,
    late: u64,
}

impl<'a, K: Key> Ordered<'a, K> {
    pub(crate) fn new(feed: Feed<K>, path: &'a Path, rank: u64) -> Self {
        Ordered { feed, path, rank, key: K::FIRST, late: 0 }
    }

    #[inline]
    fn next(&mut self) -> bool {
        let keyed = self.feed.counts.keyed;
        let is_more = self.feed.next();
        let key = self.feed.key();
        if key < self.key {
            self.late += self.feed.counts.keyed - keyed;
        } else {
            self.key = key;
        }
        is_more
    }
}

impl<K: Key> Stream<'_, K> {
    /// Key and rank of the piece.
    #[inline]
    pub(crate) fn head(&self) -> (K, u64) {
        match &self.lines {
            Lines::Sorted(file) => (file.key, file.rank),
            Lines::Windowed(window, _, rank) => (window.key(), *rank),
            Lines::Run(run) => (run.key(), run.rank()),
        }
    }

    #[inline]
    pub(crate) fn piece(&self) -> &[u8] {
        match &self.lines {
            Lines::Sorted(file) => file.feed.piece(),
            Lines::Windowed(window, ..) => window.piece(),
            Lines::Run(run) => run.piece(),
        }
    }

    /// Bytes that are left of a run; 0 for a file, of which less is known.
    pub(crate) fn left(&self) -> u64 {
        match &self.lines {
            Lines::Run(run) => run.left(),
            _ => 0,
        }
    }

    /// Goes to the next piece. Returns whether there is one; if not, the file's counts are noted.
    #[inline]
    pub(crate) fn next(&mut self, outcome: &Outcome) -> io::Result<bool> {
        match &mut self.lines {
            Lines::Sorted(file) => {
                let is_more = file.next();
                if file.feed.has_faults() || !is_more {
                    tell(&mut file.feed, file.path, outcome, (!is_more).then_some(file.late));
                }
                Ok(is_more)
            }
            Lines::Windowed(window, path, _) => {
                let is_more = window.next();
                let late = (!is_more).then_some(window.late);
                tell(&mut window.feed, path, outcome, late);
                Ok(is_more)
            }
            Lines::Run(run) => run.next(),
        }
    }
}

/// Tells of damage, and at the end of the file of all that was read.
#[cold]
pub(crate) fn tell<K: Key>(
    feed: &mut Feed<K>,
    path: &Path,
    outcome: &Outcome,
    late_in_all: Option<u64>,
) {
    feed.take_faults().iter().for_each(|fault| outcome.fault(path, fault));
    if let Some(late) = late_in_all {
        outcome.read(path, &feed.counts, late);
    }
}
