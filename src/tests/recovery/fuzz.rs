//! What the fuzzer (`fuzz/`), its corpus and the random cases share. It says how few bytes make a file that an
//! enemy may have written, and what must hold of whatever is read of it. Not part of the library: only there under
//! `cfg(fuzzing)`, and for tests.
//!
//! The first byte of an input says which good file is changed (bits 0 to 2; 7 = none, the rest is the file). If bit
//! 3 is set, the checksums stay as they are then; else they are made right. With bit 4, a state file has counters.
//! Changes follow, each of 11 bytes: what, place u16, number u64, little-endian. In what, bits 0 and 1 mean a number of
//! 1, 2, 4 or 8 bytes. With bit 2, the place is the number of one that a recovery looks at. With bit 3, the length of
//! the file changes.

use std::ffi::{OsStr, OsString};
use std::path::{Component, Path};
use std::time::{Duration, Instant};

use crate::base::checksum::fnv1a;
use crate::base::le;
use crate::config::AFFIX_BYTES_MAX;
use crate::file::state_file::counters::{self, Times};
use crate::file::state_file::decode::{self, DecodedState, Unreadable};
use crate::file::state_file::encode;
use crate::file::state_file::format::{self, CHECKSUM_BYTES, ENTRY_BYTES, HEADER_BYTES};
use crate::fs::read_full;
use crate::memory::chunk_header::Header;
use crate::memory::crash_image::{ChunkWord, LIST_MAX, Layout, WorkerWord, WriterWord};
use crate::naming::{Names, TempId};
use crate::recovery::memory_image::{self, MemoryImage};
use crate::report::error::Error;
use crate::report::health::Health;
use crate::report::published::ManifestStall;
use crate::report::stats::{Count, Stats, WorkerStats};
use crate::tests::fs::held::Held;
use crate::tests::recovery::images::{Image, OTHER_BOOT, STAMP, entry, header, seed};
use crate::tests::recovery::journals;

const CHANGE_BYTES: usize = 11;

/// Reads what the input makes a crash-proof memory of. Panics if a promise does not hold.
pub fn memory(input: &[u8]) {
    let names = names();
    let _ = read_memory(memory_of(input, &names), &names);
}

/// Reads what the input makes a state file of. Panics if a promise does not hold.
pub fn state(input: &[u8]) {
    let _ = read_state(&state_of(input, Path::new("/srv/out")));
}

/// Reads what the input makes a journal of. Panics if a promise does not hold.
pub fn journal(input: &[u8]) {
    let names = names();
    let _ = journals::read(journals::of(input, Path::new("/srv/out"), &names), &names);
}

/// Of the instance that all hostile files say they are of.
pub(crate) fn names() -> Names {
    let (prefix, extension) = (OsString::from("p"), OsString::from("log"));
    Names { prefix, extension, instance: 5, pid: 1 }
}

/// The file that an input describes.
pub(crate) fn memory_of(input: &[u8], names: &Names) -> Vec<u8> {
    let Some((&first, changes)) = input.split_first() else { return Vec::new() };
    let (mut image, layout, changes) = match first & 7 {
        7 => return changes.to_vec(),
        which @ 0..=3 => {
            (seed(which.into(), names), crate::tests::recovery::images::LAYOUT, changes)
        }
        _ => {
            // Another layout, with nothing in it.
            let Some((&[chunks, size, workers], changes)) = changes.split_first_chunk() else {
                return Vec::new();
            };
            let layout = Layout {
                chunks: 1 + u32::from(chunks % 64),
                size: 1 + usize::from(size),
                workers: 1 + usize::from(workers % 3),
                mode: 0o600,
                codec: 0,
                records: chunks >= 128,
            };
            let mut bytes = layout.header(names.instance, names.pid);
            bytes.resize(layout.bytes().unwrap_or(0), 0);
            (Image(bytes), layout, changes)
        }
    };
    // Memory has the order of the machine, inputs are the same everywhere.
    let mut changes = changes.to_vec();
    if cfg!(target_endian = "big") {
        for change in changes.chunks_exact_mut(CHANGE_BYTES) {
            let bytes = 1 << (change[0] & 3);
            change[3..3 + bytes].reverse();
        }
    }
    change(&mut image.0, &changes, &words(layout));
    if first & 8 == 0 {
        image.fix_checksum();
    }
    image.0
}

