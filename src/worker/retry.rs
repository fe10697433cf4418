//! What a worker makes of failures: when to try again, when to give records up, when to tell.
//!
//! Guarantees: pauses double from 10 ms to 1 s while nothing becomes visible; a new request is worth a
//! try at once; records are given up only after a try that failed. Pure: no I/O, time is passed in.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use crate::report::error::Error;
use crate::worker::control::Asked;

/// First and longest pause before another try after an error.
pub(crate) const RETRY_MIN: Duration = Duration::from_millis(10);
const RETRY_MAX: Duration = Duration::from_secs(1);
/// Between two times that the same stall is told, at least.
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
pub(crate) struct Retry {
    give_up_after: Option<Duration>,
    outage: Option<Outage>,
}

/// An error that has not gone away yet.
#[derive(Clone, Copy, Debug)]
struct Outage {
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
    /// Nothing is held up any more, since all was given up: only the next try will tell whether the stall
    /// lasts. Until then nobody waits for it.
    is_dormant: bool,
}

impl Retry {
    /// Zero = records are never given up.
    pub(crate) fn new(give_up_after: Duration) -> Self {
        let give_up_after = Some(give_up_after).filter(|time| !time.is_zero());
        Retry { give_up_after, outage: None }
    }

    fn active(&self) -> Option<&Outage> {
        self.outage.as_ref().filter(|outage| !outage.is_dormant)
    }

    /// Nothing fails.
    pub(crate) fn is_none(&self) -> bool {
        self.active().is_none()
    }

    /// Memory can't get into a file before something works that failed.
    pub(crate) fn blocks(&self) -> bool {
        self.active().is_some_and(|outage| outage.blocked.is_some())
    }

    /// Whether it is time to try what failed again.
    pub(crate) fn may_try(&self, now: Instant, asked: Asked) -> bool {
        self.active().is_none_or(|outage| {
            outage.retry_at <= now
                || asked.flushes > outage.asked.flushes
                || asked.phase > outage.asked.phase
        })
    }

    /// Until it is time, if something fails.
    pub(crate) fn wait(&self, now: Instant) -> Option<Duration> {
        self.active().map(|outage| outage.retry_at.saturating_duration_since(now))
    }

