//! What must have become of each record: a list of those that were handed over, nothing more.
//!
//! A record's first byte is its number in the list, which also has its length and its slot. The other bytes follow
//! from number and length. So no two records are equal, and what is not whole does not pass for one.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::report::error::WriteError;
use crate::report::stats::{Count, Refused};

/// Records of a case: their numbers fit one byte.
pub(super) const RECORDS_MAX: usize = 256;

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Refused,
    Pending,
    Visible,
    Lost,
    /// By a worker. Which they are shows once nothing is pending.
    GivenUp,
}

struct Record {
    /// Which slot it was written through: slots are the producers that files are ordered by.
    slot: usize,
    len: usize,
    at: Instant,
    /// What the wall clock showed then.
    wall: u64,
    fate: Fate,
    /// Number of the visible file that it is in, in the order of their appearance.
    file: u64,
}

/// All records of a case, in the order in which they were handed over.
#[derive(Default)]
pub(super) struct Model {
    records: Vec<Record>,
    pub(super) accepted: Count,
    pub(super) refused: Refused,
    pub(super) visible: Count,
    pub(super) lost: Count,
    pub(super) gave_up: Count,
    pub(super) files: u64,
    /// Where the visible files are, and how many of them were compared with their records' times.
    dirs: Vec<PathBuf>,
    compared: u64,
}

impl Model {
    /// The record after `others` more. `None` once there are enough of them.
    pub(super) fn next(&self, others: usize, len: usize) -> Option<Vec<u8>> {
        let number = self.records.len() + others;
        (number < RECORDS_MAX).then(|| bytes(number, len))
    }

    /// What the writer said of the next record. An error comes with the number of bytes that count as refused.
    pub(super) fn note(
        &mut self,
        slot: usize,
        len: usize,
        (at, wall): (Instant, u64),
        said: Result<(), (WriteError, usize)>,
    ) {
        if said.is_ok() && len == 0 {
            return;
        }
        let count = Count::new(1, said.map_or_else(|(_, counted)| counted, |()| len) as u64);
        let fate = if said.is_ok() { Fate::Pending } else { Fate::Refused };
        *match said.map_err(|(cause, _)| cause) {
            Ok(()) => &mut self.accepted,
            Err(WriteError::Full) => &mut self.refused.full,
            Err(WriteError::DiskGuard) => &mut self.refused.disk_guard,
            Err(WriteError::TooLarge) => &mut self.refused.too_large,
            Err(WriteError::Closed | WriteError::Forked) => &mut self.refused.closed,
            Err(WriteError::Format) => &mut self.refused.format,
            Err(WriteError::OutOfMemory) => &mut self.refused.out_of_memory,
        } += count;
        self.records.push(Record { slot, len, at, wall, fate, file: 0 });
    }

    /// How many records there are.
    pub(super) fn handed_over(&self) -> usize {
        self.records.len()
    }

    /// A file became visible.
    pub(super) fn appear(&mut self, dir: PathBuf, content: &[u8]) -> Result<(), String> {
        self.files += 1;
        self.dirs.push(dir);
        let count = self.settle(content, Fate::Visible, u64::MAX)?;
        self.visible += count;
        Ok(())
    }

    /// A file is gone that nobody has seen. `records` records in it counted; the rest may be half a write.
    pub(super) fn vanish(&mut self, content: &[u8], records: u64) -> Result<(), String> {
        let count = self.settle(content, Fate::Lost, records)?;
        self.lost += count;
        Ok(())
    }

