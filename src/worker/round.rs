//! The only loop: take what producers sealed, write it, publish what is due, rest.
//!
//! Guarantees: no record stays unpublished beyond the age that was configured, while the disk
//! answers; after an error everything is kept and tried again, later and later, unless it is to be given
//! up; an idle worker does not wake up. Never panics on I/O, prints nothing, calls user code between rounds only.
//!
//! Time is passed in, and how to rest is decided apart from resting, so that a test can drive workers
//! by hand, by a clock of its own (`src/tests/stepped.rs`, `src/tests/property`).

use std::time::{Duration, Instant};

use crate::base::sync::Arc;
use crate::config::OnFailure;
use crate::memory::{Mailbox, Shared};
use crate::report::error::Error;
use crate::worker::collect::{Collector, Piece};
use crate::worker::control::{Asked, Control, Phase};
use crate::worker::ledger::{Failure, Ledger};
use crate::worker::output::Output;
use crate::worker::pace::{NAP, Pace, Rest};
use crate::worker::retry::Retry;
use crate::worker::rotation::Rotation;
use crate::worker::tell::Teller;

/// Between two looks for idle producers while somebody lacks memory. Each may cost a membarrier,
/// which pauses running threads for about 3 us: 0.03 % of their time.
const REVOKE_INTERVAL: Duration = Duration::from_millis(10);

/// What a worker is to do of itself; the same for all of a writer's.
#[derive(Clone)]
pub(crate) struct Policy {
    pub(crate) rotation: Rotation,
    pub(crate) on_failure: OnFailure,
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
    /// No unpublished record of this worker's was accepted before.
    oldest: Instant,
    pace: Pace,
    /// When idle producers were last looked for.
    revoked: Instant,
    /// Flushes answered.
    flushed: u64,
    retry: Retry,
    teller: Teller,
}

