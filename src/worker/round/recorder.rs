//! A worker's rounds in a flight recorder: it sleeps until a dump is asked for.
//!
//! Guarantees: nothing wakes the worker but a dump, a close, `forced`, or a caller that finds no
//! memory. A dump ends by its deadline while the disk answers calls; what no file has by then is in
//! memory again. While a call hangs, its caller gets the deadline's error all the same.

use std::time::{Duration, Instant};

use crate::memory::Shared;
use crate::memory::ring::Ring;
use crate::naming::Stamp;
use crate::report::dump::{DumpError, DumpOptions, Dumped};
use crate::report::error::Error;
use crate::report::published::PublishReason;
use crate::worker::control::{Asked, Phase};
use crate::worker::dumps::Dump;
use crate::worker::pace::Rest;
use crate::worker::recall::{self, Recall, Wanted};
use crate::worker::recording::{Recorder, Running};
use crate::worker::round::{REVOKE_INTERVAL, Worker};

/// Chunks that are made resident between two looks whether the writer is closed.
const POPULATED: u32 = 256;

impl Worker {
    /// Makes all chunks resident, since no worker could do so ahead of the producers.
    pub(super) fn populate(&self) {
        let arena = &self.shared.arena;
        for first in (0..arena.none()).step_by(POPULATED as usize) {
            if self.control.phase() != Phase::Open {
                return;
            }
            arena.populate(first..(first + POPULATED).min(arena.none()));
        }
    }

    /// One round of a recorder. `None` after the last one.
    pub(super) fn step_recorder(
        &mut self,
        recorder: &mut Recorder,
        asked: Asked,
        clock: impl Fn() -> Instant,
    ) -> Option<Rest> {
        let (now, shared) = (clock(), self.shared.clone());
        let Shared { ring: Some(ring), .. } = &*shared else { return None };
        self.tend(recorder, ring, now);
        if recorder.running.is_none() {
            self.begin_dump(recorder, ring, asked, now);
        }
        let may_try = self.retry.may_try(now, asked) && !recorder.is_over(now);
        let is_done = may_try && self.try_dump(recorder, asked, &clock);
        if is_done || recorder.is_over(clock()) {
            self.end_dump(recorder, ring, is_done);
        }
        let closes = recorder.is_closing && recorder.running.is_none() && is_done;
        // Look again: if the closer gave up meanwhile, the last work may have been in vain.
        if closes && asked.phase == self.control.phase() {
            let _ = self.output.remove();
            self.control.answer_ended(self.me, true);
            return None;
        }
        Some(self.rest_recorder(recorder, asked, clock()))
    }

    /// What concerns memory alone: leases of idle producers, and of chunks that span too much time.
    fn tend(&mut self, recorder: &mut Recorder, ring: &Ring, now: Instant) {
        let Worker { collector, shared, .. } = self;
        if recorder.running.is_none() {
            // Chunks that a dump pinned in vain.
            ring.take_handed(|chunk| ring.put_back(&shared.arena, chunk));
        }
        if shared.has_demand() {
            let rested = now.saturating_duration_since(self.revoked) >= REVOKE_INTERVAL;
            if ring.is_empty() && rested {
                recall::revoke(collector, shared, ring);
                self.revoked = now;
            }
            shared.pool.notify_all();
            self.expire_demand(now);
        }
        if recorder.seal_at.is_some_and(|at| at <= now) {
            let is_all = recall::seal_all(&mut self.collector, &self.shared, ring);
            recorder.plan_seal(now, is_all);
        }
    }

    /// Begins the next dump that was asked for; when none is left, that of the close.
    fn begin_dump(&mut self, recorder: &mut Recorder, ring: &Ring, asked: Asked, now: Instant) {
        let closes = asked.phase == Phase::Draining && !recorder.is_closing;
        let (number, dump) = match recorder.recording.dumps.next() {
            Some((number, dump)) => (Some(number), dump),
            None if closes && recorder.recording.dump_on_close => {
                recorder.is_closing = true;
                (None, Dump::new(DumpOptions::default(), None))
            }
            None if closes => {
                recorder.is_closing = true;
                self.ledger.overwrite(recall::discard(&self.shared, ring));
                return;
            }
            None => return,
        };
        let options = dump.options;
        let wanted = Wanted { since: dump.since, keeps: options.keep };
        if !recorder.is_closing {
            // Nobody writes during a close.
            self.ledger.overwrite(recall::shrink(&self.shared, ring));
        }
        let output = &mut self.output;
        output.set_copying(options.keep);
        let (recall, records, first) =
            Recall::take(&self.shared, ring, wanted, |piece| output.push(piece));
        let age = Duration::from_nanos(ring.now().saturating_sub(first));
        self.oldest = (now, Stamp::read(&self.wall_clock).before(age));
        let files_before = self.ledger.files();
        recorder.running = Some(Running { number, dump, recall, records, files_before });
    }

