//! What the worker of a flight recorder is at.

use std::time::{Duration, Instant};

use crate::base::sync::Arc;
use crate::report::stats::Count;
use crate::worker::control::{Asked, Phase};
use crate::worker::dumps::{Dump, Dumps};
use crate::worker::recall::Recall;

/// How a recorder ends, and how long a chunk may span.
#[derive(Clone, Debug)]
pub(crate) struct Recording {
    pub(crate) dumps: Arc<Dumps>,
    pub(crate) dump_on_close: bool,
    /// Zero = without a limit.
    pub(crate) forced: Duration,
}

/// What a recorder's worker is at.
pub(crate) struct Recorder {
    pub(crate) recording: Recording,
    /// When chunks were last sealed because of their age.
    pub(crate) sealed: Instant,
    pub(crate) running: Option<Running>,
    /// The dump of the close has been begun, or there is none.
    pub(crate) is_closing: bool,
}

/// A dump that is not over.
pub(crate) struct Running {
    /// `None` for that of the close, which has no number.
    pub(crate) number: Option<u64>,
    pub(crate) dump: Arc<Dump>,
    pub(crate) recall: Recall,
    pub(crate) records: Count,
    pub(crate) files_before: u64,
}

impl Recorder {
    pub(crate) fn new(recording: Recording, now: Instant) -> Self {
        Recorder { recording, sealed: now, running: None, is_closing: false }
    }

    /// Whether nobody waits any more for the dump that runs.
    pub(crate) fn is_over(&self, now: Instant) -> bool {
        self.running.as_ref().is_some_and(|running| running.dump.is_over(now))
    }

    /// Whether more was asked than is answered, and nothing runs.
    pub(crate) fn is_next(&self, asked: Asked, flushed: u64) -> bool {
        let closes = asked.phase == Phase::Draining && !self.is_closing;
        self.running.is_none() && (asked.flushes > flushed || closes)
    }
}
