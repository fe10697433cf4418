//! What users are told of each file that became visible, and of the hook that hears of it.

use std::error::Error as StdError;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crate::report::error::Error;
use crate::report::stats::Count;

/// Why a file was published when it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PublishReason {
    /// It reached [`file_size`](crate::Config::file_size), or could take no more.
    Size,
    /// Its oldest record reached [`file_age`](crate::Config::file_age) or
    /// [`forced`](crate::Config::forced).
    Age,
    /// A period of [`rotate_at`](crate::Config::rotate_at) ended.
    Boundary,
    /// [`flush`](crate::BufferedWriter::flush) was called.
    Flush,
    /// The writer was closed.
    Close,
    /// Its writer died, and a recovery published it.
    Recovered,
}

impl PublishReason {
    /// All reasons. Their places are their numbers in a journal.
    pub(crate) const ALL: [PublishReason; 6] = [
        PublishReason::Size,
        PublishReason::Age,
        PublishReason::Boundary,
        PublishReason::Flush,
        PublishReason::Close,
        PublishReason::Recovered,
    ];
}

impl fmt::Display for PublishReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PublishReason::Size => "size",
            PublishReason::Age => "age",
            PublishReason::Boundary => "boundary",
            PublishReason::Flush => "flush",
            PublishReason::Close => "close",
            PublishReason::Recovered => "recovered",
        })
    }
}

/// A file that became visible: the argument of [`Config::on_publish`](crate::Config::on_publish).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PublishedFile {
    /// Tells this file from all others, also on other machines: the same at each call for it.
    pub id: String,
    /// Its absolute path when it was published.
    pub path: PathBuf,
    /// Its path below [`Config::path`](crate::Config::path).
    pub relative_path: PathBuf,
    /// Its length on the disk in bytes.
    pub bytes: u64,
    /// Its records, and their bytes before compression.
    pub records: Count,
    /// No record in it was accepted before this time. It is up to
    /// [`file_age`](crate::Config::file_age) too early.
    pub first: SystemTime,
    /// No record in it was accepted after this time.
    pub last: SystemTime,
    /// The number of the worker that wrote it, counted from 0. A file that a recovery made from
    /// crash-proof memory has the number after the last worker's.
    pub worker: usize,
    /// A number that increases with each file of a worker.
    pub sequence: u64,
    /// The random number of the writer that wrote it.
    pub instance: u64,
    /// Why it was published.
    pub reason: PublishReason,
    /// The partition as pairs of name and value, from the outer directory to the inner one. Empty
    /// without a partition.
    pub partition: Vec<(String, String)>,
}

/// The error type of the [`Config::on_publish`](crate::Config::on_publish) hook.
pub type BoxError = Box<dyn StdError + Send + Sync>;

pub(crate) type Hook = dyn Fn(&PublishedFile) -> Result<(), BoxError> + Send + Sync;

/// The user's hook, if one is set.
#[derive(Clone, Default)]
pub(crate) struct OnPublish(pub(crate) Option<Arc<Hook>>);

impl fmt::Debug for OnPublish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "set" } else { "none" })
    }
}

/// A hook that does not acknowledge a file: it fails, or has not returned for a second.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HookStall {
    /// The file that it was called for.
    pub file: PathBuf,
    /// What it returned last. Empty for a call that has not returned.
    pub error: String,
    /// When it was first called for this file.
    pub since: Instant,
    /// The time since then.
    pub lasting: Duration,
    /// Failed calls for this file.
    pub attempts: u64,
    /// Files that wait for their call, this one included.
    pub unacknowledged: u64,
}

impl fmt::Display for HookStall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let HookStall { file, error, lasting, attempts, .. } = self;
        let error = if error.is_empty() { "it has not returned" } else { error };
        write!(f, "hook for {}: {error} (for {lasting:.1?}, attempts: {attempts})", file.display())
    }
}

/// A manifest that can't be written.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ManifestStall {
    /// The last failure.
    pub error: Error,
    /// The first failure since the last success.
    pub since: Instant,
    /// Failures since then.
    pub attempts: u64,
}

impl fmt::Display for ManifestStall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (attempts: {})", self.error, self.attempts)
    }
}
