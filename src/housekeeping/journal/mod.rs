//! The journal: what a writer has published, and who has heard of it already.
//!
//! A worker notes a file in its *ring* before it renames it, so a file that becomes visible just
//! before a crash is known. A file that is listed goes to the end of the journal, from where the
//! hook is called at its own pace. `format.rs` has the layout.
//!
//! Guarantees: a ring has its place from the start, so noting a file needs no room on the disk. Nor do the
//! next listed files, where the file system can keep room for them.
//! What is read may be hostile: it is whole (checksums), in range, and leads out of no directory.

pub(crate) mod dead;
pub(crate) mod format;
pub(crate) mod waiting;

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};

use crate::base::sys::Errno;

use crate::base::sys::file::has_no_locks;
use crate::fs::{Fs, FsFile, read_full, write_all};
use crate::housekeeping::publication::Publication;
use crate::naming::{Names, Stamp};
use crate::report::error::Error;
use format::{ACKNOWLEDGED_AT, ENTRY_BYTES, LISTED_AT, NONE_WAITS, RING_ENTRIES, WAITS_AT};

const MODE: u32 = 0o600;
/// So many listed files find room though the disk is full, and keep it once they are acknowledged.
const RESERVED_ENTRIES: u64 = 64;

/// The journal of a living writer.
pub(crate) struct Journal {
    file: Box<dyn FsFile>,
    path: PathBuf,
    rings: usize,
    /// Entries of listed files.
    entries: u64,
    /// No listed file with an older name waits for the hook; or [`NONE_WAITS`].
    waits_from: u64,
}

/// One worker's ring. Only that worker writes it.
pub(crate) struct Ring {
    file: Box<dyn FsFile>,
    path: PathBuf,
    number: usize,
}

impl Journal {
    /// Creates the journal in `dir`, for files that appear in `visible`. Without locks it loses its
    /// name at once: nobody could tell it from a dead writer's.
    pub(crate) fn create(
        fs: &dyn Fs,
        dir: &Path,
        names: &Names,
        visible: &Path,
        rings: usize,
        has_hook: bool,
        has_locks: bool,
    ) -> Result<Self, Error> {
        let path = dir.join(names.journal());
        let failed = |operation, e| Error::io(operation, &path, e);
        let header = format::header(names, visible, rings, has_hook)
            .ok_or_else(|| failed("write", Errno::NAMETOOLONG.into()))?;
        let mut file = fs.create(&path, MODE).map_err(|e| failed("create", e))?;
        let made = write_all(&mut *file, &mut [IoSlice::new(&header)], 0).1;
        let made = made.map_err(|e| failed("write", e)).and_then(|()| match file.try_lock() {
            Err(error) if !has_no_locks(&error) => Err(failed("lock", error)),
            _ => Ok(()),
        });
        if made.is_err() || !has_locks {
            let removed = fs.remove(&path).map_err(|e| failed("unlink", e));
            made.and(removed)?;
        }
        let mut journal = Journal { file, path, rings, entries: 0, waits_from: NONE_WAITS };
        if has_hook {
            journal.reserve();
        }
        Ok(journal)
    }

    /// Keeps room for listed files, where the file system can.
    fn reserve(&mut self) {
        let [from, to] = [0, RESERVED_ENTRIES].map(|entry| format::entry_at(self.rings, entry));
        let _ = self.file.reserve(from, to);
    }

    /// The ring with this number.
    pub(crate) fn ring(&self, number: usize) -> Result<Ring, Error> {
        let file = self.file.try_clone().map_err(|e| Error::io("open", &self.path, e))?;
        Ok(Ring { file, path: self.path.clone(), number })
    }

    /// Appends listed files, for the hook. After an error there are none of them, so another try writes
    /// them again: an fsync after a failed one would cover nothing.
    pub(crate) fn append(&mut self, files: &[&Publication], syncs: bool) -> Result<(), Error> {
        let mut bytes = Vec::with_capacity(files.len() * ENTRY_BYTES);
        for (nth, file) in files.iter().enumerate() {
            let entry = format::entry(self.entries + nth as u64 + 1, file);
            bytes.extend(entry.ok_or_else(|| too_long(&self.path))?);
        }
        // Before they count as listed, since others read the ring no more then.
        let waits_from = files.iter().filter_map(|file| file.stamp()).map(|stamp| stamp.0).min();
        let waits_from = waits_from.unwrap_or(NONE_WAITS);
        if waits_from < self.waits_from {
            self.write(&waits_from.to_le_bytes(), WAITS_AT)?;
            self.waits_from = waits_from;
        }
        let at = format::entry_at(self.rings, self.entries);
        self.write(&bytes, at)?;
        if syncs {
            self.file.sync().map_err(|e| Error::io("fsync", &self.path, e))?;
        }
        self.entries += files.len() as u64;
        Ok(())
    }

    /// Notes up to which number the files of each ring are listed.
    pub(crate) fn note_listed(&mut self, listed: &[u64]) -> Result<(), Error> {
        let bytes: Vec<u8> = listed.iter().flat_map(|number| number.to_le_bytes()).collect();
        self.write(&bytes, LISTED_AT)
    }

