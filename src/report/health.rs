//! What holds workers up, as users see it. Plain values: no atomics, no locks.
//!
//! Guarantees: what is told of a worker was true at one moment. A leaf but for errors and counts.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::report::error::Error;
use crate::report::stats::Count;

/// Which workers are held up, and by what: a snapshot. See
/// [`BufferedWriter::health`](crate::BufferedWriter::health).
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Health {
    /// One for each worker that is held up, in the order of the workers.
    pub stalls: Vec<Stall>,
}

impl Health {
    /// Nothing holds any worker up.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.stalls.is_empty()
    }
}

/// What holds one worker up.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Stall {
    /// Its number, counted from 0, as in [`Stats::workers`](crate::Stats::workers).
    pub worker: usize,
    /// What failed last. For a call that has not returned for a second: the operation `"finish"`, the file
    /// (the directory, if there is none yet), and the kind `TimedOut`.
    pub error: Error,
    /// The first failure since a file of this worker's last became visible; for a call that does not
    /// return, since when it has been waited for.
    pub since: Instant,
    /// How long that is.
    pub lasting: Duration,
    /// Failures since then; 0 for a call that does not return.
    pub attempts: u64,
    /// Chunks that wait for this worker, or that it holds until the disk has what is in them.
    pub held_chunks: usize,
    /// Whole records in its temp file, which is not visible yet.
    pub held_in_file: Count,
}

impl fmt::Display for Stall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Stall { worker, error, lasting, attempts, .. } = self;
        write!(f, "worker {worker}: {error} (for {lasting:.1?}, attempts: {attempts})")
    }
}

/// What [`Config::on_error`](crate::Config::on_error) is told.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ErrorEvent {
    /// What holds the worker up. What it gave up just now is not held any more.
    pub stall: Stall,
    /// What the worker lost since the last event of its own: given up, or in a temp file that somebody
    /// removed. Zero as long as everything is kept.
    pub lost: Count,
}

impl fmt::Display for ErrorEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.stall.fmt(f)?;
        if self.lost.is_zero() { Ok(()) } else { write!(f, "; {} records lost", self.lost.records) }
    }
}

type Callback = dyn Fn(&ErrorEvent) + Send + Sync;

/// Somebody who wants to be told.
#[derive(Clone, Default)]
pub(crate) struct OnError(pub(crate) Option<Arc<Callback>>);

impl fmt::Debug for OnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "set" } else { "none" })
    }
}
