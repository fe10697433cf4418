//! What users are told: counters, results, errors. Plain values; no text here holds a credential.

use std::fmt;
use std::path::PathBuf;

/// An error, with what was done to what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    operation: &'static str,
    subject: String,
    reason: String,
}

impl Error {
    pub(crate) fn new(
        operation: &'static str,
        subject: impl Into<String>,
        reason: impl fmt::Display,
    ) -> Self {
        Error { operation, subject: subject.into(), reason: reason.to_string() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.operation, self.subject, self.reason)
    }
}

impl std::error::Error for Error {}

/// An object that is there and differs from the file. It was not touched, and neither was the file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Conflict {
    /// The file, below the directory.
    pub file: PathBuf,
    /// In what they differ.
    pub reason: String,
}

/// A file that was not shipped.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Left {
    /// The file, below the directory.
    pub file: PathBuf,
    /// The last error. Empty if it was not tried.
    pub reason: String,
}

/// What a shipper has counted so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Files that this shipper uploaded, compared afterwards.
    pub shipped: u64,
    /// Their bytes.
    pub shipped_bytes: u64,
    /// Records of shipped files and of those that were there, if the manifest names them.
    pub records: u64,
    /// Files whose object was there already and equal.
    pub already: u64,
    /// Files that the journal had, so that nobody asked the store.
    pub remembered: u64,
    /// Files that somebody else took before they could be read.
    pub gone: u64,
    /// Files that were deleted after the compare.
    pub deleted: u64,
    /// Attempts that failed and are tried again.
    pub retries: u64,
    /// Answers that ask for a slower pace: 429, 503.
    pub throttled: u64,
    /// Objects that differ from their files.
    pub conflicts: u64,
    /// Files that wait, those being uploaded included.
    pub waiting: u64,
    /// Their bytes.
    pub waiting_bytes: u64,
    /// Uploads in parts of an earlier shipper that were removed.
    pub aborted: u64,
}

/// What a shipper did, at its end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// The counters.
    pub stats: Stats,
    /// Each object that differs, up to 1,000.
    pub conflicts: Vec<Conflict>,
    /// Each file that was not shipped, up to 1,000.
    pub left: Vec<Left>,
    /// Why there may be files that were not found, such as a directory that can't be listed.
    pub error: Option<Error>,
    /// What went wrong besides, such as a journal that can't be written.
    pub warnings: Vec<String>,
}

impl Report {
    /// Whether each file that was found has its object.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.error.is_none()
            && self.left.is_empty()
            && self.conflicts.is_empty()
            && self.stats.conflicts == 0
            && self.stats.waiting == 0
    }
}
