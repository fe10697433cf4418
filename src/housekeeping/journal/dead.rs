//! The journal of a dead writer: what it had published, and who had not heard of it.
//!
//! Guarantees: entries come in the order in which they were written. What is damaged is passed over.

use std::io;
use std::path::{Path, PathBuf};

use crate::fs::{FsFile, read_full};
use crate::housekeeping::journal::format::{
    self, ENTRY_BYTES, HEADER_BYTES, Header, NONE_WAITS, RING_ENTRIES,
};
use crate::housekeeping::publication::Publication;
use crate::naming::Names;

/// What it says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct DeadJournal {
    /// Where its files appeared, and the checksum of what that is called since it was moved.
    path: PathBuf,
    moved: u64,
    /// Files that were about to become visible, and are not known to be listed.
    /// Each with its place in the journal.
    pub(crate) unlisted: Vec<(u64, Publication)>,
    /// The first listed file that the hook had not acknowledged, counted from 0.
    pub(crate) acknowledged: u64,
    /// Whether its writer had a hook, and it says that listed files wait for it.
    pub(crate) has_hook: bool,
    pub(crate) has_waiting: bool,
    /// Where its rings have room.
    pub(crate) free: Vec<Place>,
    rings: usize,
}

/// Where a file can be noted, and with which number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) at: u64,
    pub(crate) number: u64,
}

/// An entry for the hook.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Listed {
    File(Publication),
    /// It is not what a writer wrote.
    Damaged,
    /// After the last one.
    End,
}

impl DeadJournal {
    /// Reads the journal of this writer. `None` if it is not what the writer wrote.
    pub(crate) fn read(file: &mut dyn FsFile, names: &Names) -> io::Result<Option<Self>> {
        let mut header = vec![0; HEADER_BYTES];
        let read = read_full(file, &mut header, 0)?;
        let Some(header) = format::read_header(&header[..read], names) else { return Ok(None) };
        let Header { path, acknowledged, moved, waits_from, listed } = header;
        let has_hook = waits_from != 0;
        let has_waiting = has_hook && waits_from != NONE_WAITS;
        let (mut unlisted, mut free) = (Vec::new(), Vec::new());
        let mut ring = vec![0; RING_ENTRIES * ENTRY_BYTES];
        for (nth, &last) in listed.iter().enumerate() {
            let read = read_full(file, &mut ring, format::ring_at(nth, 0))?;
            let entries = ring[..read].chunks_exact(ENTRY_BYTES).map(format::read_entry);
            let mut new: Vec<_> = (0..)
                .zip(entries)
                .filter_map(|(at, entry)| {
                    let (number, file) = entry.filter(|(number, _)| *number > last)?;
                    Some((number, format::ring_at(nth, at), file))
                })
                .collect();
            new.sort_by_key(|(number, ..)| *number);
            let next = new.last().map_or(last, |(number, ..)| *number).saturating_add(1);
            let places = (0..RING_ENTRIES as u64).map(|entry| format::ring_at(nth, entry));
            let is_free = |at: &u64| new.iter().all(|(_, taken, _)| taken != at);
            free.extend(
                (next..).zip(places.filter(is_free)).map(|(number, at)| Place { at, number }),
            );
            unlisted.extend(new.into_iter().map(|(_, at, file)| (at, file)));
        }
        let rings = listed.len();
        Ok(Some(DeadJournal {
            path,
            moved,
            unlisted,
            acknowledged,
            has_hook,
            has_waiting,
            free,
            rings,
        }))
    }

    /// Whether its files are those in this directory.
    pub(crate) fn is_of(&self, path: &Path) -> bool {
        is_of(&self.path, self.moved, path)
    }

    /// Whether nobody has to hear of anything.
    pub(crate) fn says_nothing(&self, file: &mut dyn FsFile) -> io::Result<bool> {
        Ok(self.unlisted.is_empty() && self.listed(file, self.acknowledged)? == Listed::End)
    }

    /// No listed file from this number on has an older name.
    pub(crate) fn oldest_from(&self, file: &mut dyn FsFile, number: u64) -> io::Result<u64> {
        let mut oldest = NONE_WAITS;
        for number in number.. {
            match self.listed(file, number)? {
                Listed::File(file) => oldest = file.stamp().map_or(0, |stamp| stamp.0).min(oldest),
                Listed::Damaged => {}
                Listed::End => break,
            }
        }
        // 0 says that there is no hook.
        Ok(oldest.max(1))
    }

    /// The listed file with this number, counted from 0.
    pub(crate) fn listed(&self, file: &mut dyn FsFile, number: u64) -> io::Result<Listed> {
        let mut entry = [0; ENTRY_BYTES];
        let read = read_full(file, &mut entry, format::entry_at(self.rings, number))?;
        if read < ENTRY_BYTES {
            return Ok(Listed::End);
        }
        Ok(format::read_entry(&entry).map_or(Listed::Damaged, |(_, file)| Listed::File(file)))
    }
}

/// Whether a journal with this path, and this checksum of a later one, is of the files in `dir`.
pub(super) fn is_of(path: &Path, moved: u64, dir: &Path) -> bool {
    match moved {
        0 => path.as_os_str() == dir,
        moved => moved == format::moved_to(dir),
    }
}

/// The path of the temp file that this file was, below one of its writer's directories.
pub(crate) fn temp_name(file: &Publication, dir: &Path) -> Option<PathBuf> {
    let name = file.name()?;
    let names = Names {
        prefix: name.prefix,
        extension: name.extension,
        instance: name.instance,
        pid: name.pid,
    };
    Some(dir.join(names.temp(file.first, name.worker, name.sequence)))
}
