//! Dumps that were asked for: who asked, until when, and what came of it.
//!
//! Guarantees: a dump has one result, which its caller gets unless it gave up before. A caller that
//! gave up ends the dump. Off the hot path: a lock, which is never held during I/O.

use std::collections::VecDeque;
use std::time::Instant;

use crate::base::sync::{Arc, Mutex, lock};
use crate::report::dump::{DumpError, DumpOptions, Dumped};

/// What became of a dump.
pub(crate) type Outcome = Result<Dumped, DumpError>;

/// One dump.
#[derive(Debug)]
pub(crate) struct Dump {
    pub(crate) options: DumpOptions,
    /// Chunks that were sealed before this time of the ring are not asked for.
    pub(crate) since: u64,
    /// `None` = without a limit.
    pub(crate) deadline: Option<Instant>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    outcome: Option<Outcome>,
    is_given_up: bool,
}

/// The dumps that wait, by the number of the flush that stands for each.
#[derive(Debug, Default)]
pub(crate) struct Dumps(Mutex<VecDeque<(u64, Arc<Dump>)>>);

impl Dump {
    /// A dump of everything.
    pub(crate) fn new(options: DumpOptions, deadline: Option<Instant>) -> Arc<Self> {
        Self::since(0, options, deadline)
    }

    pub(crate) fn since(since: u64, options: DumpOptions, deadline: Option<Instant>) -> Arc<Self> {
        Arc::new(Dump { options, since, deadline, state: Mutex::default() })
    }

    /// Worker: whether nobody waits for the dump any more.
    pub(crate) fn is_over(&self, now: Instant) -> bool {
        self.deadline.is_some_and(|at| at <= now) || lock(&self.state).is_given_up
    }

    /// Worker: sets the result.
    pub(crate) fn end(&self, outcome: Outcome) {
        lock(&self.state).outcome = Some(outcome);
    }

    /// The result, if there is one.
    #[cfg(test)]
    pub(crate) fn peek(&self) -> Option<Outcome> {
        lock(&self.state).outcome.clone()
    }

    /// Caller: takes the result, or gives the dump up.
    pub(crate) fn result(&self) -> Option<Outcome> {
        let mut state = lock(&self.state);
        state.is_given_up = state.outcome.is_none();
        state.outcome.clone()
    }
}

impl Dumps {
    /// Adds a dump. `number` numbers it while no other one can be added.
    pub(crate) fn ask(&self, dump: Arc<Dump>, number: impl FnOnce() -> u64) -> u64 {
        let mut dumps = lock(&self.0);
        let number = number();
        dumps.push_back((number, dump));
        number
    }

    /// Worker: the next dump, and its number.
    pub(crate) fn next(&self) -> Option<(u64, Arc<Dump>)> {
        lock(&self.0).pop_front()
    }
}
