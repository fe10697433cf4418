//! Random cases: memories that an enemy wrote, read as they are, and recovered beside files that must not be touched.
//!
//! `PROPTEST_CASES` says how many; 5,000 if it does not.

use bufferedwriter_testkit::os::{makes_links, set_mode, symlink};
use std::fs;
use std::path::PathBuf;

use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestRunner};

use crate::fs::Fs;
use crate::fs::real::RealFs;
use crate::memory::crash_image::{Layout, RECORDER_VERSION};
use crate::naming::Names;
use crate::recovery::scan::Scan;
use crate::report::recovery::{Recovery, SkipReason};
use crate::tests::forks;
use crate::tests::fs::faulty::without_fsync;
use crate::tests::recovery::fuzz;
use crate::tests::recovery::hostile_state::{CASES, TEMPS, Yard};
use crate::tests::recovery::images::{Image, LAYOUT, STAMP, entry, header, seed};

/// One change of a good memory.
#[derive(Clone, Debug)]
enum Change {
    /// Any byte.
    Flip(prop::sample::Index, u8),
    Cut(prop::sample::Index),
    Extend(usize),
    /// Bytes of the header's fields.
    Header(usize, Vec<u8>),
    /// A word that a recovery looks at.
    Word(usize, u64),
    /// Half of one.
    Half(usize, u32),
}

/// Where the words are that count; see `docs/design/crash-proof.md`.
fn words() -> Vec<usize> {
    let mut words = vec![4096, 4104];
    words.extend((0..5 * 4).map(|word| 4160 + 8 * word));
    for part in [8192, 16_384] {
        words.extend((0..8).map(|word| part + 8 * word));
        words.extend((0..8).map(|half| part + 128 + 8 * half));
    }
    for chunk in 0..5 {
        words.extend([0, 16, 88, 96, 104, 112, 120].map(|at| 24_576 + 128 * chunk + at));
    }
    words
}

fn changes() -> impl Strategy<Value = Change> {
    let values: Vec<u64> = [0, 1, 2, 3, 4, 5, 6, 7, 49, 50, 99, 100, 101, 503, 504, 505]
        .into_iter()
        .chain([1 << 31, u32::MAX.into(), 1 << 32, 1 << 63, u64::MAX - 1, u64::MAX, STAMP.0])
        .collect();
    let value = prop_oneof![4 => select(values), 1 => any::<u64>()].boxed();
    let half = value.clone().prop_map(|value| value as u32);
    let halves: Vec<usize> = words().into_iter().flat_map(|at| [at, at + 4]).collect();
    prop_oneof![
        1 => (any::<prop::sample::Index>(), 1..=255_u8).prop_map(|(at, by)| Change::Flip(at, by)),
        1 => any::<prop::sample::Index>().prop_map(Change::Cut),
        1 => (1..9000_usize).prop_map(Change::Extend),
        1 => (0..56_usize, prop::collection::vec(any::<u8>(), 1..9))
            .prop_map(|(at, bytes)| Change::Header(at, bytes)),
        8 => (select(words()), value).prop_map(|(at, value)| Change::Word(at, value)),
        4 => (select(halves), half).prop_map(|(at, value)| Change::Half(at, value)),
    ]
}

fn change(bytes: &mut Vec<u8>, change: &Change) {
    fn put(bytes: &mut [u8], at: usize, new: &[u8]) {
        if let Some(place) = bytes.get_mut(at..at + new.len()) {
            place.copy_from_slice(new);
        }
    }
    match change {
        Change::Flip(at, by) if !bytes.is_empty() => {
            let at = at.index(bytes.len());
            bytes[at] ^= by;
        }
        Change::Flip(..) => {}
        Change::Cut(len) => bytes.truncate(len.index(bytes.len() + 1)),
        Change::Extend(more) => bytes.resize(bytes.len() + more, 7),
        Change::Header(at, new) => put(bytes, *at, new),
        Change::Word(at, value) => put(bytes, *at, &value.to_ne_bytes()),
        Change::Half(at, value) => put(bytes, *at, &value.to_ne_bytes()),
    }
}

