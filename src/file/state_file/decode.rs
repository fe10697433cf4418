//! Decodes the state file of a dead instance, which may be hostile. `format.rs` has the layout.
//!
//! Guarantees: never panics, and reads no more than the largest state file. A result is whole
//! (checksums), in range, and names nothing outside of a directory. Refuses all other contents and
//! says what is wrong. Decides nothing and touches nothing.

use std::ffi::OsString;
use std::io;

use crate::base::checksum::fnv1a;
use crate::base::le;
use crate::base::sys::names;
use crate::config::{AFFIX_BYTES_MAX, Compression, ENVELOPE_BYTES_MAX, WORKERS_MAX};
use crate::file::state_file::counters;
use crate::file::state_file::format::{
    CHECKSUM_BYTES, CHECKSUMS_AT, ENTRY_BYTES, FileLayout, HEADER_BYTES, Header, MAGIC,
    MEMORY_ID_AT, MemoryDir, TEXTS_AT, VERSION, WITHOUT_COUNTERS, WorkerEntry,
};
use crate::fs::{FsFile, read_full};
use crate::naming::template::Template;
use crate::naming::{Names, Stamp, TempId};
use crate::report::stats::{Count, Watermark};

/// Length of the largest possible state file.
const BYTES_MAX: usize =
    HEADER_BYTES + WORKERS_MAX * ENTRY_BYTES + 2 * counters::slot_bytes(WORKERS_MAX);

/// A decoded state file. Its directories are for comparison only: never open them. The affixes of
/// its names contain neither `/` nor NUL.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct DecodedState {
    /// `None` if the writer did not know it.
    pub(crate) boot_id: Option<[u8; 16]>,
    pub(crate) header: Header,
    /// One for each worker, in order. `None` where the entry is damaged.
    pub(crate) entries: Vec<Option<WorkerEntry>>,
}

/// Why a state file can't be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// Its entries are not complete: its writer died, or still is, at the very beginning.
    Short,
    /// It was written by a program with another version of the format.
    Version(u32),
    /// Its files use the codec with this number, which this build does not have.
    Codec(u32),
    /// Its contents are not what its writer wrote.
    Damaged,
}

/// Reads the file, up to the length of the largest state file.
pub(crate) fn bytes(file: &mut dyn FsFile) -> io::Result<Vec<u8>> {
    // One byte more, to notice a longer file.
    let mut bytes = vec![0; BYTES_MAX + 1];
    let len = read_full(file, &mut bytes, 0)?;
    bytes.truncate(len);
    Ok(bytes)
}

/// Decodes the contents of a state file.
pub(crate) fn read(bytes: &[u8]) -> Result<DecodedState, Unreadable> {
    let Some(number) = bytes.get(8..12) else { return Err(Unreadable::Short) };
    let version = le::u32(number);
    if bytes.starts_with(&MAGIC) && ![WITHOUT_COUNTERS, VERSION].contains(&version) {
        return Err(Unreadable::Version(version));
    }
    let Some((header, entries)) = bytes.split_at_checked(HEADER_BYTES) else {
        return Err(Unreadable::Short);
    };
    let (boot_id, header) = read_header(header).ok_or(match entries.is_empty() {
        true => Unreadable::Short,
        false => Unreadable::Damaged,
    })?;
    if Compression::from_id(header.codec).is_none() {
        return Err(Unreadable::Codec(header.codec));
    }
    let of_workers = header.workers * ENTRY_BYTES;
    let wanted = of_workers + 2 * header.slot_bytes;
    if entries.len() != wanted {
        return Err(if entries.len() < wanted { Unreadable::Short } else { Unreadable::Damaged });
    }
    let (entries, _) = entries.split_at(of_workers);
    let entries = entries.chunks_exact(ENTRY_BYTES).map(read_entry).collect();
    Ok(DecodedState { boot_id, header, entries })
}

