//! A worker's reaction to failures: when to try again, when to give records up.
//!
//! Guarantees: pauses double from 10 ms to 1 s until a file becomes visible. A new request allows a
//! try at once. Records are given up only after a try that failed. Pure: no I/O, and the time is
//! passed in.

use std::time::{Duration, Instant};

use crate::worker::control::Asked;

/// First and longest pause before another try after an error.
pub(crate) const RETRY_MIN: Duration = Duration::from_millis(10);
const RETRY_MAX: Duration = Duration::from_secs(1);
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
pub(crate) struct Retry {
    give_up_after: Option<Duration>,
    outage: Option<Outage>,
}

/// A failure that has not ended yet.
#[derive(Clone, Copy, Debug)]
struct Outage {
    /// The first failure since a file last became visible.
    since: Instant,
    attempts: u64,
    pause: Duration,
    retry_at: Instant,
    /// The requests at the last failure: a newer one allows a try at once.
    asked: Asked,
    /// The progress at the last failure.
    progress: Progress,
    /// Since when memory cannot get into a file. `None` if only the file cannot become visible.
    blocked: Option<Instant>,
    /// The blocked records were given up.
    is_over: bool,
    /// Everything was given up, so nothing is blocked any more. Only the next try shows whether the
    /// outage lasts. Until then nothing waits for it.
    is_dormant: bool,
}

impl Retry {
    /// Zero means that records are never given up.
    pub(crate) fn new(give_up_after: Duration) -> Self {
        let give_up_after = Some(give_up_after).filter(|time| !time.is_zero());
        Retry { give_up_after, outage: None }
    }

    fn active(&self) -> Option<&Outage> {
        self.outage.as_ref().filter(|outage| !outage.is_dormant)
    }

    /// Whether nothing fails at present.
    pub(crate) fn is_none(&self) -> bool {
        self.active().is_none()
    }

    /// Whether memory cannot get into a file until the failed step succeeds.
    pub(crate) fn blocks(&self) -> bool {
        self.active().is_some_and(|outage| outage.blocked.is_some())
    }

    /// Whether it is time to try the failed step again.
    pub(crate) fn may_try(&self, now: Instant, asked: Asked) -> bool {
        self.active().is_none_or(|outage| {
            outage.retry_at <= now
                || asked.flushes > outage.asked.flushes
                || asked.phase > outage.asked.phase
        })
    }

    /// Time until the next try, if something fails.
    pub(crate) fn wait(&self, now: Instant) -> Option<Duration> {
        self.active().map(|outage| outage.retry_at.saturating_duration_since(now))
    }

    /// When the outage began, and its failures so far.
    pub(crate) fn since(&self) -> Option<(Instant, u64)> {
        self.active().map(|outage| (outage.since, outage.attempts))
    }

    /// Something failed; `blocked` if memory waits for it. Returns whether to give that memory up
    /// now.
    pub(crate) fn fail(
        &mut self,
        now: Instant,
        asked: Asked,
        blocked: bool,
        progress: Progress,
    ) -> bool {
        let give_up_after = self.give_up_after;
        // A dormant outage that no try has met for long may have ended meanwhile.
        let is_old = |outage: &Outage| {
            let late = now.saturating_duration_since(outage.retry_at);
            outage.is_dormant && late > give_up_after.unwrap_or_default()
        };
        let before = self
            .outage
            .take()
            .filter(|outage| outage.progress.published == progress.published && !is_old(outage));
        let moved = before.is_none_or(|outage| outage.progress != progress);
        let since_before = before.and_then(|outage| outage.blocked).filter(|_| !moved);
        let blocked = blocked.then(|| since_before.unwrap_or(now));
        let over_at = give_up_after.and_then(|time| blocked?.checked_add(time));
        let is_over = over_at.is_some_and(|at| at <= now);
        let pause = before.map_or(RETRY_MIN, |outage| (outage.pause * 2).min(RETRY_MAX));
        let mut retry_at = now + pause;
        if let Some(at) = over_at.filter(|&at| at > now) {
            // Try once more at the deadline.
            retry_at = retry_at.min(at);
        }
        let since = before.map_or(now, |outage| outage.since);
        let attempts = before.map_or(0, |outage| outage.attempts) + 1;
        self.outage = Some(Outage {
            since,
            attempts,
            pause,
            retry_at,
            asked,
            progress,
            blocked,
            is_over,
            is_dormant: false,
        });
        is_over
    }

    /// Nothing waits for what failed any more.
    pub(crate) fn forget(&mut self) {
        self.outage = None;
    }