/// The seed, from 4 on that of a flight recorder, the changes, and whether the checksum is made right afterwards.
type Case = (usize, Vec<Change>, bool);

fn cases() -> impl Strategy<Value = Case> {
    (0..8_usize, prop::collection::vec(changes(), 0..6), prop::bool::weighted(0.8))
}

fn make((which, changes, fixed): &Case, names: &Names) -> Image {
    let mut image = seed(*which % 4, names);
    if *which >= 4 {
        image.0[8..12].copy_from_slice(&RECORDER_VERSION.to_ne_bytes());
        image.fix_checksum();
    }
    changes.iter().for_each(|each| change(&mut image.0, each));
    if *fixed {
        image.fix_checksum();
    }
    image
}

fn runner() -> TestRunner {
    let cases = std::env::var("PROPTEST_CASES").is_err().then_some(CASES);
    let mut config = Config { failure_persistence: None, ..Config::default() };
    config.cases = cases.unwrap_or(config.cases);
    TestRunner::new(config)
}

#[test]
fn reading_a_hostile_memory_stays_within_it() {
    let names = crate::tests::recovery::images::names();
    let run = |case: Case| {
        let _ = fuzz::read_memory(make(&case, &names).0, &names);
        Ok(())
    };
    runner().run(&cases(), run).unwrap();
}

/// Without the link that is left alone, so that a recovery comes to its end.
pub(crate) fn yard() -> Yard {
    let yard = Yard::new();
    yard.remove_link();
    yard
}

fn run(yard: &Yard, dry_run: bool) -> Recovery {
    let mut recovery = Recovery::default();
    let scan = Scan {
        fs: &without_fsync(),
        path: &yard.path,
        temp: &yard.temp,
        from: None,
        prefix: Some("p".as_ref()),
        memory: std::slice::from_ref(&yard.memory),
        without_memory: false,
        dry_run,
    };
    forks::recover(scan, None, &mut recovery).unwrap();
    recovery
}

/// Everything that a dead instance left but its memory.
fn leave(yard: &Yard) {
    yard.leave_temps();
    let boot = RealFs.boot_id().unwrap_or_default();
    let mut bytes = header(boot, &yard.path, Some(&yard.memory), &yard.names, 2).unwrap();
    // Older than the memory.
    bytes.extend(entry(0, None, 0, 0));
    bytes.extend(entry(0, None, 0, 0));
    fs::write(yard.temp.join(yard.names.state()), &bytes).unwrap();
}

/// Writes the memory, as its writer would have it.
fn put(yard: &Yard, bytes: &[u8]) -> PathBuf {
    let memory = yard.memory.join(yard.names.memory());
    fs::write(&memory, bytes).unwrap();
    set_mode(&memory, 0o600).unwrap();
    memory
}

fn recover(yard: &Yard, case: &Case) -> Result<(), TestCaseError> {
    recover_bytes(yard, &make(case, &yard.names).0)
}

/// Recovers an instance with this memory.
pub(crate) fn recover_bytes(yard: &Yard, bytes: &[u8]) -> Result<(), TestCaseError> {
    yard.tidy();
    let before = yard.canaries();
    leave(yard);
    put(yard, bytes);
    // All that chunks can hold: no byte comes twice.
    let layout = fuzz::read_memory(bytes.to_vec(), &yard.names).map(|image| image.layout);
    let most = layout.map_or(0, |layout| layout.chunks as usize * layout.size);

    let recovery = run(yard, false);
    prop_assert!(recovery.errors.is_empty(), "{recovery:?}");
    prop_assert_eq!(yard.canaries(), before);
    for name in yard.of_instance(&yard.path) {
        let found = fs::read(yard.path.join(&name)).unwrap();
        let is_temps = TEMPS.iter().any(|temp| temp.2.as_bytes().starts_with(&found));
        prop_assert!(!found.is_empty() && (is_temps || found.len() <= most), "{name:?}: {found:?}");
    }
    let again = run(yard, false);
    prop_assert!(again.published.is_empty() && again.set_aside.is_empty(), "{again:?}");
    Ok(())
}

