//! Random cases: state files that an enemy wrote, beside files that must not be touched.
//!
//! `PROPTEST_CASES` says how many; 5,000 if it does not, which take about ten seconds.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use bufferedwriter_testkit::dir::{TestDir, list, paths_below};
use bufferedwriter_testkit::os::{OsStrExt, makes_links, symlink};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::base::sys::Facts;
use crate::base::sys::file::facts_at;
use crate::file::state_file::decode;
use crate::file::state_file::format::{ENTRY_BYTES, HEADER_BYTES, TEXTS_AT};
use crate::fs::Fs;
use crate::fs::real::RealFs;
use crate::naming::{self, Names, TempId};
use crate::recovery::scan::Scan;
use crate::report::error::Error;
use crate::report::recovery::Recovery;
use crate::tests::forks;
use crate::tests::fs::faulty::without_fsync;
use crate::tests::recovery::fuzz;
use crate::tests::recovery::images::{OTHER_BOOT, STAMP, entry, header};

pub(crate) const CASES: u32 = 5_000;
const WORKERS: usize = 2;
/// Worker, number and contents of each temp file of a dead instance.
pub(crate) const TEMPS: [(usize, u64, &str); 3] =
    [(0, 1, "one two torn"), (1, 2, "whole"), (1, 3, "unnamed")];

/// One change of a good state file.
#[derive(Clone, Debug)]
enum Change {
    Flip(usize, u8),
    Cut(usize),
    Extend(Vec<u8>),
    /// Bytes of the header, anywhere, or where numbers and texts stand.
    Header(usize, Vec<u8>),
    /// Bytes of a worker's entry.
    Entry(usize, usize, Vec<u8>),
    /// Path, prefix and extension, with lengths that fit them; none = as they should be.
    Texts([Option<Vec<u8>>; 3]),
    /// A partition and its time zone.
    Partition(String, &'static str),
}

/// A case: the changes, whether the checksums are made right afterwards, and whether it is this boot.
type Case = (Vec<Change>, bool, bool);

fn changes() -> impl Strategy<Value = Change> {
    let some = |len| prop::collection::vec(any::<u8>(), 1..len);
    let evil = prop_oneof![
        Just(b"../canary".to_vec()),
        Just(b"/".to_vec()),
        Just(b"\0".to_vec()),
        Just(b"..".to_vec()),
        Just(b"p".to_vec()),
        Just(Vec::new()),
        some(300),
    ];
    let text = prop::option::of(evil).boxed();
    prop_oneof![
        (any::<prop::sample::Index>(), 1..=255_u8)
            .prop_map(|(at, by)| Change::Flip(at.index(HEADER_BYTES + WORKERS * ENTRY_BYTES), by)),
        (0..HEADER_BYTES + WORKERS * ENTRY_BYTES).prop_map(Change::Cut),
        some(200).prop_map(Change::Extend),
        (0..80_usize, some(9)).prop_map(|(at, bytes)| Change::Header(at, bytes)),
        (0..WORKERS, 0..ENTRY_BYTES, some(9)).prop_map(|(w, at, b)| Change::Entry(w, at, b)),
        (text.clone(), text.clone(), text).prop_map(|(a, b, c)| Change::Texts([a, b, c])),
        (partition(), prop::sample::select(&["UTC", "", "nowhere", "../UTC"][..]))
            .prop_map(|(partition, zone)| Change::Partition(partition, zone)),
    ]
}

fn partition() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        4 => prop::sample::select(&["dt=%F", "%H%M", "a", "{a}"][..]).prop_map(str::to_owned),
        1 => prop::sample::select(&["..", ".", "", "canary", "%Q", "%T", "%"][..]).prop_map(str::to_owned),
        1 => any::<char>().prop_map(String::from),
        1 => Just("x".repeat(300)),
    ];
    prop::collection::vec(part, 1..4).prop_map(|parts| parts.join("/"))
}

