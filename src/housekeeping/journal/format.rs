//! The format of a journal.
//!
//! All numbers are little-endian. Unnamed bytes are 0. Checksums are 64-bit FNV-1a.
//!
//! ```text
//! header    0  magic "BUFWJRN\0"    8  version u32 = 1    12  rings u32    16  instance u64
//!          24  pid u32    28  length u32 of the path
//!          32  checksum of the 32 bytes before and the path
//!          64  listed files that the hook has acknowledged, u64
//!          72  checksum of the path that the directory has since it was moved, u64; 0 = it was not
//!          80  stamp u64: no listed file with an older name waits for the hook; u64::MAX = none waits,
//!              0 = there is no hook
//!         128  of each ring, the number of the last file that is listed, u64
//!        4096  canonical path of the directory of visible files
//! ring r, entry k                 at 8192 + 1024 (8 r + k)
//! entries of listed files, in order, from 8192 (1 + r) on, after the last ring
//! entry     0  number u64, from 1; 0 = none     8  first u64    16  last u64, both in nanoseconds
//!          24  bytes of the file u64    32  records u64    40  their bytes u64
//!          48  reason u32    52  length u32 of the path below the directory    56  that path
//!        1016  checksum of all before
//! ```
//!
//! A file with number n of a ring is its entry n mod 8. The last ring belongs to the recovery that
//! the writer runs.

use std::path::{Path, PathBuf};

use crate::base::checksum::fnv1a;
use crate::base::le;
use crate::base::sys::names;
use crate::config::WORKERS_MAX;
use crate::housekeeping::publication::Publication;
use crate::naming::{Names, Stamp};
use crate::report::published::PublishReason;
use crate::report::stats::Count;

const MAGIC: [u8; 8] = *b"BUFWJRN\0";
const VERSION: u32 = 1;
pub(crate) const HEADER_BYTES: usize = 8192;
const PATH_AT: usize = 4096;
const SUM_AT: usize = 32;
pub(crate) const ACKNOWLEDGED_AT: u64 = 64;
pub(crate) const MOVED_AT: u64 = 72;
pub(crate) const WAITS_AT: u64 = 80;
/// In place of a stamp: no listed file waits for the hook.
pub(crate) const NONE_WAITS: u64 = u64::MAX;
pub(super) const LISTED_AT: u64 = 128;
pub(crate) const ENTRY_BYTES: usize = 1024;
/// Files of one worker that may be unlisted.
pub(crate) const RING_ENTRIES: usize = 8;
const RING_BYTES: usize = RING_ENTRIES * ENTRY_BYTES;
const ENTRY_PATH_AT: usize = 56;
/// More than any disk holds.
const ENTRIES_MAX: u64 = 1 << 40;
const ENTRY_SUM_AT: usize = ENTRY_BYTES - 8;

/// What the header of a dead writer's journal says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) path: PathBuf,
    pub(super) acknowledged: u64,
    pub(super) moved: u64,
    /// No listed file with an older name waits for the hook. 0 = there is no hook.
    pub(super) waits_from: u64,
    /// Of each ring.
    pub(super) listed: Vec<u64>,
}

pub(crate) fn ring_at(ring: usize, entry: u64) -> u64 {
    (HEADER_BYTES + ring * RING_BYTES) as u64 + entry * ENTRY_BYTES as u64
}

pub(super) fn entry_at(rings: usize, entry: u64) -> u64 {
    ring_at(rings, 0).saturating_add(entry.saturating_mul(ENTRY_BYTES as u64))
}

