//! What went wrong and what was counted, told at once and summed up in the end. From any thread.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::commands::merge::feed::Counts;
use crate::console;
use crate::contents::Fault;

/// The counts of a run.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) files: AtomicU64,
    pub(crate) lines: AtomicU64,
    pub(crate) bytes: AtomicU64,
    /// Lines without a time.
    pub(crate) untimed: AtomicU64,
    /// Lines that came later than the window permits.
    pub(crate) late: AtomicU64,
    /// Damaged places.
    pub(crate) faults: AtomicU64,
    /// Bytes of lines that damage has torn, as far as they were read.
    pub(crate) torn_bytes: AtomicU64,
    /// Files that could not be read, or have no time.
    pub(crate) failed: AtomicU64,
    /// Lines that the output refused.
    pub(crate) refused: AtomicU64,
}

impl Outcome {
    /// A file that could not be read, or not as wanted.
    pub(crate) fn failed(&self, path: &Path, what: impl std::fmt::Display) {
        self.failed.fetch_add(1, Relaxed);
        console::report(format_args!("{}: {what}", path.display()));
    }

    /// Damage in a file.
    pub(crate) fn fault(&self, path: &Path, fault: &Fault) {
        console::report(format_args!("{}: {}", path.display(), fault.what));
    }

    /// A file that was read to its end.
    pub(crate) fn read(&self, path: &Path, counts: &Counts, late: u64) {
        self.files.fetch_add(1, Relaxed);
        self.lines.fetch_add(counts.lines, Relaxed);
        self.bytes.fetch_add(counts.bytes, Relaxed);
        self.untimed.fetch_add(counts.lines - counts.keyed, Relaxed);
        self.torn_bytes.fetch_add(counts.torn_bytes, Relaxed);
        self.late.fetch_add(late, Relaxed);
        self.faults.fetch_add(counts.faults, Relaxed);
        let path = path.display();
        if counts.faults_untold() > 0 {
            let more = counts.faults_untold();
            console::report(format_args!("{path}: {more} more damaged places"));
        }
        if counts.torn_bytes > 0 {
            let bytes = counts.torn_bytes;
            console::report(format_args!("{path}: {bytes} bytes of torn lines left out"));
        }
        if late > 0 {
            console::report(format_args!(
                "{path}: {late} lines came later than --window permits, and are out of order"
            ));
        }
    }

    /// Whether all was read, and is in order.
    pub(crate) fn is_well(&self) -> bool {
        [&self.late, &self.faults, &self.failed].iter().all(|count| count.load(Relaxed) == 0)
    }
}
