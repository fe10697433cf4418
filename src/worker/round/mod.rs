//! The worker's loop: take what producers sealed, write it, publish what is due, rest.
//!
//! Guarantees: while the disk answers, no record stays unpublished beyond its configured age. After
//! an error everything is kept and tried again, with growing pauses, unless it must be given up. An
//! idle worker does not wake up, nor does a boundary of the clock wake it. Never panics on I/O,
//! prints nothing, and calls user code only between rounds.
//!
//! The time is passed in, and deciding how to rest is separate from resting. So a test can drive
//! workers by hand with its own clock (`src/tests/stepped.rs`, `src/tests/property`).

mod recorder;

use std::time::{Duration, Instant};

use crate::base::sync::Arc;
use crate::config::{OnFailure, WallClock};
use crate::memory::{Mailbox, Shared};
use crate::naming::Stamp;
use crate::report::error::Error;
use crate::report::published::PublishReason;
use crate::worker::collect::{Collector, Piece};
use crate::worker::control::{Asked, Control, Phase};
use crate::worker::ledger::{Failure, Ledger};
use crate::worker::output::Output;
use crate::worker::pace::{Load, NAP, Pace, Rest};
use crate::worker::period::{Calendar, Look, Periods};
use crate::worker::recording::{Recorder, Recording};
use crate::worker::retry::Retry;
use crate::worker::rotation::Rotation;
use crate::worker::tell::Teller;

/// Time between two looks for idle producers while a caller lacks memory, and between two looks for
/// tasks that wait for it. The first may cost a membarrier, which pauses running threads for about
/// 3 us: 0.03 % of their time.
const REVOKE_INTERVAL: Duration = Duration::from_millis(10);

/// Once a refused caller has not come back for this time, it no longer counts as waiting for
/// memory. The time is enough for ten looks, and too short for anyone to notice the naps in
/// between.
const DEMAND_AGE_MAX: Duration = Duration::from_millis(100);

/// The policy of a worker's loop; the same for all workers of a writer.
#[derive(Clone)]
pub(crate) struct Policy {
    pub(crate) rotation: Rotation,
    /// `None` if the wall clock finishes no file.
    pub(crate) calendar: Option<Calendar>,
    pub(crate) wall_clock: WallClock,
    pub(crate) on_failure: OnFailure,
    /// `None` if this is no flight recorder.
    pub(crate) recording: Option<Recording>,
}

/// One worker, until its thread ends.
pub(crate) struct Worker {
    me: usize,
    shared: Arc<Shared>,
    control: Arc<Control>,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) collector: Collector,
    pub(crate) output: Output,
    rotation: Rotation,
    /// `None` if the wall clock finishes no file.
    periods: Option<Periods>,
    wall_clock: WallClock,
    /// No unpublished record of this worker was accepted before this time, nor before what the wall
    /// clock showed then.
    oldest: (Instant, Stamp),
    pace: Pace,
    load: Load,
    /// When the worker last looked for idle producers.
    revoked: Instant,
    /// When the worker first saw that somebody lacks memory. `None` while nobody does.
    demand_since: Option<Instant>,
    /// Flushes answered.
    flushed: u64,
    retry: Retry,
    teller: Teller,
    /// `None` if this is no flight recorder.
    recorder: Option<Box<Recorder>>,
}

/// The result of a round.
struct Round {
    /// `None` if it was not time to try anything.
    tried: Option<Result<(), Error>>,
    /// Whether success means that all records accepted before the round are published.
    is_all: bool,
    /// Whether memory waits for what failed, and not only a written file.
    is_blocked: bool,
    /// Whether success means that no record of the last period is left.
    ends_period: bool,
}

impl Round {
    /// It was not time to publish anything.
    const UNTRIED: Round =
        Round { tried: None, is_all: false, is_blocked: false, ends_period: false };
}

impl Worker {
    pub(crate) fn new(
        me: usize,
        shared: Arc<Shared>,
        control: Arc<Control>,
        ledger: Arc<Ledger>,
        output: Output,
        policy: Policy,
        now: Instant,
    ) -> Self {
        let Policy { rotation, calendar, wall_clock, on_failure, recording } = policy;
        let recorder = recording.map(|recording| Box::new(Recorder::new(recording, now)));
        let all_bytes = f64::from(shared.arena.none()) * shared.arena.size() as f64;
        let worker = Worker {
            me,
            shared,
            control,
            ledger,
            collector: Collector::new(me),
            output,
            retry: Retry::new(on_failure.give_up_after),
            rotation,
            periods: calendar.map(|calendar| Periods::new(calendar, wall_clock.clone(), now)),
            oldest: (now, Stamp::read(&wall_clock)),
            wall_clock,
            pace: Pace::new(all_bytes),
            load: Load::new(now),
            revoked: now,
            demand_since: None,
            flushed: 0,
            teller: Teller::new(on_failure.on_error),
            recorder,
        };
        worker.note_first();
        worker
    }

