//! The committed corpus of the fuzzer (`fuzz/corpus`), read and recovered by every test run. It holds files that an
//! enemy may have written. Those that `scripts/fuzz` found are named by their checksums. Those made by hand say in
//! their names what they are.
//!
//! `BUFFEREDWRITER_BLESS=1` writes those that are made by hand again.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::file::state_file::decode::Unreadable::{self, Codec, Damaged, Short, Version};
use crate::tests::publishing_crash;
use crate::tests::recovery::fuzz;
use crate::tests::recovery::hostile_journal;
use crate::tests::recovery::hostile_memory::{recover_bytes, yard};
use crate::tests::recovery::hostile_state::Yard;
use crate::tests::recovery::journals;

/// The least number of found files in each corpus. Adjust it when you minimise the corpus.
const FOUND_MIN: [(&str, usize); 3] = [("memory", 101), ("state", 101), ("journal", 158)];

/// Changes of a good file: see `fuzz.rs`.
type Changes = &'static [(u8, u16, u64)];
/// Numbers of 1, 2, 4 and 8 bytes, and the length of the file.
const U8: u8 = 0;
const U16: u8 = 1;
const U32: u8 = 2;
const U64: u8 = 3;
const LEN: u8 = 8;
const MAX: u64 = u64::MAX;
/// First bytes: the checksums stay as they are; a state file has counters; there is no good file.
const UNFIXED: u8 = 8;
const WITH_COUNTERS: u8 = 16;
const RAW: u8 = 7;