fn change(bytes: &mut Vec<u8>, change: &Change, path: &Path) {
    let good = [path.as_os_str().as_bytes(), b"p", b"log"];
    let mut put = |at: usize, new: &[u8]| {
        let end = bytes.len().min(at + new.len());
        if at < end {
            bytes[at..end].copy_from_slice(&new[..end - at]);
        }
    };
    match change {
        Change::Flip(at, by) => {
            if let Some(byte) = bytes.get_mut(*at) {
                *byte ^= by;
            }
        }
        Change::Cut(len) => bytes.truncate(*len),
        Change::Extend(more) => bytes.extend(more),
        Change::Header(at, new) => put(*at, new),
        Change::Entry(worker, at, new) => put(HEADER_BYTES + worker * ENTRY_BYTES + at, new),
        Change::Texts(texts) => {
            let text = |at: usize| texts[at].as_deref().unwrap_or(good[at]);
            let [path, prefix, extension] = [0, 1, 2].map(text);
            put(44, &(path.len() as u32).to_le_bytes());
            put(48, &(prefix.len() as u16).to_le_bytes());
            put(50, &(extension.len() as u16).to_le_bytes());
            put(TEXTS_AT, &[path, prefix, extension].concat());
        }
        Change::Partition(partition, zone) => {
            put(60, &(partition.len() as u16).to_le_bytes());
            put(62, &(zone.len() as u16).to_le_bytes());
            put(TEXTS_AT + good.concat().len(), &[partition.as_bytes(), zone.as_bytes()].concat());
        }
    }
}

/// Directories with canaries in and around them, the same for all cases.
pub(crate) struct Yard {
    pub(crate) dir: TestDir,
    pub(crate) path: PathBuf,
    pub(crate) temp: PathBuf,
    pub(crate) memory: PathBuf,
    pub(crate) names: Names,
}

/// What stands at a path: its identity, and of a file all that the system tells.
pub(crate) type Files = BTreeMap<PathBuf, ((u64, u64), Option<Facts>)>;

impl Yard {
    pub(crate) fn new() -> Self {
        let dir = TestDir::new();
        let (path, temp, memory) = (dir.dir("path"), dir.dir("temp"), dir.dir("memory"));
        let names = fuzz::names();
        let yard = Yard { dir, path, temp, memory, names };
        let put = |at: PathBuf| fs::write(at, "canary").unwrap();
        put(yard.dir.join("canary"));
        put(yard.path.join("canary"));
        put(yard.temp.join("canary"));
        put(yard.temp.join("canary.tmp"));
        put(yard.path.join(yard.names.visible(STAMP, 0, 0)));
        // Other instances', and names that are almost ours.
        for other in [
            Names { instance: 6, ..yard.names.clone() },
            Names { pid: 2, ..yard.names.clone() },
            Names { prefix: OsString::from("q"), ..yard.names.clone() },
        ] {
            put(yard.temp.join(other.temp(STAMP, 0, 0)));
            put(yard.memory.join(other.memory()));
        }
        let mut almost = yard.names.temp(STAMP, 0, 0);
        almost.push("x");
        put(yard.temp.join(almost));
        let link = yard.link();
        // Neither is a file, so a recovery leaves it alone.
        match makes_links() {
            true => symlink(yard.dir.join("canary"), link).unwrap(),
            false => fs::create_dir(link).unwrap(),
        }
        yard
    }

    /// What is no file, where a temp file of the instance would be.
    fn link(&self) -> PathBuf {
        self.temp.join(self.names.temp(STAMP, 7, 7))
    }

    /// Removes that.
    pub(crate) fn remove_link(&self) {
        let link = self.link();
        fs::remove_file(&link).or_else(|_| fs::remove_dir(&link)).unwrap();
    }

    /// Everything, but for the temp files and the state file of the instance, whatever they are called now.
    pub(crate) fn canaries(&self) -> Files {
        let mut files = Files::new();
        for dir in [self.dir.path(), &self.path, &self.temp, &self.memory] {
            for name in list(dir) {
                let file = dir.join(&name);
                let found = facts_at(&file).unwrap().unwrap();
                if found.is_dir {
                    // A partition is made in one place only.
                    if dir != &*self.path {
                        files.insert(file, (found.id, None));
                    }
                    continue;
                }
                if self.is_of_instance(&name) && dir != self.dir.path() {
                    continue;
                }
                files.insert(file, (found.id, Some(found)));
            }
        }
        files
    }

    /// Its name carries the instance, and it is not the link or the canary that was visible before.
    fn is_of_instance(&self, name: &OsString) -> bool {
        let text = name.to_string_lossy().into_owned();
        text.contains("0000000000000005-1")
            && !text.contains("-w7-7")
            && !text.ends_with("x")
            && *name != self.names.visible(STAMP, 0, 0)
            && !text.contains("q2")
    }