/// What a round did.
struct Round {
    /// None if it was not time to try anything.
    tried: Option<Result<(), Error>>,
    /// If that went well, all that was accepted before the round is published.
    is_all: bool,
    /// Memory waits for what failed, not only a file that is written.
    is_blocked: bool,
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
        let all_bytes = f64::from(shared.arena.none()) * shared.arena.size() as f64;
        Worker {
            me,
            shared,
            control,
            ledger,
            collector: Collector::new(me),
            output,
            retry: Retry::new(policy.on_failure.give_up_after),
            rotation: policy.rotation,
            oldest: now,
            pace: Pace::new(all_bytes),
            revoked: now,
            flushed: 0,
            teller: Teller::new(policy.on_failure.on_error.clone()),
        }
    }

    /// Runs until the writer is closed and everything is published, or until it is given up.
    pub(crate) fn run(mut self) {
        // Before the first record, if nobody is quicker.
        self.shared.prefault.begin(&self.shared.arena, &self.shared.pool);
        while let Some(rest) = self.step(Instant::now) {
            let parker = &self.mailbox().parker;
            match rest {
                Rest::Again => {}
                Rest::Nap(time) => parker.park(Some(time)),
                Rest::Doze(time) | Rest::Sleep(time) => parker.park(time),
            }
            self.rise(rest, Instant::now);
        }
    }

    /// Does what is to be done now and says how to rest before the next step; none if this was the
    /// last one. The clock is read again after the round, in which the disk may have taken its time.
    pub(crate) fn step(&mut self, clock: impl Fn() -> Instant) -> Option<Rest> {
        if self.shared.slots.is_forked() {
            // Foreign code on this thread has forked, and this is the child: the files are the parent's.
            return None;
        }
        let asked = self.control.asked();
        if asked.phase == Phase::Abandoned {
            self.output.abandon(&mut self.collector);
            self.control.answer_ended(self.me, false);
            return None;
        }
        let began = clock();
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
        if is_settled && round.is_all {
            self.oldest = began;
            if asked.flushes > self.flushed {
                self.flushed = asked.flushes;
                self.control.answer_flush(self.me, asked.flushes);
            }
            // The second look: once it was given up, what it did last may have been in vain.
            if asked.phase == Phase::Draining && asked.phase == self.control.phase() {
                // A file of which nothing counts, if all was given up. The error would change nothing.
                let _ = self.output.remove();
                self.control.answer_ended(self.me, true);
                return None;
            }
        }
        if asked.phase == Phase::Open
            && let Some(quota) = self.output.quota()
            && quota.look(&clock)
        {
            // Between two portions of it what came in is written.
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
        let due = forced || self.due_at().is_some_and(|at| at <= now);
        let may_try = self.retry.may_try(now, asked);
        // Before it is time, prefixes would only make more pieces.
        let complete = self.collect(due && may_try, now, asked.phase);
        self.revoke(now);
        if (!may_try && self.retry.blocks()) || (!due && self.gathers(now)) {
            return Round { tried: None, is_all: false, is_blocked: false };
        }
        self.ledger.set_busy(Some(now));
        if may_try {
            self.output.try_again();
        }
        let written = self.write(now);
        if written.is_ok() && !may_try {
            // What keeps the file from becoming visible has time, but memory has not.
            return Round { tried: None, is_all: false, is_blocked: false };
        }
        // Even if not all could be written: what is whole need not wait for the rest.
        let published = if due { self.output.publish() } else { Ok(()) };
        let is_blocked = written.is_err() || !self.output.is_written();
        let tried = written.and(published).and(self.output.held());
        Round { tried: Some(tried), is_all: due && complete, is_blocked }
    }

    /// Writes what was taken. Memory that only waits for a sync is given back when somebody needs
    /// it, and when nothing more comes.
    fn write(&mut self, now: Instant) -> Result<(), Error> {
        self.output.write()?;
        self.pace.wrote(now);
        let Shared { pool, arena, .. } = &*self.shared;
        if pool.is_empty(arena) || self.shared.is_starving() || !self.pace.is_pushed(now) {
            self.output.sync()?;
        }
        Ok(())
    }

    /// Whether to wait for more chunks, so that a write past the page cache is a large one: as long as they
    /// come, for a while, and while nobody waits for the memory and nothing else is wrong.
    fn gathers(&self, now: Instant) -> bool {
        let Shared { pool, arena, .. } = &*self.shared;
        self.output.gathers()
            && !self.retry.blocks()
            && self.pace.may_gather(now)
            && !pool.is_empty(arena)
            && !self.shared.is_starving()
    }

    /// Takes what is there; with `all`, the prefixes of the live chunks too. Whether that was all.
    fn collect(&mut self, all: bool, now: Instant, phase: Phase) -> bool {
        let Worker { collector, output, shared, .. } = self;
        let (before, is_written) = (output.chunks(), output.is_written());
        let mut came = 0;
        let push = |piece: Piece| {
            came += 1;
            output.push(piece);
        };
        let complete = if phase == Phase::Draining {
            collector.close(shared, push)
        } else if all && (is_written || !self.retry.blocks()) {
            collector.scrape(shared, push)
        } else {
            // While the disk fails, prefixes stay where they are: more pieces would help nobody.
            collector.take(shared, push);
            false
        };
        if self.output.chunks() != before {
            self.pace.came(now);
            self.mailbox().set_backlog(self.output.chunks());
        }
        let Shared { prefault, arena, pool, .. } = &*self.shared;
        // After what was taken is in the gauge: memory may take its time.
        self.output.newest(came).for_each(|chunk| prefault.note(arena, pool, chunk));
        complete
    }

    /// Takes the chunks of idle producers while somebody lacks memory. Not while the disk fails:
    /// they would come no nearer to the pool.
    fn revoke(&mut self, now: Instant) {
        let Worker { collector, output, shared, .. } = self;
        let rested = now.saturating_duration_since(self.revoked) >= REVOKE_INTERVAL;
        if rested && !self.retry.blocks() && shared.is_starving() {
            collector.revoke(shared, |piece| output.push(piece));
            self.revoked = now;
        }
    }

    /// When the oldest record is to be made visible.
    fn due_at(&self) -> Option<Instant> {
        self.rotation.due_at(self.oldest)
    }

    fn succeed(&mut self, now: Instant) {
        if self.retry.succeed(now, self.output.progress()) {
            self.ledger.set_failure(None);
        }
    }

    /// Whether nothing is left to be done nevertheless, since all was given up.
    fn fail(&mut self, error: &Error, now: Instant, asked: Asked, is_blocked: bool) -> bool {
        let Worker { output, retry, ledger, .. } = self;
        let is_over = retry.fail(now, asked, is_blocked, output.progress());
        let failure = retry.since().map(|(since, attempts)| Failure {
            error: error.clone(),
            since,
            attempts,
        });
        ledger.set_failure(failure);
        let is_settled = is_over && output.lose_memory(error) && output.is_settled();
        self.tell(now);
        is_settled
    }

    /// Tells whoever wants to know of what failed.
    fn tell(&mut self, now: Instant) {
        if self.teller.is_heard() {
            let held = self.mailbox().held() as usize;
            let stall = self.ledger.stall(self.me, now, self.output.dir(), held);
            self.teller.tell(now, stall, self.ledger.lost());
        }
    }

    /// Decides how to rest, and lies down if it is for longer.
    fn rest(&mut self, now: Instant, asked: Asked) -> Rest {
        let closes = asked.phase != Phase::Open;
        if self.retry.blocks() || (closes && !self.retry.is_none()) {
            // No push need wake it: there is nothing that it could do with it, or none comes any more.
            Rest::Nap(self.left(now))
        } else if self.retry.is_none() && (asked.flushes > self.flushed || closes) {
            // A producer was in the middle of a swap, which takes no time unless it is preempted.
            Rest::Nap(NAP / 10)
        } else if self.pace.is_pushed(now) || self.pace.is_woken(now) || self.output.chunks() > 0 {
            // The next round syncs what still waits for it, since the time has passed meanwhile.
            Rest::Nap(self.pace.nap().min(self.left(now)))
        } else if self.shared.is_starving() {
            Rest::Nap(REVOKE_INTERVAL.min(self.left(now)))
        } else if self.control.asked() != asked {
            // Foreign code, such as the `Drop` of a message, may have taken its time since the last look.
            Rest::Again
        } else {
            self.prepare_to_park(now)
        }
    }

    /// Until somebody rings, or until the oldest record is due.
    fn prepare_to_park(&mut self, now: Instant) -> Rest {
        // With a record in memory already, each further one would ring at a gate that is shut.
        let clean = self.output.is_clean() && self.collector.is_drained(&self.shared);
        // Only while the disk guard refuses records: who raises that flag wakes all.
        let vigil = self.output.quota().and_then(|quota| quota.vigil(now));
        if self.rotation.has_age()
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

    /// Until what failed is to be tried again, or else until the oldest record is due. If it is, a producer is
    /// in a swap: it must get the processor.
    fn left(&self, now: Instant) -> Duration {
        let due = || self.due_at().map(|at| at.saturating_duration_since(now));
        let left = self.retry.wait(now).or_else(due);
        left.map_or(Duration::MAX, |left| left.max(NAP / 10))
    }

    /// After the rest, whatever ended it.
    pub(crate) fn rise(&mut self, rest: Rest, clock: impl Fn() -> Instant) {
        if matches!(rest, Rest::Sleep(_)) {
            // Who wakes it rings before the record is committed, or at once after.
            self.oldest = clock();
            self.pace.woke(self.oldest);
        }
        if matches!(rest, Rest::Sleep(_) | Rest::Doze(_)) {
            self.mailbox().parker.cancel_park();
        }
    }
}
