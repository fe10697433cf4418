//! Whether workers have done anything, for the thread that tells the counters.
//!
//! Guarantees: what a worker has done before it stirs is seen by a look that begins after that, or by one that
//! [`wait`](Activity::wait) does not let wait for long. Nobody is woken who waits for a time of his own. Off the
//! hot path: workers stir between two rounds.

use std::time::Instant;

use crate::base::latch::wait_on;
use crate::base::sync::{Condvar, Mutex, lock};

/// What workers have done since the last look.
#[derive(Debug, Default)]
pub(crate) struct Activity {
    state: Mutex<State>,
    told: Condvar,
}

#[derive(Debug, Default)]
struct State {
    stirred: bool,
    /// The thread waits to be woken.
    sleeps: bool,
    ends: bool,
}

/// What ended a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Woken {
    /// A worker has done something since the last look.
    Stirred,
    /// Nothing but time.
    Late,
    /// The writer has ended.
    Ended,
}

impl Activity {
    /// Worker: has done something, perhaps.
    pub(crate) fn stir(&self) {
        let mut state = lock(&self.state);
        state.stirred = true;
        if state.sleeps {
            state.sleeps = false;
            self.told.notify_all();
        }
    }

    /// The thread is to end.
    pub(crate) fn end(&self) {
        lock(&self.state).ends = true;
        self.told.notify_all();
    }

    /// Thread: what happens from here on is new to it.
    pub(crate) fn begin(&self) {
        lock(&self.state).stirred = false;
    }

    /// Thread: waits until `soonest` in any case, and then until a worker stirs or has done so, or until `latest`.
    /// `None` = without limit.
    pub(crate) fn wait(&self, soonest: Instant, latest: Option<Instant>) -> Woken {
        let mut state = lock(&self.state);
        while !state.ends {
            match wait_on(&self.told, state, Some(soonest)) {
                Some(woken) => state = woken,
                None => {
                    state = lock(&self.state);
                    break;
                }
            }
        }
        while !state.ends && !state.stirred {
            state.sleeps = true;
            match wait_on(&self.told, state, latest) {
                Some(woken) => state = woken,
                None => {
                    state = lock(&self.state);
                    break;
                }
            }
        }
        state.sleeps = false;
        match *state {
            State { ends: true, .. } => Woken::Ended,
            State { stirred: true, .. } => Woken::Stirred,
            _ => Woken::Late,
        }
    }
}
