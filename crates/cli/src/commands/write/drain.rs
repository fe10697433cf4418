//! How long a run reads on after a signal, and how long it tries to publish what it has read.
//!
//! Guarantees: after the first signal the reading may last for the grace time, [`EMPTYING`] and
//! [`LINE`]. Everything ends within the deadline after the reading, and at once with a second
//! signal. Pure: times are passed in.

use std::time::{Duration, Instant};

/// Signals within this time are one request to stop. `timeout` and others send a signal to a
/// process and then to its group.
const TOGETHER: Duration = Duration::from_millis(100);

/// How long the end of a line is waited for: since the input gave its last byte, and in all.
const LINE: Duration = Duration::from_secs(1);

/// How long a busy pipe is emptied after the grace time. It is empty sooner, unless other programs
/// fill it faster than this one reads.
pub(super) const EMPTYING: Duration = Duration::from_millis(500);

/// What has ended so far, and when.
#[derive(Debug)]
pub(super) struct Drain {
    grace: Duration,
    deadline: Duration,
    /// When the first signal to stop came.
    stopped_at: Option<Instant>,
    /// When the last bytes that the input gave had been handed over.
    heard_at: Option<Instant>,
    reading_ended_at: Option<Instant>,
    gave_up: bool,
}

impl Drain {
    pub(super) fn new(grace: Duration, deadline: Duration) -> Self {
        let (stopped_at, heard_at, reading_ended_at) = (None, None, None);
        Drain { grace, deadline, stopped_at, heard_at, reading_ended_at, gave_up: false }
    }

    /// Notes a SIGTERM or SIGINT. The first ends the reading, the second everything.
    pub(super) fn stop(&mut self, now: Instant) {
        match self.stopped_at {
            None => self.stopped_at = Some(now),
            Some(first) => self.gave_up |= now.duration_since(first) >= TOGETHER,
        }
    }

    /// Notes that the input gave bytes, and that it is listened to again.
    pub(super) fn hear(&mut self, now: Instant) {
        self.heard_at = Some(now);
    }

    /// Notes that nothing more is read. The first call counts.
    pub(super) fn end_reading(&mut self, now: Instant) {
        let after_grace = self.grace.saturating_add(EMPTYING + LINE);
        // A read line may have waited for memory much longer. Its wait has used up the deadline.
        let at = self.stopped_at.and_then(|at| at.checked_add(after_grace)).unwrap_or(now).min(now);
        self.reading_ended_at.get_or_insert(at);
    }

    pub(super) fn give_up(&mut self) {
        self.gave_up = true;
    }

    /// Whether no further input is opened.
    pub(super) fn is_stopping(&self) -> bool {
        self.stopped_at.is_some() || self.gave_up
    }

    pub(super) fn is_reading(&self) -> bool {
        self.reading_ended_at.is_none()
    }

    /// Time left for reading on to the end of the input. `None` = without limit.
    pub(super) fn reading_left(&self, now: Instant) -> Option<Duration> {
        if self.gave_up {
            return Some(Duration::ZERO);
        }
        let stopped_at = self.stopped_at?;
        Some(self.grace.saturating_sub(now.duration_since(stopped_at)))
    }

    /// Time left for reading a line to its end, which began then, after a signal. A line that was
    /// silent for a second of the grace time gets no more.
    pub(super) fn line_left(&self, began: Instant, now: Instant) -> Duration {
        let Some(stopped_at) = self.stopped_at else { return Duration::ZERO };
        let heard_at = self.heard_at.map_or(stopped_at, |at| at.max(stopped_at));
        let since = |at: Instant| now.saturating_duration_since(at);
        let silence = LINE.saturating_sub(since(heard_at));
        let all = LINE.saturating_sub(since(began));
        silence.min(all).min(self.left(now))
    }