    /// Writes and publishes what was taken. Returns whether nothing is left.
    fn try_dump(
        &mut self,
        recorder: &Recorder,
        asked: Asked,
        clock: &impl Fn() -> Instant,
    ) -> bool {
        if recorder.running.is_none() && self.output.is_settled() {
            return true;
        }
        let now = clock();
        self.ledger.set_busy(Some(now));
        self.mailbox().set_working(true);
        self.output.try_again();
        let closes = recorder.is_closing || asked.phase == Phase::Draining;
        let reason = if closes { PublishReason::Close } else { PublishReason::Flush };
        self.output.set_first(self.oldest.1);
        let written = self.output.settle_kind(reason).and_then(|()| self.output.write());
        let is_blocked = written.is_err();
        // Copies that nobody waits for would only be found beside the next dump's.
        let is_vain = self.output.has_copies() && recorder.is_over(clock());
        let published = if is_blocked || is_vain { Ok(()) } else { self.output.publish(reason) };
        let tried = written.and(published).and(self.output.held());
        match tried {
            Ok(()) => self.succeed(clock()),
            Err(error) => self.fail_dump(&error, clock(), asked, is_blocked),
        }
        self.ledger.set_busy(None);
        self.mailbox().set_working(!self.retry.is_none());
        self.retry.is_none() && !is_vain
    }

    fn fail_dump(&mut self, error: &Error, now: Instant, asked: Asked, is_blocked: bool) {
        // Nothing is given up: what the deadline finds unwritten goes back to memory.
        let _ = self.retry.fail(now, asked, is_blocked, self.output.progress());
        self.note_failure(error);
        self.tell(now);
    }

    /// Ends a dump that is done, or whose time is over, and answers it.
    fn end_dump(&mut self, recorder: &mut Recorder, ring: &Ring, is_done: bool) {
        let Some(running) = recorder.running.take() else { return };
        let Running { number, dump, recall, records, files_before } = running;
        let left = self.output.give_back();
        let loss = self.output.take_loss();
        let is_done = is_done && loss.is_none();
        recall.give_back(&self.shared, ring, &left);
        // What came in meanwhile and what is back may be more than is kept.
        self.ledger.overwrite(recall::shrink(&self.shared, ring));
        self.shared.pool.notify_all();
        dump.end(if is_done {
            Ok(Dumped { records, files: self.ledger.files() - files_before })
        } else {
            let error = loss.or_else(|| self.ledger.last_error());
            Err(error.map_or(DumpError::TimedOut, DumpError::Io))
        });
        if !is_done && number.is_some() && !self.output.has_file() {
            // Nothing waits for the disk any more.
            self.retry.forget();
            self.ledger.set_failure(None);
        }
        if let Some(number) = number {
            self.flushed = number;
            self.control.answer_flush(self.me, number);
        }
    }

    fn rest_recorder(&mut self, recorder: &Recorder, asked: Asked, now: Instant) -> Rest {
        let serves = self.shared.serve_tasks();
        if self.control.asked() != asked || recorder.is_next(asked, self.flushed) {
            return Rest::Again;
        }
        let running = recorder.running.as_ref();
        let deadline = running.and_then(|running| running.dump.deadline);
        let needed = self.shared.has_demand() || serves;
        let until = |at: Instant| at.saturating_duration_since(now);
        let times = [
            running.and(self.retry.wait(now)),
            (asked.phase != Phase::Open).then(|| self.retry.wait(now)).flatten(),
            deadline.map(until),
            recorder.seal_at.map(until),
            needed.then_some(REVOKE_INTERVAL),
        ];
        match times.into_iter().flatten().min() {
            Some(time) => Rest::Nap(time),
            // Without a word to the producers: their chunks need no worker.
            None => Rest::Doze(None),
        }
    }
}