    /// Runs until the writer is closed and everything is published, or until the worker is given
    /// up.
    pub(crate) fn run(mut self) {
        // Before the first record, unless a producer is quicker.
        self.shared.prefault.begin(&self.shared.arena, &self.shared.pool);
        if self.recorder.is_some() {
            self.populate();
        }
        while let Some(rest) = self.step(Instant::now) {
            self.control.activity.stir();
            let parker = &self.mailbox().parker;
            match rest {
                Rest::Again => {}
                Rest::Nap(time) => parker.park(Some(time)),
                Rest::Doze(time) | Rest::Sleep(time) => parker.park(time),
            }
            self.rise(rest, Instant::now);
        }
    }

    /// Does one round and says how to rest before the next. `None` after the last one. The clock is
    /// read again after the round, since the disk may have taken long.
    pub(crate) fn step(&mut self, clock: impl Fn() -> Instant) -> Option<Rest> {
        if self.shared.slots.is_forked() {
            // Foreign code on this thread has forked, and this is the child. The parent owns the
            // files.
            return None;
        }
        let asked = self.control.asked();
        if asked.phase == Phase::Abandoned {
            self.output.abandon(&mut self.collector);
            self.control.answer_ended(self.me, false);
            return None;
        }
        if let Some(mut recorder) = self.recorder.take() {
            let rest = self.step_recorder(&mut recorder, asked, clock);
            self.recorder = Some(recorder);
            return rest;
        }
        let began = clock();
        // Before the round takes what many producers have committed in a long time.
        let has_little = self.load.is_little(began);
        let round = self.round(began, asked);
        let is_settled = match round.tried {
            None => false,
            Some(Ok(())) => {
                self.succeed(clock());
                true
            }
            Some(Err(error)) => self.fail(&error, clock(), asked, round.is_blocked),
        };
        self.ledger.set_busy(None);
        self.mailbox().set_working(!self.retry.is_none());
        if is_settled && round.ends_period {
            self.periods.iter_mut().for_each(Periods::begin);
            self.note_first();
        }
        if is_settled && round.is_all {
            let shown = Stamp::read(&self.wall_clock);
            self.oldest = (began, shown.before(clock().saturating_duration_since(began)));
            self.note_first();
            if asked.flushes > self.flushed {
                self.flushed = asked.flushes;
                self.control.answer_flush(self.me, asked.flushes);
            }
            // Look again: if the closer gave up meanwhile, the last work may have been in vain.
            if asked.phase == Phase::Draining && asked.phase == self.control.phase() {
                // If everything was given up, a file without counting records may be left. An error
                // changes nothing.
                let _ = self.output.remove();
                self.control.answer_ended(self.me, true);
                return None;
            }
            if has_little {
                self.dismiss(asked.phase);
            }
        }
        let quota = self.output.quota().filter(|_| asked.phase == Phase::Open);
        if quota.is_some_and(|quota| quota.look(&clock)) {
            // The worker writes what came in between two portions of the measurement.
            return Some(Rest::Again);
        }
        Some(self.rest(clock(), asked))
    }

    fn mailbox(&self) -> &Mailbox {
        &self.shared.mailboxes[self.me]
    }

    /// One round of work.
    fn round(&mut self, now: Instant, asked: Asked) -> Round {
        let forced = asked.flushes > self.flushed || asked.phase == Phase::Draining;
        let look = self.periods.as_mut().map_or(Look::Lasts, |periods| periods.look(now));
        let aged = self.rotation.due_at(self.oldest.0).is_some_and(|at| at <= now);
        let due = forced || aged || look != Look::Lasts;
        let may_try = self.retry.may_try(now, asked);
        let missed = look == Look::Missed;
        // The next round takes it, for the next period. While the disk fails, memory comes first.
        let complete = if missed && self.retry.is_none() {
            false
        } else {
            // Before it is time, prefixes would only make more pieces.
            let complete = self.collect(due && may_try && !missed, now, asked.phase);
            self.revoke(now);
            complete
        };
        if (!may_try && self.retry.blocks()) || (!due && self.gathers(now)) {
            return Round::UNTRIED;
        }
        self.ledger.set_busy(Some(now));
        self.mailbox().set_working(true);
        if may_try {
            self.output.try_again();
        }
        let written = self.write(now);
        if written.is_ok() && !may_try {
            // Publishing can wait for its next try, but memory cannot.
            return Round::UNTRIED;
        }
        // Even if some writes failed: whole records need not wait for the rest.
        let published = if due { self.output.publish(self.reason(asked, look)) } else { Ok(()) };
        let is_blocked = written.is_err() || !self.output.is_written();
        let tried = written.and(published).and(self.output.held());
        let ends_period = look == Look::Missed || (look == Look::Ended && complete);
        Round { tried: Some(tried), is_all: due && complete, is_blocked, ends_period }
    }

