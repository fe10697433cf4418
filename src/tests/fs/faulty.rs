//! For unit tests: the machine's file system whose k-th call of an operation fails, or which syncs nothing.
//!
//! Guarantees: a planned fault happens exactly once; every other call is the real one.

use std::sync::Mutex;

pub(crate) use super::hooked::{Answer, Op};
use super::hooked::{Call, Hook, HookedFs};
use crate::base::sync::lock;

/// The file system with planned faults. Clones share the plan.
pub(crate) type Faulty = HookedFs<Plan>;

#[derive(Default)]
pub(crate) struct Plan(Mutex<Planned>);

#[derive(Default)]
struct Planned {
    calls: Vec<Op>,
    /// (operation, number of the call counted from 1, fault)
    faults: Vec<(Op, usize, Answer)>,
    /// From this call on, of whatever operation; only that one, or all.
    any: Option<(usize, bool, Answer)>,
    /// Writes to temp files, and faults of those alone, by number.
    appends: usize,
    append_faults: Vec<(usize, Answer)>,
}

impl Planned {
    fn count(&self, op: Op) -> usize {
        self.calls.iter().filter(|&&called| called == op).count()
    }

    fn fault(&mut self, call: &Call<'_>) -> Option<Answer> {
        self.calls.push(call.op);
        let (at, nth) = (self.calls.len(), self.count(call.op));
        if call.op == Op::Write && call.is_temp() {
            self.appends += 1;
            let fault = self.append_faults.iter().find(|fault| fault.0 == self.appends);
            if let Some(&(_, fault)) = fault {
                return Some(fault);
            }
        }
        if let Some((from, sticky, fault)) = self.any
            && (at == from || sticky && at > from)
        {
            return Some(fault);
        }
        self.faults.iter().find(|f| f.0 == call.op && f.1 == nth).map(|f| f.2)
    }
}

impl Hook for Plan {
    fn answer(&self, call: &Call<'_>) -> Answer {
        lock(&self.0).fault(call).unwrap_or(Answer::Go)
    }

    fn pretends_direct(&self) -> bool {
        true
    }
}

impl Faulty {
    /// Plans a fault for the `nth` call of an operation from now on, counted from 1.
    pub(crate) fn plan(&self, op: Op, nth: usize, fault: Answer) {
        let mut planned = lock(&self.hook().0);
        let nth = planned.count(op) + nth;
        planned.faults.push((op, nth, fault));
    }

    /// Plans a fault for the `nth` call from now on, of whatever operation, counted from 1; with `sticky`
    /// also for all that come after it.
    pub(crate) fn plan_any(&self, nth: usize, sticky: bool, fault: Answer) {
        let mut planned = lock(&self.hook().0);
        planned.any = Some((planned.calls.len() + nth, sticky, fault));
    }

    /// Plans a fault for the `nth` write to a temp file from now on, counted from 1.
    pub(crate) fn plan_append(&self, nth: usize, fault: Answer) {
        let mut planned = lock(&self.hook().0);
        let nth = planned.appends + nth;
        planned.append_faults.push((nth, fault));
    }

    /// The calls so far.
    pub(crate) fn all_calls(&self) -> Vec<Op> {
        lock(&self.hook().0).calls.clone()
    }

    /// How often an operation was called.
    pub(crate) fn calls(&self, op: Op) -> usize {
        lock(&self.hook().0).count(op)
    }

    /// How often a temp file was written to: without the notes in the state file, which are writes too.
    pub(crate) fn appends(&self) -> usize {
        lock(&self.hook().0).appends
    }
}

/// The file system without its fsyncs, which would take most of the time of random cases.
pub(crate) fn without_fsync() -> HookedFs<impl Hook> {
    HookedFs::with(|call: &Call<'_>| match call.op {
        Op::Sync | Op::SyncDir => Answer::Skip,
        _ => Answer::Go,
    })
}
