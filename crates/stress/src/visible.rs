//! The records in a writer's visible files. Each must be whole, of that writer, and there once.
//!
//! A record's number is its caller's in the upper half, and a sequence number in the lower half, both from 0 on.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use bufferedwriter_testkit::dir::is_hidden;
use bufferedwriter_testkit::record::Id;
use bufferedwriter_testkit::record_set::RecordSet;
use bufferedwriter_testkit::unpacked::unpacked;

use crate::failure::{expect, fail};

/// The number of a caller's record.
pub fn number(caller: u32, sequence: u32) -> u64 {
    u64::from(caller) << 32 | u64::from(sequence)
}

/// The records of one writer that were found.
pub struct Visible {
    writer: u32,
    /// A caller may write through several slots.
    pub found: RecordSet,
}

impl Visible {
    /// None so far.
    pub fn new(writer: u32) -> Self {
        Visible { writer, found: RecordSet::in_any_order() }
    }

    /// Adds the records of all visible files of a directory after a fault that no fsync stood against: files may be
    /// empty or torn. Returns how many are.
    pub fn read_damaged_dir(&mut self, dir: &Path) -> usize {
        let files = list(dir).into_iter().filter(|file| !is_hidden(file));
        files.filter(|file| self.found.add(&expect("read a file", fs::read(file))).is_err()).count()
    }

    /// Adds the records of all visible files of a directory, and removes the files if `remove` is set. Ends the
    /// program if something is wrong with one of them.
    pub fn read_dir(&mut self, dir: &Path, remove: bool) {
        for file in list(dir).into_iter().filter(|file| !is_hidden(file)) {
            let bytes = read(&file);
            let writers = expect(&file.display().to_string(), self.found.add(&bytes));
            if writers.iter().any(|&writer| writer != self.writer) {
                fail(&format!("{}: of {writers:?}, not of {}", file.display(), self.writer));
            }
            if remove {
                expect("remove a file", fs::remove_file(&file));
            }
        }
    }

    /// Whether a record was found.
    pub fn contains(&self, caller: u32, sequence: u32) -> bool {
        self.found.contains(Id { producer: self.writer, seq: number(caller, sequence) })
    }

    /// How many of a caller's records with sequence numbers of at least `from` were found.
    pub fn count_from(&self, caller: u32, from: u32) -> u64 {
        self.found.count(self.writer, number(caller, from)..=number(caller, u32::MAX))
    }
}

/// The records in a file. Ends the program if the file is compressed and the tool that reads it is missing, or finds
/// a fault.
pub fn read(file: &Path) -> Vec<u8> {
    unpacked(file).unwrap_or_else(|| fail(&format!("{}: no tool reads it here", file.display())))
}

/// The paths of files in a directory and in its partitions; none if the directory is gone. Ends the program if it
/// can't be read.
pub fn list(dir: &Path) -> Vec<PathBuf> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Vec::new(),
        entries => expect("read a directory", entries),
    };
    let mut found = Vec::new();
    for entry in entries.map(|entry| expect("read a directory", entry)) {
        if entry.file_type().is_ok_and(|found| found.is_dir()) {
            found.extend(list(&entry.path()));
        } else {
            found.push(entry.path());
        }
    }
    found
}