    /// Why files are published in this round.
    fn reason(&self, asked: Asked, look: Look) -> PublishReason {
        match look {
            _ if asked.phase == Phase::Draining => PublishReason::Close,
            _ if asked.flushes > self.flushed => PublishReason::Flush,
            Look::Lasts => PublishReason::Age,
            Look::Ended | Look::Missed => PublishReason::Boundary,
        }
    }

    /// Writes what was taken. Syncs, to free memory that waits only for that, if a caller needs it
    /// or no more chunks come.
    fn write(&mut self, now: Instant) -> Result<(), Error> {
        self.output.set_first(self.first());
        self.output.write()?;
        self.pace.wrote(now);
        let Shared { pool, arena, .. } = &*self.shared;
        if pool.is_empty(arena) || self.shared.is_starving() || !self.pace.is_pushed(now) {
            self.output.sync()?;
        }
        Ok(())
    }

    /// The time of the oldest record, within the period.
    fn first(&self) -> Stamp {
        let (_, oldest) = self.oldest;
        // What was accepted just before a boundary may come just after it.
        self.periods.as_ref().map_or(oldest, |periods| periods.nearest(oldest))
    }

    /// Tells a recovery of records in memory when they came, and so in which period.
    fn note_first(&self) {
        if let Some(image) = self.shared.arena.crash_image() {
            image.hold_since(self.me, self.first().0);
        }
    }

    /// Whether to wait for more chunks, so that a write past the page cache is large. Only for a
    /// while and as long as chunks come, while no caller waits for memory and nothing fails.
    fn gathers(&self, now: Instant) -> bool {
        let Shared { pool, arena, .. } = &*self.shared;
        self.output.gathers()
            && !self.retry.blocks()
            && self.pace.may_gather(now)
            && !pool.is_empty(arena)
            && !self.shared.is_starving()
    }

    /// Takes the sealed chunks and, with `all`, the prefixes of live chunks. Returns whether that
    /// was everything.
    fn collect(&mut self, all: bool, now: Instant, phase: Phase) -> bool {
        let Worker { collector, output, shared, .. } = self;
        let (before, is_written) = (output.chunks(), output.is_written());
        let (mut came, mut bytes) = (0, 0);
        let push = |piece: Piece| {
            came += 1;
            bytes += u64::from(piece.len);
            output.push(piece);
        };
        let complete = if phase == Phase::Draining {
            collector.close(shared, push)
        } else if all && (is_written || !self.retry.blocks()) {
            collector.scrape(shared, push)
        } else {
            // While the disk fails, prefixes stay in place: more pieces would not help.
            collector.take(shared, push);
            false
        };
        self.load.came(bytes, now);
        if self.output.chunks() != before {
            self.pace.came(now);
            self.mailbox().set_backlog(self.output.chunks());
        }
        let Shared { prefault, arena, pool, .. } = &*self.shared;
        // After the backlog is published, since making memory resident can take time.
        self.output.newest(came).for_each(|chunk| prefault.note(arena, pool, chunk));
        complete
    }

    /// Takes the chunks of idle producers while a caller lacks memory. Not while the disk fails,
    /// since that would not free them.
    fn revoke(&mut self, now: Instant) {
        let Worker { collector, output, shared, .. } = self;
        let rested = now.saturating_duration_since(self.revoked) >= REVOKE_INTERVAL;
        if rested && !self.retry.blocks() && shared.is_starving() {
            collector.revoke(shared, |piece| output.push(piece));
            self.revoked = now;
        }
        self.expire_demand(now);
    }

    /// Lets its producers go to a worker before this one, so that little traffic makes few files. All
    /// that they wrote is published.
    fn dismiss(&mut self, phase: Phase) {
        let Worker { me, collector, output, shared, .. } = self;
        if *me > 0 && phase == Phase::Open {
            // The next round frees the chunks.
            collector.dismiss(shared, |piece| output.push(piece));
        }
    }

    /// Forgets that somebody lacked memory, unless somebody waits for it. Otherwise one refused record
    /// would keep all workers awake until there is as much free memory as it needed.
    fn expire_demand(&mut self, now: Instant) {
        if !self.shared.has_demand() {
            self.demand_since = None;
            return;
        }
        let since = *self.demand_since.get_or_insert(now);
        if now.saturating_duration_since(since) >= DEMAND_AGE_MAX {
            self.shared.expire_demand();
            self.demand_since = None;
        }
    }

    /// When to publish the oldest record, or to look at the wall clock.
    fn due_at(&self) -> Option<Instant> {
        let looks = self.periods.as_ref().map(Periods::due_at);
        self.rotation.due_at(self.oldest.0).into_iter().chain(looks).min()
    }