/// Name, first byte, changes, and what a reader says: why it is unreadable, or how much of it is damaged.
type ByHand = (&'static str, u8, Changes, Result<u64, Unreadable>);

/// The places are those of `docs/design/crash-proof.md`, with five chunks of 100 bytes and two workers.
const MEMORY: &[ByHand] = &[
    ("empty", RAW, &[], Err(Short)),
    ("good", 0, &[], Ok(0)),
    ("truncated-header", 0, &[(LEN, 4095, 0)], Err(Short)),
    ("header-only", 0, &[(LEN, 4096, 0)], Err(Damaged)),
    ("truncated", 0, &[(LEN, 32_767, 0)], Err(Damaged)),
    ("too-long", 0, &[(LEN, 32_769, 0)], Err(Damaged)),
    ("other-magic", 0, &[(U8, 0, 0)], Err(Damaged)),
    ("other-version", 0, &[(U32, 8, 1)], Err(Version(1))),
    ("wrong-order", 0, &[(U32, 12, 0x0403_0201)], Err(Damaged)),
    ("wrong-checksum", UNFIXED, &[(U8, 100, 1)], Err(Damaged)),
    ("no-chunks", 0, &[(U32, 16, 0)], Err(Damaged)),
    ("chunks-beyond-the-file", 0, &[(U32, 16, 64)], Err(Damaged)),
    ("chunks-beyond-all", 0, &[(U32, 16, MAX)], Err(Damaged)),
    ("no-workers", 0, &[(U32, 20, 0)], Err(Damaged)),
    ("257-workers", 0, &[(U32, 20, 257)], Err(Damaged)),
    // Another layout, which fits: what were words of the second worker are headers of chunks then.
    ("a-worker-less", 0, &[(U32, 20, 1), (U64, 32, 24_576), (LEN, 24_576, 0)], Ok(1)),
    ("no-size", 0, &[(U64, 24, 0)], Err(Damaged)),
    ("size-that-overflows", 0, &[(U64, 24, MAX)], Err(Damaged)),
    ("other-length", 0, &[(U64, 32, MAX)], Err(Damaged)),
    ("other-instance", 0, &[(U64, 40, 6)], Err(Damaged)),
    ("other-pid", 0, &[(U32, 48, 2)], Err(Damaged)),
    ("mode-with-setuid", 0, &[(U32, 52, 0o4755)], Err(Damaged)),
    ("other-codec", 0, &[(U32, 56, 77)], Err(Codec(77))),
    ("closed", 0, &[(U64, 4096, 1)], Ok(0)),
    ("salvaged-to-a-file-that-is-gone", 0, &[(U64, 4104, MAX)], Ok(0)),
    ("length-beyond-chunk", 0, &[(U64, 24_576, 101)], Ok(1)),
    ("length-beyond-all", 0, &[(U64, 24_576, u32::MAX as u64)], Ok(1)),
    ("more-filed-than-there-is", 0, &[(U64, 4176, 51)], Ok(1)),
    ("filed-beyond-all", 0, &[(U64, 4176, MAX)], Ok(1)),
    ("chain-in-a-circle", 0, &[(U32, 24_976, MAX)], Ok(1)),
    ("chain-through-its-head", 0, &[(U32, 24_852, 3)], Ok(1)),
    ("chain-out-of-the-arena", 0, &[(U32, 24_852, 7)], Ok(1)),
    ("chain-far-out-of-the-arena", 0, &[(U32, 24_852, MAX)], Ok(1)),
    ("chain-with-an-empty-part", 0, &[(U64, 25_088, 0)], Ok(1)),
    ("chain-with-a-part-too-long", 0, &[(U64, 25_088, 101)], Ok(1)),
    ("chain-without-its-head", 0, &[(U64, 24_832, 0)], Ok(0)),
    ("two-chains-through-one-chunk", 0, &[(U32, 24_724, 4)], Ok(1)),
    ("good-length-beyond-the-temp-file", 0, &[(U64, 8208, MAX)], Ok(0)),
    (
        "counts-that-overflow",
        0,
        &[(U64, 8232, MAX), (U64, 16_424, MAX), (U64, 8240, MAX), (U64, 16_432, MAX)],
        Ok(0),
    ),
    ("list", 1, &[], Ok(0)),
    // The entries that there are say "of chunk 0 nothing".
    ("list-longer-than-504", 0, &[(U64, 8248, 505)], Ok(1)),
    ("list-beyond-all", 0, &[(U64, 8248, MAX)], Ok(1)),
    ("list-of-chunks-that-are-not", 1, &[(U64, 8248, 2), (U64, 8320, 5), (U64, 8336, MAX)], Ok(2)),
    ("list-that-files-too-much", 1, &[(U64, 8328, MAX)], Ok(1)),
    // A flight recorder. What it counts as overwritten stands in the headers of chunks.
    ("recorder", 0, &[(U32, 8, 3)], Ok(0)),
    ("version-after-the-recorder", 0, &[(U32, 8, 4)], Err(Version(4))),
    (
        "recorder-with-counts-that-overflow",
        0,
        &[(U32, 8, 3), (U64, 24_664, MAX), (U64, 24_672, MAX), (U64, 24_792, 7), (U64, 24_800, 7)],
        Ok(0),
    ),
    (
        "recorder-that-takes-over-in-a-state-that-is-not",
        0,
        &[(U32, 8, 3), (U64, 24_696, MAX), (U64, 24_824, MAX)],
        Ok(0),
    ),
    (
        "recorder-that-has-just-taken-a-chain-over",
        0,
        &[(U32, 8, 3), (U64, 24_832, 0), (U64, 24_936, 1), (U64, 24_944, 250), (U64, 24_952, 2)],
        Ok(0),
    ),
    (
        "recorder-with-a-chain-in-a-circle",
        0,
        &[(U32, 8, 3), (U32, 24_976, MAX), (U64, 24_952, 3)],
        Ok(1),
    ),
];

/// The places are those of `src/file/state_file/format.rs`; path, prefix and extension are `/srv/out`, `p` and `log`.
const STATE: &[ByHand] = &[
    ("empty", RAW, &[], Err(Short)),
    ("good", 0, &[], Ok(0)),
    ("good-with-memory", 1, &[], Ok(0)),
    ("no-version", 0, &[(LEN, 11, 0)], Err(Short)),
    ("truncated-header", 0, &[(LEN, 16_383, 0)], Err(Short)),
    ("header-only", 0, &[(LEN, 16_384, 0)], Err(Short)),
    ("truncated-record", 0, &[(LEN, 16_639, 0)], Err(Short)),
    ("too-long", 0, &[(LEN, 16_641, 0)], Err(Damaged)),
    ("longer-than-any", 0, &[(LEN, 49_153, 0)], Err(Damaged)),
    ("other-magic", 0, &[(U8, 0, 0)], Err(Damaged)),
    ("other-version", 0, &[(U32, 8, 1)], Err(Version(1))),
    ("wrong-checksum", UNFIXED, &[(U8, 100, 1)], Err(Damaged)),
    ("no-workers", 0, &[(U32, 12, 0)], Err(Damaged)),
    ("257-workers", 0, &[(U32, 12, 257), (LEN, 49_280, 0)], Err(Damaged)),
    ("workers-that-overflow", 0, &[(U32, 12, MAX)], Err(Damaged)),
    ("path-beyond-the-header", 0, &[(U32, 44, MAX)], Err(Damaged)),
    ("prefix-beyond-the-header", 0, &[(U16, 48, MAX)], Err(Damaged)),
    ("memory-beyond-the-header", 0, &[(U16, 52, 16_301)], Err(Damaged)),
    ("partition-beyond-the-header", 0, &[(U16, 60, MAX)], Err(Damaged)),
    ("time-zone-that-is-no-text", 1, &[(U16, 62, 1), (U8, 99, 0xff)], Err(Damaged)),
    // Its text stands at 84.
    ("partition-that-leads-out", 0, &[(U16, 60, 2), (U16, 84, 0x2e2e)], Err(Damaged)),
    ("partition-at-the-root", 0, &[(U16, 60, 1), (U8, 84, b'/' as u64)], Err(Damaged)),
    (
        "partition-of-an-unknown-time-zone",
        0,
        &[(U16, 60, 2), (U16, 62, 1), (U16, 84, 0x4625), (U8, 86, b'x' as u64)],
        Ok(0),
    ),
    ("footer-beyond-the-header", 0, &[(U16, 66, MAX)], Err(Damaged)),
    ("header-of-4097-bytes", 0, &[(U16, 64, 4097)], Err(Damaged)),
    ("footer-of-4097-bytes", 0, &[(U16, 66, 4097)], Err(Damaged)),
    // Longer than the good parts of the temp files.
    ("header-of-4096-bytes", 0, &[(U16, 64, 4096)], Ok(0)),
    ("footer-of-4096-bytes", 0, &[(U16, 66, 4096)], Ok(0)),
    ("prefix-with-a-slash", 0, &[(U8, 80, b'/' as u64)], Err(Damaged)),
    ("prefix-with-nul", 0, &[(U8, 80, 0)], Err(Damaged)),
    ("extension-with-a-slash", 0, &[(U8, 81, b'/' as u64)], Err(Damaged)),
    ("affixes-too-long", UNFIXED, &[(U16, 48, 161)], Err(Damaged)),
    ("path-that-is-no-path", 0, &[(U64, 72, MAX)], Ok(0)),
    ("other-codec", 0, &[(U32, 56, 77)], Err(Codec(77))),
    ("no-boot", 4, &[], Ok(0)),
    ("other-instance", 0, &[(U64, 32, 6)], Ok(0)),
    ("more-synced-than-good", 0, &[(U64, 16_432, 9)], Ok(1)),
    ("more-records-synced-than-good", 0, &[(U64, 16_440, 9)], Ok(1)),
    ("record-with-wrong-checksum", UNFIXED, &[(U8, 16_392, 1)], Ok(1)),
    (
        "records-that-say-all",
        0,
        &[(U64, 16_408, MAX), (U64, 16_432, MAX), (U64, 16_536, MAX)],
        Ok(0),
    ),
    ("record-without-a-file", 0, &[(U64, 16_392, 0)], Ok(0)),
    // Two slots of 1664 bytes, from 16,640 on: `src/file/state_file/counters/mod.rs` has their places.
    ("with-counters", WITH_COUNTERS, &[], Ok(0)),
    ("truncated-slot", WITH_COUNTERS, &[(LEN, 19_967, 0)], Err(Short)),
    ("slots-of-no-bytes", WITH_COUNTERS, &[(U32, 68, 0)], Err(Damaged)),
    ("slots-of-eight-bytes", WITH_COUNTERS, &[(U32, 68, 8), (LEN, 16_656, 0)], Ok(0)),
    ("slots-beyond-all", WITH_COUNTERS, &[(U32, 68, MAX)], Err(Damaged)),
    ("torn-slot", WITH_COUNTERS | UNFIXED, &[(U64, 16_672, 1)], Ok(0)),
    ("two-torn-slots", WITH_COUNTERS | UNFIXED, &[(U64, 16_672, 1), (U64, 18_336, 1)], Ok(0)),
    (
        "counters-that-overflow",
        WITH_COUNTERS,
        &[(U64, 16_672, MAX), (U64, 16_688, MAX), (U64, 16_704, MAX), (U64, 16_720, MAX)],
        Ok(0),
    ),
    (
        "times-beyond-all",
        WITH_COUNTERS,
        &[(U64, 16_648, MAX), (U64, 16_656, MAX), (U64, 16_664, MAX), (U64, 17_032, MAX)],
        Ok(0),
    ),
    ("a-worker-that-says-all", WITH_COUNTERS, &[(U64, 17_152, MAX), (U64, 17_160, MAX)], Ok(0)),
    ("text-beyond-its-slot", WITH_COUNTERS, &[(U32, 17_280, MAX)], Ok(0)),
    ("text-that-is-no-text", WITH_COUNTERS, &[(U64, 17_284, MAX)], Ok(0)),
];

/// The places are those of `src/housekeeping/journal/format.rs`, with two rings; said is the number of files that it tells of.
/// Entries with files are at 9216 and 17,408 in the rings, and at 24,576 and 25,600 for the hook.
const JOURNAL: &[ByHand] = &[
    ("empty", RAW, &[], Err(Damaged)),
    ("good", 0, &[], Ok(4)),
    ("good-with-three-rings", 1, &[], Ok(4)),
    ("nothing-for-the-hook", 2, &[], Ok(2)),
    ("truncated-header", 0, &[(LEN, 8191, 0)], Err(Damaged)),
    ("header-only", 0, &[(LEN, 8192, 0)], Ok(0)),
    ("truncated-ring", 0, &[(LEN, 10_239, 0)], Ok(0)),
    ("truncated-entry", 0, &[(LEN, 25_599, 0)], Ok(2)),
    ("other-magic", 0, &[(U8, 0, 0)], Err(Damaged)),
    ("other-version", 0, &[(U32, 8, 2)], Err(Damaged)),
    ("wrong-checksum", UNFIXED, &[(U8, 4096, 1)], Err(Damaged)),
    ("a-ring-less", 0, &[(U32, 12, 1)], Err(Damaged)),
    // The files for the hook are in the third ring then.
    ("a-ring-more", 0, &[(U32, 12, 3)], Ok(4)),
    ("258-rings", 0, &[(U32, 12, 258)], Err(Damaged)),
    ("rings-that-overflow", 0, &[(U32, 12, MAX)], Err(Damaged)),
    ("other-instance", 0, &[(U64, 16, 6)], Err(Damaged)),
    ("other-pid", 0, &[(U32, 24, 2)], Err(Damaged)),
    ("path-beyond-the-header", 0, &[(U32, 28, 4097)], Err(Damaged)),
    ("path-beyond-all", 0, &[(U32, 28, MAX)], Err(Damaged)),
    ("one-acknowledged", 0, &[(U64, 64, 1)], Ok(3)),
    ("more-acknowledged-than-there-are", 0, &[(U64, 64, 1 << 40)], Ok(2)),
    ("acknowledged-beyond-all", 0, &[(U64, 64, MAX)], Err(Damaged)),
    ("moved", 4, &[], Ok(4)),
    ("moved-to-nowhere", 0, &[(U64, 72, MAX)], Ok(4)),
    ("all-of-a-ring-listed", 0, &[(U64, 128, 1)], Ok(3)),
    ("more-listed-than-there-are", 0, &[(U64, 136, 1 << 40)], Ok(3)),
    ("listed-beyond-all", 0, &[(U64, 136, MAX)], Err(Damaged)),
    ("number-0", 0, &[(U64, 9216, 0)], Ok(3)),
    ("number-beyond-all", 0, &[(U64, 9216, MAX)], Ok(3)),
    ("greatest-number", 0, &[(U64, 9216, 1 << 40)], Ok(4)),
    ("numbers-that-say-all", 0, &[(U64, 9224, MAX), (U64, 9240, MAX), (U64, 9248, MAX)], Ok(4)),
    ("clock-that-was-set-back", 0, &[(U64, 9232, 0)], Ok(4)),
    ("unknown-reason", 0, &[(U32, 9264, 6)], Ok(3)),
    ("path-of-no-bytes", 0, &[(U32, 9268, 0)], Ok(3)),
    ("path-beyond-the-entry", 0, &[(U32, 24_628, 961)], Ok(3)),
    ("path-that-leads-out", 0, &[(U16, 24_632, 0x2e2e), (U8, 24_634, b'/' as u64)], Ok(3)),
    ("path-from-the-root", 0, &[(U8, 9272, b'/' as u64)], Ok(3)),
    ("path-with-nul", 0, &[(U8, 9272, 0)], Ok(3)),
    ("path-with-a-newline-and-a-quote", 0, &[(U8, 9272, 10), (U8, 9273, b'"' as u64)], Ok(4)),
    ("path-that-is-no-text", 0, &[(U16, 9272, 0xfeff)], Ok(4)),
    ("entry-with-wrong-checksum", UNFIXED, &[(U8, 24_600, 1)], Ok(3)),
];

fn corpus(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target)
}

