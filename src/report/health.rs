//! Errors that hold workers up, as users see them. Plain values: no atomics, no locks.
//!
//! Guarantees: the fields of one worker were true at one moment. Uses only errors and counts.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::report::error::Error;
use crate::report::published::{HookStall, ManifestStall};
use crate::report::stats::Count;

/// A snapshot of the workers that are held up, from
/// [`BufferedWriter::health`](crate::BufferedWriter::health).
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Health {
    /// One entry for each worker that is held up, in the order of the workers.
    pub stalls: Vec<Stall>,
    /// Why published files can't be listed, if they can't: in the [manifest](crate::Config::manifest), or in
    /// the journal that notes them for the hook. The error has the path.
    pub manifest: Option<ManifestStall>,
    /// The file that the [hook](crate::Config::on_publish) does not acknowledge, if it fails or hangs.
    pub hook: Option<HookStall>,
}

impl Health {
    /// Whether nothing is held up.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.stalls.is_empty() && self.manifest.is_none() && self.hook.is_none()
    }
}

/// An error or a hung call that holds one worker up.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Stall {
    /// The worker's number, counted from 0, as in [`Stats::workers`](crate::Stats::workers).
    pub worker: usize,
    /// The last failure. For a call that has not returned for a second, the operation is `"finish"`
    /// and the kind `TimedOut`. The path is that of the file, or of the directory if there is no
    /// file yet.
    pub error: Error,
    /// The first failure since this worker last published a file. For a hung call: when the wait
    /// began.
    pub since: Instant,
    /// The time since then.
    pub lasting: Duration,
    /// Failures since then; 0 for a hung call.
    pub attempts: u64,
    /// Chunks that wait for this worker, and chunks that it holds until their records are on the
    /// disk.
    pub held_chunks: usize,
    /// Whole records in the worker's temp file, which is not visible yet.
    pub held_in_file: Count,
}

impl fmt::Display for Stall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Stall { worker, error, lasting, attempts, .. } = self;
        write!(f, "worker {worker}: {error} (for {lasting:.1?}, attempts: {attempts})")
    }
}

/// The argument of the [`Config::on_error`](crate::Config::on_error) callback.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ErrorEvent {
    /// What holds the worker up. Its counts no longer include the records in [`lost`](Self::lost).
    pub stall: Stall,
    /// Records that the worker lost since the last event that it reported. It gave them up, or
    /// their temp file was removed or truncated. Zero if nothing was lost.
    pub lost: Count,
}

impl fmt::Display for ErrorEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.stall.fmt(f)?;
        if self.lost.is_zero() { Ok(()) } else { write!(f, "; {} records lost", self.lost.records) }
    }
}

type Callback = dyn Fn(&ErrorEvent) + Send + Sync;

/// The user's callback, if one is set.
#[derive(Clone, Default)]
pub(crate) struct OnError(pub(crate) Option<Arc<Callback>>);

impl fmt::Debug for OnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "set" } else { "none" })
    }
}
