//! What a recovery without a writer publishes, noted for the next writer that has a manifest or a
//! hook.
//!
//! Guarantees: a file is noted before it is renamed, in a journal such as a writer's. Its lock is held
//! while the recovery runs; after that, the next writer takes it over as that of a dead one. Notes are
//! made only for prefixes of which a dead writer has left a journal.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::fs::Fs;
use crate::housekeeping::journal::format::RING_ENTRIES;
use crate::housekeeping::journal::{Journal, Ring};
use crate::housekeeping::publication::Publication;
use crate::naming::Names;
use crate::report::error::Error;

/// Rings of a journal. After 512 files another one is made.
const RINGS: usize = 64;

/// The notes of a recovery.
pub(crate) struct Notes {
    pub(crate) fs: Arc<dyn Fs>,
    /// Where the notes are kept.
    pub(crate) temp: PathBuf,
    /// Where the files appear.
    pub(crate) path: PathBuf,
    pub(crate) prefixes: Vec<OfPrefix>,
}

/// The notes about files of one prefix.
pub(crate) struct OfPrefix {
    prefix: OsString,
    /// The last one is in use.
    journals: Vec<Journal>,
    /// Files that are noted in the last one.
    count: usize,
    noted: Option<(Ring, u64)>,
}

impl Notes {
    /// From now on, files of this prefix are noted.
    pub(super) fn want(&mut self, prefix: &OsStr) -> Result<(), Error> {
        if self.prefixes.iter().all(|of| of.prefix != prefix) {
            let (prefix, journals) = (prefix.to_owned(), Vec::new());
            self.prefixes.push(OfPrefix { prefix, journals, count: 0, noted: None });
        }
        let Notes { fs, temp, path, prefixes } = self;
        let of = prefixes.iter_mut().find(|of| of.prefix == prefix);
        of.map_or(Ok(()), |of| of.make_room(&**fs, temp, path))
    }

    /// Notes a file of this prefix that is about to become visible.
    pub(super) fn note(&mut self, prefix: &OsStr, file: &Publication) -> Result<(), Error> {
        let Notes { fs, temp, path, prefixes } = self;
        let Some(of) = prefixes.iter_mut().find(|of| of.prefix == prefix) else { return Ok(()) };
        of.make_room(&**fs, temp, path)?;
        let Some(journal) = of.journals.last() else { return Ok(()) };
        let number = (of.count % RING_ENTRIES) as u64 + 1;
        let mut ring = journal.ring(of.count / RING_ENTRIES)?;
        ring.note(number, file)?;
        of.noted = Some((ring, number));
        Ok(())
    }

    /// The file that was noted has become visible, or will not.
    pub(super) fn settle(&mut self, is_visible: bool) {
        for of in &mut self.prefixes {
            let Some((mut ring, number)) = of.noted.take() else { continue };
            if is_visible {
                of.count += 1;
            } else {
                // If this fails, whoever reads it finds the temp file.
                let _ = ring.clear(number);
            }
        }
    }

    /// Removes notes that say nothing.
    pub(super) fn end(self) {
        for OfPrefix { journals, count, .. } in self.prefixes {
            if let Some(last) = journals.last().filter(|_| count == 0) {
                // What stays says nothing.
                let _ = last.remove(&*self.fs);
            }
        }
    }
}

impl OfPrefix {
    fn make_room(&mut self, fs: &dyn Fs, temp: &Path, path: &Path) -> Result<(), Error> {
        if self.journals.is_empty() || self.count == RINGS * RING_ENTRIES {
            let names = Names::new(&self.prefix, OsStr::new(""))?;
            // Without locks nobody would have found a dead writer's journal.
            self.journals.push(Journal::create(fs, temp, &names, path, RINGS, true)?);
            self.count = 0;
        }
        Ok(())
    }
}
