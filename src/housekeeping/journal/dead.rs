//! The journal of a dead writer: what it had published, and who had not heard of it.
//!
//! Guarantees: entries come in the order in which they were written. What is damaged is passed over.

use std::io;
use std::path::{Path, PathBuf};

use crate::fs::{FsFile, read_full};
use crate::housekeeping::journal::format::{self, ENTRY_BYTES, HEADER_BYTES, Header, RING_ENTRIES};
use crate::housekeeping::publication::Publication;
use crate::naming::Names;

/// What it says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct DeadJournal {
    /// Where its files appeared. For comparison only.
    pub(crate) path: PathBuf,
    /// Files that were about to become visible, and are not known to be listed.
    /// Each with its place in the journal.
    pub(crate) unlisted: Vec<(u64, Publication)>,
    /// The first listed file that the hook had not acknowledged.
    pub(crate) acknowledged: u64,
    rings: usize,
}

impl DeadJournal {
    /// Reads the journal of this writer. `None` if it is not what the writer wrote.
    pub(crate) fn read(file: &mut dyn FsFile, names: &Names) -> io::Result<Option<Self>> {
        let mut header = vec![0; HEADER_BYTES];
        let read = read_full(file, &mut header, 0)?;
        let Some(Header { path, acknowledged, listed }) =
            format::read_header(&header[..read], names)
        else {
            return Ok(None);
        };
        let (mut unlisted, mut ring) = (Vec::new(), vec![0; RING_ENTRIES * ENTRY_BYTES]);
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
            unlisted.extend(new.into_iter().map(|(_, at, file)| (at, file)));
        }
        Ok(Some(DeadJournal { path, unlisted, acknowledged, rings: listed.len() }))
    }

    /// The listed file with this number, counted from 0. `None` after the last one.
    pub(crate) fn listed(
        &self,
        file: &mut dyn FsFile,
        number: u64,
    ) -> io::Result<Option<Publication>> {
        let mut entry = [0; ENTRY_BYTES];
        let read = read_full(file, &mut entry, format::entry_at(self.rings, number))?;
        let whole = read == ENTRY_BYTES;
        Ok(format::read_entry(&entry).filter(|_| whole).map(|(_, file)| file))
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
