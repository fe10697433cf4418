//! Records that tell who wrote them, and a tally of those that were found in files.
//!
//! A record is `{producer:x}.{seq:x}.{len:x}.{filler}\n`; the filler follows from the head, so any
//! byte that is missing, torn, doubled or out of place is noticed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::{Name, Random, TestDir};

const PATTERN_BYTES: usize = 1 << 16;

fn pattern() -> &'static [u8] {
    static PATTERN: OnceLock<Vec<u8>> = OnceLock::new();
    PATTERN.get_or_init(|| {
        let mut random = Random(1);
        // No dot and no newline, so that the head's end and the record's end stand out.
        (0..PATTERN_BYTES).map(|_| b'A' + (random.next() % 26) as u8).collect()
    })
}

/// Runs of the pattern that follow from the head and give `len` bytes.
fn filler(producer: u32, seq: u32, len: usize) -> impl Iterator<Item = &'static [u8]> {
    let mut random = Random(u64::from(producer) << 32 | u64::from(seq));
    let mut left = len;
    std::iter::from_fn(move || {
        let at = random.next() as usize % PATTERN_BYTES;
        let run = left.min(PATTERN_BYTES - at);
        left -= run;
        (run > 0).then(|| &pattern()[at..at + run])
    })
}

/// A record of exactly `len` bytes, but never less than its head needs. `buffer` is overwritten.
pub fn record(buffer: &mut Vec<u8>, producer: u32, seq: u32, len: usize) {
    buffer.clear();
    // The length is part of the head, whose length it includes.
    let mut len = len;
    loop {
        buffer.clear();
        write!(buffer, "{producer:x}.{seq:x}.{len:x}.").unwrap();
        if buffer.len() < len {
            break;
        }
        len = buffer.len() + 1;
    }
    filler(producer, seq, len - buffer.len() - 1).for_each(|run| buffer.extend_from_slice(run));
    buffer.push(b'\n');
    debug_assert_eq!(buffer.len(), len);
}

/// Takes the first record off; an explanation if it is none.
fn take(bytes: &[u8]) -> Result<(u32, u32, &[u8]), String> {
    let shown = || String::from_utf8_lossy(&bytes[..bytes.len().min(60)]).into_owned();
    let mut rest = bytes;
    let mut number = || {
        let end = rest.iter().take(10).position(|&b| b == b'.')?;
        let digits = std::str::from_utf8(&rest[..end]).ok()?;
        rest = &rest[end + 1..];
        u32::from_str_radix(digits, 16).ok()
    };
    let head = (number(), number(), number());
    let (Some(producer), Some(seq), Some(len)) = head else {
        return Err(format!("no head at {:?}", shown()));
    };
    let head_bytes = bytes.len() - rest.len();
    if (len as usize) <= head_bytes || bytes.len() < len as usize {
        return Err(format!("{} of {len} bytes at {:?}", bytes.len(), shown()));
    }
    let mut body = &bytes[head_bytes..len as usize];
    for run in filler(producer, seq, body.len() - 1) {
        body = body.strip_prefix(run).ok_or_else(|| format!("torn record at {:?}", shown()))?;
    }
    if body != b"\n" {
        return Err(format!("no end of the record at {:?}", shown()));
    }
    Ok((producer, seq, &bytes[len as usize..]))
}

/// What was found in visible files.
#[derive(Default)]
pub struct Tally {
    /// By producer: how often each sequence number was found.
    found: BTreeMap<u32, Vec<u8>>,
    pub records: u64,
    pub bytes: u64,
    /// Files that were looked at and left where they are.
    seen: BTreeSet<PathBuf>,
    pub files: u64,
    /// By producer: the last one found, where the order holds from file to file too.
    last: Option<BTreeMap<u32, u32>>,
    /// Which workers wrote records of which producers.
    pub homes: BTreeMap<u32, BTreeSet<usize>>,
}

impl Tally {
    /// All visible files of a directory.
    pub fn of(dir: &TestDir) -> Tally {
        let mut tally = Tally::default();
        tally.look(dir);
        tally
    }

    /// Expects records in order from file to file, as one worker writes them.
    pub fn across_files() -> Tally {
        Tally { last: Some(BTreeMap::new()), ..Tally::default() }
    }

    /// Adds the files that were not looked at before.
    pub fn look(&mut self, dir: &TestDir) {
        for (name, file) in dir.files() {
            if self.seen.insert(file.clone()) {
                self.add(&name, &file);
            }
        }
    }

    /// Adds the files that are there, and removes each once it is checked.
    pub fn consume(&mut self, dir: &TestDir) {
        for (name, file) in dir.files() {
            self.add(&name, &file);
            fs::remove_file(&file).unwrap();
        }
    }

    fn add(&mut self, name: &Name, file: &Path) {
        let bytes = fs::read(file).unwrap();
        assert!(!bytes.is_empty(), "an empty file is visible: {}", file.display());
        self.files += 1;
        self.bytes += bytes.len() as u64;
        let mut last = self.last.take();
        let within_file = &mut BTreeMap::new();
        let order = last.as_mut().unwrap_or(within_file);
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let (producer, seq, after) =
                take(rest).unwrap_or_else(|why| panic!("{}: {why}", file.display()));
            rest = after;
            self.records += 1;
            // Whole records, in ascending order per producer within each file.
            if let Some(before) = order.insert(producer, seq) {
                assert!(before < seq, "{}: {producer:x}: {before} then {seq}", file.display());
            }
            let found = self.found.entry(producer).or_default();
            if found.len() <= seq as usize {
                found.resize(seq as usize + 1, 0);
            }
            found[seq as usize] += 1;
            assert_eq!(found[seq as usize], 1, "found again: {producer:x}.{seq:x}");
            self.homes.entry(producer).or_default().insert(name.worker);
        }
        self.last = last;
    }

    pub fn has(&self, producer: u32, seq: u32) -> bool {
        self.found.get(&producer).and_then(|found| found.get(seq as usize)).is_some_and(|&n| n > 0)
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
        assert_eq!(self.records, records, "records that nobody was told to be accepted");
    }
}
