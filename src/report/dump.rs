//! What is asked of a dump of a flight recorder, and what comes of it.

use std::fmt;
use std::time::{Duration, Instant};

use crate::report::error::Error;
use crate::report::stats::Count;

/// What [`dump`](crate::BufferedWriter::dump) publishes, and what becomes of the memory. The default
/// publishes everything, releases it, and takes at most 5 s.
///
/// ```
/// use std::time::Duration;
/// let options = bufferedwriter::DumpOptions::default()
///     .last(Duration::from_secs(60))
///     .keep(true)
///     .timeout(Duration::from_secs(10));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
#[non_exhaustive]
pub struct DumpOptions {
    pub(crate) last: Option<Duration>,
    pub(crate) before: Option<Instant>,
    pub(crate) keep: bool,
    pub(crate) timeout: Duration,
}

impl Default for DumpOptions {
    fn default() -> Self {
        let timeout = Duration::from_secs(5);
        DumpOptions { last: None, before: None, keep: false, timeout }
    }
}

impl DumpOptions {
    /// Publishes what was accepted within this time before the call, and what is accepted until the
    /// dump begins. Default: everything.
    ///
    /// Nothing that is younger is left out. Older records come along, since records have no time of
    /// their own: a chunk counts with the moment at which it was full. So the first records may be
    /// older by the time in which a thread fills a chunk ([`Config::size`](crate::Config::size)
    /// bytes). [`Config::forced`](crate::Config::forced) bounds that time. What a thread has in its
    /// present chunk is always in the dump.
    pub fn last(mut self, time: Duration) -> Self {
        self.last = Some(time);
        self
    }

    /// Counts the time of [`last`](Self::last) back from this moment, if it is before the call: for a
    /// dump that is asked for later than what it is about.
    pub fn before(mut self, moment: Instant) -> Self {
        self.before = Some(moment);
        self
    }

    /// How long before now the records of a dump begin that is asked for now. `None` = everything.
    pub(crate) fn reach(&self) -> Option<Duration> {
        let since = self.before.map_or(Duration::ZERO, |moment| moment.elapsed());
        self.last.map(|last| last.saturating_add(since))
    }

    /// Whether the records also stay in memory, so that the next dump has them again. Default
    /// false: they are released, and each record is in one dump.
    ///
    /// Records that stay are copies in files: [`Stats::written`](crate::Stats::written) does not
    /// count them, and they are still [`pending`](crate::Stats::pending).
    pub fn keep(mut self, keep: bool) -> Self {
        self.keep = keep;
        self
    }

    /// When the dump gives up, from the call on. Default 5 s. [`Duration::MAX`] = never.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }
}

/// What a dump published.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Dumped {
    /// The records.
    pub records: Count,
    /// The files that they are in. 0 if there was nothing to publish.
    pub files: u64,
}

/// Why a [`dump`](crate::BufferedWriter::dump) did not publish everything.
///
/// Nothing is lost. Files that were complete by then are visible. Everything else is in memory again,
/// or in a hidden file that the next dump or `close` publishes.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum DumpError {
    /// The time was over, and no error is known: the disk is slow, or another dump is.
    TimedOut,
    /// The time was over while this error, which was retried, held the dump up. Or somebody removed
    /// or truncated the hidden file.
    Io(Error),
    /// The writer is no flight recorder: see [`Config::recorder`](crate::Config::recorder).
    NoRecorder,
    /// The writer is closed.
    Closed,
    /// Called on one of the writer's own threads. The thread would wait for itself.
    OnWorker,
    /// This process is a forked child. The worker belongs to the parent process.
    Forked,
}

impl fmt::Display for DumpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DumpError::TimedOut => f.write_str("dump: the disk did not answer in time"),
            DumpError::Io(error) => write!(f, "dump: {error}"),
            DumpError::NoRecorder => f.write_str("dump: the writer is no flight recorder"),
            DumpError::Closed => f.write_str("dump: the writer is closed"),
            DumpError::OnWorker => f.write_str("dump: called on a worker of the writer"),
            DumpError::Forked => f.write_str("dump: the writer belongs to the parent process"),
        }
    }
}

impl std::error::Error for DumpError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            DumpError::Io(error) => Some(error),
            _ => None,
        }
    }
}
