//! What callers ask of all workers: to flush, to finish, to give up; and the answers.
//!
//! Guarantees: a request is seen by each worker at its next round; who waits for an answer is
//! woken by it. Off the hot path: locks are fine here, but never held during I/O.

use std::time::Instant;

use crate::base::latch::wait_on;
use crate::base::sync::{AcqRel, Acquire, AtomicU32, AtomicU64, Condvar, Mutex, lock};

/// How far the writer's life has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Records are accepted.
    Open = 0,
    /// No producer writes any more: what is there is written and published, then the worker ends.
    Draining = 1,
    /// Somebody's deadline has passed: the worker publishes nothing and ends.
    Abandoned = 2,
}

/// What a worker is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    /// Flushes asked for so far.
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
    /// The worker has published all that was accepted before this flush was asked for.
    flushed: u64,
    /// It has published everything and ended.
    finished: bool,
    /// It has ended, one way or the other, and touches no file any more.
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

    /// Worker: the requests so far. Acquire: pairs with the Release of `ask_flush` and
    /// `advance`, so that a look at the producers after this sees what their callers saw.
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

    /// Asks for a flush and returns its number. The workers must be woken after this.
    pub(crate) fn ask_flush(&self) -> u64 {
        self.flushes.fetch_add(1, AcqRel) + 1
    }

    /// Goes on to a later phase; an earlier one is ignored. The workers must be woken after this.
    pub(crate) fn advance(&self, to: Phase) {
        self.phase.fetch_max(to as u32, AcqRel);
        // Under the lock, so that nobody stands between a look at the phase and the wait.
        let _board = lock(&self.board);
        self.answered.notify_all();
    }

    /// Worker: has published all that was accepted before the first `flushes` requests.
    pub(crate) fn answer_flush(&self, worker: usize, flushes: u64) {
        lock(&self.board)[worker].flushed = flushes;
        self.answered.notify_all();
    }

    /// Worker: has ended, with everything published or because it was given up.
    pub(crate) fn answer_ended(&self, worker: usize, finished: bool) {
        let answer = &mut lock(&self.board)[worker];
        (answer.finished, answer.ended) = (finished, true);
        self.answered.notify_all();
    }

    /// Waits for a flush, which the end of all workers includes; `false` at the deadline, or when
    /// the workers were told to give up.
    pub(crate) fn wait_flushed(&self, flush: u64, deadline: Option<Instant>) -> bool {
        let done = |answer: &Answer| answer.finished || answer.flushed >= flush;
        self.wait(deadline, Phase::Draining, done)
    }

    /// Waits until all workers have published everything; `false` as above.
    pub(crate) fn wait_finished(&self, deadline: Option<Instant>) -> bool {
        self.wait(deadline, Phase::Draining, |answer| answer.finished)
    }

    /// Waits until all workers have ended, one way or the other; `false` at the deadline.
    pub(crate) fn wait_ended(&self, deadline: Option<Instant>) -> bool {
        self.wait(deadline, Phase::Abandoned, |answer| answer.ended)
    }

    /// Whether all workers have published everything and ended.
    pub(crate) fn is_finished(&self) -> bool {
        lock(&self.board).iter().all(|answer| answer.finished)
    }

    /// Waits until all answers are so, as long as the phase is not beyond `last`.
    fn wait(&self, deadline: Option<Instant>, last: Phase, done: impl Fn(&Answer) -> bool) -> bool {
        let mut board = lock(&self.board);
        loop {
            // First: a worker that was given up may answer all the same.
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
