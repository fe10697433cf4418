//! The result of `close`: the final counts, with or without an error.

use std::fmt;

use crate::report::error::Error;
use crate::report::stats::{Count, Lost, Refused};

/// The final counts of a closed writer: `accepted == written + lost.total() + overwritten +
/// unresolved`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CloseReport {
    /// All records that were accepted.
    pub accepted: Count,
    /// Records in visible files.
    pub written: Count,
    /// Records that were accepted and then lost, by cause.
    pub lost: Lost,
    /// Records that a flight recorder forgot: written over by newer ones, or in memory when it was
    /// closed without a dump ([`Config::dump_on_close`](crate::Config::dump_on_close)).
    pub overwritten: Count,
    /// Records in files whose rename had not returned at the deadline. They are visible or lost:
    /// [`stats`](crate::BufferedWriter::stats) says which once the disk answers.
    pub unresolved: Count,
    /// Records that were not accepted, by cause.
    pub refused: Refused,
    /// Files published.
    pub files: u64,
    /// Bytes of the published files on the disk.
    pub files_bytes: u64,
    /// Published files that are not in the [manifest](crate::Config::manifest), or that the
    /// [hook](crate::Config::on_publish) has not acknowledged. The next writer goes on with them.
    pub unacknowledged: u64,
}

/// Why [`close`](crate::BufferedWriter::close) did not close the writer as asked.
///
/// If its deadline passed, records that were not in a visible file count as lost and never become
/// visible. If it was called on a worker's thread or in a forked child, nothing is closed.
#[derive(Clone, Debug)]
pub struct CloseError {
    /// Boxed, to keep the result of a successful close small.
    pub(crate) report: Box<CloseReport>,
    pub(crate) reason: Reason,
}

/// Why a close failed.
#[derive(Clone, Debug)]
pub(crate) enum Reason {
    /// The deadline passed. Holds the error that held the close up, if one is known.
    Deadline(Option<Error>),
    /// Called on a worker's thread. Nothing is closed.
    OnWorker,
    /// Called in a forked child. Nothing is closed.
    Forked,
}

impl CloseError {
    /// The final counts.
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
                return f.write_str("close: the writer belongs to the parent process");
            }
        };
        f.write_str("close: gave up at the deadline, ")?;
        match (self.report.lost.total().records, self.report.unresolved.records) {
            (0, 0) => f.write_str("no record lost")?,
            (lost, 0) => write!(f, "{lost} records lost")?,
            (lost, unresolved) => write!(f, "{lost} records lost, {unresolved} unresolved")?,
        }
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

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::error::Error as _;

    #[test]
    fn what_held_a_close_up_is_its_cause() {
        let cause = Error::io("write", "/file".as_ref(), std::io::ErrorKind::StorageFull.into());
        let because = |reason| CloseError { report: Box::default(), reason };
        let error = because(Reason::Deadline(Some(cause.clone())));
        assert_eq!(error.source().map(ToString::to_string), Some(cause.to_string()));
        assert!(error.to_string().ends_with(&cause.to_string()));
        assert!(because(Reason::Deadline(None)).source().is_none());
        assert!(because(Reason::Forked).source().is_none());
    }
}
