//! Counts, and the snapshots of them that users get. Plain values: no atomics, no locks.
//!
//! Guarantees: `accepted == written + pending + lost` in every snapshot.

use std::iter::Sum;
use std::ops::{Add, AddAssign};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::report::error::Error;

/// A number of records and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Number of records.
    pub records: u64,
    /// Bytes of these records.
    pub bytes: u64,
}

impl Count {
    pub(crate) const ZERO: Count = Count { records: 0, bytes: 0 };

    pub(crate) fn new(records: u64, bytes: u64) -> Self {
        Count { records, bytes }
    }

    /// For counts that were read from a file and may be wrong.
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

    /// Whether both numbers are 0.
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

/// A position in a file: its bytes up to there, and the records that they hold. The two byte counts
/// differ by the header, or if a codec encodes the records. It is here because files and the crash-proof
/// memory both keep it, and this is the only layer with a [`Count`] that both may use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Watermark {
    /// Bytes in the file.
    pub(crate) len: u64,
    /// Whole records, and their bytes before encoding.
    pub(crate) count: Count,
    /// The codec's checksum of all that the file holds if it ends here: header, these records, and
    /// footer. 0 without a codec.
    pub(crate) checksum: u32,
}

impl Watermark {
    pub(crate) const ZERO: Watermark = Watermark { len: 0, count: Count::ZERO, checksum: 0 };

    /// Whether no part of this position is beyond `other`.
    pub(crate) fn is_within(self, other: Watermark) -> bool {
        let (ours, theirs) = (self.count, other.count);
        self.len <= other.len && ours.records <= theirs.records && ours.bytes <= theirs.bytes
    }
}

/// Records that were refused with an error, by cause. They were never accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refused {
    /// [`WriteError::Full`](crate::WriteError::Full). A `write_timeout` that times out counts once.
    pub full: Count,
    /// [`WriteError::TooLarge`](crate::WriteError::TooLarge).
    pub too_large: Count,
    /// [`WriteError::Closed`](crate::WriteError::Closed).
    pub closed: Count,
    /// [`WriteError::DiskGuard`](crate::WriteError::DiskGuard).
    pub disk_guard: Count,
    /// [`WriteError::Format`](crate::WriteError::Format), or a panic in the formatter or in the
    /// `as_ref` of a message. The bytes are those formatted by then.
    pub format: Count,
    /// [`WriteError::OutOfMemory`](crate::WriteError::OutOfMemory).
    pub out_of_memory: Count,
}

impl Refused {
    /// The sum over all causes.
    #[must_use]
    pub fn total(&self) -> Count {
        self.full
            + self.too_large
            + self.closed
            + self.disk_guard
            + self.format
            + self.out_of_memory
    }
}

impl AddAssign for Refused {
    fn add_assign(&mut self, other: Refused) {
        self.full += other.full;
        self.too_large += other.too_large;
        self.closed += other.closed;
        self.disk_guard += other.disk_guard;
        self.format += other.format;
        self.out_of_memory += other.out_of_memory;
    }
}

/// Records that were accepted and will never be in a visible file, by cause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lost {
    /// Not in a visible file when [`close`](crate::BufferedWriter::close) or a drop gave up at its
    /// deadline.
    pub shutdown: Count,
    /// In a temp file that someone removed before it was published.
    pub temp_file_removed: Count,
    /// In a temp file that someone truncated before it was published. What is left of the file is
    /// set aside as `.*.aside` in its directory.
    pub temp_file_damaged: Count,
    /// In memory for [`Config::give_up_after`](crate::Config::give_up_after) while no file could
    /// take them.
    pub gave_up: Count,
}

impl Lost {
    /// The sum over all causes.
    #[must_use]
    pub fn total(&self) -> Count {
        self.shutdown + self.temp_file_removed + self.temp_file_damaged + self.gave_up
    }
}

impl AddAssign for Lost {
    fn add_assign(&mut self, other: Lost) {
        self.shutdown += other.shutdown;
        self.temp_file_removed += other.temp_file_removed;
        self.temp_file_damaged += other.temp_file_damaged;
        self.gave_up += other.gave_up;
    }
}