    /// Removes what the last case left.
    pub(crate) fn tidy(&self) {
        for dir in [&self.path, &self.temp, &self.memory] {
            for name in list(dir) {
                let file = dir.join(&name);
                if file.symlink_metadata().unwrap().is_dir() {
                    fs::remove_dir_all(file).unwrap();
                } else if self.is_of_instance(&name) {
                    fs::remove_file(file).unwrap();
                }
            }
        }
    }

    pub(crate) fn of_instance(&self, dir: &Path) -> Vec<OsString> {
        let is_its = |file: &PathBuf| self.is_of_instance(&file.file_name().unwrap().to_owned());
        let below = |file: PathBuf| file.strip_prefix(dir).unwrap().as_os_str().to_owned();
        paths_below(dir).into_iter().filter(is_its).map(below).collect()
    }

    fn run(&self, case: &Case) -> Result<(), TestCaseError> {
        let (changes, fixed, same_boot) = case;
        let boot = RealFs.boot_id().filter(|_| *same_boot).unwrap_or(OTHER_BOOT);
        let mut bytes = header(boot, &self.path, None, &self.names, WORKERS).unwrap();
        let id = |seq| Some(TempId { stamp: STAMP, seq });
        bytes.extend(entry(1, id(1), 8, 4));
        bytes.extend(entry(2, id(2), 5, 5));
        changes.iter().for_each(|each| change(&mut bytes, each, &self.path));
        if *fixed {
            fuzz::fix_state(&mut bytes);
        }
        self.recover(&bytes)
    }

    /// The temp files of a dead instance.
    pub(crate) fn leave_temps(&self) {
        for (worker, seq, contents) in TEMPS {
            fs::write(self.temp.join(self.names.temp(STAMP, worker, seq)), contents).unwrap();
        }
    }

    /// Recovers an instance with this state file.
    pub(crate) fn recover(&self, bytes: &[u8]) -> Result<(), TestCaseError> {
        self.tidy();
        let before = self.canaries();
        self.leave_temps();
        fs::write(self.temp.join(self.names.state()), bytes).unwrap();

        let mut recovery = Recovery::default();
        let (path, temp) = (&*self.path, &*self.temp);
        let scan = Scan {
            fs: &without_fsync(),
            path,
            temp,
            from: None,
            prefix: Some("p".as_ref()),
            memory: &[],
            without_memory: false,
            dry_run: false,
        };
        forks::recover(scan, None, &mut recovery).unwrap();
        // A partition may have the name of a canary.
        let is_in_the_way = |error: &Error| error.operation() == "create directory";
        prop_assert!(recovery.errors.iter().all(is_in_the_way), "{recovery:?}");
        prop_assert_eq!(self.canaries(), before);
        // Nothing is longer than it was, but for a footer, and what is gone held nothing that was good.
        let footer = decode::read(bytes).map_or(Vec::new(), |state| state.header.layout.footer);
        for (worker, seq, contents) in TEMPS {
            let is_its = |dir: &Path, name: &OsString| {
                let text = name.to_string_lossy().into_owned();
                let end = format!("-w{worker}-{seq}.");
                text.contains(&end).then(|| fs::read(dir.join(name)).unwrap())
            };
            let found: Vec<_> = [path, temp]
                .iter()
                .flat_map(|dir| self.of_instance(dir).into_iter().map(move |name| (*dir, name)))
                .filter_map(|(dir, name)| is_its(dir, &name))
                .collect();
            prop_assert!(found.len() <= 1);
            let is_start = |found: &[u8]| contents.as_bytes().starts_with(found);
            let is_ended = |found: &[u8]| found.strip_suffix(&*footer).is_some_and(is_start);
            let whole = found.iter().all(|found| is_start(found) || is_ended(found));
            prop_assert!(whole, "{:?}", found);
        }
        let mut again = Recovery::default();
        forks::recover(scan, None, &mut again).unwrap();
        prop_assert!(again.published.is_empty() && again.set_aside.is_empty(), "{again:?}");
        prop_assert!(naming::parse_state(&self.names.state(), None).is_some());
        Ok(())
    }
}

#[test]
fn a_hostile_state_file_touches_nothing_but_temp_files_of_its_instance() {
    let yard = Yard::new();
    let cases = std::env::var("PROPTEST_CASES").is_err().then_some(CASES);
    let mut config = Config { failure_persistence: None, ..Config::default() };
    config.cases = cases.unwrap_or(config.cases);
    let strategy =
        (prop::collection::vec(changes(), 0..4), prop::bool::weighted(0.8), any::<bool>());
    TestRunner::new(config).run(&strategy, |case| yard.run(&case)).unwrap();
}
