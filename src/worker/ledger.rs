//! One worker's accounts: records that became visible, that were lost, and that are in between.
//!
//! Guarantees: a file counts as written or as lost, never both, even if a closer gives the worker
//! up at the same moment. The lock is never held during I/O, and no caller's write takes it.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::base::sync::{Mutex, lock};
use crate::report::error::Error;
use crate::report::health::Stall;
use crate::report::stats::{Count, Lost, Watermark, WorkerStats};

/// A call that takes longer than this is reported as hanging.
const HANG: Duration = Duration::from_secs(1);

/// The accounts of one worker.
#[derive(Debug, Default)]
pub(crate) struct Ledger(Mutex<Entries>);

#[derive(Clone, Debug, Default)]
struct Entries {
    written: Count,
    lost: Lost,
    /// Forgotten by a flight recorder that was closed.
    overwritten: Count,
    /// The cause of the last loss.
    last_loss: Option<Error>,
    files: u64,
    files_bytes: u64,
    /// Records in a file that is being renamed: neither written nor lost yet.
    in_flight: Watermark,
    /// The closer has given the worker up. Unpublished records count as lost, so the worker must
    /// publish nothing more.
    given_up: bool,
    temp_file: Option<PathBuf>,
    /// The whole records in the temp file.
    temp_file_good: Watermark,
    temp_file_is_direct: bool,
    /// How long the codec has worked.
    codec_time: Duration,
    failure: Option<Failure>,
    /// When the worker began to work, or when the disk last answered since then.
    busy: Option<Instant>,
}

/// The last failure, until a success ends it.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) error: Error,
    pub(crate) since: Instant,
    pub(crate) attempts: u64,
}

/// Why the records in a temp file are lost.
#[derive(Clone, Copy, Debug)]
pub(crate) enum FileLoss {
    Removed,
    Damaged,
}

/// Sums over the workers.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Totals {
    pub(crate) written: Count,
    pub(crate) lost: Lost,
    pub(crate) overwritten: Count,
    pub(crate) files: u64,
    pub(crate) files_bytes: u64,
    pub(crate) in_flight: Count,
}

impl Ledger {
    /// Worker: is about to rename a file. `false` once the closer has given it up.
    pub(crate) fn claim(&self, good: Watermark) -> bool {
        let mut entries = lock(&self.0);
        if entries.given_up {
            return false;
        }
        entries.in_flight = good;
        true
    }

    /// Worker: the rename has returned. Whether the claimed file is visible.
    pub(crate) fn settle(&self, is_visible: bool) {
        let mut entries = lock(&self.0);
        let Watermark { len, count, .. } = std::mem::take(&mut entries.in_flight);
        if is_visible {
            entries.written += count;
            entries.files += 1;
            entries.files_bytes += len;
        }
    }

    /// Worker: records in its temp file are lost. `false` once the closer has given it up and
    /// counted them.
    pub(crate) fn lose_file(&self, loss: FileLoss, count: Count, error: &Error) -> bool {
        let mut entries = lock(&self.0);
        if entries.given_up {
            return false;
        }
        match loss {
            FileLoss::Removed => entries.lost.temp_file_removed += count,
            FileLoss::Damaged => entries.lost.temp_file_damaged += count,
        }
        entries.last_loss = Some(error.clone());
        true
    }

    /// Closer: the worker may publish only what it has already claimed.
    pub(crate) fn revoke_claims(&self) {
        lock(&self.0).given_up = true;
    }

    /// Worker: loses the records that it held in memory, because of this error. `false` once the
    /// closer has given it up and counted them.
    pub(crate) fn lose(&self, count: Count, error: &Error) -> bool {
        let mut entries = lock(&self.0);
        if entries.given_up {
            return false;
        }
        entries.lost.gave_up += count;
        entries.last_loss = Some(error.clone());
        true
    }

    pub(crate) fn set_temp_file(&self, path: Option<PathBuf>) {
        let mut entries = lock(&self.0);
        entries.temp_file = path;
        (entries.temp_file_good, entries.temp_file_is_direct) = (Watermark::ZERO, false);
    }

