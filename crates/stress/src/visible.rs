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

/// Header and footer of files that have them. No record begins like the header.
pub const HEADER: &str = "the header of a file\n";
/// Ends such a file.
pub const FOOTER: &str = "the footer of a file\n";

/// The records of one writer that were found.
pub struct Visible {
    writer: u32,
    /// Whether its files have header and footer.
    enclosed: bool,
    /// A caller may write through several slots.
    pub found: RecordSet,
}

impl Visible {
    /// None so far.
    pub fn new(writer: u32) -> Self {
        Visible { writer, enclosed: false, found: RecordSet::in_any_order() }
    }

    /// The files have a header and a footer.
    pub fn enclosed(self) -> Self {
        Visible { enclosed: true, ..self }
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
            let (bytes, enclosed) = read(&file);
            if enclosed != self.enclosed {
                fail(&format!("{}: header and footer: {enclosed}", file.display()));
            }
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

/// The records in a file, and whether they stand between header and footer. Ends the program if only one of these is
/// there. It also ends if the file is compressed and the tool that reads it is missing, or finds a fault.
pub fn read(file: &Path) -> (Vec<u8>, bool) {
    let bytes = unpacked(file)
        .unwrap_or_else(|| fail(&format!("{}: no tool reads it here", file.display())));
    let begins = bytes.starts_with(HEADER.as_bytes());
    if begins != bytes.ends_with(FOOTER.as_bytes()) {
        fail(&format!("{}: header: {begins}, footer: {}", file.display(), !begins));
    }
    if !begins {
        return (bytes, false);
    }
    match bytes.get(HEADER.len()..bytes.len() - FOOTER.len()) {
        Some(records) if !records.is_empty() => (records.to_vec(), true),
        _ => fail(&format!("{}: no record", file.display())),
    }
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
