//! Requests from callers to all workers (flush, finish, give up), and the answers.
//!
//! Guarantees: each worker sees a request at its next round, and its answer wakes the waiting
//! caller. Off the hot path, so locks are fine here, but none is held during I/O.

use std::time::Instant;

use crate::base::latch::wait_on;
use crate::base::sync::{AcqRel, Acquire, AtomicU32, AtomicU64, Condvar, Mutex, lock};

/// The stage of the writer's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Records are accepted.
    Open = 0,
    /// No producer writes any more. The workers write and publish what is left, then end.
    Draining = 1,
    /// A caller's deadline has passed. The workers publish nothing more and end.
    Abandoned = 2,
}

/// The requests to a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    /// Flushes requested so far.
    pub(crate) flushes: u64,
    pub(crate) phase: Phase,
}

/// Requests and answers of one writer.
#[derive(Debug)]
pub(crate) struct Control {
    flushes: AtomicU64,
    phase: AtomicU32,
    board: Mutex<Vec<Answer>>,
    answered: Condvar,
}

#[derive(Clone, Copy, Debug, Default)]
struct Answer {
    /// The worker has published all records accepted before this flush was requested.
    flushed: u64,
    /// It has published everything and ended.
    finished: bool,
    /// It has ended, finished or not, and touches no file any more.
    ended: bool,
}

impl Control {
    pub(crate) fn new(workers: usize) -> Self {
        Control {
            flushes: AtomicU64::new(0),
            phase: AtomicU32::new(Phase::Open as u32),
            board: Mutex::new(vec![Answer::default(); workers]),
            answered: Condvar::new(),
        }
    }

    /// Worker: the requests so far. Acquire: pairs with the Release of `ask_flush` and `advance`. A
    /// look at the producers after this sees what the requesting callers saw.
    pub(crate) fn asked(&self) -> Asked {
        Asked { phase: self.phase(), flushes: self.flushes.load(Acquire) }
    }

    pub(crate) fn phase(&self) -> Phase {
        match self.phase.load(Acquire) {
            0 => Phase::Open,
            1 => Phase::Draining,
            _ => Phase::Abandoned,
        }
    }

    /// Requests a flush and returns its number. The caller must then wake the workers.
    pub(crate) fn ask_flush(&self) -> u64 {
        self.flushes.fetch_add(1, AcqRel) + 1
    }

    /// Moves on to a later phase; ignores an earlier one. The caller must then wake the workers.
    pub(crate) fn advance(&self, to: Phase) {
        self.phase.fetch_max(to as u32, AcqRel);
        // Under the lock, so that no waiter is between its look at the phase and its wait.
        let _board = lock(&self.board);
        self.answered.notify_all();
    }

    /// Worker: has published all records accepted before the first `flushes` requests.
    pub(crate) fn answer_flush(&self, worker: usize, flushes: u64) {
        lock(&self.board)[worker].flushed = flushes;
        self.answered.notify_all();
    }

    /// Worker: has ended, because everything is published or because it was given up.
    pub(crate) fn answer_ended(&self, worker: usize, finished: bool) {
        let answer = &mut lock(&self.board)[worker];
        (answer.finished, answer.ended) = (finished, true);
        self.answered.notify_all();
    }

    /// Waits for a flush; a worker that has finished counts as flushed. `false` at the deadline, or
    /// once the workers were told to give up.
    pub(crate) fn wait_flushed(&self, flush: u64, deadline: Option<Instant>) -> bool {
        let done = |answer: &Answer| answer.finished || answer.flushed >= flush;
        self.wait(deadline, Phase::Draining, done)
    }

    /// Waits until all workers have published everything. `false` at the deadline, or once the
    /// workers were told to give up.
    pub(crate) fn wait_finished(&self, deadline: Option<Instant>) -> bool {
        self.wait(deadline, Phase::Draining, |answer| answer.finished)
    }

    /// Waits until all workers have ended, finished or not. `false` at the deadline.
    pub(crate) fn wait_ended(&self, deadline: Option<Instant>) -> bool {
        self.wait(deadline, Phase::Abandoned, |answer| answer.ended)
    }

    /// Whether all workers have published everything and ended.
    pub(crate) fn is_finished(&self) -> bool {
        lock(&self.board).iter().all(|answer| answer.finished)
    }

    /// Waits until `done` holds for all answers, while the phase is at most `last`.
    fn wait(&self, deadline: Option<Instant>, last: Phase, done: impl Fn(&Answer) -> bool) -> bool {
        let mut board = lock(&self.board);
        loop {
            // Checked first: a worker that was given up may still answer.
            if self.phase() > last {
                return false;
            }
            if board.iter().all(&done) {
                return true;
            }
            board = match wait_on(&self.answered, board, deadline) {
                Some(board) => board,
                None => return false,
            };
        }
    }
}