/// Where a recovery looks.
fn words(layout: Layout) -> Vec<usize> {
    let mut words = vec![layout.word_at(WriterWord::Closed), layout.word_at(WriterWord::Salvaged)];
    for worker in 0..layout.workers {
        let first = layout.worker_word_at(worker, WorkerWord::Stamp);
        words.extend((first..=layout.worker_word_at(worker, WorkerWord::NextBytes)).step_by(8));
        for entry in [0, 1, 2, LIST_MAX - 1] {
            let at = layout.entry_at(worker, entry);
            words.extend([at, at + 8]);
        }
    }
    for chunk in 0..layout.chunks.min(16) {
        words
            .extend((0..4).map(|word| layout.chunk_word_at(chunk, ChunkWord::Producer) + 8 * word));
        let header = layout.arena_at() + chunk as usize * size_of::<Header>();
        words.extend([Header::COMMIT_AT, Header::LINK_AT, Header::CHAIN_AT].map(|at| header + at));
        if layout.records {
            words.extend((0..4).map(|word| header + Header::OVERWRITTEN_AT + 8 * word));
            words.push(header + Header::OVERWRITING_AT);
        }
    }
    words.extend((8..56).step_by(4));
    words
}

/// Takes a memory apart, and checks that all of it is within the file, and that no byte comes twice.
pub(crate) fn read_memory(bytes: Vec<u8>, names: &Names) -> Result<MemoryImage, Unreadable> {
    let len = bytes.len();
    let mut held = Held(bytes);
    let image = memory_image::read(&mut held, names).expect("bytes can be read")?;
    let layout = image.layout;
    let (chunks, workers) = (layout.chunks as usize, layout.workers);
    assert_eq!(layout.bytes(), Some(len));
    let mut is_unfiled = vec![false; chunks];
    for part in &image.unfiled {
        assert!(part.from < part.to && part.to <= layout.size, "{part:?}");
        let seen = std::mem::replace(&mut is_unfiled[part.chunk as usize], true);
        assert!(!seen, "twice: {part:?}");
        let mut found = vec![0; part.to - part.from];
        let at = layout.byte_at(part.chunk, part.from) as u64;
        let read = read_full(&mut held, &mut found, at).expect("bytes can be read");
        assert_eq!(read, found.len());
    }
    assert_eq!(image.entries.len(), workers);
    assert!(image.entries.iter().all(|record| record.synced.is_within(record.good)));
    let is_of_use =
        !image.unfiled.is_empty() || image.entries.iter().any(|record| record.good.len > 0);
    assert!(!image.is_closed || !is_of_use);
    assert!(image.damaged <= (chunks + workers * (LIST_MAX + 1)) as u64);
    Ok(image)
}

/// Two slots of counters: one is full, and the other one is new.
fn slots(workers: usize) -> Vec<u8> {
    let (start, workers) = (Instant::now(), vec![WorkerStats::default(); workers]);
    let error = Error::told("no".to_owned());
    let stall = ManifestStall { error, since: start, attempts: 1 };
    let health = Health { manifest: Some(stall), ..Health::default() };
    let bytes = counters::slot_bytes(workers.len());
    let body = counters::body(&Stats { workers, ..Stats::default() }, &health, start);
    let times = Times { started: STAMP, refreshed: STAMP, uptime: Duration::ZERO };
    let mut slots = counters::first_slots(bytes, times);
    slots[..bytes].copy_from_slice(&counters::slot(counters::FIRST + 1, times, &body));
    slots
}

/// The file that an input describes; `path` is where its writer's files were to appear.
pub(crate) fn state_of(input: &[u8], path: &Path) -> Vec<u8> {
    let Some((&first, changes)) = input.split_first() else { return Vec::new() };
    if first & 7 == 7 {
        return changes.to_vec();
    }
    let workers = if first & 2 == 0 { 2 } else { 1 };
    let memory = (first & 1 != 0).then(|| path.join("memory"));
    let boot = if first & 4 == 0 { OTHER_BOOT } else { [0; 16] };
    let mut bytes = header(boot, path, memory.as_deref(), &names(), workers).unwrap_or_default();
    for worker in 0..workers as u64 {
        let temp = TempId { stamp: STAMP, seq: 1 + worker };
        bytes.extend(entry(1, Some(temp), 8, 4));
    }
    let mut fields: Vec<usize> = (0..16).chain((16..72).step_by(2)).collect();
    fields.extend((0..2 * ENTRY_BYTES).step_by(8).map(|at| HEADER_BYTES + at));
    if first & 16 != 0 {
        let slots = slots(workers);
        bytes[68..72].copy_from_slice(&((slots.len() / 2) as u32).to_le_bytes());
        fix_checksum(&mut bytes[..HEADER_BYTES]);
        fields.extend((0..slots.len()).step_by(8).map(|at| bytes.len() + at));
        bytes.extend(slots);
    }
    change(&mut bytes, changes, &fields);
    if first & 8 == 0 {
        fix_state(&mut bytes);
    }
    bytes
}