    pub(crate) fn set_temp_file_good(&self, good: Watermark, is_direct: bool) {
        let mut entries = lock(&self.0);
        (entries.temp_file_good, entries.temp_file_is_direct) = (good, is_direct);
        if entries.busy.is_some() {
            // The disk answers, however long the whole work takes.
            entries.busy = Some(Instant::now());
        }
    }

    /// Worker: the codec has worked for this long.
    pub(crate) fn add_codec_time(&self, time: Duration) {
        if !time.is_zero() {
            lock(&self.0).codec_time += time;
        }
    }

    /// Worker: begins to work, or is done.
    pub(crate) fn set_busy(&self, since: Option<Instant>) {
        lock(&self.0).busy = since;
    }

    pub(crate) fn set_failure(&self, failure: Option<Failure>) {
        lock(&self.0).failure = failure;
    }

    pub(crate) fn last_error(&self) -> Option<Error> {
        lock(&self.0).failure.as_ref().map(|failure| failure.error.clone())
    }

    /// The failure that holds the worker up, if any. It writes in `dir` and holds `held` chunks.
    pub(crate) fn stall(
        &self,
        worker: usize,
        now: Instant,
        dir: &Path,
        held: usize,
    ) -> Option<Stall> {
        let entries = lock(&self.0).clone();
        let Failure { error, since, attempts } = entries.failure(now, dir)?;
        Some(Stall {
            worker,
            error,
            since,
            lasting: now.saturating_duration_since(since),
            attempts,
            held_chunks: held,
            held_in_file: entries.temp_file_good.count,
        })
    }

    pub(crate) fn last_loss(&self) -> Option<Error> {
        lock(&self.0).last_loss.clone()
    }

    /// Records that the worker has lost so far.
    pub(crate) fn lost(&self) -> Count {
        lock(&self.0).lost.total()
    }

    /// Worker of a flight recorder: forgets records, since the writer was closed.
    pub(crate) fn overwrite(&self, count: Count) {
        let mut entries = lock(&self.0);
        if !entries.given_up {
            entries.overwritten += count;
        }
    }

    /// Files published so far.
    pub(crate) fn files(&self) -> u64 {
        lock(&self.0).files
    }

    /// The file that the worker is writing.
    pub(crate) fn temp_file(&self) -> Option<PathBuf> {
        lock(&self.0).temp_file.clone()
    }

    pub(crate) fn worker_stats(&self, backlog: usize, now: Instant, dir: &Path) -> WorkerStats {
        let entries = lock(&self.0).clone();
        WorkerStats {
            backlog_chunks: backlog,
            temp_file_bytes: entries.temp_file_good.len,
            last_error: entries.failure(now, dir).map(|failure| failure.error),
            temp_file: entries.temp_file,
            codec_time: entries.codec_time,
            temp_file_is_direct: entries.temp_file_is_direct,
        }
    }

    pub(crate) fn add_to(&self, totals: &mut Totals) {
        let entries = lock(&self.0);
        totals.written += entries.written;
        totals.lost += entries.lost;
        totals.overwritten += entries.overwritten;
        totals.files += entries.files;
        totals.files_bytes += entries.files_bytes;
        totals.in_flight += entries.in_flight.count;
    }
}

impl Entries {
    /// The last failure, or a call that does not return. The temp file, if any, is the path of such
    /// a call.
    fn failure(&self, now: Instant, dir: &Path) -> Option<Failure> {
        let hangs = |&since: &Instant| now.saturating_duration_since(since) >= HANG;
        let hung = || {
            let since = self.busy.filter(hangs)?;
            let path = self.temp_file.as_deref().unwrap_or(dir);
            let error = Error::io("finish", path, ErrorKind::TimedOut.into());
            Some(Failure { error, since, attempts: 0 })
        };
        self.failure.clone().or_else(hung)
    }
}