fn input((_, first, changes, _): &ByHand) -> Vec<u8> {
    let mut input = vec![*first];
    for (what, place, number) in *changes {
        input.push(*what);
        input.extend(place.to_le_bytes());
        input.extend(number.to_le_bytes());
    }
    input
}

/// All files of it, by name. Fails if some are gone.
fn files(target: &str, by_hand: &[ByHand]) -> BTreeMap<String, Vec<u8>> {
    let dir = corpus(target);
    if std::env::var_os("BUFFEREDWRITER_BLESS").is_some() {
        by_hand.iter().for_each(|each| fs::write(dir.join(each.0), input(each)).unwrap());
    }
    let entries = fs::read_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    let files: BTreeMap<_, _> = entries
        .map(|entry| entry.unwrap())
        .map(|file| (file.file_name().into_string().unwrap(), fs::read(file.path()).unwrap()))
        .collect();
    for each in by_hand {
        assert_eq!(files.get(each.0), Some(&input(each)), "{target}/{}", each.0);
    }
    let names: BTreeSet<_> = by_hand.iter().map(|each| each.0).collect();
    let found = files.keys().filter(|name| !names.contains(name.as_str()));
    assert!(found.clone().all(|name| name.len() == 40), "neither found nor by hand: {found:?}");
    let min = FOUND_MIN.iter().find(|min| min.0 == target).unwrap().1;
    let found = found.count();
    assert!(found >= min, "{target}: {found} files that were found, of {min}");
    files
}