    /// Time left to keep trying.
    pub(super) fn left(&self, now: Instant) -> Duration {
        let (since, limit) = match (self.reading_ended_at, self.stopped_at) {
            _ if self.gave_up => return Duration::ZERO,
            (Some(at), _) => (at, self.deadline),
            (None, Some(at)) => (at, self.grace.saturating_add(self.deadline)),
            (None, None) => return Duration::MAX,
        };
        limit.saturating_sub(now.duration_since(since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(2);
    const DEADLINE: Duration = Duration::from_secs(30);
    const ZERO: Duration = Duration::ZERO;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn the_first_stop_ends_the_reading_after_the_grace_time_and_the_second_everything() {
        let mut drain = Drain::new(GRACE, DEADLINE);
        let start = Instant::now();
        assert_eq!((drain.reading_left(start), drain.left(start)), (None, Duration::MAX));
        assert!(!drain.is_stopping());
        drain.stop(start);
        let at = |s| start + seconds(s);
        assert!(drain.is_stopping() && drain.is_reading());
        assert_eq!((drain.reading_left(at(1)), drain.left(at(1))), (Some(seconds(1)), seconds(31)));
        assert_eq!((drain.reading_left(at(3)), drain.left(at(3))), (Some(ZERO), seconds(29)));
        assert_eq!(drain.left(at(40)), ZERO);
        drain.stop(at(1));
        assert_eq!((drain.reading_left(at(1)), drain.left(at(1))), (Some(ZERO), ZERO));
    }

    #[test]
    fn the_deadline_begins_with_the_end_of_the_input() {
        let mut drain = Drain::new(GRACE, DEADLINE);
        let start = Instant::now();
        drain.stop(start);
        drain.end_reading(start + seconds(1));
        drain.end_reading(start + seconds(5));
        assert!(!drain.is_reading());
        assert_eq!(drain.left(start + seconds(11)), seconds(20));
    }

    #[test]
    fn a_line_that_waits_for_memory_uses_up_the_deadline() {
        let mut drain = Drain::new(GRACE, DEADLINE);
        let start = Instant::now();
        drain.stop(start);
        let now = start + GRACE + DEADLINE;
        assert_eq!(drain.left(now), ZERO);
        drain.end_reading(now);
        assert_eq!(drain.left(now), EMPTYING + LINE);
    }

    #[test]
    fn a_first_stop_after_the_end_of_the_input_leaves_the_drain_its_time() {
        let mut drain = Drain::new(GRACE, DEADLINE);
        let start = Instant::now();
        drain.end_reading(start);
        drain.stop(start + seconds(1));
        assert_eq!(drain.left(start + seconds(1)), seconds(29));
        drain.give_up();
        assert_eq!(drain.left(start), ZERO);
    }

    #[test]
    fn a_line_has_a_second_of_silence_and_one_in_all() {
        let millis = Duration::from_millis;
        let start = Instant::now();
        // Silent for long before the signal.
        let mut drain = Drain::new(ZERO, DEADLINE);
        drain.hear(start - seconds(10));
        drain.stop(start);
        assert_eq!(drain.line_left(start, start), seconds(1));
        assert_eq!(drain.line_left(start, start + seconds(1)), ZERO);
        // It goes on and on.
        drain.hear(start + millis(900));
        assert_eq!(drain.line_left(start, start + millis(900)), millis(100));
        // Its beginning was handed over to a slow disk.
        let at = start + seconds(5);
        drain.hear(at);
        assert_eq!(drain.line_left(at, at), seconds(1));
        // Silent during the grace time.
        let mut drain = Drain::new(GRACE, DEADLINE);
        drain.stop(start);
        let at = start + GRACE;
        assert_eq!(drain.line_left(at, at), ZERO);
        drain.hear(start + millis(1900));
        assert_eq!(drain.line_left(at, at), millis(900));
        drain.give_up();
        assert_eq!(drain.line_left(at, at), ZERO);
    }

    #[test]
    fn signals_that_come_together_are_one() {
        let mut drain = Drain::new(GRACE, DEADLINE);
        let start = Instant::now();
        drain.stop(start);
        drain.stop(start);
        drain.stop(start + Duration::from_millis(99));
        assert!(drain.left(start) > ZERO);
        drain.stop(start + TOGETHER);
        assert_eq!(drain.left(start), ZERO);
    }

    #[test]
    fn times_without_end_do_not_overflow() {
        let mut drain = Drain::new(Duration::MAX, Duration::MAX);
        let start = Instant::now();
        drain.stop(start);
        assert_eq!(drain.reading_left(start + seconds(1)), Some(Duration::MAX - seconds(1)));
        assert_eq!(drain.left(start), Duration::MAX);
    }
}
