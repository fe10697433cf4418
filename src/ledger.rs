//! One worker's accounts: what became visible, what was lost, what is under way.
//!
//! Guarantees: a file is counted as written or as lost, never both, also when a closer gives the
//! worker up at the same moment. The lock is never held during I/O, and no caller's write takes it.

use std::path::PathBuf;

use crate::error::Error;
use crate::stats::{Count, Lost, WorkerStats};
use crate::sync::{Mutex, lock};

/// The accounts of one worker.
#[derive(Debug, Default)]
pub(crate) struct Ledger(Mutex<Entries>);

#[derive(Clone, Debug, Default)]
struct Entries {
    written: Count,
    lost: Lost,
    /// What made the last loss.
    last_loss: Option<Error>,
    files: u64,
    /// In a file that is being renamed just now: nobody can say yet.
    in_flight: Count,
    /// What the worker has not published is counted as lost; it must publish nothing any more.
    given_up: bool,
    temp_file: Option<PathBuf>,
    temp_file_bytes: u64,
    temp_file_is_direct: bool,
    last_error: Option<Error>,
}

/// What became of a claimed file.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    /// It is visible.
    Written,
    /// It is still a temp file.
    Unchanged,
    /// It is gone.
    Lost(Error),
}

/// Sums over the workers.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Totals {
    pub(crate) written: Count,
    pub(crate) lost: Lost,
    pub(crate) files: u64,
    pub(crate) in_flight: Count,
}

impl Ledger {
    /// Worker: about to rename a file. `false` once it was given up.
    pub(crate) fn claim(&self, count: Count) -> bool {
        let mut entries = lock(&self.0);
        if entries.given_up {
            return false;
        }
        entries.in_flight = count;
        true
    }

    /// Worker: the rename has returned.
    pub(crate) fn settle(&self, outcome: Outcome) {
        let mut entries = lock(&self.0);
        let count = std::mem::take(&mut entries.in_flight);
        match outcome {
            Outcome::Written => {
                entries.written += count;
                entries.files += 1;
            }
            Outcome::Lost(error) => {
                entries.lost.temp_file_removed += count;
                entries.last_loss = Some(error);
            }
            Outcome::Unchanged => {}
        }
    }

    /// Closer: from here on the worker publishes nothing that it has not claimed.
    pub(crate) fn give_up(&self) {
        lock(&self.0).given_up = true;
    }

    pub(crate) fn set_temp_file(&self, path: Option<PathBuf>) {
        let mut entries = lock(&self.0);
        entries.temp_file = path;
        (entries.temp_file_bytes, entries.temp_file_is_direct) = (0, false);
    }

    pub(crate) fn set_temp_file_bytes(&self, bytes: u64, is_direct: bool) {
        let mut entries = lock(&self.0);
        (entries.temp_file_bytes, entries.temp_file_is_direct) = (bytes, is_direct);
    }

    pub(crate) fn set_error(&self, error: Option<Error>) {
        lock(&self.0).last_error = error;
    }

    pub(crate) fn last_error(&self) -> Option<Error> {
        lock(&self.0).last_error.clone()
    }

    pub(crate) fn last_loss(&self) -> Option<Error> {
        lock(&self.0).last_loss.clone()
    }

    /// What the worker has lost so far.
    pub(crate) fn lost(&self) -> Count {
        lock(&self.0).lost.total()
    }

    /// The file that the worker is writing.
    pub(crate) fn temp_file(&self) -> Option<PathBuf> {
        lock(&self.0).temp_file.clone()
    }

    pub(crate) fn worker_stats(&self, backlog_chunks: usize) -> WorkerStats {
        let entries = lock(&self.0).clone();
        WorkerStats {
            backlog_chunks,
            temp_file_bytes: entries.temp_file_bytes,
            temp_file: entries.temp_file,
            temp_file_is_direct: entries.temp_file_is_direct,
            last_error: entries.last_error,
        }
    }

    pub(crate) fn add_to(&self, totals: &mut Totals) {
        let entries = lock(&self.0);
        totals.written += entries.written;
        totals.lost += entries.lost;
        totals.files += entries.files;
        totals.in_flight += entries.in_flight;
    }
}
