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

/// How many looks there are in the time of `forced` while a chunk has to be passed by.
const RETRIES: u32 = 16;

/// What a recorder's worker is at.
pub(crate) struct Recorder {
    pub(crate) recording: Recording,
    /// When chunks are sealed next because of their age, if they are.
    pub(crate) seal_at: Option<Instant>,
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
        let mut new = Recorder { recording, seal_at: None, running: None, is_closing: false };
        new.plan_seal(now, true);
        new
    }

    /// Chunks were sealed, all of them or but for those whose owners were in a write. Such an owner may
    /// format records most of the time, so the next look comes soon then.
    pub(crate) fn plan_seal(&mut self, now: Instant, is_all: bool) {
        let forced = self.recording.forced;
        let time = if is_all { forced } else { forced / RETRIES };
        self.seal_at = now.checked_add(time).filter(|_| !forced.is_zero());
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