    fn succeed(&mut self, now: Instant) {
        if self.retry.succeed(now, self.output.progress()) {
            self.ledger.set_failure(None);
        }
    }

    /// Returns whether nothing is left to do all the same, because everything was given up.
    fn fail(&mut self, error: &Error, now: Instant, asked: Asked, is_blocked: bool) -> bool {
        let is_over = self.retry.fail(now, asked, is_blocked, self.output.progress());
        self.note_failure(error);
        let output = &mut self.output;
        let is_settled = is_over && output.lose_memory(error) && output.is_settled();
        self.tell(now);
        is_settled
    }

    fn note_failure(&self, error: &Error) {
        let failure = self.retry.since().map(|(since, attempts)| Failure {
            error: error.clone(),
            since,
            attempts,
        });
        self.ledger.set_failure(failure);
    }

    /// Tells the error callback what failed.
    fn tell(&mut self, now: Instant) {
        if self.teller.is_heard() {
            let held = self.mailbox().held() as usize;
            let stall = self.ledger.stall(self.me, now, self.output.dir(), held);
            self.teller.tell(now, stall, self.ledger.lost());
        }
    }

    /// Decides how to rest, and prepares to park for a longer rest.
    fn rest(&mut self, now: Instant, asked: Asked) -> Rest {
        // Foreign code, between two rounds. While tasks wait, they are served again soon.
        let serves = self.shared.serve_tasks();
        let longest = if serves { REVOKE_INTERVAL } else { Duration::MAX };
        let closes = asked.phase != Phase::Open;
        if self.retry.blocks() || (closes && !self.retry.is_none()) {
            // A push need not wake the worker: it could not write the chunk, or no more pushes
            // come.
            Rest::Nap(self.left(now).min(longest))
        } else if self.retry.is_none() && (asked.flushes > self.flushed || closes) {
            // A producer was in the middle of a swap, which is short unless the producer is
            // preempted.
            Rest::Nap(NAP / 10)
        } else if self.pace.is_pushed(now) || self.pace.is_woken(now) || self.output.chunks() > 0 {
            // Chunks that still wait for a sync get it in the next round, when no push is recent
            // any more.
            Rest::Nap(self.pace.nap().min(self.left(now)))
        } else if self.shared.is_starving() || serves {
            Rest::Nap(REVOKE_INTERVAL.min(self.left(now)))
        } else if self.control.asked() != asked {
            // Foreign code, such as the `Drop` of a message, may have taken its time since the last look.
            Rest::Again
        } else {
            self.prepare_to_park(now)
        }
    }

    /// Parks until a producer wakes the worker or there is something to do.
    fn prepare_to_park(&mut self, now: Instant) -> Rest {
        // With a record in memory, each further record would find a shut gate and wake the worker.
        // A file without records, left when all was given up, goes at its age. Without one it may stay.
        let aged = self.rotation.has_age();
        let clean = if aged { self.output.is_clean() } else { self.output.is_settled() };
        let clean = clean && self.collector.is_drained(&self.shared);
        // Set only while the quota refuses records. Raising that flag wakes all workers.
        let vigil = self.output.quota().and_then(|quota| quota.vigil(now));
        if (aged || self.periods.is_some())
            && self.retry.is_none()
            && clean
            && self.collector.prepare_to_park(&self.shared)
        {
            return Rest::Sleep(vigil);
        }
        self.mailbox().parker.prepare_to_park();
        if !self.mailbox().inbox.is_empty(&self.shared.arena) {
            self.mailbox().parker.cancel_park();
            return Rest::Again;
        }
        let left = vigil.unwrap_or(Duration::MAX).min(self.left(now));
        Rest::Doze(Some(left).filter(|&left| left < Duration::MAX))
    }

    /// Time until the next try after a failure, or else until `due_at`. If that is now, a producer is
    /// in a swap and needs the processor.
    fn left(&self, now: Instant) -> Duration {
        let due = || self.due_at().map(|at| at.saturating_duration_since(now));
        let left = self.retry.wait(now).or_else(due);
        left.map_or(Duration::MAX, |left| left.max(NAP / 10))
    }

    /// Called after the rest, whatever ended it.
    pub(crate) fn rise(&mut self, rest: Rest, clock: impl Fn() -> Instant) {
        if matches!(rest, Rest::Sleep(_)) {
            // A producer wakes the worker before it commits its record, or right after.
            let now = clock();
            self.oldest = (now, Stamp::read(&self.wall_clock));
            self.pace.woke(now);
            if let Some(periods) = &mut self.periods {
                periods.look(now);
                periods.begin();
            }
            self.note_first();
        }
        if matches!(rest, Rest::Sleep(_) | Rest::Doze(_)) {
            self.mailbox().parker.cancel_park();
        }
    }
}