    /// Notes how many of the listed files the hook has acknowledged, and that it waits for none with an older
    /// name than this.
    pub(crate) fn note_acknowledged(
        &mut self,
        count: u64,
        waits_from: Option<Stamp>,
    ) -> Result<(), Error> {
        self.write(&count.to_le_bytes(), ACKNOWLEDGED_AT)?;
        let waits_from = waits_from.map_or(NONE_WAITS, |stamp| stamp.0);
        if waits_from != self.waits_from {
            self.write(&waits_from.to_le_bytes(), WAITS_AT)?;
            self.waits_from = waits_from;
        }
        Ok(())
    }

    /// Gives back the room of listed files that the hook has acknowledged, where the file system can.
    pub(crate) fn release(&mut self, acknowledged: u64) {
        let (from, to) =
            (format::entry_at(self.rings, 0), format::entry_at(self.rings, acknowledged));
        let _ = self.file.punch_hole(from, to);
    }

    /// Forgets the listed files if they are many, once the hook has acknowledged all. Returns whether it did. In
    /// this order, so that a crash in between repeats calls but skips none.
    pub(crate) fn forget_entries(&mut self) -> Result<bool, Error> {
        self.note_acknowledged(self.entries, None)?;
        if self.entries < RESERVED_ENTRIES {
            return Ok(false);
        }
        self.note_acknowledged(0, None)?;
        let len = format::entry_at(self.rings, 0);
        self.file.set_len(len).map_err(|e| Error::io("truncate", &self.path, e))?;
        self.entries = 0;
        self.reserve();
        Ok(true)
    }

    /// Listed files from this one on, as many as fit the buffer.
    pub(crate) fn read(&mut self, from: u64, entries: usize) -> Result<Vec<Publication>, Error> {
        let left = self.entries.saturating_sub(from).min(entries as u64) as usize;
        let mut bytes = vec![0; left * ENTRY_BYTES];
        let at = format::entry_at(self.rings, from);
        let read = read_full(&mut *self.file, &mut bytes, at);
        let read = read.map_err(|e| Error::io("read", &self.path, e))?;
        let whole = bytes[..read].chunks_exact(ENTRY_BYTES);
        Ok(whole.map_while(|entry| format::read_entry(entry).map(|(_, file)| file)).collect())
    }

    /// Removes the journal, which says nothing any more.
    pub(crate) fn remove(&self, fs: &dyn Fs) -> Result<(), Error> {
        match fs.remove(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Error::io("unlink", &self.path, error))
            }
            _ => Ok(()),
        }
    }

    fn write(&mut self, bytes: &[u8], at: u64) -> Result<(), Error> {
        let written = write_all(&mut *self.file, &mut [IoSlice::new(bytes)], at).1;
        written.map_err(|e| Error::io("write", &self.path, e))
    }
}

impl Ring {
    /// Another ring of the same journal.
    pub(crate) fn other(&self, number: usize) -> Result<Self, Error> {
        let file = self.file.try_clone().map_err(|e| Error::io("open", &self.path, e))?;
        Ok(Ring { file, path: self.path.clone(), number })
    }

    /// Notes a file that is about to become visible, with its number in this ring.
    pub(crate) fn note(&mut self, number: u64, file: &Publication) -> Result<(), Error> {
        let entry = format::entry(number, file).ok_or_else(|| too_long(&self.path))?;
        self.write(number, &entry)
    }

    /// Takes a note back: its file will not become visible.
    pub(crate) fn clear(&mut self, number: u64) -> Result<(), Error> {
        self.write(number, &[0; ENTRY_BYTES])
    }

    fn write(&mut self, number: u64, entry: &[u8]) -> Result<(), Error> {
        let at = format::ring_at(self.number, number % RING_ENTRIES as u64);
        let written = write_all(&mut *self.file, &mut [IoSlice::new(entry)], at).1;
        written.map_err(|e| Error::io("write", &self.path, e))
    }
}

fn too_long(path: &Path) -> Error {
    Error::io("note a file in", path, Errno::NAMETOOLONG.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::real::RealFs;
    use crate::housekeeping::publication::tests::publication;
    use bufferedwriter_testkit::dir::TestDir;

    #[test]
    fn what_was_acknowledged_takes_no_room_and_the_rest_is_read() {
        let (dir, names) = (TestDir::new(), Names::new("p".as_ref(), "log".as_ref()).unwrap());
        let mut journal =
            Journal::create(&RealFs, dir.path(), &names, dir.path(), 2, true, true).unwrap();
        let files: Vec<_> = (0..512).map(|seq| publication(0, seq)).collect();
        journal.append(&files.iter().collect::<Vec<_>>(), false).unwrap();
        let allocated = || RealFs.facts(&dir.join(names.journal())).unwrap().unwrap().allocated;
        let before = allocated();
        journal.release(500);
        // Where the file system has no holes, nothing changes.
        let freed = before - allocated();
        assert!(freed == 0 || (400 << 10..=500 << 10).contains(&freed), "{freed}");
        assert_eq!(journal.read(500, 64).unwrap(), files[500..]);
    }
}