    /// Since when it fails, and how often it did.
    pub(crate) fn since(&self) -> Option<(Instant, u64)> {
        self.active().map(|outage| (outage.since, outage.attempts))
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
        // Who knows what became of a stall that nobody met for long.
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
            // A try comes before the end.
            retry_at = retry_at.min(at);
        }
        let since = before.map_or(now, |outage| outage.since);
        let attempts = before.map_or(0, |outage| outage.attempts) + 1;
        let is_dormant = false;
        self.outage = Some(Outage {
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
    pub(crate) fn succeed(&mut self, now: Instant, progress: Progress) -> bool {
        let was_active = self.active().is_some();
        // If all was given up and nothing was done since, nothing is known either.
        self.outage =
            self.outage.take().filter(|outage| outage.is_over && outage.progress == progress);
        if let Some(outage) = &mut self.outage
            && !outage.is_dormant
        {
            (outage.is_dormant, outage.retry_at) = (true, now);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accept;
    use crate::base::sync::lock;
    use crate::config::{Config, Durability};
    use crate::memory::slot::owned::Borrowed;
    use crate::report::health::ErrorEvent;
    use crate::report::stats::Stats;
    use crate::tests::fs::faulty::Op;
    use crate::tests::fs::memory::{Clock, Fault as DiskFault, FaultPlan, MemoryFs};
    use crate::worker::control::Phase;
    use crate::worker::round::{Rest, Worker};
    use crate::writer::inner::Inner;
    use crate::writer::open;
    use rustix::io::Errno;
    use std::path::Path;
    use std::sync::{Arc, Mutex};

    const ASKED: Asked = Asked { flushes: 0, phase: Phase::Open };
    const MS: Duration = Duration::from_millis(1);

    fn at(published: u64, landed: u64) -> Progress {
        Progress { published, landed }
    }

    #[test]
    fn pauses_double_up_to_a_second_until_a_file_is_visible() {
        let (mut faults, mut now) = (Retry::new(Duration::ZERO), Instant::now());
        let began = now;
        for (nth, pause) in
            [10, 20, 40, 80, 160, 320, 640, 1000, 1000, 1000].into_iter().enumerate()
        {
            // What lands in a file makes no difference, which the pauses are not for.
            assert!(!faults.fail(now, ASKED, nth % 2 == 0, at(1, nth as u64)));
            assert_eq!(faults.wait(now), Some(MS * pause));
            assert_eq!(faults.since(), Some((began, nth as u64 + 1)));
            assert!(!faults.may_try(now + MS * (pause - 1), ASKED));
            now += MS * pause;
            assert!(faults.may_try(now, ASKED));
        }
        faults.fail(now, ASKED, true, at(2, 9));
        assert_eq!((faults.wait(now), faults.since()), (Some(MS * 10), Some((now, 1))));
        assert!(
            faults.succeed(now, at(2, 9)) && faults.is_none() && !faults.succeed(now, at(2, 9))
        );
    }

    #[test]
    fn a_request_is_worth_a_try_at_once_but_only_one() {
        let (mut faults, now) = (Retry::new(Duration::ZERO), Instant::now());
        faults.fail(now, ASKED, true, at(0, 0));
        for asked in [Asked { flushes: 1, ..ASKED }, Asked { flushes: 1, phase: Phase::Draining }] {
            assert!(faults.may_try(now, asked));
            faults.fail(now, asked, true, at(0, 0));
            assert!(!faults.may_try(now, asked));
        }
    }

    #[test]
    fn what_waits_is_given_up_in_time_after_a_last_try() {
        let (mut faults, began) = (Retry::new(MS * 100), Instant::now());
        let mut now = began;
        let mut fail = |faults: &mut Retry, landed| {
            let is_over = faults.fail(now, ASKED, true, at(0, landed));
            now += faults.wait(now).unwrap();
            (is_over, (now - began).as_millis())
        };
        // 10 + 20 + 40 = 70 ms, and then not 80 ms more.
        for (is_over, next) in [(false, 10), (false, 30), (false, 70), (false, 100), (true, 260)] {
            assert_eq!(fail(&mut faults, 0), (is_over, next));
        }
        // It lasts: nothing that came since waits for so long again.
        assert_eq!(fail(&mut faults, 0), (true, 580));
        // Something landed in between: it is another stall as far as memory is concerned.
        assert_eq!(fail(&mut faults, 1), (false, 680));
        assert!(fail(&mut faults, 1).0);
    }

    #[test]
    fn with_nothing_left_nobody_waits_and_the_next_failure_tells() {
        let (mut faults, began) = (Retry::new(MS), Instant::now());
        faults.fail(began, ASKED, true, at(0, 0));
        let now = began + MS;
        assert!(faults.fail(now, ASKED, true, at(0, 0)) && faults.blocks());
        assert!(faults.succeed(now + MS, at(0, 0)));
        assert!(faults.is_none() && !faults.blocks() && faults.wait(now).is_none());
        assert!(faults.fail(now + 2 * MS, ASKED, true, at(0, 0)), "the same stall");
        assert_eq!(faults.since(), Some((began, 3)));
        // Nobody met it for long.
        let later = now + MS * 1000;
        faults.succeed(now + 2 * MS, at(0, 0));
        assert!(!faults.fail(later, ASKED, true, at(0, 0)), "another stall");
        assert_eq!(faults.since(), Some((later, 1)));
        // Something landed: it is over.
        assert!(faults.fail(later + MS, ASKED, true, at(0, 0)));
        faults.succeed(later + MS, at(0, 1));
        assert!(!faults.fail(later + MS, ASKED, true, at(0, 1)));
    }

    #[test]
    fn a_file_that_can_not_become_visible_holds_no_memory() {
        let (mut faults, mut now) = (Retry::new(MS), Instant::now());
        for _ in 0..5 {
            assert!(!faults.fail(now, ASKED, false, at(0, 0)) && !faults.blocks());
            now += MS * 1000;
        }
        assert!(!faults.fail(now, ASKED, true, at(0, 0)) && faults.blocks());
        assert!(faults.fail(now + MS, ASKED, true, at(0, 0)));
    }

    #[test]
    fn it_is_told_at_once_and_then_once_a_second() {
        let (mut teller, began) = (Teller::default(), Instant::now());
        let error = |kind: ErrorKind| Error::io("write", Path::new("file"), kind.into());
        let (full, other) = (error(ErrorKind::StorageFull), error(ErrorKind::NotFound));
        for (ms, error, is_first, lost, expected) in [
            (0, &full, true, false, true),
            (10, &full, false, false, false),
            (20, &other, false, false, false),
            (30, &full, true, false, false),
            (40, &other, true, false, true),
            (50, &full, false, true, true),
            (1049, &full, false, false, false),
            (1050, &full, false, false, true),
            (1060, &full, true, true, true),
        ] {
            let told = teller.tells(began + MS * ms, error, is_first, lost);
            assert_eq!(told, expected, "{error} after {ms} ms");
        }
    }

    /// A writer with one worker, which is stepped by hand.
    struct Driven {
        handle: Inner,
        worker: Worker,
        fs: MemoryFs,
        clock: Clock,
        events: Arc<Mutex<Vec<ErrorEvent>>>,
    }

    impl Driven {
        fn new(config: Config) -> Self {
            let clock = Clock::new();
            let fs = MemoryFs::new(clock.clone(), "/ready", false, false);
            let events: Arc<Mutex<Vec<ErrorEvent>>> = Arc::default();
            let told = events.clone();
            let config = config
                .path("/ready")
                .temp("/unfinished")
                .workers(1)
                .file_age(Duration::ZERO)
                .drop_timeout(Duration::ZERO)
                .on_error(move |event| lock(&told).push(event.clone()))
                .fs(Arc::new(fs.clone()));
            let (handle, mut workers) = open::assemble(config, clock.now()).unwrap();
            Driven { handle, worker: workers.remove(0), fs, clock, events }
        }

        fn write(&self, record: &[u8]) {
            accept::write(&mut Borrowed::new(&self.handle.shared).owned(), record).unwrap();
        }

        fn fail(&self, op: Op) {
            let fault = DiskFault::Error(Errno::IO, 0);
            self.fs.fail(Some(FaultPlan { op: Some(op), fault, after: 0, times: None }));
        }

        /// Steps the worker as often as it wants to, for so long.
        fn run(&mut self, time: Duration) -> Stats {
            let end = self.clock.now() + time;
            loop {
                let clock = self.clock.clone();
                let rest = self.worker.step(|| clock.now()).unwrap();
                let nap = match rest {
                    Rest::Again => Duration::ZERO,
                    Rest::Nap(time) | Rest::Doze(Some(time)) => time,
                    Rest::Doze(None) | Rest::Sleep(_) => Duration::MAX,
                };
                self.worker.rise(rest, || clock.now());
                let left = end.saturating_duration_since(clock.now());
                clock.advance(nap.min(left));
                if nap >= left {
                    return self.handle.stats();
                }
            }
        }

        /// Of each event: how long the stall lasted in milliseconds, attempts, records lost.
        fn told(&self) -> Vec<(u128, u64, u64)> {
            let told = |event: &ErrorEvent| {
                let stall = &event.stall;
                (stall.lasting.as_millis(), stall.attempts, event.lost.records)
            };
            std::mem::take(&mut *lock(&self.events)).iter().map(told).collect()
        }
    }

    #[test]
    fn a_worker_tries_again_later_and_later_and_keeps_everything() {
        let mut driven = Driven::new(Config::default().size(4).queue_size(9));
        driven.fail(Op::Create);
        driven.write(b"a record");
        let before = driven.fs.calls().1;
        let stats = driven.run(MS * 5000);
        // After 0, 10, 30, 70, 150, 310, 630 and 1270 ms, and then each second.
        assert_eq!(driven.fs.calls().1 - before, 8 + 3);
        assert_eq!((stats.pending.records, stats.lost.total().records), (1, 0));
        assert_eq!(
            driven.told(),
            [(0, 1, 0), (1270, 8, 0), (2270, 9, 0), (3270, 10, 0), (4270, 11, 0)]
        );
        driven.fs.fail(None);
        driven.handle.ask_flush().unwrap();
        let stats = driven.run(MS);
        assert_eq!((stats.written.records, stats.pending.records), (1, 0));
        assert!(stats.workers[0].last_error.is_none() && driven.handle.health().is_ok());
    }

    #[test]
    fn a_worker_gives_up_in_time_and_its_memory_serves_again() {
        let mut driven =
            Driven::new(Config::default().size(4).queue_size(9).give_up_after(MS * 500));
        driven.fail(Op::Create);
        driven.write(b"a record");
        assert_eq!(driven.run(MS * 499).pending.records, 1);
        let stats = driven.run(MS * 2);
        assert_eq!((stats.pending.records, stats.lost.gave_up.records), (0, 1));
        assert_eq!((stats.lost.gave_up.bytes, stats.memory_bytes), (8, 0));
        assert_eq!(driven.told(), [(0, 1, 0), (500, 7, 1)]);
        // The stall lasts: nobody waits for so long again, but a try comes first.
        let before = driven.fs.calls().1;
        driven.run(MS * 1000);
        driven.write(b"another one");
        let stats = driven.run(MS);
        assert_eq!((stats.lost.gave_up.records, driven.fs.calls().1 - before), (2, 1));
        assert!(driven.told().iter().all(|&(_, _, lost)| lost == 1));
        // It is over: what comes is written, and the next stall begins anew.
        driven.fs.fail(None);
        driven.run(MS * 1000);
        driven.write(b"a third");
        let stats = driven.run(MS * 1000);
        assert_eq!(stats.workers[0].temp_file_bytes, 7);
        driven.fail(Op::Write);
        driven.write(b"a fourth");
        let stats = driven.run(MS * 499);
        assert_eq!((stats.pending.records, stats.lost.gave_up.records), (2, 2));
        let stats = driven.run(MS * 2);
        assert_eq!((stats.pending.records, stats.lost.gave_up.records), (1, 3));
        assert_eq!(stats.workers[0].temp_file_bytes, 7, "what is in a file stays");
    }

    #[test]
    fn what_no_fsync_covers_does_not_appear_once_it_is_given_up() {
        for io in [crate::config::Io::Direct, crate::config::Io::Buffered] {
            let config =
                Config::default().size(4).queue_size(19).durability(Durability::File).io(io);
            let mut driven = Driven::new(config.give_up_after(MS * 500));
            driven.write(b"synced, since nothing more comes. ");
            driven.run(MS * 1000);
            // Enough for a write, and not long enough ago for a sync.
            driven.write(b"in the file, with no fsync that covers it. ");
            let stats = driven.run(MS);
            assert_eq!(stats.workers[0].temp_file_bytes, 34 + 43);
            driven.fail(Op::Write);
            driven.write(b"nowhere. ");
            let stats = driven.run(MS * 1000);
            assert_eq!((stats.lost.gave_up.records, stats.pending.records), (2, 1), "{io:?}");
            assert_eq!((stats.workers[0].temp_file_bytes, stats.memory_bytes), (34, 0));
            driven.fs.fail(None);
            driven.write(b"afterwards. ");
            driven.handle.ask_flush().unwrap();
            driven.run(MS * 1000);
            let appeared = driven.fs.appeared().concat();
            let expected = "synced, since nothing more comes. afterwards. ";
            assert_eq!(String::from_utf8(appeared).unwrap(), expected, "{io:?}");
        }
    }

    #[test]
    fn a_file_that_can_not_be_renamed_takes_what_comes() {
        let config = Config::default().size(64).queue_size(3).file_size(64).give_up_after(MS);
        let mut driven = Driven::new(config);
        driven.fail(Op::Rename);
        let mut written = 0;
        for _ in 0..200 {
            driven.write(&[b'x'; 100]);
            written += 100;
            let stats = driven.run(MS * 5);
            assert_eq!((stats.workers[0].temp_file_bytes, stats.memory_bytes), (written, 0));
        }
        let stats = driven.handle.stats();
        assert_eq!((stats.lost.total().records, stats.pending.records), (0, 200));
        let stall = driven.handle.health().stalls.remove(0);
        assert_eq!(stall.held_in_file, stats.pending);
        assert!(stall.error.to_string().starts_with("rename /unfinished/."), "{}", stall.error);
        // A second between two tries.
        assert!(stall.attempts < 10, "{stall}");
        driven.fs.fail(None);
        let stats = driven.run(MS * 1000);
        assert_eq!((stats.written.records, stats.files), (200, 1));
    }
}
