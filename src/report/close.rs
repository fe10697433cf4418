//! What `close` answers: the final accounts, with or without an error.

use std::fmt;

use crate::report::error::Error;
use crate::report::stats::{Count, Lost, Refused};

/// What became of everything when a writer was closed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CloseReport {
    /// Records that were accepted in all.
    pub accepted: Count,
    /// Records in visible files.
    pub written: Count,
    /// Accepted and gone, by cause.
    pub lost: Lost,
    /// In files whose rename had not returned when the deadline passed: visible or lost,
    /// [`stats`](crate::BufferedWriter::stats) tells once the disk answers.
    pub unresolved: Count,
    /// Not accepted, by cause.
    pub refused: Refused,
    /// Files published.
    pub files: u64,
    /// Bytes of those files on the disk.
    pub files_bytes: u64,
}

/// [`close`](crate::BufferedWriter::close) gave up at its deadline: what was not in a visible file
/// by then is counted as lost and never becomes visible.
#[derive(Clone, Debug)]
pub struct CloseError {
    /// Boxed, so that a close that goes well is not the larger for it.
    pub(crate) report: Box<CloseReport>,
    pub(crate) reason: Reason,
}

/// Why a close could not do its work.
#[derive(Clone, Debug)]
pub(crate) enum Reason {
    /// The deadline passed; what held it up, if it is known.
    Deadline(Option<Error>),
    /// It was called on a worker's thread. Nothing is closed.
    OnWorker,
    /// It was called in a child that was forked from the writer's process. Nothing is closed.
    Forked,
}

impl CloseError {
    /// What was written and what was not.
    #[must_use]
    pub fn report(&self) -> &CloseReport {
        &self.report
    }
}

impl fmt::Display for CloseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cause = match &self.reason {
            Reason::Deadline(cause) => cause,
            Reason::OnWorker => return f.write_str("close: called on a worker of the writer"),
            Reason::Forked => {
                return f.write_str("close: the writer is that of the parent process");
            }
        };
        let lost = self.report.lost.total();
        write!(f, "close: gave up at the deadline, {} records lost", lost.records)?;
        match cause {
            Some(cause) => write!(f, ": {cause}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for CloseError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.reason {
            Reason::Deadline(Some(cause)) => Some(cause),
            _ => None,
        }
    }
}