/// Makes the checksums of a state file right, but for those of entries and slots that were never used.
pub(crate) fn fix_state(bytes: &mut [u8]) {
    let Some((header, rest)) = bytes.split_at_mut_checked(HEADER_BYTES) else { return };
    fix_checksum(header);
    let [workers, slot] = [12, 68].map(|at| le::u32(&header[at..at + 4]) as usize);
    let at = rest.len().min(workers.saturating_mul(ENTRY_BYTES));
    let (entries, slots) = rest.split_at_mut(at);
    let slots = slots.chunks_exact_mut(slot.max(CHECKSUM_BYTES));
    let parts = entries.chunks_exact_mut(ENTRY_BYTES).chain(slots);
    parts.filter(|part| part.iter().any(|&byte| byte != 0)).for_each(fix_checksum);
}

/// Of a header or an entry, whose checksum is its end.
pub(crate) fn fix_checksum(part: &mut [u8]) {
    let (body, checksum) = part.split_at_mut(part.len() - CHECKSUM_BYTES);
    checksum.copy_from_slice(&fnv1a(body).to_le_bytes());
}

/// Takes a state file apart, and checks that names are names, lengths in range, and that it says what a writer
/// would have said.
pub(crate) fn read_state(bytes: &[u8]) -> Result<DecodedState, Unreadable> {
    let decoded = decode::read(bytes)?;
    let DecodedState { boot_id, header, entries } = &decoded;
    let names = &header.names;
    assert!((1..=256).contains(&entries.len()));
    let slots = 2 * header.slot_bytes;
    assert_eq!(bytes.len(), HEADER_BYTES + entries.len() * ENTRY_BYTES + slots);
    assert!(names.prefix.len() + names.extension.len() <= AFFIX_BYTES_MAX);
    for name in [names.state(), names.memory(), names.temp(STAMP, 255, u64::MAX)] {
        assert!(is_one_name(&name), "{name:?}");
    }
    let boot = boot_id.unwrap_or_default();
    assert_eq!(header.workers, entries.len());
    let mut written = encode::header(boot, header).expect("it fits");
    for known in entries {
        let known = known.unwrap_or_default();
        assert!(known.synced.is_within(known.good));
        written.extend(encode::entry(1, known));
    }
    written.resize(written.len() + slots, 0);
    let mut again = decode::read(&written).expect("as a writer writes it");
    for (again, known) in again.entries.iter_mut().zip(entries) {
        *again = again.filter(|_| known.is_some());
    }
    assert_eq!(again, decoded);
    read_counters(decode::slots(bytes, header), header);
    Ok(decoded)
}

/// Takes the counters of a state file apart, and checks that there are as many as workers, and that sums of them do not
/// overflow.
fn read_counters(slots: &[u8], header: &format::Header) {
    let now = (Instant::now(), STAMP);
    let Some(told) = counters::newest(slots, header.slot_bytes, header.workers, now) else {
        return;
    };
    let Stats { accepted, written, pending, lost, refused, workers, .. } = told.stats;
    let counts = [accepted, written, pending, lost.total(), refused.total()];
    let total: Count = counts.into_iter().sum();
    assert!(total.records < u64::MAX && total.bytes < u64::MAX);
    assert_eq!(workers.len(), header.workers);
    assert!(workers.iter().map(|worker| worker.backlog_chunks).sum::<usize>() < usize::MAX);
    assert!(told.health.stalls.iter().all(|stall| stall.worker < header.workers));
    // Whatever the texts are, they can be shown.
    let _ = format!("{:?} {:?}", told.times.started.time(), told.health);
}

/// It leads nowhere but to a file of its directory.
fn is_one_name(name: &OsStr) -> bool {
    let mut components = Path::new(name).components();
    let is_one = components.next() == Some(Component::Normal(name)) && components.next().is_none();
    is_one && name.len() <= 255 && !name.as_encoded_bytes().contains(&0)
}

/// Makes the changes that an input describes. `places` are those that a recovery looks at.
pub(crate) fn change(bytes: &mut Vec<u8>, changes: &[u8], places: &[usize]) {
    for change in changes.chunks_exact(CHANGE_BYTES) {
        let (what, at, number) = (change[0], &change[1..3], &change[3..]);
        let at = usize::from(u16::from_le_bytes([at[0], at[1]]));
        if what & 8 != 0 {
            bytes.resize(at, 7);
            continue;
        }
        let at = if what & 4 == 0 { at } else { places[at % places.len()] };
        let number = &number[..1 << (what & 3)];
        if let Some(place) = bytes.get_mut(at..at + number.len()) {
            place.copy_from_slice(number);
        }
    }
}
