//! Random cases: journals that an enemy wrote. A writer that starts reads them, lists what they say in valid lines
//! that lead out of no directory, and touches nothing else.
//!
//! `PROPTEST_CASES` says how many; 300 if it does not.

use std::fs;
use std::path::{Component, Path};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::housekeeping::journal::format::{ENTRY_BYTES, HEADER_BYTES, RING_ENTRIES};
use crate::naming::Names;
use crate::tests::publishing_crash::{living, place, restart};
use crate::tests::recovery::journals::{self, BYTES, RINGS, file, fix, is_moved, path_in};
use bufferedwriter_testkit::dir::{TestDir, list};
use bufferedwriter_testkit::os::OsStrExt;

/// One change of a good journal.
#[derive(Clone, Debug)]
enum Change {
    Flip(usize, u8),
    Len(usize),
    /// A number in the header.
    Header(usize, u64),
    /// A number in an entry of a ring or for the hook.
    Entry(usize, usize, u64),
    /// The path of an entry.
    Path(usize, Vec<u8>),
}

fn changes() -> impl Strategy<Value = Change> {
    let numbers = prop_oneof![0..12_u64, Just(u64::MAX), any::<u64>()].boxed();
    let entries = 0..RINGS * RING_ENTRIES + 2;
    let good = file(0, 3).relative.as_os_str().as_bytes().to_vec();
    let paths = prop_oneof![
        Just([b"../".to_vec(), good.clone()].concat()),
        Just([b"/etc/".to_vec(), good.clone()].concat()),
        Just([b"a\"\n\xff\\/".to_vec(), good].concat()),
        prop::collection::vec(any::<u8>(), 0..40),
    ];
    prop_oneof![
        (0..BYTES, 1..=255_u8).prop_map(|(at, by)| Change::Flip(at, by)),
        (0..BYTES + 3 * ENTRY_BYTES).prop_map(Change::Len),
        (0..24_usize, numbers.clone()).prop_map(|(at, number)| Change::Header(8 * at, number)),
        (entries.clone(), 0..7_usize, numbers).prop_map(|(e, at, n)| Change::Entry(e, 8 * at, n)),
        (entries, paths).prop_map(|(entry, path)| Change::Path(entry, path)),
    ]
}

fn change(bytes: &mut Vec<u8>, change: &Change) {
    let mut put = |at: usize, new: &[u8]| {
        if let Some(place) = bytes.get_mut(at..at + new.len()) {
            place.copy_from_slice(new);
        }
    };
    let entry_at = |entry: &usize| HEADER_BYTES + entry * ENTRY_BYTES;
    match change {
        Change::Flip(at, by) => {
            if let Some(byte) = bytes.get_mut(*at) {
                *byte ^= by;
            }
        }
        Change::Len(len) => bytes.resize(*len, 7),
        Change::Header(at, number) => put(*at, &number.to_le_bytes()),
        Change::Entry(entry, at, number) => put(entry_at(entry) + at, &number.to_le_bytes()),
        Change::Path(entry, path) => {
            put(entry_at(entry) + 52, &(path.len() as u32).to_le_bytes());
            put(entry_at(entry) + 56, path);
        }
    }
}

/// Puts the journal there, starts a writer, and returns how many lines came of it, and what the hook heard.
pub(super) fn start(dir: &TestDir, names: &Names, bytes: &[u8]) -> (usize, Vec<String>) {
    let (journal, manifest) = (dir.join("temp").join(names.journal()), dir.join("lists/m"));
    fs::write(&journal, bytes).unwrap();
    let (recovery, heard) = restart(dir.path(), living());
    assert!(recovery.published.is_empty() && recovery.skipped.is_empty(), "{recovery:?}");
    // It is done with, set aside, told of, or says that its files appear elsewhere.
    let path = dir.join("path");
    let is_of_path = path_in(bytes).is_some_and(|said| said == path.as_os_str().as_bytes());
    let is_of_path = is_of_path && !is_moved(bytes);
    assert!(!journal.exists() || !recovery.errors.is_empty() || !is_of_path, "{recovery:?}");
    let text = fs::read_to_string(&manifest).unwrap_or_default();
    for line in text.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let path = Path::new(line["path"].as_str().unwrap());
        assert!(path.components().all(|part| matches!(part, Component::Normal(_))), "{path:?}");
        assert!(heard.iter().any(|id| line["id"] == id.as_str()), "{line}");
    }
    assert_eq!((list(&dir.join("path")).len(), list(dir.path()).len()), (0, 3));
    for name in list(&dir.join("temp")) {
        fs::remove_file(dir.join("temp").join(name)).unwrap();
    }
    let _ = fs::remove_file(&manifest);
    (text.lines().count(), heard)
}

/// Of the writer whose journal it is.
pub(super) fn writer() -> Names {
    Names { prefix: "".into(), extension: "".into(), instance: 0xfeed, pid: 7 }
}

#[test]
fn a_hostile_journal_is_read_or_set_aside_and_leads_nowhere() {
    let (names, dir) = (writer(), place());
    let path = dir.join("path");
    // What was listed first is heard of first.
    let heard = |worker, seq| file(worker, seq).told(&path).unwrap().id;
    let all = [heard(0, 11), heard(0, 12), heard(0, 1), heard(1, 1)];
    assert_eq!(start(&dir, &names, &journals::good(&names, &path, RINGS)), (2, all.to_vec()));
    // Nor does a damaged entry take the next ones with it.
    let mut damaged = journals::good(&names, &path, RINGS);
    damaged[BYTES - 2 * ENTRY_BYTES + 100] ^= 1;
    assert_eq!(start(&dir, &names, &damaged), (2, all[1..].to_vec()));
    let mut config = Config { failure_persistence: None, ..Config::default() };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = 300;
    }
    let cases = (prop::collection::vec(changes(), 1..4), prop::bool::weighted(0.8));
    let mut runner = TestRunner::new(config);
    let result = runner.run(&cases, |(changes, fixed)| {
        let mut bytes = journals::good(&names, &path, RINGS);
        changes.iter().for_each(|one| change(&mut bytes, one));
        if fixed {
            fix(&mut bytes);
        }
        start(&dir, &names, &bytes);
        Ok(())
    });
    result.unwrap_or_else(|error| panic!("{error}"));
}