    /// A round succeeded. Returns whether that ends a reported failure.
    pub(crate) fn succeed(&mut self, now: Instant, progress: Progress) -> bool {
        let was_active = self.active().is_some();
        // If everything was given up and nothing has landed since, the success proves nothing.
        self.outage =
            self.outage.take().filter(|outage| outage.is_over && outage.progress == progress);
        if let Some(outage) = self.outage.as_mut().filter(|outage| !outage.is_dormant) {
            (outage.is_dormant, outage.retry_at) = (true, now);
        }
        was_active
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::control::Phase;

    const ASKED: Asked = Asked { flushes: 0, phase: Phase::Open };
    const MS: Duration = Duration::from_millis(1);

    fn at(published: u64, landed: u64) -> Progress {
        Progress { published, landed }
    }

    #[test]
    fn pauses_double_up_to_a_second_until_a_file_is_visible() {
        let (mut retry, mut now) = (Retry::new(Duration::ZERO), Instant::now());
        let began = now;
        for (nth, pause) in
            [10, 20, 40, 80, 160, 320, 640, 1000, 1000, 1000].into_iter().enumerate()
        {
            // The pauses do not depend on whether memory waits or how much lands in a file.
            assert!(!retry.fail(now, ASKED, nth % 2 == 0, at(1, nth as u64)));
            assert_eq!(retry.wait(now), Some(MS * pause));
            assert_eq!(retry.since(), Some((began, nth as u64 + 1)));
            assert!(!retry.may_try(now + MS * (pause - 1), ASKED));
            now += MS * pause;
            assert!(retry.may_try(now, ASKED));
        }
        retry.fail(now, ASKED, true, at(2, 9));
        assert_eq!((retry.wait(now), retry.since()), (Some(MS * 10), Some((now, 1))));
        assert!(retry.succeed(now, at(2, 9)) && retry.is_none() && !retry.succeed(now, at(2, 9)));
    }

    #[test]
    fn a_request_is_worth_a_try_at_once_but_only_one() {
        let (mut retry, now) = (Retry::new(Duration::ZERO), Instant::now());
        retry.fail(now, ASKED, true, at(0, 0));
        for asked in [Asked { flushes: 1, ..ASKED }, Asked { flushes: 1, phase: Phase::Draining }] {
            assert!(retry.may_try(now, asked));
            retry.fail(now, asked, true, at(0, 0));
            assert!(!retry.may_try(now, asked));
        }
    }

    #[test]
    fn what_waits_is_given_up_in_time_after_a_last_try() {
        let (mut retry, began) = (Retry::new(MS * 100), Instant::now());
        let mut now = began;
        let mut fail = |retry: &mut Retry, landed| {
            let is_over = retry.fail(now, ASKED, true, at(0, landed));
            now += retry.wait(now).unwrap();
            (is_over, (now - began).as_millis())
        };
        // 10 + 20 + 40 = 70 ms; the next pause is 30 ms, not 80 ms.
        for (is_over, next) in [(false, 10), (false, 30), (false, 70), (false, 100), (true, 260)] {
            assert_eq!(fail(&mut retry, 0), (is_over, next));
        }
        // The outage lasts: later records do not wait that long again.
        assert_eq!(fail(&mut retry, 0), (true, 580));
        // Something landed in between, so for the memory this is another outage.
        assert_eq!(fail(&mut retry, 1), (false, 680));
        assert!(fail(&mut retry, 1).0);
    }

    #[test]
    fn with_nothing_left_nobody_waits_and_the_next_failure_tells() {
        let (mut retry, began) = (Retry::new(MS), Instant::now());
        retry.fail(began, ASKED, true, at(0, 0));
        let now = began + MS;
        assert!(retry.fail(now, ASKED, true, at(0, 0)) && retry.blocks());
        assert!(retry.succeed(now + MS, at(0, 0)));
        assert!(retry.is_none() && !retry.blocks() && retry.wait(now).is_none());
        assert!(retry.fail(now + 2 * MS, ASKED, true, at(0, 0)), "the same stall");
        assert_eq!(retry.since(), Some((began, 3)));
        // No try met the outage for a long time.
        let later = now + MS * 1000;
        retry.succeed(now + 2 * MS, at(0, 0));
        assert!(!retry.fail(later, ASKED, true, at(0, 0)), "another stall");
        assert_eq!(retry.since(), Some((later, 1)));
        // Something landed, so the outage is over.
        assert!(retry.fail(later + MS, ASKED, true, at(0, 0)));
        retry.succeed(later + MS, at(0, 1));
        assert!(!retry.fail(later + MS, ASKED, true, at(0, 1)));
    }

    #[test]
    fn a_file_that_can_not_become_visible_holds_no_memory() {
        let (mut retry, mut now) = (Retry::new(MS), Instant::now());
        for _ in 0..5 {
            assert!(!retry.fail(now, ASKED, false, at(0, 0)) && !retry.blocks());
            now += MS * 1000;
        }
        assert!(!retry.fail(now, ASKED, true, at(0, 0)) && retry.blocks());
        assert!(retry.fail(now + MS, ASKED, true, at(0, 0)));
    }
}