#[test]
fn recovering_a_hostile_memory_touches_nothing_but_files_of_its_instance() {
    let yard = yard();
    runner().run(&cases(), |case| recover(&yard, &case)).unwrap();
}

/// Unchanged, each seed gives what is in it, and nothing is left over.
#[test]
fn recovering_a_good_memory_gives_what_is_in_it() {
    let yard = yard();
    // Ten bytes of the first chunk are in the file already; worker 0 has 4 or 8 bytes that count.
    let seeds = [(0, "one ", 347), (1, "one two ", 207), (2, "one ", 0)];
    let of_recorders = seeds.map(|(which, temp, bytes)| (which + 4, temp, bytes));
    for (which, temp, bytes) in seeds.into_iter().chain(of_recorders) {
        recover(&yard, &(which, Vec::new(), true)).unwrap();
        let mut files: Vec<_> = yard.of_instance(&yard.path);
        files.sort();
        let mut files: Vec<_> =
            files.iter().map(|name| fs::read(yard.path.join(name)).unwrap()).collect();
        files.retain(|file| file != b"whole" && file != temp.as_bytes());
        let rest: Vec<usize> = files.iter().map(Vec::len).collect();
        assert_eq!(rest.iter().sum::<usize>(), bytes, "{which}: {rest:?}");
        assert!(yard.of_instance(&yard.memory).is_empty());
    }
    // Closed: nothing of it is of use.
    recover(&yard, &(3, Vec::new(), true)).unwrap();
    assert!(yard.of_instance(&yard.path).is_empty());
    assert!(yard.of_instance(&yard.memory).is_empty());
}

/// Whoever holds the lock is at work with it.
#[test]
fn a_memory_that_somebody_holds_is_left_to_him() {
    let yard = yard();
    leave(&yard);
    let memory = put(&yard, &seed(0, &yard.names).0);
    let before = [&yard.path, &yard.temp, &yard.memory].map(|dir| yard.of_instance(dir));
    let mut holder = RealFs.open(&memory).unwrap();
    holder.try_lock().unwrap();
    let recovery = run(&yard, false);
    assert!(recovery.is_empty() && recovery.alive == 1, "{recovery:?}");
    assert_eq!([&yard.path, &yard.temp, &yard.memory].map(|dir| yard.of_instance(dir)), before);
}

/// More than a recovery copies at once comes whole, in order.
#[test]
fn recovering_a_large_memory() {
    let yard = yard();
    let layout = Layout { chunks: 4, size: 1 << 20, ..LAYOUT };
    let mut bytes = layout.header(yard.names.instance, yard.names.pid);
    bytes.resize(layout.bytes().unwrap(), 0);
    let mut expected = Vec::new();
    for chunk in 0..4 {
        let len = layout.size - 1000 * chunk;
        let record: Vec<u8> = (0..len).map(|at| (at * (chunk + 7) % 251) as u8).collect();
        let mut put = |at: usize, new: &[u8]| bytes[at..at + new.len()].copy_from_slice(new);
        // Producer, lease; length and number of records.
        put(4160 + 32 * chunk, &1_u64.to_ne_bytes());
        put(4160 + 32 * chunk + 8, &(chunk as u64).to_ne_bytes());
        put(layout.arena_at() + 128 * chunk, &(1 << 32 | len as u64).to_ne_bytes());
        put(layout.byte_at(chunk as u32, 0), &record);
        expected.extend(record);
    }
    recover_bytes(&yard, &bytes).unwrap();
    let files = yard.of_instance(&yard.path);
    let found = files.iter().map(|name| fs::read(yard.path.join(name)).unwrap());
    assert!(found.into_iter().any(|found| found == expected), "{files:?}");
}

