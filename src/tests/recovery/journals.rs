//! Journals that an enemy wrote: how few bytes make one, and what must hold of whatever is read of it. Shared by the
//! fuzzer (`fuzz/`), its corpus and the random cases.
//!
//! The first byte of an input: bit 0 adds a ring, bit 1 takes the files for the hook away, bit 2 means that the
//! directory was moved. All three: the rest is the file. Bit 3 and the changes that follow are those of `fuzz.rs`.

use std::path::{Component, Path};

use crate::base::checksum::fnv1a;
use crate::file::state_file::decode::Unreadable;
use crate::housekeeping::journal::dead::{DeadJournal, Listed, temp_name};
use crate::housekeeping::journal::format::{
    self, ENTRY_BYTES, HEADER_BYTES, MOVED_AT, RING_ENTRIES, ring_at,
};
use crate::housekeeping::publication::Publication;
use crate::naming::{Names, Stamp};
use crate::report::published::PublishReason;
use crate::report::stats::Count;
use crate::tests::fs::held::Held;
use crate::tests::recovery::fuzz::{change, fix_checksum};

pub(crate) const RINGS: usize = 2;
/// Header, rings, and two entries for the hook.
#[cfg(test)]
pub(crate) const BYTES: usize = HEADER_BYTES + (RINGS * RING_ENTRIES + 2) * ENTRY_BYTES;
const MOVED: usize = MOVED_AT as usize;

/// A file of this worker.
pub(crate) fn file(worker: usize, seq: u64) -> Publication {
    let name = format!("p20261122T194030.123456789Z-000000000000feed-7-w{worker}-{seq}.log");
    Publication {
        relative: Path::new("dt=2026-11-22/m=1940").join(name),
        first: Stamp(1_795_376_430_000_000_000),
        last: Stamp(1_795_376_430_123_456_789),
        bytes: 1000,
        records: Count::new(10, 900),
        reason: PublishReason::Size,
    }
}

/// A journal with two files that are not listed and two that the hook has not heard of.
pub(crate) fn good(names: &Names, path: &Path, rings: usize) -> Vec<u8> {
    let mut bytes = format::header(names, path, rings, true).expect("the path is short");
    let entry = |number, file| format::entry(number, &file).expect("the path is short");
    for (ring, seq) in [(0, 1), (1, 1)] {
        let at = ring_at(ring, seq) as usize;
        bytes[at..at + ENTRY_BYTES].copy_from_slice(&entry(seq, file(ring, seq)));
    }
    for number in [1, 2] {
        bytes.extend(entry(number, file(0, 10 + number)));
    }
    bytes
}

/// The file that an input describes; `path` is where its writer's files were to appear.
pub(crate) fn of(input: &[u8], path: &Path, names: &Names) -> Vec<u8> {
    let Some((&first, changes)) = input.split_first() else { return Vec::new() };
    if first & 7 == 7 {
        return changes.to_vec();
    }
    let rings = RINGS + usize::from(first & 1);
    let mut bytes = good(names, path, rings);
    if first & 2 != 0 {
        bytes.truncate(ring_at(rings, 0) as usize);
    }
    if first & 4 != 0 {
        let sum = format::moved_to(&path.join("moved"));
        bytes[MOVED..MOVED + 8].copy_from_slice(&sum.to_le_bytes());
    }
    let mut places: Vec<usize> = (8..32).step_by(4).collect();
    places.extend((64..128 + 8 * rings).step_by(8));
    for entry in (0..rings * RING_ENTRIES + 2).map(|entry| HEADER_BYTES + entry * ENTRY_BYTES) {
        places.extend([0, 8, 16, 24, 32, 40, 48, 52, 56, 80].map(|at| entry + at));
    }
    change(&mut bytes, changes, &places);
    if first & 8 == 0 {
        fix(&mut bytes);
    }
    bytes
}

/// Where it says that its files appear.
pub(crate) fn path_in(bytes: &[u8]) -> Option<&[u8]> {
    let len = u32::from_le_bytes(bytes.get(28..32)?.try_into().ok()?) as usize;
    bytes.get(4096..HEADER_BYTES)?.get(..len)
}

/// Whether it says that its directory has another name since it was moved.
#[cfg(test)]
pub(crate) fn is_moved(bytes: &[u8]) -> bool {
    bytes.get(MOVED..MOVED + 8).is_some_and(|sum| sum != [0; 8])
}

/// Makes the checksums right, but for those of entries that were never used.
pub(crate) fn fix(bytes: &mut [u8]) {
    let Some((header, entries)) = bytes.split_at_mut_checked(HEADER_BYTES) else { return };
    let sum = fnv1a(&[&header[..32], path_in(header).unwrap_or_default()].concat());
    header[32..40].copy_from_slice(&sum.to_le_bytes());
    let entries = entries.chunks_exact_mut(ENTRY_BYTES);
    entries.filter(|entry| entry.iter().any(|&byte| byte != 0)).for_each(fix_checksum);
}

/// Takes a journal apart, and checks that it leads nowhere, and that its places for notes are free. Returns the number
/// of files that it tells of.
pub(crate) fn read(bytes: Vec<u8>, names: &Names) -> Result<u64, Unreadable> {
    let len = bytes.len() as u64;
    let mut held = Held(bytes);
    let dead = DeadJournal::read(&mut held, names).expect("bytes can be read");
    let dead = dead.ok_or(Unreadable::Damaged)?;
    let mut places: Vec<u64> = dead.unlisted.iter().map(|(at, _)| *at).collect();
    places.extend(dead.free.iter().map(|place| place.at));
    let all = places.len();
    places.sort_unstable();
    places.dedup();
    assert_eq!(places.len(), all, "two files have one place");
    assert!(all.is_multiple_of(RING_ENTRIES) && all >= 2 * RING_ENTRIES);
    assert_eq!(places.first(), Some(&ring_at(0, 0)));
    assert_eq!(places.last(), Some(&(ring_at(all / RING_ENTRIES, 0) - ENTRY_BYTES as u64)));
    let mut files: Vec<_> = dead.unlisted.iter().map(|(_, file)| file.clone()).collect();
    for number in dead.acknowledged.. {
        match dead.listed(&mut held, number).expect("bytes can be read") {
            Listed::End => break,
            Listed::Damaged => {}
            Listed::File(file) => files.push(file),
        }
    }
    assert!(files.len() as u64 * ENTRY_BYTES as u64 <= len);
    files.iter().for_each(check);
    Ok(files.len() as u64)
}

/// It is below its directory, whatever it says, and is one line.
fn check(file: &Publication) {
    let path = &file.relative;
    assert!(path.components().all(|part| matches!(part, Component::Normal(_))), "{path:?}");
    let line = file.line().expect("it has the name of a file");
    let (body, end) = line.split_at(line.len() - 1);
    assert!(end == "\n" && !body.contains(|c: char| c < ' '), "{line:?}");
    let told = file.told(Path::new("/srv/out")).expect("it has the name of a file");
    assert!(told.path.starts_with("/srv/out") && told.first <= told.last, "{told:?}");
    let temp = temp_name(file, Path::new("/srv/temp")).expect("it has the name of a file");
    assert_eq!(temp.parent(), Some(Path::new("/srv/temp")));
    let again = format::entry(1, file).and_then(|entry| format::read_entry(&entry));
    assert_eq!(again.as_ref(), Some(&(1, file.clone())), "as a writer writes it");
}