/// The header and the empty rings. `None` if the path is too long.
pub(crate) fn header(names: &Names, path: &Path, rings: usize, has_hook: bool) -> Option<Vec<u8>> {
    let path = names::bytes(path.as_os_str());
    let mut bytes = [
        &MAGIC[..],
        &VERSION.to_le_bytes(),
        &u32::try_from(rings).ok()?.to_le_bytes(),
        &names.instance.to_le_bytes(),
        &names.pid.to_le_bytes(),
        &u32::try_from(path.len()).ok()?.to_le_bytes(),
    ]
    .concat();
    let sum = fnv1a(&[&bytes, path].concat());
    bytes.extend(sum.to_le_bytes());
    bytes.resize(HEADER_BYTES + rings * RING_BYTES, 0);
    bytes[..HEADER_BYTES].get_mut(PATH_AT..PATH_AT + path.len())?.copy_from_slice(path);
    if has_hook {
        bytes[WAITS_AT as usize..][..8].copy_from_slice(&NONE_WAITS.to_le_bytes());
    }
    Some(bytes)
}

/// Reads the header of this writer's journal. `None` if it is not what the writer wrote.
pub(super) fn read_header(bytes: &[u8], names: &Names) -> Option<Header> {
    let start = [&MAGIC[..], &VERSION.to_le_bytes()].concat();
    if bytes.len() < HEADER_BYTES || !bytes.starts_with(&start) {
        return None;
    }
    let rings = le::u32(&bytes[12..16]) as usize;
    let path = bytes[PATH_AT..HEADER_BYTES].get(..le::u32(&bytes[28..32]) as usize)?;
    let sum = fnv1a(&[&bytes[..SUM_AT], path].concat());
    let its = (le::u64(&bytes[16..24]), le::u32(&bytes[24..28]));
    if le::u64(&bytes[SUM_AT..SUM_AT + 8]) != sum
        || its != (names.instance, names.pid)
        || !(2..=WORKERS_MAX + 1).contains(&rings)
    {
        return None;
    }
    let number = |at: usize| le::u64(&bytes[at..at + 8]);
    let [acknowledged, moved, waits_from] =
        [ACKNOWLEDGED_AT, MOVED_AT, WAITS_AT].map(|at| number(at as usize));
    let listed: Vec<u64> = (0..rings).map(|ring| number(LISTED_AT as usize + 8 * ring)).collect();
    if listed.iter().chain([&acknowledged]).any(|&count| count > ENTRIES_MAX) {
        return None;
    }
    let path = names::owned(path.to_vec())?.into();
    Some(Header { path, acknowledged, moved, waits_from, listed })
}

/// What the header says if the directory was moved here. Eight bytes are written as one, whoever is killed.
pub(crate) fn moved_to(path: &Path) -> u64 {
    let path: PathBuf = path.components().collect();
    fnv1a(names::bytes(path.as_os_str())).max(1)
}

/// An entry. `None` if the path is too long.
pub(crate) fn entry(number: u64, file: &Publication) -> Option<[u8; ENTRY_BYTES]> {
    let Publication { relative, first, last, bytes, records, reason } = file;
    let path = names::bytes(relative.as_os_str());
    let mut entry = [0; ENTRY_BYTES];
    let numbers = [number, first.0, last.0, *bytes, records.records, records.bytes];
    for (at, number) in numbers.into_iter().enumerate() {
        entry[8 * at..][..8].copy_from_slice(&number.to_le_bytes());
    }
    let reason = PublishReason::ALL.iter().position(|known| known == reason)?;
    entry[48..52].copy_from_slice(&(reason as u32).to_le_bytes());
    entry[52..56].copy_from_slice(&u32::try_from(path.len()).ok()?.to_le_bytes());
    entry[..ENTRY_SUM_AT].get_mut(ENTRY_PATH_AT..ENTRY_PATH_AT + path.len())?.copy_from_slice(path);
    let sum = fnv1a(&entry[..ENTRY_SUM_AT]);
    entry[ENTRY_SUM_AT..].copy_from_slice(&sum.to_le_bytes());
    Some(entry)
}

