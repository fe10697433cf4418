//! Counts, and the snapshots of them that users see. Plain values: no atomics, no locks.
//!
//! Guarantees: `accepted == written + pending + lost` in every snapshot.

use std::iter::Sum;
use std::ops::{Add, AddAssign};
use std::path::PathBuf;
use std::time::Instant;

use crate::report::error::Error;

/// A number of records and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Records.
    pub records: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Count {
    pub(crate) const ZERO: Count = Count { records: 0, bytes: 0 };

    pub(crate) fn new(records: u64, bytes: u64) -> Self {
        Count { records, bytes }
    }

    /// For counts that nobody vouches for.
    pub(crate) fn saturating_add(self, other: Count) -> Self {
        Count {
            records: self.records.saturating_add(other.records),
            bytes: self.bytes.saturating_add(other.bytes),
        }
    }

    /// Never below zero: a count that lags must not turn into a huge one.
    pub(crate) fn saturating_sub(self, other: Count) -> Self {
        Count {
            records: self.records.saturating_sub(other.records),
            bytes: self.bytes.saturating_sub(other.bytes),
        }
    }

    /// Nothing at all.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        self.records == 0 && self.bytes == 0
    }
}

impl Add for Count {
    type Output = Count;
    fn add(self, other: Count) -> Count {
        Count { records: self.records + other.records, bytes: self.bytes + other.bytes }
    }
}

impl AddAssign for Count {
    fn add_assign(&mut self, other: Count) {
        *self = *self + other;
    }
}

impl Sum for Count {
    fn sum<I: Iterator<Item = Count>>(counts: I) -> Count {
        counts.fold(Count::ZERO, Add::add)
    }
}

/// How far a file has come: bytes of the file, and the records that they stand for. The same number of bytes only as
/// long as no codec is in between.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Watermark {
    /// Bytes in the file.
    pub(crate) len: u64,
    /// Whole records, and their bytes before they were encoded.
    pub(crate) count: Count,
}

impl Watermark {
    pub(crate) const ZERO: Watermark = Watermark { len: 0, count: Count::ZERO };

    /// Whether nothing of it is beyond the other one.
    pub(crate) fn is_within(self, other: Watermark) -> bool {
        let (ours, theirs) = (self.count, other.count);
        self.len <= other.len && ours.records <= theirs.records && ours.bytes <= theirs.bytes
    }
}

/// Records that the caller got back with an error, by cause. They were never accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refused {
    /// [`WriteError::Full`](crate::WriteError::Full); a `write_timeout` that waits in vain counts once.
    pub full: Count,
    /// [`WriteError::TooLarge`](crate::WriteError::TooLarge).
    pub too_large: Count,
    /// [`WriteError::Closed`](crate::WriteError::Closed).
    pub closed: Count,
    /// [`WriteError::DiskGuard`](crate::WriteError::DiskGuard).
    pub disk_guard: Count,
    /// [`WriteError::Format`](crate::WriteError::Format), also where the formatter, or the `as_ref` of
    /// a message, panicked; the bytes are those that had been formatted.
    pub format: Count,
}

impl Refused {
    /// All causes together.
    #[must_use]
    pub fn total(&self) -> Count {
        self.full + self.too_large + self.closed + self.disk_guard + self.format
    }
}

impl AddAssign for Refused {
    fn add_assign(&mut self, other: Refused) {
        self.full += other.full;
        self.too_large += other.too_large;
        self.closed += other.closed;
        self.disk_guard += other.disk_guard;
        self.format += other.format;
    }
}

/// Records that were accepted and will never be in a visible file, by cause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lost {
    /// Not in a visible file when [`close`](crate::BufferedWriter::close) or a drop gave up.
    pub shutdown: Count,
    /// In a temp file that somebody else removed before it was published.
    pub temp_file_removed: Count,
    /// In memory, and for [`Config::give_up_after`](crate::Config::give_up_after) no file could take them.
    pub gave_up: Count,
}

impl Lost {
    /// All causes together.
    #[must_use]
    pub fn total(&self) -> Count {
        self.shutdown + self.temp_file_removed + self.gave_up
    }
}

impl AddAssign for Lost {
    fn add_assign(&mut self, other: Lost) {
        self.shutdown += other.shutdown;
        self.temp_file_removed += other.temp_file_removed;
        self.gave_up += other.gave_up;
    }
}

/// A snapshot of a writer's accounts: `accepted == written + pending + lost.total()`.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Stats {
    /// Records that `write` took. Empty records are counted nowhere.
    pub accepted: Count,
    /// Records in visible files.
    pub written: Count,
    /// Accepted, neither written nor lost: in memory or in a temp file.
    pub pending: Count,
    /// Accepted and gone, by cause.
    pub lost: Lost,
    /// Not accepted, by cause.
    pub refused: Refused,
    /// Files published.
    pub files: u64,
    /// Bytes of those files on the disk. As many as [`written`](Self::written) has, as long as files hold records as
    /// they are.
    pub files_bytes: u64,
    /// Bytes of the chunks in use: leased to a thread, waiting, or held until a sync.
    pub memory_bytes: usize,
    /// Worst case of the writer's memory in bytes, as [`Config::memory_bound`](crate::Config::memory_bound).
    pub memory_bound_bytes: usize,
    /// Directory in which files are written before they are published: `temp`, or `path` where
    /// `temp` is on another file system.
    pub temp_dir: PathBuf,
    /// The workers, in order.
    pub workers: Vec<WorkerStats>,
    /// What the disk guard knows; none while it is off, see [`Config::min_free`](crate::Config::min_free) and
    /// [`Config::max_total`](crate::Config::max_total).
    pub disk_guard: Option<GuardStats>,
}

/// A snapshot of the disk guard.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct GuardStats {
    /// Whether records are refused now, with [`WriteError::DiskGuard`](crate::WriteError::DiskGuard).
    pub refuses: bool,
    /// Bytes that were free, less what this writer has written since. None without
    /// [`min_free`](crate::Config::min_free), or before they could be measured.
    pub free_bytes: Option<u64>,
    /// Bytes that the files of this prefix took, and what this writer has written since. None without
    /// [`max_total`](crate::Config::max_total), or before they could be measured.
    pub total_bytes: Option<u64>,
    /// When something of it was last measured.
    pub measured_at: Option<Instant>,
    /// Why the last measurement failed; none if it did not. What was known before still holds.
    pub last_error: Option<Error>,
}

/// A snapshot of one worker.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct WorkerStats {
    /// Sealed chunks that wait for this worker or for its sync.
    pub backlog_chunks: usize,
    /// Bytes of its temp file on the disk, up to the last whole record.
    pub temp_file_bytes: u64,
    /// The file it is writing, if it has one.
    pub temp_file: Option<PathBuf>,
    /// Whether that goes past the page cache; see [`Config::io`](crate::Config::io).
    pub temp_file_is_direct: bool,
    /// The error that holds it up, as in [`Health`](crate::Health); none while it makes progress.
    pub last_error: Option<Error>,
}
