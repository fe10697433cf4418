//! The set of records that were found in a writer's visible files. Each must be whole and there once.
//!
//! An id is the producer's number in its upper half and a sequence number in its lower half, both from 0 on.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::failure::{expect, fail};
use crate::record;

/// The id of a producer's record.
pub fn id(producer: u32, sequence: u32) -> u64 {
    u64::from(producer) << 32 | u64::from(sequence)
}

/// The records of one writer that were found.
#[derive(Default)]
pub struct RecordSet {
    /// For each producer, one bit a record.
    bits: Vec<Vec<u64>>,
    /// Files that were read.
    pub files: u64,
    /// Records in those files.
    pub records: u64,
    /// Bytes of those records.
    pub bytes: u64,
}

impl RecordSet {
    /// Adds the records of all visible files of a directory, and removes the files if `remove` is set. Ends the
    /// program if a file is empty or torn, or holds a record that was found before.
    pub fn read_dir(&mut self, dir: &Path, writer: u32, remove: bool) {
        for file in list(dir).into_iter().filter(|file| is_visible(file)) {
            let bytes = expect("read a file", fs::read(&file));
            if bytes.is_empty() {
                fail(&format!("empty: {}", file.display()));
            }
            self.files += 1;
            record::each(&bytes, writer, |id, len| self.add(id, len, &file));
            if remove {
                expect("remove a file", fs::remove_file(&file));
            }
        }
    }

    fn add(&mut self, id: u64, len: usize, file: &Path) {
        let (producer, sequence) = ((id >> 32) as usize, id as u32 as usize);
        if self.bits.len() <= producer {
            self.bits.resize(producer + 1, Vec::new());
        }
        let bits = &mut self.bits[producer];
        if bits.len() <= sequence / 64 {
            bits.resize(sequence / 64 + 1, 0);
        }
        if bits[sequence / 64] & 1 << (sequence % 64) != 0 {
            fail(&format!("record {id:#x} is there twice: {}", file.display()));
        }
        bits[sequence / 64] |= 1 << (sequence % 64);
        self.records += 1;
        self.bytes += len as u64;
    }

    /// Whether a record was found.
    pub fn contains(&self, producer: u32, sequence: u32) -> bool {
        let bits = self.bits.get(producer as usize);
        let word = bits.and_then(|bits| bits.get(sequence as usize / 64));
        word.is_some_and(|word| word & 1 << (sequence % 64) != 0)
    }

    /// How many of a producer's records with sequence numbers of at least `from` were found.
    pub fn count_from(&self, producer: u32, from: u32) -> u64 {
        let bits = self.bits.get(producer as usize).map_or(0, Vec::len);
        (from..bits as u32 * 64).filter(|&sequence| self.contains(producer, sequence)).count()
            as u64
    }

    /// One more than the largest number of a producer whose records were found.
    pub fn producers(&self) -> u32 {
        self.bits.len() as u32
    }
}

/// Whether a file is published. Unfinished files, and those of a probe of the directory, have names that begin
/// with a dot.
pub fn is_visible(file: &Path) -> bool {
    file.file_name().is_some_and(|name| !name.as_bytes().starts_with(b"."))
}

/// The paths in a directory; none if the directory is gone.
pub fn list(dir: &Path) -> Vec<PathBuf> {
    match fs::read_dir(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
        entries => {
            let entries = expect("read a directory", entries);
            entries.map(|entry| expect("read a directory", entry).path()).collect()
        }
    }
}