/// An entry and its number. `None` if there is none, or not what a writer wrote.
pub(crate) fn read_entry(entry: &[u8]) -> Option<(u64, Publication)> {
    let sum = le::u64(&entry[ENTRY_SUM_AT..]);
    let number = |at: usize| le::u64(&entry[8 * at..][..8]);
    if !(1..=ENTRIES_MAX).contains(&number(0)) || sum != fnv1a(&entry[..ENTRY_SUM_AT]) {
        return None;
    }
    let path = entry[ENTRY_PATH_AT..ENTRY_SUM_AT].get(..le::u32(&entry[52..56]) as usize)?;
    let file = Publication {
        relative: names::owned(path.to_vec())?.into(),
        first: Stamp(number(1)),
        last: Stamp(number(2)),
        bytes: number(3),
        records: Count::new(number(4), number(5)),
        reason: *PublishReason::ALL.get(le::u32(&entry[48..52]) as usize)?,
    };
    file.is_sound().then_some((number(0), file))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::housekeeping::publication::tests::publication;

    fn names() -> Names {
        Names { prefix: "p".into(), extension: "log".into(), instance: 0xfeed, pid: 7 }
    }

    #[test]
    fn what_was_written_is_read_as_it_was() {
        let mut bytes = header(&names(), Path::new("/var/log"), 3, true).unwrap();
        assert_eq!(bytes.len() as u64, entry_at(3, 0));
        let read = read_header(&bytes, &names()).unwrap();
        let path = PathBuf::from("/var/log");
        let (waits_from, listed) = (NONE_WAITS, vec![0; 3]);
        assert_eq!(read, Header { path, acknowledged: 0, moved: 0, waits_from, listed });
        bytes[ACKNOWLEDGED_AT as usize] = 5;
        bytes[MOVED_AT as usize] = 6;
        bytes[WAITS_AT as usize..][..8].copy_from_slice(&7_u64.to_le_bytes());
        bytes[LISTED_AT as usize + 16] = 9;
        let read = read_header(&bytes, &names()).unwrap();
        assert_eq!((read.acknowledged, read.moved, read.waits_from), (5, 6, 7));
        assert_eq!(read.listed, [0, 0, 9]);
        for reason in PublishReason::ALL {
            let file = Publication { reason, ..publication(2, 9) };
            assert_eq!(read_entry(&entry(7, &file).unwrap()), Some((7, file)));
        }
    }

    #[test]
    fn other_headers_are_refused() {
        let good = header(&names(), Path::new("/var/log"), 3, true).unwrap();
        for at in [0, 8, 12, 16, 24, 28, 31, 32, 39, PATH_AT, PATH_AT + 7] {
            let mut bytes = good.clone();
            bytes[at] ^= 1;
            assert_eq!(read_header(&bytes, &names()), None, "{at}");
        }
        assert_eq!(read_header(&good[..HEADER_BYTES - 1], &names()), None);
        for rings in [0, 1, WORKERS_MAX + 2] {
            let bytes = header(&names(), Path::new("/"), rings, false).unwrap();
            assert_eq!(read_header(&bytes, &names()), None, "{rings}");
        }
        assert_eq!(header(&names(), Path::new(&"x".repeat(4097)), 2, false), None);
    }

    #[test]
    fn other_entries_are_refused() {
        let good = entry(1, &publication(0, 1)).unwrap();
        for at in 0..ENTRY_BYTES {
            let mut bytes = good;
            bytes[at] ^= 1;
            assert_eq!(read_entry(&bytes), None, "{at}");
        }
        assert_eq!(read_entry(&[0; ENTRY_BYTES]), None);
        let fix = |mut bytes: [u8; ENTRY_BYTES]| {
            let sum = fnv1a(&bytes[..ENTRY_SUM_AT]);
            bytes[ENTRY_SUM_AT..].copy_from_slice(&sum.to_le_bytes());
            bytes
        };
        for (at, byte) in [(0, 0), (48, 6), (51, 1), (53, 4), (55, 1), (56, b'/')] {
            let mut bytes = good;
            bytes[at] = byte;
            assert_eq!(read_entry(&fix(bytes)), None, "{at}");
        }
        let mut long = publication(0, 1);
        let name = long.relative.file_name().unwrap().to_owned();
        long.relative = Path::new(&"x".repeat(960 - name.len() - 1)).join(&name);
        assert!(entry(1, &long).is_some());
        long.relative = Path::new(&"x".repeat(960 - name.len())).join(&name);
        assert!(entry(1, &long).is_none());
    }
}