    /// The content must begin with `records_max` whole records that were pending, or consist of them. Those of one
    /// slot stand in their order.
    fn settle(
        &mut self,
        mut content: &[u8],
        fate: Fate,
        records_max: u64,
    ) -> Result<Count, String> {
        let mut count = Count::ZERO;
        let mut last: Vec<(usize, usize)> = Vec::new();
        while count.records < records_max
            && let Some(&first) = content.first()
        {
            let number = usize::from(first);
            let record = self.records.get_mut(number);
            let record = record.ok_or(format!("a file has a record {number}, which is not yet"))?;
            let expected = bytes(number, record.len);
            let Some(rest) = content.strip_prefix(&*expected) else {
                return Err(format!("record {number} is not whole in a file: {content:?}"));
            };
            if record.fate != Fate::Pending {
                return Err(format!("record {number} is in a file, but was {:?}", record.fate));
            }
            match last.iter_mut().find(|(slot, _)| *slot == record.slot) {
                Some((_, before)) if *before > number => {
                    return Err(format!("record {number} stands after {before} of the same slot"));
                }
                Some((_, before)) => *before = number,
                None => last.push((record.slot, number)),
            }
            (record.fate, record.file) = (fate, self.files);
            count += Count::new(1, record.len as u64);
            content = rest;
        }
        Ok(count)
    }

    /// How many files were compared with their records' times.
    pub(super) fn compared(&self) -> u64 {
        self.compared
    }

    /// Each record of a new file is in the partition of its time, unless `may_differ` says of the
    /// moment of its acceptance that it may be in another one.
    pub(super) fn expect_placed(
        &mut self,
        template: &str,
        may_differ: impl Fn(Instant) -> bool,
    ) -> Result<(), String> {
        let is_new = |record: &&Record| record.fate == Fate::Visible && record.file > self.compared;
        for record in self.records.iter().filter(is_new).filter(|record| !may_differ(record.at)) {
            let at = jiff::Timestamp::from_nanosecond(record.wall.into()).unwrap();
            let expected = Path::new("/ready").join(at.strftime(template).to_string());
            let dir = &self.dirs[record.file as usize - 1];
            if dir.iter().ne(expected.iter()) {
                return Err(format!("a record of {at} is in {dir:?}: {self:?}"));
            }
        }
        self.compared = self.files;
        Ok(())
    }

    /// Records that are neither visible nor lost.
    pub(super) fn pending(&self) -> Vec<usize> {
        let pending = |&number: &usize| self.records[number].fate == Fate::Pending;
        (0..self.records.len()).filter(pending).collect()
    }

    /// Nothing is pending: what is neither visible nor lost in another way was given up.
    pub(super) fn note_given_up(&mut self) {
        for number in self.pending() {
            self.records[number].fate = Fate::GivenUp;
            self.gave_up += Count::new(1, self.records[number].len as u64);
        }
    }

    /// All of these must be visible, in the first `settled` files, except those given up by then.
    pub(super) fn expect_visible(
        &self,
        numbers: &[usize],
        settled: u64,
        gave_up: Count,
    ) -> Result<(), String> {
        let covered = |record: &Record| record.fate == Fate::Visible && record.file <= settled;
        let records = numbers.iter().map(|&number| &self.records[number]);
        let missing: Count =
            records.filter(|&r| !covered(r)).map(|r| Count::new(1, r.len as u64)).sum();
        if missing == gave_up {
            return Ok(());
        }
        Err(format!("a flush succeeded, but {missing:?} of it is missing: {self:?}"))
    }

    /// No pending record is older than this.
    pub(super) fn expect_young(&self, now: Instant, age_max: Duration) -> Result<(), String> {
        for number in self.pending() {
            let age = now.saturating_duration_since(self.records[number].at);
            if age > age_max {
                return Err(format!("record {number} was accepted {age:?} ago: {self:?}"));
            }
        }
        Ok(())
    }

    /// No record that was accepted before this moment is pending.
    pub(super) fn expect_visible_since(&self, boundary: Instant) -> Result<(), String> {
        let is_late = |&number: &usize| self.records[number].at < boundary;
        match self.pending().into_iter().find(is_late) {
            None => Ok(()),
            Some(number) => {
                let age = boundary.saturating_duration_since(self.records[number].at);
                Err(format!("record {number} is pending, {age:?} older than its period: {self:?}"))
            }
        }
    }
}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let records = self.records.iter().map(|record| (record.slot, record.len, record.fate));
        f.debug_list().entries(records).finish()
    }
}

/// The bytes of a record.
pub(super) fn bytes(number: usize, len: usize) -> Vec<u8> {
    let byte = |at: usize| (number + at * (number + 7) + at / 251) as u8;
    (0..len).map(byte).collect()
}
