//! Records that tell whose they are and whether they are whole.

use std::collections::BTreeMap;
use std::path::Path;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Id {
    pub(super) process: u32,
    pub(super) thread: u32,
    pub(super) seq: u32,
}

/// Process, thread, sequence, length of what follows, checksum.
const HEAD: usize = 20;

/// Some are small, some fill a chunk, some are larger than one.
pub(super) fn make(id: Id) -> Vec<u8> {
    let sizes = [3, 40, 90, 11, 250, 60, 700, 25];
    let extra = sizes[(id.seq as usize * 3 + id.thread as usize) % sizes.len()];
    let mut record = Vec::with_capacity(HEAD + extra);
    for number in [id.process, id.thread, id.seq, extra as u32, 0] {
        record.extend(number.to_le_bytes());
    }
    record.extend((0..extra).map(|at| (at as u32 ^ id.seq) as u8));
    let sum = checksum(&record);
    record[HEAD - 4..HEAD].copy_from_slice(&sum.to_le_bytes());
    record
}

/// Fowler, Noll, Vo: 32 bits, variant 1a; with zeros where the sum stands.
fn checksum(record: &[u8]) -> u32 {
    let byte = |at: usize| if (HEAD - 4..HEAD).contains(&at) { 0 } else { record[at] };
    (0..record.len())
        .fold(0x811c_9dc5, |hash, at| (hash ^ u32::from(byte(at))).wrapping_mul(0x0100_0193))
}

/// The records of some files.
#[derive(Default)]
pub(super) struct Seen(BTreeMap<(u32, u32), Vec<u32>>);

impl Seen {
    /// A file: whole records only, ascending for each thread.
    pub(super) fn read(&mut self, mut bytes: &[u8], file: &Path) {
        assert!(!bytes.is_empty(), "empty: {}", file.display());
        let mut last = BTreeMap::new();
        while !bytes.is_empty() {
            let number = |at: usize| {
                let field = bytes.get(4 * at..4 * at + 4);
                let field = field.unwrap_or_else(|| panic!("torn: {}", file.display()));
                u32::from_le_bytes(field.try_into().unwrap())
            };
            let (process, thread, seq) = (number(0), number(1), number(2));
            let len = HEAD + number(3) as usize;
            let record = bytes.get(..len).unwrap_or_else(|| panic!("torn: {}", file.display()));
            assert_eq!(checksum(record), number(4), "damaged: {}", file.display());
            let before = last.insert((process, thread), seq);
            assert!(before.is_none_or(|before| before < seq), "order: {}", file.display());
            self.0.entry((process, thread)).or_default().push(seq);
            bytes = &bytes[len..];
        }
    }

    /// How many records of a thread there are: the first ones, each once.
    pub(super) fn count(&mut self, process: u32, thread: u32) -> u32 {
        let seqs = self.0.entry((process, thread)).or_default();
        seqs.sort_unstable();
        let right = seqs.iter().enumerate().all(|(at, seq)| at as u32 == *seq);
        assert!(right, "thread {thread} of process {process}: missing or twice: {seqs:?}");
        seqs.len() as u32
    }

    /// All are of this process.
    pub(super) fn assert_nothing_else(&self, process: u32) {
        assert!(self.0.keys().all(|(of, _)| *of == process));
    }
}