/// A snapshot of a writer's counts: `accepted == written + pending + lost.total() + overwritten`.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Stats {
    /// Records that the writer accepted. Empty records are not counted anywhere.
    pub accepted: Count,
    /// Records in visible files.
    pub written: Count,
    /// Accepted, but neither written nor lost yet: in memory or in a temp file.
    pub pending: Count,
    /// Accepted and then lost, by cause.
    pub lost: Lost,
    /// Accepted and then forgotten by a flight recorder: written over by newer records, or still in
    /// memory when it was closed without a dump. Zero without
    /// [`Config::recorder`](crate::Config::recorder).
    pub overwritten: Count,
    /// Not accepted, by cause.
    pub refused: Refused,
    /// Files published.
    pub files: u64,
    /// Bytes of those files on the disk. Equal to the bytes of [`written`](Self::written) while
    /// files hold nothing but records, and hold them unencoded.
    pub files_bytes: u64,
    /// Bytes of the chunks in use: leased to a thread, waiting for a worker, or held until a sync.
    pub memory_bytes: usize,
    /// Upper bound of the writer's memory in bytes:
    /// [`Config::memory_bound`](crate::Config::memory_bound).
    pub memory_bound_bytes: usize,
    /// Directory in which files are written before they are published: `temp`, or `path` if `temp`
    /// is on another file system.
    pub temp_dir: PathBuf,
    /// One entry for each worker, in order.
    pub workers: Vec<WorkerStats>,
    /// The state of the disk guard. `None` if it is off: see
    /// [`Config::min_free`](crate::Config::min_free),
    /// [`Config::max_total`](crate::Config::max_total) and
    /// [`Config::start_on_full_disk`](crate::Config::start_on_full_disk).
    pub disk_guard: Option<GuardStats>,
    /// What the file system of [`temp_dir`](Self::temp_dir) lacks.
    pub missing: Missing,
    /// Files that the manifest and the hook are told of. `None` without
    /// [`Config::manifest`](crate::Config::manifest) and
    /// [`Config::on_publish`](crate::Config::on_publish).
    pub publishing: Option<PublishStats>,
    /// What was deleted. `None` without [`Config::retain_bytes`](crate::Config::retain_bytes),
    /// [`Config::retain_files`](crate::Config::retain_files) and
    /// [`Config::retain_age`](crate::Config::retain_age).
    pub retention: Option<RetentionStats>,
    /// Why the link of [`Config::latest`](crate::Config::latest) could not be set. `None` once it
    /// is set.
    pub latest_error: Option<Error>,
}

/// A snapshot of the retention of files.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct RetentionStats {
    /// Files that this writer deleted.
    pub files_deleted: u64,
    /// Bytes that they took on the disk.
    pub bytes_deleted: u64,
    /// At the last look, files that should go had to stay, since one of them waits for a hook: this
    /// journal notes it. It is this writer's own, or that of another writer with the same prefix and
    /// [`path`](crate::Config::path), alive or dead. A dead one's files are told to the next writer with
    /// a hook at its start. See
    /// [`Config::retain_unacknowledged`](crate::Config::retain_unacknowledged).
    pub held_by: Option<PathBuf>,
    /// The first error of the last look for old files, if any. It is tried again.
    pub last_error: Option<Error>,
}

/// What a file system or a sandbox lacks, and the writer goes without. All `false` is the usual
/// case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Missing {
    /// There are no locks (`flock`). So nothing can prove that this writer lives, and it has no
    /// state file. If it dies, its hidden temp files stay, and no recovery publishes them. With
    /// [crash-proof memory](crate::Config::crash_proof) this is an error of `new`.
    pub locks: bool,
    /// Permissions can't be set (`fchmod`): files have those that the file system and the umask leave
    /// of [`Config::mode`](crate::Config::mode).
    pub permissions: bool,
}

/// A snapshot of the files that [`Config::manifest`](crate::Config::manifest) and
/// [`Config::on_publish`](crate::Config::on_publish) are told of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PublishStats {
    /// Files that are in the manifest, or noted for the hook, since the start.
    pub listed: u64,
    /// Published files that are not listed yet.
    pub unlisted: u64,
    /// Files that the hook has acknowledged since the start.
    pub acknowledged: u64,
    /// Files for which the hook failed five times in a row while they no longer existed, since the start.
    /// They count as dealt with: somebody took them, and the next file has its turn.
    pub gone: u64,
    /// Listed files that the hook has not acknowledged yet, those of dead writers included. 0 without
    /// a hook.
    pub unacknowledged: u64,
}

/// A snapshot of the disk guard.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct GuardStats {
    /// Whether it refuses records now, with
    /// [`WriteError::DiskGuard`](crate::WriteError::DiskGuard).
    pub refuses: bool,
    /// Free bytes at the last measurement, minus what this writer has written since. `None` without
    /// [`min_free`](crate::Config::min_free), or before the first successful measurement.
    pub free_bytes: Option<u64>,
    /// Bytes that the files with this prefix and extension took at the last count, plus what this
    /// writer has written since. `None` without [`max_total`](crate::Config::max_total), or before the
    /// first successful count.
    pub total_bytes: Option<u64>,
    /// When one of the two was last measured.
    pub measured_at: Option<Instant>,
    /// The error of the last measurement, if it failed. The earlier result stays in force. After a
    /// start on a full disk: the error that the start met last.
    pub last_error: Option<Error>,
}

/// A snapshot of one worker.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct WorkerStats {
    /// Sealed chunks that wait for this worker or for its sync.
    pub backlog_chunks: usize,
    /// Length of its temp file in bytes, up to the last whole record: with the header, without the
    /// footer.
    pub temp_file_bytes: u64,
    /// The temp file that it is writing, if it has one.
    pub temp_file: Option<PathBuf>,
    /// Whether writes to that file bypass the page cache; see [`Config::io`](crate::Config::io).
    pub temp_file_is_direct: bool,
    /// How long it has compressed, in all. The difference between two snapshots, divided by the time
    /// between them, is the share of a processor. Close to 1, the codec is the bottleneck: use more
    /// workers or a lower level. Zero without [`Config::compression`](crate::Config::compression).
    pub codec_time: Duration,
    /// The error that holds it up, as in [`Health`](crate::Health). `None` while it makes progress.
    pub last_error: Option<Error>,
}
