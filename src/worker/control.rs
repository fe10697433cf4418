//! Requests from callers to all workers (flush, finish, give up), and the answers.
//!
//! Guarantees: each worker sees a request at its next round, and its answer wakes the callers and
//! tasks that wait for it. Off the hot path, so locks are fine here, but none is held during I/O or
//! while a waker is called.

use std::collections::BTreeMap;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use crate::base::foreign::quietly;
use crate::base::latch::wait_on;
use crate::base::sync::{AcqRel, Acquire, AtomicU32, AtomicU64, Condvar, Mutex, lock};
use crate::memory::slots::Slots;
use crate::worker::activity::Activity;

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
    board: Mutex<Board>,
    answered: Condvar,
    /// For the thread that tells the counters.
    pub(crate) activity: Activity,
}

#[derive(Debug)]
struct Board {
    /// By worker.
    answers: Vec<Answer>,
    /// Tasks that wait for a flush, by its number.
    tasks: BTreeMap<u64, Waker>,
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

impl Answer {
    /// A worker that has finished counts as flushed.
    fn has_flushed(&self, flush: u64) -> bool {
        self.finished || self.flushed >= flush
    }
}

impl Control {
    pub(crate) fn new(workers: usize) -> Self {
        Control {
            flushes: AtomicU64::new(0),
            phase: AtomicU32::new(Phase::Open as u32),
            board: Mutex::new(Board {
                answers: vec![Answer::default(); workers],
                tasks: BTreeMap::new(),
            }),
            answered: Condvar::new(),
            activity: Activity::default(),
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
        self.answer(|_| ());
    }

    /// Worker: has published all records accepted before the first `flushes` requests.
    pub(crate) fn answer_flush(&self, worker: usize, flushes: u64) {
        self.answer(|answers| answers[worker].flushed = flushes);
    }

    /// Worker: has ended, because everything is published or because it was given up.
    pub(crate) fn answer_ended(&self, worker: usize, finished: bool) {
        self.answer(|answers| {
            let answer = &mut answers[worker];
            (answer.finished, answer.ended) = (finished, true);
        });
    }

    /// Changes the answers, and wakes whoever waits for that. Nothing is held.
    fn answer(&self, change: impl FnOnce(&mut [Answer])) {
        let mut board = lock(&self.board);
        change(&mut board.answers);
        self.answered.notify_all();
        while let Some(waker) = self.next_task(&mut board) {
            drop(board);
            quietly(|| waker.wake());
            board = lock(&self.board);
        }
    }

    /// The first task whose wait is over.
    fn next_task(&self, board: &mut Board) -> Option<Waker> {
        let first = board.tasks.first_entry()?;
        let over = self.phase() > Phase::Draining
            || board.answers.iter().all(|answer| answer.has_flushed(*first.key()));
        over.then(|| first.remove())
    }

    /// Waits for a flush; a worker that has finished counts as flushed. `false` at the deadline, or
    /// once the workers were told to give up.
    pub(crate) fn wait_flushed(&self, flush: u64, deadline: Option<Instant>) -> bool {
        self.wait(deadline, Phase::Draining, |answer| answer.has_flushed(flush))
    }

    /// The same for a task, whose waker this keeps while the answer is not there.
    fn poll_flushed(&self, flush: u64, context: &mut Context<'_>) -> Poll<bool> {
        let waker = context.waker().clone();
        let mut board = lock(&self.board);
        let (answer, unused) = if self.phase() > Phase::Draining {
            (Poll::Ready(false), Some(waker))
        } else if board.answers.iter().all(|answer| answer.has_flushed(flush)) {
            (Poll::Ready(true), Some(waker))
        } else {
            (Poll::Pending, board.tasks.insert(flush, waker))
        };
        drop(board);
        quietly(|| drop(unused));
        answer
    }

    /// Number of tasks that wait for a flush.
    pub(crate) fn waiting_tasks(&self) -> usize {
        lock(&self.board).tasks.len()
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
        lock(&self.board).answers.iter().all(|answer| answer.finished)
    }

    /// Waits until `done` holds for all answers, while the phase is at most `last`.
    fn wait(&self, deadline: Option<Instant>, last: Phase, done: impl Fn(&Answer) -> bool) -> bool {
        let mut board = lock(&self.board);
        loop {
            // Checked first: a worker that was given up may still answer.
            if self.phase() > last {
                return false;
            }
            if board.answers.iter().all(&done) {
                return true;
            }
            board = match wait_on(&self.answered, board, deadline) {
                Some(board) => board,
                None => return false,
            };
        }
    }
}

/// A task that waits for a flush. Its drop leaves no trace, and the flush goes on.
pub(crate) struct FlushTask<'a> {
    control: &'a Control,
    slots: &'a Slots,
    flush: u64,
}

impl<'a> FlushTask<'a> {
    /// For a flush that was requested by this task alone.
    pub(crate) fn new(control: &'a Control, slots: &'a Slots, flush: u64) -> Self {
        FlushTask { control, slots, flush }
    }

    /// `false` once the workers were told to give up, and in a forked child.
    pub(crate) fn poll(&self, context: &mut Context<'_>) -> Poll<bool> {
        if self.slots.is_forked() {
            return Poll::Ready(false);
        }
        self.control.poll_flushed(self.flush, context)
    }
}

impl Drop for FlushTask<'_> {
    fn drop(&mut self) {
        // A child takes no lock.
        if !self.slots.is_forked() {
            let waker = lock(&self.control.board).tasks.remove(&self.flush);
            quietly(|| drop(waker));
        }
    }
}
