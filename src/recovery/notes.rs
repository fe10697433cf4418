//! What a recovery publishes, noted for the next writer that has a manifest or a hook.
//!
//! Guarantees: a file is noted before it is renamed, in the journal that its dead writer left. That
//! has room for it, so a note needs none on the disk. The journals are locked while the recovery runs.
//! A journal of a directory that was moved says so at the end. Files of writers without a journal are
//! not noted.

use std::io::IoSlice;
use std::path::{Path, PathBuf};

use crate::fs::{FsFile, write_all};
use crate::housekeeping::journal::dead::Place;
use crate::housekeeping::journal::format;
use crate::housekeeping::publication::Publication;
use crate::naming::Names;
use crate::report::error::Error;

/// The journals of dead writers whose files are being published.
#[derive(Default)]
pub(crate) struct Notes(Vec<Kept>);

/// A journal, open and locked.
pub(crate) struct Kept {
    pub(super) names: Names,
    pub(super) file: Box<dyn FsFile>,
    pub(super) path: PathBuf,
    /// Places for notes.
    pub(super) free: Vec<Place>,
    /// Whether nothing was left to tell when it was opened, and nothing is damaged.
    pub(super) is_done: bool,
    /// Whether it has another name for the directory of visible files.
    pub(super) is_moved: bool,
    noted: bool,
    has_notes: bool,
}

/// A journal that a recovery has dealt with.
pub(super) struct Dealt {
    pub(super) names: Names,
    /// It says nothing any more.
    pub(super) is_done: bool,
}

impl Kept {
    pub(super) fn new(
        names: &Names,
        file: Box<dyn FsFile>,
        path: PathBuf,
        free: Vec<Place>,
    ) -> Self {
        let (is_done, is_moved, noted, has_notes) = (false, false, false, false);
        Kept { names: names.clone(), file, path, free, is_done, is_moved, noted, has_notes }
    }

    pub(super) fn says_nothing(&self) -> bool {
        self.is_done && !self.has_notes
    }

    /// Writes down what the directory of visible files is called now, if that is another name.
    pub(super) fn follow(&mut self, path: &Path) -> Result<(), Error> {
        if !self.is_moved {
            return Ok(());
        }
        let sum = format::moved_to(path).to_le_bytes();
        write(&mut *self.file, &self.path, format::MOVED_AT, &sum)
    }
}

/// Writes a note, or takes it back with zeros; or a number of the header.
pub(super) fn write(
    journal: &mut dyn FsFile,
    path: &Path,
    at: u64,
    bytes: &[u8],
) -> Result<(), Error> {
    let written = write_all(journal, &mut [IoSlice::new(bytes)], at).1;
    written.map_err(|e| Error::io("write", path, e))
}

/// What stands where no note is.
pub(super) const NO_NOTE: [u8; 8] = [0; 8];

impl Notes {
    pub(super) fn keep(&mut self, journal: Kept) {
        self.0.push(journal);
    }

    /// Notes a file of this dead writer that is about to become visible.
    pub(super) fn note(&mut self, of: &Names, file: &Publication) -> Result<(), Error> {
        let id = |names: &Names| (names.instance, names.pid);
        let kept = self.0.iter_mut().find(|kept| id(&kept.names) == id(of));
        let Some(kept) = kept else { return Ok(()) };
        let full =
            || Error::io("note a file in", &kept.path, std::io::ErrorKind::StorageFull.into());
        let Place { at, number } = *kept.free.last().ok_or_else(full)?;
        let entry = format::entry(number, file).ok_or_else(full)?;
        write(&mut *kept.file, &kept.path, at, &entry)?;
        kept.noted = true;
        Ok(())
    }

    /// The file that was noted has become visible, or will not.
    pub(super) fn settle(&mut self, is_visible: bool) {
        for kept in self.0.iter_mut().filter(|kept| kept.noted) {
            kept.noted = false;
            kept.has_notes |= is_visible;
            if is_visible {
                kept.free.pop();
            } else if let Some(&Place { at, .. }) = kept.free.last() {
                // If this fails, whoever reads it finds the temp file.
                let _ = write(&mut *kept.file, &kept.path, at, &NO_NOTE);
            }
        }
    }

    /// No more files come.
    pub(super) fn end(&mut self) -> Vec<Kept> {
        std::mem::take(&mut self.0)
    }
}