/// A dry run tells what the recovery after it does, and changes nothing.
#[test]
fn a_dry_run_tells_what_is_in_a_memory() {
    let yard = yard();
    for which in 0..4 {
        yard.tidy();
        leave(&yard);
        put(&yard, &make(&(which, Vec::new(), true), &yard.names).0);
        let tell = |dry_run| {
            let recovery = run(&yard, dry_run);
            (recovery.published.len(), recovery.bytes, recovery.lost, recovery.set_aside.len())
        };
        let names = || [&yard.path, &yard.temp, &yard.memory].map(|dir| yard.of_instance(dir));
        let before = names();
        let told = tell(true);
        assert_eq!(names(), before, "{which}");
        assert_eq!(told, tell(false), "{which}");
        assert!(which == 3 || told.1 > 0, "{which}: {told:?}");
    }
}

/// A temp file that is not to be touched keeps the memory, which tells what it holds. The records in chunks need
/// not wait for that.
#[test]
fn recovering_beside_a_file_that_stays() {
    if !makes_links() {
        return;
    }
    let yard = Yard::new();
    recover(&yard, &(0, Vec::new(), true)).unwrap();
    let files = yard.of_instance(&yard.path);
    assert_eq!((files.len(), yard.of_instance(&yard.memory).len()), (3, 1));
    yard.remove_link();
    run(&yard, false);
    assert_eq!(yard.of_instance(&yard.path), files);
    assert!(yard.of_instance(&yard.memory).is_empty());
}

/// A file of a worker that the memory does not know would be taken for one of a recovery that was killed, and removed.
#[test]
fn a_memory_of_another_number_of_workers_is_set_aside() {
    let yard = yard();
    for workers in [1, 3] {
        let layout = Layout { workers, ..LAYOUT };
        let mut bytes = layout.header(yard.names.instance, yard.names.pid);
        bytes.resize(layout.bytes().unwrap(), 0);
        recover_bytes(&yard, &bytes).unwrap();
        let mut files = yard.of_instance(&yard.path).len();
        for name in yard.of_instance(&yard.temp) {
            let found = fs::read(yard.temp.join(name)).unwrap();
            files += usize::from(TEMPS.iter().any(|temp| temp.2.as_bytes() == found));
        }
        assert_eq!(files, TEMPS.len(), "{workers}");
        let aside = yard.of_instance(&yard.memory);
        assert!(aside.len() == 1 && aside[0].as_encoded_bytes().ends_with(b".aside"), "{aside:?}");
    }
}

#[test]
fn a_memory_that_is_not_ours_alone_is_skipped() {
    let yard = Yard::new();
    // Others may read it, or it has two names.
    let memory = put(&yard, &seed(0, &yard.names).0);
    let left = |yard: &Yard| {
        leave(yard);
        let recovery = run(yard, false);
        assert!(recovery.published.is_empty() && recovery.errors.is_empty(), "{recovery:?}");
        let left: Vec<_> = recovery.skipped.iter().map(|left| left.reason).collect();
        assert_eq!(recovery.skipped[0].path, memory);
        left
    };
    set_mode(&memory, 0o644).unwrap();
    // Windows has no such permissions.
    if cfg!(unix) {
        assert_eq!(left(&yard), [SkipReason::NotOurs]);
    }
    set_mode(&memory, 0o600).unwrap();
    fs::hard_link(&memory, yard.dir.join("second")).unwrap();
    assert_eq!(left(&yard), [SkipReason::NotOurs]);
    fs::remove_file(&memory).unwrap();
    if makes_links() {
        symlink(yard.dir.join("second"), &memory).unwrap();
        assert_eq!(left(&yard), [SkipReason::NotOurs]);
        fs::remove_file(&memory).unwrap();
    }
    fs::create_dir(&memory).unwrap();
    assert_eq!(left(&yard), [SkipReason::NotOurs]);
    fs::remove_dir(&memory).unwrap();
    // Of another version.
    let mut newer = seed(0, &yard.names);
    newer.0[8..12].copy_from_slice(&4_u32.to_ne_bytes());
    put(&yard, &newer.fix_checksum().0);
    assert_eq!(left(&yard), [SkipReason::Version(4)]);
}
