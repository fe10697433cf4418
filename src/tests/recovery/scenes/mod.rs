//! Recoveries of what dead instances left, each on a scene of its own. They show what must become of it, what must
//! not be touched, and what an interrupted recovery leaves to the next one.

mod interrupted;
mod partitions;
mod skipped;
mod verdicts;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::PathBuf;

use bufferedwriter_testkit::dir::{TestDir, list, paths_below};
use bufferedwriter_testkit::os::OsStrExt;

use crate::file::state_file::format::ENTRY_BYTES;
use crate::fs::Fs;
use crate::fs::real::RealFs;
use crate::naming::{self, Names, Stamp, TempId};
use crate::recovery::scan::Scan;
use crate::report::recovery::Recovery;
use crate::tests::forks;
use crate::tests::recovery::images::{self, entry, header_in};

/// Of the first temp file; each has the next one.
const STAMP: u64 = images::STAMP.0;

pub(crate) fn names() -> Names {
    // Not UTF-8.
    let prefix = OsStr::from_bytes(b"p\xff").to_owned();
    Names { prefix, extension: OsString::from("log"), instance: 0xfeed, pid: 7 }
}

/// Directories with what a dead instance left.
pub(crate) struct Scene {
    pub(crate) dir: TestDir,
    pub(crate) path: PathBuf,
    pub(crate) temp: PathBuf,
    pub(crate) names: Names,
    /// Of its writer, with its time zone.
    pub(crate) partition: (&'static str, &'static str),
}

/// A temp file, and what its worker's entry says of it.
#[derive(Clone, Copy)]
struct Left<'a> {
    contents: &'a str,
    good: u64,
    synced: u64,
}

impl Scene {
    pub(crate) fn new() -> Self {
        let dir = TestDir::new();
        let (path, temp) = (dir.dir("path"), dir.dir("temp"));
        Scene { dir, path, temp, names: names(), partition: ("", "") }
    }

    /// Of a writer with partitions.
    fn partitioned(template: &'static str, time_zone: &'static str) -> Self {
        Scene { partition: (template, time_zone), ..Scene::new() }
    }

    pub(crate) fn same_boot() -> [u8; 16] {
        RealFs.boot_id().expect("a boot id")
    }

    fn temp_name(&self, worker: usize, seq: u64) -> OsString {
        self.names.temp(Stamp(STAMP + seq), worker, seq)
    }

    fn temp_path(&self, worker: usize, seq: u64) -> PathBuf {
        self.temp.join(self.temp_name(worker, seq))
    }

    fn state(&self) -> PathBuf {
        self.temp.join(self.names.state())
    }

    /// The entry of the temp file with the number of its worker.
    fn entry(worker: usize, good: u64, synced: u64) -> [u8; ENTRY_BYTES] {
        let seq = worker as u64;
        entry(3, Some(TempId { stamp: Stamp(STAMP + seq), seq }), good, synced)
    }

    pub(crate) fn state_bytes(&self, boot: [u8; 16], entries: &[[u8; ENTRY_BYTES]]) -> Vec<u8> {
        let (workers, partition) = (entries.len(), self.partition);
        let bytes = header_in(boot, &self.path, None, &self.names, workers, partition);
        let mut bytes = bytes.unwrap();
        entries.iter().for_each(|entry| bytes.extend(entry));
        bytes
    }

    fn write_state(&self, boot: [u8; 16], entries: &[[u8; ENTRY_BYTES]]) {
        fs::write(self.state(), self.state_bytes(boot, entries)).unwrap();
    }

    /// One worker for each, whose entry names its file.
    fn leave(&self, boot: [u8; 16], left: &[Left<'_>]) {
        let entries: Vec<_> = left
            .iter()
            .enumerate()
            .map(|(worker, left)| {
                fs::write(self.temp_path(worker, worker as u64), left.contents).unwrap();
                Self::entry(worker, left.good, left.synced)
            })
            .collect();
        self.write_state(boot, &entries);
    }

    /// A look at its directories, for left-overs of any prefix.
    fn scan<'a>(&'a self, fs: &'a dyn Fs) -> Scan<'a> {
        Scan {
            fs,
            path: &self.path,
            temp: &self.temp,
            from: None,
            prefix: None,
            memory: &[],
            without_memory: false,
            dry_run: false,
        }
    }

    fn recover_with(&self, fs: &dyn Fs, dry_run: bool) -> Recovery {
        let scan = Scan { prefix: Some(&*self.names.prefix), dry_run, ..self.scan(fs) };
        let mut recovery = Recovery::default();
        if let Err(error) = forks::recover(scan, None, &mut recovery) {
            recovery.errors.push(error);
        }
        recovery
    }

    fn recover(&self) -> Recovery {
        let recovery = self.recover_with(&RealFs, false);
        assert!(recovery.errors.is_empty(), "{recovery:?}");
        recovery
    }

    /// Names and contents; the moment of the publication taken out of visible names.
    fn snapshot(&self) -> BTreeMap<String, String> {
        let mut all = BTreeMap::new();
        for dir in [&self.path, &self.temp] {
            for file in paths_below(dir) {
                let name = file.file_name().unwrap().to_owned();
                let parsed = naming::parse(&name, &self.names.prefix, &self.names.extension);
                let shown = match parsed.filter(|parsed| !parsed.temp) {
                    Some(parsed) => format!("visible w{}-{}", parsed.worker, parsed.seq),
                    None => name.to_string_lossy().into_owned(),
                };
                let below = file.parent().unwrap().strip_prefix(dir).unwrap();
                let shown = below.join(shown).to_string_lossy().replace('\\', "/");
                let is_link = file.symlink_metadata().unwrap().is_symlink();
                let bytes = if is_link { b"link".into() } else { fs::read(file).unwrap() };
                let text = String::from_utf8_lossy(&bytes).into_owned();
                let place = if dir == &self.path { "path" } else { "temp" };
                let again = all.insert(format!("{place}/{shown}"), text);
                assert!(again.is_none(), "twice: {shown}");
            }
        }
        all
    }

    fn visible(&self) -> Vec<String> {
        paths_below(&self.path).iter().map(|file| fs::read_to_string(file).unwrap()).collect()
    }

    /// Only these files are in the temp directory.
    fn assert_temp(&self, expected: &[OsString]) {
        let mut expected = expected.to_vec();
        expected.sort();
        assert_eq!(list(&self.temp), expected);
    }

    fn aside(&self, worker: usize) -> OsString {
        naming::aside(&self.temp_name(worker, worker as u64))
    }
}
