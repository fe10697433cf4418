//! What a worker makes of failures: when to try again, when to give records up, when to tell.
//!
//! Guarantees: pauses double from 10 ms to 1 s while nothing becomes visible; a new request is worth a
//! try at once; records are given up only after a try that failed. Pure: no I/O, time is passed in.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use crate::control::Asked;
use crate::error::Error;

/// First and longest pause before another try after an error.
pub(crate) const RETRY_MIN: Duration = Duration::from_millis(10);
const RETRY_MAX: Duration = Duration::from_secs(1);
/// Between two times that the same trouble is told, at least.
const TELL_INTERVAL: Duration = Duration::from_secs(1);

/// How far a worker's output has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Files that became visible.
    pub(crate) published: u64,
    /// Pieces whose memory was freed because a file has them.
    pub(crate) landed: u64,
}

/// The failures of one worker.
#[derive(Debug)]
pub(crate) struct Faults {
    give_up_after: Option<Duration>,
    fault: Option<Fault>,
}

/// An error that has not gone away yet.
#[derive(Clone, Copy, Debug)]
struct Fault {
    /// The first failure since a file last became visible.
    since: Instant,
    attempts: u64,
    pause: Duration,
    retry_at: Instant,
    /// What was asked for by then: a new request is worth a try at once.
    asked: Asked,
    /// As it was at the last failure.
    progress: Progress,
    /// Since when memory can't get into a file; none if only the file can't become visible.
    blocked: Option<Instant>,
    /// What was held up is given up.
    is_over: bool,
    /// Nothing is held up any more, since all was given up: only the next try will tell whether the trouble
    /// lasts. Until then nobody waits for it.
    is_dormant: bool,
}

impl Faults {
    /// Zero = records are never given up.
    pub(crate) fn new(give_up_after: Duration) -> Self {
        let give_up_after = Some(give_up_after).filter(|time| !time.is_zero());
        Faults { give_up_after, fault: None }
    }

    fn active(&self) -> Option<&Fault> {
        self.fault.as_ref().filter(|fault| !fault.is_dormant)
    }

    /// Nothing fails.
    pub(crate) fn is_none(&self) -> bool {
        self.active().is_none()
    }

    /// Memory can't get into a file before something works that failed.
    pub(crate) fn blocks(&self) -> bool {
        self.active().is_some_and(|fault| fault.blocked.is_some())
    }

    /// Whether it is time to try what failed again.
    pub(crate) fn may_try(&self, now: Instant, asked: Asked) -> bool {
        self.active().is_none_or(|fault| {
            fault.retry_at <= now
                || asked.flushes > fault.asked.flushes
                || asked.phase > fault.asked.phase
        })
    }

    /// Until it is time, if something fails.
    pub(crate) fn wait(&self, now: Instant) -> Option<Duration> {
        self.active().map(|fault| fault.retry_at.saturating_duration_since(now))
    }

    /// Since when it fails, and how often it did.
    pub(crate) fn since(&self) -> Option<(Instant, u64)> {
        self.active().map(|fault| (fault.since, fault.attempts))
    }

    /// Something failed. With `blocked`, memory waits for it. Whether that is to be given up now.
    pub(crate) fn fail(
        &mut self,
        now: Instant,
        asked: Asked,
        blocked: bool,
        progress: Progress,
    ) -> bool {
        let give_up_after = self.give_up_after;
        // Who knows what became of a trouble that nobody met for long.
        let is_old = |fault: &Fault| {
            let late = now.saturating_duration_since(fault.retry_at);
            fault.is_dormant && late > give_up_after.unwrap_or_default()
        };
        let before = self
            .fault
            .take()
            .filter(|fault| fault.progress.published == progress.published && !is_old(fault));
        let moved = before.is_none_or(|fault| fault.progress != progress);
        let since_before = before.and_then(|fault| fault.blocked).filter(|_| !moved);
        let blocked = blocked.then(|| since_before.unwrap_or(now));
        let over_at = give_up_after.and_then(|time| blocked?.checked_add(time));
        let is_over = over_at.is_some_and(|at| at <= now);
        let pause = before.map_or(RETRY_MIN, |fault| (fault.pause * 2).min(RETRY_MAX));
        let mut retry_at = now + pause;
        if let Some(at) = over_at.filter(|&at| at > now) {
            // A try comes before the end.
            retry_at = retry_at.min(at);
        }
        let since = before.map_or(now, |fault| fault.since);
        let attempts = before.map_or(0, |fault| fault.attempts) + 1;
        let is_dormant = false;
        self.fault = Some(Fault {
            since,
            attempts,
            pause,
            retry_at,
            asked,
            progress,
            blocked,
            is_over,
            is_dormant,
        });
        is_over
    }

    /// A round went well. Whether that ends what was told.
    pub(crate) fn recover(&mut self, now: Instant, progress: Progress) -> bool {
        let was_active = self.active().is_some();
        // If all was given up and nothing was done since, nothing is known either.
        self.fault = self.fault.take().filter(|fault| fault.is_over && fault.progress == progress);
        if let Some(fault) = &mut self.fault
            && !fault.is_dormant
        {
            (fault.is_dormant, fault.retry_at) = (true, now);
        }
        was_active
    }
}

/// When somebody is told of a worker's failures.
#[derive(Debug, Default)]
pub(crate) struct Teller {
    told: Option<(Instant, (&'static str, ErrorKind))>,
}

impl Teller {
    /// Whether to tell now: of losses always, of something new at once, of the same again once a second.
    pub(crate) fn tells(
        &mut self,
        now: Instant,
        error: &Error,
        is_first: bool,
        lost: bool,
    ) -> bool {
        let what = (error.operation(), error.kind());
        let lately = self.told.filter(|&(at, _)| now.saturating_duration_since(at) < TELL_INTERVAL);
        let is_new = lately.is_none_or(|(_, told)| is_first && told != what);
        if is_new || lost {
            self.told = Some((now, what));
        }
        is_new || lost
    }
}