fn read_header(header: &[u8]) -> Option<(Option<[u8; 16]>, Header)> {
    let (body, checksum) = header.split_at(HEADER_BYTES - CHECKSUM_BYTES);
    if !body.starts_with(&MAGIC) || le::u64(checksum) != fnv1a(body) {
        return None;
    }
    let workers = le::u32(&body[12..16]) as usize;
    let len = |at: usize| usize::from(le::u16(&body[at..at + 2]));
    let mut texts = &body[TEXTS_AT..MEMORY_ID_AT];
    let mut text = |len: usize| {
        let (text, rest) = texts.split_at_checked(len)?;
        texts = rest;
        Some(text.to_vec())
    };
    let path = names::owned(text(le::u32(&body[44..48]) as usize)?)?;
    let mut name = |at: usize| names::owned(text(len(at))?);
    let (prefix, extension, memory) = (name(48)?, name(50)?, name(52)?);
    let layout = FileLayout {
        partition: String::from_utf8(text(len(60))?).ok()?,
        time_zone: String::from_utf8(text(len(62))?).ok()?,
        header: text(len(64))?,
        footer: text(len(66))?,
    };
    if !layout.partition.is_empty() && Template::resolved(layout.partition.clone()).is_err() {
        return None;
    }
    let is_plain = |text: &OsString| names::permits(text.as_encoded_bytes());
    let slot_bytes = match le::u32(&body[8..12]) {
        WITHOUT_COUNTERS => 0,
        _ => le::u32(&body[68..72]) as usize,
    };
    let fits = prefix.len() + extension.len() <= AFFIX_BYTES_MAX
        && layout.header.len().max(layout.footer.len()) <= ENVELOPE_BYTES_MAX
        && slot_bytes <= counters::slot_bytes(WORKERS_MAX);
    if !(1..=WORKERS_MAX).contains(&workers) || !is_plain(&prefix) || !is_plain(&extension) || !fits
    {
        return None;
    }
    let boot_id: [u8; 16] = body[16..32].try_into().ok()?;
    let (instance, pid) = (le::u64(&body[32..40]), le::u32(&body[40..44]));
    let id = (le::u64(&body[MEMORY_ID_AT..][..8]), le::u64(&body[MEMORY_ID_AT + 8..]));
    let header = Header {
        path: path.into(),
        memory: (!memory.is_empty()).then(|| MemoryDir { path: memory.into(), id }),
        names: Names { prefix, extension, instance, pid },
        codec: le::u32(&body[56..60]),
        layout,
        workers,
        slot_bytes,
    };
    Some((Some(boot_id).filter(|id| *id != [0; 16]), header))
}

/// The slots of counters in a state file with this header. Empty if it has none.
pub(crate) fn slots<'a>(bytes: &'a [u8], header: &Header) -> &'a [u8] {
    bytes.get(HEADER_BYTES + header.workers * ENTRY_BYTES..).unwrap_or_default()
}

/// `None` if the entry is damaged.
fn read_entry(bytes: &[u8]) -> Option<WorkerEntry> {
    if bytes.iter().all(|&byte| byte == 0) {
        // The entry was never used.
        return Some(WorkerEntry::default());
    }
    let (body, checksum) = bytes.split_at(ENTRY_BYTES - CHECKSUM_BYTES);
    let number = |at: usize| le::u64(&body[8 * at..][..8]);
    let mark = |at, checksum: usize| Watermark {
        len: number(at),
        count: Count::new(number(at + 1), number(at + 2)),
        checksum: le::u32(&body[CHECKSUMS_AT + 4 * checksum..][..4]),
    };
    let (stamp, seq, good, synced) = (number(1), number(2), mark(3, 0), mark(6, 1));
    if le::u64(checksum) != fnv1a(body) || !synced.is_within(good) {
        return None;
    }
    let temp = (stamp != 0).then_some(TempId { stamp: Stamp(stamp), seq });
    Some(WorkerEntry { temp, good, synced })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::state_file::encode;
    use std::path::PathBuf;

    fn header(prefix: &str, extension: &str) -> Header {
        let names =
            Names { prefix: prefix.into(), extension: extension.into(), instance: 7, pid: 8 };
        let memory = MemoryDir { path: PathBuf::from("/dev/shm"), id: (1, 2) };
        let path = PathBuf::from("/var/log");
        let layout = FileLayout {
            partition: "dt=%F".into(),
            time_zone: "UTC".into(),
            header: b"#head\n\xff".into(),
            footer: b"\0end\n".into(),
        };
        Header { path, memory: Some(memory), names, codec: 0, layout, workers: 3, slot_bytes: 0 }
    }

    #[test]
    fn what_was_encoded_is_read_as_it_was() {
        let header = header("pre", "log");
        let mark = |len, records, bytes| Watermark {
            len,
            count: Count::new(records, bytes),
            checksum: records as u32 ^ 7,
        };
        let temp = Some(TempId { stamp: Stamp(11), seq: 12 });
        let used = WorkerEntry { temp, good: mark(30, 20, 29), synced: mark(15, 10, 14) };
        let entry = encode::entry(5, used);
        let mut damaged = entry;
        damaged[40] ^= 1;
        let head = encode::header([9; 16], &header).unwrap();
        let bytes = [&head[..], &entry, &[0; ENTRY_BYTES], &damaged].concat();
        let entries = vec![Some(used), Some(WorkerEntry::default()), None];
        assert_eq!(read(&bytes), Ok(DecodedState { boot_id: Some([9; 16]), header, entries }));
    }

    #[test]
    fn a_prefix_and_an_extension_are_not_too_long_together() {
        let read = |prefix, extension| {
            let head = encode::header([9; 16], &header(prefix, extension)).unwrap();
            read(&[head, vec![0; 3 * ENTRY_BYTES]].concat()).map(|_| ())
        };
        let (most, more) = ("x".repeat(AFFIX_BYTES_MAX), "x".repeat(AFFIX_BYTES_MAX + 1));
        for (fitting, long) in [([&most, ""], [&more, ""]), (["", &most], ["", &more])] {
            assert_eq!(read(fitting[0], fitting[1]), Ok(()));
            assert_eq!(read(long[0], long[1]), Err(Unreadable::Damaged));
        }
        assert_eq!(read("x", &most), Err(Unreadable::Damaged));
    }
}
