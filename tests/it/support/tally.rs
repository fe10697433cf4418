//! A tally of the records that were found in a writer's visible files.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use bufferedwriter_testkit::name::Name;
use bufferedwriter_testkit::record::{self, Id};
use bufferedwriter_testkit::record_set::RecordSet;

use super::WriterDir;

/// A record of `len` bytes, or as many as its head needs. `buffer` is overwritten.
pub fn record(buffer: &mut Vec<u8>, producer: u32, seq: u32, len: usize) {
    record::make(buffer, Id { producer, seq: seq.into() }, len);
}

/// What was found in visible files.
#[derive(Default)]
pub struct Tally {
    pub found: RecordSet,
    /// Files that were looked at and left where they are.
    seen: BTreeSet<PathBuf>,
    /// Which workers wrote records of which producers.
    pub homes: BTreeMap<u32, BTreeSet<usize>>,
}

impl Tally {
    /// All visible files of a directory.
    pub fn of(dir: &WriterDir) -> Tally {
        let mut tally = Tally::default();
        tally.look(dir);
        tally
    }

    /// Expects records in order from file to file, as one worker writes them.
    pub fn across_files() -> Tally {
        Tally { found: RecordSet::across_files(), ..Tally::default() }
    }

    /// Adds the files that were not looked at before.
    pub fn look(&mut self, dir: &WriterDir) {
        for (name, file) in dir.files() {
            if self.seen.insert(file.clone()) {
                self.add(&name, &file);
            }
        }
    }

    /// Adds the files that are there, and removes each once it is checked.
    pub fn consume(&mut self, dir: &WriterDir) {
        for (name, file) in dir.files() {
            // Some systems show a removed file until the writer has closed it.
            if cfg!(windows) && !self.seen.insert(file.clone()) {
                continue;
            }
            self.add(&name, &file);
            fs::remove_file(&file).unwrap();
        }
    }

    fn add(&mut self, name: &Name, file: &Path) {
        let producers = self.found.add(&fs::read(file).unwrap());
        let producers = producers.unwrap_or_else(|wrong| panic!("{}: {wrong}", file.display()));
        for producer in producers {
            self.homes.entry(producer).or_default().insert(name.worker);
        }
    }

    pub fn has(&self, producer: u32, seq: u32) -> bool {
        self.found.contains(Id { producer, seq: seq.into() })
    }

    /// Each producer's records from 0 on, without a gap, and no others.
    pub fn assert_ranges(&self, expected: &[(u32, u32)]) {
        self.assert_all(expected.iter().map(|&(producer, count)| (producer, (0..count).collect())));
    }

    /// Exactly these records of these producers.
    pub fn assert_all(&self, expected: impl IntoIterator<Item = (u32, Vec<u32>)>) {
        let mut records = 0;
        for (producer, seqs) in expected {
            for &seq in &seqs {
                assert!(self.has(producer, seq), "not found: {producer:x}.{seq:x}");
            }
            records += seqs.len() as u64;
        }
        assert_eq!(self.found.records, records, "records that nobody was told to be accepted");
    }
}
