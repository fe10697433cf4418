//! Which records were found in files: whole ones only, each once, those of a producer in their order.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use crate::record::{Id, records};

/// The records of some files.
#[derive(Clone, Debug, Default)]
pub struct RecordSet {
    /// One bit a record, by producer and a 64th of its number.
    bits: BTreeMap<(u32, u64), u64>,
    order: Order,
    /// How many files there were.
    pub files: u64,
    /// How many records.
    pub records: u64,
    /// How many bytes.
    pub bytes: u64,
}

/// How far a producer's records must ascend.
#[derive(Clone, Debug, Default)]
enum Order {
    NotAtAll,
    #[default]
    WithinFiles,
    /// By producer: the last one of the files before.
    AcrossFiles(BTreeMap<u32, u64>),
}

impl RecordSet {
    /// Of producers that write through several slots: their records may come in any order.
    pub fn in_any_order() -> RecordSet {
        RecordSet { order: Order::NotAtAll, ..RecordSet::default() }
    }

    /// Of files of one worker, that are added in the order of their names: records ascend from file to file.
    pub fn across_files() -> RecordSet {
        RecordSet { order: Order::AcrossFiles(BTreeMap::new()), ..RecordSet::default() }
    }

    /// Adds the records of a file. Returns its producers.
    ///
    /// # Errors
    /// The file is empty, a record is not whole, was found before, or comes after a later one.
    pub fn add(&mut self, file: &[u8]) -> Result<BTreeSet<u32>, String> {
        if file.is_empty() {
            return Err("an empty file".into());
        }
        let mut last = match &mut self.order {
            Order::AcrossFiles(last) => std::mem::take(last),
            _ => BTreeMap::new(),
        };
        let mut producers = BTreeSet::new();
        for record in records(file) {
            let (id, len) = record?;
            let before = last.insert(id.producer, id.seq).filter(|&before| before >= id.seq);
            if let (Some(before), Order::WithinFiles | Order::AcrossFiles(_)) =
                (before, &self.order)
            {
                return Err(format!("{before:x} and then {id:x?}"));
            }
            let word = self.bits.entry((id.producer, id.seq / 64)).or_default();
            if *word & bit(id.seq) != 0 {
                return Err(format!("found again: {id:x?}"));
            }
            *word |= bit(id.seq);
            producers.insert(id.producer);
            self.records += 1;
            self.bytes += len as u64;
        }
        if let Order::AcrossFiles(kept) = &mut self.order {
            *kept = last;
        }
        self.files += 1;
        Ok(producers)
    }

    /// Whether a record was found.
    pub fn contains(&self, id: Id) -> bool {
        self.bits.get(&(id.producer, id.seq / 64)).is_some_and(|word| word & bit(id.seq) != 0)
    }

    /// All that were found, in their order.
    pub fn ids(&self) -> impl Iterator<Item = Id> {
        self.bits.iter().flat_map(|(&key, &word)| ids(key, word))
    }

    /// How many of a producer's records with these numbers were found.
    pub fn count(&self, producer: u32, seqs: RangeInclusive<u64>) -> u64 {
        let words = (producer, seqs.start() / 64)..=(producer, seqs.end() / 64);
        let found = self.bits.range(words).flat_map(|(&key, &word)| ids(key, word));
        found.filter(|id| seqs.contains(&id.seq)).count() as u64
    }
}

fn bit(seq: u64) -> u64 {
    1 << (seq % 64)
}

/// The records that a word tells of.
fn ids((producer, part): (u32, u64), word: u64) -> impl Iterator<Item = Id> {
    let seqs = (0..64).map(move |seq| part * 64 + seq).filter(move |&seq| word & bit(seq) != 0);
    seqs.map(move |seq| Id { producer, seq })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::make;

    fn file(ids: &[(u32, u64)]) -> Vec<u8> {
        let mut buffer = Vec::new();
        let mut record = |&(producer, seq)| {
            make(&mut buffer, Id { producer, seq }, 20);
            buffer.clone()
        };
        ids.iter().flat_map(&mut record).collect()
    }

    #[test]
    fn what_was_found_is_counted() {
        let mut set = RecordSet::default();
        assert_eq!(set.add(&file(&[(1, 0), (2, 64), (1, 63), (1, u64::MAX)])), Ok([1, 2].into()));
        assert_eq!(set.add(&file(&[(1, 1)])), Ok([1].into()));
        assert_eq!((set.files, set.records), (2, 5));
        let ids: Vec<_> = set.ids().map(|id| (id.producer, id.seq)).collect();
        assert_eq!(ids, [(1, 0), (1, 1), (1, 63), (1, u64::MAX), (2, 64)]);
        assert!(set.contains(Id { producer: 1, seq: 63 }));
        assert!(!set.contains(Id { producer: 2, seq: 63 }));
        assert_eq!((set.count(1, 1..=63), set.count(1, 64..=u64::MAX)), (2, 1));
    }

    #[test]
    fn what_is_wrong_is_told() {
        let mut set = RecordSet::default();
        assert_eq!(set.add(b"").unwrap_err(), "an empty file");
        assert!(set.add(b"torn").unwrap_err().starts_with("no head"));
        assert!(
            set.add(&file(&[(1, 9), (2, 1), (1, 0xf), (1, 10)]))
                .unwrap_err()
                .starts_with("f and then")
        );
        assert_eq!(
            set.add(&file(&[(2, 1)])).unwrap_err(),
            "found again: Id { producer: 2, seq: 1 }"
        );
    }

    #[test]
    fn the_order_is_that_of_a_file_or_of_all_or_none() {
        let (one, two) = (file(&[(1, 5), (2, 1)]), file(&[(1, 3), (2, 2)]));
        let mut set = RecordSet::default();
        assert!(set.add(&one).is_ok() && set.add(&two).is_ok());
        let mut set = RecordSet::across_files();
        assert!(
            set.add(&one).is_ok() && set.add(&file(&[(2, 4)])).is_ok() && set.add(&two).is_err()
        );
        let mut set = RecordSet::in_any_order();
        assert!(set.add(&file(&[(1, 5), (1, 3)])).is_ok() && set.add(&file(&[(1, 5)])).is_err());
    }
}