#[test]
fn memories_of_the_corpus() {
    let files = files("memory", MEMORY);
    let names = fuzz::names();
    let read = |input: &[u8]| fuzz::read_memory(fuzz::memory_of(input, &names), &names);
    for each in MEMORY {
        let said = read(&input(each)).map(|image| image.damaged);
        assert_eq!(said, each.3, "{}", each.0);
    }
    let yard = yard();
    for (name, input) in &files {
        fuzz::memory(input);
        let recovered = recover_bytes(&yard, &fuzz::memory_of(input, &yard.names));
        recovered.unwrap_or_else(|error| panic!("memory/{name}: {error}"));
    }
}

/// Windows has no names of all bytes, so it takes such input for damage.
fn is_for_this_system(name: &str) -> bool {
    let of_all_bytes =
        ["path-that-is-no-text", "path-that-is-no-path", "path-with-a-newline-and-a-quote"];
    cfg!(unix) || !of_all_bytes.contains(&name)
}

#[test]
fn state_files_of_the_corpus() {
    let files = files("state", STATE);
    for each in STATE.iter().filter(|each| is_for_this_system(each.0)) {
        let read = fuzz::read_state(&fuzz::state_of(&input(each), Path::new("/srv/out")));
        let damaged = |entries: &[_]| entries.iter().filter(|r| Option::is_none(r)).count() as u64;
        assert_eq!(read.map(|decoded| damaged(&decoded.entries)), each.3, "{}", each.0);
    }
    let yard = Yard::new();
    for (name, input) in &files {
        fuzz::state(input);
        let recovered = yard.recover(&fuzz::state_of(input, &yard.path));
        recovered.unwrap_or_else(|error| panic!("state/{name}: {error}"));
    }
}

#[test]
fn journals_of_the_corpus() {
    let files = files("journal", JOURNAL);
    let names = fuzz::names();
    for each in JOURNAL.iter().filter(|each| is_for_this_system(each.0)) {
        let journal = journals::of(&input(each), Path::new("/srv/out"), &names);
        assert_eq!(journals::read(journal, &names), each.3, "{}", each.0);
    }
    let (names, dir) = (hostile_journal::writer(), publishing_crash::place());
    for input in files.values() {
        fuzz::journal(input);
        hostile_journal::start(&dir, &names, &journals::of(input, &dir.join("path"), &names));
    }
}
